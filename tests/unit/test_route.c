/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/check_envelope.h"
#include "../lib/records.h"
#include "err.h"
#include "route.h"

#define NOW_MS   1795514500000
#define UUID     "01234567-89ab-4cde-8f01-23456789abcd"
#define DAY_MS   86400000
#define RECEIVED 1795514400123

#define TEXT(text)                       \
	{                                \
		(text), sizeof(text) - 1 \
	}

static const struct journal_identity identity = {
    .uuid = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0x4c, 0xde, 0x8f, 0x01, 0x23, 0x45,
	0x67, 0x89, 0xab, 0xcd},
    .gateway_id = "gw-1",
};

/* A route as the settings have it by default, to be changed by the test. */
struct bench {
	struct settings settings;
	struct settings_route route;
	char *filters[3];
	struct route *open;
};

/* Settings own their text; these only read it. */
static char *
text(const char *literal)
{
	return (char *)(uintptr_t)literal;
}

static void
bench_init(struct bench *b)
{
	memset(b, 0, sizeof(*b));
	b->settings.mqtt.host = text("broker");
	b->settings.routes = &b->route;
	b->settings.route_count = 1;
	b->filters[0] = text("dev/#");
	b->route = (struct settings_route){
	    .name = text("r1"),
	    .topic_filters = b->filters,
	    .topic_filter_count = 1,
	    .topic = text("kafka.topic"),
	    .key = text("${topic}"),
	    .envelope = SETTINGS_ENVELOPE_NONE,
	    .provenance = true,
	    .user_properties = true,
	    .timestamp = SETTINGS_TIMESTAMP_AUTO,
	    .timestamp_max_age_s = 86400,
	};
}

static void
open_route(struct bench *b)
{
	assert_int_equal(route_open(&b->open, &b->settings, 0, &identity), 0);
}

static void
render(struct bench *b, const struct record *r, struct sink_record *out)
{
	assert_int_equal(route_render(b->open, r, 77, NOW_MS, false, out), 0);
}

static void
assert_bytes(struct bytes b, const void *data, size_t size)
{
	assert_non_null(b.data);
	assert_int_equal(b.size, size);
	assert_memory_equal(b.data, data, size);
}

static void
assert_header(
    const struct sink_record *r, size_t index, const char *name, struct bytes v)
{
	assert_true(index < r->header_count);
	assert_string_equal(r->headers[index].name, name);
	assert_bytes(r->headers[index].value, v.data, v.size);
}

static void
payload_goes_out_byte_for_byte_and_is_not_copied(void **state)
{
	struct sink_record out;
	struct record r;
	struct bench b;

	(void)state;
	bench_init(&b);
	open_route(&b);
	records_full(&r);
	render(&b, &r, &out);
	assert_string_equal(out.topic, "kafka.topic");
	assert_ptr_equal(out.value.data, r.payload.data);
	assert_int_equal(out.value.size, r.payload.size);
	assert_false(out.copy_value);
	assert_string_equal(route_name(b.open), "r1");
	route_close(b.open);
}

static void
envelope_is_made_in_a_buffer_of_the_route(void **state)
{
	const struct envelope_context context = {"gw-1", "broker", "r1", UUID, 77};
	struct sink_record out;
	struct record r;
	struct bench b;

	(void)state;
	bench_init(&b);
	b.route.envelope = SETTINGS_ENVELOPE_TBMQ;
	open_route(&b);
	records_full(&r);
	/* The second one must not stand behind the first. */
	render(&b, &r, &out);
	render(&b, &r, &out);
	assert_true(out.copy_value);
	assert_null(check_envelope(&r, &context, out.value));
	route_close(b.open);
}

static void
check_key(const char *template, const char *topic, const char *want)
{
	struct sink_record out;
	struct record r;
	struct bench b;

	bench_init(&b);
	b.route.key = text(template);
	open_route(&b);
	records_plain(&r, topic, "x");
	for (int twice = 0; twice < 2; twice++) {
		render(&b, &r, &out);
		if (want == NULL) {
			assert_null(out.key.data);
			assert_int_equal(out.key.size, 0);
		} else {
			assert_bytes(out.key, want, strlen(want));
		}
	}
	route_close(b.open);
}

static void
keys(void **state)
{
	struct bench b;

	(void)state;
	check_key("${topic}", "dev/1", "dev/1");
	check_key("fixed", "dev/1", "fixed");
	check_key("a-${topic}-${topic}$$z", "dev/1", "a-dev/1-dev/1$z");
	check_key("$$", "dev/1", "$");
	/* Empty is none: an empty key would pin everything to one partition. */
	check_key("", "dev/1", NULL);
	check_key("${topic}", "", NULL);
	check_key("${topic}${topic}", "", NULL);
	bench_init(&b);
	b.route.key = text("${seq}");
	assert_int_equal(route_open(&b.open, &b.settings, 0, &identity), ERR_INVALID);
	assert_null(b.open);
}

static void
headers_come_in_the_order_that_is_promised(void **state)
{
	static const char want[] = "gw-1/" UUID "/77/1795514400123";
	struct sink_record out;
	struct record r;
	struct bench b;

	(void)state;
	bench_init(&b);
	b.route.mqtt_headers = true;
	open_route(&b);
	records_full(&r);
	render(&b, &r, &out);
	assert_int_equal(out.header_count, 7 + r.user_property_count);
	assert_header(&out, 0, "tidegate", (struct bytes)TEXT(want));
	assert_header(&out, 1, "mqtt-topic", r.topic);
	assert_header(&out, 2, "mqtt-qos", (struct bytes)TEXT("1"));
	assert_header(&out, 3, "mqtt-retain", (struct bytes)TEXT("true"));
	assert_header(&out, 4, "content-type", r.content_type);
	assert_header(&out, 5, "mqtt-response-topic", r.response_topic);
	assert_header(&out, 6, "mqtt-correlation-data", r.correlation_data);
	/* Under their own names, in order, repeats kept; NUL made visible. */
	assert_header(&out, 7, "client-id", r.user_properties[0].value);
	assert_header(&out, 8, "repeated", r.user_properties[1].value);
	assert_header(&out, 9, "repeated", r.user_properties[2].value);
	assert_header(&out, 10, "", r.user_properties[3].value);
	assert_header(&out, 11, "awkward\xef\xbf\xbdname", r.user_properties[4].value);
	route_close(b.open);
}

