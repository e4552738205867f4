/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Builds what should be said by other means than src/envelope, from the tables of TBMQ's
 * integration and of the CloudEvents specification: jansson judges what is UTF-8, keeps
 * the order, and parses; base64 is decoded, not encoded; the C library knows the calendar
 * and regular expressions.
 */
#include "check_envelope.h"

#include <jansson.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* RFC 2045: tspecials */
#define TOKEN_CHARACTERS "!#$%&'*+.^_`|~0-9A-Za-z{}-"
#define TOKEN            "[" TOKEN_CHARACTERS "]+"

/* How many bytes at p are one character? 0: none. */
static size_t
character(const char *p, size_t left)
{
	for (size_t size = 1; size <= 4 && size <= left && *p != '\0'; size++) {
		json_t *s = json_stringn(p, size);

		json_decref(s);
		if (s != NULL)
			return size;
	}
	return 0;
}

/* Do CloudEvents forbid the character? In UTF-8: C0, C1 and DEL, noncharacters. */
static bool
is_forbidden(const char *p, size_t size)
{
	uint8_t c[4] = {0};

	memcpy(c, p, size);
	if (size == 1)
		return c[0] < 0x20 || c[0] == 0x7f;
	if (size == 2)
		return c[0] == 0xc2 && c[1] < 0xa0;
	if (size == 3 && c[0] == 0xef && c[1] == 0xb7)
		return c[2] >= 0x90 && c[2] <= 0xaf;
	return c[size - 1] >= 0xbe && c[size - 2] == 0xbf &&
	       (size == 3 ? c[0] == 0xef : (c[1] & 0x0f) == 0x0f);
}

/*
 * With U+FFFD for each byte that is not UTF-8, for U+0000, and, where is_attribute, for
 * what CloudEvents forbid. Caller frees.
 */
static char *
clean(struct bytes in, bool is_attribute)
{
	const char *p = in.data;
	char *out = calloc(in.size + 1, 3);
	size_t used = 0;

	for (size_t i = 0; out != NULL && i < in.size;) {
		size_t size = character(p + i, in.size - i);
		bool is_kept = size > 0 && !(is_attribute && is_forbidden(p + i, size));

		memcpy(
		    out + used, is_kept ? p + i : "\xef\xbf\xbd", is_kept ? size : 3);
		used += is_kept ? size : 3;
		i += size > 0 ? size : 1;
	}
	return out;
}

static json_t *
text_of(struct bytes in)
{
	char *text = clean(in, false);
	json_t *s = json_string(text);

	free(text);
	return s;
}

static json_t *
attribute_of(struct bytes in)
{
	char *text = clean(in, true);
	json_t *s = json_string(text);

	free(text);
	return s;
}

/* Compiled once, for the fuzzer's sake. */
static bool
matches(regex_t *regex, const char *expression, struct bytes in)
{
	char *text = calloc(in.size + 1, 1);
	bool does;

	if (regex->re_nsub == 0 &&
	    regcomp(regex, expression, REG_EXTENDED | REG_ICASE) != 0)
		abort();
	if (in.size > 0)
		memcpy(text, in.data, in.size);
	does = strlen(text) == in.size && regexec(regex, text, 0, NULL, 0) == 0;
	free(text);
	return does;
}

