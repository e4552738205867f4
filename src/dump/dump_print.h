/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tidegate-dump writes to standard output. Text is safe for a terminal whatever
 * the messages hold; JSON has every byte (in base64 where it is not UTF-8).
 */
#ifndef DUMP_PRINT_H
#define DUMP_PRINT_H

#include "dump_options.h"
#include "journal.h"
#include "record.h"

struct dump_printer;

/*
 * is_prompt: each batch is written at once, as it is on a terminal.
 * Errors:    ERR_NOMEM.
 */
int dump_printer_open(struct dump_printer **out, enum dump_form form, bool is_prompt);
void dump_printer_close(struct dump_printer *p);

/*
 * Write one thing. In the form DUMP_PAYLOAD that is the payload, byte for byte; on a
 * terminal it is made safe and gets a line of its own.
 *
 * Errors:    ERR_NOMEM; ERR_IO (standard output cannot be written).
 */
int dump_print_record(struct dump_printer *p, uint64_t seq, const struct record *r);
int dump_print_dead(struct dump_printer *p, const struct journal_dead *dead,
    const struct dead_letter *letter, const struct record *r);
int dump_print_gap(struct dump_printer *p, const struct journal_gap *gap);
int dump_print_stat(struct dump_printer *p, const struct journal_identity *identity,
    const struct journal_stat *stat, int64_t now_ms);

/* What follows from the figures: room left by the journal's limit; age of the oldest. */
uint64_t dump_free_bytes(const struct journal_stat *stat);
uint64_t dump_oldest_age_ms(const struct journal_stat *stat, int64_t now_ms);

/* Has standard output refused anything so far? */
bool dump_print_failed(const struct dump_printer *p);

/* The things of one batch are printed: time to write, if somebody is looking. */
int dump_print_batch_end(struct dump_printer *p);

/*
 * Write what is still in memory. A failure now or before is told on standard error,
 * unless the reader has closed its pipe. Errors: ERR_IO.
 */
int dump_print_flush(struct dump_printer *p);

#endif
