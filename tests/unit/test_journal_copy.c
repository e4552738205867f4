/* SPDX-License-Identifier: Apache-2.0 */
/* Backup and compaction: a copy is whole or is not there. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/damage.h"
#include "../lib/journals.h"
#include "../lib/tmpdir.h"
#include "err.h"

static const char *
path_in(const char *directory, const char *name)
{
	static char *paths[64]; /* so that they need not be given back */
	static unsigned turn;
	char *path = malloc(4096);

	assert_non_null(path);
	(void)snprintf(path, 4096, "%s/%s", directory, name);
	free(paths[turn % 64]);
	paths[turn++ % 64] = path;
	return path;
}

/* A directory beside the journal's. */
static const char *
make_beside(const char *directory, const char *name)
{
	const char *path = path_in(directory, name);

	assert_int_equal(mkdir(path, 0700), 0);
	return path;
}

static void
remove_all(const char *directory)
{
	static const char *const names[] = {
	    "data.mdb", "lock.mdb", "ingest.lock", "forward.lock"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		(void)unlink(path_in(directory, names[i]));
	assert_int_equal(rmdir(directory), 0);
}

/* Nothing but what the journal itself has. */
static void
assert_nothing_left_beside(const char *directory)
{
	char command[4200];

	(void)snprintf(command, sizeof(command),
	    "ls -A '%s' | grep -qvxE '(data|lock).mdb|(ingest|forward).lock'",
	    directory);
	assert_int_not_equal(system(command), 0);
}

static struct journal *
look(const char *directory)
{
	struct journal_options o = damage_options(directory);
	struct journal *j;

	assert_int_equal(journal_open(&j, JOURNAL_LOOK, &o), ERR_OK);
	return j;
}

static void
read_uuid(const char *directory, uint8_t uuid[16], uint8_t parent[16])
{
	struct journal *j = look(directory);

	memcpy(uuid, journal_identity(j)->uuid, 16);
	memcpy(parent, journal_identity(j)->parent, 16);
	journal_close(j);
}

static void
assert_same_content(const char *one, const char *other)
{
	struct journal *a = look(one), *b = look(other);
	struct journal_batch x = {0}, y = {0};
	struct journal_stat s, t;
	uint64_t seq = 1;
	int rc;

	assert_int_equal(journal_stat(a, &s), ERR_OK);
	assert_int_equal(journal_stat(b, &t), ERR_OK);
	assert_int_equal(s.first_seq, t.first_seq);
	assert_int_equal(s.next_seq, t.next_seq);
	assert_int_equal(s.records, t.records);
	assert_int_equal(s.batches, t.batches);
	assert_int_equal(s.dead_count, t.dead_count);
	assert_int_equal(s.gap_count, t.gap_count);
	assert_int_equal(s.acked_seq, t.acked_seq);
	assert_int_equal(s.route_count, t.route_count);
	assert_int_equal(s.max_bytes, t.max_bytes);
	journal_stat_fini(&s);
	journal_stat_fini(&t);
	for (rc = journal_read(a, seq, &x); rc == ERR_OK;
	     rc = journal_read(a, seq, &x)) {
		assert_int_equal(journal_read(b, seq, &y), ERR_OK);
		assert_int_equal(x.base_seq, y.base_seq);
		assert_int_equal(x.body.size, y.body.size);
		assert_memory_equal(x.body.data, y.body.data, x.body.size);
		seq = x.end_seq;
	}
	assert_int_equal(rc, ERR_NOTFOUND);
	journal_batch_fini(&x);
	journal_batch_fini(&y);
	journal_close(a);
	journal_close(b);
}

static void
a_backup_is_a_journal_with_a_uuid_of_its_own(void **state)
{
	const char *restored = make_beside(*state, "restored");
	const char *file = path_in(restored, "data.mdb");
	uint8_t uuid[16], parent[16], new_uuid[16], new_parent[16];

	assert_int_equal(damage_make(*state), ERR_OK);
	read_uuid(*state, uuid, parent);
	assert_int_equal(journal_backup(*state, file), ERR_OK);
	assert_same_content(*state, restored);
	read_uuid(restored, new_uuid, new_parent);
	assert_memory_not_equal(uuid, new_uuid, 16);
	assert_memory_equal(uuid, new_parent, 16);
	read_uuid(*state, new_uuid, new_parent); /* it is itself untouched */
	assert_memory_equal(uuid, new_uuid, 16);
	assert_int_equal(access(file, F_OK), 0);
	/* And it goes on. */
	{
		struct journal_options o = damage_options(restored);
		struct journal *j;

		assert_int_equal(journal_open(&j, JOURNAL_INGEST, &o), ERR_OK);
		assert_int_equal(journals_append(j, 10, 100), ERR_OK);
		journal_close(j);
	}
	remove_all(restored);
	assert_nothing_left_beside(*state);
}

static void
use(const char *directory, enum journal_role role, uint8_t uuid[16])
{
	struct journal_options o = damage_options(directory);
	struct journal *j;

	assert_int_equal(journal_open(&j, role, &o), ERR_OK);
	memcpy(uuid, journal_identity(j)->uuid, 16);
	journal_close(j);
}

static void
a_backup_that_is_put_back_twice_makes_two_journals(void **state)
{
	const char *one = make_beside(*state, "one"), *two = make_beside(*state, "two");
	uint8_t uuid[16], first[16], second[16], again[16], parent[16];
	char command[16384];

	assert_int_equal(damage_make(*state), ERR_OK);
	read_uuid(*state, uuid, parent);
	assert_int_equal(journal_backup(*state, path_in(one, "data.mdb")), ERR_OK);
	(void)snprintf(command, sizeof(command), "cp '%s' '%s'",
	    path_in(one, "data.mdb"), path_in(two, "data.mdb"));
	assert_int_equal(system(command), 0);
	use(one, JOURNAL_INGEST, first);
	use(one, JOURNAL_FORWARD, again); /* only the first who comes gives a new one */
	assert_memory_equal(first, again, 16);
	use(two, JOURNAL_FORWARD, second);
	assert_memory_not_equal(first, second, 16);
	assert_memory_not_equal(uuid, second, 16);
	read_uuid(two, again, parent);
	assert_memory_equal(second, again, 16);
	assert_memory_equal(uuid, parent, 16);
	remove_all(one);
	remove_all(two);
}

static void
a_backup_beside_who_writes_is_consistent(void **state)
{
	const char *restored = make_beside(*state, "restored");
	struct journal_options o = damage_options(*state);
	struct journal *j;
	int pid, status;

	assert_int_equal(damage_make(*state), ERR_OK);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)alarm(60);
		if (journal_open(&j, JOURNAL_INGEST, &o) != ERR_OK)
			_exit(1);
		while (access(path_in(restored, "data.mdb"), F_OK) != 0)
			if (journals_append(j, 3, 200) != ERR_OK)
				(void)usleep(1000); /* full, by now */
		journal_close(j);
		_exit(0);
	}
	assert_int_equal(journal_backup(*state, path_in(restored, "data.mdb")), ERR_OK);
	status = journals_wait(pid);
	assert_int_equal(status, 0);
	j = look(restored);
	assert_true(journals_check_dense(j, 1423) > 1500);
	journal_close(j);
	remove_all(restored);
}

