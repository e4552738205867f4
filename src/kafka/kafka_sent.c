/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes sent to Kafka's brokers: librdkafka tells of each request as it leaves (an
 * interceptor; its statistics would be JSON of every topic, and have a gap where a
 * producer ends).
 *
 * Invariant: in threads of librdkafka only on_request_sent() runs; it touches nothing but
 * an atomic, which is the process's, because such a thread may outlive its producer's
 * owner. It is as small as every machine can count without a lock, and emptied in time.
 *
 * Failure modes: none; without memory for it librdkafka aborts.
 */
#include "kafka_sent.h"

#include <stdatomic.h>

#include "kafka_sink.h"

#define NAME "tidegate"

static atomic_size_t uncollected;

static rd_kafka_resp_err_t
on_request_sent(rd_kafka_t *rk, int fd, const char *broker, int32_t broker_id,
    int16_t key, int16_t version, int32_t number, size_t size, void *opaque)
{
	(void)rk;
	(void)fd;
	(void)broker;
	(void)broker_id;
	(void)key;
	(void)version;
	(void)number;
	(void)opaque;
	atomic_fetch_add_explicit(&uncollected, size, memory_order_relaxed);
	return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* Within rd_kafka_new(). */
static rd_kafka_resp_err_t
on_new(rd_kafka_t *rk, const rd_kafka_conf_t *conf, void *opaque, char *why,
    size_t why_size)
{
	(void)conf;
	(void)opaque;
	(void)why;
	(void)why_size;
	return rd_kafka_interceptor_add_on_request_sent(
	    rk, NAME, on_request_sent, NULL);
}

void
kafka_sent_count(rd_kafka_conf_t *conf)
{
	/* Fails only where it is there already. */
	(void)rd_kafka_conf_interceptor_add_on_new(conf, NAME, on_new, NULL);
}

uint64_t
kafka_sink_sent_bytes(void)
{
	static uint64_t collected;

	collected += atomic_exchange_explicit(&uncollected, 0, memory_order_relaxed);
	return collected;
}
