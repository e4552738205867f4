/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A record: one MQTT message as it was received, with every MQTT 5 property, and
 * its form on disk.
 *
 * On disk a record is a MessagePack map with small integer keys; a key that is
 * not known is skipped, so that fields can be added:
 *
 *   key  type   field                    left out when
 *   0    uint   received_ms              never
 *   1    bin    topic                    never
 *   2    bin    payload                  never
 *   3    uint   qos                      0
 *   4    true   retain                   false
 *   5    uint   payload format indicator absent    (MQTT 5, 3.3.2.3.2)
 *   6    uint   message expiry, seconds  absent    (3.3.2.3.3)
 *   7    bin    content type             absent    (3.3.2.3.9)
 *   8    bin    response topic           absent    (3.3.2.3.5)
 *   9    bin    correlation data         absent    (3.3.2.3.6)
 *   10   array  user properties: name, value, name, value ... all bin, in the
 *               order of the message, repeats kept  none (3.3.2.3.7)
 *   11   uint   subscription identifier  absent    (3.3.2.3.8)
 *   12   bin    route: for this one alone  absent  (a requeued dead letter)
 *   13   uint   sequence it had first    absent    (likewise)
 *
 * Text is kept as bin: nothing promises that it is UTF-8.
 */
#ifndef RECORD_H
#define RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buffer.h"

struct user_property {
	struct bytes name;
	struct bytes value;
};

/* Everything in it is borrowed. A struct bytes with data NULL is absent. */
struct record {
	uint64_t received_ms; /* real time at arrival, ms since the epoch */
	struct bytes topic;
	struct bytes payload; /* data is not NULL, also when empty */
	uint8_t qos;
	bool retain;
	bool has_payload_format;
	uint8_t payload_format;
	bool has_message_expiry;
	uint32_t message_expiry_s;
	uint32_t subscription_id; /* 0: absent; MQTT 5 does not allow the value 0 */
	struct bytes content_type;
	struct bytes response_topic;
	struct bytes correlation_data;
	const struct user_property *user_properties;
	size_t user_property_count;
	struct bytes route;     /* a requeued dead letter: for this route alone */
	uint64_t requeued_from; /* likewise: the sequence it had first; 0: none */
};

/*
 * Append the stored form of r to out.
 *
 * Errors:    ERR_NOMEM, out is as before.
 */
int record_encode(const struct record *r, struct buffer *out);

/* Memory for decoding; see record_decode(). */
struct record_decoder;

int record_decoder_open(struct record_decoder **out);
void record_decoder_close(struct record_decoder *d);

/* End the life of every record that d has decoded; the memory is used again. */
void record_decoder_reset(struct record_decoder *d);

/*
 * Decode the record at data + *offset and move *offset behind it.
 *
 * Ownership: r points into data and, for user_properties, into d: valid until
 *            data changes or record_decoder_reset().
 * Errors:    ERR_CORRUPT not a record, or it ends beyond size; ERR_NOMEM.
 *            *offset and *r are as before.
 */
int record_decode(struct record_decoder *d, const void *data, size_t size,
    size_t *offset, struct record *r);

/*
 * A dead letter: a record that was taken out of the stream, and why. On disk a
 * MessagePack map: 0 buried_ms (uint), 1 reason (str), 2 detail (str), 3 the
 * stored form of the record (bin).
 */
struct dead_letter {
	uint64_t buried_ms;
	const char *reason;  /* one of a few fixed words: DEAD_*; NUL-terminated */
	struct bytes detail; /* for people: what Kafka said */
	struct bytes record; /* stored form, for record_decode() */
};

#define DEAD_TOO_LARGE "too large"
#define DEAD_REFUSED   "refused"
#define DEAD_NO_ROUTE  "no route"
#define DEAD_BAD_TOPIC "bad topic" /* what the route's template made of it */
#define DEAD_SKIPPED   "skipped"   /* an operator asked for it */

/* Append the stored form to out. Errors: ERR_NOMEM, out is as before. */
int dead_letter_encode(const struct dead_letter *letter, struct buffer *out);

/* As record_decode(), for a whole stored dead letter. reason is copied into d. */
int dead_letter_decode(struct record_decoder *d, const void *data, size_t size,
    struct dead_letter *letter);

#endif
