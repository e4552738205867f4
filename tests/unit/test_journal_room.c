/* SPDX-License-Identifier: Apache-2.0 */
/* What a full journal, a full disk, a pinned reader and a second process do. */
#include <errno.h>
#include <lmdb.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/journals.h"
#include "../lib/records.h"
#include "../lib/tmpdir.h"
#include "err.h"

#define MIB ((uint64_t)1 << 20)

static const char *const one_route[] = {"r"};

static struct journal *
open_forward(const char *directory, uint64_t max_bytes)
{
	struct journal *j = journals_open_sized(directory, JOURNAL_FORWARD, max_bytes);
	uint64_t acked;

	assert_int_equal(journal_routes_set(j, one_route, 1, &acked), ERR_OK);
	return j;
}

static struct journal_stat
stat_of(struct journal *j)
{
	struct journal_stat s, numbers;

	assert_int_equal(journal_stat(j, &s), ERR_OK);
	numbers = s;
	numbers.routes = NULL;
	numbers.route_count = 0;
	journal_stat_fini(&s);
	return numbers;
}

static int
bury(struct journal *j, uint64_t seq, size_t size)
{
	struct dead_letter letter = {.reason = DEAD_REFUSED, .detail = {"", 0}};
	char *record = calloc(1, size);
	int rc;

	assert_non_null(record);
	letter.record = (struct bytes){.data = record, .size = size};
	rc = journal_bury(j, seq, "r", &letter);
	free(record);
	return rc;
}

/* ---- a full journal ---- */

static void
full_journal_says_full_and_loses_nothing(void **state)
{
	struct journal *j = journals_open_sized(*state, JOURNAL_INGEST, 4 * MIB);
	uint64_t next, room;

	assert_int_equal(journal_room(j, &room), ERR_OK);
	assert_in_range(room, 3 * MIB, 4 * MIB);
	assert_int_equal(journals_fill(j, 100, 500), ERR_FULL);
	assert_int_equal(journal_staged_count(j), 0);
	next = journals_next(j);
	assert_int_equal(journals_append(j, 100, 500), ERR_FULL);
	assert_int_equal(journals_next(j), next);
	assert_int_equal(journals_check_dense(j, 1), next);
	assert_in_range(stat_of(j).used_bytes, 3 * MIB, 4 * MIB);
	assert_int_equal(journal_room(j, &room), ERR_OK);
	assert_true(room < 100 * 600);
	journal_close(j);
}

/* Taking the room that there is would be writing. */
static void
who_only_looks_sees_the_same_room_and_takes_none(void **state)
{
	struct journal *j = journals_open_sized(*state, JOURNAL_INGEST, 4 * MIB);
	uint64_t size, room, seen;
	char path[4096];

	assert_int_equal(journals_append(j, 100, 500), ERR_OK);
	assert_int_equal(journal_room(j, &room), ERR_OK);
	size = stat_of(j).file_bytes;
	journal_close(j);
	/* Without the spare part, as a copy may come. */
	(void)snprintf(path, sizeof(path), "%s/data.mdb", (const char *)*state);
	assert_int_equal(truncate(path, (off_t)size), 0);
	j = journals_open(*state, JOURNAL_LOOK);
	assert_int_equal(stat_of(j).max_bytes, 4 * MIB);
	assert_int_equal(journal_room(j, &seen), ERR_OK);
	assert_in_range(seen, room - 65536, room + 65536);
	assert_int_equal(journals_file_bytes(*state), size);
	journal_close(j);
}

static void
truncating_a_full_journal_gives_room_at_once(void **state)
{
	struct journal *j = journals_open_sized(*state, JOURNAL_INGEST, 4 * MIB);
	uint64_t next = 1, acked = 0;

	for (int round = 0; round < 8; round++) {
		assert_int_equal(journals_fill(j, 100, 500), ERR_FULL);
		next = journals_next(j);
		assert_int_equal(journals_check_dense(j, acked + 1), next);
		journal_close(j);
		j = open_forward(*state, 4 * MIB);
		acked = next - 1 - (next - acked) / 2;
		assert_int_equal(journals_drain(j, acked), ERR_OK);
		journal_close(j);
		j = journals_open_sized(*state, JOURNAL_INGEST, 4 * MIB);
		assert_int_equal(journals_append(j, 100, 500), ERR_OK);
	}
	assert_true(stat_of(j).file_bytes <= 5 * MIB);
	journal_close(j);
}

