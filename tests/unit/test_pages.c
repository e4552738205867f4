/* SPDX-License-Identifier: Apache-2.0 */
/* LMDB's file format as we read it: what LMDB has written passes, what is bent does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/damage.h"
#include "../lib/tmpdir.h"
#include "err.h"
#include "journal/journal_private.h"
#include "journal/pages.h"

#define FLAGS_AT   10 /* in a page; a page's number is in front */
#define LOWER_AT   12
#define UPPER_AT   14
#define NODES_AT   16
#define META_AT    16 /* behind the header: magic, version, address, map, trees ... */
#define TXN_AT     (META_AT + 8 + 16 + 96 + 8)
#define PAGE_BYTES 4096

struct file {
	struct buffer bytes;
	struct pages pages;
	const struct pages_meta *meta;
	int fd;
};

static void
put(struct file *f)
{
	assert_int_equal(ftruncate(f->fd, 0), 0);
	assert_int_equal(
	    pwrite(f->fd, f->bytes.data, f->bytes.size, 0), (ssize_t)f->bytes.size);
}

static int
look(struct file *f)
{
	int rc;

	put(f);
	rc = pages_look(&f->pages, f->fd);
	f->meta = pages_latest(&f->pages);
	return rc;
}

static int
check(struct file *f, enum pages_how how)
{
	int rc = look(f);

	return rc != ERR_OK ? rc : pages_check(&f->pages, f->meta, how);
}

static void
assert_bent(struct file *f, const char *why)
{
	assert_int_equal(check(f, PAGES_STRICT_RUNS), ERR_CORRUPT);
	if (strstr(f->pages.why, why) == NULL)
		fail_msg("\"%s\", not \"%s\"", f->pages.why, why);
}

static void
open_whole(struct file *f, void **state)
{
	*f = (struct file){.fd = -1};
	assert_int_equal(damage_make(*state), ERR_OK);
	damage_load(*state, &f->bytes);
	f->fd = memfd_create("pages", MFD_CLOEXEC);
	assert_true(f->fd >= 0);
	assert_int_equal(check(f, PAGES_STRICT_RUNS), ERR_OK);
}

static void
close_file(struct file *f)
{
	buffer_fini(&f->bytes);
	(void)close(f->fd);
}

static uint8_t *
page(struct file *f, size_t number)
{
	return f->bytes.data + number * PAGE_BYTES;
}

static uint16_t
get16(const uint8_t *at)
{
	return (uint16_t)(at[0] | at[1] << 8);
}

static void
put16(uint8_t *at, uint16_t n)
{
	memcpy(at, &n, 2);
}

/* ---- the whole file ---- */

static void
what_lmdb_has_written_passes(void **state)
{
	struct file f;

	open_whole(&f, state);
	assert_int_equal(check(&f, PAGES_STRICT), ERR_OK);
	assert_string_equal(f.pages.why, "");
	close_file(&f);
}

static void
empty_file_is_no_damage(void **state)
{
	struct file f;

	open_whole(&f, state);
	f.bytes.size = 0;
	assert_int_equal(look(&f), ERR_NOTFOUND);
	close_file(&f);
}

static void
a_file_without_its_end_is_told(void **state)
{
	struct file f;

	open_whole(&f, state);
	f.bytes.size = f.meta->last_page * PAGE_BYTES;
	assert_bent(&f, "its end is lost");
	f.bytes.size = 4100;
	assert_bent(&f, "meta page 1 cannot be read");
	f.bytes.size = 10;
	assert_bent(&f, "meta page 0 cannot be read");
	close_file(&f);
}

/* ---- meta pages ---- */

