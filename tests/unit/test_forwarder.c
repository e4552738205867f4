/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/forward_bench.h"
#include "../lib/records.h"
#include "../lib/tmpdir.h"

/* ---- the usual way ---- */

static void
everything_arrives_in_order_and_the_journal_is_empty(void **state)
{
	struct bench b;

	bench_init(&b, state);
	bench_add_route(&b, "all", "#", "t");
	bench_fill(&b, "dev", 1, 30000, 50);
	b.sink.partitions = 4;
	bench_start(&b);
	bench_run_to_the_end(&b);
	bench_assert_landed(&b, "t", 1, 30000, 0, 1);
	assert_int_equal(bench_stat_of(&b, 0).delivered_count, 30000);
	assert_int_equal(bench_stat_of(&b, 0).acked_seq, 30000);
	bench_assert_journal_empty(&b);
	assert_int_equal(forwarder_timeout_ms(b.forwarder, b.now_ms), -1);
	bench_finish(&b);
}

static void
nothing_is_acknowledged_before_it_is_delivered(void **state)
{
	struct bench b;

	bench_init(&b, state);
	bench_add_route(&b, "all", "#", "t");
	bench_fill(&b, "dev", 1, 1000, 10);
	b.sink.is_down = true;
	bench_start(&b);
	bench_run_ms(&b, 600000);
	assert_true(b.sink.out_count > 0);
	assert_int_equal(bench_stat_of(&b, 0).acked_seq, 0);
	assert_int_equal(bench_stat_journal(&b).acked_seq, 0);
	assert_int_equal(bench_stat_journal(&b).records, 1000);
	assert_false(forwarder_is_settled(b.forwarder));
	b.sink.is_down = false;
	bench_run_to_the_end(&b);
	bench_assert_landed(&b, "t", 1, 1000, 0, 1);
	bench_finish(&b);
}

/* The second partition is stuck: nothing behind its first record is acknowledged. */
static void
only_the_finished_prefix_is_acknowledged(void **state)
{
	struct bench b;
	uint64_t first_stuck = 0;

	bench_init(&b, state);
	bench_add_route(&b, "all", "#", "t");
	bench_fill(&b, "dev", 1, 1000, 10);
	b.sink.partitions = 2;
	b.sink.is_stuck[1] = true;
	bench_start(&b);
	bench_run_ms(&b, 2000);
	assert_true(b.sink.landed_count > 0);
	for (uint64_t n = 1; first_stuck == 0; n++) {
		bool has_landed = false;

		for (size_t i = 0; i < b.sink.landed_count && !has_landed; i++)
			has_landed = (uint64_t)atoi(b.sink.landed[i].value) == n;
		first_stuck = has_landed ? 0 : n;
	}
	assert_int_equal(bench_stat_of(&b, 0).acked_seq, first_stuck - 1);
	assert_int_equal(bench_stat_journal(&b).acked_seq, first_stuck - 1);
	b.sink.is_stuck[1] = false;
	bench_run_to_the_end(&b);
	bench_assert_landed(&b, "t", 1, 1000, 0, 1);
	bench_assert_journal_empty(&b);
	bench_finish(&b);
}

static void
what_is_on_its_way_stays_within_the_buffer(void **state)
{
	struct bench b;

	bench_init(&b, state);
	bench_add_route(&b, "all", "#", "t");
	b.buffer_max_bytes = 64 * 1024;
	for (int i = 0; i < 30; i++)
		bench_fill_one(&b, "dev/1", 5000);
	bench_fill_one(&b, "dev/1", 200000);
	for (int i = 0; i < 30; i++)
		bench_fill_one(&b, "dev/1", 5000);
	b.sink.is_down = true;
	bench_start(&b);
	bench_run_ms(&b, 1000);
	assert_in_range(b.sink.out_bytes, 64 * 1024 - 2 * 5200, 64 * 1024);
	b.sink.is_down = false;
	b.sink.batch_max = 1;
	b.sink.batches_per_poll = 1;
	bench_run_to_the_end(&b);
	/* The large one went, but alone. */
	assert_int_equal(b.sink.landed_count, 61);
	assert_int_equal(b.sink.out_bytes_max, 200000 + 5);
	bench_finish(&b);
}

/* The room in bytes would let all of them go. */
static void
small_records_on_their_way_are_bounded_in_number(void **state)
{
	struct bench b;

	bench_init(&b, state);
	bench_add_route(&b, "all", "#", "t");
	b.buffer_max_bytes = (uint64_t)4 * 1024 * 1024;
	bench_fill(&b, "dev", 1, 20000, 10);
	b.sink.is_down = true;
	bench_start(&b);
	bench_run_ms(&b, 1000);
	assert_int_equal(b.sink.out_count, b.buffer_max_bytes / 256);
	b.sink.is_down = false;
	bench_run_to_the_end(&b);
	assert_int_equal(b.sink.landed_count, 20000);
	bench_finish(&b);
}

