/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "buffer.h"
#include "err.h"

static void
zeroed_is_empty_and_can_be_released(void **state)
{
	struct buffer b = {0};

	(void)state;
	buffer_clear(&b);
	buffer_fini(&b);
	assert_null(b.data);
	assert_int_equal(b.size, 0);
}

static void
nothing_can_be_appended(void **state)
{
	struct buffer b = {0};

	(void)state;
	assert_int_equal(buffer_append(&b, NULL, 0), 0);
	assert_int_equal(buffer_append_str(&b, ""), 0);
	assert_int_equal(b.size, 0);
	buffer_fini(&b);
}

static void
appended_bytes_stay_in_order(void **state)
{
	struct buffer b = {0};

	(void)state;
	for (unsigned i = 0; i < 100000; i++) {
		uint8_t byte = (uint8_t)(i * 7);

		assert_int_equal(buffer_append(&b, &byte, 1), 0);
	}
	assert_int_equal(b.size, 100000);
	for (unsigned i = 0; i < 100000; i++)
		assert_int_equal(b.data[i], (uint8_t)(i * 7));
	buffer_fini(&b);
}

static void
cleared_keeps_its_room(void **state)
{
	struct buffer b = {0};
	uint8_t *before;

	(void)state;
	assert_int_equal(buffer_reserve(&b, 1000), 0);
	assert_true(b.capacity >= 1000);
	assert_int_equal(b.size, 0);
	before = b.data;
	assert_int_equal(buffer_append_str(&b, "abc"), 0);
	buffer_clear(&b);
	assert_int_equal(buffer_reserve(&b, 1000), 0);
	assert_ptr_equal(b.data, before);
	buffer_fini(&b);
}

static void
impossible_room_changes_nothing(void **state)
{
	struct buffer b = {0};

	(void)state;
	assert_int_equal(buffer_append_str(&b, "abc"), 0);
	assert_int_equal(buffer_reserve(&b, SIZE_MAX), ERR_NOMEM);
	assert_int_equal(buffer_reserve(&b, SIZE_MAX - 2), ERR_NOMEM);
	assert_int_equal(b.size, 3);
	assert_memory_equal(b.data, "abc", 3);
	buffer_fini(&b);
}

static void
printed_text_of_every_length_is_whole(void **state)
{
	struct buffer b = {0};
	char text[301];

	(void)state;
	memset(text, 'x', sizeof(text));
	for (int length = 0; length <= 300; length++) {
		buffer_fini(&b);
		assert_int_equal(buffer_append_str(&b, "<"), 0);
		assert_int_equal(buffer_printf(&b, "%.*s|%d", length, text, length), 0);
		assert_memory_equal(b.data + 1, text, (size_t)length);
		assert_int_equal(b.data[1 + length], '|');
		assert_true(b.size > (size_t)length + 2);
	}
	buffer_fini(&b);
}

static void
numbers_are_appended_in_decimal(void **state)
{
	struct buffer b = {0};

	(void)state;
	assert_int_equal(buffer_append_number(&b, 0), 0);
	assert_int_equal(buffer_append(&b, " ", 1), 0);
	assert_int_equal(buffer_append_number(&b, UINT64_MAX), 0);
	assert_int_equal(buffer_append(&b, "", 1), 0);
	assert_string_equal((const char *)b.data, "0 18446744073709551615");
	buffer_fini(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(numbers_are_appended_in_decimal),
	    cmocka_unit_test(zeroed_is_empty_and_can_be_released),
	    cmocka_unit_test(nothing_can_be_appended),
	    cmocka_unit_test(appended_bytes_stay_in_order),
	    cmocka_unit_test(cleared_keeps_its_room),
	    cmocka_unit_test(impossible_room_changes_nothing),
	    cmocka_unit_test(printed_text_of_every_length_is_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
