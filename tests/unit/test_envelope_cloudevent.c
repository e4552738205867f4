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
#include "envelope.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct envelope_context context = {
    .gateway_id = "site-17",
    .mqtt_host = "localhost",
    .route = "default",
    .journal_uuid = "01234567-89ab-4cde-8f01-23456789abcd",
    .seq = 42,
};

/* What was made before must not shine through: a is used again and again. */
static void
assert_right(const struct record *r, const struct envelope_context *c,
    struct envelope_attributes *a)
{
	struct buffer out = {0};
	const char *wrong;

	assert_int_equal(envelope_attributes_make(r, c, a), 0);
	wrong = check_attributes(r, c, a);
	if (wrong != NULL)
		fail_msg("%s", wrong);
	assert_int_equal(envelope_cloudevent(r, c, a, &out), 0);
	wrong = check_cloudevent(r, c, (struct bytes){out.data, out.size});
	if (wrong != NULL)
		fail_msg("%s: %.*s", wrong, (int)out.size, (const char *)out.data);
	buffer_fini(&out);
}

static void
assert_golden(
    const struct record *r, const struct envelope_context *c, const char *want)
{
	struct envelope_attributes a = {0};
	struct buffer out = {0};

	assert_int_equal(envelope_attributes_make(r, c, &a), 0);
	assert_int_equal(buffer_append_str(&out, "kept"), 0);
	assert_int_equal(envelope_cloudevent(r, c, &a, &out), 0);
	assert_int_equal(buffer_append(&out, "", 1), 0);
	assert_string_equal((char *)out.data + 4, want);
	assert_memory_equal(out.data, "kept", 4);
	buffer_fini(&out);
	assert_right(r, c, &a);
	envelope_attributes_fini(&a);
}

static void
it_is_an_event_as_the_specification_has_it(void **state)
{
	static const struct envelope_pair metadata[] = {{"line", FIXED("3")}};
	struct envelope_context c = context;
	struct record r;

	(void)state;
	records_plain(&r, "site/7", "{\"t\": 21}");
	r.retain = true;
	r.content_type = BYTES("application/json");
	c.client_id = BYTES("dev-1");
	c.key = BYTES("site/7");
	c.metadata = metadata;
	c.metadata_count = 1;
	c.payload_format = SETTINGS_PAYLOAD_JSON;
	assert_golden(&r, &c,
	    "{\"specversion\":\"1.0\","
	    "\"id\":\"01234567-89ab-4cde-8f01-23456789abcd/42\","
	    "\"source\":\"/tidegate/site-17\",\"type\":\"tidegate.mqtt.message\","
	    "\"time\":\"2026-11-24T10:00:00.123Z\",\"subject\":\"site/7\","
	    "\"mqttqos\":1,\"mqttretain\":true,\"route\":\"default\","
	    "\"clientid\":\"dev-1\",\"partitionkey\":\"site/7\",\"line\":\"3\","
	    "\"datacontenttype\":\"application/json\",\"data\":{\"t\": 21}}");
}

static void
what_is_not_known_is_left_out(void **state)
{
	struct record r;

	(void)state;
	records_plain(&r, "t", "x");
	r.received_ms = UINT64_MAX;
	assert_golden(&r, &context,
	    "{\"specversion\":\"1.0\","
	    "\"id\":\"01234567-89ab-4cde-8f01-23456789abcd/42\","
	    "\"source\":\"/tidegate/site-17\",\"type\":\"tidegate.mqtt.message\","
	    "\"subject\":\"t\",\"mqttqos\":1,\"mqttretain\":false,"
	    "\"route\":\"default\",\"data_base64\":\"eA==\"}");
}

static void
text_says_what_it_is(void **state)
{
	struct envelope_context c = context;
	struct record r;

	(void)state;
	records_plain(&r, "t", "\xc3\xa4\n");
	c.payload_format = SETTINGS_PAYLOAD_TEXT;
	assert_golden(&r, &c,
	    "{\"specversion\":\"1.0\","
	    "\"id\":\"01234567-89ab-4cde-8f01-23456789abcd/42\","
	    "\"source\":\"/tidegate/site-17\",\"type\":\"tidegate.mqtt.message\","
	    "\"time\":\"2026-11-24T10:00:00.123Z\",\"subject\":\"t\","
	    "\"mqttqos\":1,\"mqttretain\":false,\"route\":\"default\","
	    "\"datacontenttype\":\"text/plain; charset=utf-8\","
	    "\"data\":\"\xc3\xa4\\u000a\"}");
}

/* Each day of 800 years, and the edges of the year that has five digits. */
static void
times(void **state)
{
	static const uint64_t edges[] = {0, 1, 999, 1000, 86399999, 86400000,
	    951782399999, 951782400000, 253402300799999, 253402300800000, UINT64_MAX};
	struct envelope_attributes a = {0};
	struct record r;

	(void)state;
	records_plain(&r, "t", "x");
	for (size_t i = 0; i < COUNT(edges); i++) {
		r.received_ms = edges[i];
		assert_right(&r, &context, &a);
	}
	for (uint64_t day = 0; day < 800 * 366; day += 1 + day % 5) {
		r.received_ms = day * 86400000 + day * 7919 % 86400000;
		assert_right(&r, &context, &a);
	}
	envelope_attributes_fini(&a);
}

