/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log on stderr. Each line is made in memory and leaves by one write(2), so that
 * the lines of the daemon and its workers, which share the stream, do not mix.
 *
 * Failure modes: a line that cannot be written is lost; there is nobody to tell, but it
 * is among the latest events where those are kept. With
 * no memory for its finished form, the text goes out as it is. What is suppressed in
 * more places than there are rows for it is told together.
 */
#include "log.h"

#include <errno.h>
#include <fcntl.h>
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
#define SUPPRESSED_MAX  32

static const char *program_name = "tidegate";
static enum log_level lowest_level = LOG_LEVEL_INFO;
static enum log_format line_format = LOG_FORMAT_TEXT;
static struct events *kept_events; /* NULL: they are not kept */
static enum events_writer kept_writer;

/*
 * A program may be started with its streams closed. Then the next file to be opened, the
 * journal perhaps, would get number 2, and the log would be written into it. Only to be
 * read: what is written there fails, as on a closed stream.
 */
static void
take_streams(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDONLY);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd > STDERR_FILENO)
		(void)close(fd);
}

void
log_open(const char *program, enum log_level level, enum log_format format)
{
	take_streams();
	program_name = program;
	lowest_level = level;
	line_format = format;
}

void
log_keep(struct events *e, enum events_writer writer)
{
	kept_events = e;
	kept_writer = writer;
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
format_time(char *out, size_t size, int64_t real_ms)
{
	time_t seconds = (time_t)(real_ms / 1000);
	struct tm tm;
	char day[32];

	if (gmtime_r(&seconds, &tm) == NULL ||
	    strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm) == 0)
		day[0] = '\0';
	(void)snprintf(out, size, "%s.%03dZ", day, (int)(real_ms % 1000));
}

/* A line, before it has its form. */
struct event {
	enum log_level level;
	enum log_kind kind;
	const struct log_details *details; /* NULL: none */
	uint64_t suppressed_count;
};

static int
format_text(
    const struct event *e, int64_t real_ms, const char *text, struct buffer *line)
{
	char when[48];
	int err;

	if (getenv("JOURNAL_STREAM") != NULL) {
		/* journald has the time, and takes the level from the prefix. */
		err = buffer_printf(line, "<%d>%s: %s: ", (int)e->level, program_name,
		    kind_str(e->kind));
	} else {
		format_time(when, sizeof(when), real_ms);
		err = buffer_printf(line, "%s %s %s: %s: ", when, level_str(e->level),
		    program_name, kind_str(e->kind));
	}
	if (err != 0)
		return err;
	return buffer_append_str(line, text);
}

/* What JSON takes: text as it is shown to people. NULL: no memory. */
static json_t *
json_of_text(const char *text)
{
	struct buffer safe = {0};
	json_t *string = NULL;

	if (text_append_safe(&safe, text, strlen(text)) == 0)
		string = json_stringn((const char *)safe.data, safe.size);
	buffer_fini(&safe);
	return string;
}

/* Anything but 0: no memory. */
static int
add_counts(json_t *object, const struct event *e)
{
	const struct log_details *d = e->details;
	int err = 0;

	for (size_t i = 0; d != NULL && i < LOG_COUNTS_MAX && err == 0; i++) {
		if (d->counts[i].name == NULL)
			break;
		err = json_object_set_new(object, d->counts[i].name,
		    json_integer((json_int_t)d->counts[i].value));
	}
	if (err == 0 && e->suppressed_count > 0)
		err = json_object_set_new(object, "suppressed",
		    json_integer((json_int_t)e->suppressed_count));
	return err;
}

