/* SPDX-License-Identifier: Apache-2.0 */
/* JSON as tidegate-dump writes it, read back by a library. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dump/dump_json.h"

/* The line of a record with that topic and that payload, as a library reads it. */
static json_t *
written(struct bytes topic, struct bytes payload)
{
	struct record r = {.received_ms = 1, .topic = topic, .payload = payload};
	struct buffer line = {0};
	json_error_t error;
	json_t *o;

	assert_int_equal(dump_json_record(&line, 7, &r), 0);
	for (size_t i = 0; i < line.size; i++)
		assert_in_range(line.data[i], 0x20, 0x7f);
	o = json_loadb((const char *)line.data, line.size,
	    JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
	if (o == NULL)
		print_message("%s: %.*s\n", error.text, (int)line.size, line.data);
	assert_non_null(o);
	buffer_fini(&line);
	return o;
}

static void
is_string(json_t *o, const char *name, struct bytes value)
{
	json_t *member = json_object_get(o, name);

	assert_non_null(member);
	assert_int_equal(json_string_length(member), value.size);
	assert_memory_equal(json_string_value(member), value.data, value.size);
}

/* A character in UTF-8; its bytes. */
static size_t
put_character(uint8_t *to, uint32_t code)
{
	if (code < 0x80) {
		to[0] = (uint8_t)code;
		return 1;
	}
	if (code < 0x800) {
		to[0] = (uint8_t)(0xc0 | code >> 6);
		to[1] = (uint8_t)(0x80 | (code & 0x3f));
		return 2;
	}
	if (code < 0x10000) {
		to[0] = (uint8_t)(0xe0 | code >> 12);
		to[1] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
		to[2] = (uint8_t)(0x80 | (code & 0x3f));
		return 3;
	}
	to[0] = (uint8_t)(0xf0 | code >> 18);
	to[1] = (uint8_t)(0x80 | (code >> 12 & 0x3f));
	to[2] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
	to[3] = (uint8_t)(0x80 | (code & 0x3f));
	return 4;
}

static void
every_character_comes_back(void **state)
{
	static const uint32_t step = 1000;
	uint8_t text[4000];

	(void)state;
	for (uint32_t from = 0; from < 0x110000; from += step) {
		struct bytes value = {text, 0};
		json_t *o;

		for (uint32_t code = from; code < from + step && code < 0x110000;
		     code++) {
			if (code < 0xd800 || code >= 0xe000)
				value.size += put_character(text + value.size, code);
		}
		o = written(value, value);
		is_string(o, "topic", value);
		is_string(o, "payload_text", value);
		json_decref(o);
	}
}

static void
what_is_no_text_has_its_bytes(void **state)
{
	static const char bytes[] = "a\xff\x1b\"";
	struct bytes value = {bytes, sizeof(bytes) - 1};
	json_t *o = written(value, value);

	(void)state;
	is_string(o, "topic", (struct bytes){"a\\xff\\x1b\"", 10});
	is_string(o, "topic_base64", (struct bytes){"Yf8bIg==", 8});
	is_string(o, "payload", (struct bytes){"Yf8bIg==", 8});
	assert_null(json_object_get(o, "payload_text"));
	json_decref(o);
}

/* Names of routes come from the disk. */
static void
a_route_may_have_any_name(void **state)
{
	struct journal_route_stat routes[] = {
	    {(char[]){"a\"b\n"}, 5}, {(char[]){"c"}, 6}};
	struct journal_stat stat = {
	    .next_seq = UINT64_MAX, .routes = routes, .route_count = 2};
	struct journal_identity identity = {.gateway_id = "g"};
	struct buffer line = {0};
	json_t *o, *acknowledged;

	(void)state;
	assert_int_equal(dump_json_stat(&line, &identity, &stat, 0), 0);
	o = json_loadb((const char *)line.data, line.size, 0, NULL);
	assert_non_null(o);
	acknowledged = json_object_get(o, "acknowledged");
	assert_int_equal(
	    json_integer_value(json_object_get(acknowledged, "a\"b\n")), 5);
	assert_int_equal(json_integer_value(json_object_get(acknowledged, "c")), 6);
	is_string(o, "next_seq", (struct bytes){"18446744073709551615", 20});
	json_decref(o);
	buffer_fini(&line);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_character_comes_back),
	    cmocka_unit_test(what_is_no_text_has_its_bytes),
	    cmocka_unit_test(a_route_may_have_any_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
