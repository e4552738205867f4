/* SPDX-License-Identifier: Apache-2.0 */
/* The Kafka sink against librdkafka's mock cluster, within this process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../lib/mock_cluster.h"
#include "err.h"
#include "kafka/kafka_conf.h"
#include "kafka_sink.h"
#include "now.h"

#define TOPIC       "t"
#define TAGS        600
#define WAIT_MS     20000
#define API_PRODUCE 0

struct fixture {
	struct mock_cluster cluster;
	struct settings settings;
	struct settings_property properties[2];
	struct sink *sink;
	int reports[TAGS];
	enum sink_result result[TAGS];
	size_t report_count;
	char text[256]; /* of the latest report */
};

static char propagation[] = "topic.metadata.propagation.max.ms", fast[] = "100",
	    backoff[] = "reconnect.backoff.max.ms";

static void
take(void *context, uint64_t tag, enum sink_result result, const char *text)
{
	struct fixture *f = context;

	assert_true(tag < TAGS);
	f->reports[tag]++;
	f->result[tag] = result;
	f->report_count++;
	snprintf(f->text, sizeof(f->text), "%s", text);
}

static void
open_sink(struct fixture *f)
{
	assert_int_equal(
	    kafka_sink_open(&f->sink, &f->settings, (const uint8_t[16]){1}), 0);
	f->sink->delivered = take;
	f->sink->context = f;
}

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct settings_kafka *k = &f->settings.kafka;

	mock_cluster_open(&f->cluster);
	mock_cluster_settings(&f->cluster, &f->settings);
	rd_kafka_mock_topic_create(f->cluster.mock, TOPIC, 1, 1);
	f->properties[0] = (struct settings_property){propagation, fast, 1};
	f->properties[1] = (struct settings_property){backoff, fast, 2};
	k->properties = f->properties;
	k->property_count = 2;
	open_sink(f);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	f->sink->ops->close(f->sink);
	mock_cluster_close(&f->cluster);
	free(f);
	return 0;
}

static void
wait_reports(struct fixture *f, size_t count)
{
	int64_t deadline_ms = now_monotonic_ms() + WAIT_MS;

	while (f->report_count < count) {
		assert_true(now_monotonic_ms() < deadline_ms);
		mock_cluster_turn(f->sink, 100);
	}
	assert_int_equal(f->report_count, count);
}

static int
send_to(struct fixture *f, const char *topic, uint64_t tag, size_t size)
{
	char *value = calloc(1, size + 32);
	struct sink_header headers[] = {
	    {"one", {"1", 1}},
	    {"empty", {"", 0}},
	    {"one", {"again", 5}},
	};
	struct sink_record r = {.topic = topic,
	    .key = {"key", 3},
	    .copy_value = true,
	    .timestamp_ms = 1700000000000 + (int64_t)tag,
	    .headers = headers,
	    .header_count = 3};
	int err;

	snprintf(value, size + 32, "value %llu", (unsigned long long)tag);
	r.value = (struct bytes){value, size == 0 ? strlen(value) : size};
	err = f->sink->ops->send(f->sink, &r, tag);
	free(value);
	return err;
}

/* Send when the sink takes it. */
static void
send_patiently(struct fixture *f, uint64_t tag)
{
	int64_t deadline_ms = now_monotonic_ms() + WAIT_MS;
	int err;

	for (;;) {
		err = send_to(f, TOPIC, tag, 0);
		if (err != ERR_FULL && err != ERR_AWAY)
			break;
		assert_true(now_monotonic_ms() < deadline_ms);
		mock_cluster_turn(f->sink, 100);
	}
	assert_int_equal(err, 0);
}

static void
assert_results(
    const struct fixture *f, uint64_t from, uint64_t to, enum sink_result result)
{
	for (uint64_t tag = from; tag < to; tag++) {
		assert_int_equal(f->reports[tag], 1);
		assert_int_equal(f->result[tag], result);
	}
}

static bool
is_fatal(struct fixture *f)
{
	const char *text;

	return f->sink->ops->is_fatal(f->sink, &text);
}

static rd_kafka_message_t *
consume_one(rd_kafka_t *consumer)
{
	int64_t deadline_ms = now_monotonic_ms() + WAIT_MS;

	for (;;) {
		rd_kafka_message_t *m = rd_kafka_consumer_poll(consumer, 200);

		if (m != NULL && m->err == RD_KAFKA_RESP_ERR_NO_ERROR)
			return m;
		if (m != NULL)
			rd_kafka_message_destroy(m);
		assert_true(now_monotonic_ms() < deadline_ms);
	}
}

