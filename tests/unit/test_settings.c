/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/parsing.h"
#include "../lib/tmpdir.h"
#include "err.h"
#include "settings.h"
#include "settings/settings_parts.h"

static char *
print(const struct settings *s)
{
	struct buffer b = {0};

	assert_int_equal(settings_print(s, &b), 0);
	assert_int_equal(buffer_append(&b, "", 1), 0);
	return (char *)b.data;
}

/* ---- what is accepted ---- */

static void
defaults_are_those_of_the_interface(void **state)
{
	struct settings *s = parse_good(ID ROUTES);
	const struct settings_route *r = &s->routes[0];

	(void)state;
	assert_string_equal(s->name, "F");
	assert_string_equal(s->gateway_id, "g");
	assert_string_equal(s->mqtt.host, "localhost");
	assert_int_equal(s->mqtt.port, 1883);
	assert_int_equal(s->mqtt.protocol, 5);
	assert_string_equal(s->mqtt.client_id, "tidegate-g");
	assert_null(s->mqtt.username);
	assert_null(s->mqtt.password);
	assert_int_equal(s->mqtt.keepalive_s, 60);
	assert_int_equal(s->mqtt.session_expiry_s, UINT32_MAX);
	assert_int_equal(s->mqtt.qos, 1);
	assert_int_equal(s->mqtt.receive_maximum, 10000);
	assert_string_equal(s->journal.directory, LOCALSTATEDIR "/lib/tidegate");
	assert_int_equal(s->journal.max_bytes,
	    sizeof(void *) > 4 ? (uint64_t)4 << 30 : (uint64_t)1 << 30);
	assert_int_equal(s->journal.dead_max_bytes, 64 << 20);
	assert_false(s->journal.preallocate);
	assert_int_equal(s->journal.commit_max_messages, 5000);
	assert_int_equal(s->journal.commit_max_bytes, 4 << 20);
	assert_int_equal(s->journal.commit_interval_ms, 10);
	assert_int_equal(s->journal.compression, BATCH_CODEC_ZSTD);
	assert_string_equal(s->kafka.bootstrap_servers, "localhost:9092");
	assert_string_equal(s->kafka.client_id_prefix, "tidegate");
	assert_string_equal(s->kafka.acks, "all");
	assert_string_equal(s->kafka.compression, "zstd");
	assert_true(s->kafka.batch_size_bytes == -1);
	assert_true(s->kafka.linger_ms == -1);
	assert_int_equal(s->kafka.buffer_max_bytes, 8 << 20);
	assert_int_equal(s->kafka.shutdown_ms, 5000);
	assert_int_equal(s->kafka.property_count, 0);
	assert_int_equal(s->route_count, 1);
	assert_string_equal(r->name, "r");
	assert_int_equal(r->topic_filter_count, 1);
	assert_string_equal(r->topic_filters[0], "a/#");
	assert_string_equal(r->topic, "t");
	assert_string_equal(r->key, "${topic}");
	assert_int_equal(r->envelope, SETTINGS_ENVELOPE_TBMQ);
	assert_true(r->provenance);
	assert_true(r->user_properties);
	assert_false(r->mqtt_headers);
	assert_int_equal(r->timestamp, SETTINGS_TIMESTAMP_AUTO);
	assert_int_equal(r->timestamp_max_age_s, 86400);
	assert_int_equal(s->log.level, LOG_LEVEL_INFO);
	assert_int_equal(s->log.format, LOG_FORMAT_TEXT);
	settings_free(s);
}

