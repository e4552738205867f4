/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
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
	assert_true(s->mqtt.broker_figures);
	assert_false(s->mqtt.tls.is_on);
	assert_null(s->mqtt.tls.ca_file);
	assert_false(s->mqtt.tls.insecure);
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
	assert_int_equal(s->kafka.retries, -1);
	assert_int_equal(s->kafka.shutdown_ms, 5000);
	assert_int_equal(s->kafka.transaction_max_messages, 50000);
	assert_int_equal(s->kafka.transaction_max_ms, 200);
	assert_int_equal(s->kafka.property_count, 0);
	assert_int_equal(s->route_count, 1);
	assert_null(s->status.kafka_topic);
	assert_null(s->status.mqtt_topic);
	assert_int_equal(s->status.interval_s, 300);
	assert_int_equal(s->monitor.statistics_s, 3600);
	assert_int_equal(s->log.level, LOG_LEVEL_INFO);
	assert_int_equal(s->log.format, LOG_FORMAT_TEXT);
	settings_free(s);
}

static void
defaults_of_a_route_are_those_of_the_interface(void **state)
{
	struct settings *s = parse_good(ID ROUTES);
	const struct settings_route *r = &s->routes[0];

	(void)state;
	assert_string_equal(r->name, "r");
	assert_true(r->enabled);
	assert_int_equal(r->topic_filter_count, 1);
	assert_string_equal(r->topic_filters[0], "a/#");
	assert_string_equal(r->topic, "t");
	assert_string_equal(r->key, "${topic}");
	assert_int_equal(r->envelope, SETTINGS_ENVELOPE_TBMQ);
	assert_true(r->provenance);
	assert_true(r->user_properties);
	assert_false(r->mqtt_headers);
	assert_int_equal(r->timestamp, SETTINGS_TIMESTAMP_AUTO);
	assert_int_equal(r->payload_format, SETTINGS_PAYLOAD_BASE64);
	assert_string_equal(r->client_id, "${user:client-id}");
	assert_int_equal(r->header_count, 0);
	assert_int_equal(r->metadata_count, 0);
	assert_int_equal(r->timestamp_max_age_s, 86400);
	assert_int_equal(r->on_reject, SETTINGS_REJECT_HOLD);
	settings_free(s);
}

