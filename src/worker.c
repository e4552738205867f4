/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The beginning and the end of a worker process.
 *
 * Invariant: a worker that was started by tidegated ends when tidegated is gone,
 * however that ended (PR_SET_PDEATHSIG). It is stopped by SIGTERM alone: SIGINT from
 * a terminal goes to the whole process group, and tidegated stops its workers in order.
 */
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <unistd.h>

#include "err.h"
#include "log.h"

#define LOCK_WAIT_MS 5000 /* a worker before this one may still be ending */

struct command_line {
	const char *config_path;
	const char *config_name; /* for messages, in place of the path */
	int parent;              /* 0: nobody's */
	int events_fd;           /* -1: none */
	bool is_verbose;
};

/* A process has one set of signals, so this is one of the few globals. */
static volatile sig_atomic_t stop_asked;
static volatile sig_atomic_t stop_signal_fd = -1;

static void
ask_to_stop(int signal_number)
{
	uint64_t one = 1;
	int saved_errno = errno;

	(void)signal_number;
	stop_asked = 1;
	/* Cannot fail but by being set already. */
	if (stop_signal_fd >= 0 && write(stop_signal_fd, &one, sizeof(one)) < 0)
		errno = saved_errno;
	errno = saved_errno;
}

static void
only_interrupt(int signal_number)
{
	(void)signal_number;
}

/* Without SA_RESTART: a blocking call has to return. */
static void
handle(int signal_number, void (*handler)(int))
{
	struct sigaction action = {.sa_handler = handler};

	(void)sigemptyset(&action.sa_mask);
	(void)sigaction(signal_number, &action, NULL);
}

static int
take_signals(struct worker *w, int parent)
{
	w->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->stop_fd < 0) {
		log_error(LOG_LIFECYCLE, "eventfd: %s", strerror(errno));
		return ERR_IO;
	}
	stop_asked = 0;
	stop_signal_fd = w->stop_fd;
	handle(SIGPIPE, SIG_IGN);
	handle(SIGALRM, only_interrupt);
	handle(SIGTERM, ask_to_stop);
	handle(SIGINT, parent > 0 ? SIG_IGN : ask_to_stop);
	handle(SIGHUP, parent > 0 ? SIG_IGN : ask_to_stop);
	if (parent > 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
		/* It may have ended before that call. */
		if (getppid() != parent)
			(void)raise(SIGTERM);
	}
	return 0;
}

static void
print_help(const char *name, bool is_forward)
{
	printf("Usage: %s [-c FILE] [-v]\n"
	       "Worker of tidegated(8); runs alone as well, in the foreground.\n\n"
	       "  -c, --config FILE  configuration (default %s)\n",
	    name, SETTINGS_DEFAULT_PATH);
	if (is_forward)
		printf("      --once         end when the journal is empty\n"
		       "      --check        check the settings, open nothing\n");
	if (strcmp(name, "tidegate-ingest") == 0)
		printf(
		    "      --leave        take what the broker holds, end the session "
		    "there, and end\n");
	if (strcmp(name, "tidegate-monitor") != 0)
		printf("      --check-connection [--json]\n"
		       "                     look whether it would work, say so, and "
		       "end\n");
	printf("  -v                 log at level debug\n"
	       "  -h, --help         this help\n"
	       "  -V, --version      the version\n");
}

/* The number in an option between tidegated and its worker, or -1. */
static int
small_number(const char *text)
{
	char *end;
	long value = strtol(text, &end, 10);

	return *text == '\0' || *end != '\0' || value < 0 || value > INT_MAX
		   ? -1
		   : (int)value;
}

enum long_option {
	LONG_WAKE_FD = 256,
	LONG_BOARD_FD,
	LONG_EVENTS_FD,
	LONG_PARENT,
	LONG_CONFIG_NAME,
	LONG_ONCE,
	LONG_LEAVE,
	LONG_CHECK,
	LONG_CHECK_CONNECTION,
	LONG_JSON,
};

