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
 * Ownership: *out is the caller's; release with (*out)->ops->close(*out). settings is
 *            borrowed for as long as the sink lives.
 * Errors:    ERR_INVALID (a property that librdkafka does not take), ERR_IO (a secret
 *            cannot be read: try again later), ERR_FATAL (a certificate is missing, or
 *            the like: try again later), ERR_NOMEM. Each is logged.
 */
int kafka_sink_open(struct sink **out, const struct settings *settings);

/*
 * Would librdkafka take the settings (names and values of kafka.properties above all)?
 * Opens nothing. Appends a line "FILE:LINE: what is wrong" for each mistake.
 *
 * Errors:    ERR_INVALID (see mistakes), ERR_NOMEM.
 */
int kafka_sink_check(const struct settings *settings, struct buffer *mistakes);

#endif
