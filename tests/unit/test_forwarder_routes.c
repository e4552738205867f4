/* SPDX-License-Identifier: Apache-2.0 */
/* Many routes, bad topics, and routes that are switched off. */
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
#include "forward/readahead.h"

/* ---- many routes ---- */

#define MANY 150

static char names[MANY][16];
static char filters[MANY][32];

/* Route 0 takes everything; each other one its own device; the last takes nothing. */
static void
add_many(struct bench *b)
{
	bench_add_route(b, "all", "#", "all");
	for (int i = 1; i < MANY; i++) {
		snprintf(names[i], sizeof(names[i]), "r%d", i);
		snprintf(filters[i], sizeof(filters[i]), "dev/%d", i - 1);
		if (i == MANY - 1)
			strcpy(filters[i], "nothing/+");
		bench_add_route(b, names[i], filters[i], names[i]);
	}
}

static size_t
count_landed(const struct bench *b, const char *topic)
{
	size_t count = 0;

	for (size_t i = 0; i < b->sink.landed_count; i++)
		count += strcmp(b->sink.landed[i].topic, topic) == 0;
	return count;
}

static void
each_of_many_routes_gets_its_own(void **state)
{
	struct bench b;

	bench_init(&b, state);
	add_many(&b);
	/* Devices 0 to 59 of 150 routes: most of them have nothing to do. */
	bench_fill(&b, "dev", 1, 6000, 60);
	bench_start(&b);
	bench_run_to_the_end(&b);
	bench_assert_landed(&b, "all", 1, 6000, 0, 1);
	for (int i = 1; i < MANY; i++) {
		assert_int_equal(
		    count_landed(&b, names[i]), i <= 60 && i < MANY - 1 ? 100 : 0);
		bench_assert_in_order(&b, names[i]);
		assert_int_equal(bench_stat_of(&b, (size_t)i).acked_seq, 6000);
	}
	assert_int_equal(b.sink.landed_count, 12000);
	bench_assert_journal_empty(&b);
	bench_finish(&b);
}

/* More runs in flight than may be kept in memory: values are copied, nothing waits. */
static void
many_routes_on_a_bad_day(void **state)
{
	uint64_t seed = records_seed();
	struct bench b;

	bench_init(&b, state);
	b.buffer_max_bytes = 128 * 1024;
	add_many(&b);
	for (int n = 1; n <= 40; n++)
		bench_fill(&b, "dev", n * 100 - 99, n * 100, 60);
	b.sink.partitions = 4;
	bench_start(&b);
	for (int i = 0; i < STEPS_MAX && !forwarder_is_empty(b.forwarder); i++) {
		uint64_t dice = records_random_number(&seed) % 200;

		b.sink.batch_max = records_random_number(&seed) % 50 + 1;
		b.sink.batches_per_poll = records_random_number(&seed) % 10;
		b.sink.is_stuck[records_random_number(&seed) % 4] ^= dice % 20 == 0;
		if (dice == 1)
			fake_sink_fail(&b.sink);
		if (dice == 2)
			b.sink.refused_topic = "r7";
		if (dice == 3 || dice == 4)
			b.sink.refused_topic = NULL;
		bench_step(&b);
	}
	assert_true(forwarder_is_empty(b.forwarder));
	assert_int_equal(b.sink.landed_count, 8000);
	for (int i = 1; i < MANY; i++)
		bench_assert_in_order(&b, names[i]);
	bench_assert_landed(&b, "all", 1, 4000, 0, 1);
	assert_true(b.sink.out_bytes_max <= 128 * 1024);
	bench_assert_journal_empty(&b);
	bench_finish(&b);
}

