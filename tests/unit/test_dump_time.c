/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dump/dump_time.h"
#include "err.h"

#define NOW_MS 1795514400000 /* 2026-11-24T10:00:00Z */

static void
assert_is(const char *text, int64_t expected_ms)
{
	int64_t at_ms = 0;

	assert_int_equal(dump_time_parse(text, NOW_MS, &at_ms), 0);
	assert_int_equal(at_ms, expected_ms);
}

static void
rfc_3339_is_read(void **state)
{
	(void)state;
	assert_is("2026-11-24T10:00:00Z", NOW_MS);
	assert_is("2026-11-24t10:00:00z", NOW_MS);
	assert_is("2026-11-24 10:00:00Z", NOW_MS);
	assert_is("2026-11-24T10:00:00.5Z", NOW_MS + 500);
	assert_is("2026-11-24T10:00:00.123456789Z", NOW_MS + 123);
	assert_is("2026-11-24T12:30:00+02:30", NOW_MS);
	assert_is("2026-11-23T20:00:00-14:00", NOW_MS);
	assert_is("2026-11-24T10:00:00-00:00", NOW_MS);
	assert_is("1970-01-01T00:00:00Z", 0);
	assert_is("1969-12-31T23:59:59.750Z", -250);
	assert_is("2024-02-29T00:00:00Z", 1709164800000);
	assert_is("2016-12-31T23:59:60Z", 1483228800000);
}

static void
how_long_ago_is_read(void **state)
{
	(void)state;
	assert_is("-90s", NOW_MS - 90000);
	assert_is("-30m", NOW_MS - 1800000);
	assert_is("-2h", NOW_MS - 7200000);
	assert_is("-1d", NOW_MS - 86400000);
	assert_is("-0s", NOW_MS);
}

static void
anything_else_is_refused(void **state)
{
	static const char *const wrong[] = {"", "-", "-h", "-2", "-2w", "-2hh", "- 2h",
	    "--2h", "-99999999999999999999d", "-999999999999d", "2h", "now", "2026",
	    "2026-11-24", "2026-11-24T", "2026-11-24T10:00Z", "2026-11-24T10:00:00",
	    "2026-11-24T10:00:00.Z", "2026-11-24T10:00:00+02",
	    "2026-11-24T10:00:00+0200", "2026-11-24T10:00:00Zx", "2026-11-24T24:00:00Z",
	    "2026-11-24T10:60:00Z", "2026-11-24T10:00:61Z", "2026-13-01T00:00:00Z",
	    "2026-00-01T00:00:00Z", "2026-02-29T00:00:00Z", "2026-11-00T00:00:00Z",
	    "2026-11-31T00:00:00Z", "2026-11-31T23:59:60Z", "2026-11-24T10:00:00+24:00",
	    "20261124T100000Z"};

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		int64_t at_ms = 42;

		if (dump_time_parse(wrong[i], NOW_MS, &at_ms) != ERR_INVALID)
			fail_msg("\"%s\" was taken", wrong[i]);
		assert_int_equal(at_ms, 42);
	}
}

static void
assert_written(uint64_t at_ms, const char *expected)
{
	struct buffer b = {0};

	assert_int_equal(dump_time_append(&b, at_ms), 0);
	assert_int_equal(b.size, strlen(expected));
	assert_memory_equal(b.data, expected, b.size);
	buffer_fini(&b);
}

static void
times_are_written(void **state)
{
	(void)state;
	assert_written(0, "1970-01-01T00:00:00.000Z");
	assert_written(NOW_MS, "2026-11-24T10:00:00.000Z");
	assert_written(NOW_MS + 7, "2026-11-24T10:00:00.007Z");
	assert_written(NOW_MS + 999, "2026-11-24T10:00:00.999Z");
	assert_written(NOW_MS - 1, "2026-11-24T09:59:59.999Z");
	assert_written(253402300799999, "9999-12-31T23:59:59.999Z");
}

static void
time_that_no_calendar_has_is_a_number(void **state)
{
	(void)state;
	assert_written(253402300800000, "253402300800000");
	assert_written(UINT64_MAX, "18446744073709551615");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(rfc_3339_is_read),
	    cmocka_unit_test(how_long_ago_is_read),
	    cmocka_unit_test(anything_else_is_refused),
	    cmocka_unit_test(times_are_written),
	    cmocka_unit_test(time_that_no_calendar_has_is_a_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
