/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sentences for mistakes: the cases are in tests/data/slips.txt, where they can be
 * read as a user would write them; here is who reads that file, and what cannot stand in
 * a file of text or depends on the machine.
 */
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/parsing.h"
#include "err.h"
#include "kafka_sink.h"
#include "settings.h"

enum place {
	PLACE_NONE,
	PLACE_FILE, /* a good file without it */
	PLACE_ROUTE,
	PLACE_WHOLE,
};

/* One case of the file, as it is gathered line by line. */
struct slip {
	enum place place;
	int line; /* in slips.txt */
	char title[128];
	char text[2048];
	char wanted[4096];
	bool is_for_kafka;
	bool is_judged; /* "ok" or a sentence was read */
};

struct slips {
	size_t count, kafka_count, ok_count, failed;
};

/* ---- one case ---- */

/* Is an option given at the start of a line? */
static bool
gives(const char *text, const char *key)
{
	size_t length = strlen(key);

	for (; text != NULL && *text != '\0'; text = strchr(text, '\n')) {
		text += strspn(text, "\n ");
		if (strncmp(text, key, length) == 0 && text[length] == ' ')
			return true;
	}
	return false;
}

static void
make_text(const struct slip *s, char *text, size_t size)
{
	switch (s->place) {
	case PLACE_ROUTE:
		(void)snprintf(text, size, "routes = ( { %s %s %s %s } );\n" ID,
		    s->text, gives(s->text, "name") ? "" : "name = \"r\";",
		    gives(s->text, "topic_filters") ? "" : "topic_filters = \"a\";",
		    gives(s->text, "topic") ? "" : "topic = \"t\";");
		break;
	case PLACE_FILE:
		(void)snprintf(text, size, "%s" ID ROUTES, s->text);
		break;
	case PLACE_WHOLE:
	case PLACE_NONE:
		(void)snprintf(text, size, "%s", s->text);
		break;
	}
}

/* What both judges say about a text. kafka: out, was it kafka_sink_check() that spoke? */
static void
judge(const char *text, struct buffer *said, bool *kafka)
{
	struct settings *s;
	int err = settings_parse(&s, "F", text, said);

	*kafka = false;
	if (err == 0) {
		err = kafka_sink_check(s, said);
		*kafka = err != 0;
	}
	assert_true(err == 0 || err == ERR_INVALID);
	assert_int_equal(err == 0, said->size == 0);
	settings_free(s);
	assert_int_equal(buffer_append(said, "", 1), 0);
}

static void
try_slip(struct slips *all, const struct slip *s)
{
	struct buffer said = {0};
	char text[4096];
	bool kafka;

	if (*s->title == '\0')
		return;
	make_text(s, text, sizeof(text));
	judge(text, &said, &kafka);
	all->count++;
	all->kafka_count += s->is_for_kafka;
	all->ok_count += *s->wanted == '\0';
	if (!s->is_judged || strcmp((const char *)said.data, s->wanted) != 0 ||
	    kafka != s->is_for_kafka) {
		print_error("slips.txt:%d: %s\n%s\nwanted:\n%sgot%s:\n%s\n", s->line,
		    s->title, text, s->wanted, kafka ? " (from kafka)" : "",
		    (const char *)said.data);
		all->failed++;
	}
	buffer_fini(&said);
}

/* ---- the file ---- */

static void
append(char *to, size_t size, const char *before, const char *text, const char *after)
{
	size_t used = strlen(to);

	(void)snprintf(to + used, size - used, "%s%s%s", before, text, after);
	assert_true(strlen(to) + 1 < size);
}

static enum place
place_of(const char *line)
{
	if (strcmp(line, "[in a good file]") == 0)
		return PLACE_FILE;
	if (strcmp(line, "[in a route]") == 0)
		return PLACE_ROUTE;
	assert_string_equal(line, "[as the whole file]");
	return PLACE_WHOLE;
}

