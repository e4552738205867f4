/* SPDX-License-Identifier: Apache-2.0 */
/* Routes that bury what Kafka refuses to them. */
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

static size_t
count_landed(const struct bench *b, const char *topic)
{
	size_t count = 0;

	for (size_t i = 0; i < b->sink.landed_count; i++)
		count += strcmp(b->sink.landed[i].topic, topic) == 0;
	return count;
}

static void
add_burying_route(
    struct bench *b, const char *name, const char *filter, const char *topic)
{
	bench_add_route(b, name, filter, topic);
	b->routes[b->settings.route_count - 1].on_reject = SETTINGS_REJECT_BURY;
}

static void
check_all_buried(void **state, bool at_once)
{
	struct bench b;
	uint64_t seq = 0;
	size_t sent;

	bench_init(&b, state);
	add_burying_route(&b, "bury", "dev/#", "bad");
	bench_add_route(&b, "hold", "dev/#", "good");
	b.retries = 4;
	bench_fill(&b, "dev", 1, 200, 10);
	b.sink.refused_topic = "bad";
	b.sink.is_refused_at_once = at_once;
	bench_start(&b);
	bench_run_ms(&b, 6900); /* rounds at 0, 1, 3 and 7 s */
	assert_int_equal(bench_stat_of(&b, 0).dead_count, 0);
	assert_true(bench_stat_of(&b, 0).is_held);
	assert_int_equal(bench_stat_of(&b, 0).acked_seq, 0);
	sent = b.sink.sent_count;
	bench_run_to_the_end(&b);
	/* The first had its four tries, the others one each, and none of them waited. */
	assert_in_range(b.now_ms, 7000, 12000);
	assert_int_equal(bench_dead_letters(&b, "bury", DEAD_REFUSED, &seq), 200);
	assert_int_equal(bench_stat_of(&b, 0).dead_count, 200);
	if (!at_once)
		assert_in_range(b.sink.sent_count - sent, 200, 201);
	bench_assert_landed(&b, "good", 1, 200, 0, 1);
	assert_int_equal(b.sink.landed_count, 200);
	assert_int_equal(bench_dead_letters(&b, "hold", DEAD_REFUSED, &seq), 0);
	bench_assert_journal_empty(&b);
	bench_finish(&b);
}

static void
what_kafka_refuses_again_and_again_is_buried(void **state)
{
	check_all_buried(state, false);
}

static void
what_librdkafka_refuses_again_and_again_is_buried(void **state)
{
	check_all_buried(state, true);
}

static void
a_hiccup_buries_nothing(void **state)
{
	struct bench b;

	bench_init(&b, state);
	add_burying_route(&b, "bury", "dev/#", "t");
	b.retries = 4;
	bench_fill(&b, "dev", 1, 5000, 10);
	bench_start(&b);
	for (int i = 0; i < 5; i++) {
		b.sink.refused_topic = "t";
		bench_run_ms(&b, 3500); /* three rounds */
		assert_true(bench_stat_of(&b, 0).is_held);
		b.sink.refused_topic = NULL;
		b.sink.batch_max = 10;
		b.sink.batches_per_poll = 1;
		while (bench_stat_of(&b, 0).is_held)
			bench_step(&b);
		bench_run_ms(&b, 100);
	}
	assert_true(b.sink.landed_count < 5000);
	bench_run_to_the_end(&b);
	bench_assert_landed(&b, "t", 1, 5000, 0, 1);
	assert_int_equal(bench_stat_of(&b, 0).dead_count, 0);
	bench_finish(&b);
}

static void
a_delivery_brings_patience_back(void **state)
{
	struct bench b;
	uint64_t seq = 0, dead_count;

	bench_init(&b, state);
	add_burying_route(&b, "bury", "dev/#", "t");
	b.retries = 3;
	bench_fill(&b, "dev", 1, 1000, 10);
	b.sink.refused_topic = "t";
	bench_start(&b);
	while (bench_stat_of(&b, 0).dead_count < 50)
		bench_step(&b);
	b.sink.refused_topic = NULL;
	b.sink.batch_max = 1;
	b.sink.batches_per_poll = 1;
	while (b.sink.landed_count < 100)
		bench_step(&b);
	dead_count = bench_stat_of(&b, 0).dead_count;
	assert_in_range(dead_count, 50, 52);
	/* From now on the first refused one has three tries again. */
	b.sink.refused_topic = "t";
	bench_run_ms(&b, 2900);
	assert_int_equal(bench_stat_of(&b, 0).dead_count, dead_count);
	assert_true(bench_stat_of(&b, 0).is_held);
	b.sink.refused_topic = NULL;
	bench_run_to_the_end(&b);
	assert_int_equal(
	    bench_dead_letters(&b, "bury", DEAD_REFUSED, &seq), dead_count);
	assert_int_equal(seq, dead_count); /* the first ones, in order */
	assert_int_equal(b.sink.landed_count, 1000 - dead_count);
	bench_assert_landed(&b, "t", (int)dead_count + 1, 1000, 0, 1);
	bench_assert_journal_empty(&b);
	bench_finish(&b);
}

