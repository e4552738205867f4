/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/monitor/page_html.h"

#define NOW_MS  INT64_C(90000000)
#define REAL_MS INT64_C(1795435452000) /* 2026-11-23T12:04:12Z */

struct fixture {
	struct buffer out;
	struct html html;
};

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return -1;
	f->html = (struct html){.out = &f->out, .now_ms = NOW_MS, .real_ms = REAL_MS};
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	buffer_fini(&f->out);
	free(f);
	return 0;
}

/* What has been written since the last time. */
static const char *
written(struct fixture *f)
{
	assert_int_equal(f->html.err, 0);
	assert_int_equal(buffer_append(&f->out, "", 1), 0);
	f->out.size = 0;
	return (const char *)f->out.data;
}

static void
has(const char *page, const char *text)
{
	if (strstr(page, text) == NULL)
		fail_msg("there is no: %s", text);
}

static void
text_never_is_markup(void **state)
{
	struct fixture *f = *state;

	html_text(&f->html, "<a href=\"x\">'&amp;'</a>");
	assert_string_equal(
	    written(f), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;amp;&#39;&lt;/a&gt;");
	html_text(&f->html, "");
	assert_string_equal(written(f), "");
}

static void
text_is_made_harmless_once(void **state)
{
	struct fixture *f = *state;

	html_text(&f->html, "a\nb\x01\xff\xe2\x80\xae \\x01 \\");
	assert_string_equal(written(f), "a\\nb\\x01\\xff\\u202e \\x01 \\");
	html_text(&f->html, "gr\xc3\xbc\xc3\x9f");
	assert_string_equal(written(f), "gr\xc3\xbc\xc3\x9f");
	html_text_bytes(&f->html, "a\0b", 3);
	assert_string_equal(written(f), "a\\x00b");
}

static void
counts_have_separators(void **state)
{
	struct fixture *f = *state;

	html_count(&f->html, 0);
	assert_string_equal(written(f), "0");
	html_count(&f->html, 999);
	assert_string_equal(written(f), "999");
	html_count(&f->html, 1000);
	assert_string_equal(written(f), "1,000");
	html_count(&f->html, UINT64_MAX);
	assert_string_equal(written(f), "18,446,744,073,709,551,615");
	html_counted(&f->html, 1, "record", NULL);
	assert_string_equal(written(f), "1 record");
	html_counted(&f->html, 2, "entry", "entries");
	assert_string_equal(written(f), "2 entries");
}

static void
sizes_have_units(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} cases[] = {
	    {0, "0 bytes"},
	    {1, "1 byte"},
	    {1023, "1,023 bytes"},
	    {1024, "1\xc2\xa0KiB"},
	    {1536, "1.5\xc2\xa0KiB"},
	    {10 * 1024 + 600, "11\xc2\xa0KiB"},
	    {1024 * 1024 - 1, "1\xc2\xa0MiB"},
	    {UINT64_C(4) << 30, "4\xc2\xa0GiB"},
	    {UINT64_MAX, "16\xc2\xa0"
			 "EiB"},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		html_size(&f->html, cases[i].bytes);
		assert_string_equal(written(f), cases[i].text);
	}
}

static void
rates_have_one_decimal(void **state)
{
	static const struct {
		double rate;
		const char *text;
	} cases[] = {
	    {0, "0"},
	    {0.001, "less than 0.1"},
	    {0.05, "0.1"},
	    {12.34, "12.3"},
	    {99.4, "99.4"},
	    {99.5, "100"},
	    {123456.7, "123,457"},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		html_rate(&f->html, cases[i].rate);
		assert_string_equal(written(f), cases[i].text);
	}
}

static void
ages_are_in_words(void **state)
{
	static const struct {
		int64_t seconds;
		const char *text;
	} cases[] = {
	    {-5, "0 s"},
	    {59, "59 s"},
	    {60, "1 min"},
	    {3599, "59 min"},
	    {12012, "3 h 20 min"},
	    {86399, "23 h 59 min"},
	    {86400, "1 day 0 h"},
	    {21 * 86400 + 7200, "21 days 2 h"},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		html_age(&f->html, cases[i].seconds * 1000);
		assert_string_equal(written(f), cases[i].text);
	}
}

static void
times_are_utc(void **state)
{
	struct fixture *f = *state;

	html_time(&f->html, REAL_MS);
	assert_string_equal(written(f),
	    "<time datetime=\"2026-11-23T12:04:12Z\" title=\"Monday, 23 November 2026, "
	    "12:04:12 UTC\">12:04:12 UTC</time>");
	html_time(&f->html, REAL_MS - 86400000);
	has(written(f), ">22 Nov 2026, 12:04 UTC</time>");
	html_since(&f->html, NOW_MS - 12012000);
	has(written(f), ">08:44:00 UTC</time>, for 3 h 20 min");
	html_since(&f->html, 0);
	assert_string_equal(written(f), "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(text_never_is_markup, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		text_is_made_harmless_once, setup, teardown),
	    cmocka_unit_test_setup_teardown(counts_have_separators, setup, teardown),
	    cmocka_unit_test_setup_teardown(sizes_have_units, setup, teardown),
	    cmocka_unit_test_setup_teardown(rates_have_one_decimal, setup, teardown),
	    cmocka_unit_test_setup_teardown(ages_are_in_words, setup, teardown),
	    cmocka_unit_test_setup_teardown(times_are_utc, setup, teardown),
	};

	return cmocka_run_group_tests_name("page_html", tests, NULL, NULL);
}
