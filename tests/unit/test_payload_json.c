/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/records.h"
#include "err.h"
#include "payload_json.h"

static int
setup(void **state)
{
	struct payload_json *p;
	int err = payload_json_open(&p);

	*state = p;
	return err;
}

static int
teardown(void **state)
{
	payload_json_close(*state);
	payload_json_close(NULL);
	return 0;
}

static bool
is_valid(struct payload_json *p, struct bytes payload)
{
	payload_json_begin(p, payload);
	return payload_json_is_valid(p);
}

/* wanted NULL: nothing is found. */
static void
assert_finds(struct payload_json *p, const char *pointer, const char *wanted)
{
	struct buffer out = {0};
	bool found = wanted == NULL;

	assert_int_equal(buffer_append_str(&out, "<"), 0);
	assert_int_equal(payload_json_find(p, pointer, &out, &found), 0);
	assert_int_equal(buffer_append(&out, "", 1), 0);
	if (found != (wanted != NULL) ||
	    strcmp((char *)out.data + 1, found ? wanted : "") != 0)
		fail_msg("\"%s\" finds %s", pointer,
		    found ? (char *)out.data + 1 : "nothing");
	buffer_fini(&out);
}

static void
json_is_valid(void **state)
{
	static const struct bytes table[] = {
	    FIXED("{}"),
	    FIXED("[]"),
	    FIXED("0"),
	    FIXED("-0"),
	    FIXED("1"),
	    FIXED("true"),
	    FIXED("null"),
	    FIXED("\"\""),
	    FIXED(" \t\r\n1 \t\r\n"),
	    FIXED("12345678901234567890123"),
	    FIXED("-9223372036854775809"),
	    FIXED("1e-999"),
	    FIXED("1.5E+3"),
	    FIXED("\"\\u0000\""),
	    FIXED("\"\\ud83c\\udf21\""),
	    FIXED("\"\xf0\x9f\x8c\xa1\x7f\""),
	    FIXED("{\"a\":1,\"a\":2}"),
	    FIXED("{\"\":[{\"\":[]}]}"),
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (!is_valid(*state, table[i]))
			fail_msg("%s is refused", (const char *)table[i].data);
	}
}

static void
all_else_is_not(void **state)
{
	static const struct bytes table[] = {
	    FIXED(""),
	    FIXED(" "),
	    FIXED("tru"),
	    FIXED("True"),
	    FIXED("nan"),
	    FIXED("'a'"),
	    FIXED("01"),
	    FIXED("+1"),
	    FIXED("1."),
	    FIXED(".5"),
	    FIXED("1e"),
	    FIXED("- 1"),
	    FIXED("0x10"),
	    FIXED("\"a"),
	    FIXED("\"\\x\""),
	    FIXED("\"\n\""),
	    FIXED("\"\0\""),
	    FIXED("1\0"),
	    FIXED("[1\0]"),
	    FIXED("true\0"),
	    FIXED("\0"),
	    FIXED("1 2"),
	    FIXED("[1,]"),
	    FIXED("[1"),
	    FIXED("]"),
	    FIXED("{\"a\":1,}"),
	    FIXED("{a:1}"),
	    FIXED("{1:1}"),
	    FIXED("[1]//"),
	    FIXED("[\v1]"),
	    FIXED("\xef\xbb\xbf{}"),
	    FIXED("\"\xff\""),
	    FIXED("\"\xc0\x80\""),
	    FIXED("\"\xed\xa0\x80\""),
	    /* These may be JSON for others. */
	    FIXED("\"\\ud800\""),
	    FIXED("{\"\\u0000\":1}"),
	    FIXED("1e999"),
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (is_valid(*state, table[i]))
			fail_msg("%zu: %s is taken", i, (const char *)table[i].data);
		assert_finds(*state, "", NULL);
	}
}

