/* SPDX-License-Identifier: Apache-2.0 */
/* What the two files of the forwarder have in common. */
#ifndef FORWARDER_PARTS_H
#define FORWARDER_PARTS_H

#include "forwarder.h"
#include "lane.h"
#include "log.h"
#include "readahead.h"

/* A tag: the lane's number above, that of the slot below. */
#define FORWARDER_SLOT_BITS 48
#define FORWARDER_SLOT_MASK (((uint64_t)1 << FORWARDER_SLOT_BITS) - 1)

struct forwarder {
	struct journal *journal;
	struct sink *sink;
	struct topic_matcher *matcher; /* all filters; the owners are lanes */
	struct readahead *readahead;
	struct lane *lanes;
	size_t lane_count; /* the last one has no route */
	size_t turn;       /* the lane that goes on next */
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
};

/* The sink has failed for good. */
void forwarder_note_fatal(struct forwarder *f, const char *text);

/*
 * How far may the lane look? What no route matches is judged only when every route is
 * past it: a record that waits for a route is not settled, and that route may change or
 * go. So it waits for one that is switched off, too.
 */
uint64_t forwarder_last_to_look_at(const struct forwarder *f, const struct lane *lane);

/* Stand nowhere. */
void forwarder_leave_run(struct forwarder *f, struct lane *lane);

/*
 * Let every lane go on as far as it can, within the work of one step. What holds a lane
 * is noted there. Errors: ERR_NOMEM.
 */
int forwarder_advance(struct forwarder *f);

#endif
