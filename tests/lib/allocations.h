/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How often the code that is linked with --wrap for what allocates has asked for memory,
 * in any thread. What libraries ask for does not count.
 */
#ifndef TESTS_ALLOCATIONS_H
#define TESTS_ALLOCATIONS_H

#include <stdatomic.h>

extern atomic_uint allocations;

#endif
