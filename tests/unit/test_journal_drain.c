/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/damage.h"
#include "../lib/journals.h"
#include "../lib/records.h"
#include "../lib/tmpdir.h"
#include "err.h"

static const char *const one_route[] = {"r"};

/* A journal with batches of ten records each, opened to be drained. */
static struct journal *
open_with(const char *directory, int batches)
{
	struct journal *j = journals_open(directory, JOURNAL_INGEST);

	for (int i = 0; i < batches; i++)
		assert_int_equal(journals_append(j, 10, 10), ERR_OK);
	journal_close(j);
	return journals_open(directory, JOURNAL_FORWARD);
}

static struct journal_stat
stat_of(struct journal *j)
{
	struct journal_stat s;

	assert_int_equal(journal_stat(j, &s), ERR_OK);
	return s;
}

static uint64_t
batches_of(struct journal *j)
{
	struct journal_stat s = stat_of(j);
	uint64_t n = s.batches;

	journal_stat_fini(&s);
	return n;
}

/* ---- routes ---- */

static void
first_routes_start_at_the_oldest_record(void **state)
{
	struct journal *j = open_with(*state, 3);
	const char *const names[] = {"a", "b"};
	uint64_t acked[2] = {99, 99};

	assert_int_equal(journal_routes_set(j, names, 2, acked), ERR_OK);
	assert_int_equal(acked[0], 0);
	assert_int_equal(acked[1], 0);
	journal_close(j);
}

static void
new_route_starts_where_the_slowest_stands(void **state)
{
	struct journal *j = open_with(*state, 3);
	const char *const names[] = {"a", "b"}, *const more[] = {"c", "b", "a"};
	uint64_t acked[3] = {0}, to[] = {20, 10};
	bool left;

	assert_int_equal(journal_routes_set(j, names, 2, acked), ERR_OK);
	assert_int_equal(journal_acknowledge(j, to, &left), ERR_OK);
	assert_int_equal(journal_routes_set(j, more, 3, acked), ERR_OK);
	assert_int_equal(acked[0], 10);
	assert_int_equal(acked[1], 10);
	assert_int_equal(acked[2], 20);
	journal_close(j);
}

/* The slowest counts even when it leaves: what it owed, the new one takes over. */
static void
renamed_route_starts_where_the_old_one_stood(void **state)
{
	struct journal *j = open_with(*state, 3);
	const char *const before[] = {"old"}, *const after[] = {"new"};
	uint64_t acked, to = 10;
	struct journal_stat s;
	bool left;

	assert_int_equal(journal_routes_set(j, before, 1, &acked), ERR_OK);
	assert_int_equal(journal_acknowledge(j, &to, &left), ERR_OK);
	assert_int_equal(journal_routes_set(j, after, 1, &acked), ERR_OK);
	assert_int_equal(acked, 10);
	s = stat_of(j);
	assert_int_equal(s.route_count, 1);
	assert_string_equal(s.routes[0].name, "new");
	assert_int_equal(s.routes[0].acked_seq, 10);
	journal_stat_fini(&s);
	journal_close(j);
}

static void
ask(struct journal *j, const char *a, const char *b, uint64_t acked[2],
    struct journal_passed passed[2])
{
	const char *const names[] = {"a", "b"}, *const asked[] = {a, b};

	assert_int_equal(journal_routes_set(j, names, 2, acked), ERR_OK);
	assert_int_equal(journal_routes_ask(j, asked, acked, passed), ERR_OK);
}

static void
assert_passed(struct journal_passed *passed, uint64_t until_seq, const char *asked)
{
	assert_int_equal(passed->until_seq, until_seq);
	if (until_seq > 0)
		assert_string_equal(passed->asked, asked);
	free(passed->asked);
}

