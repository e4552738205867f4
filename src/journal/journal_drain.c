/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Draining: a position per route, truncation behind the smallest.
 *
 * Invariant: a position never goes back, but for journal_routes_ask(), and never beyond
 * what was appended. A batch
 * is deleted only when every route is past the whole of it, which the keys tell (its
 * own header may be damaged).
 *
 * Failure modes: truncating works on a full map and a full disk: it has room in
 * reserve; it deletes less at a time; then the map grows, or the ballast goes. A batch
 * that is not safe to delete stays, with its neighbours: the positions move all the same.
 */
#include "journal_private.h"

#include <stdlib.h>
#include <string.h>

#include "err.h"

#define DELETE_AT_ONCE  1000
#define RELIEF_ATTEMPTS 16
#define DRAIN_PAGES     16 /* more than a transaction without truncation takes */

/* ---- routes ---- */

int
journal_acked_get(struct journal *j, const char *route, uint64_t *acked)
{
	char key[JOURNAL_KEY_BYTES];
	int rc = journal_meta_route_key("ack", route, key);

	return rc != ERR_OK ? rc : journal_meta_get_u64(j, key, acked);
}

int
journal_acked_put(struct journal *j, const char *route, uint64_t acked)
{
	char key[JOURNAL_KEY_BYTES];
	int rc = journal_meta_route_key("ack", route, key);

	return rc != ERR_OK ? rc : journal_meta_put_u64(j, key, acked);
}

/* The number before the oldest record kept. */
static int
before_oldest(struct journal *j, uint64_t *seq)
{
	struct store_cursor *c = NULL;
	struct bytes key = {0}, value;
	uint64_t first = 0;
	int rc;

	rc = store_cursor_open(j->store, STORE_LOG, &c);
	if (rc != ERR_OK)
		return rc;
	rc = store_cursor_get(c, STORE_FIRST, &key, &value);
	store_cursor_close(c);
	if (rc == ERR_OK)
		rc = journal_key_seq(key, &first);
	else if (rc == ERR_NOTFOUND)
		rc = journal_meta_next(j, &first);
	if (rc == ERR_OK)
		*seq = first == 0 ? 0 : first - 1;
	return rc;
}

struct routes {
	const char *const *names;
	size_t count;
	uint64_t *acked;
};

static bool
is_named(const struct routes *routes, struct bytes name)
{
	for (size_t i = 0; i < routes->count; i++)
		if (strlen(routes->names[i]) == name.size &&
		    memcmp(routes->names[i], name.data, name.size) == 0)
			return true;
	return false;
}

struct slowest {
	bool is_known;
	uint64_t acked;
};

static int
note_slowest(void *context, struct store_cursor *c, struct bytes route, uint64_t acked)
{
	struct slowest *slowest = context;

	(void)c;
	(void)route;
	if (!slowest->is_known || acked < slowest->acked)
		slowest->acked = acked;
	slowest->is_known = true;
	return ERR_OK;
}

/* Where the slowest of the known routes stands, those that leave among them. */
int
journal_slowest(struct journal *j, uint64_t *seq)
{
	struct slowest slowest = {0};
	int rc = journal_meta_positions(j, note_slowest, &slowest);

	if (rc != ERR_OK)
		return rc;
	if (!slowest.is_known)
		return before_oldest(j, seq);
	*seq = slowest.acked;
	return ERR_OK;
}

static int
forget_unnamed(
    void *context, struct store_cursor *c, struct bytes route, uint64_t acked)
{
	(void)acked;
	return is_named(context, route) ? ERR_OK : store_cursor_delete(c);
}

static int
set_routes(struct journal *j, void *context)
{
	struct routes *routes = context;
	uint64_t start = 0;
	int rc;

	rc = journal_slowest(j, &start);
	for (size_t i = 0; rc == ERR_OK && i < routes->count; i++) {
		rc = journal_acked_get(j, routes->names[i], &routes->acked[i]);
		if (rc == ERR_NOTFOUND) {
			routes->acked[i] = start;
			rc = journal_acked_put(j, routes->names[i], start);
			if (rc == ERR_OK)
				rc = journal_asked_forget(j, routes->names[i]);
		}
	}
	return rc != ERR_OK ? rc : journal_meta_positions(j, forget_unnamed, routes);
}

