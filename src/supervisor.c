/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The supervisor: one loop that waits for signals and for the next thing that is due.
 *
 * Invariant: workers are stopped one after the other in the order of the table, ingest
 * before forward, at the end as well as for a new configuration; what is due for one
 * never waits for another that has crashed. A configuration that does not pass changes
 * nothing.
 *
 * Failure modes: a worker that dies is started again, at once the first time and then
 * after a growing delay; one that does not end when it is asked to is killed, which
 * loses nothing (that is the journal's job). Only what is missing at the start ends
 * the supervisor itself.
 */
#include "supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "board.h"
#include "child.h"
#include "err.h"
#include "log.h"
#include "now.h"
#include "supervisor_parts.h"
#include "worker.h"

#define FIRST_DELAY_MS   100
#define SECOND_DELAY_MS  1000
#define LONGEST_DELAY_MS 30000
#define HEALTHY_MS       60000
#define INGEST_STOP_MS   10000
#define FORWARD_EXTRA_MS 5000

enum want {
	WANT_RUN,
	WANT_RESTART, /* end, then WANT_RUN */
	WANT_STOP,
};

struct member {
	const char *name;
	bool (*differs)(const struct settings *, const struct settings *);
	int (*stop_ms)(const struct settings *); /* how long it may take to end */
	enum want want;
	pid_t pid; /* 0: there is no process */
	bool is_asked;
	int64_t kill_at_ms; /* once it is asked to end */
	int64_t started_at_ms;
	int64_t start_at_ms; /* where there is no process */
	int64_t delay_ms;    /* waited before the latest start */
	unsigned restart_count;
	char died[BOARD_TEXT_BYTES]; /* how, the last time */
};

enum { MEMBER_COUNT = BOARD_WORKER_COUNT };

struct supervisor {
	const struct supervisor_options *options;
	struct settings *settings;
	struct member
	    members[MEMBER_COUNT]; /* in the order of stopping, and of the board */
	struct board *board;
	int64_t started_at_ms;
	int lock_fd;
	int config_fd;
	int wake_fd;
	int board_fd;
	int signal_fd;
};

static void
open_log(const struct supervisor *s)
{
	log_open("tidegated",
	    s->options->is_verbose ? LOG_LEVEL_DEBUG : s->settings->log.level,
	    s->settings->log.format);
}

/* ---- one worker ---- */

static int
ingest_stop_ms(const struct settings *settings)
{
	(void)settings;
	return INGEST_STOP_MS;
}

static int
forward_stop_ms(const struct settings *settings)
{
	return settings->kafka.shutdown_ms + FORWARD_EXTRA_MS;
}

/*
 * When to start it again. A worker that lived ten times as long as was waited for it
 * starts afresh, so that single crashes cost little and a crash loop costs little more.
 */
static void
schedule(struct member *m, int64_t now_ms, bool is_hopeless)
{
	int64_t alive_ms = now_ms - m->started_at_ms;

	if (is_hopeless)
		m->delay_ms = LONGEST_DELAY_MS;
	else if (alive_ms >= HEALTHY_MS || alive_ms >= 10 * m->delay_ms)
		m->delay_ms = FIRST_DELAY_MS;
	else if (m->delay_ms < SECOND_DELAY_MS)
		m->delay_ms = SECOND_DELAY_MS;
	else if (m->delay_ms < LONGEST_DELAY_MS / 2)
		m->delay_ms *= 2;
	else
		m->delay_ms = LONGEST_DELAY_MS;
	m->start_at_ms = now_ms + m->delay_ms;
	m->restart_count++;
}

static void
start(struct supervisor *s, struct member *m, int64_t now_ms)
{
	struct child_options child = {
	    .directory = s->options->worker_directory,
	    .config_name = s->options->config_path,
	    .config_fd = s->config_fd,
	    .wake_fd = s->wake_fd,
	    .board_fd = s->board_fd,
	    .is_verbose = s->options->is_verbose,
	};

	struct log_details details;

	m->started_at_ms = now_ms;
	m->is_asked = false;
	if (child_start(&m->pid, m->name, &child) != 0) {
		schedule(m, now_ms, true);
		return;
	}
	details = (struct log_details){.counts = {{"pid", (uint64_t)m->pid}}};
	log_event(LOG_LEVEL_INFO, LOG_LIFECYCLE, &details, "%s started (pid %d)",
	    m->name, (int)m->pid);
}

/* Ask it to end, and do not take no for an answer. */
static void
end(struct supervisor *s, struct member *m, int64_t now_ms)
{
	if (!m->is_asked) {
		m->is_asked = true;
		m->kill_at_ms = now_ms + m->stop_ms(s->settings);
		(void)kill(m->pid, SIGTERM);
	} else if (now_ms >= m->kill_at_ms) {
		log_warning(LOG_LIFECYCLE, "%s (pid %d) does not end: it is killed",
		    m->name, (int)m->pid);
		m->kill_at_ms = now_ms + INGEST_STOP_MS;
		(void)kill(m->pid, SIGKILL);
	}
}

static void
describe_status(int status, char *text, size_t size)
{
	if (WIFEXITED(status))
		(void)snprintf(text, size, "exit status %d", WEXITSTATUS(status));
	else
		(void)snprintf(text, size, "signal %d, %s", WTERMSIG(status),
		    strsignal(WTERMSIG(status)));
}

static void
bury(struct member *m, int status, int64_t now_ms)
{
	bool is_hopeless = WIFEXITED(status) && (WEXITSTATUS(status) == EXIT_CONFIG ||
						    WEXITSTATUS(status) == EXIT_USAGE);
	struct log_details details;
	pid_t pid = m->pid;
	char how[80];

	describe_status(status, how, sizeof(how));
	m->pid = 0;
	if (m->want != WANT_RUN) {
		log_info(
		    LOG_LIFECYCLE, "%s (pid %d) has ended: %s", m->name, (int)pid, how);
		return;
	}
	schedule(m, now_ms, is_hopeless);
	(void)snprintf(m->died, sizeof(m->died), "%s", how);
	details = (struct log_details){
	    .counts = {{"pid", (uint64_t)pid}, {"delay_ms", (uint64_t)m->delay_ms},
		{"restarts", m->restart_count}}};
	log_event(LOG_LEVEL_ERROR, LOG_LIFECYCLE, &details,
	    "%s (pid %d) died: %s; it is started again in %lld ms (restart %u)",
	    m->name, (int)pid, how, (long long)m->delay_ms, m->restart_count);
}

/* ---- all of them ---- */

static void
reap(struct supervisor *s, int64_t now_ms)
{
	int status;
	pid_t pid = waitpid(-1, &status, WNOHANG);

	for (; pid > 0; pid = waitpid(-1, &status, WNOHANG)) {
		for (size_t i = 0; i < MEMBER_COUNT; i++) {
			if (s->members[i].pid == pid)
				bury(&s->members[i], status, now_ms);
		}
	}
}

/* Do what is due. One after the other is stopped, but each is started by itself. */
static void
step(struct supervisor *s, int64_t now_ms)
{
	bool is_one_ending = false;

	for (size_t i = 0; i < MEMBER_COUNT; i++) {
		struct member *m = &s->members[i];

		if (m->pid > 0 && m->want != WANT_RUN) {
			/* One that was asked already is still held to its time. */
			if (!is_one_ending || m->is_asked)
				end(s, m, now_ms);
			is_one_ending = true;
		} else if (m->pid == 0 && m->want == WANT_RESTART) {
			m->want = WANT_RUN;
			m->delay_ms = 0;
			start(s, m, now_ms);
		} else if (m->pid == 0 && m->want == WANT_RUN &&
			   now_ms >= m->start_at_ms) {
			start(s, m, now_ms);
		}
	}
}

/* For whoever reports how this gateway is. */
static void
publish(struct supervisor *s)
{
	struct board_supervisor part = {.started_at_ms = s->started_at_ms};

	for (size_t i = 0; i < MEMBER_COUNT; i++) {
		part.members[i].pid = (uint32_t)s->members[i].pid;
		part.members[i].restart_count = s->members[i].restart_count;
		memcpy(part.members[i].died, s->members[i].died,
		    sizeof(part.members[i].died));
	}
	board_write_supervisor(s->board, &part);
}

static int
wait_ms(const struct supervisor *s, int64_t now_ms)
{
	int64_t next_ms = INT64_MAX;

	for (size_t i = 0; i < MEMBER_COUNT; i++) {
		const struct member *m = &s->members[i];
		int64_t due_ms = INT64_MAX;

		if (m->pid == 0 && m->want == WANT_RUN)
			due_ms = m->start_at_ms;
		else if (m->pid > 0 && m->want != WANT_RUN && m->is_asked)
			due_ms = m->kill_at_ms;
		if (due_ms < next_ms)
			next_ms = due_ms;
	}
	if (next_ms == INT64_MAX)
		return -1;
	if (next_ms <= now_ms)
		return 0;
	return next_ms - now_ms > INT_MAX ? INT_MAX : (int)(next_ms - now_ms);
}

static bool
is_finished(const struct supervisor *s)
{
	for (size_t i = 0; i < MEMBER_COUNT; i++) {
		if (s->members[i].want != WANT_STOP || s->members[i].pid > 0)
			return false;
	}
	return true;
}

static void
stop_all(struct supervisor *s, const char *why)
{
	log_info(LOG_LIFECYCLE, "%s: stopping", why);
	for (size_t i = 0; i < MEMBER_COUNT; i++)
		s->members[i].want = WANT_STOP;
}

static void
reload(struct supervisor *s)
{
	struct settings *settings = NULL;
	int config_fd = -1;

	if (s->members[0].want == WANT_STOP)
		return;
	if (supervisor_read(s->options, &settings, &config_fd) != 0)
		goto keep;
	if (!supervisor_may_follow(s->settings, settings)) {
		(void)close(config_fd);
		settings_free(settings);
		goto keep;
	}
	for (size_t i = 0; i < MEMBER_COUNT; i++) {
		struct member *m = &s->members[i];

		if (!m->differs(s->settings, settings))
			continue;
		log_info(LOG_LIFECYCLE, "%s is restarted for the new configuration",
		    m->name);
		m->want = WANT_RESTART;
	}
	(void)close(s->config_fd);
	settings_free(s->settings);
	s->config_fd = config_fd;
	s->settings = settings;
	open_log(s);
	log_info(LOG_LIFECYCLE, "the configuration was read again");
	return;

keep:
	log_error(LOG_LIFECYCLE,
	    "the configuration was not taken over: the one that runs "
	    "stays");
}

static void
take_signals(struct supervisor *s, int64_t now_ms)
{
	struct signalfd_siginfo info;

	while (read(s->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		switch (info.ssi_signo) {
		case SIGTERM:
			stop_all(s, "SIGTERM");
			break;
		case SIGINT:
			stop_all(s, "SIGINT");
			break;
		case SIGHUP:
			reload(s);
			break;
		default: /* SIGCHLD: several may have become one */
			break;
		}
	}
	reap(s, now_ms);
}

/* ---- beginning and end ---- */

/* Blocked from now on, so that none is lost while the configuration is checked. */
static int
open_signals(struct supervisor *s)
{
	static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD};
	sigset_t set;

	(void)sigemptyset(&set);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		/* Whoever started us may have had them ignored. */
		(void)signal(numbers[i], SIG_DFL);
		(void)sigaddset(&set, numbers[i]);
	}
	(void)signal(SIGPIPE, SIG_IGN);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->signal_fd >= 0 && s->wake_fd >= 0)
		return 0;
	log_error(LOG_LIFECYCLE, "no descriptors for signals: %s", strerror(errno));
	return ERR_IO;
}

