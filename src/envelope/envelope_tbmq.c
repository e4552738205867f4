/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The envelope "tbmq". Names and punctuation are constants; only payload, text and
 * numbers are worked on.
 *
 * Invariant: whatever the record holds, what is appended is one JSON object in UTF-8.
 */
#include <stdlib.h>
#include <string.h>

#include "envelope.h"
#include "envelope_writer.h"
#include "err.h"

/* Up to here repeated names are looked for pair by pair, beyond by sorting. */
#define PROPS_BY_PAIRS 16

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
		err = writer_literal(out, ",");
	*is_first = false;
	if (err == 0)
		err = writer_text(out, name);
	if (err == 0)
		err = writer_literal(out, ":");
	if (err == 0)
		err = writer_text(out, value);
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

static int
put_payload(struct buffer *out, const struct record *r, enum settings_payload_format as)
{
	switch (as) {
	case SETTINGS_PAYLOAD_JSON:
		return buffer_append(out, r->payload.data, r->payload.size);
	case SETTINGS_PAYLOAD_TEXT:
		return writer_text(out, r->payload);
	case SETTINGS_PAYLOAD_BASE64:
		break;
	}
	return writer_base64(out, r->payload);
}

static int
put_message(
    struct buffer *out, const struct record *r, const struct envelope_context *c)
{
	int err;

	err = writer_literal(out, "{\"payload\":");
	if (err == 0)
		err = put_payload(out, r, c->payload_format);
	if (err == 0)
		err = writer_literal(out, ",\"topicName\":");
	if (err == 0)
		err = writer_text(out, r->topic);
	if (err == 0)
		err = writer_literal(out, ",\"clientId\":");
	if (err == 0)
		err = writer_text(out, c->client_id);
	if (err == 0)
		err = writer_literal(out, ",\"eventType\":\"PUBLISH_MSG\",\"qos\":");
	if (err == 0)
		err = buffer_append_number(out, r->qos);
	if (err == 0 && r->retain)
		err = writer_literal(out, ",\"retain\":true,\"tbmqIeNode\":");
	else if (err == 0)
		err = writer_literal(out, ",\"retain\":false,\"tbmqIeNode\":");
	return err;
}

static int
put_origin(struct buffer *out, const struct record *r, const struct envelope_context *c)
{
	int err;

	err = writer_str(out, c->gateway_id);
	if (err == 0)
		err = writer_literal(out, ",\"tbmqNode\":");
	if (err == 0)
		err = writer_str(out, c->mqtt_host);
	if (err == 0)
		err = writer_literal(out, ",\"ts\":");
	if (err == 0)
		err = buffer_append_number(out, r->received_ms);
	if (err == 0)
		err = writer_literal(out, ",\"props\":{");
	if (err == 0)
		err = put_props(out, r);
	if (err == 0)
		err = writer_literal(out, "},\"metadata\":{");
	return err;
}

static int
put_metadata(struct buffer *out, const struct envelope_context *c)
{
	bool is_first = true;
	int err = 0;

	for (size_t i = 0; i < c->metadata_count && err == 0; i++) {
		const struct envelope_pair *p = &c->metadata[i];

		err = put_prop(
		    out, &is_first, (struct bytes){p->name, strlen(p->name)}, p->value);
	}
	if (err == 0 && !is_first)
		err = writer_literal(out, ",");
	if (err == 0)
		err = writer_literal(out, "\"integrationName\":");
	return err == 0 ? writer_str(out, c->route) : err;
}

static int
put_format(struct buffer *out, enum settings_payload_format format)
{
	switch (format) {
	case SETTINGS_PAYLOAD_JSON:
		return writer_literal(out, ",\"payloadFormat\":\"json\"");
	case SETTINGS_PAYLOAD_TEXT:
		return writer_literal(out, ",\"payloadFormat\":\"text\"");
	case SETTINGS_PAYLOAD_BASE64:
		break;
	}
	return writer_literal(out, ",\"payloadFormat\":\"base64\"");
}

static int
put_place(struct buffer *out, const struct envelope_context *c)
{
	int err;

	err = writer_literal(out, "},\"journal\":");
	if (err == 0)
		err = writer_str(out, c->journal_uuid);
	if (err == 0)
		err = writer_literal(out, ",\"seq\":");
	if (err == 0)
		err = buffer_append_number(out, c->seq);
	if (err == 0 && c->names_format)
		err = put_format(out, c->payload_format);
	if (err == 0)
		err = writer_literal(out, "}");
	return err;
}

int
envelope_tbmq(
    const struct record *r, const struct envelope_context *c, struct buffer *out)
{
	size_t before = out->size;
	int err;

	err = put_message(out, r, c);
	if (err == 0)
		err = put_origin(out, r, c);
	if (err == 0)
		err = put_metadata(out, c);
	if (err == 0)
		err = put_place(out, c);
	if (err != 0)
		out->size = before;
	return err;
}
