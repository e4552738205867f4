/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tree by name, for finding, and a list, for going through all of them.
 *
 * Invariant: each topic is in both.
 */
#include "kafka_topics.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

static int
compare(const void *a, const void *b)
{
	const struct kafka_topic *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static void
free_topic(struct kafka_topics *t, struct kafka_topic *topic)
{
	(void)tdelete(topic, &t->tree, compare);
	if (topic->rkt != NULL)
		rd_kafka_topic_destroy(topic->rkt);
	partition_gate_fini(&topic->gate);
	free(topic);
}

void
kafka_topics_fini(struct kafka_topics *t)
{
	while (t->list != NULL) {
		struct kafka_topic *topic = t->list;

		t->list = topic->next;
		free_topic(t, topic);
	}
	*t = (struct kafka_topics){0};
}

struct kafka_topic *
kafka_topics_find(struct kafka_topics *t, const char *name, int64_t now_ms)
{
	const struct kafka_topic key = {.name = name};

	/* Most records go where the one before went. */
	if (t->latest == NULL || strcmp(t->latest->name, name) != 0) {
		struct kafka_topic *const *found = tfind(&key, &t->tree, compare);

		if (found == NULL)
			return NULL;
		t->latest = *found;
	}
	t->latest->used_at_ms = now_ms;
	return t->latest;
}

int
kafka_topics_add(
    struct kafka_topic **out, struct kafka_topics *t, const char *name, int64_t now_ms)
{
	size_t size = strlen(name) + 1;
	struct kafka_topic *topic = calloc(1, sizeof(*topic) + size);

	if (topic == NULL)
		return ERR_NOMEM;
	topic->name = memcpy(topic + 1, name, size);
	topic->used_at_ms = now_ms;
	if (tsearch(topic, &t->tree, compare) == NULL) {
		free(topic);
		return ERR_NOMEM;
	}
	topic->next = t->list;
	t->list = topic;
	t->latest = topic;
	t->count++;
	*out = topic;
	return 0;
}

void
kafka_topics_remove(struct kafka_topics *t, struct kafka_topic *topic)
{
	struct kafka_topic **at = &t->list;

	while (*at != topic)
		at = &(*at)->next;
	*at = topic->next;
	if (t->latest == topic)
		t->latest = NULL;
	t->count--;
	free_topic(t, topic);
}

bool
kafka_topics_are_too_many(const struct kafka_topics *t, int64_t now_ms)
{
	size_t idle = 0;

	if (t->count > KAFKA_TOPICS_MAX)
		return true;
	if (t->count <= KAFKA_TOPICS_IDLE_MAX)
		return false;
	for (const struct kafka_topic *topic = t->list; topic != NULL;
	     topic = topic->next)
		idle += now_ms - topic->used_at_ms > KAFKA_TOPICS_IDLE_MS;
	return idle > KAFKA_TOPICS_IDLE_MAX;
}
