/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exactly once: the flow of recover, send, commit and abort against librdkafka's mock
 * cluster, within this process. The mock takes every transaction's word for it and hides
 * nothing that was aborted: what is proven here is who calls what when, and nothing about
 * exactly once. That is for tests/kafka/exactly_once.sh.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/mock_cluster.h"
#include "err.h"
#include "kafka_sink.h"
#include "now.h"

#define TOPIC     "t"
#define POSITIONS "positions"
#define TAGS      100
#define WAIT_MS   20000

/* Requests, by their numbers in Kafka's protocol. */
#define API_PRODUCE        0
#define API_INIT_PRODUCER  22
#define API_ADD_PARTITIONS 24
#define API_END            26

struct fixture {
	struct mock_cluster cluster;
	struct settings settings;
	struct settings_property properties[2];
	struct sink *sink;
	int reports[TAGS];
	enum sink_result result[TAGS];
	size_t report_count;
	struct buffer position;
};

static char propagation[] = "topic.metadata.propagation.max.ms", fast[] = "100",
	    backoff[] = "reconnect.backoff.max.ms", id[] = "site-1",
	    positions[] = POSITIONS;

static void
take(void *context, uint64_t tag, enum sink_result result, const char *text)
{
	struct fixture *f = context;

	(void)text;
	assert_true(tag < TAGS);
	f->reports[tag]++;
	f->result[tag] = result;
	f->report_count++;
}

static void
open_sink(struct fixture *f, uint8_t uuid)
{
	assert_int_equal(
	    kafka_sink_open(&f->sink, &f->settings, (const uint8_t[16]){uuid}), 0);
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
	rd_kafka_mock_topic_create(f->cluster.mock, POSITIONS, 1, 1);
	f->properties[0] = (struct settings_property){propagation, fast, 1};
	f->properties[1] = (struct settings_property){backoff, fast, 2};
	k->properties = f->properties;
	k->property_count = 2;
	k->delivery = SETTINGS_EXACTLY_ONCE;
	k->transactional_id = id;
	k->position_topic = positions;
	open_sink(f, 1);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	f->sink->ops->close(f->sink);
	mock_cluster_close(&f->cluster);
	buffer_fini(&f->position);
	free(f);
	return 0;
}

/* ---- the calls, again while they say "again" ---- */

enum call { RECOVER, COMMIT, ABORT };

static int
call(struct fixture *f, enum call which, const char *position)
{
	int64_t deadline_ms = now_monotonic_ms() + WAIT_MS;
	int err = ERR_AWAY;

	while (err == ERR_AWAY) {
		int64_t start_ms = now_monotonic_ms();

		assert_true(start_ms < deadline_ms);
		if (which == RECOVER)
			err = f->sink->ops->recover(f->sink, &f->position);
		else if (which == COMMIT)
			err = f->sink->ops->commit(
			    f->sink, (struct bytes){position, strlen(position)});
		else
			err = f->sink->ops->abort(f->sink);
		if (err == ERR_AWAY)
			mock_cluster_turn(f->sink, 5);
	}
	return err;
}

static int
send_to(struct fixture *f, const char *topic, uint64_t tag)
{
	char value[32];
	struct sink_record r = {.topic = topic,
	    .copy_value = true,
	    .timestamp_ms = 1700000000000,
	    .value = {value, 0}};

	snprintf(value, sizeof(value), "value %llu", (unsigned long long)tag);
	r.value.size = strlen(value);
	return f->sink->ops->send(f->sink, &r, tag);
}

