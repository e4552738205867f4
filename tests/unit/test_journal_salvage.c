/* SPDX-License-Identifier: Apache-2.0 */
/* Salvage: what can be read of a damaged journal goes into a new one, and no more. */
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

#include "../lib/damage.h"
#include "../lib/journals.h"
#include "../lib/tmpdir.h"
#include "err.h"
#include "journal/pages.h"

#define PAGE_BYTES 4096
#define FLAGS_AT   10

/* Of the journal that damage_make() makes: the gaps are one record each. */
#define ACKED     30
#define FIRST_GAP 641
#define NEXT      1568

struct salvage {
	char from[4096];
	char into[4096];
	struct buffer file;
	struct pages pages;
	struct journal_salvaged done;
};

static void
begin(struct salvage *s, void **state)
{
	*s = (struct salvage){0};
	(void)snprintf(s->from, sizeof(s->from), "%s/from", (char *)*state);
	(void)snprintf(s->into, sizeof(s->into), "%s/into", (char *)*state);
	assert_int_equal(mkdir(s->from, 0700), 0);
	assert_int_equal(mkdir(s->into, 0700), 0);
	assert_int_equal(damage_make(s->from), ERR_OK);
	damage_load(s->from, &s->file);
}

static const struct pages_meta *
meta_of(struct salvage *s)
{
	static struct pages_meta metas[2];
	size_t i;

	for (i = 0; i < 2; i++)
		memcpy(&metas[i], s->file.data + i * PAGE_BYTES + PAGES_HEADER_BYTES,
		    sizeof(metas[i]));
	return &metas[metas[0].txn_id < metas[1].txn_id];
}

/* The root page of a named database. */
static size_t
root_of(struct salvage *s, const char *name)
{
	const uint8_t *page = s->file.data + meta_of(s)->main.root * PAGE_BYTES;
	const uint8_t *at = NULL;
	uint8_t wanted[16] = {0, 0, 2, 0, (uint8_t)strlen(name), 0};
	size_t root;

	/* The end of a node's head: flags, length of the key; then the key. */
	memcpy(wanted + 6, name, strlen(name));
	at = memmem(page, PAGE_BYTES, wanted + 2, 4 + strlen(name));
	assert_non_null(at);
	memcpy(&root, at + 4 + strlen(name) + 40, sizeof(root));
	return root;
}

static void
zero_page(struct salvage *s, size_t number)
{
	memset(s->file.data + number * PAGE_BYTES, 0, PAGE_BYTES);
}

static int
salvage(struct salvage *s)
{
	struct buffer after = {0};
	int rc;

	damage_store(s->from, &s->file);
	rc = journal_salvage(s->from, s->into, &s->done);
	/* The damaged one is not changed. */
	damage_load(s->from, &after);
	assert_int_equal(after.size, s->file.size);
	assert_memory_equal(after.data, s->file.data, after.size);
	buffer_fini(&after);
	return rc;
}

static struct journal *
look(const char *directory)
{
	struct journal_options o = damage_options(directory);
	struct journal *j;

	assert_int_equal(journal_open(&j, JOURNAL_LOOK, &o), ERR_OK);
	return j;
}

struct content {
	uint64_t records;
	uint64_t in_gaps; /* by markers "damaged" */
	struct journal_stat stat;
};

/*
 * Each record is what it was; and of the numbers behind those that are acknowledged each
 * is in a record or in a gap, and in one of them only.
 */
