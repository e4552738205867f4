/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/check_envelope.h"
#include "../lib/records.h"
#include "envelope.h"
#include "err.h"

static const struct envelope_context context = {
    .gateway_id = "ie-0",
    .mqtt_host = "tbmq-0",
    .route = "My Kafka",
    .journal_uuid = "01234567-89ab-4cde-8f01-23456789abcd",
    .seq = 42,
};

static void
assert_right_with(const struct record *r, const struct envelope_context *c)
{
	struct buffer out = {0};
	const char *wrong;

	assert_int_equal(envelope_tbmq(r, c, &out), 0);
	wrong = check_envelope(r, c, (struct bytes){out.data, out.size});
	if (wrong != NULL)
		print_error("%s: %.*s\n", wrong, (int)out.size, (const char *)out.data);
	assert_null(wrong);
	buffer_fini(&out);
}

static void
assert_right(const struct record *r)
{
	assert_right_with(r, &context);
}

/* Is it these very bytes? */
static void
assert_golden(
    const struct record *r, const struct envelope_context *c, const char *want)
{
	struct buffer out = {0};

	assert_int_equal(buffer_append_str(&out, "kept"), 0);
	assert_int_equal(envelope_tbmq(r, c, &out), 0);
	assert_int_equal(buffer_append(&out, "", 1), 0);
	assert_string_equal((char *)out.data + 4, want);
	assert_memory_equal(out.data, "kept", 4);
	buffer_fini(&out);
	assert_right_with(r, c);
}

static void
it_is_what_tbmq_sends_and_two_fields_more(void **state)
{
	static const struct user_property properties[] = {
	    {FIXED("k"), FIXED("v")},
	    {FIXED("client-id"), FIXED("c1")},
	};
	struct envelope_context c = context;
	struct record r;

	(void)state;
	records_plain(&r, "tbmq/demo", "{\"t\":21}");
	r.received_ms = 1763836800000;
	r.user_properties = properties;
	r.user_property_count = 2;
	c.client_id = BYTES("c1");
	assert_golden(&r, &c,
	    "{\"payload\":\"eyJ0IjoyMX0=\",\"topicName\":\"tbmq/demo\","
	    "\"clientId\":\"c1\",\"eventType\":\"PUBLISH_MSG\",\"qos\":1,"
	    "\"retain\":false,\"tbmqIeNode\":\"ie-0\",\"tbmqNode\":\"tbmq-0\","
	    "\"ts\":1763836800000,\"props\":{\"k\":\"v\",\"client-id\":\"c1\"},"
	    "\"metadata\":{\"integrationName\":\"My Kafka\"},"
	    "\"journal\":\"01234567-89ab-4cde-8f01-23456789abcd\",\"seq\":42}");
}

static void
every_field_has_its_other_value(void **state)
{
	static const struct user_property properties[] = {
	    {FIXED("a"), FIXED("1")},
	    {FIXED("b"), FIXED("2")},
	    {FIXED("a"), FIXED("3")},
	};
	static const struct envelope_pair metadata[] = {
	    {"site", FIXED("7")},
	    {"empty", {NULL, 0}},
	};
	struct envelope_context c = context;
	struct record r;

	(void)state;
	records_plain(&r, "t/\"\xff\n", "{\"t\":\n 1.50}");
	r.received_ms = 0;
	r.qos = 0;
	r.retain = true;
	r.user_properties = properties;
	r.user_property_count = 3;
	c.metadata = metadata;
	c.metadata_count = 2;
	c.payload_format = SETTINGS_PAYLOAD_JSON;
	c.names_format = true;
	c.seq = UINT64_MAX >> 1;
	assert_golden(&r, &c,
	    "{\"payload\":{\"t\":\n 1.50},\"topicName\":\"t/\\\"\xef\xbf\xbd\\u000a\","
	    "\"clientId\":\"\",\"eventType\":\"PUBLISH_MSG\",\"qos\":0,"
	    "\"retain\":true,\"tbmqIeNode\":\"ie-0\",\"tbmqNode\":\"tbmq-0\","
	    "\"ts\":0,\"props\":{\"a\":\"3\",\"b\":\"2\"},"
	    "\"metadata\":{\"site\":\"7\",\"empty\":\"\","
	    "\"integrationName\":\"My Kafka\"},"
	    "\"journal\":\"01234567-89ab-4cde-8f01-23456789abcd\","
	    "\"seq\":9223372036854775807,\"payloadFormat\":\"json\"}");
}

