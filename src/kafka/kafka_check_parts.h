/* SPDX-License-Identifier: Apache-2.0 */
/* What the files behind kafka_check.h share; nobody else includes it. */
#ifndef KAFKA_CHECK_PARTS_H
#define KAFKA_CHECK_PARTS_H

#include <librdkafka/rdkafka.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "check.h"
#include "kafka_reason.h"
#include "kafka_topic_judge.h"
#include "settings.h"

#define KAFKA_CHECK_LEADERS_MAX 64

/* A topic, and what the cluster says of it. */
struct topic_look {
	struct topic_use use;
	struct topic_facts facts;
	rd_kafka_resp_err_t err;
	char config_error[200]; /* why its own configuration is not known */
};

/* A broker that leads partitions which are written to. */
struct leader_look {
	int32_t id;
	char address[300]; /* as the cluster tells it to clients */
	bool has_answered;
};

struct kafka_check {
	struct check *check;
	const struct settings *settings;
	rd_kafka_t *rk;
	rd_kafka_queue_t *queue; /* for what is asked by the admin calls */
	struct topic_needs needs;

	/* The most telling of what librdkafka has reported, in plain words. */
	char error[512];
	int error_rank;
	bool is_login_refused;
	struct kafka_reason_hints hints;
	char certificate[512];  /* what is wrong with the broker's */
	int64_t hopeless_at_ms; /* 0: not yet */

	const struct rd_kafka_metadata *metadata; /* of all topics */
	struct topic_look *topics;
	size_t topic_count;
	struct leader_look leaders[KAFKA_CHECK_LEADERS_MAX];
	size_t leader_count;
	char creation[200];     /* does the cluster make topics? "": not known */
	char config_error[200]; /* why configurations are not known */
	bool is_answered;       /* by one of the leaders, */
	bool is_described;      /* and with configurations */
};

/* Take in what librdkafka has reported. */
void kafka_check_serve(struct kafka_check *k);

/* What is left of the time, at most limit_ms. */
int kafka_check_timeout_ms(const struct kafka_check *k, int64_t limit_ms);

/* Look at the topics that this gateway writes to, and say a line for each. */
void kafka_check_topics(struct kafka_check *k);

#endif