static const struct option long_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {"verbose", no_argument, NULL, 'v'},
    {"wake-fd", required_argument, NULL, LONG_WAKE_FD},
    {"board-fd", required_argument, NULL, LONG_BOARD_FD},
    {"events-fd", required_argument, NULL, LONG_EVENTS_FD},
    {"parent", required_argument, NULL, LONG_PARENT},
    {"config-name", required_argument, NULL, LONG_CONFIG_NAME},
    {"once", no_argument, NULL, LONG_ONCE},
    {"leave", no_argument, NULL, LONG_LEAVE},
    {"check", no_argument, NULL, LONG_CHECK},
    {"check-connection", no_argument, NULL, LONG_CHECK_CONNECTION},
    {"json", no_argument, NULL, LONG_JSON},
    {NULL, 0, NULL, 0},
};

/* Returns false when main() is to return *status now. */
static bool
take_option(struct worker *w, struct command_line *line, const char *name, int option,
    int *status)
{
	bool is_forward = strcmp(name, "tidegate-forward") == 0;
	bool is_good = true;

	switch (option) {
	case 'c':
		line->config_path = optarg;
		break;
	case 'h':
		print_help(name, is_forward);
		*status = EXIT_SUCCESS;
		return false;
	case 'V':
		printf("%s %s\n", name, PACKAGE_VERSION);
		*status = EXIT_SUCCESS;
		return false;
	case 'v':
		line->is_verbose = true;
		break;
	case LONG_WAKE_FD:
		w->wake_fd = small_number(optarg);
		is_good = w->wake_fd >= 0;
		break;
	case LONG_BOARD_FD:
		w->board_fd = small_number(optarg);
		is_good = w->board_fd >= 0;
		break;
	case LONG_EVENTS_FD:
		line->events_fd = small_number(optarg);
		is_good = line->events_fd >= 0;
		break;
	case LONG_PARENT:
		line->parent = small_number(optarg);
		is_good = line->parent > 0;
		break;
	case LONG_CONFIG_NAME:
		line->config_name = optarg;
		break;
	case LONG_LEAVE:
		w->leave = true;
		is_good = strcmp(name, "tidegate-ingest") == 0;
		break;
	case LONG_ONCE:
		w->once = true;
		is_good = is_forward;
		break;
	case LONG_CHECK:
		w->check = true;
		is_good = is_forward;
		break;
	case LONG_CHECK_CONNECTION:
		w->check_connection = true;
		is_good = strcmp(name, "tidegate-monitor") != 0;
		break;
	case LONG_JSON:
		w->is_json = true;
		break;
	default: /* getopt_long(3) has said why */
		is_good = false;
		break;
	}
	if (!is_good) {
		fprintf(stderr, "%s: wrong usage; see %s --help\n", name, name);
		*status = EXIT_USAGE;
	}
	return is_good;
}

static bool
read_command_line(struct worker *w, struct command_line *line, const char *name,
    int argc, char *argv[], int *status)
{
	int option = getopt_long(argc, argv, "c:hVv", long_options, NULL);

	for (; option != -1;
	     option = getopt_long(argc, argv, "c:hVv", long_options, NULL)) {
		if (!take_option(w, line, name, option, status))
			return false;
	}
	if (optind < argc) {
		fprintf(stderr, "%s: unexpected argument: %s; see %s --help\n", name,
		    argv[optind], name);
		*status = EXIT_USAGE;
		return false;
	}
	if (w->is_json && !w->check_connection) {
		fprintf(stderr, "%s: --json goes with --check-connection\n", name);
		*status = EXIT_USAGE;
		return false;
	}
	return true;
}

/* Of a check the lines on standard output are the result. */
static enum log_level
choose_level(const struct worker *w, const struct command_line *line)
{
	if (line->is_verbose)
		return LOG_LEVEL_DEBUG;
	return w->check_connection ? LOG_LEVEL_WARNING : w->settings->log.level;
}

/* With a check they go to whoever called, as they are; otherwise into the log. */
static void
report(const struct worker *w, struct buffer *mistakes)
{
	char *rest = NULL;
	char *text;

	if (buffer_append(mistakes, "", 1) != 0)
		return;
	text = (char *)mistakes->data;
	if (w->check || w->check_connection) {
		fputs(text, stderr);
		return;
	}
	for (char *one = strtok_r(text, "\n", &rest); one != NULL;
	     one = strtok_r(NULL, "\n", &rest))
		log_error(LOG_LIFECYCLE, "%s", one);
}

