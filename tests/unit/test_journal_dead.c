/* SPDX-License-Identifier: Apache-2.0 */
/* Dead letters: buried, requeued, discarded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/journals.h"
#include "../lib/records.h"
#include "../lib/tmpdir.h"
#include "err.h"

static const char *const routes[] = {"a", "b", JOURNAL_UNROUTED};

/* A journal with so many records in it, all acknowledged; for who delivers them. */
static struct journal *
open_drained(const char *directory, int count)
{
	struct journal *j = journals_open(directory, JOURNAL_INGEST);
	uint64_t acked[3];
	bool more;

	assert_int_equal(journals_append(j, count, 10), ERR_OK);
	journal_close(j);
	j = journals_open(directory, JOURNAL_FORWARD);
	assert_int_equal(journal_routes_set(j, routes, 3, acked), ERR_OK);
	for (int i = 0; i < 3; i++)
		acked[i] = (uint64_t)count;
	assert_int_equal(journal_acknowledge(j, acked, &more), ERR_OK);
	return j;
}

static int
try_to_bury(struct journal *j, uint64_t seq, const char *route, const struct record *r)
{
	struct buffer stored = {0};
	struct dead_letter letter = {
	    .buried_ms = 1, .reason = DEAD_REFUSED, .detail = BYTES("why")};
	int rc;

	assert_int_equal(record_encode(r, &stored), ERR_OK);
	letter.record = (struct bytes){stored.data, stored.size};
	rc = journal_bury(j, seq, route, &letter);
	buffer_fini(&stored);
	return rc;
}

static void
bury(struct journal *j, uint64_t seq, const char *route, const char *payload)
{
	struct record r;

	records_plain(&r, "dev/1", payload);
	assert_int_equal(try_to_bury(j, seq, route, &r), ERR_OK);
}

static size_t
count_dead(struct journal *j)
{
	struct journal_dead d = {0};
	size_t count = 0;

	while (journal_dead_next(j, &d) == ERR_OK)
		count++;
	journal_dead_fini(&d);
	return count;
}

/* The one record of the batch at seq; valid until the next call. */
static struct record
read_one(struct journal *j, uint64_t seq)
{
	static struct journal_batch b;
	static struct record_decoder *d;
	struct record r = {0};
	size_t at = 0;

	if (d == NULL)
		assert_int_equal(record_decoder_open(&d), ERR_OK);
	record_decoder_reset(d);
	assert_int_equal(journal_read(j, seq, &b), ERR_OK);
	for (uint64_t n = b.base_seq; n <= seq; n++)
		assert_int_equal(
		    record_decode(d, b.body.data, b.body.size, &at, &r), ERR_OK);
	return r;
}

static void
assert_text(struct bytes b, const char *text)
{
	assert_non_null(b.data);
	assert_int_equal(b.size, strlen(text));
	assert_memory_equal(b.data, text, b.size);
}

static void
assert_gap(struct journal *j, uint64_t first_seq, uint64_t count)
{
	struct journal_gap gap;

	assert_int_equal(journal_gap_read(j, first_seq, &gap), ERR_OK);
	assert_int_equal(gap.first_seq, first_seq);
	assert_int_equal(gap.count, count);
	assert_int_equal(gap.reason, JOURNAL_GAP_OPERATOR);
	assert_true(gap.at_ms > 0);
}

static void
assert_no_gap(struct journal *j)
{
	struct journal_gap gap;

	assert_int_equal(journal_gap_read(j, 0, &gap), ERR_NOTFOUND);
}

/* ---- requeueing ---- */

static void
a_requeued_letter_is_a_record_for_its_route_alone(void **state)
{
	struct journal *j = open_drained(*state, 10);
	uint64_t new_seq = 0;
	struct record r, full;

	records_full(&full);
	assert_int_equal(try_to_bury(j, 4, "a", &full), ERR_OK);
	bury(j, 4, "b", "other");
	assert_int_equal(journal_requeue(j, 4, "a", &new_seq), ERR_OK);
	assert_int_equal(new_seq, 11);
	r = read_one(j, 11);
	assert_text(r.route, "a");
	assert_int_equal(r.requeued_from, 4);
	full.route = r.route;
	full.requeued_from = 4;
	records_assert_equal(&full, &r);
	assert_int_equal(count_dead(j), 1);
	assert_no_gap(j);
	assert_int_equal(journal_requeue(j, 4, "a", &new_seq), ERR_NOTFOUND);
	assert_int_equal(journal_requeue(j, 4, "b", &new_seq), ERR_OK);
	assert_int_equal(new_seq, 12);
	assert_text(read_one(j, 12).route, "b");
	assert_int_equal(journals_next(j), 13);
	assert_int_equal(journals_check_dense(j, 11), 13);
	assert_int_equal(count_dead(j), 0);
	journal_close(j);
}