/* Few runs may be kept for values on their way; those of the others are copied. */
static void
records_far_apart_are_in_flight_together(void **state)
{
	struct bench b;

	bench_init(&b, state);
	b.buffer_max_bytes = 64 * 1024;
	bench_add_route(&b, "small", "dev/#", "small");
	bench_add_route(&b, "big", "big/#", "big");
	for (int n = 1; n <= 50; n++) {
		bench_fill(&b, "dev", n, n, 1);
		bench_fill_one(&b, "big/1", 60000);
	}
	b.sink.is_down = true;
	bench_start(&b);
	bench_run_ms(&b, 1000);
	assert_int_equal(b.sink.out_count, 51);
	b.sink.is_down = false;
	bench_run_to_the_end(&b);
	bench_assert_landed(&b, "small", 1, 50, 0, 1);
	assert_int_equal(count_landed(&b, "big"), 50);
	bench_assert_journal_empty(&b);
	bench_finish(&b);
}

static void
a_busy_route_has_more_than_its_part_of_the_buffer(void **state)
{
	struct bench b;
	uint64_t each = 8 * 1024;

	bench_init(&b, state);
	b.buffer_max_bytes = each * 2 * 20;
	for (int i = 0; i < 20; i++) {
		snprintf(names[i], sizeof(names[i]), "r%d", i);
		snprintf(filters[i], sizeof(filters[i]), "dev/%d", i);
		bench_add_route(&b, names[i], filters[i], names[i]);
	}
	bench_fill(&b, "dev", 1, 5000, 1); /* all for route 0 */
	b.sink.is_down = true;
	bench_start(&b);
	bench_run_ms(&b, 1000);
	/* A quarter of the buffer and more, by the cost of each record in memory. */
	assert_in_range(
	    b.sink.out_count, (each * 10 + each) / 140, (each * 10 + each) / 128);
	bench_stop(&b);
	fake_sink_forget(&b.sink);
	/* That one is stuck; the next still has its own part and some more. */
	bench_fill(&b, "dev", 5001, 5001, 1);
	for (int i = 0; i < 1000; i++)
		bench_fill_one(&b, "dev/1", 20);
	bench_start(&b);
	bench_run_ms(&b, 1000);
	assert_true(b.sink.out_count > (each * 10 + each) / 140 + each / 160);
	assert_true(b.sink.out_bytes + 128 * b.sink.out_count <= b.buffer_max_bytes);
	b.sink.is_down = false;
	bench_run_to_the_end(&b);
	assert_int_equal(b.sink.landed_count, 6001);
	bench_finish(&b);
}

/* ---- a topic that cannot be ---- */

static void
a_bad_topic_is_buried_for_its_route_alone(void **state)
{
	struct bench b;
	uint64_t seq = 0;

	bench_init(&b, state);
	bench_add_route(&b, "by level", "dev/#", "${topic:2}");
	bench_add_route(&b, "fixed", "#", "t");
	bench_fill(&b, "dev", 1, 500, 1); /* to topic "0" */
	bench_fill_one(&b, "dev/", 0);
	bench_fill(&b, "dev", 502, 1000, 1);
	bench_start(&b);
	bench_run_to_the_end(&b);
	bench_assert_landed(&b, "0", 1, 1000, 501, 1);
	assert_int_equal(count_landed(&b, "t"), 1000);
	assert_int_equal(bench_dead_letters(&b, "by level", DEAD_BAD_TOPIC, &seq), 1);
	assert_int_equal(seq, 501);
	assert_int_equal(bench_dead_letters(&b, "fixed", DEAD_BAD_TOPIC, &seq), 0);
	assert_int_equal(bench_stat_of(&b, 0).dead_count, 1);
	assert_int_equal(bench_stat_of(&b, 1).dead_count, 0);
	assert_false(bench_stat_of(&b, 0).is_held);
	assert_int_equal(b.sink.reopen_count, 0);
	bench_assert_journal_empty(&b);
	bench_finish(&b);
}

/* ---- switched off ---- */

