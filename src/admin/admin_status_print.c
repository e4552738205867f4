/* SPDX-License-Identifier: Apache-2.0 */
/* How the gateway is, in lines that a person reads from the top. */
#include "admin_status.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "check.h"
#include "forwarder.h"
#include "text.h"

#define LABEL_WIDTH 10

/* ---- words ---- */

static const char *
count_text(uint64_t n)
{
	static char texts[4][TEXT_COUNT_BYTES];
	static unsigned at;
	char *text = texts[at++ % 4];

	text_count(text, n);
	return text;
}

static const char *
time_text(int64_t real_s)
{
	static char text[32];
	time_t seconds = (time_t)real_s;
	struct tm tm;

	if (gmtime_r(&seconds, &tm) == NULL ||
	    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		return "?";
	return text;
}

/* An instant of the board. */
static const char *
since_text(const struct status_facts *f, int64_t at_ms)
{
	return time_text((f->real_ms - (f->now_ms - at_ms)) / 1000);
}

static void
print_label(const char *label)
{
	(void)printf("%-*s ", LABEL_WIDTH, label);
}

/* What comes from elsewhere does nothing to the terminal. */
static void
print_safe(const char *text)
{
	struct buffer safe = {0};

	if (text_append_safe(&safe, text, strlen(text)) == 0)
		(void)printf("%.*s", (int)safe.size,
		    safe.size > 0 ? (const char *)safe.data : "");
	buffer_fini(&safe);
}

/* ---- lines ---- */

static void
print_state(const struct admin_status *s)
{
	const char *one = (const char *)s->problems.data;
	size_t at = 0;

	print_label("state");
	if (s->problems.size == 0) {
		(void)printf("well\n");
		return;
	}
	(void)printf("NOT WELL: ");
	for (; at < s->problems.size; at += strlen(one) + 1) {
		one = (const char *)s->problems.data + at;
		if (at > 0)
			print_label("");
		(void)printf("%s\n", one);
	}
}

static void
print_gateway(const struct admin_status *s)
{
	const struct status_facts *f = &s->look.facts;
	char uuid[37];

	print_label("gateway");
	print_safe(s->settings->gateway_id);
	if (f->identity != NULL) {
		journal_uuid_text(f->identity->uuid, uuid);
		(void)printf(", journal %s", uuid);
	}
	(void)printf("\n");
}

static void
print_daemon(const struct admin_status *s)
{
	const struct status_facts *f = &s->look.facts;

	print_label("tidegated");
	if (s->trouble != NULL)
		(void)printf("%s\n", strcmp(s->trouble, "tidegated does not run") == 0
					 ? "does not run"
					 : "cannot be looked at");
	else
		(void)printf("runs since %s\n",
		    since_text(f, f->board->supervisor.started_at_ms));
}

static void
print_workers(const struct admin_status *s)
{
	static const char *const names[] = {
	    "tidegate-ingest", "tidegate-forward", "tidegate-monitor"};

	for (int i = 0; i < BOARD_WORKER_COUNT; i++) {
		const struct board_member *m = &s->view.supervisor.members[i];

		if (m->pid == 0 && m->restart_count == 0 && m->died[0] == '\0')
			continue; /* it is not wanted */
		print_label(i == 0 ? "workers" : "");
		(void)printf(
		    "%-16s %s", names[i], m->pid != 0 ? "runs" : "does not run");
		if (m->pid != 0)
			(void)printf(" (pid %" PRIu32 ")", m->pid);
		(void)printf(", %" PRIu32 " restarts", m->restart_count);
		if (m->died[0] != '\0')
			(void)printf(", the last because of: ");
		print_safe(m->died);
		(void)printf("\n");
	}
}

/* What it said last is of no use when it has ended without a word. */
static bool
is_known(const struct admin_status *s, enum board_worker worker, bool has_part)
{
	bool is_gone =
	    s->view.has_supervisor && s->view.supervisor.members[worker].pid == 0;

	if (has_part && !is_gone)
		return true;
	(void)printf("nothing is known\n");
	return false;
}

static void
print_broker(const struct admin_status *s)
{
	static const char *const words[] = {"away", "connected", "paused: journal full",
	    "paused: disk full", "paused: the journal cannot be written"};
	const struct status_facts *f = &s->look.facts;
	const struct board_ingest *in = &s->view.ingest;

	print_label("broker");
	if (!is_known(s, BOARD_WORKER_INGEST,
		s->view.has_ingest && in->state < sizeof(words) / sizeof(words[0])))
		return;
	(void)printf("%s since %s", words[in->state], since_text(f, in->since_ms));
	if (in->protocol != 0)
		(void)printf(", MQTT %s", in->protocol == 5 ? "5" : "3.1.1");
	(void)printf(", %s messages received\n", count_text(in->message_count));
	if (in->refused_count > 0) {
		print_label("");
		(void)printf(
		    "%" PRIu32 " subscriptions are not granted\n", in->refused_count);
	}
	if (in->error[0] != '\0') {
		print_label("");
		print_safe(in->error);
		(void)printf("\n");
	}
	if (in->has_broker_dropped && in->broker_dropped_count > 0) {
		print_label("");
		(void)printf("the broker has dropped %s messages, of all its clients\n",
		    count_text(in->broker_dropped_count));
	}
}

static void
print_kafka(const struct admin_status *s)
{
	static const char *const words[] = {
	    "has not answered yet,", "away", "reachable"};
	const struct board_forward *w = &s->view.forward;

	print_label("Kafka");
	if (!is_known(s, BOARD_WORKER_FORWARD,
		s->view.has_forward && w->state < sizeof(words) / sizeof(words[0])))
		return;
	(void)printf(
	    "%s since %s", words[w->state], since_text(&s->look.facts, w->since_ms));
	if (w->error[0] != '\0')
		(void)printf(": ");
	print_safe(w->error);
	(void)printf("\n");
}

static void
print_removed(const struct journal_stat *stat)
{
	uint64_t removed = 0;

	for (int i = 1; i < JOURNAL_GAP_REASONS; i++)
		removed += stat->removed[i];
	print_label("");
	(void)printf("%s dead letters, %s records removed without Kafka's word\n",
	    count_text(stat->dead_count), count_text(removed));
}

static void
print_journal(const struct admin_status *s)
{
	const struct status_facts *f = &s->look.facts;
	const struct journal_stat *stat = f->stat;

	print_label("journal");
	if (stat == NULL) {
		(void)printf("cannot be read\n");
		return;
	}
	(void)printf("%s records wait", count_text(stat->records));
	if (stat->records > 0 && stat->oldest_ms != 0)
		(void)printf(", the oldest for %s",
		    check_duration(f->real_ms - (int64_t)stat->oldest_ms).text);
	(void)printf("; %s of %s used", check_size(stat->used_bytes).text,
	    check_size(stat->max_bytes).text);
	if (s->trouble == NULL && s->view.ingest.full_in_ms > 0)
		(void)printf(", full in about %s",
		    check_duration(s->view.ingest.full_in_ms).text);
	(void)printf("\n");
	print_removed(stat);
}

static void
print_orders(const struct admin_status *s)
{
	print_label("orders");
	if (s->journal == NULL) {
		(void)printf("not known\n");
		return;
	}
	(void)printf("%s wait%s\n", count_text(s->order_count),
	    s->order_count > 0 ? "; \"tidegate-admin orders\" lists them" : "");
}

/* ---- routes ---- */

/* Records that it still owes. */
static uint64_t
lag(const struct journal_stat *stat, uint64_t acked_seq)
{
	return stat != NULL && acked_seq + 1 < stat->next_seq
		   ? stat->next_seq - 1 - acked_seq
		   : 0;
}

static void
print_route_head(void)
{
	(void)printf("\n%-20s %14s %14s %10s  %s\n", "route", "delivered", "waiting",
	    "dead", "");
}

/* Of one that does not hold. */
static const char *
route_word(const struct admin_status *s, const struct board_route *r)
{
	const struct board_forward *w = &s->view.forward;
	const struct status_facts *f = &s->look.facts;

	if (f->stat == NULL ||
	    s->view.supervisor.members[BOARD_WORKER_FORWARD].pid == 0 ||
	    f->now_ms - w->alive_at_ms > STATUS_SILENT_MS)
		return "not known";
	if (lag(f->stat, r->acked_seq) == 0)
		return "moves";
	if (w->state != BOARD_KAFKA_REACHABLE)
		return "waits for Kafka";
	return f->now_ms - r->moved_at_ms > STATUS_STALLED_MS ? "Kafka confirms none"
							      : "moves";
}

static void
print_route(const struct admin_status *s, const struct board_route *r)
{
	const struct journal_stat *stat = s->look.facts.stat;

	(void)printf("%-20s %14s %14s %10s  ", r->name, count_text(r->delivered_count),
	    stat != NULL ? count_text(lag(stat, r->acked_seq)) : "-",
	    count_text(r->dead_count));
	if (r->held_since_ms == 0) {
		(void)printf("%s\n", route_word(s, r));
		return;
	}
	(void)printf("holds since %s: ", since_text(&s->look.facts, r->held_since_ms));
	print_safe(r->held_why);
	(void)printf("\n");
}

static void
print_routes(const struct admin_status *s)
{
	const struct journal_stat *stat = s->look.facts.stat;

	if (s->trouble == NULL && s->view.has_forward) {
		print_route_head();
		for (uint32_t i = 0; i < s->view.forward.route_count; i++) {
			if (strcmp(s->view.routes[i].name, FORWARDER_UNROUTED) != 0)
				print_route(s, &s->view.routes[i]);
		}
		return;
	}
	if (stat == NULL || stat->route_count == 0)
		return;
	print_route_head();
	for (size_t i = 0; i < stat->route_count; i++) {
		if (strcmp(stat->routes[i].name, JOURNAL_UNROUTED) != 0)
			(void)printf("%-20s %14s %14s\n", stat->routes[i].name, "-",
			    count_text(lag(stat, stat->routes[i].acked_seq)));
	}
}

/* ---- certificates ---- */

static void
print_certificates(
    const struct admin_status *s, const struct board_certificate list[], bool *is_first)
{
	int64_t now_s = s->look.facts.real_ms / 1000;

	for (int i = 0; i < BOARD_CERTIFICATES_MAX && list[i].file[0] != '\0'; i++) {
		int64_t end_s = list[i].expires_at_s;

		print_label(*is_first ? "expires" : "");
		*is_first = false;
		if (end_s == 0)
			(void)printf("%-20s ", "cannot be read:");
		else
			(void)printf("%s %s", time_text(end_s),
			    end_s < now_s ? "(it has) " : "");
		print_safe(list[i].file);
		(void)printf("\n");
	}
}

void
admin_status_print(const struct admin_status *s)
{
	bool is_first = true;

	print_state(s);
	print_gateway(s);
	print_daemon(s);
	if (s->trouble == NULL) {
		print_workers(s);
		print_broker(s);
		print_kafka(s);
	}
	print_journal(s);
	print_orders(s);
	if (s->trouble == NULL) {
		print_certificates(s, s->view.ingest.certificates, &is_first);
		print_certificates(s, s->view.forward.certificates, &is_first);
	}
	print_routes(s);
}
