/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading ahead in the journal: runs of consecutive records, read, decoded and matched
 * against the routes once, and shared by all who stand at the same place. Part of the
 * forwarder.
 */
#ifndef READAHEAD_H
#define READAHEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "journal.h"
#include "record.h"
#include "topic_matcher.h"

struct readahead;

/* A run: the records base_seq up to but not end_seq. Made and owned by readahead. */
struct run {
	uint64_t from_seq; /* nothing is in the journal from here to base_seq */
	uint64_t base_seq;
	uint64_t end_seq;
	uint64_t batch_end_seq; /* of its first batch */
	struct buffer body;
	struct view *view; /* decoded; NULL: to be entered again before it is used */
	size_t reader_count;
	size_t pin_count;
	uint64_t used_at; /* a count, not a time */
};

/* A range that cannot be read. */
struct damage {
	uint64_t base_seq;
	uint64_t end_seq;
};

struct readahead_options {
	struct journal *journal;
	struct topic_matcher *matcher; /* whose owners are routes, by number */
	const char *const *names;      /* of the routes, for records bound to one */
	size_t route_count;
	size_t reader_max; /* how many may stand in runs at a time, in one each */
	size_t pin_max;    /* how many runs may be pinned, or as many times 128 KiB */
};

/*
 * At most reader_max + pin_max + 1 runs are in memory, each of about 128 KiB, or of one
 * larger batch where it is pinned or its records are decoded, which only a few runs' are.
 *
 * Ownership: journal, matcher and names are borrowed.
 * Errors:    ERR_NOMEM.
 */
int readahead_open(struct readahead **out, const struct readahead_options *o);
void readahead_close(struct readahead *ra);

/* The journal may have grown: look again where there was nothing. */
void readahead_refresh(struct readahead *ra);

/*
 * Stand in the run that holds seq, or in the first one behind it.
 *
 * Ownership: *out stays until readahead_leave(), its view until somebody enters another.
 * Errors:    ERR_NOTFOUND (nothing at seq or behind), ERR_FULL (every run is in use:
 *            again once something came back), ERR_CORRUPT or ERR_VERSION (damage tells
 *            the range), ERR_IO, ERR_NOMEM.
 */
int readahead_enter(
    struct readahead *ra, uint64_t seq, struct run **out, struct damage *damage);
void readahead_leave(struct readahead *ra, struct run *run);

/*
 * A value inside the run's body is on its way: keep the body. Nests. False: too many
 * runs are kept that way, the value has to be copied.
 */
bool readahead_pin(struct readahead *ra, struct run *run);
void readahead_unpin(struct readahead *ra, struct run *run);

/*
 * What must stay in the journal, because it may be sent out of memory: the ranges of runs
 * that somebody stands in or that are pinned. ranges: room for readahead_run_count().
 * Returns how many there are.
 */
size_t readahead_run_count(const struct readahead *ra);
size_t readahead_in_use(const struct readahead *ra, struct journal_range ranges[]);

/* Something of this range went out of the journal: read it again, but for runs in use. */
void readahead_forget(struct readahead *ra, uint64_t first_seq, uint64_t end_seq);

/*
 * Up to which sequence is it known that each record has a route, beginning at seq?
 * seq itself where nothing is known.
 */
uint64_t readahead_routed_until(const struct readahead *ra, uint64_t seq);

/*
 * For one who stands in the run: the first record at seq or behind that the route
 * matches, end_seq if there is none. Number route_count: that no route matches.
 *
 * cursor:    0 on entering the run, then left alone; seq must not go back.
 */
uint64_t run_next_of(
    const struct run *run, size_t route, uint64_t seq, uint32_t *cursor);

/* For one who stands in the run. stored: as it is in the journal. */
const struct record *run_record(const struct run *run, uint64_t seq);
struct bytes run_stored(const struct run *run, uint64_t seq);

#endif
