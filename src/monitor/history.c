/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Samples of the counts, and rates out of them.
 *
 * Invariant: the samples are in the order of time, and no count falls from one to the
 * next.
 */
#include "history.h"

#include <string.h>

void
history_add(struct history *h, const struct history_sample *s)
{
	const struct history_sample *last =
	    h->count > 0 ? &h->samples[h->count - 1] : NULL;

	if (last != NULL && (s->received_count < last->received_count ||
				s->delivered_count < last->delivered_count)) {
		h->count = 0;
		last = NULL;
	}
	if (last != NULL && s->at_ms < last->at_ms + HISTORY_STEP_MS)
		return;
	if (h->count == HISTORY_MAX) {
		memmove(h->samples, h->samples + 1,
		    (HISTORY_MAX - 1) * sizeof(h->samples[0]));
		h->count--;
	}
	h->samples[h->count++] = *s;
}

/* The first sample of the window, or NULL where there is none but the last. */
static const struct history_sample *
first_within(const struct history *h, int64_t window_ms)
{
	for (size_t i = 0; i + 1 < h->count; i++) {
		if (h->samples[i].at_ms >= h->samples[h->count - 1].at_ms - window_ms)
			return &h->samples[i];
	}
	return NULL;
}

static double
rate(uint64_t from_count, uint64_t to_count, int64_t ms)
{
	return (double)(to_count - from_count) * 1000 / (double)ms;
}

double
history_received_rate(const struct history *h, int64_t window_ms)
{
	const struct history_sample *first = first_within(h, window_ms);
	const struct history_sample *last;

	if (first == NULL)
		return 0;
	last = &h->samples[h->count - 1];
	return rate(
	    first->received_count, last->received_count, last->at_ms - first->at_ms);
}

double
history_delivered_rate(const struct history *h, int64_t window_ms)
{
	const struct history_sample *first = first_within(h, window_ms);
	const struct history_sample *last;

	if (first == NULL)
		return 0;
	last = &h->samples[h->count - 1];
	return rate(
	    first->delivered_count, last->delivered_count, last->at_ms - first->at_ms);
}
