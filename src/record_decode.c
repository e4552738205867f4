/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records and dead letters out of MessagePack, by hand: for each record msgpack-c would
 * build a tree of objects first, which takes longer than all else that is done with it.
 *
 * Invariant: nothing here looks at bytes that record_measure() has not walked over. What
 * it has walked over holds everything that it claims, so only types and values are left
 * to be judged.
 *
 * Decoding allocates nothing once the arena has reached its size.
 */
#include "record.h"

#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "record_keys.h"
#include "record_measure.h"

#define CHUNK_BYTES      4096
#define CHUNK_KEPT_BYTES ((size_t)1 << 20)

/* What has to be there, as bits by key. The numbers of both maps are the same. */
#define RECORD_REQUIRED      (1U << KEY_RECEIVED_MS | 1U << KEY_TOPIC | 1U << KEY_PAYLOAD)
#define DEAD_LETTER_REQUIRED (1U << KEY_BURIED_MS | 1U << KEY_REASON | 1U << KEY_RECORD)

/* ---- the arena ---- */

/* A piece of it. Full ones are kept until the reset: records point into them. */
struct chunk {
	struct chunk *older;
	size_t used;
	size_t size;
	max_align_t data[];
};

struct record_decoder {
	struct chunk *chunk;
};

static void
free_chunks(struct chunk *c)
{
	while (c != NULL) {
		struct chunk *older = c->older;

		free(c);
		c = older;
	}
}

static void *
take(struct record_decoder *d, size_t size)
{
	struct chunk *c = d->chunk;
	size_t wanted;
	void *data;

	size = (size + sizeof(max_align_t) - 1) / sizeof(max_align_t) *
	       sizeof(max_align_t);
	if (c == NULL || c->size - c->used < size) {
		wanted = c == NULL ? CHUNK_BYTES : 2 * c->size;
		if (wanted < size)
			wanted = size;
		c = malloc(sizeof(*c) + wanted);
		if (c == NULL)
			return NULL;
		*c = (struct chunk){d->chunk, 0, wanted};
		d->chunk = c;
	}
	data = (char *)c->data + c->used;
	c->used += size;
	return data;
}

int
record_decoder_open(struct record_decoder **out)
{
	*out = calloc(1, sizeof(**out));
	return *out == NULL ? ERR_NOMEM : 0;
}

void
record_decoder_close(struct record_decoder *d)
{
	if (d == NULL)
		return;
	free_chunks(d->chunk);
	free(d);
}

void
record_decoder_reset(struct record_decoder *d)
{
	struct chunk *c = d->chunk;

	if (c == NULL)
		return;
	/* The newest is the largest: with it alone the next round may do. */
	free_chunks(c->older);
	c->older = NULL;
	c->used = 0;
	if (c->size > CHUNK_KEPT_BYTES) {
		free(c);
		d->chunk = NULL;
	}
}

/* ---- MessagePack ---- */

/* Where the next object begins. */
struct cursor {
	const uint8_t *at;
	const uint8_t *end;
};

/* Big-endian. */
static uint64_t
get_number(struct cursor *c, size_t width)
{
	uint64_t value = 0;

	for (size_t i = 0; i < width; i++)
		value = value << 8 | *c->at++;
	return value;
}

static void
skip(struct cursor *c)
{
	c->at += record_measure(c->at, (size_t)(c->end - c->at));
}

/* An integer that is not negative, in any of its forms. */
static int
get_uint(struct cursor *c, uint64_t largest, uint64_t *out)
{
	uint8_t first = *c->at++;
	uint64_t value = first;
	size_t width = 0;

	if (first >= 0xcc && first <= 0xd3) {
		width = (size_t)1 << (first & 3);
		value = get_number(c, width);
	} else if (first >= 0x80) {
		return ERR_CORRUPT;
	}
	if (first >= 0xd0 && value >> (8 * width - 1) != 0)
		return ERR_CORRUPT; /* negative */
	if (value > largest)
		return ERR_CORRUPT;
	*out = value;
	return 0;
}

static int
get_bool(struct cursor *c, bool *out)
{
	uint8_t first = *c->at++;

	if (first != 0xc2 && first != 0xc3)
		return ERR_CORRUPT;
	*out = first == 0xc3;
	return 0;
}

/* Empty is not absent: it has an address. */
static struct bytes
get_body(struct cursor *c, size_t size)
{
	struct bytes body = {c->at, size};

	c->at += size;
	return body;
}

static int
get_bin(struct cursor *c, struct bytes *out)
{
	uint8_t first = *c->at++;

	if (first < 0xc4 || first > 0xc6)
		return ERR_CORRUPT;
	*out = get_body(c, get_number(c, (size_t)1 << (first - 0xc4)));
	return 0;
}

static int
get_str(struct cursor *c, struct bytes *out)
{
	uint8_t first = *c->at++;

	if (first >= 0xa0 && first <= 0xbf)
		*out = get_body(c, first & 0x1fU);
	else if (first >= 0xd9 && first <= 0xdb)
		*out = get_body(c, get_number(c, (size_t)1 << (first - 0xd9)));
	else
		return ERR_CORRUPT;
	return 0;
}

/* The head of an array (small 0x90, large 0xdc) or of a map (0x80, 0xde). */
static int
get_head(struct cursor *c, uint8_t small, uint8_t large, size_t *count)
{
	uint8_t first = *c->at++;

	if ((first & 0xf0) == small)
		*count = first & 0x0fU;
	else if (first == large || first == large + 1)
		*count = get_number(c, (size_t)2 << (first - large));
	else
		return ERR_CORRUPT;
	return 0;
}

