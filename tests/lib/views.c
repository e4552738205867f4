/* SPDX-License-Identifier: Apache-2.0 */
#include "views.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char gateway_id[] = "site-17";
static char broker_host[] = "broker.site-17.example";
static char kafka_servers[] = "kafka-1.example:9093,kafka-2.example:9093";
static char route_names[VIEWS_ROUTES][24] = {
    "telemetry", "alarms", "energy <north> & Co"};

static void
make_settings(struct made_view *m)
{
	m->settings.gateway_id = gateway_id;
	m->settings.mqtt.host = broker_host;
	m->settings.mqtt.port = 8883;
	m->settings.kafka.bootstrap_servers = kafka_servers;
	m->settings.routes = m->settings_routes;
	m->settings.route_count = VIEWS_ROUTES;
	for (size_t i = 0; i < VIEWS_ROUTES; i++) {
		m->settings_routes[i].name = route_names[i];
		m->settings_routes[i].enabled = true;
	}
}

static void
make_supervisor(struct board_supervisor *s)
{
	s->started_at_ms = VIEWS_NOW_MS - INT64_C(86300000);
	for (uint32_t i = 0; i < BOARD_WORKER_COUNT; i++)
		s->members[i].pid = 4710 + i;
	s->members[BOARD_WORKER_FORWARD].restart_count = 1;
	(void)snprintf(s->members[BOARD_WORKER_FORWARD].died, BOARD_TEXT_BYTES,
	    "killed by signal 9");
}

static void
make_workers(struct made_view *m)
{
	struct board_ingest *in = &m->board.ingest;
	struct board_forward *w = &m->board.forward;

	in->alive_at_ms = w->alive_at_ms = VIEWS_NOW_MS - 300;
	in->since_ms = VIEWS_NOW_MS - 4000000;
	w->since_ms = VIEWS_NOW_MS - 12000000;
	in->state = BOARD_MQTT_CONNECTED;
	in->protocol = 5;
	in->message_count = 1234567;
	in->byte_count = 987654321;
	in->full_in_ms = 0;
	w->state = BOARD_KAFKA_REACHABLE;
	w->route_count = VIEWS_ROUTES;
	w->sent_bytes = 654321987;
	w->next_seq = 1234568;
	(void)snprintf(in->certificates[0].file, BOARD_FILE_BYTES,
	    "/etc/tidegate/tls/gateway.pem");
	in->certificates[0].expires_at_s = VIEWS_REAL_MS / 1000 + 12 * 86400 + 500;
	(void)snprintf(w->certificates[0].file, BOARD_FILE_BYTES,
	    "/etc/tidegate/tls/kafka-ca.pem");
	w->certificates[0].expires_at_s = VIEWS_REAL_MS / 1000 + 1200 * INT64_C(86400);
	for (size_t i = 0; i < VIEWS_ROUTES; i++) {
		struct board_route *r = &m->routes[i];

		memcpy(r->name, route_names[i], sizeof(route_names[i]));
		r->delivered_count = 1000000 / (i * i * 40 + 1);
		r->delivered_bytes = r->delivered_count * 700;
		r->acked_seq = 1234550;
		r->moved_at_ms = VIEWS_NOW_MS - 100;
	}
}

static void
make_history(struct history *y)
{
	struct history_sample s = {
	    .received_count = 1000000, .delivered_count = 999000};

	for (int i = 0; i < HISTORY_MAX; i++) {
		uint64_t in =
		    (uint64_t)(60 + (i * 7919) % 23 + (i > 90 && i < 110 ? 40 : 0));
		uint64_t out = i > 60 && i < 80 ? 0 : i >= 80 && i < 95 ? in * 2 : in;

		s.at_ms = VIEWS_NOW_MS - 1000 - (HISTORY_MAX - 1 - i) * HISTORY_STEP_MS;
		s.received_count += in;
		s.delivered_count += out;
		s.backlog = 17;
		history_add(y, &s);
	}
}

/* Without events where there can be none. */
static void
make_events(struct made_view *m)
{
	static const char *const lines[] = {
	    "{\"time\":\"2026-11-22T12:04:11.100Z\",\"level\":\"info\",\"kind\":"
	    "\"lifecycle\",\"worker\":\"tidegated\",\"text\":\"tidegate-forward "
	    "started\"}",
	    "{\"time\":\"2026-11-23T08:44:00.000Z\",\"level\":\"error\",\"kind\":"
	    "\"connection\",\"worker\":\"tidegate-forward\",\"text\":\"Kafka is not "
	    "reachable: kafka-1.example:9093/bootstrap: Connect to ipv4#192.0.2.7:9093 "
	    "failed: No route to host (after 3071ms in state CONNECT)\"}",
	    "{\"time\":\"2026-11-23T12:01:59.009Z\",\"level\":\"warning\",\"kind\":"
	    "\"delivery\",\"worker\":\"tidegate-forward\",\"route\":\"alarms\","
	    "\"text\":"
	    "\"route alarms: <script>alert(1)</script> & what else was in a topic\"}",
	    "a line that is no JSON: <b>",
	};

	m->events_fd = -1;
	if (events_make(&m->events_fd) != 0 ||
	    events_open(&m->events, m->events_fd) != 0)
		return;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		events_put(m->events, EVENTS_FORWARD,
		    VIEWS_REAL_MS - 100000 + (int64_t)i, lines[i], strlen(lines[i]));
}

