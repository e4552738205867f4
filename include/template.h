/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Templates: text with values of the message in it, for a route's topic, key, headers
 * and metadata. Compiled once, rendered for each record.
 *
 *   ${topic}            the MQTT topic
 *   ${topic:2}          its second level, counted from 1
 *   ${topic:2-}         its second level and all behind it
 *   ${gateway_id} ${route} ${qos} ${retain} ${seq}   retain: "true" or "false"
 *   ${user:NAME}        the MQTT 5 user property of that name, of several the last
 *   ${content_type}     the MQTT 5 content type
 *   ${payload:/a/0/b}   what a JSON pointer (RFC 6901) finds in a payload that is JSON:
 *                       a string as it is, a number, true or false as written in JSON,
 *                       an object or array as compact JSON; null counts as missing
 *   ${...|TEXT}         TEXT in place of a value that is missing; without it nothing.
 *                       TEXT is taken as it stands and ends at the next "}"
 *   $$                  a dollar sign
 *
 * A value that is there and empty is not missing. A name may hold any character but
 * "|" and "}"; neither a name nor TEXT may hold "${".
 */
#ifndef TEMPLATE_H
#define TEMPLATE_H

#include <stdbool.h>
#include <stdint.h>

#include "buffer.h"
#include "payload_json.h"
#include "record.h"

struct template;

/* Where values come from. All borrowed. */
struct template_values {
	const struct record *record;
	uint64_t seq;
	const char *gateway_id;
	const char *route;
	struct payload_json *payload; /* begun with the record; see payload_json.h */
};

/*
 * Ownership: *out is the caller's; NULL on failure. text is borrowed for the call.
 * why:       out unless NULL, with ERR_INVALID: what is wrong, as words that go behind
 *            the text ('has a "${" without "}"'); static.
 * Errors:    ERR_INVALID (it cannot be parsed), ERR_NOMEM.
 */
int template_open(struct template **out, const char *text, const char **why);
void template_close(struct template *t);

/* Is it the same for every record? */
bool template_is_constant(const struct template *t);

/* Does it look into the payload? */
bool template_reads_payload(const struct template *t);

/*
 * Put the values in.
 *
 * Ownership: out borrows from values' record or from t: valid until either changes or
 *            the next template_render() of t. out->data is never NULL.
 * Errors:    ERR_NOMEM.
 */
int template_render(
    struct template *t, const struct template_values *values, struct bytes *out);

#endif
