/* SPDX-License-Identifier: Apache-2.0 */
/* sources: record.c record_decode.c record_measure.c buffer.c err.c */
/*
 * Any bytes as records, one after another: refused or decoded, just as msgpack-c would
 * have it. What was decoded survives another round, to the byte.
 */
#include <msgpack.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "record.h"
#include "record_keys.h"
#include "record_measure.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(bool right)
{
	if (!right)
		abort();
}

/* Encode, decode, encode: both stored forms must be the same. */
static void
check_round(struct record_decoder *d, const struct record *r)
{
	struct buffer first = {0};
	struct buffer second = {0};
	struct record back;
	size_t offset = 0;

	check(record_encode(r, &first) == 0);
	check(record_decode(d, first.data, first.size, &offset, &back) == 0);
	check(offset == first.size);
	check(record_encode(&back, &second) == 0);
	check(first.size == second.size);
	check(memcmp(first.data, second.data, first.size) == 0);
	buffer_fini(&first);
	buffer_fini(&second);
}

/* ---- what msgpack-c makes of it ---- */

static bool
is_uint(const msgpack_object *o, uint64_t largest, uint64_t value, bool is_last)
{
	return o->type == MSGPACK_OBJECT_POSITIVE_INTEGER && o->via.u64 <= largest &&
	       (!is_last || o->via.u64 == value);
}

static bool
is_bin(const msgpack_object *o, struct bytes value, bool is_last)
{
	return o->type == MSGPACK_OBJECT_BIN &&
	       (!is_last || (value.data != NULL && o->via.bin.size == value.size &&
				memcmp(o->via.bin.ptr, value.data, value.size) == 0));
}

static bool
are_properties(const msgpack_object *o, const struct record *r, bool is_last)
{
	const msgpack_object_array *a = &o->via.array;

	if (o->type != MSGPACK_OBJECT_ARRAY || a->size % 2 != 0 ||
	    (is_last && r->user_property_count != a->size / 2))
		return false;
	for (uint32_t i = 0; i < a->size; i++) {
		struct bytes value = {NULL, 0};

		if (is_last && i % 2 == 0)
			value = r->user_properties[i / 2].name;
		else if (is_last)
			value = r->user_properties[i / 2].value;
		if (!is_bin(&a->ptr[i], value, is_last))
			return false;
	}
	return true;
}

/* Of several of one key the last counts, but all have to be right. */
static bool
is_field(uint64_t key, const msgpack_object *o, const struct record *r, bool is_last)
{
	switch (key) {
	case KEY_RECEIVED_MS:
		return is_uint(o, UINT64_MAX, r->received_ms, is_last);
	case KEY_TOPIC:
		return is_bin(o, r->topic, is_last);
	case KEY_PAYLOAD:
		return is_bin(o, r->payload, is_last);
	case KEY_QOS:
		return is_uint(o, 2, r->qos, is_last);
	case KEY_RETAIN:
		return o->type == MSGPACK_OBJECT_BOOLEAN &&
		       (!is_last || o->via.boolean == r->retain);
	case KEY_PAYLOAD_FORMAT:
		return is_uint(o, UINT8_MAX, r->payload_format, is_last);
	case KEY_MESSAGE_EXPIRY:
		return is_uint(o, UINT32_MAX, r->message_expiry_s, is_last);
	case KEY_CONTENT_TYPE:
		return is_bin(o, r->content_type, is_last);
	case KEY_RESPONSE_TOPIC:
		return is_bin(o, r->response_topic, is_last);
	case KEY_CORRELATION_DATA:
		return is_bin(o, r->correlation_data, is_last);
	case KEY_USER_PROPERTIES:
		return are_properties(o, r, is_last);
	case KEY_SUBSCRIPTION_ID:
		return is_uint(o, UINT32_MAX, r->subscription_id, is_last);
	case KEY_ROUTE:
		return is_bin(o, r->route, is_last);
	case KEY_REQUEUED_FROM:
		return is_uint(o, UINT64_MAX, r->requeued_from, is_last);
	default:
		return true;
	}
}

static uint64_t
key_of(const msgpack_object_kv *pair)
{
	return pair->key.type == MSGPACK_OBJECT_POSITIVE_INTEGER ? pair->key.via.u64
								 : UINT64_MAX;
}

/* Is the map a record, and r what it says? r NULL: the latter is not asked. */
static bool
is_record(const msgpack_object_map *map, const struct record *r)
{
	static const struct record nothing;
	uint64_t seen = 0;

	for (uint32_t i = map->size; i-- > 0;) {
		uint64_t key = key_of(&map->ptr[i]);
		bool is_last = r != NULL && key < 64 && (seen >> key & 1) == 0;

		if (!is_field(key, &map->ptr[i].val, r == NULL ? &nothing : r, is_last))
			return false;
		if (key < 64)
			seen |= (uint64_t)1 << key;
	}
	return (seen & 7) == 7 &&
	       (r == NULL || (r->has_payload_format == (seen >> 5 & 1) &&
				 r->has_message_expiry == (seen >> 6 & 1)));
}

/* r: what record_decode() has found there, or NULL where it refused. */
static void
check_against_library(const uint8_t *data, size_t size, const struct record *r)
{
	size_t length = record_measure(data, size);
	size_t offset = 0;
	msgpack_zone zone;
	msgpack_object o;

	if (length == 0) {
		check(r == NULL);
		return;
	}
	check(msgpack_zone_init(&zone, MSGPACK_ZONE_CHUNK_SIZE));
	check(msgpack_unpack((const char *)data, length, &offset, &zone, &o) ==
	      MSGPACK_UNPACK_SUCCESS);
	check(
	    (o.type == MSGPACK_OBJECT_MAP && is_record(&o.via.map, r)) == (r != NULL));
	msgpack_zone_destroy(&zone);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct record_decoder *d;
	size_t offset = 0;
	struct record r;
	int err = 0;

	if (d == NULL)
		check(record_decoder_open(&d) == 0);
	record_decoder_reset(d);
	while (offset < size) {
		size_t before = offset;

		err = record_decode(d, data, size, &offset, &r);
		check_against_library(
		    data + before, size - before, err == 0 ? &r : NULL);
		if (err != 0)
			break;
		check(offset > before && offset <= size);
		check(r.topic.data != NULL && r.payload.data != NULL);
		check_round(d, &r);
	}
	check(err == 0 || err == ERR_CORRUPT);
	return 0;
}
