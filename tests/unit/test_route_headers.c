/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

#include "../lib/records.h"
#include "../lib/route_bench.h"

#define PROVENANCE "gw-1/" ROUTE_BENCH_UUID "/77/1795514400123"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void
assert_raw_header(
    const struct sink_record *r, size_t index, const char *name, struct bytes v)
{
	assert_true(index < r->header_count);
	assert_string_equal(r->headers[index].name, name);
	assert_int_equal(r->headers[index].value.size, v.size);
	assert_memory_equal(r->headers[index].value.data, v.data, v.size);
}

static void
they_come_in_the_order_that_is_promised(void **state)
{
	struct sink_record out;
	struct route_bench b;
	struct record r;

	(void)state;
	route_bench_init(&b);
	b.route.mqtt_headers = true;
	route_bench_header(&b, "site", "${topic:2}");
	route_bench_header(&b, "fixed", "v");
	route_bench_open(&b);
	records_full(&r);
	route_bench_render(&b, &r, &out);
	assert_int_equal(out.header_count, 9 + r.user_property_count);
	route_bench_assert_header(&out, 0, "tidegate", PROVENANCE);
	route_bench_assert_header(&out, 1, "mqtt-topic", "site/7/sensor/\xc3\xa4");
	route_bench_assert_header(&out, 2, "mqtt-qos", "1");
	route_bench_assert_header(&out, 3, "mqtt-retain", "true");
	route_bench_assert_header(&out, 4, "content-type", "application/json");
	route_bench_assert_header(&out, 5, "mqtt-response-topic", "site/7/answer");
	assert_raw_header(&out, 6, "mqtt-correlation-data", r.correlation_data);
	route_bench_assert_header(&out, 7, "site", "7");
	route_bench_assert_header(&out, 8, "fixed", "v");
	/* Under their own names, in order, repeats kept; NUL made visible. */
	route_bench_assert_header(&out, 9, "client-id", "dev-1");
	route_bench_assert_header(&out, 10, "repeated", "first");
	route_bench_assert_header(&out, 11, "repeated", "second");
	route_bench_assert_header(&out, 12, "", "");
	assert_raw_header(
	    &out, 13, "awkward\xef\xbf\xbdname", r.user_properties[4].value);
	route_bench_close(&b);
}

static void
those_that_are_not_wanted_or_not_there_are_left_out(void **state)
{
	struct sink_record out;
	struct route_bench b;
	struct record r;

	(void)state;
	route_bench_init(&b);
	b.route.provenance = false;
	b.route.user_properties = false;
	route_bench_open(&b);
	records_plain(&r, "dev/1", "x");
	route_bench_render(&b, &r, &out);
	assert_int_equal(out.header_count, 0);
	records_full(&r);
	route_bench_render(&b, &r, &out);
	assert_int_equal(out.header_count, 3);
	route_bench_assert_header(&out, 0, "content-type", "application/json");
	route_bench_close(&b);
}

/* With or without provenance; and no device can say it of a message of its own. */
static void
a_requeued_one_tells_its_first_sequence(void **state)
{
	static const struct user_property forged[] = {
	    {FIXED("tidegate-requeued-from"), FIXED("1")},
	    {FIXED("Tidegate-Requeued-From"), FIXED("2")},
	};
	struct sink_record out;
	struct route_bench b;
	struct record r;

	(void)state;
	route_bench_init(&b);
	route_bench_open(&b);
	records_plain(&r, "dev/1", "x");
	r.route = BYTES("r1");
	r.requeued_from = UINT64_MAX;
	r.user_properties = forged;
	r.user_property_count = 2;
	route_bench_render(&b, &r, &out);
	assert_int_equal(out.header_count, 4);
	route_bench_assert_header(&out, 0, "tidegate", PROVENANCE);
	route_bench_assert_header(
	    &out, 1, "tidegate-requeued-from", "18446744073709551615");
	route_bench_assert_header(&out, 2, "user-tidegate-requeued-from", "1");
	route_bench_assert_header(&out, 3, "user-Tidegate-Requeued-From", "2");
	route_bench_close(&b);
	b.route.provenance = false;
	route_bench_open(&b);
	r.requeued_from = 7;
	route_bench_render(&b, &r, &out);
	assert_int_equal(out.header_count, 3);
	route_bench_assert_header(&out, 0, "tidegate-requeued-from", "7");
	r.requeued_from = 0;
	route_bench_render(&b, &r, &out);
	assert_int_equal(out.header_count, 2);
	route_bench_close(&b);
}

