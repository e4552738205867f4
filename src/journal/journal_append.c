/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Appending: records are gathered into batches, encoded and compressed before the
 * write transaction begins, and written in one.
 *
 * Invariant: the sequence is dense. "next" is read and written in the transaction that
 * appends; a commit that fails has used no number.
 *
 * Failure modes: no room (by the gate, the map or the disk) is ERR_FULL, and nothing
 * is written; a commit of gap markers alone has truncation's reserve. The gate looks
 * before the write transaction; what the other process does in between is small against
 * the reserve, and seen by the next look.
 */
#include "journal_private.h"

#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "now.h"

/* More than an encoded batch takes that is no larger than BATCH_BODY_BYTES. */
#define KEPT_BYTES (4 * BATCH_BODY_BYTES)

/* ---- staging ---- */

static int
next_item(struct journal *j, struct staged **item)
{
	if (j->item_count == j->item_capacity) {
		size_t capacity = j->item_capacity == 0 ? 16 : 2 * j->item_capacity;
		struct staged *items = realloc(j->items, capacity * sizeof(*items));

		if (items == NULL)
			return ERR_NOMEM;
		memset(items + j->item_capacity, 0,
		    (capacity - j->item_capacity) * sizeof(*items));
		j->items = items;
		j->item_capacity = capacity;
	}
	*item = &j->items[j->item_count];
	return ERR_OK;
}

/* End the batch that is being gathered, if there is one. */
static int
close_batch(struct journal *j, enum batch_effort effort)
{
	struct batch_header header = {.count = j->body_count};
	struct staged *item;
	struct buffer spare;
	int rc;

	if (j->body_count == 0)
		return ERR_OK;
	rc = next_item(j, &item);
	if (rc == ERR_OK)
		rc = batch_end(j->coder, j->codec, effort, &header, &j->body);
	if (rc != ERR_OK)
		return rc;
	spare = item->stored;
	item->is_gap = false;
	item->header = header;
	item->stored = j->body;
	j->item_count++;
	j->body = spare;
	j->body_count = 0;
	return ERR_OK;
}

static int
stage_gap(struct journal *j, enum journal_gap_reason reason, size_t count)
{
	struct staged *item;
	int rc;

	rc = close_batch(j, BATCH_QUICK);
	if (rc != ERR_OK)
		return rc;
	if (j->item_count > 0 && j->items[j->item_count - 1].is_gap &&
	    j->items[j->item_count - 1].gap_reason == reason) {
		j->items[j->item_count - 1].gap_count += count;
		j->staged_count += count;
		return ERR_OK;
	}
	rc = next_item(j, &item);
	if (rc != ERR_OK)
		return rc;
	item->is_gap = true;
	item->gap_reason = reason;
	item->gap_count = count;
	item->gap_at_ms = (uint64_t)now_real_ms();
	j->item_count++;
	j->staged_count += count;
	return ERR_OK;
}

/* Encoded behind what is gathered already; taken back when it is not to stay. */
static int
gather(struct journal *j, const struct record *r, size_t limit, size_t *size)
{
	size_t before;
	int rc;

	rc = j->body_count == 0 ? batch_begin(&j->body) : ERR_OK;
	if (rc != ERR_OK)
		return rc;
	before = j->body.size;
	rc = record_encode(r, &j->body);
	if (rc != ERR_OK)
		return rc;
	*size = j->body.size - before;
	if (*size <= limit)
		return ERR_OK;
	j->body.size = before;
	return ERR_TOOLARGE;
}

static int
stage_too_large(struct journal *j, const struct record *r)
{
	int rc = stage_gap(j, JOURNAL_GAP_TOO_LARGE, 1);

	if (rc != ERR_OK)
		return rc;
	log_repeated(&j->too_large_repeat, now_monotonic_ms(), LOG_LEVEL_ERROR,
	    LOG_JOURNAL,
	    "a message on \"%.*s\" with a payload of %zu bytes is larger than a "
	    "sixteenth of "
	    "journal.max_bytes: not kept, a gap marker takes its place",
	    r->topic.size > 200 ? 200 : (int)r->topic.size, (const char *)r->topic.data,
	    r->payload.size);
	return ERR_OK;
}

