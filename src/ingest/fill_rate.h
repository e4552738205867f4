/* SPDX-License-Identifier: Apache-2.0 */
/* How long the journal's room lasts at the rate of the last minutes. */
#ifndef FILL_RATE_H
#define FILL_RATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FILL_RATE_SAMPLES  61
#define FILL_RATE_EVERY_MS 10000

struct fill_rate {
	struct {
		int64_t at_ms;
		uint64_t room_bytes;
	} samples[FILL_RATE_SAMPLES]; /* a ring; zero-initialised at first */
	size_t count;                 /* that there have been */
};

/* Is it time to measure the room? */
bool fill_rate_is_due(const struct fill_rate *r, int64_t now_ms);

void fill_rate_note(struct fill_rate *r, int64_t now_ms, uint64_t room_bytes);

/* 0: it is not known, or there is no end to it. */
int64_t fill_rate_full_in_ms(const struct fill_rate *r);

#endif
