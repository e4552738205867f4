/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The latest events of tidegated and its workers, in memory that they share: each line
 * of the log, as the JSON object that log.format = "json" would write, whatever format
 * the log itself has. tidegate-monitor serves them at /events.
 *
 * Each writer has a ring of its own and never waits; a line that is being written while
 * it is read is left out. One that does not fit is kept without its counts and with its
 * text cut.
 */
#ifndef EVENTS_H
#define EVENTS_H

#include <stddef.h>
#include <stdint.h>

#include "buffer.h"

#define EVENTS_MAX        1000 /* of each writer, and in an answer */
#define EVENTS_LINE_BYTES 1000 /* without its newline */

enum events_writer {
	EVENTS_SUPERVISOR,
	EVENTS_INGEST,
	EVENTS_FORWARD,
	EVENTS_MONITOR,
	EVENTS_WRITER_COUNT,
};

struct events;

/* The memory for it. Ownership: *fd is the caller's, close-on-exec. Errors: ERR_IO (logged). */
int events_make(int *fd);

/* Ownership: *out is the caller's; fd is borrowed. Errors: ERR_IO, ERR_VERSION (logged); ERR_NOMEM. */
int events_open(struct events **out, int fd);
void events_close(struct events *e);

/* Never fails, never waits. line: size bytes of UTF-8, at most EVENTS_LINE_BYTES, no newline. */
void events_put(struct events *e, enum events_writer writer, int64_t real_ms,
    const char *line, size_t size);

/*
 * The latest max events of all writers, by their time, the oldest first, each with a
 * newline. Those of one writer stay in its order, however its clock was set. Appends to
 * out. e: NULL is without any. Errors: ERR_NOMEM.
 */
int events_read(const struct events *e, size_t max, struct buffer *out);

#endif
