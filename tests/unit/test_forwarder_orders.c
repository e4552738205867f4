/* SPDX-License-Identifier: Apache-2.0 */
/* Orders, carried out while records are on their way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/order_bench.h"
#include "../lib/records.h"
#include "../lib/tmpdir.h"
#include "err.h"
#include "journal/store.h"

/* Two routes for the same; one of 100 records is too large for Kafka. */
static void
start_with_a_large_one(struct bench *b, void **state)
{
	bench_init(b, state);
	bench_add_route(b, "one", "dev/#", "t1");
	bench_add_route(b, "two", "dev/#", "t2");
	bench_fill_with_one_large(b, 100, 50);
	b->sink.send_max = 4000;
	bench_start(b);
	bench_run_to_the_end(b);
	assert_int_equal(b->sink.landed_count, 198);
}

/* ---- letters ---- */

static void
requeued_letters_arrive_once_each_on_its_own_route(void **state)
{
	struct bench b;
	uint64_t order, seq = 0;

	start_with_a_large_one(&b, state);
	assert_int_equal(bench_dead_letters(&b, "one", DEAD_TOO_LARGE, &seq), 1);
	assert_int_equal(bench_dead_letters(&b, "two", DEAD_TOO_LARGE, &seq), 1);
	b.sink.send_max = 0;
	order = order_give(&b, JOURNAL_ORDER_REQUEUE, 50);
	order_assert_ended(order_await(&b, order, 2000), 0, 2);
	bench_run_to_the_end(&b);
	assert_int_equal(b.sink.landed_count, 200);
	assert_int_equal(order_count_landed(&b, "t1", "50 "), 1);
	assert_int_equal(order_count_landed(&b, "t2", "50 "), 1);
	assert_int_equal(bench_dead_letters(&b, "one", DEAD_TOO_LARGE, &seq), 0);
	bench_assert_journal_empty(&b);
	assert_int_equal(bench_stat_journal(&b).next_seq, 103);
	assert_int_equal(bench_stat_journal(&b).gap_count, 0);
	bench_finish(&b);
}

static void
discarded_letters_leave_a_gap(void **state)
{
	struct bench b;
	uint64_t order;
	struct journal_gap gap;

	start_with_a_large_one(&b, state);
	order = order_give(&b, JOURNAL_ORDER_DISCARD, 0);
	order_assert_ended(order_await(&b, order, 2000), 0, 2);
	order = order_give(&b, JOURNAL_ORDER_DISCARD, 50);
	order_assert_ended(order_await(&b, order, 2000), ERR_NOTFOUND, 0);
	order = order_give(&b, JOURNAL_ORDER_REQUEUE, 0);
	order_assert_ended(order_await(&b, order, 2000), 0, 0);
	assert_int_equal(journal_gap_read(b.journal, 0, &gap), 0);
	assert_int_equal(gap.first_seq, 50);
	assert_int_equal(gap.count, 1);
	assert_int_equal(gap.reason, JOURNAL_GAP_OPERATOR);
	assert_int_equal(b.sink.landed_count, 198);
	bench_finish(&b);
}

/* They are buried again, under new sequences, and are not what was asked for. */
static void
letters_that_are_still_too_large_come_back_once(void **state)
{
	struct bench b;
	uint64_t order, seq = 0;

	start_with_a_large_one(&b, state);
	order = order_give(&b, JOURNAL_ORDER_REQUEUE, 0);
	order_assert_ended(order_await(&b, order, 2000), 0, 2);
	bench_run_to_the_end(&b);
	bench_run_ms(&b, 5000);
	assert_int_equal(bench_dead_letters(&b, "one", DEAD_TOO_LARGE, &seq), 1);
	assert_int_equal(seq, 101);
	assert_int_equal(bench_dead_letters(&b, "two", DEAD_TOO_LARGE, &seq), 1);
	assert_int_equal(seq, 102);
	assert_int_equal(bench_stat_journal(&b).next_seq, 103);
	bench_finish(&b);
}

