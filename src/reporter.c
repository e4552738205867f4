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

/* Look at the board and the journal. look: to be ended where this returns 0. */
static int
gather(struct reporter *r, int64_t now_ms, struct status_look *look)
{
	int err = board_look(r->board, &r->now);

	if (err != 0)
		return err;
	status_look_begin(look, r->settings, r->journal, &r->now, now_ms);
	look->facts.earlier = r->has_arrived ? &r->arrived : NULL;
	/* To be compared with those of the last report. */
	buffer_clear(&r->problems);
	look->facts.is_timeless = true;
	err = status_problems(&look->facts, &r->problems);
	look->facts.is_timeless = false;
	if (err != 0)
		status_look_end(look);
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
	struct status_look look;

	if (now_ms >= r->next_at_ms)
		return true;
	if (now_ms < r->look_at_ms || now_ms < r->made_at_ms + CHANGE_MS)
		return false;
	r->look_at_ms = now_ms + LOOK_MS;
	if (gather(r, now_ms, &look) != 0)
		return false;
	status_look_end(&look);
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
	struct status_look look;
	int err = gather(r, now_ms, &look);

	if (err != 0)
		return err;
	status_look_closer(&look);
	err = status_render(&look.facts, out);
	status_look_end(&look);
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
