/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many records went to which Kafka topic. A topic is a small number from the first
 * time it is seen; those past the room there is share the last number.
 */
#ifndef TOPIC_COUNTS_H
#define TOPIC_COUNTS_H

#include <stdint.h>

#include "board.h"

#define TOPIC_COUNTS_NONE    0 /* no topic's number */
#define TOPIC_COUNTS_OTHERS  (BOARD_TOPICS_MAX + 1)
#define TOPIC_COUNTS_BUCKETS 256

/* Zero-initialised is valid and empty. */
struct topic_counts {
	struct board_topic topics[BOARD_TOPICS_MAX]; /* number less 1 */
	uint32_t topic_count;
	uint64_t other_count;
	uint16_t last;                         /* the number found last */
	uint8_t buckets[TOPIC_COUNTS_BUCKETS]; /* by hash: a number; 0: free */
};

/* The number of a topic, never TOPIC_COUNTS_NONE. */
uint16_t topic_counts_find(struct topic_counts *t, const char *topic);

void topic_counts_add(struct topic_counts *t, uint16_t number);

#endif
