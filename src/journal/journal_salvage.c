/* SPDX-License-Identifier: Apache-2.0 */
#include "journal_private.h"

#include "err.h"

/* STUB: S */
int
journal_salvage(const char *directory, const char *into, struct journal_salvaged *out)
{
	(void)directory, (void)into, (void)out;
	return ERR_INVALID;
}
