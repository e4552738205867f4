/* SPDX-License-Identifier: Apache-2.0 */
/* Exactly once: what the position in Kafka says, and what of it fits the journal. */
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
#include "err.h"
#include "forward/forwarder_parts.h"
#include "forward/position.h"

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

static void
crash(struct bench *b)
{
	bench_stop(b);
	fake_sink_forget(&b->sink);
}

/* Numbers 1 to last are committed, and the journal does not know. */
static void
commit_and_crash(struct bench *b, int last)
{
	bench_fill(b, "dev", 1, last, 20);
	bench_start(b);
	run_until_commits(b, 1);
	crash(b);
}

static void
assert_exactly_once(const struct bench *b, const char *topic, int last)
{
	assert_int_equal(b->sink.landed_count, b->sink.committed_count);
	bench_assert_landed(b, topic, 1, last, 0, 1);
	bench_assert_in_order(b, topic);
}

/* Is every number there, and at most twice? */
static void
assert_at_least_once(const struct bench *b, const char *topic, int last)
{
	int *times = calloc((size_t)last + 1, sizeof(*times));

	assert_non_null(times);
	for (size_t i = 0; i < b->sink.committed_count; i++) {
		if (strcmp(b->sink.landed[i].topic, topic) == 0)
			times[atoi(b->sink.landed[i].value)]++;
	}
	for (int n = 1; n <= last; n++)
		assert_in_range(times[n], 1, 2);
	free(times);
}

static void
set_position(struct bench *b, const char *text)
{
	buffer_clear(&b->sink.position);
	assert_int_equal(buffer_append_str(&b->sink.position, text), 0);
}

/* Where the name of the instance is in the position. */
static char *
instance_in(struct bench *b)
{
	char *text = strstr((char *)b->sink.position.data, "\"instance\":\"");

	assert_non_null(text);
	return text + strlen("\"instance\":\"");
}

/* ---- positions that are missing or bad ---- */

static void
check_unusable(void **state, const char *text)
{
	struct bench b;

	begin(&b, state);
	bench_add_route(&b, "all", "#", "t");
	commit_and_crash(&b, 500);
	set_position(&b, text);
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_int_equal(b.sink.sent_count, 1000);
	assert_at_least_once(&b, "t", 500);
	bench_finish(&b);
}

static void
without_a_position_the_journal_counts(void **state)
{
	check_unusable(state, "");
}

static void
a_position_that_makes_no_sense_counts_for_nothing(void **state)
{
	check_unusable(state, "{\"format\":1}");
}

static void
a_position_of_another_journal_counts_for_nothing(void **state)
{
	check_unusable(state,
	    "{\"format\":1,\"uuid\":\"00000000-0000-4000-8000-000000000000\","
	    "\"instance\":\"0123456789abcdef\",\"routes\":{}}");
}

static void
a_position_that_is_behind_changes_nothing(void **state)
{
	struct buffer early = {0};
	struct bench b;

	begin(&b, state);
	bench_add_route(&b, "all", "#", "t");
	bench_fill(&b, "dev", 1, 500, 20);
	bench_start(&b);
	run_until_commits(&b, 1);
	assert_int_equal(
	    buffer_append(&early, b.sink.position.data, b.sink.position.size + 1), 0);
	bench_run_to_the_end(&b);
	crash(&b);
	bench_fill(&b, "dev", 501, 900, 20);
	bench_start(&b);
	bench_run_to_the_end(&b);
	crash(&b);
	set_position(&b, (char *)early.data);
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_exactly_once(&b, "t", 900);
	buffer_fini(&early);
	bench_finish(&b);
}

/* ---- a journal that is not the one ---- */

static void
assert_renewed(struct bench *b)
{
	uint8_t uuid[16];
	int err = 0;

	bench_start(b);
	memcpy(uuid, journal_identity(b->journal)->uuid, sizeof(uuid));
	for (int i = 0; i < 1000 && err == 0; i++) {
		b->now_ms += STEP_MS;
		err = forwarder_step(b->forwarder, b->now_ms, REAL_MS);
	}
	assert_int_equal(err, ERR_IDENTITY);
	assert_true(forwarder_is_settled(b->forwarder));
	assert_int_equal(bench_stat_of(b, 0).acked_seq, 0);
	assert_memory_not_equal(journal_identity(b->journal)->uuid, uuid, 16);
	assert_memory_equal(journal_identity(b->journal)->parent, uuid, 16);
	crash(b);
	/* Under the new name Kafka has no position. */
	set_position(b, "");
}