/* One topic of several that a template makes: the others are not disturbed for long. */
static void
a_refused_topic_among_others(void **state)
{
	struct bench b;
	uint64_t seq = 0;

	bench_init(&b, state);
	add_burying_route(&b, "bury", "dev/#", "t${topic:2}");
	b.retries = 3;
	bench_fill(&b, "dev", 1, 2000, 10);
	b.sink.refused_topic = "t7";
	b.sink.partitions = 4;
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_int_equal(bench_dead_letters(&b, "bury", DEAD_REFUSED, &seq), 200);
	assert_int_equal(b.sink.landed_count, 1800);
	for (int i = 0; i < 10; i++) {
		char topic[16];

		snprintf(topic, sizeof(topic), "t%d", i);
		bench_assert_in_order(&b, topic);
		assert_int_equal(count_landed(&b, topic), i == 7 ? 0 : 200);
	}
	assert_true(b.now_ms < 20000);
	bench_finish(&b);
}

static void
check_never_buried(void **state, enum settings_on_reject on_reject, int retries)
{
	struct bench b;

	bench_init(&b, state);
	bench_add_route(&b, "r", "dev/#", "t");
	b.routes[0].on_reject = on_reject;
	b.retries = retries;
	bench_fill(&b, "dev", 1, 100, 10);
	b.sink.refused_topic = "t";
	bench_start(&b);
	bench_run_ms(&b, 3600000);
	assert_true(bench_stat_of(&b, 0).is_held);
	assert_int_equal(bench_stat_of(&b, 0).dead_count, 0);
	assert_int_equal(bench_stat_of(&b, 0).acked_seq, 0);
	b.sink.refused_topic = NULL;
	bench_run_to_the_end(&b);
	bench_assert_landed(&b, "t", 1, 100, 0, 1);
	bench_finish(&b);
}

static void
without_retries_nothing_is_buried(void **state)
{
	check_never_buried(state, SETTINGS_REJECT_BURY, -1);
}

static void
a_route_that_holds_buries_nothing(void **state)
{
	check_never_buried(state, SETTINGS_REJECT_HOLD, 1);
}

static void
an_outage_buries_nothing(void **state)
{
	struct bench b;

	bench_init(&b, state);
	add_burying_route(&b, "bury", "dev/#", "t");
	b.retries = 1;
	bench_fill(&b, "dev", 1, 100, 10);
	b.sink.given_back = SIZE_MAX;
	bench_start(&b);
	bench_run_ms(&b, 600000);
	assert_int_equal(bench_stat_of(&b, 0).dead_count, 0);
	b.sink.given_back = 0;
	b.sink.is_down = true;
	bench_run_ms(&b, 600000);
	b.sink.is_down = false;
	bench_run_to_the_end(&b);
	bench_assert_landed(&b, "t", 1, 100, 0, 1);
	assert_int_equal(bench_stat_of(&b, 0).dead_count, 0);
	bench_finish(&b);
}

/* What cannot be buried is not acknowledged, and waits without being sent again. */
static void
no_room_to_bury_holds(void **state)
{
	struct bench b;
	uint64_t seq = 0;
	size_t sent;

	bench_init(&b, state);
	add_burying_route(&b, "bury", "dev/#", "t");
	b.retries = 1;
	b.dead_max_bytes = 1;
	bench_fill(&b, "dev", 1, 100, 10);
	b.sink.refused_topic = "t";
	bench_start(&b);
	bench_run_ms(&b, 60000);
	sent = b.sink.sent_count;
	bench_run_ms(&b, 600000);
	assert_int_equal(b.sink.sent_count, sent);
	assert_true(bench_stat_of(&b, 0).is_held);
	assert_int_equal(bench_stat_journal(&b).acked_seq, 0);
	bench_stop(&b);
	b.dead_max_bytes = 1 << 20;
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_int_equal(bench_dead_letters(&b, "bury", DEAD_REFUSED, &seq), 100);
	bench_assert_journal_empty(&b);
	bench_finish(&b);
}

static void
what_was_buried_before_a_crash_is_not_delivered_after_it(void **state)
{
	struct bench b;
	uint64_t seq = 0;

	bench_init(&b, state);
	bench_add_route(&b, "r", "dev/#", "t");
	bench_fill_with_one_large(&b, 40, 7);
	b.sink.value_max = 1000;
	bench_start(&b);
	while (bench_stat_of(&b, 0).dead_count == 0)
		bench_step(&b);
	assert_int_equal(bench_stat_journal(&b).acked_seq, 0); /* not yet recorded */
	bench_stop(&b);
	fake_sink_forget(&b.sink);
	b.sink.value_max = 0; /* it would be taken now */
	bench_start(&b);
	bench_run_to_the_end(&b);
	bench_assert_landed(&b, "t", 1, 40, 7, 2);
	assert_int_equal(bench_dead_letters(&b, "r", DEAD_TOO_LARGE, &seq), 1);
	assert_int_equal(seq, 7);
	bench_assert_journal_empty(&b);
	bench_finish(&b);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tmpdir_setup, tmpdir_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(what_kafka_refuses_again_and_again_is_buried),
	    TEST(what_librdkafka_refuses_again_and_again_is_buried),
	    TEST(a_hiccup_buries_nothing),
	    TEST(a_delivery_brings_patience_back),
	    TEST(a_refused_topic_among_others),
	    TEST(without_retries_nothing_is_buried),
	    TEST(a_route_that_holds_buries_nothing),
	    TEST(an_outage_buries_nothing),
	    TEST(no_room_to_bury_holds),
	    TEST(what_was_buried_before_a_crash_is_not_delivered_after_it),
	};

	return cmocka_run_group_tests_name("forwarder_buried", tests, NULL, NULL);
}
