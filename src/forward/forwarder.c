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

#define RUN_BYTES_USUAL ((uint64_t)64 * 1024)
#define PINNED_RUNS_MIN 2
#define ACK_INTERVAL_MS 200
#define ACK_RETRY_MS    1000
#define TRUNCATIONS_MAX 8
#define FULL_RETRY_MS   100
#define REOPEN_FIRST_MS 1000
#define REOPEN_LAST_MS  30000

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
	if (result != SINK_NOT_DELIVERED)
		f->has_progress = true;
	if (result == SINK_DELIVERED)
		lane_deliver(lane, number, f->now_ms);
	else
		lane_reject(lane, lane_seq_at(lane, number), result,
		    f->is_alone && tag == f->alone_tag, text);
}

/* All filters of all routes, so that a record is matched once. */
static int
open_matcher(struct forwarder *f, const struct forwarder_options *o)
{
	int err = topic_matcher_open(&f->matcher);

	for (size_t i = 0; i < o->route_count && err == 0; i++) {
		const struct settings_route *s = route_settings(o->routes[i]);

		for (size_t k = 0; k < s->topic_filter_count && err == 0; k++)
			err = topic_matcher_add(
			    f->matcher, s->topic_filters[k], (uint32_t)i);
	}
	return err;
}

static int
open_readahead(struct forwarder *f, const struct forwarder_options *o)
{
	uint64_t runs = o->buffer_max_bytes / RUN_BYTES_USUAL;
	const struct readahead_options options = {
	    .journal = f->journal,
	    .matcher = f->matcher,
	    .route_count = o->route_count,
	    .reader_max = f->lane_count,
	    .pin_max = runs < PINNED_RUNS_MIN ? PINNED_RUNS_MIN : (size_t)runs,
	};

	return readahead_open(&f->readahead, &options);
}

/* What the settings of its route ask of a lane. */
static void
apply_settings(struct lane *lane, const struct forwarder_options *o)
{
	const struct settings_route *s = route_settings(lane->route);

	lane->is_off = !s->enabled;
	if (lane->is_off)
		log_event(LOG_LEVEL_INFO, LOG_DELIVERY,
		    &(struct log_details){.route = lane->name},
		    "route %s is switched off in the configuration: the journal keeps "
		    "what is for it, from %llu on",
		    lane->name, (unsigned long long)lane->acked_seq + 1);
	if (s->on_reject != SETTINGS_REJECT_BURY)
		return;
	lane->refusals_max = o->retries > 0 ? (unsigned)o->retries : 0;
	if (o->retries < 0)
		log_event(LOG_LEVEL_WARNING, LOG_DELIVERY,
		    &(struct log_details){.route = lane->name},
		    "route %s: on_reject = \"bury\" without kafka.retries never "
		    "buries: "
		    "the route holds as with \"hold\"",
		    lane->name);
}

/* Filters hold no control characters: a line each. */
static int
join_filters(char **out, const struct settings_route *s)
{
	struct buffer text = {0};
	int err = 0;

	for (size_t k = 0; k < s->topic_filter_count && err == 0; k++)
		err = buffer_printf(&text, "%s\n", s->topic_filters[k]);
	if (err == 0)
		err = buffer_append(&text, "", 1);
	if (err != 0)
		buffer_fini(&text);
	*out = (char *)text.data;
	return err;
}

/* Cuts the text up. */
static int
open_passed(struct lane *lane, const struct journal_passed *passed)
{
	char *rest, *filter;
	int err;

	if (passed->until_seq <= lane->acked_seq)
		return 0;
	err = topic_matcher_open(&lane->passed_filters);
	filter = strtok_r(passed->asked, "\n", &rest);
	for (; filter != NULL && err == 0; filter = strtok_r(NULL, "\n", &rest))
		err = topic_matcher_add(lane->passed_filters, filter, 0);
	if (err != 0)
		return err;
	lane->passed_seq = passed->until_seq;
	log_event(LOG_LEVEL_INFO, LOG_DELIVERY,
	    &(struct log_details){
		.route = lane->name, .counts = {{"acked_seq", lane->acked_seq}}},
	    "route %s: its filters were changed: of what lies between %llu and %llu it "
	    "delivers what they did not match before",
	    lane->name, (unsigned long long)lane->acked_seq,
	    (unsigned long long)passed->until_seq + 1);
	return 0;
}

