/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/records.h"
#include "err.h"
#include "template.h"

static const struct user_property properties[] = {
    {FIXED("client-id"), FIXED("old")},
    {FIXED("client-id"), FIXED("dev-17")},
    {FIXED("empty"), FIXED("")},
    {FIXED("a:b c"), FIXED("odd name")},
    {FIXED("bytes"), FIXED("\0\xff")},
};

static const struct record record = {
    .topic = FIXED("plant/line-2//temp"),
    .payload = FIXED("{\"t\":21.50,\"id\":\"x\",\"on\":true,\"no\":null,\"e\":\"\"}"),
    .qos = 1,
    .user_properties = properties,
    .user_property_count = sizeof(properties) / sizeof(properties[0]),
};

static struct template *
open_good(const char *text)
{
	struct template *t;
	const char *why = NULL;
	int err = template_open(&t, text, &why);

	if (err != 0)
		fail_msg("%s %s", text, why);
	assert_null(why);
	return t;
}

static void
assert_renders_of(const struct record *r, const char *text, struct bytes wanted)
{
	struct template *t = open_good(text);
	struct payload_json *payload;
	struct template_values values = {.record = r,
	    .seq = 18446744073709551615ULL,
	    .gateway_id = "gw",
	    .route = "r 1"};
	struct bytes out;

	assert_int_equal(payload_json_open(&payload), 0);
	payload_json_begin(payload, r->payload);
	values.payload = payload;
	/* Twice: nothing of the first may be left in the second. */
	for (int i = 0; i < 2; i++) {
		assert_int_equal(template_render(t, &values, &out), 0);
		assert_non_null(out.data);
		if (out.size != wanted.size ||
		    memcmp(out.data, wanted.data, out.size) != 0)
			fail_msg("%s renders \"%.*s\", not \"%.*s\"", text,
			    (int)out.size, (const char *)out.data, (int)wanted.size,
			    (const char *)wanted.data);
	}
	payload_json_close(payload);
	template_close(t);
}

static void
assert_renders(const char *text, const char *wanted)
{
	assert_renders_of(&record, text, (struct bytes){wanted, strlen(wanted)});
}