static void
one_that_no_route_matched_is_for_whoever_matches(void **state)
{
	struct journal *j = open_drained(*state, 10);
	uint64_t new_seq = 0;
	struct record r;

	bury(j, 4, JOURNAL_UNROUTED, "x");
	assert_int_equal(journal_requeue(j, 4, JOURNAL_UNROUTED, &new_seq), ERR_OK);
	r = read_one(j, new_seq);
	assert_null(r.route.data);
	assert_int_equal(r.requeued_from, 4);
	/* But what was bound to a route that is gone has been delivered by the others. */
	r.route = BYTES("gone");
	assert_int_equal(try_to_bury(j, 9, JOURNAL_UNROUTED, &r), ERR_OK);
	assert_int_equal(journal_requeue(j, 9, JOURNAL_UNROUTED, &new_seq), ERR_OK);
	assert_text(read_one(j, new_seq).route, "gone");
	journal_close(j);
}

/* Each number is accounted for, however often it goes round. */
static void
the_first_sequence_stays_and_the_others_leave_gaps(void **state)
{
	struct journal *j = open_drained(*state, 10);
	uint64_t acked[3] = {10, 10, 10}, new_seq = 0;
	struct record r;
	bool more;

	bury(j, 4, "a", "x");
	assert_int_equal(journal_requeue(j, 4, "a", &new_seq), ERR_OK);
	r = read_one(j, 11);
	assert_int_equal(try_to_bury(j, 11, "a", &r), ERR_OK);
	acked[0] = acked[1] = acked[2] = 11;
	assert_int_equal(journal_acknowledge(j, acked, &more), ERR_OK);
	assert_int_equal(journal_requeue(j, 11, "a", &new_seq), ERR_OK);
	assert_int_equal(new_seq, 12);
	r = read_one(j, 12);
	assert_int_equal(r.requeued_from, 4);
	assert_gap(j, 11, 1);
	assert_int_equal(try_to_bury(j, 12, "a", &r), ERR_OK);
	acked[0] = acked[1] = acked[2] = 12;
	assert_int_equal(journal_acknowledge(j, acked, &more), ERR_OK);
	assert_int_equal(journal_discard(j, 12, "a"), ERR_OK);
	assert_gap(j, 4, 1);
	assert_gap(j, 11, 2);
	assert_int_equal(count_dead(j), 0);
	journal_close(j);
}

static void
a_large_one_goes_again_at_the_edge_of_what_fits(void **state)
{
	struct journal *j = journals_open_sized(*state, JOURNAL_INGEST, 16 << 20);
	size_t size = (1 << 20) - 26; /* with numbers and topic just under 1 MiB */
	uint64_t acked[3], new_seq = 0;
	char *payload = malloc(size + 1);
	struct record r;
	bool more;

	assert_non_null(payload);
	memset(payload, 'x', size);
	payload[size] = '\0';
	assert_int_equal(journals_append(j, 1, size), ERR_OK);
	assert_int_equal(read_one(j, 1).payload.size, size);
	journal_close(j);
	j = journals_open_sized(*state, JOURNAL_FORWARD, 16 << 20);
	assert_int_equal(journal_routes_set(j, routes, 3, acked), ERR_OK);
	bury(j, 1, "a", payload);
	acked[0] = acked[1] = acked[2] = 1;
	assert_int_equal(journal_acknowledge(j, acked, &more), ERR_OK);
	assert_int_equal(journal_requeue(j, 1, "a", &new_seq), ERR_OK);
	r = read_one(j, 2);
	assert_int_equal(r.payload.size, size);
	assert_memory_equal(r.payload.data, payload, size);
	free(payload);
	journal_close(j);
}

static void
letters_wait_until_their_route_is_past_them(void **state)
{
	struct journal *j = open_drained(*state, 10);
	uint64_t new_seq = 77, acked[3] = {15, 20, 20};
	bool more;

	journal_close(j);
	j = journals_open(*state, JOURNAL_INGEST);
	assert_int_equal(journals_append(j, 10, 10), ERR_OK);
	journal_close(j);
	j = journals_open(*state, JOURNAL_FORWARD);
	bury(j, 16, "a", "x");
	bury(j, 16, "gone", "x");
	assert_int_equal(journal_requeue(j, 16, "a", &new_seq), ERR_AWAY);
	assert_int_equal(journal_discard(j, 16, "a"), ERR_AWAY);
	assert_int_equal(new_seq, 77);
	assert_int_equal(journal_discard(j, 16, "gone"), ERR_OK);
	assert_int_equal(count_dead(j), 1);
	assert_int_equal(journal_routes_set(j, routes, 3, acked), ERR_OK);
	acked[0] = 15;
	assert_int_equal(journal_acknowledge(j, acked, &more), ERR_OK);
	assert_int_equal(journal_requeue(j, 16, "a", &new_seq), ERR_AWAY);
	acked[0] = 16;
	assert_int_equal(journal_acknowledge(j, acked, &more), ERR_OK);
	assert_int_equal(journal_requeue(j, 16, "a", &new_seq), ERR_OK);
	journal_close(j);
}

