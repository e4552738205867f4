/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding: first along the trees of the later meta page, then of the other, as far as
 * they can be followed; then in each page of the file by itself.
 *
 * Invariant: a batch is taken for one only when its checksum is right. What has none (a
 * dead letter, a gap, a name and its value) is taken from a tree, and from pages by
 * themselves only where its tree is not whole: there may be old ones among them.
 *
 * Failure modes: a page that cannot be read is left out.
 */
#include "salvage.h"

#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "err.h"
#include "journal_private.h"
#include "pages_parts.h"

struct finder {
	struct salvage_found *f;
	struct batch_coder *coder;
	struct record_decoder *decoder;
	struct buffer raw;
	struct buffer body;
	bool is_latest; /* the latest transaction is known: both meta pages are good */
	bool
	    is_of_tree; /* what is visited now is of it, or of the latest that there is */
};

/* ---- collecting ---- */

static int
grow(void **items, size_t count, size_t *capacity, size_t size)
{
	size_t wanted = *capacity == 0 ? 64 : 2 * *capacity;
	void *grown;

	if (count < *capacity)
		return ERR_OK;
	grown = realloc(*items, wanted * size);
	if (grown == NULL)
		return ERR_NOMEM;
	*items = grown;
	*capacity = wanted;
	return ERR_OK;
}

static int
add_entry(struct salvage_list *list, struct bytes key, const struct buffer *value)
{
	struct salvage_entry e = {0};
	void *items = list->items;
	int rc = grow(&items, list->count, &list->capacity, sizeof(e));

	list->items = items;
	if (rc == ERR_OK)
		rc = buffer_append(&e.key, key.data, key.size);
	if (rc == ERR_OK)
		rc = buffer_append(&e.value, value->data, value->size);
	if (rc == ERR_OK) {
		list->items[list->count++] = e;
	} else {
		buffer_fini(&e.key);
		buffer_fini(&e.value);
	}
	return rc;
}

/* Into s->raw. What cannot be read is passed over: ERR_NOTFOUND. */
static int
read_value(struct finder *s, const struct pages_place *place)
{
	int rc;

	buffer_clear(&s->raw);
	rc = buffer_reserve(&s->raw, place->bytes + 1);
	if (rc != ERR_OK)
		return rc;
	if (pages_read(&s->f->pages, place->at, s->raw.data, place->bytes) != ERR_OK)
		return ERR_NOTFOUND;
	s->raw.size = place->bytes;
	return ERR_OK;
}

/* ---- batches ---- */

static int
add_piece(struct finder *s, struct salvage_piece piece)
{
	struct salvage_found *f = s->f;
	void *items = f->pieces;
	int rc = grow(&items, f->piece_count, &f->piece_capacity, sizeof(piece));

	f->pieces = items;
	if (rc == ERR_OK)
		f->pieces[f->piece_count++] = piece;
	return rc;
}

/* s->raw is what lies there: is it a batch, with that number? */
static int
try_batch(struct finder *s, uint64_t base_seq, const struct pages_place *place)
{
	struct salvage_piece piece = {
	    .base_seq = base_seq,
	    .end_seq = base_seq,
	    .place = *place,
	    .is_of_tree = s->is_of_tree,
	};
	struct bytes raw = {.data = s->raw.data, .size = s->raw.size};
	struct batch_header h = {0};
	int rc = batch_decode(s->coder, raw, base_seq, &h, &s->body);

	if (rc == ERR_NOMEM)
		return rc;
	if (rc == ERR_VERSION && s->is_of_tree)
		return add_piece(s, piece);
	if (rc != ERR_OK || base_seq == 0 || h.count > UINT64_MAX - base_seq)
		return ERR_OK;
	piece.end_seq = base_seq + h.count;
	piece.real_ms = h.real_ms;
	return add_piece(s, piece);
}

static int
visit_batch(void *context, struct bytes key, const struct pages_place *place)
{
	struct finder *s = context;
	int rc;

	if (key.size != 8)
		return ERR_OK;
	rc = read_value(s, place);
	if (rc == ERR_OK)
		rc = try_batch(s, be64_get(key.data), place);
	return rc == ERR_NOTFOUND ? ERR_OK : rc;
}