static int
copy_names(const char *const names[], size_t count, char ***out)
{
	char **copies = calloc(count == 0 ? 1 : count, sizeof(*copies));

	if (copies == NULL)
		return ERR_NOMEM;
	for (size_t i = 0; i < count; i++) {
		copies[i] = strdup(names[i]);
		if (copies[i] == NULL) {
			while (i > 0)
				free(copies[--i]);
			free(copies);
			return ERR_NOMEM;
		}
	}
	*out = copies;
	return ERR_OK;
}

static void
free_names(char **names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(names[i]);
	free(names);
}

int
journal_routes_set(
    struct journal *j, const char *const names[], size_t count, uint64_t acked_seq[])
{
	struct routes routes = {.names = names, .count = count, .acked = NULL};
	char **copies = NULL;
	int rc = ERR_NOMEM;

	routes.acked = calloc(count == 0 ? 1 : count, sizeof(*routes.acked));
	if (routes.acked != NULL)
		rc = copy_names(names, count, &copies);
	if (rc == ERR_OK)
		rc = journal_write(j, set_routes, &routes);
	if (rc == ERR_OK) {
		for (size_t i = 0; i < count; i++)
			acked_seq[i] = routes.acked[i];
		free_names(j->route_names, j->route_count);
		j->route_names = copies;
		j->route_count = count;
	} else if (copies != NULL) {
		free_names(copies, count);
	}
	free(routes.acked);
	return rc;
}

/* ---- acknowledging and truncating ---- */

struct drain {
	const uint64_t *acked; /* in the order of the routes */
	size_t delete_count;   /* at most so many batches in one transaction */
	bool is_moved;         /* out: a position moves */
	double share;          /* out: of what it owed, by the route that moves most */
	uint64_t keep_from;    /* out: the key of the first batch that stays */
	bool is_more;          /* out: something before it is there */
	int refused;           /* out: why it is not safe to delete that; 0: it is */
};

/*
 * Compare the positions with those stored, and write what moves if asked to. *least:
 * the smallest of the new ones.
 */
static int
move_positions(struct journal *j, struct drain *d, bool write, uint64_t *least)
{
	uint64_t next = 0;
	int rc;

	d->is_moved = false;
	d->share = 0;
	*least = 0;
	rc = journal_meta_next(j, &next);
	for (size_t i = 0; rc == ERR_OK && i < j->route_count; i++) {
		uint64_t acked = 0;

		rc = journal_acked_get(j, j->route_names[i], &acked);
		if (rc == ERR_OK && d->acked[i] >= next)
			rc = ERR_INVALID; /* it would skip what is yet to come */
		if (rc == ERR_OK && d->acked[i] > acked) {
			double share =
			    (double)(d->acked[i] - acked) / (double)(next - 1 - acked);

			if (share > d->share)
				d->share = share;
			acked = d->acked[i];
			d->is_moved = true;
			if (write)
				rc = journal_acked_put(j, j->route_names[i], acked);
		}
		if (i == 0 || acked < *least)
			*least = acked;
	}
	return rc == ERR_NOTFOUND ? ERR_CORRUPT : rc;
}

/*
 * Which batches may go? Those before the one that holds, or comes before, the first
 * number still owed; with nothing owed, all. Keys are enough to tell.
 */
static int
find_keep_from(
    struct journal *j, struct store_cursor *c, struct drain *d, uint64_t least)
{
	uint8_t number[8];
	struct bytes key = seq_key(number, least + 1), value;
	uint64_t next = 0, found = 0;
	int rc;

	rc = journal_meta_next(j, &next);
	if (rc != ERR_OK)
		return rc;
	d->keep_from = UINT64_MAX;
	if (least + 1 >= next)
		return ERR_OK;
	rc = store_cursor_get(c, STORE_SEEK, &key, &value);
	if (rc == ERR_OK)
		rc = journal_key_seq(key, &found);
	if (rc == ERR_OK && found != least + 1)
		rc = store_cursor_get(c, STORE_PREVIOUS, &key, &value);
	else if (rc == ERR_NOTFOUND)
		rc = store_cursor_get(c, STORE_LAST, &key, &value);
	d->keep_from = 0; /* nothing begins at or before it: nothing may go */
	if (rc == ERR_NOTFOUND)
		return ERR_OK;
	return rc == ERR_OK ? journal_key_seq(key, &d->keep_from) : rc;
}

static int
find_more(struct store_cursor *c, struct drain *d)
{
	struct bytes key = {0}, value;
	uint64_t seq = 0;
	int rc;

	rc = store_cursor_get(c, STORE_FIRST, &key, &value);
	d->is_more = false;
	if (rc == ERR_NOTFOUND)
		return ERR_OK;
	if (rc == ERR_OK)
		rc = journal_key_seq(key, &seq);
	if (rc == ERR_OK)
		d->is_more = seq < d->keep_from;
	return rc;
}

