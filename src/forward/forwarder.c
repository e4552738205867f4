/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The forwarder: one lane for each route, and one that buries what no route matches.
 *
 * A step collects what came back, mends the producer, lets lanes that have drained go
 * back, then sends: the lanes take turns, a run of the journal at a time, so that those
 * at the same place share one read. Positions move in memory and are recorded, and the
 * journal truncated, a few times a second.
 *
 * Invariants: a position moves only over what lane_deliver(), lane_bury(), lane_pass()
 * or lane_skip() has settled. Every record that the sink took comes back by
 * take_delivery(), once; before it does, nothing of it is freed.
 *
 * Failure modes: of reading and burying, see forwarder_advance.c. Positions cannot be recorded: tried again, until then records
 * only wait to be truncated. The producer fails for good: a new one, everything that is
 * uncertain is sent again; without progress in between ever more slowly.
 */
#include "forwarder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "forwarder_parts.h"

#define RUN_BYTES_USUAL ((uint64_t)64 * 1024)
#define LANE_RUNS_MIN   2
#define ACK_INTERVAL_MS 200
#define ACK_RETRY_MS    1000
#define TRUNCATIONS_MAX 8
#define FULL_RETRY_MS   100
#define REOPEN_FIRST_MS 1000
#define REOPEN_LAST_MS  30000

#define LANES_MAX ((size_t)1 << (64 - FORWARDER_SEQ_BITS))

static void
take_delivery(void *context, uint64_t tag, enum sink_result result, const char *text)
{
	struct forwarder *f = context;
	struct lane *lane = &f->lanes[tag >> FORWARDER_SEQ_BITS];
	uint64_t seq = lane_seq_of(lane, tag & FORWARDER_SEQ_MASK, FORWARDER_SEQ_MASK);
	struct run *pinned = lane_come_back(lane, seq);

	f->in_flight--;
	if (pinned != NULL)
		readahead_unpin(f->readahead, pinned);
	if (result != SINK_NOT_DELIVERED)
		f->has_progress = true;
	if (result == SINK_DELIVERED)
		lane_deliver(lane, seq, f->now_ms);
	else
		lane_reject(
		    lane, seq, result, f->is_alone && tag == f->alone_tag, text);
}

static int
open_lanes(struct forwarder *f, const struct forwarder_options *o)
{
	const char **names = calloc(f->lane_count, sizeof(*names));
	int err = ERR_NOMEM;

	if (names == NULL)
		return err;
	for (size_t i = 0; i < o->route_count; i++)
		names[i] = route_name(o->routes[i]);
	names[o->route_count] = FORWARDER_UNROUTED;
	err = journal_routes_set(f->journal, names, f->lane_count, f->acked_seq);
	for (size_t i = 0; i < f->lane_count && err == 0; i++)
		err = lane_init(&f->lanes[i], names[i],
		    i < o->route_count ? o->routes[i] : NULL, f->acked_seq[i]);
	free(names);
	return err;
}

int
forwarder_open(struct forwarder **out, const struct forwarder_options *o)
{
	struct forwarder *f;
	int err = ERR_NOMEM;
	uint64_t runs;

	*out = NULL;
	if (o->route_count >= LANES_MAX)
		return ERR_TOOLARGE;
	f = calloc(1, sizeof(*f));
	if (f == NULL)
		return ERR_NOMEM;
	f->journal = o->journal;
	f->sink = o->sink;
	f->lane_count = o->route_count + 1;
	f->lane_bytes = o->buffer_max_bytes / o->route_count;
	runs = f->lane_bytes / RUN_BYTES_USUAL;
	f->lane_runs = runs < LANE_RUNS_MIN ? LANE_RUNS_MIN : (size_t)runs;
	f->has_progress = true;
	f->is_dirty = true; /* also truncates what an earlier one has left */
	f->lanes = calloc(f->lane_count, sizeof(*f->lanes));
	f->acked_seq = calloc(f->lane_count, sizeof(*f->acked_seq));
	if (f->lanes == NULL || f->acked_seq == NULL)
		goto fail;
	/* A window reaches into one more than it opens, and a lane stands in another. */
	err = readahead_open(
	    &f->readahead, f->journal, f->lane_count * (f->lane_runs + 2));
	if (err == 0)
		err = open_lanes(f, o);
	if (err != 0)
		goto fail;
	f->sink->delivered = take_delivery;
	f->sink->context = f;
	*out = f;
	return 0;
fail:
	forwarder_close(f);
	return err;
}

