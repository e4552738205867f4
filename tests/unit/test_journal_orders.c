/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/journals.h"
#include "../lib/tmpdir.h"
#include "err.h"
#include "journal/store.h"

static void
give(struct journal *j, enum journal_order_kind kind, uint64_t seq, uint64_t number)
{
	struct journal_order o = {.kind = kind, .seq = seq, .bytes = 1};

	assert_int_equal(journal_order_give(j, &o), ERR_OK);
	assert_int_equal(o.number, number);
	assert_int_equal(o.state, JOURNAL_ORDER_WAITS);
	assert_true(o.at_ms > 0);
}

static void
an_order_comes_back_as_it_was_given(void **state)
{
	struct journal *j = journals_open(*state, JOURNAL_INGEST);
	struct journal_order o = {.kind = JOURNAL_ORDER_REQUEUE}, back;

	assert_int_equal(journals_append(j, 10, 10), ERR_OK);
	assert_int_equal(journal_order_give(j, &o), ERR_OK);
	assert_int_equal(o.number, 1);
	assert_int_equal(o.until_seq, 11);
	journal_close(j);
	j = journals_open(*state, JOURNAL_FORWARD);
	assert_int_equal(journal_order_next(j, 0, &back), ERR_OK);
	assert_int_equal(back.number, 1);
	assert_int_equal(back.kind, JOURNAL_ORDER_REQUEUE);
	assert_int_equal(back.seq, 0);
	assert_int_equal(back.until_seq, 11);
	assert_int_equal(back.state, JOURNAL_ORDER_WAITS);
	assert_int_equal(back.count, 0);
	assert_int_equal(back.err, 0);
	assert_int_equal(back.at_ms, o.at_ms);
	assert_int_equal(journal_order_next(j, 1, &back), ERR_NOTFOUND);
	assert_int_equal(journal_order_next(j, UINT64_MAX, &back), ERR_NOTFOUND);
	journal_close(j);
}

static void
who_gives_orders_makes_no_journal(void **state)
{
	struct journal_options o = journals_options(*state);
	struct journal *j;

	assert_int_equal(journal_open(&j, JOURNAL_ORDER, &o), ERR_NOTFOUND);
	o.gateway_id = NULL;
	assert_int_equal(journal_open(&j, JOURNAL_FORWARD, &o), ERR_NOTFOUND);
	journal_close(journals_open(*state, JOURNAL_INGEST));
	o = journals_options(*state);
	assert_int_equal(journal_open(&j, JOURNAL_ORDER, &o), ERR_OK);
	give(j, JOURNAL_ORDER_SKIP, 4711, 1);
	journal_close(j);
}

static void
it_ends_once_and_for_all(void **state)
{
	struct journal *j = journals_open(*state, JOURNAL_FORWARD);
	struct journal_order o;

	give(j, JOURNAL_ORDER_SKIP, 5, 1);
	give(j, JOURNAL_ORDER_DISCARD, 7, 2);
	assert_int_equal(journal_order_next(j, 0, &o), ERR_OK);
	o.state = JOURNAL_ORDER_FAILED;
	o.err = ERR_FULL;
	o.count = 3;
	assert_int_equal(journal_order_end(j, &o), ERR_OK);
	assert_int_equal(journal_order_next(j, 0, &o), ERR_OK);
	assert_int_equal(o.state, JOURNAL_ORDER_FAILED);
	assert_int_equal(o.err, ERR_FULL);
	assert_int_equal(o.count, 3);
	assert_int_equal(journal_order_next(j, 1, &o), ERR_OK);
	assert_int_equal(o.number, 2);
	assert_int_equal(o.kind, JOURNAL_ORDER_DISCARD);
	assert_int_equal(o.state, JOURNAL_ORDER_WAITS);
	/* One that was forgotten does not come back by its end. */
	assert_int_equal(journal_order_forget(j, 2), ERR_OK);
	assert_int_equal(journal_order_forget(j, 2), ERR_OK);
	o.state = JOURNAL_ORDER_DONE;
	assert_int_equal(journal_order_end(j, &o), ERR_OK);
	assert_int_equal(journal_order_next(j, 1, &o), ERR_NOTFOUND);
	journal_close(j);
}

static void
numbers_are_never_used_again(void **state)
{
	struct journal *j = journals_open(*state, JOURNAL_FORWARD);

	give(j, JOURNAL_ORDER_SKIP, 5, 1);
	give(j, JOURNAL_ORDER_DROP_OLDEST, 0, 2);
	assert_int_equal(journal_order_forget(j, 1), ERR_OK);
	assert_int_equal(journal_order_forget(j, 2), ERR_OK);
	journal_close(j);
	j = journals_open(*state, JOURNAL_INGEST);
	give(j, JOURNAL_ORDER_SKIP, 5, 3);
	journal_close(j);
}

static void
what_asks_for_nothing_is_refused(void **state)
{
	static const struct journal_order bad[] = {
	    {.kind = JOURNAL_ORDER_SKIP},
	    {.kind = JOURNAL_ORDER_DROP_OLDEST},
	    {.kind = (enum journal_order_kind)0, .seq = 1, .bytes = 1},
	    {.kind = (enum journal_order_kind)6, .seq = 1, .bytes = 1},
	};
	struct journal *j = journals_open(*state, JOURNAL_FORWARD);
	struct journal_order o;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		o = bad[i];
		assert_int_equal(journal_order_give(j, &o), ERR_INVALID);
	}
	assert_int_equal(journal_order_next(j, 0, &o), ERR_NOTFOUND);
	journal_close(j);
}