/* ---- what arrives ---- */

static void
assert_message(const rd_kafka_message_t *m, uint64_t tag)
{
	rd_kafka_headers_t *headers;
	rd_kafka_timestamp_type_t type;
	const char *name;
	const void *value;
	char want[64];
	size_t size;

	snprintf(want, sizeof(want), "value %llu", (unsigned long long)tag);
	assert_int_equal(m->len, strlen(want));
	assert_memory_equal(m->payload, want, m->len);
	assert_int_equal(m->key_len, 3);
	assert_memory_equal(m->key, "key", 3);
	assert_int_equal(
	    rd_kafka_message_timestamp(m, &type), 1700000000000 + (int64_t)tag);
	assert_int_equal(rd_kafka_message_headers(m, &headers), 0);
	assert_int_equal(rd_kafka_header_cnt(headers), 3);
	assert_int_equal(rd_kafka_header_get_all(headers, 1, &name, &value, &size), 0);
	assert_string_equal(name, "empty");
	assert_int_equal(size, 0);
	assert_int_equal(rd_kafka_header_get_all(headers, 2, &name, &value, &size), 0);
	assert_string_equal(name, "one");
	assert_int_equal(size, 5);
	assert_memory_equal(value, "again", 5);
}

static void
everything_arrives_in_order_and_is_reported_once(void **state)
{
	struct fixture *f = *state;
	rd_kafka_t *consumer;

	for (uint64_t tag = 0; tag < TAGS; tag++)
		send_patiently(f, tag);
	wait_reports(f, TAGS);
	assert_results(f, 0, TAGS, SINK_DELIVERED);
	assert_string_equal(f->text, "");
	consumer = mock_cluster_consumer(&f->cluster, TOPIC, 1);
	for (uint64_t tag = 0; tag < TAGS; tag++) {
		rd_kafka_message_t *m = consume_one(consumer);

		assert_message(m, tag);
		rd_kafka_message_destroy(m);
	}
	mock_cluster_close_consumer(consumer);
}

static void
empty_value_and_no_key_arrive_as_such(void **state)
{
	struct fixture *f = *state;
	struct sink_record r = {.topic = TOPIC, .value = {"", 0}};
	rd_kafka_message_t *m;
	rd_kafka_t *consumer;

	assert_int_equal(f->sink->ops->send(f->sink, &r, 3), 0);
	wait_reports(f, 1);
	consumer = mock_cluster_consumer(&f->cluster, TOPIC, 1);
	m = consume_one(consumer);
	assert_null(m->key);
	assert_int_equal(m->len, 0);
	rd_kafka_message_destroy(m);
	mock_cluster_close_consumer(consumer);
}

static void
first_record_of_a_producer_goes_alone(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(send_to(f, TOPIC, 0, 0), 0);
	assert_int_equal(send_to(f, TOPIC, 1, 0), ERR_AWAY);
	wait_reports(f, 1);
	assert_int_equal(send_to(f, TOPIC, 1, 0), 0);
	assert_int_equal(send_to(f, TOPIC, 2, 0), 0);
	wait_reports(f, 3);
	assert_int_equal(f->sink->ops->reopen(f->sink), 0);
	assert_int_equal(send_to(f, TOPIC, 3, 0), 0);
	assert_int_equal(send_to(f, TOPIC, 4, 0), ERR_AWAY);
	wait_reports(f, 4);
	assert_results(f, 0, 4, SINK_DELIVERED);
}

static void
one_acknowledgement_needs_no_gate(void **state)
{
	struct fixture *f = *state;
	static char one[] = "1";

	f->sink->ops->close(f->sink);
	f->settings.kafka.acks = one;
	open_sink(f);
	for (uint64_t tag = 0; tag < 5; tag++)
		assert_int_equal(send_to(f, TOPIC, tag, 0), 0);
	wait_reports(f, 5);
	assert_results(f, 0, 5, SINK_DELIVERED);
}

/* ---- what is refused ---- */

static void
a_record_of_megabytes_arrives(void **state)
{
	struct fixture *f = *state;

	send_patiently(f, 0);
	wait_reports(f, 1);
	assert_int_equal(send_to(f, TOPIC, 1, 3000000), 0);
	send_patiently(f, 2);
	wait_reports(f, 3);
	assert_results(f, 0, 3, SINK_DELIVERED);
}