/* Commits of one record each must not make for a small window. */
static void
tiny_batches_fill_the_window_too(void **state)
{
	struct bench b;
	struct journal *j;

	bench_init(&b, state);
	bench_add_route(&b, "all", "#", "t");
	j = bench_open_journal(&b, JOURNAL_INGEST);
	for (int n = 1; n <= 400; n++) {
		char payload[16];

		snprintf(payload, sizeof(payload), "%d", n);
		bench_stage(j, "dev/1", payload, strlen(payload));
		assert_int_equal(journal_commit(j), 0);
	}
	journal_close(j);
	b.sink.is_down = true;
	bench_start(&b);
	bench_run_ms(&b, 100);
	assert_int_equal(b.sink.out_count, 400);
	b.sink.is_down = false;
	bench_run_to_the_end(&b);
	bench_assert_landed(&b, "t", 1, 400, 0, 1);
	bench_finish(&b);
}

static void
a_full_sink_is_asked_again(void **state)
{
	struct bench b;

	bench_init(&b, state);
	bench_add_route(&b, "all", "#", "t");
	bench_fill(&b, "dev", 1, 3000, 10);
	b.sink.queue_max = 7;
	bench_start(&b);
	bench_run_to_the_end(&b);
	bench_assert_landed(&b, "t", 1, 3000, 0, 1);
	assert_int_equal(b.sink.out_count_max, 7);
	bench_finish(&b);
}

static void
a_restart_goes_on_where_it_was(void **state)
{
	struct bench b;

	bench_init(&b, state);
	bench_add_route(&b, "all", "#", "t");
	bench_fill(&b, "dev", 1, 5000, 10);
	bench_start(&b);
	while (b.sink.landed_count < 2000)
		bench_step(&b);
	forwarder_stop(b.forwarder);
	for (int i = 0; i < 1000 && !forwarder_is_settled(b.forwarder); i++)
		bench_step(&b);
	assert_true(forwarder_is_settled(b.forwarder));
	assert_int_equal(forwarder_checkpoint(b.forwarder), 0);
	assert_true(b.sink.landed_count < 5000);
	bench_stop(&b);
	bench_fill(&b, "dev", 5001, 6000, 10);
	bench_start(&b);
	bench_run_to_the_end(&b);
	bench_assert_landed(&b, "t", 1, 6000, 0, 1);
	bench_finish(&b);
}

/* What was delivered since the last checkpoint comes twice, nothing else. */
static void
a_crash_sends_the_unrecorded_again(void **state)
{
	struct bench b;

	bench_init(&b, state);
	bench_add_route(&b, "all", "#", "t");
	bench_fill(&b, "dev", 1, 5000, 10);
	bench_start(&b);
	for (int crash = 0; crash < 5; crash++) {
		size_t landed = b.sink.landed_count;

		while (b.sink.landed_count < landed + 700)
			bench_step(&b);
		bench_stop(&b);
		fake_sink_forget(&b.sink);
		bench_start(&b);
	}
	bench_run_to_the_end(&b);
	bench_assert_landed(&b, "t", 1, 5000, 0, 6);
	bench_assert_journal_empty(&b);
	bench_finish(&b);
}

static void
overlapping_filters_of_two_routes_deliver_once_each(void **state)
{
	struct bench b;

	bench_init(&b, state);
	bench_add_route(&b, "one", "#", "one");
	b.filters[0][1] = bench_text("dev/#");
	b.filters[0][2] = bench_text("dev/1");
	b.routes[0].topic_filter_count = 3;
	bench_add_route(&b, "two", "other/+", "two");
	b.filters[1][1] = bench_text("dev/+");
	b.routes[1].topic_filter_count = 2;
	bench_fill(&b, "dev", 1, 3000, 10);
	bench_fill(&b, "elsewhere", 3001, 4000, 10);
	bench_start(&b);
	bench_run_to_the_end(&b);
	bench_assert_landed(&b, "one", 1, 4000, 0, 1);
	bench_assert_landed(&b, "two", 1, 3000, 0, 1);
	assert_int_equal(b.sink.landed_count, 7000);
	bench_assert_journal_empty(&b);
	bench_finish(&b);
}

/* ---- gaps ---- */

