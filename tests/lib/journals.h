/* SPDX-License-Identifier: Apache-2.0 */
/* Journals for tests: open, fill with numbered records, prove the sequence. */
#ifndef TESTS_JOURNALS_H
#define TESTS_JOURNALS_H

#include <stdint.h>
#include <sys/types.h>

#include "journal.h"

/* Gateway "test", 64 MiB, no compression. */
struct journal_options journals_options(const char *directory);

/* Open or fail the test. */
struct journal *journals_open(const char *directory, enum journal_role role);
struct journal *journals_open_sized(
    const char *directory, enum journal_role role, uint64_t max_bytes);

/* Stage count records on topic "n"; the payload is a text and payload_bytes long. */
void journals_stage(struct journal *j, int count, size_t payload_bytes);

/* Stage and commit; the result of the commit. */
int journals_append(struct journal *j, int count, size_t payload_bytes);

/* Append until it is not taken any more; returns what it said. */
int journals_fill(struct journal *j, int count, size_t payload_bytes);

uint64_t journals_next(struct journal *j);

/*
 * Read from seq to the end: every sequence number is there once and decodes. Returns
 * the number behind the last.
 */
uint64_t journals_check_dense(struct journal *j, uint64_t seq);

/* Acknowledge one route up to seq, until nothing more is to be deleted. */
int journals_drain(struct journal *j, uint64_t seq);

uint64_t journals_file_bytes(const char *directory);

/*
 * Run child(context) in a new process; its result is the exit status. Opens no journal
 * before: LMDB must not be carried over fork(2).
 */
typedef int journals_child(void *context);
pid_t journals_fork(journals_child *child, void *context);

/* Wait for it; fail the test after a minute. Returns the exit status, or -signal. */
int journals_wait(pid_t pid);

/* Wait until a byte comes; fail the process after a minute. */
void journals_await(int fd);
void journals_signal(int fd);

#endif
