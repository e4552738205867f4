/* SPDX-License-Identifier: Apache-2.0 */
/*
 * data.mdb as LMDB 0.9 lays it out (data format version 1, the numbers of this machine),
 * read by pread(2) and believed in nothing: LMDB follows what a page says without
 * looking twice. Nothing is written, LMDB itself is not used, and a sector that cannot
 * be read is an error, not a signal.
 *
 *   page 0, 1  meta: the later one (by transaction) is what is valid
 *   branch     keys and page numbers        all begin with number, flags, and the
 *   leaf       keys and values              bounds of the free space in the middle
 *   overflow   one value over several pages: number, flags, count of pages
 *
 * The main tree has a record for each named database: its root and what it counts. The
 * free list is a tree too: transaction -> the pages that it has freed.
 */
#ifndef PAGES_H
#define PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buffer.h"

#define PAGES_WHY_BYTES    200
#define PAGES_HEADER_BYTES (sizeof(size_t) + 8)

/* As they lie in the file. */
struct pages_db {
	uint32_t pad; /* of the free list: bytes of a page */
	uint16_t flags;
	uint16_t depth;
	size_t branch_pages;
	size_t leaf_pages;
	size_t overflow_pages;
	size_t entries;
	size_t root;
};

struct pages_meta {
	uint32_t magic;
	uint32_t version;
	size_t address;
	size_t map_bytes;
	struct pages_db free;
	struct pages_db main;
	size_t last_page;
	size_t txn_id;
};

struct pages {
	int fd; /* borrowed */
	uint64_t file_bytes;
	size_t page_bytes;
	struct pages_meta metas[2];
	bool has_meta[2];
	char why[PAGES_WHY_BYTES]; /* what was found first, a part of a sentence */
};

/*
 * Look at both meta pages: may LMDB open it? Another process may write meanwhile. After
 * ERR_CORRUPT has_meta tells what there is, and page_bytes is right or likely.
 *
 * Errors:    ERR_NOTFOUND (an empty file), ERR_CORRUPT, ERR_VERSION (of another version,
 *            byte order or word size), ERR_IO.
 */
int pages_look(struct pages *p, int fd);

/* Of the two, the one that LMDB takes. */
const struct pages_meta *pages_latest(const struct pages *p);

/* A value where it lies. */
struct pages_place {
	uint64_t at; /* in the file */
	size_t bytes;
};

/* Anything but 0 ends the walk, and is its result. The key is borrowed for the call. */
typedef int pages_visit(
    void *context, struct bytes key, const struct pages_place *value);

enum pages_how {
	PAGES_STRICT, /* the first thing that is wrong ends it: ERR_CORRUPT and p->why */
	/*
	 * Likewise, but of "log" only what leads to its first and its last entry, and no page
	 * that the free list names: whoever only looks there need not wait for the rest.
	 */
	PAGES_STRICT_EDGES,
	PAGES_STRICT_RUNS, /* and the first page of each large value is looked at */
	PAGES_LENIENT,     /* what cannot be followed is left out */
};

/*
 * Walk all that the snapshot of a meta page reaches: main tree, each named database,
 * free list. Each page, each node, the order of the keys, the counts; that no page is
 * used twice, and none that is free. The snapshot must not change meanwhile.
 *
 * Errors:    ERR_CORRUPT, ERR_IO, ERR_NOMEM.
 */
int pages_check(struct pages *p, const struct pages_meta *meta, enum pages_how how);

/*
 * Show visit the entries of a named database, in order; without visit it is only
 * followed. With PAGES_LENIENT *whole tells whether that was all of it.
 *
 * Errors:    ERR_NOTFOUND (no such database can be found), and as above.
 */
int pages_walk(struct pages *p, const struct pages_meta *meta, const char *name,
    enum pages_how how, pages_visit *visit, void *context, bool *whole);

/* Entries of a named database by their keys, first and last included; at most so many. */
struct pages_range {
	const char *name;
	struct bytes first;
	struct bytes last;
	size_t most;
};

/*
 * Is the first page of each large value what LMDB needs to free it, and takes it no more
 * pages than its size asks for? Nothing else is looked at again.
 *
 * Errors:    ERR_CORRUPT, ERR_IO, ERR_NOMEM.
 */
int pages_check_runs(
    struct pages *p, const struct pages_meta *meta, const struct pages_range *range);

/* Show visit what a page holds, if it is a leaf. Errors: ERR_NOTFOUND: it is not. */
int pages_visit_leaf(
    struct pages *p, size_t number, void *page, pages_visit *visit, void *context);

/* Read a piece of the file into out. Errors: ERR_CORRUPT beyond its end, ERR_IO. */
int pages_read(const struct pages *p, uint64_t at, void *out, size_t bytes);

#endif