static void
read_line(struct slips *all, struct slip *s, const char *line, int number)
{
	enum place place = s->place;

	if (*line == '\0' || *line == '#')
		return;
	if (*line == '\t') {
		append(s->text, sizeof(s->text), "", line + 1, "\n");
	} else if (strcmp(line, "ok") == 0) {
		s->is_judged = true;
	} else if (strncmp(line, "-> ", 3) == 0 || strncmp(line, "=> ", 3) == 0) {
		s->is_judged = true;
		s->is_for_kafka = *line == '=';
		append(s->wanted, sizeof(s->wanted), "F:", line + 3, "\n");
	} else {
		try_slip(all, s);
		*s = (struct slip){.place = place, .line = number};
		if (*line == '[')
			s->place = place_of(line);
		else
			append(s->title, sizeof(s->title), "", line, "");
	}
}

static void
every_slip_gets_its_plain_sentence(void **state)
{
	const char *top = getenv("TOP_SRCDIR");
	struct slips all = {0};
	struct slip slip = {0};
	char path[4096], line[2048];
	FILE *f;

	(void)state;
	(void)snprintf(
	    path, sizeof(path), "%s/tests/data/slips.txt", top == NULL ? "." : top);
	f = fopen(path, "r");
	assert_non_null(f);
	for (int number = 1; fgets(line, sizeof(line), f) != NULL; number++) {
		assert_non_null(strchr(line, '\n'));
		line[strcspn(line, "\n")] = '\0';
		read_line(&all, &slip, line, number);
	}
	try_slip(&all, &slip);
	assert_int_equal(fclose(f), 0);
	print_message("%zu slips, %zu of them judged by librdkafka, %zu are none\n",
	    all.count, all.kafka_count, all.ok_count);
	assert_int_equal(all.failed, 0);
	assert_true(all.count > 150);
	assert_true(all.kafka_count > 5);
	assert_true(all.ok_count > 10);
}

/* ---- the rest ---- */

static void
numbers_that_do_not_fit_are_not_cut(void **state)
{
	static const char *const numbers[] = {"4294969179", "0x10000075B", "0xFFFFFFFF",
	    "4294969179L", "99999999999999999999999", "-2147483649"};

	(void)state;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		char text[256], wanted[256];

		(void)snprintf(text, sizeof(text),
		    ID ROUTES "mqtt = { # 99999999999\n port =\n%s; };\n", numbers[i]);
		(void)snprintf(wanted, sizeof(wanted),
		    "F:5: %s is too large: a number has at most 32 bits "
		    "(2147483647); a size is a text with a unit, as in \"5 GiB\"\n",
		    numbers[i]);
		expect_mistakes(text, wanted);
	}
	settings_free(
	    parse_good(ID ROUTES "mqtt = { session_expiry_s = 2147483647; };"));
	settings_free(parse_good(ID ROUTES "mqtt = { port = 0x75B; };"));
}

static void
text_that_is_not_utf8_is_not_shown(void **state)
{
	(void)state;
	expect_mistakes(
	    ID ROUTES "mqtt = { host = \"\xff\"; };", "F:3: this line is not UTF-8\n");
}

static void
a_byte_order_mark_is_called_by_its_name(void **state)
{
	(void)state;
	expect_mistakes("\xef\xbb\xbf" ID ROUTES,
	    "F:1: the file begins with a byte order mark: save it as UTF-8 without one "
	    "(BOM)\n");
}

/* Where the scan has lost count of the names libconfig still notices. */
static void
repeated_names_are_noticed_however_many_there_are(void **state)
{
	char text[4096] = ID ROUTES;
	size_t used = strlen(text);

	(void)state;
	for (int i = 0; i < 200; i++)
		used +=
		    (size_t)snprintf(text + used, sizeof(text) - used, "a%d = 1;", i);
	(void)snprintf(text + used, sizeof(text) - used, "\na199 = 1;");
	expect_mistakes(text, "F:4: an option of this name is there already\n");
	(void)snprintf(text + used, sizeof(text) - used, "\na9 = 1;");
	expect_mistakes(text, "F:4: a9: is given twice: on line 3 already\n");
}

