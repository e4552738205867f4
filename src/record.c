/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records and dead letters in MessagePack, by msgpack-c.
 *
 * Invariant: msgpack-c never sees bytes that record_measure() has not walked over. It
 * allocates by the length that an array claims, and reports nesting that is too deep
 * as out of memory; walked bytes hold everything that they claim, so what is left is
 * a real lack of memory, and damage is never mistaken for it.
 *
 * Decoding allocates nothing once the zone and the arena have reached their size.
 */
#include "record.h"

#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "record_measure.h"

#define CHUNK_BYTES       4096
#define CHUNK_KEPT_BYTES  ((size_t)1 << 20)
#define RECORD_HEAD_BYTES 128 /* more than numbers and heads take */

enum record_key {
	KEY_RECEIVED_MS = 0,
	KEY_TOPIC = 1,
	KEY_PAYLOAD = 2,
	KEY_QOS = 3,
	KEY_RETAIN = 4,
	KEY_PAYLOAD_FORMAT = 5,
	KEY_MESSAGE_EXPIRY = 6,
	KEY_CONTENT_TYPE = 7,
	KEY_RESPONSE_TOPIC = 8,
	KEY_CORRELATION_DATA = 9,
	KEY_USER_PROPERTIES = 10,
	KEY_SUBSCRIPTION_ID = 11,
	KEY_ROUTE = 12,
	KEY_REQUEUED_FROM = 13,
};

enum dead_letter_key {
	KEY_BURIED_MS = 0,
	KEY_REASON = 1,
	KEY_DETAIL = 2,
	KEY_RECORD = 3,
};

/* What has to be there, as bits by key. The numbers of both maps are the same. */
#define RECORD_REQUIRED      (1U << KEY_RECEIVED_MS | 1U << KEY_TOPIC | 1U << KEY_PAYLOAD)
#define DEAD_LETTER_REQUIRED (1U << KEY_BURIED_MS | 1U << KEY_REASON | 1U << KEY_RECORD)

/* ---- encoding ---- */

static int
write_packed(void *context, const char *data, size_t size)
{
	return buffer_append(context, data, size);
}

static size_t
encoded_bytes_at_most(const struct record *r)
{
	size_t total = RECORD_HEAD_BYTES + r->topic.size + r->payload.size +
		       r->content_type.size + r->response_topic.size +
		       r->correlation_data.size + r->route.size;

	for (size_t i = 0; i < r->user_property_count; i++)
		total += 10 + r->user_properties[i].name.size +
			 r->user_properties[i].value.size;
	return total;
}

static size_t
field_count(const struct record *r)
{
	size_t count = 3; /* received, topic, payload */

	count += r->qos != 0;
	count += r->retain;
	count += r->has_payload_format;
	count += r->has_message_expiry;
	count += r->content_type.data != NULL;
	count += r->response_topic.data != NULL;
	count += r->correlation_data.data != NULL;
	count += r->user_property_count > 0;
	count += r->subscription_id != 0;
	count += r->route.data != NULL;
	count += r->requeued_from != 0;
	return count;
}

/* These cannot fail: the room was reserved. */

static void
pack_uint(msgpack_packer *p, unsigned key, uint64_t value)
{
	(void)msgpack_pack_unsigned_int(p, key);
	(void)msgpack_pack_uint64(p, value);
}

static void
pack_bin(msgpack_packer *p, struct bytes value)
{
	(void)msgpack_pack_bin(p, value.size);
	if (value.size > 0)
		(void)msgpack_pack_bin_body(p, value.data, value.size);
}

static void
pack_bin_field(msgpack_packer *p, unsigned key, struct bytes value)
{
	if (value.data == NULL)
		return;
	(void)msgpack_pack_unsigned_int(p, key);
	pack_bin(p, value);
}

static void
pack_user_properties(msgpack_packer *p, const struct record *r)
{
	(void)msgpack_pack_unsigned_int(p, KEY_USER_PROPERTIES);
	(void)msgpack_pack_array(p, 2 * r->user_property_count);
	for (size_t i = 0; i < r->user_property_count; i++) {
		pack_bin(p, r->user_properties[i].name);
		pack_bin(p, r->user_properties[i].value);
	}
}

