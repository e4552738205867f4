/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "check.h"

static void
assert_line(const char *name, const char *text, const char *line)
{
	struct buffer out = {0};

	assert_int_equal(
	    check_format(&out, false, CHECK_WARN, "kafka.topic", name, text), 0);
	assert_int_equal(out.size, strlen(line));
	assert_memory_equal(out.data, line, out.size);
	buffer_fini(&out);
}

static void
a_line_has_result_check_name_and_text(void **state)
{
	struct buffer out = {0};
	static const char lines[] = "ok    mqtt connect: here\n"
				    "warn  mqtt connect: here\n"
				    "fail  mqtt connect: here\n";

	(void)state;
	for (int i = CHECK_OK; i <= CHECK_FAIL; i++)
		assert_int_equal(check_format(&out, false, (enum check_result)i,
				     "mqtt.connect", NULL, "here"),
		    0);
	assert_int_equal(out.size, strlen(lines));
	assert_memory_equal(out.data, lines, out.size);
	buffer_fini(&out);
	assert_line("records", "is there", "warn  kafka topic records: is there\n");
}

static void
a_line_stays_one_line_and_does_nothing_to_a_terminal(void **state)
{
	(void)state;
	assert_line(
	    "a\nok", "b\x1b[31m\xff", "warn  kafka topic a\\nok: b\\x1b[31m\\xff\n");
	assert_line("", "", "warn  kafka topic : \n");
}

static void
assert_json(const char *name, const char *text, const char *want_text)
{
	struct buffer out = {0};
	json_t *object;

	assert_int_equal(
	    check_format(&out, true, CHECK_FAIL, "kafka.topic", name, text), 0);
	assert_int_equal(out.data[out.size - 1], '\n');
	assert_null(memchr(out.data, '\n', out.size - 1));
	object =
	    json_loadb((const char *)out.data, out.size, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(object);
	assert_string_equal(
	    json_string_value(json_object_get(object, "check")), "kafka.topic");
	assert_string_equal(
	    json_string_value(json_object_get(object, "result")), "fail");
	assert_string_equal(
	    json_string_value(json_object_get(object, "text")), want_text);
	if (name == NULL)
		assert_null(json_object_get(object, "name"));
	else
		assert_string_equal(
		    json_string_value(json_object_get(object, "name")), name);
	json_decref(object);
	buffer_fini(&out);
}

static void
a_json_line_is_one_object(void **state)
{
	(void)state;
	assert_json(NULL, "plain", "plain");
	assert_json("t/#", "\"quoted\" \\ Grüße\n\x01", "\"quoted\" \\ Grüße\n\x01");
	assert_json("x", "not UTF-8: \xff", "not UTF-8: \\xff");
}

static void
the_worse_result_counts(void **state)
{
	(void)state;
	assert_int_equal(check_worse(CHECK_OK, CHECK_WARN), CHECK_WARN);
	assert_int_equal(check_worse(CHECK_FAIL, CHECK_WARN), CHECK_FAIL);
	assert_int_equal(check_worse(CHECK_OK, CHECK_OK), CHECK_OK);
}

static void
durations_and_sizes_are_short(void **state)
{
	(void)state;
	assert_string_equal(check_duration(0).text, "0 ms");
	assert_string_equal(check_duration(999).text, "999 ms");
	assert_string_equal(check_duration(1000).text, "1 s");
	assert_string_equal(check_duration(179999).text, "179 s");
	assert_string_equal(check_duration(180000).text, "3 min");
	assert_string_equal(check_duration(3600000).text, "60 min");
	assert_string_equal(check_duration(86400000).text, "24 h");
	assert_string_equal(check_duration(604800000).text, "7 days");
	assert_string_equal(check_duration(INT64_MAX).text, "106751991167 days");
	assert_string_equal(check_size(0).text, "0 B");
	assert_string_equal(check_size(1023).text, "1023 B");
	assert_string_equal(check_size(1048588).text, "1.0 MiB");
	assert_string_equal(check_size((uint64_t)4 << 30).text, "4.0 GiB");
	assert_string_equal(check_size(UINT64_MAX).text, "16384.0 PiB");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_line_has_result_check_name_and_text),
	    cmocka_unit_test(a_line_stays_one_line_and_does_nothing_to_a_terminal),
	    cmocka_unit_test(a_json_line_is_one_object),
	    cmocka_unit_test(the_worse_result_counts),
	    cmocka_unit_test(durations_and_sizes_are_short),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
