/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "forwarder.h"
#include "status.h"

#define NOW_MS  1000000
#define REAL_MS 1763836800000

/* A gateway that is well, to be spoiled by each test in its own way. */
struct fixture {
	struct settings settings;
	struct journal_identity identity;
	struct journal_stat stat;
	struct board_view board, earlier;
	struct board_route routes[2], earlier_routes[2];
	struct status_facts facts;
	struct buffer out;
	json_t *json;
};

static char gateway_id[] = "site-17";

static void
make_routes(struct board_route routes[2], uint64_t acked_seq)
{
	static const char *const names[] = {"north", "south"};

	for (size_t i = 0; i < 2; i++) {
		(void)snprintf(routes[i].name, sizeof(routes[i].name), "%s", names[i]);
		routes[i].start_seq = 40;
		routes[i].acked_seq = acked_seq;
		routes[i].delivered_count = 10 + i;
		routes[i].delivered_bytes = 1000;
		routes[i].dead_count = 2;
		routes[i].error_count = 3;
		routes[i].moved_at_ms = NOW_MS - 500;
	}
}

static void
make_board(struct board_view *v, struct board_route *routes)
{
	v->has_supervisor = v->has_ingest = v->has_forward = true;
	v->supervisor.started_at_ms = 1000;
	for (size_t i = 0; i < BOARD_WORKER_COUNT; i++)
		v->supervisor.members[i].pid = 100;
	v->supervisor.members[BOARD_WORKER_FORWARD].restart_count = 2;
	v->ingest.alive_at_ms = NOW_MS - 100;
	v->ingest.since_ms = NOW_MS - 60000;
	v->ingest.state = BOARD_MQTT_CONNECTED;
	v->ingest.protocol = 5;
	v->ingest.message_count = 99;
	v->ingest.byte_count = 9900;
	v->ingest.commit_count = 9;
	v->forward.alive_at_ms = NOW_MS - 100;
	v->forward.since_ms = NOW_MS - 30000;
	v->forward.run_from_ms = 500;
	v->forward.state = BOARD_KAFKA_REACHABLE;
	v->forward.route_count = 2;
	v->routes = routes;
}

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return -1;
	f->settings.gateway_id = gateway_id;
	f->identity.uuid[0] = 0xab;
	f->stat = (struct journal_stat){.first_seq = 90,
	    .next_seq = 101,
	    .acked_seq = 95,
	    .records = 5,
	    .used_bytes = 4096,
	    .max_bytes = 1 << 20,
	    .oldest_ms = REAL_MS - 12000,
	    .dead_count = 4,
	    .gap_count = 1};
	f->stat.removed[JOURNAL_GAP_TOO_LARGE] = 7;
	make_routes(f->routes, 95);
	make_routes(f->earlier_routes, 80);
	make_board(&f->board, f->routes);
	make_board(&f->earlier, f->earlier_routes);
	f->facts = (struct status_facts){.settings = &f->settings,
	    .identity = &f->identity,
	    .stat = &f->stat,
	    .board = &f->board,
	    .room_bytes = 1000000,
	    .now_ms = NOW_MS,
	    .real_ms = REAL_MS,
	    .is_clock_synchronised = true};
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	json_decref(f->json);
	buffer_fini(&f->out);
	free(f);
	return 0;
}

static json_t *
render(struct fixture *f)
{
	json_decref(f->json);
	buffer_clear(&f->out);
	assert_int_equal(status_render(&f->facts, &f->out), 0);
	f->json = json_loadb((const char *)f->out.data, f->out.size, 0, NULL);
	assert_non_null(f->json);
	return f->json;
}

static const char *
text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	assert_non_null(text);
	return text;
}

static json_int_t
count_of(const json_t *object, const char *name)
{
	assert_true(json_is_integer(json_object_get(object, name)));
	return json_integer_value(json_object_get(object, name));
}

/* ---- states ---- */