static void
a_meta_page_of_zeros_is_told_and_the_other_is_found(void **state)
{
	for (size_t n = 0; n < 2; n++) {
		struct file f;

		open_whole(&f, state);
		memset(page(&f, n), 0, PAGE_BYTES);
		assert_bent(&f, n == 0 ? "page 0 is no meta" : "page 1 is no meta");
		assert_false(f.pages.has_meta[n]);
		assert_true(f.pages.has_meta[1 - n]);
		assert_int_equal(f.pages.page_bytes, PAGE_BYTES);
		assert_ptr_equal(f.meta, &f.pages.metas[1 - n]);
		close_file(&f);
		assert_int_equal(tmpdir_teardown(state), 0);
		assert_int_equal(tmpdir_setup(state), 0);
	}
}

static void
another_byte_order_is_another_version(void **state)
{
	struct file f;

	open_whole(&f, state);
	for (size_t n = 0; n < 2; n++) {
		uint8_t *magic = page(&f, n) + META_AT, old[4];

		memcpy(old, magic, 4);
		for (size_t i = 0; i < 4; i++)
			magic[i] = old[3 - i];
	}
	assert_int_equal(look(&f), ERR_VERSION);
	assert_non_null(strstr(f.pages.why, "byte order"));
	close_file(&f);
}

static void
another_word_size_is_another_version(void **state)
{
	struct file f;

	if (sizeof(size_t) != 8)
		skip();
	open_whole(&f, state);
	for (size_t n = 0; n < 2; n++)
		memmove(page(&f, n) + META_AT - 4, page(&f, n) + META_AT, 100);
	assert_int_equal(look(&f), ERR_VERSION);
	assert_non_null(strstr(f.pages.why, "32 bits"));
	close_file(&f);
}

static void
another_data_format_is_another_version(void **state)
{
	struct file f;

	open_whole(&f, state);
	page(&f, 0)[META_AT + 4] = 2;
	assert_bent(&f, "version 2"); /* of one page alone: damage */
	page(&f, 1)[META_AT + 4] = 2;
	assert_int_equal(look(&f), ERR_VERSION);
	assert_non_null(strstr(f.pages.why, "version 2"));
	close_file(&f);
}

static void
a_commit_that_is_gone_is_told(void **state)
{
	struct file f;
	size_t newer, txn_id;

	open_whole(&f, state);
	newer = f.meta == &f.pages.metas[1] ? 1 : 0;
	txn_id = f.meta->txn_id - 2;
	memcpy(page(&f, newer) + TXN_AT, &txn_id, sizeof(txn_id));
	/* Now it is as if the latest commit had never been; the other one remains. */
	assert_int_equal(look(&f), ERR_OK);
	txn_id -= 2;
	memcpy(page(&f, newer) + TXN_AT, &txn_id, sizeof(txn_id));
	assert_bent(&f, "a commit is lost");
	close_file(&f);
}

/* ---- pages of a tree ---- */

static void
bent_heads_are_told(void **state)
{
	struct file f;
	uint8_t *root, *last;

	open_whole(&f, state);
	root = page(&f, f.meta->main.root);
	last = page(&f, f.meta->last_page);
	(void)last;
	root[0] ^= 1;
	assert_bent(&f, "says that it is page");
	root[0] ^= 1;
	root[FLAGS_AT] ^= 0x10;
	assert_bent(&f, "not of a tree");
	root[FLAGS_AT] ^= 0x13;
	assert_bent(&f, "of the other kind");
	root[FLAGS_AT] ^= 0x03;
	root[LOWER_AT] ^= 1;
	assert_bent(&f, "bounds");
	root[LOWER_AT] ^= 1;
	put16(root + LOWER_AT, NODES_AT);
	assert_bent(&f, "too empty");
	close_file(&f);
}

