/* SPDX-License-Identifier: Apache-2.0 */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/journals.h"
#include "../lib/records.h"
#include "../lib/telemetry.h"
#include "../lib/tmpdir.h"
#include "err.h"
#include "now.h"

static const char *const one_route[] = {"r"};

/* ---- appending and reading ---- */

static void
numbers_begin_at_one_and_are_dense(void **state)
{
	struct journal *j = journals_open(*state, JOURNAL_INGEST);

	assert_int_equal(journals_next(j), 1);
	assert_int_equal(journals_append(j, 3, 10), ERR_OK);
	assert_int_equal(journals_next(j), 4);
	assert_int_equal(journals_append(j, 2000, 100), ERR_OK);
	assert_int_equal(journals_check_dense(j, 1), 2004);
	journal_close(j);
}

static void
numbers_go_on_after_reopening(void **state)
{
	struct journal *j = journals_open(*state, JOURNAL_INGEST);

	assert_int_equal(journals_append(j, 3, 10), ERR_OK);
	journal_close(j);
	j = journals_open(*state, JOURNAL_INGEST);
	assert_int_equal(journals_append(j, 1, 10), ERR_OK);
	assert_int_equal(journals_check_dense(j, 1), 5);
	journal_close(j);
}

static void
numbers_go_on_after_running_empty(void **state)
{
	struct journal *j = journals_open(*state, JOURNAL_INGEST);
	struct journal_batch b = {0};
	uint64_t acked;

	assert_int_equal(journals_append(j, 3, 10), ERR_OK);
	journal_close(j);
	j = journals_open(*state, JOURNAL_FORWARD);
	assert_int_equal(journal_routes_set(j, one_route, 1, &acked), ERR_OK);
	assert_int_equal(journals_drain(j, 3), ERR_OK);
	assert_int_equal(journal_read(j, 1, &b), ERR_NOTFOUND);
	assert_int_equal(b.end_seq, 4);
	journal_close(j);
	j = journals_open(*state, JOURNAL_INGEST);
	assert_int_equal(journals_next(j), 4);
	assert_int_equal(journals_append(j, 1, 10), ERR_OK);
	assert_int_equal(journal_read(j, 1, &b), ERR_OK);
	assert_int_equal(b.base_seq, 4);
	journal_batch_fini(&b);
	journal_close(j);
}

static void
every_field_comes_back(void **state)
{
	for (int codec = BATCH_CODEC_NONE; codec <= BATCH_CODEC_ZSTD; codec++) {
		struct journal_options o = journals_options(*state);
		struct journal_batch b = {0};
		struct record_decoder *d;
		struct record in, out;
		struct journal *j;
		size_t offset = 0;
		uint64_t seq;

		o.codec = (enum batch_codec)codec;
		assert_int_equal(journal_open(&j, JOURNAL_INGEST, &o), ERR_OK);
		seq = journals_next(j);
		records_full(&in);
		assert_int_equal(journal_stage(j, &in), ERR_OK);
		assert_int_equal(journal_commit(j), ERR_OK);
		assert_int_equal(journal_read(j, seq, &b), ERR_OK);
		assert_int_equal(b.header.count, 1);
		assert_true(b.header.real_ms > 0 && b.header.boot_ms > 0);
		assert_int_equal(record_decoder_open(&d), ERR_OK);
		assert_int_equal(
		    record_decode(d, b.body.data, b.body.size, &offset, &out), ERR_OK);
		records_assert_equal(&in, &out);
		record_decoder_close(d);
		journal_batch_fini(&b);
		journal_close(j);
	}
}

static void
staged_is_counted_and_can_be_forgotten(void **state)
{
	struct journal *j = journals_open(*state, JOURNAL_INGEST);

	assert_int_equal(journal_staged_count(j), 0);
	journals_stage(j, 500, 1000);
	assert_int_equal(journal_staged_count(j), 500);
	assert_true(journal_staged_bytes(j) > 500 * 1000);
	journal_unstage(j);
	assert_int_equal(journal_staged_count(j), 0);
	assert_int_equal(journal_staged_bytes(j), 0);
	assert_int_equal(journal_commit(j), ERR_OK);
	assert_int_equal(journals_next(j), 1);
	assert_int_equal(journals_append(j, 1, 10), ERR_OK);
	assert_int_equal(journal_staged_count(j), 0);
	assert_int_equal(journals_check_dense(j, 1), 2);
	journal_close(j);
}

