/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "text.h"

static void
assert_shown(const char *raw, size_t size, const char *shown)
{
	struct buffer b = {0};

	assert_int_equal(text_append_safe(&b, raw, size), 0);
	assert_int_equal(b.size, strlen(shown));
	if (b.size > 0)
		assert_memory_equal(b.data, shown, b.size);
	buffer_fini(&b);
}

#define SHOWN(raw, shown) assert_shown(raw, sizeof(raw) - 1, shown)

static void
ordinary_text_is_shown_as_it_is(void **state)
{
	(void)state;
	SHOWN("", "");
	SHOWN("plain {\"a\": 1}", "plain {\"a\": 1}");
	SHOWN("Grüße, 温度 🌡", "Grüße, 温度 🌡");
}

static void
terminal_orders_are_escaped(void **state)
{
	(void)state;
	SHOWN("\x1b[31mred\x07\x7f", "\\x1b[31mred\\x07\\x7f");
	SHOWN("a\nb\rc\td\0e", "a\\nb\\rc\\td\\x00e");
	SHOWN("\xc2\x9b"
	      "31m",
	    "\\u009b31m");
	SHOWN("\x9b"
	      "31m",
	    "\\x9b31m");
}

static void
text_that_hides_or_turns_is_escaped(void **state)
{
	(void)state;
	SHOWN("a\xe2\x80\xae"
	      "b",
	    "a\\u202eb");
	SHOWN("\xe2\x81\xa6\xe2\x81\xa9", "\\u2066\\u2069");
	SHOWN("\xe2\x80\xa8", "\\u2028");
	SHOWN("\xe2\x80\x8b\xef\xbb\xbf", "\\u200b\\ufeff");
	SHOWN("\xf3\xa0\x81\x81", "\\U000e0041");
}

static void
what_is_escaped_cannot_be_forged(void **state)
{
	(void)state;
	SHOWN("\\x1b", "\\\\x1b");
}

static void
broken_utf8_is_shown_byte_by_byte(void **state)
{
	(void)state;
	SHOWN("\xff\xfe", "\\xff\\xfe");
	SHOWN("a\xc3", "a\\xc3");
	SHOWN("\xe2\x80", "\\xe2\\x80");
	SHOWN("\xc0\xaf", "\\xc0\\xaf");
	SHOWN("\xe0\x80\xaf", "\\xe0\\x80\\xaf");
	SHOWN("\xed\xa0\x80", "\\xed\\xa0\\x80");
	SHOWN("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80");
	SHOWN("\xc3(", "\\xc3(");
}

static void
utf8_is_told_from_the_rest(void **state)
{
	(void)state;
	assert_true(text_is_utf8("", 0));
	assert_true(text_is_utf8("a\0b", 3));
	assert_true(text_is_utf8("\xf4\x8f\xbf\xbf", 4));
	assert_false(text_is_utf8("\xf4\x90\x80\x80", 4));
	assert_false(text_is_utf8("\xed\xbf\xbf", 3));
	assert_false(text_is_utf8("abc\x80", 4));
}

/* Encode every code point and decode it again. */
static void
every_character_is_decoded(void **state)
{
	(void)state;
	for (uint32_t c = 0; c < 0x110000; c++) {
		uint8_t b[4] = {(uint8_t)c};
		size_t length = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
		bool surrogate = c >= 0xd800 && c < 0xe000;
		uint32_t back = 0;

		for (size_t i = length - 1; length > 1 && i > 0; i--)
			b[i] = (uint8_t)(0x80 | (c >> 6 * (length - 1 - i) & 0x3f));
		if (length > 1)
			b[0] = (uint8_t)(0xf00 >> length | c >> 6 * (length - 1));
		assert_int_equal(
		    text_utf8_next(b, length, &back), surrogate ? 0 : length);
		if (!surrogate)
			assert_int_equal(back, c);
		assert_int_equal(text_utf8_next(b, length - 1, &back), 0);
	}
}

/* The examples of RFC 4648, section 10. */
static void
base64_is_as_in_its_rfc(void **state)
{
	static const char *const encoded[] = {
	    "", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
	struct buffer b = {0};

	(void)state;
	for (size_t size = 0; size <= 6; size++) {
		buffer_clear(&b);
		assert_int_equal(text_append_base64(&b, "foobar", size), 0);
		assert_int_equal(b.size, strlen(encoded[size]));
		if (size > 0)
			assert_memory_equal(b.data, encoded[size], b.size);
	}
	buffer_clear(&b);
	assert_int_equal(text_append_base64(&b, "\xfb\xff\xfe", 3), 0);
	assert_memory_equal(b.data, "+//+", 4);
	buffer_fini(&b);
}

static void
counts_have_groups_of_three(void **state)
{
	static const struct {
		uint64_t count;
		const char *text;
	} cases[] = {{0, "0"}, {999, "999"}, {1000, "1,000"}, {123456, "123,456"},
	    {1234567, "1,234,567"}, {UINT64_MAX, "18,446,744,073,709,551,615"}};
	char text[TEXT_COUNT_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		text_count(text, cases[i].count);
		assert_string_equal(text, cases[i].text);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(ordinary_text_is_shown_as_it_is),
	    cmocka_unit_test(terminal_orders_are_escaped),
	    cmocka_unit_test(text_that_hides_or_turns_is_escaped),
	    cmocka_unit_test(what_is_escaped_cannot_be_forged),
	    cmocka_unit_test(broken_utf8_is_shown_byte_by_byte),
	    cmocka_unit_test(utf8_is_told_from_the_rest),
	    cmocka_unit_test(every_character_is_decoded),
	    cmocka_unit_test(base64_is_as_in_its_rfc),
	    cmocka_unit_test(counts_have_groups_of_three),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
