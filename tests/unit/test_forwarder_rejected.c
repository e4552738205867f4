/* SPDX-License-Identifier: Apache-2.0 */
/* What Kafka refuses, and producers that fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/forward_bench.h"
#include "../lib/tmpdir.h"

/* ---- rejections ---- */

static void
check_one_large_of_2000(void **state, size_t partitions, int large)
{
	struct bench b;
	uint64_t seq = 0;

	bench_init(&b, state);
	bench_add_route(&b, "all", "#", "t");
	bench_fill_with_one_large(&b, 2000, large);
	b.sink.partitions = partitions;
	b.sink.value_max = 4000;
	bench_start(&b);
	bench_run_to_the_end(&b);
	bench_assert_landed(&b, "t", 1, 2000, large, 1);
	assert_int_equal(bench_dead_letters(&b, "all", DEAD_TOO_LARGE, &seq), 1);
	assert_int_equal(seq, large);
	assert_int_equal(bench_stat_of(&b, 0).dead_count, 1);
	assert_int_equal(bench_stat_of(&b, 0).delivered_count, 1999);
	assert_false(bench_stat_of(&b, 0).is_held);
	bench_assert_journal_empty(&b);
	/* Found by dividing, not one by one; and never by waiting. */
	assert_in_range(b.sink.reopen_count, 2, 4);
	assert_true(b.now_ms < 20000);
	bench_finish(&b);
}

static void
one_refused_in_the_middle_does_not_disturb_the_others(void **state)
{
	check_one_large_of_2000(state, 1, 1111);
}

static void
one_refused_among_four_partitions(void **state)
{
	check_one_large_of_2000(state, 4, 1111);
}

static void
the_first_is_refused(void **state)
{
	check_one_large_of_2000(state, 1, 1);
}

static void
the_last_is_refused(void **state)
{
	check_one_large_of_2000(state, 1, 2000);
}

static void
refused_by_a_producer_that_goes_on(void **state)
{
	struct bench b;
	uint64_t seq = 0;

	bench_init(&b, state);
	bench_add_route(&b, "all", "#", "t");
	bench_fill_with_one_large(&b, 2000, 777);
	b.sink.is_gapless = false;
	b.sink.value_max = 4000;
	b.sink.is_invalid = true;
	b.sink.queue_max = 50; /* so that nothing behind is out: order holds */
	b.sink.batch_max = 50;
	bench_start(&b);
	bench_run_to_the_end(&b);
	bench_assert_landed(&b, "t", 1, 2000, 777, 1);
	assert_int_equal(bench_dead_letters(&b, "all", DEAD_REFUSED, &seq), 1);
	assert_int_equal(b.sink.reopen_count, 0);
	bench_finish(&b);
}

static void
too_large_for_the_client_is_buried_at_once(void **state)
{
	struct bench b;
	uint64_t seq = 0;

	bench_init(&b, state);
	bench_add_route(&b, "all", "#", "t");
	bench_fill_with_one_large(&b, 2000, 500);
	b.sink.send_max = 4000;
	bench_start(&b);
	bench_run_to_the_end(&b);
	bench_assert_landed(&b, "t", 1, 2000, 500, 1);
	assert_int_equal(bench_dead_letters(&b, "all", DEAD_TOO_LARGE, &seq), 1);
	assert_int_equal(seq, 500);
	assert_int_equal(b.sink.reopen_count, 0);
	bench_finish(&b);
}

/*
 * Two routes into one topic: their records share Kafka's batches, so each is refused for
 * what the other one sent. Only the large one may die, once for each route.
 */
static void
routes_that_share_a_batch_are_judged_apart(void **state)
{
	struct bench b;
	uint64_t seq = 0;

	bench_init(&b, state);
	bench_add_route(&b, "one", "#", "t");
	bench_add_route(&b, "two", "dev/+", "t");
	bench_fill_with_one_large(&b, 1000, 333);
	b.sink.value_max = 4000;
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_int_equal(b.sink.landed_count, 2 * 999);
	bench_assert_landed(&b, "t", 1, 1000, 333, 2);
	assert_int_equal(bench_dead_letters(&b, "one", DEAD_TOO_LARGE, &seq), 1);
	assert_int_equal(seq, 333);
	assert_int_equal(bench_dead_letters(&b, "two", DEAD_TOO_LARGE, &seq), 1);
	assert_int_equal(seq, 333);
	assert_int_equal(bench_stat_of(&b, 0).dead_count, 1);
	assert_int_equal(bench_stat_of(&b, 1).dead_count, 1);
	bench_finish(&b);
}