/* One tidegated for each journal. The kernel lets go of the lock when we end. */
static int
lock_journal(struct supervisor *s)
{
	const char *directory = s->settings->journal.directory;
	char path[PATH_MAX];
	char holder[16] = "";
	ssize_t n;

	(void)snprintf(path, sizeof(path), "%s/tidegated.lock", directory);
	s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (s->lock_fd < 0) {
		log_error(LOG_LIFECYCLE,
		    "%s: %s (journal.directory must exist and be writable)", path,
		    strerror(errno));
		return ERR_IO;
	}
	if (flock(s->lock_fd, LOCK_EX | LOCK_NB) != 0) {
		n = errno == EWOULDBLOCK ? read(s->lock_fd, holder, sizeof(holder) - 1)
					 : 0;
		holder[n > 0 ? n : 0] = '\0';
		holder[strspn(holder, "0123456789")] = '\0';
		log_error(LOG_LIFECYCLE,
		    "the journal in %s is in use by another tidegated (pid %s)",
		    directory, *holder != '\0' ? holder : "unknown");
		return ERR_LOCKED;
	}
	/* Only for that message, so it does no harm where it does not work. */
	if (ftruncate(s->lock_fd, 0) == 0)
		(void)dprintf(s->lock_fd, "%d\n", (int)getpid());
	return 0;
}

