/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The room in the journal as ingest sees it, and what is done when it comes to an end
 * (on_full): the oldest are dropped by order to forward, or the newest here.
 */
#ifndef INGEST_ROOM_H
#define INGEST_ROOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fill_rate.h"
#include "journal.h"
#include "log.h"
#include "worker.h"

/* What one commit may take beside its records: pages that are only partly filled, and
 * the copies of pages on the way to the root. */
#define COMMIT_EXTRA_BYTES 65536

struct ingest_room {
	const struct worker *worker;
	const struct settings *settings;
	struct journal *journal;
	uint64_t bytes;     /* estimate, low rather than high */
	uint64_t low_bytes; /* less room than this is none */
	/* As much room as this: go on. With less the oldest have to go, if that is asked. */
	uint64_t resume_bytes;

	bool is_dropping; /* the newest */
	int64_t dropping_since_ms;
	uint64_t dropping_count; /* since then */

	uint64_t dropped_count; /* oldest and newest, by this process */
	int64_t dropped_at_ms;

	uint64_t order_number;  /* of the order that waits; 0: none does */
	int64_t order_at_ms;    /* none is given earlier ... */
	int64_t order_delay_ms; /* ... since the last brought nothing; 0: it did */
	bool has_found_orders;  /* those of an ingest before this one */

	struct fill_rate fill;
	struct log_repeat measure_repeat, order_repeat;
};

/* All borrowed; r is the caller's, zero-initialised. */
void ingest_room_init(
    struct ingest_room *r, const struct worker *w, struct journal *journal);

/* Look. */
void ingest_room_measure(struct ingest_room *r, int64_t now_ms);

/* A commit of so many bytes has returned: the room after it, measured where it is low. */
void ingest_room_account(struct ingest_room *r, size_t bytes, int64_t now_ms);

/* A commit of so many bytes did not fit: how much room to wait for. */
void ingest_room_fail(struct ingest_room *r, size_t bytes, int64_t now_ms);

/* How many bytes to stage for one commit: no more than there is room for. */
size_t ingest_room_commit_max(const struct ingest_room *r);

bool ingest_room_is_low(const struct ingest_room *r);

/* After it was low: is there as much again that it pays to go on? */
bool ingest_room_is_back(struct ingest_room *r);

/* There was no room, and the connection has been ended: wait for the usual share. */
void ingest_room_expect_usual(struct ingest_room *r);

/* Does the policy take gap markers in the place of what comes? */
bool ingest_room_may_drop_newest(const struct ingest_room *r);

/* From now on until there is room again. */
void ingest_room_begin_dropping(struct ingest_room *r, int64_t now_ms);

/* So many messages have become gap markers, on disk. */
void ingest_room_note_dropped(struct ingest_room *r, size_t count, int64_t now_ms);

/*
 * It is low: where an order waits that will make room, wait for it a moment, so that the
 * broker need not be left. Nothing may be staged, and PUBACKs should be out.
 */
void ingest_room_await(struct ingest_room *r);

/* Once a second: orders, the end of dropping, the rate. */
void ingest_room_tick(struct ingest_room *r, int64_t now_ms);

#endif
