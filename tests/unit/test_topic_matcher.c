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
#include "topic_filter.h"
#include "topic_matcher.h"

static struct bytes
topic_of(const char *text)
{
	return (struct bytes){text, strlen(text)};
}

/* Does the matcher say what the filters say, each by itself? Owner: its number. */
static void
check_topic(struct topic_matcher *m, const char *const filters[], size_t filter_count,
    const char *topic)
{
	const uint32_t *owners;
	size_t count, at = 0;

	topic_matcher_match(m, topic_of(topic), &owners, &count);
	for (size_t i = 0; i < filter_count; i++) {
		bool wanted = topic_filter_matches(filters[i], topic_of(topic));
		bool is_there = at < count && owners[at] == i;

		if (wanted != is_there)
			fail_msg("filter \"%s\", topic \"%.80s\": wanted %d, got %d",
			    filters[i], topic, wanted, is_there);
		at += is_there;
	}
	assert_int_equal(at, count);
}

static void
each_filter_says_the_same_as_by_itself(void **state)
{
	static const char *const filters[] = {"#", "+", "/", "a", "a/b", "a/#", "a/b/#",
	    "a/+", "+/b", "+/+", "+/#", "a//b", "a/+/b", "/#", "/+", "+/", "//", "a/",
	    "$SYS/#", "$SYS/+/x", "+/broker/x", "$share/g/a/#", "$share/g/#",
	    "$share/g/+/b", "$share/g//", "$share/g/$SYS/#", "$shared", "$share", "$#x",
	    "+/+/+", "A", "ab", "a/bc",
	    "stra\xc3\x9f"
	    "e/\xe6\xb0\xb4",
	    "a", "a/#", "$share/other/a/#"};
	static const char *const topics[] = {"a", "a/b", "a/b/c", "a/b/c/d", "/", "//",
	    "a/", "/a", "a//b", "a/x/b", "b", "A", "ab", "a/bc", "$SYS", "$SYS/broker",
	    "$SYS/broker/x", "$share", "$share/g/a", "$shared", "x/b", "x/broker/x",
	    "+", "#", "a/+", "a/#", "$", " ", "",
	    "stra\xc3\x9f"
	    "e/\xe6\xb0\xb4"};
	size_t count = sizeof(filters) / sizeof(filters[0]);
	struct topic_matcher *m;

	(void)state;
	assert_int_equal(topic_matcher_open(&m), 0);
	/* Also while it grows. */
	for (size_t i = 0; i < count; i++) {
		if (topic_filter_is_valid(filters[i], NULL))
			assert_int_equal(
			    topic_matcher_add(m, filters[i], (uint32_t)i), 0);
		for (size_t k = 0; k < sizeof(topics) / sizeof(topics[0]); k++) {
			if (i + 1 == count || k == i % 7)
				check_topic(m, filters, i + 1, topics[k]);
		}
	}
	topic_matcher_close(m);
}

/* Names that have the same hash (32 bits, FNV-1a). */
static void
names_that_collide(void **state)
{
	static const char *const filters[] = {
	    "costarring/#", "declinate", "zinke/+", "liquid/x"};
	static const char *const topics[] = {"liquid/x", "costarring/x", "macallums",
	    "declinate", "altarage/1", "zinke/1", "liquid", "costarring"};
	struct topic_matcher *m;

	(void)state;
	assert_int_equal(topic_matcher_open(&m), 0);
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(topic_matcher_add(m, filters[i], i), 0);
	for (size_t i = 0; i < sizeof(topics) / sizeof(topics[0]); i++)
		check_topic(m, filters, 4, topics[i]);
	topic_matcher_close(m);
}

static void
an_empty_matcher_matches_nothing(void **state)
{
	struct topic_matcher *m;
	const uint32_t *owners;
	size_t count = 1;

	(void)state;
	topic_matcher_close(NULL);
	assert_int_equal(topic_matcher_open(&m), 0);
	topic_matcher_match(m, topic_of("a"), &owners, &count);
	assert_int_equal(count, 0);
	count = 1;
	topic_matcher_match(m, (struct bytes){NULL, 0}, &owners, &count);
	assert_int_equal(count, 0);
	topic_matcher_close(m);
}

static void
an_owner_of_several_filters_comes_once_and_in_order(void **state)
{
	static const struct {
		const char *filter;
		uint32_t owner;
	} added[] = {{"a/#", 900}, {"a/b", 900}, {"#", 3}, {"+/b", 70}, {"a/b", 0},
	    {"a/b", 64}, {"a/b", 63}, {"a/b", 0}, {"c", 1}};
	static const uint32_t wanted[] = {0, 3, 63, 64, 70, 900};
	struct topic_matcher *m;
	const uint32_t *owners;
	size_t count;

	(void)state;
	assert_int_equal(topic_matcher_open(&m), 0);
	for (size_t i = 0; i < sizeof(added) / sizeof(added[0]); i++)
		assert_int_equal(
		    topic_matcher_add(m, added[i].filter, added[i].owner), 0);
	for (int i = 0; i < 2; i++) {
		topic_matcher_match(m, topic_of("a/b"), &owners, &count);
		assert_int_equal(count, sizeof(wanted) / sizeof(wanted[0]));
		assert_memory_equal(owners, wanted, sizeof(wanted));
		topic_matcher_match(m, topic_of("x"), &owners, &count);
		assert_int_equal(count, 1);
		assert_int_equal(owners[0], 3);
	}
	topic_matcher_close(m);
}

