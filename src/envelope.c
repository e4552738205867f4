/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The envelope, written straight into the buffer: it is made for each record, and a
 * JSON library would cost tens of times as much (facts: 0.13 us against 6.6). Names
 * and punctuation are constants; only payload, text and numbers are worked on.
 *
 * Invariant: whatever the record holds, what is appended is one JSON object in UTF-8.
 * U+0000 is replaced like a byte that is not UTF-8: MQTT forbids it (1.5.4-2), and many
 * a consumer cannot store it.
 */
#include "envelope.h"

#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "text.h"

/* A byte of text becomes at most this many: \u001f. A bad one becomes three. */
#define ESCAPED_MAX 6

/* Up to here repeated names are looked for pair by pair, beyond by sorting. */
#define PROPS_BY_PAIRS 16

/* The length of a constant without its end mark is known to the compiler. */
#define put_literal(out, text) buffer_append(out, text, sizeof(text) - 1)

/* Write the character at p, which cannot stand as it is. Returns the bytes taken. */
static size_t
escape(const uint8_t *p, size_t size, uint8_t **to)
{
	static const char hex[] = "0123456789abcdef";
	uint8_t *t = *to;
	uint32_t code;
	size_t length;

	if (p[0] == '"' || p[0] == '\\') {
		*t++ = '\\';
		*t++ = p[0];
		*to = t;
		return 1;
	}
	if (p[0] > 0 && p[0] < 0x20) {
		memcpy(t, "\\u00", 4);
		t[4] = (uint8_t)hex[p[0] >> 4];
		t[5] = (uint8_t)hex[p[0] & 15];
		*to = t + 6;
		return 1;
	}
	length = p[0] == 0 ? 0 : text_utf8_next(p, size, &code);
	if (length == 0) {
		memcpy(t, "\xef\xbf\xbd", 3); /* U+FFFD */
		*to = t + 3;
		return 1;
	}
	memcpy(t, p, length);
	*to = t + length;
	return length;
}

/* A JSON string, quotes included. */
static int
put_text(struct buffer *out, struct bytes in)
{
	const uint8_t *p = in.data;
	uint8_t *to;
	int err;

	err = buffer_reserve(out, in.size * ESCAPED_MAX + 2);
	if (err != 0)
		return err;
	to = out->data + out->size;
	*to++ = '"';
	for (size_t i = 0; i < in.size;) {
		if (p[i] >= 0x20 && p[i] < 0x80 && p[i] != '"' && p[i] != '\\')
			*to++ = p[i++];
		else
			i += escape(p + i, in.size - i, &to);
	}
	*to++ = '"';
	out->size = (size_t)(to - out->data);
	return 0;
}

static int
put_str(struct buffer *out, const char *text)
{
	return put_text(out, (struct bytes){text, strlen(text)});
}

