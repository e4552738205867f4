/* SPDX-License-Identifier: Apache-2.0 */
/* Counts the bytes that go to Kafka's brokers; see kafka_sink_sent_bytes(). */
#ifndef KAFKA_SENT_H
#define KAFKA_SENT_H

#include <librdkafka/rdkafka.h>

/* What is made with conf counts, until its last thread has ended. */
void kafka_sent_count(rd_kafka_conf_t *conf);

#endif