static void
run(struct supervisor *s)
{
	while (!is_finished(s)) {
		struct pollfd pollfd = {.fd = s->signal_fd, .events = POLLIN};
		int64_t now_ms = now_monotonic_ms();

		step(s, now_ms);
		publish(s);
		if (is_finished(s))
			break;
		(void)poll(&pollfd, 1, wait_ms(s, now_ms));
		take_signals(s, now_monotonic_ms());
	}
}

static void
close_all(struct supervisor *s)
{
	int fds[] = {s->lock_fd, s->config_fd, s->wake_fd, s->board_fd, s->signal_fd};

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		if (fds[i] >= 0)
			(void)close(fds[i]);
	}
	board_close(s->board);
	settings_free(s->settings);
}

int
supervisor_run(const struct supervisor_options *o)
{
	struct supervisor s = {
	    .options = o,
	    .members =
		{
		    {.name = "tidegate-ingest",
			.differs = settings_differ_for_ingest,
			.stop_ms = ingest_stop_ms},
		    {.name = "tidegate-forward",
			.differs = settings_differ_for_forward,
			.stop_ms = forward_stop_ms},
		},
	    .lock_fd = -1,
	    .config_fd = -1,
	    .wake_fd = -1,
	    .board_fd = -1,
	    .signal_fd = -1,
	    .started_at_ms = now_monotonic_ms(),
	};
	int err;

	err = open_signals(&s);
	if (err == 0)
		err = supervisor_read(o, &s.settings, &s.config_fd);
	if (err == 0) {
		open_log(&s);
		err = lock_journal(&s);
	}
	if (err == 0)
		err = board_make(&s.board_fd);
	if (err == 0)
		err = board_open(&s.board, s.board_fd);
	if (err == 0) {
		log_info(LOG_LIFECYCLE, "tidegated %s, gateway %s, configuration %s",
		    PACKAGE_VERSION, s.settings->gateway_id, o->config_path);
		run(&s);
		log_info(LOG_LIFECYCLE, "stopped");
	}
	close_all(&s);
	if (err == 0)
		return EXIT_SUCCESS;
	return err == ERR_INVALID ? EXIT_CONFIG : EXIT_FAILED;
}
