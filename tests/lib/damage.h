/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A journal of which every record is known, to be damaged; and all that a gateway and its
 * tools do with one, to be done to it. For the tests and the fuzzer: without cmocka.
 */
#ifndef TESTS_DAMAGE_H
#define TESTS_DAMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "buffer.h"
#include "journal.h"

#define DAMAGE_GATEWAY "damage"

/* What it is made with. */
struct journal_options damage_options(const char *directory);

/*
 * Batches of all sizes, gaps, dead letters, two routes that have read a part, freed pages:
 * the same one each time in a process. 0, or ERR_*.
 */
int damage_make(const char *directory);

/* The record that has this number. */
void damage_record(uint64_t seq, struct record *r);

/* data.mdb of a directory, as a whole. Ends the process when it fails. */
void damage_load(const char *directory, struct buffer *file);
void damage_store(const char *directory, const struct buffer *file);

/*
 * The first page of the batch whose first record has this text says that there is one page
 * more than there is: deleting the batch would free a page of another.
 */
void damage_run(const char *directory, const char *text);

/* Change one page or the length, at random. Returns what was done, static. */
const char *damage_mutate(struct buffer *file, uint64_t *seed);

/*
 * Open it in all roles, read, set damaged batches aside, acknowledge, append; salvage it
 * into the directory spare, and read that. NULL, or what is wrong: a record that is not
 * what it was, or a loop.
 */
const char *damage_exercise(const char *directory, const char *spare);

/* How much of it could be read, and in how far it could be opened, by the last one. */
struct damage_seen {
	uint64_t records;
	uint64_t set_aside;
	int look_err;
	int forward_err;
	int salvage_err;
	uint64_t salvaged_records;
};
extern struct damage_seen damage_seen;

#endif
