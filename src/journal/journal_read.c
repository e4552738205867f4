/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading: batches, gaps, dead letters, figures.
 *
 * Invariant: no read transaction is open when a function here has returned; what it
 * gives out is a copy.
 *
 * Failure modes: a batch whose checksum is wrong has no count to be believed: its range
 * ends where the next batch begins. Every answer moves forward (end_seq is behind
 * from_seq), whatever the keys and numbers on disk say.
 */
#include "journal_private.h"

#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "guard.h"

/* Where in a stored batch its real-time clock is (batch.h). */
#define BATCH_REAL_MS_AT 48

const char *
journal_gap_reason_str(enum journal_gap_reason reason)
{
	switch (reason) {
	case JOURNAL_GAP_TOO_LARGE:
		return "too large";
	case JOURNAL_GAP_DAMAGED:
		return "damaged";
	case JOURNAL_GAP_DROPPED_OLDEST:
		return "dropped: oldest";
	case JOURNAL_GAP_DROPPED_NEWEST:
		return "dropped: newest";
	case JOURNAL_GAP_OPERATOR:
		return "operator";
	}
	return "unknown";
}

void
journal_batch_fini(struct journal_batch *b)
{
	buffer_fini(&b->body);
	*b = (struct journal_batch){0};
}

static int
copy(struct buffer *out, struct bytes value)
{
	return guard_copy(out, value);
}

/* ---- batches ---- */

/* What was found: a batch, copied to j->raw, and where the next thing begins. */
struct found {
	uint64_t base_seq;
	uint64_t limit_seq; /* key of the batch behind, or the next sequence number */
};

/*
 * Put the cursor on the last batch that begins at or before seq; with behind, or where
 * there is none such, on the first that begins at seq or behind it.
 */
static int
seek_batch(struct store_cursor *c, uint64_t seq, bool behind, uint64_t *base,
    struct bytes *value)
{
	uint8_t number[8];
	struct bytes key = seq_key(number, seq);
	int rc;

	rc = store_cursor_get(c, STORE_SEEK, &key, value);
	if (rc == ERR_OK)
		rc = journal_key_seq(key, base);
	if ((rc == ERR_OK && *base == seq) || behind)
		return rc;
	if (rc == ERR_OK)
		rc = store_cursor_get(c, STORE_PREVIOUS, &key, value);
	else if (rc == ERR_NOTFOUND)
		rc = store_cursor_get(c, STORE_LAST, &key, value);
	if (rc == ERR_NOTFOUND)
		rc = store_cursor_get(c, STORE_FIRST, &key, value);
	return rc == ERR_OK ? journal_key_seq(key, base) : rc;
}

static int
copy_batch(struct journal *j, struct store_cursor *c, uint64_t seq, bool behind,
    struct found *found)
{
	struct bytes key = {0}, value;
	int rc;

	rc = seek_batch(c, seq, behind, &found->base_seq, &value);
	if (rc == ERR_OK)
		rc = copy(&j->raw, value);
	if (rc != ERR_OK)
		return rc;
	rc = store_cursor_get(c, STORE_NEXT, &key, &value);
	if (rc == ERR_NOTFOUND)
		return ERR_OK; /* limit_seq is the next sequence number already */
	return rc == ERR_OK ? journal_key_seq(key, &found->limit_seq) : rc;
}

static int
fetch_batch(struct journal *j, uint64_t seq, bool behind, struct found *found)
{
	struct store_cursor *c = NULL;
	int rc;

	rc = store_begin_read(j->store);
	if (rc != ERR_OK)
		return rc;
	rc = journal_meta_next(j, &found->limit_seq);
	if (rc == ERR_CORRUPT) { /* what is kept can be read without it */
		found->limit_seq = UINT64_MAX;
		rc = ERR_OK;
	}
	if (rc == ERR_OK)
		rc = store_cursor_open(j->store, STORE_LOG, &c);
	if (rc == ERR_OK)
		rc = copy_batch(j, c, seq, behind, found);
	store_cursor_close(c);
	store_end(j->store);
	return rc;
}

static int
decode_found(struct journal *j, const struct found *found, struct journal_batch *b)
{
	struct bytes raw = {.data = j->raw.data, .size = j->raw.size};
	uint64_t limit = found->limit_seq;
	int rc;

	rc = batch_decode(j->coder, raw, found->base_seq, &b->header, &b->body);
	b->base_seq = found->base_seq;
	b->end_seq = limit > b->base_seq ? limit : b->base_seq + 1;
	if (rc != ERR_OK)
		return rc;
	/* What it says of itself is proved; the key of the next one is not. */
	if (b->header.count == 0 || b->header.count > UINT64_MAX - b->base_seq)
		return ERR_CORRUPT;
	b->end_seq = b->base_seq + b->header.count;
	return ERR_OK;
}

