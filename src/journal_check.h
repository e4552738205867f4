/* SPDX-License-Identifier: Apache-2.0 */
/* --check-connection: the journal. */
#ifndef JOURNAL_CHECK_H
#define JOURNAL_CHECK_H

#include "check.h"
#include "settings.h"

/*
 * Look at the directory and at the journal in it. Nothing is made or changed, and the
 * daemon may be at work.
 *
 * Returns the age in ms of the oldest record that waits; -1 where none does, or where it
 * cannot be told.
 */
int64_t journal_check(struct check *c, const struct settings *settings);

#endif
