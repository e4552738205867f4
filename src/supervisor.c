/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The supervisor: one loop that waits for signals and for the next thing that is due.
 *
 * Invariant: workers are stopped one after the other in the order of the table, ingest
 * before forward before monitor, which can show how the others end, at the end as well
 * as for a new configuration; what is due for one never waits for another that has
 * crashed. A configuration that does not pass changes nothing.
 *
 * Failure modes: a worker that dies is started again, at once the first time and then
 * after a growing delay; one that does not end when it is asked to, or hangs, is killed,
 * which loses nothing (that is the journal's job). Only what is missing at the start ends
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
#include "events.h"
#include "log.h"
#include "now.h"
#include "supervisor_parts.h"
#include "worker.h"

#define INGEST_STOP_MS   10000
#define FORWARD_EXTRA_MS 5000
#define MONITOR_STOP_MS  3000
#define LOCK_WAIT_MS     500
#define LOCK_POLL_MS     20

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
	int events_fd;
	struct events *events;
	struct report *report;
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

static int
monitor_stop_ms(const struct settings *settings)
{
	(void)settings;
	return MONITOR_STOP_MS;
}

static bool
monitor_is_wanted(const struct settings *settings)
{
	return settings->monitor.listen != NULL;
}

static void
start(struct supervisor *s, struct member *m, int64_t now_ms)
{
	const struct child_options child = {
	    .directory = s->options->worker_directory,
	    .config_name = s->options->config_path,
	    .config_fd = s->config_fd,
	    .wake_fd = m == &s->members[BOARD_WORKER_MONITOR] ? -1 : s->wake_fd,
	    .board_fd = s->board_fd,
	    .events_fd = s->events_fd,
	    .is_verbose = s->options->is_verbose,
	};

	member_start(m, &child, now_ms);
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
				member_bury(&s->members[i], status, now_ms);
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
				member_end(m, s->settings, now_ms);
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

/* One that hangs is of no use to anybody. */
static void
kill_silent(struct supervisor *s)
{
	for (size_t i = 0; i < MEMBER_COUNT; i++) {
		struct member *m = &s->members[i];

		if (m->want != WANT_RUN || m->is_silent ||
		    !report_is_silent(s->report, (enum board_worker)i, m->pid))
			continue;
		m->is_silent = true;
		log_error(LOG_LIFECYCLE,
		    "%s (pid %d) gives no sign of life any more: it is killed", m->name,
		    (int)m->pid);
		(void)kill(m->pid, SIGKILL);
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

/* next_ms: when something else is due. */
static int
wait_ms(const struct supervisor *s, int64_t now_ms, int64_t next_ms)
{
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
	report_stopping(s->report);
}

/* Take over what the settings say of a member; old NULL: there were none. */
static void
follow(struct member *m, const struct settings *old, const struct settings *new)
{
	if (m->is_wanted != NULL && !m->is_wanted(new)) {
		if (m->pid > 0)
			log_info(LOG_LIFECYCLE,
			    "%s is stopped: the configuration does without it",
			    m->name);
		m->want = WANT_STOP;
	} else if (old != NULL && (m->want == WANT_STOP || m->differs(old, new))) {
		log_info(LOG_LIFECYCLE, "%s is restarted for the new configuration",
		    m->name);
		m->want = WANT_RESTART;
	}
}

static void
reload(struct supervisor *s)
{
	struct settings *settings = NULL;
	int config_fd = -1;

	if (s->members[0].want == WANT_STOP)
		return;
	report_reload_begin();
	if (supervisor_read(s->options, &settings, &config_fd) != 0)
		goto keep;
	if (!supervisor_may_follow(s->settings, settings)) {
		(void)close(config_fd);
		settings_free(settings);
		goto keep;
	}
	for (size_t i = 0; i < MEMBER_COUNT; i++)
		follow(&s->members[i], s->settings, settings);
	(void)close(s->config_fd);
	settings_free(s->settings);
	s->config_fd = config_fd;
	s->settings = settings;
	open_log(s);
	log_info(LOG_LIFECYCLE, "the configuration was read again");
	report_reload_end(s->report, true);
	return;

keep:
	log_error(LOG_LIFECYCLE,
	    "the configuration was not taken over: the one that runs "
	    "stays");
	report_reload_end(s->report, false);
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

/* One for the life of this process: what its workers said before they were restarted stays. */
static int
open_events(struct supervisor *s)
{
	int err = events_make(&s->events_fd);

	if (err == 0)
		err = events_open(&s->events, s->events_fd);
	if (err == 0)
		log_keep(s->events, EVENTS_SUPERVISOR);
	return err;
}

/* board_attach() has it for a moment, to find out whether anybody has. */
static bool
take_lock(int fd)
{
	int64_t end_ms = now_monotonic_ms() + LOCK_WAIT_MS;

	while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		if (errno != EWOULDBLOCK || now_monotonic_ms() >= end_ms)
			return false;
		now_pause_ms(LOCK_POLL_MS);
	}
	return true;
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
	if (!take_lock(s->lock_fd)) {
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
		int64_t next_ms;

		step(s, now_ms);
		publish(s);
		if (is_finished(s))
			break;
		next_ms = report_step(s->report, s->settings, now_ms);
		kill_silent(s);
		(void)poll(&pollfd, 1, wait_ms(s, now_ms, next_ms));
		take_signals(s, now_monotonic_ms());
	}
}

static void
close_all(struct supervisor *s)
{
	int fds[] = {s->lock_fd, s->config_fd, s->wake_fd, s->board_fd, s->events_fd,
	    s->signal_fd};

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		if (fds[i] >= 0)
			(void)close(fds[i]);
	}
	report_close(s->report);
	board_close(s->board);
	log_keep(NULL, EVENTS_SUPERVISOR);
	events_close(s->events);
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
		    {.name = "tidegate-monitor",
			.differs = settings_differ_for_monitor,
			.stop_ms = monitor_stop_ms,
			.is_wanted = monitor_is_wanted},
		},
	    .lock_fd = -1,
	    .config_fd = -1,
	    .wake_fd = -1,
	    .board_fd = -1,
	    .events_fd = -1,
	    .signal_fd = -1,
	    .started_at_ms = now_monotonic_ms(),
	};
	int err;

	err = open_signals(&s);
	if (err == 0)
		err = open_events(&s);
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
	if (err == 0)
		err = report_open(&s.report, s.board);
	if (err == 0) {
		log_info(LOG_LIFECYCLE, "tidegated %s, gateway %s, configuration %s",
		    PACKAGE_VERSION, s.settings->gateway_id, o->config_path);
		for (size_t i = 0; i < MEMBER_COUNT; i++)
			follow(&s.members[i], NULL, s.settings);
		run(&s);
		log_info(LOG_LIFECYCLE, "stopped");
	}
	close_all(&s);
	if (err == 0)
		return EXIT_SUCCESS;
	return err == ERR_INVALID ? EXIT_CONFIG : EXIT_FAILED;
}
