/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lane. The window is a ring of slots for acked_seq + 1 up to end_seq - 1; next_seq
 * moves within it after a rejection and at its end otherwise. Slots that are done leave
 * it at the front only: that is the finished prefix.
 *
 * Invariants: a slot leaves the window only when it is done. From a rejection until
 * everything is back nothing is sent (I4). A slot that is done is never sent again.
 *
 * After a rejection. Kafka refuses a whole batch of its own for one record in it, and
 * with gapless delivery everything behind comes back too. So what was refused is sent
 * again in smaller and smaller groups, a sixteenth each time, and only a record that is
 * refused when it was alone in flight, on all lanes, is doomed. (One at a time from the
 * start would cost a round trip for each of thousands of innocents.) It ends: a group
 * that is refused is always smaller than the last, or its one record is next judged
 * alone.
 */
#include "lane.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

#define FIRST_SLOTS     64
#define CAREFUL_DIVISOR 16
#define BARREN_MAX      3
#define HOLD_FIRST_MS   1000
#define HOLD_LAST_MS    60000

/* A gap of at most this many is passed while others are in flight. */
#define GAP_SLOTS_MAX 1024

int
lane_init(struct lane *l, const char *name, struct route *route, uint64_t acked_seq)
{
	memset(l, 0, sizeof(*l));
	l->name = name;
	l->route = route;
	l->acked_seq = acked_seq;
	l->next_seq = acked_seq + 1;
	l->end_seq = acked_seq + 1;
	l->slots = calloc(FIRST_SLOTS, sizeof(*l->slots));
	if (l->slots == NULL)
		return ERR_NOMEM;
	l->capacity = FIRST_SLOTS;
	return 0;
}

void
lane_fini(struct lane *l)
{
	free(l->slots);
	l->slots = NULL;
}

static struct slot *
slot_of(const struct lane *l, uint64_t seq)
{
	return &l->slots[seq & (l->capacity - 1)];
}

int
lane_reserve(struct lane *l)
{
	struct slot *slots, *old = l->slots;
	size_t capacity = l->capacity * 2;

	if (l->end_seq - l->acked_seq - 1 < l->capacity)
		return 0;
	slots = calloc(capacity, sizeof(*slots));
	if (slots == NULL)
		return ERR_NOMEM;
	for (uint64_t seq = l->acked_seq + 1; seq < l->end_seq; seq++)
		slots[seq & (capacity - 1)] = *slot_of(l, seq);
	l->slots = slots;
	l->capacity = capacity;
	free(old);
	return 0;
}

void
lane_pass_done(struct lane *l)
{
	while (l->next_seq < l->end_seq && slot_of(l, l->next_seq)->state == SLOT_DONE)
		l->next_seq++;
}

/* The slot of next_seq, put at the end of the window if it is not in it yet. */
static struct slot *
take_next(struct lane *l, uint32_t cost)
{
	struct slot *s = slot_of(l, l->next_seq);

	if (l->next_seq == l->end_seq) {
		*s = (struct slot){.cost = cost, .opens_run = l->at_run_start};
		l->window_bytes += cost;
		l->window_runs += l->at_run_start;
		l->at_run_start = false;
		l->end_seq++;
	}
	l->next_seq++;
	l->is_at_end = false;
	return s;
}

static void
move_prefix(struct lane *l)
{
	while (l->acked_seq + 1 < l->end_seq) {
		const struct slot *s = slot_of(l, l->acked_seq + 1);

		if (s->state != SLOT_DONE)
			return;
		l->window_bytes -= s->cost;
		l->window_runs -= s->opens_run;
		l->acked_seq++;
	}
}

void
lane_send(struct lane *l, uint32_t cost, struct run *pinned)
{
	struct slot *s = take_next(l, cost);

	s->state = SLOT_OUT;
	s->pinned = pinned;
	l->in_flight++;
}

void
lane_pass(struct lane *l, uint32_t cost)
{
	if (lane_window_is_empty(l)) {
		/* Nothing is owed before it: no need for a slot. */
		l->acked_seq = l->next_seq++;
		l->end_seq = l->next_seq;
		l->is_at_end = false;
		return;
	}
	take_next(l, cost)->state = SLOT_DONE;
	move_prefix(l);
}

bool
lane_skip(struct lane *l, uint64_t seq)
{
	if (lane_window_is_empty(l)) {
		l->acked_seq = seq - 1;
		l->next_seq = l->end_seq = seq;
		l->is_at_end = false;
		return true;
	}
	if (l->in_flight > 0 && seq - l->next_seq > GAP_SLOTS_MAX)
		return false;
	while (l->next_seq < seq && !lane_window_is_empty(l)) {
		if (lane_reserve(l) != 0)
			return false;
		lane_pass(l, 0);
	}
	return l->next_seq == seq || lane_skip(l, seq);
}

uint64_t
lane_seq_of(const struct lane *l, uint64_t low, uint64_t mask)
{
	uint64_t first = l->acked_seq + 1;

	return first + ((low - first) & mask);
}

struct run *
lane_come_back(struct lane *l, uint64_t seq)
{
	struct slot *s = slot_of(l, seq);
	struct run *pinned = s->pinned;

	assert(seq > l->acked_seq && seq < l->end_seq && s->state == SLOT_OUT);
	s->state = SLOT_OPEN;
	s->pinned = NULL;
	l->in_flight--;
	return pinned;
}

/* Something was settled for good: whatever was tried works. */
static void
note_progress(struct lane *l)
{
	l->barren_count = 0;
	l->wants_solo = false;
}

