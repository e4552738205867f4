/* SPDX-License-Identifier: Apache-2.0 */
/* tidegate-dump --check: is the journal whole? */
#ifndef DUMP_CHECK_H
#define DUMP_CHECK_H

#include <stdint.h>

#include "dump_progress.h"
#include "journal.h"

/*
 * Read everything: checksums, every record decodes, no sequence number is missing that
 * is neither acknowledged nor in a gap, dead letters decode. What is wrong goes to
 * standard output, one line each, with its sequence numbers; then one line in all.
 *
 * progress:  shown where standard error is a terminal.
 * problems:  out, how many such lines there were.
 * Errors:    ERR_NOMEM, ERR_IO: it could not be read to the end.
 */
int dump_check(struct journal *j, struct dump_progress *progress, uint64_t *problems);

#endif
