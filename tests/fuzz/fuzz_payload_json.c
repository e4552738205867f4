/* SPDX-License-Identifier: Apache-2.0 */
/* sources: payload_json.c buffer.c err.c text.c */
/* seconds: 60 */
/*
 * Any bytes as a payload, behind a pointer that ends at the first zero byte. What counts
 * as JSON is JSON for a reader that goes by the letter of RFC 8259, and what is found is
 * what a walk through jansson's tree finds.
 */
#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "payload_json.h"
#include "text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(bool right)
{
	if (!right)
		abort();
}

/* ---- the grammar of RFC 8259: each is behind what it has taken, or false ---- */

struct text {
	const char *p, *end;
	int depth;
};

static bool
take(struct text *t, const char *token)
{
	size_t size = strlen(token);

	if ((size_t)(t->end - t->p) < size || memcmp(t->p, token, size) != 0)
		return false;
	t->p += size;
	return true;
}

static void
take_space(struct text *t)
{
	while (take(t, " ") || take(t, "\t") || take(t, "\n") || take(t, "\r"))
		continue;
}

static bool
take_digits(struct text *t)
{
	const char *start = t->p;

	while (t->p < t->end && *t->p >= '0' && *t->p <= '9')
		t->p++;
	return t->p > start;
}

static bool
take_number(struct text *t)
{
	(void)take(t, "-");
	if (!take(t, "0") && !take_digits(t))
		return false;
	if (take(t, ".") && !take_digits(t))
		return false;
	if (take(t, "e") || take(t, "E")) {
		(void)(take(t, "+") || take(t, "-"));
		return take_digits(t);
	}
	return true;
}

static bool
take_string(struct text *t)
{
	if (!take(t, "\""))
		return false;
	while (!take(t, "\"")) {
		if (t->p == t->end || (uint8_t)*t->p < 0x20)
			return false;
		if (take(t, "\\u")) {
			for (int i = 0; i < 4; i++, t->p++) {
				if (t->p == t->end || !isxdigit((uint8_t)*t->p))
					return false;
			}
		} else if (take(t, "\\")) {
			if (t->p == t->end || strchr("\"\\/bfnrt", *t->p) == NULL)
				return false;
			t->p++;
		} else {
			t->p++;
		}
	}
	return true;
}

static bool take_value(struct text *t);

static bool
take_members(struct text *t, bool named, const char *close)
{
	take_space(t);
	if (take(t, close))
		return true;
	do {
		take_space(t);
		if (named) {
			if (!take_string(t))
				return false;
			take_space(t);
			if (!take(t, ":"))
				return false;
		}
		if (!take_value(t))
			return false;
	} while (take(t, ","));
	return take(t, close);
}

/* With the space around it. */
static bool
take_value(struct text *t)
{
	bool right;

	if (++t->depth > 3000)
		return false;
	take_space(t);
	if (take(t, "["))
		right = take_members(t, false, "]");
	else if (take(t, "{"))
		right = take_members(t, true, "}");
	else if (t->p < t->end && *t->p == '"')
		right = take_string(t);
	else
		right = take(t, "true") || take(t, "false") || take(t, "null") ||
			take_number(t);
	take_space(t);
	t->depth--;
	return right;
}

static bool
is_json(struct bytes payload)
{
	struct text t = {payload.data, (const char *)payload.data + payload.size, 0};

	return text_is_utf8(payload.data, payload.size) && take_value(&t) &&
	       t.p == t.end;
}

/* ---- jansson's tree ---- */

/* Takes the escapes out of a token, in place. */
static void
unescape(char *token)
{
	char *to = token;

	for (; *token != '\0'; token++) {
		*to = *token;
		if (*token == '~')
			*to = *++token == '1' ? '/' : '~';
		to++;
	}
	*to = '\0';
}

static const json_t *
walk(const json_t *json, const char *pointer)
{
	while (json != NULL && *pointer != '\0') {
		size_t size = strcspn(pointer + 1, "/");
		char *token = strndup(pointer + 1, size);
		bool is_index;

		check(token != NULL);
		is_index = strcmp(token, "0") == 0 ||
			   (*token >= '1' && *token <= '9' && size < 10 &&
			       strspn(token, "0123456789") == size);
		unescape(token);
		if (json_is_object(json))
			json = json_object_get(json, token);
		else if (json_is_array(json) && is_index)
			json = json_array_get(json, strtoul(token, NULL, 10));
		else
			json = NULL;
		free(token);
		pointer += 1 + size;
	}
	return json_is_null(json) ? NULL : json;
}

static json_t *
load(const void *data, size_t size)
{
	return json_loadb(data, size,
	    JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, NULL);
}

static void
compare(const json_t *wanted, const uint8_t *data, size_t size)
{
	bool in_string = false;
	json_t *json;

	if (json_is_string(wanted)) {
		check(size == json_string_length(wanted));
		check(size == 0 || memcmp(data, json_string_value(wanted), size) == 0);
		return;
	}
	json = load(data, size);
	check(json != NULL && json_equal(json, wanted));
	json_decref(json);
	for (size_t i = 0; i < size; i++) {
		if (data[i] == '"')
			in_string = !in_string;
		else if (data[i] == '\\')
			i++;
		else
			check(in_string || !isspace(data[i]));
	}
}

static void
check_find(struct payload_json *p, const char *pointer, const json_t *json)
{
	const json_t *wanted = walk(json, pointer);
	struct buffer out = {0};
	bool found;

	check(buffer_append_str(&out, "<") == 0);
	check(payload_json_find(p, pointer, &out, &found) == 0);
	check(found == (wanted != NULL));
	check(out.data[0] == '<' && (found || out.size == 1));
	if (found)
		compare(wanted, out.data + 1, out.size - 1);
	buffer_fini(&out);
}

/* Nothing in it that one reader takes and another does not. */
static bool
is_simple(const uint8_t *data, size_t size)
{
	return size < 300 && memchr(data, '\\', size) == NULL &&
	       memchr(data, 'e', size) == NULL && memchr(data, 'E', size) == NULL;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct payload_json *p;
	char *pointer = strndup((const char *)data, size);
	size_t skipped = pointer == NULL ? 0 : strlen(pointer);
	json_t *json = NULL;

	check(pointer != NULL);
	if (p == NULL)
		check(payload_json_open(&p) == 0);
	skipped += skipped < size;
	data += skipped;
	size -= skipped;
	payload_json_begin(p, (struct bytes){data, size});
	if (payload_json_is_valid(p)) {
		check(is_json((struct bytes){data, size}));
		json = load(data, size);
		check(json != NULL);
	} else if (is_simple(data, size)) {
		check(!is_json((struct bytes){data, size}));
	}
	check_find(p, "", json);
	if (payload_json_is_pointer(pointer))
		check_find(p, pointer, json);
	json_decref(json);
	free(pointer);
	return 0;
}
