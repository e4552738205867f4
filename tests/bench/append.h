/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is appended by the benchmarks of the journal, and the limit that they are held
 * to: write(2) and fdatasync(2) of the same encoded bytes to a file that grows.
 */
#ifndef TESTS_BENCH_APPEND_H
#define TESTS_BENCH_APPEND_H

#include "journal.h"

#define APPEND_PAYLOAD_BYTES 200

struct append {
	char directory[4096]; /* of the journal and the raw file */
	size_t per_commit;
	size_t commits;
	struct record record;
	struct buffer encoded; /* what one commit keeps */
};

/* directory: made by bench_make_directory(). */
void append_init(struct append *a, const char *parent);
void append_fini(struct append *a);

/* So many messages in each commit, so many commits. */
void append_set(struct append *a, size_t per_commit, size_t commits);

/* Bytes of all commits as they are kept: the encoded messages. */
double append_bytes(const struct append *a);

struct journal *append_open(
    const struct append *a, enum journal_role role, uint64_t max_bytes);

/* One commit. Errors: as journal_commit(). */
int append_commit(const struct append *a, struct journal *j);

/* All commits to a raw file. Messages a second. */
double append_raw(const struct append *a);

#endif
