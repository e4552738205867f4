/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lane. The window is a ring of slots, one for each record of this lane behind the
 * finished prefix; next_seq moves within it after a rejection and at its end otherwise.
 * Slots that are done leave it at the front only: that is the finished prefix.
 *
 * Invariants: a slot leaves the window only when it is done. Between acked_seq and
 * end_seq each record of this lane has a slot. From a rejection until everything is back
 * nothing is sent (I4). A slot that is done is never sent again; one that is kept only
 * when its transaction is undone, and with it all that the lane has kept.
 */
#include "lane.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

#define FIRST_SLOTS   64
#define HOLD_FIRST_MS 1000
#define HOLD_LAST_MS  60000

int
lane_init(struct lane *l, const char *name, struct route *route, struct lane_room *room,
    uint64_t acked_seq)
{
	memset(l, 0, sizeof(*l));
	l->name = name;
	l->route = route;
	l->room = room;
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
	topic_matcher_close(l->passed_filters);
	l->passed_filters = NULL;
}

static struct slot *
slot_of(const struct lane *l, uint64_t number)
{
	return &l->slots[number & (l->capacity - 1)];
}

uint64_t
lane_seq_at(const struct lane *l, uint64_t number)
{
	return slot_of(l, number)->seq;
}

/* ---- the window ---- */

/* What it takes beyond its own part of the room. */
static uint64_t
beyond_own(const struct lane *l, uint64_t bytes)
{
	return bytes > l->room->each ? bytes - l->room->each : 0;
}

static void
set_window_bytes(struct lane *l, uint64_t bytes)
{
	l->room->common_used -= beyond_own(l, l->window_bytes);
	l->room->common_used += beyond_own(l, bytes);
	l->window_bytes = bytes;
}

static uint32_t
cost_of(size_t bytes)
{
	uint64_t cost = (uint64_t)bytes + LANE_RECORD_BYTES;

	return cost > UINT32_MAX ? UINT32_MAX : (uint32_t)cost;
}

static bool
has_room(const struct lane *l, size_t bytes)
{
	bool is_again = l->next_slot < l->end_slot;
	uint32_t paid = is_again ? slot_of(l, l->next_slot)->cost : 0;
	uint64_t wanted = beyond_own(l, l->window_bytes - paid + cost_of(bytes));
	uint64_t others = l->room->common_used - beyond_own(l, l->window_bytes);

	if (wanted == 0 || lane_window_is_empty(l))
		return true;
	/* It has its room still, but for one that was kept; the first goes alone. */
	if (is_again && (paid > LANE_KEPT_BYTES ||
			    (l->next_slot == l->first_slot && l->in_flight == 0)))
		return true;
	return others + 2 * wanted <= l->room->common;
}

bool
lane_find_room(struct lane *l, size_t bytes)
{
	l->wanted_bytes = has_room(l, bytes) ? 0 : bytes;
	return l->wanted_bytes == 0;
}

int
lane_reserve(struct lane *l)
{
	struct slot *slots, *old = l->slots;
	size_t capacity = l->capacity * 2;

	if (l->end_slot - l->first_slot < l->capacity)
		return 0;
	slots = calloc(capacity, sizeof(*slots));
	if (slots == NULL)
		return ERR_NOMEM;
	for (uint64_t n = l->first_slot; n < l->end_slot; n++)
		slots[n & (capacity - 1)] = *slot_of(l, n);
	l->slots = slots;
	l->capacity = capacity;
	free(old);
	return 0;
}

/* next_slot has moved, or what lies behind it. */
static void
find_next_seq(struct lane *l)
{
	l->next_seq =
	    l->next_slot < l->end_slot ? slot_of(l, l->next_slot)->seq : l->end_seq;
}

uint64_t
lane_seq_behind(const struct lane *l)
{
	return l->next_slot + 1 < l->end_slot ? slot_of(l, l->next_slot + 1)->seq
					      : UINT64_MAX;
}

void
lane_pass_done(struct lane *l)
{
	while (
	    l->next_slot < l->end_slot && slot_of(l, l->next_slot)->state >= SLOT_KEPT)
		l->next_slot++;
	find_next_seq(l);
}

