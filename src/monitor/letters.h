/* SPDX-License-Identifier: Apache-2.0 */
/* How many dead letters there are of each reason. */
#ifndef LETTERS_H
#define LETTERS_H

#include <stddef.h>

#include "journal.h"
#include "view.h"

struct letters;

/* Errors: ERR_NOMEM. */
int letters_open(struct letters **out);
void letters_close(struct letters *l);

/* Forget what was counted: it is another journal. */
void letters_forget(struct letters *l);

/*
 * Count, where stat tells that there is something new; no more than so many at a time:
 * then the rest in the next calls, and what was known before holds until they are all
 * counted. What cannot be read counts as "other".
 *
 * Returns how many reasons are in found.
 */
size_t letters_look(struct letters *l, struct journal *j,
    const struct journal_stat *stat, struct view_reason found[VIEW_REASONS_MAX]);

#endif
