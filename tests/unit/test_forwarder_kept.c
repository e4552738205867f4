/* SPDX-License-Identifier: Apache-2.0 */
/* What cannot go on its way: dead letters, and a journal that is damaged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <libdeflate.h>

#include "../lib/forward_bench.h"
#include "../lib/tmpdir.h"
#include "err.h"

/* ---- dead letters ---- */

static void
what_no_route_matches_is_buried(void **state)
{
	struct bench b;
	uint64_t seq = 0;

	bench_init(&b, state);
	bench_add_route(&b, "some", "dev/#", "t");
	bench_fill(&b, "dev", 1, 500, 10);
	bench_fill(&b, "else", 501, 540, 10);
	bench_fill(&b, "dev", 541, 1000, 10);
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_int_equal(b.sink.landed_count, 960);
	assert_int_equal(
	    bench_dead_letters(&b, FORWARDER_UNROUTED, DEAD_NO_ROUTE, &seq), 40);
	assert_int_equal(seq, 540);
	assert_int_equal(bench_stat_of(&b, 1).dead_count, 40);
	assert_string_equal(bench_stat_of(&b, 1).name, FORWARDER_UNROUTED);
	bench_assert_journal_empty(&b);
	bench_finish(&b);
}

/* Runs in which each record has a route are passed at once; the others must not be. */
static void
those_without_a_route_are_found_in_a_long_backlog(void **state)
{
	struct bench b;
	uint64_t seq = 0;
	size_t wanted = 0;

	bench_init(&b, state);
	bench_add_route(&b, "some", "dev/#", "t");
	for (int n = 1; n <= 60; n++) {
		bench_fill(&b, "dev", n * 500 - 499, n * 500, 10);
		if (n % 7 == 0 || n == 60) {
			bench_fill_one(&b, "else/1", 10);
			wanted++;
		}
	}
	b.sink.batches_per_poll = 3;
	bench_start(&b);
	bench_run_to_the_end(&b);
	bench_assert_landed(&b, "t", 1, 30000, 0, 1);
	assert_int_equal(
	    bench_dead_letters(&b, FORWARDER_UNROUTED, DEAD_NO_ROUTE, &seq), wanted);
	assert_int_equal(seq, 30000 + wanted);
	bench_assert_journal_empty(&b);
	bench_finish(&b);
}

/*
 * What a route owes is owed to it under the configuration of the day: one that waited
 * for a route which no longer wants it, or is gone, has not been passed by yet.
 */
static void
what_waits_for_a_route_that_changes_is_buried(void **state)
{
	struct bench b;
	uint64_t seq = 0;

	bench_init(&b, state);
	bench_add_route(&b, "changes", "dev/#", "t");
	bench_add_route(&b, "goes", "else/#", "u");
	bench_fill(&b, "dev", 1, 300, 10);
	bench_fill(&b, "else", 301, 600, 10);
	b.sink.is_down = true;
	bench_start(&b);
	bench_run_ms(&b, 5000);
	fake_sink_forget(&b.sink);
	bench_stop(&b);

	b.filters[0][0] = bench_text("other/#");
	b.settings.route_count = 1;
	b.sink.is_down = false;
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_int_equal(b.sink.landed_count, 0);
	assert_int_equal(
	    bench_dead_letters(&b, FORWARDER_UNROUTED, DEAD_NO_ROUTE, &seq), 600);
	assert_int_equal(seq, 600);
	bench_assert_journal_empty(&b);
	bench_finish(&b);
}

static void
no_room_for_dead_letters_holds_what_is_owed(void **state)
{
	struct bench b;
	uint64_t seq = 0;
	size_t before;

	bench_init(&b, state);
	bench_add_route(&b, "some", "dev/#", "t");
	b.dead_max_bytes = 16384;
	for (int i = 0; i < 20; i++)
		bench_fill_one(&b, "else/1", 3000);
	bench_fill(&b, "dev", 1, 100, 10);
	bench_start(&b);
	bench_run_ms(&b, 120000);
	/* The route is not disturbed; the journal keeps what could not be buried. */
	bench_assert_landed(&b, "t", 1, 100, 0, 1);
	assert_true(bench_stat_of(&b, 1).is_held);
	before = bench_dead_letters(&b, FORWARDER_UNROUTED, DEAD_NO_ROUTE, &seq);
	assert_in_range(before, 1, 19);
	assert_int_equal(bench_stat_journal(&b).acked_seq, before);
	bench_stop(&b);
	b.dead_max_bytes = 1 << 20;
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_int_equal(
	    bench_dead_letters(&b, FORWARDER_UNROUTED, DEAD_NO_ROUTE, &seq), 20);
	assert_int_equal(b.sink.landed_count, 100);
	bench_assert_journal_empty(&b);
	bench_finish(&b);
}