static void
route_that_asks_for_something_else_goes_back(void **state)
{
	struct journal *j = open_with(*state, 3);
	const char *const one[] = {"b"}, *const asked[] = {"y"};
	uint64_t acked[2] = {0}, to[] = {20, 10};
	struct journal_passed passed[2];
	bool left;

	ask(j, "x", NULL, acked, passed);
	assert_passed(&passed[0], 0, NULL);
	assert_passed(&passed[1], 0, NULL);
	assert_int_equal(journal_acknowledge(j, to, &left), ERR_OK);
	/* The same, or not known before: it stays. */
	ask(j, "x", "y", acked, passed);
	assert_int_equal(acked[0], 20);
	assert_int_equal(acked[1], 10);
	assert_passed(&passed[0], 0, NULL);
	assert_passed(&passed[1], 0, NULL);
	for (int i = 0; i < 2; i++) { /* the second time it asks for the same */
		ask(j, "longer", "y", acked, passed);
		assert_int_equal(acked[0], 10);
		assert_int_equal(acked[1], 10);
		assert_passed(&passed[0], 20, "x");
		assert_passed(&passed[1], 0, NULL);
	}
	/* Before it is there again: nothing is known of what it has had. */
	ask(j, "third", "y", acked, passed);
	assert_passed(&passed[0], 0, NULL);
	free(passed[1].asked);
	/* A route that left has left nothing behind. */
	assert_int_equal(journal_routes_set(j, one, 1, acked), ERR_OK);
	assert_int_equal(journal_routes_ask(j, asked, acked, passed), ERR_OK);
	free(passed[0].asked);
	ask(j, "fourth", "y", acked, passed);
	assert_int_equal(acked[0], 10);
	assert_passed(&passed[0], 0, NULL);
	free(passed[1].asked);
	journal_close(j);
}

static void
first_route_of_an_empty_journal_owes_nothing(void **state)
{
	struct journal *j = open_with(*state, 1);
	const char *const other[] = {"x"};
	uint64_t acked;

	assert_int_equal(journal_routes_set(j, one_route, 1, &acked), ERR_OK);
	assert_int_equal(journals_drain(j, 10), ERR_OK);
	assert_int_equal(journal_routes_set(j, NULL, 0, NULL), ERR_OK);
	assert_int_equal(journal_routes_set(j, other, 1, &acked), ERR_OK);
	assert_int_equal(acked, 10);
	journal_close(j);
}

static void
route_name_too_long_is_refused(void **state)
{
	struct journal *j = open_with(*state, 1);
	char name[600];
	const char *const names[] = {name};
	uint64_t acked;

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(journal_routes_set(j, names, 1, &acked), ERR_INVALID);
	journal_close(j);
}

/* ---- acknowledging ---- */

static void
positions_survive_and_never_go_back(void **state)
{
	struct journal *j = open_with(*state, 3);
	uint64_t acked, to = 15, back = 5;
	bool more;

	assert_int_equal(journal_routes_set(j, one_route, 1, &acked), ERR_OK);
	assert_int_equal(journal_acknowledge(j, &to, &more), ERR_OK);
	assert_int_equal(journal_acknowledge(j, &back, &more), ERR_OK);
	journal_close(j);
	j = journals_open(*state, JOURNAL_FORWARD);
	assert_int_equal(journal_routes_set(j, one_route, 1, &acked), ERR_OK);
	assert_int_equal(acked, 15);
	journal_close(j);
}

static void
position_beyond_the_end_is_refused(void **state)
{
	struct journal *j = open_with(*state, 3);
	uint64_t acked, to = 31;
	bool more;

	assert_int_equal(journal_routes_set(j, one_route, 1, &acked), ERR_OK);
	assert_int_equal(journal_acknowledge(j, &to, &more), ERR_INVALID);
	assert_int_equal(journals_check_dense(j, 1), 31);
	journal_close(j);
}

static void
whole_batches_go_and_a_part_stays(void **state)
{
	struct journal *j = open_with(*state, 3);
	struct journal_batch b = {0};
	uint64_t acked;

	assert_int_equal(journal_routes_set(j, one_route, 1, &acked), ERR_OK);
	assert_int_equal(journals_drain(j, 9), ERR_OK);
	assert_int_equal(batches_of(j), 3);
	assert_int_equal(journals_drain(j, 10), ERR_OK);
	assert_int_equal(batches_of(j), 2);
	assert_int_equal(journals_drain(j, 29), ERR_OK);
	assert_int_equal(batches_of(j), 1);
	assert_int_equal(journal_read(j, 1, &b), ERR_OK);
	assert_int_equal(b.base_seq, 21);
	assert_int_equal(journals_drain(j, 30), ERR_OK);
	assert_int_equal(batches_of(j), 0);
	journal_batch_fini(&b);
	journal_close(j);
}