/* Until the sink has an opinion about it. */
static int
send_patiently(struct fixture *f, const char *topic, uint64_t tag)
{
	int64_t deadline_ms = now_monotonic_ms() + WAIT_MS;
	int err = send_to(f, topic, tag);

	while (err == ERR_AWAY) {
		assert_true(now_monotonic_ms() < deadline_ms);
		mock_cluster_turn(f->sink, 5);
		err = send_to(f, topic, tag);
	}
	return err;
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

/* So many records, delivered, in a transaction that is open. */
static void
deliver(struct fixture *f, uint64_t from, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		assert_int_equal(send_patiently(f, TOPIC, from + i), 0);
	wait_reports(f, f->report_count + count);
	for (uint64_t i = 0; i < count; i++)
		assert_int_equal(f->result[from + i], SINK_DELIVERED);
}

/*
 * A refused record has taken a sequence number that Kafka has not seen: librdkafka's next
 * transaction fails for that (seen with 2.0.2), and the abort of that one mends it.
 */
static void
deliver_at_last(struct fixture *f, uint64_t tag)
{
	for (int tries = 0; tries < 3; tries++) {
		assert_int_equal(send_patiently(f, TOPIC, tag), 0);
		wait_reports(f, f->report_count + 1);
		if (f->result[tag] == SINK_DELIVERED)
			return;
		assert_int_equal(f->result[tag], SINK_NOT_DELIVERED);
		assert_int_equal(call(f, ABORT, NULL), 0);
	}
	fail_msg("%llu is never delivered", (unsigned long long)tag);
}

static void
assert_position(struct fixture *f, const char *want)
{
	assert_int_equal(call(f, RECOVER, NULL), 0);
	assert_int_equal(f->position.size, strlen(want));
	if (f->position.size > 0)
		assert_memory_equal(f->position.data, want, f->position.size);
}

/* As after a crash: another sink, which knows nothing. */
static void
start_again(struct fixture *f, uint8_t uuid)
{
	f->sink->ops->close(f->sink);
	open_sink(f, uuid);
}

static bool
is_fatal(struct fixture *f)
{
	const char *text;

	return f->sink->ops->is_fatal(f->sink, &text);
}

/* ---- the straight way ---- */

static void
nothing_is_sent_before_recover(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 20; i++) {
		assert_int_equal(send_to(f, TOPIC, 0), ERR_AWAY);
		mock_cluster_turn(f->sink, 5);
	}
	assert_position(f, "");
	assert_int_equal(send_patiently(f, TOPIC, 0), 0);
}

static void
last_position_of_this_journal_is_read_back(void **state)
{
	struct fixture *f = *state;

	assert_position(f, "");
	deliver(f, 0, 3);
	assert_int_equal(call(f, COMMIT, "one"), 0);
	deliver(f, 3, 2);
	assert_int_equal(call(f, COMMIT, "two"), 0);
	assert_int_equal(f->report_count, 5); /* none for the position */
	start_again(f, 1);
	assert_position(f, "two");
	start_again(f, 2);
	assert_position(f, "");
	assert_int_equal(call(f, COMMIT, "other"), 0);
	start_again(f, 1);
	assert_position(f, "two");
}

/* More than a few windows behind the end. */
static void
a_position_far_back_is_found(void **state)
{
	struct fixture *f = *state;

	assert_position(f, "");
	assert_int_equal(call(f, COMMIT, "far back"), 0);
	start_again(f, 2);
	assert_position(f, "");
	for (int i = 0; i < 400; i++)
		assert_int_equal(call(f, COMMIT, "another"), 0);
	start_again(f, 1);
	assert_position(f, "far back");
}

/* Who has waited because the position was another process's looks again. */
static void
a_second_look_sees_what_was_written_since(void **state)
{
	struct fixture *f = *state;
	struct sink *one = f->sink;

	assert_position(f, "");
	open_sink(f, 1);
	assert_position(f, "");
	assert_int_equal(call(f, COMMIT, "of another process"), 0);
	f->sink->ops->close(f->sink);
	f->sink = one;
	assert_position(f, "of another process");
}

static void
abort_gives_everything_back(void **state)
{
	struct fixture *f = *state;

	assert_position(f, "");
	deliver(f, 0, 3);
	rd_kafka_mock_broker_set_rtt(f->cluster.mock, -1, 300);
	for (uint64_t tag = 3; tag < 6; tag++)
		assert_int_equal(send_patiently(f, TOPIC, tag), 0);
	assert_int_equal(call(f, ABORT, NULL), 0);
	assert_int_equal(f->report_count, 6);
	for (uint64_t tag = 3; tag < 6; tag++)
		assert_int_equal(f->result[tag], SINK_NOT_DELIVERED);
	rd_kafka_mock_broker_set_rtt(f->cluster.mock, -1, 0);
	assert_int_equal(call(f, ABORT, NULL), 0); /* nothing is open */
	deliver(f, 6, 1);
	assert_int_equal(call(f, COMMIT, "after"), 0);
	start_again(f, 1);
	assert_position(f, "after");
}

/* How fast the link is has to be seen first. */
static void
transactions_grow_while_they_are_quick(void **state)
{
	static const char value[100000];
	struct fixture *f = *state;
	struct sink_record r = {.topic = TOPIC,
	    .copy_value = true,
	    .timestamp_ms = 1700000000000,
	    .value = {value, sizeof(value)}};
	size_t before = 0;

	assert_position(f, "");
	for (int i = 0; i < 4; i++) {
		size_t reported = f->report_count, count = 0;
		int err;

		assert_int_equal(send_patiently(f, TOPIC, TAGS - 1), 0);
		for (err = 0; err == 0; count += err == 0)
			err = f->sink->ops->send(f->sink, &r, TAGS - 1);
		assert_int_equal(err, ERR_FULL);
		assert_true(count > before);
		before = count;
		wait_reports(f, reported + 1 + count);
		assert_int_equal(call(f, COMMIT, "all of it"), 0);
	}
}

