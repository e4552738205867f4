/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dead letters leave: appended again, or discarded.
 *
 * Invariant: what a letter becomes is in the journal in the transaction that deletes it:
 * a record under a new sequence, or a gap marker. A letter leaves only when the recorded
 * position of its route is past it: else the next forward would come by the record once
 * more, and deliver or bury it a second time.
 *
 * Failure modes: no room in the log: the letters stay. One that cannot be decoded cannot
 * be appended, but discarded.
 */
#include "journal_private.h"

#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "now.h"

/* What one transaction does, at most; but for one letter that is larger. */
#define LETTERS_MAX       64
#define LETTERS_MAX_BYTES ((size_t)1 << 20)

struct letter {
	uint64_t seq;
	uint64_t first_seq; /* when it was requeued before; else 0 */
	char route[JOURNAL_KEY_BYTES];
};

/* What is done with letters, all of them or none. */
struct parting {
	struct record_decoder *decoder;
	bool is_requeue;
	struct letter *letters; /* room for LETTERS_MAX */
	size_t count;
	uint64_t new_seq;            /* out: of the first, when requeued */
	struct journal_order *order; /* NULL: nobody asked by an order */
};

static int
begin(struct parting *p, bool is_requeue)
{
	*p = (struct parting){.is_requeue = is_requeue};
	p->letters = calloc(LETTERS_MAX, sizeof(*p->letters));
	if (p->letters == NULL)
		return ERR_NOMEM;
	return record_decoder_open(&p->decoder);
}

static void
finish(struct journal *j, struct parting *p)
{
	journal_unstage(j);
	record_decoder_close(p->decoder);
	free(p->letters);
}

/* ---- in the transaction that is open ---- */

static int
leave_gap(struct journal *j, uint64_t seq)
{
	return journal_gap_put(j, (struct journal_gap){.first_seq = seq,
				      .count = 1,
				      .at_ms = (uint64_t)now_real_ms(),
				      .reason = JOURNAL_GAP_OPERATOR});
}

static int
delete_letter(struct journal *j, const struct letter *l)
{
	uint8_t key[JOURNAL_KEY_BYTES];
	size_t size = strlen(l->route);

	be64_put(key, l->seq);
	memcpy(key + 8, l->route, size);
	return store_delete(
	    j->store, STORE_DEAD, (struct bytes){.data = key, .size = 8 + size});
}

/*
 * Each number has to be accounted for: a requeued record tells the one it had first, so
 * one that it had in between needs a marker, and both when it is discarded.
 */
static int
part_with(struct journal *j, const struct parting *p, const struct letter *l)
{
	int rc = delete_letter(j, l);

	if (rc == ERR_OK && (!p->is_requeue || l->first_seq != 0))
		rc = leave_gap(j, l->seq);
	if (rc == ERR_OK && !p->is_requeue && l->first_seq != 0)
		rc = leave_gap(j, l->first_seq);
	return rc;
}

static int
count_in_order(struct journal *j, const struct parting *p)
{
	struct journal_order counted = *p->order;
	struct bytes value;
	uint8_t number[8];
	int rc;

	rc = store_get(j->store, STORE_ORDERS, seq_key(number, counted.number), &value);
	if (rc == ERR_NOTFOUND)
		return ERR_OK;
	counted.count += p->count;
	return rc != ERR_OK ? rc : journal_order_put(j, &counted);
}

static int
part_with_all(struct journal *j, void *context)
{
	struct parting *p = context;
	uint64_t next = 0;
	int rc = journal_meta_next(j, &next);

	p->new_seq = next - p->count; /* they are the last ones */
	for (size_t i = 0; i < p->count && rc == ERR_OK; i++)
		rc = part_with(j, p, &p->letters[i]);
	if (rc == ERR_OK && p->order != NULL && p->order->number != 0)
		rc = count_in_order(j, p);
	return rc;
}

/* ---- which, and what of them ---- */

static int
commit_parting(struct journal *j, struct parting *p)
{
	int rc;

	if (p->count == 0)
		return ERR_OK;
	if (p->is_requeue)
		return journal_commit_with(j, part_with_all, p);
	rc = journal_take_blocks(j);
	return rc != ERR_OK ? rc : journal_write(j, part_with_all, p);
}

