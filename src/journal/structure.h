/* SPDX-License-Identifier: Apache-2.0 */
/* May LMDB touch this data.mdb? Asked before it does, and told in the log. */
#ifndef STRUCTURE_H
#define STRUCTURE_H

#include <stddef.h>

#include "log.h"
#include "pages.h"

/*
 * Before the environment is opened. A file that is not there, or empty, is no failure.
 *
 * Errors:    ERR_CORRUPT, ERR_VERSION (of another version or kind of machine), ERR_IO.
 */
int structure_look(int dir_fd, const char *directory);

/*
 * Is the snapshot of a transaction whole? Whoever asks has it open, so that its pages
 * stay, and has not followed one of them yet. how: one of the strict ones.
 *
 * Errors:    ERR_NOTFOUND (it is not in the file any more: begin again), ERR_CORRUPT,
 *            ERR_VERSION, ERR_NOMEM, ERR_IO.
 */
int structure_check(int fd, const char *directory, size_t txn_id, enum pages_how how);

/*
 * May LMDB delete these, of a file that structure_check() has found whole? Whoever asks has
 * a transaction open, so that no page of the latest snapshot is used again. One that is not
 * whole is told now and then.
 *
 * Errors:    ERR_CORRUPT, ERR_VERSION, ERR_NOMEM, ERR_IO.
 */
int structure_check_runs(int fd, const char *directory, const struct pages_range *range,
    struct log_repeat *repeat);

#endif