static void
too_large_a_record_is_refused_at_once(void **state)
{
	struct fixture *f = *state;
	char name[] = "message.max.bytes", value[] = "1000000";

	f->sink->ops->close(f->sink);
	f->properties[1] = (struct settings_property){name, value, 2};
	open_sink(f);
	assert_int_equal(send_to(f, TOPIC, 0, 2000000), ERR_TOOLARGE);
	assert_false(is_fatal(f));
	send_patiently(f, 1);
	wait_reports(f, 1);
	assert_int_equal(f->reports[0], 0);
	assert_results(f, 1, 2, SINK_DELIVERED);
}

static void
assert_refused(struct fixture *f, rd_kafka_resp_err_t code, enum sink_result result)
{
	send_patiently(f, 0);
	wait_reports(f, 1);
	rd_kafka_mock_push_request_errors(f->cluster.mock, API_PRODUCE, 1, code);
	assert_int_equal(send_to(f, TOPIC, 1, 0), 0);
	wait_reports(f, 2);
	assert_results(f, 1, 2, result);
	assert_string_equal(f->text, rd_kafka_err2str(code));
	assert_true(is_fatal(f));
	assert_int_equal(send_to(f, TOPIC, 2, 0), ERR_FATAL);
	assert_int_equal(f->sink->ops->reopen(f->sink), 0);
	assert_false(is_fatal(f));
	send_patiently(f, 2);
	wait_reports(f, 3);
	assert_results(f, 2, 3, SINK_DELIVERED);
}

static void
refused_record_ends_the_producer(void **state)
{
	assert_refused(
	    *state, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, SINK_RECORD_TOO_LARGE);
}

static void
refused_timestamp_ends_the_producer(void **state)
{
	assert_refused(
	    *state, RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP, SINK_TIMESTAMP_REFUSED);
}

