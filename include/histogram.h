/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Durations, counted by length, as Prometheus wants them: each bucket has what is at most
 * as long as its bound and longer than the one before; the last has the rest.
 */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BUCKETS 16

struct histogram {
	uint64_t buckets[HISTOGRAM_BUCKETS];
	uint64_t sum_us;
};

/* Which bounds go with it. */
enum histogram_kind {
	HISTOGRAM_COMMIT,   /* 1 ms to 60 s */
	HISTOGRAM_DELIVERY, /* 10 ms to four weeks */
};

/* HISTOGRAM_BUCKETS - 1 bounds, us, rising. */
const int64_t *histogram_bounds_us(enum histogram_kind kind);

/* Count one more. A negative duration (a clock was set back) counts as 0. */
void histogram_add(struct histogram *h, enum histogram_kind kind, int64_t duration_us);

uint64_t histogram_count(const struct histogram *h);

#endif