static void
batches_are_bounded_and_a_large_record_is_alone(void **state)
{
	struct journal *j = journals_open(*state, JOURNAL_INGEST);
	struct journal_batch b = {0};
	uint64_t seq = 1;

	journals_stage(j, 200, 1000);
	journals_stage(j, 1, 300000);
	journals_stage(j, 1, 10);
	assert_int_equal(journal_commit(j), ERR_OK);
	while (journal_read(j, seq, &b) == ERR_OK) {
		assert_true(b.header.count == 1 || b.body.size <= BATCH_BODY_BYTES);
		if (b.body.size > BATCH_BODY_BYTES)
			assert_int_equal(b.base_seq, 201);
		seq = b.end_seq;
	}
	assert_int_equal(seq, 203);
	journal_batch_fini(&b);
	journal_close(j);
}

static uint64_t
used_bytes(struct journal *j)
{
	struct journal_stat s;
	uint64_t used;

	assert_int_equal(journal_stat(j, &s), ERR_OK);
	used = s.used_bytes;
	journal_stat_fini(&s);
	return used;
}

/* The same each time. A marker behind them ends their batch before the commit. */
static uint64_t
telemetry_bytes(struct journal *j, size_t markers)
{
	struct telemetry *t = telemetry_open(100, 1795514400000);
	uint64_t before = used_bytes(j);
	struct telemetry_message m;

	assert_non_null(t);
	for (size_t i = 0; i < 1000; i++) {
		struct record r = {.qos = 1};

		telemetry_next(t, &m);
		r.topic = (struct bytes){m.topic, strlen(m.topic)};
		r.payload = (struct bytes){m.payload, m.payload_size};
		assert_int_equal(journal_stage(j, &r), ERR_OK);
	}
	assert_int_equal(journal_stage_dropped(j, markers), ERR_OK);
	assert_int_equal(journal_commit(j), ERR_OK);
	telemetry_close(t);
	return used_bytes(j) - before;
}

static void
a_commit_of_one_batch_is_compressed_well(void **state)
{
	struct journal_options o = journals_options(*state);
	struct journal *j;
	uint64_t quick, thorough;

	o.codec = BATCH_CODEC_ZSTD;
	assert_int_equal(journal_open(&j, JOURNAL_INGEST, &o), ERR_OK);
	(void)telemetry_bytes(j, 1); /* whatever else an open journal comes to use */
	quick = telemetry_bytes(j, 1);
	thorough = telemetry_bytes(j, 0);
	assert_true(thorough + 4096 <= quick);
	journal_close(j);
}

static void
reading_may_begin_inside_a_batch(void **state)
{
	struct journal *j = journals_open(*state, JOURNAL_INGEST);
	struct journal_batch b = {0};

	assert_int_equal(journals_append(j, 10, 10), ERR_OK);
	assert_int_equal(journals_append(j, 10, 10), ERR_OK);
	assert_int_equal(journal_read(j, 7, &b), ERR_OK);
	assert_int_equal(b.base_seq, 1);
	assert_int_equal(b.end_seq, 11);
	assert_int_equal(journal_read(j, 11, &b), ERR_OK);
	assert_int_equal(b.base_seq, 11);
	assert_int_equal(journal_read(j, 20, &b), ERR_OK);
	assert_int_equal(b.base_seq, 11);
	assert_int_equal(journal_read(j, 21, &b), ERR_NOTFOUND);
	assert_int_equal(journal_read(j, 1000, &b), ERR_NOTFOUND);
	assert_int_equal(b.end_seq, 1000);
	journal_batch_fini(&b);
	journal_close(j);
}

static void
too_large_record_becomes_a_gap_marker(void **state)
{
	struct journal *j = journals_open_sized(*state, JOURNAL_INGEST, 1 << 20);
	struct journal_batch b = {0};
	struct journal_gap gap;

	journals_stage(j, 2, 10);
	journals_stage(j, 2, (1 << 20) / 16 + 1); /* not even encoded */
	journals_stage(j, 1, (1 << 20) / 16 - 4); /* encoded, then taken back */
	journals_stage(j, 1, 10);
	assert_int_equal(journal_staged_count(j), 6);
	assert_int_equal(journal_commit(j), ERR_OK);
	assert_int_equal(journals_next(j), 7);
	assert_int_equal(journal_read(j, 3, &b), ERR_OK);
	assert_int_equal(b.base_seq, 6);
	assert_int_equal(journal_gap_read(j, 1, &gap), ERR_OK);
	assert_int_equal(gap.first_seq, 3);
	assert_int_equal(gap.count, 3);
	assert_int_equal(gap.reason, JOURNAL_GAP_TOO_LARGE);
	assert_true(gap.at_ms > 0);
	assert_int_equal(journal_gap_read(j, 4, &gap), ERR_NOTFOUND);
	journal_batch_fini(&b);
	journal_close(j);
}

