/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Orders: what tidegate-admin and ingest ask of forward, left in the journal.
 *
 * Invariant: an order has one number for good. Whoever gives one only adds it; from then
 * on only forward, or who has its lock, changes it. So none is carried out twice, and one
 * that was interrupted is there again after a restart.
 *
 * Failure modes: an entry that is no order is told by its number, so that it can be
 * forgotten; one whose key is no number is passed by.
 */
#include "journal_private.h"

#include <string.h>

#include "err.h"
#include "now.h"

#define ORDER_BYTES 56

/* ---- the stored form ---- */

static void
le32_put(uint8_t out[4], uint32_t n)
{
	for (int i = 0; i < 4; i++)
		out[i] = (uint8_t)(n >> (8 * i));
}

static void
encode(const struct journal_order *o, uint8_t out[ORDER_BYTES])
{
	le32_put(out, (uint32_t)o->kind);
	le32_put(out + 4, (uint32_t)o->state);
	le64_put(out + 8, o->seq);
	le64_put(out + 16, o->until_seq);
	le64_put(out + 24, o->bytes);
	le64_put(out + 32, o->count);
	le64_put(out + 40, o->at_ms);
	le32_put(out + 48, (uint32_t)o->err);
	le32_put(out + 52, 0);
}

/* A skip of nothing and letters without an end are nobody's order. */
static bool
is_sound(const struct journal_order *o)
{
	switch (o->kind) {
	case JOURNAL_ORDER_SKIP:
	case JOURNAL_ORDER_WITHDRAW:
		return o->seq != 0;
	case JOURNAL_ORDER_REQUEUE:
	case JOURNAL_ORDER_DISCARD:
		return o->seq != 0 || o->until_seq != 0;
	case JOURNAL_ORDER_DROP_OLDEST:
		return o->bytes != 0;
	}
	return false;
}

static int
decode(uint64_t number, struct bytes value, struct journal_order *o)
{
	const uint8_t *v = value.data;
	struct journal_order found;
	uint32_t state, err;

	if (value.size != ORDER_BYTES)
		return ERR_CORRUPT;
	state = le32_get(v + 4);
	err = le32_get(v + 48);
	found = (struct journal_order){
	    .number = number,
	    .kind = (enum journal_order_kind)le32_get(v),
	    .seq = le64_get(v + 8),
	    .until_seq = le64_get(v + 16),
	    .bytes = le64_get(v + 24),
	    .state = (enum journal_order_state)state,
	    .count = le64_get(v + 32),
	    .at_ms = le64_get(v + 40),
	};
	/* ERR_* lie between -1 and -999: as a number of 32 bits near the upper end. */
	if (state > JOURNAL_ORDER_FAILED || !is_sound(&found) ||
	    le32_get(v + 52) != 0 || (err != 0 && err < UINT32_MAX - 998))
		return ERR_CORRUPT;
	found.err = err == 0 ? 0 : -(int32_t)(UINT32_MAX - err) - 1;
	*o = found;
	return ERR_OK;
}

/* ---- in the transaction that is open ---- */

int
journal_order_put(struct journal *j, const struct journal_order *o)
{
	uint8_t number[8], data[ORDER_BYTES];

	encode(o, data);
	return store_put(j->store, STORE_ORDERS, seq_key(number, o->number),
	    (struct bytes){.data = data, .size = sizeof(data)}, STORE_REPLACE);
}

/* The entry with the highest number; 0 where there is none. */
static int
last_number(struct journal *j, uint64_t *number)
{
	struct store_cursor *c = NULL;
	struct bytes key = {0}, value;
	int rc;

	*number = 0;
	rc = store_cursor_open(j->store, STORE_ORDERS, &c);
	if (rc != ERR_OK)
		return rc == ERR_NOTFOUND ? ERR_IO : rc; /* it could not be made yet */
	rc = store_cursor_get(c, STORE_LAST, &key, &value);
	if (rc == ERR_OK)
		rc = journal_key_seq(key, number);
	store_cursor_close(c);
	return rc == ERR_NOTFOUND ? ERR_OK : rc;
}

static int
give(struct journal *j, void *context)
{
	struct journal_order *o = context;
	uint64_t next = 0, last = 0;
	int rc;

	rc = journal_meta_get_u64(j, "next_order", &next);
	if (rc == ERR_OK || rc == ERR_NOTFOUND)
		rc = last_number(j, &last);
	if (rc != ERR_OK)
		return rc;
	o->number = next > last ? next : last + 1;
	rc = journal_meta_next(j, &o->until_seq);
	if (rc == ERR_OK)
		rc = journal_order_put(j, o);
	return rc != ERR_OK ? rc : journal_meta_put_u64(j, "next_order", o->number + 1);
}

/* ---- for everybody ---- */

int
journal_order_give(struct journal *j, struct journal_order *o)
{
	struct journal_order given = {
	    .kind = o->kind,
	    .seq = o->seq,
	    .until_seq = 1,
	    .bytes = o->bytes,
	    .state = JOURNAL_ORDER_WAITS,
	    .at_ms = (uint64_t)now_real_ms(),
	};
	int rc;

	if (!is_sound(&given))
		return ERR_INVALID;
	rc = journal_take_blocks(j);
	if (rc == ERR_OK)
		rc = journal_write(j, give, &given);
	if (rc == ERR_OK)
		*o = given;
	return rc;
}

static int
next_order(struct journal *j, uint64_t after, struct journal_order *o)
{
	struct store_cursor *c = NULL;
	uint8_t start[8];
	struct bytes key = seq_key(start, after + 1), value;
	uint64_t number = 0;
	int rc;

	rc = store_cursor_open(j->store, STORE_ORDERS, &c);
	if (rc != ERR_OK)
		return rc;
	rc = store_cursor_get(c, STORE_SEEK, &key, &value);
	while (rc == ERR_OK && journal_key_seq(key, &number) != ERR_OK)
		rc = store_cursor_get(c, STORE_NEXT, &key, &value);
	if (rc == ERR_CORRUPT) {
		o->number = 0;
	} else if (rc == ERR_OK) {
		rc = decode(number, value, o);
		if (rc != ERR_OK)
			o->number = number;
	}
	store_cursor_close(c);
	return rc;
}

int
journal_order_next(struct journal *j, uint64_t after, struct journal_order *o)
{
	int rc;

	if (after == UINT64_MAX)
		return ERR_NOTFOUND;
	rc = store_begin_read(j->store);
	if (rc != ERR_OK)
		return rc;
	rc = next_order(j, after, o);
	store_end(j->store);
	return rc;
}

/* Forgotten meanwhile, it stays forgotten. */
static int
end(struct journal *j, void *context)
{
	const struct journal_order *o = context;
	uint8_t number[8];
	struct bytes value;
	int rc;

	rc = store_get(j->store, STORE_ORDERS, seq_key(number, o->number), &value);
	if (rc == ERR_NOTFOUND)
		return ERR_OK;
	return rc != ERR_OK ? rc : journal_order_put(j, o);
}

int
journal_order_end(struct journal *j, const struct journal_order *o)
{
	struct journal_order ended = *o;

	return journal_write(j, end, &ended);
}

static int
forget(struct journal *j, void *context)
{
	const uint64_t *order = context;
	uint8_t number[8];

	return store_delete(j->store, STORE_ORDERS, seq_key(number, *order));
}

int
journal_order_forget(struct journal *j, uint64_t number)
{
	return journal_write(j, forget, &number);
}
