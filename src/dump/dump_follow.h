/* SPDX-License-Identifier: Apache-2.0 */
/* tidegate-dump --follow: what is there, and then what arrives. */
#ifndef DUMP_FOLLOW_H
#define DUMP_FOLLOW_H

#include "dump_list.h"

/*
 * List records, each once and in order, until the options' end (count, to, until) or a
 * signal (SIGINT, SIGTERM). What was removed before it could be shown is told, and sets
 * d->is_partial unless there is a gap marker for it. d->journal may be opened anew.
 *
 * Errors:    ERR_IDENTITY (another journal is in its place), ERR_NOTFOUND (it is gone),
 *            both told there; ERR_AWAY (nobody reads standard output any more),
 *            ERR_CORRUPT, ERR_IO, ERR_NOMEM.
 */
int dump_follow(struct dump *d, const char *directory);

#endif
