/* SPDX-License-Identifier: Apache-2.0 */
/* Counts by Kafka topic, in a table that never grows and forgets nothing. */
#include "topic_counts.h"

#include <stdio.h>
#include <string.h>

static uint32_t
hash(const char *text)
{
	uint32_t h = 2166136261u; /* FNV-1a */

	for (; *text != '\0'; text++)
		h = (h ^ (unsigned char)*text) * 16777619u;
	return h;
}

static bool
is_topic(const struct topic_counts *t, uint16_t number, const char *topic)
{
	return number != TOPIC_COUNTS_NONE && number <= t->topic_count &&
	       strcmp(t->topics[number - 1].name, topic) == 0;
}

uint16_t
topic_counts_find(struct topic_counts *t, const char *topic)
{
	uint32_t at;

	/* Mostly it is the same again. */
	if (is_topic(t, t->last, topic))
		return t->last;
	at = hash(topic) % TOPIC_COUNTS_BUCKETS;
	/* There are more buckets than topics, so a free one ends it. */
	while (t->buckets[at] != 0 && !is_topic(t, t->buckets[at], topic))
		at = (at + 1) % TOPIC_COUNTS_BUCKETS;
	if (t->buckets[at] == 0) {
		if (t->topic_count == BOARD_TOPICS_MAX ||
		    strlen(topic) >= sizeof(t->topics[0].name))
			return TOPIC_COUNTS_OTHERS;
		(void)snprintf(t->topics[t->topic_count].name,
		    sizeof(t->topics[0].name), "%s", topic);
		t->buckets[at] = (uint8_t)++t->topic_count;
	}
	t->last = t->buckets[at];
	return t->last;
}

void
topic_counts_add(struct topic_counts *t, uint16_t number)
{
	if (number == TOPIC_COUNTS_NONE)
		return;
	if (number == TOPIC_COUNTS_OTHERS)
		t->other_count++;
	else
		t->topics[number - 1].count++;
}