int
record_encode(const struct record *r, struct buffer *out)
{
	msgpack_packer p;
	int err = buffer_reserve(out, encoded_bytes_at_most(r));

	if (err != 0)
		return err;
	msgpack_packer_init(&p, out, write_packed);
	(void)msgpack_pack_map(&p, field_count(r));
	pack_uint(&p, KEY_RECEIVED_MS, r->received_ms);
	pack_bin_field(&p, KEY_TOPIC, r->topic);
	pack_bin_field(&p, KEY_PAYLOAD, r->payload);
	if (r->qos != 0)
		pack_uint(&p, KEY_QOS, r->qos);
	if (r->retain) {
		(void)msgpack_pack_unsigned_int(&p, KEY_RETAIN);
		(void)msgpack_pack_true(&p);
	}
	if (r->has_payload_format)
		pack_uint(&p, KEY_PAYLOAD_FORMAT, r->payload_format);
	if (r->has_message_expiry)
		pack_uint(&p, KEY_MESSAGE_EXPIRY, r->message_expiry_s);
	pack_bin_field(&p, KEY_CONTENT_TYPE, r->content_type);
	pack_bin_field(&p, KEY_RESPONSE_TOPIC, r->response_topic);
	pack_bin_field(&p, KEY_CORRELATION_DATA, r->correlation_data);
	if (r->user_property_count > 0)
		pack_user_properties(&p, r);
	if (r->subscription_id != 0)
		pack_uint(&p, KEY_SUBSCRIPTION_ID, r->subscription_id);
	pack_bin_field(&p, KEY_ROUTE, r->route);
	if (r->requeued_from != 0)
		pack_uint(&p, KEY_REQUEUED_FROM, r->requeued_from);
	return 0;
}

static void
pack_str_field(msgpack_packer *p, unsigned key, struct bytes value)
{
	(void)msgpack_pack_unsigned_int(p, key);
	(void)msgpack_pack_str(p, value.size);
	if (value.size > 0)
		(void)msgpack_pack_str_body(p, value.data, value.size);
}

int
dead_letter_encode(const struct dead_letter *letter, struct buffer *out)
{
	struct bytes reason = {letter->reason, strlen(letter->reason)};
	msgpack_packer p;
	int err = buffer_reserve(out, RECORD_HEAD_BYTES + reason.size +
					  letter->detail.size + letter->record.size);

	if (err != 0)
		return err;
	msgpack_packer_init(&p, out, write_packed);
	(void)msgpack_pack_map(&p, 4);
	pack_uint(&p, KEY_BURIED_MS, letter->buried_ms);
	pack_str_field(&p, KEY_REASON, reason);
	pack_str_field(&p, KEY_DETAIL, letter->detail);
	pack_bin_field(&p, KEY_RECORD, letter->record);
	return 0;
}

/* ---- decoding ---- */

/* A piece of the arena. Full ones are kept until the reset: records point into them. */
struct chunk {
	struct chunk *older;
	size_t used;
	size_t size;
	max_align_t data[];
};

struct record_decoder {
	msgpack_zone zone; /* for one call */
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
	struct record_decoder *d = calloc(1, sizeof(*d));

	*out = NULL;
	if (d == NULL)
		return ERR_NOMEM;
	if (!msgpack_zone_init(&d->zone, MSGPACK_ZONE_CHUNK_SIZE)) {
		free(d);
		return ERR_NOMEM;
	}
	*out = d;
	return 0;
}