static void
read_new(struct salvage *s, struct content *c)
{
	struct record_decoder *d;
	struct journal_batch b = {0};
	struct journal_gap gap = {0};
	struct journal *j = look(s->into);
	uint8_t *seen;
	uint64_t seq;

	*c = (struct content){0};
	assert_int_equal(journal_stat(j, &c->stat), ERR_OK);
	seen = calloc(1, c->stat.next_seq + 1);
	assert_non_null(seen);
	assert_int_equal(record_decoder_open(&d), ERR_OK);
	for (seq = 1; journal_read(j, seq, &b) == ERR_OK; seq = b.end_seq) {
		size_t at = 0;

		record_decoder_reset(d);
		for (uint64_t n = b.base_seq; n < b.end_seq; n++) {
			struct record r, wanted;

			assert_int_equal(
			    record_decode(d, b.body.data, b.body.size, &at, &r),
			    ERR_OK);
			damage_record(n, &wanted);
			assert_int_equal(r.payload.size, wanted.payload.size);
			assert_memory_equal(
			    r.payload.data, wanted.payload.data, r.payload.size);
			seen[n]++;
			c->records++;
		}
	}
	assert_int_equal(b.end_seq, c->stat.next_seq);
	while (journal_gap_read(j, gap.first_seq + 1, &gap) == ERR_OK) {
		if (gap.reason == JOURNAL_GAP_DAMAGED)
			c->in_gaps += gap.count;
		for (uint64_t n = 0; n < gap.count; n++)
			seen[gap.first_seq + n]++;
	}
	seq = c->stat.route_count > 0 ? c->stat.acked_seq + 1 : c->stat.first_seq;
	for (; seq < c->stat.next_seq; seq++)
		if (seen[seq] != 1)
			fail_msg("%d times: %llu", seen[seq], (unsigned long long)seq);
	assert_int_equal(c->records, s->done.records);
	assert_int_equal(c->in_gaps, s->done.lost_records);
	free(seen);
	record_decoder_close(d);
	journal_batch_fini(&b);
	journal_close(j);
}

static void
end(struct salvage *s, struct content *c)
{
	journal_stat_fini(&c->stat);
	buffer_fini(&s->file);
}

static void
assert_goes_on(const char *directory, uint64_t next)
{
	static const char *const names[] = {"fast", "slow"};
	struct journal_options o = damage_options(directory);
	struct journal *j;
	uint64_t acked[2];

	assert_int_equal(journal_open(&j, JOURNAL_INGEST, &o), ERR_OK);
	assert_int_equal(journals_append(j, 10, 100), ERR_OK);
	assert_int_equal(journals_next(j), next + 10);
	journal_close(j);
	assert_int_equal(journal_open(&j, JOURNAL_FORWARD, &o), ERR_OK);
	assert_int_equal(journal_routes_set(j, names, 2, acked), ERR_OK);
	assert_int_equal(acked[0], 400);
	assert_int_equal(acked[1], ACKED);
	journal_close(j);
}

static void
nothing_is_lost_of_a_whole_one(void **state)
{
	struct journal_subscriptions subscriptions;
	struct journal_identity old, new;
	struct salvage s;
	struct content c;
	struct journal *j;

	begin(&s, state);
	j = look(s.from);
	old = *journal_identity(j);
	journal_close(j);
	assert_int_equal(salvage(&s), ERR_OK);
	read_new(&s, &c);
	assert_true(s.done.has_tree);
	assert_int_equal(s.done.lost_records, 0);
	assert_int_equal(s.done.lost_ranges, 0);
	assert_int_equal(s.done.dead, 2);
	assert_int_equal(c.stat.dead_count, 2);
	assert_int_equal(c.stat.gap_count, 2);
	assert_int_equal(c.stat.next_seq, NEXT);
	assert_int_equal(c.stat.acked_seq, ACKED);
	assert_int_equal(c.stat.first_seq, ACKED + 1);
	assert_int_equal(c.stat.max_bytes, damage_options("").max_bytes);
	j = look(s.into);
	new = *journal_identity(j);
	assert_memory_not_equal(old.uuid, new.uuid, 16);
	assert_memory_equal(old.uuid, new.parent, 16);
	assert_string_equal(old.gateway_id, new.gateway_id);
	assert_string_equal(old.machine_id, new.machine_id);
	assert_int_equal(journal_subscriptions_load(j, &subscriptions), ERR_OK);
	assert_int_equal(subscriptions.count, 1);
	journal_subscriptions_fini(&subscriptions);
	journal_close(j);
	assert_goes_on(s.into, NEXT);
	end(&s, &c);
}

static void
without_a_leaf_its_batches_are_found_page_by_page(void **state)
{
	struct salvage s;
	struct content c;
	size_t root;

	begin(&s, state);
	root = root_of(&s, "log");
	assert_int_equal(s.file.data[root * PAGE_BYTES + FLAGS_AT], 1); /* a branch */
	zero_page(&s, root);
	assert_int_equal(salvage(&s), ERR_OK);
	read_new(&s, &c);
	assert_int_equal(s.done.lost_records, 0);
	assert_int_equal(c.stat.next_seq, NEXT);
	assert_goes_on(s.into, NEXT);
	end(&s, &c);
}