static void
each_value_is_put_in(void **state)
{
	static const char *const table[][2] = {
	    {"${topic}", "plant/line-2//temp"},
	    {"${gateway_id}", "gw"},
	    {"${route}", "r 1"},
	    {"${qos}", "1"},
	    {"${retain}", "false"},
	    {"${seq}", "18446744073709551615"},
	    {"${user:client-id}", "dev-17"},
	    {"${user:a:b c}", "odd name"},
	    {"${content_type}", ""},
	    {"${payload:/t}", "21.50"},
	    {"${payload:/id}", "x"},
	    {"${payload:/on}", "true"},
	    {"${payload:}",
		"{\"t\":21.50,\"id\":\"x\",\"on\":true,\"no\":null,\"e\":\"\"}"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		assert_renders(table[i][0], table[i][1]);
}

static void
text_stands_for_itself(void **state)
{
	static const char *const table[][2] = {
	    {"", ""},
	    {"plain text", "plain text"},
	    {"{topic} } | : ${topic:1} {}", "{topic} } | : plant {}"},
	    {"$$", "$"},
	    {"$$$$", "$$"},
	    {"a$$b$$c", "a$b$c"},
	    {"$${topic}", "${topic}"},
	    {"$$${topic:1}$$", "$plant$"},
	    {"Gr\xc3\xbc\xc3\x9f"
	     "e",
		"Gr\xc3\xbc\xc3\x9f"
		"e"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		assert_renders(table[i][0], table[i][1]);
}

static void
values_stand_between_text(void **state)
{
	static const char *const table[][2] = {
	    {"a${qos}b", "a1b"},
	    {"${qos}${qos}", "11"},
	    {"${topic:1}.${topic:4}", "plant.temp"},
	    {"$$${seq}/${user:no|$$}/${user:client-id}$$x",
		"$18446744073709551615/$$/dev-17$x"},
	    {"<${payload:/id}><${payload:/no}><${payload:/id}>", "<x><><x>"},
	    {"${user:none}${content_type}", ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		assert_renders(table[i][0], table[i][1]);
}

static void
a_topic_has_levels(void **state)
{
	static const struct {
		const char *topic, *text, *wanted;
	} table[] = {
	    {"a/b", "${topic:1|-}", "a"},
	    {"a/b", "${topic:2|-}", "b"},
	    {"a/b", "${topic:3|-}", "-"},
	    {"a/b", "${topic:65536|-}", "-"},
	    {"a//b", "${topic:2|-}", ""},
	    {"a//b", "${topic:3|-}", "b"},
	    {"/a", "${topic:1|-}", ""},
	    {"/a", "${topic:2|-}", "a"},
	    {"a/", "${topic:2|-}", ""},
	    {"a/", "${topic:3|-}", "-"},
	    {"/", "${topic:2|-}", ""},
	    {"a", "${topic:1|-}", "a"},
	    {"a/b/c", "${topic:1-|-}", "a/b/c"},
	    {"a/b/c", "${topic:2-|-}", "b/c"},
	    {"a/b/c", "${topic:3-|-}", "c"},
	    {"a/b/c", "${topic:4-|-}", "-"},
	    {"a/b/c", "${topic:4-}", ""},
	    {"a/", "${topic:2-|-}", ""},
	    {"a//", "${topic:2-|-}", "/"},
	    {"a/b", "${topic:02}", "b"},
	};
	struct record r = record;

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		r.topic = (struct bytes){table[i].topic, strlen(table[i].topic)};
		assert_renders_of(&r, table[i].text,
		    (struct bytes){table[i].wanted, strlen(table[i].wanted)});
	}
}

static void
what_is_missing_takes_the_fallback(void **state)
{
	static const char *const table[][2] = {
	    {"${user:none|else}", "else"},
	    {"${user:none|}", ""},
	    {"${user:none|a|b:c {$topic}", "a|b:c {$topic"},
	    {"${user:none|$$}", "$$"},
	    {"${user:empty|else}", ""},
	    {"${user:CLIENT-ID|else}", "else"},
	    {"${user:client-i|else}", "else"},
	    {"${content_type|none}", "none"},
	    {"${payload:/no|null}", "null"},
	    {"${payload:/x/y|none}", "none"},
	    {"${payload:/e|none}", ""},
	    {"${topic:9|none}", "none"},
	    {"${qos|x}${retain|x}${gateway_id|x}", "1falsegw"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		assert_renders(table[i][0], table[i][1]);
}

static void
values_may_be_any_bytes(void **state)
{
	struct record r = record;

	(void)state;
	assert_renders_of(&r, "${user:bytes}", BYTES("\0\xff"));
	assert_renders_of(&r, "<${user:bytes}>", BYTES("<\0\xff>"));
	r.topic = BYTES("a\0/\xff/c");
	assert_renders_of(&r, "${topic:1}", BYTES("a\0"));
	assert_renders_of(&r, "${topic:2-}", BYTES("\xff/c"));
	r.retain = true;
	r.content_type = BYTES("");
	assert_renders_of(&r, "${retain}${content_type|none}", BYTES("true"));
	r.payload = BYTES("\xff{");
	assert_renders_of(&r, "${payload:|no JSON}", BYTES("no JSON"));
	r.payload = BYTES("\"a\\u0000b\"");
	assert_renders_of(&r, "${payload:}", BYTES("a\0b"));
}

static void
mistakes_are_said_in_words(void **state)
{
	static const char unknown[] =
	    "has a \"${...}\" whose name is not known; known are topic, topic:N, "
	    "topic:N-, gateway_id, route, qos, retain, seq, user:NAME, content_type "
	    "and "
	    "payload:/POINTER";
	static const char open[] = "has a \"${\" without \"}\"";
	static const char single[] =
	    "has a single \"$\"; a value is written \"${topic}\", a dollar sign "
	    "\"$$\"";
	static const char within[] = "has a \"${\" within a \"${...}\": names and "
				     "fallbacks are text, no ${...} inside";
	static const char level[] =
	    "has a \"${topic:N}\" whose N is not a number from 1 to 65536";
	static const char range[] = "has a \"${topic:N-M}\"; levels go on to the end, "
				    "as in \"${topic:2-}\", or "
				    "there is one, as in \"${topic:2}\"";
	static const char user[] =
	    "does not name the user property, as in \"${user:NAME}\"";
	static const char pointer[] = "has a \"${payload:...}\" that is not a JSON "
				      "pointer, as in \"${payload:/a/0/b}\"";
	static const char behind[] =
	    "has a \":\" behind a name that takes none, as in \"${qos:1}\"";
	static const char *const table[][2] = {
	    {"${Topic}", unknown},
	    {"${}", unknown},
	    {"${ topic }", unknown},
	    {"${env:HOME}", unknown},
	    {"${|x}", unknown},
	    {"${topics}", unknown},
	    {"a${${topic}}", within},
	    {"${user:a|${topic}}", within},
	    {"${user:a|x$${topic}}", within},
	    {"${user:${topic}|a}", within},
	    {"${", open},
	    {"a${topic", open},
	    {"${topic}${qos|x", open},
	    {"$", single},
	    {"a$", single},
	    {"$topic", single},
	    {"$$$", single},
	    {"$ {topic}", single},
	    {"${topic:}", level},
	    {"${topic:0}", level},
	    {"${topic:0-}", level},
	    {"${topic:-}", level},
	    {"${topic:-2}", level},
	    {"${topic:x}", level},
	    {"${topic:2x}", level},
	    {"${topic: 2}", level},
	    {"${topic:+2}", level},
	    {"${topic:65537}", level},
	    {"${topic:18446744073709551617}", level},
	    {"${topic:2-3}", range},
	    {"${topic:2-x|y}", range},
	    {"${user}", user},
	    {"${user:}", user},
	    {"${user:|x}", user},
	    {"${payload}", pointer},
	    {"${payload:a}", pointer},
	    {"${payload:/a~2}", pointer},
	    {"${payload:/a~}", pointer},
	    {"${qos:1}", behind},
	    {"${seq:}", behind},
	    {"${content_type:x|y}", behind},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct template *t = NULL;
		const char *why = NULL;
		int err = template_open(&t, table[i][0], &why);

		if (err != ERR_INVALID || t != NULL || strcmp(why, table[i][1]) != 0)
			fail_msg("%s: %d, %s", table[i][0], err, why);
		assert_int_equal(template_open(&t, table[i][0], NULL), ERR_INVALID);
	}
}

static void
a_template_knows_what_it_depends_on(void **state)
{
	static const struct {
		const char *text;
		bool is_constant, reads_payload;
	} table[] = {
	    {"", true, false},
	    {"plain$$", true, false},
	    {"$${payload:/a}", true, false},
	    {"${route}", false, false},
	    {"a${payload:/a|b}", false, true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct template *t = open_good(table[i].text);

		assert_int_equal(template_is_constant(t), table[i].is_constant);
		assert_int_equal(template_reads_payload(t), table[i].reads_payload);
		template_close(t);
	}
}

/* Where the payload is not read there need be none. */
static void
a_value_alone_is_not_copied(void **state)
{
	static const struct template_values values = {.record = &record};
	struct template *t = open_good("${topic}");
	struct bytes out;

	(void)state;
	assert_int_equal(template_render(t, &values, &out), 0);
	assert_ptr_equal(out.data, record.topic.data);
	template_close(t);
	t = open_good("${user:client-id}");
	assert_int_equal(template_render(t, &values, &out), 0);
	assert_ptr_equal(out.data, properties[1].value.data);
	template_close(t);
}

static void
the_text_is_not_needed_any_more(void **state)
{
	char text[] = "a${user:client-id|x}$$b${topic:9|none}";
	struct template *t = open_good(text);
	struct template_values values = {.record = &record};
	struct bytes out;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	assert_int_equal(template_render(t, &values, &out), 0);
	assert_int_equal(out.size, 13);
	assert_memory_equal(out.data, "adev-17$bnone", 13);
	template_close(t);
	template_close(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_value_is_put_in),
	    cmocka_unit_test(text_stands_for_itself),
	    cmocka_unit_test(values_stand_between_text),
	    cmocka_unit_test(a_topic_has_levels),
	    cmocka_unit_test(what_is_missing_takes_the_fallback),
	    cmocka_unit_test(values_may_be_any_bytes),
	    cmocka_unit_test(mistakes_are_said_in_words),
	    cmocka_unit_test(a_template_knows_what_it_depends_on),
	    cmocka_unit_test(a_value_alone_is_not_copied),
	    cmocka_unit_test(the_text_is_not_needed_any_more),
	};

	return cmocka_run_group_tests_name("template", tests, NULL, NULL);
}
