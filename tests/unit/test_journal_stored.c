/* SPDX-License-Identifier: Apache-2.0 */
/* Journals of tests/data, as tests/lib/make_v1.c has made them: they must stay readable. */
#include <lmdb.h>
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

static void
copy_fixture(const char *name, const char *directory)
{
	const char *top = getenv("TOP_SRCDIR");
	char from[4096], to[4096], block[4096];
	FILE *in, *out;
	size_t n;

	(void)snprintf(
	    from, sizeof(from), "%s/tests/data/%s", top == NULL ? "." : top, name);
	(void)snprintf(to, sizeof(to), "%s/data.mdb", directory);
	in = fopen(from, "re");
	if (in == NULL)
		fail_msg("cannot open %s", from);
	out = fopen(to, "we");
	assert_non_null(out);
	for (n = fread(block, 1, sizeof(block), in); n > 0;
	     n = fread(block, 1, sizeof(block), in))
		assert_int_equal(fwrite(block, 1, n, out), n);
	assert_int_equal(fclose(in), 0);
	assert_int_equal(fclose(out), 0);
}

static int
open_stored(struct journal **j, const char *directory, enum journal_role role)
{
	struct journal_options o = journals_options(directory);

	o.gateway_id = "v1";
	return journal_open(j, role, &o);
}

/* count records: all but the last are letters in turn, the last has every field. */
static void
check_batch(
    struct journal *j, uint64_t base_seq, uint32_t count, enum batch_codec codec)
{
	struct journal_batch b = {0};
	struct record_decoder *d;
	size_t offset = 0;

	assert_int_equal(journal_read(j, base_seq, &b), ERR_OK);
	assert_int_equal(b.base_seq, base_seq);
	assert_int_equal(b.header.count, count);
	assert_int_equal(b.header.codec, codec);
	assert_int_equal(record_decoder_open(&d), ERR_OK);
	for (uint32_t i = 0; i < count; i++) {
		char payload[101];
		struct record want, got;

		memset(payload, 'a' + (int)(i % 26), 100);
		payload[100] = '\0';
		records_plain(&want, "site/v1", payload);
		if (i == count - 1)
			records_full(&want);
		assert_int_equal(
		    record_decode(d, b.body.data, b.body.size, &offset, &got), ERR_OK);
		records_assert_equal(&want, &got);
	}
	assert_int_equal(offset, b.body.size);
	record_decoder_close(d);
	journal_batch_fini(&b);
}

static void
check_figures(struct journal *j)
{
	struct journal_stat s;

	assert_int_equal(journal_stat(j, &s), ERR_OK);
	assert_int_equal(s.first_seq, 11);
	assert_int_equal(s.next_seq, 183);
	assert_int_equal(s.acked_seq, 12);
	assert_int_equal(s.records, 170);
	assert_int_equal(s.batches, 3);
	assert_int_equal(s.dead_count, 1);
	assert_int_equal(s.gap_count, 1);
	assert_int_equal(s.max_bytes, 1 << 20);
	assert_int_equal(s.route_count, 2);
	assert_string_equal(s.routes[0].name, "fast");
	assert_int_equal(s.routes[0].acked_seq, 64);
	assert_string_equal(s.routes[1].name, "slow");
	journal_stat_fini(&s);
}

static void
check_side(struct journal *j)
{
	struct journal_subscriptions subscriptions;
	struct journal_dead dead = {0};
	struct dead_letter letter;
	struct record_decoder *d;
	struct record want, got;
	struct journal_gap gap;
	size_t offset = 0;

	assert_int_equal(journal_gap_read(j, 1, &gap), ERR_OK);
	assert_int_equal(gap.first_seq, 41);
	assert_int_equal(gap.count, 2);
	assert_int_equal(gap.reason, JOURNAL_GAP_TOO_LARGE);
	assert_int_equal(record_decoder_open(&d), ERR_OK);
	assert_int_equal(journal_dead_next(j, &dead), ERR_OK);
	assert_int_equal(dead.seq, 9);
	assert_string_equal((char *)dead.route.data, "slow");
	assert_int_equal(
	    dead_letter_decode(d, dead.value.data, dead.value.size, &letter), ERR_OK);
	assert_string_equal(letter.reason, DEAD_TOO_LARGE);
	assert_int_equal(
	    record_decode(d, letter.record.data, letter.record.size, &offset, &got),
	    ERR_OK);
	records_full(&want);
	records_assert_equal(&want, &got);
	record_decoder_close(d);
	journal_dead_fini(&dead);
	assert_int_equal(journal_subscriptions_load(j, &subscriptions), ERR_OK);
	assert_int_equal(subscriptions.count, 1);
	assert_string_equal(subscriptions.list[0].filter, "site/#");
	journal_subscriptions_fini(&subscriptions);
}

static void
journal_of_version_1_is_read_exactly(void **state)
{
	struct journal *j;

	copy_fixture("v1-journal.mdb", *state);
	assert_int_equal(open_stored(&j, *state, JOURNAL_LOOK), ERR_OK);
	assert_string_equal(journal_identity(j)->gateway_id, "v1");
	assert_string_equal(journal_identity(j)->machine_id, "");
	check_figures(j);
	check_batch(j, 11, 30, BATCH_CODEC_NONE);
	check_batch(j, 43, 100, BATCH_CODEC_ZSTD);
	check_batch(j, 143, 40, BATCH_CODEC_NONE);
	check_side(j);
	journal_close(j);
}

