/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of a lane when a record was not delivered. Everything that is out comes
 * back first; then it is judged, and the lane goes back to the first that is owed.
 *
 * After a rejection. Kafka refuses a whole batch of its own for one record in it, and
 * with gapless delivery everything behind comes back too. So what was refused is sent
 * again in smaller and smaller groups, a sixteenth each time, and only a record that is
 * refused when it was alone in flight, on all lanes, is doomed. (One at a time from the
 * start would cost a round trip for each of thousands of innocents.) It ends: a group
 * that is refused is always smaller than the last, or its one record is next judged
 * alone.
 *
 * When Kafka refuses the route (no such topic, not authorised), the lane holds and tries
 * again ever more slowly, with its first record. With refusals_max that record is doomed
 * when it was refused so often. Its topic is then given up: what comes behind it for the
 * same topic gets one try each, alone on the lane and without a delay, because an
 * operator who asks for burying wants the stream to move on. The first delivery to the
 * topic ends that, and the next refusal is met with full patience: a short hiccup buries
 * nothing, and the end of a long one is noticed at once. What never came back as refused
 * (an outage) does not count, and what goes to other topics is not concerned.
 */
#include "lane.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define CAREFUL_DIVISOR 16
#define BARREN_MAX      3

/* ---- topics that were given up ---- */

/* Kafka's topics as numbers; never 0. */
static uint64_t
number_of(const char *topic)
{
	return position_hash((struct bytes){topic, strlen(topic)});
}

static uint64_t *
find_given_up(struct lane *l, uint64_t topic)
{
	for (size_t i = 0; i < LANE_GIVEN_UP_MAX; i++) {
		if (l->given_up[i] == topic)
			return &l->given_up[i];
	}
	return NULL;
}

void
lane_give_up(struct lane *l, const char *topic)
{
	uint64_t number = number_of(topic);

	if (find_given_up(l, number) != NULL)
		return;
	l->given_up[l->given_up_next++ % LANE_GIVEN_UP_MAX] = number;
}

bool
lane_may_try(struct lane *l, const char *topic)
{
	uint64_t number;

	if (l->given_up_next == 0)
		return true;
	number = number_of(topic);
	if (find_given_up(l, number) == NULL)
		return true;
	if (l->in_flight > 0)
		return false;
	l->trial_seq = l->next_seq;
	l->trial_topic = number;
	lane_go_careful(l, 1, l->next_seq);
	return true;
}

void
lane_end_trial(struct lane *l)
{
	uint64_t *topic = find_given_up(l, l->trial_topic);

	if (topic != NULL)
		*topic = 0;
	l->trial_seq = 0;
	for (size_t i = 0; i < LANE_GIVEN_UP_MAX; i++) {
		if (l->given_up[i] != 0)
			return;
	}
	l->given_up_next = 0; /* nothing to look for */
}

/* ---- judging ---- */

static void
note_route_refused(struct verdict *v, uint64_t seq)
{
	if (v->route_refused_seq == 0 || seq < v->route_refused_seq)
		v->route_refused_seq = seq;
}

void
lane_reject(struct lane *l, uint64_t seq, enum sink_result result, bool was_alone,
    const char *text)
{
	struct verdict *v = &l->verdict;

	l->error_count++;
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
			note_route_refused(v, seq);
		v->is_time_refused = true;
		break;
	case SINK_ROUTE_REFUSED:
		note_route_refused(v, seq);
		break;
	case SINK_NOT_DELIVERED:
	case SINK_DELIVERED:
		if (v->why[0] == '\0')
			snprintf(v->why, sizeof(v->why), "%s", text);
		return;
	}
	snprintf(v->why, sizeof(v->why), "%s", text);
}

bool
lane_is_to_blame(const struct lane *l)
{
	const struct verdict *v = &l->verdict;

	return v->refused_count > 0 || v->route_refused_seq != 0 || v->is_time_refused;
}

static void
doom(struct lane *l, uint64_t seq, enum lane_doom doom, const char *why)
{
	l->doomed_seq = seq;
	l->doom = doom;
	snprintf(l->doomed_why, sizeof(l->doomed_why), "%s", why);
	lane_note_progress(l);
}

/* Records were refused, alone or among others. */
static void
judge_refused(struct lane *l, const struct verdict *v)
{
	size_t limit = v->refused_count / CAREFUL_DIVISOR;

	lane_go_careful(l, limit == 0 ? 1 : limit, v->refused_last);
	if (v->refused_count > 1) {
		l->barren_count = 0;
		return;
	}
	l->wants_solo = !v->was_alone;
	if (v->was_alone)
		doom(l, v->refused_last,
		    v->is_too_large ? LANE_DOOM_SIZE : LANE_DOOM_REFUSED, v->why);
}

/* The route was refused: is it the end for the first record that is owed? */
static bool
is_patience_over(struct lane *l, uint64_t refused_seq)
{
	if (l->refusals_max == 0 || refused_seq != l->acked_seq + 1)
		return false;
	if (refused_seq == l->trial_seq)
		return true;
	if (refused_seq != l->refused_seq)
		l->refusal_count = 0;
	l->refused_seq = refused_seq;
	l->refusal_count++;
	return l->refusal_count >= l->refusals_max;
}

void
lane_settle(struct lane *l, int64_t now_ms)
{
	struct verdict v = l->verdict;
	uint64_t last_seq = l->next_seq - 1;

	assert(l->in_flight == 0);
	memset(&l->verdict, 0, sizeof(l->verdict));
	l->is_draining = false;
	lane_go_back(l);
	l->barren_count++;
	if (v.route_refused_seq != 0) {
		if (is_patience_over(l, v.route_refused_seq))
			doom(l, v.route_refused_seq, LANE_DOOM_ROUTE, v.why);
		else
			lane_hold(l, LANE_HOLD_ROUTE, now_ms, v.why);
		l->trial_seq = 0;
		return;
	}
	l->trial_seq = 0;
	if (v.refused_count > 0)
		judge_refused(l, &v);
	if (v.is_time_refused)
		l->restamp_until = last_seq;
	if (l->barren_count >= BARREN_MAX)
		lane_hold(l, LANE_HOLD_ROUTE, now_ms, v.why);
}