static void
a_route_that_is_off_keeps_what_is_for_it(void **state)
{
	struct bench b;
	uint64_t seq = 0;

	bench_init(&b, state);
	bench_add_route(&b, "on", "dev/#", "on");
	bench_add_route(&b, "off", "dev/5", "off");
	b.routes[1].enabled = false;
	bench_fill(&b, "dev", 1, 1000, 5); /* none for it yet */
	bench_fill(&b, "dev", 1001, 2000, 10);
	bench_fill(&b, "else", 2001, 2010, 10); /* for nobody */
	bench_start(&b);
	bench_run_to_the_end(&b);
	bench_assert_landed(&b, "on", 1, 2000, 0, 1);
	assert_int_equal(count_landed(&b, "off"), 0);
	assert_true(bench_stat_of(&b, 1).is_held);
	assert_string_equal(
	    bench_stat_of(&b, 1).held_why, "switched off in the configuration");
	assert_false(bench_stat_of(&b, 0).is_held);
	/* It stands at its first one, which it keeps, and with it all behind. */
	assert_int_equal(bench_stat_of(&b, 1).acked_seq, 1004);
	assert_int_equal(bench_stat_journal(&b).acked_seq, 1004);
	assert_int_equal(bench_stat_journal(&b).records, 1006);
	assert_int_equal(
	    bench_dead_letters(&b, FORWARDER_UNROUTED, DEAD_NO_ROUTE, &seq), 0);
	assert_int_equal(forwarder_timeout_ms(b.forwarder, b.now_ms), -1);
	/* Time does not change it, nor does a start. */
	bench_run_ms(&b, 600000);
	bench_stop(&b);
	bench_fill(&b, "dev", 2011, 2100, 10);
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_int_equal(count_landed(&b, "on"), 2090);
	assert_int_equal(count_landed(&b, "off"), 0);
	bench_stop(&b);

	b.routes[1].enabled = true;
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_int_equal(count_landed(&b, "on"), 2090);
	assert_int_equal(count_landed(&b, "off"), 109);
	bench_assert_in_order(&b, "off");
	assert_false(bench_stat_of(&b, 1).is_held);
	assert_int_equal(
	    bench_dead_letters(&b, FORWARDER_UNROUTED, DEAD_NO_ROUTE, &seq), 10);
	bench_assert_journal_empty(&b);
	bench_finish(&b);
}

static void
a_route_that_is_off_and_owes_nothing_keeps_nothing(void **state)
{
	struct bench b;

	bench_init(&b, state);
	bench_add_route(&b, "on", "dev/#", "on");
	bench_add_route(&b, "off", "other/#", "off");
	b.routes[1].enabled = false;
	bench_fill(&b, "dev", 1, 3000, 5);
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_int_equal(b.sink.landed_count, 3000);
	bench_assert_journal_empty(&b);
	assert_true(bench_stat_of(&b, 1).is_held);
	bench_finish(&b);
}

/* What only a route wants that is off waits for it: it is not "no route". */
static void
all_routes_off(void **state)
{
	struct bench b;
	uint64_t seq = 0;

	bench_init(&b, state);
	bench_add_route(&b, "off", "dev/#", "off");
	b.routes[0].enabled = false;
	bench_fill(&b, "dev", 1, 100, 5);
	bench_start(&b);
	assert_false(forwarder_is_empty(b.forwarder));
	bench_run_to_the_end(&b);
	assert_int_equal(b.sink.sent_count, 0);
	assert_int_equal(bench_stat_journal(&b).records, 100);
	assert_int_equal(
	    bench_dead_letters(&b, FORWARDER_UNROUTED, DEAD_NO_ROUTE, &seq), 0);
	bench_stop(&b);
	b.routes[0].enabled = true;
	bench_start(&b);
	bench_run_to_the_end(&b);
	bench_assert_landed(&b, "off", 1, 100, 0, 1);
	bench_finish(&b);
}