static void
the_format_of_the_payload_is_named_where_one_was_asked_for(void **state)
{
	struct envelope_context c = context;
	struct record r;

	(void)state;
	records_plain(&r, "t", "a \"b\"");
	c.names_format = true;
	assert_golden(&r, &c,
	    "{\"payload\":\"YSAiYiI=\",\"topicName\":\"t\",\"clientId\":\"\","
	    "\"eventType\":\"PUBLISH_MSG\",\"qos\":1,\"retain\":false,"
	    "\"tbmqIeNode\":\"ie-0\",\"tbmqNode\":\"tbmq-0\",\"ts\":1795514400123,"
	    "\"props\":{},\"metadata\":{\"integrationName\":\"My Kafka\"},"
	    "\"journal\":\"01234567-89ab-4cde-8f01-23456789abcd\",\"seq\":42,"
	    "\"payloadFormat\":\"base64\"}");
	c.payload_format = SETTINGS_PAYLOAD_TEXT;
	assert_golden(&r, &c,
	    "{\"payload\":\"a \\\"b\\\"\",\"topicName\":\"t\",\"clientId\":\"\","
	    "\"eventType\":\"PUBLISH_MSG\",\"qos\":1,\"retain\":false,"
	    "\"tbmqIeNode\":\"ie-0\",\"tbmqNode\":\"tbmq-0\",\"ts\":1795514400123,"
	    "\"props\":{},\"metadata\":{\"integrationName\":\"My Kafka\"},"
	    "\"journal\":\"01234567-89ab-4cde-8f01-23456789abcd\",\"seq\":42,"
	    "\"payloadFormat\":\"text\"}");
}

/* Room is made piece by piece, and a character may lie across two. */
static void
text_longer_than_a_piece(void **state)
{
	char *payload = calloc(20000, 1);
	struct envelope_context c = context;
	struct record r;

	(void)state;
	assert_non_null(payload);
	c.payload_format = SETTINGS_PAYLOAD_TEXT;
	records_plain(&r, "t", "");
	for (size_t shift = 0; shift < 4; shift++) {
		memset(payload, '\x1f', 20000);
		for (size_t i = shift; i + 4 <= 20000; i += 4)
			memcpy(payload + i, "\xf0\x9f\x92\xa9", 4);
		r.payload = (struct bytes){payload, 16384 + shift};
		assert_right_with(&r, &c);
		memset(payload, '\x1f', 20000);
		assert_right_with(&r, &c);
	}
	free(payload);
}

static void
payloads_of_every_length(void **state)
{
	uint8_t payload[70];
	struct record r;

	(void)state;
	for (size_t i = 0; i < sizeof(payload); i++)
		payload[i] = (uint8_t)(i * 151 + 7);
	records_plain(&r, "t", "");
	for (size_t size = 0; size <= sizeof(payload); size++) {
		r.payload = (struct bytes){payload, size};
		assert_right(&r);
	}
}

static void
every_pair_of_bytes_in_a_topic(void **state)
{
	uint8_t topic[5] = {'a', 0, 0, 'b', '"'};
	struct record r;

	(void)state;
	records_plain(&r, "", "x");
	r.topic = (struct bytes){topic, sizeof(topic)};
	for (unsigned pair = 0; pair < 0x10000; pair++) {
		topic[1] = (uint8_t)(pair >> 8);
		topic[2] = (uint8_t)pair;
		assert_right(&r);
	}
}

