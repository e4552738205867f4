/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The status report: one JSON object that says how this gateway is, sent in band past
 * the backlog, to Kafka by tidegate-forward and to MQTT by tidegate-ingest. Its fields
 * are described in tidegated(8), STATUS.
 */
#ifndef STATUS_H
#define STATUS_H

#include <stdbool.h>
#include <stdint.h>

#include "board.h"
#include "buffer.h"
#include "journal.h"
#include "settings.h"

/* Nothing acknowledged for this long, though records wait and Kafka answers: stalled. */
#define STATUS_STALLED_MS 60000

/* This long after a record was buried its route is not well. */
#define STATUS_DEAD_MS 300000

/* This long after a message was dropped for want of room it is said. */
#define STATUS_DROPPED_MS 300000

/* No word of a worker for this long: it hangs. */
#define STATUS_SILENT_MS 30000

/* At most so many in one report; of Kafka topics the busiest, the rest in one sum. */
#define STATUS_TOPICS_MAX   20
#define STATUS_ROUTES_MAX   100
#define STATUS_PROBLEMS_MAX 20
#define STATUS_GAPS_MAX     10

/* What a report is made of; all borrowed. */
struct status_facts {
	const struct settings *settings;
	const struct journal_identity *identity; /* NULL: likewise stat */
	const struct journal_stat *stat; /* NULL: the journal could not be asked */
	const struct board_view *board;  /* now */
	const char *trouble; /* in place of what the board tells; NULL: it tells */
	const struct board_view *earlier; /* at the last report; NULL: there was none */
	uint64_t room_bytes;              /* that can still be journalled */
	const struct journal_gap *gaps;   /* the latest, by sequence */
	size_t gap_count;                 /* at most STATUS_GAPS_MAX */
	int64_t now_ms;                   /* monotonic */
	int64_t real_ms;
	bool is_clock_synchronised;
	bool
	    is_board_alone; /* nobody has looked at the journal: the board tells of it */
	bool
	    is_timeless; /* leave out of status_problems() what changes with time alone */
};

/*
 * The facts of one moment, and what they point to. For who tells how the gateway is:
 * the reports, the monitor and tidegate-admin.
 */
struct status_look {
	struct status_facts facts;
	struct journal *journal;
	struct journal_stat stat;
	struct journal_gap gaps[STATUS_GAPS_MAX];
};

/*
 * Look at the journal, which may be opened for any role: enough for status_problems().
 * facts.earlier is NULL. It stays where it is: facts point into it.
 *
 * Ownership: all borrowed until status_look_end(). j NULL: it cannot be opened.
 */
void status_look_begin(struct status_look *look, const struct settings *settings,
    struct journal *j, const struct board_view *board, int64_t now_ms);

/* And at what takes longer: room, gaps, clock; for status_render(). */
void status_look_closer(struct status_look *look);

void status_look_end(struct status_look *look);

/*
 * What keeps data from moving, in words, one after the other with an end mark each;
 * nothing when all is well. The words change when the state does, and, but for
 * is_timeless, now and then where they tell how long the journal's room lasts.
 * Appends to out. Errors: ERR_NOMEM.
 */
int status_problems(const struct status_facts *facts, struct buffer *out);

/*
 * Which of the workers that data goes through do not run, or say nothing, likewise. What
 * else ails the gateway counts for nothing here. Appends to out. Errors: ERR_NOMEM.
 */
int status_workers(const struct status_facts *facts, struct buffer *out);

/* The report, without an end mark. Appends to out. Errors: ERR_NOMEM. */
int status_render(const struct status_facts *facts, struct buffer *out);

/*
 * What the broker tells of a gateway that has gone without a word: the MQTT will.
 * Appends to out, without an end mark. Errors: ERR_NOMEM.
 */
int status_gone(const struct settings *settings, struct buffer *out);

/* ---- when to report ---- */

struct reporter;

/* All borrowed as long as it lives. Errors: ERR_NOMEM. */
int reporter_open(struct reporter **out, const struct settings *settings,
    struct journal *j, const struct board *board);
void reporter_close(struct reporter *r);

/*
 * Is it time for a report: the first, status.interval_s after the last, or a few seconds
 * after it when the state has changed? Looks at most once a second.
 */
bool reporter_is_due(struct reporter *r, int64_t now_ms);

/* Have it due at once: nobody has the last one any more. */
void reporter_hurry(struct reporter *r);

/* Make one of what is now. Appends to out. Errors: ERR_NOMEM. */
int reporter_make(struct reporter *r, int64_t now_ms, struct buffer *out);

/*
 * What became of the last one: whether it arrived, as far as that is known. One that
 * did not is made again soon, and what is "since the last report" goes on.
 */
void reporter_done(struct reporter *r, int64_t now_ms, bool has_arrived);

#endif
