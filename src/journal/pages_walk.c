/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The trees of data.mdb, followed page by page.
 *
 * Invariant: each page is entered at most once in a walk, so it ends; a tree is at most
 * PAGES_DEPTH pages deep.
 */
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "pages_parts.h"

struct walk {
	struct pages *p;
	const struct pages_meta *meta;
	size_t end; /* pages behind it are not there */
	enum pages_how how;
	uint8_t *seen; /* a bit for each page */
	uint8_t *used; /* a bit for each two bytes of one page */
	pages_visit *visit;
	void *context;
	const char *wanted; /* the only named database that is followed; NULL: all */
	bool is_found;
	bool is_whole;
};

struct tree {
	struct walk *walk;
	const char *name;
	const struct pages_db *db;
	bool is_list; /* the free list: its keys are numbers */
	bool is_main;
	bool has_runs_checked;
	bool has_edges_only;
	uint8_t *pages; /* one for each level */
	struct pages_db sum;
	uint8_t key[PAGES_KEY_BYTES]; /* the next is not before it */
	size_t key_bytes;
	bool is_behind; /* and not equal to it */
};

static int walk_tree(struct walk *w, const char *name, const struct pages_db *db);

static bool
is_lenient(const struct walk *w)
{
	return w->how == PAGES_LENIENT;
}

/* In a lenient walk what is wrong is left out, and it goes on. */
static int
pass(struct walk *w, int rc)
{
	if (!is_lenient(w) || (rc != ERR_CORRUPT && rc != ERR_IO))
		return rc;
	w->is_whole = false;
	return ERR_OK;
}

/* Set so many bits: eight at a time, for a backlog has many. Was none of them set? */
static bool
take_bits(uint8_t *bits, size_t first, size_t count)
{
	size_t end = first + count;
	unsigned before = 0;

	while (first < end) {
		size_t at = first % 8, some = 8 - at;
		unsigned mask;

		if (some > end - first)
			some = end - first;
		mask = ((1U << some) - 1) << at;
		before |= bits[first / 8] & mask;
		bits[first / 8] |= (uint8_t)mask;
		first += some;
	}
	return before == 0;
}

/* Take so many pages as used by the walk. */
static int
take_pages(struct walk *w, size_t first, size_t count, const char *what)
{
	if (first < 2 || first >= w->end || count > w->end - first)
		return pages_bad(
		    w->p, "%s leads to page %zu of %zu", what, first, w->end);
	if (take_bits(w->seen, first, count))
		return ERR_OK;
	if (count == 1)
		return pages_bad(
		    w->p, "%s leads to page %zu, which is used elsewhere", what, first);
	return pages_bad(w->p, "%s leads to pages %zu to %zu, which are used elsewhere",
	    what, first, first + count - 1);
}

static int
read_page(struct walk *w, size_t number, uint8_t *page)
{
	int rc = pages_read(
	    w->p, (uint64_t)number * w->p->page_bytes, page, w->p->page_bytes);

	if (rc != ERR_OK)
		(void)pages_bad(w->p, "page %zu cannot be read", number);
	return rc;
}

/* ---- keys ---- */

