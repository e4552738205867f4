/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exactly once: what the forwarder does in transactions, where the sink has them. Where
 * it has none (TRANSACTION_NONE) nothing here does anything.
 *
 * One transaction is open at a time, for all lanes, and ends when it is large or old
 * enough, or when nothing more is to be had: then nothing is sent until all is back and
 * it is committed, with the position. If anything came back otherwise than delivered it
 * is aborted, and all of it is owed again. A lane that is careful (it was refused
 * something, or it holds and tries again) has transactions of its own, so that what it
 * does costs the others no abort. Part of the forwarder.
 */
#ifndef TRANSACTION_H
#define TRANSACTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buffer.h"
#include "lane.h"
#include "log.h"
#include "position.h"

struct forwarder;
struct forwarder_options;

enum transaction_state {
	TRANSACTION_NONE,       /* at least once */
	TRANSACTION_RECOVERING, /* the last position is not known yet */
	TRANSACTION_OPEN,       /* records may be sent, or have been */
	TRANSACTION_ENDING,     /* nothing more is sent; some of it is out */
	TRANSACTION_COMMITTING, /* all is delivered */
	TRANSACTION_ABORTING,
};

struct transaction {
	enum transaction_state state;
	size_t record_count; /* sent in it */
	size_t record_max;
	int64_t age_max_ms;
	struct lane *owner;   /* has it alone; NULL: all may join */
	struct lane *waiting; /* wants one alone */
	bool must_end;        /* a lane has to settle before it goes on */
	bool must_abort;      /* something was not delivered */
	bool is_refused;      /* ... and that is some record's or route's fault */
	int64_t begun_ms;
	int64_t ending_ms;
	int64_t heard_ms; /* something came back */
	int64_t late_ms;  /* how long it may take, while others are answered */
	int64_t again_ms; /* nothing is begun before */
	int64_t delay_ms; /* the last one was so long */
	char why[200];    /* what is wrong, while it waits; "" */

	char instance[POSITION_INSTANCE_BYTES];
	char instance_before[POSITION_INSTANCE_BYTES]; /* accepted at start */
	bool has_recovered;                            /* once */
	bool has_committed;                            /* since then */
	bool
	    is_in_doubt; /* the commit of position has begun, how it ends is not known */
	struct buffer position;
	struct buffer found;    /* by recover */
	struct buffer stranger; /* a position that somebody else wrote */
	int64_t recovered_ms;
	struct log_repeat log;
};

/* What is to be done now. is_idle: nothing is out, and nothing could be sent. */
int transaction_step(struct forwarder *f, bool is_idle);

/* Errors: ERR_IO (no random numbers). */
int transaction_init(struct forwarder *f, const struct forwarder_options *o);
void transaction_fini(struct transaction *t);

/* May the lane send a record now? */
bool transaction_admits(struct forwarder *f, const struct lane *lane);

/* It has sent next_seq, or the news of a gap there. Before lane_send(). */
void transaction_note_sent(struct forwarder *f, struct lane *lane);

/* Make lane->sent whole, before the run goes that the lane stands in. */
void transaction_sum_sent(struct lane *lane);

/* What it has sent last stands for all up to this sequence: the news of a gap. */
void transaction_note_passed(struct forwarder *f, struct lane *lane, uint64_t seq);

/* A record came back. False: what becomes of it is the lane's affair. */
bool transaction_take(
    struct forwarder *f, struct lane *lane, uint64_t number, enum sink_result result);

/* The lane has to settle, although everything it sent may be delivered. */
void transaction_end_soon(struct forwarder *f);

/* There is a new producer: where does Kafka stand? */
void transaction_restart(struct forwarder *f);

/* The producer has failed: does it so often that it is to be made anew later? */
bool transaction_is_rushed(const struct forwarder *f);

/* Is nothing open, so that lanes may be judged? */
bool transaction_is_clear(const struct forwarder *f);

/* Is nothing open that could still be committed or aborted? */
bool transaction_is_over(const struct forwarder *f);

/* When does it want a step? -1: when something comes back. */
int64_t transaction_next_ms(const struct forwarder *f);

/* Why it cannot go on, in words; "". */
const char *transaction_why(const struct forwarder *f);

/* In the place of a record's hash: it was the news of a gap. */
uint64_t transaction_gap_sum(void);

/* ---- transaction_late.c ---- */

#define TRANSACTION_LATE_MS 20000 /* no answer at all, at first */

/* When is what is out late? */
int64_t transaction_late_at_ms(const struct forwarder *f);

/* Is it, and is it not all of Kafka that is silent? The lanes are noted. */
bool transaction_find_late(struct forwarder *f);

/* It is aborted: those hold. Were there any? */
bool transaction_hold_late(struct forwarder *f);

/* ---- transaction_recover.c ---- */

/*
 * t->found is where Kafka stands: take over what fits this journal. Nothing is out.
 *
 * Errors:    ERR_IDENTITY (it does not fit: the journal has a new UUID), ERR_AWAY (not
 *            now: t->again_ms), ERR_NOMEM.
 */
int transaction_take_over(struct forwarder *f);

/* What the open transaction has sent is delivered, or owed again. */
void transaction_commit_lanes(struct forwarder *f);
void transaction_undo_lanes(struct forwarder *f);

#endif