static void
says(struct fixture *f, const char *state)
{
	json_t *json = render(f);

	assert_string_equal(text_of(json, "state"), state);
	assert_true(json_is_false(json_object_get(json, "well")));
	assert_true(json_array_size(json_object_get(json, "problems")) > 0);
}

static void
all_is_well(void **state)
{
	json_t *json = render(*state);

	assert_string_equal(text_of(json, "state"), "well");
	assert_true(json_is_true(json_object_get(json, "well")));
	assert_int_equal(json_array_size(json_object_get(json, "problems")), 0);
}

static void
kafka_is_away(void **state)
{
	struct fixture *f = *state;

	f->board.forward.state = BOARD_KAFKA_AWAY;
	says(f, "waiting for Kafka");
	(void)snprintf(f->board.forward.error, sizeof(f->board.forward.error),
	    "connection refused");
	says(f, "waiting for Kafka: connection refused");
	f->stat.records = 0; /* nothing waits: nor is it well */
	says(f, "waiting for Kafka: connection refused");
}

static void
kafka_was_never_asked(void **state)
{
	struct fixture *f = *state;

	f->board.forward.state = BOARD_KAFKA_UNKNOWN;
	says(f, "Kafka has not answered yet");
	f->stat.records = 0;
	assert_string_equal(text_of(render(f), "state"), "well");
}

static void
broker_is_away(void **state)
{
	struct fixture *f = *state;

	f->board.ingest.state = BOARD_MQTT_AWAY;
	says(f, "waiting for the MQTT broker");
}

static void
subscription_is_refused(void **state)
{
	struct fixture *f = *state;

	f->board.ingest.refused_count = 2;
	says(f, "the MQTT broker does not grant 2 of the subscriptions");
}

static void
client_id_is_shared(void **state)
{
	struct fixture *f = *state;

	(void)snprintf(f->board.ingest.error, sizeof(f->board.ingest.error),
	    "another client has connected");
	says(f, "another client has connected");
}

static void
journal_is_full(void **state)
{
	struct fixture *f = *state;

	f->board.ingest.state = BOARD_MQTT_PAUSED;
	says(f, "paused: journal full: the broker keeps what comes");
	assert_string_equal(
	    text_of(json_object_get(f->json, "mqtt"), "state"), "paused");
}

static void
disk_is_full_or_fails(void **state)
{
	struct fixture *f = *state;

	f->board.ingest.state = BOARD_MQTT_DISK_FULL;
	says(f, "paused: disk full");
	f->board.ingest.state = BOARD_MQTT_DISK_FAILS;
	(void)snprintf(f->board.ingest.error, sizeof(f->board.ingest.error), "why");
	says(f, "paused: the journal cannot be written: why");
	assert_string_equal(
	    text_of(json_object_get(f->json, "mqtt"), "state"), "paused");
	f->board.ingest.state = BOARD_MQTT_CONNECTED;
	f->board.ingest.error[0] = '\0';
	(void)snprintf(f->board.forward.journal_error,
	    sizeof(f->board.forward.journal_error), "why");
	says(f, "what was delivered cannot be recorded in the journal: why");
}

static void
route_holds(void **state)
{
	struct fixture *f = *state;
	json_t *route;

	f->routes[1].held_since_ms = NOW_MS - 5000;
	(void)snprintf(
	    f->routes[1].held_why, sizeof(f->routes[1].held_why), "unknown topic");
	says(f, "route south holds: unknown topic");
	route = json_array_get(json_object_get(f->json, "routes"), 1);
	assert_true(json_is_true(json_object_get(route, "held")));
	assert_string_equal(text_of(route, "held_why"), "unknown topic");
	assert_string_equal(text_of(route, "held_since"), "2025-11-22T18:39:55.000Z");
}

