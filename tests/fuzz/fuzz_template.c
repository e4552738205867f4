/* SPDX-License-Identifier: Apache-2.0 */
/* sources: template.c payload_json.c buffer.c err.c */
/* seconds: 60 */
/*
 * Any text as a template, up to the first zero byte, rendered for a record made out of
 * what is behind it: a byte tells the size of the next field. What comes out, and whether
 * the text is refused, is held to a second rendering that reads the text from left to
 * right each time.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "template.h"

#define PROPERTIES_MAX 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *data;
	size_t size;
};

static void
check(bool right)
{
	if (!right)
		abort();
}

static struct bytes
take_field(struct input *in)
{
	struct bytes field = {in->data, 0};

	if (in->size == 0)
		return field;
	field = (struct bytes){in->data + 1, in->data[0]};
	if (field.size > in->size - 1)
		field.size = in->size - 1;
	in->data += 1 + field.size;
	in->size -= 1 + field.size;
	return field;
}

static bool
is_one_of(const char *name, const char *const *names)
{
	for (; *names != NULL; names++) {
		if (strcmp(name, *names) == 0)
			return true;
	}
	return false;
}

/* "2" or "2-", from 1 to 65536. */
static bool
is_level(const char *text, unsigned long *level)
{
	char *end;

	*level = strtoul(text, &end, 10);
	return *text >= '0' && *text <= '9' && *level >= 1 && *level <= 65536 &&
	       (*end == '\0' || strcmp(end, "-") == 0);
}

static bool
is_value(const char *name, const char *argument)
{
	static const char *const plain[] = {"topic", "gateway_id", "route", "qos",
	    "retain", "seq", "content_type", NULL};
	unsigned long level;

	if (argument == NULL)
		return is_one_of(name, plain);
	if (strcmp(name, "topic") == 0)
		return is_level(argument, &level);
	if (strcmp(name, "user") == 0)
		return *argument != '\0';
	return strcmp(name, "payload") == 0 && payload_json_is_pointer(argument);
}

static bool
put_level(const char *argument, struct bytes topic, struct buffer *out)
{
	const uint8_t *p = topic.data;
	bool to_end = strchr(argument, '-') != NULL;
	unsigned long level, at = 1;

	check(is_level(argument, &level));
	for (size_t i = 0; i < topic.size; i++) {
		if (p[i] == '/')
			at++;
		if ((to_end ? at >= level : at == level) &&
		    (p[i] != '/' || (to_end && at > level)))
			check(buffer_append(out, p + i, 1) == 0);
	}
	return at >= level;
}

/* Returns false where it is missing. */
static bool
put(const char *name, const char *argument, const struct template_values *v,
    struct buffer *out)
{
	const struct record *r = v->record;
	const struct user_property *last = NULL;
	bool found = true;

	if (strcmp(name, "topic") == 0 && argument != NULL)
		return put_level(argument, r->topic, out);
	if (strcmp(name, "topic") == 0)
		check(buffer_append(out, r->topic.data, r->topic.size) == 0);
	else if (strcmp(name, "gateway_id") == 0)
		check(buffer_append_str(out, v->gateway_id) == 0);
	else if (strcmp(name, "route") == 0)
		check(buffer_append_str(out, v->route) == 0);
	else if (strcmp(name, "qos") == 0)
		check(buffer_printf(out, "%d", r->qos) == 0);
	else if (strcmp(name, "retain") == 0)
		check(buffer_append_str(out, r->retain ? "true" : "false") == 0);
	else if (strcmp(name, "seq") == 0)
		check(buffer_printf(out, "%llu", (unsigned long long)v->seq) == 0);
	else if (strcmp(name, "payload") == 0)
		check(payload_json_find(v->payload, argument, out, &found) == 0);
	else if (strcmp(name, "content_type") == 0) {
		found = r->content_type.data != NULL;
		check(buffer_append(out, r->content_type.data, r->content_type.size) ==
		      0);
	} else {
		for (size_t i = 0; i < r->user_property_count; i++) {
			const struct user_property *p = &r->user_properties[i];

			if (p->name.size == strlen(argument) &&
			    memcmp(p->name.data, argument, p->name.size) == 0)
				last = p;
		}
		found = last != NULL;
		if (found)
			check(buffer_append(out, last->value.data, last->value.size) ==
			      0);
	}
	return found;
}