static void
bent_nodes_are_told(void **state)
{
	struct file f;
	uint8_t *root, saved[PAGE_BYTES], *node;

	open_whole(&f, state);
	root = page(&f, f.meta->main.root);
	memcpy(saved, root, PAGE_BYTES);
	put16(root + NODES_AT, 4094);
	assert_bent(&f, "makes no sense");
	memcpy(root, saved, PAGE_BYTES);
	put16(root + NODES_AT, get16(root + NODES_AT + 2));
	assert_bent(&f, "overlap");
	memcpy(root, saved, PAGE_BYTES);
	put16(root + NODES_AT, get16(saved + NODES_AT + 2));
	put16(root + NODES_AT + 2, get16(saved + NODES_AT));
	assert_bent(&f, "not in order");
	memcpy(root, saved, PAGE_BYTES);
	put16(root + UPPER_AT, (uint16_t)(get16(saved + UPPER_AT) - 2));
	assert_bent(&f, "do not fill");
	memcpy(root, saved, PAGE_BYTES);
	node = root + get16(root + NODES_AT);
	node[4] = 0; /* no more the record of a database */
	assert_bent(&f, "not the record of a database");
	memcpy(root, saved, PAGE_BYTES);
	node[6] = 0;
	assert_int_equal(check(&f, PAGES_STRICT), ERR_CORRUPT);
	close_file(&f);
}

/* The record of a named database: flags, depth, counts, root. */
static uint8_t *
record_of(struct file *f, const char *name)
{
	uint8_t *root = page(f, f->meta->main.root);
	size_t count = (size_t)(get16(root + LOWER_AT) - NODES_AT) / 2;

	for (size_t i = 0; i < count; i++) {
		uint8_t *node = root + get16(root + NODES_AT + 2 * i);

		if (get16(node + 6) == strlen(name) &&
		    memcmp(node + 8, name, strlen(name)) == 0)
			return node + 8 + strlen(name);
	}
	fail_msg("no %s", name);
	return NULL;
}

static void
bent_records_are_told(void **state)
{
	struct file f;
	uint8_t *log, saved[48];

	open_whole(&f, state);
	log = record_of(&f, "log");
	memcpy(saved, log, sizeof(saved));
	log[4] = 4; /* duplicates */
	assert_bent(&f, "flags of another kind");
	memcpy(log, saved, sizeof(saved));
	log[6]++; /* depth */
	assert_bent(&f, "of the other kind");
	memcpy(log, saved, sizeof(saved));
	log[32]++; /* entries */
	assert_bent(&f, "counts wrong");
	memcpy(log, saved, sizeof(saved));
	memcpy(log + 40, record_of(&f, "dead") + 40, 8); /* root */
	assert_int_equal(check(&f, PAGES_STRICT), ERR_CORRUPT);
	memset(log + 40, 0x7f, 8);
	assert_bent(&f, "leads to page");
	close_file(&f);
}

/* A page that the free list has, and a tree as well, would be written over. */
static void
a_free_page_that_is_in_use_is_told(void **state)
{
	struct file f;
	uint8_t *root;
	size_t list, number;

	open_whole(&f, state);
	assert_int_equal(f.meta->free.depth, 1);
	root = page(&f, f.meta->free.root);
	list = get16(root + NODES_AT);
	list += 8 + 8; /* node, key */
	number = f.meta->main.root;
	memcpy(root + list + 8, &number, sizeof(number));
	assert_bent(&f, "used elsewhere");
	close_file(&f);
}

/* The count of pages of a large value is what LMDB would free. */
static void
the_first_page_of_a_batch_is_looked_at_where_it_counts(void **state)
{
	struct file f;
	size_t number = 0;

	open_whole(&f, state);
	for (size_t n = 2; n <= f.meta->last_page && number == 0; n++) {
		uint8_t *at = page(&f, n);

		if (get16(at + FLAGS_AT) != 4 || at[NODES_AT] != BATCH_VERSION ||
		    at[LOWER_AT] < 2)
			continue;
		at[FLAGS_AT] ^= 0x10;
		if (check(&f, PAGES_STRICT_RUNS) != ERR_OK)
			number = n;
		else
			at[FLAGS_AT] ^= 0x10; /* a page that is free */
	}
	assert_true(number > 0);
	assert_bent(&f, "not the first of a value");
	page(&f, number)[FLAGS_AT] ^= 0x10;
	assert_int_equal(check(&f, PAGES_STRICT_RUNS), ERR_OK);
	page(&f, number)[LOWER_AT]--; /* one page fewer than it has */
	assert_bent(&f, "not the first of a value");
	assert_int_equal(check(&f, PAGES_STRICT), ERR_OK);
	close_file(&f);
}

