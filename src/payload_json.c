/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A payload as JSON. jansson judges it, and takes escapes out of its strings; what a
 * pointer finds is cut out of the text, because jansson's tree has numbers as doubles:
 * 0.1 would come out as 0.10000000000000001, and a long identifier as another one.
 *
 * Invariant: the functions that skip see only text that jansson has accepted. So they
 * look neither for its end nor for mistakes, and they do not recurse.
 *
 * Failure modes: jansson does not tell a lack of memory from a mistake; such a payload
 * passes for one that is not JSON.
 */
#include "payload_json.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

/* For jansson each takes up to 180 bytes beside its text. */
#define VALUES_MAX 250000

enum verdict {
	VERDICT_OPEN, /* nobody has asked */
	VERDICT_JSON,
	VERDICT_NO_JSON,
};

struct payload_json {
	struct bytes payload;
	enum verdict verdict;
	struct buffer token; /* of the pointer, without its escapes */
};

int
payload_json_open(struct payload_json **out)
{
	*out = calloc(1, sizeof(**out));
	return *out == NULL ? ERR_NOMEM : 0;
}

void
payload_json_close(struct payload_json *p)
{
	if (p == NULL)
		return;
	buffer_fini(&p->token);
	free(p);
}

void
payload_json_begin(struct payload_json *p, struct bytes payload)
{
	p->payload = payload;
	p->verdict = VERDICT_OPEN;
}

/* ---- judging ---- */

/* Integers as doubles: those beyond 64 bits are JSON as well. */
static json_t *
load(struct bytes text)
{
	return json_loadb(text.data, text.size,
	    JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, NULL);
}

/* Not fewer than there are, wherever this is JSON. */
static size_t
count_values(struct bytes text)
{
	const char *p = text.data;
	bool in_string = false;
	size_t count = 1;

	for (size_t i = 0; i < text.size; i++) {
		if (p[i] == '"')
			in_string = !in_string;
		else if (p[i] == '\\')
			i++;
		else if (!in_string)
			count += p[i] == ',' || p[i] == '[' || p[i] == '{';
	}
	return count;
}

static enum verdict
judge(struct bytes payload)
{
	json_t *json;

	/* jansson 2.14 overlooks U+0000 behind a number or a word. */
	if (memchr(payload.data, '\0', payload.size) != NULL)
		return VERDICT_NO_JSON;
	if (payload.size > VALUES_MAX && count_values(payload) > VALUES_MAX)
		return VERDICT_NO_JSON;
	json = load(payload);
	if (json == NULL)
		return VERDICT_NO_JSON;
	json_decref(json);
	return VERDICT_JSON;
}

bool
payload_json_is_valid(struct payload_json *p)
{
	if (p->verdict == VERDICT_OPEN)
		p->verdict = judge(p->payload);
	return p->verdict == VERDICT_JSON;
}

bool
payload_json_is_pointer(const char *pointer)
{
	if (*pointer != '\0' && *pointer != '/')
		return false;
	for (const char *p = strchr(pointer, '~'); p != NULL; p = strchr(p + 1, '~')) {
		if (p[1] != '0' && p[1] != '1')
			return false;
	}
	return true;
}

/* ---- walking through text that is JSON ---- */

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Something is behind the spaces. */
static const char *
skip_space(const char *p)
{
	while (is_space(*p))
		p++;
	return p;
}

static const char *
skip_string(const char *p)
{
	for (p++; *p != '"'; p++) {
		if (*p == '\\')
			p++;
	}
	return p + 1;
}

/* Only a number or a word that is all of the payload meets the end. */
static const char *
skip_scalar(const char *p, const char *end)
{
	while (p < end && !is_space(*p) && *p != ',' && *p != ']' && *p != '}')
		p++;
	return p;
}

/* p is at the first character of a value. Returns what is behind its last. */
static const char *
skip_value(const char *p, const char *end)
{
	size_t depth = 0;

	if (*p != '"' && *p != '[' && *p != '{')
		return skip_scalar(p, end);
	do {
		if (*p == '"') {
			p = skip_string(p);
			continue;
		}
		if (*p == '[' || *p == '{')
			depth++;
		else if (*p == ']' || *p == '}')
			depth--;
		p++;
	} while (depth > 0);
	return p;
}

/* string is as it stands there, with its quotes. */
static int
append_string(struct buffer *out, struct bytes string)
{
	const char *p = string.data;
	json_t *json;
	int err;

	if (memchr(p, '\\', string.size) == NULL)
		return buffer_append(out, p + 1, string.size - 2);
	json = load(string);
	if (json == NULL)
		return ERR_NOMEM;
	err = buffer_append(out, json_string_value(json), json_string_length(json));
	json_decref(json);
	return err;
}