static void
an_own_one_that_renders_empty_is_sent(void **state)
{
	struct sink_record out;
	struct route_bench b;
	struct record r;

	(void)state;
	route_bench_init(&b);
	route_bench_header(&b, "missing", "${user:none}");
	route_bench_header(&b, "fallback", "${user:none|x}");
	route_bench_header(&b, "empty", "");
	route_bench_open(&b);
	records_plain(&r, "dev/1", "x");
	route_bench_render(&b, &r, &out);
	assert_int_equal(out.header_count, 4);
	route_bench_assert_header(&out, 1, "missing", "");
	route_bench_assert_header(&out, 2, "fallback", "x");
	route_bench_assert_header(&out, 3, "empty", "");
	route_bench_close(&b);
}

/* Each template has its own buffer. */
static void
values_are_valid_together(void **state)
{
	struct sink_record out;
	struct route_bench b;
	struct record r;

	(void)state;
	route_bench_init(&b);
	b.route.topic = route_bench_text("t-${topic:1}");
	b.route.key = route_bench_text("k-${topic:2}");
	route_bench_header(&b, "a", "a-${topic:1}");
	route_bench_header(&b, "b", "b-${topic:2}-${payload:/x}");
	route_bench_header(&b, "c", "c-${payload:/x}");
	route_bench_open(&b);
	records_plain(&r, "dev/1", "{\"x\": {\"y\": [1, 2]}}");
	route_bench_render(&b, &r, &out);
	assert_string_equal(out.topic, "t-dev");
	route_bench_assert_bytes(out.key, "k-1");
	route_bench_assert_header(&out, 1, "a", "a-dev");
	route_bench_assert_header(&out, 2, "b", "b-1-{\"y\":[1,2]}");
	route_bench_assert_header(&out, 3, "c", "c-{\"y\":[1,2]}");
	/* The next record is looked into anew. */
	records_plain(&r, "dev/2", "{\"x\": \"z\"}");
	route_bench_render(&b, &r, &out);
	route_bench_assert_header(&out, 2, "b", "b-2-z");
	records_plain(&r, "dev/3", "not JSON");
	route_bench_render(&b, &r, &out);
	route_bench_assert_header(&out, 2, "b", "b-3-");
	route_bench_close(&b);
}

/* Render user properties of these names; the headers are to have those. */
static void
check_names(
    struct route_bench *b, const struct bytes *names, const char *const *want, size_t n)
{
	struct user_property properties[16];
	struct sink_record out;
	struct record r;
	size_t before;

	route_bench_open(b);
	records_plain(&r, "dev/1", "x");
	route_bench_render(b, &r, &out);
	before = out.header_count;
	for (size_t i = 0; i < n; i++)
		properties[i] = (struct user_property){names[i], FIXED("forged")};
	r.user_properties = properties;
	r.user_property_count = n;
	route_bench_render(b, &r, &out);
	assert_int_equal(out.header_count, before + n);
	for (size_t i = 0; i < n; i++)
		route_bench_assert_header(&out, before + i, want[i], "forged");
	for (size_t i = 0; i < before; i++)
		assert_true(out.headers[i].value.size != strlen("forged") ||
			    memcmp(out.headers[i].value.data, "forged", 6) != 0);
	route_bench_close(b);
}

static void
user_properties_cannot_pass_for_ours(void **state)
{
	static const struct bytes names[] = {
	    FIXED("tidegate"),
	    FIXED("tidegate-requeued-from"),
	    FIXED("mqtt-topic"),
	    FIXED("mqtt-"),
	    FIXED("content-type"),
	    FIXED("tidegates"),
	    FIXED("mqtt"),
	    FIXED("Content-Type"),
	    FIXED("TideGate"),
	    FIXED("MQTT-qos"),
	    FIXED("ce_id"),
	    FIXED("tide\0gate"),
	};
	static const char *const want[] = {"user-tidegate",
	    "user-tidegate-requeued-from", "user-mqtt-topic", "user-mqtt-",
	    "user-content-type", "tidegates", "mqtt", "user-Content-Type",
	    "user-TideGate", "user-MQTT-qos", "ce_id", "tide\xef\xbf\xbdgate"};
	struct route_bench b;

	(void)state;
	route_bench_init(&b);
	check_names(&b, names, want, COUNT(names));
}

static void
nor_for_the_routes_own(void **state)
{
	static const struct bytes names[] = {
	    FIXED("site"),
	    FIXED("sites"),
	    FIXED("SITE"),
	    FIXED("user-user-site"),
	    FIXED("user-site"),
	    FIXED("tidegate"),
	};
	/* Where the prefix makes it another of them, once more. */
	static const char *const want[] = {"user-user-site", "sites", "user-user-SITE",
	    "user-user-site", "user-user-site", "user-user-tidegate"};
	struct route_bench b;

	(void)state;
	route_bench_init(&b);
	route_bench_header(&b, "user-tidegate", "mine");
	route_bench_header(&b, "user-site", "mine");
	route_bench_header(&b, "site", "mine");
	check_names(&b, names, want, COUNT(names));
}

