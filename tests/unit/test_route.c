/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/records.h"
#include "../lib/route_bench.h"
#include "err.h"

#define NOW_MS   ROUTE_BENCH_NOW_MS
#define RECEIVED ROUTE_BENCH_RECEIVED
#define DAY_MS   86400000

static void
payload_goes_out_byte_for_byte_and_is_not_copied(void **state)
{
	struct sink_record out;
	struct route_bench b;
	struct record r;

	(void)state;
	route_bench_init(&b);
	route_bench_open(&b);
	records_full(&r);
	route_bench_render(&b, &r, &out);
	assert_string_equal(out.topic, "kafka.topic");
	assert_ptr_equal(out.value.data, r.payload.data);
	assert_int_equal(out.value.size, r.payload.size);
	assert_false(out.copy_value);
	assert_string_equal(route_name(b.open), "r1");
	assert_ptr_equal(route_settings(b.open), &b.route);
	route_bench_close(&b);
}

static void
check_key(const char *template, const char *topic, const char *want)
{
	struct sink_record out;
	struct route_bench b;
	struct record r;

	route_bench_init(&b);
	b.route.key = route_bench_text(template);
	route_bench_open(&b);
	records_plain(&r, topic, "{\"id\": 5}");
	for (int twice = 0; twice < 2; twice++) {
		route_bench_render(&b, &r, &out);
		if (want == NULL) {
			assert_null(out.key.data);
			assert_int_equal(out.key.size, 0);
		} else {
			route_bench_assert_bytes(out.key, want);
		}
	}
	route_bench_close(&b);
}

static void
keys(void **state)
{
	(void)state;
	check_key("${topic}", "dev/1", "dev/1");
	check_key("fixed", "dev/1", "fixed");
	check_key("a-${topic}-${topic}$$z", "dev/1", "a-dev/1-dev/1$z");
	check_key("$$", "dev/1", "$");
	check_key("${gateway_id}/${route}/${seq}", "dev/1", "gw-1/r1/77");
	check_key("${topic:2}", "dev/1", "1");
	check_key("${user:site|here}", "dev/1", "here");
	check_key("${payload:/id}", "dev/1", "5");
	/* Empty is none: an empty key would pin everything to one partition. */
	check_key("", "dev/1", NULL);
	check_key("${user:site}", "dev/1", NULL);
	check_key("${topic:3}${payload:/no}", "dev/1", NULL);
}

static void
templates_that_cannot_be_parsed_are_refused(void **state)
{
	struct route_bench b;

	(void)state;
	route_bench_init(&b);
	b.route.key = route_bench_text("${topic");
	assert_int_equal(route_bench_try_open(&b), ERR_INVALID);
	assert_null(b.open);
	route_bench_init(&b);
	route_bench_header(&b, "h", "${nothing}");
	assert_int_equal(route_bench_try_open(&b), ERR_INVALID);
	assert_null(b.open);
	route_bench_init(&b);
	b.route.envelope = SETTINGS_ENVELOPE_TBMQ;
	route_bench_metadata(&b, "fine", "${topic}");
	route_bench_metadata(&b, "m", "$");
	assert_int_equal(route_bench_try_open(&b), ERR_INVALID);
	assert_null(b.open);
}

static void
check_topic(const char *template, const char *topic, const char *want)
{
	struct sink_record out;
	struct route_bench b;
	struct record r;

	route_bench_init(&b);
	b.route.topic = route_bench_text(template);
	route_bench_open(&b);
	records_plain(&r, topic, "x");
	route_bench_render(&b, &r, &out);
	assert_string_equal(out.topic, want);
	route_bench_close(&b);
}

static void
a_topic_becomes_one_that_kafka_takes(void **state)
{
	(void)state;
	check_topic("${topic}", "dev/1/temp", "dev.1.temp");
	check_topic("${topic}", "a b/c:d/e.f-g_h", "a_b.c_d.e.f-g_h");
	/* A character becomes one "_", however many bytes it has. */
	check_topic("${topic}", "\xc3\xa4/\xe2\x82\xac/\xf0\x9f\x92\xa9", "_._._");
	check_topic("${topic}", "\xff\xfe\x80|", "____");
	check_topic("${topic:2-}", "dev//1", ".1");
}