static void
without_room_in_the_log_letters_stay(void **state)
{
	struct journal *j;
	uint64_t acked[3], new_seq = 77, next;

	j = journals_open_sized(*state, JOURNAL_INGEST, 4 << 20);
	assert_int_equal(journals_append(j, 1, 60000), ERR_OK);
	journal_close(j);
	j = journals_open_sized(*state, JOURNAL_FORWARD, 4 << 20);
	assert_int_equal(journal_routes_set(j, routes, 3, acked), ERR_OK);
	bury(j, 1, "gone", "x");
	journal_close(j);
	j = journals_open_sized(*state, JOURNAL_INGEST, 4 << 20);
	assert_int_equal(journals_fill(j, 1, 60000), ERR_FULL);
	assert_int_equal(journals_fill(j, 1, 10), ERR_FULL);
	next = journals_next(j);
	journal_close(j);
	j = journals_open_sized(*state, JOURNAL_FORWARD, 4 << 20);
	assert_int_equal(journal_requeue(j, 1, "gone", &new_seq), ERR_FULL);
	assert_int_equal(new_seq, 77);
	assert_int_equal(journals_next(j), next);
	assert_int_equal(count_dead(j), 1);
	/* Discarding works on a full journal. */
	assert_int_equal(journal_discard(j, 1, "gone"), ERR_OK);
	assert_int_equal(count_dead(j), 0);
	journal_close(j);
}

/* ---- discarding ---- */

static void
a_discarded_letter_leaves_a_gap(void **state)
{
	struct journal *j = open_drained(*state, 10);

	bury(j, 4, "a", "x");
	bury(j, 5, "a", "x");
	bury(j, 5, "b", "x");
	bury(j, 7, "b", "x");
	assert_int_equal(journal_discard(j, 4, "b"), ERR_NOTFOUND);
	assert_int_equal(journal_discard(j, 3, "a"), ERR_NOTFOUND);
	assert_int_equal(journal_discard(j, 0, "a"), ERR_NOTFOUND);
	assert_int_equal(journal_discard(j, 4, ""), ERR_NOTFOUND);
	assert_no_gap(j);
	assert_int_equal(journal_discard(j, 4, "a"), ERR_OK);
	assert_int_equal(journal_discard(j, 5, "b"), ERR_OK);
	assert_int_equal(journal_discard(j, 7, "b"), ERR_OK);
	assert_gap(j, 4, 2);
	assert_gap(j, 7, 1);
	assert_int_equal(journal_discard(j, 5, "a"), ERR_OK);
	assert_gap(j, 4, 2);
	assert_int_equal(count_dead(j), 0);
	journal_close(j);
}

static void
a_damaged_letter_can_only_be_discarded(void **state)
{
	struct journal *j = open_drained(*state, 10);
	struct dead_letter letter = {
	    .reason = DEAD_REFUSED, .record = BYTES("not a record")};
	uint64_t new_seq = 77;

	assert_int_equal(journal_bury(j, 4, "a", &letter), ERR_OK);
	assert_int_equal(journal_requeue(j, 4, "a", &new_seq), ERR_CORRUPT);
	assert_int_equal(count_dead(j), 1);
	assert_int_equal(journal_discard(j, 4, "a"), ERR_OK);
	assert_int_equal(count_dead(j), 0);
	assert_gap(j, 4, 1);
	journal_close(j);
}

/* ---- by order ---- */

static struct journal_order
given(struct journal *j, enum journal_order_kind kind, uint64_t seq)
{
	struct journal_order o = {.kind = kind, .seq = seq};

	assert_int_equal(journal_order_give(j, &o), ERR_OK);
	return o;
}

/* Returns in how many parts. */
static int
do_all(struct journal *j, struct journal_order *o)
{
	struct journal_dead at = {0};
	bool more = true;
	int parts;

	for (parts = 0; more; parts++) {
		assert_true(parts < 1000);
		assert_int_equal(journal_order_letters(j, o, &at, &more), ERR_OK);
	}
	journal_dead_fini(&at);
	return parts;
}

