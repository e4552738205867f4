/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Templates. The text is cut into parts once. Rendering borrows: from the record where
 * the template is one value that stands there, from the template where it is text; only
 * what has to be put together goes to a buffer of the template that keeps its room, so
 * that a record costs no allocation.
 */
#include "template.h"

#include <stdlib.h>
#include <string.h>

#include "err.h"

#define TOPIC_BYTES_MAX 65535 /* MQTT 5, 1.5.4; so many levels and one more */

enum part_kind {
	PART_TEXT,
	PART_TOPIC,
	PART_TOPIC_LEVEL,
	PART_TOPIC_REST,
	PART_GATEWAY_ID,
	PART_ROUTE,
	PART_QOS,
	PART_RETAIN,
	PART_SEQ,
	PART_USER,
	PART_CONTENT_TYPE,
	PART_PAYLOAD,
};

struct part {
	enum part_kind kind;
	size_t level;          /* PART_TOPIC_LEVEL, PART_TOPIC_REST: from 1 */
	struct bytes text;     /* PART_TEXT; PART_USER: the name */
	const char *pointer;   /* PART_PAYLOAD */
	struct bytes fallback; /* data NULL: none */
};

struct template
{
	char *text; /* our own; the parts point into it */
	struct part *parts;
	size_t part_count;
	struct buffer rendered;
};

static struct bytes
bytes_of(const char *text)
{
	return (struct bytes){text, strlen(text)};
}

/* ---- compiling ---- */

/* Digits alone, from 1 on; what cannot be is 0. */
static size_t
parse_level(const char *text, size_t size)
{
	size_t level = 0;

	for (size_t i = 0; i < size; i++) {
		if (text[i] < '0' || text[i] > '9')
			return 0;
		level = level * 10 + (size_t)(text[i] - '0');
		if (level > TOPIC_BYTES_MAX + 1)
			return 0;
	}
	return level;
}

/* The argument of ${topic:N} or ${topic:N-}. Returns what is wrong with it, or NULL. */
static const char *
compile_topic_level(struct part *part, const char *argument)
{
	const char *dash = strchr(argument, '-');
	size_t size = dash == NULL ? strlen(argument) : (size_t)(dash - argument);

	if (dash != NULL && size > 0 && dash[1] != '\0')
		return "has a \"${topic:N-M}\"; levels go on to the end, as in "
		       "\"${topic:2-}\", or there is one, as in \"${topic:2}\"";
	part->kind = dash == NULL ? PART_TOPIC_LEVEL : PART_TOPIC_REST;
	part->level = parse_level(argument, size);
	if (part->level == 0)
		return "has a \"${topic:N}\" whose N is not a number from 1 to 65536";
	return NULL;
}

static const char *
compile_argument(struct part *part, const char *argument)
{
	if (part->kind == PART_TOPIC)
		return argument == NULL ? NULL : compile_topic_level(part, argument);
	if (part->kind == PART_USER) {
		if (argument == NULL || *argument == '\0')
			return "does not name the user property, as in "
			       "\"${user:NAME}\"";
		part->text = bytes_of(argument);
		return NULL;
	}
	if (part->kind == PART_PAYLOAD) {
		if (argument == NULL || !payload_json_is_pointer(argument))
			return "has a \"${payload:...}\" that is not a JSON pointer, "
			       "as in \"${payload:/a/0/b}\"";
		part->pointer = argument;
		return NULL;
	}
	if (argument != NULL)
		return "has a \":\" behind a name that takes none, as in \"${qos:1}\"";
	return NULL;
}

