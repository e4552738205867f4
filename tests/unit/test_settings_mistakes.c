/* SPDX-License-Identifier: Apache-2.0 */
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

struct refusal {
	const char *text;
	const char *mistakes;
};

static void
expect_all(const struct refusal cases[], size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char text[1024];

		(void)snprintf(text, sizeof(text), ID ROUTES "%s\n", cases[i].text);
		expect_mistakes(text, cases[i].mistakes);
	}
}

#define EXPECT_ALL(cases) expect_all(cases, sizeof(cases) / sizeof(cases[0]))

static void
slips_of_syntax_get_plain_words(void **state)
{
	static const struct refusal cases[] = {
	    {"kafka = { properties = [ \"a=b\", ]; };",
		"F:3: a comma stands in front of \"]\": take it away\n"},
	    {"journal = { preallocate = yes; };", "F:3: write true in place of yes\n"},
	    {"journal = { preallocate = Off; };", "F:3: write false in place of Off\n"},
	    {"journal = { on_full = block; };",
		"F:3: text belongs in double quotes: block\n"},
	    {"journal = { directory = /var/x; };",
		"F:3: text belongs in double quotes: /var/x\n"},
	    {"journal = { max_bytes = 4GiB; };",
		"F:3: text belongs in double quotes: 4GiB\n"},
	    {"mqtt = { host = '127.0.0.1'; };",
		"F:3: text belongs in double quotes: '127.0.0.1'\n"},
	    {"mqtt = { host = 127.0.0.1; };",
		"F:3: text belongs in double quotes: 127.0.0.1\n"},
	    {"mqtt = {\n  port 1883;\n};",
		"F:4: \"=\" is missing in front of this value\n"},
	    {"mqtt = {\n  host \"x\";\n};",
		"F:4: \"=\" is missing in front of this value\n"},
	    {"mqtt { port = 1; };", "F:3: \"=\" is missing in front of this value\n"},
	    {"mqtt = { port = ; };", "F:3: a value is missing in front of \";\"\n"},
	    {"mqtt = { port };", "F:3: a value is missing in front of \"}\"\n"},
	    {"mqtt = { \"port\" = 1; };",
		"F:3: a text stands where the name of an option belongs (names have no "
		"quotes)\n"},
	    {"mqtt = { host = \"x;\n};",
		"F:3: a text is not closed by a quote on its line\n"},
	    {"mqtt = {\n  port = 1;\n", "F:3: this \"{\" is never closed\n"},
	    {"mqtt = { port = 1; );",
		"F:3: \")\" does not close the \"{\" of line 3\n"},
	    {"};", "F:3: \"}\" closes nothing\n"},
	    {"/* mqtt\n", "F:3: this comment is not closed by \"*/\"\n"},
	    {"@include \"/etc/passwd\"",
		"F:3: @include is not available: a gateway has one "
		"file\n"},
	    {"mqtt = { port = 1; port = 2; };",
		"F:3: an option of this name is there already\n"},
	    {"kafka = { properties = [ \"a=b\", 1 ]; };",
		"F:3: the values in [ ] must be of one kind\n"},
	    {"kafka = { properties = [ \"a=b\" \"c=d\" ]; };",
		"F:3: a comma is missing in front of this value\n"},
	    {"kafka = { properties = ( 0 \"c=d\" ); };",
		"F:3: a comma is missing in front of this value\n"},
	    {"routes2 = ( { }\n{ } );",
		"F:4: a comma is missing in front of this value\n"},
	    {"kafka = { acks = \"a\" \"b\"; };",
		"F:3: a text stands where the name of an option belongs (names have no "
		"quotes)\n"},
	    {"x = [ { } ];",
		"F:3: [ ] holds plain values only: write ( ) around groups\n"},
	    {"mqtt = { host = \"\xff\"; };", "F:3: this line is not UTF-8\n"},
	    {"5 = 3;", "F:3: this is not the name of an option: 5\n"},
	    {"mqtt", "F:3: a value is missing at the end of the file\n"},
	};

	(void)state;
	EXPECT_ALL(cases);
}

