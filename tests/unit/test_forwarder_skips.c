/* SPDX-License-Identifier: Apache-2.0 */
/* Sequences that are to be skipped, by order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/order_bench.h"
#include "../lib/tmpdir.h"
#include "err.h"

/* One route; what device 3 sends goes to a topic that Kafka does not know. */
static void
start_held_at_3(struct bench *b, void **state)
{
	bench_init(b, state);
	bench_add_route(b, "r", "dev/#", "t${topic:2}");
	bench_fill(b, "dev", 1, 100, 20);
	b->sink.refused_topic = "t3";
	b->sink.is_refused_at_once = true;
	bench_start(b);
	bench_run_ms(b, 40000);
	assert_true(bench_stat_of(b, 0).is_held);
	assert_int_equal(bench_stat_of(b, 0).acked_seq, 2);
}

static void
the_head_of_a_held_route_is_skipped_at_once(void **state)
{
	struct bench b;
	uint64_t order, seq = 0;

	start_held_at_3(&b, state);
	order = order_give(&b, JOURNAL_ORDER_SKIP, 3);
	order_assert_ended(order_await(&b, order, 2000), 0, 1);
	assert_int_equal(bench_dead_letters(&b, "r", DEAD_SKIPPED, &seq), 1);
	assert_int_equal(seq, 3);
	bench_run_ms(&b, 1000);
	assert_int_equal(bench_stat_of(&b, 0).acked_seq, 22);
	assert_true(bench_stat_of(&b, 0).is_held);
	order_assert_ended(
	    order_await(&b, order_give(&b, JOURNAL_ORDER_SKIP, 22), 2000), 0, 0);
	b.sink.refused_topic = NULL;
	bench_run_to_the_end(&b);
	assert_int_equal(b.sink.landed_count, 99);
	assert_int_equal(order_count_landed(&b, "t3", "3"), 0);
	assert_int_equal(bench_stat_of(&b, 0).dead_count, 1);
	bench_finish(&b);
}

static void
a_skip_waits_until_the_lane_gets_there_also_over_a_restart(void **state)
{
	struct bench b;
	uint64_t order, seq = 0;

	start_held_at_3(&b, state);
	order = order_give(&b, JOURNAL_ORDER_SKIP, 10);
	bench_run_ms(&b, 5000);
	assert_int_equal(order_look_at(&b, order).state, JOURNAL_ORDER_WAITS);
	bench_stop(&b);
	fake_sink_forget(&b.sink);
	bench_start(&b);
	bench_run_ms(&b, 5000);
	assert_int_equal(order_look_at(&b, order).state, JOURNAL_ORDER_WAITS);
	b.sink.refused_topic = NULL;
	bench_run_to_the_end(&b);
	order_assert_ended(order_await(&b, order, 2000), 0, 1);
	assert_int_equal(bench_dead_letters(&b, "r", DEAD_SKIPPED, &seq), 1);
	assert_int_equal(seq, 10);
	assert_int_equal(b.sink.landed_count, 99);
	bench_finish(&b);
}

static void
a_withdrawn_skip_is_none_also_over_a_restart(void **state)
{
	struct bench b;
	uint64_t order;

	start_held_at_3(&b, state);
	order = order_give(&b, JOURNAL_ORDER_SKIP, 10);
	bench_run_ms(&b, 1000);
	order_assert_ended(
	    order_await(&b, order_give(&b, JOURNAL_ORDER_WITHDRAW, order), 2000), 0, 0);
	order_assert_ended(order_look_at(&b, order), ERR_REFUSED, 0);
	order_assert_ended(
	    order_await(&b, order_give(&b, JOURNAL_ORDER_WITHDRAW, order), 2000),
	    ERR_NOTFOUND, 0);
	bench_stop(&b);
	fake_sink_forget(&b.sink);
	b.sink.refused_topic = NULL;
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_int_equal(b.sink.landed_count, 100);
	bench_finish(&b);
}

/* Buried, but not yet recorded when it all ends: it is not sent by the next one. */
static void
a_skipped_one_stays_skipped_over_a_crash(void **state)
{
	struct bench b;
	uint64_t order, seq = 0;

	start_held_at_3(&b, state);
	order = order_give(&b, JOURNAL_ORDER_SKIP, 3);
	while (bench_dead_letters(&b, "r", DEAD_SKIPPED, &seq) == 0)
		bench_step(&b);
	assert_int_equal(order_look_at(&b, order).state, JOURNAL_ORDER_WAITS);
	bench_stop(&b);
	fake_sink_forget(&b.sink);
	b.sink.refused_topic = NULL;
	bench_start(&b);
	order_assert_ended(order_await(&b, order, 3000), 0, 1);
	bench_run_to_the_end(&b);
	assert_int_equal(order_count_landed(&b, "t3", "3"), 0);
	assert_int_equal(b.sink.landed_count, 99);
	bench_finish(&b);
}

