/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading ahead in the journal: runs of consecutive records, read and decoded once and
 * shared by all who stand at the same place. Part of the forwarder.
 */
#ifndef READAHEAD_H
#define READAHEAD_H

#include <stddef.h>
#include <stdint.h>

#include "journal.h"
#include "record.h"

struct readahead;

/* A run: the records base_seq up to but not end_seq. Made and owned by readahead. */
struct run {
	uint64_t from_seq; /* nothing is in the journal from here to base_seq */
	uint64_t base_seq;
	uint64_t end_seq;
	uint64_t batch_end_seq; /* of its first batch */
	struct buffer body;
	struct view *view; /* decoded; while somebody stands in it */
	size_t reader_count;
	size_t pin_count;
	uint64_t used_at; /* a count, not a time */
};

/* A range that cannot be read. */
struct damage {
	uint64_t base_seq;
	uint64_t end_seq;
};

/* run_max: how many runs may be in memory. j is borrowed. Errors: ERR_NOMEM. */
int readahead_open(struct readahead **out, struct journal *j, size_t run_max);
void readahead_close(struct readahead *ra);

/* The journal may have grown: look again where there was nothing. */
void readahead_refresh(struct readahead *ra);

/*
 * Stand in the run that holds seq, or in the first one behind it.
 *
 * Ownership: *out stays until readahead_leave().
 * Errors:    ERR_NOTFOUND (nothing at seq or behind), ERR_FULL (every run is in use:
 *            again once something came back), ERR_CORRUPT or ERR_VERSION (damage tells
 *            the range), ERR_IO, ERR_NOMEM.
 */
int readahead_enter(
    struct readahead *ra, uint64_t seq, struct run **out, struct damage *damage);
void readahead_leave(struct readahead *ra, struct run *run);

/* A value inside the run's body is on its way: keep the body. Nests. */
void readahead_pin(struct run *run);
void readahead_unpin(struct readahead *ra, struct run *run);

/* For one who stands in the run. stored: as it is in the journal. */
const struct record *run_record(const struct run *run, uint64_t seq);
struct bytes run_stored(const struct run *run, uint64_t seq);

#endif
