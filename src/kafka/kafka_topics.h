/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The topics that one producer has met, found by name however many they are.
 *
 * librdkafka frees nothing of a topic before its producer is destroyed (seen with
 * 2.0.2: some 11 KiB for one of four partitions), also when its handle is given back,
 * and keeps the opaque that the handle was made with. So none is let go alone: when too
 * many of them lie idle it is time for a new producer, see kafka_topics_are_too_many().
 *
 * It knows no clock.
 */
#ifndef KAFKA_TOPICS_H
#define KAFKA_TOPICS_H

#include <librdkafka/rdkafka.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "partition_gate.h"

#define KAFKA_TOPICS_IDLE_MS  ((int64_t)10 * 60 * 1000)
#define KAFKA_TOPICS_IDLE_MAX 1000  /* topics not used for that long */
#define KAFKA_TOPICS_MAX      10000 /* topics in all */

struct kafka_topic {
	const char *name;
	struct kafka_topic *next;
	rd_kafka_topic_t *rkt; /* its opaque is this */
	struct partition_gate gate;
	bool is_unplaced_out; /* a record is out that has no partition yet */
	int32_t sticky_partition;
	int64_t sticky_until_ms;
	int64_t refresh_at_ms;
	bool is_known;            /* these four: see kafka_producer_ask() */
	bool is_refused;          /* it was not, for longer than a moment */
	bool is_denied;           /* by kafka_producer_deny() */
	int64_t unknown_since_ms; /* 0: it has not been asked for */
	int64_t used_at_ms;
};

/* Zero-initialised is valid: none. */
struct kafka_topics {
	void *tree; /* of tsearch(3), by name */
	struct kafka_topic *list;
	struct kafka_topic *latest;
	size_t count;
};

/* Gives back the handles too; their producer must still be there. */
void kafka_topics_fini(struct kafka_topics *t);

/* NULL: there is none of that name. Otherwise it counts as used now. */
struct kafka_topic *kafka_topics_find(
    struct kafka_topics *t, const char *name, int64_t now_ms);

/*
 * Add one, for a name that there is none of.
 *
 * Ownership: *out stays where it is until kafka_topics_fini(). Its rkt is the caller's
 *            to set; where that fails, kafka_topics_remove() takes it out again.
 * Errors:    ERR_NOMEM.
 */
int kafka_topics_add(
    struct kafka_topic **out, struct kafka_topics *t, const char *name, int64_t now_ms);
void kafka_topics_remove(struct kafka_topics *t, struct kafka_topic *topic);

/* More than KAFKA_TOPICS_IDLE_MAX lie idle, or there are more than KAFKA_TOPICS_MAX. */
bool kafka_topics_are_too_many(const struct kafka_topics *t, int64_t now_ms);

#endif