/* Batches of every size leave free pages that do not lie together. */
static void
mixed_sizes_stay_within_the_map(void **state)
{
	uint64_t seed = records_seed(), acked = 0, next, full_at = 0;

	for (int round = 0; round < 12; round++) {
		struct journal *j =
		    journals_open_sized(*state, JOURNAL_INGEST, 4 * MIB);
		uint64_t used;
		int rc;

		do {
			size_t size = 1 + records_random_number(&seed) % 60000;

			rc = journals_append(
			    j, 1, records_random_number(&seed) % 3 ? size / 20 : size);
		} while (rc == ERR_OK);
		assert_int_equal(rc, ERR_FULL);
		used = stat_of(j).used_bytes;
		full_at = used > full_at ? used : full_at;
		assert_true(used > 2 * MIB); /* still of use */
		assert_true(stat_of(j).file_bytes <= stat_of(j).map_bytes);
		next = journals_check_dense(j, acked + 1);
		journal_close(j);
		j = open_forward(*state, 4 * MIB);
		acked += records_random_number(&seed) % (next - acked);
		assert_int_equal(journals_drain(j, acked), ERR_OK);
		journal_close(j);
	}
	assert_true(full_at <= 4 * MIB + 256 * 1024);
}

static void
dead_letters_do_not_eat_the_logs_room(void **state)
{
	struct journal *j = journals_open_sized(*state, JOURNAL_INGEST, 4 * MIB);
	uint64_t next, seq = 1;

	assert_int_equal(journals_fill(j, 100, 500), ERR_FULL);
	next = journals_next(j);
	journal_close(j);
	j = open_forward(*state, 4 * MIB);
	while (bury(j, seq, 200000) == ERR_OK)
		seq++;
	assert_true(seq > 30);
	assert_int_equal(journals_drain(j, next - 1), ERR_OK);
	journal_close(j);
	j = journals_open_sized(*state, JOURNAL_INGEST, 4 * MIB);
	assert_int_equal(journals_fill(j, 100, 500), ERR_FULL);
	assert_true(journals_check_dense(j, next) > next + (next - 1) * 9 / 10);
	journal_close(j);
}

static void
subscriptions_are_saved_on_a_full_journal(void **state)
{
	struct journal *j = journals_open_sized(*state, JOURNAL_INGEST, 4 * MIB);
	char filter[] = "a/#";
	struct journal_subscription one = {1, filter};
	struct journal_subscriptions s = {.list = &one, .count = 1, .next_id = 2};

	assert_int_equal(journals_fill(j, 100, 500), ERR_FULL);
	assert_int_equal(journals_fill(j, 1, 1), ERR_FULL);
	for (int i = 0; i < 100; i++)
		assert_int_equal(journal_subscriptions_save(j, &s), ERR_OK);
	journal_close(j);
}

static void
max_bytes_can_be_lowered_and_raised(void **state)
{
	struct journal *j = journals_open_sized(*state, JOURNAL_INGEST, 24 * MIB);
	uint64_t next;

	assert_int_equal(journals_fill(j, 1000, 500), ERR_FULL);
	next = journals_next(j);
	journal_close(j);

	j = journals_open_sized(*state, JOURNAL_INGEST, 2 * MIB);
	assert_int_equal(journals_append(j, 100, 500), ERR_FULL);
	assert_int_equal(stat_of(j).max_bytes, 2 * MIB);
	assert_true(stat_of(j).map_bytes >= stat_of(j).file_bytes + MIB);
	journal_close(j);
	j = open_forward(*state, 2 * MIB);
	assert_int_equal(journals_check_dense(j, 1), next);
	assert_int_equal(journals_drain(j, next - 1), ERR_OK);
	journal_close(j);
	j = journals_open_sized(*state, JOURNAL_INGEST, 2 * MIB);
	assert_int_equal(journals_fill(j, 100, 500), ERR_FULL);
	assert_in_range(journals_next(j) - next, 1500, 2 * MIB / 500);
	journal_close(j);

	j = journals_open_sized(*state, JOURNAL_INGEST, 32 * MIB);
	assert_int_equal(journals_append(j, 1000, 500), ERR_OK);
	assert_int_equal(journals_fill(j, 1000, 500), ERR_FULL);
	assert_true(journals_next(j) - next > 24 * MIB / 500);
	journal_close(j);
}

