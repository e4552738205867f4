/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes the value of a Kafka record. */
#include <string.h>

#include "route_parts.h"
#include "text.h"

/* Can it stand in JSON as a string, with nothing lost? U+0000 cannot, see envelope.h. */
static bool
is_text(struct bytes payload)
{
	return memchr(payload.data, 0, payload.size) == NULL &&
	       text_is_utf8(payload.data, payload.size);
}

/*
 * As what the payload is written; of a binary event it is the value as it is. The data of
 * a CloudEvent must be what its content type says: so where the message has one, it
 * decides between JSON and text, and a payload "21" that is declared to be text/plain
 * stays a string.
 */
static enum settings_payload_format
choose_format(struct route *r, const struct record *record)
{
	bool wants_json = r->settings->payload_format == SETTINGS_PAYLOAD_JSON;

	if (r->settings->payload_format == SETTINGS_PAYLOAD_BASE64 ||
	    r->settings->envelope == SETTINGS_ENVELOPE_CLOUDEVENTS_BINARY)
		return SETTINGS_PAYLOAD_BASE64;
	if (route_makes_events(r)) {
		struct bytes type = envelope_content_type(record);

		if (type.data != NULL)
			wants_json = envelope_is_json_type(type);
	}
	if (wants_json)
		return payload_json_is_valid(r->payload) ? SETTINGS_PAYLOAD_JSON
							 : SETTINGS_PAYLOAD_BASE64;
	return is_text(record->payload) ? SETTINGS_PAYLOAD_TEXT
					: SETTINGS_PAYLOAD_BASE64;
}

/* What the envelopes say beside the record. */
static int
render_context(struct route *r, const struct record *record, struct bytes key)
{
	struct envelope_context *c = &r->context;
	int err;

	err = route_field_render(r, &r->client_id);
	for (size_t i = 0; i < c->metadata_count && err == 0; i++) {
		err = route_field_render(r, &r->metadata[i]);
		r->pairs[i].value = r->metadata[i].text;
	}
	c->client_id = r->client_id.text;
	c->key = key;
	c->seq = r->values.seq;
	c->payload_format = choose_format(r, record);
	return err;
}

int
route_render_value(
    struct route *r, const struct record *record, struct sink_record *out)
{
	int err;

	out->value = record->payload;
	out->copy_value = false;
	if (r->settings->envelope == SETTINGS_ENVELOPE_NONE)
		return 0;
	err = render_context(r, record, out->key);
	if (err == 0 && route_makes_events(r))
		err = envelope_attributes_make(record, &r->context, &r->attributes);
	if (err != 0 || r->settings->envelope == SETTINGS_ENVELOPE_CLOUDEVENTS_BINARY)
		return err;
	buffer_clear(&r->value);
	if (r->settings->envelope == SETTINGS_ENVELOPE_CLOUDEVENTS)
		err =
		    envelope_cloudevent(record, &r->context, &r->attributes, &r->value);
	else
		err = envelope_tbmq(record, &r->context, &r->value);
	if (err != 0)
		return err;
	out->value = (struct bytes){r->value.data, r->value.size};
	out->copy_value = true;
	return 0;
}
