/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A message as a CloudEvent 1.0: its attributes, of which the binary binding makes
 * headers, and the JSON format.
 *
 * Invariant: a value is a string as CloudEvents have it (spec, "Type System"): UTF-8
 * without control characters and noncharacters. So what the device sent neither breaks
 * a header nor is refused by a consumer's library.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "envelope.h"
#include "envelope_writer.h"
#include "err.h"
#include "text.h"

/* All but the metadata. */
#define OWN_ATTRIBUTES_MAX 11

#define SEQ_MAX    20 /* digits */
#define TIME_BYTES 24 /* 2026-11-23T03:16:24.123Z */

/* From here on the year has five digits, which RFC 3339 does not have. */
#define YEAR_10000_MS UINT64_C(253402300800000)

static const char source_prefix[] = "/tidegate/";

/* ---- strings ---- */

static bool
is_allowed(uint32_t c)
{
	return c >= 0x20 && (c < 0x7f || c > 0x9f) && (c < 0xfdd0 || c > 0xfdef) &&
	       (c & 0xfffe) != 0xfffe;
}

static bool
is_clean(struct bytes in)
{
	const uint8_t *p = in.data;

	for (size_t i = 0; i < in.size;) {
		uint32_t code;
		size_t length = text_utf8_next(p + i, in.size - i, &code);

		if (length == 0 || !is_allowed(code))
			return false;
		i += length;
	}
	return true;
}

/* Each byte may become three: room for all values at once, so that none moves. */
static int
reserve_cleaned(const struct record *r, const struct envelope_context *c,
    struct envelope_attributes *a)
{
	size_t size = r->topic.size + c->client_id.size + c->key.size;

	for (size_t i = 0; i < c->metadata_count; i++)
		size += c->metadata[i].value.size;
	return buffer_reserve(&a->cleaned, size * 3);
}

/* Append what is allowed of in to a->cleaned, where there is room. */
static struct bytes
clean(struct envelope_attributes *a, struct bytes in)
{
	const uint8_t *p = in.data;
	uint8_t *start = a->cleaned.data + a->cleaned.size;
	uint8_t *to = start;

	for (size_t i = 0; i < in.size;) {
		uint32_t code;
		size_t length = text_utf8_next(p + i, in.size - i, &code);

		if (length > 0 && is_allowed(code)) {
			memcpy(to, p + i, length);
			to += length;
		} else {
			memcpy(to, "\xef\xbf\xbd", 3);
			to += 3;
		}
		i += length > 0 ? length : 1;
	}
	a->cleaned.size += (size_t)(to - start);
	return (struct bytes){start, (size_t)(to - start)};
}

/* ---- content types ---- */

/* RFC 2045, 5.1: the bytes of a token at the start. */
static size_t
token(const char *p, size_t size)
{
	size_t i = 0;

	while (i < size && p[i] > ' ' && p[i] < 0x7f &&
	       strchr("()<>@,;:\\\"/[]?=", p[i]) == NULL)
		i++;
	return i;
}

/* TYPE/SUBTYPE without its parameters; 0: it does not begin like that. */
static size_t
media_type(const char *p, size_t size)
{
	size_t type = token(p, size), subtype;

	if (type == 0 || type == size || p[type] != '/')
		return 0;
	subtype = token(p + type + 1, size - type - 1);
	return subtype == 0 ? 0 : type + 1 + subtype;
}

struct bytes
envelope_content_type(const struct record *r)
{
	const struct bytes none = {NULL, 0};
	const char *p = r->content_type.data;
	size_t size = r->content_type.size;
	size_t i = size == 0 ? 0 : media_type(p, size);

	if (i == 0)
		return none;
	while (i < size && p[i] == ' ')
		i++;
	if (i < size && p[i] != ';')
		return none;
	for (; i < size; i++) {
		if (p[i] < 0x20 || p[i] >= 0x7f)
			return none;
	}
	return r->content_type;
}

bool
envelope_is_json_type(struct bytes content_type)
{
	const char *p = content_type.data;
	size_t size = media_type(p, content_type.size);

	if (size < 6)
		return false;
	if (strncasecmp(p + size - 5, "/json", 5) == 0)
		return true;
	/* A suffix has something in front of it (RFC 6839, 3.1). */
	return strncasecmp(p + size - 5, "+json", 5) == 0 && p[size - 6] != '/';
}