static void
map_that_cannot_be_is_refused(void **state)
{
	struct journal_options o = journals_options(*state);
	struct journal *j;

	o.max_bytes = (uint64_t)1 << 61;
	assert_int_equal(journal_open(&j, JOURNAL_INGEST, &o), ERR_NOMEM);
	o.max_bytes = UINT64_MAX;
	assert_int_equal(journal_open(&j, JOURNAL_INGEST, &o), ERR_NOMEM);
	o.max_bytes = (uint64_t)1 << 50; /* beyond what x86 and arm can address */
	assert_int_equal(journal_open(&j, JOURNAL_INGEST, &o), ERR_NOMEM);
}

static void
preallocated_journal_has_its_blocks(void **state)
{
	struct journal_options o = journals_options(*state);
	struct journal *j;
	char path[4096];
	struct stat st;

	o.preallocate = true;
	assert_int_equal(journal_open(&j, JOURNAL_INGEST, &o), ERR_OK);
	(void)snprintf(path, sizeof(path), "%s/data.mdb", (char *)*state);
	assert_int_equal(stat(path, &st), 0);
	assert_true((uint64_t)st.st_blocks * 512 >= o.max_bytes + o.dead_max_bytes);
	assert_int_equal(journals_append(j, 100, 500), ERR_OK);
	journal_close(j);
}

/* ---- other processes ---- */

struct other {
	const char *directory;
	uint64_t max_bytes;
	int ready[2]; /* from the child */
	int go[2];    /* to it */
};

static struct other
other_of(const char *directory, uint64_t max_bytes)
{
	struct other o = {.directory = directory, .max_bytes = max_bytes};

	assert_int_equal(pipe(o.ready), 0);
	assert_int_equal(pipe(o.go), 0);
	return o;
}

static void
other_fini(struct other *o)
{
	for (int i = 0; i < 2; i++) {
		(void)close(o->ready[i]);
		(void)close(o->go[i]);
	}
}

/* What mdb_copy does, stopped in the middle: a snapshot that does not end. */
static int
pin(void *context)
{
	struct other *o = context;
	MDB_env *env;
	MDB_txn *txn;

	if (mdb_env_create(&env) != 0 ||
	    mdb_env_open(env, o->directory, MDB_RDONLY, 0600) != 0 ||
	    mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) != 0)
		return 1;
	journals_signal(o->ready[1]);
	while (getppid() != 1)
		(void)pause();
	return 0;
}

static void
kill_child(pid_t pid)
{
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(journals_wait(pid), -SIGKILL);
}

static void
pinned_reader_costs_room_but_nothing_else(void **state)
{
	struct journal *j = journals_open_sized(*state, JOURNAL_INGEST, 4 * MIB);
	struct other o = other_of(*state, 0);
	uint64_t next;
	pid_t pid;

	assert_int_equal(journals_append(j, 1000, 1000), ERR_OK);
	journal_close(j);
	pid = journals_fork(pin, &o);
	journals_await(o.ready[0]);

	j = journals_open_sized(*state, JOURNAL_INGEST, 4 * MIB);
	assert_int_equal(journals_fill(j, 50, 1000), ERR_FULL);
	next = journals_next(j);
	journal_close(j);
	/* Many small truncations: each copies pages, and none comes back. */
	j = open_forward(*state, 4 * MIB);
	assert_int_equal(journals_check_dense(j, 1), next);
	for (uint64_t seq = 5; seq < next; seq += 5)
		assert_int_equal(journals_drain(j, seq), ERR_OK);
	assert_int_equal(journals_drain(j, next - 1), ERR_OK);
	assert_int_equal(stat_of(j).records, 0);
	assert_true(stat_of(j).file_bytes <= stat_of(j).map_bytes);
	journal_close(j);
	/* Nothing is appended beyond max_bytes meanwhile ... */
	j = journals_open_sized(*state, JOURNAL_INGEST, 4 * MIB);
	assert_int_equal(journals_append(j, 50, 1000), ERR_FULL);
	/* ... and once the reader is gone, and its slot freed, all is as before. */
	kill_child(pid);
	assert_int_equal(journal_readers_check(j), ERR_OK);
	assert_int_equal(journals_append(j, 1000, 1000), ERR_OK);
	assert_int_equal(journals_check_dense(j, next), next + 1000);
	journal_close(j);
	other_fini(&o);
}