static void
a_letter_ahead_of_its_route_waits(void **state)
{
	struct bench b;
	uint64_t order, seq = 0;

	bench_init(&b, state);
	bench_add_route(&b, "one", "dev/#", "t1");
	bench_fill_with_one_large(&b, 100, 50);
	b.sink.send_max = 4000;
	b.sink.is_down = true;
	bench_start(&b);
	bench_run_ms(&b, 500);
	assert_int_equal(bench_dead_letters(&b, "one", DEAD_TOO_LARGE, &seq), 1);
	b.sink.send_max = 0;
	order = order_give(&b, JOURNAL_ORDER_REQUEUE, 50);
	bench_run_ms(&b, 5000);
	assert_int_equal(order_look_at(&b, order).state, JOURNAL_ORDER_WAITS);
	assert_int_equal(bench_dead_letters(&b, "one", DEAD_TOO_LARGE, &seq), 1);
	/* Another order is not held up by it. */
	order_assert_ended(
	    order_await(&b, order_give(&b, JOURNAL_ORDER_DISCARD, 4), 2000),
	    ERR_NOTFOUND, 0);
	b.sink.is_down = false;
	order_assert_ended(order_await(&b, order, 3000), 0, 1);
	bench_run_to_the_end(&b);
	assert_int_equal(b.sink.landed_count, 100);
	bench_finish(&b);
}

/* Its route left the configuration, or its filters do not match it any more. */
static void
what_is_bound_to_a_route_is_for_no_other(void **state)
{
	struct bench b;
	uint64_t order, seq = 0;

	start_with_a_large_one(&b, state);
	b.sink.send_max = 0;
	b.sink.is_down = true;
	order = order_give(&b, JOURNAL_ORDER_REQUEUE, 0);
	order_assert_ended(order_await(&b, order, 2000), 0, 2);
	bench_stop(&b);
	fake_sink_forget(&b.sink);
	b.sink.is_down = false;
	b.filters[0][0] = bench_text("other/#");
	b.settings.route_count = 1;
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_int_equal(order_count_landed(&b, "t1", "50 "), 1);
	assert_int_equal(b.sink.landed_count, 199);
	assert_int_equal(
	    bench_dead_letters(&b, JOURNAL_UNROUTED, DEAD_NO_ROUTE, &seq), 1);
	assert_int_equal(seq, 102);
	/* It is there again: what was bound to it goes to it. */
	bench_stop(&b);
	b.settings.route_count = 2;
	bench_start(&b);
	order = order_give(&b, JOURNAL_ORDER_REQUEUE, 102);
	order_assert_ended(order_await(&b, order, 2000), 0, 1);
	bench_run_to_the_end(&b);
	assert_int_equal(order_count_landed(&b, "t2", "50 "), 1);
	assert_int_equal(b.sink.landed_count, 200);
	bench_finish(&b);
}

/* The dead letters have no room: the route holds, and goes on when there is some. */
static void
discarding_frees_a_route_that_cannot_bury(void **state)
{
	struct bench b;
	uint64_t order, seq = 0;
	size_t dead, sum = 0;

	bench_init(&b, state);
	bench_add_route(&b, "one", "dev/#", "t1");
	for (int i = 0; i < 12; i++)
		bench_fill_one(&b, "dev/1", 50000);
	b.sink.send_max = 4000;
	b.dead_max_bytes = 256 << 10;
	bench_start(&b);
	for (int i = 0; i < 12 && sum < 12; i++) {
		bench_run_ms(&b, 20000);
		dead = bench_dead_letters(&b, "one", DEAD_TOO_LARGE, &seq);
		assert_in_range(dead, 1, 4);
		assert_int_equal(bench_stat_of(&b, 0).is_held, sum + dead < 12);
		order = order_give(&b, JOURNAL_ORDER_DISCARD, 0);
		order_assert_ended(order_await(&b, order, 2000), 0, dead);
		sum += dead;
		/* At once, not when its time is up. */
		bench_run_ms(&b, 100);
		assert_int_equal(
		    bench_dead_letters(&b, "one", DEAD_TOO_LARGE, &seq) > 0, sum < 12);
	}
	assert_int_equal(sum, 12);
	bench_run_to_the_end(&b);
	bench_assert_journal_empty(&b);
	bench_finish(&b);
}

