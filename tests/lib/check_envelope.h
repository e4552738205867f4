/* SPDX-License-Identifier: Apache-2.0 */
/* Holds what wraps a message to jansson; for the unit tests and the fuzz target. */
#ifndef TESTS_CHECK_ENVELOPE_H
#define TESTS_CHECK_ENVELOPE_H

#include "envelope.h"

/* NULL if all is well, else what is wrong (static). */

/* Is text exactly the envelope "tbmq" of r, in fields, order and values? */
const char *check_envelope(
    const struct record *r, const struct envelope_context *c, struct bytes text);

/* Is it exactly the CloudEvent? */
const char *check_cloudevent(
    const struct record *r, const struct envelope_context *c, struct bytes text);

/* Are these exactly its attributes? */
const char *check_attributes(const struct record *r, const struct envelope_context *c,
    const struct envelope_attributes *a);

/* May the payload be written like this: is it JSON, or text that a string can hold? */
bool check_payload_is(struct bytes payload, enum settings_payload_format format);

/* Is it a media type that says JSON? */
bool check_is_json_type(struct bytes content_type);

#endif
