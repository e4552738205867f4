/* SPDX-License-Identifier: Apache-2.0 */
#include "journal_private.h"

#include "err.h"

/* STUBS: O */
int
journal_order_give(struct journal *j, struct journal_order *o)
{
	(void)j, (void)o;
	return ERR_INVALID;
}

int
journal_order_next(struct journal *j, uint64_t after, struct journal_order *o)
{
	(void)j, (void)after, (void)o;
	return ERR_NOTFOUND;
}

int
journal_order_end(struct journal *j, const struct journal_order *o)
{
	(void)j, (void)o;
	return ERR_INVALID;
}

int
journal_order_forget(struct journal *j, uint64_t number)
{
	(void)j, (void)number;
	return ERR_INVALID;
}
