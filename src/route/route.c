/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A route, compiled: its templates parsed, what never changes of them written out.
 * Rendering borrows from the record wherever a value goes out as it came in; what has to
 * be made lives in buffers of the route that keep their room, so that a record costs no
 * allocation (but where a payload is read as JSON).
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "err.h"
#include "log.h"
#include "route_parts.h"
#include "text.h"

/* ---- the topic ---- */

/* "/" becomes ".", any other character that Kafka refuses "_". Returns NULL, or why not. */
static const char *
make_topic(char out[ROUTE_TOPIC_MAX + 1], struct bytes rendered)
{
	const uint8_t *p = rendered.data;
	size_t length = 0;

	for (size_t i = 0; i < rendered.size;) {
		uint32_t code;
		size_t size = text_utf8_next(p + i, rendered.size - i, &code);
		char c = (char)p[i];

		if (length == ROUTE_TOPIC_MAX)
			return "the topic that the route's template makes is longer "
			       "than 249 characters";
		if (c == '/')
			c = '.';
		else if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') &&
			 !(c >= '0' && c <= '9') && c != '.' && c != '_' && c != '-')
			c = '_';
		out[length++] = c;
		i += size > 0 ? size : 1;
	}
	out[length] = '\0';
	return NULL;
}

/* Kafka takes no records for its own topics: one device must not hold up the route. */
static const char *
why_not_topic(const char *topic)
{
	static const char *const internal[] = {
	    "__consumer_offsets", "__transaction_state", "__share_group_state"};

	if (*topic == '\0')
		return "the topic that the route's template makes is empty";
	if (strcmp(topic, ".") == 0 || strcmp(topic, "..") == 0)
		return "the topic that the route's template makes is \".\" or \"..\", "
		       "which Kafka refuses";
	for (size_t i = 0; i < sizeof(internal) / sizeof(internal[0]); i++) {
		if (strcmp(topic, internal[i]) == 0)
			return "the topic that the route's template makes is one of "
			       "Kafka's own";
	}
	return NULL;
}

/* Set r->topic_text from r->topic. Errors: ERR_INVALID, why is set. */
static int
set_topic(struct route *r, const char **why)
{
	const char *reason = make_topic(r->topic_text, r->topic.text);

	if (reason == NULL)
		reason = why_not_topic(r->topic_text);
	if (reason == NULL)
		return 0;
	*why = reason;
	return ERR_INVALID;
}

/* ---- opening ---- */

static int
open_pairs(struct route *r, struct route_field **fields, const char *what,
    const struct settings_pair *pairs, size_t count)
{
	int err = 0;

	if (count == 0)
		return 0;
	*fields = calloc(count, sizeof(**fields));
	if (*fields == NULL)
		return ERR_NOMEM;
	for (size_t i = 0; i < count && err == 0; i++)
		err = route_field_open(r, &(*fields)[i], what, pairs[i].value);
	return err;
}

/* What only an envelope uses. */
static int
open_envelope(struct route *r)
{
	const struct settings_route *s = r->settings;
	int err;

	if (s->envelope == SETTINGS_ENVELOPE_NONE)
		return 0;
	err = route_field_open(r, &r->client_id, "client_id", s->client_id);
	if (err == 0)
		err = open_pairs(
		    r, &r->metadata, "metadata", s->metadata, s->metadata_count);
	if (err != 0 || s->metadata_count == 0)
		return err;
	r->pairs = calloc(s->metadata_count, sizeof(*r->pairs));
	if (r->pairs == NULL)
		return ERR_NOMEM;
	for (size_t i = 0; i < s->metadata_count; i++)
		r->pairs[i].name = s->metadata[i].name;
	r->context.metadata = r->pairs;
	r->context.metadata_count = s->metadata_count;
	return 0;
}

static int
open_fields(struct route *r)
{
	const struct settings_route *s = r->settings;
	const char *why;
	int err;

	err = route_field_open(r, &r->topic, "topic", s->topic);
	if (err == 0)
		err = route_field_open(r, &r->key, "key", s->key);
	if (err == 0)
		err = open_pairs(r, &r->headers, "header", s->headers, s->header_count);
	if (err == 0)
		err = open_envelope(r);
	if (err != 0 || !r->topic.is_constant)
		return err;
	err = set_topic(r, &why);
	if (err != 0)
		log_error(LOG_LIFECYCLE, "route %s: %s", s->name, why);
	return err;
}

static bool
field_reads_payload(const struct route_field *f)
{
	return f->template != NULL && template_reads_payload(f->template);
}

static bool
reads_payload(const struct route *r)
{
	const struct settings_route *s = r->settings;
	bool reads = field_reads_payload(&r->topic) || field_reads_payload(&r->key) ||
		     field_reads_payload(&r->client_id);

	for (size_t i = 0; i < s->header_count; i++)
		reads |= field_reads_payload(&r->headers[i]);
	for (size_t i = 0; i < r->context.metadata_count; i++)
		reads |= field_reads_payload(&r->metadata[i]);
	/* With "text", a CloudEvent whose content type is JSON holds it as such. */
	return reads || s->payload_format != SETTINGS_PAYLOAD_BASE64;
}

