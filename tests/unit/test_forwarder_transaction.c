/* SPDX-License-Identifier: Apache-2.0 */
/* Exactly once: when a transaction ends, and how; crashes, and commits in doubt. */
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

static void
begin(struct bench *b, void **state)
{
	bench_init(b, state);
	fake_sink_init_transactional(&b->sink);
}

static void
run_until_commits(struct bench *b, size_t count)
{
	for (int i = 0; i < STEPS_MAX && b->sink.commit_count < count; i++)
		bench_step(b);
	assert_true(b->sink.commit_count >= count);
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
everything_arrives_in_a_few_transactions(void **state)
{
	struct bench b;

	begin(&b, state);
	bench_add_route(&b, "all", "#", "t");
	bench_fill(&b, "dev", 1, 20000, 20);
	b.buffer_max_bytes = 8 << 20;
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_exactly_once(&b, "t", 20000, 0);
	assert_in_range(b.sink.commit_count, 1, 5);
	assert_int_equal(b.sink.abort_count, 0);
	assert_int_equal(bench_stat_of(&b, 0).delivered_count, 20000);
	bench_assert_journal_empty(&b);
	bench_finish(&b);
}

/* What was delivered takes next to no room: the window is not what ends a transaction. */
static void
a_transaction_is_larger_than_the_buffer(void **state)
{
	struct bench b;

	begin(&b, state);
	bench_add_route(&b, "all", "#", "t");
	bench_fill(&b, "dev", 1, 20000, 20);
	b.buffer_max_bytes = 1 << 20;
	b.sink.batches_per_poll = 100;
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_true(b.sink.out_bytes_max <= b.buffer_max_bytes);
	assert_int_equal(b.sink.commit_count, 1);
	assert_exactly_once(&b, "t", 20000, 0);
	bench_finish(&b);
}

static void
a_transaction_has_no_more_records_than_it_may(void **state)
{
	struct bench b;

	begin(&b, state);
	bench_add_route(&b, "one", "#", "one");
	bench_add_route(&b, "two", "#", "two");
	bench_fill(&b, "dev", 1, 1000, 20);
	b.transaction_max_records = 70;
	bench_start(&b);
	while (b.sink.committed_count < 2000) {
		size_t before = b.sink.committed_count;

		run_until_commits(&b, b.sink.commit_count + 1);
		assert_in_range(b.sink.committed_count - before, 1, 70);
	}
	bench_run_to_the_end(&b);
	assert_exactly_once(&b, "one", 1000, 0);
	assert_exactly_once(&b, "two", 1000, 0);
	assert_int_equal(b.sink.abort_count, 0);
	bench_finish(&b);
}

/* Half as many would do with 200 ms. */
static void
a_transaction_that_is_old_ends(void **state)
{
	struct bench b;

	begin(&b, state);
	bench_add_route(&b, "all", "#", "t");
	bench_fill(&b, "dev", 1, 20000, 20);
	b.buffer_max_bytes = 256 << 10;
	b.sink.batches_per_poll = 1;
	b.transaction_max_ms = 20;
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_exactly_once(&b, "t", 20000, 0);
	assert_in_range(b.sink.commit_count, 10, 10000);
	bench_finish(&b);
}

static void
nothing_counts_before_the_commit(void **state)
{
	struct bench b;

	begin(&b, state);
	bench_add_route(&b, "all", "#", "t");
	bench_fill(&b, "dev", 1, 100, 20);
	bench_start(&b);
	b.sink.again_count = 3;
	while (b.sink.landed_count == 0 || b.sink.call == FAKE_NO_CALL)
		bench_step(&b);
	b.sink.again_count = SIZE_MAX;
	bench_run_ms(&b, 60000);
	assert_int_equal(b.sink.landed_count, 100);
	assert_int_equal(b.sink.committed_count, 0);
	assert_int_equal(bench_stat_of(&b, 0).delivered_count, 0);
	assert_int_equal(bench_stat_of(&b, 0).acked_seq, 0);
	assert_false(forwarder_is_empty(b.forwarder));
	assert_false(forwarder_is_settled(b.forwarder));
	assert_true(forwarder_timeout_ms(b.forwarder, b.now_ms) >= 0);
	b.sink.again_count = 0;
	bench_run_to_the_end(&b);
	assert_int_equal(bench_stat_of(&b, 0).delivered_count, 100);
	assert_exactly_once(&b, "t", 100, 0);
	bench_finish(&b);
}

static void
stopping_commits_what_is_open(void **state)
{
	struct bench b;

	begin(&b, state);
	bench_add_route(&b, "all", "#", "t");
	bench_fill(&b, "dev", 1, 5000, 20);
	b.sink.batches_per_poll = 1;
	bench_start(&b);
	while (b.sink.landed_count < 100)
		bench_step(&b);
	assert_int_equal(b.sink.committed_count, 0);
	forwarder_stop(b.forwarder);
	assert_false(forwarder_is_settled(b.forwarder));
	for (int i = 0; i < 100 && !forwarder_is_settled(b.forwarder); i++)
		bench_step(&b);
	assert_true(forwarder_is_settled(b.forwarder));
	assert_true(b.sink.committed_count >= 100);
	assert_int_equal(b.sink.committed_count, b.sink.landed_count);
	assert_int_equal(forwarder_checkpoint(b.forwarder), 0);
	bench_stop(&b);
	fake_sink_forget(&b.sink);
	b.sink.batches_per_poll = 10;
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_exactly_once(&b, "t", 5000, 0);
	bench_finish(&b);
}

/* ---- what goes wrong with a transaction ---- */

static void
crash(struct bench *b)
{
	bench_stop(b);
	fake_sink_forget(&b->sink);
}

static void
a_crash_before_the_commit_leaves_nothing(void **state)
{
	struct bench b;

	begin(&b, state);
	bench_add_route(&b, "all", "#", "t");
	bench_fill(&b, "dev", 1, 1000, 20);
	b.sink.batches_per_poll = 1;
	bench_start(&b);
	while (b.sink.landed_count < 300)
		bench_step(&b);
	crash(&b);
	assert_int_equal(b.sink.committed_count, 0);
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_true(b.sink.abort_landed_count >= 300);
	assert_exactly_once(&b, "t", 1000, 0);
	bench_finish(&b);
}

static void
a_crash_after_the_commit_sends_nothing_again(void **state)
{
	struct bench b;

	begin(&b, state);
	bench_add_route(&b, "one", "dev/#", "one");
	bench_add_route(&b, "two", "#", "two");
	bench_fill(&b, "dev", 1, 1000, 20);
	bench_start(&b);
	run_until_commits(&b, 1);
	assert_int_equal(b.sink.committed_count, 2000);
	crash(&b);
	bench_fill(&b, "dev", 1001, 1500, 20);
	bench_start(&b);
	assert_int_equal(bench_stat_of(&b, 0).acked_seq, 0);
	bench_run_to_the_end(&b);
	assert_int_equal(b.sink.sent_count, 3000);
	assert_exactly_once(&b, "one", 1500, 0);
	assert_exactly_once(&b, "two", 1500, 0);
	bench_finish(&b);
}

static void
check_commit_in_doubt(void **state, bool happens)
{
	struct bench b;

	begin(&b, state);
	bench_add_route(&b, "all", "#", "t");
	bench_fill(&b, "dev", 1, 1000, 20);
	if (happens)
		b.sink.fatal_commits_after = 1;
	else
		b.sink.fatal_commits = 1;
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_int_equal(b.sink.reopen_count, 1);
	assert_int_equal(b.sink.sent_count, happens ? 1000 : 2000);
	assert_exactly_once(&b, "t", 1000, 0);
	assert_int_equal(bench_stat_of(&b, 0).delivered_count, 1000);
	bench_finish(&b);
}

static void
a_commit_in_doubt_that_happened(void **state)
{
	check_commit_in_doubt(state, true);
}

static void
a_commit_in_doubt_that_did_not_happen(void **state)
{
	check_commit_in_doubt(state, false);
}

static void
refused_commits_are_tried_ever_more_slowly(void **state)
{
	struct bench b;

	begin(&b, state);
	bench_add_route(&b, "all", "#", "t");
	bench_fill(&b, "dev", 1, 100, 20);
	b.sink.refused_commits = SIZE_MAX;
	bench_start(&b);
	bench_run_ms(&b, 120000);
	assert_in_range(b.sink.abort_count, 4, 12);
	assert_true(bench_stat_of(&b, 0).is_held);
	assert_true(strlen(bench_stat_of(&b, 0).held_why) > 0);
	b.sink.refused_commits = 0;
	bench_run_to_the_end(&b);
	assert_false(bench_stat_of(&b, 0).is_held);
	assert_exactly_once(&b, "t", 100, 0);
	bench_finish(&b);
}

static void
refused_recoveries_are_tried_ever_more_slowly(void **state)
{
	struct bench b;

	begin(&b, state);
	bench_add_route(&b, "all", "#", "t");
	bench_fill(&b, "dev", 1, 100, 20);
	b.sink.again_count = 0;
	b.sink.refused_recoveries = 1000;
	bench_start(&b);
	bench_run_ms(&b, 120000);
	assert_in_range(b.sink.refused_recoveries, 988, 996);
	assert_int_equal(b.sink.sent_count, 0);
	assert_true(bench_stat_of(&b, 0).is_held);
	b.sink.refused_recoveries = 0;
	bench_run_to_the_end(&b);
	assert_exactly_once(&b, "t", 100, 0);
	bench_finish(&b);
}

static void
batches_given_back_are_sent_again_in_order(void **state)
{
	struct bench b;

	begin(&b, state);
	bench_add_route(&b, "all", "#", "t");
	bench_fill(&b, "dev", 1, 5000, 20);
	bench_start(&b);
	bench_step(&b);
	bench_step(&b);
	bench_step(&b);
	b.sink.given_back = 1;
	bench_run_to_the_end(&b);
	assert_int_equal(b.sink.abort_count, 1);
	assert_exactly_once(&b, "t", 5000, 0);
	assert_false(bench_stat_of(&b, 0).is_held);
	bench_finish(&b);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tmpdir_setup, tmpdir_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(everything_arrives_in_a_few_transactions),
	    TEST(a_transaction_is_larger_than_the_buffer),
	    TEST(a_transaction_has_no_more_records_than_it_may),
	    TEST(a_transaction_that_is_old_ends),
	    TEST(nothing_counts_before_the_commit),
	    TEST(stopping_commits_what_is_open),
	    TEST(a_crash_before_the_commit_leaves_nothing),
	    TEST(a_crash_after_the_commit_sends_nothing_again),
	    TEST(a_commit_in_doubt_that_happened),
	    TEST(a_commit_in_doubt_that_did_not_happen),
	    TEST(refused_commits_are_tried_ever_more_slowly),
	    TEST(refused_recoveries_are_tried_ever_more_slowly),
	    TEST(batches_given_back_are_sent_again_in_order),
	};

	return cmocka_run_group_tests_name("forwarder_transaction", tests, NULL, NULL);
}