/* Every option with another value than its default. */
static const char every_option[] =
    "gateway_id = \"site-17.b_c\";\n"
    "mqtt = { host = \"::1\"; port = 8883; protocol = 4; client_id = \"käse\";\n"
    "  username = \"u\"; password = \"p\\\"w\\\\\"; keepalive_s = 5;\n"
    "  session_expiry_s = 3600; qos = 0; receive_maximum = 65535; "
    "broker_figures = false;\n"
    "  tls = { ca_file = \"/ca\"; ca_path = \"/certs\"; cert_file = \"/c\"; key_file = "
    "\"/k\";\n"
    "    key_password = \"kpw\"; insecure = true; }; };\n"
    "journal = { directory = \"/x y\"; max_bytes = \"1 MiB\"; dead_max_bytes = "
    "\"64K\";\n"
    "  on_full = \"block\"; preallocate = true; commit_max_messages = 1;\n"
    "  commit_max_bytes = \"1gib\"; commit_interval_ms = 0; compression = \"none\"; "
    "};\n"
    "kafka = { bootstrap_servers = \"a:1, b_2,[::1]:65535,[fe80::1]\";\n"
    "  client_id_prefix = \"x\"; delivery = \"at_least_once\"; acks = 1;\n"
    "  compression = \"lz4\"; batch_size_bytes = \"65537 B\"; linger_ms = 0x1388;\n"
    "  buffer_max_bytes = \"3 MiB\"; retries = 3; shutdown_ms = 0;\n"
    "  transaction_max_messages = 100000; transaction_max_ms = 2000;"
    "  properties = ( \"security.protocol = SASL_SSL\", "
    "\"sasl.password=a=\\\"b\\\"\",\n"
    "    \"ssl.key.password=file:/k\", \"debug=msg\" ); };\n"
    "routes = ( { name = \"one\"; topic_filters = [ \"#\", \"$share/g/a/+\" ];\n"
    "    topic = \"T.1_-\"; key = \"a$$${topic}b\"; envelope = \"none\";\n"
    "    send_only_payload = true; provenance = false; mqtt_headers = TRUE;\n"
    "    user_properties = False; timestamp = \"forwarded\"; timestamp_max_age_s = 1;\n"
    "    on_reject = \"bury\"; gap_records = \"status\"; enabled = false;\n"
    "    headers = ( { name = \"site\"; value = \"berlin\"; },\n"
    "      { name = \"line\"; value = \"${topic:2|none}\"; } ); },\n"
    "  { name = \"two\"; topic_filters = \"x\"; topic = \"t\"; key = \"\";\n"
    "    send_only_payload = true; timestamp = \"received\"; },\n"
    "  { name = \"three\"; topic_filters = \"y\"; topic = \"t.${topic:2}\";\n"
    "    envelope = \"cloudevents\"; payload_format = \"json\";\n"
    "    client_id = \"${topic:1}\"; metadata = { name = \"plant\"; value = \"7\"; }; "
    "},\n"
    "  { name = \"four\"; topic_filters = \"z\"; topic = \"t\";\n"
    "    envelope = \"cloudevents_binary\"; } )\n"
    "status = { kafka_topic = \"tidegate.status\"; mqtt_topic = \"tidegate/status\";\n"
    "  interval_s = 1; };\n"
    "monitor = { statistics_s = 60; };\n"
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
	assert_false(s->mqtt.broker_figures);
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
	assert_int_equal(s->kafka.retries, 3);
	assert_int_equal(s->kafka.shutdown_ms, 0);
	assert_int_equal(s->kafka.transaction_max_messages, 100000);
	assert_int_equal(s->kafka.transaction_max_ms, 2000);
	assert_int_equal(s->kafka.property_count, 4);
	assert_string_equal(s->kafka.properties[0].name, "security.protocol");
	assert_string_equal(s->kafka.properties[0].value, "SASL_SSL");
	assert_int_equal(s->kafka.properties[0].line, 14);
	assert_string_equal(s->kafka.properties[1].value, "a=\"b\"");
	assert_string_equal(s->kafka.properties[3].value, "msg");
	assert_string_equal(s->status.kafka_topic, "tidegate.status");
	assert_string_equal(s->status.mqtt_topic, "tidegate/status");
	assert_int_equal(s->status.interval_s, 1);
	assert_int_equal(s->monitor.statistics_s, 60);
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
	assert_int_equal(s->route_count, 4);
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
	assert_int_equal(r[0].on_reject, SETTINGS_REJECT_BURY);
	assert_false(r[0].enabled);
	assert_int_equal(r[0].header_count, 2);
	assert_string_equal(r[0].headers[1].name, "line");
	assert_string_equal(r[0].headers[1].value, "${topic:2|none}");
	assert_string_equal(r[1].name, "two");
	assert_int_equal(r[1].topic_filter_count, 1);
	assert_string_equal(r[1].key, "");
	assert_int_equal(r[1].envelope, SETTINGS_ENVELOPE_NONE);
	assert_int_equal(r[1].timestamp, SETTINGS_TIMESTAMP_RECEIVED);
	assert_string_equal(r[2].topic, "t.${topic:2}");
	assert_int_equal(r[2].envelope, SETTINGS_ENVELOPE_CLOUDEVENTS);
	assert_int_equal(r[2].payload_format, SETTINGS_PAYLOAD_JSON);
	assert_string_equal(r[2].client_id, "${topic:1}");
	assert_int_equal(r[2].metadata_count, 1);
	assert_string_equal(r[2].metadata[0].name, "plant");
	assert_string_equal(r[2].metadata[0].value, "7");
	assert_int_equal(r[3].envelope, SETTINGS_ENVELOPE_CLOUDEVENTS_BINARY);
	settings_free(s);
}