static void
route_that_is_off_is_trouble_only_while_records_wait(void **state)
{
	struct fixture *f = *state;
	static char south[] = "south";
	struct settings_route off = {.name = south, .enabled = false};

	f->settings.routes = &off;
	f->settings.route_count = 1;
	f->routes[1].held_since_ms = NOW_MS - 5000;
	(void)snprintf(
	    f->routes[1].held_why, sizeof(f->routes[1].held_why), "switched off");
	says(f, "route south holds: switched off");
	f->routes[1].acked_seq = 100;
	assert_string_equal(text_of(render(f), "state"), "well");
	off.enabled = true;
	says(f, "route south holds: switched off");
}

static void
hold_south(struct fixture *f)
{
	f->routes[1].held_since_ms = NOW_MS - 3600 * 1000;
	f->routes[1].acked_seq = 92;
	(void)snprintf(f->routes[1].held_why, sizeof(f->routes[1].held_why), "why");
}

static void
held_route_that_pins_the_journal_is_named_with_the_time_left(void **state)
{
	struct fixture *f = *state;

	hold_south(f);
	says(f, "route south holds: why"); /* no rate is known */
	f->board.ingest.full_in_ms = (3 * 60 + 27) * 60000;
	says(f, "route south holds: why; route south pins the journal: it holds since "
		"2025-11-22T17:40Z, and there is no room any more in about 3 h 20 min");
	assert_int_equal(count_of(f->json, "full_in_s"), 207 * 60);
	f->routes[0].acked_seq = 91; /* that one is slower, and goes on */
	says(f, "route south holds: why");
	f->routes[0].acked_seq = 95;
	f->facts.is_timeless = true;
	says(f, "route south holds: why");
}

static void
full_journal_names_who_pins_it_and_what_comes_of_it(void **state)
{
	struct fixture *f = *state;

	hold_south(f);
	f->board.ingest.state = BOARD_MQTT_PAUSED;
	says(f, "paused: journal full: the broker keeps what comes; route south holds: "
		"why; route south pins the full journal: it holds since "
		"2025-11-22T17:40Z");
	f->settings.journal.on_full = SETTINGS_FULL_DROP_NEWEST;
	f->board.ingest.state = BOARD_MQTT_CONNECTED;
	f->board.ingest.is_dropping = 1;
	says(f, "journal full: new messages are dropped; route south holds: why; route "
		"south pins the full journal: it holds since 2025-11-22T17:40Z");
}

static void
what_was_dropped_lately_is_said(void **state)
{
	struct fixture *f = *state;

	f->settings.journal.on_full = SETTINGS_FULL_DROP_OLDEST;
	f->board.ingest.dropped_at_ms = NOW_MS - 1000;
	says(f, "journal full lately: the oldest messages were dropped");
	f->board.ingest.dropped_at_ms = NOW_MS - STATUS_DROPPED_MS;
	assert_string_equal(text_of(render(f), "state"), "well");
}

static void
time_left_is_told_while_kafka_is_away(void **state)
{
	static const struct {
		int64_t minutes;
		const char *text;
	} cases[] = {{0, "1 min"}, {7, "7 min"}, {59, "55 min"}, {61, "1 h 0 min"},
	    {11 * 60, "11 h"}, {50 * 60, "2 days"}};
	struct fixture *f = *state;
	char words[100];

	f->board.forward.state = BOARD_KAFKA_AWAY;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		f->board.ingest.full_in_ms = cases[i].minutes * 60000 + 1;
		(void)snprintf(words, sizeof(words),
		    "waiting for Kafka; the journal is full in about %s",
		    cases[i].text);
		says(f, words);
	}
}

static void
several_things_are_listed(void **state)
{
	struct fixture *f = *state;

	f->board.ingest.state = BOARD_MQTT_PAUSED;
	f->board.forward.state = BOARD_KAFKA_AWAY;
	says(f, "paused: journal full: the broker keeps what comes; waiting for Kafka");
	assert_int_equal(json_array_size(json_object_get(f->json, "problems")), 2);
}

