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
#include "../lib/route_bench.h"

static const struct envelope_context expected = {
    .gateway_id = "gw-1",
    .mqtt_host = "broker",
    .route = "r1",
    .journal_uuid = ROUTE_BENCH_UUID,
    .seq = ROUTE_BENCH_SEQ,
};

static void
the_envelope_is_made_in_a_buffer_of_the_route(void **state)
{
	struct envelope_context want = expected;
	struct sink_record out;
	struct route_bench b;
	struct record r;

	(void)state;
	route_bench_init(&b);
	b.route.envelope = SETTINGS_ENVELOPE_TBMQ;
	route_bench_open(&b);
	records_full(&r);
	want.client_id = r.user_properties[0].value;
	/* The second one must not stand behind the first. */
	route_bench_render(&b, &r, &out);
	route_bench_render(&b, &r, &out);
	assert_true(out.copy_value);
	assert_null(check_envelope(&r, &want, out.value));
	route_bench_close(&b);
}

static void
templates_fill_the_client_id_and_the_metadata(void **state)
{
	const struct envelope_pair pairs[] = {
	    {"site", FIXED("7")}, {"fixed", FIXED("a \"b\"")}, {"missing", FIXED("")}};
	struct envelope_context want = expected;
	struct sink_record out;
	struct route_bench b;
	struct record r;

	(void)state;
	route_bench_init(&b);
	b.route.envelope = SETTINGS_ENVELOPE_TBMQ;
	b.route.client_id = route_bench_text("${topic:3}");
	route_bench_metadata(&b, "site", "${topic:2}");
	route_bench_metadata(&b, "fixed", "a \"b\"");
	route_bench_metadata(&b, "missing", "${user:none}");
	route_bench_open(&b);
	records_plain(&r, "site/7/dev-1", "x");
	route_bench_render(&b, &r, &out);
	want.client_id = BYTES("dev-1");
	want.metadata = pairs;
	want.metadata_count = 3;
	assert_null(check_envelope(&r, &want, out.value));
	route_bench_close(&b);
}

/* How the value comes out; format is what was found to be possible. */
static void
check_value(enum settings_envelope envelope, enum settings_payload_format asked,
    struct bytes type, struct bytes payload, enum settings_payload_format format)
{
	bool is_tbmq = envelope == SETTINGS_ENVELOPE_TBMQ;
	struct envelope_context want = expected;
	struct sink_record out;
	struct route_bench b;
	struct record r;
	const char *wrong;

	route_bench_init(&b);
	b.route.envelope = envelope;
	b.route.payload_format = asked;
	route_bench_open(&b);
	records_plain(&r, "dev/1", "");
	r.payload = payload;
	r.content_type = type;
	route_bench_render(&b, &r, &out);
	assert_true(out.copy_value);
	want.payload_format = format;
	want.names_format = asked != SETTINGS_PAYLOAD_BASE64;
	want.key = r.topic;
	wrong = is_tbmq ? check_envelope(&r, &want, out.value)
			: check_cloudevent(&r, &want, out.value);
	if (wrong != NULL)
		fail_msg("%s: %.*s", wrong, (int)out.value.size,
		    (const char *)out.value.data);
	route_bench_close(&b);
}

/* In this envelope the content type plays no part. */
static void
check_tbmq(enum settings_payload_format asked, struct bytes payload,
    enum settings_payload_format format)
{
	check_value(
	    SETTINGS_ENVELOPE_TBMQ, asked, BYTES("text/plain"), payload, format);
}

static void
a_payload_stands_as_asked_or_in_base64(void **state)
{
	const enum settings_payload_format base64 = SETTINGS_PAYLOAD_BASE64;
	const enum settings_payload_format text = SETTINGS_PAYLOAD_TEXT;
	const enum settings_payload_format json = SETTINGS_PAYLOAD_JSON;

	(void)state;
	check_tbmq(base64, BYTES("{}"), base64);
	check_tbmq(text, BYTES("{}"), text);
	check_tbmq(text, BYTES(""), text);
	check_tbmq(text, BYTES("\xc3\xa4\n\"\x1f\\"), text);
	check_tbmq(text, BYTES("\xc3"), base64);
	/* It could not be told from U+FFFD any more. */
	check_tbmq(text, BYTES("a\0b"), base64);
	check_tbmq(json, BYTES("{\"a\": [1.50,\n true]}"), json);
	check_tbmq(json, BYTES(" 21.0 "), json);
	check_tbmq(json, BYTES("\"\xc3\xa4\""), json);
	check_tbmq(json, BYTES("null"), json);
	check_tbmq(json, BYTES("{\"a\":1"), base64);
	check_tbmq(json, BYTES("1,\"forged\":2"), base64);
	check_tbmq(json, BYTES("{}}"), base64);
	check_tbmq(json, BYTES("\"\xc3\""), base64);
	check_tbmq(json, BYTES("hello"), base64);
	check_tbmq(json, BYTES(""), base64);
}

