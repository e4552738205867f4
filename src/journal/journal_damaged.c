/* SPDX-License-Identifier: Apache-2.0 */
#include "journal_private.h"

#include "err.h"

/* STUB: S */
int
journal_quarantine(struct journal *j, const struct journal_range *range)
{
	(void)j, (void)range;
	return ERR_INVALID;
}
