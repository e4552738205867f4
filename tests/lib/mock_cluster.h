/* SPDX-License-Identifier: Apache-2.0 */
/* librdkafka's mock cluster within this process, and what a sink needs to reach it. */
#ifndef TESTS_MOCK_CLUSTER_H
#define TESTS_MOCK_CLUSTER_H

#include <librdkafka/rdkafka.h>

#include <librdkafka/rdkafka_mock.h>

#include "settings.h"
#include "sink.h"

struct mock_cluster {
	rd_kafka_t *rk;
	rd_kafka_mock_cluster_t *mock;
	char bootstrap[128];
};

/* One broker. */
void mock_cluster_open(struct mock_cluster *c);
void mock_cluster_close(struct mock_cluster *c);

/* The defaults, for kafka_sink_open(). The text stays the cluster's. */
void mock_cluster_settings(struct mock_cluster *c, struct settings *s);

/* Reads the partitions 0, 1, ... from their first record. */
rd_kafka_t *mock_cluster_consumer(
    struct mock_cluster *c, const char *topic, int partitions);
void mock_cluster_close_consumer(rd_kafka_t *consumer);

/* Wait on the sink's descriptor as the forwarder does, then poll. */
void mock_cluster_turn(struct sink *sink, int wait_ms);

#endif
