/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thousands of topics: the table by itself, and through the sink against librdkafka's
 * mock cluster, which makes a topic when it is asked for it. The clock is the test's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../lib/mock_cluster.h"
#include "err.h"
#include "kafka/kafka_topics.h"
#include "kafka_sink.h"
#include "now.h"

#define TOPICS  1500 /* more than may lie idle; the mock gets slow with many */
#define WAIT_MS 60000

int64_t __real_now_monotonic_ms(void);
int64_t __wrap_now_monotonic_ms(void);

static int64_t ahead_ms;

int64_t
__wrap_now_monotonic_ms(void)
{
	return __real_now_monotonic_ms() + ahead_ms;
}

/* ---- the table ---- */

static void
add(struct kafka_topics *t, size_t number, int64_t now_ms)
{
	struct kafka_topic *topic;
	char name[32];

	snprintf(name, sizeof(name), "topic-%zu", number);
	assert_null(kafka_topics_find(t, name, now_ms));
	assert_int_equal(kafka_topics_add(&topic, t, name, now_ms), 0);
	assert_string_equal(topic->name, name);
}

static struct kafka_topic *
find(struct kafka_topics *t, size_t number, int64_t now_ms)
{
	char name[32];

	snprintf(name, sizeof(name), "topic-%zu", number);
	return kafka_topics_find(t, name, now_ms);
}

static void
each_of_many_is_found(void **state)
{
	struct kafka_topics t = {0};

	(void)state;
	for (size_t i = 0; i < 5000; i++)
		add(&t, i, 1);
	assert_int_equal(t.count, 5000);
	for (size_t i = 0; i < 5000; i++) {
		struct kafka_topic *topic = find(&t, i, 2);
		char name[32];

		snprintf(name, sizeof(name), "topic-%zu", i);
		assert_non_null(topic);
		assert_string_equal(topic->name, name);
		assert_ptr_equal(find(&t, i, 2), topic);
	}
	assert_null(find(&t, 5000, 2));
	kafka_topics_fini(&t);
	assert_null(find(&t, 1, 2));
}

static void
one_that_is_removed_is_not_found(void **state)
{
	struct kafka_topics t = {0};

	(void)state;
	for (size_t i = 0; i < 3; i++)
		add(&t, i, 1);
	kafka_topics_remove(&t, find(&t, 1, 1));
	assert_null(find(&t, 1, 1));
	assert_non_null(find(&t, 0, 1));
	assert_non_null(find(&t, 2, 1));
	assert_int_equal(t.count, 2);
	kafka_topics_fini(&t);
}

static void
too_many_are_those_that_lie_idle(void **state)
{
	struct kafka_topics t = {0};
	int64_t later_ms = KAFKA_TOPICS_IDLE_MS + 2;

	(void)state;
	for (size_t i = 0; i < 2 * KAFKA_TOPICS_IDLE_MAX; i++)
		add(&t, i, 1);
	assert_false(kafka_topics_are_too_many(&t, KAFKA_TOPICS_IDLE_MS + 1));
	assert_true(kafka_topics_are_too_many(&t, later_ms));
	for (size_t i = 0; i < KAFKA_TOPICS_IDLE_MAX; i++)
		assert_non_null(find(&t, i, later_ms));
	assert_false(kafka_topics_are_too_many(&t, later_ms));
	kafka_topics_fini(&t);
}

static void
there_is_an_end_to_those_in_use(void **state)
{
	struct kafka_topics t = {0};

	(void)state;
	for (size_t i = 0; i < KAFKA_TOPICS_MAX; i++)
		add(&t, i, 1);
	assert_false(kafka_topics_are_too_many(&t, 1));
	add(&t, KAFKA_TOPICS_MAX, 1);
	assert_true(kafka_topics_are_too_many(&t, 1));
	kafka_topics_fini(&t);
}

/* ---- the sink ---- */

struct fixture {
	struct mock_cluster cluster;
	struct settings settings;
	struct settings_property property;
	struct sink *sink;
	size_t delivered_count;
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

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct settings_kafka *k = &f->settings.kafka;
	static char backoff[] = "reconnect.backoff.max.ms", fast[] = "100";

	ahead_ms = 0;
	mock_cluster_open(&f->cluster);
	mock_cluster_settings(&f->cluster, &f->settings);
	f->property = (struct settings_property){backoff, fast, 1};
	k->properties = &f->property;
	k->property_count = 1;
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
	assert_int_equal(f->delivered_count, count);
}

