/* SPDX-License-Identifier: Apache-2.0 */
/* Gap markers, held against a map with one letter for each sequence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/journals.h"
#include "../lib/records.h"
#include "../lib/tmpdir.h"
#include "err.h"
#include "journal/journal_private.h"

#define SEQS 400

static int
add_one(struct journal *j, void *context)
{
	return journal_gap_put(j, *(struct journal_gap *)context);
}

static int
add(struct journal *j, uint64_t first, uint64_t count, enum journal_gap_reason reason)
{
	struct journal_gap gap = {
	    .first_seq = first, .count = count, .at_ms = first, .reason = reason};

	return journal_write(j, add_one, &gap);
}

static void
assert_gap(struct journal *j, uint64_t from, uint64_t first, uint64_t count,
    enum journal_gap_reason reason)
{
	struct journal_gap gap;

	assert_int_equal(journal_gap_read(j, from, &gap), ERR_OK);
	assert_int_equal(gap.first_seq, first);
	assert_int_equal(gap.count, count);
	assert_int_equal(gap.reason, reason);
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

static void
neighbours_of_one_reason_are_one_marker(void **state)
{
	struct journal *j = journals_open(*state, JOURNAL_INGEST);
	struct journal_gap gap;

	assert_int_equal(add(j, 10, 5, JOURNAL_GAP_DROPPED_NEWEST), ERR_OK);
	assert_int_equal(add(j, 15, 5, JOURNAL_GAP_DROPPED_NEWEST), ERR_OK);
	assert_gap(j, 0, 10, 10, JOURNAL_GAP_DROPPED_NEWEST);
	assert_int_equal(add(j, 5, 5, JOURNAL_GAP_DROPPED_NEWEST), ERR_OK);
	assert_gap(j, 0, 5, 15, JOURNAL_GAP_DROPPED_NEWEST);
	assert_int_equal(journal_gap_read(j, 6, &gap), ERR_NOTFOUND);
	journal_close(j);
}

static void
neighbours_of_two_reasons_stay_two(void **state)
{
	struct journal *j = journals_open(*state, JOURNAL_INGEST);

	assert_int_equal(add(j, 10, 5, JOURNAL_GAP_DROPPED_NEWEST), ERR_OK);
	assert_int_equal(add(j, 15, 5, JOURNAL_GAP_DROPPED_OLDEST), ERR_OK);
	assert_gap(j, 0, 10, 5, JOURNAL_GAP_DROPPED_NEWEST);
	assert_gap(j, 11, 15, 5, JOURNAL_GAP_DROPPED_OLDEST);
	journal_close(j);
}

/* What is told already stays told as it was. */
static void
marker_keeps_what_it_tells(void **state)
{
	struct journal *j = journals_open(*state, JOURNAL_INGEST);
	struct journal_stat s;

	assert_int_equal(add(j, 10, 10, JOURNAL_GAP_DAMAGED), ERR_OK);
	assert_int_equal(add(j, 1, 30, JOURNAL_GAP_DROPPED_OLDEST), ERR_OK);
	assert_gap(j, 0, 1, 9, JOURNAL_GAP_DROPPED_OLDEST);
	assert_gap(j, 2, 10, 10, JOURNAL_GAP_DAMAGED);
	assert_gap(j, 11, 20, 11, JOURNAL_GAP_DROPPED_OLDEST);
	s = stat_of(j);
	assert_int_equal(s.removed[JOURNAL_GAP_DAMAGED], 10);
	assert_int_equal(s.removed[JOURNAL_GAP_DROPPED_OLDEST], 20);
	journal_close(j);
}

static void
nonsense_is_refused(void **state)
{
	struct journal *j = journals_open(*state, JOURNAL_INGEST);

	assert_int_equal(add(j, 10, 0, JOURNAL_GAP_DAMAGED), ERR_OK);
	assert_int_equal(add(j, 10, UINT64_MAX, JOURNAL_GAP_DAMAGED), ERR_INVALID);
	assert_int_equal(
	    add(j, 10, 1, (enum journal_gap_reason)JOURNAL_GAP_REASONS), ERR_INVALID);
	assert_int_equal(stat_of(j).gap_count, 0);
	journal_close(j);
}

