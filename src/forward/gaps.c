/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a lane passes what is not in the journal any more, as gap markers tell; where the
 * route says so, it announces each range in its own topic, in its place in the order.
 *
 * Invariant: an announcement has a slot in the window like a record, at the first
 * sequence of its range: the lane is past the range when Kafka has confirmed it. What is
 * announced ends where the next slot begins, so that nothing is announced twice but by
 * going back.
 *
 * Failure modes: Kafka does not take the announcement as a record (too large, refused
 * alone): the range is passed without it, with a line in the log; the status report has
 * the gap, too. A gap without a marker is passed with an error line.
 */
#include <stdio.h>

#include "err.h"
#include "forwarder_parts.h"

#define GAP_LOOK_MS 1000

/* ---- announcing ---- */

static bool
announces(const struct lane *lane)
{
	return lane->route != NULL && route_announces_gaps(lane->route) &&
	       lane->next_seq > lane->passed_seq;
}

/* It can never be sent. */
static void
give_up(struct forwarder *f, struct lane *lane, const struct journal_gap *gap,
    const char *why)
{
	if (lane->doomed_seq == gap->first_seq)
		lane->doomed_seq = 0;
	lane_resume(lane, LANE_HOLD_ROUTE, f->now_ms);
	lane_note_progress(lane);
	log_event_repeated(&lane->gap_log, f->now_ms, LOG_LEVEL_ERROR, LOG_DELIVERY,
	    &(struct log_details){.route = lane->name,
		.counts = {{"first_seq", gap->first_seq}, {"count", gap->count}}},
	    "route %s: the gap of %llu records from %llu on could not be announced in "
	    "its topic: %s",
	    lane->name, (unsigned long long)gap->count,
	    (unsigned long long)gap->first_seq, why);
}

/* Anything but 0: it could not be sent now. */
static int
announce(struct forwarder *f, struct lane *lane, const struct journal_gap *gap)
{
	struct sink_record out;
	int err;

	if (lane->is_off) {
		lane->is_parked = true;
		return ERR_AWAY;
	}
	if (lane->doomed_seq == gap->first_seq) {
		give_up(f, lane, gap, lane->doomed_why);
		return 0;
	}
	err = lane_reserve(lane);
	if (err == 0)
		err = route_render_gap(lane->route, gap, f->real_ms, &out);
	if (err == 0)
		err = forwarder_hand_over(f, lane, &out, 0);
	if (err == ERR_TOOLARGE) {
		give_up(f, lane, gap, "larger than what may be sent");
		return 0;
	}
	return err;
}

/* ---- passing ---- */

/*
 * Pass what markers tell of, from next_seq on and before limit_seq. Anything but 0: it
 * cannot go on now.
 */
static int
pass_markers(struct forwarder *f, struct lane *lane, uint64_t limit_seq, size_t *work)
{
	while (lane->next_seq<limit_seq && * work> 0 && forwarder_may_go(f, lane)) {
		uint64_t next_slot_seq = lane_seq_behind(lane), end_seq;
		struct journal_gap gap;
		int err = journal_gap_at(f->journal, lane->next_seq, &gap);

		if (err == ERR_NOTFOUND)
			return 0;
		if (err != 0)
			return err;
		end_seq = gap.first_seq + gap.count;
		if (end_seq > limit_seq)
			end_seq = limit_seq;
		if (end_seq > next_slot_seq)
			end_seq = next_slot_seq;
		gap.first_seq = lane->next_seq;
		gap.count = end_seq - lane->next_seq;
		if (announces(lane))
			err = announce(f, lane, &gap);
		if (err != 0)
			return err;
		transaction_note_passed(f, lane, end_seq - 1);
		lane_skip(lane, end_seq);
		lane_pass_done(lane);
		*work -= 1;
	}
	return lane->next_seq < limit_seq && (*work == 0 || !forwarder_may_go(f, lane))
		   ? ERR_AWAY
		   : 0;
}

/* The journal has nothing at next_seq or behind, but perhaps a gap marker. */
void
forwarder_reach_end(struct forwarder *f, struct lane *lane, size_t *work)
{
	uint64_t before = lane->next_seq;

	if (lane->is_at_end && f->now_ms - lane->gap_looked_ms < GAP_LOOK_MS)
		return;
	lane->gap_looked_ms = f->now_ms;
	if (pass_markers(f, lane, UINT64_MAX, work) == 0 && lane->next_seq == before)
		lane->is_at_end = true;
}

/* Sequences in front of the run are not in the journal. */
int
forwarder_pass_gap(struct forwarder *f, struct lane *lane, size_t *work)
{
	uint64_t reach, base_seq = lane->run->base_seq;
	int err;

	if (lane->next_seq >= base_seq)
		return 0;
	err = pass_markers(f, lane, base_seq, work);
	if (err != 0 || lane->next_seq >= base_seq)
		return err;
	reach = lane->next_seq;
	lane_skip(lane, base_seq);
	log_event(LOG_LEVEL_ERROR, LOG_JOURNAL,
	    &(struct log_details){.route = lane->name,
		.counts = {{"first_seq", reach}, {"count", base_seq - reach}}},
	    "route %s: sequences %llu to %llu are not in the journal, and no gap "
	    "marker "
	    "says why",
	    lane->name, (unsigned long long)reach, (unsigned long long)base_seq - 1);
	return 0;
}