static int
append_when_told(void *context)
{
	struct other *o = context;
	struct journal *j =
	    journals_open_sized(o->directory, JOURNAL_INGEST, o->max_bytes);

	journals_signal(o->ready[1]);
	journals_await(o->go[0]);
	for (int i = 0; i < 10; i++)
		if (journals_append(j, 100, 500) != ERR_OK)
			return 1;
	journal_close(j);
	return 0;
}

static void
map_grown_by_another_process_is_adopted(void **state)
{
	struct other o = other_of(*state, 4 * MIB);
	pid_t pid = journals_fork(append_when_told, &o);
	struct journal_options big = journals_options(*state);
	struct journal *j;

	journals_await(o.ready[0]);
	big.dead_max_bytes = 64 * MIB;
	assert_int_equal(journal_open(&j, JOURNAL_FORWARD, &big), ERR_OK);
	for (uint64_t seq = 1; seq <= 40; seq++)
		assert_int_equal(bury(j, seq, MIB), ERR_OK);
	assert_true(stat_of(j).file_bytes > 40 * MIB);
	journals_signal(o.go[1]);
	assert_int_equal(journals_wait(pid), 0);
	assert_int_equal(journals_check_dense(j, 1), 1001);
	journal_close(j);
	other_fini(&o);
}

static int
append_for_ever(void *context)
{
	struct other *o = context;
	struct journal *j =
	    journals_open_sized(o->directory, JOURNAL_INGEST, o->max_bytes);

	while (getppid() != 1)
		if (journals_append(j, 20, 300) == ERR_FULL)
			(void)journal_readers_check(j);
	return 0;
}

/* Read and acknowledge what is there; returns the next number expected. */
static uint64_t
drain_some(struct journal *j, uint64_t seq, struct journal_batch *b)
{
	int rc = journal_read(j, seq, b);

	if (rc == ERR_NOTFOUND)
		return seq;
	assert_int_equal(rc, ERR_OK);
	assert_int_equal(b->base_seq, seq);
	assert_int_equal(journals_drain(j, b->end_seq - 1), ERR_OK);
	return b->end_seq;
}

static void
appender_killed_beside_a_drainer_leaves_no_hole(void **state)
{
	struct other o = other_of(*state, 4 * MIB);
	struct journal_batch b = {0};
	struct journal *j = open_forward(*state, 4 * MIB);
	uint64_t seq = 1, stop = 0;

	for (int round = 0; round < 5; round++) {
		pid_t pid = journals_fork(append_for_ever, &o);

		stop += 2000;
		while (seq < stop)
			seq = drain_some(j, seq, &b);
		kill_child(pid);
	}
	assert_int_equal(journals_check_dense(j, seq), journals_next(j));
	assert_true(stat_of(j).file_bytes <= stat_of(j).map_bytes);
	journal_batch_fini(&b);
	journal_close(j);
	other_fini(&o);
}

static int
drain_for_ever(void *context)
{
	struct other *o = context;
	struct journal *j = open_forward(o->directory, o->max_bytes);
	struct journal_batch b = {0};
	uint64_t seq = 0;

	assert_int_equal(journal_routes_set(j, one_route, 1, &seq), ERR_OK);
	seq++;
	while (getppid() != 1)
		seq = drain_some(j, seq, &b);
	return 0;
}

static void
drainer_killed_beside_an_appender_leaves_the_rest(void **state)
{
	struct other o = other_of(*state, 4 * MIB);
	struct journal *j = journals_open_sized(*state, JOURNAL_INGEST, 4 * MIB);
	struct journal_stat s;

	for (int round = 0; round < 5; round++) {
		pid_t pid = journals_fork(drain_for_ever, &o);
		uint64_t stop = journals_next(j) + 20000;

		while (journals_next(j) < stop)
			(void)journals_append(j, 100, 300);
		kill_child(pid);
		assert_int_equal(journal_readers_check(j), ERR_OK);
		assert_int_equal(journal_stat(j, &s), ERR_OK);
		assert_true(s.route_count <= 1);
		if (s.batches > 0 && s.route_count == 1)
			assert_true(s.first_seq <= s.acked_seq + 1);
		assert_int_equal(journals_check_dense(j, s.first_seq), s.next_seq);
		journal_stat_fini(&s);
	}
	journal_close(j);
	other_fini(&o);
}

