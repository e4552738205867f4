/* SPDX-License-Identifier: Apache-2.0 */
/* What the two files of the forwarder have in common. */
#ifndef FORWARDER_PARTS_H
#define FORWARDER_PARTS_H

#include "forwarder.h"
#include "journal.h"
#include "lane.h"
#include "log.h"
#include "readahead.h"
#include "transaction.h"

/* A tag: the lane's number above, that of the slot below. */
#define FORWARDER_SLOT_BITS 48
#define FORWARDER_SLOT_MASK (((uint64_t)1 << FORWARDER_SLOT_BITS) - 1)

/* Orders that were found in the journal and have not ended, see orders.c. */
struct orders {
	struct journal_order *list; /* by rising number */
	size_t count;
	size_t capacity;
	size_t skip_count;      /* of these, sequences to be skipped */
	uint64_t seen_number;   /* up to here they are in the list, or have ended */
	struct journal_dead at; /* how far the letters of one of them are done ... */
	uint64_t at_number;     /* ... of this one; 0: none */
	size_t turn;            /* the order whose turn it is in this round */
	bool has_more;          /* the round is not over */
	int64_t look_at_ms;
	int64_t tidy_at_ms;
	struct log_repeat log;
};

struct forwarder {
	struct journal *journal;
	struct sink *sink;
	struct topic_matcher *matcher; /* all filters; the owners are lanes */
	struct readahead *readahead;
	struct lane *lanes;
	size_t lane_count; /* the last one has no route */
	const char **route_names;
	size_t turn; /* the lane that goes on next */
	struct lane_room room;
	uint64_t *acked_seq; /* as told to the journal, or about to be */
	int64_t now_ms;
	int64_t real_ms;
	size_t in_flight;
	bool is_stopping;
	bool is_full;  /* the sink takes nothing before the next poll */
	bool has_more; /* the step ended because it had done enough */

	struct lane *solo; /* the only one that may send; NULL: all may */
	bool is_alone; /* nothing was in flight beside alone_tag, from first to last */
	uint64_t alone_tag;

	bool is_fatal;     /* there is no producer */
	bool has_progress; /* since the last new producer */
	int64_t reopen_at_ms;
	int64_t reopen_delay_ms;
	char fatal_why[160];
	struct log_repeat fatal_log;

	bool is_dirty; /* positions have moved since they were recorded */
	bool has_more_to_truncate;
	int64_t ack_at_ms;
	struct log_repeat ack_log;
	int ack_error; /* of the latest attempt to record positions */
	struct orders orders;
	struct transaction transaction;
	bool marks_sent;
	int64_t mark_again_ms;
	struct log_repeat mark_log;
	struct log_repeat drop_log;
	struct log_repeat not_dropped_log;
};

/* The parts of forwarder_open(). */
int forwarder_open_matcher(struct forwarder *f, const struct forwarder_options *o);
int forwarder_open_readahead(struct forwarder *f, const struct forwarder_options *o);
int forwarder_open_lanes(struct forwarder *f, const struct forwarder_options *o);

/* The sink has failed for good. */
void forwarder_note_fatal(struct forwarder *f, const char *text);

/*
 * How far may the lane look? What no route matches is judged only when every route is
 * past it: a record that waits for a route is not settled, and that route may change or
 * go. So it waits for one that is switched off, too.
 */
uint64_t forwarder_last_to_look_at(const struct forwarder *f, const struct lane *lane);

/*
 * Look for orders now and then, and carry them out, as far as one step allows. What goes
 * wrong is logged, and tried again.
 */
void forwarder_take_orders(struct forwarder *f);
void forwarder_close_orders(struct forwarder *f);

/* Is there an order that this sequence is to be skipped? */
bool forwarder_is_skipped(const struct forwarder *f, uint64_t seq);

/* The lane has buried what was to be skipped. */
void forwarder_note_skipped(struct forwarder *f, struct lane *lane);

/* May next_seq of the lane be sent now? */
bool forwarder_may_go(struct forwarder *f, struct lane *lane);

/*
 * Hand over what next_seq has become; lane_reserve() before. received_ms: as lane_send().
 * Errors: ERR_TOOLARGE, it can never be sent; any other: not now, what it means has been
 * noted.
 */
int forwarder_hand_over(struct forwarder *f, struct lane *lane, struct sink_record *out,
    int64_t received_ms);

/*
 * Nothing is in the journal at next_seq, or from there to the run that the lane stands in:
 * pass what gap markers tell of, announcing it where the route does. Anything but 0: not
 * all of it now.
 */
void forwarder_reach_end(struct forwarder *f, struct lane *lane, size_t *work);
int forwarder_pass_gap(struct forwarder *f, struct lane *lane, size_t *work);

/* The lane is about to send next_seq: note it, see sent.c. */
void forwarder_mark_sent(struct forwarder *f, struct lane *lane);
int forwarder_open_marks(struct forwarder *f);

/* Stand nowhere. */
void forwarder_leave_run(struct forwarder *f, struct lane *lane);

/*
 * Let every lane go on as far as it can, within the work of one step. What holds a lane
 * is noted there. Errors: ERR_NOMEM.
 */
int forwarder_advance(struct forwarder *f);

/*
 * Drop the oldest that is not on its way, as journal_drop_oldest() does. Errors: those,
 * and ERR_NOMEM; dropped is set all the same.
 */
int forwarder_drop_oldest(
    struct forwarder *f, uint64_t bytes, struct journal_dropped *dropped);

#endif
