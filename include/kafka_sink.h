/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kafka by librdkafka: an idempotent producer with enable.gapless.guarantee, so that
 * nothing behind a rejected batch lands before it (facts: without it a rejection
 * reorders), and message.timeout.ms=0, so that no timer decides that a record is lost.
 *
 * librdkafka has threads of its own; delivered() is called only from inside poll()
 * and reopen(), in the caller's thread. reopen() and close() take at most some
 * three seconds, whatever state Kafka, the network and the name server are in.
 */
#ifndef KAFKA_SINK_H
#define KAFKA_SINK_H

#include "settings.h"
#include "sink.h"

/*
 * With kafka.delivery = "exactly_once" a producer with transactions (sink.h, KIP-98).
 * The position is a record of kafka.position_topic, partition 0, with the key
 * "TRANSACTIONAL-ID/UUID": one for each journal, so that a journal that was lost, or a
 * second gateway with the same id, never passes for this one.
 *
 * uuid:      of the journal; copied.
 * Ownership: *out is the caller's; release with (*out)->ops->close(*out). settings is
 *            borrowed for as long as the sink lives.
 * Errors:    ERR_INVALID (a property that librdkafka does not take), ERR_IO (a secret
 *            cannot be read: try again later), ERR_FATAL (a certificate is missing, or
 *            the like: try again later), ERR_NOMEM. Each is logged.
 */
int kafka_sink_open(
    struct sink **out, const struct settings *settings, const uint8_t uuid[16]);

enum kafka_reach {
	KAFKA_UNSEEN, /* it has neither answered nor failed to */
	KAFKA_AWAY,
	KAFKA_HERE,
};

/*
 * Is there a connection to Kafka, as far as the sink s (of kafka_sink_open()) knows?
 *
 * why:       out, why it is away, in words; "". Borrowed until the next call of s.
 */
enum kafka_reach kafka_sink_reach(const struct sink *s, const char **why);

/*
 * How much this process has sent to Kafka's brokers: every request of every producer, and
 * of what reads positions, as Kafka's protocol has it, without TLS's own bytes and TCP's.
 */
uint64_t kafka_sink_sent_bytes(void);

/*
 * Would librdkafka take the settings (names and values of kafka.properties above all)?
 * Opens nothing. Appends a line "FILE:LINE: what is wrong" for each mistake.
 *
 * Errors:    ERR_INVALID (see mistakes), ERR_NOMEM.
 */
int kafka_sink_check(const struct settings *settings, struct buffer *mistakes);

#endif
