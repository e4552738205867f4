/* SPDX-License-Identifier: Apache-2.0 */
/* Make the Nth call of a wrapped function fail. See tests/faults/. */
#ifndef TESTS_FAULT_H
#define TESTS_FAULT_H

#include <stdbool.h>

struct fault {
	int countdown; /* calls left before the failing one; < 0: never fail */
	bool hit;      /* did it fire? */
};

/* True when this call is the one to fail. */
bool fault_now(struct fault *f);

/* Arm f so that call number nth (1, 2, ...) from here on fails. */
void fault_arm(struct fault *f, int nth);

#endif
