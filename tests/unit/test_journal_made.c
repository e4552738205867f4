/* SPDX-License-Identifier: Apache-2.0 */
/* A new journal, and several processes that want it at once; one of them may die. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <lmdb.h>

#include "../lib/journals.h"
#include "../lib/tmpdir.h"
#include "err.h"
#include "journal/disk.h"
#include "journal/structure.h"
#include "now.h"

#define ROUNDS     12
#define LOCK_BYTES 8192
#define TXN_AT     (8 + sizeof(pthread_mutex_t)) /* in lock.mdb */

struct opener {
	char directory[256];
	enum journal_role role;
	int start; /* a pipe: a byte for each when all may go */
	int ready;
};

static bool
has_file(const char *directory, const char *name)
{
	char path[512];

	assert_true(snprintf(path, sizeof(path), "%s/%s", directory, name) > 0);
	return access(path, F_OK) == 0;
}

static int
open_and_use(void *context)
{
	struct opener *o = context;
	struct journal_options options = journals_options(o->directory);
	struct journal *j = NULL;
	const struct timespec pause = {.tv_nsec = 100000};
	struct journal_stat stat;
	int rc;
	char byte;

	if (o->start >= 0) {
		journals_signal(o->ready);
		if (read(o->start, &byte, 1) != 1)
			return 1;
	}
	/* Who only looks must not come too early. */
	while (o->role == JOURNAL_LOOK && !has_file(o->directory, "data.mdb"))
		(void)nanosleep(&pause, NULL);
	rc = journal_open(&j, o->role, &options);
	if (rc == ERR_NOTFOUND && o->role == JOURNAL_LOOK)
		return 0; /* nothing is committed yet */
	for (int i = 0; i < 5 && rc == ERR_OK; i++) {
		if (o->role == JOURNAL_INGEST)
			rc = journals_append(j, 3, 10);
		if (rc == ERR_OK)
			rc = journal_stat(j, &stat);
		if (rc == ERR_OK)
			journal_stat_fini(&stat);
	}
	journal_close(j);
	return rc != ERR_OK;
}

static int
open_file(const char *directory, const char *name, int flags)
{
	char path[512];
	int fd;

	assert_true(snprintf(path, sizeof(path), "%s/%s", directory, name) > 0);
	fd = open(path, flags | O_CLOEXEC, 0640);
	assert_true(fd >= 0);
	return fd;
}

static void
make_at_once(const char *directory)
{
	static const enum journal_role roles[] = {
	    JOURNAL_INGEST, JOURNAL_FORWARD, JOURNAL_LOOK};
	struct opener o = {0};
	int start[2], ready[2];
	pid_t pids[3];

	assert_int_equal(mkdir(directory, 0750), 0);
	assert_int_equal(pipe2(start, O_CLOEXEC), 0);
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	(void)snprintf(o.directory, sizeof(o.directory), "%s", directory);
	for (int i = 0; i < 3; i++) {
		o.role = roles[i];
		o.start = start[0];
		o.ready = ready[1];
		pids[i] = journals_fork(open_and_use, &o);
	}
	for (int i = 0; i < 3; i++)
		journals_await(ready[0]);
	for (int i = 0; i < 3; i++)
		assert_int_equal(write(start[1], "...", 3), 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(journals_wait(pids[i]), 0);
	assert_false(has_file(directory, DISK_NEW));
	for (int i = 0; i < 2; i++) {
		(void)close(start[i]);
		(void)close(ready[i]);
	}
}

/* ---- tests ---- */

static void
several_make_it_at_once(void **state)
{
	char directory[256];

	for (int i = 0; i < ROUNDS; i++) {
		(void)snprintf(
		    directory, sizeof(directory), "%s/%d", (const char *)*state, i);
		make_at_once(directory);
	}
}

/* data.mdb has the first commit already, lock.mdb not yet: the snapshot before it. */
static void
the_first_commit_is_met_half_way(void **state)
{
	const char *directory = *state;
	MDB_env *env = NULL;
	MDB_txn *txn = NULL;
	MDB_dbi dbi;
	int fd;

	assert_int_equal(mdb_env_create(&env), 0);
	assert_int_equal(mdb_env_set_maxdbs(env, 2), 0);
	assert_int_equal(mdb_env_open(env, directory, MDB_NOTLS, 0640), 0);
	assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
	assert_int_equal(mdb_dbi_open(txn, "log", MDB_CREATE, &dbi), 0);
	assert_int_equal(mdb_txn_commit(txn), 0);
	mdb_env_close(env);
	fd = open_file(directory, "data.mdb", O_RDONLY);
	assert_int_equal(structure_check(fd, directory, 0, true), ERR_OK);
	assert_int_equal(structure_check(fd, directory, 1, true), ERR_OK);
	assert_int_equal(structure_check(fd, directory, 2, true), ERR_NOTFOUND);
	(void)close(fd);
}

/* The name is not left behind by who comes second. */
static void
who_comes_second_makes_nothing(void **state)
{
	struct disk d;
	int fd = -2, second = -2;

	assert_int_equal(disk_open(&d, *state), 0);
	assert_int_equal(disk_new_begin(&d, &fd), 0);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "x", 1), 1);
	assert_int_equal(disk_new_end(&d, fd, true), 0);
	assert_int_equal(disk_new_begin(&d, &second), 0);
	assert_int_equal(second, -1);
	assert_true(has_file(*state, "data.mdb"));
	assert_false(has_file(*state, DISK_NEW));
	disk_close(&d);
}