/* Is the route past it, or not known any more? */
static int
check_position(struct journal *j, const struct journal_dead *d)
{
	uint64_t acked = 0;
	int rc = store_begin_read(j->store);

	if (rc != ERR_OK)
		return rc;
	rc = journal_acked_get(j, (const char *)d->route.data, &acked);
	store_end(j->store);
	if (rc == ERR_NOTFOUND || rc == ERR_INVALID)
		return ERR_OK;
	return rc == ERR_OK && acked < d->seq ? ERR_AWAY : rc;
}

static int
decode(struct parting *p, const struct journal_dead *d, struct record *r)
{
	struct dead_letter letter;
	size_t offset = 0;
	int rc;

	record_decoder_reset(p->decoder);
	rc = dead_letter_decode(p->decoder, d->value.data, d->value.size, &letter);
	if (rc == ERR_OK)
		rc = record_decode(
		    p->decoder, letter.record.data, letter.record.size, &offset, r);
	if (rc == ERR_OK && offset != letter.record.size)
		rc = ERR_CORRUPT;
	return rc;
}

/* Take a letter in. Errors: ERR_AWAY, ERR_CORRUPT: not this one. */
static int
take(struct journal *j, struct parting *p, const struct journal_dead *d)
{
	struct letter *l = &p->letters[p->count];
	struct record r = {0};
	int rc;

	if (d->route.size >= sizeof(l->route) - 8)
		return ERR_CORRUPT;
	rc = check_position(j, d);
	if (rc != ERR_OK)
		return rc;
	rc = decode(p, d, &r);
	if (rc != ERR_OK && (rc != ERR_CORRUPT || p->is_requeue))
		return rc;
	*l = (struct letter){.seq = d->seq, .first_seq = r.requeued_from};
	memcpy(l->route, d->route.data, d->route.size);
	if (p->is_requeue) {
		if (strcmp(l->route, JOURNAL_UNROUTED) != 0)
			r.route = (struct bytes){l->route, d->route.size};
		if (r.requeued_from == 0)
			r.requeued_from = d->seq;
		rc = journal_stage_again(j, &r);
		if (rc != ERR_OK)
			return rc;
	}
	p->count++;
	return ERR_OK;
}

/* ---- one ---- */

/* The first one at or behind its key is it, or it is not there. */
static int
read_letter(struct journal *j, uint64_t seq, const char *route, struct journal_dead *d)
{
	size_t size = strlen(route);
	int rc = ERR_OK;

	if (size == 0 || seq == 0)
		return ERR_NOTFOUND;
	d->seq = seq;
	while (rc == ERR_OK) {
		rc = journal_dead_next(j, d);
		if (rc == ERR_OK && d->seq != seq)
			rc = ERR_NOTFOUND;
		if (rc == ERR_OK && d->route.size == size &&
		    memcmp(d->route.data, route, size) == 0)
			break;
	}
	return rc;
}

static int
part_with_one(struct journal *j, uint64_t seq, const char *route, bool is_requeue,
    uint64_t *new_seq)
{
	struct journal_dead d = {0};
	struct parting p;
	int rc = begin(&p, is_requeue);

	if (rc == ERR_OK)
		rc = read_letter(j, seq, route, &d);
	if (rc == ERR_OK)
		rc = take(j, &p, &d);
	if (rc == ERR_OK)
		rc = commit_parting(j, &p);
	if (rc == ERR_OK)
		*new_seq = p.new_seq;
	finish(j, &p);
	journal_dead_fini(&d);
	return rc;
}

int
journal_requeue(struct journal *j, uint64_t seq, const char *route, uint64_t *new_seq)
{
	return part_with_one(j, seq, route, true, new_seq);
}

int
journal_discard(struct journal *j, uint64_t seq, const char *route)
{
	uint64_t none;

	return part_with_one(j, seq, route, false, &none);
}

/* ---- what an order asks for ---- */