static int
compare_string(struct bytes string, const struct buffer *text, bool *equal)
{
	struct buffer plain = {0};
	int err = 0;

	if (memchr(string.data, '\\', string.size) == NULL) {
		*equal =
		    string.size - 2 == text->size &&
		    memcmp((const char *)string.data + 1, text->data, text->size) == 0;
		return 0;
	}
	err = append_string(&plain, string);
	if (err == 0)
		*equal = plain.size == text->size &&
			 memcmp(plain.data, text->data, text->size) == 0;
	buffer_fini(&plain);
	return err;
}

/* *value is moved from an object to the last of its members of that name, or NULL. */
static int
find_member(const struct buffer *name, const char *end, const char **value)
{
	const char *p = skip_space(*value + 1);
	const char *last = NULL;

	while (*p != '}') {
		struct bytes string = {p, (size_t)(skip_string(p) - p)};
		bool equal;
		int err = compare_string(string, name, &equal);

		if (err != 0)
			return err;
		p = skip_space(p + string.size); /* at the colon */
		p = skip_space(p + 1);
		if (equal)
			last = p;
		p = skip_space(skip_value(p, end));
		if (*p == ',')
			p = skip_space(p + 1);
	}
	*value = last;
	return 0;
}

/* RFC 6901: digits, and no zero before others. "-" is behind the last element. */
static bool
parse_index(const struct buffer *token, size_t *index)
{
	size_t n = 0;

	if (token->size == 0 || token->size > 9 ||
	    (token->data[0] == '0' && token->size > 1))
		return false;
	for (size_t i = 0; i < token->size; i++) {
		if (token->data[i] < '0' || token->data[i] > '9')
			return false;
		n = n * 10 + (size_t)(token->data[i] - '0');
	}
	*index = n;
	return true;
}

static const char *
find_element(const struct buffer *token, const char *end, const char *value)
{
	const char *p = skip_space(value + 1);
	size_t index;

	if (!parse_index(token, &index) || *p == ']')
		return NULL;
	for (; index > 0; index--) {
		p = skip_space(skip_value(p, end));
		if (*p == ']')
			return NULL;
		p = skip_space(p + 1);
	}
	return p;
}

/* The token behind the "/" at *pointer, which is moved to the next "/" or the end. */
static int
next_token(struct buffer *token, const char **pointer)
{
	const char *p = *pointer + 1;
	int err;

	buffer_clear(token);
	/* Then nothing below fails, and data is not NULL. */
	err = buffer_reserve(token, strlen(p) + 1);
	if (err != 0)
		return err;
	for (; *p != '\0' && *p != '/'; p++) {
		uint8_t c = (uint8_t)*p;

		if (c == '~') {
			p++;
			c = *p == '0' ? '~' : '/';
		}
		token->data[token->size++] = c;
	}
	*pointer = p;
	return 0;
}

/* *value is moved from the payload's value to what the pointer finds, or NULL. */
static int
walk(struct payload_json *p, const char *pointer, const char *end, const char **value)
{
	while (*value != NULL && *pointer != '\0') {
		int err = next_token(&p->token, &pointer);

		if (err == 0 && **value == '{')
			err = find_member(&p->token, end, value);
		else if (err == 0 && **value == '[')
			*value = find_element(&p->token, end, *value);
		else
			*value = NULL;
		if (err != 0)
			return err;
	}
	return 0;
}

/* The white space outside of strings is left out. */
static int
append_compact(struct buffer *out, struct bytes text)
{
	const char *p = text.data;
	const char *end = p + text.size;
	int err = buffer_reserve(out, text.size);

	if (err != 0)
		return err;
	while (p < end) {
		const char *start = p;

		p = *p == '"' ? skip_string(p) : p + 1;
		if (!is_space(*start)) {
			memcpy(out->data + out->size, start, (size_t)(p - start));
			out->size += (size_t)(p - start);
		}
	}
	return 0;
}

int
payload_json_find(
    struct payload_json *p, const char *pointer, struct buffer *out, bool *found)
{
	const char *value, *end;
	struct bytes text;
	int err;

	if (!payload_json_is_valid(p)) {
		*found = false;
		return 0;
	}
	value = skip_space(p->payload.data);
	end = (const char *)p->payload.data + p->payload.size;
	err = walk(p, pointer, end, &value);
	if (err != 0)
		return err;
	if (value == NULL || *value == 'n') {
		*found = false;
		return 0;
	}
	text = (struct bytes){value, (size_t)(skip_value(value, end) - value)};
	err = *value == '"' ? append_string(out, text) : append_compact(out, text);
	if (err == 0)
		*found = true;
	return err;
}