static void
tls_is_on_where_its_group_is_given(void **state)
{
	static const struct {
		const char *mqtt;
		bool is_on;
		int port;
	} cases[] = {
	    {"", false, 1883},
	    {"tls = { };", true, 8883},
	    {"tls = { }; port = 1883;", true, 1883},
	    {"port = 99;", false, 99},
	};
	struct settings *s;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[256];

		(void)snprintf(
		    text, sizeof(text), ID ROUTES "mqtt = { %s };", cases[i].mqtt);
		s = parse_good(text);
		assert_int_equal(s->mqtt.tls.is_on, cases[i].is_on);
		assert_int_equal(s->mqtt.port, cases[i].port);
		settings_free(s);
	}
	s = parse_good(every_option);
	assert_string_equal(s->mqtt.tls.ca_file, "/ca");
	assert_string_equal(s->mqtt.tls.ca_path, "/certs");
	assert_string_equal(s->mqtt.tls.cert_file, "/c");
	assert_string_equal(s->mqtt.tls.key_file, "/k");
	assert_string_equal(s->mqtt.tls.key_password, "kpw");
	assert_true(s->mqtt.tls.insecure);
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

/* The wrapped call answers with this. */
static const char *host_name = "";

int __wrap_gethostname(char *name, size_t size);

int
__wrap_gethostname(char *name, size_t size)
{
	(void)snprintf(name, size, "%s", host_name);
	return 0;
}

