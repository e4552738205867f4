/* SPDX-License-Identifier: Apache-2.0 */
/* The rates of the last minutes: samples of the counts, for the curve of the page. */
#ifndef HISTORY_H
#define HISTORY_H

#include <stddef.h>
#include <stdint.h>

#define HISTORY_STEP_MS 5000
#define HISTORY_MAX     181 /* 15 minutes, both ends counted */

struct history_sample {
	int64_t at_ms; /* monotonic */
	uint64_t received_count;
	uint64_t delivered_count; /* of all routes */
	uint64_t backlog;         /* records in the journal */
};

struct history {
	struct history_sample samples[HISTORY_MAX]; /* the oldest first */
	size_t count;
};

/*
 * Take a sample where HISTORY_STEP_MS have passed since the last one; the oldest is
 * forgotten where there is no room. Counts that have gone back (tidegated has started
 * anew) forget all that was before.
 */
void history_add(struct history *h, const struct history_sample *s);

/* One a second, over the last window_ms; 0 with fewer than two samples. */
double history_received_rate(const struct history *h, int64_t window_ms);
double history_delivered_rate(const struct history *h, int64_t window_ms);

#endif