static void
numbers_that_do_not_fit_are_not_cut(void **state)
{
	static const char *const numbers[] = {"4294969179", "0x10000075B", "0xFFFFFFFF",
	    "4294969179L", "99999999999999999999999", "-2147483649"};

	(void)state;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		struct settings *s;
		char *mistakes;
		char text[256], wanted[256];

		(void)snprintf(text, sizeof(text),
		    ID ROUTES "mqtt = { # 99999999999\n port =\n%s; };\n", numbers[i]);
		(void)snprintf(wanted, sizeof(wanted),
		    "F:5: %s is too large: a number has at most 32 bits", numbers[i]);
		assert_int_equal(parse(text, &s, &mistakes), ERR_INVALID);
		if (strncmp(mistakes, wanted, strlen(wanted)) != 0)
			fail_msg("%s: %s", numbers[i], mistakes);
		free(mistakes);
	}
	settings_free(
	    parse_good(ID ROUTES "mqtt = { session_expiry_s = 2147483647; };"));
	settings_free(parse_good(ID ROUTES "mqtt = { port = 0x75B; };"));
}

static void
unknown_options_are_mistakes(void **state)
{
	static const struct refusal cases[] = {
	    {"mqtt = { prot = 1; };",
		"F:3: mqtt.prot: there is no such option; did you mean \"port\"?\n"},
	    {"mqtt = {\n  hots = \"x\"; keepalive = 5;\n};",
		"F:4: mqtt.hots: there is no such option; did you mean \"host\"?\n"
		"F:4: mqtt.keepalive: there is no such option; did you mean "
		"\"keepalive_s\"?\n"},
	    {"max_bytes = \"1 GiB\";",
		"F:3: max_bytes: there is no such option here; it belongs into "
		"\"journal\"\n"},
	    {"xyzzy = 1;", "F:3: xyzzy: there is no such option\n"},
	    {"mqtt = 5;", "F:3: mqtt: must be a group { }, not a number\n"},
	};

	(void)state;
	EXPECT_ALL(cases);
}

static void
values_of_the_wrong_type_are_mistakes(void **state)
{
	static const struct refusal cases[] = {
	    {"mqtt = { port = \"1883\"; };",
		"F:3: mqtt.port: must be a whole number without quotes, not a text\n"},
	    {"mqtt = { port = 1.5; };",
		"F:3: mqtt.port: must be a whole number without "
		"quotes, not a number with a point\n"},
	    {"mqtt = { host = 5; };",
		"F:3: mqtt.host: must be a text in double quotes, not a number\n"},
	    {"mqtt = { host = [ \"a\" ]; };",
		"F:3: mqtt.host: must be a text in double quotes, not a list [ ]\n"},
	    {"journal = { preallocate = 1; };",
		"F:3: journal.preallocate: must be true or false without quotes, not a "
		"number\n"},
	    {"journal = { max_bytes = 1048576; };",
		"F:3: journal.max_bytes: must be a size with a unit in double quotes, "
		"as in "
		"\"64 KiB\" or \"4 GiB\", not a number\n"},
	    {"mqtt = { session_expiry_s = \"ever\"; };",
		"F:3: mqtt.session_expiry_s: must be a number of seconds or \"never\", "
		"not "
		"a text\n"},
	    {"kafka = { properties = ( 5 ); };",
		"F:3: kafka.properties: must be a list of texts in double quotes, not "
		"a "
		"number\n"},
	    {"kafka = { acks = true; };", "F:3: kafka.acks: must be a text in double "
					  "quotes, not true or false\n"},
	};

	(void)state;
	EXPECT_ALL(cases);
}