static void
without_a_gateway_id_it_is_the_whole_host_name(void **state)
{
	static const char *const good[] = {"gw", "gw.site1.example", "G-1_x.y"};
	static const struct {
		const char *name, *why;
	} bad[] = {
	    {"", "must not be empty"},
	    {"localhost", "would be the name of many gateways: give this one a name of "
			  "its own"},
	    {"localhost.localdomain", "would be the name of many gateways: give this "
				      "one a name of its own"},
	    {"a2345678901234567890123456789012345678901234567890123456789012.34",
		"is longer than 64 characters"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct settings *s;

		host_name = good[i];
		s = parse_good(ROUTES);
		assert_string_equal(s->gateway_id, good[i]);
		settings_free(s);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char wanted[256];

		host_name = bad[i].name;
		(void)snprintf(wanted, sizeof(wanted),
		    "F:1: gateway_id: is missing, and this machine's host name "
		    "\"%.64s\" %s\n",
		    bad[i].name, bad[i].why);
		expect_mistakes(ROUTES, wanted);
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
	assert_non_null(strstr(first, "key_password = \"***\""));
	assert_null(strstr(first, "kpw"));
	assert_null(strstr(first, "p\\\"w"));
	assert_null(strstr(first, "a=\\\"b\\\""));
	free(first);
	free(second);
	settings_free(s);
	settings_free(again);
}

/* Of librdkafka's CONFIGURATION.md, and of Java's names, which are refused elsewhere. */
static void
no_secret_is_printed(void **state)
{
	static const char *const secret[] = {"sasl.password", "ssl.key.password",
	    "ssl.key.pem", "ssl.keystore.password", "sasl.oauthbearer.client.secret",
	    "sasl.oauthbearer.config", "sasl.oauthbearer.assertion.private.key.pem",
	    "sasl.oauthbearer.assertion.private.key.passphrase", "sasl.jaas.config",
	    "ssl.truststore.password", "ssl.keystore.key", "SASL.PASSWORD"};
	static const char *const open[] = {"sasl.username", "ssl.certificate.pem",
	    "ssl.ca.pem", "ssl.key.location", "sasl.oauthbearer.client.id"};

	(void)state;
	for (size_t i = 0; i < sizeof(secret) / sizeof(secret[0]); i++)
		assert_true(settings_property_is_secret(secret[i]));
	for (size_t i = 0; i < sizeof(open) / sizeof(open[0]); i++)
		assert_false(settings_property_is_secret(open[i]));
}

static void
a_change_concerns_those_who_read_it(void **state)
{
	static const struct {
		const char *text;
		bool ingest, forward, monitor;
	} cases[] = {
	    {"", false, false, false},
	    {"mqtt = { port = 1884; };", true, false, true},
	    {"mqtt = { host = \"h\"; };", true, true, true},
	    {"mqtt = { password = \"p\"; };", true, false, true},
	    {"mqtt = { password = \"file:/p\"; };", true, false, true},
	    {"journal = { commit_interval_ms = 0; };", true, true, true},
	    {"kafka = { linger_ms = 5; };", false, true, true},
	    {"kafka = { properties = \"sasl.password=x\"; };", false, true, true},
	    {"log = { level = \"debug\"; };", true, true, true},
	    {"mqtt = { tls = { }; };", true, false, true},
	    {"mqtt = { tls = { insecure = true; }; };", true, false, true},
	    {"kafka = { retries = 1; };", false, true, true},
	    {"status = { interval_s = 5; };", true, true, false},
	    {"status = { mqtt_topic = \"s\"; };", true, true, false},
	    {"status = { kafka_topic = \"\"; };", false, false, false},
	    {"monitor = { statistics_s = 5; };", true, true, true},
	    {"monitor = { listen = \"\"; };", false, false, true},
	    {"monitor = { listen = \"[::1]:80\"; };", false, false, true},
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
		assert_int_equal(settings_differ_for_monitor(a, b), cases[i].monitor);
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
	struct settings *d = parse_good(
	    ID "routes = { name = \"r\"; topic_filters = \"a/#\"; topic = \"t\";\n"
	       "headers = { name = \"x\"; value = \"\"; }; enabled = false; };");

	(void)state;
	assert_false(settings_differ_for_ingest(a, b));
	assert_true(settings_differ_for_forward(a, b));
	assert_true(settings_differ_for_ingest(a, c));
	assert_true(settings_differ_for_forward(a, c));
	assert_false(settings_differ_for_ingest(a, d));
	assert_true(settings_differ_for_forward(a, d));
	settings_free(a);
	settings_free(b);
	settings_free(c);
	settings_free(d);
}

static void
files_that_may_have_changed_count_as_a_change(void **state)
{
	static const struct {
		const char *text;
		bool ingest, forward;
	} cases[] = {
	    {"mqtt = { password = \"file:/p\"; };", true, false},
	    {"mqtt = { password = \"credential:p\"; };", true, false},
	    {"mqtt = { tls = { ca_file = \"/c\"; }; };", true, false},
	    {"mqtt = { tls = { ca_path = \"/c\"; }; };", true, false},
	    {"mqtt = { tls = { cert_file = \"/c\"; key_file = \"/k\"; }; };", true,
		false},
	    {"kafka = { properties = \"ssl.ca.location=/c\"; };", false, true},
	    {"kafka = { properties = \"ssl.key.location=/c\"; };", false, true},
	    {"kafka = { properties = \"sasl.kerberos.keytab=/c\"; };", false, true},
	    {"kafka = { properties = \"sasl.password=file:/c\"; };", false, true},
	    {"kafka = { properties = \"sasl.password=c\"; };", false, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct settings *a;
		char text[256];

		(void)snprintf(text, sizeof(text), ID ROUTES "%s", cases[i].text);
		a = parse_good(text);
		assert_int_equal(settings_differ_for_ingest(a, a), cases[i].ingest);
		assert_int_equal(settings_differ_for_forward(a, a), cases[i].forward);
		settings_free(a);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(defaults_are_those_of_the_interface),
	    cmocka_unit_test(defaults_of_a_route_are_those_of_the_interface),
	    cmocka_unit_test(every_option_is_taken),
	    cmocka_unit_test(every_route_option_is_taken),
	    cmocka_unit_test(tls_is_on_where_its_group_is_given),
	    cmocka_unit_test(acks_may_be_a_number_or_a_text),
	    cmocka_unit_test(without_a_gateway_id_it_is_the_whole_host_name),
	    cmocka_unit_test(a_single_route_or_property_needs_no_list),
	    cmocka_unit_test(sizes_have_units),
	    cmocka_unit_test(printed_settings_read_back_the_same),
	    cmocka_unit_test(no_secret_is_printed),
	    cmocka_unit_test(a_change_concerns_those_who_read_it),
	    cmocka_unit_test(a_changed_route_concerns_ingest_by_its_filters_only),
	    cmocka_unit_test(files_that_may_have_changed_count_as_a_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
