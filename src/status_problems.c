/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What keeps data from moving, in words.
 *
 * Invariant (I9): there is nothing to say only when every worker has lately said that it
 * is alive, the broker is connected, Kafka is not away, no route holds, what waits moves,
 * and nothing was buried lately. What is not known counts as not well.
 */
#include "status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "forwarder.h"
#include "text.h"

struct problems {
	struct buffer *out;
	size_t count;
	int err;
};

__attribute__((format(printf, 2, 3))) static void
add_problem(struct problems *p, const char *format, ...)
{
	char text[BOARD_NAME_BYTES + BOARD_TEXT_BYTES + 64];
	va_list args;

	p->count++;
	if (p->count > STATUS_PROBLEMS_MAX || p->err != 0)
		return;
	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	p->err = text_append_safe(p->out, text, strlen(text));
	if (p->err == 0)
		p->err = buffer_append(p->out, "", 1);
}

/* Is it there, by its own word and by tidegated's? */
static bool
is_alive(struct problems *p, const struct status_facts *f, enum board_worker worker,
    const char *name, bool has_part, int64_t alive_at_ms)
{
	const struct board_member *m = &f->board->supervisor.members[worker];

	if (f->board->has_supervisor && m->pid == 0) {
		add_problem(p, "%s does not run%s%s", name,
		    m->died[0] != '\0' ? ": " : "", m->died);
		return false;
	}
	if (!has_part || alive_at_ms == 0) {
		add_problem(p, "no word from %s yet", name);
		return false;
	}
	if (f->now_ms - alive_at_ms > STATUS_SILENT_MS) {
		add_problem(p, "no word from %s any more", name);
		return false;
	}
	return true;
}

static bool
is_ingest_alive(struct problems *p, const struct status_facts *f)
{
	return is_alive(p, f, BOARD_WORKER_INGEST, "tidegate-ingest",
	    f->board->has_ingest, f->board->ingest.alive_at_ms);
}

static bool
is_forward_alive(struct problems *p, const struct status_facts *f)
{
	return is_alive(p, f, BOARD_WORKER_FORWARD, "tidegate-forward",
	    f->board->has_forward, f->board->forward.alive_at_ms);
}

/* Of the journal; 0: it is not known. */
static uint64_t
next_seq(const struct status_facts *f)
{
	if (f->stat != NULL)
		return f->stat->next_seq;
	return f->is_board_alone && f->board->has_forward ? f->board->forward.next_seq
							  : 0;
}

/* ---- the journal's room ---- */

/* The room is used up: what happens to what comes? */
static void
judge_full(struct problems *p, const struct status_facts *f)
{
	const struct board_ingest *in = &f->board->ingest;

	if (in->state == BOARD_MQTT_PAUSED)
		add_problem(p, "paused: journal full: %s",
		    f->settings->journal.on_full == SETTINGS_FULL_DROP_OLDEST
			? "nothing could be dropped so far, the broker keeps what comes"
			: "the broker keeps what comes");
	else if (in->is_dropping)
		add_problem(p, "journal full: new messages are dropped");
	else if (in->dropped_at_ms != 0 &&
		 f->now_ms - in->dropped_at_ms < STATUS_DROPPED_MS)
		add_problem(p, "journal full lately: %s messages were dropped",
		    f->settings->journal.on_full == SETTINGS_FULL_DROP_NEWEST
			? "new"
			: "the oldest");
}

/* The one that keeps the journal from being truncated, if it holds; else NULL. */
static const struct board_route *
find_pinning(const struct status_facts *f)
{
	const struct board_route *slowest = NULL;

	for (uint32_t i = 0; i < f->board->forward.route_count; i++) {
		const struct board_route *r = &f->board->routes[i];

		/* Where two are as slow, the one that holds is to blame. */
		if (slowest == NULL || r->acked_seq < slowest->acked_seq ||
		    (r->acked_seq == slowest->acked_seq && r->held_since_ms != 0))
			slowest = r;
	}
	if (slowest == NULL || slowest->held_since_ms == 0 ||
	    slowest->acked_seq + 1 >= next_seq(f))
		return NULL;
	return slowest;
}

/* Coarse, so that it does not change with every look. */
static void
write_span(char text[32], int64_t ms)
{
	long long minutes = ms / 60000;

	if (minutes >= 2 * 24 * 60)
		(void)snprintf(text, 32, "%lld days", minutes / (24 * 60));
	else if (minutes >= 10 * 60)
		(void)snprintf(text, 32, "%lld h", minutes / 60);
	else if (minutes >= 60)
		(void)snprintf(
		    text, 32, "%lld h %lld min", minutes / 60, minutes % 60 / 10 * 10);
	else if (minutes >= 10)
		(void)snprintf(text, 32, "%lld min", minutes / 5 * 5);
	else
		(void)snprintf(text, 32, "%lld min", minutes < 1 ? 1 : minutes);
}

static void
write_instant(char text[32], const struct status_facts *f, int64_t at_ms)
{
	time_t seconds = (time_t)((f->real_ms - (f->now_ms - at_ms)) / 1000);
	struct tm tm;

	if (gmtime_r(&seconds, &tm) == NULL ||
	    strftime(text, 32, "%Y-%m-%dT%H:%MZ", &tm) == 0)
		text[0] = '\0';
}

