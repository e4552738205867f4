/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --check-connection: what a topic and its configuration mean for this gateway. Knows
 * neither librdkafka nor the network.
 */
#ifndef KAFKA_TOPIC_JUDGE_H
#define KAFKA_TOPIC_JUDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buffer.h"
#include "check.h"
#include "settings.h"

/* What this gateway does with a topic. */
struct topic_use {
	char name[256];
	bool is_route;    /* not only for status reports */
	bool is_position; /* kafka.position_topic: written to, and read at each start */
	bool has_no_key;  /* of a route: the key is empty */
	bool may_lack_key; /* of a route: it may render empty */
	/* How old a record time may be when it is sent: 0, that of sending; INT64_MAX, as
	 * old as the message is. */
	int64_t max_age_ms;
};

/*
 * The topics that are the same for every record, of the routes that are on, of the
 * status reports and of the positions, each once. Of a route whose topic comes from a template a line is said.
 *
 * Ownership: *out is the caller's, free(3).
 * Errors:    ERR_NOMEM.
 */
int topic_uses_list(struct check *c, const struct settings *settings,
    struct topic_use **out, size_t *count);

/* The gateway's side of the limits. */
struct topic_needs {
	int64_t oldest_age_ms; /* of what waits in the journal; -1: nothing does */
	uint64_t producer_max_bytes; /* message.max.bytes */
	bool is_producer_max_given;  /* in kafka.properties */
	uint64_t journal_max_bytes;  /* the largest message that the journal takes */
	bool is_acks_all;
};

/* The cluster's side. Numbers are -1 where they are not known or not limited. */
struct topic_facts {
	int partition_count;
	int replica_count;    /* the smallest of its partitions */
	int leaderless_count; /* partitions */
	bool is_configured;   /* what follows is known */
	bool is_compacted, is_deleted;
	bool is_log_append_time;
	int64_t retention_ms;
	int64_t oldest_time_ms; /* message.timestamp.before.max.ms, or its older name */
	int64_t max_message_bytes;
	int64_t min_insync_replicas;
};

/* Which settings of a topic are looked at; ends with NULL. */
extern const char *const topic_facts_settings[];

/* Note one of them. Others are passed over. */
void topic_facts_set(struct topic_facts *facts, const char *name, const char *value);

/* Append what it comes to, in words. Errors: ERR_NOMEM. */
int topic_judge(const struct topic_use *use, const struct topic_needs *needs,
    const struct topic_facts *facts, struct buffer *text, enum check_result *result);

#endif
