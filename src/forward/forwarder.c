/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The forwarder: one lane for each route, and one that buries what no route matches.
 *
 * A step collects what came back, mends the producer, lets lanes that have drained go
 * back, then sends: the lanes take turns, a run of the journal at a time, so that those
 * at the same place share one read. Positions move in memory and are recorded, and the
 * journal truncated, a few times a second. With exactly once what came back counts when
 * its transaction is committed, see transaction.h.
 *
 * Invariants: a position moves only over what lane_deliver(), lane_commit(), lane_bury()
 * or lane_skip() has settled. Every record that the sink took comes back by
 * take_delivery(), once; before it does, nothing of it is freed.
 *
 * Failure modes: of reading and burying, see forwarder_advance.c. Positions cannot be
 * recorded: tried again, until then records only wait to be truncated. The producer fails
 * for good: a new one, everything that is uncertain is sent again; without progress in
 * between ever more slowly.
 */
#include "forwarder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "forwarder_parts.h"

#define ACK_INTERVAL_MS 200
#define ACK_RETRY_MS    1000
#define TRUNCATIONS_MAX 8
#define FULL_RETRY_MS   100
#define REOPEN_FIRST_MS 1000
#define REOPEN_LAST_MS  30000

/*
 * librdkafka takes some 500 bytes for a record, however small it is: so beside the room
 * in bytes there is a limit to their number, which payloads of 200 bytes do not reach.
 */
#define RECORD_LEAST_BYTES 256
#define IN_FLIGHT_USUAL    8192

#define LANES_MAX ((size_t)1 << (64 - FORWARDER_SLOT_BITS))

static void
take_delivery(void *context, uint64_t tag, enum sink_result result, const char *text)
{
	struct forwarder *f = context;
	struct lane *lane = &f->lanes[tag >> FORWARDER_SLOT_BITS];
	uint64_t number = tag & FORWARDER_SLOT_MASK;
	struct run *pinned = lane_come_back(lane, number);

	f->in_flight--;
	if (pinned != NULL)
		readahead_unpin(f->readahead, pinned);
	if (transaction_take(f, lane, number, result))
		return;
	if (result != SINK_NOT_DELIVERED)
		f->has_progress = true;
	if (result == SINK_DELIVERED)
		lane_deliver(lane, number, f->now_ms, f->real_ms);
	else
		lane_reject(lane, lane_seq_at(lane, number), result,
		    f->is_alone && tag == f->alone_tag, text);
}

int
forwarder_open(struct forwarder **out, const struct forwarder_options *o)
{
	struct forwarder *f;
	int err = ERR_NOMEM;

	*out = NULL;
	if (o->route_count >= LANES_MAX)
		return ERR_TOOLARGE;
	f = calloc(1, sizeof(*f));
	if (f == NULL)
		return ERR_NOMEM;
	f->journal = o->journal;
	f->sink = o->sink;
	f->lane_count = o->route_count + 1;
	/* One route has it all; several have half of it in common. */
	f->room.each = o->buffer_max_bytes / o->route_count;
	if (o->route_count > 1)
		f->room.each /= 2;
	f->room.common = o->buffer_max_bytes - f->room.each * o->route_count;
	f->room.in_flight_max =
	    (size_t)((f->room.each + f->room.common) / RECORD_LEAST_BYTES);
	if (f->room.in_flight_max < IN_FLIGHT_USUAL)
		f->room.in_flight_max = IN_FLIGHT_USUAL;
	f->marks_sent = o->may_drop_oldest;
	f->has_progress = true;
	f->is_dirty = true; /* also truncates what an earlier one has left */
	f->lanes = calloc(f->lane_count, sizeof(*f->lanes));
	f->acked_seq = calloc(f->lane_count, sizeof(*f->acked_seq));
	f->route_names = calloc(f->lane_count, sizeof(*f->route_names));
	if (f->lanes == NULL || f->acked_seq == NULL || f->route_names == NULL)
		goto fail;
	for (size_t i = 0; i < o->route_count; i++)
		f->route_names[i] = route_name(o->routes[i]);
	err = forwarder_open_matcher(f, o);
	if (err == 0)
		err = forwarder_open_readahead(f, o);
	if (err == 0)
		err = forwarder_open_lanes(f, o);
	if (err == 0)
		err = forwarder_open_marks(f);
	if (err == 0)
		err = transaction_init(f, o);
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
	forwarder_close_orders(f);
	transaction_fini(&f->transaction);
	readahead_close(f->readahead);
	topic_matcher_close(f->matcher);
	free(f->lanes);
	free(f->acked_seq);
	free(f->route_names);
	free(f);
}

/* ---- the producer ---- */

void
forwarder_note_fatal(struct forwarder *f, const char *text)
{
	if (f->is_fatal)
		return;
	f->is_fatal = true;
	if (transaction_is_rushed(f))
		f->has_progress = false;
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
		transaction_restart(f);
	} else {
		f->reopen_at_ms = f->now_ms + f->reopen_delay_ms;
	}
}

/* ---- settling, acknowledging ---- */