/* ---- a full disk ---- */

/* The rest of the disk is taken by somebody else. */
static void
hog(const char *directory)
{
	static const char block[65536];
	size_t size = sizeof(block);
	char path[4096];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/hog", directory);
	f = fopen(path, "w");
	assert_non_null(f);
	(void)setvbuf(f, NULL, _IONBF, 0);
	while (size > 0)
		if (fwrite(block, 1, size, f) != size)
			size /= 2;
	(void)fclose(f);
}

static int
fill_a_small_disk(void *context)
{
	const char *directory = context;
	struct journal *j;
	uint64_t next, room;

	if (unshare(CLONE_NEWNS) != 0 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("tmpfs", directory, "tmpfs", 0, "size=6m") != 0)
		return 77;
	j = journals_open(directory, JOURNAL_INGEST);
	assert_int_equal(journals_fill(j, 100, 500), ERR_FULL);
	next = journals_next(j);
	assert_true(next > 5000);
	assert_int_equal(journal_room(j, &room), ERR_OK);
	assert_true(room < MIB / 4);
	hog(directory);
	assert_int_equal(journals_append(j, 100, 500), ERR_FULL);
	journal_close(j);

	j = open_forward(directory, 64 * MIB);
	assert_int_equal(journals_check_dense(j, 1), next);
	for (uint64_t seq = 1; seq < next; seq += 250)
		assert_int_equal(journals_drain(j, seq), ERR_OK);
	journal_close(j);
	j = journals_open(directory, JOURNAL_INGEST);
	assert_int_equal(journals_append(j, 1000, 500), ERR_OK);
	assert_int_equal(journals_next(j), next + 1000);
	assert_int_equal(journals_fill(j, 100, 500), ERR_FULL);
	assert_true(journals_next(j) > next + next / 2);
	journal_close(j);
	return 0;
}

/* Both policies that drop, where nobody else leaves a byte. */
static int
drop_on_a_full_disk(void *context)
{
	const char *directory = context;
	struct journal_dropped dropped = {0};
	struct journal *j;
	uint64_t next, room;

	if (unshare(CLONE_NEWNS) != 0 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("tmpfs", directory, "tmpfs", 0, "size=6m") != 0)
		return 77;
	j = journals_open(directory, JOURNAL_INGEST);
	assert_int_equal(journals_fill(j, 100, 500), ERR_FULL);
	hog(directory);
	next = journals_next(j);
	for (int i = 0; i < 500; i++) {
		assert_int_equal(journal_stage_dropped(j, 2), ERR_OK);
		assert_int_equal(journal_commit(j), ERR_OK);
	}
	assert_int_equal(journals_next(j), next + 1000);
	journal_close(j);

	j = open_forward(directory, 64 * MIB);
	assert_int_equal(journal_drop_oldest(j, NULL, 0, MIB, &dropped), ERR_OK);
	assert_in_range(dropped.records, 1000, next / 2);
	assert_int_equal(journal_room(j, &room), ERR_OK);
	assert_true(room >= MIB / 2);
	assert_int_equal(stat_of(j).gap_count, 2);
	journal_close(j);
	j = journals_open(directory, JOURNAL_INGEST);
	assert_int_equal(journals_append(j, 500, 500), ERR_OK);
	journal_close(j);
	return 0;
}

static void
full_disk_lets_the_oldest_and_the_newest_be_dropped(void **state)
{
	int status = journals_wait(journals_fork(drop_on_a_full_disk, *state));

	if (status == 77) {
		print_message("SKIPPED: no mount namespace (run as root)\n");
		skip();
	}
	assert_int_equal(status, 0);
}