int
journal_check_runs(
    struct journal *j, uint64_t first_seq, uint64_t last_seq, size_t most)
{
	uint8_t first[8], last[8];

	return store_check_runs(j->store, STORE_LOG, seq_key(first, first_seq),
	    seq_key(last, last_seq), most);
}

static int
delete_batches(struct store_cursor *c, struct drain *d)
{
	int rc = ERR_OK;

	for (size_t n = 0; rc == ERR_OK && d->is_more && n < d->delete_count; n++) {
		rc = store_cursor_delete(c);
		if (rc == ERR_OK)
			rc = find_more(c, d);
	}
	return rc;
}

/* With write false only see what there is to do: mostly that is nothing. */
static int
drain(struct journal *j, struct drain *d, bool write)
{
	struct store_cursor *c = NULL;
	uint64_t least;
	int rc;

	rc = write ? store_begin_write(j->store) : store_begin_read(j->store);
	if (rc != ERR_OK)
		return rc;
	rc = move_positions(j, d, write, &least);
	if (rc == ERR_OK)
		rc = store_cursor_open(j->store, STORE_LOG, &c);
	if (rc == ERR_OK)
		rc = find_keep_from(j, c, d, least);
	if (rc == ERR_OK)
		rc = find_more(c, d);
	/* Before the write transaction, which ingest would have to wait for. */
	if (rc == ERR_OK && !write && d->is_more)
		d->refused =
		    journal_check_runs(j, 0, d->keep_from - 1, d->delete_count);
	if (rc == ERR_OK && write && d->refused == ERR_OK)
		rc = delete_batches(c, d);
	store_cursor_close(c);
	if (rc == ERR_OK && write)
		return store_commit(j->store);
	store_end(j->store);
	return rc;
}

/* In a transaction, because it is that which mends an environment beyond use. */
static int
take_blocks(struct journal *j)
{
	struct store_pages pages;
	uint64_t reach;
	int rc;

	rc = store_begin_read(j->store);
	if (rc != ERR_OK)
		return rc;
	rc = store_pages(j->store, &pages);
	if (rc == ERR_OK)
		rc = store_take(j->store, pages.end * pages.page_bytes, &reach);
	store_end(j->store);
	return rc;
}

int
journal_take_blocks(struct journal *j)
{
	int rc = take_blocks(j);

	return rc == ERR_FULL ? ERR_OK : rc;
}

/*
 * Where the disk gives no more, each transaction beside a reader that pins what is freed
 * uses up some of the pages there are. So that they last to the end it must do as large a
 * share of what is owed as it takes of them.
 */
static int
check_share(struct journal *j, const struct drain *d)
{
	struct store_pages pages = {0};
	uint64_t backed = 0, left = 0;
	int rc;

	rc = store_begin_read(j->store);
	if (rc != ERR_OK)
		return rc;
	rc = store_pages(j->store, &pages);
	if (rc == ERR_OK)
		rc = store_backed(j->store, &backed);
	if (rc == ERR_OK)
		rc = store_free_pages(j->store, false, UINT64_MAX, &left);
	store_end(j->store);
	if (rc != ERR_OK)
		return rc;
	if (backed / pages.page_bytes > pages.end)
		left += backed / pages.page_bytes - pages.end;
	return !d->is_moved || d->share >= 1 || d->share * (double)left >= DRAIN_PAGES
		   ? ERR_OK
		   : ERR_FULL;
}

int
journal_acknowledge(struct journal *j, const uint64_t acked_seq[], bool *more)
{
	struct drain d = {.acked = acked_seq, .delete_count = DELETE_AT_ONCE};
	int relieved = 0;
	int rc;

	rc = drain(j, &d, false);
	if (rc != ERR_OK)
		return rc;
	if (d.is_moved || d.is_more) {
		rc = take_blocks(j);
		if (rc == ERR_FULL)
			rc = check_share(j, &d);
		if (rc == ERR_FULL)
			return rc;
		if (rc == ERR_OK)
			rc = drain(j, &d, true);
		while (rc == ERR_FULL) {
			if (d.delete_count > 1)
				d.delete_count /= 2;
			else if (relieved++ == RELIEF_ATTEMPTS ||
				 store_relieve(j->store) != ERR_OK)
				break;
			rc = drain(j, &d, true);
		}
	}
	if (rc != ERR_OK)
		return rc;
	*more = d.is_more;
	return d.refused;
}