static void
a_topic_must_be_one_where_it_is_always_the_same(void **state)
{
	char text[512], topic[300];

	(void)state;
	memset(topic, 'a', sizeof(topic));
	topic[250] = '\0';
	(void)snprintf(text, sizeof(text),
	    ID "routes = { name = \"r\"; topic_filters = \"a\";\n"
	       "topic = \"%s\"; };",
	    topic);
	expect_mistakes(text,
	    "F:3: routes[0].topic: "
	    "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	    "a"
	    "aaaaaaaaaaaaaaaaa...\" is longer than 249 characters, the most that Kafka "
	    "allows\n");
}

static void
a_journal_must_fit_into_the_address_space(void **state)
{
	(void)state;
	if (sizeof(void *) == 4)
		skip();
	expect_mistakes(ID ROUTES "journal = { max_bytes = \"1023 KiB\"; };",
	    "F:3: journal.max_bytes: \"1023 KiB\" is out of range: from 1 MiB to 32 "
	    "TiB\n");
	expect_mistakes(ID ROUTES "journal = {\n max_bytes = \"32 TiB\"; };",
	    "F:4: journal.max_bytes: with dead_max_bytes it is more than this machine "
	    "can map\n");
	expect_mistakes(ID ROUTES "journal = {\n dead_max_bytes = \"32 TiB\"; };",
	    "F:4: journal.max_bytes: with dead_max_bytes it is more than this machine "
	    "can map\n");
}

static void
a_topic_that_is_always_too_long_is_refused(void **state)
{
	char constant[300], text[512], wanted[512];
	struct settings *s;
	char *mistakes;

	(void)state;
	memset(constant, 'a', sizeof(constant));
	for (int length = 249; length <= 250; length++) {
		(void)snprintf(text, sizeof(text),
		    ID "routes = { name = \"r\"; topic_filters = \"a\";\n"
		       "topic = \"${qos}%.*s\"; };",
		    length, constant);
		assert_int_equal(
		    parse(text, &s, &mistakes), length == 249 ? 0 : ERR_INVALID);
		settings_free(s);
		(void)snprintf(wanted, sizeof(wanted),
		    "F:3: routes[0].topic: \"${qos}%.84s...\" is longer than 249 "
		    "characters, the most that Kafka allows, even where its values are "
		    "empty\n",
		    constant);
		assert_string_equal(mistakes, length == 249 ? "" : wanted);
		free(mistakes);
	}
}

static void
routes_have_a_limit(void **state)
{
	struct buffer text = {0};

	(void)state;
	assert_int_equal(buffer_append_str(&text, ID "routes = (\n"), 0);
	for (int i = 0; i <= SETTINGS_ROUTES_MAX; i++)
		assert_int_equal(
		    buffer_printf(&text, "%s" ROUTE "\n", i > 0 ? ", " : ""), 0);
	assert_int_equal(buffer_append(&text, ");", sizeof(");")), 0);
	expect_mistakes((const char *)text.data,
	    "F:2: routes: has 4097 routes: 4096 are the most\n");
	buffer_fini(&text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_slip_gets_its_plain_sentence),
	    cmocka_unit_test(numbers_that_do_not_fit_are_not_cut),
	    cmocka_unit_test(text_that_is_not_utf8_is_not_shown),
	    cmocka_unit_test(a_byte_order_mark_is_called_by_its_name),
	    cmocka_unit_test(repeated_names_are_noticed_however_many_there_are),
	    cmocka_unit_test(a_topic_must_be_one_where_it_is_always_the_same),
	    cmocka_unit_test(a_journal_must_fit_into_the_address_space),
	    cmocka_unit_test(a_topic_that_is_always_too_long_is_refused),
	    cmocka_unit_test(routes_have_a_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