static void
nothing_moves_although_kafka_is_there(void **state)
{
	struct fixture *f = *state;

	f->routes[0].moved_at_ms = NOW_MS - STATUS_STALLED_MS - 1;
	says(f, "route north: records wait, and Kafka confirms none");
	f->routes[0].acked_seq = 100; /* nothing waits there */
	assert_string_equal(text_of(render(f), "state"), "well");
	f->routes[0].acked_seq = 95;
	(void)snprintf(
	    f->routes[0].name, sizeof(f->routes[0].name), FORWARDER_UNROUTED);
	assert_string_equal(text_of(render(f), "state"), "well");
}

static void
route_buries(void **state)
{
	struct fixture *f = *state;

	f->routes[1].dead_at_ms = NOW_MS - STATUS_DEAD_MS + 1;
	says(f, "route south: records become dead letters");
	f->routes[1].dead_at_ms = NOW_MS - STATUS_DEAD_MS;
	assert_string_equal(text_of(render(f), "state"), "well");
}

static void
worker_died(void **state)
{
	struct fixture *f = *state;
	struct board_member *m = &f->board.supervisor.members[BOARD_WORKER_FORWARD];

	m->pid = 0;
	(void)snprintf(m->died, sizeof(m->died), "signal 9, Killed");
	says(f, "tidegate-forward does not run: signal 9, Killed");
}

static void
worker_hangs(void **state)
{
	struct fixture *f = *state;

	f->board.forward.alive_at_ms = NOW_MS - STATUS_SILENT_MS - 1;
	says(f, "no word from tidegate-forward any more");
	f->board.ingest.alive_at_ms = NOW_MS - STATUS_SILENT_MS - 1;
	says(f, "no word from tidegate-ingest any more; no word from tidegate-forward "
		"any more");
}

static void
worker_runs_alone(void **state)
{
	struct fixture *f = *state;

	f->board.has_supervisor = f->board.has_ingest = false;
	says(f, "no word from tidegate-ingest yet");
	assert_string_equal(
	    text_of(json_object_get(f->json, "mqtt"), "state"), "unknown");
}

static void
journal_cannot_be_read(void **state)
{
	struct fixture *f = *state;

	f->facts.stat = NULL;
	says(f, "the journal cannot be read");
}

static void
a_thousand_routes_that_hold_are_bounded(void **state)
{
	struct fixture *f = *state;
	struct board_route *routes = calloc(1000, sizeof(*routes));
	json_t *json;

	assert_non_null(routes);
	for (int i = 0; i < 1000; i++) {
		(void)snprintf(routes[i].name, sizeof(routes[i].name), "r%d", i);
		routes[i].held_since_ms = 1;
	}
	f->board.routes = routes;
	f->board.forward.route_count = 1000;
	json = render(f);
	assert_int_equal(json_array_size(json_object_get(json, "problems")),
	    STATUS_PROBLEMS_MAX + 1);
	assert_int_equal(
	    json_array_size(json_object_get(json, "routes")), STATUS_ROUTES_MAX);
	assert_int_equal(count_of(json, "routes_left_out"), 1000 - STATUS_ROUTES_MAX);
	assert_non_null(strstr(text_of(json, "state"), "and 980 more"));
	assert_true(f->out.size < 100000);
	free(routes);
}

/* ---- fields ---- */

