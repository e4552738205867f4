/* SPDX-License-Identifier: Apache-2.0 */
/* How far a long read has come: one line on a terminal, which is cleared again. */
#ifndef DUMP_PROGRESS_H
#define DUMP_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

/* Zero-initialised, it says nothing. */
struct dump_progress {
	bool is_on;
	bool is_shown;
	int64_t next_ms; /* of the monotonic clock: not before then */
	uint64_t first_seq;
	uint64_t end_seq;
};

/*
 * The numbers from first_seq to end_seq - 1 are read from now on. Nothing is shown
 * where standard error is no terminal.
 */
void dump_progress_begin(struct dump_progress *p, uint64_t first_seq, uint64_t end_seq);

/* All before seq is done. Shown after a second, and then a few times a second. */
void dump_progress_step(struct dump_progress *p, uint64_t seq);

/* Before anything else goes to the terminal, and at the end. */
void dump_progress_clear(struct dump_progress *p);

#endif