/* Every option with another value than its default. */
static const char every_option[] =
    "gateway_id = \"site-17.b_c\";\n"
    "mqtt = { host = \"::1\"; port = 8883; protocol = 4; client_id = \"käse\";\n"
    "  username = \"u\"; password = \"p\\\"w\\\\\"; keepalive_s = 5;\n"
    "  session_expiry_s = 3600; qos = 0; receive_maximum = 65535; };\n"
    "journal = { directory = \"/x y\"; max_bytes = \"1 MiB\"; dead_max_bytes = "
    "\"64K\";\n"
    "  on_full = \"block\"; preallocate = true; commit_max_messages = 1;\n"
    "  commit_max_bytes = \"1gib\"; commit_interval_ms = 0; compression = \"none\"; "
    "};\n"
    "kafka = { bootstrap_servers = \"a:1, b_2,[::1]:65535,[fe80::1]\";\n"
    "  client_id_prefix = \"x\"; delivery = \"at_least_once\"; acks = 1;\n"
    "  compression = \"lz4\"; batch_size_bytes = \"65537 B\"; linger_ms = 0x1388;\n"
    "  buffer_max_bytes = \"3 MiB\"; retries = -1; shutdown_ms = 0;\n"
    "  properties = ( \"security.protocol = SASL_SSL\", "
    "\"sasl.password=a=\\\"b\\\"\",\n"
    "    \"ssl.key.password=file:/k\", \"debug=\" ); };\n"
    "routes = ( { name = \"one\"; topic_filters = [ \"#\", \"$share/g/a/+\" ];\n"
    "    topic = \"T.1_-\"; key = \"a$$${topic}b\"; envelope = \"none\";\n"
    "    send_only_payload = true; provenance = false; mqtt_headers = TRUE;\n"
    "    user_properties = False; timestamp = \"forwarded\"; timestamp_max_age_s = 1;\n"
    "    on_reject = \"hold\"; },\n"
    "  { name = \"two\"; topic_filters = \"x\"; topic = \"t\"; key = \"\";\n"
    "    send_only_payload = true; timestamp = \"received\"; } )\n"
    "log : { level = \"debug\", format = \"json\" };\n";

static void
every_option_is_taken(void **state)
{
	struct settings *s = parse_good(every_option);

	(void)state;
	assert_string_equal(s->gateway_id, "site-17.b_c");
	assert_string_equal(s->mqtt.host, "::1");
	assert_int_equal(s->mqtt.port, 8883);
	assert_int_equal(s->mqtt.protocol, 4);
	assert_string_equal(s->mqtt.client_id, "käse");
	assert_string_equal(s->mqtt.username, "u");
	assert_string_equal(s->mqtt.password, "p\"w\\");
	assert_int_equal(s->mqtt.keepalive_s, 5);
	assert_int_equal(s->mqtt.session_expiry_s, 3600);
	assert_int_equal(s->mqtt.qos, 0);
	assert_int_equal(s->mqtt.receive_maximum, 65535);
	assert_string_equal(s->journal.directory, "/x y");
	assert_int_equal(s->journal.max_bytes, 1 << 20);
	assert_int_equal(s->journal.dead_max_bytes, 65536);
	assert_true(s->journal.preallocate);
	assert_int_equal(s->journal.commit_max_messages, 1);
	assert_int_equal(s->journal.commit_max_bytes, 1 << 30);
	assert_int_equal(s->journal.commit_interval_ms, 0);
	assert_int_equal(s->journal.compression, BATCH_CODEC_NONE);
	assert_string_equal(
	    s->kafka.bootstrap_servers, "a:1, b_2,[::1]:65535,[fe80::1]");
	assert_string_equal(s->kafka.client_id_prefix, "x");
	assert_string_equal(s->kafka.acks, "1");
	assert_string_equal(s->kafka.compression, "lz4");
	assert_int_equal(s->kafka.batch_size_bytes, 65537);
	assert_int_equal(s->kafka.linger_ms, 5000);
	assert_int_equal(s->kafka.buffer_max_bytes, 3 << 20);
	assert_int_equal(s->kafka.shutdown_ms, 0);
	assert_int_equal(s->kafka.property_count, 4);
	assert_string_equal(s->kafka.properties[0].name, "security.protocol");
	assert_string_equal(s->kafka.properties[0].value, "SASL_SSL");
	assert_int_equal(s->kafka.properties[0].line, 12);
	assert_string_equal(s->kafka.properties[1].value, "a=\"b\"");
	assert_string_equal(s->kafka.properties[3].value, "");
	assert_int_equal(s->log.level, LOG_LEVEL_DEBUG);
	assert_int_equal(s->log.format, LOG_FORMAT_JSON);
	settings_free(s);
}

