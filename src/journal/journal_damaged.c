/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Quarantine: a batch that cannot be read goes out of the way of those behind it.
 *
 * Invariant: it is kept as it was found, and a gap marker tells what it held, in the
 * transaction that takes it out of the log. What can be proved to be whole stays: the
 * records in front of the first that does not decode, too.
 *
 * Failure modes: no room (dead_max_bytes, shared with the dead letters, or the disk): it
 * stays where it is. A disk that does not give it (ERR_IO) proves nothing: likewise.
 */
#include "journal_private.h"

#include <string.h>

#include "err.h"
#include "guard.h"
#include "now.h"

struct quarantine {
	uint64_t seq; /* in it, or behind it and before the next batch */
	uint64_t base_seq;
	uint64_t first_seq; /* what cannot be read: from here ... */
	uint64_t end_seq;   /* ... to before here */
	struct batch_header header;
	struct buffer body; /* what can be read: the records before first_seq */
	struct buffer kept; /* the same, as a batch */
};

/* ---- what it is ---- */

/* The batch in front may reach into it, where this one's key is what is damaged. */
static int
note_before(struct journal *j, struct store_cursor *c, struct quarantine *q)
{
	struct batch_header h;
	struct bytes key = {0}, value;
	uint64_t base = 0;
	int rc = store_cursor_get(c, STORE_PREVIOUS, &key, &value);

	q->first_seq = q->base_seq;
	if (rc == ERR_OK)
		rc = journal_key_seq(key, &base);
	if (rc == ERR_OK)
		rc = guard_copy(&j->raw, value);
	if (rc == ERR_OK)
		rc = batch_decode(j->coder,
		    (struct bytes){.data = j->raw.data, .size = j->raw.size}, base, &h,
		    &q->body);
	if (rc == ERR_OK && h.count <= UINT64_MAX - base &&
	    base + h.count > q->first_seq)
		q->first_seq = base + h.count;
	return rc == ERR_NOTFOUND || rc == ERR_CORRUPT || rc == ERR_VERSION ? ERR_OK
									    : rc;
}

static int
note_behind(struct journal *j, struct store_cursor *c, struct quarantine *q)
{
	struct bytes key = {0}, value;
	int rc = store_cursor_get(c, STORE_NEXT, &key, &value);

	if (rc == ERR_NOTFOUND)
		return journal_meta_next(j, &q->end_seq);
	return rc == ERR_OK ? journal_key_seq(key, &q->end_seq) : rc;
}

/* The last batch that begins at or before seq. */
static int
seek_batch(struct store_cursor *c, struct quarantine *q, struct bytes *value)
{
	uint8_t number[8];
	struct bytes key = seq_key(number, q->seq);
	int rc = store_cursor_get(c, STORE_SEEK, &key, value);

	if (rc == ERR_OK)
		rc = journal_key_seq(key, &q->base_seq);
	if (rc == ERR_OK && q->base_seq != q->seq)
		rc = store_cursor_get(c, STORE_PREVIOUS, &key, value);
	else if (rc == ERR_NOTFOUND)
		rc = store_cursor_get(c, STORE_LAST, &key, value);
	return rc == ERR_OK ? journal_key_seq(key, &q->base_seq) : rc;
}

/* j->raw: out, the batch as it is. */
static int
find(struct journal *j, struct quarantine *q)
{
	struct store_cursor *c = NULL;
	struct bytes value;
	int rc;

	rc = store_cursor_open(j->store, STORE_LOG, &c);
	if (rc == ERR_OK)
		rc = seek_batch(c, q, &value);
	if (rc == ERR_OK)
		rc = note_before(j, c, q);
	if (rc == ERR_OK)
		rc = seek_batch(c, q, &value);
	if (rc == ERR_OK)
		rc = guard_copy(&j->raw, value);
	if (rc == ERR_OK)
		rc = note_behind(j, c, q);
	store_cursor_close(c);
	if (rc == ERR_OK && q->end_seq <= q->base_seq)
		q->end_seq = q->base_seq + 1;
	if (rc == ERR_OK && q->first_seq > q->end_seq)
		q->first_seq = q->end_seq;
	return rc == ERR_NOTFOUND ? ERR_INVALID : rc;
}