static uint64_t
count_in_journal(struct journal *j, uint64_t number)
{
	struct journal_order o;

	assert_int_equal(journal_order_next(j, number - 1, &o), ERR_OK);
	assert_int_equal(o.number, number);
	assert_int_equal(o.state, JOURNAL_ORDER_WAITS);
	return o.count;
}

static void
all_are_requeued_part_by_part(void **state)
{
	enum { COUNT = 1000 };
	struct journal *j = open_drained(*state, COUNT);
	struct journal_order o;
	bool seen[COUNT + 1] = {false};

	for (uint64_t seq = 1; seq <= COUNT; seq++)
		bury(j, seq, seq % 2 == 0 ? "a" : JOURNAL_UNROUTED, "some payload");
	o = given(j, JOURNAL_ORDER_REQUEUE, 0);
	/* Those that come later are not meant. */
	bury(j, COUNT + 1, "gone", "x");
	assert_in_range(do_all(j, &o), COUNT / 64, COUNT / 64 + 2);
	assert_int_equal(o.count, COUNT);
	assert_int_equal(o.err, 0);
	assert_int_equal(count_in_journal(j, o.number), COUNT);
	assert_int_equal(count_dead(j), 1);
	for (uint64_t seq = COUNT + 1; seq <= 2 * COUNT; seq++) {
		struct record r = read_one(j, seq);

		assert_in_range(r.requeued_from, 1, COUNT);
		assert_false(seen[r.requeued_from]);
		seen[r.requeued_from] = true;
		assert_int_equal(r.route.data != NULL, r.requeued_from % 2 == 0);
	}
	assert_int_equal(journals_next(j), 2 * COUNT + 1);
	journal_close(j);
}

/* Nobody has seen it who asked for all to be discarded. */
static void
what_is_put_away_behind_an_order_is_not_discarded(void **state)
{
	struct journal *j = open_drained(*state, 10);
	struct journal_dead at = {0};
	struct dead_letter letter = {
	    .reason = DEAD_REFUSED, .record = BYTES("not a record")};
	struct journal_order o;

	bury(j, 4, "a", "x");
	o = given(j, JOURNAL_ORDER_DISCARD, 0);
	letter.buried_ms = o.at_ms + 1;
	assert_int_equal(journal_bury(j, 5, "a", &letter), ERR_OK);
	(void)do_all(j, &o);
	assert_int_equal(o.count, 1);
	assert_int_equal(journal_dead_next(j, &at), ERR_OK);
	assert_int_equal(at.seq, 5);
	journal_dead_fini(&at);
	o = given(j, JOURNAL_ORDER_DISCARD, 5);
	(void)do_all(j, &o);
	assert_int_equal(count_dead(j), 0);
	journal_close(j);
}

/* What was done is counted where the next one to carry it out finds it. */
static void
an_order_that_was_interrupted_goes_on(void **state)
{
	struct journal *j = open_drained(*state, 300);
	struct journal_dead at = {0};
	struct journal_order o;
	bool more = false;

	for (uint64_t seq = 1; seq <= 300; seq++)
		bury(j, seq, "a", "x");
	o = given(j, JOURNAL_ORDER_DISCARD, 0);
	assert_int_equal(journal_order_letters(j, &o, &at, &more), ERR_OK);
	assert_true(more);
	assert_in_range(o.count, 1, 100);
	assert_int_equal(count_dead(j), 300 - o.count);
	journal_dead_fini(&at);
	journal_close(j);
	j = journals_open(*state, JOURNAL_FORWARD);
	assert_int_equal(journal_order_next(j, 0, &o), ERR_OK);
	assert_in_range(o.count, 1, 100);
	(void)do_all(j, &o);
	assert_int_equal(o.count, 300);
	assert_int_equal(count_dead(j), 0);
	assert_gap(j, 1, 300);
	journal_close(j);
}

static void
one_sequence_means_the_letters_of_all_routes(void **state)
{
	struct journal *j = open_drained(*state, 10);
	struct journal_order o;

	bury(j, 3, "a", "x");
	bury(j, 4, "a", "x");
	bury(j, 4, "b", "x");
	bury(j, 5, "a", "x");
	o = given(j, JOURNAL_ORDER_REQUEUE, 4);
	assert_int_equal(do_all(j, &o), 1);
	assert_int_equal(o.count, 2);
	assert_text(read_one(j, 11).route, "a");
	assert_text(read_one(j, 12).route, "b");
	assert_int_equal(count_dead(j), 2);
	o = given(j, JOURNAL_ORDER_REQUEUE, 4);
	assert_int_equal(do_all(j, &o), 1);
	assert_int_equal(o.count, 0);
	assert_int_equal(o.err, 0);
	journal_close(j);
}

