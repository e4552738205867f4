/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A route, compiled: the key's template in parts, what never changes of the provenance
 * header written out. Rendering borrows from the record wherever a value goes out as it
 * came in; what has to be made lives in buffers of the route that keep their room, so
 * that a record costs no allocation.
 */
#include "route.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "envelope.h"
#include "err.h"
#include "log.h"
#include "topic_filter.h"

/* All but the user properties. */
#define OWN_HEADERS_MAX 7

/* A piece of a template. */
struct part {
	bool is_topic;     /* ${topic}, else the text */
	struct bytes text; /* borrowed from the settings */
};

struct route {
	const struct settings_route *settings;
	struct envelope_context context;
	char uuid[37];
	struct part *key_parts;
	size_t key_part_count;
	struct buffer provenance; /* "GATEWAY/UUID/", then what the record adds */
	size_t provenance_fixed;
	struct buffer key;
	struct buffer value;
	struct buffer names; /* of the headers made out of user properties */
	struct sink_header *headers;
	size_t header_capacity;
	char qos;
};

static int
add_part(struct route *r, bool is_topic, const char *text, size_t size)
{
	struct part *parts;

	if (!is_topic && size == 0)
		return 0;
	parts = realloc(r->key_parts, (r->key_part_count + 1) * sizeof(*parts));
	if (parts == NULL)
		return ERR_NOMEM;
	r->key_parts = parts;
	parts[r->key_part_count++] = (struct part){is_topic, {text, size}};
	return 0;
}

/* Text, ${topic}, and $$ for a dollar sign. */
static int
compile_key(struct route *r)
{
	static const char topic[] = "${topic}";
	const char *p = r->settings->key;
	int err = 0;

	while (err == 0 && *p != '\0') {
		size_t length = strcspn(p, "$");

		if (length > 0) {
			err = add_part(r, false, p, length);
			p += length;
		} else if (strncmp(p, topic, sizeof(topic) - 1) == 0) {
			err = add_part(r, true, NULL, 0);
			p += sizeof(topic) - 1;
		} else if (p[1] == '$') {
			err = add_part(r, false, p, 1);
			p += 2;
		} else {
			log_error(LOG_LIFECYCLE, "route %s: cannot use the key \"%s\"",
			    r->settings->name, r->settings->key);
			err = ERR_INVALID;
		}
	}
	return err;
}

int
route_open(struct route **out, const struct settings *s, size_t index,
    const struct journal_identity *identity)
{
	struct route *r;
	int err = ERR_NOMEM;

	*out = NULL;
	r = calloc(1, sizeof(*r));
	if (r == NULL)
		return ERR_NOMEM;
	r->settings = &s->routes[index];
	journal_uuid_text(identity->uuid, r->uuid);
	r->context.gateway_id = identity->gateway_id;
	r->context.mqtt_host = s->mqtt.host;
	r->context.route = r->settings->name;
	r->context.journal_uuid = r->uuid;
	r->header_capacity = OWN_HEADERS_MAX;
	r->headers = calloc(r->header_capacity, sizeof(*r->headers));
	if (r->headers == NULL)
		goto fail;
	err = buffer_printf(&r->provenance, "%s/%s/", identity->gateway_id, r->uuid);
	if (err != 0)
		goto fail;
	r->provenance_fixed = r->provenance.size;
	err = compile_key(r);
	if (err != 0)
		goto fail;
	*out = r;
	return 0;
fail:
	route_close(r);
	return err;
}

void
route_close(struct route *r)
{
	if (r == NULL)
		return;
	buffer_fini(&r->provenance);
	buffer_fini(&r->key);
	buffer_fini(&r->value);
	buffer_fini(&r->names);
	free(r->headers);
	free(r->key_parts);
	free(r);
}

const char *
route_name(const struct route *r)
{
	return r->settings->name;
}

bool
route_matches(const struct route *r, const struct record *record)
{
	for (size_t i = 0; i < r->settings->topic_filter_count; i++) {
		if (topic_filter_matches(r->settings->topic_filters[i], record->topic))
			return true;
	}
	return false;
}

static int
render_key(struct route *r, const struct record *record, struct bytes *out)
{
	struct bytes key = {NULL, 0};

	if (r->key_part_count == 1) {
		key = r->key_parts[0].is_topic ? record->topic : r->key_parts[0].text;
	} else if (r->key_part_count > 1) {
		buffer_clear(&r->key);
		for (size_t i = 0; i < r->key_part_count; i++) {
			const struct part *p = &r->key_parts[i];
			struct bytes text = p->is_topic ? record->topic : p->text;
			int err = buffer_append(&r->key, text.data, text.size);

			if (err != 0)
				return err;
		}
		key = (struct bytes){r->key.data, r->key.size};
	}
	/* An empty key would pin every record to one partition; none spreads them. */
	if (key.size == 0)
		key.data = NULL;
	*out = key;
	return 0;
}

static int
render_value(
    struct route *r, const struct record *record, uint64_t seq, struct sink_record *out)
{
	int err;