static void
what_was_on_a_page_of_zeros_is_a_gap(void **state)
{
	struct salvage s;
	struct content c;
	size_t lost = 0;

	begin(&s, state);
	/* All leaves that have the last of the small batches, old ones too. */
	for (size_t n = 2; n < s.file.size / PAGE_BYTES; n++) {
		uint8_t *page = s.file.data + n * PAGE_BYTES;
		static const uint8_t key[8] = {0, 0, 0, 0, 0, 0, 5, 251}; /* 1531 */

		if (page[FLAGS_AT] == 2 && memmem(page, PAGE_BYTES, key, 8) != NULL) {
			zero_page(&s, n);
			lost++;
		}
	}
	assert_true(lost > 0);
	assert_int_equal(salvage(&s), ERR_OK);
	read_new(&s, &c);
	assert_in_range(s.done.lost_records, 2, 60);
	assert_true(s.done.lost_ranges >= 1);
	assert_int_equal(c.stat.next_seq, NEXT);
	assert_goes_on(s.into, NEXT);
	end(&s, &c);
}

static void
without_meta_pages_it_is_put_together_from_the_leaves(void **state)
{
	struct salvage s;
	struct content c;

	begin(&s, state);
	zero_page(&s, 0);
	zero_page(&s, 1);
	assert_int_equal(salvage(&s), ERR_OK);
	assert_false(s.done.has_tree);
	read_new(&s, &c);
	assert_int_equal(s.done.lost_records, 0);
	assert_int_equal(c.stat.next_seq, NEXT);
	assert_int_equal(c.stat.acked_seq, ACKED);
	assert_true(c.stat.dead_count >= 2);
	assert_int_equal(c.stat.gap_count, 2);
	assert_goes_on(s.into, NEXT);
	end(&s, &c);
}

static void
without_one_meta_page_the_other_one_helps(void **state)
{
	for (size_t n = 0; n < 2; n++) {
		struct salvage s;
		struct content c;

		begin(&s, state);
		zero_page(&s, n);
		assert_int_equal(salvage(&s), ERR_OK);
		assert_true(s.done.has_tree);
		read_new(&s, &c);
		assert_int_equal(c.stat.next_seq, NEXT);
		assert_int_equal(s.done.lost_records, 0);
		end(&s, &c);
		assert_int_equal(tmpdir_teardown(state), 0);
		assert_int_equal(tmpdir_setup(state), 0);
	}
}

/* Positions and names are gone: all that is there is owed, and the gateway is not known. */
static void
without_its_names_it_has_to_be_adopted(void **state)
{
	struct journal_options o;
	struct journal *j;
	struct salvage s;
	struct content c;

	begin(&s, state);
	for (size_t n = 2; n < s.file.size / PAGE_BYTES; n++)
		if (memmem(s.file.data + n * PAGE_BYTES, PAGE_BYTES, "ack/fast", 8) !=
		    NULL)
			zero_page(&s, n);
	for (size_t n = 2; n < s.file.size / PAGE_BYTES; n++)
		if (memmem(s.file.data + n * PAGE_BYTES, PAGE_BYTES, DAMAGE_GATEWAY,
			strlen(DAMAGE_GATEWAY)) != NULL)
			zero_page(&s, n);
	assert_int_equal(salvage(&s), ERR_OK);
	read_new(&s, &c);
	assert_int_equal(c.stat.route_count, 0);
	assert_int_equal(c.stat.next_seq, NEXT);
	o = damage_options(s.into);
	assert_int_equal(journal_open(&j, JOURNAL_FORWARD, &o), ERR_IDENTITY);
	assert_int_equal(journal_adopt(s.into, DAMAGE_GATEWAY), ERR_OK);
	assert_int_equal(journal_open(&j, JOURNAL_FORWARD, &o), ERR_OK);
	journal_close(j);
	end(&s, &c);
}