static void
every_field_is_there(void **state)
{
	json_t *json = render(*state), *part;

	assert_string_equal(text_of(json, "gateway"), "site-17");
	assert_string_equal(text_of(json, "time"), "2025-11-22T18:40:00.000Z");
	assert_string_equal(text_of(json, "version"), PACKAGE_VERSION);
	assert_string_equal(
	    text_of(json, "journal"), "ab000000-0000-0000-0000-000000000000");
	assert_int_equal(count_of(json, "first_seq"), 90);
	assert_int_equal(count_of(json, "next_seq"), 101);
	assert_int_equal(count_of(json, "acknowledged_seq"), 95);
	assert_int_equal(count_of(json, "records_waiting"), 5);
	assert_int_equal(count_of(json, "oldest_age_s"), 12);
	assert_int_equal(count_of(json, "used_bytes"), 4096);
	assert_int_equal(count_of(json, "max_bytes"), 1 << 20);
	assert_int_equal(count_of(json, "free_bytes"), 1000000);
	assert_int_equal(count_of(json, "dead_records"), 4);
	assert_int_equal(count_of(json, "dropped_records"), 7);
	assert_int_equal(count_of(json, "gaps"), 1);
	assert_true(json_is_true(json_object_get(json, "clock_synchronised")));
	assert_string_equal(text_of(json, "started"), "2025-11-22T18:23:21.000Z");
	part = json_object_get(json, "restarts");
	assert_int_equal(count_of(part, "tidegate-ingest"), 0);
	assert_int_equal(count_of(part, "tidegate-forward"), 2);
	part = json_object_get(json, "mqtt");
	assert_string_equal(text_of(part, "state"), "connected");
	assert_string_equal(text_of(part, "since"), "2025-11-22T18:39:00.000Z");
	assert_int_equal(count_of(part, "protocol"), 5);
	assert_int_equal(count_of(part, "received_messages"), 99);
	assert_int_equal(count_of(part, "received_bytes"), 9900);
	assert_int_equal(count_of(part, "commits"), 9);
	part = json_object_get(json, "kafka");
	assert_string_equal(text_of(part, "state"), "reachable");
	assert_string_equal(text_of(part, "since"), "2025-11-22T18:39:30.000Z");
	part = json_array_get(json_object_get(json, "routes"), 1);
	assert_string_equal(text_of(part, "name"), "south");
	assert_int_equal(count_of(part, "acknowledged_seq"), 95);
	assert_int_equal(count_of(part, "acknowledged_from_seq"), 41);
	assert_int_equal(count_of(part, "delivered_records"), 11);
	assert_int_equal(count_of(part, "delivered_bytes"), 1000);
	assert_int_equal(count_of(part, "dead_records"), 2);
	assert_int_equal(count_of(part, "errors"), 3);
	assert_true(json_is_false(json_object_get(part, "held")));
}

static void
figures_of_both_ends_are_told(void **state)
{
	struct fixture *f = *state;
	json_t *json;

	f->board.forward.sent_bytes = 12345;
	json = render(f);
	assert_int_equal(count_of(json_object_get(json, "kafka"), "sent_bytes"), 12345);
	assert_null(
	    json_object_get(json_object_get(json, "mqtt"), "broker_dropped_messages"));
	f->board.ingest.has_broker_dropped = 1;
	json = render(f);
	assert_int_equal(
	    count_of(json_object_get(json, "mqtt"), "broker_dropped_messages"), 0);
}

static void
put_certificate(
    struct board_certificate list[], size_t at, const char *file, int64_t left_s)
{
	(void)snprintf(list[at].file, sizeof(list[at].file), "%s", file);
	list[at].expires_at_s = REAL_MS / 1000 + left_s;
}

static const char *
warning_of(json_t *json, size_t at)
{
	return json_string_value(json_array_get(json_object_get(json, "warnings"), at));
}

static void
certificates_are_told_and_warned_of_while_all_is_well(void **state)
{
	struct fixture *f = *state;
	json_t *json, *list;

	json = render(f);
	assert_int_equal(json_array_size(json_object_get(json, "certificates")), 0);
	assert_int_equal(json_array_size(json_object_get(json, "warnings")), 0);
	put_certificate(f->board.ingest.certificates, 0, "/own.pem", 30 * 86400 - 1);
	put_certificate(f->board.ingest.certificates, 1, "/ca.pem", 30 * 86400);
	put_certificate(f->board.forward.certificates, 0, "/ca.pem", 30 * 86400);
	put_certificate(f->board.forward.certificates, 1, "/old.pem", 0);
	put_certificate(f->board.forward.certificates, 2, "/away.pem", 0);
	f->board.forward.certificates[2].expires_at_s = 0;
	json = render(f);
	list = json_object_get(json, "certificates");
	assert_int_equal(json_array_size(list), 4);
	assert_string_equal(text_of(json_array_get(list, 1), "file"), "/ca.pem");
	assert_string_equal(
	    text_of(json_array_get(list, 1), "expires"), "2025-12-22T18:40:00.000Z");
	assert_null(json_object_get(json_array_get(list, 3), "expires"));
	assert_int_equal(json_array_size(json_object_get(json, "warnings")), 2);
	assert_string_equal(
	    warning_of(json, 0), "the certificate in /own.pem expires in 29 days");
	assert_string_equal(
	    warning_of(json, 1), "the certificate in /old.pem has expired");
	assert_string_equal(text_of(json, "state"), "well");
}

