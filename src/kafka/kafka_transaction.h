/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exactly once: recover, commit and abort of sink.h, for kafka_sink.c. It outlives its
 * producers: each new one begins with recover.
 */
#ifndef KAFKA_TRANSACTION_H
#define KAFKA_TRANSACTION_H

#include <librdkafka/rdkafka.h>

#include <stdbool.h>

#include "buffer.h"
#include "kafka_producer.h"
#include "settings.h"
#include "sink.h"

struct kafka_transaction;

/*
 * Ownership: settings is borrowed as long as it lives.
 * Errors:    ERR_NOMEM.
 */
int kafka_transaction_open(struct kafka_transaction **out,
    const struct settings *settings, const uint8_t uuid[16]);

/* False: a thread of librdkafka would be waited for; try again, or leave it. */
bool kafka_transaction_close(struct kafka_transaction *t);

/* producer is a new one, or NULL; borrowed until the next call. */
void kafka_transaction_use(
    struct kafka_transaction *t, struct kafka_producer *producer);

/* As send(), recover(), commit() and abort() in sink.h. */
int kafka_transaction_send(
    struct kafka_transaction *t, const struct sink_record *r, uint64_t tag);
int kafka_transaction_recover(struct kafka_transaction *t, struct buffer *position);
int kafka_transaction_commit(struct kafka_transaction *t, struct bytes position);
int kafka_transaction_abort(struct kafka_transaction *t);

/*
 * The producer is about to be given up: abort what is open, as far as that goes at once.
 * Consumers with read_committed would wait for Kafka to do it, up to a minute.
 */
void kafka_transaction_leave(struct kafka_transaction *t);

/* Whatever has to be done now and then. */
void kafka_transaction_poll(struct kafka_transaction *t);

/*
 * A delivery report; tag is that of its record. False: it is about our own record, the
 * position. result: in, by the code alone; out, with the transaction taken into account.
 */
bool kafka_transaction_report(struct kafka_transaction *t, const rd_kafka_message_t *m,
    uint64_t tag, enum sink_result *result);

/* A line of librdkafka's. */
void kafka_transaction_log(
    struct kafka_transaction *t, const char *facility, const char *text);

/*
 * Say once for each producer, and plainly, why it has failed for good. _FENCED does not
 * prove that there is a second gateway: it is seen also when Kafka was frozen for longer
 * than a transaction may last.
 */
void kafka_transaction_explain(
    struct kafka_transaction *t, rd_kafka_resp_err_t code, const char *text);

/* Is there no way on but a new producer? text: why; borrowed until the next call. */
bool kafka_transaction_is_finished(
    const struct kafka_transaction *t, const char **text);

#endif