static void
what_is_in_flight_is_not_skipped(void **state)
{
	struct bench b;
	uint64_t order, seq = 0;

	bench_init(&b, state);
	bench_add_route(&b, "r", "dev/#", "t");
	bench_fill(&b, "dev", 1, 100, 20);
	b.sink.is_down = true;
	bench_start(&b);
	bench_run_ms(&b, 100);
	order = order_give(&b, JOURNAL_ORDER_SKIP, 5);
	bench_run_ms(&b, 5000);
	assert_int_equal(order_look_at(&b, order).state, JOURNAL_ORDER_WAITS);
	assert_int_equal(bench_stat_of(&b, 0).dead_count, 0);
	b.sink.is_down = false;
	order_assert_ended(order_await(&b, order, 2000), 0, 0);
	bench_run_to_the_end(&b);
	assert_int_equal(b.sink.landed_count, 100);
	assert_int_equal(bench_dead_letters(&b, "r", DEAD_SKIPPED, &seq), 0);
	bench_finish(&b);
}

/* It comes back refused: now it is skipped, instead of being sent again. */
static void
what_comes_back_is_skipped(void **state)
{
	struct bench b;
	uint64_t order, seq = 0;

	bench_init(&b, state);
	bench_add_route(&b, "r", "dev/#", "t");
	bench_fill(&b, "dev", 1, 100, 20);
	b.sink.is_down = true;
	bench_start(&b);
	bench_run_ms(&b, 100);
	order = order_give(&b, JOURNAL_ORDER_SKIP, 1);
	bench_run_ms(&b, 3000);
	b.sink.refused_topic = "t";
	b.sink.is_down = false;
	order_assert_ended(order_await(&b, order, 3000), 0, 1);
	assert_int_equal(bench_dead_letters(&b, "r", DEAD_SKIPPED, &seq), 1);
	b.sink.refused_topic = NULL;
	bench_run_to_the_end(&b);
	bench_assert_landed(&b, "t", 2, 100, 0, 1);
	bench_finish(&b);
}

/* Each route that owes it, also one that is switched off; the third never did. */
static void
every_route_that_owes_it_buries_it(void **state)
{
	struct bench b;
	uint64_t order, seq = 0;

	bench_init(&b, state);
	bench_add_route(&b, "on", "dev/#", "bad");
	bench_add_route(&b, "off", "dev/#", "good");
	bench_add_route(&b, "not", "other/#", "good");
	b.routes[1].enabled = false;
	b.sink.refused_topic = "bad";
	bench_fill(&b, "dev", 1, 10, 5);
	bench_start(&b);
	bench_run_ms(&b, 10000);
	order = order_give(&b, JOURNAL_ORDER_SKIP, 1);
	order_assert_ended(order_await(&b, order, 3000), 0, 2);
	assert_int_equal(bench_dead_letters(&b, "on", DEAD_SKIPPED, &seq), 1);
	assert_int_equal(bench_dead_letters(&b, "off", DEAD_SKIPPED, &seq), 1);
	assert_int_equal(bench_dead_letters(&b, "not", DEAD_SKIPPED, &seq), 0);
	assert_int_equal(bench_stat_of(&b, 1).acked_seq, 1);
	/* What is not there yet cannot be skipped. */
	order = order_give(&b, JOURNAL_ORDER_SKIP, 11);
	order_assert_ended(order_await(&b, order, 2000), ERR_NOTFOUND, 0);
	b.sink.refused_topic = NULL;
	bench_run_to_the_end(&b);
	bench_assert_landed(&b, "bad", 2, 10, 0, 1);
	assert_int_equal(order_count_landed(&b, "good", ""), 0);
	bench_finish(&b);
}

#define WITH_TMPDIR(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_TMPDIR(the_head_of_a_held_route_is_skipped_at_once),
	    WITH_TMPDIR(a_skip_waits_until_the_lane_gets_there_also_over_a_restart),
	    WITH_TMPDIR(a_withdrawn_skip_is_none_also_over_a_restart),
	    WITH_TMPDIR(a_skipped_one_stays_skipped_over_a_crash),
	    WITH_TMPDIR(what_is_in_flight_is_not_skipped),
	    WITH_TMPDIR(what_comes_back_is_skipped),
	    WITH_TMPDIR(every_route_that_owes_it_buries_it),
	};

	return cmocka_run_group_tests_name("forwarder_skips", tests, NULL, NULL);
}
