/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a power cut may leave of the journal's file, by the log of record_writes.h: all
 * that was flushed, and of what was written since any part, sector by sector.
 */
#ifndef TESTS_REPLAY_H
#define TESTS_REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "record_writes.h"

struct replay;

/* NULL: the log cannot be read. */
struct replay *replay_open(const char *log);
void replay_close(struct replay *r);

/* Let the next entry happen; NULL: that was all. data: of a note. */
const struct recorded *replay_next(struct replay *r, const void **data);

/* Is there anything that a cut could take here? */
bool replay_has_pending(const struct replay *r);

/*
 * From now on do not believe in flushes, or in O_DSYNC, as with a disk that lies: to see
 * that the test sees what is lost then.
 */
void replay_doubt(struct replay *r, bool flushes, bool sync_writes);

enum replay_cut {
	REPLAY_NOTHING,    /* of what was not flushed is there */
	REPLAY_EVERYTHING, /* is there */
	REPLAY_ANYTHING,   /* by chance, each write whole, not at all or torn */
};

/*
 * Cut the power now: write data.mdb into directory, or what has not got that name yet.
 * *seed is moved on. 0, or -1 with errno.
 */
int replay_cut(
    const struct replay *r, enum replay_cut how, uint64_t *seed, const char *directory);

#endif