/*
 * A lane whose filters were changed may have passed what they match now. It goes back,
 * or that would be past all lanes, and nobody would have it.
 */
static int
ask_for_filters(struct forwarder *f, const struct forwarder_options *o,
    struct journal_passed *passed)
{
	char **asked = calloc(f->lane_count, sizeof(*asked));
	int err = asked == NULL ? ERR_NOMEM : 0;

	for (size_t i = 0; i < o->route_count && err == 0; i++)
		err = join_filters(&asked[i], route_settings(o->routes[i]));
	if (err == 0)
		err = journal_routes_ask(
		    f->journal, (const char *const *)asked, f->acked_seq, passed);
	for (size_t i = 0; asked != NULL && i < o->route_count; i++)
		free(asked[i]);
	free(asked);
	return err;
}

static int
open_lanes(struct forwarder *f, const struct forwarder_options *o)
{
	struct journal_passed *passed = calloc(f->lane_count, sizeof(*passed));
	const char **names = calloc(f->lane_count, sizeof(*names));
	int err = ERR_NOMEM;

	if (names == NULL || passed == NULL)
		goto end;
	for (size_t i = 0; i < o->route_count; i++)
		names[i] = route_name(o->routes[i]);
	names[o->route_count] = FORWARDER_UNROUTED;
	err = journal_routes_set(f->journal, names, f->lane_count, f->acked_seq);
	if (err == 0)
		err = ask_for_filters(f, o, passed);
	for (size_t i = 0; i < f->lane_count && err == 0; i++)
		err = lane_init(&f->lanes[i], names[i],
		    i < o->route_count ? o->routes[i] : NULL, &f->room,
		    f->acked_seq[i]);
	for (size_t i = 0; i < f->lane_count; i++)
		f->lanes[i].topics = o->topics;
	for (size_t i = 0; i < o->route_count && err == 0; i++)
		err = open_passed(&f->lanes[i], &passed[i]);
	for (size_t i = 0; i < o->route_count && err == 0; i++)
		apply_settings(&f->lanes[i], o);
end:
	for (size_t i = 0; passed != NULL && i < f->lane_count; i++)
		free(passed[i].asked);
	free(passed);
	free(names);
	return err;
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
	f->has_progress = true;
	f->is_dirty = true; /* also truncates what an earlier one has left */
	f->lanes = calloc(f->lane_count, sizeof(*f->lanes));
	f->acked_seq = calloc(f->lane_count, sizeof(*f->acked_seq));
	if (f->lanes == NULL || f->acked_seq == NULL)
		goto fail;
	err = open_matcher(f, o);
	if (err == 0)
		err = open_readahead(f, o);
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
	topic_matcher_close(f->matcher);
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
forwarder_is_empty(const struct forwarder *f)
{
	for (size_t i = 0; i < f->lane_count; i++) {
		if (!is_done(f, &f->lanes[i]))
			return false;
	}
	return !f->is_dirty && !f->has_more_to_truncate;
}

void
forwarder_route_stat(
    const struct forwarder *f, size_t index, struct forwarder_route_stat *out)
{
	const struct lane *lane = &f->lanes[index];
	const char *why = lane->hold != LANE_RUNS ? lane->held_why : f->fatal_why;

	if (lane->is_off)
		why = "switched off in the configuration";
	*out = (struct forwarder_route_stat){
	    .name = lane->name,
	    .acked_seq = lane->acked_seq,
	    .delivered_count = lane->delivered_count,
	    .delivered_bytes = lane->delivered_bytes,
	    .dead_count = lane->dead_count,
	    .error_count = lane->error_count,
	    .is_held = lane->is_off || lane->hold != LANE_RUNS || f->is_fatal,
	    .held_why = why,
	};
}
