/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Once a journal has met its largest commit, appending allocates nothing of ours. Linked
 * with --wrap for what allocates; LMDB's own allocations, some for each commit, are not
 * seen here. And what is staged takes little more than its own bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../lib/allocations.h"
#include "../lib/journals.h"
#include "../lib/records.h"
#include "../lib/tmpdir.h"
#include "journal/journal_private.h"

#define MESSAGES 1000

static void
append(struct journal *j, unsigned count)
{
	static char text[2000];
	struct record r;

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)('a' + i % 26);
	for (unsigned i = 0; i < count; i++) {
		if (i % 2 == 0)
			records_full(&r);
		else
			records_plain(&r, "dev/1", "plain");
		if (i % 5 == 0)
			r.payload = (struct bytes){text, i % sizeof(text) + 1};
		assert_int_equal(journal_stage(j, &r), 0);
	}
	assert_int_equal(journal_commit(j), 0);
}

static void
check(void **state, enum batch_codec codec)
{
	struct journal_options options = journals_options(*state);
	struct journal *j;
	unsigned before = allocations;

	options.codec = codec;
	assert_int_equal(journal_open(&j, JOURNAL_INGEST, &options), 0);
	assert_true(allocations > before); /* the calls are wrapped */
	/* The rooms of its batches change places: each has to grow once. */
	for (int i = 0; i < 20; i++)
		append(j, MESSAGES);
	before = allocations;
	for (unsigned i = 0; i < 20; i++) {
		append(j, MESSAGES - i % 3 * 200);
		append(j, 1);
	}
	assert_int_equal(allocations, before);
	journal_close(j);
}

static void
a_message_costs_no_allocation(void **state)
{
	check(state, BATCH_CODEC_NONE);
}

static void
a_compressed_message_costs_no_allocation(void **state)
{
	check(state, BATCH_CODEC_ZSTD);
}

/* Small and large ones in turn: what waits for the commit is not held twice. */
static void
a_small_batch_has_no_room_for_the_large_message_behind_it(void **state)
{
	static char large[500000];
	struct journal *j = journals_open(*state, JOURNAL_INGEST);
	struct record r;
	size_t held = 0;

	for (int i = 0; i < 4; i++) {
		records_plain(&r, "dev/1", "plain");
		assert_int_equal(journal_stage(j, &r), 0);
		r.payload = (struct bytes){large, sizeof(large)};
		assert_int_equal(journal_stage(j, &r), 0);
	}
	for (size_t i = 0; i < j->item_count; i++)
		held += j->items[i].stored.capacity;
	assert_true(j->item_count > 4);
	assert_true(held < journal_staged_bytes(j) * 3 / 2);
	assert_int_equal(journal_commit(j), 0);
	assert_int_equal(journals_check_dense(j, 1), 9);
	journal_close(j);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
		a_message_costs_no_allocation, tmpdir_setup, tmpdir_teardown),
	    cmocka_unit_test_setup_teardown(a_compressed_message_costs_no_allocation,
		tmpdir_setup, tmpdir_teardown),
	    cmocka_unit_test_setup_teardown(
		a_small_batch_has_no_room_for_the_large_message_behind_it, tmpdir_setup,
		tmpdir_teardown),
	};

	return cmocka_run_group_tests_name("journal_steady", tests, NULL, NULL);
}
