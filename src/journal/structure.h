/* SPDX-License-Identifier: Apache-2.0 */
/* May LMDB touch this data.mdb? Asked before it does, and told in the log. */
#ifndef STRUCTURE_H
#define STRUCTURE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Before the environment is opened. A file that is not there, or empty, is no failure.
 *
 * Errors:    ERR_CORRUPT, ERR_VERSION (of another version or kind of machine), ERR_IO.
 */
int structure_look(int dir_fd, const char *directory);

/*
 * Is the snapshot of a transaction whole? Whoever asks has it open, so that its pages
 * stay, and has not followed one of them yet. runs: look at the first page of each
 * batch, too, without which deleting one is not safe.
 *
 * Errors:    ERR_NOTFOUND (it is not in the file any more: begin again), ERR_CORRUPT,
 *            ERR_VERSION, ERR_NOMEM, ERR_IO.
 */
int structure_check(int fd, const char *directory, size_t txn_id, bool runs);

#endif