static void
latest_gaps_are_announced(void **state)
{
	struct fixture *f = *state;
	const struct journal_gap gap = {.first_seq = 33,
	    .count = 7,
	    .at_ms = REAL_MS - 1000,
	    .reason = JOURNAL_GAP_TOO_LARGE};
	json_t *one;

	assert_int_equal(json_array_size(json_object_get(render(f), "latest_gaps")), 0);
	f->facts.gaps = &gap;
	f->facts.gap_count = 1;
	one = json_array_get(json_object_get(render(f), "latest_gaps"), 0);
	assert_int_equal(count_of(one, "first_seq"), 33);
	assert_int_equal(count_of(one, "count"), 7);
	assert_string_equal(
	    text_of(one, "reason"), journal_gap_reason_str(JOURNAL_GAP_TOO_LARGE));
	assert_string_equal(text_of(one, "time"), "2025-11-22T18:39:59.000Z");
}

static void
set_topic(struct board_view *v, uint32_t at, const char *name, uint64_t count)
{
	(void)snprintf(
	    v->forward.topics[at].name, sizeof(v->forward.topics[at].name), "%s", name);
	v->forward.topics[at].count = count;
	if (v->forward.topic_count <= at)
		v->forward.topic_count = at + 1;
}

static void
acknowledged_counts_are_since_the_last_report(void **state)
{
	struct fixture *f = *state;
	json_t *json, *topics;

	set_topic(&f->earlier, 0, "a", 100);
	f->earlier.forward.other_count = 3;
	set_topic(&f->board, 0, "a", 107);
	set_topic(&f->board, 1, "b", 8);
	f->board.forward.other_count = 5;
	f->facts.earlier = &f->earlier;
	json = render(f);
	topics = json_object_get(json, "acknowledged_by_topic");
	assert_int_equal(count_of(topics, "a"), 7);
	assert_int_equal(count_of(topics, "b"), 8);
	assert_int_equal(count_of(json, "acknowledged_to_other_topics"), 2);
	assert_int_equal(count_of(json_array_get(json_object_get(json, "routes"), 0),
			     "acknowledged_from_seq"),
	    81);
}

static void
counts_begin_anew_with_a_new_forward(void **state)
{
	struct fixture *f = *state;
	json_t *json;

	set_topic(&f->earlier, 0, "a", 100);
	set_topic(&f->board, 0, "b", 6);
	f->board.forward.run_from_ms = 600;
	f->facts.earlier = &f->earlier;
	json = render(f);
	assert_int_equal(
	    count_of(json_object_get(json, "acknowledged_by_topic"), "b"), 6);
	assert_int_equal(count_of(json_array_get(json_object_get(json, "routes"), 0),
			     "acknowledged_from_seq"),
	    41);
}

static void
busiest_topics_are_named_the_rest_is_summed_up(void **state)
{
	struct fixture *f = *state;
	json_t *json, *topics;
	char name[16];

	for (uint32_t i = 0; i < BOARD_TOPICS_MAX; i++) {
		(void)snprintf(name, sizeof(name), "t%u", i);
		set_topic(&f->board, i, name, i + 1);
	}
	f->board.forward.other_count = 1000;
	json = render(f);
	topics = json_object_get(json, "acknowledged_by_topic");
	assert_int_equal(json_object_size(topics), STATUS_TOPICS_MAX);
	assert_int_equal(count_of(topics, "t63"), 64);
	assert_null(json_object_get(topics, "t43"));
	/* 1 + 2 + ... + 44 */
	assert_int_equal(
	    count_of(json, "acknowledged_to_other_topics"), 1000 + 44 * 45 / 2);
}