static int
read_settings(struct worker *w, const struct command_line *line)
{
	const char *name =
	    line->config_name != NULL ? line->config_name : line->config_path;
	struct buffer text = {0};
	struct buffer mistakes = {0};
	int err;

	err = settings_read(line->config_path, &text, &mistakes);
	if (err == 0)
		err = settings_parse(
		    &w->settings, name, (const char *)text.data, &mistakes);
	if (err != 0)
		report(w, &mistakes);
	buffer_fini(&text);
	buffer_fini(&mistakes);
	return err;
}

/* Is the descriptor there? From now on no child gets it. -1: none is meant. */
static bool
is_inherited(const char *option, int fd)
{
	if (fd < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) == 0)
		return true;
	log_error(LOG_LIFECYCLE, "%s %d: %s", option, fd, strerror(errno));
	return false;
}

static enum events_writer
writer_of(const char *name)
{
	if (strcmp(name, "tidegate-ingest") == 0)
		return EVENTS_INGEST;
	return strcmp(name, "tidegate-forward") == 0 ? EVENTS_FORWARD : EVENTS_MONITOR;
}

/* From now on each line of the log is kept for tidegate-monitor, too. */
static int
keep_events(struct worker *w, const char *name, int fd)
{
	int err;

	if (fd < 0)
		return 0;
	if (!is_inherited("--events-fd", fd))
		return ERR_IO;
	err = events_open(&w->events, fd);
	(void)close(fd); /* the map stays */
	if (err == 0)
		log_keep(w->events, writer_of(name));
	return err;
}

int
worker_begin(struct worker *w, const char *name, int argc, char *argv[], int *status)
{
	struct command_line line = {
	    .config_path = SETTINGS_DEFAULT_PATH, .events_fd = -1};
	int err;

	*w = (struct worker){.stop_fd = -1, .wake_fd = -1, .board_fd = -1};
	log_open(name, LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	if (!read_command_line(w, &line, name, argc, argv, status))
		return ERR_INVALID;
	err = keep_events(w, name, line.events_fd);
	if (err == 0)
		err = read_settings(w, &line);
	if (err != 0)
		goto fail;
	log_open(name, choose_level(w, &line), w->settings->log.format);
	if (!is_inherited("--wake-fd", w->wake_fd) ||
	    !is_inherited("--board-fd", w->board_fd)) {
		err = ERR_IO;
		goto fail;
	}
	err = take_signals(w, line.parent);
	if (err != 0)
		goto fail;
	return 0;

fail:
	*status = err == ERR_INVALID ? EXIT_CONFIG : EXIT_FAILED;
	worker_end(w);
	return err;
}

struct journal_options
worker_journal_options(const struct worker *w)
{
	const struct settings *s = w->settings;

	return (struct journal_options){
	    .directory = s->journal.directory,
	    .gateway_id = s->gateway_id,
	    .max_bytes = s->journal.max_bytes,
	    .dead_max_bytes = s->journal.dead_max_bytes,
	    .codec = s->journal.compression,
	    .preallocate = s->journal.preallocate,
	    .lock_wait_ms = LOCK_WAIT_MS,
	};
}

bool
worker_should_stop(const struct worker *w)
{
	(void)w;
	return stop_asked != 0;
}

void
worker_wake(const struct worker *w)
{
	uint64_t one = 1;

	if (w->wake_fd < 0)
		return;
	/* It fails only where the other has 2^64 - 2 wake-ups waiting. */
	if (write(w->wake_fd, &one, sizeof(one)) < 0)
		return;
}

void
worker_guard_begin(int limit_ms)
{
	struct itimerval timer = {
	    .it_interval = {.tv_sec = 1},
	    .it_value = {.tv_sec = limit_ms / 1000, .tv_usec = limit_ms % 1000 * 1000},
	};

	(void)setitimer(ITIMER_REAL, &timer, NULL);
}

void
worker_guard_end(void)
{
	struct itimerval timer = {.it_value = {.tv_sec = 0}};

	(void)setitimer(ITIMER_REAL, &timer, NULL);
}

void
worker_end(struct worker *w)
{
	stop_signal_fd = -1;
	if (w->stop_fd >= 0)
		(void)close(w->stop_fd);
	if (w->wake_fd >= 0)
		(void)close(w->wake_fd);
	if (w->board_fd >= 0)
		(void)close(w->board_fd);
	log_keep(NULL, EVENTS_MONITOR);
	events_close(w->events);
	settings_free(w->settings);
	*w = (struct worker){.stop_fd = -1, .wake_fd = -1, .board_fd = -1};
}
