/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first pages of large values, of those that are about to be deleted: LMDB frees as
 * many pages as the first one says, from the number on that it says it has.
 *
 * Invariant: a value takes the pages that its size asks for, no more: so it cannot reach
 * into what the walk over the whole has found to be another's. It is so for all that
 * was written once; LMDB gives a value more only where it takes another's place within
 * one transaction.
 */
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "pages_parts.h"

struct runs {
	struct pages *p;
	const char *name;
	struct bytes first;
	struct bytes last;
	size_t left;    /* values to look at */
	uint8_t *pages; /* one for each level */
};

/* Is a before b? */
static bool
is_before(struct bytes a, struct bytes b)
{
	size_t least = a.size < b.size ? a.size : b.size;
	int order = memcmp(a.data, b.data, least);

	return order < 0 || (order == 0 && a.size < b.size);
}

static int
check_first(struct runs *r, const struct pages_node *node)
{
	size_t pages = 0;
	int rc = pages_run_get(r->p, r->name, node, &pages);

	if (rc != ERR_OK || pages == pages_of_run(r->p, node->value_bytes))
		return rc;
	return pages_bad(
	    r->p, "page %zu of %s is not the first of a value", node->child, r->name);
}

static int
read_tree_page(struct runs *r, size_t number, uint8_t *page, size_t *count)
{
	int rc = pages_read(
	    r->p, (uint64_t)number * r->p->page_bytes, page, r->p->page_bytes);

	if (rc == ERR_OK)
		return pages_head_check(r->p, number, page, count);
	(void)pages_bad(r->p, "page %zu cannot be read", number);
	return rc;
}

static int
get_node(struct runs *r, size_t number, const uint8_t *page, size_t i,
    struct pages_node *node)
{
	return pages_node_get(r->p, page, i, node) == ERR_OK
		   ? ERR_OK
		   : pages_bad(r->p, "a node of page %zu makes no sense", number);
}

static int
check_leaf(struct runs *r, size_t number, const uint8_t *page, size_t count)
{
	struct pages_node node;
	int rc = ERR_OK;

	for (size_t i = 0; rc == ERR_OK && i < count && r->left > 0; i++) {
		rc = get_node(r, number, page, i, &node);
		if (rc != ERR_OK || is_before(node.key, r->first))
			continue;
		if (is_before(r->last, node.key)) {
			r->left = 0;
			break;
		}
		if ((node.flags & PAGES_NODE_BIG) != 0)
			rc = check_first(r, &node);
		r->left--;
	}
	return rc;
}

/* The key of a child tells where it begins; that of the first one says nothing. */
static int
check_below(struct runs *r, size_t number, unsigned level)
{
	uint8_t *page = r->pages + level * r->p->page_bytes;
	struct pages_node node, next;
	struct pages_head head;
	size_t count = 0;
	int rc;

	if (level >= PAGES_DEPTH)
		return pages_bad(r->p, "%s is too deep", r->name);
	rc = read_tree_page(r, number, page, &count);
	if (rc != ERR_OK)
		return rc;
	pages_head_get(page, &head);
	if (head.flags == PAGES_LEAF)
		return check_leaf(r, number, page, count);
	for (size_t i = 0; rc == ERR_OK && i < count && r->left > 0; i++) {
		bool is_last = i + 1 == count;

		rc = get_node(r, number, page, i, &node);
		if (rc == ERR_OK && !is_last)
			rc = get_node(r, number, page, i + 1, &next);
		if (rc != ERR_OK || (!is_last && !is_before(r->first, next.key)))
			continue;
		if (i > 0 && is_before(r->last, node.key))
			break;
		rc = check_below(r, node.child, level + 1);
	}
	return rc;
}

/* Where in a page of the main tree is the name, or the page that has it? */
static int
find_name(struct runs *r, size_t number, size_t count, struct pages_node *found)
{
	struct bytes name = {.data = r->name, .size = strlen(r->name)};
	struct pages_head head;
	struct pages_node node;
	bool is_found = false;

	pages_head_get(r->pages, &head);
	for (size_t i = 0; i < count; i++) {
		bool is_first = i == 0 && head.flags == PAGES_BRANCH;
		int rc = get_node(r, number, r->pages, i, &node);

		if (rc != ERR_OK)
			return rc;
		if (!is_first && is_before(name, node.key))
			break;
		*found = node;
		is_found = head.flags == PAGES_BRANCH || !is_before(node.key, name);
	}
	return is_found ? ERR_OK : ERR_NOTFOUND;
}

static int
find_db(struct runs *r, size_t number, struct pages_db *db)
{
	struct pages_head head;
	struct pages_node node;
	size_t count = 0;
	int rc = ERR_OK;

	for (unsigned level = 0; level < PAGES_DEPTH; level++) {
		rc = read_tree_page(r, number, r->pages, &count);
		if (rc == ERR_OK)
			rc = find_name(r, number, count, &node);
		if (rc != ERR_OK)
			return rc;
		pages_head_get(r->pages, &head);
		if (head.flags == PAGES_LEAF)
			break;
		number = node.child;
	}
	if (head.flags != PAGES_LEAF || node.flags != PAGES_NODE_SUB ||
	    node.value_bytes != sizeof(*db))
		return pages_bad(r->p, "the record of %s is none", r->name);
	memcpy(db, r->pages + node.value_at, sizeof(*db));
	return ERR_OK;
}

int
pages_check_runs(
    struct pages *p, const struct pages_meta *meta, const struct pages_range *range)
{
	struct runs r = {.p = p,
	    .name = range->name,
	    .first = range->first,
	    .last = range->last,
	    .left = range->most};
	struct pages_db db = {.root = SIZE_MAX};
	int rc = ERR_OK;

	r.pages = malloc(PAGES_DEPTH * p->page_bytes);
	if (r.pages == NULL)
		return ERR_NOMEM;
	if (meta->main.root != SIZE_MAX)
		rc = find_db(&r, meta->main.root, &db);
	if (rc == ERR_OK && db.root != SIZE_MAX)
		rc = check_below(&r, db.root, 0);
	free(r.pages);
	return rc == ERR_NOTFOUND ? ERR_OK : rc;
}
