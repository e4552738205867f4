/* SPDX-License-Identifier: Apache-2.0 */
#include "mock_cluster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <stdio.h>
#include <unistd.h>

void
mock_cluster_open(struct mock_cluster *c)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char why[256];

	(void)rd_kafka_conf_set(conf, "log_level", "2", why, sizeof(why));
	c->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
	assert_non_null(c->rk);
	c->mock = rd_kafka_mock_cluster_new(c->rk, 1);
	assert_non_null(c->mock);
	snprintf(c->bootstrap, sizeof(c->bootstrap), "%s",
	    rd_kafka_mock_cluster_bootstraps(c->mock));
}

void
mock_cluster_close(struct mock_cluster *c)
{
	rd_kafka_mock_cluster_destroy(c->mock);
	rd_kafka_destroy(c->rk);
}

void
mock_cluster_settings(struct mock_cluster *c, struct settings *s)
{
	static char name[] = "file.conf", gateway[] = "g1", prefix[] = "tidegate",
		    all[] = "all", none[] = "none";

	*s = (struct settings){
	    .name = name,
	    .gateway_id = gateway,
	    .kafka =
		{
		    .bootstrap_servers = c->bootstrap,
		    .client_id_prefix = prefix,
		    .acks = all,
		    .compression = none,
		    .batch_size_bytes = -1,
		    .linger_ms = -1,
		    .buffer_max_bytes = 8 << 20,
		},
	};
}

rd_kafka_t *
mock_cluster_consumer(struct mock_cluster *c, const char *topic, int partitions)
{
	const char *const properties[][2] = {
	    {"bootstrap.servers", c->bootstrap}, {"group.id", "test"}};
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_t *consumer;
	char why[256];

	for (size_t i = 0; i < sizeof(properties) / sizeof(properties[0]); i++)
		assert_int_equal(rd_kafka_conf_set(conf, properties[i][0],
				     properties[i][1], why, sizeof(why)),
		    RD_KAFKA_CONF_OK);
	consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof(why));
	assert_non_null(consumer);
	rd_kafka_poll_set_consumer(consumer);
	for (int i = 0; i < partitions; i++)
		rd_kafka_topic_partition_list_add(list, topic, i)->offset = 0;
	assert_int_equal(rd_kafka_assign(consumer, list), 0);
	rd_kafka_topic_partition_list_destroy(list);
	return consumer;
}

void
mock_cluster_close_consumer(rd_kafka_t *consumer)
{
	rd_kafka_consumer_close(consumer);
	rd_kafka_destroy(consumer);
}

void
mock_cluster_turn(struct sink *sink, int wait_ms)
{
	struct pollfd p = {.fd = sink->ops->fd(sink), .events = POLLIN};
	uint64_t count;

	if (poll(&p, 1, wait_ms) > 0)
		assert_int_equal(read(p.fd, &count, sizeof(count)), sizeof(count));
	sink->ops->poll(sink);
}
