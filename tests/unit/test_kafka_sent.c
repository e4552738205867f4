/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes sent to Kafka, against librdkafka's own statistics of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jansson.h>

#include "../lib/mock_cluster.h"
#include "kafka/kafka_conf.h"
#include "kafka_sink.h"
#include "now.h"

#define WAIT_MS 20000
#define RECORDS 1000

struct fixture {
	struct mock_cluster cluster;
	struct settings settings;
	rd_kafka_t *producer;
	uint64_t told_bytes; /* by the latest statistics */
};

static int
on_statistics(rd_kafka_t *rk, char *json, size_t size, void *opaque)
{
	struct fixture *f = opaque;
	json_t *all = json_loadb(json, size, 0, NULL);

	(void)rk;
	assert_non_null(all);
	f->told_bytes = (uint64_t)json_integer_value(json_object_get(all, "tx_bytes"));
	json_decref(all);
	return 0;
}

static rd_kafka_t *
open_producer(struct fixture *f)
{
	struct buffer mistakes = {0};
	rd_kafka_conf_t *conf = NULL;
	char why[256];
	rd_kafka_t *producer;

	assert_int_equal(kafka_conf_build(&f->settings, true, &mistakes, &conf), 0);
	buffer_fini(&mistakes);
	assert_int_equal(
	    rd_kafka_conf_set(conf, "statistics.interval.ms", "100", why, sizeof(why)),
	    RD_KAFKA_CONF_OK);
	rd_kafka_conf_set_stats_cb(conf, on_statistics);
	rd_kafka_conf_set_opaque(conf, f);
	producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
	assert_non_null(producer);
	return producer;
}

static void
produce(rd_kafka_t *producer, const char *topic)
{
	static char value[32] = "0123456789abcdef";

	for (int i = 0; i < RECORDS; i++) {
		rd_kafka_resp_err_t err = rd_kafka_producev(producer,
		    RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
		    RD_KAFKA_V_VALUE(value, sizeof(value)), RD_KAFKA_V_END);

		assert_int_equal(err, RD_KAFKA_RESP_ERR_NO_ERROR);
	}
	assert_int_equal(rd_kafka_flush(producer, WAIT_MS), RD_KAFKA_RESP_ERR_NO_ERROR);
}

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return -1;
	mock_cluster_open(&f->cluster);
	mock_cluster_settings(&f->cluster, &f->settings);
	rd_kafka_mock_topic_create(f->cluster.mock, "t", 1, 1);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	mock_cluster_close(&f->cluster);
	free(f);
	return 0;
}

/* What is told may be of before the latest request: it comes to be the same. */
static void
assert_told(struct fixture *f, uint64_t before)
{
	int64_t deadline_ms = now_monotonic_ms() + WAIT_MS;

	while (f->told_bytes != kafka_sink_sent_bytes() - before) {
		assert_true(now_monotonic_ms() < deadline_ms);
		rd_kafka_poll(f->producer, 50);
	}
}

static void
count_is_librdkafkas_own_to_the_byte(void **state)
{
	struct fixture *f = *state;
	uint64_t before = kafka_sink_sent_bytes();

	f->producer = open_producer(f);
	produce(f->producer, "t");
	assert_told(f, before);
	assert_true(f->told_bytes > 0);
	rd_kafka_destroy(f->producer);
}

static void
counts_of_several_producers_add_up(void **state)
{
	struct fixture *f = *state;
	uint64_t before = kafka_sink_sent_bytes(), first;

	f->producer = open_producer(f);
	produce(f->producer, "t");
	rd_kafka_destroy(f->producer);
	first = kafka_sink_sent_bytes();
	assert_true(first > before);
	assert_int_equal(kafka_sink_sent_bytes(), first);
	f->told_bytes = 0;
	f->producer = open_producer(f);
	produce(f->producer, "t");
	assert_told(f, first);
	rd_kafka_destroy(f->producer);
}

#define WITH_CLUSTER(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_CLUSTER(count_is_librdkafkas_own_to_the_byte),
	    WITH_CLUSTER(counts_of_several_producers_add_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