static int
format_json(
    const struct event *e, int64_t real_ms, const char *text, struct buffer *line)
{
	char when[48];
	json_t *object;
	char *dump = NULL;
	int err = -1;

	format_time(when, sizeof(when), real_ms);
	object = json_pack("{s:s, s:s, s:s, s:s}", "time", when, "level",
	    level_str(e->level), "kind", kind_str(e->kind), "worker", program_name);
	if (object == NULL)
		goto done;
	if (e->details != NULL && e->details->route != NULL &&
	    json_object_set_new(object, "route", json_of_text(e->details->route)) != 0)
		goto done;
	if (json_object_set_new(object, "text", json_string(text)) != 0 ||
	    add_counts(object, e) != 0)
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

/* As format_json(), in at most EVENTS_LINE_BYTES; text is cut where it has to be. */
static int
format_short(struct event e, int64_t real_ms, char *text, struct buffer *line)
{
	static const char cut[] = "...";
	struct log_details details = {
	    .route = e.details != NULL ? e.details->route : NULL};
	size_t size = strlen(text);
	int err = format_json(&e, real_ms, text, line);

	if (err == 0 && line->size > EVENTS_LINE_BYTES) {
		buffer_clear(line);
		e.details = &details; /* without its counts */
		err = format_json(&e, real_ms, text, line);
	}
	while (err == 0 && line->size > EVENTS_LINE_BYTES && size > 0) {
		/* A byte of text takes one in the line, or two. */
		size_t over = (line->size - EVENTS_LINE_BYTES) / 2 + strlen(cut);

		size = size > over ? text_cut(text, size - over) : 0;
		memcpy(text + size, size > 0 ? cut : "", size > 0 ? sizeof(cut) : 1);
		buffer_clear(line);
		err = format_json(&e, real_ms, text, line);
	}
	return err;
}

/* Keeps a line among the latest events; text may be cut. */
static void
keep(const struct event *e, int64_t real_ms, char *text)
{
	struct buffer line = {0};

	/* With no memory for it it is in the log alone. */
	if (kept_events != NULL && format_short(*e, real_ms, text, &line) == 0)
		events_put(kept_events, kept_writer, real_ms, (const char *)line.data,
		    line.size);
	buffer_fini(&line);
}

static void
write_line(const struct event *e, const char *text)
{
	int64_t real_ms = now_real_ms();
	struct buffer safe = {0};
	struct buffer line = {0};
	int err;

	err = text_append_safe(&safe, text, strlen(text));
	if (err == 0)
		err = buffer_append(&safe, "", 1);
	if (err == 0 && line_format == LOG_FORMAT_JSON)
		err = format_json(e, real_ms, (const char *)safe.data, &line);
	else if (err == 0)
		err = format_text(e, real_ms, (const char *)safe.data, &line);
	if (err == 0)
		err = buffer_append(&line, "\n", 1);
	if (err == 0)
		write_all((const char *)line.data, line.size);
	else
		write_all(text, strlen(text));
	if (err == 0)
		keep(e, real_ms, (char *)safe.data);
	buffer_fini(&safe);
	buffer_fini(&line);
}

__attribute__((format(printf, 2, 0))) static void
write_formatted(const struct event *e, const char *format, va_list args)
{
	static const char cut[] = "...";
	int saved_errno = errno;
	char text[TEXT_BYTES];
	char tail[64] = "";
	int length;

	if (e->suppressed_count > 0)
		(void)snprintf(tail, sizeof(tail), " (%" PRIu64 " more were left out)",
		    e->suppressed_count);
	length = vsnprintf(text, sizeof(text) - sizeof(tail), format, args);
	if (length < 0)
		return;
	if ((size_t)length >= sizeof(text) - sizeof(tail)) {
		length = (int)(sizeof(text) - sizeof(tail) - sizeof(cut));
		memcpy(text + length, cut, sizeof(cut));
		length += (int)sizeof(cut) - 1;
	}
	memcpy(text + length, tail, strlen(tail) + 1);
	write_line(e, text);
	errno = saved_errno;
}

void
log_write(enum log_level level, enum log_kind kind, const char *format, ...)
{
	const struct event e = {.level = level, .kind = kind};
	va_list args;

	if (!log_enabled(level))
		return;
	va_start(args, format);
	write_formatted(&e, format, args);
	va_end(args);
}

void
log_event(enum log_level level, enum log_kind kind, const struct log_details *details,
    const char *format, ...)
{
	const struct event e = {.level = level, .kind = kind, .details = details};
	va_list args;

	if (!log_enabled(level))
		return;
	va_start(args, format);
	write_formatted(&e, format, args);
	va_end(args);
}

/* ---- what repeats itself ---- */

/*
 * What is being left out. A place is known by its address alone, which may be gone. In
 * the last row everything for which there was none of its own.
 */
static struct suppressed {
	const struct log_repeat *place; /* NULL: free */
	enum log_level level;
	enum log_kind kind;
	uint64_t count;
	char route[64];
	char text[160]; /* the latest */
} suppressed[SUPPRESSED_MAX + 1];

static uint32_t suppressed_epoch;

static struct suppressed *
row_of(const struct log_repeat *r)
{
	size_t i = 0;

	while (i < SUPPRESSED_MAX && suppressed[i].place != r)
		i++;
	return &suppressed[i];
}

__attribute__((format(printf, 3, 0))) static void
suppress(struct log_repeat *r, const struct event *e, const char *format, va_list args)
{
	const char *route = e->details != NULL ? e->details->route : NULL;
	struct suppressed *row = row_of(r);

	if (r->epoch != suppressed_epoch)
		r->suppressed_count = 0;
	r->epoch = suppressed_epoch;
	r->suppressed_count++;
	if (row->place == NULL)
		row = row_of(NULL);
	row->place = r;
	row->level = e->level;
	row->kind = e->kind;
	row->count++;
	(void)snprintf(
	    row->route, sizeof(row->route), "%s", route != NULL ? route : "");
	(void)vsnprintf(row->text, sizeof(row->text), format, args);
}

/* How many were left out; they are told now. */
static uint64_t
settle(struct log_repeat *r)
{
	uint64_t count = r->epoch == suppressed_epoch ? r->suppressed_count : 0;
	struct suppressed *row = row_of(r);

	r->suppressed_count = 0;
	row->count -= count < row->count ? count : row->count;
	if (row->count == 0)
		row->place = NULL;
	return count;
}

__attribute__((format(printf, 4, 0))) static void
write_repeated(struct log_repeat *r, int64_t now_ms, struct event *e,
    const char *format, va_list args)
{
	int saved_errno = errno;

	if (!log_enabled(e->level))
		return;
	if (now_ms < r->quiet_until_ms) {
		suppress(r, e, format, args);
	} else {
		r->quiet_until_ms = now_ms + REPEAT_QUIET_MS;
		e->suppressed_count = settle(r);
		write_formatted(e, format, args);
	}
	errno = saved_errno;
}

void
log_repeated(struct log_repeat *r, int64_t now_ms, enum log_level level,
    enum log_kind kind, const char *format, ...)
{
	struct event e = {.level = level, .kind = kind};
	va_list args;

	va_start(args, format);
	write_repeated(r, now_ms, &e, format, args);
	va_end(args);
}

void
log_event_repeated(struct log_repeat *r, int64_t now_ms, enum log_level level,
    enum log_kind kind, const struct log_details *details, const char *format, ...)
{
	struct event e = {.level = level, .kind = kind, .details = details};
	va_list args;

	va_start(args, format);
	write_repeated(r, now_ms, &e, format, args);
	va_end(args);
}

void
log_recovered(struct log_repeat *r, enum log_level level, enum log_kind kind,
    const struct log_details *details, const char *format, ...)
{
	struct event e = {.level = level, .kind = kind, .details = details};
	va_list args;

	if (!log_enabled(level))
		return;
	e.suppressed_count = settle(r);
	/* Or the log would end with what is not so any more. */
	r->quiet_until_ms = 0;
	va_start(args, format);
	write_formatted(&e, format, args);
	va_end(args);
}

__attribute__((format(printf, 2, 3))) static void
write_event(const struct event *e, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	write_formatted(e, format, args);
	va_end(args);
}

void
log_tell_suppressed(void)
{
	for (size_t i = 0; i <= SUPPRESSED_MAX; i++) {
		struct suppressed *row = &suppressed[i];
		const struct log_details details = {
		    .route = row->route[0] != '\0' ? row->route : NULL};
		const struct event e = {row->level, row->kind, &details, row->count};

		if (row->count > 0 && log_enabled(row->level))
			write_event(&e, "%s", row->text);
		row->place = NULL;
		row->count = 0;
	}
	suppressed_epoch++;
}
