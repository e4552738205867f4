/* SPDX-License-Identifier: Apache-2.0 */
/* Records and dead letters into MessagePack, by msgpack-c. */
#include "record.h"

#include <assert.h>
#include <msgpack.h>
#include <string.h>

#include "err.h"
#include "record_keys.h"

#define RECORD_HEAD_BYTES 128 /* more than numbers and heads take */

/* ---- encoding ---- */

/* The room was reserved, and msgpack-c calls this for each few bytes. */
static int
write_packed(void *context, const char *data, size_t size)
{
	struct buffer *out = context;

	assert(size <= out->capacity - out->size);
	memcpy(out->data + out->size, data, size);
	out->size += size;
	return 0;
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
