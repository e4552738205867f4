/* SPDX-License-Identifier: Apache-2.0 */
/* What pages.c and those that follow trees share: the shape of a page and of a node. */
#ifndef PAGES_PARTS_H
#define PAGES_PARTS_H

#include "pages.h"

/* Of a page. What LMDB has in memory has further ones; none of them is on disk. */
#define PAGES_BRANCH   0x01
#define PAGES_LEAF     0x02
#define PAGES_OVERFLOW 0x04
#define PAGES_META     0x08

/* Of a node: its value is on pages of its own; it is the record of a named database. */
#define PAGES_NODE_BIG 0x01
#define PAGES_NODE_SUB 0x02

#define PAGES_DEPTH     32
#define PAGES_KEY_BYTES 511
#define NODE_HEADER     8

struct pages_head {
	size_t number;
	uint16_t flags;
	uint16_t lower;
	uint16_t upper;
	uint32_t run_pages; /* of an overflow page, where the others have the bounds */
};

struct pages_node {
	size_t at;    /* in the page */
	size_t bytes; /* in the page, rounded up */
	struct bytes key;
	uint16_t flags; /* leaf */
	size_t child;   /* branch: the page below; leaf: of a big value, the first */
	size_t value_bytes; /* leaf */
	size_t value_at;    /* in the page */
};

/* Note what is wrong, if it is the first such thing. Always ERR_CORRUPT. */
__attribute__((format(printf, 2, 3))) int pages_bad(
    struct pages *p, const char *format, ...);

void pages_head_get(const uint8_t *page, struct pages_head *head);

/* Is it a branch or leaf page with that number, of how many nodes? */
int pages_head_check(
    struct pages *p, size_t number, const uint8_t *page, size_t *count);

/* Node i of a page that has passed pages_head_check(). Errors: ERR_CORRUPT. */
int pages_node_get(
    const struct pages *p, const uint8_t *page, size_t i, struct pages_node *node);

/* Errors: ERR_CORRUPT, beyond the end of the file. */
int pages_node_place(const struct pages *p, size_t number,
    const struct pages_node *node, struct pages_place *place);

/* How many pages a large value asks for. */
size_t pages_of_run(const struct pages *p, size_t value_bytes);

/*
 * How many pages has a large value of the database name, by its first page: as many as
 * it asks for, or more. LMDB frees so many.
 *
 * Errors:    ERR_CORRUPT (it is no first page, or says fewer), ERR_IO.
 */
int pages_run_get(
    struct pages *p, const char *name, const struct pages_node *node, size_t *pages);

#endif
