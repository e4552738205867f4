/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The headers of a Kafka record.
 *
 * Invariant: what a device may choose (the names of user properties) never passes for a
 * header that the gateway or the operator wrote.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "err.h"
#include "route_parts.h"
#include "text.h"

/* provenance, requeued, three of MQTT, content type, response topic, correlation data */
#define OWN_HEADERS_MAX 8

static const char event_prefix[] = "ce_";
static const char user_prefix[] = "user-";

#define EVENT_PREFIX_BYTES (sizeof(event_prefix) - 1)
#define USER_PREFIX_BYTES  (sizeof(user_prefix) - 1)

/* ---- names ---- */

static bool
begins_with(const char *text, const char *start)
{
	return strncasecmp(text, start, strlen(start)) == 0;
}

/*
 * Would a user property of this name pass for one of our own headers? Case does not
 * count: there are consumers that ignore it.
 */
static bool
is_reserved(const struct route *r, const char *name)
{
	const struct settings_route *s = r->settings;

	if (strcasecmp(name, "tidegate") == 0 || begins_with(name, "tidegate-") ||
	    begins_with(name, "mqtt-") || strcasecmp(name, "content-type") == 0 ||
	    (route_makes_events(r) && begins_with(name, event_prefix)))
		return true;
	for (size_t i = 0; i < s->header_count; i++) {
		if (strcasecmp(name, s->headers[i].name) == 0)
			return true;
	}
	return false;
}

/*
 * The most that the name of a user property takes: each byte may become three, and each
 * prefix but the first steps aside for a header of the route's own.
 */
static size_t
name_room(const struct route *r, const struct user_property *p)
{
	return 3 * p->name.size + (r->settings->header_count + 1) * USER_PREFIX_BYTES +
	       1;
}

/*
 * The name for a user property, behind r->names, which has room. librdkafka takes names
 * as C strings, so U+0000, which MQTT forbids (1.5.4-2), is shown as U+FFFD instead of
 * cutting the name.
 */
static const char *
user_name(struct route *r, struct bytes name)
{
	const uint8_t *p = name.data;
	char *start = (char *)r->names.data + r->names.size;
	char *to = start;

	for (size_t i = 0; i < name.size; i++) {
		if (p[i] != 0) {
			*to++ = (char)p[i];
		} else {
			memcpy(to, "\xef\xbf\xbd", 3);
			to += 3;
		}
	}
	*to++ = '\0';
	while (is_reserved(r, start)) {
		memmove(start + USER_PREFIX_BYTES, start, (size_t)(to - start));
		memcpy(start, user_prefix, USER_PREFIX_BYTES);
		to += USER_PREFIX_BYTES;
	}
	r->names.size += (size_t)(to - start);
	return start;
}

/* The same for an attribute of a CloudEvent. */
static const char *
event_name(struct route *r, const char *name)
{
	char *start = (char *)r->names.data + r->names.size;
	size_t size = strlen(name) + 1;

	memcpy(start, event_prefix, EVENT_PREFIX_BYTES);
	memcpy(start + EVENT_PREFIX_BYTES, name, size);
	r->names.size += EVENT_PREFIX_BYTES + size;
	return start;
}

/* ---- headers ---- */

/* How many of the event's attributes become headers? */
static size_t
attribute_count(const struct route *r)
{
	return r->settings->envelope == SETTINGS_ENVELOPE_CLOUDEVENTS_BINARY
		   ? r->attributes.count
		   : 0;
}

static size_t
property_count(const struct route *r, const struct record *record)
{
	return r->settings->user_properties ? record->user_property_count : 0;
}

/* Nothing must move once a header has been added: room for all of them. */
static int
reserve(struct route *r, const struct record *record)
{
	size_t count = OWN_HEADERS_MAX + attribute_count(r) +
		       r->settings->header_count + property_count(r, record);
	size_t bytes = 0;

	if (count > r->sink_header_capacity) {
		struct sink_header *h = realloc(r->sink_headers, count * sizeof(*h));

		if (h == NULL)
			return ERR_NOMEM;
		r->sink_headers = h;
		r->sink_header_capacity = count;
	}
	for (size_t i = 0; i < attribute_count(r); i++)
		bytes += EVENT_PREFIX_BYTES + strlen(r->attributes.list[i].name) + 1;
	for (size_t i = 0; i < property_count(r, record); i++)
		bytes += name_room(r, &record->user_properties[i]);
	buffer_clear(&r->names);
	return buffer_reserve(&r->names, bytes);
}

static void
add(struct route *r, struct sink_record *out, const char *name, struct bytes value)
{
	if (value.data == NULL)
		return;
	r->sink_headers[out->header_count++] = (struct sink_header){name, value};
}