static void
slowest_route_holds_the_journal(void **state)
{
	struct journal *j = open_with(*state, 3);
	const char *const names[] = {"fast", "slow"};
	uint64_t acked[2], to[] = {30, 0};
	struct journal_stat s;
	bool more = true;

	assert_int_equal(journal_routes_set(j, names, 2, acked), ERR_OK);
	assert_int_equal(journal_acknowledge(j, to, &more), ERR_OK);
	assert_false(more);
	s = stat_of(j);
	assert_int_equal(s.batches, 3);
	assert_int_equal(s.acked_seq, 0);
	assert_int_equal(s.records, 30);
	journal_stat_fini(&s);
	to[1] = 30;
	assert_int_equal(journal_acknowledge(j, to, &more), ERR_OK);
	assert_int_equal(batches_of(j), 0);
	journal_close(j);
}

static void
gap_at_the_end_is_acknowledged_like_records(void **state)
{
	struct journal *j = journals_open_sized(*state, JOURNAL_INGEST, 1 << 20);
	struct journal_stat s;
	uint64_t acked;

	assert_int_equal(journals_append(j, 5, 10), ERR_OK);
	assert_int_equal(journals_append(j, 1, 1 << 20), ERR_OK);
	journal_close(j);
	j = journals_open_sized(*state, JOURNAL_FORWARD, 1 << 20);
	assert_int_equal(journal_routes_set(j, one_route, 1, &acked), ERR_OK);
	assert_int_equal(journals_drain(j, 6), ERR_OK);
	s = stat_of(j);
	assert_int_equal(s.records, 0);
	assert_int_equal(s.batches, 0);
	assert_int_equal(s.gap_count, 1);
	assert_int_equal(s.oldest_ms, 0);
	assert_int_equal(s.first_seq, 7);
	journal_stat_fini(&s);
	journal_close(j);
}

static void
long_backlog_goes_in_bounded_steps(void **state)
{
	struct journal_options o = journals_options(*state);
	struct journal *j;
	uint64_t acked, to = 2500;
	bool more = true;
	int steps = 0;

	/* No two of them fit into one batch; compressed they are small. */
	o.codec = BATCH_CODEC_ZSTD;
	assert_int_equal(journal_open(&j, JOURNAL_INGEST, &o), ERR_OK);
	assert_int_equal(journals_append(j, 2500, BATCH_BODY_BYTES / 2), ERR_OK);
	assert_int_equal(batches_of(j), 2500);
	journal_close(j);
	j = journals_open(*state, JOURNAL_FORWARD);
	assert_int_equal(journal_routes_set(j, one_route, 1, &acked), ERR_OK);
	for (; more; steps++)
		assert_int_equal(journal_acknowledge(j, &to, &more), ERR_OK);
	assert_int_equal(steps, 3);
	assert_int_equal(batches_of(j), 0);
	journal_close(j);
}

/* ---- dead letters ---- */

static int
bury(
    struct journal *j, uint64_t seq, const char *route, const char *record, size_t size)
{
	struct dead_letter letter = {
	    .buried_ms = 1,
	    .reason = DEAD_REFUSED,
	    .detail = {"no", 2},
	    .record = {record, size},
	};

	return journal_bury(j, seq, route, &letter);
}

