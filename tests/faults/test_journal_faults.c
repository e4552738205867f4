/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each call that the journal makes into LMDB (and into the kernel, for blocks, locks and
 * the directory) fails at its Nth use, N = 1, 2, ... until it is not used that often. The
 * step that met the failure must say so, do it all when it is tried again, and leave the
 * sequence whole. Needs the linker's --wrap for each.
 */
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/fault.h"
#include "../lib/journals.h"
#include "../lib/records.h"
#include "../lib/tmpdir.h"
#include "err.h"

static struct fault fault;
static const char *faulty; /* the function that fails; NULL: none */
static int fault_code;     /* what it returns; for calls into the kernel, errno */
static bool is_panicked;   /* the environment is beyond use */
static int row;            /* so many calls of it fail, one after another */

static bool
fails(const char *name)
{
	if (faulty == NULL || strcmp(faulty, name) != 0)
		return false;
	if (row == 0)
		return fault_now(&fault);
	row--;
	return true;
}

/* A function of LMDB that returns a code and owns nothing when it fails. */
#define WRAP(name, parameters, arguments)                                   \
	int __real_##name parameters;                                       \
	int __wrap_##name parameters;                                       \
	int __wrap_##name parameters                                        \
	{                                                                   \
		return fails(#name) ? fault_code : __real_##name arguments; \
	}

/* A call into the kernel. */
#define WRAP_CALL(name, parameters, arguments)          \
	int __real_##name parameters;                   \
	int __wrap_##name parameters;                   \
	int __wrap_##name parameters                    \
	{                                               \
		if (!fails(#name))                      \
			return __real_##name arguments; \
		errno = fault_code;                     \
		return -1;                              \
	}

WRAP(mdb_env_create, (MDB_env * *env), (env))
WRAP(mdb_env_set_maxdbs, (MDB_env * env, MDB_dbi n), (env, n))
WRAP(mdb_env_set_mapsize, (MDB_env * env, size_t size), (env, size))
WRAP(mdb_env_get_fd, (MDB_env * env, mdb_filehandle_t *fd), (env, fd))
WRAP(mdb_env_info, (MDB_env * env, MDB_envinfo *info), (env, info))
WRAP(mdb_env_stat, (MDB_env * env, MDB_stat *stat), (env, stat))
WRAP(mdb_reader_check, (MDB_env * env, int *dead), (env, dead))
WRAP(mdb_dbi_open, (MDB_txn * txn, const char *name, unsigned flags, MDB_dbi *dbi),
    (txn, name, flags, dbi))
WRAP(mdb_stat, (MDB_txn * txn, MDB_dbi dbi, MDB_stat *stat), (txn, dbi, stat))
WRAP(mdb_get, (MDB_txn * txn, MDB_dbi dbi, MDB_val *k, MDB_val *v), (txn, dbi, k, v))
WRAP(mdb_put, (MDB_txn * txn, MDB_dbi dbi, MDB_val *k, MDB_val *v, unsigned flags),
    (txn, dbi, k, v, flags))
WRAP(mdb_cursor_open, (MDB_txn * txn, MDB_dbi dbi, MDB_cursor **c), (txn, dbi, c))
WRAP(mdb_cursor_get, (MDB_cursor * c, MDB_val *k, MDB_val *v, MDB_cursor_op op),
    (c, k, v, op))
WRAP(mdb_cursor_del, (MDB_cursor * c, unsigned flags), (c, flags))
WRAP(mdb_del, (MDB_txn * txn, MDB_dbi dbi, MDB_val *k, MDB_val *v), (txn, dbi, k, v))
WRAP_CALL(fallocate, (int fd, int mode, off_t from, off_t size), (fd, mode, from, size))
WRAP_CALL(fsync, (int fd), (fd))
WRAP_CALL(flock, (int fd, int operation), (fd, operation))
WRAP_CALL(ftruncate, (int fd, off_t size), (fd, size))

/*
 * After MDB_PANIC an environment begins no transaction any more, until it is opened
 * again.
 */
int __real_mdb_env_open(
    MDB_env *env, const char *path, unsigned flags, mdb_mode_t mode);
int __wrap_mdb_env_open(
    MDB_env *env, const char *path, unsigned flags, mdb_mode_t mode);
int
__wrap_mdb_env_open(MDB_env *env, const char *path, unsigned flags, mdb_mode_t mode)
{
	if (fails("mdb_env_open"))
		return fault_code;
	is_panicked = false;
	return __real_mdb_env_open(env, path, flags, mode);
}

static bool
cannot_begin(const char *name, int *rc)
{
	if (is_panicked)
		*rc = MDB_PANIC;
	else if (fails(name))
		*rc = fault_code;
	else
		return false;
	is_panicked = *rc == MDB_PANIC;
	return true;
}

int __real_mdb_txn_begin(MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **txn);
int __wrap_mdb_txn_begin(MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **txn);
int
__wrap_mdb_txn_begin(MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **txn)
{
	int rc;

	if (cannot_begin("mdb_txn_begin", &rc))
		return rc;
	return __real_mdb_txn_begin(env, parent, flags, txn);
}

int __real_mdb_txn_renew(MDB_txn *txn);
int __wrap_mdb_txn_renew(MDB_txn *txn);
int
__wrap_mdb_txn_renew(MDB_txn *txn)
{
	int rc;

	return cannot_begin("mdb_txn_renew", &rc) ? rc : __real_mdb_txn_renew(txn);
}

/* Returns less than 0 on failure. */
int __real_mdb_reader_list(MDB_env *env, MDB_msg_func *line, void *context);
int __wrap_mdb_reader_list(MDB_env *env, MDB_msg_func *line, void *context);
int
__wrap_mdb_reader_list(MDB_env *env, MDB_msg_func *line, void *context)
{
	return fails("mdb_reader_list") ? -1
					: __real_mdb_reader_list(env, line, context);
}

/* LMDB frees the transaction also when it cannot commit it. */
int __real_mdb_txn_commit(MDB_txn *txn);
int __wrap_mdb_txn_commit(MDB_txn *txn);
int
__wrap_mdb_txn_commit(MDB_txn *txn)
{
	if (!fails("mdb_txn_commit"))
		return __real_mdb_txn_commit(txn);
	mdb_txn_abort(txn);
	return fault_code;
}

/* ---- what is done while something fails ---- */

struct work {
	const char *directory;
	struct journal *j;
	struct journal_batch batch;
	uint64_t room;
};

static const char *const names[] = {"r"};

static int
open_as(struct work *w, enum journal_role role)
{
	struct journal_options o = journals_options(w->directory);
	uint64_t acked;
	int rc;

	if (w->j == NULL) {
		o.max_bytes = (uint64_t)1 << 20;
		rc = journal_open(&w->j, role, &o);
		if (rc != ERR_OK)
			return rc;
	}
	return role == JOURNAL_FORWARD ? journal_routes_set(w->j, names, 1, &acked)
				       : ERR_OK;
}

static int
open_ingest(struct work *w)
{
	return open_as(w, JOURNAL_INGEST);
}

static int
save_subscriptions(struct work *w)
{
	char filter[] = "a/#";
	struct journal_subscription one = {1, filter};
	struct journal_subscriptions s = {.list = &one, .count = 1, .next_id = 2};

	return journal_subscriptions_save(w->j, &s);
}

static int
load_subscriptions(struct work *w)
{
	struct journal_subscriptions s;
	int rc = journal_subscriptions_load(w->j, &s);

	if (rc == ERR_OK) {
		assert_int_equal(s.count, 1);
		journal_subscriptions_fini(&s);
	}
	return rc;
}

/* Two batches with a gap between them. */
static int
append(struct work *w)
{
	journals_stage(w->j, 3, 3000);
	journals_stage(w->j, 1, 1 << 20);
	return journals_append(w->j, 1, 10);
}

static int
measure(struct work *w)
{
	return journal_room(w->j, &w->room);
}

static int
end_ingest(struct work *w)
{
	journal_close(w->j);
	w->j = NULL;
	return ERR_OK;
}

static int
open_forward(struct work *w)
{
	return open_as(w, JOURNAL_FORWARD);
}

static int
read_all(struct work *w)
{
	int rc = journal_read(w->j, 1, &w->batch);

	if (rc == ERR_OK)
		assert_int_equal(w->batch.end_seq, 4);
	if (rc == ERR_OK)
		rc = journal_read(w->j, 4, &w->batch);
	if (rc == ERR_OK)
		assert_int_equal(w->batch.base_seq, 5);
	return rc;
}

static int
read_gap(struct work *w)
{
	struct journal_gap gap;
	int rc = journal_gap_read(w->j, 1, &gap);

	if (rc == ERR_OK)
		assert_int_equal(gap.first_seq, 4);
	return rc;
}

static int
bury_one(struct work *w)
{
	struct dead_letter letter = {
	    .reason = DEAD_REFUSED, .detail = {"", 0}, .record = {"x", 1}};

	return journal_bury(w->j, 2, "r", &letter);
}

static int
read_dead(struct work *w)
{
	struct journal_dead d = {0};
	int rc = journal_dead_next(w->j, &d);

	journal_dead_fini(&d);
	return rc;
}

static int
look(struct work *w)
{
	struct journal_stat s;
	int rc = journal_stat(w->j, &s);

	if (rc == ERR_OK)
		journal_stat_fini(&s);
	return rc;
}

static int
acknowledge(struct work *w)
{
	return journals_drain(w->j, 4);
}

static int
note_sent(struct work *w)
{
	uint64_t seq = 0;
	int rc = journal_sent_put(w->j, 0, 7);

	if (rc == ERR_OK)
		rc = journal_sent_get(w->j, 0, &seq);
	if (rc == ERR_OK)
		assert_int_equal(seq, 7);
	return rc;
}

/* The last record; what was done stays done where a later transaction fails. */
static int
drop_last(struct work *w)
{
	const struct journal_range keep = {0, 9};
	struct journal_dropped dropped = {0};

	return journal_drop_oldest(w->j, &keep, 1, (uint64_t)1 << 30, &dropped);
}

static int
bury_another(struct work *w)
{
	struct buffer stored = {0};
	struct dead_letter letter = {.reason = DEAD_REFUSED, .detail = {"", 0}};
	struct record r;
	int rc;

	records_plain(&r, "n", "again");
	assert_int_equal(record_encode(&r, &stored), ERR_OK);
	letter.record = (struct bytes){stored.data, stored.size};
	rc = journal_bury(w->j, 3, "r", &letter);
	buffer_fini(&stored);
	return rc;
}

static int
give_order(struct work *w)
{
	struct journal_order o = {.kind = JOURNAL_ORDER_REQUEUE, .seq = 3};

	return journal_order_give(w->j, &o);
}

static int
requeue(struct work *w)
{
	struct journal_dead at = {0};
	struct journal_order o;
	bool more = false;
	int rc = journal_order_next(w->j, 0, &o);

	if (rc == ERR_OK)
		rc = journal_order_letters(w->j, &o, &at, &more);
	if (rc == ERR_OK)
		assert_int_equal(o.count, 1);
	journal_dead_fini(&at);
	return rc;
}

/* What was done is counted in it, once. */
static int
end_order(struct work *w)
{
	struct journal_order o;
	int rc = journal_order_next(w->j, 0, &o);

	if (rc != ERR_OK)
		return rc;
	assert_int_equal(o.count, 1);
	o.state = JOURNAL_ORDER_DONE;
	return journal_order_end(w->j, &o);
}

static int
forget_order(struct work *w)
{
	return journal_order_forget(w->j, 1);
}

/* The record in it cannot be decoded: that does not matter here. */
static int
discard(struct work *w)
{
	return journal_discard(w->j, 2, "r");
}

static int
check_readers(struct work *w)
{
	return journal_readers_check(w->j);
}

static int (*const steps[])(struct work *w) = {open_ingest, save_subscriptions,
    load_subscriptions, append, append, measure, end_ingest, open_forward, read_all,
    read_gap, bury_one, read_dead, look, acknowledge, note_sent, drop_last,
    bury_another, give_order, requeue, end_order, forget_order, discard, check_readers};

#define STEP_COUNT (sizeof(steps) / sizeof(steps[0]))

/*
 * Appended twice {3 records, gap, record}; acknowledged up to 4; the last one
 * dropped; of two letters one appended again, the other discarded.
 */
static void
check_outcome(struct work *w)
{
	struct journal_stat s;
	struct journal_gap gap;

	faulty = NULL;
	assert_int_equal(journal_stat(w->j, &s), ERR_OK);
	assert_int_equal(s.first_seq, 5);
	assert_int_equal(s.next_seq, 12);
	assert_int_equal(s.acked_seq, 4);
	assert_int_equal(s.dead_count, 0);
	assert_int_equal(s.gap_count, 4);
	assert_int_equal(s.removed[JOURNAL_GAP_OPERATOR], 1);
	assert_int_equal(s.removed[JOURNAL_GAP_TOO_LARGE], 2);
	assert_int_equal(s.removed[JOURNAL_GAP_DROPPED_OLDEST], 1);
	journal_stat_fini(&s);
	assert_int_equal(journal_read(w->j, 5, &w->batch), ERR_OK);
	assert_int_equal(w->batch.end_seq, 6);
	assert_int_equal(journal_read(w->j, 6, &w->batch), ERR_OK);
	assert_int_equal(w->batch.end_seq, 9);
	assert_int_equal(journal_gap_read(w->j, 5, &gap), ERR_OK);
	assert_int_equal(gap.first_seq, 9);
	assert_int_equal(journal_gap_at(w->j, 10, &gap), ERR_OK);
	assert_int_equal(gap.first_seq, 10);
	assert_int_equal(gap.reason, JOURNAL_GAP_DROPPED_OLDEST);
	assert_int_equal(journal_read(w->j, 9, &w->batch), ERR_OK);
	assert_int_equal(w->batch.base_seq, 11);
	assert_int_equal(w->batch.end_seq, 12);
}

/*
 * One run with the failure at call number nth. may_help_itself: the journal may deal
 * with it, so that no step fails. Returns false when the function is not called so often.
 */
static bool
run_once(void **state, int nth, bool may_help_itself)
{
	struct work w = {.directory = *state};
	int failed = 0;
	bool hit;

	fault_arm(&fault, nth);
	for (size_t i = 0; i < STEP_COUNT; i++) {
		int rc = steps[i](&w);

		if (rc == ERR_OK)
			continue;
		if (!fault.hit)
			fail_msg("step %zu failed by itself: %s", i, err_str(rc));
		failed++;
		rc = steps[i](&w);
		if (rc != ERR_OK)
			fail_msg("step %zu, again: %s", i, err_str(rc));
	}
	hit = fault.hit;
	if (hit && !may_help_itself && failed != 1)
		fail_msg("%s, call %d: %d steps failed", faulty, nth, failed);
	if (!hit)
		assert_int_equal(failed, 0);
	check_outcome(&w);
	journal_batch_fini(&w.batch);
	journal_close(w.j);
	return hit;
}

static void
sweep(void **state, const char *name, int code, bool may_help_itself)
{
	int nth = 0;
	bool hit = true;

	while (hit) {
		faulty = name;
		fault_code = code;
		hit = run_once(state, ++nth, may_help_itself);
		assert_int_equal(tmpdir_teardown(state), 0);
		assert_int_equal(tmpdir_setup(state), 0);
	}
	if (nth < 2)
		fail_msg("%s was never called: is it wrapped?", name);
}

static const char *const lmdb_calls[] = {"mdb_env_create", "mdb_env_set_maxdbs",
    "mdb_env_set_mapsize", "mdb_env_open", "mdb_env_get_fd", "mdb_env_info",
    "mdb_env_stat", "mdb_reader_check", "mdb_reader_list", "mdb_txn_begin",
    "mdb_txn_renew", "mdb_txn_commit", "mdb_dbi_open", "mdb_stat", "mdb_get", "mdb_put",
    "mdb_cursor_open", "mdb_cursor_get", "mdb_cursor_del", "mdb_del"};

static void
each_call_of_lmdb_may_fail(void **state)
{
	for (size_t i = 0; i < sizeof(lmdb_calls) / sizeof(lmdb_calls[0]); i++)
		sweep(state, lmdb_calls[i], EIO, false);
}

static void
memory_may_run_out(void **state)
{
	sweep(state, "mdb_txn_begin", ENOMEM, false);
	sweep(state, "mdb_cursor_open", ENOMEM, false);
	sweep(state, "mdb_put", ENOMEM, false);
}

/* What must not fail for want of room asks again, with more. */
static void
map_may_be_full(void **state)
{
	sweep(state, "mdb_put", MDB_MAP_FULL, true);
	sweep(state, "mdb_cursor_del", MDB_MAP_FULL, true);
	sweep(state, "mdb_txn_commit", MDB_MAP_FULL, true);
}

static void
disk_may_be_full(void **state)
{
	sweep(state, "mdb_put", ENOSPC, true);
	sweep(state, "mdb_cursor_del", ENOSPC, true);
	sweep(state, "mdb_txn_commit", ENOSPC, true);
	sweep(state, "fallocate", ENOSPC, true);
}

static void
environment_that_is_beyond_use_is_opened_again(void **state)
{
	sweep(state, "mdb_txn_begin", MDB_PANIC, false);
	sweep(state, "mdb_txn_renew", MDB_PANIC, false);
	sweep(state, "mdb_txn_commit", MDB_PANIC, false);
}

static void
map_resized_and_readers_full_are_dealt_with(void **state)
{
	sweep(state, "mdb_txn_begin", MDB_MAP_RESIZED, true);
	sweep(state, "mdb_txn_renew", MDB_MAP_RESIZED, true);
	sweep(state, "mdb_txn_begin", MDB_READERS_FULL, true);
}

static void
calls_into_the_kernel_may_fail(void **state)
{
	sweep(state, "fallocate", EIO, false);
	sweep(state, "fallocate", EINTR, true);
	sweep(state, "fsync", EIO, false);
	sweep(state, "flock", ENOLCK, false);
}

/* ---- a file system without fallocate(2) ---- */

static void
fail_in_a_row(const char *name, int code, int count)
{
	faulty = name;
	fault_code = code;
	row = count;
}

static void
ballast_stands_in_for_fallocate(void **state)
{
	struct work w = {.directory = *state};
	char path[4096];
	size_t next = 0;

	fault_arm(&fault, -1);
	(void)snprintf(path, sizeof(path), "%s/ballast", (char *)*state);
	fail_in_a_row("fallocate", EOPNOTSUPP, 1000);
	assert_int_equal(open_ingest(&w), ERR_OK);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(append(&w), ERR_OK);
	assert_int_equal(append(&w), ERR_OK);
	assert_int_equal(end_ingest(&w), ERR_OK);

	/* Truncating meets a full disk, however little it deletes: the ballast goes. */
	assert_int_equal(open_forward(&w), ERR_OK);
	fail_in_a_row("mdb_txn_commit", ENOSPC, 10);
	assert_int_equal(journals_drain(w.j, 3), ERR_OK);
	assert_int_equal(row, 0);
	assert_int_not_equal(access(path, F_OK), 0);
	/* It is made again when there is room. */
	fail_in_a_row("fallocate", EOPNOTSUPP, 1000);
	assert_int_equal(journals_drain(w.j, 4), ERR_OK);
	assert_int_equal(access(path, F_OK), 0);
	/* Once it is gone there is nothing left to give: full, and nothing is lost. */
	fail_in_a_row("mdb_txn_commit", ENOSPC, 1000);
	assert_int_equal(journals_drain(w.j, 5), ERR_FULL);
	fail_in_a_row("fallocate", EOPNOTSUPP, 1000);
	assert_int_equal(bury_one(&w), ERR_OK);
	while (steps[next++] != acknowledge)
		continue;
	for (; next < STEP_COUNT; next++)
		assert_int_equal(steps[next](&w), ERR_OK);
	check_outcome(&w);
	row = 0;
	journal_batch_fini(&w.batch);
	journal_close(w.j);
}

static void
journal_without_fallocate_is_never_cut(void **state)
{
	struct journal_options o = journals_options(*state);
	struct journal *j;
	uint64_t size;

	fault_arm(&fault, -1);
	for (int i = 0; i < 2; i++) {
		fail_in_a_row("fallocate", EOPNOTSUPP, 1000);
		j = journals_open(*state, JOURNAL_INGEST);
		assert_int_equal(journals_append(j, 3000, 1000), ERR_OK);
		journal_close(j);
	}
	fail_in_a_row("fallocate", EOPNOTSUPP, 1000);
	j = journals_open(*state, JOURNAL_FORWARD);
	assert_int_equal(journals_check_dense(j, 1), 6001);
	journal_close(j);

	/* Not by who wants less of it either. */
	fail_in_a_row("fallocate", EOPNOTSUPP, 1000);
	o.preallocate = true;
	assert_int_equal(journal_open(&j, JOURNAL_INGEST, &o), ERR_OK);
	size = journals_file_bytes(*state);
	assert_true(size > o.max_bytes);
	journal_close(j);
	fail_in_a_row("fallocate", EOPNOTSUPP, 1000);
	j = journals_open(*state, JOURNAL_INGEST);
	assert_int_equal(journals_append(j, 100, 1000), ERR_OK);
	assert_int_equal(journals_file_bytes(*state), size);
	journal_close(j);
	faulty = NULL;
	row = 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tmpdir_setup, tmpdir_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(each_call_of_lmdb_may_fail),
	    TEST(memory_may_run_out),
	    TEST(map_may_be_full),
	    TEST(disk_may_be_full),
	    TEST(environment_that_is_beyond_use_is_opened_again),
	    TEST(map_resized_and_readers_full_are_dealt_with),
	    TEST(calls_into_the_kernel_may_fail),
	    TEST(ballast_stands_in_for_fallocate),
	    TEST(journal_without_fallocate_is_never_cut),
	};
	return cmocka_run_group_tests_name("journal faults", tests, NULL, NULL);
}
