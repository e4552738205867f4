/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dropping the oldest, where the journal is full and the operator would rather lose old
 * messages than new ones.
 *
 * Invariant: a batch goes in the transaction that leaves its gap marker. A batch that
 * touches a range kept, or that was appended meanwhile, stays.
 *
 * Failure modes: room for the transaction, as for truncating: it deletes less at a time,
 * then the map grows, or the ballast goes. A reader that is pinned keeps what is dropped
 * from being used again: what counts is what is kept, so that it does not make us drop
 * ever more. A damaged batch goes by its key, like any other.
 */
#include "journal_private.h"

#include "err.h"
#include "now.h"

#define DELETE_AT_ONCE   1000
#define TRANSACTIONS_MAX 16 /* of one call, which the watchdog waits for */
#define RELIEF_ATTEMPTS  16

struct drop {
	const struct journal_range *keep;
	size_t keep_count;
	uint64_t bytes;      /* that are to be free */
	size_t delete_count; /* at most so many batches in one transaction */
	uint64_t from_seq;   /* nothing before it may go */

	/* Out, of one transaction. */
	struct journal_dropped dropped;
	uint64_t at_seq; /* looked at up to here */
	bool is_done;
};

/* Pages that may be in use while so many bytes are free. */
static int
allowed_pages(struct journal *j, const struct drop *d, uint64_t *allowed)
{
	struct store_pages pages = {0};
	uint64_t entries, dead = 0, damaged = 0, reach = 0, disk = 0, most, spare;
	int rc;

	rc = store_pages(j->store, &pages);
	if (rc == ERR_OK)
		rc = store_db_size(j->store, STORE_DEAD, &entries, &dead);
	if (rc == ERR_OK)
		rc = store_db_size(j->store, STORE_DAMAGED, &entries, &damaged);
	if (rc == ERR_OK)
		rc = store_take(j->store, pages.end * pages.page_bytes, &reach);
	if (rc == ERR_OK || rc == ERR_FULL)
		rc = store_disk_free(j->store, &disk);
	if (rc != ERR_OK)
		return rc;
	most = (reach + disk) / pages.page_bytes;
	if (most > j->max_bytes / pages.page_bytes + dead + damaged)
		most = j->max_bytes / pages.page_bytes + dead + damaged;
	/* The free list, and what an append asks for beside its batches. */
	spare = d->bytes / pages.page_bytes + most / 256 +
		(uint64_t)2 * JOURNAL_EXTRA_PAGES;
	*allowed = most > spare ? most - spare : 0;
	return ERR_OK;
}

static int
live_pages(struct journal *j, uint64_t *live)
{
	uint64_t sum = 0;

	for (int db = 0; db < STORE_DB_COUNT; db++) {
		uint64_t entries, pages = 0;
		int rc = store_db_size(j->store, (enum store_db)db, &entries, &pages);

		if (rc != ERR_OK)
			return rc;
		sum += pages;
	}
	*live = sum;
	return ERR_OK;
}

/* The end of what is to be kept of first_seq up to but not end_seq; 0: nothing is. */
static uint64_t
kept_until(const struct drop *d, uint64_t first_seq, uint64_t end_seq)
{
	for (size_t i = 0; i < d->keep_count; i++) {
		if (d->keep[i].first_seq >= end_seq)
			break;
		if (d->keep[i].end_seq > first_seq)
			return d->keep[i].end_seq;
	}
	return 0;
}

/* A batch and where the next one begins; the cursor stands on that one, or at the end. */
struct place {
	uint64_t base_seq;
	uint64_t end_seq;
	uint64_t bytes;
	bool is_last;
};

static int
find_place(
    struct store_cursor *c, uint64_t from_seq, uint64_t next_seq, struct place *place)
{
	uint8_t number[8];
	struct bytes key = seq_key(number, from_seq), value;
	int rc = store_cursor_get(c, STORE_SEEK, &key, &value);

	if (rc == ERR_OK)
		rc = journal_key_seq(key, &place->base_seq);
	if (rc != ERR_OK)
		return rc;
	place->bytes = value.size;
	place->end_seq = next_seq;
	rc = store_cursor_get(c, STORE_NEXT, &key, &value);
	place->is_last = rc == ERR_NOTFOUND;
	if (rc == ERR_NOTFOUND)
		return ERR_OK;
	return rc == ERR_OK ? journal_key_seq(key, &place->end_seq) : rc;
}

/* Delete the batch, and note the gap; one that goes on from the last is one with it. */
static int
drop_place(struct journal *j, struct drop *d, const struct place *place,
    struct journal_gap *gap)
{
	struct journal_dropped *sum = &d->dropped;
	uint64_t added = 0;
	uint8_t number[8];
	int rc;

	rc = journal_check_runs(j, place->base_seq, place->base_seq, 1);
	if (rc == ERR_OK)
		rc =
		    store_delete(j->store, STORE_LOG, seq_key(number, place->base_seq));
	if (rc == ERR_OK && gap->count > 0 &&
	    gap->first_seq + gap->count != place->base_seq) {
		rc = journal_gap_add(j, *gap, &added);
		sum->records += added;
		gap->count = 0;
	}
	if (rc != ERR_OK)
		return rc;
	if (gap->count == 0)
		gap->first_seq = place->base_seq;
	gap->count = place->end_seq - gap->first_seq;
	if (sum->bytes == 0)
		sum->range.first_seq = place->base_seq;
	sum->range.end_seq = place->end_seq;
	sum->bytes += place->bytes;
	return ERR_OK;
}

