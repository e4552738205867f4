/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the monitor shows: all of one moment, from the board and the journal, looked at
 * read-only. Who renders it (page.h, metrics.h, status.h) asks for nothing else.
 */
#ifndef VIEW_H
#define VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "board.h"
#include "buffer.h"
#include "events.h"
#include "history.h"
#include "journal.h"
#include "settings.h"
#include "status.h"

#define VIEW_REASONS_MAX 16
#define VIEW_EVENTS_MAX  20 /* on the page */

/* Dead letters of one reason, in the words of DEAD_* in record.h, or "other". */
struct view_reason {
	const char *reason; /* static */
	uint64_t count;
};

struct view {
	struct status_facts facts; /* facts.earlier is NULL; facts.stat may be */
	/* As status_problems() writes them; size 0: it is well. */
	struct buffer problems;
	struct view_reason dead[VIEW_REASONS_MAX];
	size_t dead_count; /* reasons */
	const struct history *history;
	const struct events *events; /* NULL: it runs alone, there are none */
	bool has_supervisor;         /* a tidegated runs it */
	struct view_source *source;  /* of view_look() */
};

/*
 * Ready to look; the first time is the caller's.
 *
 * board_fd:  -1: the board of whichever tidegated runs on journal.directory, looked for
 *            again and again, as is the journal.
 * events:    NULL: none.
 * Ownership: *out is the caller's; NULL on failure. settings and events are borrowed as
 *            long as it lives, board_fd for the call.
 * Errors:    those of board_open(); ERR_NOMEM.
 */
int view_open(struct view **out, const struct settings *settings, int board_fd,
    const struct events *events);

/*
 * Look at all of it, now. What is in v is valid until the next time.
 *
 * Errors:    ERR_NOMEM: v says nothing.
 */
int view_look(struct view *v, int64_t now_ms);

void view_close(struct view *v);

#endif