/* A large batch on pages of its own; its exact length is what it says itself. */
static int
try_run(struct finder *s, size_t number, const uint8_t *page)
{
	const struct pages *p = &s->f->pages;
	struct pages_place place = {
	    .at = (uint64_t)number * p->page_bytes + PAGES_HEADER_BYTES};
	struct pages_head head;
	uint64_t base_seq, room;
	int rc;

	pages_head_get(page, &head);
	if (head.flags != PAGES_OVERFLOW || head.number != number ||
	    head.run_pages == 0)
		return ERR_OK;
	room = (uint64_t)head.run_pages * p->page_bytes - PAGES_HEADER_BYTES;
	if (room > p->file_bytes - place.at || room > SIZE_MAX)
		return ERR_OK;
	if (page[PAGES_HEADER_BYTES] != BATCH_VERSION)
		return ERR_OK; /* not worth reading all of it */
	place.bytes = (size_t)room;
	rc = read_value(s, &place);
	if (rc != ERR_OK)
		return rc == ERR_NOTFOUND ? ERR_OK : rc;
	rc = batch_measure((struct bytes){.data = s->raw.data, .size = s->raw.size},
	    &base_seq, &place.bytes);
	if (rc != ERR_OK)
		return ERR_OK;
	s->raw.size = place.bytes;
	return try_batch(s, base_seq, &place);
}

/* ---- the rest ---- */

static bool
is_gap(struct bytes key, const struct buffer *value)
{
	uint64_t first, count;

	if (key.size != 8 || value->size != 24)
		return false;
	first = be64_get(key.data);
	count = le64_get(value->data);
	return count > 0 && count <= UINT64_MAX - first && value->data[16] > 0 &&
	       value->data[16] < JOURNAL_GAP_REASONS &&
	       memcmp(value->data + 17, "\0\0\0\0\0\0\0", 7) == 0;
}

static bool
is_letter(struct finder *s, struct bytes key, const struct buffer *value)
{
	struct dead_letter letter;
	struct record r;
	size_t at = 0;

	if (key.size <= 8)
		return false;
	record_decoder_reset(s->decoder);
	return dead_letter_decode(s->decoder, value->data, value->size, &letter) ==
		   ERR_OK &&
	       record_decode(s->decoder, letter.record.data, letter.record.size, &at,
		   &r) == ERR_OK;
}

static bool
begins(struct bytes key, const char *text)
{
	size_t size = strlen(text);

	return key.size >= size && memcmp(key.data, text, size) == 0;
}

static bool
is_meta(struct bytes key, const struct buffer *value)
{
	if (begins(key, "ack/") || begins(key, "next") || begins(key, "max_bytes"))
		return value->size == 8;
	if (begins(key, "uuid") || begins(key, "parent"))
		return value->size == 16 && key.size <= 6;
	return begins(key, "gateway") || begins(key, "machine") ||
	       (begins(key, "subscriptions") && value->size >= 4);
}

static int
visit_gap(void *context, struct bytes key, const struct pages_place *place)
{
	struct finder *s = context;
	int rc = place->bytes == 24 ? read_value(s, place) : ERR_NOTFOUND;

	if (rc == ERR_OK && is_gap(key, &s->raw))
		rc = add_entry(&s->f->gaps, key, &s->raw);
	return rc == ERR_NOTFOUND ? ERR_OK : rc;
}

static int
visit_letter(void *context, struct bytes key, const struct pages_place *place)
{
	struct finder *s = context;
	int rc = key.size > 8 ? read_value(s, place) : ERR_NOTFOUND;

	if (rc == ERR_OK && is_letter(s, key, &s->raw))
		rc = add_entry(&s->f->dead, key, &s->raw);
	return rc == ERR_NOTFOUND ? ERR_OK : rc;
}

static int
visit_meta(void *context, struct bytes key, const struct pages_place *place)
{
	struct finder *s = context;
	int rc = read_value(s, place);

	if (rc == ERR_OK)
		rc = add_entry(&s->f->meta, key, &s->raw);
	return rc == ERR_NOTFOUND ? ERR_OK : rc;
}

static int
visit_damaged(void *context, struct bytes key, const struct pages_place *place)
{
	struct finder *s = context;
	int rc = key.size == 8 ? read_value(s, place) : ERR_NOTFOUND;

	if (rc == ERR_OK)
		rc = add_entry(&s->f->damaged, key, &s->raw);
	return rc == ERR_NOTFOUND ? ERR_OK : rc;
}

/* An entry of a leaf of which nobody knows what tree it is of, or was. */
static int
visit_stray(void *context, struct bytes key, const struct pages_place *place)
{
	struct finder *s = context;
	struct salvage_found *f = s->f;
	int rc = read_value(s, place);

	if (rc != ERR_OK)
		return rc == ERR_NOTFOUND ? ERR_OK : rc;
	if (key.size == 8 && is_gap(key, &s->raw))
		return f->gaps.is_whole ? ERR_OK : add_entry(&f->gaps, key, &s->raw);
	if (is_meta(key, &s->raw)) /* no number begins with such letters */
		return f->meta.is_whole ? ERR_OK : add_entry(&f->meta, key, &s->raw);
	if (key.size == 8)
		return try_batch(s, be64_get(key.data), place);
	if (!f->dead.is_whole && is_letter(s, key, &s->raw))
		return add_entry(&f->dead, key, &s->raw);
	return ERR_OK;
}

