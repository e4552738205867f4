/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a lane goes on: from the journal to the sink, record by record.
 *
 * Invariants: a record is sent only when its lane has room for it, but for one that is
 * larger than all the room and goes alone. A value that was not copied keeps its run in
 * memory until it comes back. While a lane is judged alone ("solo") nothing of another
 * is in flight: records of two routes may share a batch of Kafka's.
 *
 * Failure modes: the journal cannot be read or a record cannot be buried: that lane
 * holds, and tries again.
 */
#include <stdio.h>
#include <string.h>

#include "err.h"
#include "forwarder_parts.h"

/* Work of one step, in records; one that is buried costs a commit to disk. */
#define STEP_WORK 4096
#define BURY_WORK 256

/* What a record on its way takes in memory beside key and value, about. */
#define RECORD_BYTES 128

#define GAP_LOOK_MS 1000

/* ---- reading ---- */

void
forwarder_leave_run(struct forwarder *f, struct lane *lane)
{
	if (lane->run != NULL)
		readahead_leave(f->readahead, lane->run);
	lane->run = NULL;
}

/* How far do gap markers explain that nothing is at next_seq? */
static uint64_t
gap_reach(struct forwarder *f, struct lane *lane)
{
	uint64_t reach = lane->next_seq;
	uint64_t from = lane->gap_seq;
	struct journal_gap gap;

	/* The last one that was seen is looked at again: it may have grown. */
	while (
	    journal_gap_read(f->journal, from, &gap) == 0 && gap.first_seq <= reach) {
		if (gap.first_seq + gap.count > reach)
			reach = gap.first_seq + gap.count;
		lane->gap_seq = gap.first_seq;
		from = gap.first_seq + 1;
	}
	return reach;
}

/* The journal has nothing at next_seq or behind, but perhaps a gap marker. */
static void
reach_end(struct forwarder *f, struct lane *lane)
{
	uint64_t reach;

	if (lane->is_at_end && f->now_ms - lane->gap_looked_ms < GAP_LOOK_MS)
		return;
	reach = gap_reach(f, lane);
	lane->gap_looked_ms = f->now_ms;
	if (reach == lane->next_seq)
		lane->is_at_end = true;
	else
		(void)lane_skip(lane, reach); /* refused: again when more is back */
}

static void
hold_damaged(
    struct forwarder *f, struct lane *lane, const struct damage *damage, int err)
{
	char why[128];

	snprintf(why, sizeof(why), "sequences %llu to %llu of the journal are %s",
	    (unsigned long long)damage->base_seq,
	    (unsigned long long)damage->end_seq - 1, err_str(err));
	lane_hold(lane, LANE_HOLD_READ, f->now_ms, why);
}

/* Let the lane stand in the run of next_seq. Only ERR_NOMEM is for the caller. */
static int
find_run(struct forwarder *f, struct lane *lane)
{
	struct damage damage = {0, 0};
	int err;

	if (lane->run != NULL && lane->next_seq >= lane->run->from_seq &&
	    lane->next_seq < lane->run->end_seq)
		return 0;
	forwarder_leave_run(f, lane);
	err = readahead_enter(f->readahead, lane->next_seq, &lane->run, &damage);
	switch (err) {
	case 0:
		lane->at_run_start = true;
		lane_resume(lane, LANE_HOLD_READ, f->now_ms);
		break;
	case ERR_NOTFOUND:
		reach_end(f, lane);
		break;
	case ERR_FULL:
	case ERR_NOMEM:
		break;
	case ERR_CORRUPT:
	case ERR_VERSION:
		hold_damaged(f, lane, &damage, err);
		break;
	default:
		lane_hold(lane, LANE_HOLD_READ, f->now_ms, err_str(err));
	}
	return err;
}