void
forwarder_close(struct forwarder *f)
{
	if (f == NULL)
		return;
	for (size_t i = 0; f->lanes != NULL && i < f->lane_count; i++)
		lane_fini(&f->lanes[i]);
	readahead_close(f->readahead);
	free(f->lanes);
	free(f->acked_seq);
	free(f);
}

/* ---- the producer ---- */

void
forwarder_note_fatal(struct forwarder *f, const char *text)
{
	if (f->is_fatal)
		return;
	f->is_fatal = true;
	f->reopen_at_ms = f->now_ms + f->reopen_delay_ms;
	snprintf(f->fatal_why, sizeof(f->fatal_why), "%s", text);
	log_repeated(&f->fatal_log, f->now_ms, LOG_LEVEL_WARNING, LOG_CONNECTION,
	    "the Kafka producer has failed for good and is made anew: %s", text);
	/* What it gives back now is not the fault of the lanes. */
	for (size_t i = 0; i < f->lane_count; i++)
		f->lanes[i].barren_count = 0;
}

/*
 * Make a new producer in place of one that has failed for good: at once if anything was
 * settled since the last one, else after a delay. (A record that was refused counts:
 * the next try will be with less.)
 */
static void
mend_sink(struct forwarder *f)
{
	const char *text;
	int64_t delay_ms;

	if (!f->is_fatal && f->sink->ops->is_fatal(f->sink, &text))
		forwarder_note_fatal(f, text);
	if (!f->is_fatal || f->is_stopping)
		return;
	if (f->has_progress)
		f->reopen_delay_ms = 0;
	else if (f->now_ms < f->reopen_at_ms)
		return;
	delay_ms = f->reopen_delay_ms * 2;
	if (delay_ms < REOPEN_FIRST_MS)
		delay_ms = REOPEN_FIRST_MS;
	f->reopen_delay_ms = delay_ms > REOPEN_LAST_MS ? REOPEN_LAST_MS : delay_ms;
	f->has_progress = false;
	if (f->sink->ops->reopen(f->sink) == 0) {
		f->is_fatal = false;
		f->fatal_why[0] = '\0';
	} else {
		f->reopen_at_ms = f->now_ms + f->reopen_delay_ms;
	}
}

/* ---- settling, acknowledging ---- */

static void
settle_all(struct forwarder *f)
{
	for (size_t i = 0; i < f->lane_count; i++) {
		struct lane *lane = &f->lanes[i];

		if (!lane->is_draining || lane->in_flight > 0)
			continue;
		forwarder_leave_run(f, lane);
		lane_settle(lane, f->now_ms);
	}
	if (f->solo != NULL && f->solo->wants_solo)
		return;
	f->solo = NULL;
	for (size_t i = 0; i < f->lane_count && f->solo == NULL; i++) {
		if (f->lanes[i].wants_solo)
			f->solo = &f->lanes[i];
	}
}

static void
collect_positions(struct forwarder *f)
{
	for (size_t i = 0; i < f->lane_count; i++) {
		if (f->acked_seq[i] == f->lanes[i].acked_seq)
			continue;
		f->acked_seq[i] = f->lanes[i].acked_seq;
		if (!f->is_dirty && !f->has_more_to_truncate)
			f->ack_at_ms = f->now_ms + ACK_INTERVAL_MS;
		f->is_dirty = true;
	}
}

