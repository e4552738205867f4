/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One life of a producer of librdkafka: from rd_kafka_new() until everything that it
 * took has been given back. kafka_sink.c makes a new one when it has failed for good.
 */
#ifndef KAFKA_PRODUCER_H
#define KAFKA_PRODUCER_H

#include <librdkafka/rdkafka.h>

#include <stdatomic.h>
#include <stdbool.h>

#include "partition_gate.h"
#include "sink.h"

struct kafka_topic {
	struct kafka_topic *next; /* latest used first */
	rd_kafka_topic_t *rkt;    /* its opaque is this */
	struct partition_gate gate;
	bool is_unplaced_out; /* a record is out that has no partition yet */
	int32_t sticky_partition;
	int64_t sticky_until_ms;
	int64_t refresh_at_ms;
	char name[];
};

struct kafka_producer {
	rd_kafka_t *rk; /* its opaque is this */
	rd_kafka_queue_t *queue;
	struct kafka_topic *topics;
	void *user;
	bool is_gated; /* partition_gate.h applies */
	bool is_going; /* it takes no more; what is out is being given back */
	atomic_bool is_closed;
	atomic_int resolving; /* threads within getaddrinfo(3) */
};

/*
 * Start one. The callbacks of conf are the caller's to set, but for those of this file
 * (name resolution, partitioner) and the opaque.
 *
 * Ownership: conf is taken over, also on failure. fd is borrowed: it gets 8 bytes when
 *            rd_kafka_poll() may have something.
 * Errors:    ERR_FATAL (logged), ERR_NOMEM.
 */
int kafka_producer_open(struct kafka_producer **out, rd_kafka_conf_t *conf,
    bool is_gated, int fd, void *user);

/* Errors: as send() in sink.h. The delivery report is for kafka_producer_report(). */
int kafka_producer_send(
    struct kafka_producer *p, const struct sink_record *r, uint64_t tag);

/*
 * Note a delivery report; to be called for each, once. Returns the tag that the record
 * was sent with.
 */
uint64_t kafka_producer_report(const rd_kafka_message_t *m);

/*
 * Have everything that is out reported, waiting at most limit_ms; the first grace_ms of
 * that for answers from Kafka to what is on the wire.
 *
 * Returns false when some of it is still out. Nothing can be sent any more.
 */
bool kafka_producer_give_back(
    struct kafka_producer *p, int64_t grace_ms, int64_t limit_ms);

/*
 * Release it, when everything was given back. False: nothing was done, because a thread
 * of librdkafka is in getaddrinfo(3) and would be waited for; try again later.
 */
bool kafka_producer_close(struct kafka_producer *p);

#endif