static void
nor_for_those_of_an_event(void **state)
{
	static const struct bytes names[] = {
	    FIXED("ce_id"), FIXED("ce_"), FIXED("ce"), FIXED("CE_anything")};
	static const char *const want[] = {
	    "user-ce_id", "user-ce_", "ce", "user-CE_anything"};
	struct route_bench b;

	(void)state;
	route_bench_init(&b);
	b.route.envelope = SETTINGS_ENVELOPE_CLOUDEVENTS_BINARY;
	check_names(&b, names, want, COUNT(names));
	b.route.envelope = SETTINGS_ENVELOPE_CLOUDEVENTS;
	check_names(&b, names, want, COUNT(names));
}

/* The buffer of names must not move while names are added. */
static void
a_thousand_user_properties(void **state)
{
	struct user_property *properties = calloc(1000, sizeof(*properties));
	char name[200];
	struct sink_record out;
	struct route_bench b;
	struct record r;

	(void)state;
	assert_non_null(properties);
	memset(name, 0, sizeof(name));
	for (size_t i = 0; i < 1000; i++)
		properties[i] = (struct user_property){{name, i % 200}, {"v", 1}};
	properties[7] = (struct user_property){FIXED("name"), {NULL, 0}};
	route_bench_init(&b);
	route_bench_open(&b);
	records_plain(&r, "dev/1", "x");
	r.user_properties = properties;
	r.user_property_count = 1000;
	route_bench_render(&b, &r, &out);
	assert_int_equal(out.header_count, 1001);
	route_bench_assert_header(&out, 8, "name", "");
	for (size_t i = 8; i < 1000; i++)
		assert_int_equal(strlen(out.headers[i + 1].name), 3 * (i % 200));
	route_bench_close(&b);
	free(properties);
}

static void
of_a_binary_event(void **state)
{
	struct sink_record out;
	struct route_bench b;
	struct record r;

	(void)state;
	route_bench_init(&b);
	b.route.envelope = SETTINGS_ENVELOPE_CLOUDEVENTS_BINARY;
	b.route.user_properties = false;
	route_bench_header(&b, "own", "${qos}");
	route_bench_metadata(&b, "site", "${topic:2}\n${topic:3}");
	route_bench_open(&b);
	records_full(&r);
	for (int twice = 0; twice < 2; twice++) {
		size_t i = 0;

		route_bench_render(&b, &r, &out);
		assert_int_equal(out.header_count, 16);
		route_bench_assert_header(&out, i++, "tidegate", PROVENANCE);
		route_bench_assert_header(
		    &out, i++, "content-type", "application/json");
		i++; /* the response topic; correlation data are no UTF-8 */
		route_bench_assert_header(&out, i++, "ce_specversion", "1.0");
		route_bench_assert_header(&out, i++, "ce_id", ROUTE_BENCH_UUID "/77");
		route_bench_assert_header(&out, i++, "ce_source", "/tidegate/gw-1");
		route_bench_assert_header(
		    &out, i++, "ce_type", "tidegate.mqtt.message");
		route_bench_assert_header(
		    &out, i++, "ce_time", "2026-11-24T10:00:00.123Z");
		route_bench_assert_header(
		    &out, i++, "ce_subject", "site/7/sensor/\xc3\xa4");
		route_bench_assert_header(&out, i++, "ce_mqttqos", "1");
		route_bench_assert_header(&out, i++, "ce_mqttretain", "true");
		route_bench_assert_header(&out, i++, "ce_route", "r1");
		route_bench_assert_header(&out, i++, "ce_clientid", "dev-1");
		route_bench_assert_header(
		    &out, i++, "ce_partitionkey", "site/7/sensor/\xc3\xa4");
		/* A line break cannot stand in an attribute. */
		route_bench_assert_header(&out, i++, "ce_site", "7\xef\xbf\xbdsensor");
		route_bench_assert_header(&out, i++, "own", "1");
	}
	route_bench_close(&b);
}

