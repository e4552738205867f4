/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration of a producer, out of the settings. */
#ifndef KAFKA_CONF_H
#define KAFKA_CONF_H

#include <librdkafka/rdkafka.h>

#include "kafka_reason.h"
#include "settings.h"

/*
 * With read_secrets false no file is opened: a name whose value comes from one is
 * judged alone. What is wrong with a certificate comes to the log callback, in a line
 * for kafka_reason_certificate().
 *
 * Ownership: *out is the caller's, for rd_kafka_new() or rd_kafka_conf_destroy();
 *            mistakes is appended to, a line each.
 * Errors:    ERR_INVALID (see mistakes), ERR_IO (a file cannot be read: see mistakes, or
 *            for one with a secret the log), ERR_NOMEM.
 */
int kafka_conf_build(const struct settings *settings, bool read_secrets,
    struct buffer *mistakes, rd_kafka_conf_t **out);

/*
 * Set what Tidegate needs for a purpose of its own.
 *
 * whose:     for the log, where librdkafka does not take it.
 * Errors:    ERR_INVALID, logged.
 */
int kafka_conf_put(
    rd_kafka_conf_t *conf, const char *name, const char *value, const char *whose);

/* A line of the log for each line of mistakes. */
void kafka_conf_log(const struct buffer *mistakes);

/*
 * What a producer with transactions has beside, or in place of, what every producer has.
 *
 * Errors:    ERR_INVALID, logged.
 */
int kafka_conf_transactional(rd_kafka_conf_t *conf, const struct settings *settings);

/* How long a transaction may take: then Kafka aborts it. */
#define KAFKA_TRANSACTION_TIMEOUT_MS 60000

/* What kafka_reason() should know of a configuration. */
struct kafka_reason_hints kafka_conf_hints(const rd_kafka_conf_t *conf);

#endif
