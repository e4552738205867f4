/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When to report, and out of what.
 *
 * Invariant: "since the last report" begins where the last one ended that has arrived.
 *
 * Failure modes: the journal cannot be asked: the report says so. A report that does
 * not arrive is made anew, not kept: an old status is of no use.
 */
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "now.h"
#include "status.h"

#define LOOK_MS   1000
#define FIRST_MS  2000  /* to come to know the state */
#define CHANGE_MS 5000  /* between two reports, when the state changes */
#define RETRY_MS  10000 /* after one that did not arrive */

struct reporter {
	const struct settings *settings;
	struct journal *journal;
	const struct board *board;
	struct board_view now, made, arrived;
	bool has_arrived; /* one has */
	int64_t look_at_ms, next_at_ms, made_at_ms;
	struct buffer problems;          /* now */
	struct buffer reported_problems; /* in the last report that was made */
};

int
reporter_open(struct reporter **out, const struct settings *settings, struct journal *j,
    const struct board *board)
{
	struct reporter *r = calloc(1, sizeof(*r));

	*out = NULL;
	if (r == NULL)
		return ERR_NOMEM;
	r->settings = settings;
	r->journal = j;
	r->board = board;
	r->next_at_ms = now_monotonic_ms() + FIRST_MS;
	*out = r;
	return 0;
}

void
reporter_close(struct reporter *r)
{
	if (r == NULL)
		return;
	board_view_fini(&r->now);
	board_view_fini(&r->made);
	board_view_fini(&r->arrived);
	buffer_fini(&r->problems);
	buffer_fini(&r->reported_problems);
	free(r);
}

/* Where every route says that gaps are not to be announced, they are only counted. */
static bool
is_told(const struct settings *s)
{
	for (size_t i = 0; i < s->route_count; i++) {
		if (s->routes[i].gap_records != SETTINGS_GAPS_NONE)
			return true;
	}
	return s->route_count == 0;
}

/* In the place of the one whose time is furthest back, in order of sequence. */
static void
add_latest(struct journal_gap list[STATUS_GAPS_MAX], size_t *count,
    const struct journal_gap *gap)
{
	size_t oldest = 0;

	if (*count < STATUS_GAPS_MAX) {
		list[(*count)++] = *gap;
		return;
	}
	for (size_t i = 1; i < STATUS_GAPS_MAX; i++) {
		if (list[i].at_ms < list[oldest].at_ms)
			oldest = i;
	}
	if (gap->at_ms < list[oldest].at_ms)
		return;
	memmove(list + oldest, list + oldest + 1,
	    (STATUS_GAPS_MAX - 1 - oldest) * sizeof(list[0]));
	list[STATUS_GAPS_MAX - 1] = *gap;
}

/* latest: out, those that a report names. No more than JOURNAL_GAPS_MAX are kept. */
static void
look_at_gaps(struct journal *j, struct status_facts *facts,
    struct journal_gap latest[STATUS_GAPS_MAX])
{
	struct journal_gap gap = {0};

	facts->gaps = latest;
	for (int i = 0; is_told(facts->settings) && i < JOURNAL_GAPS_MAX; i++) {
		if (journal_gap_read(j, gap.first_seq + 1, &gap) != 0)
			return;
		add_latest(latest, &facts->gap_count, &gap);
	}
}

/* Look at the board and the journal. stat: to be released where facts->stat is set. */
static int
gather(struct reporter *r, int64_t now_ms, struct status_facts *facts,
    struct journal_stat *stat)
{
	int err = board_look(r->board, &r->now);

	if (err != 0)
		return err;
	*facts = (struct status_facts){
	    .settings = r->settings,
	    .identity = journal_identity(r->journal),
	    .stat = journal_stat(r->journal, stat) == 0 ? stat : NULL,
	    .board = &r->now,
	    .earlier = r->has_arrived ? &r->arrived : NULL,
	    .now_ms = now_ms,
	    .real_ms = now_real_ms(),
	};
	/* To be compared with those of the last report. */
	buffer_clear(&r->problems);
	facts->is_timeless = true;
	err = status_problems(facts, &r->problems);
	facts->is_timeless = false;
	if (err != 0 && facts->stat != NULL)
		journal_stat_fini(stat);
	return err;
}

static bool
has_changed(const struct reporter *r)
{
	return r->problems.size != r->reported_problems.size ||
	       (r->problems.size > 0 &&
		   memcmp(r->problems.data, r->reported_problems.data,
		       r->problems.size) != 0);
}

bool
reporter_is_due(struct reporter *r, int64_t now_ms)
{
	struct status_facts facts;
	struct journal_stat stat;

	if (now_ms >= r->next_at_ms)
		return true;
	if (now_ms < r->look_at_ms || now_ms < r->made_at_ms + CHANGE_MS)
		return false;
	r->look_at_ms = now_ms + LOOK_MS;
	if (gather(r, now_ms, &facts, &stat) != 0)
		return false;
	if (facts.stat != NULL)
		journal_stat_fini(&stat);
	return has_changed(r);
}

static void
swap_views(struct board_view *a, struct board_view *b)
{
	struct board_view kept = *a;

	*a = *b;
	*b = kept;
}

void
reporter_hurry(struct reporter *r)
{
	r->next_at_ms = 0;
}

int
reporter_make(struct reporter *r, int64_t now_ms, struct buffer *out)
{
	struct journal_gap gaps[STATUS_GAPS_MAX];
	struct status_facts facts;
	struct journal_stat stat;
	int err = gather(r, now_ms, &facts, &stat);

	if (err != 0)
		return err;
	/* Where the room cannot be told there is none that could be promised. */
	if (journal_room(r->journal, &facts.room_bytes) != 0)
		facts.room_bytes = 0;
	look_at_gaps(r->journal, &facts, gaps);
	facts.is_clock_synchronised = now_is_synchronised();
	err = status_render(&facts, out);
	if (facts.stat != NULL)
		journal_stat_fini(&stat);
	if (err != 0)
		return err;
	buffer_clear(&r->reported_problems);
	err = buffer_append(&r->reported_problems, r->problems.data, r->problems.size);
	r->made_at_ms = now_ms;
	r->next_at_ms = now_ms + r->settings->status.interval_s * (int64_t)1000;
	swap_views(&r->now, &r->made);
	return err;
}

void
reporter_done(struct reporter *r, int64_t now_ms, bool has_arrived)
{
	if (has_arrived) {
		swap_views(&r->made, &r->arrived);
		r->has_arrived = true;
	} else if (r->next_at_ms > now_ms + RETRY_MS) {
		r->next_at_ms = now_ms + RETRY_MS;
	}
}
