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

#include "histogram.h"
#include "log.h"
#include "position.h"
#include "readahead.h"
#include "route.h"
#include "sink.h"
#include "topic_counts.h"
#include "topic_matcher.h"

/* Records in a window, whatever their size: bounds the slots. */
#define LANE_WINDOW_MAX ((size_t)1 << 17)

/* What a record on its way takes in memory beside key and value, about. */
#define LANE_RECORD_BYTES 128

/* And what one takes that was delivered, but not committed. */
#define LANE_KEPT_BYTES 32

/* Topics of Kafka's that a lane remembers to have given up. */
#define LANE_GIVEN_UP_MAX 32

enum slot_state {
	SLOT_OPEN, /* owed, not out: given back */
	SLOT_OUT,
	SLOT_KEPT, /* delivered, in a transaction that is not committed */
	SLOT_DONE, /* delivered or buried */
};

/* A record of this lane: those that are not for it, and gaps, have none. */
struct slot {
	uint64_t seq;
	int64_t received_ms; /* 0: its latency does not count */
	struct run *pinned;  /* the run its value lies in; NULL: a copy, or not out */
	uint32_t cost;
	uint16_t topic; /* its number for topic_counts_add() once it is delivered */
	uint8_t state;
};

/*
 * What the windows of all lanes may take, in bytes: a part of its own for each, and a
 * common one, of which each takes at most as much as it leaves for the others. So a
 * lane that is stuck never has it all, and one that is busy while the others are idle
 * has much more than its own.
 */
struct lane_room {
	uint64_t each;
	uint64_t common;
	uint64_t common_used;
	size_t in_flight_max; /* of one lane, however small its records are */
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
	bool is_time_refused;
	uint64_t
	    route_refused_seq; /* the lowest that was SINK_ROUTE_REFUSED; 0: none */
	char why[160];         /* what Kafka said to the worst of it */
};

/* Why is a record to be buried? */
enum lane_doom {
	LANE_DOOM_REFUSED,
	LANE_DOOM_SIZE,
	LANE_DOOM_ROUTE, /* refused too often, not for what is in it */
};

/* With thousands of lanes the order counts: what every turn looks at comes first. */
struct lane {
	struct route *route; /* NULL: the lane that buries what no route matches */
	struct run *run;     /* where next_seq stands, or stood last; may be NULL */
	uint64_t acked_seq;  /* up to here nothing is owed */
	uint64_t next_seq;   /* looked at next */
	uint64_t end_seq;    /* one past the window: acked_seq < next_seq <= end_seq */
	uint64_t first_slot; /* numbers: they rise, and are not used again */
	uint64_t next_slot;  /* that of next_seq; end_slot: it has none yet */
	uint64_t end_slot;
	struct slot *slots; /* the window, at the slot's number modulo capacity */
	size_t capacity;
	size_t in_flight;
	size_t kept_count; /* slots that are SLOT_KEPT */
	uint32_t cursor;   /* for run_next_of() */
	enum lane_hold hold;
	int64_t hold_until_ms; /* then it is tried again */
	bool is_draining;      /* rejected: nothing is sent before all is back */
	bool is_at_end;        /* the journal had nothing at next_seq */
	bool
	    is_off; /* switched off: it sends nothing, but passes what is not its own */
	bool is_parked;         /* is_off, and next_seq is its own */
	bool wants_solo;        /* the next one is to be judged alone among all lanes */
	size_t careful_limit;   /* 0: none. In flight at most this many ... */
	uint64_t careful_until; /* ... up to this sequence */
	uint64_t restamp_until; /* up to here record time is the time of sending */
	uint64_t window_bytes;
	size_t wanted_bytes;    /* of next_seq, for which there was no room; or 0 */
	struct lane_room *room; /* shared by all lanes */
	struct topic_counts *topics; /* likewise; NULL: nobody counts */
	struct histogram *latency;   /* likewise */

	/* Up to here some may be among the dead letters, by a forwarder before this. */
	uint64_t buried_seq;

	/* Before its filters were changed: what matches these has been delivered. */
	uint64_t passed_seq; /* up to here; 0: there was no change */
	struct topic_matcher *passed_filters;

	/* With transactions. The filters are hashes of their text; 0: none. */
	uint64_t asked;
	uint64_t passed_asked;       /* those of passed_filters */
	struct position_route place; /* as committed */
	struct position_mark sent;   /* the last of the open transaction; seq 0: none */
	struct bytes sent_stored;    /* what sent.sum will be of; NULL: it is set */
	uint64_t kept_bytes;
	bool is_late; /* its records did not come back in time */

	const char *name;
	int64_t gap_looked_ms;
	uint64_t marked_seq; /* noted: up to here it may send, see sent.c */
	uint64_t doubt_seq;  /* up to here a forwarder before this one may have sent */
	uint64_t delivered_count;
	uint64_t delivered_bytes;
	uint64_t dead_count;
	uint64_t error_count; /* refused, or given back */