static struct bytes
content_type_of(const struct record *r, enum settings_payload_format format)
{
	struct bytes own = envelope_content_type(r);

	if (own.data != NULL)
		return own;
	switch (format) {
	case SETTINGS_PAYLOAD_JSON:
		return (struct bytes){"application/json", 16};
	case SETTINGS_PAYLOAD_TEXT:
		return (struct bytes){"text/plain; charset=utf-8", 25};
	case SETTINGS_PAYLOAD_BASE64:
		break;
	}
	/* The JSON format, 3.1.1, forbids to guess. */
	return (struct bytes){NULL, 0};
}

/* ---- time ---- */

static void
put_digits(char *to, uint64_t n, size_t digits)
{
	while (digits > 0) {
		to[--digits] = (char)('0' + n % 10);
		n /= 10;
	}
}

/*
 * RFC 3339. Without gmtime_r(3), which takes a lock and, where time_t has 32 bits, ends
 * in 2038. The year is taken to begin in March: then its leap day is its last.
 */
static void
put_time(char to[TIME_BYTES], uint64_t ms)
{
	uint64_t day = ms / 86400000 + 719468; /* since 0000-03-01 */
	uint64_t era = day / 146097;           /* of 400 years */
	uint64_t of_era = day % 146097;
	uint64_t year =
	    (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	uint64_t of_year = of_era - (365 * year + year / 4 - year / 100);
	uint64_t month = (5 * of_year + 2) / 153; /* 0 is March */
	uint64_t of_month = of_year - (153 * month + 2) / 5 + 1;

	memcpy(to, "0000-00-00T00:00:00.000Z", TIME_BYTES);
	put_digits(to, era * 400 + year + (month >= 10), 4);
	put_digits(to + 5, month < 10 ? month + 3 : month - 9, 2);
	put_digits(to + 8, of_month, 2);
	put_digits(to + 11, ms / 3600000 % 24, 2);
	put_digits(to + 14, ms / 60000 % 60, 2);
	put_digits(to + 17, ms / 1000 % 60, 2);
	put_digits(to + 20, ms % 1000, 3);
}

/* ---- attributes ---- */

static void
add(struct envelope_attributes *a, const char *name, struct bytes value)
{
	a->list[a->count++] = (struct envelope_attribute){name, value, false};
}

static void
add_bare(struct envelope_attributes *a, const char *name, const char *value)
{
	a->list[a->count++] =
	    (struct envelope_attribute){name, {value, strlen(value)}, true};
}

/* What is written behind from in a->made, where there is room. */
static struct bytes
made_from(const struct envelope_attributes *a, size_t from)
{
	return (struct bytes){a->made.data + from, a->made.size - from};
}

static int
add_required(struct envelope_attributes *a, const struct record *r,
    const struct envelope_context *c)
{
	struct buffer *made = &a->made;
	size_t source;
	int err;

	err = buffer_reserve(made, strlen(c->journal_uuid) + 1 + SEQ_MAX +
				       sizeof(source_prefix) + strlen(c->gateway_id) +
				       TIME_BYTES);
	if (err != 0)
		return err;
	/* There is room for all of it: none of these fails. */
	(void)buffer_append_str(made, c->journal_uuid);
	(void)writer_literal(made, "/");
	(void)buffer_append_number(made, c->seq);
	add(a, "specversion", (struct bytes){"1.0", 3});
	add(a, "id", made_from(a, 0));
	source = made->size;
	(void)writer_literal(made, source_prefix);
	(void)buffer_append_str(made, c->gateway_id);
	add(a, "source", made_from(a, source));
	add(a, "type",
	    (struct bytes){ENVELOPE_EVENT_TYPE, sizeof(ENVELOPE_EVENT_TYPE) - 1});
	if (r->received_ms < YEAR_10000_MS) {
		put_time((char *)made->data + made->size, r->received_ms);
		made->size += TIME_BYTES;
		add(a, "time", made_from(a, made->size - TIME_BYTES));
	}
	return 0;
}

/* A value that came from outside. */
static int
add_clean(struct envelope_attributes *a, const char *name, struct bytes value,
    const struct record *r, const struct envelope_context *c)
{
	int err;

	if (value.data == NULL)
		value.data = "";
	if (is_clean(value)) {
		add(a, name, value);
		return 0;
	}
	if (a->cleaned.size == 0) {
		err = reserve_cleaned(r, c, a);
		if (err != 0)
			return err;
	}
	add(a, name, clean(a, value));
	return 0;
}

static int
add_message(struct envelope_attributes *a, const struct record *r,
    const struct envelope_context *c)
{
	static const char *const digits[] = {
	    "0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};
	int err = 0;

	if (r->topic.size > 0)
		err = add_clean(a, "subject", r->topic, r, c);
	add_bare(a, "mqttqos", digits[r->qos % 10]);
	add_bare(a, "mqttretain", r->retain ? "true" : "false");
	add(a, "route", (struct bytes){c->route, strlen(c->route)});
	if (err == 0 && c->client_id.size > 0)
		err = add_clean(a, "clientid", c->client_id, r, c);
	if (err == 0 && c->key.size > 0)
		err = add_clean(a, "partitionkey", c->key, r, c);
	return err;
}

int
envelope_attributes_make(const struct record *r, const struct envelope_context *c,
    struct envelope_attributes *out)
{
	size_t most = OWN_ATTRIBUTES_MAX + c->metadata_count;
	int err;

	if (out->capacity < most) {
		struct envelope_attribute *list =
		    realloc(out->list, most * sizeof(*list));

		if (list == NULL)
			return ERR_NOMEM;
		out->list = list;
		out->capacity = most;
	}
	out->count = 0;
	buffer_clear(&out->made);
	buffer_clear(&out->cleaned);
	err = add_required(out, r, c);
	if (err == 0)
		err = add_message(out, r, c);
	for (size_t i = 0; i < c->metadata_count && err == 0; i++)
		err = add_clean(out, c->metadata[i].name, c->metadata[i].value, r, c);
	out->content_type = content_type_of(r, c->payload_format);
	return err;
}

void
envelope_attributes_fini(struct envelope_attributes *a)
{
	free(a->list);
	buffer_fini(&a->made);
	buffer_fini(&a->cleaned);
	*a = (struct envelope_attributes){0};
}

/* ---- JSON ---- */

static int
put_attribute(struct buffer *out, const struct envelope_attribute *a, bool is_first)
{
	int err;

	err = is_first ? writer_literal(out, "{\"") : writer_literal(out, ",\"");
	if (err == 0)
		err = buffer_append_str(out, a->name);
	if (err == 0)
		err = writer_literal(out, "\":");
	if (err == 0 && a->is_bare)
		err = buffer_append(out, a->value.data, a->value.size);
	else if (err == 0)
		err = writer_text(out, a->value);
	return err;
}

static int
put_data(struct buffer *out, const struct record *r, enum settings_payload_format as)
{
	int err;

	switch (as) {
	case SETTINGS_PAYLOAD_JSON:
		err = writer_literal(out, ",\"data\":");
		return err == 0 ? buffer_append(out, r->payload.data, r->payload.size)
				: err;
	case SETTINGS_PAYLOAD_TEXT:
		err = writer_literal(out, ",\"data\":");
		return err == 0 ? writer_text(out, r->payload) : err;
	case SETTINGS_PAYLOAD_BASE64:
		break;
	}
	err = writer_literal(out, ",\"data_base64\":");
	return err == 0 ? writer_base64(out, r->payload) : err;
}

int
envelope_cloudevent(const struct record *r, const struct envelope_context *c,
    const struct envelope_attributes *a, struct buffer *out)
{
	const struct envelope_attribute content_type = {
	    "datacontenttype", a->content_type, false};
	size_t before = out->size;
	int err = 0;

	for (size_t i = 0; i < a->count && err == 0; i++)
		err = put_attribute(out, &a->list[i], i == 0);
	if (err == 0 && a->content_type.data != NULL)
		err = put_attribute(out, &content_type, false);
	if (err == 0)
		err = put_data(out, r, c->payload_format);
	if (err == 0)
		err = writer_literal(out, "}");
	if (err != 0)
		out->size = before;
	return err;
}