static void
gaps_are_passed(void **state)
{
	struct bench b;
	struct journal *j;
	char *large = calloc(1, 8 << 20);

	assert_non_null(large);
	bench_init(&b, state);
	bench_add_route(&b, "all", "#", "t");
	bench_fill(&b, "dev", 1, 10, 10);
	j = bench_open_journal(&b, JOURNAL_INGEST);
	bench_stage(j, "dev/1", large, 8 << 20);
	bench_stage(j, "dev/1", "11", 2);
	bench_stage(j, "dev/1", large, 8 << 20);
	assert_int_equal(journal_commit(j), 0);
	journal_close(j);
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_int_equal(b.sink.landed_count, 11);
	assert_int_equal(bench_stat_of(&b, 0).acked_seq, 13);
	bench_assert_journal_empty(&b);
	bench_stop(&b);
	/* The last gap grows; then records follow. */
	j = bench_open_journal(&b, JOURNAL_INGEST);
	bench_stage(j, "dev/1", large, 8 << 20);
	assert_int_equal(journal_commit(j), 0);
	journal_close(j);
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_int_equal(bench_stat_of(&b, 0).acked_seq, 14);
	bench_stop(&b);
	bench_fill(&b, "dev", 15, 20, 10);
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_int_equal(b.sink.landed_count, 17);
	bench_assert_journal_empty(&b);
	bench_finish(&b);
	free(large);
}

/* ---- all at once ---- */

/* Random rejections, failures and stuck partitions: nothing lost, order kept. */
static void
a_random_bad_day(void **state)
{
	uint64_t seed = records_seed();
	struct bench b;
	struct journal *j;
	uint64_t seq = 0;
	int large = 0;

	bench_init(&b, state);
	bench_add_route(&b, "one", "#", "one");
	bench_add_route(&b, "two", "dev/+", "two");
	b.sink.partitions = 4;
	j = bench_open_journal(&b, JOURNAL_INGEST);
	for (int n = 1; n <= 20000; n++) {
		bool is_large = records_random_number(&seed) % 3000 == 0;
		char payload[5000] = {0};
		char topic[32];

		snprintf(payload, sizeof(payload), "%d", n);
		snprintf(topic, sizeof(topic), "dev/%d", n % 30);
		bench_stage(
		    j, topic, payload, is_large ? sizeof(payload) : strlen(payload));
		large += is_large;
		if (records_random_number(&seed) % 200 == 0)
			assert_int_equal(journal_commit(j), 0);
	}
	assert_int_equal(journal_commit(j), 0);
	journal_close(j);
	b.sink.value_max = 4000;
	bench_start(&b);
	for (int i = 0; i < STEPS_MAX && !forwarder_is_empty(b.forwarder); i++) {
		uint64_t dice = records_random_number(&seed) % 400;

		b.sink.batch_max = records_random_number(&seed) % 200 + 1;
		b.sink.batches_per_poll = records_random_number(&seed) % 10;
		b.sink.is_stuck[records_random_number(&seed) % 4] ^= dice % 20 == 0;
		if (dice == 1)
			fake_sink_fail(&b.sink);
		if (dice == 2)
			b.sink.refused_topic = "two";
		if (dice == 3 || dice == 4)
			b.sink.refused_topic = NULL;
		bench_step(&b);
	}
	assert_true(forwarder_is_empty(b.forwarder));
	assert_int_equal(bench_dead_letters(&b, "one", DEAD_TOO_LARGE, &seq), large);
	assert_int_equal(bench_dead_letters(&b, "two", DEAD_TOO_LARGE, &seq), large);
	assert_int_equal(b.sink.landed_count, 2 * (20000 - large));
	bench_assert_in_order(&b, "one");
	bench_assert_in_order(&b, "two");
	bench_assert_journal_empty(&b);
	bench_finish(&b);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tmpdir_setup, tmpdir_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(everything_arrives_in_order_and_the_journal_is_empty),
	    TEST(nothing_is_acknowledged_before_it_is_delivered),
	    TEST(only_the_finished_prefix_is_acknowledged),
	    TEST(what_is_on_its_way_stays_within_the_buffer),
	    TEST(small_records_on_their_way_are_bounded_in_number),
	    TEST(tiny_batches_fill_the_window_too),
	    TEST(a_full_sink_is_asked_again),
	    TEST(a_restart_goes_on_where_it_was),
	    TEST(a_crash_sends_the_unrecorded_again),
	    TEST(overlapping_filters_of_two_routes_deliver_once_each),
	    TEST(gaps_are_passed),
	    TEST(a_random_bad_day),
	};

	return cmocka_run_group_tests_name("forwarder", tests, NULL, NULL);
}
