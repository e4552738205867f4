/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --check-connection: what the programs find, one line a check on standard output, and
 * an end in time whatever hangs.
 *
 * A check is named by its end and its matter, "mqtt.subscription", and where there are
 * several of them by what it is about: a filter, a topic.
 */
#ifndef CHECK_H
#define CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buffer.h"

/* From here on nothing new is begun; what blocks is interrupted, each second. */
#define CHECK_SOFT_MS 10000
/* The process ends, with a line that says for what it waited. */
#define CHECK_HARD_MS 12000
/* tidegated ends a worker that has not even done that. */
#define CHECK_KILL_MS 13500

enum check_result {
	CHECK_OK,
	CHECK_WARN, /* it works, and not as one would want it */
	CHECK_FAIL,
};

struct check {
	bool is_json;
	bool has_failed; /* one of the lines is a CHECK_FAIL, or could not be written */
	int64_t soft_at_ms;
};

/* The worse of two. */
enum check_result check_worse(enum check_result a, enum check_result b);

/*
 * Append one line: "ok    mqtt subscription t/#: TEXT", or with is_json an object with
 * check, name (where there is one), result and text. Whatever the texts hold, it stays
 * one line, does nothing to a terminal, and is JSON.
 *
 * name:      NULL: none.
 * Errors:    ERR_NOMEM.
 */
int check_format(struct buffer *out, bool is_json, enum check_result result,
    const char *check, const char *name, const char *text);

/* Write a line to standard output. */
__attribute__((format(printf, 5, 6))) void check_say(struct check *c,
    enum check_result result, const char *check, const char *name, const char *format,
    ...);

/* The clock starts; SIGALRM, SIGTERM and SIGINT are taken over, and end the process. */
void check_begin(struct check *c, bool is_json);

/* Until CHECK_SOFT_MS; 0 when that is over. */
int64_t check_left_ms(const struct check *c);

/*
 * Something that may block begins. Should it not end, the last line of this process is
 * a CHECK_FAIL with these. The next check_say() takes it back.
 */
void check_wait_for(struct check *c, const char *check, const char *text);

/* What remains is only to release things: the process ends with what was found. */
void check_wait_for_nothing(const struct check *c);

/* The exit status. */
int check_status(const struct check *c);

/* "90 s", "45 min", "30 h", "12 days"; "512 B", "4.0 GiB". In a buffer of their own. */
struct check_text {
	char text[32];
};
struct check_text check_duration(int64_t ms);
struct check_text check_size(uint64_t bytes);

#endif