/* ---- what is refused ---- */

static void
a_refused_record_is_named_and_has_the_rest_aborted(void **state)
{
	struct fixture *f = *state;

	assert_position(f, "");
	deliver(f, 0, 1);
	rd_kafka_mock_push_request_errors(
	    f->cluster.mock, API_PRODUCE, 1, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
	assert_int_equal(send_patiently(f, TOPIC, 1), 0);
	wait_reports(f, 2);
	assert_int_equal(f->result[1], SINK_RECORD_TOO_LARGE);
	assert_int_equal(send_to(f, TOPIC, 2), ERR_AWAY);
	assert_int_equal(call(f, COMMIT, "never"), ERR_REFUSED);
	assert_int_equal(send_to(f, TOPIC, 2), ERR_AWAY);
	assert_int_equal(call(f, ABORT, NULL), 0);
	assert_false(is_fatal(f));
	deliver_at_last(f, 2);
	assert_int_equal(call(f, COMMIT, "then"), 0);
	start_again(f, 1);
	assert_position(f, "then");
}

static void
unknown_topic_disturbs_no_transaction(void **state)
{
	struct fixture *f = *state;
	int64_t start_ms;

	rd_kafka_mock_topic_set_error(
	    f->cluster.mock, "later", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
	assert_position(f, "");
	deliver(f, 0, 2);
	start_ms = now_monotonic_ms();
	assert_int_equal(send_patiently(f, "later", 2), ERR_REFUSED);
	assert_true(now_monotonic_ms() - start_ms < 10000);
	assert_int_equal(send_patiently(f, TOPIC, 2), 0);
	wait_reports(f, 3);
	assert_int_equal(call(f, COMMIT, "two"), 0);
	rd_kafka_mock_topic_set_error(
	    f->cluster.mock, "later", RD_KAFKA_RESP_ERR_NO_ERROR);
	start_ms = now_monotonic_ms();
	while (send_patiently(f, "later", 3) == ERR_REFUSED) {
		assert_true(now_monotonic_ms() - start_ms < WAIT_MS);
		mock_cluster_turn(f->sink, 100);
	}
	wait_reports(f, 4);
	assert_int_equal(f->result[3], SINK_DELIVERED);
	assert_int_equal(call(f, COMMIT, "three"), 0);
}

/* transactional.id.expiration.ms is over: the same producer goes on. */
static void
expired_id_is_mended_by_an_abort(void **state)
{
	struct fixture *f = *state;

	assert_position(f, "");
	rd_kafka_mock_push_request_errors(f->cluster.mock, API_ADD_PARTITIONS, 1,
	    RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING);
	assert_int_equal(send_patiently(f, TOPIC, 0), 0);
	wait_reports(f, 1);
	assert_int_equal(f->result[0], SINK_NOT_DELIVERED);
	assert_int_equal(call(f, ABORT, NULL), 0);
	assert_false(is_fatal(f));
	deliver(f, 1, 1);
	assert_int_equal(call(f, COMMIT, "then"), 0);
}

static void
topic_that_we_may_not_write_to_is_refused_alone(void **state)
{
	struct fixture *f = *state;

	assert_position(f, "");
	rd_kafka_mock_push_request_errors(f->cluster.mock, API_ADD_PARTITIONS, 1,
	    RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
	assert_int_equal(send_patiently(f, TOPIC, 0), 0);
	wait_reports(f, 1);
	assert_int_equal(f->result[0], SINK_ROUTE_REFUSED);
	assert_int_equal(call(f, ABORT, NULL), 0);
	assert_int_equal(send_patiently(f, TOPIC, 1), ERR_REFUSED);
	assert_false(is_fatal(f));
}

/* ---- the end of a producer ---- */

static void
assert_ends(struct fixture *f, int16_t api, rd_kafka_resp_err_t code)
{
	assert_position(f, "");
	deliver(f, 0, 1);
	assert_int_equal(call(f, COMMIT, "one"), 0);
	deliver(f, 1, 1);
	rd_kafka_mock_push_request_errors(f->cluster.mock, api, 1, code);
	assert_int_equal(call(f, COMMIT, "two"), ERR_FATAL);
	assert_true(is_fatal(f));
	assert_int_equal(send_to(f, TOPIC, 2), ERR_FATAL);
	assert_int_equal(call(f, ABORT, NULL), ERR_FATAL);
	assert_int_equal(f->sink->ops->reopen(f->sink), 0);
	assert_false(is_fatal(f));
	assert_int_equal(send_to(f, TOPIC, 2), ERR_AWAY);
	/* The mock keeps what was aborted: the position may be either. */
	assert_int_equal(call(f, RECOVER, NULL), 0);
	deliver(f, 2, 1);
	assert_int_equal(call(f, COMMIT, "three"), 0);
	start_again(f, 1);
	assert_position(f, "three");
}

static void
fenced_producer_is_made_anew(void **state)
{
	assert_ends(*state, API_END, RD_KAFKA_RESP_ERR_PRODUCER_FENCED);
}

static void
state_that_nobody_knows_ends_the_producer(void **state)
{
	assert_ends(*state, API_END, RD_KAFKA_RESP_ERR_INVALID_TXN_STATE);
}

static void
recover_says_that_the_id_is_not_for_us(void **state)
{
	struct fixture *f = *state;

	rd_kafka_mock_push_request_errors(f->cluster.mock, API_INIT_PRODUCER, 1,
	    RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
	assert_int_equal(call(f, RECOVER, NULL), ERR_FATAL);
	assert_true(is_fatal(f));
	assert_int_equal(f->sink->ops->reopen(f->sink), 0);
	assert_position(f, "");
}

/* ---- outages ---- */

static void
recover_waits_for_kafka(void **state)
{
	struct fixture *f = *state;
	int64_t end_ms = now_monotonic_ms() + 1500;
	size_t calls = 0;

	rd_kafka_mock_broker_set_down(f->cluster.mock, -1);
	while (now_monotonic_ms() < end_ms) {
		int64_t start_ms = now_monotonic_ms();

		assert_int_equal(
		    f->sink->ops->recover(f->sink, &f->position), ERR_AWAY);
		assert_true(now_monotonic_ms() - start_ms < 5000);
		mock_cluster_turn(f->sink, 10);
		calls++;
	}
	assert_true(calls > 1);
	rd_kafka_mock_broker_set_up(f->cluster.mock, -1);
	assert_position(f, "");
}

static void
commit_waits_for_kafka_and_goes_on(void **state)
{
	struct fixture *f = *state;
	int64_t end_ms;

	assert_position(f, "");
	deliver(f, 0, 5);
	rd_kafka_mock_broker_set_down(f->cluster.mock, -1);
	end_ms = now_monotonic_ms() + 1000;
	while (now_monotonic_ms() < end_ms) {
		assert_int_equal(
		    f->sink->ops->commit(f->sink, (struct bytes){"x", 1}), ERR_AWAY);
		assert_int_equal(send_to(f, TOPIC, 5), ERR_AWAY);
		mock_cluster_turn(f->sink, 10);
	}
	rd_kafka_mock_broker_set_up(f->cluster.mock, -1);
	assert_int_equal(call(f, COMMIT, "x"), 0);
	start_again(f, 1);
	assert_position(f, "x");
}

static void
close_with_a_transaction_open_is_quick(void **state)
{
	struct fixture *f = *state;
	int64_t start_ms;

	assert_position(f, "");
	deliver(f, 0, 1);
	rd_kafka_mock_broker_set_down(f->cluster.mock, -1);
	assert_int_equal(send_patiently(f, TOPIC, 1), 0);
	start_ms = now_monotonic_ms();
	f->sink->ops->close(f->sink);
	assert_true(now_monotonic_ms() - start_ms < WAIT_MS);
	assert_int_equal(f->report_count, 1);
	open_sink(f, 1);
}

static void
at_least_once_has_no_transactions(void **state)
{
	struct fixture *f = *state;

	f->sink->ops->close(f->sink);
	f->settings.kafka.delivery = SETTINGS_AT_LEAST_ONCE;
	open_sink(f, 1);
	assert_null(f->sink->ops->recover);
	assert_null(f->sink->ops->commit);
	assert_null(f->sink->ops->abort);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(nothing_is_sent_before_recover),
	    TEST(last_position_of_this_journal_is_read_back),
	    TEST(a_position_far_back_is_found),
	    TEST(a_second_look_sees_what_was_written_since),
	    TEST(abort_gives_everything_back),
	    TEST(transactions_grow_while_they_are_quick),
	    TEST(a_refused_record_is_named_and_has_the_rest_aborted),
	    TEST(unknown_topic_disturbs_no_transaction),
	    TEST(expired_id_is_mended_by_an_abort),
	    TEST(topic_that_we_may_not_write_to_is_refused_alone),
	    TEST(fenced_producer_is_made_anew),
	    TEST(state_that_nobody_knows_ends_the_producer),
	    TEST(recover_says_that_the_id_is_not_for_us),
	    TEST(recover_waits_for_kafka),
	    TEST(commit_waits_for_kafka_and_goes_on),
	    TEST(close_with_a_transaction_open_is_quick),
	    TEST(at_least_once_has_no_transactions),
	};
	return cmocka_run_group_tests_name("kafka_transaction", tests, NULL, NULL);
}
