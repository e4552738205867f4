/* SPDX-License-Identifier: Apache-2.0 */
/* How soon an address is tried again, and that librdkafka asks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../lib/mock_cluster.h"
#include "kafka/kafka_backoff.h"
#include "kafka_sink.h"
#include "now.h"

#define FIRST 100
#define LAST  10000
#define LONG  20000 /* ms; a test waits no longer */

static int
setup(void **state)
{
	static struct kafka_backoff b;

	kafka_backoff_init(&b, FIRST, LAST);
	*state = &b;
	return 0;
}

static int
teardown(void **state)
{
	kafka_backoff_fini(*state);
	return 0;
}

static bool
admit(struct kafka_backoff *b, int address, int64_t now_ms)
{
	return kafka_backoff_admit(b, &address, sizeof(address), now_ms);
}

/* From now_ms on, how long until it is admitted again; which it is then. */
static int64_t
wait_of(struct kafka_backoff *b, int address, int64_t now_ms)
{
	int64_t ms = 0;

	while (!admit(b, address, now_ms + ms)) {
		ms++;
		assert_true(ms <= LAST);
	}
	return ms;
}

static void
waits_double_and_have_an_end(void **state)
{
	int64_t now_ms = 5000, wait_ms = FIRST;

	assert_true(admit(*state, 1, now_ms));
	for (int i = 0; i < 20; i++) {
		int64_t ms = wait_of(*state, 1, now_ms);

		assert_true(ms >= wait_ms * 3 / 4);
		assert_true(ms <= wait_ms * 3 / 2);
		now_ms += ms;
		wait_ms = 2 * wait_ms < LAST ? 2 * wait_ms : LAST;
	}
}

/* A name may have an address that nobody listens to, and one that somebody does. */
static void
each_address_waits_for_itself(void **state)
{
	assert_true(admit(*state, 1, 1000));
	assert_true(admit(*state, 2, 1001));
	assert_false(admit(*state, 1, 1002));
	assert_false(admit(*state, 2, 1002));
}

static void
answer_ends_all_waiting(void **state)
{
	struct kafka_backoff *b = *state;
	int64_t now_ms = 1000;

	for (int i = 0; i < 10; i++) {
		assert_true(admit(b, 1, now_ms));
		now_ms += 2 * LAST;
	}
	assert_true(admit(b, 1, now_ms));
	assert_false(admit(b, 1, now_ms));
	kafka_backoff_end(b);
	assert_true(admit(b, 1, now_ms));
	assert_false(admit(b, 1, now_ms));
	assert_true(wait_of(b, 1, now_ms) <= FIRST * 3 / 2);
}

static void
more_addresses_than_places_are_all_tried(void **state)
{
	for (int i = 0; i < 3 * KAFKA_BACKOFF_PLACES; i++)
		assert_true(admit(*state, i, 1000 + i));
}

static void
none_is_none(void **state)
{
	struct kafka_backoff b;

	(void)state;
	kafka_backoff_init(&b, 0, LAST);
	for (int i = 0; i < 10; i++)
		assert_true(admit(&b, 1, 1000));
	kafka_backoff_fini(&b);
}

/* ---- with librdkafka ---- */

static int
open_listener(char *address, size_t size)
{
	struct sockaddr_in a = {
	    .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 100), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &length), 0);
	snprintf(address, size, "127.0.0.1:%d", ntohs(a.sin_port));
	return fd;
}

/* Hang up on all who call; returns how many. */
static int
hang_up(int listener)
{
	int count = 0;

	for (int fd = accept(listener, NULL, NULL); fd >= 0;
	     fd = accept(listener, NULL, NULL)) {
		close(fd);
		count++;
	}
	return count;
}

static void
ignore_delivery(void *context, uint64_t tag, enum sink_result result, const char *why)
{
	(void)context;
	(void)tag;
	(void)result;
	(void)why;
}

/* Calls come 1, 2 and 4 s after one another, or half more, or a quarter less. */
static void
librdkafka_keeps_to_it(void **state)
{
	static char text[][24] = {
	    "reconnect.backoff.ms", "1000", "security.protocol", "SSL"};
	struct settings_property properties[] = {
	    {text[0], text[1], 1}, {text[2], text[3], 1}};
	static const uint8_t uuid[16] = {1};
	const struct sink_record record = {
	    .topic = "t", .value = {"v", 1}, .copy_value = true};
	struct mock_cluster c = {0};
	int listener = open_listener(c.bootstrap, sizeof(c.bootstrap));
	int64_t begun_ms = now_monotonic_ms(), at_ms = begun_ms;
	struct settings s;
	struct sink *sink;
	int calls = 0;

	(void)state;
	mock_cluster_settings(&c, &s);
	s.kafka.properties = properties;
	s.kafka.property_count = 2;
	assert_int_equal(kafka_sink_open(&sink, &s, uuid), 0);
	sink->delivered = ignore_delivery;
	(void)sink->ops->send(sink, &record, 1);
	/* Without it there are some ten calls in this time. */
	while (at_ms - begun_ms < 5000 || (calls < 2 && at_ms - begun_ms < LONG)) {
		mock_cluster_turn(sink, 20);
		calls += hang_up(listener);
		at_ms = now_monotonic_ms();
	}
	sink->ops->close(sink);
	close(listener);
	assert_in_range(calls, 2, at_ms - begun_ms < 5200 ? 3 : 100);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(waits_double_and_have_an_end),
	    TEST(each_address_waits_for_itself),
	    TEST(answer_ends_all_waiting),
	    TEST(more_addresses_than_places_are_all_tried),
	    cmocka_unit_test(none_is_none),
	    cmocka_unit_test(librdkafka_keeps_to_it),
	};

	return cmocka_run_group_tests_name("kafka_backoff", tests, NULL, NULL);
}
