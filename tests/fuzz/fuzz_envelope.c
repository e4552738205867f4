/* SPDX-License-Identifier: Apache-2.0 */
/* sources: envelope/envelope_cloudevent.c envelope/envelope_tbmq.c envelope/envelope_writer.c text.c buffer.c err.c ../tests/lib/check_envelope.c */
/* seconds: 60 */
/*
 * Any record makes envelopes that jansson reads as the same. The input is cut into
 * fields: a byte tells the size of the next one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/check_envelope.h"
#include "envelope.h"

#define PROPERTIES_MAX 40

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *data;
	size_t size;
};

static uint8_t
take_byte(struct input *in)
{
	if (in->size == 0)
		return 0;
	in->size--;
	return *in->data++;
}

static struct bytes
take_field(struct input *in)
{
	size_t size = take_byte(in);
	struct bytes field;

	if (size > in->size)
		size = in->size;
	field = (struct bytes){in->data, size};
	in->data += size;
	in->size -= size;
	return field;
}

/* What the device, and templates that use what it sent, may choose. */
static void
take_context(
    struct input *in, struct envelope_context *c, struct envelope_pair pairs[2])
{
	uint8_t what = take_byte(in);

	c->payload_format = (enum settings_payload_format)(what % 3);
	c->names_format = what & 4;
	c->metadata_count = what >> 3 & 1 ? 2 : 0;
	c->metadata = pairs;
	c->client_id = take_field(in);
	c->key = take_field(in);
	pairs[0] = (struct envelope_pair){"site", take_field(in)};
	pairs[1] = (struct envelope_pair){"zone2", take_field(in)};
}

static void
take_record(struct input *in, struct record *r, struct user_property *properties)
{
	r->qos = take_byte(in) % 4;
	r->retain = r->qos & 1;
	/* Up to far beyond the year 9999, and to the millisecond. */
	r->received_ms = (uint64_t)take_byte(in) << 41 | (uint64_t)take_byte(in) << 33 |
			 (uint64_t)take_byte(in) << 12 | take_byte(in);
	r->topic = take_field(in);
	r->payload = take_field(in);
	r->content_type = take_field(in);
	r->user_properties = properties;
	while (in->size > 0 && r->user_property_count < PROPERTIES_MAX) {
		struct user_property *p = &properties[r->user_property_count++];

		p->name = take_field(in);
		p->value = take_field(in);
	}
}

static void
judge(const char *wrong, const struct buffer *out)
{
	if (wrong == NULL)
		return;
	fprintf(stderr, "%s: %.*s\n", wrong, (int)out->size, (char *)out->data);
	abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct envelope_context context = {.gateway_id = "gw",
	    .mqtt_host = "host",
	    .route = "route",
	    .journal_uuid = "01234567-89ab-4cde-8f01-23456789abcd",
	    .seq = 7};
	struct user_property properties[PROPERTIES_MAX];
	struct envelope_attributes attributes = {0};
	struct envelope_pair pairs[2];
	struct input in = {data, size};
	struct buffer out = {0};
	struct record r = {0};
	struct bytes type;

	take_context(&in, &context, pairs);
	take_record(&in, &r, properties);
	/* The route does the same: see choose_format() there. */
	if (!check_payload_is(r.payload, context.payload_format))
		context.payload_format = SETTINGS_PAYLOAD_BASE64;
	if (envelope_tbmq(&r, &context, &out) != 0)
		abort();
	judge(check_envelope(&r, &context, (struct bytes){out.data, out.size}), &out);
	buffer_clear(&out);
	if (envelope_attributes_make(&r, &context, &attributes) != 0)
		abort();
	judge(check_attributes(&r, &context, &attributes), &out);
	type = envelope_content_type(&r);
	if (type.data != NULL &&
	    envelope_is_json_type(type) != check_is_json_type(type))
		judge("JSON or not?", &out);
	if (envelope_cloudevent(&r, &context, &attributes, &out) != 0)
		abort();
	judge(check_cloudevent(&r, &context, (struct bytes){out.data, out.size}), &out);
	envelope_attributes_fini(&attributes);
	buffer_fini(&out);
	return 0;
}