/* What stands between "${" and "}", as a string. Returns what is wrong, or NULL. */
static const char *
compile_value(struct part *part, char *inside)
{
	static const struct {
		const char *name;
		enum part_kind kind;
	} values[] = {
	    {"topic", PART_TOPIC},
	    {"gateway_id", PART_GATEWAY_ID},
	    {"route", PART_ROUTE},
	    {"qos", PART_QOS},
	    {"retain", PART_RETAIN},
	    {"seq", PART_SEQ},
	    {"user", PART_USER},
	    {"content_type", PART_CONTENT_TYPE},
	    {"payload", PART_PAYLOAD},
	};
	char *bar = strchr(inside, '|');
	char *colon;

	if (strstr(inside, "${") != NULL)
		return "has a \"${\" within a \"${...}\": names and fallbacks are "
		       "text, "
		       "no ${...} inside";
	if (bar != NULL) {
		*bar = '\0';
		part->fallback = bytes_of(bar + 1);
	}
	colon = strchr(inside, ':');
	if (colon != NULL)
		*colon = '\0';
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		if (strcmp(inside, values[i].name) != 0)
			continue;
		part->kind = values[i].kind;
		return compile_argument(part, colon == NULL ? NULL : colon + 1);
	}
	return "has a \"${...}\" whose name is not known; known are topic, topic:N, "
	       "topic:N-, gateway_id, route, qos, retain, seq, user:NAME, "
	       "content_type and payload:/POINTER";
}

/* Text behind text makes one part of it, so that a constant is never put together. */
static void
add_text(struct template *t, char *to, const char *from, size_t size)
{
	struct part *last = t->part_count == 0 ? NULL : &t->parts[t->part_count - 1];

	if (size == 0)
		return;
	memmove(to, from, size);
	if (last != NULL && last->kind == PART_TEXT)
		last->text.size += size;
	else
		t->parts[t->part_count++] = (struct part){.text = {to, size}};
}

/*
 * Cut t->text into parts, which point into it. It gets shorter where "$$" stands for one
 * character: what is behind moves up to where the text before it ends.
 */
static const char *
compile(struct template *t)
{
	char *from = t->text;
	char *to = from;

	while (*from != '\0') {
		struct part part = {0};
		size_t plain = strcspn(from, "$");
		const char *why;
		char *end;

		if (plain == 0 && from[1] == '{') {
			end = strchr(from, '}');
			if (end == NULL)
				return "has a \"${\" without \"}\"";
			*end = '\0';
			why = compile_value(&part, from + 2);
			if (why != NULL)
				return why;
			t->parts[t->part_count++] = part;
			from = end + 1;
			to = from;
			continue;
		}
		if (plain == 0 && from[1] != '$')
			return "has a single \"$\"; a value is written \"${topic}\", a "
			       "dollar sign \"$$\"";
		add_text(t, to, from, plain == 0 ? 1 : plain);
		to += plain == 0 ? 1 : plain;
		from += plain == 0 ? 2 : plain;
	}
	return NULL;
}

/* A "$" ends one part and begins another at most. */
static size_t
count_parts_max(const char *text)
{
	size_t count = 1;

	for (const char *p = strchr(text, '$'); p != NULL; p = strchr(p + 1, '$'))
		count += 2;
	return count;
}

int
template_open(struct template **out, const char *text, const char **why)
{
	struct template *t = calloc(1, sizeof(*t));
	int err = ERR_NOMEM;
	const char *wrong;

	*out = NULL;
	if (t == NULL)
		return ERR_NOMEM;
	t->text = strdup(text);
	t->parts = calloc(count_parts_max(text), sizeof(*t->parts));
	if (t->text == NULL || t->parts == NULL)
		goto fail;
	wrong = compile(t);
	if (wrong != NULL) {
		if (why != NULL)
			*why = wrong;
		err = ERR_INVALID;
		goto fail;
	}
	*out = t;
	return 0;
fail:
	template_close(t);
	return err;
}

void
template_close(struct template *t)
{
	if (t == NULL)
		return;
	buffer_fini(&t->rendered);
	free(t->parts);
	free(t->text);
	free(t);
}

bool
template_is_constant(const struct template *t)
{
	for (size_t i = 0; i < t->part_count; i++) {
		if (t->parts[i].kind != PART_TEXT)
			return false;
	}
	return true;
}

