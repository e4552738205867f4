/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The room is looked at now and then; what counts is the difference between now and the
 * oldest look that is kept, ten minutes ago: what comes in less what goes out.
 *
 * Invariant: nothing is said before a minute has been seen, nor while the room grows or
 * shrinks by no more than the pages that a journal takes and frees while nothing waits.
 */
#include "fill_rate.h"

#define SEEN_MS     60000
#define LEAST_BYTES ((uint64_t)64 << 10)
#define LONGEST_MS  ((int64_t)365 * 24 * 3600 * 1000)

static size_t
latest(const struct fill_rate *r)
{
	return (r->count - 1) % FILL_RATE_SAMPLES;
}

bool
fill_rate_is_due(const struct fill_rate *r, int64_t now_ms)
{
	return r->count == 0 ||
	       now_ms - r->samples[latest(r)].at_ms >= FILL_RATE_EVERY_MS;
}

void
fill_rate_note(struct fill_rate *r, int64_t now_ms, uint64_t room_bytes)
{
	size_t at = r->count++ % FILL_RATE_SAMPLES;

	r->samples[at].at_ms = now_ms;
	r->samples[at].room_bytes = room_bytes;
}

int64_t
fill_rate_full_in_ms(const struct fill_rate *r)
{
	size_t first = r->count > FILL_RATE_SAMPLES ? r->count % FILL_RATE_SAMPLES : 0;
	uint64_t then, now;
	int64_t span_ms;
	double left_ms;

	if (r->count < 2)
		return 0;
	span_ms = r->samples[latest(r)].at_ms - r->samples[first].at_ms;
	then = r->samples[first].room_bytes;
	now = r->samples[latest(r)].room_bytes;
	if (span_ms < SEEN_MS || now >= then || now == 0 || then - now < LEAST_BYTES)
		return 0;
	left_ms = (double)now / (double)(then - now) * (double)span_ms;
	if (left_ms > (double)LONGEST_MS)
		return 0;
	return left_ms < 1 ? 1 : (int64_t)left_ms;
}
