/* SPDX-License-Identifier: Apache-2.0 */
/* Exactly once: what is refused, or does not come back, and what that costs whom. */
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
#include "forward/lane.h"

static void
begin(struct bench *b, void **state)
{
	bench_init(b, state);
	fake_sink_init_transactional(&b->sink);
}

static size_t
count_committed(const struct bench *b, const char *topic)
{
	size_t count = 0;

	for (size_t i = 0; i < b->sink.committed_count; i++)
		count += strcmp(b->sink.landed[i].topic, topic) == 0;
	return count;
}

/* Each of the numbers once, in order, and nothing that is not committed. */
static void
assert_exactly_once(const struct bench *b, const char *topic, int last, int but)
{
	assert_int_equal(b->sink.landed_count, b->sink.committed_count);
	bench_assert_landed(b, topic, 1, last, but, 1);
	bench_assert_in_order(b, topic);
}

static void
crash(struct bench *b)
{
	bench_stop(b);
	fake_sink_forget(&b->sink);
}

/* ---- records and routes that are refused ---- */

static void
one_that_is_refused_is_found_and_the_others_arrive(void **state)
{
	struct bench b;
	uint64_t seq = 0;

	begin(&b, state);
	bench_add_route(&b, "all", "#", "t");
	bench_add_route(&b, "other", "dev/#", "o");
	bench_fill_with_one_large(&b, 2000, 1111);
	b.sink.value_max = 4000;
	b.sink.partitions = 4;
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_exactly_once(&b, "t", 2000, 1111);
	assert_exactly_once(&b, "o", 2000, 1111);
	assert_int_equal(bench_dead_letters(&b, "all", DEAD_TOO_LARGE, &seq), 1);
	assert_int_equal(seq, 1111);
	assert_int_equal(bench_dead_letters(&b, "other", DEAD_TOO_LARGE, &seq), 1);
	assert_int_equal(seq, 1111);
	assert_in_range(b.sink.abort_count, 2, 8);
	bench_assert_journal_empty(&b);
	bench_finish(&b);
}

static void
many_that_are_refused_all_go_to_the_dead_letters(void **state)
{
	struct bench b;
	uint64_t seq = 0;

	begin(&b, state);
	bench_add_route(&b, "all", "#", "t");
	for (int i = 0; i < 30; i++) {
		bench_fill_one(&b, "dev/1", 10);
		bench_fill_one(&b, "dev/2", 5000);
		bench_fill_one(&b, "dev/2", 6000);
	}
	b.sink.value_max = 4000;
	b.sink.is_invalid = true;
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_int_equal(b.sink.committed_count, 30);
	assert_int_equal(b.sink.landed_count, 30);
	assert_int_equal(bench_dead_letters(&b, "all", DEAD_REFUSED, &seq), 60);
	bench_assert_journal_empty(&b);
	bench_finish(&b);
}

/* The culprit's transactions are its own: the other route is not sent again each time. */
static void
what_one_route_is_refused_costs_the_others_little(void **state)
{
	struct bench b;
	size_t taken_back;

	begin(&b, state);
	bench_add_route(&b, "bad", "bad/#", "bad");
	bench_add_route(&b, "good", "dev/#", "good");
	bench_fill(&b, "bad", 1, 1000, 20);
	bench_fill(&b, "dev", 1001, 21000, 20);
	b.sink.refused_topic = "bad";
	b.sink.batch_max = 10; /* so that there is always something under way */
	b.sink.batches_per_poll = 1;
	bench_start(&b);
	bench_run_ms(&b, 900);
	taken_back = b.sink.abort_landed_count;
	assert_int_equal(b.sink.abort_count, 1);
	bench_run_ms(&b, 10000);
	assert_in_range(b.sink.abort_count, 3, 5);
	assert_true(count_committed(&b, "good") > 1000);
	assert_true(count_committed(&b, "good") < 20000);
	assert_int_equal(b.sink.abort_landed_count, taken_back);
	bench_run_ms(&b, 180000);
	assert_int_equal(count_committed(&b, "good"), 20000);
	assert_true(bench_stat_of(&b, 0).is_held);
	assert_false(bench_stat_of(&b, 1).is_held);
	assert_in_range(b.sink.abort_count, 5, 15);
	b.sink.refused_topic = NULL;
	bench_run_ms(&b, 70000);
	assert_int_equal(count_committed(&b, "bad"), 1000);
	bench_assert_in_order(&b, "bad");
	bench_assert_in_order(&b, "good");
	bench_finish(&b);
}