static int
check_runs(struct file *f, uint64_t first_seq, uint64_t last_seq)
{
	uint8_t first[8], last[8];
	const struct pages_range range = {
	    .name = "log", .first = {first, 8}, .last = {last, 8}, .most = 1000};

	be64_put(first, first_seq);
	be64_put(last, last_seq);
	assert_int_equal(look(f), ERR_OK);
	return pages_check_runs(&f->pages, f->meta, &range);
}

struct run {
	uint64_t seq;
	size_t number; /* of its first page */
};

/* The last batch that has pages of its own. */
static int
note_run(void *context, struct bytes key, const struct pages_place *place)
{
	struct run *run = context;

	if (place->bytes > PAGE_BYTES)
		*run =
		    (struct run){be64_get(key.data), (size_t)(place->at / PAGE_BYTES)};
	return ERR_OK;
}

/* Before a batch is deleted, and of those that are to be deleted only. */
static void
the_first_page_of_a_batch_is_looked_at_before_it_goes(void **state)
{
	struct run run = {0};
	struct file f;
	bool whole;
	uint8_t *at;

	open_whole(&f, state);
	assert_int_equal(
	    pages_walk(&f.pages, f.meta, "log", PAGES_STRICT, note_run, &run, &whole),
	    ERR_OK);
	assert_true(run.seq > 1);
	assert_int_equal(check_runs(&f, 0, UINT64_MAX), ERR_OK);
	at = page(&f, run.number);
	at[LOWER_AT]++; /* one page more than it has */
	assert_int_equal(check_runs(&f, 0, UINT64_MAX), ERR_CORRUPT);
	assert_int_equal(check_runs(&f, run.seq, run.seq), ERR_CORRUPT);
	assert_int_equal(check_runs(&f, 0, run.seq - 1), ERR_OK);
	assert_int_equal(check_runs(&f, run.seq + 1, UINT64_MAX), ERR_OK);
	at[LOWER_AT] = (uint8_t)(at[LOWER_AT] - 2); /* one fewer */
	assert_int_equal(check_runs(&f, run.seq, run.seq), ERR_CORRUPT);
	at[LOWER_AT]++;
	at[0]++; /* another one's number */
	assert_int_equal(check_runs(&f, run.seq, run.seq), ERR_CORRUPT);
	at[0]--;
	assert_int_equal(check_runs(&f, 0, UINT64_MAX), ERR_OK);
	close_file(&f);
}

