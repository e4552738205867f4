/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lines of --check-connection, and the clock behind them.
 *
 * Invariant: each line leaves by one write(2) where the other end takes it at once, so
 * that a process that is killed leaves no half of one.
 *
 * Failure modes: a call that no signal interrupts for good (getaddrinfo(3) with a name
 * server that does not answer) is left by ending the process, from the handler of
 * SIGALRM, with a line that was made before.
 */
#include "check.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include <jansson.h>

#include "err.h"
#include "now.h"
#include "text.h"
#include "worker.h"

#define PENDING_BYTES 1024

static const char *const result_names[] = {
    [CHECK_OK] = "ok",
    [CHECK_WARN] = "warn",
    [CHECK_FAIL] = "fail",
};

/* What the handler of SIGALRM needs: a process has one, and one clock. */
static char pending_line[PENDING_BYTES];
static volatile sig_atomic_t pending_size;
static volatile sig_atomic_t pending_status;
static volatile sig_atomic_t alarm_count;

enum check_result
check_worse(enum check_result a, enum check_result b)
{
	return a > b ? a : b;
}

/* ---- lines ---- */

/* JSON has its own way to make a text safe; it only has to be UTF-8. */
static int
set_text(json_t *object, const char *name, const char *text)
{
	struct buffer safe = {0};
	json_t *value;
	int rc = -1;

	if (text_is_utf8(text, strlen(text))) {
		value = json_string(text);
		return json_object_set_new(object, name, value);
	}
	if (text_append_safe(&safe, text, strlen(text)) == 0) {
		value = json_stringn((const char *)safe.data, safe.size);
		rc = json_object_set_new(object, name, value);
	}
	buffer_fini(&safe);
	return rc;
}

static int
format_json(struct buffer *out, const char *result, const char *check, const char *name,
    const char *text)
{
	json_t *object = json_object();
	char *line = NULL;
	int rc = set_text(object, "check", check);
	int err = ERR_NOMEM;

	if (rc == 0 && name != NULL)
		rc = set_text(object, "name", name);
	if (rc == 0)
		rc = set_text(object, "result", result);
	if (rc == 0)
		rc = set_text(object, "text", text);
	if (rc == 0)
		line = json_dumps(object, JSON_COMPACT);
	if (line != NULL)
		err = buffer_printf(out, "%s\n", line);
	free(line);
	json_decref(object);
	return err;
}

static int
format_text(struct buffer *out, const char *result, const char *check, const char *name,
    const char *text)
{
	int err = buffer_printf(out, "%-5s ", result);

	for (const char *c = check; *c != '\0' && err == 0; c++)
		err = buffer_append(out, *c == '.' ? " " : c, 1);
	if (err == 0 && name != NULL)
		err = buffer_append_str(out, " ");
	if (err == 0 && name != NULL)
		err = text_append_safe(out, name, strlen(name));
	if (err == 0)
		err = buffer_append_str(out, ": ");
	if (err == 0)
		err = text_append_safe(out, text, strlen(text));
	if (err == 0)
		err = buffer_append_str(out, "\n");
	return err;
}

int
check_format(struct buffer *out, bool is_json, enum check_result result,
    const char *check, const char *name, const char *text)
{
	return is_json ? format_json(out, result_names[result], check, name, text)
		       : format_text(out, result_names[result], check, name, text);
}

static bool
write_all(const void *data, size_t size)
{
	const uint8_t *at = data;

	while (size > 0) {
		ssize_t n = write(STDOUT_FILENO, at, size);

		if (n < 0 && errno != EINTR)
			return false;
		at += n > 0 ? n : 0;
		size -= n > 0 ? (size_t)n : 0;
	}
	return true;
}

