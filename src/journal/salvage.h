/* SPDX-License-Identifier: Apache-2.0 */
/* What can be found in a damaged data.mdb: by its trees, and page by page. */
#ifndef SALVAGE_H
#define SALVAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "journal_private.h"
#include "pages.h"

/* A batch that has proved itself by its checksum. */
struct salvage_piece {
	uint64_t base_seq;
	uint64_t end_seq; /* one past the last; base_seq: not known (a later version) */
	uint64_t real_ms;
	struct pages_place place;
	bool is_of_tree; /* of the latest transaction: no leftover */
};

struct salvage_entry {
	struct buffer key;
	struct buffer value;
};

struct salvage_list {
	struct salvage_entry *items;
	size_t count;
	size_t capacity;
	bool is_whole; /* its tree was: nothing else belongs to it */
};

struct salvage_found {
	struct pages pages;
	struct salvage_piece *pieces; /* by base_seq; of equal ones the better first */
	size_t piece_count;
	size_t piece_capacity;
	bool is_log_whole;
	bool has_tree;
	struct salvage_list dead;
	struct salvage_list gaps;
	struct salvage_list damaged;
	struct salvage_list meta; /* a name may come more than once */
};

/*
 * Errors:    ERR_NOTFOUND (an empty file), ERR_VERSION, ERR_NOMEM, ERR_IO (not even its
 *            length is known).
 */
int salvage_find(struct salvage_found *f, int fd);
void salvage_found_fini(struct salvage_found *f);

/* A larger number is none of ours. */
#define SALVAGE_BELIEVABLE_SEQ (UINT64_MAX / 2)

struct salvage_ack {
	struct bytes name; /* with "ack/" */
	uint64_t acked;
};

struct salvage {
	struct salvage_found found;
	struct journal *new;
	struct journal_range *gaps; /* disjoint, rising */
	size_t gap_count;
	struct salvage_ack *routes;
	size_t route_count;
	uint64_t least_acked; /* 0: nothing is known */
	uint64_t next_seq;
	uint64_t committed_seq; /* batches from here on are leftovers */
	size_t chosen_count;    /* the first so many of found.pieces, after choose() */
	struct buffer raw;
	struct journal_salvaged result;
};

/* The value of a name, of the latest tree if it has one; NULL: it was not found. */
const struct buffer *salvage_meta(const struct salvage *s, const char *name);

/* Of a number the largest that was found; 0: none was. */
uint64_t salvage_meta_largest(const struct salvage *s, const char *name);

/* Write the pieces chosen, in several transactions; then, in one, the rest. */
int salvage_write_batches(struct salvage *s);
int salvage_write_rest(struct journal *j, void *salvage);

#endif
