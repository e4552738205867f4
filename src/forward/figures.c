/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The figures of tidegate-forward.
 *
 * Invariant: what is on the board is of one moment between two steps of the forwarder,
 * so that positions and counts by topic belong together.
 *
 * Failure modes: the journal cannot be asked: what needs it stays as it was.
 */
#include "figures.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "certificate_watch.h"
#include "err.h"
#include "kafka_sink.h"
#include "log.h"
#include "now.h"

/* Counts that only rise. */
struct counts {
	uint64_t delivered, bytes, dead, errors;
};

struct route_figures {
	struct counts base;   /* of the forward before this one */
	struct counts logged; /* of this one, at the last statistics */
};

struct figures {
	struct figures_options options;
	size_t count; /* options.route_count, and what no route matches */
	struct route_figures *routes;
	struct board_route *board_routes;
	struct board_forward board;
	struct histogram latency_before; /* these two: by those before this one */
	uint64_t sent_before;
	struct certificate_watch certificates;
};

static struct counts
counts_of(const struct forwarder_route_stat *s)
{
	return (struct counts){
	    s->delivered_count, s->delivered_bytes, s->dead_count, s->error_count};
}

static void
copy_text(char *to, size_t size, const char *from)
{
	(void)snprintf(to, size, "%s", from);
}

/* What the board has of a route from before, or nothing. */
static void
take_over(struct figures *f, size_t index, const struct board_view *view)
{
	struct board_route *r = &f->board_routes[index];

	for (uint32_t i = 0; view->has_forward && i < view->forward.route_count; i++) {
		const struct board_route *old = &view->routes[i];

		if (strcmp(old->name, r->name) != 0)
			continue;
		f->routes[index].base = (struct counts){old->delivered_count,
		    old->delivered_bytes, old->dead_count, old->error_count};
		r->dead_count = old->dead_count;
		r->dead_at_ms = old->dead_at_ms;
		/* Else one that dies again and again would never be seen to stall. */
		if (old->acked_seq == r->acked_seq)
			r->moved_at_ms = old->moved_at_ms;
	}
}

static void
begin(struct figures *f, const struct board_view *view, int64_t now_ms)
{
	f->board.pid = (uint32_t)getpid();
	f->board.run_from_ms = now_ms;
	f->board.since_ms = now_ms;
	f->board.route_count = (uint32_t)f->count;
	if (view->has_forward) {
		f->board.next_seq = view->forward.next_seq;
		f->latency_before = view->forward.latency;
		f->sent_before = view->forward.sent_bytes;
	}
	for (size_t i = 0; i < f->count; i++) {
		struct board_route *r = &f->board_routes[i];
		struct forwarder_route_stat s;

		forwarder_route_stat(f->options.forwarder, i, &s);
		copy_text(r->name, sizeof(r->name), s.name);
		r->start_seq = s.acked_seq;
		r->acked_seq = s.acked_seq;
		r->moved_at_ms = now_ms;
		take_over(f, i, view);
	}
}

int
figures_open(struct figures **out, const struct figures_options *o, int64_t now_ms)
{
	struct figures *f = calloc(1, sizeof(*f));
	struct board_view view = {0};
	int err = ERR_NOMEM;

	*out = NULL;
	if (f == NULL)
		return ERR_NOMEM;
	f->options = *o;
	certificate_watch_forward(&f->certificates, o->settings);
	f->count = o->route_count + 1;
	f->routes = calloc(f->count, sizeof(*f->routes));
	f->board_routes = calloc(f->count, sizeof(*f->board_routes));
	if (f->routes != NULL && f->board_routes != NULL)
		err = board_look(o->board, &view);
	if (err == 0) {
		begin(f, &view, now_ms);
		figures_publish(f, now_ms);
		*out = f;
	} else {
		free(f->routes);
		free(f->board_routes);
		free(f);
	}
	board_view_fini(&view);
	return err;
}

void
figures_close(struct figures *f)
{
	if (f == NULL)
		return;
	f->board.alive_at_ms = 0;
	f->board.pid = 0;
	board_write_forward(f->options.board, &f->board, f->board_routes);
	free(f->routes);
	free(f->board_routes);
	free(f);
}

/* ---- the board ---- */

static void
look_at_kafka(struct figures *f, int64_t now_ms)
{
	static const enum board_kafka states[] = {
	    [KAFKA_UNSEEN] = BOARD_KAFKA_UNKNOWN,
	    [KAFKA_AWAY] = BOARD_KAFKA_AWAY,
	    [KAFKA_HERE] = BOARD_KAFKA_REACHABLE,
	};
	const char *why;
	enum board_kafka state = states[kafka_sink_reach(f->options.sink, &why)];

	if (f->board.state != state)
		f->board.since_ms = now_ms;
	f->board.state = state;
	copy_text(f->board.error, sizeof(f->board.error), why);
}

