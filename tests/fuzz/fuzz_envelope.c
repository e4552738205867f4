/* SPDX-License-Identifier: Apache-2.0 */
/* sources: envelope.c text.c buffer.c err.c ../tests/lib/check_envelope.c */
/*
 * Any record makes an envelope that jansson reads as the same. The input is cut into
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

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct envelope_context context = {
	    "gw", "host", "route", "01234567-89ab-4cde-8f01-23456789abcd", 7};
	struct user_property properties[PROPERTIES_MAX];
	struct input in = {data, size};
	struct record r = {.user_properties = properties};
	struct buffer out = {0};
	const char *wrong;

	r.qos = take_byte(&in);
	r.retain = r.qos & 1;
	r.received_ms = (uint64_t)take_byte(&in) << 54;
	r.topic = take_field(&in);
	r.payload = take_field(&in);
	while (in.size > 0 && r.user_property_count < PROPERTIES_MAX) {
		struct user_property *p = &properties[r.user_property_count++];

		p->name = take_field(&in);
		p->value = take_field(&in);
	}
	if (envelope_tbmq(&r, &context, &out) != 0)
		abort();
	wrong = check_envelope(&r, &context, (struct bytes){out.data, out.size});
	if (wrong != NULL) {
		fprintf(stderr, "%s: %.*s\n", wrong, (int)out.size, (char *)out.data);
		abort();
	}
	buffer_fini(&out);
	return 0;
}