/* Who only looks at both ends does not wait for what is in between. */
static void
edges_are_looked_at_alone_where_that_is_enough(void **state)
{
	struct file f;
	uint8_t *root, saved[PAGE_BYTES];
	size_t number, count;

	open_whole(&f, state);
	assert_int_equal(check(&f, PAGES_STRICT_EDGES), ERR_OK);
	memcpy(&number, record_of(&f, "log") + 40, sizeof(number));
	root = page(&f, number);
	assert_int_equal(get16(root + FLAGS_AT), 1);
	count = (size_t)(get16(root + LOWER_AT) - NODES_AT) / 2;
	assert_true(count > 2);
	for (size_t i = 0; i < count; i++) {
		bool is_edge = i == 0 || i + 1 == count;
		uint8_t *child = page(&f, get16(root + get16(root + NODES_AT + 2 * i)));

		memcpy(saved, child, PAGE_BYTES);
		memset(child, 0, PAGE_BYTES);
		assert_int_equal(check(&f, PAGES_STRICT), ERR_CORRUPT);
		assert_int_equal(
		    check(&f, PAGES_STRICT_EDGES), is_edge ? ERR_CORRUPT : ERR_OK);
		memcpy(child, saved, PAGE_BYTES);
	}
	/* The first one is not another one: the keys tell. */
	memcpy(saved, root, PAGE_BYTES);
	memcpy(root + get16(root + NODES_AT), root + get16(root + NODES_AT + 2), 4);
	assert_int_equal(check(&f, PAGES_STRICT_EDGES), ERR_CORRUPT);
	memcpy(root, saved, PAGE_BYTES);
	assert_int_equal(check(&f, PAGES_STRICT_EDGES), ERR_OK);
	/* How many pages are free is one of the figures. */
	root = page(&f, f.meta->free.root);
	assert_int_equal(get16(root + FLAGS_AT), 2);
	memset(root + get16(root + NODES_AT) + 8 + 8, 0x7f, 8);
	assert_int_equal(check(&f, PAGES_STRICT_EDGES), ERR_CORRUPT);
	close_file(&f);
}

/* ---- visiting ---- */

static int
count_entry(void *context, struct bytes key, const struct pages_place *place)
{
	size_t *count = context;

	assert_int_equal(key.size, 8);
	assert_true(place->bytes > 0);
	++*count;
	return ERR_OK;
}

static void
entries_are_visited_as_far_as_they_can_be_reached(void **state)
{
	struct file f;
	size_t all = 0, some = 0, root;
	bool whole = false;
	uint8_t *at;

	open_whole(&f, state);
	assert_int_equal(pages_walk(&f.pages, f.meta, "log", PAGES_LENIENT, count_entry,
			     &all, &whole),
	    ERR_OK);
	assert_true(whole);
	assert_true(all > 100);
	assert_int_equal(
	    pages_walk(&f.pages, f.meta, "none", PAGES_LENIENT, NULL, NULL, &whole),
	    ERR_NOTFOUND);
	/* Without one of its leaves. */
	memcpy(&root, record_of(&f, "log") + 40, sizeof(root));
	at = page(&f, root);
	assert_int_equal(get16(at + FLAGS_AT), 1);
	at += get16(at + NODES_AT + 2);
	memset(page(&f, get16(at)), 0, PAGE_BYTES);
	assert_int_equal(look(&f), ERR_OK);
	assert_int_equal(pages_walk(&f.pages, f.meta, "log", PAGES_LENIENT, count_entry,
			     &some, &whole),
	    ERR_OK);
	assert_false(whole);
	assert_in_range(some, 1, all - 2);
	assert_int_equal(pages_walk(&f.pages, f.meta, "log", PAGES_STRICT, count_entry,
			     &some, &whole),
	    ERR_CORRUPT);
	close_file(&f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tmpdir_setup, tmpdir_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(what_lmdb_has_written_passes),
	    TEST(empty_file_is_no_damage),
	    TEST(a_file_without_its_end_is_told),
	    TEST(a_meta_page_of_zeros_is_told_and_the_other_is_found),
	    TEST(another_byte_order_is_another_version),
	    TEST(another_word_size_is_another_version),
	    TEST(another_data_format_is_another_version),
	    TEST(a_commit_that_is_gone_is_told),
	    TEST(bent_heads_are_told),
	    TEST(bent_nodes_are_told),
	    TEST(bent_records_are_told),
	    TEST(a_free_page_that_is_in_use_is_told),
	    TEST(the_first_page_of_a_batch_is_looked_at_where_it_counts),
	    TEST(the_first_page_of_a_batch_is_looked_at_before_it_goes),
	    TEST(edges_are_looked_at_alone_where_that_is_enough),
	    TEST(entries_are_visited_as_far_as_they_can_be_reached),
	};
	return cmocka_run_group_tests_name("pages", tests, NULL, NULL);
}