/* How many of them may be gathered into one batch. */
static size_t
body_bytes(const struct journal *j)
{
	return j->codec == BATCH_CODEC_NONE ? BATCH_BODY_PLAIN_BYTES : BATCH_BODY_BYTES;
}

/* ERR_TOOLARGE: its stored form is larger than limit, and it is not staged. */
static int
stage(struct journal *j, const struct record *r, size_t limit)
{
	size_t most = BATCH_HEADER_BYTES + body_bytes(j), size = 0;
	int rc = ERR_OK;

	/* Not even encoded where it is plain: that might need memory for nothing. */
	if (r->payload.size > limit)
		return ERR_TOOLARGE;
	/* Behind others it would only make their batch keep room for it. */
	if (j->body_count > 0 && j->body.size + r->payload.size > most)
		rc = close_batch(j, BATCH_QUICK);
	if (rc == ERR_OK)
		rc = gather(j, r, limit, &size);
	if (rc != ERR_OK)
		return rc;
	if (j->body_count > 0 && j->body.size > most) {
		/* It does not fit any more: the batch ends before it. */
		j->body.size -= size;
		rc = close_batch(j, BATCH_QUICK);
		if (rc == ERR_OK)
			rc = gather(j, r, limit, &size);
		if (rc != ERR_OK)
			return rc;
	}
	j->body_count++;
	j->staged_count++;
	j->staged_bytes += size;
	return ERR_OK;
}

int
journal_stage(struct journal *j, const struct record *r)
{
	uint64_t max = j->max_bytes / 16;
	int rc = stage(j, r, max > SIZE_MAX ? SIZE_MAX : (size_t)max);

	return rc == ERR_TOOLARGE ? stage_too_large(j, r) : rc;
}

int
journal_stage_again(struct journal *j, const struct record *r)
{
	return stage(j, r, SIZE_MAX);
}

int
journal_stage_dropped(struct journal *j, size_t count)
{
	return count == 0 ? ERR_OK : stage_gap(j, JOURNAL_GAP_DROPPED_NEWEST, count);
}

size_t
journal_staged_count(const struct journal *j)
{
	return j->staged_count;
}

size_t
journal_staged_bytes(const struct journal *j)
{
	return j->staged_bytes;
}

/* A large message's room is given back: else each item would come to keep one. */
static void
shrink(struct buffer *b)
{
	if (b->capacity > KEPT_BYTES)
		buffer_fini(b);
	buffer_clear(b);
}

void
journal_unstage(struct journal *j)
{
	for (size_t i = 0; i < j->item_count; i++)
		shrink(&j->items[i].stored);
	j->item_count = 0;
	j->body_count = 0;
	shrink(&j->body);
	j->staged_count = 0;
	j->staged_bytes = 0;
}

/* ---- the gate ---- */

struct room {
	uint64_t page_bytes;
	uint64_t wanted;  /* pages for what is staged */
	uint64_t end;     /* pages of the file */
	uint64_t limit;   /* pages that it may have: max_bytes, and what is put away */
	uint64_t reach;   /* pages that there are blocks for */
	uint64_t ceiling; /* the limit, or the reach where the disk gives no more */
};

/* Pages that what is staged takes, at most; no batch shares a page with another. */
static uint64_t
staged_pages(const struct journal *j, uint64_t page_bytes)
{
	uint64_t pages = JOURNAL_EXTRA_PAGES;

	for (size_t i = 0; i < j->item_count; i++)
		if (!j->items[i].is_gap)
			pages += j->items[i].stored.size / page_bytes + 1;
	return pages;
}