int
views_make(struct made_view *m)
{
	memset(m, 0, sizeof(*m));
	make_settings(m);
	make_supervisor(&m->board.supervisor);
	make_workers(m);
	make_history(&m->history);
	make_events(m);
	m->board.has_supervisor = m->board.has_ingest = m->board.has_forward = true;
	m->board.routes = m->routes;
	m->identity.uuid[0] = 0xab;
	m->stat = (struct journal_stat){.first_seq = 1234550,
	    .next_seq = 1234568,
	    .acked_seq = 1234550,
	    .records = 17,
	    .used_bytes = 3 << 20,
	    .max_bytes = UINT64_C(4) << 30,
	    .oldest_ms = VIEWS_REAL_MS - 1200,
	    .dead_count = 3,
	    .dead_bytes = 5000};
	m->view = (struct view){
	    .facts = {.settings = &m->settings,
		.identity = &m->identity,
		.stat = &m->stat,
		.board = &m->board,
		.room_bytes = (UINT64_C(4) << 30) - (3 << 20),
		.now_ms = VIEWS_NOW_MS,
		.real_ms = VIEWS_REAL_MS,
		.is_clock_synchronised = true},
	    .dead = {{"the record is too large", 2}, {"no route", 1}},
	    .dead_count = 2,
	    .history = &m->history,
	    .events = m->events,
	    .has_supervisor = true,
	};
	return views_judge(m);
}

void
views_fini(struct made_view *m)
{
	buffer_fini(&m->view.problems);
	events_close(m->events);
	if (m->events_fd >= 0)
		(void)close(m->events_fd);
}

void
views_take_kafka_away(struct made_view *m)
{
	struct board_forward *w = &m->board.forward;

	w->state = BOARD_KAFKA_AWAY;
	w->since_ms = VIEWS_NOW_MS - INT64_C(12012000);
	(void)snprintf(w->error, BOARD_TEXT_BYTES,
	    "kafka-1.example:9093/bootstrap: Connect to ipv4#192.0.2.7:9093 failed: No "
	    "route to host");
	m->board.ingest.full_in_ms = INT64_C(3) * 86400000 + 5 * 3600000;
	m->routes[1].held_since_ms = VIEWS_NOW_MS - INT64_C(8000000);
	(void)snprintf(m->routes[1].held_why, BOARD_TEXT_BYTES,
	    "topic site17.alarms: not authorised (TOPIC_AUTHORIZATION_FAILED)");
	m->routes[1].acked_seq = 900000;
	m->stat.records = 178468;
	m->stat.used_bytes = UINT64_C(1) << 29;
	m->stat.oldest_ms = VIEWS_REAL_MS - 12012000;
	for (size_t i = 0; i < m->history.count; i++) {
		m->history.samples[i].delivered_count =
		    m->history.samples[0].delivered_count;
		m->history.samples[i].backlog = m->history.samples[i].received_count;
	}
}

static void
copy(char *to, size_t size, const char *text)
{
	(void)snprintf(to, size, "%s", text);
}

void
views_take_odd(struct made_view *m, char *text)
{
	struct board_ingest *in = &m->board.ingest;
	struct board_forward *w = &m->board.forward;

	views_take_kafka_away(m);
	m->settings.gateway_id = text;
	m->settings.mqtt.host = text;
	m->settings.kafka.bootstrap_servers = text;
	for (size_t i = 0; i < VIEWS_ROUTES; i++) {
		m->settings_routes[i].name = text;
		copy(m->routes[i].name, sizeof(m->routes[i].name), text);
		copy(m->routes[i].held_why, BOARD_TEXT_BYTES, text);
		m->routes[i].held_since_ms = VIEWS_NOW_MS - 1000;
	}
	copy(in->error, BOARD_TEXT_BYTES, text);
	copy(in->certificates[0].file, BOARD_FILE_BYTES, text);
	copy(w->error, BOARD_TEXT_BYTES, text);
	copy(w->journal_error, BOARD_TEXT_BYTES, text);
	copy(w->certificates[0].file, BOARD_FILE_BYTES, text);
	copy(m->board.supervisor.members[0].died, BOARD_TEXT_BYTES, text);
	m->view.dead[0].reason = text;
	if (m->events != NULL)
		events_put(m->events, EVENTS_INGEST, VIEWS_REAL_MS, text, strlen(text));
}

int
views_judge(struct made_view *m)
{
	buffer_clear(&m->view.problems);
	return status_problems(&m->view.facts, &m->view.problems) == 0 ? 0 : -1;
}
