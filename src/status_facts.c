/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a status report is made of, gathered from the journal and the clocks.
 *
 * Failure modes: the journal cannot be asked: the facts say so.
 */
#include "status.h"

#include <string.h>

#include "now.h"

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

/* No more than JOURNAL_GAPS_MAX are kept. */
static void
look_at_gaps(struct status_look *look)
{
	struct status_facts *facts = &look->facts;
	struct journal_gap gap = {0};

	facts->gaps = look->gaps;
	facts->gap_count = 0;
	for (int i = 0; is_told(facts->settings) && i < JOURNAL_GAPS_MAX; i++) {
		if (journal_gap_read(look->journal, gap.first_seq + 1, &gap) != 0)
			return;
		add_latest(look->gaps, &facts->gap_count, &gap);
	}
}

void
status_look_begin(struct status_look *look, const struct settings *settings,
    struct journal *j, const struct board_view *board, int64_t now_ms)
{
	bool has_stat = j != NULL && journal_stat(j, &look->stat) == 0;

	/* Another process may have given it a new one. */
	if (has_stat)
		(void)journal_identity_load(j); /* logged; the one before stays */
	look->journal = j;
	look->facts = (struct status_facts){
	    .settings = settings,
	    .identity = j != NULL ? journal_identity(j) : NULL,
	    .stat = has_stat ? &look->stat : NULL,
	    .board = board,
	    .now_ms = now_ms,
	    .real_ms = now_real_ms(),
	};
}

void
status_look_closer(struct status_look *look)
{
	look->facts.is_clock_synchronised = now_is_synchronised();
	if (look->journal == NULL)
		return;
	/* Where the room cannot be told there is none that could be promised. */
	if (journal_room(look->journal, &look->facts.room_bytes) != 0)
		look->facts.room_bytes = 0;
	look_at_gaps(look);
}

void
status_look_end(struct status_look *look)
{
	if (look->facts.stat != NULL)
		journal_stat_fini(&look->stat);
	look->facts.stat = NULL;
}