static void
every_route_option_is_taken(void **state)
{
	struct settings *s = parse_good(every_option);
	const struct settings_route *r = s->routes;

	(void)state;
	assert_int_equal(s->route_count, 2);
	assert_string_equal(r[0].name, "one");
	assert_int_equal(r[0].topic_filter_count, 2);
	assert_string_equal(r[0].topic_filters[1], "$share/g/a/+");
	assert_string_equal(r[0].topic, "T.1_-");
	assert_string_equal(r[0].key, "a$$${topic}b");
	assert_int_equal(r[0].envelope, SETTINGS_ENVELOPE_NONE);
	assert_false(r[0].provenance);
	assert_true(r[0].mqtt_headers);
	assert_false(r[0].user_properties);
	assert_int_equal(r[0].timestamp, SETTINGS_TIMESTAMP_FORWARDED);
	assert_int_equal(r[0].timestamp_max_age_s, 1);
	assert_string_equal(r[1].name, "two");
	assert_int_equal(r[1].topic_filter_count, 1);
	assert_string_equal(r[1].key, "");
	assert_int_equal(r[1].envelope, SETTINGS_ENVELOPE_NONE);
	assert_int_equal(r[1].timestamp, SETTINGS_TIMESTAMP_RECEIVED);
	settings_free(s);
}

static void
acks_may_be_a_number_or_a_text(void **state)
{
	static const char *const cases[][2] = {{"\"all\"", "all"}, {"-1", "all"},
	    {"\"-1\"", "all"}, {"1", "1"}, {"\"1\"", "1"}, {"0", "0"}, {"\"0\"", "0"}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct settings *s;
		char text[256];

		(void)snprintf(text, sizeof(text), ID ROUTES "kafka = { acks = %s; };",
		    cases[i][0]);
		s = parse_good(text);
		assert_string_equal(s->kafka.acks, cases[i][1]);
		settings_free(s);
	}
}

static void
a_single_route_or_property_needs_no_list(void **state)
{
	struct settings *s = parse_good(
	    ID "routes = " ROUTE "; kafka = { properties = \"debug=all\"; };");

	(void)state;
	assert_int_equal(s->route_count, 1);
	assert_int_equal(s->kafka.property_count, 1);
	settings_free(s);
}

static void
sizes_have_units(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
	    {"0 B", 0},
	    {"1B", 1},
	    {"64 KiB", 65536},
	    {"64K", 65536},
	    {"64k", 65536},
	    {"512 MiB", (uint64_t)512 << 20},
	    {"4 GiB", (uint64_t)4 << 30},
	    {"4G", (uint64_t)4 << 30},
	    {"4294967296 B", (uint64_t)1 << 32},
	    {"2 tib", (uint64_t)2 << 40},
	};
	static const char *const bad[] = {"", "4", " 4K", "K", "4 KB", "4 GB",
	    "1.5 GiB", "-1 K", "4 K ", "99999999999999999999 B",
	    "9223372036854775807 K", "9999999999 GiB", "4 Ki", "0x10 B"};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		uint64_t bytes = 77, again = 78;
		char text[32];

		assert_null(settings_size_parse(good[i].text, &bytes));
		assert_int_equal(bytes, good[i].bytes);
		settings_size_format(bytes, text);
		assert_null(settings_size_parse(text, &again));
		assert_int_equal(again, bytes);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint64_t bytes = 77;

		if (settings_size_parse(bad[i], &bytes) == NULL)
			fail_msg("accepted: %s", bad[i]);
		assert_int_equal(bytes, 77);
	}
}

/* ---- printing, comparing ---- */

static void
printed_settings_read_back_the_same(void **state)
{
	struct settings *s = parse_good(every_option);
	char *first = print(s);
	struct settings *again = parse_good(first);
	char *second = print(again);

	(void)state;
	assert_string_equal(first, second);
	assert_non_null(strstr(first, "password = \"***\""));
	assert_non_null(strstr(first, "\"sasl.password=***\""));
	assert_non_null(strstr(first, "\"ssl.key.password=file:/k\""));
	assert_null(strstr(first, "p\\\"w"));
	assert_null(strstr(first, "a=\\\"b\\\""));
	free(first);
	free(second);
	settings_free(s);
	settings_free(again);
}

static void
a_change_concerns_those_who_read_it(void **state)
{
	static const struct {
		const char *text;
		bool ingest, forward;
	} cases[] = {
	    {"", false, false},
	    {"mqtt = { port = 1884; };", true, false},
	    {"mqtt = { host = \"h\"; };", true, true},
	    {"mqtt = { password = \"p\"; };", true, false},
	    {"mqtt = { password = \"file:/p\"; };", true, false},
	    {"journal = { commit_interval_ms = 0; };", true, true},
	    {"kafka = { linger_ms = 5; };", false, true},
	    {"kafka = { properties = \"sasl.password=x\"; };", false, true},
	    {"log = { level = \"debug\"; };", true, true},
	};
	struct settings *a = parse_good(ID ROUTES);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct settings *b;
		char text[256];

		(void)snprintf(text, sizeof(text), ID ROUTES "%s", cases[i].text);
		b = parse_good(text);
		assert_int_equal(settings_differ_for_ingest(a, b), cases[i].ingest);
		assert_int_equal(settings_differ_for_forward(a, b), cases[i].forward);
		settings_free(b);
	}
	settings_free(a);
}

