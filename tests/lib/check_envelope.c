/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Builds what the envelope should say by other means than envelope.c: jansson judges
 * what is UTF-8, keeps the order, and parses; base64 is decoded, not encoded.
 */
#include "check_envelope.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

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

/* With U+FFFD for each byte that is not UTF-8, and for U+0000. Caller frees. */
static char *
clean(struct bytes in)
{
	const char *p = in.data;
	char *out = calloc(in.size + 1, 3);
	size_t used = 0;

	for (size_t i = 0; out != NULL && i < in.size;) {
		size_t size = character(p + i, in.size - i);

		memcpy(
		    out + used, size > 0 ? p + i : "\xef\xbf\xbd", size > 0 ? size : 3);
		used += size > 0 ? size : 3;
		i += size > 0 ? size : 1;
	}
	return out;
}

static json_t *
text_of(struct bytes in)
{
	char *text = clean(in);
	json_t *s = json_string(text);

	free(text);
	return s;
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
		name = clean(p[i].name);
		json_object_set_new(props, name, text_of(p[last].value));
		free(name);
	}
	return props;
}

static json_t *
client_id_of(const struct record *r)
{
	static const struct bytes name = {"client-id", 9};
	struct bytes value = {"", 0};

	for (size_t i = 0; i < r->user_property_count; i++) {
		if (is_equal(r->user_properties[i].name, name))
			value = r->user_properties[i].value;
	}
	return text_of(value);
}

/* Everything but the payload, which is compared on its own. */
static json_t *
expected(const struct record *r, const struct envelope_context *c, const char *payload)
{
	json_t *o = json_object();

	json_object_set_new(o, "payload", json_string(payload));
	json_object_set_new(o, "topicName", text_of(r->topic));
	json_object_set_new(o, "clientId", client_id_of(r));
	json_object_set_new(o, "eventType", json_string("PUBLISH_MSG"));
	json_object_set_new(o, "qos", json_integer(r->qos));
	json_object_set_new(o, "retain", json_boolean(r->retain));
	json_object_set_new(o, "tbmqIeNode", json_string(c->gateway_id));
	json_object_set_new(o, "tbmqNode", json_string(c->mqtt_host));
	json_object_set_new(o, "ts", json_integer((json_int_t)r->received_ms));
	json_object_set_new(o, "props", props_of(r));
	json_object_set_new(
	    o, "metadata", json_pack("{s:s}", "integrationName", c->route));
	json_object_set_new(o, "journal", json_string(c->journal_uuid));
	json_object_set_new(o, "seq", json_integer((json_int_t)c->seq));
	return o;
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

const char *
check_envelope(
    const struct record *r, const struct envelope_context *c, struct bytes text)
{
	json_error_t error;
	json_t *got = json_loadb(text.data, text.size, 0, &error);
	json_t *want = NULL;
	char *got_text = NULL, *want_text = NULL;
	const char *payload;
	const char *wrong = NULL;

	payload = json_string_value(json_object_get(got, "payload"));
	if (payload == NULL) {
		wrong = "not an object with a payload";
	} else if (!is_base64_of(payload, r->payload)) {
		wrong = "the payload differs";
	} else {
		/* Printed, because json_equal() does not look at the order. */
		want = expected(r, c, payload);
		got_text = json_dumps(got, JSON_COMPACT);
		want_text = json_dumps(want, JSON_COMPACT);
		if (got_text == NULL || want_text == NULL ||
		    strcmp(got_text, want_text) != 0)
			wrong = "a field differs";
	}
	free(got_text);
	free(want_text);
	json_decref(got);
	json_decref(want);
	return wrong;
}