static int
measure(struct journal *j, struct room *room)
{
	struct store_pages pages = {0};
	uint64_t entries, dead = 0, damaged = 0, target, reach = 0;
	int rc;

	rc = store_pages(j->store, &pages);
	if (rc == ERR_OK)
		rc = store_db_size(j->store, STORE_DEAD, &entries, &dead);
	if (rc == ERR_OK)
		rc = store_db_size(j->store, STORE_DAMAGED, &entries, &damaged);
	if (rc != ERR_OK)
		return rc;
	room->page_bytes = pages.page_bytes;
	room->wanted = staged_pages(j, pages.page_bytes);
	room->end = pages.end;
	room->limit = j->max_bytes / pages.page_bytes + dead + damaged;
	room->ceiling = room->limit;
	target = pages.end + room->wanted;
	if (target > room->limit)
		target = room->limit;
	if (target < pages.end)
		target = pages.end; /* forward went beyond to truncate */
	rc = store_take(j->store, target * pages.page_bytes, &reach);
	room->reach = reach / pages.page_bytes;
	if (rc == ERR_FULL && room->reach < room->ceiling)
		room->ceiling = room->reach;
	return rc == ERR_FULL ? ERR_OK : rc;
}

/*
 * The pages in use are the file's less those that can be used again. Live pages would
 * not do: a pinned reader makes the two differ, and truncating needs the difference.
 */
static int
look_for_room(struct journal *j, bool soon, bool *fits)
{
	struct room room = {0};
	uint64_t reusable = 0, missing;
	int rc;

	rc = store_begin_read(j->store);
	if (rc != ERR_OK)
		return rc;
	rc = measure(j, &room);
	*fits = room.end + room.wanted <= room.ceiling;
	if (rc == ERR_OK && !*fits) {
		missing = room.end + room.wanted - room.ceiling;
		rc = store_free_pages(j->store, soon, missing, &reusable);
		*fits = reusable >= missing;
	}
	store_end(j->store);
	return rc;
}

static int
rewrite_next(struct journal *j, void *context)
{
	uint64_t next = 0;
	int rc = journal_meta_next(j, &next);

	(void)context;
	return rc != ERR_OK ? rc : journal_meta_put_u64(j, "next", next);
}

/*
 * What the latest commit freed can be used only after one commit more. When that was
 * the truncation that emptied a full journal, nobody else would make it.
 */
static int
check_room(struct journal *j)
{
	bool fits = false;
	int rc;

	rc = look_for_room(j, false, &fits);
	if (rc != ERR_OK || fits)
		return rc;
	rc = look_for_room(j, true, &fits);
	if (rc == ERR_OK && !fits)
		rc = ERR_FULL;
	if (rc == ERR_OK)
		rc = journal_write(j, rewrite_next, NULL);
	if (rc == ERR_OK)
		rc = look_for_room(j, false, &fits);
	return rc == ERR_OK && !fits ? ERR_FULL : rc;
}

int
journal_probe(struct journal *j)
{
	return journal_write(j, rewrite_next, NULL);
}

/* Pages for more: by max_bytes, and by what the disk has. */
struct room_left {
	uint64_t by_limit;
	uint64_t by_disk;
	uint64_t page_bytes;
};

static int
measure_left(struct journal *j, struct room_left *left)
{
	struct room room = {0};
	uint64_t reusable = 0, disk = 0, used, growth;
	int rc;

	rc = store_begin_read(j->store);
	if (rc != ERR_OK)
		return rc;
	rc = measure(j, &room);
	if (rc == ERR_OK)
		rc = store_free_pages(j->store, true, UINT64_MAX, &reusable);
	if (rc == ERR_OK)
		rc = store_disk_free(j->store, &disk);
	store_end(j->store);
	if (rc != ERR_OK)
		return rc;
	used = room.end - reusable + room.wanted;
	left->by_limit = room.limit > used ? room.limit - used : 0;
	growth = room.reach > room.end ? room.reach - room.end : 0;
	growth += reusable + disk / room.page_bytes;
	left->by_disk = growth > room.wanted ? growth - room.wanted : 0;
	left->page_bytes = room.page_bytes;
	return ERR_OK;
}