static void
pointers_are_told_from_other_text(void **state)
{
	(void)state;
	assert_true(payload_json_is_pointer(""));
	assert_true(payload_json_is_pointer("/"));
	assert_true(payload_json_is_pointer("//a/0/~0~1/"));
	assert_false(payload_json_is_pointer("a"));
	assert_false(payload_json_is_pointer("#/a"));
	assert_false(payload_json_is_pointer("/~"));
	assert_false(payload_json_is_pointer("/~2"));
	assert_false(payload_json_is_pointer("/a~~0"));
}

/* RFC 6901, section 5. */
static void
pointers_of_the_standard_find_what_it_says(void **state)
{
	static const char *const table[][2] = {
	    {"/foo", "[\"bar\",\"baz\"]"},
	    {"/foo/0", "bar"},
	    {"/", "0"},
	    {"/a~1b", "1"},
	    {"/c%d", "2"},
	    {"/e^f", "3"},
	    {"/g|h", "4"},
	    {"/i\\j", "5"},
	    {"/k\"l", "6"},
	    {"/ ", "7"},
	    {"/m~0n", "8"},
	};

	payload_json_begin(*state,
	    BYTES("{ \"foo\": [\"bar\", \"baz\"], \"\": 0, \"a/b\": 1, \"c%d\": 2, "
		  "\"e^f\": 3, \"g|h\": 4, \"i\\\\j\": 5, \"k\\\"l\": 6, \" \": 7, "
		  "\"m~n\": 8 }"));
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		assert_finds(*state, table[i][0], table[i][1]);
}

static void
what_is_not_there_is_not_found(void **state)
{
	static const char *const pointers[] = {"/b", "/a/-", "/a/2", "/a/00", "/a/01",
	    "/a/x", "/a/", "/a/+0", "/a/0/b", "/a/18446744073709551616", "/s/0", "/s/",
	    "/n", "/n/x", "/e/0", "/o/x", "/A", "/a/0/", "/a~0"};

	payload_json_begin(*state,
	    BYTES("{\"a\":[1,null],\"s\":\"x\",\"n\":null,\"e\":[ ],\"o\":{ }}"));
	for (size_t i = 0; i < sizeof(pointers) / sizeof(pointers[0]); i++)
		assert_finds(*state, pointers[i], NULL);
	assert_finds(*state, "/a/1", NULL);
	assert_finds(*state, "/a/0", "1");
	payload_json_begin(*state, BYTES("null"));
	assert_finds(*state, "", NULL);
	payload_json_begin(*state, BYTES("7"));
	assert_finds(*state, "/0", NULL);
}

/* No number becomes another on its way. */
static void
values_come_out_as_they_were_written(void **state)
{
	static const char *const table[][2] = {
	    {"12345678901234567890123", "12345678901234567890123"},
	    {"0.1", "0.1"},
	    {"1.10", "1.10"},
	    {"-0", "-0"},
	    {"1E+02", "1E+02"},
	    {"3.14159265358979323846264", "3.14159265358979323846264"},
	    {" true ", "true"},
	    {"\n7\n", "7"},
	    {"\" a b \"", " a b "},
	    {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83c\\udf21\"",
		"\"\\/\b\f\n\r\t\xc3\xa9\xf0\x9f\x8c\xa1"},
	    {" [ 1 , \" \\\" \" , { } , [ ] ] ", "[1,\" \\\" \",{},[]]"},
	    {"{ \"b\" : 1.0 ,\r\n\t\"a\" : null }", "{\"b\":1.0,\"a\":null}"},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		payload_json_begin(
		    *state, (struct bytes){table[i][0], strlen(table[i][0])});
		assert_finds(*state, "", table[i][1]);
	}
}

static void
brackets_and_quotes_in_strings_are_text(void **state)
{
	payload_json_begin(*state,
	    BYTES(
		"{\"a\":\"}]\\\\\",\"b]\":[\"[{\\\"\",{\"c\":\"}\"}],\"d\":\"\\\\\"}"));
	assert_finds(*state, "/a", "}]\\");
	assert_finds(*state, "/b]/1/c", "}");
	assert_finds(*state, "/b]/0", "[{\"");
	assert_finds(*state, "/d", "\\");
}