static void
a_route_refused_at_once_aborts_nothing(void **state)
{
	struct bench b;

	begin(&b, state);
	bench_add_route(&b, "bad", "bad/#", "bad");
	bench_add_route(&b, "good", "dev/#", "good");
	bench_fill(&b, "dev", 1, 500, 20);
	bench_fill(&b, "bad", 501, 600, 20);
	bench_fill(&b, "dev", 601, 1000, 20);
	b.sink.refused_topic = "bad";
	b.sink.is_refused_at_once = true;
	bench_start(&b);
	bench_run_ms(&b, 10000);
	assert_int_equal(b.sink.abort_count, 0);
	assert_int_equal(count_committed(&b, "good"), 900);
	assert_true(bench_stat_of(&b, 0).is_held);
	b.sink.refused_topic = NULL;
	bench_run_to_the_end(&b);
	assert_int_equal(count_committed(&b, "bad"), 100);
	assert_int_equal(b.sink.abort_count, 0);
	bench_finish(&b);
}

/* on_reject = "bury": those behind it get one try each. */
static void
a_topic_that_is_given_up_is_buried_to_its_end(void **state)
{
	struct bench b;
	uint64_t seq = 0;

	begin(&b, state);
	bench_add_route(&b, "bad", "bad/#", "bad");
	bench_add_route(&b, "good", "#", "good");
	b.routes[0].on_reject = SETTINGS_REJECT_BURY;
	b.retries = 2;
	bench_fill(&b, "bad", 1, 40, 20);
	b.sink.refused_topic = "bad";
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_int_equal(bench_stat_of(&b, 0).dead_count, 40);
	assert_int_equal(bench_dead_letters(&b, "bad", DEAD_REFUSED, &seq), 40);
	assert_exactly_once(&b, "good", 40, 0);
	crash(&b);
	b.sink.refused_topic = NULL;
	bench_fill(&b, "bad", 41, 60, 20);
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_int_equal(count_committed(&b, "bad"), 20);
	bench_finish(&b);
}

static void
a_record_time_that_is_refused_is_the_time_of_sending(void **state)
{
	struct bench b;

	begin(&b, state);
	bench_add_route(&b, "all", "#", "t");
	b.routes[0].timestamp = SETTINGS_TIMESTAMP_RECEIVED;
	bench_fill(&b, "dev", 1, 500, 20);
	b.sink.time_max_ms = 1795514400000; /* records_plain() says a little later */
	bench_start(&b);
	bench_run_ms(&b, 1000);
	assert_true(bench_stat_of(&b, 0).is_held); /* that is later still */
	b.sink.time_max_ms = 0;
	bench_run_to_the_end(&b);
	assert_exactly_once(&b, "t", 500, 0);
	bench_finish(&b);
}

/* A transaction may be larger than the buffer; when it is sent again it is no larger. */
static void
what_is_sent_again_stays_within_the_buffer(void **state)
{
	struct bench b;

	begin(&b, state);
	bench_add_route(&b, "all", "#", "t");
	bench_fill(&b, "dev", 1, 20000, 20);
	b.buffer_max_bytes = 1 << 20;
	b.sink.batches_per_poll = 100;
	b.sink.refused_commits = 1;
	bench_start(&b);
	while (b.sink.abort_count == 0)
		bench_step(&b);
	assert_int_equal(b.sink.abort_landed_count, 20000);
	b.sink.batches_per_poll = 0;
	bench_run_ms(&b, 1000);
	assert_in_range(b.sink.out_count, 1000, (1 << 20) / LANE_RECORD_BYTES);
	b.sink.batches_per_poll = 100;
	bench_run_to_the_end(&b);
	assert_exactly_once(&b, "t", 20000, 0);
	bench_finish(&b);
}

/* ---- what does not come back ---- */