static void
a_file_that_is_there_is_not_replaced(void **state)
{
	const char *file = path_in(*state, "backup");
	FILE *f = fopen(file, "we");

	assert_non_null(f);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(damage_make(*state), ERR_OK);
	assert_int_equal(journal_backup(*state, file), ERR_INVALID);
	assert_int_equal(unlink(file), 0);
	assert_int_equal(
	    journal_backup(*state, path_in(*state, "none/backup")), ERR_NOTFOUND);
	assert_int_equal(journal_backup(path_in(*state, "none"), file), ERR_NOTFOUND);
	assert_nothing_left_beside(*state);
}

/* As on a full disk: no file may become larger than that. */
static void
limit_files(rlim_t bytes)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	(void)signal(SIGXFSZ, SIG_IGN);
}

static void
without_room_no_copy_is_left(void **state)
{
	const char *file = path_in(*state, "backup");
	uint64_t before = 0, after = 0, bytes;

	assert_int_equal(damage_make(*state), ERR_OK);
	bytes = journals_file_bytes(*state);
	limit_files(100000);
	assert_true(journal_backup(*state, file) < 0);
	assert_true(journal_compact(*state, &before, &after) < 0);
	limit_files(RLIM_INFINITY);
	assert_int_equal(access(file, F_OK), -1);
	assert_int_equal(before, 0);
	assert_int_equal(journals_file_bytes(*state), bytes);
	assert_nothing_left_beside(*state);
	journal_close(look(*state));
}

