/* SPDX-License-Identifier: Apache-2.0 */
/* The last work of tidegate-ingest for a gateway that is retired. */
#ifndef RETIRE_H
#define RETIRE_H

#include "journal.h"
#include "worker.h"

/*
 * End the subscriptions, take into the journal what the broker still has, and end the
 * session. Says what became of it.
 *
 * Ownership: w and j (opened as JOURNAL_INGEST) are borrowed for the call.
 * Errors:    ERR_AWAY, ERR_FULL, ERR_IO, ...: the session stays, nothing is lost.
 */
int retire_run(const struct worker *w, struct journal *j);

#endif