static void
no_room_for_a_refused_one_holds_its_route(void **state)
{
	struct bench b;

	bench_init(&b, state);
	bench_add_route(&b, "all", "#", "t");
	b.dead_max_bytes = 1;
	bench_fill_with_one_large(&b, 500, 250);
	b.sink.value_max = 4000;
	bench_start(&b);
	bench_run_ms(&b, 300000);
	assert_true(bench_stat_of(&b, 0).is_held);
	assert_int_equal(b.sink.landed_count, 249);
	assert_int_equal(bench_stat_of(&b, 0).acked_seq, 249);
	/* It was judged once; waiting for room does not send it again. */
	assert_true(b.sink.reopen_count < 5);
	b.sink.value_max = 0;
	bench_stop(&b);
	bench_start(&b);
	bench_run_to_the_end(&b);
	bench_assert_landed(&b, "t", 1, 500, 0, 1);
	bench_finish(&b);
}

/* ---- damage ---- */

/* The journal's file, whole. The caller frees it. */
static uint8_t *
load_file(const struct bench *b, size_t *size)
{
	char path[4096];
	uint8_t *data;
	FILE *file;

	snprintf(path, sizeof(path), "%s/data.mdb", b->dir);
	file = fopen(path, "rb");
	assert_non_null(file);
	assert_int_equal(fseek(file, 0, SEEK_END), 0);
	*size = (size_t)ftell(file);
	rewind(file);
	data = malloc(*size);
	assert_non_null(data);
	assert_int_equal(fread(data, 1, *size, file), *size);
	fclose(file);
	return data;
}

