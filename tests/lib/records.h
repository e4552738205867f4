/* SPDX-License-Identifier: Apache-2.0 */
/* Records for tests: plain, full, random by seed; and are two of them equal? */
#ifndef TESTS_RECORDS_H
#define TESTS_RECORDS_H

#include <stdint.h>

#include "record.h"

/* A literal as bytes, zeros in it too: for an initialiser, and as a value. */
#define FIXED(text)                      \
	{                                \
		(text), sizeof(text) - 1 \
	}
#define BYTES(text) ((struct bytes)FIXED(text))

/* QoS 1, no properties. Ownership: topic and payload are borrowed. */
void records_plain(struct record *r, const char *topic, const char *payload);

/* Every field and property set, awkward bytes among them. Static memory. */
void records_full(struct record *r);

/* A seed for random tests: printed, and taken from TIDEGATE_TEST_SEED if it is set. */
uint64_t records_seed(void);

/* The next random number; *state is a seed, and is moved on. */
uint64_t records_random_number(uint64_t *state);

/*
 * A record that depends on *seed alone; *seed is moved on. Valid until the next call.
 */
void records_random(uint64_t *seed, struct record *r);

/* Fail the cmocka test unless all fields are equal. */
void records_assert_equal(const struct record *a, const struct record *b);

#endif