static void
what_cannot_go_is_passed_by_and_told(void **state)
{
	struct journal *j = open_drained(*state, 10);
	struct dead_letter letter = {
	    .reason = DEAD_REFUSED, .record = BYTES("not a record")};
	struct journal_order o;

	bury(j, 3, "a", "x");
	assert_int_equal(journal_bury(j, 4, "a", &letter), ERR_OK);
	bury(j, 5, "b", "x");
	o = given(j, JOURNAL_ORDER_REQUEUE, 0);
	(void)do_all(j, &o);
	assert_int_equal(o.count, 2);
	assert_int_equal(o.err, ERR_CORRUPT);
	assert_int_equal(count_dead(j), 1);
	journal_close(j);
	/* And one that is ahead of its route. */
	j = journals_open(*state, JOURNAL_INGEST);
	assert_int_equal(journals_append(j, 10, 10), ERR_OK);
	journal_close(j);
	j = journals_open(*state, JOURNAL_FORWARD);
	bury(j, 20, "a", "x");
	bury(j, 20, "gone", "x");
	o = given(j, JOURNAL_ORDER_DISCARD, 0);
	(void)do_all(j, &o);
	assert_int_equal(o.count, 2); /* the damaged one, and that of the lost route */
	assert_int_equal(o.err, ERR_AWAY);
	assert_int_equal(count_dead(j), 1);
	journal_close(j);
}

static void
as_many_as_fit_are_requeued(void **state)
{
	struct journal *j = journals_open_sized(*state, JOURNAL_INGEST, 4 << 20);
	uint64_t acked[3], count, room = 0;
	struct journal_dead at = {0};
	struct journal_order o;
	char payload[30001];
	bool more = true;
	int rc = ERR_OK;

	for (size_t i = 0; i < sizeof(payload); i++) /* not to be compressed */
		payload[i] = (char)('a' + i * i % 23);
	payload[sizeof(payload) - 1] = '\0';
	assert_int_equal(journals_append(j, 40, 10), ERR_OK);
	journal_close(j);
	j = journals_open_sized(*state, JOURNAL_FORWARD, 4 << 20);
	assert_int_equal(journal_routes_set(j, routes, 3, acked), ERR_OK);
	for (uint64_t seq = 1; seq <= 40; seq++)
		bury(j, seq, "gone", payload);
	journal_close(j);
	j = journals_open_sized(*state, JOURNAL_INGEST, 4 << 20);
	while (journal_room(j, &room) == ERR_OK && room > 400000)
		assert_int_equal(journals_append(j, 1, 100000), ERR_OK);
	journal_close(j);
	j = journals_open_sized(*state, JOURNAL_FORWARD, 4 << 20);
	o = given(j, JOURNAL_ORDER_REQUEUE, 0);
	while (rc == ERR_OK && more)
		rc = journal_order_letters(j, &o, &at, &more);
	assert_int_equal(rc, ERR_FULL);
	count = o.count;
	assert_in_range(count, 1, 39);
	assert_int_equal(count_dead(j), 40 - count);
	assert_int_equal(count_in_journal(j, o.number), count);
	journal_dead_fini(&at);
	journal_close(j);
}

#define WITH_TMPDIR(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_TMPDIR(a_requeued_letter_is_a_record_for_its_route_alone),
	    WITH_TMPDIR(one_that_no_route_matched_is_for_whoever_matches),
	    WITH_TMPDIR(the_first_sequence_stays_and_the_others_leave_gaps),
	    WITH_TMPDIR(a_large_one_goes_again_at_the_edge_of_what_fits),
	    WITH_TMPDIR(letters_wait_until_their_route_is_past_them),
	    WITH_TMPDIR(without_room_in_the_log_letters_stay),
	    WITH_TMPDIR(a_discarded_letter_leaves_a_gap),
	    WITH_TMPDIR(a_damaged_letter_can_only_be_discarded),
	    WITH_TMPDIR(all_are_requeued_part_by_part),
	    WITH_TMPDIR(what_is_put_away_behind_an_order_is_not_discarded),
	    WITH_TMPDIR(an_order_that_was_interrupted_goes_on),
	    WITH_TMPDIR(one_sequence_means_the_letters_of_all_routes),
	    WITH_TMPDIR(what_cannot_go_is_passed_by_and_told),
	    WITH_TMPDIR(as_many_as_fit_are_requeued),
	};

	return cmocka_run_group_tests_name("journal_dead", tests, NULL, NULL);
}