static bool
is_same(struct bytes a, struct bytes b)
{
	return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static int
put_prop(struct buffer *out, bool *is_first, struct bytes name, struct bytes value)
{
	int err = 0;

	if (!*is_first)
		err = put_literal(out, ",");
	*is_first = false;
	if (err == 0)
		err = put_text(out, name);
	if (err == 0)
		err = put_literal(out, ":");
	if (err == 0)
		err = put_text(out, value);
	return err;
}

/* The last value of a name that is met here for the first time; NULL: not the first. */
static const struct bytes *
last_value(const struct record *r, size_t index)
{
	const struct user_property *p = r->user_properties;
	size_t last = index;

	for (size_t i = 0; i < index; i++) {
		if (is_same(p[i].name, p[index].name))
			return NULL;
	}
	for (size_t i = index + 1; i < r->user_property_count; i++) {
		if (is_same(p[i].name, p[index].name))
			last = i;
	}
	return &p[last].value;
}

struct sorted_prop {
	struct bytes name;
	size_t index;
	size_t last; /* of the same name; SIZE_MAX where this one is not the first */
};

static int
compare_names(const void *left, const void *right)
{
	const struct sorted_prop *a = left, *b = right;
	size_t common = a->name.size < b->name.size ? a->name.size : b->name.size;
	int order = common == 0 ? 0 : memcmp(a->name.data, b->name.data, common);

	if (order != 0)
		return order;
	if (a->name.size != b->name.size)
		return a->name.size < b->name.size ? -1 : 1;
	return a->index < b->index ? -1 : 1;
}

static int
compare_places(const void *left, const void *right)
{
	const struct sorted_prop *a = left, *b = right;

	return a->index < b->index ? -1 : 1;
}

/*
 * A message may carry hundreds of thousands of properties, and comparing each with
 * each would stop the gateway for minutes: sort them by name, then back.
 */
static int
put_many_props(struct buffer *out, const struct record *r)
{
	size_t count = r->user_property_count;
	struct sorted_prop *sorted = calloc(count, sizeof(*sorted));
	bool is_first = true;
	int err = 0;

	if (sorted == NULL)
		return ERR_NOMEM;
	for (size_t i = 0; i < count; i++)
		sorted[i] =
		    (struct sorted_prop){r->user_properties[i].name, i, SIZE_MAX};
	qsort(sorted, count, sizeof(*sorted), compare_names);
	for (size_t first = 0, i = 0; i < count; i++) {
		if (!is_same(sorted[first].name, sorted[i].name))
			first = i;
		sorted[first].last = sorted[i].index;
	}
	qsort(sorted, count, sizeof(*sorted), compare_places);
	for (size_t i = 0; i < count && err == 0; i++) {
		if (sorted[i].last != SIZE_MAX)
			err = put_prop(out, &is_first, sorted[i].name,
			    r->user_properties[sorted[i].last].value);
	}
	free(sorted);
	return err;
}

/* As Jackson's map does it: a repeated name keeps its first place and its last value. */
static int
put_props(struct buffer *out, const struct record *r)
{
	bool is_first = true;
	int err = 0;

	if (r->user_property_count > PROPS_BY_PAIRS)
		return put_many_props(out, r);
	for (size_t i = 0; i < r->user_property_count && err == 0; i++) {
		const struct bytes *value = last_value(r, i);

		if (value != NULL)
			err = put_prop(
			    out, &is_first, r->user_properties[i].name, *value);
	}
	return err;
}

/* MQTT does not tell who published; by convention the publisher may. */
static struct bytes
client_id(const struct record *r)
{
	static const struct bytes name = {"client-id", sizeof("client-id") - 1};

	for (size_t i = r->user_property_count; i > 0; i--) {
		if (is_same(r->user_properties[i - 1].name, name))
			return r->user_properties[i - 1].value;
	}
	return (struct bytes){"", 0};
}

static int
put_message(struct buffer *out, const struct record *r)
{
	int err;

	err = put_literal(out, "{\"payload\":\"");
	if (err == 0)
		err = text_append_base64(out, r->payload.data, r->payload.size);
	if (err == 0)
		err = put_literal(out, "\",\"topicName\":");
	if (err == 0)
		err = put_text(out, r->topic);
	if (err == 0)
		err = put_literal(out, ",\"clientId\":");
	if (err == 0)
		err = put_text(out, client_id(r));
	if (err == 0)
		err = put_literal(out, ",\"eventType\":\"PUBLISH_MSG\",\"qos\":");
	if (err == 0)
		err = buffer_append_number(out, r->qos);
	if (err == 0 && r->retain)
		err = put_literal(out, ",\"retain\":true,\"tbmqIeNode\":");
	else if (err == 0)
		err = put_literal(out, ",\"retain\":false,\"tbmqIeNode\":");
	return err;
}

static int
put_origin(struct buffer *out, const struct record *r, const struct envelope_context *c)
{
	int err;

	err = put_str(out, c->gateway_id);
	if (err == 0)
		err = put_literal(out, ",\"tbmqNode\":");
	if (err == 0)
		err = put_str(out, c->mqtt_host);
	if (err == 0)
		err = put_literal(out, ",\"ts\":");
	if (err == 0)
		err = buffer_append_number(out, r->received_ms);
	if (err == 0)
		err = put_literal(out, ",\"props\":{");
	if (err == 0)
		err = put_props(out, r);
	if (err == 0)
		err = put_literal(out, "},\"metadata\":{\"integrationName\":");
	if (err == 0)
		err = put_str(out, c->route);
	return err;
}

static int
put_place(struct buffer *out, const struct envelope_context *c)
{
	int err;

	err = put_literal(out, "},\"journal\":");
	if (err == 0)
		err = put_str(out, c->journal_uuid);
	if (err == 0)
		err = put_literal(out, ",\"seq\":");
	if (err == 0)
		err = buffer_append_number(out, c->seq);
	if (err == 0)
		err = put_literal(out, "}");
	return err;
}

int
envelope_tbmq(
    const struct record *r, const struct envelope_context *c, struct buffer *out)
{
	size_t before = out->size;
	int err;

	err = put_message(out, r);
	if (err == 0)
		err = put_origin(out, r, c);
	if (err == 0)
		err = put_place(out, c);
	if (err != 0)
		out->size = before;
	return err;
}