	struct verdict verdict;
	uint64_t doomed_seq; /* to be buried; 0: none */
	enum lane_doom doom;
	char doomed_why[160];
	unsigned barren_count; /* rounds that ended without anything settled */

	/* Burying what Kafka refuses to the route, see lane_verdict.c. */
	unsigned refusals_max; /* 0: never */
	unsigned refusal_count;
	uint64_t refused_seq;                 /* the record that the count is of */
	uint64_t given_up[LANE_GIVEN_UP_MAX]; /* topics, as numbers; 0: none */
	size_t given_up_next;
	uint64_t trial_seq; /* on its one try, to a topic that was given up; 0: none */
	uint64_t trial_topic;

	int64_t held_since_ms;
	int64_t hold_delay_ms;
	char held_why[256];
	struct log_repeat hold_log;
	bool is_hold_logged; /* so that the end of it is worth a line */
	struct log_repeat bury_log;
	struct log_repeat gap_log;
};

/* name, route and room are borrowed. Errors: ERR_NOMEM. */
int lane_init(struct lane *l, const char *name, struct route *route,
    struct lane_room *room, uint64_t acked_seq);
void lane_fini(struct lane *l);

static inline bool
lane_window_is_empty(const struct lane *l)
{
	return l->first_slot == l->end_slot;
}

/*
 * Is there room for so many bytes of next_seq? Always, for one that goes alone. If there
 * is none, lane_may_go() says no until there is.
 */
bool lane_find_room(struct lane *l, size_t bytes);

/* Room for one more slot: after this lane_send() and lane_bury() cannot fail. */
int lane_reserve(struct lane *l);

/* Where the slot behind that of next_seq begins, after going back; else UINT64_MAX. */
uint64_t lane_seq_behind(const struct lane *l);

/* Move next_seq over what was settled before the lane went back. */
void lane_pass_done(struct lane *l);

/*
 * next_seq is out; its number was next_slot. bytes: of key and value. received_ms: when
 * it arrived, or 0 where its latency does not count. pinned: the run of its value, or
 * NULL.
 */
void lane_send(struct lane *l, size_t bytes, const char *topic, int64_t received_ms,
    struct run *pinned);

/* Nothing from next_seq up to but not seq is for this lane. */
void lane_skip(struct lane *l, uint64_t seq);

/* Slot number is out no more. Returns what it pinned. */
struct run *lane_come_back(struct lane *l, uint64_t number);

/* Kafka has it. */
void lane_deliver(struct lane *l, uint64_t number, int64_t now_ms, int64_t real_ms);

/*
 * Kafka has it, in a transaction: it counts once that is committed, and until then what
 * comes behind it may be sent. Its value takes no room any more.
 */
void lane_keep(struct lane *l, uint64_t number);

/* The transaction is committed: what was kept is delivered. */
void lane_commit(struct lane *l, int64_t now_ms, int64_t real_ms);

/*
 * The transaction is undone: what was kept is owed again. A lane that drains and is not
 * to blame goes back at once; one that is, is for lane_settle(). Nothing is in flight.
 */
void lane_undo(struct lane *l);

/* Was anything of it refused since it drains, for what it is or where it goes? */
bool lane_is_to_blame(const struct lane *l);

/* next_seq is in dead now. */
void lane_bury(struct lane *l, int64_t now_ms);

/* The sequence of a slot. */
uint64_t lane_seq_at(const struct lane *l, uint64_t number);

/* seq was not delivered: from now on the lane drains. */
void lane_reject(struct lane *l, uint64_t seq, enum sink_result result, bool was_alone,
    const char *text);

/* All is back after a rejection: judge, and go back to the first that is owed. */
void lane_settle(struct lane *l, int64_t now_ms);

/* A record to this topic of Kafka's was refused for the last time. */
void lane_give_up(struct lane *l, const char *topic);

/*
 * next_seq is about to be sent to this topic. False: not yet; the topic was given up,
 * and it has to be alone in flight on this lane.
 */
bool lane_may_try(struct lane *l, const char *topic);

/*
 * May next_seq be sent, as far as this lane alone is concerned? Ends a careful phase
 * that is over.
 */
bool lane_may_go(struct lane *l, int64_t now_ms);

/* In flight from now on at most limit, up to and including the sequence until. */
void lane_go_careful(struct lane *l, size_t limit, uint64_t until);

/* Something was settled for good: whatever was tried works. */
void lane_note_progress(struct lane *l);

/* next_seq is the first that is owed again. Nothing is in flight. */
void lane_go_back(struct lane *l);

/* The record on trial was delivered: its topic takes records again. */
void lane_end_trial(struct lane *l);

/* Stop, try again later and later; an alarm. */
void lane_hold(struct lane *l, enum lane_hold hold, int64_t now_ms, const char *why);

/* What held it is over, if it was this. */
void lane_resume(struct lane *l, enum lane_hold hold, int64_t now_ms);

#endif
