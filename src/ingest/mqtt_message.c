/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MQTT 5 properties into a record.
 *
 * Failure modes: only memory. A property that is not known is not kept.
 */
#include "mqtt_message.h"

#include "err.h"

#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <stdlib.h>
#include <string.h>

void
message_release(struct message_parts *p)
{
	void **owned = (void *)p->owned.data;

	for (size_t i = 0; i < p->owned.size / sizeof(*owned); i++)
		free(owned[i]);
	buffer_clear(&p->owned);
	buffer_clear(&p->user);
	buffer_clear(&p->ids);
}

void
message_fini(struct message_parts *p)
{
	message_release(p);
	buffer_fini(&p->user);
	buffer_fini(&p->ids);
	buffer_fini(&p->owned);
}

/* Remember to free(3) it. On failure that is done at once. */
static int
own(struct message_parts *p, void *memory)
{
	int err = buffer_append(&p->owned, &memory, sizeof(memory));

	if (err != 0)
		free(memory);
	return err;
}

static int
read_text(
    struct message_parts *p, const mosquitto_property *at, int id, struct bytes *out)
{
	char *text;
	int err;

	if (mosquitto_property_read_string(at, id, &text, false) == NULL)
		return ERR_NOMEM;
	err = own(p, text);
	if (err == 0)
		*out = (struct bytes){text, strlen(text)};
	return err;
}

static int
read_correlation(
    struct message_parts *p, const mosquitto_property *at, struct bytes *out)
{
	void *data;
	uint16_t size;
	int err;

	if (mosquitto_property_read_binary(
		at, MQTT_PROP_CORRELATION_DATA, &data, &size, false) == NULL)
		return ERR_NOMEM;
	/* For an empty value nothing is allocated; it is not the same as none. */
	*out = (struct bytes){data != NULL ? data : "", data != NULL ? size : 0};
	err = own(p, data);
	return err;
}

static int
read_user_property(struct message_parts *p, const mosquitto_property *at)
{
	struct user_property one;
	char *name, *value;
	int err;

	if (mosquitto_property_read_string_pair(
		at, MQTT_PROP_USER_PROPERTY, &name, &value, false) == NULL)
		return ERR_NOMEM;
	err = own(p, name);
	if (err != 0) {
		free(value);
		return err;
	}
	err = own(p, value);
	if (err != 0)
		return err;
	one.name = (struct bytes){name, strlen(name)};
	one.value = (struct bytes){value, strlen(value)};
	return buffer_append(&p->user, &one, sizeof(one));
}

static int
read_identifier(struct message_parts *p, const mosquitto_property *at, struct record *r)
{
	uint32_t id = 0;

	(void)mosquitto_property_read_varint(
	    at, MQTT_PROP_SUBSCRIPTION_IDENTIFIER, &id, false);
	if (r->subscription_id == 0)
		r->subscription_id = id;
	return buffer_append(&p->ids, &id, sizeof(id));
}

static int
read_property(struct message_parts *p, const mosquitto_property *at, struct record *r)
{
	int id = mosquitto_property_identifier(at);

	switch (id) {
	case MQTT_PROP_PAYLOAD_FORMAT_INDICATOR:
		r->has_payload_format = mosquitto_property_read_byte(
					    at, id, &r->payload_format, false) != NULL;
		return 0;
	case MQTT_PROP_MESSAGE_EXPIRY_INTERVAL:
		r->has_message_expiry = mosquitto_property_read_int32(at, id,
					    &r->message_expiry_s, false) != NULL;
		return 0;
	case MQTT_PROP_SUBSCRIPTION_IDENTIFIER:
		return read_identifier(p, at, r);
	case MQTT_PROP_CONTENT_TYPE:
		return read_text(p, at, id, &r->content_type);
	case MQTT_PROP_RESPONSE_TOPIC:
		return read_text(p, at, id, &r->response_topic);
	case MQTT_PROP_CORRELATION_DATA:
		return read_correlation(p, at, &r->correlation_data);
	case MQTT_PROP_USER_PROPERTY:
		return read_user_property(p, at);
	default:
		return 0; /* a topic alias has been resolved, or the library refused it */
	}
}

int
message_read(struct message_parts *p, const mosquitto_property *list, struct record *r)
{
	for (; list != NULL; list = mosquitto_property_next(list)) {
		int err = read_property(p, list, r);

		if (err != 0)
			return err;
	}
	r->user_properties = (const void *)p->user.data;
	r->user_property_count = p->user.size / sizeof(struct user_property);
	return 0;
}

const uint32_t *
message_ids(const struct message_parts *p, size_t *count)
{
	*count = p->ids.size / sizeof(uint32_t);
	return (const void *)p->ids.data;
}
