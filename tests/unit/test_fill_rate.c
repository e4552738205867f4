/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ingest/fill_rate.h"

#define EVERY FILL_RATE_EVERY_MS

static void
nothing_is_said_before_a_minute_was_seen(void **state)
{
	struct fill_rate r = {0};

	(void)state;
	assert_true(fill_rate_is_due(&r, 5));
	assert_int_equal(fill_rate_full_in_ms(&r), 0);
	for (int i = 0; i < 6; i++) {
		fill_rate_note(&r, 1000 + i * EVERY, 100000000 - (uint64_t)i * 100000);
		assert_int_equal(fill_rate_full_in_ms(&r), 0);
		assert_false(fill_rate_is_due(&r, 1000 + i * EVERY + EVERY - 1));
		assert_true(fill_rate_is_due(&r, 1000 + i * EVERY + EVERY));
	}
	fill_rate_note(&r, 1000 + 6 * EVERY, 99400000);
	assert_int_equal(fill_rate_full_in_ms(&r), 994 * EVERY);
}

static void
room_that_grows_or_stays_has_no_end(void **state)
{
	struct fill_rate r = {0};

	(void)state;
	for (int i = 0; i < 20; i++)
		fill_rate_note(&r, i * EVERY, 1000);
	assert_int_equal(fill_rate_full_in_ms(&r), 0);
	fill_rate_note(&r, 20 * EVERY, 2000);
	assert_int_equal(fill_rate_full_in_ms(&r), 0);
	fill_rate_note(&r, 21 * EVERY, 0);
	assert_int_equal(fill_rate_full_in_ms(&r), 0); /* it is full */
}

static void
ten_minutes_count_and_no_more(void **state)
{
	struct fill_rate r = {0};

	(void)state;
	for (int i = 0; i < 100; i++)
		fill_rate_note(&r, i * EVERY, 100000000);
	for (int i = 0; i < 60; i++)
		fill_rate_note(
		    &r, (100 + i) * EVERY, 100000000 - (uint64_t)(i + 1) * 10000);
	/* 600,000 in 600 s; 99,400,000 are left */
	assert_int_equal(fill_rate_full_in_ms(&r), 99400 * 1000);
}

/* Pages come and go; a journal of 8 MiB was said to be full in 16 h, and was empty. */
static void
some_pages_are_no_trend(void **state)
{
	struct fill_rate r = {0};

	(void)state;
	for (int i = 0; i < 7; i++)
		fill_rate_note(&r, i * EVERY, (8 << 20) - (uint64_t)(i % 2) * 20480);
	fill_rate_note(&r, 7 * EVERY, (8 << 20) - 20480);
	assert_int_equal(fill_rate_full_in_ms(&r), 0);
}

static void
a_trickle_is_not_worth_a_word(void **state)
{
	struct fill_rate r = {0};

	(void)state;
	for (int i = 0; i < 30; i++)
		fill_rate_note(&r, i * EVERY, ((uint64_t)4 << 30) - (uint64_t)i);
	assert_int_equal(fill_rate_full_in_ms(&r), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(nothing_is_said_before_a_minute_was_seen),
	    cmocka_unit_test(room_that_grows_or_stays_has_no_end),
	    cmocka_unit_test(ten_minutes_count_and_no_more),
	    cmocka_unit_test(some_pages_are_no_trend),
	    cmocka_unit_test(a_trickle_is_not_worth_a_word),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
