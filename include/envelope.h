/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON that wraps a message on its way to Kafka. The writer is our own, because
 * it runs for each record; tests and a fuzz target hold it to jansson.
 *
 * Text that is not UTF-8 (or is what UTF-8 forbids) has each offending byte replaced
 * by U+FFFD: the result is valid JSON whatever comes in.
 */
#ifndef ENVELOPE_H
#define ENVELOPE_H

#include "buffer.h"
#include "record.h"

/* What an envelope says beside the record. All borrowed. */
struct envelope_context {
	const char *gateway_id;   /* tbmqIeNode */
	const char *mqtt_host;    /* tbmqNode */
	const char *route;        /* metadata.integrationName */
	const char *journal_uuid; /* text form */
	uint64_t seq;
};

/*
 * Append the envelope "tbmq": the fields of ThingsBoard TBMQ's Kafka integration in
 * its order (payload in base64, clientId from the user property "client-id"; of
 * repeated user properties the last), then journal and seq.
 *
 * Errors:    ERR_NOMEM, out is as before.
 */
int envelope_tbmq(
    const struct record *r, const struct envelope_context *c, struct buffer *out);

#endif