static bool
is_equal(struct bytes a, struct bytes b)
{
	return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static json_t *
props_of(const struct record *r)
{
	const struct user_property *p = r->user_properties;
	json_t *props = json_object();

	for (size_t i = 0; i < r->user_property_count; i++) {
		size_t first = 0, last = i;
		char *name;

		while (!is_equal(p[first].name, p[i].name))
			first++;
		for (size_t k = i; k < r->user_property_count; k++) {
			if (is_equal(p[k].name, p[i].name))
				last = k;
		}
		if (first < i)
			continue;
		name = clean(p[i].name, false);
		json_object_set_new(props, name, text_of(p[last].value));
		free(name);
	}
	return props;
}

static json_t *
metadata_of(const struct envelope_context *c)
{
	json_t *metadata = json_object();

	for (size_t i = 0; i < c->metadata_count; i++)
		json_object_set_new(
		    metadata, c->metadata[i].name, text_of(c->metadata[i].value));
	json_object_set_new(metadata, "integrationName", json_string(c->route));
	return metadata;
}

static const char *
format_name(enum settings_payload_format format)
{
	switch (format) {
	case SETTINGS_PAYLOAD_BASE64:
		return "base64";
	case SETTINGS_PAYLOAD_TEXT:
		return "text";
	case SETTINGS_PAYLOAD_JSON:
		return "json";
	}
	abort();
}

/* The rows of the table. The payload is compared on its own. */
static json_t *
expected_tbmq(const struct record *r, const struct envelope_context *c, json_t *payload)
{
	json_t *o = json_object();

	json_object_set(o, "payload", payload);
	json_object_set_new(o, "topicName", text_of(r->topic));
	json_object_set_new(o, "clientId", text_of(c->client_id));
	json_object_set_new(o, "eventType", json_string("PUBLISH_MSG"));
	json_object_set_new(o, "qos", json_integer(r->qos));
	json_object_set_new(o, "retain", json_boolean(r->retain));
	json_object_set_new(o, "tbmqIeNode", json_string(c->gateway_id));
	json_object_set_new(o, "tbmqNode", json_string(c->mqtt_host));
	json_object_set_new(o, "ts", json_integer((json_int_t)r->received_ms));
	json_object_set_new(o, "props", props_of(r));
	json_object_set_new(o, "metadata", metadata_of(c));
	json_object_set_new(o, "journal", json_string(c->journal_uuid));
	json_object_set_new(o, "seq", json_integer((json_int_t)c->seq));
	if (c->names_format)
		json_object_set_new(
		    o, "payloadFormat", json_string(format_name(c->payload_format)));
	return o;
}

static void
set_time(json_t *event, uint64_t received_ms)
{
	time_t seconds = (time_t)(received_ms / 1000);
	char text[64], date[40];
	struct tm tm;

	if (gmtime_r(&seconds, &tm) == NULL || tm.tm_year > 9999 - 1900)
		return;
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text, sizeof(text), "%s.%03uZ", date, (unsigned)(received_ms % 1000));
	json_object_set_new(event, "time", json_string(text));
}

static json_t *
expected_attributes(const struct record *r, const struct envelope_context *c)
{
	json_t *o = json_object();

	json_object_set_new(o, "specversion", json_string("1.0"));
	json_object_set_new(o, "id",
	    json_sprintf("%s/%llu", c->journal_uuid, (unsigned long long)c->seq));
	json_object_set_new(o, "source", json_sprintf("/tidegate/%s", c->gateway_id));
	json_object_set_new(o, "type", json_string("tidegate.mqtt.message"));
	set_time(o, r->received_ms);
	if (r->topic.size > 0)
		json_object_set_new(o, "subject", attribute_of(r->topic));
	json_object_set_new(o, "mqttqos", json_integer(r->qos));
	json_object_set_new(o, "mqttretain", json_boolean(r->retain));
	json_object_set_new(o, "route", json_string(c->route));
	if (c->client_id.size > 0)
		json_object_set_new(o, "clientid", attribute_of(c->client_id));
	if (c->key.size > 0)
		json_object_set_new(o, "partitionkey", attribute_of(c->key));
	for (size_t i = 0; i < c->metadata_count; i++)
		json_object_set_new(
		    o, c->metadata[i].name, attribute_of(c->metadata[i].value));
	return o;
}

static json_t *
expected_content_type(const struct record *r, const struct envelope_context *c)
{
	static regex_t regex;

	if (matches(&regex, "^" TOKEN "/" TOKEN " *(;[ -~]*)?$", r->content_type))
		return attribute_of(r->content_type);
	switch (c->payload_format) {
	case SETTINGS_PAYLOAD_BASE64:
		return NULL;
	case SETTINGS_PAYLOAD_TEXT:
		return json_string("text/plain; charset=utf-8");
	case SETTINGS_PAYLOAD_JSON:
		return json_string("application/json");
	}
	abort();
}

static int
digit_value(char digit)
{
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = digit == '\0' ? NULL : strchr(digits, digit);

	return at == NULL ? -1 : (int)(at - digits);
}

/* Is text the one base64 of in? */
static bool
is_base64_of(const char *text, struct bytes in)
{
	const uint8_t *p = in.data;
	size_t length = strlen(text);

	if (length != (in.size + 2) / 3 * 4)
		return false;
	for (size_t bit = 0; bit < length * 6; bit++) {
		bool want = bit / 8 < in.size && (p[bit / 8] >> (7 - bit % 8) & 1);
		size_t used = (in.size * 8 + 5) / 6;
		int value = digit_value(text[bit / 6]);

		if (bit / 6 >= used) {
			if (text[bit / 6] != '=')
				return false;
		} else if (value < 0 || (value >> (5 - bit % 6) & 1) != want) {
			return false;
		}
	}
	return true;
}

bool
check_payload_is(struct bytes payload, enum settings_payload_format format)
{
	json_error_t error;
	json_t *value = NULL;
	bool is;

	switch (format) {
	case SETTINGS_PAYLOAD_BASE64:
		return true;
	case SETTINGS_PAYLOAD_TEXT:
		if (memchr(payload.data, 0, payload.size) == NULL)
			value = json_stringn(payload.data, payload.size);
		break;
	case SETTINGS_PAYLOAD_JSON:
		value = json_loadb(payload.data, payload.size, JSON_DECODE_ANY, &error);
		break;
	}
	is = value != NULL;
	json_decref(value);
	return is;
}