static int
compare(const struct tree *t, struct bytes a, struct bytes b)
{
	size_t least = a.size < b.size ? a.size : b.size;
	size_t x, y;
	int order;

	if (t->is_list) {
		memcpy(&x, a.data, sizeof(x));
		memcpy(&y, b.data, sizeof(y));
		return x < y ? -1 : x > y;
	}
	order = memcmp(a.data, b.data, least);
	return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static int
check_key(struct tree *t, struct bytes key, bool is_leaf, size_t number)
{
	struct bytes before = {t->key, t->key_bytes};
	int order;

	if (key.size == 0 || (t->is_list && key.size != sizeof(size_t)))
		return pages_bad(t->walk->p, "a key in page %zu of %s has %zu bytes",
		    number, t->name, key.size);
	if (t->key_bytes > 0) {
		order = compare(t, before, key);
		if (order > 0 || (order == 0 && t->is_behind))
			return pages_bad(t->walk->p,
			    "the keys in page %zu of %s are not in order", number,
			    t->name);
	}
	memcpy(t->key, key.data, key.size);
	t->key_bytes = key.size;
	t->is_behind = is_leaf;
	return ERR_OK;
}

/* ---- values ---- */

static int
check_run(struct tree *t, const struct pages_node *node, size_t *pages)
{
	struct walk *w = t->walk;
	int rc = ERR_OK;

	*pages = pages_of_run(w->p, node->value_bytes);
	if (is_lenient(w))
		return ERR_OK;
	if (t->has_runs_checked)
		rc = pages_run_get(w->p, t->name, node, pages);
	return rc != ERR_OK ? rc : take_pages(w, node->child, *pages, t->name);
}

/* The key that has just been checked is a transaction, of the past. */
static int
check_freed_by(const struct tree *t)
{
	size_t txn_id;

	memcpy(&txn_id, t->key, sizeof(txn_id));
	if (txn_id > 0 && txn_id <= t->walk->meta->txn_id)
		return ERR_OK;
	return pages_bad(
	    t->walk->p, "the free list names a transaction that never was");
}

/* The pages that a transaction has freed: how many, then the numbers, falling. */
static int
check_freed(struct tree *t, const struct pages_place *place)
{
	struct walk *w = t->walk;
	bool is_count_enough = w->how == PAGES_STRICT_EDGES;
	size_t bytes = is_count_enough ? sizeof(size_t) : place->bytes;
	size_t number, count = 0, before = SIZE_MAX;
	size_t *list;
	int rc;

	if (place->bytes < sizeof(size_t))
		return pages_bad(w->p, "the free list has an empty entry");
	list = malloc(bytes);
	if (list == NULL)
		return ERR_NOMEM;
	rc = pages_read(w->p, place->at, list, bytes);
	if (rc == ERR_OK)
		count = list[0];
	if (rc == ERR_OK && count > place->bytes / sizeof(size_t) - 1)
		rc = pages_bad(w->p, "the free list counts more than it has");
	for (size_t i = 1; rc == ERR_OK && !is_count_enough && i <= count; i++) {
		number = list[i];
		if (number >= before)
			rc = pages_bad(w->p, "the free list is not in order");
		else
			rc = take_pages(w, number, 1, "the free list");
		before = number;
	}
	free(list);
	return rc;
}

static int
follow_named(
    struct walk *w, const struct pages_node *node, const struct pages_place *place)
{
	char name[PAGES_KEY_BYTES + 1];
	struct pages_db db;
	int rc;

	memcpy(name, node->key.data, node->key.size);
	name[node->key.size] = '\0';
	if (w->wanted != NULL && strcmp(w->wanted, name) != 0)
		return ERR_OK;
	if (node->flags != PAGES_NODE_SUB || place->bytes != sizeof(db))
		return pages_bad(w->p, "the main tree holds something that is not the "
				       "record of a database");
	rc = pages_read(w->p, place->at, &db, sizeof(db));
	if (rc != ERR_OK)
		return rc;
	w->is_found = true;
	return walk_tree(w, name, &db);
}

static int
walk_entry(struct tree *t, size_t number, const struct pages_node *node)
{
	struct walk *w = t->walk;
	struct pages_place place;
	size_t pages = 0;
	int rc;

	rc = check_key(t, node->key, true, number);
	if (rc == ERR_OK && t->is_list)
		rc = check_freed_by(t);
	if (rc != ERR_OK && !is_lenient(w))
		return rc;
	if (rc != ERR_OK)
		w->is_whole = false; /* whether it is any good shows itself */
	if (!t->is_main && (node->flags & ~PAGES_NODE_BIG) != 0)
		return pages_bad(w->p,
		    "page %zu of %s holds something that is not an "
		    "entry",
		    number, t->name);
	rc = pages_node_place(w->p, number, node, &place);
	if (rc != ERR_OK)
		return pages_bad(w->p, "a value of %s ends beyond the file", t->name);
	if ((node->flags & PAGES_NODE_BIG) != 0)
		rc = check_run(t, node, &pages);
	if (rc != ERR_OK)
		return rc;
	t->sum.entries++;
	t->sum.overflow_pages += pages;
	if (t->is_main)
		return follow_named(w, node, &place);
	if (t->is_list)
		return is_lenient(w) ? ERR_OK : check_freed(t, &place);
	return w->visit == NULL ? ERR_OK : w->visit(w->context, node->key, &place);
}

/* ---- pages ---- */

/* All nodes lie apart, and fill what is not free: LMDB moves them by their sizes. */
static int
check_nodes(struct walk *w, size_t number, const uint8_t *page, size_t count)
{
	struct pages_head head;
	struct pages_node node;
	size_t sum = 0;

	pages_head_get(page, &head);
	memset(w->used, 0, w->p->page_bytes / 16);
	for (size_t i = 0; i < count; i++) {
		if (pages_node_get(w->p, page, i, &node) != ERR_OK)
			return pages_bad(
			    w->p, "a node of page %zu makes no sense", number);
		if (!take_bits(w->used, node.at / 2, node.bytes / 2))
			return pages_bad(w->p, "nodes of page %zu overlap", number);
		sum += node.bytes;
	}
	if (sum != w->p->page_bytes - head.upper)
		return pages_bad(
		    w->p, "the nodes of page %zu do not fill their room", number);
	return ERR_OK;
}

static int
check_page(
    struct tree *t, size_t number, const uint8_t *page, unsigned level, size_t *count)
{
	struct walk *w = t->walk;
	uint16_t wanted = level + 1 < t->db->depth ? PAGES_BRANCH : PAGES_LEAF;
	struct pages_head head;
	int rc = pages_head_check(w->p, number, page, count);

	if (rc != ERR_OK || is_lenient(w))
		return rc;
	pages_head_get(page, &head);
	if (head.flags != wanted)
		return pages_bad(
		    w->p, "page %zu of %s is of the other kind", number, t->name);
	if (*count < (wanted == PAGES_BRANCH && !t->is_list ? 2U : 1U))
		return pages_bad(w->p, "page %zu of %s is too empty", number, t->name);
	return check_nodes(w, number, page, *count);
}

static int
walk_page(struct tree *t, size_t number, unsigned level)
{
	struct walk *w = t->walk;
	uint8_t *page = t->pages + level * w->p->page_bytes;
	struct pages_head head;
	size_t count = 0;
	int rc;

	if (level >= PAGES_DEPTH)
		return pages_bad(w->p, "%s is too deep", t->name);
	rc = take_pages(w, number, 1, t->name);
	if (rc == ERR_OK)
		rc = read_page(w, number, page);
	if (rc == ERR_OK)
		rc = check_page(t, number, page, level, &count);
	if (rc != ERR_OK)
		return rc;
	pages_head_get(page, &head);
	if (head.flags == PAGES_LEAF)
		t->sum.leaf_pages++;
	else
		t->sum.branch_pages++;
	for (size_t i = 0; rc == ERR_OK && i < count; i++) {
		bool is_wanted = !t->has_edges_only || i == 0 || i + 1 == count;
		struct pages_node node;

		rc = pages_node_get(w->p, page, i, &node);
		if (rc == ERR_OK && head.flags == PAGES_LEAF)
			rc = walk_entry(t, number, &node);
		else if (rc == ERR_OK && i > 0 && !is_lenient(w))
			rc = check_key(t, node.key, false, number);
		if (rc == ERR_OK && head.flags == PAGES_BRANCH && is_wanted)
			rc = walk_page(t, node.child, level + 1);
		rc = pass(w, rc);
	}
	return rc;
}

static int
check_sums(struct tree *t)
{
	const struct pages_db *db = t->db, *sum = &t->sum;
	bool is_right = db->entries == sum->entries &&
			db->branch_pages == sum->branch_pages &&
			db->leaf_pages == sum->leaf_pages;

	if (t->has_runs_checked)
		is_right = is_right && db->overflow_pages == sum->overflow_pages;
	return is_right
		   ? ERR_OK
		   : pages_bad(t->walk->p, "the record of %s counts wrong", t->name);
}

static int
walk_tree(struct walk *w, const char *name, const struct pages_db *db)
{
	bool is_empty = db->root == SIZE_MAX;
	struct tree t = {.walk = w, .name = name, .db = db};
	bool is_log;
	int rc;

	t.is_list = db == &w->meta->free;
	t.is_main = db == &w->meta->main;
	/* The batches are many; the first page of each is looked at only where it counts. */
	is_log = strcmp(name, "log") == 0;
	t.has_runs_checked = w->how == PAGES_STRICT_RUNS || !is_log;
	t.has_edges_only = w->how == PAGES_STRICT_EDGES && is_log;
	if (!t.is_list && !t.is_main && db->flags != 0 && !is_lenient(w))
		return pages_bad(
		    w->p, "the record of %s has flags of another kind", name);
	if (!is_lenient(w) && (db->depth > PAGES_DEPTH || is_empty != (db->depth == 0)))
		return pages_bad(w->p, "the record of %s contradicts itself", name);
	if (is_empty)
		return is_lenient(w) ? ERR_OK : check_sums(&t);
	t.pages = malloc(PAGES_DEPTH * w->p->page_bytes);
	if (t.pages == NULL)
		return ERR_NOMEM;
	rc = pass(w, walk_page(&t, db->root, 0));
	if (rc == ERR_OK && !is_lenient(w) && !t.has_edges_only)
		rc = check_sums(&t);
	free(t.pages);
	return rc;
}

/* ---- the whole ---- */

static int
begin(struct walk *w)
{
	uint64_t there = w->p->file_bytes / w->p->page_bytes;

	w->is_whole = true;
	w->end = w->meta->last_page < there ? w->meta->last_page + 1 : (size_t)there;
	w->seen = calloc(1, w->end / 8 + 1);
	w->used = malloc(w->p->page_bytes / 16);
	return w->seen == NULL || w->used == NULL ? ERR_NOMEM : ERR_OK;
}

static void
end(struct walk *w)
{
	free(w->seen);
	free(w->used);
}

int
pages_check(struct pages *p, const struct pages_meta *meta, enum pages_how how)
{
	struct walk w = {.p = p, .meta = meta, .how = how};
	int rc = begin(&w);

	if (rc == ERR_OK)
		rc = walk_tree(&w, "the main tree", &meta->main);
	if (rc == ERR_OK)
		rc = walk_tree(&w, "the free list", &meta->free);
	end(&w);
	return rc;
}

int
pages_walk(struct pages *p, const struct pages_meta *meta, const char *name,
    enum pages_how how, pages_visit *visit, void *context, bool *whole)
{
	struct walk w = {
	    .p = p,
	    .meta = meta,
	    .how = how,
	    .visit = visit,
	    .context = context,
	    .wanted = name,
	};
	int rc = begin(&w);

	if (rc == ERR_OK)
		rc = walk_tree(&w, "the main tree", &meta->main);
	end(&w);
	*whole = w.is_whole;
	return rc == ERR_OK && !w.is_found ? ERR_NOTFOUND : rc;
}