static void
values_out_of_range_are_mistakes(void **state)
{
	static const struct refusal cases[] = {
	    {"gateway_id2 = 1; mqtt = { port = 0; };",
		"F:3: gateway_id2: there is no such option; did you mean "
		"\"gateway_id\"?\n"
		"F:3: mqtt.port: 0 is out of range: from 1 to 65535\n"},
	    {"mqtt = { port = 65536; };",
		"F:3: mqtt.port: 65536 is out of range: from 1 to 65535\n"},
	    {"mqtt = { qos = 2; };", "F:3: mqtt.qos: 2 is out of range: from 0 to 1\n"},
	    {"mqtt = { session_expiry_s = 0; };",
		"F:3: mqtt.session_expiry_s: 0 is out of range: from 1 to "
		"2147483647\n"},
	    {"journal = { max_bytes = \"1023 KiB\"; };",
		"F:3: journal.max_bytes: \"1023 KiB\" is out of range: from 1 MiB to "
		"32 "
		"TiB\n"},
	    {"journal = { max_bytes = \"4\"; };", "F:3: journal.max_bytes: \"4\" needs "
						  "a unit: B, KiB, MiB, GiB or TiB\n"},
	    {"journal = { max_bytes = \"4 GB\"; };",
		"F:3: journal.max_bytes: \"4 GB\" must be a whole number with a unit: "
		"B, "
		"KiB, MiB, GiB or TiB\n"},
	    {"journal = {\n max_bytes = \"32 TiB\"; };",
		"F:4: journal.max_bytes: with dead_max_bytes it is more than this "
		"machine "
		"can map\n"},
	    {"journal = { compression = \"gzip\"; };",
		"F:3: journal.compression: \"gzip\" is not one of \"zstd\", "
		"\"none\"\n"},
	    {"kafka = { acks = 2; };",
		"F:3: kafka.acks: \"2\" is not one of \"all\", \"-1\", \"1\", \"0\"\n"},
	    {"log = { level = \"notice\"; };",
		"F:3: log.level: \"notice\" is not one of "
		"\"error\", \"warning\", \"info\", "
		"\"debug\"\n"},
	    {"mqtt = { username = \"a\\x07\"; };",
		"F:3: mqtt.username: the value has a control character\n"},
	    {"mqtt = { username = \"a\\xff\"; };",
		"F:3: mqtt.username: the value is not UTF-8\n"},
	    {"mqtt = { protocol = 4;\n password = \"secret\"; };",
		"F:4: mqtt.password: MQTT 3.1.1 needs a username as well\n"},
	    {"mqtt = { password = \"file:secret\"; };",
		"F:3: mqtt.password: the value must be \"file:\" and a path that "
		"begins "
		"with \"/\"\n"},
	    {"journal = { directory = \"x\"; };", "F:3: journal.directory: \"x\" must "
						  "be a path that begins with \"/\"\n"},
	};

	(void)state;
	if (sizeof(void *) == 4)
		skip();
	EXPECT_ALL(cases);
}

static void
hosts_and_servers_are_looked_at(void **state)
{
	static const struct refusal cases[] = {
	    {"mqtt = { host = \"\"; };", "F:3: mqtt.host: \"\" names no host\n"},
	    {"mqtt = { host = \"a:1883\"; };",
		"F:3: mqtt.host: \"a:1883\" has a port: give it as mqtt.port\n"},
	    {"mqtt = { host = \"mqtt://a\"; };",
		"F:3: mqtt.host: \"mqtt://a\" is a URL: give the host alone\n"},
	    {"mqtt = { host = \"[::1]\"; };",
		"F:3: mqtt.host: \"[::1]\" must be without brackets: they belong "
		"around "
		"the address only where a port follows\n"},
	    {"kafka = { bootstrap_servers = \"\"; };",
		"F:3: kafka.bootstrap_servers: \"\" must be \"HOST:PORT\", or several "
		"with "
		"commas between\n"},
	    {"kafka = { bootstrap_servers = \"a:1,,b:2\"; };",
		"F:3: kafka.bootstrap_servers: \"a:1,,b:2\" must be \"HOST:PORT\", or "
		"several with commas between\n"},
	    {"kafka = { bootstrap_servers = \"a:1,b:0\"; };",
		"F:3: kafka.bootstrap_servers: \"a:1,b:0\" has a port that is not a "
		"number "
		"from 1 to 65535\n"},
	    {"kafka = { bootstrap_servers = \"::1\"; };",
		"F:3: kafka.bootstrap_servers: \"::1\" has an IPv6 address without "
		"brackets: write \"[ADDRESS]:PORT\"\n"},
	    {"kafka = { bootstrap_servers = \"[::g]:1\"; };",
		"F:3: kafka.bootstrap_servers: \"[::g]:1\" has something in brackets "
		"that "
		"is not an IPv6 address\n"},
	    {"kafka = { bootstrap_servers = \"SSL://a:1\"; };",
		"F:3: kafka.bootstrap_servers: \"SSL://a:1\" has a protocol in front: "
		"kafka.properties has \"security.protocol=...\" for that\n"},
	    {"kafka = { bootstrap_servers = \"a b:1\"; };",
		"F:3: kafka.bootstrap_servers: \"a b:1\" is not a host name or "
		"address\n"},
	};

	(void)state;
	EXPECT_ALL(cases);
}