static void
characters_at_the_edges_of_utf8(void **state)
{
	static const struct bytes edges[] = {
	    FIXED("\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf"
		  "\xbf"),
	    FIXED("\xc0\x80 \xc1\xbf \xe0\x9f\xbf \xf0\x8f\xbf\xbf"), /* overlong */
	    FIXED(
		"\xed\x9f\xbf \xed\xa0\x80 \xed\xbf\xbf \xee\x80\x80"), /* surrogates */
	    FIXED("\xf4\x90\x80\x80 \xf5\x80\x80\x80 \xfe \xff"), /* beyond the last */
	    FIXED("\xe2\x82"),
	    FIXED("\xf0\x9f\x92"),
	    FIXED("\xc3"), /* cut off at the end */
	    FIXED("\xe2\x82\"\xf0\x9f\\"),
	    FIXED("\x7f\x1f\x00 \b\f\n\r\t/"),
	};
	struct record r;

	(void)state;
	records_plain(&r, "", "x");
	for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++) {
		struct user_property p = {edges[i], edges[i]};

		r.topic = edges[i];
		r.user_properties = &p;
		r.user_property_count = 1;
		assert_right(&r);
	}
}

static void
random_records(void **state)
{
	uint64_t seed = records_seed();

	(void)state;
	for (int i = 0; i < 2000; i++) {
		struct record r;

		records_random(&seed, &r);
		r.received_ms >>= 1; /* jansson's integers are signed */
		assert_right(&r);
	}
}

/* Names out of a small set, so that there are repeats; below and above the limit. */
static void
many_properties(void **state)
{
	uint64_t seed = records_seed();
	struct user_property properties[400];
	char names[100][8];
	struct record r;

	(void)state;
	for (size_t i = 0; i < 100; i++)
		snprintf(names[i], sizeof(names[i]), "%zu", i);
	records_plain(&r, "t", "");
	r.user_properties = properties;
	for (int round = 0; round < 50; round++) {
		size_t kinds = records_random_number(&seed) % 100 + 1;

		r.user_property_count = records_random_number(&seed) % 401;
		for (size_t i = 0; i < r.user_property_count; i++) {
			const char *name = names[records_random_number(&seed) % kinds];
			const char *value = names[records_random_number(&seed) % 100];

			properties[i] = (struct user_property){
			    {name, strlen(name)}, {value, strlen(value)}};
		}
		assert_right(&r);
	}
}

/* Comparing each with each would take minutes; the test would run into its time-out. */
static void
a_hundred_thousand_properties(void **state)
{
	enum { COUNT = 100000 };
	struct user_property *properties = calloc(COUNT, sizeof(*properties));
	char(*names)[8] = calloc(COUNT, sizeof(*names));
	struct buffer out = {0};
	struct record r;

	(void)state;
	assert_non_null(properties);
	assert_non_null(names);
	for (size_t i = 0; i < COUNT; i++) {
		int size = snprintf(names[i], sizeof(names[i]), "%zu", i);

		properties[i] = (struct user_property){
		    {names[i], (size_t)size}, {names[i], (size_t)size}};
	}
	records_plain(&r, "t", "");
	r.user_properties = properties;
	r.user_property_count = COUNT;
	assert_int_equal(envelope_tbmq(&r, &context, &out), 0);
	buffer_fini(&out);
	free(names);
	free(properties);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(it_is_what_tbmq_sends_and_two_fields_more),
	    cmocka_unit_test(every_field_has_its_other_value),
	    cmocka_unit_test(
		the_format_of_the_payload_is_named_where_one_was_asked_for),
	    cmocka_unit_test(text_longer_than_a_piece),
	    cmocka_unit_test(payloads_of_every_length),
	    cmocka_unit_test(every_pair_of_bytes_in_a_topic),
	    cmocka_unit_test(characters_at_the_edges_of_utf8),
	    cmocka_unit_test(random_records),
	    cmocka_unit_test(many_properties),
	    cmocka_unit_test(a_hundred_thousand_properties),
	};

	return cmocka_run_group_tests_name("envelope", tests, NULL, NULL);
}