static void
check_event(enum settings_payload_format asked, struct bytes type, struct bytes payload,
    enum settings_payload_format format)
{
	check_value(SETTINGS_ENVELOPE_CLOUDEVENTS, asked, type, payload, format);
}

static void
the_data_of_an_event_are_what_its_content_type_says(void **state)
{
	const enum settings_payload_format base64 = SETTINGS_PAYLOAD_BASE64;
	const enum settings_payload_format text = SETTINGS_PAYLOAD_TEXT;
	const enum settings_payload_format json = SETTINGS_PAYLOAD_JSON;
	const struct bytes none = {NULL, 0}, no_type = FIXED("json"),
			   is_json = FIXED("Application/JSON; charset=utf-8"),
			   is_ld = FIXED("application/ld+json"),
			   is_text = FIXED("text/plain");
	const struct bytes number = FIXED("21"), word = FIXED("hello"),
			   binary = FIXED("\xff");

	(void)state;
	check_event(base64, none, number, base64);
	check_event(base64, is_json, number, base64);
	check_event(json, none, number, json);
	check_event(json, no_type, number, json);
	check_event(json, is_json, number, json);
	check_event(json, is_ld, number, json);
	check_event(json, is_json, word, base64);
	check_event(json, none, word, base64);
	/* Declared to be text, so it is the string "21". */
	check_event(json, is_text, number, text);
	check_event(json, is_text, word, text);
	check_event(json, is_text, binary, base64);
	check_event(text, none, number, text);
	check_event(text, none, binary, base64);
	/* Declared to be JSON: a string would be another value. */
	check_event(text, is_json, number, json);
	check_event(text, is_json, word, base64);
	check_event(text, is_text, number, text);
}

static void
a_binary_event_is_the_payload_byte_for_byte(void **state)
{
	struct sink_record out;
	struct route_bench b;
	struct record r;

	(void)state;
	route_bench_init(&b);
	b.route.envelope = SETTINGS_ENVELOPE_CLOUDEVENTS_BINARY;
	b.route.payload_format = SETTINGS_PAYLOAD_JSON;
	route_bench_open(&b);
	records_full(&r);
	route_bench_render(&b, &r, &out);
	assert_ptr_equal(out.value.data, r.payload.data);
	assert_int_equal(out.value.size, r.payload.size);
	assert_false(out.copy_value);
	route_bench_close(&b);
}

static void
metadata_become_attributes(void **state)
{
	const struct envelope_pair pairs[] = {{"site", FIXED("7")}};
	struct envelope_context want = expected;
	struct sink_record out;
	struct route_bench b;
	struct record r;

	(void)state;
	route_bench_init(&b);
	b.route.envelope = SETTINGS_ENVELOPE_CLOUDEVENTS;
	b.route.key = route_bench_text("");
	b.route.client_id = route_bench_text("${gateway_id}-x");
	route_bench_metadata(&b, "site", "${topic:2}");
	route_bench_open(&b);
	records_plain(&r, "site/7", "x");
	route_bench_render(&b, &r, &out);
	want.client_id = BYTES("gw-1-x");
	want.metadata = pairs;
	want.metadata_count = 1;
	assert_null(check_cloudevent(&r, &want, out.value));
	route_bench_close(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_envelope_is_made_in_a_buffer_of_the_route),
	    cmocka_unit_test(templates_fill_the_client_id_and_the_metadata),
	    cmocka_unit_test(a_payload_stands_as_asked_or_in_base64),
	    cmocka_unit_test(the_data_of_an_event_are_what_its_content_type_says),
	    cmocka_unit_test(a_binary_event_is_the_payload_byte_for_byte),
	    cmocka_unit_test(metadata_become_attributes),
	};

	return cmocka_run_group_tests_name("route_value", tests, NULL, NULL);
}
