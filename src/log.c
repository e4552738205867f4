/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log on stderr. Each line is made in memory and leaves by one write(2), so that
 * the lines of the daemon and its workers, which share the stream, do not mix.
 *
 * Failure modes: a line that cannot be written is lost; there is nobody to tell. With
 * no memory for its finished form, the text goes out as it is.
 */
#include "log.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "buffer.h"
#include "now.h"
#include "text.h"

#define TEXT_BYTES      2048 /* longer text is cut, with a mark */
#define REPEAT_QUIET_MS 60000

static const char *program_name = "tidegate";
static enum log_level lowest_level = LOG_LEVEL_INFO;
static enum log_format line_format = LOG_FORMAT_TEXT;

void
log_open(const char *program, enum log_level level, enum log_format format)
{
	program_name = program;
	lowest_level = level;
	line_format = format;
}

bool
log_enabled(enum log_level level)
{
	return level <= lowest_level;
}

static const char *
level_str(enum log_level level)
{
	switch (level) {
	case LOG_LEVEL_ERROR:
		return "error";
	case LOG_LEVEL_WARNING:
		return "warning";
	case LOG_LEVEL_INFO:
		return "info";
	case LOG_LEVEL_DEBUG:
		return "debug";
	}
	return "?";
}

static const char *
kind_str(enum log_kind kind)
{
	switch (kind) {
	case LOG_LIFECYCLE:
		return "lifecycle";
	case LOG_CONNECTION:
		return "connection";
	case LOG_DELIVERY:
		return "delivery";
	case LOG_JOURNAL:
		return "journal";
	case LOG_STATISTICS:
		return "statistics";
	}
	return "?";
}

static void
write_all(const char *data, size_t size)
{
	while (size > 0) {
		ssize_t n = write(STDERR_FILENO, data, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		data += n;
		size -= (size_t)n;
	}
}

/* 2026-11-24T10:00:00.123Z */
static void
format_time(char *out, size_t size)
{
	int64_t now_ms = now_real_ms();
	time_t seconds = (time_t)(now_ms / 1000);
	struct tm tm;
	char day[32];

	if (gmtime_r(&seconds, &tm) == NULL ||
	    strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm) == 0)
		day[0] = '\0';
	(void)snprintf(out, size, "%s.%03dZ", day, (int)(now_ms % 1000));
}

static int
format_text(
    enum log_level level, enum log_kind kind, const char *text, struct buffer *line)
{
	char when[48];
	int err;

	if (getenv("JOURNAL_STREAM") != NULL) {
		/* journald has the time, and takes the level from the prefix. */
		err = buffer_printf(
		    line, "<%d>%s: %s: ", (int)level, program_name, kind_str(kind));
	} else {
		format_time(when, sizeof(when));
		err = buffer_printf(line, "%s %s %s: %s: ", when, level_str(level),
		    program_name, kind_str(kind));
	}
	if (err != 0)
		return err;
	return buffer_append_str(line, text);
}

static int
format_json(
    enum log_level level, enum log_kind kind, const char *text, struct buffer *line)
{
	char when[48];
	json_t *object;
	char *dump = NULL;
	int err = -1;

	format_time(when, sizeof(when));
	object = json_pack("{s:s, s:s, s:s, s:s, s:s}", "time", when, "level",
	    level_str(level), "kind", kind_str(kind), "worker", program_name, "text",
	    text);
	if (object == NULL)
		goto done;
	dump = json_dumps(object, JSON_COMPACT);
	if (dump == NULL)
		goto done;
	err = buffer_append_str(line, dump);
done:
	free(dump);
	json_decref(object);
	return err;
}

static void
write_line(enum log_level level, enum log_kind kind, const char *text)
{
	struct buffer safe = {0};
	struct buffer line = {0};
	int err;

	err = text_append_safe(&safe, text, strlen(text));
	if (err == 0)
		err = buffer_append(&safe, "", 1);
	if (err == 0 && line_format == LOG_FORMAT_JSON)
		err = format_json(level, kind, (const char *)safe.data, &line);
	else if (err == 0)
		err = format_text(level, kind, (const char *)safe.data, &line);
	if (err == 0)
		err = buffer_append(&line, "\n", 1);
	if (err == 0)
		write_all((const char *)line.data, line.size);
	else
		write_all(text, strlen(text));
	buffer_fini(&safe);
	buffer_fini(&line);
}

__attribute__((format(printf, 3, 0))) static void
write_formatted(enum log_level level, enum log_kind kind, const char *format,
    va_list args, uint64_t suppressed_count)
{
	static const char cut[] = "...";
	char text[TEXT_BYTES];
	char tail[64] = "";
	int length;

	if (suppressed_count > 0)
		(void)snprintf(tail, sizeof(tail), " (%" PRIu64 " more were left out)",
		    suppressed_count);
	length = vsnprintf(text, sizeof(text) - sizeof(tail), format, args);
	if (length < 0)
		return;
	if ((size_t)length >= sizeof(text) - sizeof(tail)) {
		length = (int)(sizeof(text) - sizeof(tail) - sizeof(cut));
		memcpy(text + length, cut, sizeof(cut));
		length += (int)sizeof(cut) - 1;
	}
	memcpy(text + length, tail, strlen(tail) + 1);
	write_line(level, kind, text);
}

void
log_write(enum log_level level, enum log_kind kind, const char *format, ...)
{
	int saved_errno = errno;
	va_list args;

	if (!log_enabled(level))
		return;
	va_start(args, format);
	write_formatted(level, kind, format, args, 0);
	va_end(args);
	errno = saved_errno;
}

void
log_repeated(struct log_repeat *r, int64_t now_ms, enum log_level level,
    enum log_kind kind, const char *format, ...)
{
	int saved_errno = errno;
	va_list args;

	if (!log_enabled(level))
		return;
	if (now_ms < r->quiet_until_ms) {
		r->suppressed_count++;
		return;
	}
	va_start(args, format);
	write_formatted(level, kind, format, args, r->suppressed_count);
	va_end(args);
	r->quiet_until_ms = now_ms + REPEAT_QUIET_MS;
	r->suppressed_count = 0;
	errno = saved_errno;
}
