/* SPDX-License-Identifier: Apache-2.0 */
/* A full journal that drops: the oldest batches, or the newest messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/damage.h"
#include "../lib/journals.h"
#include "../lib/records.h"
#include "../lib/tmpdir.h"
#include "err.h"

#define MIB ((uint64_t)1 << 20)

static const char *const one_route[] = {"r"};

static struct journal *
open_forward(const char *directory, uint64_t max_bytes)
{
	struct journal *j = journals_open_sized(directory, JOURNAL_FORWARD, max_bytes);
	uint64_t acked;

	assert_int_equal(journal_routes_set(j, one_route, 1, &acked), ERR_OK);
	return j;
}

static struct journal_stat
stat_of(struct journal *j)
{
	struct journal_stat s, numbers;

	assert_int_equal(journal_stat(j, &s), ERR_OK);
	numbers = s;
	journal_stat_fini(&s);
	return numbers;
}

static uint64_t
room_of(struct journal *j)
{
	uint64_t room = 0;

	assert_int_equal(journal_room(j, &room), ERR_OK);
	return room;
}

/* Fill it; returns the next sequence number. */
static uint64_t
fill(const char *directory, uint64_t max_bytes)
{
	struct journal *j = journals_open_sized(directory, JOURNAL_INGEST, max_bytes);
	uint64_t next;

	assert_int_equal(journals_fill(j, 50, 500), ERR_FULL);
	next = journals_next(j);
	journal_close(j);
	return next;
}

static bool
is_in_a_gap(struct journal *j, uint64_t seq)
{
	struct journal_gap gap = {0};

	while (journal_gap_read(j, gap.first_seq + 1, &gap) == ERR_OK) {
		if (seq >= gap.first_seq && seq < gap.first_seq + gap.count)
			return true;
	}
	return false;
}

/* Each sequence is in a batch or in a marker, and never in both. Returns the former. */
static uint64_t
check_either_or(struct journal *j, uint64_t next)
{
	struct journal_batch b = {0};
	uint64_t seq = 1, count = 0;

	while (journal_read(j, seq, &b) == ERR_OK) {
		for (; seq < b.base_seq; seq++)
			assert_true(is_in_a_gap(j, seq));
		for (; seq < b.end_seq; seq++, count++)
			assert_false(is_in_a_gap(j, seq));
	}
	for (; seq < next; seq++)
		assert_true(is_in_a_gap(j, seq));
	journal_batch_fini(&b);
	return count;
}

/* ---- the oldest ---- */

static void
oldest_go_until_there_is_room(void **state)
{
	uint64_t next = fill(*state, 4 * MIB);
	struct journal *j = open_forward(*state, 4 * MIB);
	struct journal_dropped dropped = {0};

	assert_int_equal(journal_drop_oldest(j, NULL, 0, MIB, &dropped), ERR_OK);
	assert_in_range(room_of(j), MIB, MIB + 512 * 1024);
	assert_int_equal(dropped.range.first_seq, 1);
	assert_int_equal(dropped.range.end_seq, dropped.records + 1);
	assert_int_equal(check_either_or(j, next), next - 1 - dropped.records);
	assert_int_equal(stat_of(j).gap_count, 1);
	assert_int_equal(
	    stat_of(j).removed[JOURNAL_GAP_DROPPED_OLDEST], dropped.records);
	/* There is as much room as was asked for: nothing more goes. */
	dropped = (struct journal_dropped){0};
	assert_int_equal(journal_drop_oldest(j, NULL, 0, MIB, &dropped), ERR_OK);
	assert_int_equal(dropped.records, 0);
	assert_int_equal(dropped.bytes, 0);
	journal_close(j);
	j = journals_open_sized(*state, JOURNAL_INGEST, 4 * MIB);
	assert_int_equal(journals_append(j, 50, 500), ERR_OK);
	assert_int_equal(journals_next(j), next + 50);
	journal_close(j);
}

/* Deleting it would free pages of another. */
static void
nothing_goes_without_a_good_first_page(void **state)
{
	uint64_t next = fill(*state, 2 * MIB);
	struct journal_dropped dropped = {0};
	struct journal *j;

	damage_run(*state, "xxxx"); /* the oldest lies in front */
	j = open_forward(*state, 2 * MIB);
	assert_int_equal(journal_drop_oldest(j, NULL, 0, MIB, &dropped), ERR_CORRUPT);
	assert_int_equal(check_either_or(j, next), next - 1);
	journal_close(j);
}