static void
dead_letters_are_kept_in_order_and_duplicates_ignored(void **state)
{
	struct journal *j = open_with(*state, 1);
	struct journal_dead d = {0};
	struct record_decoder *decoder;
	struct dead_letter letter;
	struct journal_stat s;

	assert_int_equal(bury(j, 300, "a", "three", 5), ERR_OK);
	assert_int_equal(bury(j, 2, "b", "two-b", 5), ERR_OK);
	assert_int_equal(bury(j, 2, "a", "two-a", 5), ERR_OK);
	assert_int_equal(bury(j, 2, "a", "again", 5), ERR_OK);
	s = stat_of(j);
	assert_int_equal(s.dead_count, 3);
	assert_true(s.dead_bytes > 0);
	journal_stat_fini(&s);

	assert_int_equal(record_decoder_open(&decoder), ERR_OK);
	assert_int_equal(journal_dead_next(j, &d), ERR_OK);
	assert_int_equal(d.seq, 2);
	assert_string_equal((char *)d.route.data, "a");
	assert_int_equal(
	    dead_letter_decode(decoder, d.value.data, d.value.size, &letter), ERR_OK);
	assert_memory_equal(letter.record.data, "two-a", 5);
	record_decoder_close(decoder);
	assert_int_equal(journal_dead_next(j, &d), ERR_OK);
	assert_int_equal(d.seq, 2);
	assert_string_equal((char *)d.route.data, "b");
	assert_int_equal(journal_dead_next(j, &d), ERR_OK);
	assert_int_equal(d.seq, 300);
	assert_int_equal(journal_dead_next(j, &d), ERR_NOTFOUND);
	journal_dead_fini(&d);
	journal_close(j);
}

static void
dead_letters_are_bounded(void **state)
{
	static char large[1 << 20];
	struct journal *j = open_with(*state, 1);
	struct journal_stat s;
	uint64_t seq = 0;
	int rc;

	do
		rc = bury(j, ++seq, "r", large, sizeof(large));
	while (rc == ERR_OK);
	assert_int_equal(rc, ERR_FULL);
	assert_true(seq > 6);
	s = stat_of(j);
	assert_true(s.dead_bytes <= (uint64_t)8 << 20);
	assert_int_equal(s.dead_count, seq - 1);
	journal_stat_fini(&s);
	/* One that is there already is no failure, full or not. */
	assert_int_equal(bury(j, 1, "r", large, sizeof(large)), ERR_OK);
	journal_close(j);
}

/* Deleting it would free pages of another. What is delivered is recorded all the same. */
static void
batch_that_is_not_safe_to_delete_stays(void **state)
{
	static char payload[10000];
	struct journal *j = journals_open(*state, JOURNAL_INGEST);
	uint64_t acked, to = 3;
	struct journal_stat s;
	struct record r;
	bool left = false;

	for (int i = 1; i <= 4; i++) {
		memset(payload, 'x', sizeof(payload) - 1);
		payload[snprintf(payload, sizeof(payload), "record %d", i)] = ',';
		records_plain(&r, "n", payload);
		assert_int_equal(journal_stage(j, &r), ERR_OK);
		assert_int_equal(journal_commit(j), ERR_OK);
	}
	journal_close(j);
	damage_run(*state, "record 2,");
	j = journals_open(*state, JOURNAL_FORWARD);
	assert_int_equal(journal_routes_set(j, one_route, 1, &acked), ERR_OK);
	assert_int_equal(journal_acknowledge(j, &to, &left), ERR_CORRUPT);
	assert_true(left);
	journal_close(j);
	j = journals_open(*state, JOURNAL_FORWARD);
	assert_int_equal(journal_routes_set(j, one_route, 1, &acked), ERR_OK);
	assert_int_equal(acked, 3);
	s = stat_of(j);
	assert_int_equal(s.batches, 4);
	journal_stat_fini(&s);
	assert_int_equal(journals_check_dense(j, 1), 5);
	journal_close(j);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tmpdir_setup, tmpdir_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(first_routes_start_at_the_oldest_record),
	    TEST(new_route_starts_where_the_slowest_stands),
	    TEST(renamed_route_starts_where_the_old_one_stood),
	    TEST(route_that_asks_for_something_else_goes_back),
	    TEST(first_route_of_an_empty_journal_owes_nothing),
	    TEST(route_name_too_long_is_refused),
	    TEST(positions_survive_and_never_go_back),
	    TEST(position_beyond_the_end_is_refused),
	    TEST(whole_batches_go_and_a_part_stays),
	    TEST(slowest_route_holds_the_journal),
	    TEST(gap_at_the_end_is_acknowledged_like_records),
	    TEST(batch_that_is_not_safe_to_delete_stays),
	    TEST(long_backlog_goes_in_bounded_steps),
	    TEST(dead_letters_are_kept_in_order_and_duplicates_ignored),
	    TEST(dead_letters_are_bounded),
	};
	return cmocka_run_group_tests_name("journal: draining", tests, NULL, NULL);
}
