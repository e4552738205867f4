/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What wraps a message on its way to Kafka: TBMQ's JSON, or a CloudEvent. The writer of
 * JSON is our own, because it runs for each record; tests and a fuzz target hold it to
 * jansson.
 *
 * Text that is not UTF-8 (or is what UTF-8 forbids) has each offending byte replaced
 * by U+FFFD: the result is valid JSON whatever comes in.
 */
#ifndef ENVELOPE_H
#define ENVELOPE_H

#include <stdbool.h>
#include <stdint.h>

#include "buffer.h"
#include "record.h"
#include "settings.h"

struct envelope_pair {
	const char *name;
	struct bytes value;
};

/* What an envelope says beside the record. All borrowed. */
struct envelope_context {
	const char *gateway_id;   /* tbmqIeNode */
	const char *mqtt_host;    /* tbmqNode */
	const char *route;        /* metadata.integrationName */
	const char *journal_uuid; /* text form */
	uint64_t seq;
	struct bytes client_id; /* data NULL: empty */
	struct bytes key;       /* Kafka's; data NULL: none. For CloudEvents alone */
	const struct envelope_pair *metadata;
	size_t metadata_count;
	/* As what the payload is written. TEXT only where it is UTF-8, JSON only where it
	 * is valid JSON: the caller has looked, and says BASE64 where it is not. */
	enum settings_payload_format payload_format;
	/* Is the format to be named in the envelope (any but the default was asked for)? */
	bool names_format;
};

/*
 * Append the envelope "tbmq": the fields of ThingsBoard TBMQ's Kafka integration in
 * its order (of repeated user properties the last; metadata in the order of the context,
 * then integrationName: TBMQ keeps them in a hash map, so any order is its order), then
 * journal and seq, then payloadFormat ("base64", "text" or "json") where it is to be
 * named.
 *
 * Errors:    ERR_NOMEM, out is as before.
 */
int envelope_tbmq(
    const struct record *r, const struct envelope_context *c, struct buffer *out);

/* The type of every event: the publishers' own types are not known. */
#define ENVELOPE_EVENT_TYPE "tidegate.mqtt.message"

/* What says in Kafka that a value is a structured event. */
#define ENVELOPE_EVENT_CONTENT_TYPE "application/cloudevents+json; charset=UTF-8"

/* An attribute of a CloudEvent, in the form that all its bindings share. */
struct envelope_attribute {
	const char *name;
	struct bytes value; /* UTF-8 without control characters */
	bool is_bare;       /* a number, true or false: no quotes in JSON */
};

/*
 * All attributes of one event but datacontenttype, which the bindings treat apart.
 * Zero-initialised is valid and empty; release with envelope_attributes_fini().
 */
struct envelope_attributes {
	struct envelope_attribute *list;
	size_t count;
	struct bytes content_type; /* data NULL: not known */
	size_t capacity;
	struct buffer made;    /* id, source, time */
	struct buffer cleaned; /* what had characters that are not allowed */
};

/*
 * The attributes of the CloudEvent 1.0 that a message is:
 *
 *   specversion  "1.0"
 *   id           JOURNAL-UUID/SEQ: with source the same for every delivery of the message
 *   source       /tidegate/GATEWAY-ID
 *   type         ENVELOPE_EVENT_TYPE
 *   time         arrival, RFC 3339 with milliseconds (left out beyond the year 9999)
 *   subject      the MQTT topic
 *   mqttqos mqttretain route
 *   clientid partitionkey (the Kafka key)      where they are not empty
 *   then the metadata, as extension attributes: names of a-z and 0-9 alone
 *
 * and content_type: the message's own where it is a media type, else what the payload
 * was found to be (application/json, text/plain), else not known. A character that
 * CloudEvents do not allow is replaced by U+FFFD.
 *
 * Ownership: out borrows from r, c, and itself: valid until any of them changes.
 * Errors:    ERR_NOMEM.
 */
int envelope_attributes_make(const struct record *r, const struct envelope_context *c,
    struct envelope_attributes *out);
void envelope_attributes_fini(struct envelope_attributes *a);

/*
 * Append a CloudEvent 1.0 in its JSON format: the attributes a of r and c, then the
 * payload as data or data_base64. With a content type that is not JSON the payload must
 * not be said to be JSON, nor to be TEXT with one that is: the format forbids both.
 *
 * Errors:    ERR_NOMEM, out is as before.
 */
int envelope_cloudevent(const struct record *r, const struct envelope_context *c,
    const struct envelope_attributes *a, struct buffer *out);

/* The message's content type where it is a media type (RFC 2046); else data is NULL. */
struct bytes envelope_content_type(const struct record *r);

/* Does a media type say JSON: any of "TYPE/json" and "TYPE/SUBTYPE+json"? */
bool envelope_is_json_type(struct bytes content_type);

#endif