static void
what_comes_later_is_said_to_come_later(void **state)
{
	static const struct refusal cases[] = {
	    {"mqtt = { tls = { }; };",
		"F:3: mqtt.tls: is not available in this version\n"},
	    {"journal = { on_full = \"drop_oldest\"; };",
		"F:3: journal.on_full: \"drop_oldest\" is not available in this "
		"version\n"},
	    {"kafka = { delivery = \"exactly_once\"; };",
		"F:3: kafka.delivery: \"exactly_once\" is not available in this "
		"version\n"},
	    {"kafka = { retries = 3; };",
		"F:3: kafka.retries: 3 is not available in this version\n"},
	    {"kafka = { retries = -2; };",
		"F:3: kafka.retries: -2 is out of range: from -1 to -1\n"},
	    {"monitor = { listen = \"\"; };",
		"F:3: monitor: is not available in this version\n"},
	    {"status = { };", "F:3: status: is not available in this version\n"},
	};

	(void)state;
	EXPECT_ALL(cases);
}

static void
properties_are_names_with_values(void **state)
{
	static const struct refusal cases[] = {
	    {"kafka = { properties = [ \"debug\" ]; };",
		"F:3: kafka.properties: an entry must be \"name=value\"\n"},
	    {"kafka = { properties = [ \"=x\" ]; };",
		"F:3: kafka.properties: \"\" has no name in front of \"=\"\n"},
	    {"kafka = { properties = [ \"a=1\",\n \"a=2\" ]; };",
		"F:4: kafka.properties: \"a\" is given twice\n"},
	    {"kafka = { properties = [ \"sasl.password=file:x\" ]; };",
		"F:3: kafka.properties: \"sasl.password\" must be \"file:\" and a path "
		"that "
		"begins with \"/\"\n"},
	};

	(void)state;
	EXPECT_ALL(cases);
}