/* Who fills the journal, and how long is there room? */
static void
judge_room(struct problems *p, const struct status_facts *f)
{
	const struct board_ingest *in = &f->board->ingest;
	const struct board_route *r = find_pinning(f);
	bool is_full = in->state == BOARD_MQTT_PAUSED ||
		       in->state == BOARD_MQTT_DISK_FULL || in->is_dropping;
	char span[32] = "", since[32] = "";

	if (!is_full && (in->full_in_ms == 0 || f->is_timeless))
		return;
	write_span(span, in->full_in_ms);
	if (r == NULL && !is_full && f->board->forward.state == BOARD_KAFKA_AWAY)
		add_problem(p, "the journal is full in about %s", span);
	if (r == NULL)
		return;
	if (!f->is_timeless)
		write_instant(since, f, r->held_since_ms);
	if (is_full)
		add_problem(p, "route %s pins the full journal: it holds since %s",
		    r->name, since);
	else
		add_problem(p,
		    "route %s pins the journal: it holds since %s, and there is no "
		    "room any more in about %s",
		    r->name, since, span);
}

/* ---- the workers ---- */

static void
judge_ingest(struct problems *p, const struct status_facts *f)
{
	const struct board_ingest *in = &f->board->ingest;

	if (!is_ingest_alive(p, f))
		return;
	judge_full(p, f);
	switch ((enum board_mqtt)in->state) {
	case BOARD_MQTT_AWAY:
		add_problem(p, "waiting for the MQTT broker%s%s",
		    in->error[0] != '\0' ? ": " : "", in->error);
		break;
	case BOARD_MQTT_PAUSED:
		break;
	case BOARD_MQTT_DISK_FULL:
		add_problem(p, "paused: disk full");
		break;
	case BOARD_MQTT_DISK_FAILS:
		add_problem(p, "paused: the journal cannot be written%s%s",
		    in->error[0] != '\0' ? ": " : "", in->error);
		break;
	case BOARD_MQTT_CONNECTED:
		if (in->error[0] != '\0')
			add_problem(p, "%s", in->error);
		if (in->refused_count > 0)
			add_problem(p,
			    "the MQTT broker does not grant %u of the subscriptions",
			    in->refused_count);
		break;
	}
}

static bool
does_anything_wait(const struct status_facts *f)
{
	if (f->stat != NULL)
		return f->stat->records > 0;
	for (uint32_t i = 0; i < f->board->forward.route_count; i++) {
		if (f->board->routes[i].acked_seq + 1 < next_seq(f))
			return true;
	}
	return false;
}

static void
judge_kafka(struct problems *p, const struct status_facts *f)
{
	const struct board_forward *w = &f->board->forward;

	switch ((enum board_kafka)w->state) {
	case BOARD_KAFKA_AWAY:
		add_problem(p, "waiting for Kafka%s%s", w->error[0] != '\0' ? ": " : "",
		    w->error);
		break;
	case BOARD_KAFKA_UNKNOWN:
		if (does_anything_wait(f))
			add_problem(p, "Kafka has not answered yet");
		break;
	case BOARD_KAFKA_REACHABLE:
		break;
	}
}

/* One that is off by order is no trouble as long as nothing waits for it. */
static bool
is_enabled(const struct status_facts *f, const char *route)
{
	for (size_t i = 0; i < f->settings->route_count; i++) {
		if (strcmp(f->settings->routes[i].name, route) == 0)
			return f->settings->routes[i].enabled;
	}
	return true;
}

static void
judge_route(
    struct problems *p, const struct status_facts *f, const struct board_route *r)
{
	bool is_waiting = r->acked_seq + 1 < next_seq(f);
	/* What no route matches is looked at behind the slowest route. */
	bool is_follower = strcmp(r->name, FORWARDER_UNROUTED) == 0;

	if (r->held_since_ms != 0 && (is_waiting || is_enabled(f, r->name)))
		add_problem(p, "route %s holds: %s", r->name, r->held_why);
	else if (r->held_since_ms == 0 && is_waiting && !is_follower &&
		 f->board->forward.state == BOARD_KAFKA_REACHABLE &&
		 f->now_ms - r->moved_at_ms > STATUS_STALLED_MS)
		add_problem(
		    p, "route %s: records wait, and Kafka confirms none", r->name);
	if (r->dead_at_ms != 0 && f->now_ms - r->dead_at_ms < STATUS_DEAD_MS)
		add_problem(p, "route %s: records become dead letters", r->name);
}

static void
judge_forward(struct problems *p, const struct status_facts *f)
{
	const struct board_forward *w = &f->board->forward;

	if (!is_forward_alive(p, f))
		return;
	if (w->journal_error[0] != '\0')
		add_problem(p,
		    "what was delivered cannot be recorded in the journal: %s",
		    w->journal_error);
	judge_kafka(p, f);
	for (uint32_t i = 0; i < w->route_count; i++)
		judge_route(p, f, &f->board->routes[i]);
	if (f->board->has_ingest)
		judge_room(p, f);
}

int
status_workers(const struct status_facts *facts, struct buffer *out)
{
	struct problems p = {.out = out};

	if (facts->trouble != NULL) {
		add_problem(&p, "%s", facts->trouble);
	} else {
		(void)is_ingest_alive(&p, facts); /* what is found is in p */
		(void)is_forward_alive(&p, facts);
	}
	return p.err;
}

int
status_problems(const struct status_facts *facts, struct buffer *out)
{
	struct problems p = {.out = out};

	if (facts->trouble != NULL) {
		add_problem(&p, "%s", facts->trouble);
	} else {
		judge_ingest(&p, facts);
		judge_forward(&p, facts);
	}
	if (facts->stat == NULL && !facts->is_board_alone)
		add_problem(&p, "the journal cannot be read");
	if (p.count > STATUS_PROBLEMS_MAX && p.err == 0) {
		p.err = buffer_printf(
		    out, "and %zu more", p.count - (size_t)STATUS_PROBLEMS_MAX);
		if (p.err == 0)
			p.err = buffer_append(out, "", 1);
	}
	return p.err;
}