static int
read_from(struct journal *j, uint64_t from_seq, struct journal_batch *b)
{
	struct found found = {.limit_seq = from_seq};
	int rc;

	b->base_seq = from_seq;
	b->end_seq = UINT64_MAX; /* until something better is known */
	rc = fetch_batch(j, from_seq, false, &found);
	if (rc == ERR_OK) {
		rc = decode_found(j, &found, b);
		if (rc == ERR_NOMEM || b->end_seq > from_seq)
			return rc;
		/* All of it is before from_seq: there was a gap, or it is the last. */
		b->base_seq = from_seq;
		b->end_seq = UINT64_MAX;
		rc = fetch_batch(j, from_seq, true, &found);
		if (rc == ERR_OK)
			return decode_found(j, &found, b);
	}
	if (rc == ERR_NOTFOUND)
		b->end_seq = found.limit_seq > from_seq ? found.limit_seq : from_seq;
	return rc;
}

int
journal_read(struct journal *j, uint64_t from_seq, struct journal_batch *b)
{
	if (from_seq < UINT64_MAX)
		return read_from(j, from_seq, b);
	b->base_seq = from_seq;
	b->end_seq = from_seq;
	return ERR_NOTFOUND;
}

/* ---- gaps and dead letters ---- */

static int
seek(struct journal *j, enum store_db db, struct bytes *key, struct bytes *value,
    bool behind)
{
	struct bytes at = *key;
	struct store_cursor *c = NULL;
	int rc;

	rc = store_cursor_open(j->store, db, &c);
	if (rc != ERR_OK)
		return rc;
	rc = store_cursor_get(c, STORE_SEEK, key, value);
	if (rc == ERR_OK && behind && key->size == at.size &&
	    memcmp(key->data, at.data, at.size) == 0)
		rc = store_cursor_get(c, STORE_NEXT, key, value);
	store_cursor_close(c);
	return rc;
}

int
journal_gap_read(struct journal *j, uint64_t from_seq, struct journal_gap *gap)
{
	uint8_t number[8];
	struct bytes key = seq_key(number, from_seq), value;
	uint64_t first = 0;
	int rc;

	rc = store_begin_read(j->store);
	if (rc != ERR_OK)
		return rc;
	rc = seek(j, STORE_GAPS, &key, &value, false);
	if (rc == ERR_OK)
		rc = journal_key_seq(key, &first);
	if (rc == ERR_OK && value.size != 24)
		rc = ERR_CORRUPT;
	if (rc == ERR_OK) {
		const uint8_t *v = value.data;

		gap->first_seq = first;
		gap->count = le64_get(v);
		gap->at_ms = le64_get(v + 8);
		gap->reason = (enum journal_gap_reason)v[16];
	}
	store_end(j->store);
	return rc;
}

void
journal_dead_fini(struct journal_dead *d)
{
	buffer_fini(&d->route);
	buffer_fini(&d->value);
	d->seq = 0;
}

static int
copy_dead(struct bytes key, struct bytes value, struct journal_dead *d)
{
	struct bytes route = {
	    .data = (const uint8_t *)key.data + 8, .size = key.size - 8};
	int rc;

	rc = copy(&d->value, value);
	if (rc == ERR_OK)
		rc = copy(&d->route, route);
	if (rc == ERR_OK)
		rc = buffer_reserve(&d->route, 1);
	if (rc != ERR_OK)
		return rc;
	d->route.data[d->route.size] = '\0';
	d->seq = be64_get(key.data);
	return ERR_OK;
}

int
journal_dead_next(struct journal *j, struct journal_dead *d)
{
	uint8_t start[JOURNAL_KEY_BYTES];
	struct bytes key = {.data = start, .size = 8 + d->route.size}, value;
	int rc;

	if (key.size > sizeof(start))
		return ERR_INVALID;
	be64_put(start, d->seq);
	if (d->route.size > 0)
		memcpy(start + 8, d->route.data, d->route.size);
	rc = store_begin_read(j->store);
	if (rc != ERR_OK)
		return rc;
	rc = seek(j, STORE_DEAD, &key, &value, true);
	if (rc == ERR_OK)
		rc = key.size > 8 ? copy_dead(key, value, d) : ERR_CORRUPT;
	store_end(j->store);
	return rc;
}

/* ---- figures ---- */