static void
a_changed_route_concerns_ingest_by_its_filters_only(void **state)
{
	struct settings *a = parse_good(ID ROUTES);
	struct settings *b = parse_good(
	    ID "routes = { name = \"r\"; topic_filters = \"a/#\"; topic = \"u\"; };");
	struct settings *c = parse_good(
	    ID "routes = { name = \"r\"; topic_filters = \"b/#\"; topic = \"t\"; };");

	(void)state;
	assert_false(settings_differ_for_ingest(a, b));
	assert_true(settings_differ_for_forward(a, b));
	assert_true(settings_differ_for_ingest(a, c));
	assert_true(settings_differ_for_forward(a, c));
	settings_free(a);
	settings_free(b);
	settings_free(c);
}

static void
files_that_may_have_changed_count_as_a_change(void **state)
{
	struct settings *a =
	    parse_good(ID ROUTES "mqtt = { password = \"file:/p\"; };\n"
				 "kafka = { properties = \"ssl.ca.location=/c\"; };");

	(void)state;
	assert_true(settings_differ_for_ingest(a, a));
	assert_true(settings_differ_for_forward(a, a));
	settings_free(a);
}

/* ---- files ---- */

static void
write_file(const char *path, const void *data, size_t size)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, size, f), size);
	assert_int_equal(fclose(f), 0);
}

static char *
path_in(void **state, const char *name)
{
	static char path[4096];

	(void)snprintf(path, sizeof(path), "%s/%s", (const char *)*state, name);
	return path;
}

static void
files_that_cannot_be_read_may_come_later(void **state)
{
	struct buffer mistakes = {0};
	struct settings *s;

	assert_int_equal(settings_load(&s, path_in(state, "none"), &mistakes), ERR_IO);
	assert_null(s);
	assert_true(mistakes.size > 0);
	buffer_clear(&mistakes);
	assert_int_equal(settings_load(&s, *state, &mistakes), ERR_IO);
	assert_true(mistakes.size > 0);
	buffer_fini(&mistakes);
}

static void
files_that_are_no_text_are_refused(void **state)
{
	struct buffer mistakes = {0};
	char *path = path_in(state, "f");
	size_t size = (size_t)2 << 20;
	struct settings *s;
	char *big = malloc(size);

	write_file(path, ID "\0" ROUTES, sizeof(ID "\0" ROUTES) - 1);
	assert_int_equal(settings_load(&s, path, &mistakes), ERR_INVALID);
	assert_non_null(big);
	memset(big, '\n', size);
	write_file(path, big, size);
	free(big);
	assert_int_equal(settings_load(&s, path, &mistakes), ERR_INVALID);
	buffer_fini(&mistakes);
}

static void
a_file_is_read_whole(void **state)
{
	struct buffer mistakes = {0};
	struct settings *s;
	char *path = path_in(state, "f");

	write_file(path, ID ROUTES, sizeof(ID ROUTES) - 1);
	assert_int_equal(settings_load(&s, path, &mistakes), 0);
	assert_int_equal(mistakes.size, 0);
	assert_string_equal(s->name, path);
	settings_free(s);
	buffer_fini(&mistakes);
}

static void
secrets_come_from_files_and_credentials(void **state)
{
	char *path = path_in(state, "secret");
	char value[4200];
	char *out = NULL;

	write_file(path, "geheim \r\nmore\n", 14);
	assert_int_equal(settings_secret("plain", &out), 0);
	assert_string_equal(out, "plain");
	free(out);
	(void)snprintf(value, sizeof(value), "file:%s", path);
	assert_int_equal(settings_secret(value, &out), 0);
	assert_string_equal(out, "geheim ");
	free(out);
	assert_int_equal(setenv("CREDENTIALS_DIRECTORY", *state, 1), 0);
	assert_int_equal(settings_secret("credential:secret", &out), 0);
	assert_string_equal(out, "geheim ");
	free(out);
	out = NULL;
	assert_int_equal(settings_secret("credential:none", &out), ERR_IO);
	assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
	assert_int_equal(settings_secret("credential:secret", &out), ERR_IO);
	assert_int_equal(settings_secret("file:/nowhere/secret", &out), ERR_IO);
	assert_null(out);
}

