/* SPDX-License-Identifier: Apache-2.0 */
/* Durations, counted by length. Cannot fail. */
#include "histogram.h"

#define MS(n) ((int64_t)(n)*1000)
#define S(n)  ((int64_t)(n)*1000000)

static const int64_t bounds_us[][HISTOGRAM_BUCKETS - 1] = {
    [HISTOGRAM_COMMIT] = {MS(1), MS(2), MS(5), MS(10), MS(20), MS(50), MS(100), MS(200),
	MS(500), S(1), S(2), S(5), S(10), S(30), S(60)},
    [HISTOGRAM_DELIVERY] = {MS(10), MS(25), MS(50), MS(100), MS(250), MS(500), S(1),
	S(5), S(10), S(60), S(600), S(3600), S(86400), S(604800), S(4 * 604800)},
};

const int64_t *
histogram_bounds_us(enum histogram_kind kind)
{
	return bounds_us[kind];
}

void
histogram_add(struct histogram *h, enum histogram_kind kind, int64_t duration_us)
{
	const int64_t *bounds = bounds_us[kind];
	int i = 0;

	if (duration_us < 0)
		duration_us = 0;
	while (i < HISTOGRAM_BUCKETS - 1 && duration_us > bounds[i])
		i++;
	h->buckets[i]++;
	h->sum_us += (uint64_t)duration_us;
}

uint64_t
histogram_count(const struct histogram *h)
{
	uint64_t count = 0;

	for (int i = 0; i < HISTOGRAM_BUCKETS; i++)
		count += h->buckets[i];
	return count;
}
