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

static void
judge_ingest(struct problems *p, const struct status_facts *f)
{
	const struct board_ingest *in = &f->board->ingest;

	if (!is_alive(p, f, BOARD_WORKER_INGEST, "tidegate-ingest",
		f->board->has_ingest, in->alive_at_ms))
		return;
	switch ((enum board_mqtt)in->state) {
	case BOARD_MQTT_AWAY:
		add_problem(p, "waiting for the MQTT broker%s%s",
		    in->error[0] != '\0' ? ": " : "", in->error);
		break;
	case BOARD_MQTT_PAUSED:
		add_problem(p, "paused: journal full");
		break;
	case BOARD_MQTT_CONNECTED:
		if (in->refused_count > 0)
			add_problem(p,
			    "the MQTT broker does not grant %u of the subscriptions",
			    in->refused_count);
		break;
	}
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
		if (f->stat != NULL && f->stat->records > 0)
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
	bool is_waiting = f->stat != NULL && r->acked_seq + 1 < f->stat->next_seq;
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

	if (!is_alive(p, f, BOARD_WORKER_FORWARD, "tidegate-forward",
		f->board->has_forward, w->alive_at_ms))
		return;
	judge_kafka(p, f);
	for (uint32_t i = 0; i < w->route_count; i++)
		judge_route(p, f, &f->board->routes[i]);
}

int
status_problems(const struct status_facts *facts, struct buffer *out)
{
	struct problems p = {.out = out};

	judge_ingest(&p, facts);
	judge_forward(&p, facts);
	if (facts->stat == NULL)
		add_problem(&p, "the journal cannot be read");
	if (p.count > STATUS_PROBLEMS_MAX && p.err == 0) {
		p.err = buffer_printf(
		    out, "and %zu more", p.count - (size_t)STATUS_PROBLEMS_MAX);
		if (p.err == 0)
			p.err = buffer_append(out, "", 1);
	}
	return p.err;
}