static int
record_positions(struct forwarder *f)
{
	for (int i = 0; i < TRUNCATIONS_MAX; i++) {
		bool more = false;
		int err = journal_acknowledge(f->journal, f->acked_seq, &more);

		if (err != 0)
			return err;
		f->is_dirty = false;
		f->has_more_to_truncate = more;
		if (!more)
			break;
	}
	return 0;
}

static void
acknowledge(struct forwarder *f)
{
	int err;

	collect_positions(f);
	if ((!f->is_dirty && !f->has_more_to_truncate) || f->now_ms < f->ack_at_ms)
		return;
	err = record_positions(f);
	if (err == 0)
		return;
	f->ack_at_ms = f->now_ms + ACK_RETRY_MS;
	log_repeated(&f->ack_log, f->now_ms, LOG_LEVEL_ERROR, LOG_JOURNAL,
	    "cannot record in the journal what was delivered: %s", err_str(err));
}

int
forwarder_checkpoint(struct forwarder *f)
{
	collect_positions(f);
	return record_positions(f);
}

int
forwarder_step(struct forwarder *f, int64_t now_ms, int64_t real_ms)
{
	int err;

	f->now_ms = now_ms;
	f->real_ms = real_ms;
	f->is_full = false;
	readahead_refresh(f->readahead);
	f->sink->ops->poll(f->sink);
	mend_sink(f);
	settle_all(f);
	err = forwarder_advance(f);
	settle_all(f); /* what the sink has refused at once */
	acknowledge(f);
	return err;
}

/* ---- for the loop around it ---- */

static void
no_later_than(int64_t *wait_ms, int64_t at_ms, int64_t now_ms)
{
	int64_t left_ms = at_ms > now_ms ? at_ms - now_ms : 0;

	if (*wait_ms < 0 || left_ms < *wait_ms)
		*wait_ms = left_ms;
}

int
forwarder_timeout_ms(const struct forwarder *f, int64_t now_ms)
{
	int64_t wait_ms = -1;

	if (f->has_more && !f->is_stopping)
		return 0;
	if (f->is_dirty || f->has_more_to_truncate)
		no_later_than(&wait_ms, f->ack_at_ms, now_ms);
	if (!f->is_stopping && f->is_fatal)
		no_later_than(
		    &wait_ms, f->has_progress ? now_ms : f->reopen_at_ms, now_ms);
	if (!f->is_stopping && f->is_full)
		no_later_than(&wait_ms, f->now_ms + FULL_RETRY_MS, now_ms);
	for (size_t i = 0; i < f->lane_count && !f->is_stopping; i++) {
		/* One whose time had come has been tried: what it waits for now will wake us. */
		if (f->lanes[i].hold != LANE_RUNS &&
		    f->lanes[i].hold_until_ms > f->now_ms)
			no_later_than(&wait_ms, f->lanes[i].hold_until_ms, now_ms);
	}
	return wait_ms > INT32_MAX ? INT32_MAX : (int)wait_ms;
}

void
forwarder_stop(struct forwarder *f)
{
	f->is_stopping = true;
}

bool
forwarder_is_settled(const struct forwarder *f)
{
	return f->in_flight == 0;
}

bool
forwarder_is_empty(const struct forwarder *f)
{
	for (size_t i = 0; i < f->lane_count; i++) {
		if (!f->lanes[i].is_at_end || !lane_window_is_empty(&f->lanes[i]))
			return false;
	}
	return !f->is_dirty && !f->has_more_to_truncate;
}

void
forwarder_route_stat(
    const struct forwarder *f, size_t index, struct forwarder_route_stat *out)
{
	const struct lane *lane = &f->lanes[index];

	*out = (struct forwarder_route_stat){
	    .name = lane->name,
	    .acked_seq = lane->acked_seq,
	    .delivered_count = lane->delivered_count,
	    .dead_count = lane->dead_count,
	    .is_held = lane->hold != LANE_RUNS || f->is_fatal,
	    .held_why = lane->hold != LANE_RUNS ? lane->held_why : f->fatal_why,
	};
}