/* ---- the orders themselves ---- */

static void
put_raw(const char *directory, uint64_t first, uint64_t last, uint64_t at_ms)
{
	struct store_options o = {.directory = directory, .map_bytes = 64 << 20};
	uint8_t key[8] = {0},
		value[56] = {
		    [0] = JOURNAL_ORDER_SKIP, [4] = JOURNAL_ORDER_DONE, [8] = 1};
	struct store *s;

	for (int i = 0; i < 8; i++)
		value[40 + i] = (uint8_t)(at_ms >> (8 * i));
	assert_int_equal(store_open(&s, &o), 0);
	assert_int_equal(store_begin_write(s), 0);
	for (uint64_t n = first; n <= last; n++) {
		key[6] = (uint8_t)(n >> 8);
		key[7] = (uint8_t)n;
		assert_int_equal(store_put(s, STORE_ORDERS, (struct bytes){key, 8},
				     (struct bytes){value, 56}, STORE_REPLACE),
		    0);
	}
	assert_int_equal(store_commit(s), 0);
	store_close(s);
}

static size_t
count_orders(const struct bench *b, uint64_t *first)
{
	struct journal_order o = {0};
	size_t count = 0;

	while (journal_order_next(b->journal, o.number, &o) == 0) {
		if (count++ == 0)
			*first = o.number;
	}
	return count;
}

/* The outcome is kept for whoever asked; but not for good. */
static void
ended_orders_are_forgotten_in_time(void **state)
{
	struct bench b;
	uint64_t first = 0;

	bench_init(&b, state);
	bench_add_route(&b, "r", "dev/#", "t");
	bench_fill(&b, "dev", 1, 10, 5);
	put_raw(b.dir, 1, 70, 1);                           /* long ago */
	put_raw(b.dir, 71, 1100, (uint64_t)REAL_MS * 1000); /* 30 too many */
	bench_start(&b);
	bench_run_ms(&b, 3000);
	assert_int_equal(count_orders(&b, &first), 1000);
	assert_int_equal(first, 101);
	order_assert_ended(
	    order_await(&b, order_give(&b, JOURNAL_ORDER_SKIP, 1), 2000), 0, 0);
	assert_int_equal(count_orders(&b, &first), 1001);
	bench_run_ms(&b, 61000);
	assert_int_equal(count_orders(&b, &first), 1000);
	bench_finish(&b);
}

/* A damaged order is forgotten, and does not stand in the way of the next. */
static void
a_damaged_order_stops_nothing(void **state)
{
	struct store_options so = {.map_bytes = 64 << 20};
	static const uint8_t key[8] = {[7] = 1};
	struct journal_order o;
	struct store *s;
	struct bench b;

	bench_init(&b, state);
	bench_add_route(&b, "r", "dev/#", "t");
	bench_fill(&b, "dev", 1, 10, 5);
	so.directory = b.dir;
	assert_int_equal(store_open(&s, &so), 0);
	assert_int_equal(store_begin_write(s), 0);
	assert_int_equal(store_put(s, STORE_ORDERS, (struct bytes){key, 8},
			     (struct bytes){"nonsense", 8}, STORE_REPLACE),
	    0);
	assert_int_equal(store_commit(s), 0);
	store_close(s);
	bench_start(&b);
	assert_int_equal(order_give(&b, JOURNAL_ORDER_SKIP, 4), 2);
	order_assert_ended(order_await(&b, 2, 2000), 0, 1);
	assert_int_equal(journal_order_next(b.journal, 0, &o), 0);
	assert_int_equal(o.number, 2);
	bench_run_to_the_end(&b);
	bench_assert_landed(&b, "t", 1, 10, 4, 1);
	bench_finish(&b);
}