static void
routes_are_looked_at(void **state)
{
	static const struct refusal cases[] = {
	    {"", "F:1: routes: is missing\n"},
	    {"routes = ();", "F:2: routes: must have at least one route\n"},
	    {"routes = ( 5 );",
		"F:2: routes: must be a list of groups ( { }, { } ), not a number\n"},
	    {"routes = ( { } );", "F:2: routes[0].name: is missing\n"
				  "F:2: routes[0].topic_filters: is missing\n"
				  "F:2: routes[0].topic: is missing\n"},
	    {"routes = ( " ROUTE ",\n" ROUTE " );",
		"F:3: routes[1].name: \"r\" is the name of another route already\n"},
	    {"routes = ( " ROUTE ", );",
		"F:2: a comma stands in front of \")\": take it away\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[512];

		(void)snprintf(text, sizeof(text), ID "%s", cases[i].text);
		expect_mistakes(text, cases[i].mistakes);
	}
}

static void
values_in_routes_are_looked_at(void **state)
{
	static const struct refusal cases[] = {
	    {"name = \"a b\";",
		"name: \"a b\" may have only letters, digits, \".\", \"_\" "
		"and \"-\""},
	    {"name = \"\";", "name: \"\" must not be empty"},
	    {"topic = \"a/b\";",
		"topic: \"a/b\" is not a Kafka topic: only letters, digits, "
		"\".\", \"_\" and \"-\""},
	    {"topic = \"..\";", "topic: \"..\" is not a Kafka topic"},
	    {"topic = \"t.${topic}\";",
		"topic: \"t.${topic}\" has a \"${...}\", which is "
		"not available in this version"},
	    {"key = \"${topic:2}\";",
		"key: \"${topic:2}\" has a \"${...}\" that is not "
		"available in this version: only \"${topic}\" is"},
	    {"key = \"a$b\";",
		"key: \"a$b\" has a single \"$\": a dollar sign is written "
		"\"$$\""},
	    {"key = \"${topic\";", "key: \"${topic\" has a \"${\" without \"}\""},
	    {"envelope = \"cloudevents\";",
		"envelope: \"cloudevents\" is not available in this version"},
	    {"envelope = \"json\";",
		"envelope: \"json\" is not one of \"tbmq\", \"none\""},
	    {"envelope = \"tbmq\"; send_only_payload = true;",
		"send_only_payload: contradicts envelope = \"tbmq\" (true is another "
		"way to "
		"write envelope = \"none\")"},
	    {"envelope = \"none\"; send_only_payload = false;",
		"send_only_payload: contradicts envelope = \"none\" (true is another "
		"way to "
		"write envelope = \"none\")"},
	    {"topic_filters = [];", "topic_filters: must have at least one filter"},
	    {"timestamp_max_age_s = 0;",
		"timestamp_max_age_s: 0 is out of range: from 1 to 2147483647"},
	    {"on_reject = \"bury\";",
		"on_reject: \"bury\" is not available in this version"},
	    {"gap_records = \"none\";",
		"gap_records: is not available in this version"},
	    {"enabled = true;", "enabled: is not available in this version"},
	    {"headers = ();", "headers: is not available in this version"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *c = cases[i].text;
		char text[512], wanted[256];

		(void)snprintf(text, sizeof(text), ID "routes = (\n { %s %s %s %s } );",
		    strncmp(c, "name", 4) == 0 ? "" : "name = \"r\";",
		    strncmp(c, "topic_f", 7) == 0 ? "" : "topic_filters = \"a\";",
		    strncmp(c, "topic =", 7) == 0 ? "" : "topic = \"t\";", c);
		(void)snprintf(
		    wanted, sizeof(wanted), "F:3: routes[0].%s\n", cases[i].mistakes);
		expect_mistakes(text, wanted);
	}
}

static void
filters_that_are_not_valid_are_refused(void **state)
{
	struct settings *s;
	char *mistakes;

	(void)state;
	assert_int_equal(
	    parse(ID "routes = ( { name = \"r\"; topic = \"t\";\n"
		     "topic_filters = [ \"a/#/b\",\n \"ok\",\n \"x+\" ]; } );",
		&s, &mistakes),
	    ERR_INVALID);
	assert_non_null(
	    strstr(mistakes, "F:3: routes[0].topic_filters: \"a/#/b\" is not a "
			     "topic filter: "));
	assert_non_null(
	    strstr(mistakes, "\nF:5: routes[0].topic_filters: \"x+\" is not a "
			     "topic filter: "));
	assert_null(strstr(mistakes, "\"ok\""));
	free(mistakes);
}

static void
gateway_id_must_tell_gateways_apart(void **state)
{
	(void)state;
	expect_mistakes("gateway_id = \"localhost\";\n" ROUTES,
	    "F:1: gateway_id: \"localhost\" would be the name of many gateways: give "
	    "this "
	    "one a name of its own\n");
	expect_mistakes("gateway_id = \"a/b\";\n" ROUTES,
	    "F:1: gateway_id: \"a/b\" may have only letters, digits, \".\", \"_\" and "
	    "\"-\"\n");
	expect_mistakes("gateway_id = "
			"\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
			"aaaaa\";\n" ROUTES,
	    "F:1: gateway_id: "
	    "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\" is "
	    "longer than 64 characters\n");
}

static void
all_mistakes_come_in_one_go(void **state)
{
	(void)state;
	expect_mistakes(ID "mqtt = { port = 0;\n qoss = 1; };\n" ROUTES
			   "log = { level = 7; };\n",
	    "F:2: mqtt.port: 0 is out of range: from 1 to 65535\n"
	    "F:3: mqtt.qoss: there is no such option; did you mean \"qos\"?\n"
	    "F:5: log.level: \"7\" is not one of \"error\", \"warning\", \"info\", "
	    "\"debug\"\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(slips_of_syntax_get_plain_words),
	    cmocka_unit_test(numbers_that_do_not_fit_are_not_cut),
	    cmocka_unit_test(unknown_options_are_mistakes),
	    cmocka_unit_test(values_of_the_wrong_type_are_mistakes),
	    cmocka_unit_test(values_out_of_range_are_mistakes),
	    cmocka_unit_test(hosts_and_servers_are_looked_at),
	    cmocka_unit_test(what_comes_later_is_said_to_come_later),
	    cmocka_unit_test(properties_are_names_with_values),
	    cmocka_unit_test(routes_are_looked_at),
	    cmocka_unit_test(values_in_routes_are_looked_at),
	    cmocka_unit_test(filters_that_are_not_valid_are_refused),
	    cmocka_unit_test(gateway_id_must_tell_gateways_apart),
	    cmocka_unit_test(all_mistakes_come_in_one_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