int
journal_room(struct journal *j, uint64_t *bytes)
{
	struct room_left left;
	int rc = measure_left(j, &left);

	if (rc == ERR_OK)
		*bytes = (left.by_limit < left.by_disk ? left.by_limit : left.by_disk) *
			 left.page_bytes;
	return rc;
}

bool
journal_is_short_of_disk(struct journal *j)
{
	struct room_left left;

	return measure_left(j, &left) == ERR_OK && left.by_disk < left.by_limit;
}

/* ---- committing ---- */

static int
put_batch(struct journal *j, struct staged *item, uint64_t base_seq)
{
	uint8_t number[8];

	item->header.base_seq = base_seq;
	batch_seal(&item->header, &item->stored);
	return store_put(j->store, STORE_LOG, seq_key(number, base_seq),
	    (struct bytes){.data = item->stored.data, .size = item->stored.size},
	    STORE_APPEND);
}

static int
write_items(struct journal *j)
{
	uint64_t next = 0;
	int rc;

	rc = journal_meta_next(j, &next);
	for (size_t i = 0; rc == ERR_OK && i < j->item_count; i++) {
		struct staged *item = &j->items[i];

		if (item->is_gap) {
			rc = journal_gap_put(j, (struct journal_gap){.first_seq = next,
						    .count = item->gap_count,
						    .at_ms = item->gap_at_ms,
						    .reason = item->gap_reason});
			next += item->gap_count;
		} else {
			rc = put_batch(j, item, next);
			next += item->header.count;
		}
	}
	return rc != ERR_OK ? rc : journal_meta_put_u64(j, "next", next);
}

static void
stamp_items(struct journal *j)
{
	uint64_t boot_ms = (uint64_t)now_boot_ms(), real_ms = (uint64_t)now_real_ms();
	bool synchronised = now_is_synchronised();

	for (size_t i = 0; i < j->item_count; i++) {
		struct batch_header *h = &j->items[i].header;

		h->synchronised = synchronised;
		memcpy(h->boot_id, j->boot_id, sizeof(h->boot_id));
		h->boot_ms = boot_ms;
		h->real_ms = real_ms;
	}
}

static bool
has_batches(const struct journal *j)
{
	for (size_t i = 0; i < j->item_count; i++) {
		if (!j->items[i].is_gap)
			return true;
	}
	return false;
}

static int
write_gaps(struct journal *j, void *context)
{
	(void)context;
	return write_items(j);
}

/* Markers alone are let past the gate: they are for a journal that is full. */
static int
commit_gaps(struct journal *j)
{
	int rc = journal_take_blocks(j);

	return rc == ERR_OK ? journal_write(j, write_gaps, NULL) : rc;
}

/*
 * A commit that is one batch is compressed well: mostly its messages came slowly, and
 * there is time. Should it hold others up, more of them wait for the next commit, which
 * then has several batches, unless a small window of the broker's keeps it small.
 */
static enum batch_effort
last_effort(const struct journal *j)
{
	bool is_large = j->body.size > BATCH_HEADER_BYTES + BATCH_BODY_BYTES;

	return is_large || has_batches(j) ? BATCH_QUICK : BATCH_THOROUGH;
}

static int
commit(struct journal *j, journal_work *work, void *context)
{
	int rc;

	rc = close_batch(j, last_effort(j));
	if (rc != ERR_OK)
		return rc;
	if (work == NULL && !has_batches(j))
		return commit_gaps(j);
	stamp_items(j);
	rc = check_room(j);
	if (rc == ERR_OK)
		rc = store_begin_write(j->store);
	if (rc != ERR_OK)
		return rc;
	rc = write_items(j);
	if (rc == ERR_OK && work != NULL)
		rc = work(j, context);
	if (rc == ERR_OK)
		return store_commit(j->store);
	store_end(j->store);
	return rc;
}

int
journal_commit_with(struct journal *j, journal_work *work, void *context)
{
	int rc = ERR_OK;

	if (j->staged_count > 0)
		rc = commit(j, work, context);
	journal_unstage(j);
	return rc;
}

int
journal_commit(struct journal *j)
{
	return journal_commit_with(j, NULL, NULL);
}
