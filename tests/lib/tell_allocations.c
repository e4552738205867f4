/* SPDX-License-Identifier: Apache-2.0 */
/* A program with this says on stderr at its end how often it has allocated. */
#include <stdio.h>

#include "allocations.h"

__attribute__((destructor)) static void
tell(void)
{
	fprintf(stderr, "allocations: %u\n", allocations);
}