static void
set_constants(struct route *r, const struct settings *s, const char *gateway_id)
{
	static const struct record nothing = {.topic = {"", 0}, .payload = {"", 0}};

	r->context.gateway_id = gateway_id;
	r->context.mqtt_host = s->mqtt.host;
	r->context.route = r->settings->name;
	r->context.journal_uuid = r->uuid;
	r->context.names_format =
	    r->settings->payload_format != SETTINGS_PAYLOAD_BASE64;
	/* Until there is a record: for the templates that need none. */
	r->values.record = &nothing;
	r->values.gateway_id = gateway_id;
	r->values.route = r->settings->name;
	for (size_t i = 0; i < r->settings->header_count; i++)
		r->has_content_type |=
		    strcasecmp(r->settings->headers[i].name, "content-type") == 0;
}

int
route_open(struct route **out, const struct settings *s, size_t index,
    const struct journal_identity *identity)
{
	struct route *r;
	int err;

	*out = NULL;
	r = calloc(1, sizeof(*r));
	if (r == NULL)
		return ERR_NOMEM;
	r->settings = &s->routes[index];
	journal_uuid_text(identity->uuid, r->uuid);
	set_constants(r, s, identity->gateway_id);
	err = buffer_printf(&r->provenance, "%s/%s/", identity->gateway_id, r->uuid);
	if (err != 0)
		goto fail;
	r->provenance_fixed = r->provenance.size;
	err = open_fields(r);
	if (err == 0 && reads_payload(r))
		err = payload_json_open(&r->payload);
	if (err != 0)
		goto fail;
	r->values.payload = r->payload;
	*out = r;
	return 0;
fail:
	route_close(r);
	return err;
}

static void
close_fields(struct route_field *fields, size_t count)
{
	for (size_t i = 0; fields != NULL && i < count; i++)
		route_field_close(&fields[i]);
	free(fields);
}

void
route_close(struct route *r)
{
	if (r == NULL)
		return;
	route_field_close(&r->topic);
	route_field_close(&r->key);
	route_field_close(&r->client_id);
	close_fields(r->headers, r->settings->header_count);
	close_fields(r->metadata, r->settings->metadata_count);
	free(r->pairs);
	payload_json_close(r->payload);
	buffer_fini(&r->value);
	envelope_attributes_fini(&r->attributes);
	buffer_fini(&r->provenance);
	buffer_fini(&r->requeued_from);
	buffer_fini(&r->names);
	free(r->sink_headers);
	free(r);
}

/* ---- using ---- */

const char *
route_name(const struct route *r)
{
	return r->settings->name;
}

const struct settings_route *
route_settings(const struct route *r)
{
	return r->settings;
}

/*
 * Kafka deletes by the record's time, and refuses one that lies ahead: a backlog sent
 * under its old times would be acknowledged and gone minutes later (facts).
 */
static int64_t
record_time(const struct settings_route *s, const struct record *record, int64_t now_ms)
{
	int64_t received_ms =
	    record->received_ms > INT64_MAX ? INT64_MAX : (int64_t)record->received_ms;

	switch (s->timestamp) {
	case SETTINGS_TIMESTAMP_RECEIVED:
		return received_ms;
	case SETTINGS_TIMESTAMP_FORWARDED:
		return now_ms;
	case SETTINGS_TIMESTAMP_AUTO:
		break;
	}
	if (received_ms > now_ms ||
	    (now_ms - received_ms) / 1000 >= s->timestamp_max_age_s)
		return now_ms;
	return received_ms;
}

static int
render_topic(struct route *r, const char **why)
{
	int err;

	if (r->topic.is_constant)
		return 0;
	err = route_field_render(r, &r->topic);
	return err == 0 ? set_topic(r, why) : err;
}

/* An empty key would pin every record to one partition; none spreads them. */
static int
render_key(struct route *r, struct bytes *out)
{
	int err = route_field_render(r, &r->key);

	if (err != 0)
		return err;
	*out = r->key.text.size > 0 ? r->key.text : (struct bytes){NULL, 0};
	return 0;
}

int
route_render(struct route *r, const struct record *record, uint64_t seq, int64_t now_ms,
    bool forwarded_time, struct sink_record *out, const char **why)
{
	struct sink_record made = {.topic = r->topic_text};
	int err;

	r->values.record = record;
	r->values.seq = seq;
	if (r->payload != NULL)
		payload_json_begin(r->payload, record->payload);
	err = render_topic(r, why);
	if (err == 0)
		err = render_key(r, &made.key);
	if (err == 0)
		err = route_render_value(r, record, &made);
	if (err == 0)
		err = route_render_headers(r, record, &made);
	if (err != 0)
		return err;
	made.timestamp_ms =
	    forwarded_time ? now_ms : record_time(r->settings, record, now_ms);
	*out = made;
	return 0;
}