static int
stat_log(struct journal *j, struct journal_stat *s)
{
	struct store_cursor *c = NULL;
	struct bytes key = {0}, value;
	uint64_t pages;
	int rc;

	s->first_seq = s->next_seq;
	rc = store_db_size(j->store, STORE_LOG, &s->batches, &pages);
	if (rc == ERR_OK)
		rc = store_cursor_open(j->store, STORE_LOG, &c);
	if (rc != ERR_OK)
		return rc;
	rc = store_cursor_get(c, STORE_FIRST, &key, &value);
	store_cursor_close(c);
	if (rc == ERR_NOTFOUND)
		return ERR_OK;
	if (rc == ERR_OK)
		rc = journal_key_seq(key, &s->first_seq);
	if (rc == ERR_OK && value.size >= BATCH_HEADER_BYTES)
		s->oldest_ms = le64_get((const uint8_t *)value.data + BATCH_REAL_MS_AT);
	return rc;
}

static int
stat_room(struct journal *j, struct journal_stat *s)
{
	struct store_pages pages = {0};
	uint64_t reusable = 0, dead_pages = 0, other_pages;
	int rc;

	rc = store_pages(j->store, &pages);
	if (rc == ERR_OK)
		rc = store_free_pages(j->store, true, UINT64_MAX, &reusable);
	if (rc == ERR_OK)
		rc = store_db_size(j->store, STORE_DEAD, &s->dead_count, &dead_pages);
	if (rc == ERR_OK)
		rc = store_db_size(j->store, STORE_GAPS, &s->gap_count, &other_pages);
	if (rc == ERR_OK)
		rc = store_db_size(
		    j->store, STORE_DAMAGED, &s->damaged_count, &other_pages);
	if (rc != ERR_OK)
		return rc;
	s->used_bytes = (pages.end - reusable) * pages.page_bytes;
	s->file_bytes = pages.end * pages.page_bytes;
	s->map_bytes = pages.map * pages.page_bytes;
	s->dead_bytes = dead_pages * pages.page_bytes;
	return ERR_OK;
}

static int
add_route(void *context, struct store_cursor *c, struct bytes name, uint64_t acked)
{
	struct journal_stat *s = context;
	struct journal_route_stat *routes;

	(void)c;
	routes = realloc(s->routes, (s->route_count + 1) * sizeof(*routes));
	if (routes == NULL)
		return ERR_NOMEM;
	s->routes = routes;
	routes[s->route_count].name = strndup(name.data, name.size);
	if (routes[s->route_count].name == NULL)
		return ERR_NOMEM;
	routes[s->route_count].acked_seq = acked;
	s->route_count++;
	return ERR_OK;
}

static void
stat_totals(struct journal_stat *s)
{
	uint64_t owed_from = s->first_seq;

	for (size_t i = 0; i < s->route_count; i++)
		if (i == 0 || s->routes[i].acked_seq < s->acked_seq)
			s->acked_seq = s->routes[i].acked_seq;
	if (s->route_count > 0)
		owed_from = s->acked_seq + 1;
	s->records = s->next_seq > owed_from ? s->next_seq - owed_from : 0;
}

/* A writer that is configured otherwise may have come since it was opened. */
static int
refresh_max_bytes(struct journal *j)
{
	int rc = ERR_OK;

	if (j->role == JOURNAL_LOOK)
		rc = journal_meta_get_u64(j, "max_bytes", &j->max_bytes);
	return rc == ERR_NOTFOUND ? ERR_OK : rc; /* not yet told */
}

int
journal_stat(struct journal *j, struct journal_stat *out)
{
	struct journal_stat s = {0};
	int rc;

	rc = store_begin_read(j->store);
	if (rc != ERR_OK)
		return rc;
	rc = refresh_max_bytes(j);
	s.max_bytes = j->max_bytes;
	if (rc == ERR_OK)
		rc = journal_meta_next(j, &s.next_seq);
	if (rc == ERR_OK)
		rc = stat_log(j, &s);
	if (rc == ERR_OK)
		rc = stat_room(j, &s);
	if (rc == ERR_OK)
		rc = journal_meta_positions(j, add_route, &s);
	if (rc == ERR_OK)
		rc = journal_removed_get(j, s.removed);
	store_end(j->store);
	if (rc != ERR_OK) {
		journal_stat_fini(&s);
		return rc;
	}
	stat_totals(&s);
	*out = s;
	return ERR_OK;
}

void
journal_stat_fini(struct journal_stat *s)
{
	for (size_t i = 0; i < s->route_count; i++)
		free(s->routes[i].name);
	free(s->routes);
	*s = (struct journal_stat){0};
}