static void
settle_all(struct forwarder *f)
{
	if (!transaction_is_clear(f))
		return;
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

/* Not safe to delete is not the same as not recorded: the journal has told it. */
static void
record_positions(struct forwarder *f)
{
	for (int i = 0; i < TRUNCATIONS_MAX; i++) {
		bool more = false;

		f->ack_error = journal_acknowledge(f->journal, f->acked_seq, &more);
		if (f->ack_error == 0 || more) {
			f->is_dirty = false;
			f->has_more_to_truncate = more;
		}
		if (f->ack_error != 0 || !more)
			break;
	}
}

static void
acknowledge(struct forwarder *f)
{
	collect_positions(f);
	if ((!f->is_dirty && !f->has_more_to_truncate) || f->now_ms < f->ack_at_ms)
		return;
	record_positions(f);
	if (f->ack_error == 0)
		return;
	f->ack_at_ms = f->now_ms + ACK_RETRY_MS;
	if (f->is_dirty)
		log_repeated(&f->ack_log, f->now_ms, LOG_LEVEL_ERROR, LOG_JOURNAL,
		    "cannot record in the journal what was delivered: %s",
		    err_str(f->ack_error));
}

int
forwarder_checkpoint(struct forwarder *f)
{
	collect_positions(f);
	record_positions(f);
	return f->is_dirty ? f->ack_error : 0;
}

int
forwarder_step(struct forwarder *f, int64_t now_ms, int64_t real_ms)
{
	size_t sent_count;
	bool is_idle;
	int err;

	f->now_ms = now_ms;
	f->real_ms = real_ms;
	f->is_full = false;
	readahead_refresh(f->readahead);
	f->sink->ops->poll(f->sink);
	mend_sink(f);
	err = transaction_step(f, false);
	if (err != 0)
		return err;
	settle_all(f);
	forwarder_take_orders(f);
	sent_count = f->transaction.record_count;
	err = forwarder_advance(f);
	is_idle = f->in_flight == 0 && !f->has_more &&
		  f->transaction.record_count == sent_count;
	if (err == 0)
		err = transaction_step(f, is_idle);
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
	int64_t next_ms = transaction_next_ms(f);

	if ((f->has_more || f->orders.has_more) && !f->is_stopping)
		return 0;
	if (f->is_dirty || f->has_more_to_truncate)
		no_later_than(&wait_ms, f->ack_at_ms, now_ms);
	if (!f->is_stopping && f->is_fatal)
		no_later_than(
		    &wait_ms, f->has_progress ? now_ms : f->reopen_at_ms, now_ms);
	if (!f->is_stopping && f->is_full)
		no_later_than(&wait_ms, f->now_ms + FULL_RETRY_MS, now_ms);
	if (next_ms >= 0)
		no_later_than(&wait_ms, next_ms, now_ms);
	for (size_t i = 0; i < f->lane_count && !f->is_stopping; i++) {
		/* One whose time had come has been tried: what it waits for now will wake us. */
		if (f->lanes[i].hold != LANE_RUNS &&
		    f->lanes[i].hold_until_ms > f->now_ms)
			no_later_than(&wait_ms, f->lanes[i].hold_until_ms, now_ms);
	}
	return wait_ms > INT32_MAX ? INT32_MAX : (int)wait_ms;
}

int
forwarder_journal_error(const struct forwarder *f)
{
	return f->ack_error;
}

void
forwarder_stop(struct forwarder *f)
{
	f->is_stopping = true;
}

bool
forwarder_is_settled(const struct forwarder *f)
{
	return f->in_flight == 0 && transaction_is_over(f);
}

/* Has it nothing to do that it could ever do? */
static bool
is_done(const struct forwarder *f, const struct lane *lane)
{
	if (!lane_window_is_empty(lane))
		return false;
	if (lane->is_at_end || lane->is_parked)
		return true;
	return lane->route == NULL &&
	       lane->next_seq > forwarder_last_to_look_at(f, lane);
}

bool
forwarder_is_idle(const struct forwarder *f)
{
	for (size_t i = 0; i < f->lane_count; i++) {
		if (!is_done(f, &f->lanes[i]))
			return false;
	}
	return !f->orders.has_more;
}

bool
forwarder_is_empty(const struct forwarder *f)
{
	return forwarder_is_idle(f) && !f->is_dirty && !f->has_more_to_truncate;
}

void
forwarder_route_stat(
    const struct forwarder *f, size_t index, struct forwarder_route_stat *out)
{
	const struct lane *lane = &f->lanes[index];
	const char *waits = transaction_why(f);
	const char *why = f->fatal_why[0] != '\0' ? f->fatal_why : waits;

	if (lane->hold != LANE_RUNS)
		why = lane->held_why;
	if (lane->is_off)
		why = "switched off in the configuration";
	*out = (struct forwarder_route_stat){
	    .name = lane->name,
	    .acked_seq = lane->acked_seq,
	    .delivered_count = lane->delivered_count,
	    .delivered_bytes = lane->delivered_bytes,
	    .dead_count = lane->dead_count,
	    .error_count = lane->error_count,
	    .is_held = lane->is_off || lane->hold != LANE_RUNS || f->is_fatal ||
		       waits[0] != '\0',
	    .held_why = why,
	};
}
