/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a lane goes on: from the journal to the sink, record by record.
 *
 * Invariants: a record is sent only when its lane has room for it, but for one that is
 * larger than all the room and goes alone. A value that was not copied keeps its run in
 * memory until it comes back. A record that is not for the lane is passed at no cost,
 * with all its like up to the next one that is. While a lane is judged alone ("solo")
 * nothing of another is in flight: records of two routes may share a batch of Kafka's.
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

/* ---- reading ---- */

void
forwarder_leave_run(struct forwarder *f, struct lane *lane)
{
	transaction_sum_sent(lane);
	if (lane->run != NULL)
		readahead_leave(f->readahead, lane->run);
	lane->run = NULL;
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

/* Out of the way with it: kept as it is, and a gap for the lanes. False: it stays. */
static bool
set_aside(struct forwarder *f, const struct damage *damage)
{
	struct journal_range range = {damage->base_seq, damage->end_seq};

	if (journal_quarantine(f->journal, &range) != 0)
		return false;
	log_event(LOG_LEVEL_ERROR, LOG_JOURNAL,
	    &(struct log_details){.counts = {{"first_seq", range.first_seq},
				      {"count", range.end_seq - range.first_seq}}},
	    "sequences %llu to %llu of the journal are damaged: the batch was set "
	    "aside as it is, a gap marker tells what is lost",
	    (unsigned long long)range.first_seq, (unsigned long long)range.end_seq - 1);
	return true;
}

/* Let the lane stand in the run of next_seq. Only ERR_NOMEM is for the caller. */
static int
find_run(struct forwarder *f, struct lane *lane, size_t *work)
{
	struct damage damage = {0, 0};
	int err;

	if (lane->run != NULL && lane->run->view != NULL &&
	    lane->next_seq >= lane->run->from_seq &&
	    lane->next_seq < lane->run->end_seq)
		return 0;
	forwarder_leave_run(f, lane);
	do
		err =
		    readahead_enter(f->readahead, lane->next_seq, &lane->run, &damage);
	while (err == ERR_CORRUPT && set_aside(f, &damage));
	switch (err) {
	case 0:
		lane->cursor = 0;
		lane_resume(lane, LANE_HOLD_READ, f->now_ms);
		break;
	case ERR_NOTFOUND:
		forwarder_reach_end(f, lane, work);
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

/* ---- sending ---- */

bool
forwarder_may_go(struct forwarder *f, struct lane *lane)
{
	if (f->is_stopping || f->is_fatal || f->is_full)
		return false;
	if (f->solo != NULL && (f->solo != lane || f->in_flight > 0))
		return false;
	return lane_may_go(lane, f->now_ms) && transaction_admits(f, lane);
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
		    reason,
		    err == ERR_FULL ? "they are full (journal.dead_max_bytes): see "
				      "discard-dead in tidegate-admin(1)"
				    : err_str(err));
		lane_hold(lane, LANE_HOLD_BURY, f->now_ms, why);
		return err;
	}
	lane_bury(lane, f->now_ms);
	f->has_progress = true;
	log_event_repeated(&lane->bury_log, f->now_ms, LOG_LEVEL_WARNING, LOG_DELIVERY,
	    &(struct log_details){.route = lane->name,
		.counts = {{"seq", seq}, {"dead", lane->dead_count}}},
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
	case ERR_REFUSED:
		lane_reject(lane, lane->next_seq, SINK_ROUTE_REFUSED, false,
		    "Kafka does not know the topic, or does not let us write to it");
		transaction_end_soon(f);
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

int
forwarder_hand_over(struct forwarder *f, struct lane *lane, struct sink_record *out,
    int64_t received_ms)
{
	uint64_t tag = (uint64_t)(lane - f->lanes) << FORWARDER_SLOT_BITS |
		       (lane->next_slot & FORWARDER_SLOT_MASK);
	size_t bytes = out->key.size + out->value.size;
	struct run *pinned = NULL;
	int err;

	if (!lane_find_room(lane, bytes))
		return ERR_FULL;
	/* A topic that is on trial makes the lane careful. */
	if (!lane_may_try(lane, out->topic) || !transaction_admits(f, lane))
		return ERR_AWAY;
	forwarder_mark_sent(f, lane);
	if (!out->copy_value && readahead_pin(f->readahead, lane->run))
		pinned = lane->run;
	out->copy_value = pinned == NULL;
	err = f->sink->ops->send(f->sink, out, tag);
	if (err != 0) {
		if (pinned != NULL)
			readahead_unpin(f->readahead, pinned);
		return err == ERR_TOOLARGE ? err : judge_send(f, lane, err);
	}
	transaction_note_sent(f, lane);
	lane_send(lane, bytes, out->topic, received_ms, pinned);
	f->is_alone = f->in_flight == 0;
	f->alone_tag = tag;
	f->in_flight++;
	return 0;
}

/* A requeued dead letter has waited for a person: what that took says nothing. */
static int64_t
counted_arrival(const struct record *r)
{
	return r->route.data == NULL ? (int64_t)r->received_ms : 0;
}

static int
send_record(struct forwarder *f, struct lane *lane, const struct record *r)
{
	uint64_t seq = lane->next_seq;
	struct sink_record out;
	const char *why;
	int err;

	/* Before rendering, because it would be done again and again in vain. */
	if (!lane_find_room(lane, r->payload.size))
		return ERR_FULL;
	err = route_render(
	    lane->route, r, seq, f->real_ms, seq <= lane->restamp_until, &out, &why);
	if (err == ERR_INVALID)
		return bury(f, lane, DEAD_BAD_TOPIC, why);
	if (err == 0)
		err = forwarder_hand_over(f, lane, &out, counted_arrival(r));
	if (err == ERR_TOOLARGE)
		return bury(f, lane, DEAD_TOO_LARGE, "larger than what may be sent");
	return err;
}

static int
bury_doomed(struct forwarder *f, struct lane *lane, const struct record *r)
{
	const char *reason =
	    lane->doom == LANE_DOOM_SIZE ? DEAD_TOO_LARGE : DEAD_REFUSED;
	bool is_for_topic = lane->doom == LANE_DOOM_ROUTE;
	struct sink_record out;
	const char *why;
	int err = bury(f, lane, reason, lane->doomed_why);

	if (err != 0 || !is_for_topic)
		return err;
	err =
	    route_render(lane->route, r, lane->next_seq, f->real_ms, false, &out, &why);
	if (err == 0)
		lane_give_up(lane, out.topic);
	return err == ERR_INVALID ? 0 : err;
}

static int
bury_skipped(struct forwarder *f, struct lane *lane)
{
	int err = bury(f, lane, DEAD_SKIPPED, "an operator asked for it");

	if (err == 0)
		forwarder_note_skipped(f, lane);
	return err;
}

/* Did the lane deliver it before its filters were changed, and it went back? */
static bool
has_passed(const struct lane *lane, const struct record *r)
{
	const uint32_t *owners;
	size_t count = 0;

	if (lane->next_seq > lane->passed_seq)
		return false;
	if (r->route.data == NULL)
		topic_matcher_match(lane->passed_filters, r->topic, &owners, &count);
	return count > 0 || r->route.data != NULL;
}

/* Errors: ERR_NOTFOUND, no forwarder before this one has buried next_seq. */
static int
pass_buried(struct forwarder *f, struct lane *lane)
{
	int err;

	if (lane->next_seq > lane->buried_seq)
		return ERR_NOTFOUND;
	err = journal_is_buried(f->journal, lane->next_seq, lane->name);
	if (err == 0)
		lane_bury(lane, f->now_ms);
	else if (err != ERR_NOTFOUND)
		lane_hold(lane, LANE_HOLD_READ, f->now_ms, err_str(err));
	return err;
}

/* Next_seq is for this lane. Anything but 0: nothing more of this lane now. */
static int
advance_one(struct forwarder *f, struct lane *lane, size_t *work)
{
	const struct record *r = run_record(lane->run, lane->next_seq);
	uint64_t dead_count = lane->dead_count;
	bool is_skipped;
	int err;

	if (has_passed(lane, r)) {
		lane_skip(lane, lane->next_seq + 1);
		*work -= 1;
		return 0;
	}
	err = lane_reserve(lane);
	if (err != 0)
		return err;
	err = pass_buried(f, lane);
	if (err != ERR_NOTFOUND) {
		*work -= 1;
		return err;
	}
	is_skipped = forwarder_is_skipped(f, lane->next_seq);
	if (lane->is_off && !is_skipped) {
		lane->is_parked = true;
		return ERR_AWAY;
	}
	if (is_skipped)
		err = bury_skipped(f, lane);
	else if (lane->next_seq == lane->doomed_seq)
		err = bury_doomed(f, lane, r);
	else if (lane->route == NULL)
		err = bury(f, lane, DEAD_NO_ROUTE,
		    r->route.data == NULL ? "no route matches the topic"
					  : "the route it is bound to is not there");
	else
		err = send_record(f, lane, r);
	if (err == 0 && lane->dead_count != dead_count)
		*work = *work > BURY_WORK ? *work - BURY_WORK : 0;
	else if (err == 0)
		*work -= 1;
	return err;
}

uint64_t
forwarder_last_to_look_at(const struct forwarder *f, const struct lane *lane)
{
	uint64_t seq = UINT64_MAX - 1;

	for (size_t i = 0; lane->route == NULL && i + 1 < f->lane_count; i++) {
		if (f->lanes[i].acked_seq < seq)
			seq = f->lanes[i].acked_seq;
	}
	return seq;
}

/* Pass what is known not to be for this lane. */
static void
pass_until(struct lane *lane, uint64_t seq, uint64_t last_seq, size_t *work)
{
	if (seq > last_seq + 1)
		seq = last_seq + 1;
	if (seq <= lane->next_seq)
		return;
	lane_skip(lane, seq);
	*work -= 1;
}

/* Go on to the end of the run that the lane stands in. */
static int
advance_in_run(struct forwarder *f, struct lane *lane, uint64_t last_seq, size_t *work)
{
	const struct run *run = lane->run;
	size_t number = (size_t)(lane - f->lanes);
	int err = 0;

	while (err == 0 && forwarder_may_go(f, lane)) {
		/* In the window there is a slot for each record that is its own. */
		if (lane->next_slot == lane->end_slot && *work > 0)
			pass_until(lane,
			    run_next_of(run, number, lane->next_seq, &lane->cursor),
			    last_seq, work);
		if (*work == 0 || lane->next_seq >= run->end_seq ||
		    lane->next_seq > last_seq)
			break;
		err = advance_one(f, lane, work);
		lane_pass_done(lane);
	}
	return err;
}

static int
advance(struct forwarder *f, struct lane *lane, size_t *work)
{
	uint64_t last_seq = forwarder_last_to_look_at(f, lane);
	int err;

	lane_pass_done(lane);
	if (!forwarder_may_go(f, lane))
		return 0;
	if (lane->route == NULL) {
		pass_until(lane, readahead_routed_until(f->readahead, lane->next_seq),
		    last_seq, work);
		if (*work == 0 || lane->next_seq > last_seq)
			return 0;
	}
	err = find_run(f, lane, work);
	if (err == 0)
		err = forwarder_pass_gap(f, lane, work);
	if (err == 0)
		err = advance_in_run(f, lane, last_seq, work);
	/* One that waits for a person, or for a while, keeps nothing in memory. */
	if (lane->hold != LANE_RUNS || lane->is_parked)
		forwarder_leave_run(f, lane);
	return err == ERR_NOMEM ? err : 0;
}

/* The lanes take turns, a run at a time, until none of them can go on. */
int
forwarder_advance(struct forwarder *f)
{
	size_t work = STEP_WORK;
	size_t idle_count = 0;
	int err = 0;

	while (err == 0 && work > 0 && idle_count < f->lane_count) {
		size_t before = work;

		err = advance(f, &f->lanes[f->turn], &work);
		f->turn = (f->turn + 1) % f->lane_count;
		idle_count = work < before ? 0 : idle_count + 1;
	}
	f->has_more = work == 0;
	return err;
}