/*
 * One that came from outside. Libraries for CloudEvents read every header as UTF-8, and
 * fail at the event where one is not: there it is left out.
 */
static void
add_foreign(
    struct route *r, struct sink_record *out, const char *name, struct bytes value)
{
	if (route_makes_events(r) && (!text_is_utf8(name, strlen(name)) ||
					 !text_is_utf8(value.data, value.size)))
		return;
	add(r, out, name, value);
}

/* GATEWAY/UUID/SEQ/RECEIVED */
static int
render_provenance(struct route *r, const struct record *record)
{
	struct buffer *b = &r->provenance;
	int err;

	b->size = r->provenance_fixed;
	err = buffer_append_number(b, r->values.seq);
	if (err == 0)
		err = buffer_append(b, "/", 1);
	if (err == 0)
		err = buffer_append_number(b, record->received_ms);
	return err;
}

/* Of a dead letter that goes again: the number under which it went the first time. */
static int
add_requeued(struct route *r, const struct record *record, struct sink_record *out)
{
	int err;

	if (record->requeued_from == 0)
		return 0;
	buffer_clear(&r->requeued_from);
	err = buffer_append_number(&r->requeued_from, record->requeued_from);
	if (err == 0)
		add(r, out, "tidegate-requeued-from",
		    (struct bytes){r->requeued_from.data, r->requeued_from.size});
	return err;
}

/*
 * What the value is. By "application/cloudevents" a consumer tells the structured mode
 * from the binary one (Kafka binding, section 3): there a device that says it of its
 * payload could put an event of its own making in the place of ours.
 */
static struct bytes
content_type(const struct route *r, const struct record *record)
{
	static const char structured[] = "application/cloudevents";
	const struct bytes none = {NULL, 0};
	struct bytes type = record->content_type;

	if (r->settings->envelope == SETTINGS_ENVELOPE_CLOUDEVENTS)
		return (struct bytes){ENVELOPE_EVENT_CONTENT_TYPE,
		    sizeof(ENVELOPE_EVENT_CONTENT_TYPE) - 1};
	if (r->has_content_type)
		return none;
	if (r->settings->envelope != SETTINGS_ENVELOPE_CLOUDEVENTS_BINARY)
		return type;
	type = r->attributes.content_type;
	if (type.size >= sizeof(structured) - 1 &&
	    strncasecmp(type.data, structured, sizeof(structured) - 1) == 0)
		return none;
	return type;
}

static void
add_message(struct route *r, const struct record *record, struct sink_record *out)
{
	if (r->settings->mqtt_headers) {
		r->qos = (char)('0' + record->qos % 10);
		add_foreign(r, out, "mqtt-topic", record->topic);
		add(r, out, "mqtt-qos", (struct bytes){&r->qos, 1});
		add(r, out, "mqtt-retain",
		    record->retain ? (struct bytes){"true", 4}
				   : (struct bytes){"false", 5});
	}
	add(r, out, "content-type", content_type(r, record));
	add_foreign(r, out, "mqtt-response-topic", record->response_topic);
	add_foreign(r, out, "mqtt-correlation-data", record->correlation_data);
	for (size_t i = 0; i < attribute_count(r); i++) {
		const struct envelope_attribute *a = &r->attributes.list[i];

		add(r, out, event_name(r, a->name), a->value);
	}
}

/* One that renders empty is sent all the same: the consumer may count on the name. */
static int
add_own(struct route *r, struct sink_record *out)
{
	const struct settings_route *s = r->settings;

	for (size_t i = 0; i < s->header_count; i++) {
		int err = route_field_render(r, &r->headers[i]);

		if (err != 0)
			return err;
		add_foreign(r, out, s->headers[i].name, r->headers[i].text);
	}
	return 0;
}

int
route_render_headers(
    struct route *r, const struct record *record, struct sink_record *out)
{
	int err;

	out->header_count = 0;
	err = reserve(r, record);
	if (err == 0 && r->settings->provenance)
		err = render_provenance(r, record);
	if (err != 0)
		return err;
	if (r->settings->provenance)
		add(r, out, "tidegate",
		    (struct bytes){r->provenance.data, r->provenance.size});
	err = add_requeued(r, record, out);
	if (err != 0)
		return err;
	add_message(r, record, out);
	err = add_own(r, out);
	if (err != 0)
		return err;
	for (size_t i = 0; i < property_count(r, record); i++) {
		const struct user_property *p = &record->user_properties[i];

		add_foreign(r, out, user_name(r, p->name),
		    p->value.data == NULL ? (struct bytes){"", 0} : p->value);
	}
	out->headers = r->sink_headers;
	return 0;
}