/* One that is not would make the consumer's library fail at the event. */
static void
of_an_event_are_all_utf8(void **state)
{
	static const struct user_property properties[] = {
	    {FIXED("name\xff"), FIXED("1")},
	    {FIXED("value"), FIXED("\xff")},
	    {FIXED("fine\0"), FIXED("\xc3\xa4\n")},
	};
	const enum settings_envelope envelopes[] = {SETTINGS_ENVELOPE_NONE,
	    SETTINGS_ENVELOPE_CLOUDEVENTS, SETTINGS_ENVELOPE_CLOUDEVENTS_BINARY};
	const size_t left_out[] = {0, 5, 5};

	(void)state;
	for (size_t i = 0; i < COUNT(envelopes); i++) {
		struct sink_record out;
		struct route_bench b;
		struct record r;
		size_t all;

		route_bench_init(&b);
		b.route.envelope = envelopes[i];
		b.route.mqtt_headers = true;
		route_bench_header(&b, "own", "${topic}");
		route_bench_header(&b, "fine", "");
		route_bench_open(&b);
		records_full(&r);
		r.topic = BYTES("t/\xff");
		r.user_properties = properties;
		r.user_property_count = COUNT(properties);
		route_bench_render(&b, &r, &out);
		/* Provenance; six of MQTT; two of the route; three of the device. */
		all = 12 - left_out[i];
		if (envelopes[i] == SETTINGS_ENVELOPE_CLOUDEVENTS_BINARY)
			all += 10;
		assert_int_equal(out.header_count, all);
		route_bench_assert_header(
		    &out, all - 1, "fine\xef\xbf\xbd", "\xc3\xa4\n");
		route_bench_close(&b);
	}
}

/* NULL: there is none. */
static void
check_content_type(enum settings_envelope envelope, const char *own, const char *sent,
    const char *want)
{
	struct sink_record out;
	struct route_bench b;
	struct record r;
	size_t count = 0;

	route_bench_init(&b);
	b.route.envelope = envelope;
	if (own != NULL)
		route_bench_header(&b, "Content-Type", own);
	route_bench_open(&b);
	records_plain(&r, "dev/1", "{}");
	if (sent != NULL)
		r.content_type = (struct bytes){sent, strlen(sent)};
	route_bench_render(&b, &r, &out);
	for (size_t i = 0; i < out.header_count; i++) {
		if (strcasecmp(out.headers[i].name, "content-type") != 0)
			continue;
		count++;
		assert_non_null(want);
		route_bench_assert_bytes(out.headers[i].value, want);
	}
	assert_int_equal(count, want != NULL);
	route_bench_close(&b);
}

static void
there_is_one_content_type(void **state)
{
	const enum settings_envelope none = SETTINGS_ENVELOPE_NONE;
	const enum settings_envelope event = SETTINGS_ENVELOPE_CLOUDEVENTS;
	const enum settings_envelope binary = SETTINGS_ENVELOPE_CLOUDEVENTS_BINARY;
	const char *structured = "application/cloudevents+json; charset=UTF-8";

	(void)state;
	check_content_type(none, NULL, NULL, NULL);
	check_content_type(none, NULL, "a/b", "a/b");
	check_content_type(none, NULL, "anything", "anything");
	check_content_type(none, "c/d", "a/b", "c/d");
	check_content_type(none, "${user:none}", "a/b", "");
	check_content_type(event, NULL, "a/b", structured);
	check_content_type(binary, NULL, "a/b", "a/b");
	check_content_type(binary, NULL, "not one", NULL);
	check_content_type(binary, NULL, NULL, NULL);
	check_content_type(binary, "c/d", "a/b", "c/d");
	/* With it the payload would be taken for the event, see route_headers.c. */
	check_content_type(binary, NULL, "application/cloudevents+json", NULL);
	check_content_type(binary, NULL, "Application/CloudEvents; a=b", NULL);
	check_content_type(
	    none, NULL, "application/cloudevents+json", "application/cloudevents+json");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(they_come_in_the_order_that_is_promised),
	    cmocka_unit_test(those_that_are_not_wanted_or_not_there_are_left_out),
	    cmocka_unit_test(a_requeued_one_tells_its_first_sequence),
	    cmocka_unit_test(an_own_one_that_renders_empty_is_sent),
	    cmocka_unit_test(values_are_valid_together),
	    cmocka_unit_test(user_properties_cannot_pass_for_ours),
	    cmocka_unit_test(nor_for_the_routes_own),
	    cmocka_unit_test(nor_for_those_of_an_event),
	    cmocka_unit_test(a_thousand_user_properties),
	    cmocka_unit_test(of_a_binary_event),
	    cmocka_unit_test(of_an_event_are_all_utf8),
	    cmocka_unit_test(there_is_one_content_type),
	};

	return cmocka_run_group_tests_name("route_headers", tests, NULL, NULL);
}
