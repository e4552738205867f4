/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal is full, somebody else has taken the last byte of the disk, and a reader
 * keeps every page that is freed from being used again. Truncating works all the same,
 * with the largest record that there may be first.
 */
#include <lmdb.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/journals.h"
#include "../lib/record_writes.h"
#include "../lib/tmpdir.h"
#include "err.h"

#define MAX_BYTES ((uint64_t)64 << 20)
#define STEPS     1000 /* forward's, one after another */

struct reader {
	const char *directory;
	int is_there[2]; /* pipes: it reads; it may end */
	int may_end[2];
};

/* As a tool does that somebody has stopped in the middle. */
static int
read_and_wait(void *context)
{
	const struct reader *r = context;
	MDB_env *env = NULL;
	MDB_txn *txn = NULL;
	int rc;

	rc = mdb_env_create(&env);
	if (rc == MDB_SUCCESS)
		rc = mdb_env_open(env, r->directory, MDB_RDONLY, 0);
	if (rc == MDB_SUCCESS)
		rc = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);
	if (rc != MDB_SUCCESS)
		return 1;
	journals_signal(r->is_there[1]);
	journals_await(r->may_end[0]);
	mdb_txn_abort(txn);
	mdb_env_close(env);
	return 0;
}

static void
fill(const char *directory, bool preallocate, uint64_t *next)
{
	struct journal_options o = journals_options(directory);
	struct journal *j = NULL;

	o.max_bytes = MAX_BYTES;
	o.preallocate = preallocate;
	assert_int_equal(journal_open(&j, JOURNAL_INGEST, &o), ERR_OK);
	assert_int_equal(journals_append(j, 1, MAX_BYTES / 16 - 200), ERR_OK);
	assert_int_equal(journals_fill(j, 400, 10000), ERR_FULL);
	assert_int_equal(journals_fill(j, 1, 60000), ERR_FULL);
	*next = journals_next(j);
	journal_close(j);
}

struct drain {
	const char *directory;
	uint64_t next;
	bool preallocate;
};

/* In a process of its own, as the disk is full for good there. */
static int
drain(void *context)
{
	const struct drain *d = context;
	struct journal_options o = journals_options(d->directory);
	const char *names[] = {"r"};
	struct journal *j = NULL;
	uint64_t acked;
	int rc, refused = 0;

	o.max_bytes = MAX_BYTES;
	o.preallocate = d->preallocate;
	record_fill_disk();
	rc = journal_open(&j, JOURNAL_FORWARD, &o);
	if (rc == ERR_OK)
		rc = journal_routes_set(j, names, 1, &acked);
	for (uint64_t i = 1; rc == ERR_OK && i <= STEPS; i++) {
		rc = journals_drain(j, (d->next - 1) * i / STEPS);
		/* Not each: what is free must last to the end. */
		if (rc == ERR_FULL && i < STEPS) {
			refused++;
			rc = ERR_OK;
		}
	}
	(void)fprintf(stderr, "# %d of %d steps were put off\n", refused, STEPS);
	if (rc == ERR_OK && journals_check_dense(j, d->next) != d->next)
		rc = ERR_CORRUPT;
	journal_close(j);
	return rc == ERR_OK ? 0 : 1;
}

static void
truncate_beside_reader(const char *directory, bool preallocate)
{
	struct reader r = {.directory = directory};
	struct drain d = {.directory = directory, .preallocate = preallocate};
	pid_t pid;

	fill(directory, preallocate, &d.next);
	assert_int_equal(pipe(r.is_there), 0);
	assert_int_equal(pipe(r.may_end), 0);
	pid = journals_fork(read_and_wait, &r);
	journals_await(r.is_there[0]);
	assert_int_equal(journals_wait(journals_fork(drain, &d)), 0);
	journals_signal(r.may_end[1]);
	assert_int_equal(journals_wait(pid), 0);
	for (int i = 0; i < 2; i++) {
		(void)close(r.is_there[i]);
		(void)close(r.may_end[i]);
	}
}

static void
full_journal_is_truncated_on_full_disk_beside_reader(void **state)
{
	truncate_beside_reader(*state, false);
}

static void
so_is_one_that_has_taken_its_room_in_advance(void **state)
{
	truncate_beside_reader(*state, true);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tmpdir_setup, tmpdir_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(full_journal_is_truncated_on_full_disk_beside_reader),
	    TEST(so_is_one_that_has_taken_its_room_in_advance),
	};
	return cmocka_run_group_tests_name("full disk", tests, NULL, NULL);
}