static void
unknown_topic_is_refused_until_it_is_there(void **state)
{
	struct fixture *f = *state;
	int64_t deadline_ms = now_monotonic_ms() + WAIT_MS;
	int err;

	rd_kafka_mock_topic_set_error(
	    f->cluster.mock, "later", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
	assert_int_equal(send_to(f, "later", 0, 0), 0);
	assert_int_equal(send_to(f, "later", 1, 0), ERR_AWAY);
	send_patiently(f, 1); /* another topic goes on */
	wait_reports(f, 2);
	assert_results(f, 0, 1, SINK_ROUTE_REFUSED);
	assert_results(f, 1, 2, SINK_DELIVERED);
	assert_int_equal(send_to(f, "later", 2, 0), ERR_REFUSED);
	assert_false(is_fatal(f));
	rd_kafka_mock_topic_set_error(
	    f->cluster.mock, "later", RD_KAFKA_RESP_ERR_NO_ERROR);
	for (;;) {
		err = send_to(f, "later", 2, 0);
		if (err == 0)
			break;
		assert_int_equal(err, ERR_REFUSED);
		assert_true(now_monotonic_ms() < deadline_ms);
		mock_cluster_turn(f->sink, 100);
	}
	wait_reports(f, 3);
	assert_results(f, 2, 3, SINK_DELIVERED);
}

/* ---- outages ---- */

static void
outage_is_only_waited_for(void **state)
{
	struct fixture *f = *state;
	int64_t until_ms;

	send_patiently(f, 0);
	wait_reports(f, 1);
	rd_kafka_mock_broker_set_down(f->cluster.mock, -1);
	for (uint64_t tag = 1; tag < 100; tag++)
		send_patiently(f, tag);
	until_ms = now_monotonic_ms() + 500;
	while (now_monotonic_ms() < until_ms)
		mock_cluster_turn(f->sink, 50);
	assert_int_equal(f->report_count, 1);
	assert_false(is_fatal(f));
	rd_kafka_mock_broker_set_up(f->cluster.mock, -1);
	wait_reports(f, 100);
	assert_results(f, 0, 100, SINK_DELIVERED);
}

static void
reopen_gives_everything_back(void **state)
{
	struct fixture *f = *state;

	send_patiently(f, 0);
	wait_reports(f, 1);
	rd_kafka_mock_broker_set_down(f->cluster.mock, -1);
	for (uint64_t tag = 1; tag < 100; tag++)
		send_patiently(f, tag);
	assert_int_equal(f->sink->ops->reopen(f->sink), 0);
	assert_int_equal(f->report_count, 100);
	assert_results(f, 1, 100, SINK_NOT_DELIVERED);
	rd_kafka_mock_broker_set_up(f->cluster.mock, -1);
	send_patiently(f, 100);
	wait_reports(f, 101);
	assert_results(f, 100, 101, SINK_DELIVERED);
}

static void
what_is_on_the_wire_gets_its_chance_in_reopen(void **state)
{
	struct fixture *f = *state;

	send_patiently(f, 0);
	wait_reports(f, 1);
	rd_kafka_mock_broker_set_rtt(f->cluster.mock, -1, 150);
	send_patiently(f, 1);
	usleep(
	    50000); /* past linger: whether it is on the wire or not, it comes back */
	assert_int_equal(f->sink->ops->reopen(f->sink), 0);
	assert_int_equal(f->reports[1], 1);
	assert_true(
	    f->result[1] == SINK_DELIVERED || f->result[1] == SINK_NOT_DELIVERED);
}

/* teardown's close() comes while records are out; it must neither wait nor report. */
static void
close_with_records_out_is_quiet(void **state)
{
	struct fixture *f = *state;
	int64_t start_ms;

	send_patiently(f, 0);
	wait_reports(f, 1);
	rd_kafka_mock_broker_set_down(f->cluster.mock, -1);
	for (uint64_t tag = 1; tag < 100; tag++)
		send_patiently(f, tag);
	start_ms = now_monotonic_ms();
	f->sink->ops->close(f->sink);
	assert_true(now_monotonic_ms() - start_ms < WAIT_MS);
	assert_int_equal(f->report_count, 1);
	open_sink(f);
}

/* ---- settings ---- */

static void
assert_mistake(struct fixture *f, const char *name, const char *value, const char *want)
{
	struct settings_property property = {strdup(name), strdup(value), 42};
	struct buffer mistakes = {0};
	int err;

	f->settings.kafka.properties = &property;
	f->settings.kafka.property_count = 1;
	err = kafka_sink_check(&f->settings, &mistakes);
	assert_int_equal(buffer_append(&mistakes, "", 1), 0);
	if (want == NULL) {
		assert_string_equal((const char *)mistakes.data, "");
		assert_int_equal(err, 0);
	} else {
		char start[256];

		snprintf(
		    start, sizeof(start), "file.conf:42: kafka.properties: %s: ", name);
		assert_int_equal(err, ERR_INVALID);
		assert_int_equal(
		    strncmp((const char *)mistakes.data, start, strlen(start)), 0);
		if (strstr((const char *)mistakes.data, want) == NULL)
			fail_msg(
			    "\"%s\" is not in: %s", want, (const char *)mistakes.data);
	}
	buffer_fini(&mistakes);
	free(property.name);
	free(property.value);
	f->settings.kafka.properties = f->properties;
}

static void
what_would_break_a_promise_is_refused(void **state)
{
	assert_mistake(*state, "message.timeout.ms", "1000", "lost");
	assert_mistake(*state, "delivery.timeout.ms", "1000", "lost");
	assert_mistake(*state, "enable.idempotence", "false", "order");
	assert_mistake(*state, "enable.gapless.guarantee", "false", "order");
	assert_mistake(*state, "max.in.flight", "100", "order");
	assert_mistake(*state, "queuing.strategy", "lifo", "order");
	assert_mistake(*state, "retries", "3", "as long as it takes");
	assert_mistake(*state, "acks", "1", "kafka.acks");
	assert_mistake(*state, "bootstrap.servers", "x", "kafka.bootstrap_servers");
	assert_mistake(*state, "client.id", "x", "kafka.client_id_prefix");
	assert_mistake(*state, "compression.type", "lz4", "kafka.compression");
	assert_mistake(*state, "linger.ms", "5", "kafka.linger_ms");
	assert_mistake(*state, "transactional.id", "x", "kafka.transactional_id");
	assert_mistake(*state, "dr_msg_cb", "x", "delivery report");
	assert_mistake(*state, "plugin.library.paths", "x", "foreign code");
	assert_mistake(*state, "max.in.flight.requests.per.connection", "9", "order");
	assert_mistake(*state, "message.send.max.retries", "3", "as long as it takes");
	assert_mistake(*state, "request.required.acks", "1", "kafka.acks");
	assert_mistake(*state, "metadata.broker.list", "x", "kafka.bootstrap_servers");
	assert_mistake(*state, "compression.codec", "lz4", "kafka.compression");
	assert_mistake(*state, "queue.buffering.max.ms", "5", "kafka.linger_ms");
	assert_mistake(*state, "batch.size", "5", "kafka.batch_size_bytes");
	assert_mistake(
	    *state, "queue.buffering.max.messages", "5", "kafka.buffer_max_bytes");
	assert_mistake(*state, "partitioner", "random", "murmur2_random");
	assert_mistake(*state, "transaction.timeout.ms", "1000", "needs it");
	assert_mistake(*state, "delivery.report.only.error", "true", "delivery report");
	assert_mistake(*state, "api.version.request", "false", "headers");
	assert_mistake(*state, "topic.blacklist", "x", "for ever");
	assert_mistake(*state, "test.mock.num.brokers", "1", "does not exist");
}

/* librdkafka itself refuses what has a function of its own to set it. */
static void
what_is_no_text_is_refused(void **state)
{
	static const char *const names[] = {"error_cb", "throttle_cb", "stats_cb",
	    "log_cb", "background_event_cb", "socket_cb", "connect_cb",
	    "closesocket_cb", "open_cb", "resolve_cb", "opaque", "default_topic_conf",
	    "ssl_key", "ssl_certificate", "ssl_ca", "ssl.certificate.verify_cb",
	    "ssl_engine_callback_data", "oauthbearer_token_refresh_cb",
	    "partitioner_cb", "msg_order_cmp", "interceptors", "dr_cb"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_mistake(*state, names[i], "x", "");
}

static void
what_librdkafka_does_not_know_or_take_is_refused(void **state)
{
	assert_mistake(*state, "no.such.thing", "x", "knows no such property");
	assert_mistake(
	    *state, "no.such.thing", "file:/nowhere", "knows no such property");
	assert_mistake(*state, "security.protocol", "rot13", "Invalid value");
	assert_mistake(*state, "socket.timeout.ms", "much", "Invalid value");
	assert_mistake(*state, "sasl.jaas.config", "x", "sasl.username");
	assert_mistake(*state, "ssl.truststore.location", "x", "ssl.ca.location");
	assert_mistake(*state, "max.request.size", "1", "message.max.bytes");
}

static void
what_is_useful_is_taken(void **state)
{
	assert_mistake(*state, "message.max.bytes", "2000000", NULL);
	assert_mistake(*state, "security.protocol", "SSL", NULL);
	assert_mistake(*state, "batch.num.messages", "100", NULL);
}

/* What is said has one line end, its own. */
static void
a_mistake_has_one_line(void **state)
{
	struct fixture *f = *state;
	char name[] = "socket.timeout.ms", value[] = "5";
	struct settings_property property = {name, value, 1};
	struct buffer mistakes = {0};

	f->settings.kafka.properties = &property;
	f->settings.kafka.property_count = 1;
	assert_int_equal(kafka_sink_check(&f->settings, &mistakes), ERR_INVALID);
	assert_int_equal(mistakes.data[mistakes.size - 1], '\n');
	assert_ptr_equal(memchr(mistakes.data, '\n', mistakes.size),
	    mistakes.data + mistakes.size - 1);
	buffer_fini(&mistakes);
	f->settings.kafka.properties = f->properties;
}

/* Said with the property and the file; and the file may come. */
static void
a_file_that_is_away_is_named(void **state)
{
	static const char *const names[] = {"ssl.ca.location", "ssl.crl.location",
	    "ssl.certificate.location", "ssl.key.location", "ssl.keystore.location"};
	struct fixture *f = *state;
	char protocol[] = "security.protocol", tls[] = "SSL";
	char name[64], file[] = "/nowhere/file", want[256];
	char password[] = "ssl.keystore.password", word[] = "x";
	struct settings_property list[] = {
	    {protocol, tls, 1}, {name, file, 2}, {password, word, 3}};
	struct buffer mistakes = {0};
	rd_kafka_conf_t *conf;

	f->settings.kafka.properties = list;
	f->settings.kafka.property_count = 3;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(name, sizeof(name), "%s", names[i]);
		snprintf(want, sizeof(want),
		    "file.conf:2: kafka.properties: %s: /nowhere/file: No such file or "
		    "directory\n",
		    name);
		assert_int_equal(
		    kafka_conf_build(&f->settings, true, &mistakes, &conf), ERR_IO);
		assert_int_equal(buffer_append(&mistakes, "", 1), 0);
		assert_string_equal((const char *)mistakes.data, want);
		buffer_clear(&mistakes);
		assert_int_equal(kafka_sink_check(&f->settings, &mistakes), 0);
	}
	buffer_fini(&mistakes);
	f->settings.kafka.properties = f->properties;
}

static void
mechanism_without_a_user_is_refused(void **state)
{
	struct fixture *f = *state;
	char protocol[] = "security.protocol", tls[] = "SASL_SSL";
	char mechanism[] = "sasl.mechanism", plain[] = "PLAIN";
	char user[] = "sasl.username", me[] = "me";
	char password[] = "sasl.password", secret[] = "file:/not/there/yet";
	struct settings_property list[] = {
	    {protocol, tls, 1},
	    {mechanism, plain, 2},
	    {user, me, 3},
	    {password, secret, 4},
	};
	struct buffer mistakes = {0};

	f->settings.kafka.properties = list;
	f->settings.kafka.property_count = 1;
	assert_int_equal(kafka_sink_check(&f->settings, &mistakes), ERR_INVALID);
	assert_int_equal(buffer_append(&mistakes, "", 1), 0);
	assert_string_equal((const char *)mistakes.data,
	    "file.conf:1: kafka.properties: security.protocol: "
	    "sasl.mechanisms is missing\n");
	buffer_clear(&mistakes);
	f->settings.kafka.property_count = 3;
	assert_int_equal(kafka_sink_check(&f->settings, &mistakes), ERR_INVALID);
	assert_int_equal(buffer_append(&mistakes, "", 1), 0);
	assert_string_equal((const char *)mistakes.data,
	    "file.conf:1: kafka.properties: security.protocol: "
	    "sasl.password is missing\n");
	buffer_clear(&mistakes);
	f->settings.kafka.property_count = 4;
	assert_int_equal(kafka_sink_check(&f->settings, &mistakes), 0);
	buffer_fini(&mistakes);
	f->settings.kafka.properties = f->properties;
}

static void
token_that_nobody_gives_is_refused(void **state)
{
	struct fixture *f = *state;
	char protocol[] = "security.protocol", tls[] = "SASL_SSL";
	char mechanism[] = "sasl.mechanisms", bearer[] = "OAUTHBEARER";
	char unsecured[] = "enable.sasl.oauthbearer.unsecure.jwt", yes[] = "true";
	struct settings_property list[] = {
	    {protocol, tls, 1},
	    {mechanism, bearer, 2},
	    {unsecured, yes, 3},
	};
	struct buffer mistakes = {0};

	f->settings.kafka.properties = list;
	f->settings.kafka.property_count = 2;
	assert_int_equal(kafka_sink_check(&f->settings, &mistakes), ERR_INVALID);
	f->settings.kafka.property_count = 3;
	assert_int_equal(kafka_sink_check(&f->settings, &mistakes), 0);
	buffer_fini(&mistakes);
	f->settings.kafka.properties = f->properties;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(everything_arrives_in_order_and_is_reported_once),
	    TEST(empty_value_and_no_key_arrive_as_such),
	    TEST(first_record_of_a_producer_goes_alone),
	    TEST(one_acknowledgement_needs_no_gate),
	    TEST(a_record_of_megabytes_arrives),
	    TEST(too_large_a_record_is_refused_at_once),
	    TEST(refused_record_ends_the_producer),
	    TEST(refused_timestamp_ends_the_producer),
	    TEST(unknown_topic_is_refused_until_it_is_there),
	    TEST(outage_is_only_waited_for),
	    TEST(reopen_gives_everything_back),
	    TEST(what_is_on_the_wire_gets_its_chance_in_reopen),
	    TEST(close_with_records_out_is_quiet),
	    TEST(what_would_break_a_promise_is_refused),
	    TEST(what_is_no_text_is_refused),
	    TEST(what_librdkafka_does_not_know_or_take_is_refused),
	    TEST(what_is_useful_is_taken),
	    TEST(a_mistake_has_one_line),
	    TEST(a_file_that_is_away_is_named),
	    TEST(mechanism_without_a_user_is_refused),
	    TEST(token_that_nobody_gives_is_refused),
	};
	return cmocka_run_group_tests_name("kafka_sink", tests, NULL, NULL);
}