/* The markers say just what the map says, and there are as few as can be. */
static void
compare(struct journal *j, const uint8_t map[SEQS + 1])
{
	uint64_t removed[JOURNAL_GAP_REASONS] = {0}, markers = 0;
	struct journal_gap gap = {0};
	struct journal_stat s;
	uint64_t seq = 1;

	while (journal_gap_read(j, gap.first_seq + 1, &gap) == ERR_OK) {
		markers++;
		for (; seq < gap.first_seq; seq++)
			assert_int_equal(map[seq], 0);
		assert_true(gap.count > 0);
		if (gap.first_seq > 1)
			assert_int_not_equal(map[gap.first_seq - 1], gap.reason);
		for (; seq < gap.first_seq + gap.count; seq++)
			assert_int_equal(map[seq], gap.reason);
	}
	for (; seq <= SEQS; seq++)
		assert_int_equal(map[seq], 0);
	for (seq = 1; seq <= SEQS; seq++)
		removed[map[seq]] += map[seq] != 0;
	s = stat_of(j);
	assert_int_equal(s.gap_count, markers);
	assert_memory_equal(s.removed, removed, sizeof(removed));
}

static void
random_gaps_match_a_map(void **state)
{
	uint64_t seed = records_seed();
	struct journal *j = journals_open(*state, JOURNAL_INGEST);
	uint8_t map[SEQS + 1] = {0};

	for (int round = 0; round < 300; round++) {
		uint64_t first = 1 + records_random_number(&seed) % SEQS;
		uint64_t most = round % 10 == 0 ? 100 : 6;
		uint64_t count = 1 + records_random_number(&seed) % most;
		enum journal_gap_reason reason =
		    (enum journal_gap_reason)(1 + records_random_number(&seed) % 3);

		if (first + count > SEQS + 1)
			count = SEQS + 1 - first;
		assert_int_equal(add(j, first, count, reason), ERR_OK);
		for (uint64_t seq = first; seq < first + count; seq++)
			map[seq] = map[seq] != 0 ? map[seq] : (uint8_t)reason;
		compare(j, map);
	}
	journal_close(j);
}

/* ---- too many ---- */

static int
add_many(struct journal *j, void *context)
{
	const uint64_t *count = context;
	int rc = ERR_OK;

	for (uint64_t i = 0; i < *count && rc == ERR_OK; i++)
		rc = journal_gap_put(j, (struct journal_gap){.first_seq = 1 + 3 * i,
					    .count = 2,
					    .reason = JOURNAL_GAP_DAMAGED});
	return rc;
}

static void
lowest_of_too_many_is_forgotten_and_still_counted(void **state)
{
	struct journal *j = journals_open(*state, JOURNAL_INGEST);
	uint64_t count = JOURNAL_GAPS_MAX + 7;
	struct journal_stat s;

	assert_int_equal(journal_write(j, add_many, &count), ERR_OK);
	s = stat_of(j);
	assert_int_equal(s.gap_count, JOURNAL_GAPS_MAX);
	assert_int_equal(s.removed[JOURNAL_GAP_DAMAGED], 2 * count);
	assert_gap(j, 0, 1 + 3 * 7, 2, JOURNAL_GAP_DAMAGED);
	journal_close(j);
}

/* A journal of an earlier version has no sums. */
static int
forget_sums(struct journal *j, void *context)
{
	(void)context;
	return store_delete(j->store, STORE_META,
	    (struct bytes){.data = "removed", .size = strlen("removed")});
}

static void
sums_that_are_not_there_are_what_the_markers_tell(void **state)
{
	struct journal *j = journals_open(*state, JOURNAL_INGEST);

	assert_int_equal(add(j, 5, 4, JOURNAL_GAP_TOO_LARGE), ERR_OK);
	assert_int_equal(journal_write(j, forget_sums, NULL), ERR_OK);
	assert_int_equal(stat_of(j).removed[JOURNAL_GAP_TOO_LARGE], 4);
	assert_int_equal(add(j, 8, 3, JOURNAL_GAP_TOO_LARGE), ERR_OK);
	assert_int_equal(stat_of(j).removed[JOURNAL_GAP_TOO_LARGE], 6);
	journal_close(j);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
		neighbours_of_one_reason_are_one_marker, tmpdir_setup, tmpdir_teardown),
	    cmocka_unit_test_setup_teardown(
		neighbours_of_two_reasons_stay_two, tmpdir_setup, tmpdir_teardown),
	    cmocka_unit_test_setup_teardown(
		marker_keeps_what_it_tells, tmpdir_setup, tmpdir_teardown),
	    cmocka_unit_test_setup_teardown(
		nonsense_is_refused, tmpdir_setup, tmpdir_teardown),
	    cmocka_unit_test_setup_teardown(
		random_gaps_match_a_map, tmpdir_setup, tmpdir_teardown),
	    cmocka_unit_test_setup_teardown(
		lowest_of_too_many_is_forgotten_and_still_counted, tmpdir_setup,
		tmpdir_teardown),
	    cmocka_unit_test_setup_teardown(
		sums_that_are_not_there_are_what_the_markers_tell, tmpdir_setup,
		tmpdir_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