static void
whatever_is_kept_stays(void **state)
{
	uint64_t next = fill(*state, 4 * MIB);
	const struct journal_range keep[] = {
	    {0, 60}, {1000, 1001}, {2000, 2400}, {next - 10, next + 5}};
	struct journal *j = open_forward(*state, 4 * MIB);
	struct journal_dropped dropped = {0};

	assert_int_equal(journal_drop_oldest(j, keep, 4, 3 * MIB, &dropped), ERR_OK);
	for (size_t i = 0; i < 4; i++) {
		for (uint64_t seq = keep[i].first_seq; seq < keep[i].end_seq; seq++)
			assert_false(is_in_a_gap(j, seq));
	}
	assert_true(dropped.records > 3000);
	assert_int_equal(check_either_or(j, next), next - 1 - dropped.records);
	journal_close(j);
}

static void
nothing_goes_where_all_is_kept(void **state)
{
	uint64_t next = fill(*state, 2 * MIB);
	const struct journal_range keep = {0, next};
	struct journal *j = open_forward(*state, 2 * MIB);
	struct journal_dropped dropped = {0};

	assert_int_equal(journal_drop_oldest(j, &keep, 1, 2 * MIB, &dropped), ERR_OK);
	assert_int_equal(dropped.records, 0);
	assert_int_equal(check_either_or(j, next), next - 1);
	journal_close(j);
}

static void
all_may_go_and_numbers_go_on(void **state)
{
	uint64_t next = fill(*state, 2 * MIB);
	struct journal *j = open_forward(*state, 2 * MIB);
	struct journal_dropped dropped = {0};

	assert_int_equal(journal_drop_oldest(j, NULL, 0, 64 * MIB, &dropped), ERR_OK);
	assert_int_equal(dropped.records, next - 1);
	assert_int_equal(check_either_or(j, next), 0);
	journal_close(j);
	j = journals_open_sized(*state, JOURNAL_INGEST, 2 * MIB);
	assert_int_equal(journals_append(j, 1, 500), ERR_OK);
	assert_int_equal(journals_next(j), next + 1);
	journal_close(j);
}

/* A gap that is there already, of another reason, is not counted again. */
static void
gap_between_batches_is_left_as_it_is(void **state)
{
	struct journal *j = journals_open_sized(*state, JOURNAL_INGEST, 4 * MIB);
	struct journal_dropped dropped = {0};
	struct journal_stat s;

	assert_int_equal(journals_append(j, 10, 500), ERR_OK);
	assert_int_equal(journal_stage_dropped(j, 7), ERR_OK);
	assert_int_equal(journal_commit(j), ERR_OK);
	assert_int_equal(journals_append(j, 10, 500), ERR_OK);
	journal_close(j);
	j = open_forward(*state, 4 * MIB);
	assert_int_equal(journal_drop_oldest(j, NULL, 0, 64 * MIB, &dropped), ERR_OK);
	assert_int_equal(dropped.records, 20);
	s = stat_of(j);
	assert_int_equal(s.removed[JOURNAL_GAP_DROPPED_NEWEST], 7);
	assert_int_equal(s.removed[JOURNAL_GAP_DROPPED_OLDEST], 20);
	assert_int_equal(s.gap_count, 3);
	journal_close(j);
}

/* A random model: whatever is kept, each sequence is in one of the two places. */
static void
random_drops_lose_nothing_unannounced(void **state)
{
	uint64_t seed = records_seed();

	for (int round = 0; round < 6; round++) {
		uint64_t next = fill(*state, 2 * MIB);
		struct journal *j = open_forward(*state, 2 * MIB);
		struct journal_dropped dropped = {0};
		struct journal_range keep[3];
		uint64_t from = 1, before = check_either_or(j, next);

		for (size_t i = 0; i < 3; i++) {
			from += records_random_number(&seed) % next / 4;
			keep[i].first_seq = from;
			from += 1 + records_random_number(&seed) % 300;
			keep[i].end_seq = from;
		}
		assert_int_equal(
		    journal_drop_oldest(
			j, keep, 3, records_random_number(&seed) % (2 * MIB), &dropped),
		    ERR_OK);
		assert_int_equal(check_either_or(j, next), before - dropped.records);
		assert_int_equal(
		    journal_drop_oldest(j, NULL, 0, MIB, &dropped), ERR_OK);
		journal_close(j);
	}
}

/* ---- the newest ---- */