/* "NAME:ARGUMENT|FALLBACK"; false where it cannot be parsed. */
static bool
put_or_fall_back(char *inside, const struct template_values *v, struct buffer *out)
{
	char *fallback = strchr(inside, '|');
	char *argument;

	if (strstr(inside, "${") != NULL)
		return false;
	if (fallback != NULL)
		*fallback++ = '\0';
	argument = strchr(inside, ':');
	if (argument != NULL)
		*argument++ = '\0';
	if (!is_value(inside, argument))
		return false;
	if (!put(inside, argument, v, out) && fallback != NULL)
		check(buffer_append_str(out, fallback) == 0);
	return true;
}

/* false where it cannot be parsed. */
static bool
render(const char *text, const struct template_values *v, struct buffer *out)
{
	while (*text != '\0') {
		if (*text != '$') {
			check(buffer_append(out, text++, 1) == 0);
		} else if (text[1] == '$') {
			check(buffer_append(out, text, 1) == 0);
			text += 2;
		} else {
			const char *end = strchr(text, '}');
			char *inside;
			bool right;

			if (text[1] != '{' || end == NULL)
				return false;
			inside = strndup(text + 2, (size_t)(end - text) - 2);
			check(inside != NULL);
			right = put_or_fall_back(inside, v, out);
			free(inside);
			if (!right)
				return false;
			text = end + 1;
		}
	}
	return true;
}

static void
compare(const char *text, const struct template_values *values)
{
	struct buffer wanted = {0};
	struct template *t;
	const char *why = NULL;
	struct bytes out;
	int err = template_open(&t, text, &why);

	check(err == 0 || err == ERR_INVALID);
	check((err == 0) == (t != NULL) && (err == 0) == (why == NULL));
	check((err == 0) == render(text, values, &wanted));
	for (int i = 0; err == 0 && i < 2; i++) {
		check(template_render(t, values, &out) == 0);
		check(out.data != NULL && out.size == wanted.size);
		check(out.size == 0 || memcmp(out.data, wanted.data, out.size) == 0);
	}
	if (err == 0 && strchr(text, '$') == NULL)
		check(template_is_constant(t) && out.size == strlen(text));
	template_close(t);
	buffer_fini(&wanted);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct payload_json *payload;
	size_t length = strnlen((const char *)data, size);
	struct input in = {data + length, size - length};
	struct user_property properties[PROPERTIES_MAX];
	struct record r = {.user_properties = properties};
	struct template_values values = {
	    .record = &r, .gateway_id = "gw", .route = "r"};
	struct bytes flags;
	char *text = strndup((const char *)data, size);

	check(text != NULL);
	if (payload == NULL)
		check(payload_json_open(&payload) == 0);
	values.payload = payload;
	(void)take_field(&in); /* the zero byte */
	flags = take_field(&in);
	r.qos = flags.size > 0 ? *(const uint8_t *)flags.data & 3 : 0;
	r.retain = flags.size & 1;
	values.seq = (uint64_t)flags.size << 56 | flags.size;
	r.topic = take_field(&in);
	r.payload = take_field(&in);
	if ((flags.size & 2) != 0)
		r.content_type = take_field(&in);
	while (in.size > 0 && r.user_property_count < PROPERTIES_MAX) {
		struct user_property *p = &properties[r.user_property_count++];

		p->name = take_field(&in);
		p->value = take_field(&in);
	}
	payload_json_begin(payload, r.payload);
	compare(text, &values);
	free(text);
	return 0;
}