static void
many_large_ones_all_go_to_the_dead_letters(void **state)
{
	struct bench b;
	uint64_t seq = 0;

	bench_init(&b, state);
	bench_add_route(&b, "all", "#", "t");
	for (int i = 0; i < 20; i++) {
		bench_fill_one(&b, "dev/1", 10);
		bench_fill_one(&b, "dev/2", 5000);
		bench_fill_one(&b, "dev/2", 6000);
	}
	b.sink.value_max = 4000;
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_int_equal(b.sink.landed_count, 20);
	assert_int_equal(bench_dead_letters(&b, "all", DEAD_TOO_LARGE, &seq), 40);
	assert_true(b.now_ms < 20000);
	bench_finish(&b);
}

static void
a_bad_time_is_sent_again_under_the_time_of_sending(void **state)
{
	struct bench b;

	bench_init(&b, state);
	bench_add_route(&b, "all", "#", "t");
	bench_fill(&b, "dev", 1, 1000, 10);
	bench_start(&b);
	/* The records are of 1795514400123; the clock of the gateway ran ahead. */
	b.sink.time_max_ms = 1795514400000;
	for (int i = 0; i < STEPS_MAX && !forwarder_is_empty(b.forwarder); i++) {
		b.now_ms += STEP_MS;
		assert_int_equal(
		    forwarder_step(b.forwarder, b.now_ms, 1795514300000 + b.now_ms), 0);
	}
	bench_assert_landed(&b, "t", 1, 1000, 0, 1);
	for (size_t i = 0; i < b.sink.landed_count; i++)
		assert_true(b.sink.landed[i].timestamp_ms < 1795514400000);
	assert_true(b.now_ms < 10000);
	bench_finish(&b);
}

static void
a_time_that_is_never_taken_holds(void **state)
{
	struct bench b;

	bench_init(&b, state);
	bench_add_route(&b, "all", "#", "t");
	bench_fill(&b, "dev", 1, 1000, 10);
	bench_start(&b);
	b.sink.time_max_ms = 1;
	bench_run_ms(&b, 600000);
	assert_true(bench_stat_of(&b, 0).is_held);
	assert_int_equal(bench_stat_of(&b, 0).acked_seq, 0);
	assert_int_equal(bench_stat_of(&b, 0).dead_count, 0);
	assert_true(b.sink.reopen_count < 30);
	b.sink.time_max_ms = 0;
	bench_run_to_the_end(&b);
	bench_assert_landed(&b, "t", 1, 1000, 0, 1);
	assert_false(bench_stat_of(&b, 0).is_held);
	bench_finish(&b);
}

static void
check_one_route_held(void **state, bool at_once)
{
	struct bench b;
	size_t sent;

	bench_init(&b, state);
	bench_add_route(&b, "good", "#", "good");
	bench_add_route(&b, "bad", "dev/#", "bad");
	bench_fill(&b, "dev", 1, 20000, 10);
	b.sink.refused_topic = "bad";
	b.sink.is_refused_at_once = at_once;
	bench_start(&b);
	bench_run_ms(&b, 20000);
	assert_int_equal(b.sink.landed_count, 20000);
	bench_assert_landed(&b, "good", 1, 20000, 0, 1);
	assert_int_equal(bench_stat_of(&b, 0).acked_seq, 20000);
	assert_false(bench_stat_of(&b, 0).is_held);
	assert_true(bench_stat_of(&b, 1).is_held);
	assert_true(strlen(bench_stat_of(&b, 1).held_why) > 0);
	assert_int_equal(bench_stat_of(&b, 1).acked_seq, 0);
	assert_int_equal(bench_stat_journal(&b).records, 20000);
	/* It is asked for slowly, and with one record. */
	sent = b.sink.sent_count;
	bench_run_ms(&b, 600000);
	assert_true(b.sink.sent_count - sent <= 12);
	assert_int_equal(b.sink.reopen_count, 0);
	assert_int_equal(bench_stat_of(&b, 1).dead_count, 0);

	b.sink.refused_topic = NULL;
	bench_run_to_the_end(&b);
	bench_assert_landed(&b, "bad", 1, 20000, 0, 1);
	assert_int_equal(b.sink.landed_count, 40000);
	assert_false(bench_stat_of(&b, 1).is_held);
	bench_assert_journal_empty(&b);
	bench_finish(&b);
}

static void
a_route_that_kafka_refuses_holds_and_the_other_goes_on(void **state)
{
	check_one_route_held(state, false);
}

static void
a_route_that_librdkafka_refuses_holds_and_the_other_goes_on(void **state)
{
	check_one_route_held(state, true);
}

/* One partition refuses while another does not answer: the lane waits for both. */
static void
nothing_passes_a_rejection_that_is_not_settled(void **state)
{
	struct bench b;

	bench_init(&b, state);
	bench_add_route(&b, "all", "#", "t");
	bench_fill(&b, "dev", 1, 1000, 10);
	b.sink.partitions = 2;
	b.sink.is_stuck[1] = true;
	b.sink.queue_max = 100;
	b.sink.refused_topic = "t";
	bench_start(&b);
	bench_step(&b);
	bench_step(&b);
	assert_in_range(b.sink.out_count, 1, 99);
	b.sink.refused_topic = NULL;
	bench_run_ms(&b, 10000);
	assert_int_equal(b.sink.sent_count, 100);
	b.sink.is_stuck[1] = false;
	bench_run_to_the_end(&b);
	bench_assert_landed(&b, "t", 1, 1000, 0, 1);
	bench_finish(&b);
}

