/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "topic_filter.h"

static struct bytes
topic_of(const char *text)
{
	return (struct bytes){text, strlen(text)};
}

static void
usual_filters_are_valid(void **state)
{
	static const char *const valid[] = {
	    "#",
	    "+",
	    "/",
	    "a",
	    "a/b",
	    "a/#",
	    "+/+/#",
	    "/#",
	    "a//b",
	    "a/+/b",
	    "$SYS/#",
	    "$share/g/a/#",
	    "$share/g/#",
	    "$share/g//",
	    "$shared",
	    "stra\xc3\x9f"
	    "e/\xe6\xb0\xb4",
	    " ",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(valid) / sizeof(valid[0]); i++) {
		const char *why = "untouched";

		if (!topic_filter_is_valid(valid[i], &why))
			fail_msg("%s: %s", valid[i], why);
		assert_string_equal(why, "untouched");
	}
}

static void
wrong_filters_say_why(void **state)
{
	static const struct {
		const char *filter, *why;
	} wrong[] = {
	    {"", "empty"},
	    {"#/a", "last level"},
	    {"a/#/", "last level"},
	    {"a#", "alone"},
	    {"a/b#", "alone"},
	    {"##", "alone"},
	    {"a+", "alone"},
	    {"a/+b/c", "alone"},
	    {"++", "alone"},
	    {"+#", "alone"},
	    {"a\tb", "control"},
	    {"a\x7f", "control"},
	    {"\xc2\x85", "control"},
	    {"\xef\xbf\xbf", "noncharacter"},
	    {"\xf0\x9f\xbf\xbe", "noncharacter"},
	    {"\xef\xb7\x90", "noncharacter"},
	    {"a\xff", "UTF-8"},
	    {"\xc0\xaf", "UTF-8"},
	    {"\xed\xa0\x80", "UTF-8"},
	    {"a\xe6\xb0", "UTF-8"},
	    {"$share/", "group"},
	    {"$share/g", "group"},
	    {"$share//a", "empty"},
	    {"$share/g/", "empty"},
	    {"$share/+/a", "wildcard"},
	    {"$share/g#/a", "wildcard"},
	    {"$share/g/a#", "alone"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		const char *why = "";

		if (topic_filter_is_valid(wrong[i].filter, &why))
			fail_msg("%s is taken", wrong[i].filter);
		if (strstr(why, wrong[i].why) == NULL)
			fail_msg("%s: %s", wrong[i].filter, why);
		assert_false(topic_filter_is_valid(wrong[i].filter, NULL));
	}
}

static void
lengths_have_their_limits(void **state)
{
	char *text = malloc(65537);
	const char *why = "";

	(void)state;
	assert_non_null(text);
	memset(text, 'a', 65536);
	text[65536] = '\0';
	assert_false(topic_filter_is_valid(text, &why));
	assert_non_null(strstr(why, "65,535"));
	text[65535] = '\0';
	assert_true(topic_filter_is_valid(text, NULL));
	memset(text, '/', 200);
	text[200] = '\0';
	assert_false(topic_filter_is_valid(text, &why));
	assert_non_null(strstr(why, "200 levels"));
	text[199] = '\0';
	assert_true(topic_filter_is_valid(text, NULL));
	free(text);
}

static void
matches_follow_the_standard(void **state)
{
	static const struct {
		const char *filter, *topic;
		bool want;
	} table[] = {
	    {"a", "a", true},
	    {"a", "b", false},
	    {"a", "ab", false},
	    {"ab", "a", false},
	    {"a", "a/b", false},
	    {"a/b", "a", false},
	    {"a", "A", false},
	    {"a/b", "a/b", true},
	    {"#", "a", true},
	    {"#", "/", true},
	    {"#", "a/b/c", true},
	    {"a/#", "a", true}, /* 4.7.1.2: the parent level too */
	    {"a/#", "a/", true},
	    {"a/#", "a/b/c", true},
	    {"a/#", "ab", false},
	    {"a/b/#", "a", false},
	    {"+", "a", true},
	    {"+", "/a", false},
	    {"+/+", "/a", true},
	    {"/+", "/a", true},
	    {"/+", "a", false},
	    {"a/+", "a", false}, /* + stands for exactly one level, maybe empty */
	    {"a/+", "a/", true},
	    {"a/+", "a/b", true},
	    {"a/+", "a/b/c", false},
	    {"+/b/#", "a/b", true},
	    {"+/b/#", "a/c/b", false},
	    {"a//b", "a//b", true},
	    {"a//b", "a/b", false},
	    {"a/+/b", "a//b", true},
	    {"#", "$SYS/x", false}, /* 4.7.2 */
	    {"+/x", "$SYS/x", false},
	    {"$SYS/#", "$SYS/x", true},
	    {"$SYS/+", "$SYS/x", true},
	    {"a/#", "a/$b", true},
	    {"$share/g/a/#", "a/b", true},
	    {"$share/g/a/#", "b", false},
	    {"$share/g/#", "$SYS/x", false},
	    {"$share/g/+", "a", true},
	    {"$share/g", "a", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (topic_filter_matches(table[i].filter, topic_of(table[i].topic)) !=
		    table[i].want)
			fail_msg("%s, %s", table[i].filter, table[i].topic);
	}
}

static void
any_topic_can_be_asked_about(void **state)
{
	static const char odd[] = {'a', '/', '\0', '\xff', '/', 'b'};

	(void)state;
	assert_true(topic_filter_matches("a/+/b", (struct bytes){odd, sizeof(odd)}));
	assert_true(topic_filter_matches("#", (struct bytes){odd, sizeof(odd)}));
	assert_false(topic_filter_matches("a/b", (struct bytes){odd, sizeof(odd)}));
	assert_false(topic_filter_matches("#", (struct bytes){odd, 0}));
	assert_false(topic_filter_matches("#", (struct bytes){NULL, 0}));
}

static void
covers_only_what_is_sure(void **state)
{
	static const struct {
		const char *wide, *narrow;
		bool want;
	} table[] = {
	    {"a", "a", true},
	    {"a", "b", false},
	    {"#", "a", true},
	    {"#", "#", true},
	    {"#", "a/#", true},
	    {"#", "+/+", true},
	    {"a/#", "#", false},
	    {"+", "#", false},
	    {"+/#", "#", true},
	    {"+/+/#", "#", false},
	    {"#", "+/#", true},
	    {"a/#", "a", true},
	    {"a/#", "a/b/#", true},
	    {"a/#", "a/+/c", true},
	    {"a/+/#", "a/#", false}, /* not a itself */
	    {"a/+/#", "a/b/#", true},
	    {"a/+", "a/b", true},
	    {"a/b", "a/+", false},
	    {"a/+", "a/#", false},
	    {"a/+", "a", false},
	    {"a/+", "a/b/c", false},
	    {"+/b", "a/+", false},
	    {"+/+", "a/b", true},
	    {"a/#", "b/#", false},
	    {"#", "$SYS/#", false},
	    {"+/x", "$SYS/x", false},
	    {"$SYS/#", "$SYS/x", true},
	    {"$SYS/#", "#", false},
	    {"#", "$share/g/a", false},
	    {"$share/g/#", "a", false},
	    {"$share/g/#", "$share/g/#", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (topic_filter_covers(table[i].wide, table[i].narrow) !=
		    table[i].want)
			fail_msg("%s, %s", table[i].wide, table[i].narrow);
	}
}

/* Over all short filters and topics: covers() must follow from matches(). */
static void
covers_agrees_with_matches(void **state)
{
	static const char *const words[] = {"a", "b", "+", "#", ""};
	char filters[1 + 5 + 25 + 125][8];
	size_t count = 0;

	(void)state;
	for (size_t i = 0; i < 155; i++) {
		size_t n = i < 5 ? i : i < 30 ? i - 5 : i - 30;
		size_t depth = i < 5 ? 1 : i < 30 ? 2 : 3;
		char *f = filters[count];

		f[0] = '\0';
		for (size_t level = 0; level < depth; level++, n /= 5) {
			strcat(f, level > 0 ? "/" : "");
			strcat(f, words[n % 5]);
		}
		if (topic_filter_is_valid(f, NULL))
			count++;
	}
	for (size_t w = 0; w < count; w++) {
		for (size_t n = 0; n < count; n++) {
			if (!topic_filter_covers(filters[w], filters[n]))
				continue;
			for (size_t t = 0; t < count; t++) {
				struct bytes topic = topic_of(filters[t]);

				if (strpbrk(filters[t], "+#") != NULL)
					continue;
				if (topic_filter_matches(filters[n], topic) &&
				    !topic_filter_matches(filters[w], topic))
					fail_msg("%s covers %s, but %s", filters[w],
					    filters[n], filters[t]);
			}
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(usual_filters_are_valid),
	    cmocka_unit_test(wrong_filters_say_why),
	    cmocka_unit_test(lengths_have_their_limits),
	    cmocka_unit_test(matches_follow_the_standard),
	    cmocka_unit_test(any_topic_can_be_asked_about),
	    cmocka_unit_test(covers_only_what_is_sure),
	    cmocka_unit_test(covers_agrees_with_matches),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