bool
check_is_json_type(struct bytes content_type)
{
	static regex_t regex;

	/* The subtype, up to what cannot be part of it. */
	return matches(&regex,
	    "^" TOKEN "/(" TOKEN "[+])?json($|[^" TOKEN_CHARACTERS "])", content_type);
}

/* Is it what the payload is to become? JSON stands byte for byte at its place in text. */
static bool
is_payload(const json_t *got, struct bytes payload, enum settings_payload_format format,
    struct bytes text, size_t place)
{
	if (format == SETTINGS_PAYLOAD_JSON)
		return place + payload.size <= text.size &&
		       memcmp((const char *)text.data + place, payload.data,
			   payload.size) == 0;
	if (!json_is_string(got))
		return false;
	if (format == SETTINGS_PAYLOAD_BASE64)
		return is_base64_of(json_string_value(got), payload);
	return json_string_length(got) == payload.size &&
	       memcmp(json_string_value(got), payload.data, payload.size) == 0;
}

/* Printed, because json_equal() does not look at the order. */
static bool
is_same_json(const json_t *a, const json_t *b)
{
	char *a_text = json_dumps(a, JSON_COMPACT | JSON_ENCODE_ANY);
	char *b_text = json_dumps(b, JSON_COMPACT | JSON_ENCODE_ANY);
	bool is_same = a_text != NULL && b_text != NULL && strcmp(a_text, b_text) == 0;

	free(a_text);
	free(b_text);
	return is_same;
}

const char *
check_envelope(
    const struct record *r, const struct envelope_context *c, struct bytes text)
{
	json_error_t error;
	json_t *got = json_loadb(text.data, text.size, 0, &error);
	json_t *payload = json_object_get(got, "payload");
	json_t *want = NULL;
	const char *wrong = NULL;

	if (payload == NULL) {
		wrong = "not an object with a payload";
	} else if (!is_payload(payload, r->payload, c->payload_format, text,
		       strlen("{\"payload\":"))) {
		wrong = "the payload differs";
	} else {
		want = expected_tbmq(r, c, payload);
		if (!is_same_json(got, want))
			wrong = "a field differs";
	}
	json_decref(got);
	json_decref(want);
	return wrong;
}

const char *
check_cloudevent(
    const struct record *r, const struct envelope_context *c, struct bytes text)
{
	const char *member =
	    c->payload_format == SETTINGS_PAYLOAD_BASE64 ? "data_base64" : "data";
	json_error_t error;
	json_t *got = json_loadb(text.data, text.size, 0, &error);
	json_t *data = json_object_get(got, member);
	json_t *want = expected_attributes(r, c);
	json_t *type = expected_content_type(r, c);
	const char *wrong = NULL;

	if (type != NULL)
		json_object_set_new(want, "datacontenttype", type);
	if (data == NULL) {
		wrong = "not an object with data";
	} else if (!is_payload(data, r->payload, c->payload_format, text,
		       text.size - 1 - r->payload.size)) {
		wrong = "the data differ";
	} else {
		json_object_set(want, member, data);
		if (!is_same_json(got, want))
			wrong = "an attribute differs";
	}
	json_decref(got);
	json_decref(want);
	return wrong;
}

/* Is the attribute the canonical string of the JSON value? */
static bool
is_attribute(const struct envelope_attribute *a, const char *name, const json_t *value)
{
	char *text = json_is_string(value) ? strdup(json_string_value(value))
					   : json_dumps(value, JSON_ENCODE_ANY);
	bool is_same = strcmp(a->name, name) == 0 && a->value.size == strlen(text) &&
		       memcmp(a->value.data, text, a->value.size) == 0 &&
		       a->is_bare != json_is_string(value);

	free(text);
	return is_same;
}

const char *
check_attributes(const struct record *r, const struct envelope_context *c,
    const struct envelope_attributes *a)
{
	json_t *want = expected_attributes(r, c);
	json_t *type = expected_content_type(r, c);
	const char *wrong = NULL;
	const char *name;
	json_t *value;
	size_t i = 0;

	if (a->count != json_object_size(want))
		wrong = "there are too many or too few attributes";
	json_object_foreach(want, name, value)
	{
		if (wrong == NULL && !is_attribute(&a->list[i++], name, value))
			wrong = "an attribute differs";
	}
	if (type == NULL
		? a->content_type.data != NULL
		: !is_equal(a->content_type, (struct bytes){json_string_value(type),
						 json_string_length(type)}))
		wrong = "the content type differs";
	json_decref(want);
	json_decref(type);
	return wrong;
}