static void
copy_journal(const struct bench *b, const char *from, const char *to)
{
	char command[512];

	snprintf(command, sizeof(command), "cp %s/%s %s/%s", b->dir, from, b->dir, to);
	assert_int_equal(system(command), 0);
}

/* The image holds 300; Kafka has 500 of that journal. */
static void
an_older_image_gets_a_new_identity_and_nothing_is_skipped(void **state)
{
	struct bench b;

	begin(&b, state);
	bench_add_route(&b, "all", "#", "t");
	bench_fill(&b, "dev", 1, 300, 20);
	copy_journal(&b, "data.mdb", "image");
	bench_fill(&b, "dev", 301, 500, 20);
	bench_start(&b);
	run_until_commits(&b, 1);
	crash(&b);
	copy_journal(&b, "image", "data.mdb");
	assert_renewed(&b);
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_int_equal(b.sink.committed_count, 800);
	assert_at_least_once(&b, "t", 500);
	bench_finish(&b);
}

/* It has grown again past where Kafka is: by other records. */
static void
an_older_image_that_has_grown_is_told_by_its_records(void **state)
{
	struct bench b;

	begin(&b, state);
	bench_add_route(&b, "all", "#", "t");
	bench_fill(&b, "dev", 1, 300, 20);
	copy_journal(&b, "data.mdb", "image");
	bench_fill(&b, "dev", 301, 500, 20);
	bench_start(&b);
	run_until_commits(&b, 1);
	crash(&b);
	copy_journal(&b, "image", "data.mdb");
	bench_fill(&b, "dev", 1301, 2000, 20);
	assert_renewed(&b);
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_int_equal(b.sink.committed_count, 500 + 1000);
	bench_finish(&b);
}

/* ---- changed filters ---- */

static void
set_filter(struct bench *b, size_t route, const char *filter)
{
	b->filters[route][0] = bench_text(filter);
}

static void
filters_that_were_changed_ask_only_for_what_is_new(void **state)
{
	struct bench b;

	begin(&b, state);
	bench_add_route(&b, "all", "dev/+", "t");
	bench_fill(&b, "dev", 1, 300, 20);
	bench_fill(&b, "new", 301, 400, 20);
	bench_fill(&b, "dev", 401, 500, 20);
	bench_start(&b);
	run_until_commits(&b, 1);
	assert_int_equal(b.sink.committed_count, 400);
	crash(&b);
	/* Without a record of it in the journal; and then once more. */
	set_filter(&b, 0, "#");
	b.sink.batch_max = 10;
	b.sink.batches_per_poll = 1;
	bench_start(&b);
	run_until_commits(&b, 2);
	crash(&b);
	bench_fill(&b, "dev", 501, 600, 20);
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_int_equal(b.sink.committed_count, 600);
	assert_at_least_once(&b, "t", 600);
	bench_finish(&b);
}

static void
filters_changed_and_changed_back(void **state)
{
	struct bench b;

	begin(&b, state);
	bench_add_route(&b, "all", "dev/#", "t");
	commit_and_crash(&b, 500);
	set_filter(&b, 0, "dev/+");
	bench_start(&b);
	crash(&b);
	set_filter(&b, 0, "dev/#");
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_exactly_once(&b, "t", 500);
	bench_finish(&b);
}

/* What it had is not known any more: all of it again, and nothing is passed over. */
static void
filters_changed_twice_pass_nothing(void **state)
{
	struct bench b;

	begin(&b, state);
	bench_add_route(&b, "all", "dev/#", "t");
	bench_fill(&b, "dev", 1, 300, 20);
	bench_fill(&b, "new", 301, 400, 20);
	bench_fill(&b, "dev", 401, 500, 20);
	bench_start(&b);
	run_until_commits(&b, 1);
	crash(&b);
	set_filter(&b, 0, "new/#");
	bench_start(&b);
	crash(&b);
	set_filter(&b, 0, "#");
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_at_least_once(&b, "t", 500);
	bench_finish(&b);
}

