/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One life of a producer of librdkafka: from rd_kafka_new() until everything that it
 * took has been given back. kafka_sink.c makes a new one when it has failed for good.
 */
#ifndef KAFKA_PRODUCER_H
#define KAFKA_PRODUCER_H

#include <librdkafka/rdkafka.h>

#include <stdbool.h>

#include "kafka_backoff.h"
#include "kafka_reason.h"
#include "kafka_resolver.h"
#include "kafka_topics.h"
#include "sink.h"

struct kafka_producer {
	struct kafka_resolver resolver; /* first: see there */
	struct kafka_backoff backoff;
	rd_kafka_t *rk; /* its opaque is this */
	rd_kafka_queue_t *queue;
	struct kafka_topics topics;
	struct kafka_reason_hints hints; /* for kafka_reason(): what stays as it is */
	int64_t looked_at_ms;            /* at the topics, whether they are too many */
	bool is_leaving; /* it takes no more, so that a new one can take over */
	int64_t now_ms;  /* of the latest kafka_producer_poll() */
	void *user;
	bool is_gated; /* partition_gate.h applies */
	bool
	    is_asking; /* nothing goes to a topic before it is known; for transactions */
	bool must_abort;   /* its transaction takes no more */
	int ask_ms;        /* so long is waited for an answer */
	int64_t ask_at_ms; /* not before */
	bool is_going;     /* it takes no more; what is out is being given back */
};

/*
 * Start one. The callbacks of conf are the caller's to set, but for those of this file
 * (name resolution, connect, partitioner) and the opaque.
 *
 * Ownership: conf is taken over, also on failure. fd is borrowed: it gets 8 bytes when
 *            rd_kafka_poll() may have something.
 * Errors:    ERR_FATAL (logged), ERR_NOMEM.
 */
int kafka_producer_open(struct kafka_producer **out, rd_kafka_conf_t *conf,
    bool is_gated, int fd, void *user);

/*
 * Collect what came back, waiting at most wait_ms. The clock is read here, not for each
 * record: so this comes before sending, again and again.
 */
void kafka_producer_poll(struct kafka_producer *p, int wait_ms);

/* Errors: as send() in sink.h. The delivery report is for kafka_producer_report(). */
int kafka_producer_send(
    struct kafka_producer *p, const struct sink_record *r, uint64_t tag);

/*
 * The same for partition 0, whatever the key. Not to be gated.
 *
 * Errors:    as send(), but ERR_TOOLARGE.
 */
int kafka_producer_send_first(
    struct kafka_producer *p, const struct sink_record *r, uint64_t tag);

/*
 * Does the cluster know the topic, and so this producer? Once it does it is not asked
 * again, until a record for it comes back because it does not.
 *
 * A record for an unknown topic is sent or given back only after
 * topic.metadata.propagation.max.ms, and until then a transaction can neither go on nor
 * be committed. So this comes before.
 *
 * Waits for an answer: a tenth of a second at first, and longer, up to ASK_MAX_MS, where
 * that was too short.
 *
 * Errors:    ERR_AWAY (not yet, call again), ERR_REFUSED (it does not, or does not let
 *            us; asked again after a while), ERR_NOMEM.
 */
int kafka_producer_ask(struct kafka_producer *p, const char *topic);

/*
 * Kafka lets us see the topic but not write to it, as a transaction has found out: it is
 * refused for a while.
 */
void kafka_producer_deny(struct kafka_producer *p, const char *topic);

/* Is a record that was purged one for a topic that was denied? */
bool kafka_producer_is_denied(const rd_kafka_message_t *m);

/*
 * Note a delivery report; to be called for each, once. Returns the tag that the record
 * was sent with.
 */
uint64_t kafka_producer_report(
    const struct kafka_producer *p, const rd_kafka_message_t *m);

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