/* Over 40 records, each of which is a run. */
static struct readahead *
open_readahead(struct bench *b, size_t payload_bytes, struct readahead_options *o)
{
	struct readahead *ra;

	for (int i = 0; i < 40; i++)
		bench_fill_one(b, i % 2 == 0 ? "even" : "odd", payload_bytes);
	o->journal = bench_open_journal(b, JOURNAL_FORWARD);
	assert_int_equal(topic_matcher_open(&o->matcher), 0);
	assert_int_equal(readahead_open(&ra, o), 0);
	return ra;
}

/* Compressed batches are large: those of routes that stand far apart are let go of. */
static void
large_runs_are_kept_only_while_they_are_used(void **state)
{
	struct readahead_options o = {.reader_max = 40, .pin_max = 2};
	struct run *runs[40], *again;
	struct readahead *ra;
	struct damage damage;
	struct bench b;
	size_t count = 0;

	bench_init(&b, state);
	ra = open_readahead(&b, 140000, &o);
	for (uint64_t i = 0; i < 40; i++) {
		assert_int_equal(readahead_enter(ra, i + 1, &runs[i], &damage), 0);
		if (i == 0)
			assert_true(readahead_pin(ra, runs[0]));
	}
	for (size_t i = 1; i < 40; i++)
		count += runs[i]->body.capacity > 0;
	assert_in_range(count, 1, 16);
	/* A value is on its way out of this one; with it there is room for no second. */
	assert_null(runs[0]->view);
	assert_true(runs[0]->body.size > 140000);
	assert_false(readahead_pin(ra, runs[39]));
	readahead_unpin(ra, runs[0]);
	assert_int_equal(runs[0]->body.capacity, 0);
	assert_true(readahead_pin(ra, runs[39]));
	readahead_unpin(ra, runs[39]);
	/* Who stood there finds the record again. */
	readahead_leave(ra, runs[1]);
	assert_int_equal(readahead_enter(ra, 2, &again, &damage), 0);
	assert_memory_equal(run_record(again, 2)->topic.data, "odd", 3);
	readahead_leave(ra, again);
	for (size_t i = 0; i < 40; i++)
		if (i != 1)
			readahead_leave(ra, runs[i]);
	readahead_close(ra);
	topic_matcher_close(o.matcher);
	journal_close(o.journal);
	bench_finish(&b);
}

/* Decoded records are most of the memory where many routes stand far apart. */
static void
few_runs_are_decoded_at_a_time(void **state)
{
	struct readahead_options o = {.reader_max = 40, .pin_max = 2};
	struct run *runs[40], *again;
	struct readahead *ra;
	struct damage damage;
	struct bench b;
	size_t count = 0;

	bench_init(&b, state);
	ra = open_readahead(&b, 40000, &o);
	for (uint64_t i = 0; i < 40; i++)
		assert_int_equal(readahead_enter(ra, i + 1, &runs[i], &damage), 0);
	for (size_t i = 0; i < 40; i++)
		count += runs[i]->view != NULL;
	assert_in_range(count, 1, 16);
	assert_non_null(runs[39]->view);
	assert_int_equal(readahead_enter(ra, 2, &again, &damage), 0);
	assert_ptr_equal(again, runs[1]);
	assert_memory_equal(run_record(again, 2)->topic.data, "odd", 3);
	for (size_t i = 0; i < 40; i++)
		readahead_leave(ra, runs[i]);
	readahead_leave(ra, again);
	readahead_close(ra);
	topic_matcher_close(o.matcher);
	journal_close(o.journal);
	bench_finish(&b);
}

/* ---- filters that are changed while something waits ---- */

