/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The workers look at their ends at the same time, each with libraries and time limits
 * of its own; here their lines are put in order: MQTT, journal, Kafka.
 *
 * Failure modes: a worker that does not end by itself is killed, and one that does not
 * end even then (it sits in a call to a file system that has gone away) is left behind.
 */
#include "connection_check.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "child.h"
#include "err.h"
#include "now.h"
#include "worker.h"

#define SIDE_COUNT    2
#define TURN_MS       10
#define AFTER_KILL_MS 500
#define NOT_ENDED     (-1)

/* One of the workers. */
struct side {
	const char *program;
	const char *check; /* the name of the line that says that it did not answer */
	pid_t pid;
	int fd; /* of its standard output; -1 once that has ended */
	struct buffer lines;
	size_t printed_bytes;
	int status; /* as waitpid(2) gives it */
};

/* ---- their lines ---- */

/* Take in what is there; at the end of it fd is -1. */
static int
read_some(struct side *s)
{
	ssize_t n;
	int err = buffer_reserve(&s->lines, 4096);

	if (err != 0)
		return err;
	n = read(s->fd, s->lines.data + s->lines.size, 4096);
	if (n > 0)
		s->lines.size += (size_t)n;
	if (n > 0 || (n < 0 && errno == EINTR))
		return 0;
	(void)close(s->fd);
	s->fd = -1;
	return 0;
}

static void
print_lines(struct side *s)
{
	const uint8_t *from = s->lines.data + s->printed_bytes;
	size_t size = s->lines.size - s->printed_bytes;

	while (size > 0 && from[size - 1] != '\n')
		size--;
	if (size == 0)
		return;
	(void)fwrite(from, 1, size, stdout);
	(void)fflush(stdout); /* main() sees what went wrong */
	s->printed_bytes += size;
}

/* Until both have ended or the time is over. Those of the second wait for the first. */
static int
collect(struct side sides[SIDE_COUNT], int64_t deadline_ms)
{
	for (;;) {
		struct pollfd fds[SIDE_COUNT];
		int64_t left_ms = deadline_ms - now_monotonic_ms();

		for (size_t i = 0; i < SIDE_COUNT; i++)
			fds[i] = (struct pollfd){.fd = sides[i].fd, .events = POLLIN};
		if (left_ms <= 0 || (sides[0].fd < 0 && sides[1].fd < 0))
			return 0;
		if (poll(fds, SIDE_COUNT, (int)left_ms) <= 0)
			continue;
		for (size_t i = 0; i < SIDE_COUNT; i++) {
			int err = fds[i].revents == 0 ? 0 : read_some(&sides[i]);

			if (err != 0)
				return err;
		}
		print_lines(&sides[0]);
		if (sides[0].fd < 0)
			print_lines(&sides[1]);
	}
}

/* ---- their ends ---- */

static bool
has_ended(struct side *s)
{
	pid_t pid;

	if (s->status != NOT_ENDED)
		return true;
	do
		pid = waitpid(s->pid, &s->status, WNOHANG);
	while (pid < 0 && errno == EINTR);
	if (pid == 0)
		s->status = NOT_ENDED;
	return pid != 0;
}

static void
wait_until(struct side *s, int64_t deadline_ms)
{
	while (!has_ended(s) && now_monotonic_ms() < deadline_ms)
		(void)poll(NULL, 0, TURN_MS);
}

/* Returns the exit status that it is worth. */
static int
judge(struct side *s, bool was_killed, bool is_json)
{
	struct check c = {.is_json = is_json};
	bool is_silent = s->lines.size == 0;

	print_lines(s);
	if (!was_killed && WIFEXITED(s->status)) {
		int status = WEXITSTATUS(s->status);

		if (status == EXIT_SUCCESS || status == EXIT_CONFIG)
			return status;
		if (status == EXIT_FAILED && !is_silent)
			return status;
	}
	if (was_killed)
		check_say(&c, CHECK_FAIL, s->check, NULL, "%s gives no answer in time",
		    s->program);
	else if (WIFSIGNALED(s->status))
		check_say(&c, CHECK_FAIL, s->check, NULL, "%s ended with signal %d",
		    s->program, WTERMSIG(s->status));
	else
		check_say(&c, CHECK_FAIL, s->check, NULL,
		    "%s ended with status %d; its reason is on standard error",
		    s->program, WEXITSTATUS(s->status));
	return EXIT_FAILED;
}

static int
finish(struct side *s, bool is_json, int64_t deadline_ms)
{
	bool was_killed = false;

	wait_until(s, deadline_ms);
	if (s->status == NOT_ENDED) {
		(void)kill(s->pid, SIGKILL);
		was_killed = true;
		wait_until(s, now_monotonic_ms() + AFTER_KILL_MS);
	}
	return judge(s, was_killed, is_json);
}

/* ---- the whole ---- */

static int
start(struct side sides[SIDE_COUNT], const struct supervisor_options *o, bool is_json,
    const char *text)
{
	struct child_options child = {
	    .directory = o->worker_directory,
	    .config_name = o->config_path,
	    .config_fd = -1,
	    .wake_fd = -1,
	    .is_verbose = o->is_verbose,
	};
	int err = child_config_open(&child.config_fd, text);

	for (size_t i = 0; i < SIDE_COUNT && err == 0; i++)
		err = child_check_connection(
		    &sides[i].pid, &sides[i].fd, sides[i].program, &child, is_json);
	if (child.config_fd >= 0)
		(void)close(child.config_fd);
	return err;
}

static int
look(const struct supervisor_options *o, bool is_json, const char *text,
    int64_t deadline_ms)
{
	struct side sides[SIDE_COUNT] = {
	    {"tidegate-ingest", "mqtt", .fd = -1, .status = NOT_ENDED},
	    {"tidegate-forward", "kafka", .fd = -1, .status = NOT_ENDED},
	};
	int status = EXIT_SUCCESS;
	int err = start(sides, o, is_json, text);

	if (err == 0)
		err = collect(sides, deadline_ms);
	if (err != 0)
		status = EXIT_FAILED;
	/* In this order: what the second has said stands behind all of the first. */
	for (size_t i = 0; i < SIDE_COUNT; i++) {
		int one =
		    sides[i].pid > 0 ? finish(&sides[i], is_json, deadline_ms) : 0;

		if (one > status)
			status = one;
		if (sides[i].fd >= 0)
			(void)close(sides[i].fd);
		buffer_fini(&sides[i].lines);
	}
	return status;
}

int
connection_check(
    const struct supervisor_options *o, bool is_json, int64_t started_at_ms)
{
	struct settings *settings;
	struct buffer text = {0};
	struct buffer mistakes = {0};
	int err = supervisor_check(o, &settings, &text, &mistakes);
	int status = EXIT_FAILED;

	if (mistakes.size > 0)
		(void)fwrite(mistakes.data, 1, mistakes.size, stderr);
	if (err == ERR_INVALID)
		status = EXIT_CONFIG;
	else if (err == 0)
		status = look(
		    o, is_json, (const char *)text.data, started_at_ms + CHECK_KILL_MS);
	settings_free(settings);
	buffer_fini(&text);
	buffer_fini(&mistakes);
	return status;
}