static void
characters_that_events_forbid(void **state)
{
	static const struct bytes texts[] = {
	    FIXED("\x01\x1f \x7f\xc2\x80\xc2\x9f\xc2\xa0"), FIXED("a\0b"),
	    FIXED("\xef\xb7\x8f\xef\xb7\x90\xef\xb7\xaf\xef\xb7\xb0"),
	    FIXED("\xef\xbf\xbd\xef\xbf\xbe\xef\xbf\xbf"),
	    FIXED("\xf0\x9f\xbf\xbd\xf0\x9f\xbf\xbe\xf4\x8f\xbf\xbf\xf0\xaf\xbf\xbf"),
	    FIXED("\xc3\xed\xa0\x80\xff\xc0\x80\xe2\x82"), FIXED("plain"),
	    FIXED("\xe2\x80\xa8\xe2\x80\xae"), /* allowed, strange as they are */
	};
	struct envelope_attributes a = {0};
	struct record r;

	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++) {
		const struct envelope_pair metadata[] = {
		    {"one", texts[i]}, {"two", texts[(i + 1) % COUNT(texts)]}};
		struct envelope_context c = context;

		records_plain(&r, "", "x");
		r.topic = texts[i];
		c.client_id = texts[(i + 2) % COUNT(texts)];
		c.key = texts[(i + 3) % COUNT(texts)];
		c.metadata = metadata;
		c.metadata_count = 2;
		assert_right(&r, &c, &a);
	}
	envelope_attributes_fini(&a);
}

static void
every_pair_of_bytes_in_a_topic(void **state)
{
	uint8_t topic[4] = {'a', 0, 0, 'b'};
	struct envelope_attributes a = {0};
	struct record r;

	(void)state;
	records_plain(&r, "", "x");
	r.topic = (struct bytes){topic, sizeof(topic)};
	for (unsigned pair = 0; pair < 0x10000; pair++) {
		topic[1] = (uint8_t)(pair >> 8);
		topic[2] = (uint8_t)pair;
		assert_right(&r, &context, &a);
	}
	envelope_attributes_fini(&a);
}

static void
check_content_type(const char *text, bool is_one, bool is_json)
{
	struct envelope_attributes a = {0};
	struct record r;

	records_plain(&r, "t", "x");
	r.content_type = (struct bytes){text, strlen(text)};
	assert_int_equal(envelope_content_type(&r).data != NULL, is_one);
	assert_int_equal(envelope_is_json_type(r.content_type), is_json);
	assert_right(&r, &context, &a);
	envelope_attributes_fini(&a);
}

static void
content_types(void **state)
{
	(void)state;
	check_content_type("application/json", true, true);
	check_content_type("APPLICATION/JSON;charset=utf-8", true, true);
	check_content_type("application/json ; charset=utf-8", true, true);
	check_content_type("text/json", true, true);
	check_content_type("application/cloudevents+json", true, true);
	check_content_type("application/x+JSON; a=\"b\"", true, true);
	check_content_type("application/jsonx", true, false);
	check_content_type("application/json-seq", true, false);
	check_content_type("application/xjson", true, false);
	check_content_type("application/+json", true, false);
	check_content_type("text/plain", true, false);
	check_content_type("a/b;", true, false);
	check_content_type("", false, false);
	check_content_type("json", false, false);
	check_content_type("/json", false, false);
	check_content_type("a/", false, false);
	check_content_type("a/b/json", false, false);
	check_content_type("a /b", false, false);
	check_content_type("a/b c", false, false);
	check_content_type("a/b; x\n", false, false);
	check_content_type("a/b; \xc3\xa4", false, false);
	check_content_type("\xc3\xa4/b", false, false);
}

static void
random_events(void **state)
{
	struct envelope_attributes a = {0};
	uint64_t seed = records_seed();

	(void)state;
	for (size_t i = 0; i < 2000; i++) {
		struct envelope_context c = context;
		struct envelope_pair pair = {"x", {NULL, 0}};
		struct record r;

		records_random(&seed, &r);
		r.received_ms >>= 8; /* what gmtime_r(3) can say */
		c.client_id = r.content_type;
		c.key = r.correlation_data;
		pair.value = r.response_topic;
		c.metadata = &pair;
		c.metadata_count = i % 2;
		assert_right(&r, &c, &a);
	}
	envelope_attributes_fini(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(it_is_an_event_as_the_specification_has_it),
	    cmocka_unit_test(what_is_not_known_is_left_out),
	    cmocka_unit_test(text_says_what_it_is),
	    cmocka_unit_test(times),
	    cmocka_unit_test(characters_that_events_forbid),
	    cmocka_unit_test(every_pair_of_bytes_in_a_topic),
	    cmocka_unit_test(content_types),
	    cmocka_unit_test(random_events),
	};

	return cmocka_run_group_tests_name("envelope_cloudevent", tests, NULL, NULL);
}
