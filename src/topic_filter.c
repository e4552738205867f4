/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MQTT topic filters: are they valid, do they match, does one cover another.
 *
 * Invariant: topic_filter_covers() errs on the side of false. A filter that is wrongly
 * taken for covered would not be subscribed, and its messages would be missing.
 */
#include "topic_filter.h"

#include "text.h"

#include <stdint.h>
#include <string.h>

#define SHARE        "$share/"
#define SHARE_LENGTH (sizeof(SHARE) - 1)
#define MAX_BYTES    65535

/* What libmosquitto takes (its TOPIC_HIERARCHY_LIMIT). */
#define MAX_SLASHES 199

/* Part of a filter or topic that has not been looked at; data NULL: nothing is left. */
struct levels {
	const char *data;
	size_t size;
};

/* Take the first level off. */
static struct levels
take_level(struct levels *rest)
{
	struct levels level = *rest;
	const char *slash = memchr(rest->data, '/', rest->size);

	if (slash == NULL) {
		rest->data = NULL;
		rest->size = 0;
		return level;
	}
	level.size = (size_t)(slash - rest->data);
	rest->data = slash + 1;
	rest->size -= level.size + 1;
	return level;
}

static bool
level_is(struct levels level, char wildcard)
{
	return level.size == 1 && level.data[0] == wildcard;
}

static bool
levels_equal(struct levels a, struct levels b)
{
	return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

bool
topic_filter_is_shared(const char *filter)
{
	return strncmp(filter, SHARE, SHARE_LENGTH) == 0;
}

const char *
topic_filter_inner(const char *filter)
{
	const char *slash;

	if (!topic_filter_is_shared(filter))
		return filter;
	slash = strchr(filter + SHARE_LENGTH, '/');
	return slash == NULL ? NULL : slash + 1;
}

/* Characters that MQTT advises against (1.5.4) and that libmosquitto refuses. */
static bool
is_discouraged(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0xfdd0 && c <= 0xfdef) ||
	       (c & 0xfffe) == 0xfffe;
}

static const char *
check_text(const char *filter)
{
	size_t size = strlen(filter), length, slashes = 0;

	for (size_t i = 0; i < size; i += length) {
		uint32_t c;

		length = text_utf8_next(filter + i, size - i, &c);
		if (length == 0)
			return "it is not UTF-8";
		if (is_discouraged(c))
			return "it has a control character or a noncharacter";
		if (c == '/')
			slashes++;
	}
	if (slashes > MAX_SLASHES)
		return "it has more than 200 levels";
	return NULL;
}

static const char *
check_share(const char *filter)
{
	const char *inner = topic_filter_inner(filter);
	const char *group = filter + SHARE_LENGTH;

	if (inner == NULL)
		return "$share needs a group and a filter: $share/GROUP/FILTER";
	if (inner == group + 1)
		return "the group of $share/GROUP/FILTER is empty";
	if (strcspn(group, "+#") < (size_t)(inner - group))
		return "the group of $share/GROUP/FILTER has a wildcard";
	if (inner[0] == '\0')
		return "the filter of $share/GROUP/FILTER is empty";
	return NULL;
}

static const char *
check_levels(const char *filter)
{
	struct levels rest = {filter, strlen(filter)};

	while (rest.data != NULL) {
		struct levels level = take_level(&rest);

		if (level_is(level, '+'))
			continue;
		if (level_is(level, '#')) {
			if (rest.data != NULL)
				return "# is not its last level";
			continue;
		}
		if (memchr(level.data, '+', level.size) != NULL)
			return "+ does not stand alone in its level";
		if (memchr(level.data, '#', level.size) != NULL)
			return "# does not stand alone in its level";
	}
	return NULL;
}

bool
topic_filter_is_valid(const char *filter, const char **why)
{
	const char *wrong = NULL;

	if (filter[0] == '\0')
		wrong = "it is empty";
	else if (strlen(filter) > MAX_BYTES)
		wrong = "it is longer than 65,535 bytes";
	else
		wrong = check_text(filter);
	if (wrong == NULL && topic_filter_is_shared(filter))
		wrong = check_share(filter);
	if (wrong == NULL)
		wrong = check_levels(topic_filter_inner(filter));
	if (wrong != NULL && why != NULL)
		*why = wrong;
	return wrong == NULL;
}

bool
topic_filter_matches(const char *filter, struct bytes topic)
{
	const char *inner = topic_filter_inner(filter);
	struct levels want, have = {topic.data, topic.size};

	if (inner == NULL || topic.size == 0)
		return false;
	if (have.data[0] == '$' && (inner[0] == '+' || inner[0] == '#'))
		return false;
	want = (struct levels){inner, strlen(inner)};
	while (want.data != NULL) {
		struct levels level = take_level(&want);

		if (level_is(level, '#'))
			return true; /* also for nothing: a/# matches a */
		if (have.data == NULL)
			return false;
		if (!levels_equal(level, take_level(&have)) && !level_is(level, '+'))
			return false;
	}
	return have.data == NULL;
}

bool
topic_filter_covers(const char *wide, const char *narrow)
{
	struct levels w, n;

	if (topic_filter_is_shared(wide) || topic_filter_is_shared(narrow))
		return false;
	if (narrow[0] == '$' && (wide[0] == '+' || wide[0] == '#'))
		return false;
	if (strcmp(narrow, "#") == 0)
		narrow = "+/#"; /* the same topics: each has at least one level */
	w = (struct levels){wide, strlen(wide)};
	n = (struct levels){narrow, strlen(narrow)};
	while (w.data != NULL) {
		struct levels wide_level = take_level(&w), narrow_level;

		if (level_is(wide_level, '#'))
			return true;
		if (n.data == NULL)
			return false;
		narrow_level = take_level(&n);
		if (level_is(narrow_level, '#'))
			return false; /* it goes deeper than any fixed level */
		if (!level_is(wide_level, '+') &&
		    !levels_equal(wide_level, narrow_level))
			return false;
	}
	return n.data == NULL;
}