void
record_decoder_close(struct record_decoder *d)
{
	if (d == NULL)
		return;
	msgpack_zone_destroy(&d->zone);
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

static int
unpack_map(
    struct record_decoder *d, const uint8_t *data, size_t size, msgpack_object *out)
{
	size_t offset = 0;

	msgpack_zone_clear(&d->zone);
	switch (msgpack_unpack((const char *)data, size, &offset, &d->zone, out)) {
	case MSGPACK_UNPACK_SUCCESS:
		return out->type == MSGPACK_OBJECT_MAP ? 0 : ERR_CORRUPT;
	case MSGPACK_UNPACK_NOMEM_ERROR:
		return ERR_NOMEM;
	case MSGPACK_UNPACK_EXTRA_BYTES:
	case MSGPACK_UNPACK_CONTINUE:
	case MSGPACK_UNPACK_PARSE_ERROR:
		break;
	}
	return ERR_CORRUPT;
}

static int
get_uint(const msgpack_object *o, uint64_t largest, uint64_t *out)
{
	if (o->type != MSGPACK_OBJECT_POSITIVE_INTEGER || o->via.u64 > largest)
		return ERR_CORRUPT;
	*out = o->via.u64;
	return 0;
}

static int
get_bool(const msgpack_object *o, bool *out)
{
	if (o->type != MSGPACK_OBJECT_BOOLEAN)
		return ERR_CORRUPT;
	*out = o->via.boolean;
	return 0;
}

static int
get_bin(const msgpack_object *o, struct bytes *out)
{
	if (o->type != MSGPACK_OBJECT_BIN)
		return ERR_CORRUPT;
	/* Empty is not absent, so it needs an address. */
	out->data = o->via.bin.size > 0 ? o->via.bin.ptr : "";
	out->size = o->via.bin.size;
	return 0;
}

static int
get_user_properties(struct record_decoder *d, const msgpack_object *o, struct record *r)
{
	const msgpack_object_array *array = &o->via.array;
	struct user_property *list;
	size_t count;
	int err = 0;

	if (o->type != MSGPACK_OBJECT_ARRAY || array->size % 2 != 0)
		return ERR_CORRUPT;
	count = array->size / 2;
	list = take(d, count * sizeof(*list));
	if (list == NULL)
		return ERR_NOMEM;
	for (size_t i = 0; i < count && err == 0; i++) {
		err = get_bin(&array->ptr[2 * i], &list[i].name);
		if (err == 0)
			err = get_bin(&array->ptr[2 * i + 1], &list[i].value);
	}
	r->user_properties = list;
	r->user_property_count = count;
	return err;
}

static int
get_record_field(
    struct record_decoder *d, uint64_t key, const msgpack_object *o, struct record *r)
{
	uint64_t value = 0;
	int err;

	switch (key) {
	case KEY_RECEIVED_MS:
		return get_uint(o, UINT64_MAX, &r->received_ms);
	case KEY_TOPIC:
		return get_bin(o, &r->topic);
	case KEY_PAYLOAD:
		return get_bin(o, &r->payload);
	case KEY_QOS:
		err = get_uint(o, 2, &value);
		r->qos = (uint8_t)value;
		return err;
	case KEY_RETAIN:
		return get_bool(o, &r->retain);
	case KEY_PAYLOAD_FORMAT:
		r->has_payload_format = true;
		err = get_uint(o, UINT8_MAX, &value);
		r->payload_format = (uint8_t)value;
		return err;
	case KEY_MESSAGE_EXPIRY:
		r->has_message_expiry = true;
		err = get_uint(o, UINT32_MAX, &value);
		r->message_expiry_s = (uint32_t)value;
		return err;
	case KEY_CONTENT_TYPE:
		return get_bin(o, &r->content_type);
	case KEY_RESPONSE_TOPIC:
		return get_bin(o, &r->response_topic);
	case KEY_CORRELATION_DATA:
		return get_bin(o, &r->correlation_data);
	case KEY_USER_PROPERTIES:
		return get_user_properties(d, o, r);
	case KEY_SUBSCRIPTION_ID:
		err = get_uint(o, UINT32_MAX, &value);
		r->subscription_id = (uint32_t)value;
		return err;
	case KEY_ROUTE:
		return get_bin(o, &r->route);
	case KEY_REQUEUED_FROM:
		return get_uint(o, UINT64_MAX, &r->requeued_from);
	default:
		return 0; /* of a later version */
	}
}

/* The key of a pair, or one that nothing has. */
static uint64_t
key_of(const msgpack_object_kv *pair)
{
	return pair->key.type == MSGPACK_OBJECT_POSITIVE_INTEGER ? pair->key.via.u64
								 : UINT64_MAX;
}

int
record_decode(struct record_decoder *d, const void *data, size_t size, size_t *offset,
    struct record *r)
{
	const uint8_t *start = (const uint8_t *)data + *offset;
	size_t length = record_measure(start, size - *offset);
	struct record found = {0};
	msgpack_object map;
	unsigned seen = 0;
	int err;

	if (length == 0)
		return ERR_CORRUPT;
	err = unpack_map(d, start, length, &map);
	if (err != 0)
		return err;
	for (uint32_t i = 0; i < map.via.map.size; i++) {
		const msgpack_object_kv *pair = &map.via.map.ptr[i];
		uint64_t key = key_of(pair);

		err = get_record_field(d, key, &pair->val, &found);
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

static int
get_str(const msgpack_object *o, struct bytes *out)
{
	if (o->type != MSGPACK_OBJECT_STR)
		return ERR_CORRUPT;
	out->data = o->via.str.size > 0 ? o->via.str.ptr : "";
	out->size = o->via.str.size;
	return 0;
}

static int
get_dead_letter_field(uint64_t key, const msgpack_object *o, struct dead_letter *letter,
    struct bytes *reason)
{
	switch (key) {
	case KEY_BURIED_MS:
		return get_uint(o, UINT64_MAX, &letter->buried_ms);
	case KEY_REASON:
		return get_str(o, reason);
	case KEY_DETAIL:
		return get_str(o, &letter->detail);
	case KEY_RECORD:
		return get_bin(o, &letter->record);
	default:
		return 0; /* of a later version */
	}
}

int
dead_letter_decode(
    struct record_decoder *d, const void *data, size_t size, struct dead_letter *letter)
{
	struct dead_letter found = {.detail = {"", 0}};
	struct bytes reason = {"", 0};
	msgpack_object map;
	unsigned seen = 0;
	char *copy;
	int err;

	if (size == 0 || record_measure(data, size) != size)
		return ERR_CORRUPT;
	err = unpack_map(d, data, size, &map);
	if (err != 0)
		return err;
	for (uint32_t i = 0; i < map.via.map.size; i++) {
		const msgpack_object_kv *pair = &map.via.map.ptr[i];
		uint64_t key = key_of(pair);

		err = get_dead_letter_field(key, &pair->val, &found, &reason);
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
