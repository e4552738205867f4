/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copying out of a mapped file. Where the disk does not give a page, or the file has
 * become shorter, the kernel sends SIGBUS: here that becomes an error.
 */
#ifndef GUARD_H
#define GUARD_H

#include "buffer.h"

/*
 * Replace what out holds.
 *
 * Errors:    ERR_IO (a page cannot be read), ERR_NOMEM.
 */
int guard_copy(struct buffer *out, struct bytes value);

#endif