/* ---- the producer ---- */

static void
a_fatal_producer_is_replaced(void **state)
{
	struct bench b;

	bench_init(&b, state);
	bench_add_route(&b, "one", "#", "one");
	bench_add_route(&b, "two", "dev/+", "two");
	bench_fill(&b, "dev", 1, 5000, 10);
	b.sink.partitions = 3;
	b.sink.batch_max = 50;
	b.sink.batches_per_poll = 6;
	bench_start(&b);
	for (int i = 0; i < 5; i++) {
		bench_run_ms(&b, 50);
		assert_true(b.sink.out_count > 0);
		/* Some of what is given back is there all the same. */
		b.sink.landed_on_reopen = 20;
		fake_sink_fail(&b.sink);
	}
	bench_run_to_the_end(&b);
	bench_assert_landed(&b, "one", 1, 5000, 0, 6);
	bench_assert_landed(&b, "two", 1, 5000, 0, 6);
	assert_in_range(b.sink.landed_count, 10000, 10100);
	assert_int_equal(b.sink.reopen_count, 5);
	bench_finish(&b);
}

static void
no_new_producer_to_be_had_is_tried_ever_more_slowly(void **state)
{
	struct bench b;

	bench_init(&b, state);
	bench_add_route(&b, "one", "#", "one");
	bench_fill(&b, "dev", 1, 1000, 10);
	bench_start(&b);
	bench_step(&b);
	fake_sink_fail(&b.sink);
	b.sink.reopen_failures = 1000;
	bench_run_ms(&b, 600000);
	assert_in_range(b.sink.reopen_count, 15, 30);
	assert_true(bench_stat_of(&b, 0).is_held);
	b.sink.reopen_failures = 0;
	bench_run_to_the_end(&b);
	assert_false(bench_stat_of(&b, 0).is_held);
	bench_assert_landed(&b, "one", 1, 1000, 0, 1);
	bench_finish(&b);
}

static void
a_producer_that_fails_each_time_is_not_a_hot_loop(void **state)
{
	struct bench b;

	bench_init(&b, state);
	bench_add_route(&b, "one", "#", "one");
	bench_fill(&b, "dev", 1, 1000, 10);
	b.sink.is_down = true;
	bench_start(&b);
	for (int i = 0; i < 60000; i++) {
		bench_step(&b);
		if (b.sink.out_count > 0)
			fake_sink_fail(&b.sink);
	}
	assert_in_range(b.sink.reopen_count, 15, 30);
	b.sink.is_down = false;
	bench_run_to_the_end(&b);
	bench_assert_landed(&b, "one", 1, 1000, 0, 1);
	bench_finish(&b);
}

static void
given_back_again_and_again_is_not_a_hot_loop(void **state)
{
	struct bench b;

	bench_init(&b, state);
	bench_add_route(&b, "one", "#", "one");
	bench_fill(&b, "dev", 1, 100, 10);
	b.sink.given_back = SIZE_MAX;
	bench_start(&b);
	bench_run_ms(&b, 60000);
	assert_true(bench_stat_of(&b, 0).is_held);
	assert_true(SIZE_MAX - b.sink.given_back < 20);
	b.sink.given_back = 0;
	bench_run_to_the_end(&b);
	bench_assert_landed(&b, "one", 1, 100, 0, 1);
	bench_finish(&b);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tmpdir_setup, tmpdir_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(one_refused_in_the_middle_does_not_disturb_the_others),
	    TEST(one_refused_among_four_partitions),
	    TEST(the_first_is_refused),
	    TEST(the_last_is_refused),
	    TEST(refused_by_a_producer_that_goes_on),
	    TEST(too_large_for_the_client_is_buried_at_once),
	    TEST(routes_that_share_a_batch_are_judged_apart),
	    TEST(many_large_ones_all_go_to_the_dead_letters),
	    TEST(a_bad_time_is_sent_again_under_the_time_of_sending),
	    TEST(a_time_that_is_never_taken_holds),
	    TEST(a_route_that_kafka_refuses_holds_and_the_other_goes_on),
	    TEST(a_route_that_librdkafka_refuses_holds_and_the_other_goes_on),
	    TEST(nothing_passes_a_rejection_that_is_not_settled),
	    TEST(a_fatal_producer_is_replaced),
	    TEST(no_new_producer_to_be_had_is_tried_ever_more_slowly),
	    TEST(a_producer_that_fails_each_time_is_not_a_hot_loop),
	    TEST(given_back_again_and_again_is_not_a_hot_loop),
	};

	return cmocka_run_group_tests_name("forwarder_rejected", tests, NULL, NULL);
}