/* The checksum is right: how far do its records decode? */
static int
count_records(struct quarantine *q, uint32_t *count)
{
	struct record_decoder *d = NULL;
	struct record r;
	size_t at = 0;
	int rc = record_decoder_open(&d);

	*count = 0;
	while (rc == ERR_OK && *count < q->header.count) {
		rc = record_decode(d, q->body.data, q->body.size, &at, &r);
		if (rc == ERR_OK)
			++*count;
	}
	record_decoder_close(d);
	if (rc == ERR_CORRUPT)
		q->body.size = at;
	return rc;
}

/* ERR_OK: it is damaged; q->kept is what is whole of it, or nothing. */
static int
judge(struct journal *j, struct quarantine *q)
{
	struct bytes raw = {.data = j->raw.data, .size = j->raw.size};
	uint32_t count = 0;
	int rc;

	rc = batch_decode(j->coder, raw, q->base_seq, &q->header, &q->body);
	buffer_clear(&q->kept);
	if (rc == ERR_CORRUPT)
		return ERR_OK;
	if (rc == ERR_OK)
		rc = count_records(q, &count);
	if (rc != ERR_CORRUPT)
		return rc == ERR_OK ? ERR_INVALID : rc;
	q->first_seq = q->base_seq + count;
	q->end_seq = q->base_seq + q->header.count;
	if (count == 0)
		return ERR_OK;
	q->header.count = count;
	rc = batch_encode(j->coder, q->header.codec,
	    (struct bytes){.data = q->body.data, .size = q->body.size}, &q->header,
	    &q->kept);
	if (rc == ERR_OK)
		batch_seal(&q->header, &q->kept);
	return rc;
}

/* ---- moving it ---- */

static int
move(struct journal *j, void *context)
{
	struct quarantine *q = context;
	struct bytes raw, kept;
	uint8_t number[8];
	int rc;

	rc = store_is_complete(j->store) ? ERR_OK : store_create(j->store);
	if (rc == ERR_OK)
		rc = find(j, q);
	if (rc == ERR_OK)
		rc = judge(j, q);
	if (rc == ERR_OK)
		rc = journal_check_runs(j, q->base_seq, q->base_seq, 1);
	if (rc != ERR_OK)
		return rc;
	raw = (struct bytes){.data = j->raw.data, .size = j->raw.size};
	kept = (struct bytes){.data = q->kept.data, .size = q->kept.size};
	rc = store_put(
	    j->store, STORE_DAMAGED, seq_key(number, q->base_seq), raw, STORE_REPLACE);
	if (rc == ERR_OK && kept.size > 0)
		rc = store_put(j->store, STORE_LOG, seq_key(number, q->base_seq), kept,
		    STORE_REPLACE);
	else if (rc == ERR_OK)
		rc = store_delete(j->store, STORE_LOG, seq_key(number, q->base_seq));
	if (rc != ERR_OK || q->first_seq >= q->end_seq)
		return rc;
	return journal_gap_put(j, (struct journal_gap){.first_seq = q->first_seq,
				      .count = q->end_seq - q->first_seq,
				      .at_ms = (uint64_t)now_real_ms(),
				      .reason = JOURNAL_GAP_DAMAGED});
}

/* Before anything is written: is it damaged, and is there room for it? */
static int
check(struct journal *j, struct quarantine *q)
{
	struct store_pages pages = {0};
	uint64_t entries, dead = 0, damaged = 0, wanted = 0;
	int rc;

	rc = store_begin_read(j->store);
	if (rc != ERR_OK)
		return rc;
	rc = find(j, q);
	if (rc == ERR_OK)
		rc = judge(j, q);
	if (rc == ERR_OK)
		rc = store_pages(j->store, &pages);
	if (rc == ERR_OK)
		rc = store_db_size(j->store, STORE_DEAD, &entries, &dead);
	if (rc == ERR_OK)
		rc = store_db_size(j->store, STORE_DAMAGED, &entries, &damaged);
	store_end(j->store);
	if (rc != ERR_OK)
		return rc;
	wanted = j->raw.size / pages.page_bytes + 2;
	if ((dead + damaged + wanted) * pages.page_bytes > j->dead_max_bytes)
		return ERR_FULL;
	return journal_take_blocks(j);
}

int
journal_quarantine(struct journal *j, struct journal_range *range)
{
	struct quarantine q = {.seq = range->first_seq};
	int rc = check(j, &q);

	if (rc == ERR_OK)
		rc = journal_write(j, move, &q);
	if (rc == ERR_OK)
		*range = (struct journal_range){q.first_seq, q.end_seq};
	buffer_fini(&q.body);
	buffer_fini(&q.kept);
	return rc;
}