static void
patch_file(const struct bench *b, size_t at, const void *data, size_t size)
{
	char path[4096];
	FILE *file;

	snprintf(path, sizeof(path), "%s/data.mdb", b->dir);
	file = fopen(path, "r+b");
	assert_non_null(file);
	assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
	assert_int_equal(fwrite(data, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
}

/* Where the stored form of a payload lies. */
static size_t
place_in_file(const struct bench *b, const char *payload)
{
	size_t size;
	uint8_t *data = load_file(b, &size);
	uint8_t *at = memmem(data, size, payload, strlen(payload));

	assert_non_null(at);
	size = (size_t)(at - data);
	free(data);
	return size;
}

/* Records 1 to count, a hundred to a batch, not compressed. */
static void
fill_batches(const struct bench *b, int count)
{
	struct journal *j = bench_open_journal(b, JOURNAL_INGEST);
	char payload[64];

	for (int n = 1; n <= count; n++) {
		snprintf(payload, sizeof(payload), "%d is the number", n);
		bench_stage(j, "dev/1", payload, strlen(payload));
		if (n % 100 == 0)
			assert_int_equal(journal_commit(j), 0);
	}
	journal_close(j);
}

static void
assert_damaged(const struct bench *b, uint64_t first_seq, uint64_t count)
{
	struct journal_stat stat;
	struct journal_gap gap;

	assert_int_equal(journal_gap_read(b->journal, 1, &gap), 0);
	assert_int_equal(gap.first_seq, first_seq);
	assert_int_equal(gap.count, count);
	assert_int_equal(gap.reason, JOURNAL_GAP_DAMAGED);
	assert_int_equal(journal_stat(b->journal, &stat), 0);
	assert_int_equal(stat.damaged_count, 1);
	journal_stat_fini(&stat);
}

static void
a_damaged_batch_is_set_aside_and_the_rest_goes(void **state)
{
	struct bench b;

	bench_init(&b, state);
	bench_add_route(&b, "all", "#", "t");
	bench_add_route(&b, "none", "nothing", "t2");
	b.codec = BATCH_CODEC_NONE;
	fill_batches(&b, 1000);
	patch_file(&b, place_in_file(&b, "450 is the number") + 4, "I", 1);
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_int_equal(b.sink.landed_count, 900);
	assert_false(bench_stat_of(&b, 0).is_held);
	assert_damaged(&b, 401, 100);
	bench_assert_journal_empty(&b);
	bench_stop(&b);
	bench_start(&b); /* the gap is not met again */
	bench_run_to_the_end(&b);
	assert_int_equal(b.sink.landed_count, 900);
	assert_damaged(&b, 401, 100);
	bench_finish(&b);
}

static void
a_damaged_batch_that_there_is_no_room_for_holds_those_who_reach_it(void **state)
{
	struct bench b;
	size_t at;

	bench_init(&b, state);
	bench_add_route(&b, "all", "#", "t");
	b.codec = BATCH_CODEC_NONE;
	b.dead_max_bytes = 1;
	fill_batches(&b, 1000);
	at = place_in_file(&b, "450 is the number") + 4;
	patch_file(&b, at, "I", 1);
	bench_start(&b);
	bench_run_ms(&b, 300000);
	bench_assert_landed(&b, "t", 1, 400, 0, 1);
	assert_true(bench_stat_of(&b, 0).is_held);
	assert_non_null(strstr(bench_stat_of(&b, 0).held_why, "sequences 401 to 500"));
	/* The other one is to look only where every route has been. */
	assert_false(bench_stat_of(&b, 1).is_held);
	assert_int_equal(bench_stat_of(&b, 1).acked_seq, 400);
	assert_int_equal(bench_stat_journal(&b).first_seq, 401);
	assert_int_equal(bench_stat_journal(&b).records, 600);
	assert_true(forwarder_timeout_ms(b.forwarder, b.now_ms) > 0);
	/* As soon as it can be read again, all goes on. */
	patch_file(&b, at, "i", 1);
	bench_run_to_the_end(&b);
	bench_assert_landed(&b, "t", 1, 1000, 0, 1);
	assert_false(bench_stat_of(&b, 0).is_held);
	bench_assert_journal_empty(&b);
	bench_finish(&b);
}

/* The first page of the batch that has this payload says that it has a page more. */
static void
bend_first_page(const struct bench *b, const char *payload)
{
	size_t size, page = place_in_file(b, payload) / 4096;
	uint8_t *data = load_file(b, &size), *head = data + page * 4096;

	while (head[10] != 4 || memcmp(head, &page, sizeof(page)) != 0) {
		page--;
		head -= 4096;
	}
	head[12]++;
	patch_file(b, page * 4096, head, 16);
	free(data);
}

static void
what_is_not_safe_to_delete_is_delivered_once_and_recorded(void **state)
{
	struct bench b;

	bench_init(&b, state);
	bench_add_route(&b, "all", "#", "t");
	b.codec = BATCH_CODEC_NONE;
	fill_batches(&b, 1000);
	bend_first_page(&b, "450 is the number");
	for (int i = 0; i < 2; i++) {
		bench_start(&b);
		bench_run_ms(&b, 10000);
		bench_assert_landed(&b, "t", 1, 1000, 0, 1);
		assert_true(forwarder_is_idle(b.forwarder));
		assert_false(forwarder_is_empty(b.forwarder));
		assert_int_equal(forwarder_journal_error(b.forwarder), ERR_CORRUPT);
		assert_int_equal(forwarder_checkpoint(b.forwarder), 0);
		assert_true(forwarder_timeout_ms(b.forwarder, b.now_ms) > 0);
		assert_int_equal(bench_stat_of(&b, 0).acked_seq, 1000);
		assert_int_equal(bench_stat_journal(&b).batches, 10);
		bench_stop(&b); /* the second one has nothing to send */
	}
	assert_int_equal(b.sink.landed_count, 1000);
	bench_finish(&b);
}

static void
put_le32(uint8_t *to, uint32_t n)
{
	for (int i = 0; i < 4; i++)
		to[i] = (uint8_t)(n >> (8 * i));
}

/*
 * Make the record with this payload undecodable, in a batch whose checksum is right all
 * the same: 0xc1 is never used in MessagePack.
 */
static void
spoil_record(const struct bench *b, const char *payload, uint64_t base_seq)
{
	size_t size, record = place_in_file(b, payload), header = record;
	uint8_t *data = load_file(b, &size);
	uint8_t wanted[8] = {0};
	uint32_t body_bytes = 0;

	put_le32(wanted, (uint32_t)base_seq);
	while (
	    memcmp(data + header + 16, wanted, 8) != 0 || data[header] != BATCH_VERSION)
		header--;
	for (int i = 3; i >= 0; i--)
		body_bytes = body_bytes << 8 | data[header + 12 + (size_t)i];
	assert_true(record < header + BATCH_HEADER_BYTES + body_bytes);
	data[record - 2] = 0xc1; /* in place of "bin 8" */
	put_le32(data + header + 8, 0);
	put_le32(data + header + 8,
	    libdeflate_crc32(0, data + header, BATCH_HEADER_BYTES + body_bytes));
	patch_file(b, header, data + header, BATCH_HEADER_BYTES + body_bytes);
	free(data);
}

static void
a_record_that_cannot_be_decoded_is_set_aside_with_those_behind_it(void **state)
{
	struct bench b;

	bench_init(&b, state);
	bench_add_route(&b, "all", "#", "t");
	b.codec = BATCH_CODEC_NONE;
	fill_batches(&b, 1000);
	spoil_record(&b, "450 is the number", 401);
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_int_equal(b.sink.landed_count, 949);
	assert_false(bench_stat_of(&b, 0).is_held);
	assert_damaged(&b, 450, 51);
	bench_assert_journal_empty(&b);
	bench_finish(&b);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tmpdir_setup, tmpdir_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(what_no_route_matches_is_buried),
	    TEST(those_without_a_route_are_found_in_a_long_backlog),
	    TEST(what_waits_for_a_route_that_changes_is_buried),
	    TEST(no_room_for_dead_letters_holds_what_is_owed),
	    TEST(no_room_for_a_refused_one_holds_its_route),
	    TEST(a_damaged_batch_is_set_aside_and_the_rest_goes),
	    TEST(a_damaged_batch_that_there_is_no_room_for_holds_those_who_reach_it),
	    TEST(what_is_not_safe_to_delete_is_delivered_once_and_recorded),
	    TEST(a_record_that_cannot_be_decoded_is_set_aside_with_those_behind_it),
	};

	return cmocka_run_group_tests_name("forwarder_kept", tests, NULL, NULL);
}