static void
put_raw(const char *directory, const void *key, size_t key_size, const void *value,
    size_t size)
{
	struct store_options o = {.directory = directory, .map_bytes = 1 << 20};
	struct store *s;

	assert_int_equal(store_open(&s, &o), ERR_OK);
	assert_int_equal(store_begin_write(s), ERR_OK);
	assert_int_equal(
	    store_put(s, STORE_ORDERS, (struct bytes){.data = key, .size = key_size},
		(struct bytes){.data = value, .size = size}, STORE_REPLACE),
	    ERR_OK);
	assert_int_equal(store_commit(s), ERR_OK);
	store_close(s);
}

/* The documented form, by hand; then each of its bytes wrong where that can be seen. */
static void
the_stored_form_is_as_documented_and_checked(void **state)
{
	static const uint8_t key[8] = {0, 0, 0, 0, 0, 0, 1, 2};
	static const uint8_t good[56] = {[0] = 3,
	    [4] = 2,
	    [8] = 0x11,
	    [15] = 0x80,
	    [16] = 0x22,
	    [24] = 0x33,
	    [32] = 0x44,
	    [40] = 0x55,
	    [48] = 0xfd,
	    [49] = 0xff,
	    [50] = 0xff,
	    [51] = 0xff};
	static const struct {
		size_t at;
		uint8_t value;
	} wrong[] = {{0, 0}, {0, 6}, {2, 1}, {4, 3}, {7, 1}, {51, 0}, {52, 1}, {55, 1}};
	struct journal *j = journals_open(*state, JOURNAL_FORWARD);
	struct journal_order o;
	uint8_t bad[57] = {0};

	journal_close(j);
	put_raw(*state, key, 8, good, sizeof(good));
	j = journals_open(*state, JOURNAL_FORWARD);
	assert_int_equal(journal_order_next(j, 0, &o), ERR_OK);
	assert_int_equal(o.number, 0x102);
	assert_int_equal(o.kind, JOURNAL_ORDER_DISCARD);
	assert_int_equal(o.state, JOURNAL_ORDER_FAILED);
	assert_true(o.seq == 0x8000000000000011);
	assert_int_equal(o.until_seq, 0x22);
	assert_int_equal(o.bytes, 0x33);
	assert_int_equal(o.count, 0x44);
	assert_int_equal(o.at_ms, 0x55);
	assert_int_equal(o.err, -3);
	journal_close(j);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		memcpy(bad, good, sizeof(good));
		bad[wrong[i].at] = wrong[i].value;
		put_raw(*state, key, 8, bad, sizeof(good));
		j = journals_open(*state, JOURNAL_FORWARD);
		assert_int_equal(journal_order_next(j, 0, &o), ERR_CORRUPT);
		assert_int_equal(o.number, 0x102);
		journal_close(j);
	}
	memcpy(bad, good, sizeof(good));
	put_raw(*state, key, 8, bad, 55);
	j = journals_open(*state, JOURNAL_FORWARD);
	assert_int_equal(journal_order_next(j, 0, &o), ERR_CORRUPT);
	journal_close(j);
	put_raw(*state, key, 8, bad, 57);
	put_raw(*state, "odd", 3, good, sizeof(good)); /* behind the other */
	j = journals_open(*state, JOURNAL_FORWARD);
	assert_int_equal(journal_order_next(j, 0, &o), ERR_CORRUPT);
	assert_int_equal(journal_order_forget(j, o.number), ERR_OK);
	assert_int_equal(journal_order_next(j, 0, &o), ERR_NOTFOUND);
	journal_close(j);
}

static void
who_holds_a_role_can_be_asked(void **state)
{
	struct journal *j;

	assert_false(journal_is_held(*state, JOURNAL_FORWARD));
	j = journals_open(*state, JOURNAL_FORWARD);
	assert_true(journal_is_held(*state, JOURNAL_FORWARD));
	assert_false(journal_is_held(*state, JOURNAL_INGEST));
	journal_close(j);
	assert_false(journal_is_held(*state, JOURNAL_FORWARD));
}

/* For tidegate-admin: nobody has told it how large the journal may be, or whose it is. */
static void
the_role_of_forward_without_a_gateway_changes_nothing(void **state)
{
	struct journal_options o = journals_options(*state);
	struct journal_stat stat;
	struct journal *j = journals_open_sized(*state, JOURNAL_INGEST, 32 << 20);

	assert_int_equal(journals_append(j, 10, 10), ERR_OK);
	journal_close(j);
	o.gateway_id = NULL;
	assert_int_equal(journal_open(&j, JOURNAL_FORWARD, &o), ERR_OK);
	assert_string_equal(journal_identity(j)->gateway_id, "test");
	assert_int_equal(journal_stat(j, &stat), ERR_OK);
	assert_int_equal(stat.max_bytes, 32 << 20);
	journal_stat_fini(&stat);
	journal_close(j);
}

#define WITH_TMPDIR(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_TMPDIR(an_order_comes_back_as_it_was_given),
	    WITH_TMPDIR(who_gives_orders_makes_no_journal),
	    WITH_TMPDIR(it_ends_once_and_for_all),
	    WITH_TMPDIR(numbers_are_never_used_again),
	    WITH_TMPDIR(what_asks_for_nothing_is_refused),
	    WITH_TMPDIR(the_stored_form_is_as_documented_and_checked),
	    WITH_TMPDIR(who_holds_a_role_can_be_asked),
	    WITH_TMPDIR(the_role_of_forward_without_a_gateway_changes_nothing),
	};

	return cmocka_run_group_tests_name("journal_orders", tests, NULL, NULL);
}