/*
 * The new filters have had less: the mark of the old ones stays until they are past it,
 * for the journal may not know how far the lane has come.
 */
static void
what_older_filters_had_is_not_forgotten(void **state)
{
	struct bench b;

	begin(&b, state);
	bench_add_route(&b, "waits", "dev/+", "waits");
	bench_add_route(&b, "goes", "other/+", "goes");
	bench_fill(&b, "new", 1, 20, 20);
	bench_fill(&b, "dev", 21, 500, 20);
	bench_start(&b);
	run_until_commits(&b, 1);
	crash(&b);
	set_filter(&b, 0, "#");
	bench_start(&b);
	run_until_commits(&b, 2);
	crash(&b);
	assert_int_equal(b.sink.committed_count, 500);
	bench_fill(&b, "other", 501, 510, 20);
	b.sink.refused_topic = "waits";
	bench_start(&b);
	run_until_commits(&b, 3);
	crash(&b);
	b.sink.refused_topic = NULL;
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_int_equal(b.sink.committed_count, 510 + 10);
	assert_at_least_once(&b, "waits", 510);
	bench_finish(&b);
}

/* ---- two at once ---- */

static void
another_process_under_this_name_is_waited_for(void **state)
{
	struct bench b;
	size_t sent_count;

	begin(&b, state);
	bench_add_route(&b, "all", "#", "t");
	bench_fill(&b, "dev", 1, 500, 20);
	bench_start(&b);
	bench_run_to_the_end(&b);
	crash(&b);
	bench_fill(&b, "dev", 501, 1000, 20);
	bench_start(&b);
	run_until_commits(&b, 2);
	sent_count = b.sink.sent_count;
	/* It has fenced us off, and goes on and on. */
	fake_sink_fail(&b.sink);
	for (int i = 0; i < 5; i++) {
		memset(instance_in(&b), 'a' + i, 16);
		bench_run_ms(&b, 59000);
		assert_int_equal(b.sink.sent_count, sent_count);
		assert_true(bench_stat_of(&b, 0).is_held);
		assert_non_null(strstr(bench_stat_of(&b, 0).held_why, "copy"));
		b.sink.is_recovered = false; /* as if it had fenced us off again */
	}
	bench_run_ms(&b, 130000);
	assert_false(bench_stat_of(&b, 0).is_held);
	bench_run_to_the_end(&b);
	assert_exactly_once(&b, "t", 1000);
	bench_finish(&b);
}

/* ---- switching between the two ways of delivery ---- */

static void
from_at_least_once_to_exactly_once_and_back(void **state)
{
	struct bench b;
	const struct sink_ops *transactional;
	struct sink_ops plain;

	begin(&b, state);
	bench_add_route(&b, "all", "#", "t");
	transactional = b.sink.sink.ops;
	plain = *transactional;
	plain.recover = NULL;
	plain.commit = NULL;
	plain.abort = NULL;
	b.buffer_max_bytes = 32 * 1024;
	b.sink.sink.ops = &plain;
	b.sink.batch_max = 10;
	b.sink.batches_per_poll = 1;
	bench_fill(&b, "dev", 1, 3000, 20);
	bench_start(&b);
	while (b.sink.landed_count < 1000)
		bench_step(&b);
	assert_int_equal(forwarder_checkpoint(b.forwarder), 0);
	crash(&b);
	b.sink.committed_count = b.sink.landed_count;
	b.sink.sink.ops = transactional;
	bench_start(&b);
	while (b.sink.committed_count < 1600)
		bench_step(&b);
	forwarder_stop(b.forwarder);
	while (!forwarder_is_settled(b.forwarder))
		bench_step(&b);
	assert_int_equal(forwarder_checkpoint(b.forwarder), 0);
	crash(&b);
	assert_true(b.sink.committed_count < 3000);
	b.sink.sink.ops = &plain;
	bench_start(&b);
	bench_run_to_the_end(&b);
	crash(&b);
	bench_assert_landed(&b, "t", 1, 3000, 0, 1);
	/* The position of then is far behind. */
	b.sink.committed_count = b.sink.landed_count;
	b.sink.sink.ops = transactional;
	bench_fill(&b, "dev", 3001, 3100, 20);
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_exactly_once(&b, "t", 3100);
	bench_finish(&b);
}