static void
an_order_to_drop_is_passed_on_and_ends(void **state)
{
	struct bench b;
	struct journal_order o;

	bench_init(&b, state);
	bench_add_route(&b, "r", "dev/#", "t");
	bench_fill(&b, "dev", 1, 5000, 20);
	b.sink.refused_topic = "t";
	b.sink.is_refused_at_once = true;
	bench_start(&b);
	bench_run_ms(&b, 500);
	o = order_await(&b, order_give(&b, JOURNAL_ORDER_DROP_OLDEST, 0), 2000);
	assert_int_equal(o.state, JOURNAL_ORDER_DONE);
	assert_in_range(o.count, 1, 5000);
	b.sink.refused_topic = NULL;
	bench_run_to_the_end(&b);
	assert_int_equal(b.sink.landed_count, 5000 - o.count);
	bench_finish(&b);
}

/* ---- all of it together ---- */

enum { MODEL_COUNT = 600, MODEL_ROUNDS = 60 };

/* What became of each number, by route: how often delivered, in dead, discarded. */
struct fate {
	int landed;
	int dead;
};

static void
find_fates(const struct bench *b, struct fate fates[2][MODEL_COUNT + 1])
{
	size_t count = b->sink.sink.ops->commit != NULL ? b->sink.committed_count
							: b->sink.landed_count;
	struct record_decoder *d;
	struct journal_dead dead = {0};
	struct dead_letter letter;
	struct record r;

	for (size_t i = 0; i < count; i++) {
		const struct fake_landed *l = &b->sink.landed[i];
		size_t route = strcmp(l->topic, "t2") == 0;

		fates[route][atoi(l->value)].landed++;
	}
	assert_int_equal(record_decoder_open(&d), 0);
	while (journal_dead_next(b->journal, &dead) == 0) {
		size_t route = strcmp((char *)dead.route.data, "two") == 0;
		size_t at = 0;

		assert_int_equal(
		    dead_letter_decode(d, dead.value.data, dead.value.size, &letter),
		    0);
		assert_int_equal(
		    record_decode(d, letter.record.data, letter.record.size, &at, &r),
		    0);
		fates[route][atoi(r.payload.data)].dead++;
	}
	journal_dead_fini(&dead);
	record_decoder_close(d);
}

static bool
is_gap(const struct bench *b, uint64_t seq)
{
	struct journal_gap gap = {0};

	while (journal_gap_read(b->journal, gap.first_seq + 1, &gap) == 0) {
		if (seq >= gap.first_seq && seq < gap.first_seq + gap.count)
			return true;
	}
	return false;
}

static void
fill_model(const struct bench *b, uint64_t *seed)
{
	struct journal *j = bench_open_journal(b, JOURNAL_INGEST);
	char payload[5000];

	for (int n = 1; n <= MODEL_COUNT; n++) {
		int size = snprintf(payload, sizeof(payload), "%d", n);

		if (records_random_number(seed) % 10 == 0) {
			memset(payload + size, ' ', sizeof(payload) - (size_t)size);
			size = sizeof(payload) - 1;
		}
		bench_stage(j, "dev/1", payload, (size_t)size);
		if (records_random_number(seed) % 20 == 0)
			assert_int_equal(journal_commit(j), 0);
	}
	assert_int_equal(journal_commit(j), 0);
	journal_close(j);
}

/* It ends without a word, as by SIGKILL; what was in flight may have landed. */
static void
crash(struct bench *b)
{
	bench_stop(b);
	fake_sink_forget(&b->sink);
	bench_start(b);
}