void
lane_deliver(struct lane *l, uint64_t seq, int64_t now_ms)
{
	slot_of(l, seq)->state = SLOT_DONE;
	l->delivered_count++;
	note_progress(l);
	move_prefix(l);
	lane_resume(l, LANE_HOLD_ROUTE, now_ms);
}

void
lane_bury(struct lane *l, int64_t now_ms)
{
	l->dead_count++;
	l->doomed_seq = 0;
	note_progress(l);
	lane_pass(l, 0);
	lane_resume(l, LANE_HOLD_BURY, now_ms);
}

void
lane_reject(struct lane *l, uint64_t seq, enum sink_result result, bool was_alone,
    const char *text)
{
	struct verdict *v = &l->verdict;

	l->is_draining = true;
	switch (result) {
	case SINK_RECORD_REFUSED:
	case SINK_RECORD_TOO_LARGE:
		v->refused_count++;
		v->was_alone = was_alone;
		v->is_too_large = result == SINK_RECORD_TOO_LARGE;
		if (seq > v->refused_last)
			v->refused_last = seq;
		break;
	case SINK_TIMESTAMP_REFUSED:
		/* Sent with the time of sending it was already: that is no cure. */
		if (seq <= l->restamp_until)
			v->is_route_refused = true;
		v->is_time_refused = true;
		break;
	case SINK_ROUTE_REFUSED:
		v->is_route_refused = true;
		break;
	case SINK_NOT_DELIVERED:
	case SINK_DELIVERED:
		if (v->why[0] == '\0')
			snprintf(v->why, sizeof(v->why), "%s", text);
		return;
	}
	snprintf(v->why, sizeof(v->why), "%s", text);
}

static void
go_careful(struct lane *l, size_t limit, uint64_t until)
{
	l->careful_limit = limit;
	l->careful_until = until;
}

/* Records were refused, alone or among others. */
static void
judge_refused(struct lane *l, const struct verdict *v)
{
	size_t limit = v->refused_count / CAREFUL_DIVISOR;

	go_careful(l, limit == 0 ? 1 : limit, v->refused_last);
	if (v->refused_count > 1) {
		l->barren_count = 0;
		return;
	}
	l->wants_solo = !v->was_alone;
	if (v->was_alone) {
		l->doomed_seq = v->refused_last;
		l->is_doomed_for_size = v->is_too_large;
		snprintf(l->doomed_why, sizeof(l->doomed_why), "%s", v->why);
		note_progress(l);
	}
}

void
lane_settle(struct lane *l, int64_t now_ms)
{
	struct verdict v = l->verdict;
	uint64_t last_seq = l->next_seq - 1;

	assert(l->in_flight == 0);
	memset(&l->verdict, 0, sizeof(l->verdict));
	l->is_draining = false;
	l->next_seq = l->acked_seq + 1;
	l->is_at_end = false;
	l->barren_count++;
	if (v.is_route_refused) {
		lane_hold(l, LANE_HOLD_ROUTE, now_ms, v.why);
		return;
	}
	if (v.refused_count > 0)
		judge_refused(l, &v);
	if (v.is_time_refused)
		l->restamp_until = last_seq;
	if (l->barren_count >= BARREN_MAX)
		lane_hold(l, LANE_HOLD_ROUTE, now_ms, v.why);
}

bool
lane_may_go(struct lane *l, int64_t now_ms)
{
	if (l->is_draining || (l->hold != LANE_RUNS && now_ms < l->hold_until_ms))
		return false;
	if (l->end_seq - l->acked_seq - 1 >= LANE_WINDOW_MAX &&
	    l->next_seq == l->end_seq)
		return false;
	/* What was restamped must not share a batch of Kafka's with what was not. */
	if (l->next_seq > l->restamp_until && l->acked_seq < l->restamp_until)
		return false;
	if (l->careful_limit == 0)
		return true;
	if (l->next_seq <= l->careful_until)
		return l->in_flight < l->careful_limit;
	if (l->acked_seq < l->careful_until)
		return false;
	l->careful_limit = 0;
	return true;
}

void
lane_hold(struct lane *l, enum lane_hold hold, int64_t now_ms, const char *why)
{
	if (l->hold == LANE_RUNS)
		l->held_since_ms = now_ms;
	if (l->hold != hold)
		l->hold_delay_ms = HOLD_FIRST_MS;
	else if (l->hold_delay_ms < HOLD_LAST_MS / 2)
		l->hold_delay_ms *= 2;
	else
		l->hold_delay_ms = HOLD_LAST_MS;
	l->hold = hold;
	l->hold_until_ms = now_ms + l->hold_delay_ms;
	l->wants_solo = false;
	snprintf(l->held_why, sizeof(l->held_why), "%s", why);
	/* The next try is with one record, not with all that may be in flight. */
	go_careful(l, 1, l->acked_seq + 1);
	if (now_ms >= l->hold_log.quiet_until_ms)
		l->is_hold_logged = true;
	log_repeated(&l->hold_log, now_ms, LOG_LEVEL_ERROR, LOG_DELIVERY,
	    "route %s holds at %llu: %s; trying again in %lld s", l->name,
	    (unsigned long long)l->acked_seq + 1, l->held_why,
	    (long long)l->hold_delay_ms / 1000);
}

void
lane_resume(struct lane *l, enum lane_hold hold, int64_t now_ms)
{
	if (l->hold == LANE_RUNS || l->hold != hold)
		return;
	if (l->is_hold_logged)
		log_info(LOG_DELIVERY, "route %s goes on after %lld s", l->name,
		    (long long)(now_ms - l->held_since_ms) / 1000);
	l->is_hold_logged = false;
	l->hold = LANE_RUNS;
	l->hold_until_ms = 0;
	l->hold_delay_ms = 0;
	l->held_why[0] = '\0';
}
