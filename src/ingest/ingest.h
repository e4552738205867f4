/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tidegate-ingest's loop: MQTT into the journal.
 *
 * One turn: read what the socket has into a batch, commit, then write the PUBACKs.
 */
#ifndef INGEST_H
#define INGEST_H

#include "journal.h"
#include "worker.h"

/*
 * Run until somebody asks to stop, then leave the broker in order.
 *
 * Ownership: w and j (opened as JOURNAL_INGEST) are borrowed for the call.
 * Errors:    ERR_NOMEM and those of journal_subscriptions_load(), at the start only.
 */
int ingest_run(const struct worker *w, struct journal *j);

#endif