static void
compaction_gives_the_room_back(void **state)
{
	const char *copy = make_beside(*state, "copy");
	uint64_t before = 0, after = 0;
	struct journal_options o = damage_options(*state);
	uint8_t uuid[16], parent[16], new_uuid[16];
	struct journal *j;
	struct stat st;

	o.max_bytes = 16 << 20;
	assert_int_equal(damage_make(*state), ERR_OK);
	assert_int_equal(journal_open(&j, JOURNAL_INGEST, &o), ERR_OK);
	assert_int_equal(journals_append(j, 50, 100000), ERR_OK);
	journal_close(j);
	assert_int_equal(journal_open(&j, JOURNAL_FORWARD, &o), ERR_OK);
	assert_int_equal(journals_drain(j, journals_next(j) - 10), ERR_OK);
	journal_close(j);
	assert_int_equal(journal_backup(*state, path_in(copy, "data.mdb")), ERR_OK);
	read_uuid(*state, uuid, parent);
	assert_int_equal(chmod(path_in(*state, "data.mdb"), 0606), 0);
	assert_int_equal(journal_compact(*state, &before, &after), ERR_OK);
	assert_int_equal(stat(path_in(*state, "data.mdb"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0606);
	assert_true(after < before / 2);
	assert_int_equal(journals_file_bytes(*state), after);
	read_uuid(*state, new_uuid, parent);
	assert_memory_equal(uuid, new_uuid, 16);
	assert_same_content(*state, copy);
	remove_all(copy);
	assert_nothing_left_beside(*state);
	assert_int_equal(journal_open(&j, JOURNAL_INGEST, &o), ERR_OK);
	assert_int_equal(journals_append(j, 10, 100), ERR_OK);
	journal_close(j);
}

static void
compaction_wants_the_journal_for_itself(void **state)
{
	struct journal_options o = damage_options(*state);
	uint64_t before = 0, after = 0;
	int fds[2], fds2[2], pid;
	struct journal *j;

	assert_int_equal(damage_make(*state), ERR_OK);
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(pipe(fds2), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (journal_open(&j, JOURNAL_INGEST, &o) != ERR_OK)
			_exit(1);
		journals_signal(fds[1]);
		journals_await(fds2[0]);
		journal_close(j);
		_exit(0);
	}
	journals_await(fds[0]);
	assert_int_equal(journal_compact(*state, &before, &after), ERR_LOCKED);
	journals_signal(fds2[1]);
	assert_int_equal(journals_wait(pid), 0);
	assert_int_equal(journal_compact(*state, &before, &after), ERR_OK);
}

/* Who looks at the old file keeps its lock.mdb: nobody may take that for the new one's. */
static void
who_still_looks_does_not_mislead_those_who_come(void **state)
{
	struct journal_options o = damage_options(*state);
	uint64_t before, after;
	int fds[2], fds2[2], pid;
	struct journal *j;

	assert_int_equal(damage_make(*state), ERR_OK);
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(pipe(fds2), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		j = look(*state);
		journals_signal(fds[1]);
		journals_await(fds2[0]);
		assert_true(journals_check_dense(j, 1423) > 1500);
		journal_close(j);
		_exit(0);
	}
	journals_await(fds[0]);
	assert_int_equal(link(path_in(*state, "lock.mdb"), path_in(*state, "old")), 0);
	assert_int_equal(journal_compact(*state, &before, &after), ERR_OK);
	/* As if it had died before it could remove the old lock. */
	assert_int_equal(
	    rename(path_in(*state, "old"), path_in(*state, "lock.mdb")), 0);
	assert_int_equal(journal_open(&j, JOURNAL_INGEST, &o), ERR_CORRUPT);
	journals_signal(fds2[1]);
	assert_int_equal(journals_wait(pid), 0);
	assert_int_equal(journal_open(&j, JOURNAL_INGEST, &o), ERR_OK);
	assert_int_equal(journals_append(j, 10, 100), ERR_OK);
	journal_close(j);
}

static void
a_damaged_one_is_not_copied(void **state)
{
	const char *file = path_in(*state, "backup");
	struct buffer bytes = {0};
	uint64_t before, after;

	assert_int_equal(damage_make(*state), ERR_OK);
	damage_load(*state, &bytes);
	memset(bytes.data, 0, 4096);
	damage_store(*state, &bytes);
	assert_int_equal(journal_backup(*state, file), ERR_CORRUPT);
	assert_int_equal(journal_compact(*state, &before, &after), ERR_CORRUPT);
	buffer_fini(&bytes);
	assert_nothing_left_beside(*state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tmpdir_setup, tmpdir_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_backup_is_a_journal_with_a_uuid_of_its_own),
	    TEST(a_backup_that_is_put_back_twice_makes_two_journals),
	    TEST(a_backup_beside_who_writes_is_consistent),
	    TEST(a_file_that_is_there_is_not_replaced),
	    TEST(without_room_no_copy_is_left),
	    TEST(compaction_gives_the_room_back),
	    TEST(compaction_wants_the_journal_for_itself),
	    TEST(who_still_looks_does_not_mislead_those_who_come),
	    TEST(a_damaged_one_is_not_copied),
	};
	return cmocka_run_group_tests_name("journal: copies", tests, NULL, NULL);
}