static void
neighbouring_gaps_merge_over_commits(void **state)
{
	struct journal *j = journals_open_sized(*state, JOURNAL_INGEST, 1 << 20);
	struct journal_batch b = {0};
	struct journal_gap gap;

	assert_int_equal(journals_append(j, 1, 1 << 20), ERR_OK);
	assert_int_equal(journals_append(j, 2, 1 << 20), ERR_OK);
	assert_int_equal(journals_append(j, 1, 10), ERR_OK);
	assert_int_equal(journals_append(j, 1, 1 << 20), ERR_OK);
	assert_int_equal(journal_gap_read(j, 1, &gap), ERR_OK);
	assert_int_equal(gap.first_seq, 1);
	assert_int_equal(gap.count, 3);
	assert_int_equal(journal_gap_read(j, 2, &gap), ERR_OK);
	assert_int_equal(gap.first_seq, 5);
	assert_int_equal(gap.count, 1);
	/* Behind the last record there is only a gap: nothing is owed up to the end. */
	assert_int_equal(journal_read(j, 5, &b), ERR_NOTFOUND);
	assert_int_equal(b.end_seq, 6);
	journal_batch_fini(&b);
	journal_close(j);
}

/* ---- opening ---- */

static void
looking_makes_nothing(void **state)
{
	struct journal_options o = journals_options(*state);
	struct journal *j = NULL;
	char path[4096];

	assert_int_equal(journal_open(&j, JOURNAL_LOOK, &o), ERR_NOTFOUND);
	assert_null(j);
	(void)snprintf(path, sizeof(path), "%s/lock.mdb", (char *)*state);
	assert_int_equal(access(path, F_OK), -1);
	o.directory = "/nonexistent/tidegate";
	assert_int_equal(journal_open(&j, JOURNAL_LOOK, &o), ERR_NOTFOUND);
	assert_int_equal(journal_open(&j, JOURNAL_INGEST, &o), ERR_NOTFOUND);
	assert_int_equal(journal_adopt(*state, "x"), ERR_NOTFOUND);
	(void)snprintf(path, sizeof(path), "%s/data.mdb", (char *)*state);
	assert_int_equal(access(path, F_OK), -1);
}

static void
looking_sees_what_the_writer_was_configured_with(void **state)
{
	struct journal *j = journals_open_sized(*state, JOURNAL_INGEST, 3 << 20);
	struct journal_stat s;

	assert_int_equal(journals_append(j, 3, 10), ERR_OK);
	journal_close(j);
	j = journals_open(*state, JOURNAL_LOOK);
	assert_int_equal(journals_check_dense(j, 1), 4);
	assert_int_equal(journal_stat(j, &s), ERR_OK);
	assert_int_equal(s.max_bytes, 3 << 20);
	assert_int_equal(s.records, 3);
	journal_stat_fini(&s);
	journal_close(j);
}

static int
open_or_say(void *context)
{
	struct journal_options *o = context;
	struct journal *j;
	int rc = journal_open(&j, JOURNAL_INGEST, o);

	journal_close(j);
	return -rc;
}

static void
second_holder_of_a_role_is_refused(void **state)
{
	struct journal_options o = journals_options(*state);
	struct journal *j;
	pid_t pid;

	j = journals_open(*state, JOURNAL_INGEST);
	pid = journals_fork(open_or_say, &o);
	assert_int_equal(journals_wait(pid), -ERR_LOCKED);
	assert_int_equal(journal_adopt(*state, "test"), ERR_LOCKED);
	journal_close(j);
	pid = journals_fork(open_or_say, &o);
	assert_int_equal(journals_wait(pid), 0);
}

struct waiter {
	struct journal_options options;
	int go[2];
};

static int
open_when_told(void *context)
{
	struct waiter *w = context;

	journals_await(w->go[0]);
	return open_or_say(&w->options);
}

/* Has the process the file open? */
static bool
has_open(pid_t pid, const char *name)
{
	for (int fd = 0; fd < 64; fd++) {
		char link[64], path[4096];
		ssize_t n;

		(void)snprintf(link, sizeof(link), "/proc/%d/fd/%d", (int)pid, fd);
		n = readlink(link, path, sizeof(path) - 1);
		if (n <= 0)
			continue;
		path[n] = '\0';
		if (strstr(path, name) != NULL)
			return true;
	}
	return false;
}