/* The slot of next_seq, put at the end of the window if it is not in it yet. */
static struct slot *
take_next(struct lane *l, uint32_t cost)
{
	struct slot *s = slot_of(l, l->next_slot);

	if (l->next_slot == l->end_slot) {
		*s = (struct slot){.seq = l->next_seq, .cost = cost};
		set_window_bytes(l, l->window_bytes + cost);
		l->end_slot++;
		l->end_seq = l->next_seq + 1;
	} else if (s->cost <= LANE_KEPT_BYTES && s->cost < cost) {
		set_window_bytes(l, l->window_bytes - s->cost + cost);
		s->cost = cost;
	}
	l->next_slot++;
	find_next_seq(l);
	l->is_at_end = false;
	return s;
}

void
lane_go_back(struct lane *l)
{
	l->next_slot = l->first_slot;
	find_next_seq(l);
	l->is_at_end = false;
}

static void
move_prefix(struct lane *l)
{
	while (!lane_window_is_empty(l)) {
		const struct slot *s = slot_of(l, l->first_slot);

		if (s->state != SLOT_DONE)
			break;
		if (l->topics != NULL)
			topic_counts_add(l->topics, s->topic);
		set_window_bytes(l, l->window_bytes - s->cost);
		l->first_slot++;
	}
	if (l->next_slot < l->first_slot)
		l->next_slot = l->first_slot;
	find_next_seq(l);
	l->acked_seq =
	    (lane_window_is_empty(l) ? l->end_seq : slot_of(l, l->first_slot)->seq) - 1;
}

void
lane_send(struct lane *l, size_t bytes, const char *topic, int64_t received_ms,
    struct run *pinned)
{
	struct slot *s = take_next(l, cost_of(bytes));

	s->state = SLOT_OUT;
	s->received_ms = received_ms;
	s->pinned = pinned;
	if (l->topics != NULL)
		s->topic = topic_counts_find(l->topics, topic);
	l->in_flight++;
}

void
lane_skip(struct lane *l, uint64_t seq)
{
	/* Slots here: records that have gone out of the journal since they were read. */
	for (; l->next_slot < l->end_slot && l->next_seq < seq; find_next_seq(l)) {
		struct slot *s = slot_of(l, l->next_slot++);

		if (s->state == SLOT_DONE)
			continue;
		s->state = SLOT_DONE;
		s->topic = TOPIC_COUNTS_NONE;
	}
	if (l->end_seq < seq)
		l->end_seq = seq;
	l->is_at_end = false;
	move_prefix(l);
}

struct run *
lane_come_back(struct lane *l, uint64_t number)
{
	struct slot *s = slot_of(l, number);
	struct run *pinned = s->pinned;

	assert(number >= l->first_slot && number < l->end_slot && s->state == SLOT_OUT);
	s->state = SLOT_OPEN;
	s->pinned = NULL;
	l->in_flight--;
	return pinned;
}

/* ---- what came back ---- */

void
lane_go_careful(struct lane *l, size_t limit, uint64_t until)
{
	l->careful_limit = limit;
	l->careful_until = until;
}

void
lane_note_progress(struct lane *l)
{
	l->barren_count = 0;
	l->wants_solo = false;
}

static void
count_latency(struct lane *l, const struct slot *s, int64_t real_ms)
{
	if (l->latency != NULL && s->received_ms != 0)
		histogram_add(
		    l->latency, HISTOGRAM_DELIVERY, (real_ms - s->received_ms) * 1000);
}

void
lane_deliver(struct lane *l, uint64_t number, int64_t now_ms, int64_t real_ms)
{
	struct slot *s = slot_of(l, number);

	s->state = SLOT_DONE;
	count_latency(l, s, real_ms);
	l->delivered_count++;
	l->delivered_bytes += s->cost - LANE_RECORD_BYTES;
	if (s->seq == l->trial_seq)
		lane_end_trial(l);
	lane_note_progress(l);
	move_prefix(l);
	lane_resume(l, LANE_HOLD_ROUTE, now_ms);
}

void
lane_keep(struct lane *l, uint64_t number)
{
	struct slot *s = slot_of(l, number);

	s->state = SLOT_KEPT;
	l->kept_count++;
	l->kept_bytes += s->cost - LANE_RECORD_BYTES;
	set_window_bytes(l, l->window_bytes - s->cost + LANE_KEPT_BYTES);
	s->cost = LANE_KEPT_BYTES;
}

