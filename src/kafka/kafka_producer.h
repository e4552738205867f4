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

#include "kafka_reason.h"
#include "kafka_topics.h"
#include "sink.h"

struct kafka_producer {
	rd_kafka_t *rk; /* its opaque is this */
	rd_kafka_queue_t *queue;
	struct kafka_topics topics;
	struct kafka_reason_hints hints; /* for kafka_reason(): what stays as it is */
	int64_t looked_at_ms;            /* at the topics, whether they are too many */
	bool is_leaving; /* it takes no more, so that a new one can take over */
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
 * Is it time for a new producer, because this one has met too many topics? Then it
 * takes no more (ERR_FULL), but for a while at most; true when nothing is out any more.
 */
bool kafka_producer_may_leave(struct kafka_producer *p, int64_t now_ms);

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