/* One route waits with 100 of each; the other has had its own. */
static void
start_with_one_held(struct bench *b)
{
	bench_add_route(b, "moves", "a/#", "moves");
	bench_add_route(b, "waits", "b/#", "waits");
	b->sink.refused_topic = "waits";
	for (int i = 0; i < 10; i++) {
		bench_fill(b, "a", i * 20 + 1, i * 20 + 10, 5);
		bench_fill(b, "b", i * 20 + 11, i * 20 + 20, 5);
	}
	bench_start(b);
	bench_run_ms(b, 1000);
	assert_int_equal(count_landed(b, "moves"), 100);
	assert_int_equal(bench_stat_of(b, 0).acked_seq, 200);
	assert_int_equal(bench_stat_of(b, 1).acked_seq, 10);
	bench_stop(b);
	fake_sink_forget(&b->sink);
}

/* How many of the numbers 1 to 200 are there? */
static size_t
count_different(const struct bench *b)
{
	bool is_there[201] = {false};
	size_t count = 0;

	for (size_t i = 0; i < b->sink.landed_count; i++) {
		int n = atoi(b->sink.landed[i].value);

		assert_in_range(n, 1, 200);
		count += !is_there[n];
		is_there[n] = true;
	}
	return count;
}

/* It is past what it now takes over: that is delivered all the same, and only that. */
static void
a_route_takes_over_what_another_one_owes(void **state)
{
	struct bench b;

	bench_init(&b, state);
	start_with_one_held(&b);
	b.settings.route_count = 1;
	b.filters[0][1] = bench_text("b/#");
	b.routes[0].topic_filter_count = 2;
	bench_start(&b);
	bench_run_ms(&b, 10);
	bench_stop(&b); /* nothing of it recorded yet */
	fake_sink_forget(&b.sink);
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_int_equal(count_different(&b), 200);
	assert_in_range(b.sink.landed_count, 200, 300);
	for (size_t i = 0; i < b.sink.landed_count; i++)
		assert_true(i < 100 || b.sink.landed[i].key[0] == 'b');
	bench_assert_journal_empty(&b);
	bench_finish(&b);
}

/* Twice within one backlog: what it has had is not known any more. */
static void
filters_that_are_changed_twice_lose_nothing(void **state)
{
	struct bench b;

	bench_init(&b, state);
	start_with_one_held(&b);
	b.filters[0][0] = bench_text("x/#");
	bench_start(&b);
	assert_int_equal(bench_stat_of(&b, 0).acked_seq, 10);
	bench_stop(&b);
	b.settings.route_count = 1;
	b.filters[0][0] = bench_text("#");
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_int_equal(count_different(&b), 200);
	bench_assert_journal_empty(&b);
	bench_finish(&b);
}

static void
filters_that_stay_move_nothing(void **state)
{
	struct bench b;

	bench_init(&b, state);
	start_with_one_held(&b);
	bench_start(&b);
	assert_int_equal(bench_stat_of(&b, 0).acked_seq, 200);
	assert_int_equal(bench_stat_of(&b, 1).acked_seq, 10);
	b.sink.refused_topic = NULL;
	bench_run_to_the_end(&b);
	bench_assert_in_order(&b, "moves");
	assert_int_equal(b.sink.landed_count, 200);
	bench_finish(&b);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tmpdir_setup, tmpdir_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(each_of_many_routes_gets_its_own),
	    TEST(many_routes_on_a_bad_day),
	    TEST(records_far_apart_are_in_flight_together),
	    TEST(a_busy_route_has_more_than_its_part_of_the_buffer),
	    TEST(a_bad_topic_is_buried_for_its_route_alone),
	    TEST(a_route_that_is_off_keeps_what_is_for_it),
	    TEST(a_route_that_is_off_and_owes_nothing_keeps_nothing),
	    TEST(all_routes_off),
	    TEST(few_runs_are_decoded_at_a_time),
	    TEST(large_runs_are_kept_only_while_they_are_used),
	    TEST(a_route_takes_over_what_another_one_owes),
	    TEST(filters_that_are_changed_twice_lose_nothing),
	    TEST(filters_that_stay_move_nothing),
	};

	return cmocka_run_group_tests_name("forwarder_routes", tests, NULL, NULL);
}