static int
send_to(struct fixture *f, size_t number)
{
	char name[32];
	const struct sink_record r = {
	    .topic = name, .value = {"x", 1}, .copy_value = true};

	snprintf(name, sizeof(name), "topic-%zu", number);
	return f->sink->ops->send(f->sink, &r, number);
}

static void
send_to_all(struct fixture *f)
{
	size_t before = f->delivered_count;

	for (size_t i = 0; i < TOPICS; i++)
		assert_int_equal(send_to(f, i), 0);
	wait_delivered(f, before + TOPICS);
}

static bool
says(int fd, const char *text)
{
	char all_of_it[4096];
	ssize_t n = pread(fd, all_of_it, sizeof(all_of_it) - 1, 0);

	all_of_it[n < 0 ? 0 : n] = '\0';
	return strstr(all_of_it, text) != NULL;
}

static void
producer_with_many_idle_topics_is_replaced(void **state)
{
	struct fixture *f = *state;
	int fd = memfd_create("stderr", MFD_CLOEXEC), kept = dup(STDERR_FILENO);

	assert_true(fd >= 0 && kept >= 0 && dup2(fd, STDERR_FILENO) >= 0);
	send_to_all(f);
	/* Idle in part: there is no reason to. */
	ahead_ms = KAFKA_TOPICS_IDLE_MS - 1000;
	for (size_t i = KAFKA_TOPICS_IDLE_MAX; i < TOPICS; i++)
		assert_int_equal(send_to(f, i), 0);
	wait_delivered(f, 2 * TOPICS - KAFKA_TOPICS_IDLE_MAX);
	ahead_ms = KAFKA_TOPICS_IDLE_MS + 120000;
	mock_cluster_turn(f->sink, 20);
	assert_false(says(fd, "a new producer"));
	/* Now all of them, but for one with a record out: that one is waited for. */
	ahead_ms += KAFKA_TOPICS_IDLE_MS;
	rd_kafka_mock_broker_set_down(f->cluster.mock, -1);
	assert_int_equal(send_to(f, 0), 0);
	mock_cluster_turn(f->sink, 20);
	assert_int_equal(send_to(f, 1), ERR_FULL);
	assert_false(says(fd, "a new producer"));
	rd_kafka_mock_broker_set_up(f->cluster.mock, -1);
	wait_delivered(f, 2 * TOPICS - KAFKA_TOPICS_IDLE_MAX + 1);
	mock_cluster_turn(f->sink, 20);
	assert_true(says(fd, "a new producer: the old one has met 1500 topics"));
	/* The new one proves each partition again. */
	assert_int_equal(send_to(f, 0), 0);
	assert_int_equal(send_to(f, 0), ERR_AWAY);
	wait_delivered(f, 2 * TOPICS - KAFKA_TOPICS_IDLE_MAX + 2);
	assert_true(dup2(kept, STDERR_FILENO) >= 0);
	close(kept);
	close(fd);
}

/* What does not come home must not hold up what could go. */
static void
producer_that_cannot_be_replaced_goes_on(void **state)
{
	struct fixture *f = *state;

	send_to_all(f);
	ahead_ms = KAFKA_TOPICS_IDLE_MS + 120000;
	rd_kafka_mock_broker_set_down(f->cluster.mock, -1);
	assert_int_equal(send_to(f, 0), 0);
	mock_cluster_turn(f->sink, 20);
	assert_int_equal(send_to(f, 1), ERR_FULL);
	ahead_ms += 10000;
	mock_cluster_turn(f->sink, 20);
	assert_int_equal(send_to(f, 1), 0);
	rd_kafka_mock_broker_set_up(f->cluster.mock, -1);
	wait_delivered(f, TOPICS + 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_of_many_is_found),
	    cmocka_unit_test(one_that_is_removed_is_not_found),
	    cmocka_unit_test(too_many_are_those_that_lie_idle),
	    cmocka_unit_test(there_is_an_end_to_those_in_use),
	    TEST(producer_with_many_idle_topics_is_replaced),
	    TEST(producer_that_cannot_be_replaced_goes_on),
	};
	return cmocka_run_group_tests_name("kafka_topics", tests, NULL, NULL);
}
