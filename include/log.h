/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log: one line an event on stderr, in text (with <N> priorities where
 * journald reads it, see sd-daemon(3)) or as a JSON object.
 */
#ifndef LOG_H
#define LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "events.h"

/* The values are syslog(3)'s. */
enum log_level {
	LOG_LEVEL_ERROR = 3,
	LOG_LEVEL_WARNING = 4,
	LOG_LEVEL_INFO = 6,
	LOG_LEVEL_DEBUG = 7,
};

/* What an event is about. */
enum log_kind {
	LOG_LIFECYCLE,
	LOG_CONNECTION,
	LOG_DELIVERY,
	LOG_JOURNAL,
	LOG_STATISTICS,
};

enum log_format {
	LOG_FORMAT_TEXT,
	LOG_FORMAT_JSON,
};

/*
 * Name of this program in each line; borrowed for good. Before this: "tidegate", info, text.
 * The first thing that a program does: standard streams that are closed are taken, so that
 * no file that is opened later gets their number.
 */
void log_open(const char *program, enum log_level level, enum log_format format);

/*
 * Keep each line from now on among the latest events, too. e: borrowed until this is
 * called with another one; NULL: nowhere.
 */
void log_keep(struct events *e, enum events_writer writer);

/* Would a line of this level be written? */
bool log_enabled(enum log_level level);

/* Write one line. Control characters in the text are escaped. errno is kept. */
__attribute__((format(printf, 3, 4))) void log_write(
    enum log_level level, enum log_kind kind, const char *format, ...);

#define log_error(kind, ...)   log_write(LOG_LEVEL_ERROR, kind, __VA_ARGS__)
#define log_warning(kind, ...) log_write(LOG_LEVEL_WARNING, kind, __VA_ARGS__)
#define log_info(kind, ...)    log_write(LOG_LEVEL_INFO, kind, __VA_ARGS__)
#define log_debug(kind, ...)   log_write(LOG_LEVEL_DEBUG, kind, __VA_ARGS__)

#define LOG_COUNTS_MAX 12

/* A count of an event. name: snake_case, as it stands in the JSON object; static. */
struct log_count {
	const char *name;
	uint64_t value;
};

/*
 * What an event is about, for programs that read the log: fields of the JSON object
 * beside the text, which says the same to people. Zero-initialised: nothing.
 */
struct log_details {
	const char *route;                       /* NULL: none in particular */
	struct log_count counts[LOG_COUNTS_MAX]; /* up to the first without a name */
};

/* As log_write(). details: borrowed for the call; NULL: none. */
__attribute__((format(printf, 4, 5))) void log_event(enum log_level level,
    enum log_kind kind, const struct log_details *details, const char *format, ...);

/* State of one place that may repeat itself; zero-initialised is valid. */
struct log_repeat {
	int64_t quiet_until_ms;
	uint64_t suppressed_count;
	uint32_t epoch; /* of log_tell_suppressed() */
};

/*
 * As log_write(), but at most one line a minute for each struct log_repeat; the
 * next line that is written tells how many were left out.
 */
__attribute__((format(printf, 5, 6))) void log_repeated(struct log_repeat *r,
    int64_t now_ms, enum log_level level, enum log_kind kind, const char *format, ...);
__attribute__((format(printf, 6, 7))) void log_event_repeated(struct log_repeat *r,
    int64_t now_ms, enum log_level level, enum log_kind kind,
    const struct log_details *details, const char *format, ...);

/*
 * What r repeated is over: as log_event(), and tells what of it was left out. When it
 * begins anew that is news, and written at once.
 */
__attribute__((format(printf, 5, 6))) void log_recovered(struct log_repeat *r,
    enum log_level level, enum log_kind kind, const struct log_details *details,
    const char *format, ...);

/*
 * A line for each place that has left lines out and has not told so since. Now and then
 * and at the end: what is suppressed is never silent.
 */
void log_tell_suppressed(void);

#endif