static void
look_at_route(struct figures *f, size_t index, uint64_t next_seq, int64_t now_ms)
{
	const struct counts *base = &f->routes[index].base;
	struct board_route *r = &f->board_routes[index];
	struct forwarder_route_stat s;

	forwarder_route_stat(f->options.forwarder, index, &s);
	if (s.acked_seq != r->acked_seq || s.acked_seq + 1 >= next_seq)
		r->moved_at_ms = now_ms;
	if (base->dead + s.dead_count != r->dead_count)
		r->dead_at_ms = now_ms;
	r->acked_seq = s.acked_seq;
	r->delivered_count = base->delivered + s.delivered_count;
	r->delivered_bytes = base->bytes + s.delivered_bytes;
	r->dead_count = base->dead + s.dead_count;
	r->error_count = base->errors + s.error_count;
	if (!s.is_held)
		r->held_since_ms = 0;
	else if (r->held_since_ms == 0)
		r->held_since_ms = now_ms;
	copy_text(r->held_why, sizeof(r->held_why), s.is_held ? s.held_why : "");
}

static void
count_latency(struct figures *f)
{
	const struct histogram *before = &f->latency_before, *now = f->options.latency;
	struct histogram *sum = &f->board.latency;

	for (int i = 0; i < HISTOGRAM_BUCKETS; i++)
		sum->buckets[i] = before->buckets[i] + now->buckets[i];
	sum->sum_us = before->sum_us + now->sum_us;
}

void
figures_publish(struct figures *f, int64_t now_ms)
{
	const struct topic_counts *t = f->options.topics;
	struct journal_stat stat;
	uint64_t next_seq = UINT64_MAX;
	int err;

	if (journal_stat(f->options.journal, &stat) == 0) {
		next_seq = stat.next_seq;
		f->board.next_seq = next_seq;
		journal_stat_fini(&stat);
	}
	f->board.alive_at_ms = now_ms;
	err = forwarder_journal_error(f->options.forwarder);
	copy_text(f->board.journal_error, sizeof(f->board.journal_error),
	    err == 0 ? "" : err_str(err));
	look_at_kafka(f, now_ms);
	count_latency(f);
	f->board.sent_bytes = f->sent_before + kafka_sink_sent_bytes();
	certificate_watch_look(
	    &f->certificates, now_ms, now_real_ms(), f->board.certificates);
	for (size_t i = 0; i < f->count; i++)
		look_at_route(f, i, next_seq, now_ms);
	f->board.topic_count = t->topic_count;
	f->board.other_count = t->other_count;
	memcpy(f->board.topics, t->topics, t->topic_count * sizeof(t->topics[0]));
	board_write_forward(f->options.board, &f->board, f->board_routes);
}

/* ---- statistics ---- */

static void
log_journal(struct figures *f)
{
	struct log_details details;
	struct journal_stat s;
	int64_t age_ms = 0;

	if (journal_stat(f->options.journal, &s) != 0)
		return;
	if (s.records > 0 && s.oldest_ms != 0)
		age_ms = now_real_ms() - (int64_t)s.oldest_ms;
	details = (struct log_details){
	    .counts = {{"records", s.records}, {"used_bytes", s.used_bytes},
		{"max_bytes", s.max_bytes}, {"dead", s.dead_count},
		{"gaps", s.gap_count}, {"first_seq", s.first_seq},
		{"next_seq", s.next_seq},
		{"oldest_age_s", age_ms > 0 ? (uint64_t)age_ms / 1000 : 0}}};
	log_event(LOG_LEVEL_INFO, LOG_STATISTICS, &details,
	    "journal: %llu records wait, %llu dead letters, %llu gaps, %llu of %llu "
	    "bytes",
	    (unsigned long long)s.records, (unsigned long long)s.dead_count,
	    (unsigned long long)s.gap_count, (unsigned long long)s.used_bytes,
	    (unsigned long long)s.max_bytes);
	journal_stat_fini(&s);
}

static void
log_route(struct figures *f, size_t index)
{
	struct counts *last = &f->routes[index].logged;
	struct log_details details;
	struct forwarder_route_stat s;
	struct counts now;

	forwarder_route_stat(f->options.forwarder, index, &s);
	now = counts_of(&s);
	details = (struct log_details){.route = s.name,
	    .counts = {{"delivered", now.delivered - last->delivered},
		{"bytes", now.bytes - last->bytes},
		{"errors", now.errors - last->errors}, {"dead", now.dead - last->dead},
		{"acknowledged_seq", s.acked_seq}, {"held", s.is_held}}};
	log_event(LOG_LEVEL_INFO, LOG_STATISTICS, &details,
	    "route %s: %llu delivered, %llu bytes, %llu errors, %llu dead, "
	    "acknowledged "
	    "up to %llu%s%s",
	    s.name, (unsigned long long)details.counts[0].value,
	    (unsigned long long)details.counts[1].value,
	    (unsigned long long)details.counts[2].value,
	    (unsigned long long)details.counts[3].value,
	    (unsigned long long)s.acked_seq, s.is_held ? ", holds: " : "",
	    s.is_held ? s.held_why : "");
	*last = now;
}

void
figures_log(struct figures *f)
{
	log_journal(f);
	for (size_t i = 0; i < f->options.route_count; i++)
		log_route(f, i);
	/* Where no route matches, only what was buried is of interest. */
	if (f->board_routes[f->options.route_count].dead_count > 0)
		log_route(f, f->options.route_count);
	log_tell_suppressed();
}