void
check_say(struct check *c, enum check_result result, const char *check,
    const char *name, const char *format, ...)
{
	struct buffer line = {0};
	char *text = NULL;
	va_list args;
	int err = ERR_NOMEM;
	int length;

	va_start(args, format);
	length = vasprintf(&text, format, args);
	va_end(args);
	if (length >= 0)
		err = check_format(&line, c->is_json, result, check, name, text);
	if (result == CHECK_FAIL)
		c->has_failed = true;
	check_wait_for_nothing(c);
	if (err != 0 || !write_all(line.data, line.size)) {
		fprintf(stderr, "standard output: %s\n",
		    err != 0 ? err_str(err) : strerror(errno));
		c->has_failed = true;
		check_wait_for_nothing(c);
	}
	if (length >= 0)
		free(text);
	buffer_fini(&line);
}

int
check_status(const struct check *c)
{
	return c->has_failed ? EXIT_FAILED : EXIT_SUCCESS;
}

/* ---- the clock ---- */

/* The first ones interrupt; a second each, they come to CHECK_HARD_MS. */
static void
on_alarm(int signal_number)
{
	int saved_errno = errno;

	(void)signal_number;
	alarm_count++;
	if (alarm_count <= (CHECK_HARD_MS - CHECK_SOFT_MS) / 1000) {
		errno = saved_errno;
		return;
	}
	if (pending_size > 0)
		(void)write_all(pending_line, (size_t)pending_size);
	_exit(pending_status);
}

void
check_begin(struct check *c, bool is_json)
{
	struct sigaction action = {.sa_handler = on_alarm};
	struct itimerval timer = {
	    .it_interval = {.tv_sec = 1},
	    .it_value = {.tv_sec = CHECK_SOFT_MS / 1000},
	};

	*c = (struct check){
	    .is_json = is_json, .soft_at_ms = now_monotonic_ms() + CHECK_SOFT_MS};
	alarm_count = 0;
	check_wait_for_nothing(c);
	/* Nothing is open that would have to be left in order. */
	(void)signal(SIGTERM, SIG_DFL);
	(void)signal(SIGINT, SIG_DFL);
	(void)sigemptyset(&action.sa_mask);
	(void)sigaction(SIGALRM, &action, NULL);
	(void)setitimer(ITIMER_REAL, &timer, NULL);
}

int64_t
check_left_ms(const struct check *c)
{
	int64_t left_ms = c->soft_at_ms - now_monotonic_ms();

	return left_ms > 0 ? left_ms : 0;
}

void
check_wait_for(struct check *c, const char *check, const char *text)
{
	struct buffer line = {0};
	int err = check_format(&line, c->is_json, CHECK_FAIL, check, NULL, text);

	check_wait_for_nothing(c);
	if (err == 0 && line.size <= sizeof(pending_line)) {
		memcpy(pending_line, line.data, line.size);
		pending_size = (sig_atomic_t)line.size;
	}
	pending_status = EXIT_FAILED;
	buffer_fini(&line);
}

void
check_wait_for_nothing(const struct check *c)
{
	pending_size = 0;
	pending_status = check_status(c);
}

/* ---- for people ---- */

struct check_text
check_duration(int64_t ms)
{
	static const struct {
		int64_t from_s, unit_s;
		const char *word;
	} units[] = {
	    {3 * 86400, 86400, "days"},
	    {3 * 3600, 3600, "h"},
	    {3 * 60, 60, "min"},
	    {0, 1, "s"},
	};
	struct check_text t;
	int64_t s = ms / 1000;
	size_t i = 0;

	while (s < units[i].from_s)
		i++;
	if (ms < 1000)
		(void)snprintf(t.text, sizeof(t.text), "%" PRId64 " ms", ms);
	else
		(void)snprintf(t.text, sizeof(t.text), "%" PRId64 " %s",
		    s / units[i].unit_s, units[i].word);
	return t;
}

struct check_text
check_size(uint64_t bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
	struct check_text t;
	double value = (double)bytes;
	size_t i = 0;

	while (value >= 1024 && i + 1 < sizeof(units) / sizeof(units[0])) {
		value /= 1024;
		i++;
	}
	(void)snprintf(
	    t.text, sizeof(t.text), i == 0 ? "%.0f %s" : "%.1f %s", value, units[i]);
	return t;
}