/* The key of a pair, or one that nothing has. */
static uint64_t
get_key(struct cursor *c)
{
	const uint8_t *start = c->at;
	uint64_t key;

	if (get_uint(c, UINT64_MAX, &key) == 0)
		return key;
	c->at = start;
	skip(c);
	return UINT64_MAX;
}

/* ---- records ---- */

static int
get_user_properties(struct record_decoder *d, struct cursor *c, struct record *r)
{
	struct user_property *list;
	size_t count = 0;
	int err = get_head(c, 0x90, 0xdc, &count);

	if (err != 0 || count % 2 != 0)
		return ERR_CORRUPT;
	count /= 2;
	list = take(d, count * sizeof(*list));
	if (list == NULL)
		return ERR_NOMEM;
	for (size_t i = 0; i < count && err == 0; i++) {
		err = get_bin(c, &list[i].name);
		if (err == 0)
			err = get_bin(c, &list[i].value);
	}
	r->user_properties = list;
	r->user_property_count = count;
	return err;
}

static int
get_record_field(
    struct record_decoder *d, uint64_t key, struct cursor *c, struct record *r)
{
	uint64_t value = 0;
	int err;

	switch (key) {
	case KEY_RECEIVED_MS:
		return get_uint(c, UINT64_MAX, &r->received_ms);
	case KEY_TOPIC:
		return get_bin(c, &r->topic);
	case KEY_PAYLOAD:
		return get_bin(c, &r->payload);
	case KEY_QOS:
		err = get_uint(c, 2, &value);
		r->qos = (uint8_t)value;
		return err;
	case KEY_RETAIN:
		return get_bool(c, &r->retain);
	case KEY_PAYLOAD_FORMAT:
		r->has_payload_format = true;
		err = get_uint(c, UINT8_MAX, &value);
		r->payload_format = (uint8_t)value;
		return err;
	case KEY_MESSAGE_EXPIRY:
		r->has_message_expiry = true;
		err = get_uint(c, UINT32_MAX, &value);
		r->message_expiry_s = (uint32_t)value;
		return err;
	case KEY_CONTENT_TYPE:
		return get_bin(c, &r->content_type);
	case KEY_RESPONSE_TOPIC:
		return get_bin(c, &r->response_topic);
	case KEY_CORRELATION_DATA:
		return get_bin(c, &r->correlation_data);
	case KEY_USER_PROPERTIES:
		return get_user_properties(d, c, r);
	case KEY_SUBSCRIPTION_ID:
		err = get_uint(c, UINT32_MAX, &value);
		r->subscription_id = (uint32_t)value;
		return err;
	case KEY_ROUTE:
		return get_bin(c, &r->route);
	case KEY_REQUEUED_FROM:
		return get_uint(c, UINT64_MAX, &r->requeued_from);
	default:
		skip(c); /* of a later version */
		return 0;
	}
}

int
record_decode(struct record_decoder *d, const void *data, size_t size, size_t *offset,
    struct record *r)
{
	const uint8_t *start = (const uint8_t *)data + *offset;
	size_t length = record_measure(start, size - *offset);
	struct cursor c = {start, start + length};
	struct record found = {0};
	unsigned seen = 0;
	size_t count;

	if (length == 0 || get_head(&c, 0x80, 0xde, &count) != 0)
		return ERR_CORRUPT;
	for (size_t i = 0; i < count; i++) {
		uint64_t key = get_key(&c);
		int err = get_record_field(d, key, &c, &found);

		if (err != 0)
			return err;
		if (key < 32)
			seen |= 1U << key;
	}
	if ((seen & RECORD_REQUIRED) != RECORD_REQUIRED)
		return ERR_CORRUPT;
	*offset += length;
	*r = found;
	return 0;
}

/* ---- dead letters ---- */

static int
get_dead_letter_field(
    uint64_t key, struct cursor *c, struct dead_letter *letter, struct bytes *reason)
{
	switch (key) {
	case KEY_BURIED_MS:
		return get_uint(c, UINT64_MAX, &letter->buried_ms);
	case KEY_REASON:
		return get_str(c, reason);
	case KEY_DETAIL:
		return get_str(c, &letter->detail);
	case KEY_RECORD:
		return get_bin(c, &letter->record);
	default:
		skip(c); /* of a later version */
		return 0;
	}
}

int
dead_letter_decode(
    struct record_decoder *d, const void *data, size_t size, struct dead_letter *letter)
{
	struct cursor c = {data, (const uint8_t *)data + size};
	struct dead_letter found = {.detail = {"", 0}};
	struct bytes reason = {"", 0};
	unsigned seen = 0;
	size_t count;
	char *copy;

	if (size == 0 || record_measure(data, size) != size ||
	    get_head(&c, 0x80, 0xde, &count) != 0)
		return ERR_CORRUPT;
	for (size_t i = 0; i < count; i++) {
		uint64_t key = get_key(&c);
		int err = get_dead_letter_field(key, &c, &found, &reason);

		if (err != 0)
			return err;
		if (key < 32)
			seen |= 1U << key;
	}
	if ((seen & DEAD_LETTER_REQUIRED) != DEAD_LETTER_REQUIRED)
		return ERR_CORRUPT;
	copy = take(d, reason.size + 1);
	if (copy == NULL)
		return ERR_NOMEM;
	memcpy(copy, reason.data, reason.size);
	copy[reason.size] = '\0';
	found.reason = copy;
	*letter = found;
	return 0;
}
