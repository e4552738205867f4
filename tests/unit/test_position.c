/* SPDX-License-Identifier: Apache-2.0 */
#include "forward/position.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "err.h"

#define UUID     "01234567-89ab-4cde-8f01-23456789abcd"
#define INSTANCE "00000000deadbeef"
#define MARK     "\"next\":42,\"sum\":\"0000000000000001\",\"asked\":\"00000000000000ff\""
#define HEAD     "{\"format\":1,\"uuid\":\"" UUID "\",\"instance\":\"" INSTANCE "\","

static int
parse(struct position *out, const char *text)
{
	return position_parse(out, (struct bytes){text, strlen(text)});
}

static void
what_is_written_is_read_again(void **state)
{
	struct position_route one = {"one", {41, 1, 255}, {0, 0, 0}};
	struct position_route two = {
	    "two.2-x_", {INT64_MAX - 1, UINT64_MAX, 1}, {7, 8, 9}};
	struct position p = {0};
	struct buffer text = {0};

	(void)state;
	assert_int_equal(position_begin(&text, UUID, INSTANCE), 0);
	assert_int_equal(position_add(&text, &one), 0);
	assert_int_equal(position_add(&text, &two), 0);
	assert_int_equal(position_end(&text), 0);
	assert_int_equal(position_parse(&p, (struct bytes){text.data, text.size}), 0);
	assert_string_equal(p.uuid, UUID);
	assert_string_equal(p.instance, INSTANCE);
	assert_int_equal(p.route_count, 2);
	assert_string_equal(p.routes[0].name, "one");
	assert_memory_equal(&p.routes[0].last, &one.last, sizeof(one.last));
	assert_int_equal(p.routes[0].before.seq, 0);
	assert_string_equal(p.routes[1].name, "two.2-x_");
	assert_memory_equal(&p.routes[1].last, &two.last, sizeof(two.last));
	assert_memory_equal(&p.routes[1].before, &two.before, sizeof(two.before));
	position_fini(&p);
	buffer_fini(&text);
}

/* It is what people see in the topic, and what later versions have to read. */
static void
its_form_is_fixed(void **state)
{
	struct position_route one = {"one", {41, 1, 255}, {0, 0, 0}};
	struct buffer text = {0};

	(void)state;
	assert_int_equal(position_begin(&text, UUID, INSTANCE), 0);
	assert_int_equal(position_add(&text, &one), 0);
	assert_int_equal(position_end(&text), 0);
	assert_int_equal(buffer_append(&text, "", 1), 0);
	assert_string_equal((char *)text.data, HEAD "\"routes\":{\"one\":{" MARK "}}}");
	buffer_fini(&text);
}

static void
what_is_not_one_is_refused(void **state)
{
	static const char *const bad[] = {
	    "",
	    "null",
	    "[]",
	    "{}",
	    "{\"format\":1}",
	    HEAD "\"routes\":[]}",
	    HEAD "\"routes\":null}",
	    HEAD "\"routes\":{\"\":{" MARK "}}}",
	    HEAD "\"routes\":{\"a/b\":{" MARK "}}}",
	    HEAD "\"routes\":{\"a\":{" MARK "},\"a\":{" MARK "}}}",
	    HEAD "\"routes\":{\"a\":{" MARK ",\"before\":{}}}}",
	    HEAD "\"routes\":{\"a\":1}}",
	    HEAD "\"routes\":{\"a\":{\"next\":1,\"sum\":\"0000000000000001\","
		 "\"asked\":\"00000000000000ff\"}}}",
	    HEAD "\"routes\":{\"a\":{\"next\":-5,\"sum\":\"0000000000000001\","
		 "\"asked\":\"00000000000000ff\"}}}",
	    HEAD "\"routes\":{\"a\":{\"next\":2.5,\"sum\":\"0000000000000001\","
		 "\"asked\":\"00000000000000ff\"}}}",
	    HEAD "\"routes\":{\"a\":{\"next\":18446744073709551616,"
		 "\"sum\":\"0000000000000001\",\"asked\":\"00000000000000ff\"}}}",
	    HEAD "\"routes\":{\"a\":{\"next\":9,\"sum\":\"1\",\"asked\":\"2\"}}}",
	    HEAD "\"routes\":{\"a\":{\"next\":9,\"sum\":\"0000000000000001\","
		 "\"asked\":\"0000000000000000\"}}}",
	    HEAD "\"routes\":{\"a\":{\"next\":9,\"sum\":\"0000000000000000\","
		 "\"asked\":\"00000000000000ff\"}}}",
	    HEAD "\"routes\":{}} {}",
	    "{\"format\":0,\"uuid\":\"" UUID "\",\"instance\":\"" INSTANCE
	    "\",\"routes\":{}}",
	    "{\"format\":1,\"uuid\":\"" UUID "x\",\"instance\":\"" INSTANCE
	    "\",\"routes\":{}}",
	    "{\"format\":1,\"uuid\":\"" UUID "\",\"instance\":\"x\",\"routes\":{}}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct position p = {0};

		assert_int_equal(parse(&p, bad[i]), ERR_INVALID);
		assert_null(p.routes);
	}
}

static void
a_later_format_is_told(void **state)
{
	struct position p = {0};

	(void)state;
	assert_int_equal(parse(&p, "{\"format\":2}"), ERR_VERSION);
}

static void
every_route_may_be_long(void **state)
{
	struct position_route r = {.last = {1, 2, 3}};
	struct position p = {0};
	struct buffer text = {0};

	(void)state;
	assert_int_equal(position_begin(&text, UUID, INSTANCE), 0);
	for (int i = 0; i < 2000; i++) {
		snprintf(r.name, sizeof(r.name), "%064d", i);
		assert_int_equal(position_add(&text, &r), 0);
	}
	assert_int_equal(position_end(&text), 0);
	assert_int_equal(position_parse(&p, (struct bytes){text.data, text.size}), 0);
	assert_int_equal(p.route_count, 2000);
	for (int i = 0; i < 2000; i++) {
		snprintf(r.name, sizeof(r.name), "%064d", i);
		assert_string_equal(p.routes[i].name, r.name); /* in order */
	}
	position_fini(&p);
	buffer_fini(&text);
}

/* Positions outlive this version: the numbers must stay. */
static void
the_hash_stays_what_it_is(void **state)
{
	(void)state;
	assert_true(position_hash((struct bytes){"", 0}) != 0);
	assert_true(position_hash((struct bytes){"tbmq/#\n", 7}) == 0xe6ef3d91334338b3);
	assert_true(position_hash((struct bytes){"a somewhat longer text", 22}) ==
		    0xa91863319d883738);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_written_is_read_again),
	    cmocka_unit_test(its_form_is_fixed),
	    cmocka_unit_test(what_is_not_one_is_refused),
	    cmocka_unit_test(a_later_format_is_told),
	    cmocka_unit_test(every_route_may_be_long),
	    cmocka_unit_test(the_hash_stays_what_it_is),
	};

	return cmocka_run_group_tests_name("position", tests, NULL, NULL);
}
