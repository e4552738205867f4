/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where keys go, against librdkafka's mock cluster: tests/data/key-partitions.txt says
 * where Java's producer puts them (see tests/kafka/Partitions.java).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/mock_cluster.h"
#include "err.h"
#include "kafka_sink.h"
#include "now.h"

#define KEYS_MAX   256
#define KEY_BYTES  1024
#define COUNTS     6
#define KEYS_MIN   100
#define WAIT_MS    60000
#define SPREAD_MS  25 /* records without a key stay together for less */
#define SPREAD_MAX 400

int64_t __real_now_monotonic_ms(void);
int64_t __wrap_now_monotonic_ms(void);

static int64_t ahead_ms;

int64_t
__wrap_now_monotonic_ms(void)
{
	return __real_now_monotonic_ms() + ahead_ms;
}

static const int counts[COUNTS] = {2, 3, 6, 12, 50, 100};

struct key {
	unsigned char bytes[KEY_BYTES];
	size_t size;
	int wanted[COUNTS];
	int found;
};

struct fixture {
	struct mock_cluster cluster;
	struct settings settings;
	struct sink *sink;
	size_t delivered_count;
	struct key keys[KEYS_MAX];
	size_t key_count;
};

static void
take(void *context, uint64_t tag, enum sink_result result, const char *text)
{
	struct fixture *f = context;

	(void)tag;
	(void)text;
	assert_int_equal(result, SINK_DELIVERED);
	f->delivered_count++;
}

static void
parse_key(struct key *k, char *line)
{
	char *word = strtok(line, " \n");
	unsigned byte;

	for (; word[0] != '\0'; word += 2) {
		assert_int_equal(sscanf(word, "%2x", &byte), 1);
		k->bytes[k->size++] = (unsigned char)byte;
	}
	for (size_t i = 0; i < COUNTS; i++) {
		word = strtok(NULL, " \n");
		assert_non_null(word);
		k->wanted[i] = atoi(word);
	}
}

static void
read_keys(struct fixture *f)
{
	const char *top = getenv("TOP_SRCDIR");
	char path[512], line[2 * KEY_BYTES + 64];
	FILE *file;

	snprintf(path, sizeof(path), "%s/tests/data/key-partitions.txt",
	    top == NULL ? "." : top);
	file = fopen(path, "r");
	if (file == NULL)
		fail_msg("%s cannot be read: is TOP_SRCDIR set?", path);
	while (fgets(line, sizeof(line), file) != NULL)
		if (line[0] != '#')
			parse_key(&f->keys[f->key_count++], line);
	fclose(file);
	assert_true(f->key_count >= KEYS_MIN);
}

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	ahead_ms = 0;
	mock_cluster_open(&f->cluster);
	mock_cluster_settings(&f->cluster, &f->settings);
	f->settings.kafka.linger_ms = 0;
	assert_int_equal(
	    kafka_sink_open(&f->sink, &f->settings, (const uint8_t[16]){1}), 0);
	f->sink->delivered = take;
	f->sink->context = f;
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	f->sink->ops->close(f->sink);
	mock_cluster_close(&f->cluster);
	free(f);
	return 0;
}

static void
wait_delivered(struct fixture *f, size_t count)
{
	int64_t deadline_ms = __real_now_monotonic_ms() + WAIT_MS;

	while (f->delivered_count < count) {
		assert_true(__real_now_monotonic_ms() < deadline_ms);
		mock_cluster_turn(f->sink, 20);
	}
}

static void
send_patiently(struct fixture *f, const char *topic, struct bytes key)
{
	const struct sink_record r = {
	    .topic = topic, .key = key, .value = {"x", 1}, .copy_value = true};
	int64_t deadline_ms = __real_now_monotonic_ms() + WAIT_MS;
	int err = f->sink->ops->send(f->sink, &r, 1);

	while (err == ERR_AWAY) {
		assert_true(__real_now_monotonic_ms() < deadline_ms);
		mock_cluster_turn(f->sink, 20);
		err = f->sink->ops->send(f->sink, &r, 1);
	}
	assert_int_equal(err, 0);
}

static void
note_partition(struct fixture *f, const rd_kafka_message_t *m)
{
	for (size_t i = 0; i < f->key_count; i++) {
		struct key *k = &f->keys[i];

		if (k->size != m->key_len || memcmp(k->bytes, m->key, k->size) != 0)
			continue;
		assert_int_equal(k->found, -1);
		k->found = m->partition;
		return;
	}
	fail_msg("a key that nobody has sent");
}

static void
find_keys(struct fixture *f, const char *topic, int partitions)
{
	rd_kafka_t *consumer = mock_cluster_consumer(&f->cluster, topic, partitions);
	int64_t deadline_ms = __real_now_monotonic_ms() + WAIT_MS;
	size_t count = 0;

	for (size_t i = 0; i < f->key_count; i++)
		f->keys[i].found = -1;
	while (count < f->key_count) {
		rd_kafka_message_t *m = rd_kafka_consumer_poll(consumer, 200);

		assert_true(__real_now_monotonic_ms() < deadline_ms);
		if (m == NULL)
			continue;
		if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
			note_partition(f, m);
			count++;
		}
		rd_kafka_message_destroy(m);
	}
	mock_cluster_close_consumer(consumer);
}

static void
keys_go_where_java_puts_them(void **state)
{
	struct fixture *f = *state;
	char topic[32];

	read_keys(f);
	for (size_t i = 0; i < COUNTS; i++) {
		f->delivered_count = 0;
		snprintf(topic, sizeof(topic), "of-%d", counts[i]);
		rd_kafka_mock_topic_create(f->cluster.mock, topic, counts[i], 1);
		for (size_t k = 0; k < f->key_count; k++)
			send_patiently(f, topic,
			    (struct bytes){f->keys[k].bytes, f->keys[k].size});
		wait_delivered(f, f->key_count);
		find_keys(f, topic, counts[i]);
		for (size_t k = 0; k < f->key_count; k++)
			if (f->keys[k].found != f->keys[k].wanted[i])
				fail_msg("key %zu of the table: partition %d of %d, "
					 "Java's is %d",
				    k + 1, f->keys[k].found, counts[i],
				    f->keys[k].wanted[i]);
	}
}

static int64_t
end_of(rd_kafka_t *consumer, const char *topic, int32_t partition)
{
	int64_t low, high;

	assert_int_equal(rd_kafka_query_watermark_offsets(
			     consumer, topic, partition, &low, &high, WAIT_MS),
	    0);
	return high;
}

/* Each partition has its share, or chance has played a trick: 3 * (2/3)^400 at worst. */
static void
records_without_a_key_spread(void **state)
{
	struct fixture *f = *state;
	rd_kafka_t *consumer;
	int64_t sum = 0;

	rd_kafka_mock_topic_create(f->cluster.mock, "spread", 3, 1);
	for (int i = 0; i < SPREAD_MAX; i++) {
		send_patiently(f, "spread", (struct bytes){NULL, 0});
		ahead_ms += SPREAD_MS;
	}
	wait_delivered(f, SPREAD_MAX);
	consumer = mock_cluster_consumer(&f->cluster, "spread", 3);
	for (int32_t p = 0; p < 3; p++) {
		int64_t count = end_of(consumer, "spread", p);

		assert_true(count > 0);
		sum += count;
	}
	assert_int_equal(sum, SPREAD_MAX);
	mock_cluster_close_consumer(consumer);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(keys_go_where_java_puts_them),
	    TEST(records_without_a_key_spread),
	};
	return cmocka_run_group_tests_name("kafka_keys", tests, NULL, NULL);
}