static void
the_last_of_the_same_name_counts(void **state)
{
	payload_json_begin(*state, BYTES("{\"a\":{\"b\":1},\"\\u0061\":{\"c\":2,\"c\":["
					 "3]},\"d\":4,\"d\":null}"));
	assert_finds(*state, "/a/b", NULL);
	assert_finds(*state, "/a/c", "[3]");
	assert_finds(*state, "/d", NULL);
}

static void
each_record_has_its_own(void **state)
{
	payload_json_begin(*state, BYTES("{\"a\":1}"));
	assert_finds(*state, "/a", "1");
	payload_json_begin(*state, BYTES("{\"a\":"));
	assert_finds(*state, "/a", NULL);
	payload_json_begin(*state, BYTES("{\"a\":2}"));
	assert_finds(*state, "/a", "2");
}

/* unit, count times, between open and close */
static struct bytes
repeat(struct buffer *b, const char *unit, size_t count)
{
	size_t size = strlen(unit);

	buffer_clear(b);
	assert_int_equal(buffer_reserve(b, size * count), 0);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(buffer_append(b, unit, size), 0);
	return (struct bytes){b->data, b->size};
}

static void
depth_takes_no_stack(void **state)
{
	struct buffer b = {0};
	struct bytes deep;

	/* Half of them open. */
	deep = repeat(&b, "[", 2000);
	assert_int_equal(buffer_append_str(&b, "1"), 0);
	for (int i = 0; i < 2000; i++)
		assert_int_equal(buffer_append_str(&b, "]"), 0);
	deep = (struct bytes){b.data, b.size};
	assert_true(is_valid(*state, deep));
	assert_finds(*state, "/0/0/1", NULL);
	assert_false(is_valid(*state, repeat(&b, "[", 1000000)));
	assert_false(is_valid(*state, repeat(&b, "{\"\":", 1000000)));
	buffer_fini(&b);
}

static void
the_number_of_values_is_limited_not_the_size(void **state)
{
	struct buffer b = {0};

	(void)repeat(&b, "[1,", 1);
	for (int i = 0; i < 249998; i++)
		assert_int_equal(buffer_append_str(&b, "1,"), 0);
	b.data[b.size - 1] = ']';
	assert_true(is_valid(*state, (struct bytes){b.data, b.size}));
	assert_finds(*state, "/249998", "1");
	b.data[b.size - 1] = ',';
	assert_int_equal(buffer_append_str(&b, "1,1]"), 0);
	assert_false(is_valid(*state, (struct bytes){b.data, b.size}));

	(void)repeat(&b, "[,{", 300000);
	b.data[0] = '"';
	assert_int_equal(buffer_append_str(&b, "\\\",[\""), 0);
	assert_true(is_valid(*state, (struct bytes){b.data, b.size}));
	buffer_fini(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(json_is_valid, setup, teardown),
	    cmocka_unit_test_setup_teardown(all_else_is_not, setup, teardown),
	    cmocka_unit_test(pointers_are_told_from_other_text),
	    cmocka_unit_test_setup_teardown(
		pointers_of_the_standard_find_what_it_says, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		what_is_not_there_is_not_found, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		values_come_out_as_they_were_written, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		brackets_and_quotes_in_strings_are_text, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		the_last_of_the_same_name_counts, setup, teardown),
	    cmocka_unit_test_setup_teardown(each_record_has_its_own, setup, teardown),
	    cmocka_unit_test_setup_teardown(depth_takes_no_stack, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		the_number_of_values_is_limited_not_the_size, setup, teardown),
	};

	return cmocka_run_group_tests_name("payload_json", tests, NULL, NULL);
}
