/* SPDX-License-Identifier: Apache-2.0 */
#include "journal_private.h"

#include "err.h"

/* STUBS: S */
int
journal_backup(const char *directory, const char *file)
{
	(void)directory, (void)file;
	return ERR_INVALID;
}

int
journal_compact(const char *directory, uint64_t *before, uint64_t *after)
{
	(void)directory, (void)before, (void)after;
	return ERR_INVALID;
}