/* ---- etc/tidegate.conf ---- */

/* The shipped file under ID; the caller frees. */
static char *
default_file(void)
{
	const char *top = getenv("TOP_SRCDIR");
	struct buffer text = {0};
	struct buffer mistakes = {0};
	char path[4096];

	(void)snprintf(
	    path, sizeof(path), "%s/etc/tidegate.conf", top == NULL ? "." : top);
	assert_int_equal(buffer_append_str(&text, ID), 0);
	assert_int_equal(settings_read(path, &text, &mistakes), 0);
	buffer_fini(&mistakes);
	return (char *)text.data;
}

static void
the_default_file_says_the_defaults(void **state)
{
	char *text = default_file();
	struct settings *file = parse_good(text);
	struct settings *none =
	    parse_good(ID "routes = { name = \"default\"; topic_filters = \"tbmq/#\";"
			  "topic = \"tbmq.messages\"; };");
	char *a = print(file);
	char *b = print(none);

	(void)state;
	assert_string_equal(a, b);
	free(a);
	free(b);
	free(text);
	settings_free(file);
	settings_free(none);
}

static void
expect_named(const char *text, const struct settings_option table[])
{
	for (const struct settings_option *o = table; o->key != NULL; o++) {
		char wanted[64];

		if (o->kind == OPTION_LATER)
			continue;
		(void)snprintf(wanted, sizeof(wanted), "%s = ", o->key);
		if (strstr(text, wanted) == NULL)
			fail_msg("etc/tidegate.conf does not name %s", o->key);
		if (o->members != NULL)
			expect_named(text, o->members);
	}
}

static void
the_default_file_names_every_option(void **state)
{
	char *text = default_file();

	(void)state;
	expect_named(text, settings_options);
	free(text);
}

/* Parse the default file with the "#" at one offset taken away, or all in front of quotes. */
static void
expect_uncommented(const char *text, size_t offset)
{
	char *copy = strdup(text);
	bool is_entry = text[offset + 1] == '"';
	bool is_id = strncmp(text + offset + 1, "gateway_id", 10) == 0;

	assert_non_null(copy);
	copy[offset] = ' ';
	for (char *p = strstr(copy, "#\""); is_entry && p != NULL; p = strstr(p, "#\""))
		*p = ' ';
	settings_free(parse_good(is_id ? copy + strlen(ID) : copy));
	free(copy);
}

static void
the_default_files_examples_are_valid(void **state)
{
	char *text = default_file();
	size_t count = 0;

	(void)state;
	for (const char *p = strchr(text, '#'); p != NULL; p = strchr(p + 1, '#')) {
		if (p[1] == ' ' || p[1] == '\n' || p[-1] == '"' || p[-1] == '/')
			continue;
		expect_uncommented(text, (size_t)(p - text));
		count++;
	}
	assert_true(count >= 10);
	free(text);
}

#define FILE_TEST(name) \
	cmocka_unit_test_setup_teardown(name, tmpdir_setup, tmpdir_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(defaults_are_those_of_the_interface),
	    cmocka_unit_test(every_option_is_taken),
	    cmocka_unit_test(every_route_option_is_taken),
	    cmocka_unit_test(acks_may_be_a_number_or_a_text),
	    cmocka_unit_test(a_single_route_or_property_needs_no_list),
	    cmocka_unit_test(sizes_have_units),
	    cmocka_unit_test(printed_settings_read_back_the_same),
	    cmocka_unit_test(a_change_concerns_those_who_read_it),
	    cmocka_unit_test(a_changed_route_concerns_ingest_by_its_filters_only),
	    cmocka_unit_test(files_that_may_have_changed_count_as_a_change),
	    FILE_TEST(files_that_cannot_be_read_may_come_later),
	    FILE_TEST(files_that_are_no_text_are_refused),
	    FILE_TEST(a_file_is_read_whole),
	    FILE_TEST(secrets_come_from_files_and_credentials),
	    cmocka_unit_test(the_default_file_says_the_defaults),
	    cmocka_unit_test(the_default_file_names_every_option),
	    cmocka_unit_test(the_default_files_examples_are_valid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