static void
do_something(struct bench *b, uint64_t *seed)
{
	uint64_t seq = records_random_number(seed) % MODEL_COUNT + 1;

	switch (records_random_number(seed) % 8) {
	case 0:
		crash(b);
		break;
	case 1:
		order_give(b, JOURNAL_ORDER_REQUEUE,
		    records_random_number(seed) % 2 == 0 ? 0 : seq);
		break;
	case 2:
		order_give(b, JOURNAL_ORDER_DISCARD, seq);
		break;
	case 3:
		order_give(b, JOURNAL_ORDER_SKIP, seq);
		break;
	case 4:
		b->sink.is_down = !b->sink.is_down;
		break;
	default:
		break;
	}
	b->sink.batches_per_poll = records_random_number(seed) % 3;
	for (uint64_t n = records_random_number(seed) % 60; n > 0; n--)
		bench_step(b);
}

static void
check_fates(const struct bench *b, bool is_exact)
{
	static struct fate fates[2][MODEL_COUNT + 1];

	memset(fates, 0, sizeof(fates));
	find_fates(b, fates);
	for (int route = 0; route < 2; route++) {
		for (int n = 1; n <= MODEL_COUNT; n++) {
			const struct fate *f = &fates[route][n];

			assert_in_range(f->dead, 0, 1);
			if (f->dead == 0 && f->landed == 0)
				assert_true(is_gap(b, (uint64_t)n));
			if (is_exact)
				assert_in_range(f->dead + f->landed, 0, 1);
		}
	}
}

/*
 * Whatever is asked, and whenever it crashes: nothing is in dead twice, and what is
 * neither there nor delivered has left a gap marker. At least once may have delivered
 * what was in flight when it crashed, and skip it then; exactly once does not.
 */
static void
run_model(void **state, bool is_exact)
{
	uint64_t seed = records_seed();
	struct bench b;

	bench_init(&b, state);
	if (is_exact)
		fake_sink_init_transactional(&b.sink);
	bench_add_route(&b, "one", "dev/#", "t1");
	bench_add_route(&b, "two", "dev/#", "t2");
	fill_model(&b, &seed);
	b.sink.send_max = 4000;
	b.sink.batch_max = 7;
	b.buffer_max_bytes = 32 << 10;
	b.dead_max_bytes = 4 << 20;
	bench_start(&b);
	for (int i = 0; i < MODEL_ROUNDS; i++)
		do_something(&b, &seed);
	b.sink.is_down = false;
	b.sink.batches_per_poll = 10;
	bench_run_to_the_end(&b);
	bench_run_ms(&b, 5000);
	bench_run_to_the_end(&b);
	check_fates(&b, is_exact);
	/* No letter is left behind by an order that could be carried out. */
	b.sink.send_max = 0;
	assert_int_equal(
	    order_await(&b, order_give(&b, JOURNAL_ORDER_REQUEUE, 0), 5000).state,
	    JOURNAL_ORDER_DONE);
	bench_run_to_the_end(&b);
	assert_int_equal(bench_stat_journal(&b).dead_count, 0);
	check_fates(&b, is_exact);
	bench_assert_journal_empty(&b);
	bench_finish(&b);
}

static void
each_letter_is_in_one_place(void **state)
{
	run_model(state, false);
}

static void
each_letter_is_in_one_place_exactly_once(void **state)
{
	run_model(state, true);
}

#define WITH_TMPDIR(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_TMPDIR(requeued_letters_arrive_once_each_on_its_own_route),
	    WITH_TMPDIR(discarded_letters_leave_a_gap),
	    WITH_TMPDIR(letters_that_are_still_too_large_come_back_once),
	    WITH_TMPDIR(a_letter_ahead_of_its_route_waits),
	    WITH_TMPDIR(what_is_bound_to_a_route_is_for_no_other),
	    WITH_TMPDIR(discarding_frees_a_route_that_cannot_bury),
	    WITH_TMPDIR(ended_orders_are_forgotten_in_time),
	    WITH_TMPDIR(a_damaged_order_stops_nothing),
	    WITH_TMPDIR(an_order_to_drop_is_passed_on_and_ends),
	    WITH_TMPDIR(each_letter_is_in_one_place),
	    WITH_TMPDIR(each_letter_is_in_one_place_exactly_once),
	};

	return cmocka_run_group_tests_name("forwarder_orders", tests, NULL, NULL);
}