/* Forked before the journal is opened: a fork shares the lock. */
static void
lock_is_waited_for(void **state)
{
	struct waiter w = {.options = journals_options(*state)};
	int64_t end_ms = now_monotonic_ms() + 60000;
	struct journal *j;
	pid_t pid;

	w.options.lock_wait_ms = 50000;
	assert_int_equal(pipe(w.go), 0);
	pid = journals_fork(open_when_told, &w);
	j = journals_open(*state, JOURNAL_INGEST);
	journals_signal(w.go[1]);
	while (!has_open(pid, "ingest.lock"))
		assert_true(now_monotonic_ms() < end_ms);
	journal_close(j);
	assert_int_equal(journals_wait(pid), 0);
	(void)close(w.go[0]);
	(void)close(w.go[1]);
}

static void
two_processes_make_one_journal(void **state)
{
	struct journal_options o = journals_options(*state);

	for (int round = 0; round < 10; round++) {
		struct journal *j;
		pid_t pid = journals_fork(open_or_say, &o);
		int rc = journal_open(&j, JOURNAL_FORWARD, &o);

		assert_int_equal(rc, ERR_OK);
		assert_int_equal(journals_wait(pid), 0);
		assert_int_equal(journals_next(j), 1);
		journal_close(j);
		assert_int_equal(tmpdir_teardown(state), 0);
		assert_int_equal(tmpdir_setup(state), 0);
		o.directory = *state;
	}
}

/* ---- identity ---- */

static void
identity_is_kept(void **state)
{
	struct journal *j = journals_open(*state, JOURNAL_INGEST);
	struct journal_identity first = *journal_identity(j);
	static const uint8_t none[16] = {0};
	char text[37];

	assert_string_equal(first.gateway_id, "test");
	assert_memory_equal(first.parent, none, 16);
	journal_uuid_text(first.uuid, text);
	assert_int_equal(strlen(text), 36);
	assert_int_equal(text[14], '4');
	assert_non_null(strchr("89ab", text[19]));
	journal_close(j);
	j = journals_open(*state, JOURNAL_LOOK);
	assert_memory_equal(journal_identity(j)->uuid, first.uuid, 16);
	journal_close(j);
}

static void
another_gateways_journal_is_refused_until_adopted(void **state)
{
	struct journal_options o = journals_options(*state);
	struct journal *j = journals_open(*state, JOURNAL_INGEST);
	struct journal_identity first = *journal_identity(j);

	assert_int_equal(journals_append(j, 3, 10), ERR_OK);
	journal_close(j);
	o.gateway_id = "other";
	assert_int_equal(journal_open(&j, JOURNAL_INGEST, &o), ERR_IDENTITY);
	assert_int_equal(journal_open(&j, JOURNAL_FORWARD, &o), ERR_IDENTITY);
	assert_int_equal(journal_open(&j, JOURNAL_LOOK, &o), ERR_OK);
	journal_close(j);
	assert_int_equal(journal_adopt(*state, "other"), ERR_OK);
	assert_int_equal(journal_open(&j, JOURNAL_INGEST, &o), ERR_OK);
	assert_memory_equal(journal_identity(j)->uuid, first.uuid, 16);
	assert_string_equal(journal_identity(j)->gateway_id, "other");
	assert_int_equal(journals_check_dense(j, 1), 4);
	journal_close(j);
}

static void
new_identity_records_the_parent(void **state)
{
	struct journal *j = journals_open(*state, JOURNAL_INGEST);
	struct journal_identity first = *journal_identity(j);

	journal_close(j);
	assert_int_equal(journal_new_identity(*state, NULL), ERR_OK);
	j = journals_open(*state, JOURNAL_INGEST);
	assert_memory_not_equal(journal_identity(j)->uuid, first.uuid, 16);
	assert_memory_equal(journal_identity(j)->parent, first.uuid, 16);
	assert_string_equal(journal_identity(j)->gateway_id, "test");
	journal_close(j);
}

/* ---- subscriptions ---- */

static void
subscriptions_come_back(void **state)
{
	char a[] = "a/#", b[] = "b/+/c";
	struct journal_subscription list[] = {{1, a}, {7, b}};
	struct journal_subscriptions in = {.list = list, .count = 2, .next_id = 8}, out;
	struct journal *j = journals_open(*state, JOURNAL_INGEST);

	assert_int_equal(journal_subscriptions_load(j, &out), ERR_OK);
	assert_int_equal(out.count, 0);
	assert_int_equal(out.next_id, 1);
	journal_subscriptions_fini(&out);
	assert_int_equal(journal_subscriptions_save(j, &in), ERR_OK);
	journal_close(j);
	j = journals_open(*state, JOURNAL_INGEST);
	assert_int_equal(journal_subscriptions_load(j, &out), ERR_OK);
	assert_int_equal(out.count, 2);
	assert_int_equal(out.next_id, 8);
	assert_int_equal(out.list[0].id, 1);
	assert_string_equal(out.list[0].filter, "a/#");
	assert_int_equal(out.list[1].id, 7);
	assert_string_equal(out.list[1].filter, "b/+/c");
	journal_subscriptions_fini(&out);
	journal_close(j);
}

