/* SPDX-License-Identifier: Apache-2.0 */
/* What tidegate-dump lists: records, dead letters, gaps. */
#ifndef DUMP_LIST_H
#define DUMP_LIST_H

#include "dump_options.h"
#include "dump_print.h"
#include "dump_progress.h"
#include "journal.h"
#include "record.h"

struct dump {
	struct dump_options options;
	struct journal *journal;
	struct record_decoder *decoder;
	struct dump_printer *printer;
	struct dump_progress progress;
	bool shows_progress;
	uint64_t left;   /* how many may still be printed */
	bool is_partial; /* something could not be read */
};

/*
 * Each lists what the options want of what is there now. What cannot be read is told on
 * standard error, sets is_partial, and does not end it.
 *
 * Errors:    ERR_NOMEM, ERR_IO, ERR_CORRUPT: it could not be read to the end.
 */
int dump_list_records(struct dump *d);
int dump_list_dead(struct dump *d);
int dump_list_gaps(struct dump *d);

/* Of one batch the records from from_seq on that the options want. */
int dump_list_batch(struct dump *d, const struct journal_batch *b, uint64_t from_seq);

/*
 * journal_read() from seq has answered err in place of a batch: tell the range.
 *
 * Errors:    err itself, where there is no way on.
 */
int dump_list_unreadable(
    struct dump *d, const struct journal_batch *b, uint64_t seq, int err);

/* A line on standard error, behind what is printed already. */
__attribute__((format(printf, 2, 3))) void dump_tell(
    struct dump *d, const char *format, ...);

#endif