/* What is dropped cannot be used again yet; no more is dropped for that. */
static void
pinned_reader_does_not_make_us_drop_ever_more(void **state)
{
	struct journal *j = journals_open_sized(*state, JOURNAL_INGEST, 4 * MIB);
	struct other o = other_of(*state, 0);
	struct journal_dropped dropped = {0};
	pid_t pid;

	assert_int_equal(journals_fill(j, 50, 1000), ERR_FULL);
	journal_close(j);
	pid = journals_fork(pin, &o);
	journals_await(o.ready[0]);
	j = open_forward(*state, 4 * MIB);
	assert_int_equal(journal_drop_oldest(j, NULL, 0, MIB, &dropped), ERR_OK);
	assert_in_range(dropped.bytes, MIB / 2, 2 * MIB);
	dropped = (struct journal_dropped){0};
	assert_int_equal(journal_drop_oldest(j, NULL, 0, MIB, &dropped), ERR_OK);
	assert_int_equal(dropped.bytes, 0);
	assert_true(stat_of(j).file_bytes <= stat_of(j).map_bytes);
	kill_child(pid);
	journal_close(j);
	other_fini(&o);
}

static void
lowered_dead_max_bytes_keeps_the_letters_there_are(void **state)
{
	struct journal_options o = journals_options(*state);
	struct journal *j = open_forward(*state, 4 * MIB);
	uint64_t acked;

	for (uint64_t seq = 1; seq <= 100; seq++)
		assert_int_equal(bury(j, seq, 20000), ERR_OK);
	journal_close(j);
	o.max_bytes = 4 * MIB;
	o.dead_max_bytes = 64 * 1024;
	assert_int_equal(journal_open(&j, JOURNAL_FORWARD, &o), ERR_OK);
	assert_int_equal(journal_routes_set(j, one_route, 1, &acked), ERR_OK);
	assert_int_equal(stat_of(j).dead_count, 100);
	assert_int_equal(bury(j, 101, 20000), ERR_FULL);
	journal_close(j);
	/* They do not take the log's room either. */
	assert_int_equal(journal_open(&j, JOURNAL_INGEST, &o), ERR_OK);
	assert_int_equal(journals_append(j, 2500, 1000), ERR_OK);
	journal_close(j);
	assert_int_equal(journal_open(&j, JOURNAL_FORWARD, &o), ERR_OK);
	assert_int_equal(journal_routes_set(j, one_route, 1, &acked), ERR_OK);
	assert_int_equal(journals_drain(j, 200), ERR_OK);
	for (uint64_t seq = 1; seq <= 100; seq++)
		assert_int_equal(journal_discard(j, seq, "r"), ERR_OK);
	assert_int_equal(bury(j, 101, 20000), ERR_OK);
	journal_close(j);
}

static void
full_disk_is_a_full_journal_and_truncating_works(void **state)
{
	int status = journals_wait(journals_fork(fill_a_small_disk, *state));

	if (status == 77) {
		print_message("SKIPPED: no mount namespace (run as root)\n");
		skip();
	}
	assert_int_equal(status, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tmpdir_setup, tmpdir_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(full_journal_says_full_and_loses_nothing),
	    TEST(who_only_looks_sees_the_same_room_and_takes_none),
	    TEST(truncating_a_full_journal_gives_room_at_once),
	    TEST(mixed_sizes_stay_within_the_map),
	    TEST(dead_letters_do_not_eat_the_logs_room),
	    TEST(subscriptions_are_saved_on_a_full_journal),
	    TEST(max_bytes_can_be_lowered_and_raised),
	    TEST(map_that_cannot_be_is_refused),
	    TEST(preallocated_journal_has_its_blocks),
	    TEST(pinned_reader_costs_room_but_nothing_else),
	    TEST(map_grown_by_another_process_is_adopted),
	    TEST(appender_killed_beside_a_drainer_leaves_no_hole),
	    TEST(drainer_killed_beside_an_appender_leaves_the_rest),
	    TEST(full_disk_is_a_full_journal_and_truncating_works),
	    TEST(full_disk_lets_the_oldest_and_the_newest_be_dropped),
	    TEST(pinned_reader_does_not_make_us_drop_ever_more),
	    TEST(lowered_dead_max_bytes_keeps_the_letters_there_are),
	};
	return cmocka_run_group_tests_name("journal: room", tests, NULL, NULL);
}