static void
check_bad_topic(const char *template, const char *topic, const char *word)
{
	struct sink_record out = {.topic = "untouched"};
	struct route_bench b;
	struct record r;
	const char *why = "";

	route_bench_init(&b);
	b.route.topic = route_bench_text(template);
	route_bench_open(&b);
	records_plain(&r, topic, "x");
	assert_int_equal(
	    route_render(b.open, &r, 1, NOW_MS, false, &out, &why), ERR_INVALID);
	assert_string_equal(out.topic, "untouched");
	if (strstr(why, word) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", why, word);
	route_bench_close(&b);
}

static void
a_topic_that_cannot_be_one_is_told(void **state)
{
	char text[251];

	(void)state;
	check_bad_topic("${user:none}", "dev/1", "empty");
	check_bad_topic("${topic}", "/", "\".\"");
	check_bad_topic("${topic}", "//", "\"..\"");
	check_bad_topic("${topic:2-}", "dev/__consumer_offsets", "Kafka's own");
	check_bad_topic("${topic:2-}", "dev/__transaction_state", "Kafka's own");
	memset(text, 'x', sizeof(text) - 1);
	text[250] = '\0';
	check_bad_topic("${topic}", text, "longer than 249");
	check_bad_topic("a${topic}", text + 1, "longer than 249");
	check_topic("${topic}", text + 1, text + 1);
}

static void
a_bad_topic_harms_no_other_record(void **state)
{
	struct sink_record out;
	struct route_bench b;
	struct record r;
	const char *why;

	(void)state;
	route_bench_init(&b);
	b.route.topic = route_bench_text("${topic:2}");
	route_bench_open(&b);
	for (int i = 0; i < 3; i++) {
		records_plain(&r, "dev/good", "x");
		route_bench_render(&b, &r, &out);
		assert_string_equal(out.topic, "good");
		records_plain(&r, "dev", "x");
		assert_int_equal(route_render(b.open, &r, 1, NOW_MS, false, &out, &why),
		    ERR_INVALID);
	}
	route_bench_close(&b);
}

static void
a_constant_topic_that_is_bad_is_found_at_once(void **state)
{
	struct route_bench b;

	(void)state;
	route_bench_init(&b);
	b.route.topic = route_bench_text("");
	assert_int_equal(route_bench_try_open(&b), ERR_INVALID);
	assert_null(b.open);
}

static int64_t
time_of(
    enum settings_timestamp kind, uint64_t received_ms, int64_t now_ms, bool forwarded)
{
	struct sink_record out;
	struct route_bench b;
	struct record r;
	const char *why;

	route_bench_init(&b);
	b.route.timestamp = kind;
	route_bench_open(&b);
	records_plain(&r, "dev/1", "x");
	r.received_ms = received_ms;
	assert_int_equal(route_render(b.open, &r, 1, now_ms, forwarded, &out, &why), 0);
	route_bench_close(&b);
	return out.timestamp_ms;
}

static void
record_times(void **state)
{
	const enum settings_timestamp is_auto = SETTINGS_TIMESTAMP_AUTO;
	const enum settings_timestamp is_received = SETTINGS_TIMESTAMP_RECEIVED;
	const enum settings_timestamp is_forwarded = SETTINGS_TIMESTAMP_FORWARDED;

	(void)state;
	assert_int_equal(time_of(is_auto, RECEIVED, RECEIVED, false), RECEIVED);
	assert_int_equal(
	    time_of(is_auto, RECEIVED, RECEIVED + DAY_MS - 1, false), RECEIVED);
	assert_int_equal(
	    time_of(is_auto, RECEIVED, RECEIVED + DAY_MS, false), RECEIVED + DAY_MS);
	assert_int_equal(time_of(is_auto, RECEIVED, RECEIVED - 1, false), RECEIVED - 1);
	assert_int_equal(time_of(is_auto, UINT64_MAX, NOW_MS, false), NOW_MS);
	assert_int_equal(time_of(is_received, RECEIVED, RECEIVED - 1, false), RECEIVED);
	assert_int_equal(time_of(is_received, 1, NOW_MS, false), 1);
	assert_int_equal(time_of(is_forwarded, RECEIVED, NOW_MS, false), NOW_MS);
	/* Refused once: now it is the time of sending, whatever was asked for. */
	assert_int_equal(time_of(is_auto, RECEIVED, RECEIVED + 5, true), RECEIVED + 5);
	assert_int_equal(time_of(is_received, RECEIVED, NOW_MS, true), NOW_MS);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(payload_goes_out_byte_for_byte_and_is_not_copied),
	    cmocka_unit_test(keys),
	    cmocka_unit_test(templates_that_cannot_be_parsed_are_refused),
	    cmocka_unit_test(a_topic_becomes_one_that_kafka_takes),
	    cmocka_unit_test(a_topic_that_cannot_be_one_is_told),
	    cmocka_unit_test(a_bad_topic_harms_no_other_record),
	    cmocka_unit_test(a_constant_topic_that_is_bad_is_found_at_once),
	    cmocka_unit_test(record_times),
	};

	return cmocka_run_group_tests_name("route", tests, NULL, NULL);
}