/* Few words, so that much meets. */
static void
make_random(uint64_t *seed, bool is_filter, char *out)
{
	static const char *const words[] = {"a", "b", "", "c", "$x", "+", "+", "#"};
	size_t levels = records_random_number(seed) % 6 + 1;
	char *start = out;

	if (is_filter && records_random_number(seed) % 8 == 0)
		out = stpcpy(out, "$share/g/");
	for (size_t i = 0; i < levels; i++) {
		size_t kinds = !is_filter ? 5 : i + 1 < levels ? 7 : 8;

		if (i > 0)
			*out++ = '/';
		out = stpcpy(out, words[records_random_number(seed) % kinds]);
	}
	*out = '\0';
	if (start[0] == '\0' || (is_filter && !topic_filter_is_valid(start, NULL)))
		strcpy(start, "a");
}

static void
random_filters_and_topics(void **state)
{
	uint64_t seed = records_seed();

	(void)state;
	for (int round = 0; round < 300; round++) {
		char texts[60][32];
		const char *filters[60];
		size_t count = records_random_number(&seed) % 60 + 1;
		struct topic_matcher *m;

		assert_int_equal(topic_matcher_open(&m), 0);
		for (size_t i = 0; i < count; i++) {
			make_random(&seed, true, texts[i]);
			filters[i] = texts[i];
			assert_int_equal(
			    topic_matcher_add(m, filters[i], (uint32_t)i), 0);
		}
		for (int i = 0; i < 100; i++) {
			char topic[32];

			make_random(&seed, false, topic);
			check_topic(m, filters, count, topic);
		}
		topic_matcher_close(m);
	}
}

static void
a_thousand_siblings(void **state)
{
	struct topic_matcher *m;
	const uint32_t *owners;
	size_t count;
	char text[64];

	(void)state;
	assert_int_equal(topic_matcher_open(&m), 0);
	for (uint32_t i = 0; i < 10000; i++) {
		snprintf(text, sizeof(text), "plant/dev-%u/+", i);
		assert_int_equal(topic_matcher_add(m, text, i), 0);
	}
	for (uint32_t i = 0; i < 10000; i++) {
		snprintf(text, sizeof(text), "plant/dev-%u/t", i);
		topic_matcher_match(m, topic_of(text), &owners, &count);
		assert_int_equal(count, 1);
		assert_int_equal(owners[0], i);
	}
	topic_matcher_match(m, topic_of("plant/dev-10000/t"), &owners, &count);
	assert_int_equal(count, 0);
	topic_matcher_close(m);
}

/* size bytes: unit again and again, what is over cut off. */
static char *
repeat(const char *unit, size_t size)
{
	char *text = malloc(size + 1);

	assert_non_null(text);
	for (size_t i = 0; i < size; i++)
		text[i] = unit[i % strlen(unit)];
	text[size] = '\0';
	return text;
}

/* 32,768 levels, and filters that go two ways at each: neither time nor stack. */
static void
the_longest_topics_and_filters(void **state)
{
	char *slashes = repeat("/", 65535);
	char *letters = repeat("a/", 65535);
	char *wild = repeat("+/", 65535);
	char *half = repeat("a/+/", 65535);
	char *one = repeat("x", 65535);
	const char *filters[] = {wild, letters, slashes, half, one, "#", "a/#", "+/#"};
	struct topic_matcher *m;

	(void)state;
	assert_int_equal(topic_matcher_open(&m), 0);
	for (uint32_t i = 0; i < 8; i++)
		assert_int_equal(topic_matcher_add(m, filters[i], i), 0);
	for (size_t i = 0; i < 5; i++)
		check_topic(m, filters, 8, filters[i]);
	topic_matcher_close(m);
	free(slashes);
	free(letters);
	free(wild);
	free(half);
	free(one);
}

/*
 * All combinations of a and + in 12 levels: 4,096 filters, and each one matches. A
 * search that comes back would do the same parts again and again.
 */
static void
every_way_down_is_gone_once(void **state)
{
	struct topic_matcher *m;
	const uint32_t *owners;
	size_t count;

	(void)state;
	assert_int_equal(topic_matcher_open(&m), 0);
	for (uint32_t n = 0; n < 4096; n++) {
		char filter[32];

		for (int i = 0; i < 12; i++) {
			filter[2 * i] = n >> i & 1 ? 'a' : '+';
			filter[2 * i + 1] = i < 11 ? '/' : '\0';
		}
		assert_int_equal(topic_matcher_add(m, filter, n), 0);
	}
	for (int i = 0; i < 20; i++) {
		topic_matcher_match(
		    m, topic_of("a/a/a/a/a/a/a/a/a/a/a/a"), &owners, &count);
		assert_int_equal(count, 4096);
		assert_int_equal(owners[4095], 4095);
		topic_matcher_match(
		    m, topic_of("a/a/a/a/a/a/a/a/a/a/a/b"), &owners, &count);
		assert_int_equal(count, 2048);
	}
	topic_matcher_close(m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_filter_says_the_same_as_by_itself),
	    cmocka_unit_test(names_that_collide),
	    cmocka_unit_test(an_empty_matcher_matches_nothing),
	    cmocka_unit_test(an_owner_of_several_filters_comes_once_and_in_order),
	    cmocka_unit_test(random_filters_and_topics),
	    cmocka_unit_test(a_thousand_siblings),
	    cmocka_unit_test(the_longest_topics_and_filters),
	    cmocka_unit_test(every_way_down_is_gone_once),
	};

	return cmocka_run_group_tests_name("topic_matcher", tests, NULL, NULL);
}