	if (r->settings->envelope == SETTINGS_ENVELOPE_NONE) {
		out->value = record->payload;
		out->copy_value = false;
		return 0;
	}
	r->context.seq = seq;
	buffer_clear(&r->value);
	err = envelope_tbmq(record, &r->context, &r->value);
	if (err != 0)
		return err;
	out->value = (struct bytes){r->value.data, r->value.size};
	out->copy_value = true;
	return 0;
}

/* GATEWAY/UUID/SEQ/RECEIVED */
static int
render_provenance(
    struct route *r, const struct record *record, uint64_t seq, struct bytes *out)
{
	struct buffer *b = &r->provenance;
	int err;

	b->size = r->provenance_fixed;
	err = buffer_append_number(b, seq);
	if (err == 0)
		err = buffer_append(b, "/", 1);
	if (err == 0)
		err = buffer_append_number(b, record->received_ms);
	if (err != 0)
		return err;
	*out = (struct bytes){b->data, b->size};
	return 0;
}

static bool
begins_with(struct bytes text, const char *start)
{
	size_t size = strlen(start);

	return text.size >= size && memcmp(text.data, start, size) == 0;
}

static bool
is_text(struct bytes a, const char *b)
{
	return a.size == strlen(b) && begins_with(a, b);
}

/* Would a user property of this name pass for one of our own headers? */
static bool
is_reserved(struct bytes name)
{
	return is_text(name, "tidegate") || begins_with(name, "tidegate-") ||
	       begins_with(name, "mqtt-") || is_text(name, "content-type");
}

/*
 * Copy a name behind r->names, which has room. librdkafka takes names as C strings, so
 * U+0000, which MQTT forbids (1.5.4-2), is shown as U+FFFD instead of cutting the name.
 */
static const char *
copy_name(struct route *r, struct bytes name)
{
	const uint8_t *p = name.data;
	uint8_t *start = r->names.data + r->names.size;
	uint8_t *to = start;

	if (is_reserved(name)) {
		memcpy(to, "user-", 5);
		to += 5;
	}
	for (size_t i = 0; i < name.size; i++) {
		if (p[i] != 0) {
			*to++ = p[i];
		} else {
			memcpy(to, "\xef\xbf\xbd", 3);
			to += 3;
		}
	}
	*to++ = '\0';
	r->names.size = (size_t)(to - r->names.data);
	return (const char *)start;
}

static int
reserve_headers(struct route *r, const struct record *record)
{
	size_t count = OWN_HEADERS_MAX + record->user_property_count;
	size_t name_bytes = 0;

	if (count > r->header_capacity) {
		struct sink_header *h = realloc(r->headers, count * sizeof(*h));

		if (h == NULL)
			return ERR_NOMEM;
		r->headers = h;
		r->header_capacity = count;
	}
	/* All names are copied before they move: each may grow threefold. */
	for (size_t i = 0; i < record->user_property_count; i++)
		name_bytes +=
		    3 * record->user_properties[i].name.size + sizeof("user-");
	buffer_clear(&r->names);
	return buffer_reserve(&r->names, name_bytes);
}

static void
add_header(
    struct route *r, struct sink_record *out, const char *name, struct bytes value)
{
	if (value.data == NULL)
		return;
	r->headers[out->header_count++] = (struct sink_header){name, value};
}

static int
render_headers(
    struct route *r, const struct record *record, uint64_t seq, struct sink_record *out)
{
	const struct settings_route *s = r->settings;
	struct bytes provenance;
	int err;

	out->header_count = 0;
	err = reserve_headers(r, record);
	if (err == 0 && s->provenance)
		err = render_provenance(r, record, seq, &provenance);
	if (err != 0)
		return err;
	if (s->provenance)
		add_header(r, out, "tidegate", provenance);
	if (s->mqtt_headers) {
		r->qos = (char)('0' + record->qos % 10);
		add_header(r, out, "mqtt-topic", record->topic);
		add_header(r, out, "mqtt-qos", (struct bytes){&r->qos, 1});
		add_header(r, out, "mqtt-retain",
		    record->retain ? (struct bytes){"true", 4}
				   : (struct bytes){"false", 5});
	}
	add_header(r, out, "content-type", record->content_type);
	add_header(r, out, "mqtt-response-topic", record->response_topic);
	add_header(r, out, "mqtt-correlation-data", record->correlation_data);
	for (size_t i = 0; s->user_properties && i < record->user_property_count; i++) {
		const struct user_property *p = &record->user_properties[i];

		add_header(r, out, copy_name(r, p->name),
		    p->value.data == NULL ? (struct bytes){"", 0} : p->value);
	}
	out->headers = r->headers;
	return 0;
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

int
route_render(struct route *r, const struct record *record, uint64_t seq, int64_t now_ms,
    bool forwarded_time, struct sink_record *out)
{
	struct sink_record made = {.topic = r->settings->topic};
	int err;

	err = render_key(r, record, &made.key);
	if (err == 0)
		err = render_value(r, record, seq, &made);
	if (err == 0)
		err = render_headers(r, record, seq, &made);
	if (err != 0)
		return err;
	made.timestamp_ms =
	    forwarded_time ? now_ms : record_time(r->settings, record, now_ms);
	*out = made;
	return 0;
}