bool
template_reads_payload(const struct template *t)
{
	for (size_t i = 0; i < t->part_count; i++) {
		if (t->parts[i].kind == PART_PAYLOAD)
			return true;
	}
	return false;
}

/* ---- rendering ---- */

/* Nothing where the topic has not so many levels. */
static struct bytes
topic_level(struct bytes topic, size_t level, bool to_end)
{
	const char *p = topic.data;
	const char *end = p + topic.size;
	const char *slash;

	for (; level > 1; level--) {
		slash = memchr(p, '/', (size_t)(end - p));
		if (slash == NULL)
			return (struct bytes){0};
		p = slash + 1;
	}
	slash = to_end ? NULL : memchr(p, '/', (size_t)(end - p));
	return (struct bytes){p, (size_t)((slash == NULL ? end : slash) - p)};
}

/* Of several the last. */
static struct bytes
user_property(const struct record *r, struct bytes name)
{
	for (size_t i = r->user_property_count; i > 0; i--) {
		const struct user_property *p = &r->user_properties[i - 1];

		if (p->name.size == name.size &&
		    memcmp(p->name.data, name.data, name.size) == 0)
			return p->value;
	}
	return (struct bytes){0};
}

/* Is it written into a buffer, not borrowed? */
static bool
is_made(const struct part *part)
{
	return part->kind == PART_QOS || part->kind == PART_SEQ ||
	       part->kind == PART_PAYLOAD;
}

static struct bytes
look_up(const struct part *part, const struct template_values *values)
{
	const struct record *r = values->record;

	switch (part->kind) {
	case PART_TEXT:
		return part->text;
	case PART_TOPIC:
		return r->topic;
	case PART_TOPIC_LEVEL:
		return topic_level(r->topic, part->level, false);
	case PART_TOPIC_REST:
		return topic_level(r->topic, part->level, true);
	case PART_GATEWAY_ID:
		return bytes_of(values->gateway_id);
	case PART_ROUTE:
		return bytes_of(values->route);
	case PART_RETAIN:
		return bytes_of(r->retain ? "true" : "false");
	case PART_USER:
		return user_property(r, part->text);
	case PART_CONTENT_TYPE:
		return r->content_type;
	case PART_QOS:
	case PART_SEQ:
	case PART_PAYLOAD:
		break;
	}
	return (struct bytes){0};
}

/* A value, else its fallback, else nothing that is there and empty. */
static struct bytes
look_up_or_fall_back(const struct part *part, const struct template_values *values)
{
	struct bytes value = look_up(part, values);

	if (value.data == NULL)
		value = part->fallback;
	if (value.data == NULL)
		value = (struct bytes){"", 0};
	return value;
}

static int
append_part(
    struct buffer *out, const struct part *part, const struct template_values *values)
{
	struct bytes value;

	if (part->kind == PART_QOS)
		return buffer_append_number(out, values->record->qos);
	if (part->kind == PART_SEQ)
		return buffer_append_number(out, values->seq);
	if (part->kind == PART_PAYLOAD) {
		bool found;
		int err =
		    payload_json_find(values->payload, part->pointer, out, &found);

		if (err != 0 || found)
			return err;
	}
	value = look_up_or_fall_back(part, values);
	return buffer_append(out, value.data, value.size);
}

int
template_render(
    struct template *t, const struct template_values *values, struct bytes *out)
{
	struct buffer *b = &t->rendered;

	if (t->part_count == 1 && !is_made(&t->parts[0])) {
		*out = look_up_or_fall_back(&t->parts[0], values);
		return 0;
	}
	buffer_clear(b);
	for (size_t i = 0; i < t->part_count; i++) {
		int err = append_part(b, &t->parts[i], values);

		if (err != 0)
			return err;
	}
	*out = (struct bytes){b->data == NULL ? (const void *)"" : b->data, b->size};
	return 0;
}