/* Sequences in front of the run are not in the journal. False: not passed yet. */
static bool
pass_gap(struct forwarder *f, struct lane *lane)
{
	uint64_t reach;

	if (lane->next_seq >= lane->run->base_seq)
		return true;
	reach = gap_reach(f, lane);
	if (!lane_skip(lane, lane->run->base_seq))
		return false;
	if (reach < lane->run->base_seq)
		log_error(LOG_JOURNAL,
		    "route %s: sequences %llu to %llu are not in the journal, and no "
		    "gap marker says why",
		    lane->name, (unsigned long long)reach,
		    (unsigned long long)lane->run->base_seq - 1);
	return true;
}

/* ---- sending ---- */

static bool
may_go(struct forwarder *f, struct lane *lane)
{
	if (f->is_stopping || f->is_fatal || f->is_full)
		return false;
	if (f->solo != NULL && (f->solo != lane || f->in_flight > 0))
		return false;
	return lane_may_go(lane, f->now_ms);
}

static bool
has_room(const struct forwarder *f, const struct lane *lane, uint64_t cost)
{
	if (lane->next_seq < lane->end_seq || lane_window_is_empty(lane))
		return true;
	if (lane->at_run_start && lane->window_runs >= f->lane_runs)
		return false;
	return lane->window_bytes + cost <= f->lane_bytes;
}

static uint32_t
cost_of(size_t size)
{
	uint64_t cost = (uint64_t)size + RECORD_BYTES;

	return cost > UINT32_MAX ? UINT32_MAX : (uint32_t)cost;
}

/* Put next_seq into dead. Anything but 0: it could not be done, the lane holds. */
static int
bury(struct forwarder *f, struct lane *lane, const char *reason, const char *detail)
{
	uint64_t seq = lane->next_seq;
	const struct record *r = run_record(lane->run, seq);
	struct dead_letter letter = {
	    .buried_ms = f->real_ms > 0 ? (uint64_t)f->real_ms : 0,
	    .reason = reason,
	    .detail = {detail, strlen(detail)},
	    .record = run_stored(lane->run, seq),
	};
	char why[128];
	int err;

	err = journal_bury(f->journal, seq, lane->name, &letter);
	if (err != 0) {
		snprintf(why, sizeof(why), "it has to go to the dead letters (%s): %s",
		    reason, err_str(err));
		lane_hold(lane, LANE_HOLD_BURY, f->now_ms, why);
		return err;
	}
	lane_bury(lane, f->now_ms);
	f->has_progress = true;
	log_repeated(&lane->bury_log, f->now_ms, LOG_LEVEL_WARNING, LOG_DELIVERY,
	    "route %s: %llu went to the dead letters (%s: %s), topic %.*s", lane->name,
	    (unsigned long long)seq, reason, detail,
	    r->topic.size < 200 ? (int)r->topic.size : 200,
	    r->topic.size > 0 ? (const char *)r->topic.data : "");
	return 0;
}

/* What became of handing next_seq over. Anything but 0: the lane's turn is over. */
static int
judge_send(struct forwarder *f, struct lane *lane, int err)
{
	const char *text = err_str(ERR_FATAL);

	switch (err) {
	case ERR_TOOLARGE:
		return bury(f, lane, DEAD_TOO_LARGE, "larger than what may be sent");
	case ERR_REFUSED:
		lane_reject(lane, lane->next_seq, SINK_ROUTE_REFUSED, false,
		    "Kafka does not know the topic, or does not let us write to it");
		break;
	case ERR_FATAL:
		(void)f->sink->ops->is_fatal(f->sink, &text);
		forwarder_note_fatal(f, text);
		break;
	case ERR_FULL:
		f->is_full = true;
		break;
	default:
		break;
	}
	return err;
}