/* A batch that was written, but whose commit was not: not even its number was given. */
static void
what_was_never_committed_stays_out(void **state)
{
	struct salvage s;
	struct content c;
	struct batch_coder *coder;
	struct buffer stored = {0}, body = {0};
	struct batch_header h = {.count = 1, .base_seq = NEXT, .real_ms = 1};
	struct record r;
	uint8_t *page;
	uint16_t flags = 4;
	uint32_t pages = 1;
	size_t number;

	begin(&s, state);
	number = meta_of(&s)->last_page + 1;
	page = s.file.data + number * PAGE_BYTES;
	assert_true(s.file.size >= (number + 1) * PAGE_BYTES);
	damage_record(5, &r); /* of another content */
	assert_int_equal(record_encode(&r, &body), ERR_OK);
	assert_int_equal(batch_coder_open(&coder), ERR_OK);
	assert_int_equal(batch_encode(coder, BATCH_CODEC_NONE,
			     (struct bytes){body.data, body.size}, &h, &stored),
	    ERR_OK);
	batch_seal(&h, &stored);
	memset(page, 0, PAGE_BYTES);
	memcpy(page, &number, sizeof(number));
	memcpy(page + FLAGS_AT, &flags, 2);
	memcpy(page + FLAGS_AT + 2, &pages, 4);
	memcpy(page + PAGES_HEADER_BYTES, stored.data, stored.size);
	assert_int_equal(salvage(&s), ERR_OK);
	read_new(&s, &c);
	assert_int_equal(c.stat.next_seq, NEXT);
	batch_coder_close(coder);
	buffer_fini(&stored);
	buffer_fini(&body);
	end(&s, &c);
}

static void
what_was_set_aside_comes_along(void **state)
{
	struct journal_options o;
	struct journal_range range;
	struct journal_batch b = {0};
	struct journal *j;
	struct salvage s;
	struct content c;
	uint8_t *at;

	begin(&s, state);
	j = look(s.from);
	assert_int_equal(journal_read(j, 800, &b), ERR_OK);
	range = (struct journal_range){b.base_seq, b.end_seq};
	journal_close(j);
	for (size_t i = 0; i < 2; i++) {
		/* In the middle of that batch, wherever it lies. */
		at = memmem(s.file.data, s.file.size, b.body.data + 40, 64);
		if (at != NULL)
			at[0] ^= 1;
	}
	damage_store(s.from, &s.file);
	o = damage_options(s.from);
	assert_int_equal(journal_open(&j, JOURNAL_FORWARD, &o), ERR_OK);
	assert_int_equal(journal_quarantine(j, &range), ERR_OK);
	journal_close(j);
	damage_load(s.from, &s.file);
	assert_int_equal(salvage(&s), ERR_OK);
	j = look(s.into);
	assert_int_equal(journal_stat(j, &c.stat), ERR_OK);
	assert_int_equal(c.stat.damaged_count, 1);
	assert_int_equal(c.stat.gap_count, 3);
	assert_int_equal(s.done.lost_records, 0); /* that was known before */
	journal_close(j);
	journal_batch_fini(&b);
	end(&s, &c);
}

static void
what_is_no_journal_is_refused(void **state)
{
	struct salvage s;
	char path[4200];

	begin(&s, state);
	assert_int_equal(journal_salvage(s.from, s.from, &s.done), ERR_INVALID);
	assert_int_equal(journal_salvage(s.into, s.into, &s.done), ERR_NOTFOUND);
	(void)snprintf(path, sizeof(path), "%s/none", s.into);
	assert_int_equal(journal_salvage(s.from, path, &s.done), ERR_NOTFOUND);
	memset(s.file.data, 0, s.file.size);
	assert_int_equal(salvage(&s), ERR_NOTFOUND);
	(void)snprintf(path, sizeof(path), "%s/data.mdb", s.into);
	assert_int_equal(access(path, F_OK), -1);
	s.file.size = 0;
	assert_int_equal(salvage(&s), ERR_NOTFOUND);
	buffer_fini(&s.file);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tmpdir_setup, tmpdir_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(nothing_is_lost_of_a_whole_one),
	    TEST(without_a_leaf_its_batches_are_found_page_by_page),
	    TEST(what_was_on_a_page_of_zeros_is_a_gap),
	    TEST(without_meta_pages_it_is_put_together_from_the_leaves),
	    TEST(without_one_meta_page_the_other_one_helps),
	    TEST(without_its_names_it_has_to_be_adopted),
	    TEST(what_was_never_committed_stays_out),
	    TEST(what_was_set_aside_comes_along),
	    TEST(what_is_no_journal_is_refused),
	};
	return cmocka_run_group_tests_name("journal: salvage", tests, NULL, NULL);
}