/* ---- what the position points to ---- */

static void
gaps_that_were_announced_are_not_announced_again(void **state)
{
	struct bench b;
	struct journal *j;
	size_t announced;

	begin(&b, state);
	bench_add_route(&b, "all", "#", "t");
	b.routes[0].gap_records = SETTINGS_GAPS_TOPIC;
	bench_fill(&b, "dev", 1, 50, 20);
	j = bench_open_journal(&b, JOURNAL_INGEST);
	for (int i = 0; i < 3; i++) {
		char *large = calloc(1, 5 << 20);

		assert_non_null(large);
		bench_stage(j, "dev/1", large, 5 << 20);
		free(large);
	}
	assert_int_equal(journal_commit(j), 0);
	journal_close(j);
	bench_start(&b);
	run_until_commits(&b, 1);
	announced = b.sink.committed_count - 50;
	assert_true(announced >= 1);
	crash(&b);
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_int_equal(b.sink.committed_count, 50 + announced);
	bench_finish(&b);
}

/*
 * How far was sent is noted only where the oldest may be dropped: what was noted before
 * tells nothing of what Kafka has, and so does a journal that was never asked to drop.
 */
static void
what_kafka_may_have_is_not_dropped_before_it_is_known(void **state)
{
	struct journal_dropped dropped = {0};
	struct bench b;

	begin(&b, state);
	bench_add_route(&b, "all", "#", "t");
	b.may_drop_oldest = true;
	bench_fill(&b, "dev", 1, 10, 20);
	bench_start(&b);
	bench_run_to_the_end(&b);
	crash(&b);
	b.may_drop_oldest = false;
	bench_fill(&b, "dev", 11, 5000, 20);
	bench_start(&b);
	while (b.sink.committed_count < 5000)
		bench_step(&b);
	assert_true(bench_stat_journal(&b).acked_seq < 4000);
	crash(&b);
	b.may_drop_oldest = true;
	b.sink.is_down = true;
	bench_start(&b);
	bench_step(&b);
	assert_int_equal(
	    forwarder_drop_oldest(b.forwarder, (uint64_t)1 << 40, &dropped), ERR_AWAY);
	assert_int_equal(dropped.records, 0);
	b.sink.is_down = false;
	bench_run_to_the_end(&b);
	assert_exactly_once(&b, "t", 5000);
	bench_finish(&b);
}

/* One lane is far ahead; what the other one owes is not passed with it. */
static void
each_route_has_its_own_place(void **state)
{
	struct bench b;

	begin(&b, state);
	bench_add_route(&b, "waits", "#", "waits");
	bench_add_route(&b, "goes", "#", "goes");
	bench_fill(&b, "dev", 1, 500, 20);
	b.sink.refused_topic = "waits";
	bench_start(&b);
	bench_run_ms(&b, 100);
	assert_true(b.sink.committed_count == 500);
	crash(&b);
	b.sink.refused_topic = NULL;
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_exactly_once(&b, "waits", 500);
	assert_exactly_once(&b, "goes", 500);
	bench_finish(&b);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tmpdir_setup, tmpdir_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(without_a_position_the_journal_counts),
	    TEST(a_position_that_makes_no_sense_counts_for_nothing),
	    TEST(a_position_of_another_journal_counts_for_nothing),
	    TEST(a_position_that_is_behind_changes_nothing),
	    TEST(an_older_image_gets_a_new_identity_and_nothing_is_skipped),
	    TEST(an_older_image_that_has_grown_is_told_by_its_records),
	    TEST(filters_that_were_changed_ask_only_for_what_is_new),
	    TEST(filters_changed_and_changed_back),
	    TEST(filters_changed_twice_pass_nothing),
	    TEST(what_older_filters_had_is_not_forgotten),
	    TEST(another_process_under_this_name_is_waited_for),
	    TEST(from_at_least_once_to_exactly_once_and_back),
	    TEST(gaps_that_were_announced_are_not_announced_again),
	    TEST(what_kafka_may_have_is_not_dropped_before_it_is_known),
	    TEST(each_route_has_its_own_place),
	};

	return cmocka_run_group_tests_name("forwarder_recovery", tests, NULL, NULL);
}
