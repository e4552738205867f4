/* SPDX-License-Identifier: Apache-2.0 */
/* Points in time, as people write and read them. */
#ifndef DUMP_TIME_H
#define DUMP_TIME_H

#include <stdint.h>

#include "buffer.h"

/*
 * A point in time: RFC 3339 ("2026-11-24T10:00:00Z", with a zone and a fraction if
 * wanted), or how long ago: "-90s", "-30m", "-2h", "-1d".
 *
 * Units:     ms since the epoch.
 * Errors:    ERR_INVALID.
 */
int dump_time_parse(const char *text, int64_t now_ms, int64_t *at_ms);

/*
 * Append a time in RFC 3339, UTC, with milliseconds; what no calendar has, as a number.
 *
 * Units:     ms since the epoch.
 * Errors:    ERR_NOMEM, out is as before.
 */
int dump_time_append(struct buffer *out, uint64_t at_ms);

#endif