/* ---- the whole file ---- */

static int
follow(struct finder *s, const struct pages_meta *meta, const char *name,
    pages_visit *visit, bool *is_whole)
{
	bool whole = false;
	int rc;

	if (*is_whole)
		return ERR_OK;
	rc = pages_walk(&s->f->pages, meta, name, PAGES_LENIENT, visit, s, &whole);
	if (rc == ERR_OK)
		s->f->has_tree = true;
	/* One meta page alone may be the older one. */
	*is_whole = rc == ERR_OK && whole && s->is_of_tree && s->is_latest;
	return rc == ERR_NOTFOUND ? ERR_OK : rc;
}

static int
follow_trees(struct finder *s, const struct pages_meta *meta)
{
	struct salvage_found *f = s->f;
	int rc = follow(s, meta, "log", visit_batch, &f->is_log_whole);

	if (rc == ERR_OK)
		rc = follow(s, meta, "meta", visit_meta, &f->meta.is_whole);
	if (rc == ERR_OK)
		rc = follow(s, meta, "gaps", visit_gap, &f->gaps.is_whole);
	if (rc == ERR_OK)
		rc = follow(s, meta, "dead", visit_letter, &f->dead.is_whole);
	if (rc == ERR_OK)
		rc = follow(s, meta, "damaged", visit_damaged, &f->damaged.is_whole);
	return rc;
}

static int
scan(struct finder *s)
{
	struct pages *p = &s->f->pages;
	uint64_t count = p->file_bytes / p->page_bytes;
	uint8_t *page = malloc(p->page_bytes);
	int rc = page == NULL ? ERR_NOMEM : ERR_OK;

	for (size_t n = 2; rc == ERR_OK && n < count; n++) {
		if (pages_read(p, (uint64_t)n * p->page_bytes, page, p->page_bytes) !=
		    ERR_OK)
			continue;
		rc = pages_visit_leaf(p, n, page, visit_stray, s);
		if (rc == ERR_NOTFOUND)
			rc = try_run(s, n, page);
	}
	free(page);
	return rc;
}

static int
compare_pieces(const void *left, const void *right)
{
	const struct salvage_piece *a = left, *b = right;

	if (a->base_seq != b->base_seq)
		return a->base_seq < b->base_seq ? -1 : 1;
	if (a->is_of_tree != b->is_of_tree)
		return a->is_of_tree ? -1 : 1;
	if (a->real_ms != b->real_ms)
		return a->real_ms > b->real_ms ? -1 : 1;
	return (a->place.at > b->place.at) - (a->place.at < b->place.at);
}

static int
find_all(struct finder *s)
{
	struct salvage_found *f = s->f;
	const struct pages_meta *latest = pages_latest(&f->pages);
	size_t other = latest == &f->pages.metas[0] ? 1 : 0;
	int rc = ERR_OK;

	s->is_of_tree = true;
	if (f->pages.has_meta[1 - other])
		rc = follow_trees(s, latest);
	s->is_of_tree = false;
	if (rc == ERR_OK && f->pages.has_meta[other])
		rc = follow_trees(s, &f->pages.metas[other]);
	if (rc == ERR_OK)
		rc = scan(s);
	if (rc == ERR_OK && f->piece_count > 0)
		qsort(f->pieces, f->piece_count, sizeof(*f->pieces), compare_pieces);
	return rc;
}

int
salvage_find(struct salvage_found *f, int fd)
{
	struct finder s = {.f = f};
	int rc = pages_look(&f->pages, fd);

	s.is_latest = rc == ERR_OK;
	if (rc != ERR_OK && f->pages.file_bytes == 0)
		return rc;
	if (rc == ERR_VERSION || rc == ERR_NOTFOUND)
		return rc;
	rc = batch_coder_open(&s.coder);
	if (rc == ERR_OK)
		rc = record_decoder_open(&s.decoder);
	if (rc == ERR_OK)
		rc = find_all(&s);
	batch_coder_close(s.coder);
	record_decoder_close(s.decoder);
	buffer_fini(&s.raw);
	buffer_fini(&s.body);
	return rc;
}

static void
fini_list(struct salvage_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		buffer_fini(&list->items[i].key);
		buffer_fini(&list->items[i].value);
	}
	free(list->items);
	*list = (struct salvage_list){0};
}

void
salvage_found_fini(struct salvage_found *f)
{
	free(f->pieces);
	fini_list(&f->dead);
	fini_list(&f->gaps);
	fini_list(&f->damaged);
	fini_list(&f->meta);
}