static int
send_record(struct forwarder *f, struct lane *lane, const struct record *r)
{
	uint64_t seq = lane->next_seq;
	uint64_t tag = (uint64_t)(lane - f->lanes) << FORWARDER_SEQ_BITS |
		       (seq & FORWARDER_SEQ_MASK);
	struct sink_record out;
	struct run *pinned;
	uint32_t cost;
	int err;

	/* Before rendering, because it would be done again and again in vain. */
	if (!has_room(f, lane, cost_of(r->payload.size)))
		return ERR_FULL;
	err = route_render(
	    lane->route, r, seq, f->real_ms, seq <= lane->restamp_until, &out);
	if (err != 0)
		return err;
	cost = cost_of(out.key.size + out.value.size);
	if (!has_room(f, lane, cost))
		return ERR_FULL;
	err = f->sink->ops->send(f->sink, &out, tag);
	if (err != 0)
		return judge_send(f, lane, err);
	pinned = out.copy_value ? NULL : lane->run;
	if (pinned != NULL)
		readahead_pin(pinned);
	lane_send(lane, cost, pinned);
	f->is_alone = f->in_flight == 0;
	f->alone_tag = tag;
	f->in_flight++;
	return 0;
}

static bool
is_routed(const struct forwarder *f, const struct record *r)
{
	for (size_t i = 0; i + 1 < f->lane_count; i++) {
		if (route_matches(f->lanes[i].route, r))
			return true;
	}
	return false;
}

/* Anything but 0: nothing more of this lane now. */
static int
advance_one(struct forwarder *f, struct lane *lane, size_t *work)
{
	const struct record *r = run_record(lane->run, lane->next_seq);
	uint64_t dead_count = lane->dead_count;
	uint32_t cost;
	int err;

	err = lane_reserve(lane);
	if (err != 0)
		return err;
	if (lane->next_seq == lane->doomed_seq) {
		err = bury(f, lane,
		    lane->is_doomed_for_size ? DEAD_TOO_LARGE : DEAD_REFUSED,
		    lane->doomed_why);
	} else if (lane->route == NULL && !is_routed(f, r)) {
		err = bury(f, lane, DEAD_NO_ROUTE, "no route matches the topic");
	} else if (lane->route != NULL && route_matches(lane->route, r)) {
		err = send_record(f, lane, r);
	} else {
		/* It keeps its run in memory as long as the window reaches over it. */
		cost = cost_of(r->payload.size);
		err = has_room(f, lane, cost) ? 0 : ERR_FULL;
		if (err == 0)
			lane_pass(lane, cost);
	}
	if (err == 0 && lane->dead_count != dead_count)
		*work = *work > BURY_WORK ? *work - BURY_WORK : 0;
	else if (err == 0)
		*work -= 1;
	return err;
}

/*
 * How far may it look? What no route matches is judged only when every route is past it:
 * a record that waits for a route is not settled, and that route may change or go.
 */
static uint64_t
last_to_look_at(const struct forwarder *f, const struct lane *lane)
{
	uint64_t seq = UINT64_MAX;

	for (size_t i = 0; lane->route == NULL && i + 1 < f->lane_count; i++) {
		if (f->lanes[i].acked_seq < seq)
			seq = f->lanes[i].acked_seq;
	}
	return seq;
}

/* Go on to the end of one run. */
static int
advance(struct forwarder *f, struct lane *lane, size_t *work)
{
	uint64_t last_seq = last_to_look_at(f, lane);
	int err;

	lane_pass_done(lane);
	if (!may_go(f, lane))
		return 0;
	err = find_run(f, lane);
	if (err == 0 && !pass_gap(f, lane))
		return 0;
	while (err == 0 && *work > 0 && lane->next_seq < lane->run->end_seq &&
	       lane->next_seq <= last_seq) {
		err = advance_one(f, lane, work);
		lane_pass_done(lane);
		if (!may_go(f, lane))
			break;
	}
	return err == ERR_NOMEM ? err : 0;
}

int
forwarder_advance(struct forwarder *f)
{
	size_t work = STEP_WORK;
	size_t before;
	int err = 0;

	do {
		before = work;
		for (size_t i = 0; i < f->lane_count && err == 0 && work > 0; i++)
			err = advance(f, &f->lanes[i], &work);
	} while (err == 0 && work > 0 && work < before);
	f->has_more = work == 0;
	return err;
}
