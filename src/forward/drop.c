/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dropping the oldest by order of ingest, where the journal is full (on_full).
 *
 * Invariants: what may have reached Kafka without our knowing, and what was delivered out
 * of order, is not announced as lost: the window of each lane stays, and what a forwarder
 * before this one may have sent (sent.c). What is dropped is never delivered from memory
 * afterwards: runs in use stay, all others that hold a part of it are forgotten.
 *
 * Failure modes: all of it is on its way, or there is no room to drop: nothing is
 * dropped, ingest waits with what comes, and asks again.
 */
#include <stdlib.h>

#include "err.h"
#include "forwarder_parts.h"

static int
by_first(const void *a, const void *b)
{
	const struct journal_range *x = a, *y = b;

	if (x->first_seq != y->first_seq)
		return x->first_seq < y->first_seq ? -1 : 1;
	return 0;
}

/* In order, and none touching another. Returns how many are left. */
static size_t
merge(struct journal_range ranges[], size_t count)
{
	size_t last = 0;

	qsort(ranges, count, sizeof(ranges[0]), by_first);
	for (size_t i = 1; i < count; i++) {
		if (ranges[i].first_seq > ranges[last].end_seq)
			ranges[++last] = ranges[i];
		else if (ranges[i].end_seq > ranges[last].end_seq)
			ranges[last].end_seq = ranges[i].end_seq;
	}
	return count == 0 ? 0 : last + 1;
}

/*
 * Up to where has every route had what it owed? It goes by truncation, with no marker.
 * The lane that buries what no route matches follows the others, and counts only where
 * it holds.
 */
static uint64_t
settled_seq(const struct forwarder *f)
{
	uint64_t least = UINT64_MAX;

	for (size_t i = 0; i < f->lane_count; i++) {
		const struct lane *lane = &f->lanes[i];

		if (lane->route == NULL && lane->hold == LANE_RUNS)
			continue;
		if (lane->acked_seq < least)
			least = lane->acked_seq;
	}
	return least;
}

static int
find_kept(const struct forwarder *f, struct journal_range **out, size_t *count)
{
	size_t most = 1 + f->lane_count + readahead_run_count(f->readahead), n = 0;
	struct journal_range *keep = calloc(most, sizeof(*keep));

	if (keep == NULL)
		return ERR_NOMEM;
	keep[n++] = (struct journal_range){0, settled_seq(f) + 1};
	for (size_t i = 0; i < f->lane_count; i++) {
		const struct lane *lane = &f->lanes[i];
		uint64_t end_seq = lane->doubt_seq + 1;

		if (!lane_window_is_empty(lane) && lane->end_seq > end_seq)
			end_seq = lane->end_seq;
		if (end_seq > lane->acked_seq + 1)
			keep[n++] =
			    (struct journal_range){lane->acked_seq + 1, end_seq};
	}
	n += readahead_in_use(f->readahead, keep + n);
	*count = merge(keep, n);
	*out = keep;
	return 0;
}

/* One that is switched off may have waited for a record that is gone. */
static void
wake_parked(struct forwarder *f, const struct journal_range *range)
{
	for (size_t i = 0; i < f->lane_count; i++) {
		struct lane *lane = &f->lanes[i];

		if (lane->is_parked && lane->next_seq >= range->first_seq &&
		    lane->next_seq < range->end_seq)
			lane->is_parked = false;
	}
}

static void
tell(struct forwarder *f, uint64_t bytes, const struct journal_dropped *d)
{
	uint64_t room = 0;

	if (d->bytes == 0) {
		if (journal_room(f->journal, &room) != 0 || room >= bytes / 2)
			return;
		log_event_repeated(&f->not_dropped_log, f->now_ms, LOG_LEVEL_WARNING,
		    LOG_JOURNAL, NULL,
		    "journal full, and nothing can be dropped: what there is is on its "
		    "way to Kafka, or a reader holds what was dropped; the broker "
		    "keeps "
		    "what comes");
		return;
	}
	log_event_repeated(&f->drop_log, f->now_ms, LOG_LEVEL_WARNING, LOG_JOURNAL,
	    &(struct log_details){
		.counts = {{"records", d->records}, {"bytes", d->bytes},
		    {"first_seq", d->range.first_seq}, {"end_seq", d->range.end_seq}}},
	    "journal full: dropped the oldest %llu records, between %llu and %llu",
	    (unsigned long long)d->records, (unsigned long long)d->range.first_seq,
	    (unsigned long long)d->range.end_seq - 1);
}

/* Is it known how far a forwarder before this one may have sent? */
static bool
has_marks(const struct forwarder *f)
{
	for (size_t i = 0; i < f->lane_count; i++) {
		if (f->lanes[i].route != NULL && f->lanes[i].doubt_seq == 0)
			return false;
	}
	return true;
}

int
forwarder_drop_oldest(
    struct forwarder *f, uint64_t bytes, struct journal_dropped *dropped)
{
	struct journal_range *keep = NULL;
	struct journal_dropped d = {0};
	size_t count = 0;
	int err;

	/* A position that Kafka has may be ahead of what is known here. */
	if (f->transaction.state != TRANSACTION_NONE && !f->transaction.has_recovered &&
	    !has_marks(f))
		return ERR_AWAY;
	/* First what nobody owes any more; there may be room by that alone. */
	err = forwarder_checkpoint(f);
	if (err == 0 && f->has_more_to_truncate)
		err = forwarder_journal_error(f);
	else if (err == 0)
		err = find_kept(f, &keep, &count);
	if (keep != NULL) {
		err = journal_drop_oldest(f->journal, keep, count, bytes, &d);
		if (d.bytes > 0) {
			readahead_forget(
			    f->readahead, d.range.first_seq, d.range.end_seq);
			wake_parked(f, &d.range);
		}
		if (err == 0 || d.bytes > 0)
			tell(f, bytes, &d);
	}
	free(keep);
	*dropped = d;
	return err;
}

void
forwarder_wake(struct forwarder *f)
{
	if (f->marks_sent)
		f->orders.look_at_ms = f->now_ms;
}