static void
markers_are_taken_by_a_full_journal(void **state)
{
	struct journal *j = journals_open_sized(*state, JOURNAL_INGEST, 2 * MIB);
	uint64_t next;

	assert_int_equal(journals_fill(j, 50, 500), ERR_FULL);
	assert_int_equal(journals_fill(j, 1, 500), ERR_FULL);
	next = journals_next(j);
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(journal_stage_dropped(j, 3), ERR_OK);
		assert_int_equal(journal_staged_count(j), 3);
		assert_int_equal(journal_commit(j), ERR_OK);
	}
	assert_int_equal(journals_next(j), next + 3000);
	assert_int_equal(stat_of(j).gap_count, 1);
	assert_int_equal(stat_of(j).removed[JOURNAL_GAP_DROPPED_NEWEST], 3000);
	assert_true(stat_of(j).file_bytes <= stat_of(j).map_bytes);
	assert_int_equal(check_either_or(j, next + 3000), next - 1);
	journal_close(j);
}

static void
markers_and_records_of_one_commit_keep_their_order(void **state)
{
	struct journal *j = journals_open(*state, JOURNAL_INGEST);
	struct journal_gap gap;

	journals_stage(j, 2, 100);
	assert_int_equal(journal_stage_dropped(j, 1), ERR_OK);
	assert_int_equal(journal_stage_dropped(j, 2), ERR_OK);
	journals_stage(j, 2, 100);
	assert_int_equal(journal_staged_count(j), 7);
	assert_int_equal(journal_commit(j), ERR_OK);
	assert_int_equal(journal_gap_read(j, 0, &gap), ERR_OK);
	assert_int_equal(gap.first_seq, 3);
	assert_int_equal(gap.count, 3);
	assert_int_equal(gap.reason, JOURNAL_GAP_DROPPED_NEWEST);
	assert_int_equal(check_either_or(j, 8), 4);
	journal_close(j);
}

/* ---- max_bytes over a restart ---- */

static void
lowered_max_bytes_only_stops_appending(void **state)
{
	uint64_t next = fill(*state, 16 * MIB), acked;
	struct journal *j = journals_open_sized(*state, JOURNAL_INGEST, 2 * MIB);

	assert_int_equal(room_of(j), 0);
	assert_int_equal(journals_append(j, 1, 500), ERR_FULL);
	assert_int_equal(check_either_or(j, next), next - 1);
	journal_close(j);
	j = open_forward(*state, 2 * MIB);
	assert_int_equal(stat_of(j).max_bytes, 2 * MIB);
	for (acked = 1000; acked < next - 1; acked += 1000) {
		assert_int_equal(journals_drain(j, acked), ERR_OK);
		assert_int_equal(journals_check_dense(j, acked + 1), next);
	}
	assert_int_equal(journals_drain(j, next - 1), ERR_OK);
	journal_close(j);
	j = journals_open_sized(*state, JOURNAL_INGEST, 2 * MIB);
	assert_true(room_of(j) > MIB);
	assert_int_equal(journals_append(j, 50, 500), ERR_OK);
	journal_close(j);
}

static void
lowered_max_bytes_is_met_by_dropping(void **state)
{
	uint64_t next = fill(*state, 16 * MIB);
	struct journal *j = open_forward(*state, 4 * MIB);
	struct journal_dropped dropped = {0};

	assert_int_equal(journal_drop_oldest(j, NULL, 0, MIB, &dropped), ERR_OK);
	assert_in_range(room_of(j), MIB, 2 * MIB);
	assert_int_equal(check_either_or(j, next), next - 1 - dropped.records);
	journal_close(j);
}

static void
raised_max_bytes_takes_more(void **state)
{
	uint64_t next = fill(*state, 2 * MIB);
	struct journal *j = journals_open_sized(*state, JOURNAL_INGEST, 8 * MIB);

	assert_int_equal(journals_fill(j, 50, 500), ERR_FULL);
	assert_true(journals_next(j) > 3 * next);
	assert_int_equal(check_either_or(j, journals_next(j)), journals_next(j) - 1);
	journal_close(j);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tmpdir_setup, tmpdir_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(oldest_go_until_there_is_room),
	    TEST(nothing_goes_without_a_good_first_page),
	    TEST(whatever_is_kept_stays),
	    TEST(nothing_goes_where_all_is_kept),
	    TEST(all_may_go_and_numbers_go_on),
	    TEST(gap_between_batches_is_left_as_it_is),
	    TEST(random_drops_lose_nothing_unannounced),
	    TEST(markers_are_taken_by_a_full_journal),
	    TEST(markers_and_records_of_one_commit_keep_their_order),
	    TEST(lowered_max_bytes_only_stops_appending),
	    TEST(lowered_max_bytes_is_met_by_dropping),
	    TEST(raised_max_bytes_takes_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