/* What LMDB does when it is the first to open. */
static void
lock_as_the_first(int fd)
{
	struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};

	assert_int_equal(fcntl(fd, F_SETLK, &all), 0);
}

/* In /proc/locks, who waits is marked with an arrow. */
static bool
does_wait(pid_t pid)
{
	FILE *f = fopen("/proc/locks", "r");
	bool waits = false;
	char line[256];
	long other;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f) != NULL)
		waits = waits ||
			(sscanf(line, "%*s -> POSIX ADVISORY READ %ld", &other) == 1 &&
			    other == (long)pid);
	(void)fclose(f);
	return waits;
}

/* Another is let in while lock.mdb is as its maker, who has died there, has left it. */
static void
open_behind_a_dead_maker(const char *directory, int lock_fd)
{
	const struct timespec pause = {.tv_nsec = 2000000};
	struct opener o = {.role = JOURNAL_FORWARD, .start = -1};
	int64_t end_ms = now_monotonic_ms() + 60000;
	pid_t pid;

	(void)snprintf(o.directory, sizeof(o.directory), "%s", directory);
	lock_as_the_first(lock_fd);
	pid = journals_fork(open_and_use, &o);
	while (!does_wait(pid) && now_monotonic_ms() < end_ms)
		(void)nanosleep(&pause, NULL);
	assert_true(now_monotonic_ms() < end_ms);
	(void)close(lock_fd);
	assert_int_equal(journals_wait(pid), 0);
}

static void
fill_and_close(const char *directory)
{
	struct journal *j = journals_open(directory, JOURNAL_INGEST);

	for (int i = 0; i < 7; i++)
		assert_int_equal(journals_append(j, 1, 10), 0);
	journal_close(j);
}

static void
check_all_is_there(const char *directory)
{
	struct journal *j = journals_open(directory, JOURNAL_FORWARD);

	assert_int_equal(journals_check_dense(j, 1), 8);
	journal_close(j);
}

static void
lock_mdb_was_only_begun(void **state)
{
	static const off_t sizes[] = {0, LOCK_BYTES};

	fill_and_close(*state);
	for (int i = 0; i < 2; i++) {
		int fd = open_file(*state, "lock.mdb", O_RDWR);

		assert_int_equal(ftruncate(fd, 0), 0);
		assert_int_equal(ftruncate(fd, sizes[i]), 0);
		open_behind_a_dead_maker(*state, fd);
		check_all_is_there(*state);
	}
}

/* Its number of the latest transaction comes last: a writer would begin at one again. */
static void
lock_mdb_was_made_but_for_its_number(void **state)
{
	size_t number = 0;
	int fd;

	fill_and_close(*state);
	fd = open_file(*state, "lock.mdb", O_RDWR);
	assert_int_equal(pread(fd, &number, sizeof(number), TXN_AT), sizeof(number));
	assert_in_range(number, 7, 20);
	number = 0;
	assert_int_equal(pwrite(fd, &number, sizeof(number), TXN_AT), sizeof(number));
	open_behind_a_dead_maker(*state, fd);
	check_all_is_there(*state);
}

/* A new one has its name when it is made: this one has lost all, and says so. */
static void
an_emptied_one_is_not_made_again(void **state)
{
	const struct journal_options options = {
	    .directory = *state, .gateway_id = "site"};
	struct journal *j = NULL;
	int fd;

	fill_and_close(*state);
	fd = open_file(*state, "data.mdb", O_RDWR);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(journal_open(&j, JOURNAL_INGEST, &options), ERR_CORRUPT);
	assert_int_equal(journal_open(&j, JOURNAL_FORWARD, &options), ERR_CORRUPT);
	assert_int_equal(journal_open(&j, JOURNAL_LOOK, &options), ERR_CORRUPT);
	assert_int_equal(lseek(fd, 0, SEEK_END), 0);
	assert_int_equal(close(fd), 0);
}

#define IN_TMPDIR(test) \
	cmocka_unit_test_setup_teardown(test, tmpdir_setup, tmpdir_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    IN_TMPDIR(several_make_it_at_once),
	    IN_TMPDIR(the_first_commit_is_met_half_way),
	    IN_TMPDIR(who_comes_second_makes_nothing),
	    IN_TMPDIR(lock_mdb_was_only_begun),
	    IN_TMPDIR(lock_mdb_was_made_but_for_its_number),
	    IN_TMPDIR(an_emptied_one_is_not_made_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