static void
journal_of_version_1_goes_on(void **state)
{
	struct journal *j;

	copy_fixture("v1-journal.mdb", *state);
	assert_int_equal(open_stored(&j, *state, JOURNAL_INGEST), ERR_OK);
	assert_int_equal(journals_append(j, 1000, 100), ERR_OK);
	assert_int_equal(journals_next(j), 1183);
	check_batch(j, 43, 100, BATCH_CODEC_ZSTD);
	journal_close(j);
}

static void
damaged_batch_is_reported_with_its_range(void **state)
{
	struct journal_batch b = {0};
	struct journal *j;

	copy_fixture("v1-flipped.mdb", *state);
	assert_int_equal(open_stored(&j, *state, JOURNAL_LOOK), ERR_OK);
	check_batch(j, 11, 30, BATCH_CODEC_NONE);
	assert_int_equal(journal_read(j, 100, &b), ERR_CORRUPT);
	assert_int_equal(b.base_seq, 43);
	assert_int_equal(b.end_seq, 143);
	check_batch(j, b.end_seq, 40, BATCH_CODEC_NONE);
	journal_batch_fini(&b);
	journal_close(j);
}

static void
file_without_its_end_is_refused(void **state)
{
	struct journal *j;

	copy_fixture("v1-truncated.mdb", *state);
	assert_int_equal(open_stored(&j, *state, JOURNAL_LOOK), ERR_CORRUPT);
	assert_int_equal(open_stored(&j, *state, JOURNAL_INGEST), ERR_CORRUPT);
	assert_null(j);
}

/* Change one entry of the meta database behind the journal's back. */
static void
put_meta(const char *directory, const char *name, const void *data, size_t size)
{
	MDB_val key = {.mv_size = strlen(name), .mv_data = (void *)(uintptr_t)name};
	MDB_val value = {.mv_size = size, .mv_data = (void *)(uintptr_t)data};
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;

	assert_int_equal(mdb_env_create(&env), 0);
	assert_int_equal(mdb_env_set_maxdbs(env, 4), 0);
	assert_int_equal(mdb_env_open(env, directory, 0, 0600), 0);
	assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
	assert_int_equal(mdb_dbi_open(txn, "meta", 0, &dbi), 0);
	assert_int_equal(mdb_put(txn, dbi, &key, &value, 0), 0);
	assert_int_equal(mdb_txn_commit(txn), 0);
	mdb_env_close(env);
}

static void
later_format_is_refused(void **state)
{
	struct journal *j;

	copy_fixture("v1-journal.mdb", *state);
	put_meta(*state, "format", "\2\0\0", 4);
	assert_int_equal(open_stored(&j, *state, JOURNAL_LOOK), ERR_VERSION);
	assert_int_equal(open_stored(&j, *state, JOURNAL_FORWARD), ERR_VERSION);
}

/* Who looks at it gets all batches, answers that move forward, and an end. */
static void
check_reading_ends(const char *directory)
{
	struct journal_batch b = {0};
	struct journal *j;
	uint64_t seq = 1;
	int rc, batches = 0;

	assert_int_equal(open_stored(&j, directory, JOURNAL_LOOK), ERR_OK);
	for (rc = journal_read(j, seq, &b); rc != ERR_NOTFOUND;
	     rc = journal_read(j, seq, &b)) {
		assert_true(b.end_seq > seq);
		seq = b.end_seq;
		batches++;
	}
	assert_int_equal(batches, 3);
	journal_batch_fini(&b);
	journal_close(j);
}

static void
next_number_that_would_be_used_again_is_refused(void **state)
{
	struct journal *j;

	copy_fixture("v1-journal.mdb", *state);
	put_meta(*state, "next", "\5\0\0\0\0\0\0", 8);
	assert_int_equal(open_stored(&j, *state, JOURNAL_INGEST), ERR_CORRUPT);
	check_reading_ends(*state);
	put_meta(*state, "next", "?", 1);
	assert_int_equal(open_stored(&j, *state, JOURNAL_INGEST), ERR_CORRUPT);
	check_reading_ends(*state);
}

static void
journal_of_another_machine_is_refused_until_adopted(void **state)
{
	static const char other[] = "0123456789abcdef0123456789abcdef";
	struct journal *j;

	copy_fixture("v1-journal.mdb", *state);
	put_meta(*state, "machine", other, 32);
	if (open_stored(&j, *state, JOURNAL_FORWARD) == ERR_OK) {
		journal_close(j);
		print_message("SKIPPED: this machine has no machine id\n");
		skip();
	}
	assert_int_equal(open_stored(&j, *state, JOURNAL_FORWARD), ERR_IDENTITY);
	assert_int_equal(journal_adopt(*state, NULL), ERR_OK);
	assert_int_equal(open_stored(&j, *state, JOURNAL_FORWARD), ERR_OK);
	assert_string_not_equal(journal_identity(j)->machine_id, other);
	journal_close(j);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tmpdir_setup, tmpdir_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(journal_of_version_1_is_read_exactly),
	    TEST(journal_of_version_1_goes_on),
	    TEST(damaged_batch_is_reported_with_its_range),
	    TEST(file_without_its_end_is_refused),
	    TEST(later_format_is_refused),
	    TEST(next_number_that_would_be_used_again_is_refused),
	    TEST(journal_of_another_machine_is_refused_until_adopted),
	};
	return cmocka_run_group_tests_name("journal: stored", tests, NULL, NULL);
}