static void
text_that_is_not_utf8_stays_json(void **state)
{
	struct fixture *f = *state;

	f->board.forward.state = BOARD_KAFKA_AWAY;
	(void)snprintf(f->board.forward.error, sizeof(f->board.forward.error),
	    "caf\xc3\xa9 \xc3\"\n");
	assert_non_null(strstr(text_of(render(f), "state"), "caf\xc3\xa9 \\xc3\"\\n"));
}

static void
clock_that_went_back_gives_no_negative_age(void **state)
{
	struct fixture *f = *state;

	f->stat.oldest_ms = REAL_MS + 5000;
	assert_int_equal(count_of(render(f), "oldest_age_s"), 0);
}

/* For who asks whether the processes run: an outage is no reason to restart them. */
static void
workers_are_judged_by_their_life_alone(void **state)
{
	struct fixture *f = *state;

	f->board.forward.state = BOARD_KAFKA_AWAY;
	f->board.ingest.state = BOARD_MQTT_AWAY;
	assert_int_equal(status_workers(&f->facts, &f->out), 0);
	assert_int_equal(f->out.size, 0);
	f->board.ingest.alive_at_ms = NOW_MS - STATUS_SILENT_MS - 1;
	f->board.supervisor.members[BOARD_WORKER_FORWARD].pid = 0;
	assert_int_equal(status_workers(&f->facts, &f->out), 0);
	assert_string_equal(
	    (const char *)f->out.data, "no word from tidegate-ingest any more");
	assert_string_equal((const char *)f->out.data + strlen((char *)f->out.data) + 1,
	    "tidegate-forward does not run");
}

static void
will_says_gone(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(status_gone(&f->settings, &f->out), 0);
	f->json = json_loadb((const char *)f->out.data, f->out.size, 0, NULL);
	assert_non_null(f->json);
	assert_string_equal(text_of(f->json, "gateway"), "site-17");
	assert_string_equal(text_of(f->json, "state"), "gone");
	assert_true(json_is_false(json_object_get(f->json, "well")));
}

#define WELL(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    WELL(all_is_well),
	    WELL(kafka_is_away),
	    WELL(workers_are_judged_by_their_life_alone),
	    WELL(kafka_was_never_asked),
	    WELL(broker_is_away),
	    WELL(subscription_is_refused),
	    WELL(client_id_is_shared),
	    WELL(journal_is_full),
	    WELL(disk_is_full_or_fails),
	    WELL(route_holds),
	    WELL(route_that_is_off_is_trouble_only_while_records_wait),
	    WELL(held_route_that_pins_the_journal_is_named_with_the_time_left),
	    WELL(full_journal_names_who_pins_it_and_what_comes_of_it),
	    WELL(what_was_dropped_lately_is_said),
	    WELL(time_left_is_told_while_kafka_is_away),
	    WELL(several_things_are_listed),
	    WELL(nothing_moves_although_kafka_is_there),
	    WELL(route_buries),
	    WELL(worker_died),
	    WELL(worker_hangs),
	    WELL(worker_runs_alone),
	    WELL(journal_cannot_be_read),
	    WELL(a_thousand_routes_that_hold_are_bounded),
	    WELL(every_field_is_there),
	    WELL(figures_of_both_ends_are_told),
	    WELL(certificates_are_told_and_warned_of_while_all_is_well),
	    WELL(latest_gaps_are_announced),
	    WELL(acknowledged_counts_are_since_the_last_report),
	    WELL(counts_begin_anew_with_a_new_forward),
	    WELL(busiest_topics_are_named_the_rest_is_summed_up),
	    WELL(text_that_is_not_utf8_stays_json),
	    WELL(clock_that_went_back_gives_no_negative_age),
	    WELL(will_says_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
