/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "monitor/history.h"

#define START_MS 1000000

static int
setup(void **state)
{
	*state = calloc(1, sizeof(struct history));
	return *state == NULL ? -1 : 0;
}

static int
teardown(void **state)
{
	free(*state);
	return 0;
}

static void
add(struct history *h, int64_t at_ms, uint64_t received, uint64_t delivered)
{
	const struct history_sample s = {.at_ms = START_MS + at_ms,
	    .received_count = received,
	    .delivered_count = delivered,
	    .backlog = received - delivered};

	history_add(h, &s);
}

static void
without_two_samples_there_is_no_rate(void **state)
{
	struct history *h = *state;

	assert_true(history_received_rate(h, 60000) == 0);
	add(h, 0, 100, 50);
	assert_true(history_received_rate(h, 60000) == 0);
	assert_true(history_delivered_rate(h, 60000) == 0);
}

static void
samples_that_come_sooner_are_left_out(void **state)
{
	struct history *h = *state;

	add(h, 0, 0, 0);
	add(h, HISTORY_STEP_MS - 1, 1, 1);
	assert_int_equal(h->count, 1);
	add(h, HISTORY_STEP_MS, 2, 2);
	assert_int_equal(h->count, 2);
	assert_int_equal(h->samples[1].received_count, 2);
}

static void
a_rate_is_of_its_window_alone(void **state)
{
	struct history *h = *state;

	/* 100 a second for a minute, then 20 in and 10 out. */
	for (int i = 0; i <= 12; i++)
		add(h, i * 5000, (uint64_t)i * 500, (uint64_t)i * 500);
	for (int i = 1; i <= 12; i++)
		add(h, 60000 + i * 5000, 6000 + (uint64_t)i * 100,
		    6000 + (uint64_t)i * 50);
	assert_true(history_received_rate(h, 60000) == 20);
	assert_true(history_delivered_rate(h, 60000) == 10);
	assert_true(history_received_rate(h, 120000) == 60);
	assert_true(history_received_rate(h, 900000) == 60);
}

/* Nobody looked for a while: what came then came in that time. */
static void
a_hole_is_part_of_the_time(void **state)
{
	struct history *h = *state;

	add(h, 0, 0, 0);
	add(h, 100000, 1000, 0);
	assert_true(history_received_rate(h, 900000) == 10);
	assert_true(history_received_rate(h, 60000) == 0);
}

static void
the_oldest_are_forgotten(void **state)
{
	struct history *h = *state;

	for (int i = 0; i < HISTORY_MAX + 10; i++)
		add(h, (int64_t)i * HISTORY_STEP_MS, (uint64_t)i, (uint64_t)i);
	assert_int_equal(h->count, HISTORY_MAX);
	assert_int_equal(h->samples[0].received_count, 10);
	assert_int_equal(h->samples[HISTORY_MAX - 1].received_count, HISTORY_MAX + 9);
	assert_int_equal(
	    h->samples[HISTORY_MAX - 1].at_ms - h->samples[0].at_ms, 15 * 60 * 1000);
}

static void
counts_that_begin_anew_begin_anew_here(void **state)
{
	struct history *h = *state;

	add(h, 0, 1000, 1000);
	add(h, 5000, 2000, 2000);
	add(h, 5500, 3, 1);
	assert_int_equal(h->count, 1);
	assert_int_equal(h->samples[0].received_count, 3);
	add(h, 10500, 53, 51);
	assert_true(history_received_rate(h, 60000) == 10);
	/* Also where only one of them has: a route is gone. */
	add(h, 15500, 60, 7);
	assert_int_equal(h->count, 1);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(without_two_samples_there_is_no_rate),
	    TEST(samples_that_come_sooner_are_left_out),
	    TEST(a_rate_is_of_its_window_alone),
	    TEST(a_hole_is_part_of_the_time),
	    TEST(the_oldest_are_forgotten),
	    TEST(counts_that_begin_anew_begin_anew_here),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
