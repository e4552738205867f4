/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIGBUS, caught only while a value is copied: by the thread that copies, which is told
 * apart by a variable of its own. Any other SIGBUS ends the process, as it did before.
 *
 * Failure modes: a page of LMDB's own tree that cannot be read is not met here: the
 * process dies, is started again, and the check when the journal is opened says why not.
 */
#include "guard.h"

#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "err.h"

static _Thread_local sigjmp_buf way_out;
static _Thread_local volatile sig_atomic_t is_copying;

static void
leave(int number)
{
	if (is_copying)
		siglongjmp(way_out, 1);
	(void)signal(number, SIG_DFL); /* it comes again at once, and ends us */
}

/* Whether it all came. */
static bool
copy(uint8_t *to, struct bytes value)
{
	if (sigsetjmp(way_out, 1) != 0) {
		is_copying = 0;
		return false;
	}
	is_copying = 1;
	atomic_signal_fence(memory_order_seq_cst); /* the copy stays in between */
	memcpy(to, value.data, value.size);
	atomic_signal_fence(memory_order_seq_cst);
	is_copying = 0;
	return true;
}

int
guard_copy(struct buffer *out, struct bytes value)
{
	struct sigaction action = {.sa_handler = leave}, before;
	bool is_guarded;
	int rc;

	buffer_clear(out);
	rc = buffer_reserve(out, value.size);
	if (rc != ERR_OK || value.size == 0)
		return rc;
	(void)sigemptyset(&action.sa_mask);
	is_guarded = sigaction(SIGBUS, &action, &before) == 0;
	if (copy(out->data, value))
		out->size = value.size;
	else
		rc = ERR_IO;
	if (is_guarded)
		(void)sigaction(SIGBUS, &before, NULL); /* it was in force before */
	return rc;
}
