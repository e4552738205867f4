/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lane: how far one route has come. Its window holds what lies between the finished
 * prefix and the last record looked at; its verdict decides what happens after a
 * rejection. Part of the forwarder; knows neither journal nor sink.
 */
#ifndef LANE_H
#define LANE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "log.h"
#include "readahead.h"
#include "route.h"
#include "sink.h"

/* Records in a window, whatever their size: bounds the slots. */
#define LANE_WINDOW_MAX ((size_t)1 << 17)

enum slot_state {
	SLOT_OPEN, /* owed, not out: given back */
	SLOT_OUT,
	SLOT_DONE, /* delivered, buried, not for this route, or a gap */
};

struct slot {
	struct run *pinned; /* the run its value lies in; NULL: a copy, or not out */
	uint32_t cost;
	uint8_t state;
	bool opens_run; /* first slot out of a run */
};

enum lane_hold {
	LANE_RUNS,
	LANE_HOLD_ROUTE, /* Kafka does not take anything of this route */
	LANE_HOLD_READ,  /* the journal cannot be read here */
	LANE_HOLD_BURY,  /* a record has to be buried, and that fails */
};

/* What came back since the lane began to drain. */
struct verdict {
	size_t refused_count;  /* SINK_RECORD_REFUSED and SINK_RECORD_TOO_LARGE */
	uint64_t refused_last; /* the highest of them */
	bool is_too_large;     /* the latest of them */
	bool was_alone;        /* nothing else was in flight beside it, on any lane */
	bool is_route_refused;
	bool is_time_refused;
	char why[160]; /* what Kafka said to the worst of it */
};

struct lane {
	const char *name;
	struct route *route; /* NULL: the lane that buries what no route matches */
	struct run *run;     /* where next_seq stands, or stood last; may be NULL */

	uint64_t acked_seq; /* up to here nothing is owed */
	uint64_t next_seq;  /* looked at next */
	uint64_t end_seq;   /* one past the window: acked_seq < next_seq <= end_seq */
	struct slot *slots; /* the window, at sequence modulo capacity */
	size_t capacity;
	uint64_t window_bytes;
	size_t window_runs;
	bool at_run_start; /* the next new slot is the first one out of its run */
	size_t in_flight;
	bool is_at_end; /* the journal had nothing at next_seq */

	bool is_draining; /* rejected: nothing is sent before all is back */
	struct verdict verdict;
	size_t careful_limit;   /* 0: none. In flight at most this many ... */
	uint64_t careful_until; /* ... up to this sequence */
	uint64_t restamp_until; /* up to here record time is the time of sending */
	bool wants_solo;        /* the next one is to be judged alone among all lanes */
	uint64_t doomed_seq;    /* refused alone: to be buried; 0: none */
	bool is_doomed_for_size;
	char doomed_why[160];
	unsigned barren_count; /* rounds that ended without anything settled */

	enum lane_hold hold;
	int64_t held_since_ms;
	int64_t hold_until_ms; /* then it is tried again */
	int64_t hold_delay_ms;
	char held_why[256];
	struct log_repeat hold_log;
	bool is_hold_logged; /* so that the end of it is worth a line */
	struct log_repeat bury_log;

	uint64_t gap_seq; /* the last gap marker seen begins here */
	int64_t gap_looked_ms;
	uint64_t delivered_count;
	uint64_t dead_count;
};

/* name and route are borrowed. Errors: ERR_NOMEM. */
int lane_init(
    struct lane *l, const char *name, struct route *route, uint64_t acked_seq);
void lane_fini(struct lane *l);

static inline bool
lane_window_is_empty(const struct lane *l)
{
	return l->acked_seq + 1 == l->end_seq;
}

/* Room for one more slot: after this lane_send() and lane_pass() cannot fail. */
int lane_reserve(struct lane *l);

/* Move next_seq over what was settled before the lane went back. */
void lane_pass_done(struct lane *l);

/* next_seq is out. pinned: the run that the value lies in, or NULL. */
void lane_send(struct lane *l, uint32_t cost, struct run *pinned);

/* next_seq needs nothing (any more). */
void lane_pass(struct lane *l, uint32_t cost);

/*
 * Everything from next_seq up to but not seq is not in the journal. False: not now, the
 * window has to become empty first (a gap may be longer than any window).
 */
bool lane_skip(struct lane *l, uint64_t seq);

/* The full sequence number out of its low bits. */
uint64_t lane_seq_of(const struct lane *l, uint64_t low, uint64_t mask);

/* seq is out no more. Returns what it pinned. */
struct run *lane_come_back(struct lane *l, uint64_t seq);

/* Kafka has seq. */
void lane_deliver(struct lane *l, uint64_t seq, int64_t now_ms);

/* next_seq is in dead now. */
void lane_bury(struct lane *l, int64_t now_ms);

/* seq was not delivered: from now on the lane drains. */
void lane_reject(struct lane *l, uint64_t seq, enum sink_result result, bool was_alone,
    const char *text);

/* All is back after a rejection: judge, and go back to the first that is owed. */
void lane_settle(struct lane *l, int64_t now_ms);

/*
 * May next_seq be sent, as far as this lane alone is concerned? Ends a careful phase
 * that is over.
 */
bool lane_may_go(struct lane *l, int64_t now_ms);

/* Stop, try again later and later; an alarm. */
void lane_hold(struct lane *l, enum lane_hold hold, int64_t now_ms, const char *why);

/* What held it is over, if it was this. */
void lane_resume(struct lane *l, enum lane_hold hold, int64_t now_ms);

#endif
