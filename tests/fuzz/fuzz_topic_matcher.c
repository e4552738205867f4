/* SPDX-License-Identifier: Apache-2.0 */
/* sources: topic_matcher.c topic_filter.c text.c buffer.c err.c */
/* seconds: 60 */
/* Lines: a topic, then filters. The matcher says what each filter says by itself. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "topic_filter.h"
#include "topic_matcher.h"

#define FILTERS_MAX 256

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The next line, cut out of text. */
static char *
take_line(char **text)
{
	char *line = *text;
	char *end = line + strcspn(line, "\n");

	*text = *end == '\0' ? end : end + 1;
	*end = '\0';
	return line;
}

static size_t
add_filters(struct topic_matcher *m, char *text, const char *filters[])
{
	size_t count = 0;

	while (*text != '\0' && count < FILTERS_MAX) {
		const char *filter = take_line(&text);

		if (!topic_filter_is_valid(filter, NULL))
			continue;
		/* Two owners of one filter, and one of two. */
		if (topic_matcher_add(m, filter, (uint32_t)count) != 0 ||
		    topic_matcher_add(m, filter, FILTERS_MAX + count % 7) != 0)
			abort();
		filters[count++] = filter;
	}
	return count;
}

static void
compare(
    struct topic_matcher *m, const char *filters[], size_t count, struct bytes topic)
{
	const uint32_t *owners;
	size_t owner_count, at = 0;
	bool is_shared_owner[7] = {false};

	topic_matcher_match(m, topic, &owners, &owner_count);
	for (size_t i = 0; i < count; i++) {
		if (!topic_filter_matches(filters[i], topic))
			continue;
		if (at >= owner_count || owners[at++] != i)
			abort();
		is_shared_owner[i % 7] = true;
	}
	for (uint32_t i = 0; i < 7; i++) {
		if (is_shared_owner[i] &&
		    (at >= owner_count || owners[at++] != FILTERS_MAX + i))
			abort();
	}
	if (at != owner_count)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *filters[FILTERS_MAX];
	char *copy = malloc(size + 1), *rest = copy;
	struct topic_matcher *m;
	struct bytes topic;
	size_t count;

	if (copy == NULL || topic_matcher_open(&m) != 0)
		abort();
	if (size > 0)
		memcpy(copy, data, size);
	copy[size] = '\0';
	topic.data = take_line(&rest);
	topic.size = strlen(topic.data);
	count = add_filters(m, rest, filters);
	for (int i = 0; i < 2; i++)
		compare(m, filters, count, topic);
	/* As a topic, a filter is a name like any other. */
	for (size_t i = 0; i < count && i < 8; i++)
		compare(
		    m, filters, count, (struct bytes){filters[i], strlen(filters[i])});
	topic_matcher_close(m);
	free(copy);
	return 0;
}
