/* SPDX-License-Identifier: Apache-2.0 */
/* Holds the envelope writer to jansson; for the unit test and the fuzz target. */
#ifndef TESTS_CHECK_ENVELOPE_H
#define TESTS_CHECK_ENVELOPE_H

#include "envelope.h"

/*
 * Is text exactly the envelope "tbmq" of r, in fields, order and values? NULL if so,
 * else what is wrong (static).
 */
const char *check_envelope(
    const struct record *r, const struct envelope_context *c, struct bytes text);

#endif
