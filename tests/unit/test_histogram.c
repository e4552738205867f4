/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "histogram.h"

static const enum histogram_kind kinds[] = {HISTOGRAM_COMMIT, HISTOGRAM_DELIVERY};

static void
bounds_rise(void **state)
{
	(void)state;
	for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
		const int64_t *bounds = histogram_bounds_us(kinds[k]);

		assert_true(bounds[0] > 0);
		for (int i = 1; i < HISTOGRAM_BUCKETS - 1; i++)
			assert_true(bounds[i] > bounds[i - 1]);
	}
	assert_int_equal(
	    histogram_bounds_us(HISTOGRAM_COMMIT)[HISTOGRAM_BUCKETS - 2], 60000000);
	assert_int_equal(histogram_bounds_us(HISTOGRAM_DELIVERY)[0], 10000);
	assert_int_equal(histogram_bounds_us(HISTOGRAM_DELIVERY)[HISTOGRAM_BUCKETS - 2],
	    28 * (int64_t)86400 * 1000000);
}

/* The one bucket that holds something. */
static int
bucket_of(enum histogram_kind kind, int64_t duration_us)
{
	struct histogram h = {0};
	int found = -1;

	histogram_add(&h, kind, duration_us);
	assert_int_equal(histogram_count(&h), 1);
	for (int i = 0; i < HISTOGRAM_BUCKETS; i++) {
		if (h.buckets[i] != 0)
			found = i;
	}
	return found;
}

static void
bound_belongs_to_the_bucket_below_it(void **state)
{
	(void)state;
	for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
		const int64_t *bounds = histogram_bounds_us(kinds[k]);

		for (int i = 0; i < HISTOGRAM_BUCKETS - 1; i++) {
			assert_int_equal(bucket_of(kinds[k], bounds[i]), i);
			assert_int_equal(bucket_of(kinds[k], bounds[i] + 1), i + 1);
		}
		assert_int_equal(bucket_of(kinds[k], INT64_MAX), HISTOGRAM_BUCKETS - 1);
	}
}

static void
nothing_and_less_count_as_nothing(void **state)
{
	struct histogram h = {0};

	(void)state;
	histogram_add(&h, HISTOGRAM_COMMIT, 0);
	histogram_add(&h, HISTOGRAM_COMMIT, -5);
	histogram_add(&h, HISTOGRAM_COMMIT, INT64_MIN);
	assert_int_equal(h.buckets[0], 3);
	assert_int_equal(h.sum_us, 0);
}

static void
counts_and_sum_add_up(void **state)
{
	struct histogram h = {0};

	(void)state;
	assert_int_equal(histogram_count(&h), 0);
	for (int64_t i = 1; i <= 1000; i++)
		histogram_add(&h, HISTOGRAM_COMMIT, i * 1000);
	assert_int_equal(histogram_count(&h), 1000);
	assert_int_equal(h.sum_us, 500500000);
	assert_int_equal(h.buckets[0], 1);   /* 1 ms */
	assert_int_equal(h.buckets[2], 3);   /* 3, 4, 5 ms */
	assert_int_equal(h.buckets[9], 500); /* up to a second */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(bounds_rise),
	    cmocka_unit_test(bound_belongs_to_the_bucket_below_it),
	    cmocka_unit_test(nothing_and_less_count_as_nothing),
	    cmocka_unit_test(counts_and_sum_add_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