static bool
is_asked_for(const struct journal_order *o, const struct journal_dead *d)
{
	return o->seq != 0 ? d->seq == o->seq : d->seq < o->until_seq;
}

/*
 * An order to discard all may wait for long. What was put away meanwhile nobody has seen:
 * it stays. One that cannot be read tells no time, and has been there.
 */
static bool
is_newer(const struct parting *p, const struct journal_dead *d)
{
	const struct journal_order *o = p->order;
	struct dead_letter letter;

	if (p->is_requeue || o->seq != 0 || o->number == 0)
		return false;
	record_decoder_reset(p->decoder);
	return dead_letter_decode(p->decoder, d->value.data, d->value.size, &letter) ==
		   ERR_OK &&
	       letter.buried_ms > o->at_ms;
}

/* Take in at most so many from behind at on, which moves. more: out, there may be others. */
static int
gather(struct journal *j, struct parting *p, size_t limit, struct journal_dead *at,
    int32_t *passed_by, bool *more)
{
	size_t bytes = 0;
	int rc = ERR_OK;

	*more = false;
	for (size_t n = 0; rc == ERR_OK; n++) {
		if (p->count == limit || n == LETTERS_MAX ||
		    bytes >= LETTERS_MAX_BYTES) {
			*more = true;
			return ERR_OK;
		}
		rc = journal_dead_next(j, at);
		if (rc != ERR_OK || !is_asked_for(p->order, at))
			break;
		bytes += at->value.size;
		if (is_newer(p, at))
			continue;
		rc = take(j, p, at);
		if (rc == ERR_AWAY || rc == ERR_CORRUPT) {
			if (*passed_by == ERR_OK || rc == ERR_AWAY)
				*passed_by = rc;
			rc = ERR_OK;
		}
	}
	return rc == ERR_NOTFOUND ? ERR_OK : rc;
}

/* Where at stood, to go back there. */
struct place {
	uint64_t seq;
	size_t route_size;
	uint8_t route[JOURNAL_KEY_BYTES];
};

static int
note_place(
    struct place *place, const struct journal_order *o, const struct journal_dead *at)
{
	if (at->route.size > sizeof(place->route))
		return ERR_INVALID;
	place->seq = at->seq == 0 ? o->seq : at->seq;
	place->route_size = at->route.size;
	if (at->route.size > 0)
		memcpy(place->route, at->route.data, at->route.size);
	return ERR_OK;
}

static int
go_to(const struct place *place, struct journal_dead *at)
{
	at->seq = place->seq;
	buffer_clear(&at->route);
	return buffer_append(&at->route, place->route, place->route_size);
}

static int
do_letters(struct journal *j, struct journal_order *o, size_t limit,
    struct journal_dead *at, bool *more)
{
	int32_t passed_by = o->err;
	struct parting p;
	int rc = begin(&p, o->kind == JOURNAL_ORDER_REQUEUE);

	p.order = o;
	if (rc == ERR_OK)
		rc = gather(j, &p, limit, at, &passed_by, more);
	if (rc == ERR_OK)
		rc = commit_parting(j, &p);
	if (rc == ERR_OK) {
		o->count += p.count;
		o->err = passed_by;
	}
	finish(j, &p);
	return rc;
}

int
journal_order_letters(
    struct journal *j, struct journal_order *o, struct journal_dead *at, bool *more)
{
	size_t limit = LETTERS_MAX;
	struct place start;
	int rc;

	if (o->kind != JOURNAL_ORDER_REQUEUE && o->kind != JOURNAL_ORDER_DISCARD)
		return ERR_INVALID;
	rc = note_place(&start, o, at);
	if (rc == ERR_OK)
		rc = go_to(&start, at);
	if (rc == ERR_OK)
		rc = do_letters(j, o, limit, at, more);
	/* Where not all of them fit, some of them may. */
	while (rc == ERR_FULL && limit > 1) {
		limit /= 4;
		rc = go_to(&start, at);
		if (rc == ERR_OK)
			rc = do_letters(j, o, limit, at, more);
	}
	if (rc != ERR_OK)
		(void)go_to(&start, at); /* for lack of memory: it is begun anew */
	return rc;
}
