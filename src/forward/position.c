/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The position as JSON. Written by hand: its names and texts need no escapes.
 *
 * Failure modes: what is read comes from a topic that others can write to: it is taken
 * only when every part of it is what we would have written.
 */
#include "position.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

#define FORMAT 1

#define HEX   "0123456789abcdef"
#define WORDS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"

/* ---- writing ---- */

int
position_begin(struct buffer *out, const char *uuid, const char *instance)
{
	return buffer_printf(out,
	    "{\"format\":%d,\"uuid\":\"%s\",\"instance\":\"%s\",\"routes\":{", FORMAT,
	    uuid, instance);
}

static int
add_mark(struct buffer *out, const struct position_mark *m)
{
	return buffer_printf(out,
	    "\"next\":%" PRIu64 ",\"sum\":\"%016" PRIx64 "\",\"asked\":\"%016" PRIx64
	    "\"",
	    m->seq + 1, m->sum, m->asked);
}

int
position_add(struct buffer *out, const struct position_route *r)
{
	bool is_first = out->size > 0 && out->data[out->size - 1] == '{';
	int err = buffer_printf(out, "%s\"%s\":{", is_first ? "" : ",", r->name);

	if (err == 0)
		err = add_mark(out, &r->last);
	if (err == 0 && r->before.seq != 0)
		err = buffer_append_str(out, ",\"before\":{");
	if (err == 0 && r->before.seq != 0)
		err = add_mark(out, &r->before);
	if (err == 0 && r->before.seq != 0)
		err = buffer_append_str(out, "}");
	return err != 0 ? err : buffer_append_str(out, "}");
}

int
position_end(struct buffer *out)
{
	return buffer_append_str(out, "}}");
}

/* ---- reading ---- */

/* A string of that length, of these characters alone. NULL: it is not. */
static const char *
text_of(const json_t *object, const char *name, size_t length, const char *of)
{
	const json_t *value = json_object_get(object, name);
	const char *text = json_string_value(value);

	if (text == NULL || json_string_length(value) != length ||
	    strspn(text, of) != length)
		return NULL;
	return text;
}

static int
take_number(const json_t *object, const char *name, uint64_t *out)
{
	const char *text = text_of(object, name, 16, HEX);

	if (text == NULL)
		return ERR_INVALID;
	*out = strtoull(text, NULL, 16);
	return 0;
}

static int
take_mark(const json_t *object, struct position_mark *out)
{
	json_int_t next = json_integer_value(json_object_get(object, "next"));
	struct position_mark m = {0};

	/* 0 too where it is no number; sequences begin at 1. */
	if (next < 2 || take_number(object, "sum", &m.sum) != 0 ||
	    take_number(object, "asked", &m.asked) != 0 || m.sum == 0 || m.asked == 0)
		return ERR_INVALID;
	m.seq = (uint64_t)next - 1;
	*out = m;
	return 0;
}

static int
take_route(const char *name, const json_t *object, struct position_route *out)
{
	const json_t *before = json_object_get(object, "before");
	struct position_route r = {0};
	size_t length = strlen(name);

	if (length == 0 || length >= sizeof(r.name) || strspn(name, WORDS) != length)
		return ERR_INVALID;
	memcpy(r.name, name, length);
	if (take_mark(object, &r.last) != 0)
		return ERR_INVALID;
	if (before != NULL && take_mark(before, &r.before) != 0)
		return ERR_INVALID;
	*out = r;
	return 0;
}

static int
take_routes(const json_t *object, struct position *p)
{
	const char *name;
	json_t *value;

	if (!json_is_object(object))
		return ERR_INVALID;
	p->routes = calloc(json_object_size(object) + 1, sizeof(*p->routes));
	if (p->routes == NULL)
		return ERR_NOMEM;
	/* The macro's own cast takes the const away. */
	json_object_foreach((json_t *)(uintptr_t)object, name, value)
	{
		if (take_route(name, value, &p->routes[p->route_count]) != 0)
			return ERR_INVALID;
		p->route_count++;
	}
	return 0;
}

static int
take_all(const json_t *json, struct position *p)
{
	const json_t *format = json_object_get(json, "format");
	const char *uuid = text_of(json, "uuid", sizeof(p->uuid) - 1, HEX "-");
	const char *instance = text_of(json, "instance", sizeof(p->instance) - 1, HEX);

	if (json_integer_value(format) > FORMAT)
		return ERR_VERSION;
	if (json_integer_value(format) != FORMAT || uuid == NULL || instance == NULL)
		return ERR_INVALID;
	memcpy(p->uuid, uuid, sizeof(p->uuid));
	memcpy(p->instance, instance, sizeof(p->instance));
	return take_routes(json_object_get(json, "routes"), p);
}

int
position_parse(struct position *out, struct bytes text)
{
	struct position p = {0};
	json_t *json = NULL;
	int err = ERR_INVALID;

	if (text.data != NULL)
		json = json_loadb(text.data, text.size, JSON_REJECT_DUPLICATES, NULL);
	if (json != NULL)
		err = take_all(json, &p);
	json_decref(json);
	if (err == 0)
		*out = p;
	else
		position_fini(&p);
	return err;
}

void
position_fini(struct position *p)
{
	free(p->routes);
	*p = (struct position){0};
}

/* ---- the hash ---- */

/*
 * FNV-1a, but eight bytes at a time: it runs for each record. Each step is one to one,
 * so that texts of the same length that differ in one word never have the same.
 */
uint64_t
position_hash(struct bytes text)
{
	const uint8_t *p = text.data;
	size_t left = text.size;
	uint64_t hash = 14695981039346656037U ^ text.size;

	while (left > 0) {
		size_t count = left < 8 ? left : 8;
		uint64_t word = 0;

		for (size_t i = 0; i < count; i++)
			word |= (uint64_t)p[i] << (8 * i);
		hash = (hash ^ word) * 1099511628211U;
		hash ^= hash >> 32;
		p += count;
		left -= count;
	}
	return hash == 0 ? 1 : hash;
}
