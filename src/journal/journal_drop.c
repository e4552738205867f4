/* SPDX-License-Identifier: Apache-2.0 */
#include "journal_private.h"

#include "err.h"

/* STUB: D */
int
journal_drop_oldest(struct journal *j, const struct journal_range keep[],
    size_t keep_count, uint64_t bytes, struct journal_dropped *dropped)
{
	(void)j, (void)keep, (void)keep_count, (void)bytes, (void)dropped;
	return ERR_INVALID;
}