static int
drop_batches(
    struct journal *j, struct store_cursor *c, struct drop *d, uint64_t next_seq)
{
	struct journal_gap gap = {
	    .at_ms = (uint64_t)now_real_ms(), .reason = JOURNAL_GAP_DROPPED_OLDEST};
	uint64_t allowed = 0, live = 0, added = 0;
	size_t count = 0;
	int rc = allowed_pages(j, d, &allowed);

	while (rc == ERR_OK && !d->is_done && count < d->delete_count) {
		struct place place = {0};
		uint64_t kept;

		rc = live_pages(j, &live);
		if (rc == ERR_OK && live > allowed)
			rc = find_place(c, d->at_seq, next_seq, &place);
		d->is_done = live <= allowed || rc == ERR_NOTFOUND || place.is_last;
		if (rc != ERR_OK || live <= allowed)
			break;
		kept = kept_until(d, place.base_seq, place.end_seq);
		d->at_seq = kept > place.end_seq ? kept : place.end_seq;
		if (kept != 0)
			continue;
		rc = drop_place(j, d, &place, &gap);
		count++;
	}
	if (rc == ERR_NOTFOUND)
		rc = ERR_OK;
	if (rc == ERR_OK && gap.count > 0)
		rc = journal_gap_add(j, gap, &added);
	d->dropped.records += added;
	return rc;
}

static int
drop_some(struct journal *j, struct drop *d)
{
	struct store_cursor *c = NULL;
	uint64_t next_seq = 0;
	int rc;

	d->dropped = (struct journal_dropped){0};
	d->at_seq = d->from_seq;
	d->is_done = false;
	rc = store_begin_write(j->store);
	if (rc != ERR_OK)
		return rc;
	rc = journal_meta_next(j, &next_seq);
	if (rc == ERR_OK)
		rc = store_cursor_open(j->store, STORE_LOG, &c);
	if (rc == ERR_OK)
		rc = drop_batches(j, c, d, next_seq);
	store_cursor_close(c);
	if (rc == ERR_OK && d->dropped.bytes > 0)
		return store_commit(j->store);
	store_end(j->store);
	return rc;
}

/* In one transaction, however little it can be. */
static int
drop_with_relief(struct journal *j, struct drop *d)
{
	int relieved = 0;
	int rc = drop_some(j, d);

	while (rc == ERR_FULL) {
		if (d->delete_count > 1)
			d->delete_count /= 2;
		else if (relieved++ == RELIEF_ATTEMPTS ||
			 store_relieve(j->store) != ERR_OK)
			break;
		rc = drop_some(j, d);
	}
	return rc;
}

static void
add_up(struct journal_dropped *sum, const struct journal_dropped *more)
{
	if (more->bytes == 0)
		return;
	if (sum->bytes == 0)
		sum->range.first_seq = more->range.first_seq;
	sum->range.end_seq = more->range.end_seq;
	sum->records += more->records;
	sum->bytes += more->bytes;
}

int
journal_drop_oldest(struct journal *j, const struct journal_range keep[],
    size_t keep_count, uint64_t bytes, struct journal_dropped *dropped)
{
	struct drop d = {.keep = keep,
	    .keep_count = keep_count,
	    .bytes = bytes,
	    .delete_count = DELETE_AT_ONCE};
	int rc = ERR_OK;

	for (int i = 0; i < TRANSACTIONS_MAX && rc == ERR_OK && !d.is_done; i++) {
		rc = drop_with_relief(j, &d);
		if (rc != ERR_OK)
			break;
		add_up(dropped, &d.dropped);
		d.from_seq = d.at_seq;
	}
	return rc;
}

/* ---- what may be on its way ---- */

struct sent {
	const char *route;
	uint64_t seq;
};

static int
put_sent(struct journal *j, void *context)
{
	const struct sent *sent = context;
	char key[JOURNAL_KEY_BYTES];
	int rc = journal_meta_route_key("sent", sent->route, key);

	return rc != ERR_OK ? rc : journal_meta_put_u64(j, key, sent->seq);
}

int
journal_sent_put(struct journal *j, size_t route, uint64_t seq)
{
	struct sent sent = {.route = j->route_names[route], .seq = seq};
	int rc = journal_take_blocks(j);

	return rc != ERR_OK ? rc : journal_write(j, put_sent, &sent);
}

int
journal_sent_get(struct journal *j, size_t route, uint64_t *seq)
{
	char key[JOURNAL_KEY_BYTES];
	uint64_t found = 0;
	int rc = journal_meta_route_key("sent", j->route_names[route], key);

	if (rc == ERR_OK)
		rc = store_begin_read(j->store);
	if (rc != ERR_OK)
		return rc;
	rc = journal_meta_get_u64(j, key, &found);
	store_end(j->store);
	if (rc == ERR_OK || rc == ERR_NOTFOUND)
		*seq = found;
	return rc == ERR_NOTFOUND ? ERR_OK : rc;
}