static void
headers_that_are_not_wanted_or_not_there_are_left_out(void **state)
{
	struct sink_record out;
	struct record r;
	struct bench b;

	(void)state;
	bench_init(&b);
	b.route.provenance = false;
	b.route.user_properties = false;
	open_route(&b);
	records_plain(&r, "dev/1", "x");
	render(&b, &r, &out);
	assert_int_equal(out.header_count, 0);
	records_full(&r);
	render(&b, &r, &out);
	assert_int_equal(out.header_count, 3);
	assert_header(&out, 0, "content-type", r.content_type);
	route_close(b.open);
}

static void
user_properties_cannot_pass_for_ours(void **state)
{
	static const struct user_property properties[] = {
	    {TEXT("tidegate"), TEXT("forged")},
	    {TEXT("tidegate-requeued-from"), TEXT("1")},
	    {TEXT("mqtt-topic"), TEXT("2")},
	    {TEXT("mqtt-"), TEXT("3")},
	    {TEXT("content-type"), TEXT("4")},
	    {TEXT("tidegates"), TEXT("5")},
	    {TEXT("mqtt"), TEXT("6")},
	    {TEXT("Content-Type"), TEXT("7")},
	    {TEXT("tide"), {NULL, 0}},
	};
	static const char *const names[] = {"user-tidegate",
	    "user-tidegate-requeued-from", "user-mqtt-topic", "user-mqtt-",
	    "user-content-type", "tidegates", "mqtt", "Content-Type", "tide"};
	struct sink_record out;
	struct record r;
	struct bench b;

	(void)state;
	bench_init(&b);
	b.route.provenance = false;
	open_route(&b);
	records_plain(&r, "dev/1", "x");
	r.user_properties = properties;
	r.user_property_count = sizeof(properties) / sizeof(properties[0]);
	render(&b, &r, &out);
	assert_int_equal(out.header_count, r.user_property_count);
	for (size_t i = 0; i < out.header_count; i++)
		assert_string_equal(out.headers[i].name, names[i]);
	assert_header(&out, 0, "user-tidegate", properties[0].value);
	assert_header(&out, 8, "tide", (struct bytes)TEXT(""));
	route_close(b.open);
}

/* The buffer of names must not move while names are added. */
static void
a_thousand_user_properties(void **state)
{
	struct user_property *properties = calloc(1000, sizeof(*properties));
	char name[200];
	struct sink_record out;
	struct record r;
	struct bench b;

	(void)state;
	assert_non_null(properties);
	memset(name, 0, sizeof(name));
	for (size_t i = 0; i < 1000; i++)
		properties[i] = (struct user_property){{name, i % 200}, {"v", 1}};
	bench_init(&b);
	open_route(&b);
	records_plain(&r, "dev/1", "x");
	r.user_properties = properties;
	r.user_property_count = 1000;
	render(&b, &r, &out);
	assert_int_equal(out.header_count, 1001);
	for (size_t i = 0; i < 1000; i++)
		assert_int_equal(strlen(out.headers[i + 1].name), 3 * (i % 200));
	route_close(b.open);
	free(properties);
}

static int64_t
time_of(
    enum settings_timestamp kind, uint64_t received_ms, int64_t now_ms, bool forwarded)
{
	struct sink_record out;
	struct record r;
	struct bench b;

	bench_init(&b);
	b.route.timestamp = kind;
	open_route(&b);
	records_plain(&r, "dev/1", "x");
	r.received_ms = received_ms;
	assert_int_equal(route_render(b.open, &r, 1, now_ms, forwarded, &out), 0);
	route_close(b.open);
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

static void
any_of_the_filters_matches(void **state)
{
	struct record r;
	struct bench b;

	(void)state;
	bench_init(&b);
	b.filters[1] = text("+/temp");
	b.filters[2] = text("$share/group/shared/+");
	b.route.topic_filter_count = 3;
	open_route(&b);
	records_plain(&r, "dev/1/x", "x");
	assert_true(route_matches(b.open, &r));
	records_plain(&r, "a/temp", "x");
	assert_true(route_matches(b.open, &r));
	records_plain(&r, "shared/1", "x");
	assert_true(route_matches(b.open, &r));
	records_plain(&r, "a/b/temp", "x");
	assert_false(route_matches(b.open, &r));
	records_plain(&r, "$share/group/shared/1", "x");
	assert_false(route_matches(b.open, &r));
	route_close(b.open);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(payload_goes_out_byte_for_byte_and_is_not_copied),
	    cmocka_unit_test(envelope_is_made_in_a_buffer_of_the_route),
	    cmocka_unit_test(keys),
	    cmocka_unit_test(headers_come_in_the_order_that_is_promised),
	    cmocka_unit_test(headers_that_are_not_wanted_or_not_there_are_left_out),
	    cmocka_unit_test(user_properties_cannot_pass_for_ours),
	    cmocka_unit_test(a_thousand_user_properties),
	    cmocka_unit_test(record_times),
	    cmocka_unit_test(any_of_the_filters_matches),
	};

	return cmocka_run_group_tests_name("route", tests, NULL, NULL);
}