/* What is kept lies before next_slot. real_ms: of SLOT_DONE. */
static void
settle_kept(struct lane *l, enum slot_state state, int64_t real_ms)
{
	for (uint64_t n = l->first_slot; n < l->next_slot && l->kept_count > 0; n++) {
		struct slot *s = slot_of(l, n);

		if (s->state != SLOT_KEPT)
			continue;
		s->state = state;
		if (state == SLOT_DONE)
			count_latency(l, s, real_ms);
		l->kept_count--;
	}
	assert(l->kept_count == 0);
	l->kept_bytes = 0;
	l->sent.seq = 0;
}

void
lane_commit(struct lane *l, int64_t now_ms, int64_t real_ms)
{
	if (l->kept_count == 0)
		return;
	l->delivered_count += l->kept_count;
	l->delivered_bytes += l->kept_bytes;
	if (l->sent.asked != l->place.last.asked)
		l->place.before = l->place.last;
	l->place.last = l->sent;
	if (l->trial_seq != 0 && l->sent.seq >= l->trial_seq)
		lane_end_trial(l);
	settle_kept(l, SLOT_DONE, real_ms);
	lane_note_progress(l);
	move_prefix(l);
	lane_resume(l, LANE_HOLD_ROUTE, now_ms);
}

void
lane_undo(struct lane *l)
{
	bool is_to_blame = lane_is_to_blame(l);

	assert(l->in_flight == 0);
	settle_kept(l, SLOT_OPEN, 0);
	if (is_to_blame)
		return;
	memset(&l->verdict, 0, sizeof(l->verdict));
	l->is_draining = false;
	l->trial_seq = 0;
	lane_go_back(l);
}

void
lane_bury(struct lane *l, int64_t now_ms)
{
	if (l->doomed_seq == l->next_seq && l->doom == LANE_DOOM_ROUTE)
		lane_resume(l, LANE_HOLD_ROUTE, now_ms);
	lane_resume(l, LANE_HOLD_BURY, now_ms);
	l->dead_count++;
	l->doomed_seq = 0;
	lane_note_progress(l);
	if (lane_window_is_empty(l)) {
		lane_skip(l, l->next_seq + 1); /* nothing is owed before it */
	} else {
		struct slot *s = take_next(l, 0);

		s->state = SLOT_DONE;
		s->topic = TOPIC_COUNTS_NONE;
		move_prefix(l);
	}
}

bool
lane_may_go(struct lane *l, int64_t now_ms)
{
	if (l->is_draining || l->is_parked ||
	    (l->hold != LANE_RUNS && now_ms < l->hold_until_ms))
		return false;
	if (l->end_slot - l->first_slot >= LANE_WINDOW_MAX &&
	    l->next_slot == l->end_slot)
		return false;
	if (l->in_flight >= l->room->in_flight_max)
		return false;
	if (l->wanted_bytes > 0 && !lane_find_room(l, l->wanted_bytes))
		return false;
	/* What was restamped must not share a batch of Kafka's with what was not. */
	if (l->next_seq > l->restamp_until && l->acked_seq < l->restamp_until)
		return false;
	if (l->careful_limit == 0)
		return true;
	if (l->next_seq <= l->careful_until)
		return l->in_flight + l->kept_count < l->careful_limit;
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
	lane_go_careful(l, 1, l->acked_seq + 1);
	if (now_ms >= l->hold_log.quiet_until_ms)
		l->is_hold_logged = true;
	log_event_repeated(&l->hold_log, now_ms, LOG_LEVEL_ERROR, LOG_DELIVERY,
	    &(struct log_details){.route = l->name,
		.counts = {{"seq", l->acked_seq + 1},
		    {"retry_ms", (uint64_t)l->hold_delay_ms}}},
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
		log_recovered(&l->hold_log, LOG_LEVEL_INFO, LOG_DELIVERY,
		    &(struct log_details){.route = l->name,
			.counts = {{"held_s",
			    (uint64_t)(now_ms - l->held_since_ms) / 1000}}},
		    "route %s goes on after %lld s", l->name,
		    (long long)(now_ms - l->held_since_ms) / 1000);
	l->is_hold_logged = false;
	l->hold = LANE_RUNS;
	l->hold_until_ms = 0;
	l->hold_delay_ms = 0;
	l->held_why[0] = '\0';
}