/* A topic of devices whose records all go to that one of two partitions. */
static void
fill_partition(struct bench *b, const char *prefix, size_t partition, int count)
{
	struct journal *j = bench_open_journal(b, JOURNAL_INGEST);
	char topic[64];
	int device = 0;

	do {
		snprintf(topic, sizeof(topic), "%s/%d", prefix, device++);
	} while (fake_sink_partition(&b->sink, topic) != partition);
	for (int n = 1; n <= count; n++) {
		char payload[16];

		snprintf(payload, sizeof(payload), "%d", n);
		bench_stage(j, topic, payload, strlen(payload));
	}
	assert_int_equal(journal_commit(j), 0);
	journal_close(j);
}

static void
a_partition_that_does_not_answer_stops_only_its_route(void **state)
{
	struct bench b;

	begin(&b, state);
	bench_add_route(&b, "stuck", "a/#", "stuck");
	bench_add_route(&b, "free", "b/#", "free");
	b.sink.partitions = 2;
	fill_partition(&b, "a", 0, 500);
	fill_partition(&b, "b", 1, 500);
	b.sink.is_stuck[0] = true;
	bench_start(&b);
	bench_run_ms(&b, 60000);
	assert_int_equal(count_committed(&b, "free"), 500);
	assert_int_equal(count_committed(&b, "stuck"), 0);
	assert_true(bench_stat_of(&b, 0).is_held);
	assert_false(bench_stat_of(&b, 1).is_held);
	b.sink.is_stuck[0] = false;
	bench_run_to_the_end(&b);
	bench_assert_landed(&b, "stuck", 1, 500, 0, 1);
	bench_assert_landed(&b, "free", 1, 500, 0, 1);
	bench_finish(&b);
}

/* A link so slow that there is an answer every 15 s: nobody is late. */
static void
a_slow_link_is_not_mistaken_for_a_silent_partition(void **state)
{
	struct bench b;

	begin(&b, state);
	bench_add_route(&b, "one", "a/#", "one");
	bench_add_route(&b, "two", "b/#", "two");
	b.sink.partitions = 2;
	fill_partition(&b, "a", 0, 100);
	fill_partition(&b, "b", 1, 100);
	bench_start(&b);
	b.sink.again_count = 0;
	b.sink.batch_max = 10;
	b.sink.batches_per_poll = 0;
	while (b.sink.landed_count < 200) {
		bench_run_ms(&b, 15000);
		b.sink.batches_per_poll = 1;
		bench_step(&b);
		b.sink.batches_per_poll = 0;
	}
	b.sink.batches_per_poll = 1;
	bench_run_to_the_end(&b);
	assert_int_equal(b.sink.abort_count, 0);
	assert_int_equal(b.sink.sent_count, 200);
	bench_finish(&b);
}

/* While all of Kafka is away nothing is aborted, and nobody is blamed. */
static void
an_outage_is_waited_for(void **state)
{
	struct bench b;

	begin(&b, state);
	bench_add_route(&b, "one", "#", "one");
	bench_add_route(&b, "two", "#", "two");
	bench_fill(&b, "dev", 1, 500, 20);
	bench_start(&b);
	bench_run_ms(&b, 30);
	b.sink.is_down = true;
	bench_run_ms(&b, 600000);
	b.sink.is_down = false;
	bench_run_to_the_end(&b);
	assert_exactly_once(&b, "one", 500, 0);
	assert_exactly_once(&b, "two", 500, 0);
	assert_in_range(b.sink.abort_count, 0, 1);
	bench_finish(&b);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tmpdir_setup, tmpdir_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(one_that_is_refused_is_found_and_the_others_arrive),
	    TEST(many_that_are_refused_all_go_to_the_dead_letters),
	    TEST(what_one_route_is_refused_costs_the_others_little),
	    TEST(a_route_refused_at_once_aborts_nothing),
	    TEST(a_topic_that_is_given_up_is_buried_to_its_end),
	    TEST(a_record_time_that_is_refused_is_the_time_of_sending),
	    TEST(what_is_sent_again_stays_within_the_buffer),
	    TEST(a_partition_that_does_not_answer_stops_only_its_route),
	    TEST(a_slow_link_is_not_mistaken_for_a_silent_partition),
	    TEST(an_outage_is_waited_for),
	};

	return cmocka_run_group_tests_name("forwarder_aborted", tests, NULL, NULL);
}