/* ---- what time and people do to it ---- */

/* Large messages at every place among others: each place must not keep one's room. */
static void
large_messages_leave_no_memory_behind(void **state)
{
	const size_t large = (size_t)8 << 20, small = 60000;
	struct journal *j =
	    journals_open_sized(*state, JOURNAL_INGEST, (uint64_t)256 << 20);
	struct mallinfo2 before = mallinfo2(), after;

	for (int place = 0; place < 30; place++) {
		journals_stage(j, place, small);
		journals_stage(j, 1, large);
		journals_stage(j, 1, small);
		journal_unstage(j);
	}
	after = mallinfo2(); /* all 0 with the address sanitizer */
	assert_in_range(after.uordblks + after.hblkhd - before.uordblks - before.hblkhd,
	    0, 4 * large);
	journal_close(j);
}

/* One that does not fit behind the one before must not double that one's room. */
static void
records_take_the_room_of_their_own_batch(void **state)
{
	static uint8_t noise[200000];
	struct journal_options o = journals_options(*state);
	struct record r = {.topic = {"n", 1}, .payload = {noise, sizeof(noise)}};
	uint64_t seed = records_seed();
	struct mallinfo2 before, after;
	struct journal *j;

	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (uint8_t)records_random_number(&seed);
	o.codec = BATCH_CODEC_ZSTD;
	assert_int_equal(journal_open(&j, JOURNAL_INGEST, &o), ERR_OK);
	before = mallinfo2();
	for (size_t i = 0; i < 32; i++)
		assert_int_equal(journal_stage(j, &r), ERR_OK);
	after = mallinfo2(); /* all 0 with the address sanitizer */
	assert_in_range(after.uordblks + after.hblkhd - before.uordblks - before.hblkhd,
	    0, 32 * 2 * sizeof(noise));
	journal_close(j);
}

static void
what_is_no_longer_there_is_not_written(void **state)
{
	static const char *const names[] = {"lock.mdb", "data.mdb"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct journal *j = journals_open(*state, JOURNAL_INGEST);
		char path[4096];
		FILE *f;

		(void)snprintf(
		    path, sizeof(path), "%s/%s", (const char *)*state, names[i]);
		assert_int_equal(journals_append(j, 1, 10), ERR_OK);
		assert_int_equal(unlink(path), 0);
		assert_int_equal(journals_append(j, 1, 10), ERR_IO);
		f = fopen(path, "we");
		assert_non_null(f);
		assert_int_equal(fclose(f), 0);
		assert_int_equal(journals_append(j, 1, 10), ERR_IO);
		journal_close(j);
		assert_int_equal(unlink(path), 0);
		j = journals_open(*state, JOURNAL_INGEST);
		assert_int_equal(journals_append(j, 1, 10), ERR_OK);
		journal_close(j);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tmpdir_setup, tmpdir_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(numbers_begin_at_one_and_are_dense),
	    TEST(numbers_go_on_after_reopening),
	    TEST(numbers_go_on_after_running_empty),
	    TEST(every_field_comes_back),
	    TEST(staged_is_counted_and_can_be_forgotten),
	    TEST(batches_are_bounded_and_a_large_record_is_alone),
	    TEST(a_commit_of_one_batch_is_compressed_well),
	    TEST(reading_may_begin_inside_a_batch),
	    TEST(too_large_record_becomes_a_gap_marker),
	    TEST(neighbouring_gaps_merge_over_commits),
	    TEST(looking_makes_nothing),
	    TEST(looking_sees_what_the_writer_was_configured_with),
	    TEST(second_holder_of_a_role_is_refused),
	    TEST(lock_is_waited_for),
	    TEST(two_processes_make_one_journal),
	    TEST(identity_is_kept),
	    TEST(another_gateways_journal_is_refused_until_adopted),
	    TEST(new_identity_records_the_parent),
	    TEST(subscriptions_come_back),
	    TEST(large_messages_leave_no_memory_behind),
	    TEST(records_take_the_room_of_their_own_batch),
	    TEST(what_is_no_longer_there_is_not_written),
	};
	return cmocka_run_group_tests_name("journal", tests, NULL, NULL);
}
