/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an MQTT 5 PUBLISH says beside topic and payload, from libmosquitto's properties
 * into a record.
 */
#ifndef MQTT_MESSAGE_H
#define MQTT_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#include "buffer.h"
#include "record.h"

struct mqtt5__property;

/* Zero-initialised is valid; used for one message after another. */
struct message_parts {
	struct buffer user;  /* struct user_property */
	struct buffer ids;   /* uint32_t, the subscription identifiers */
	struct buffer owned; /* void *: what the library allocated for us */
};

/*
 * Read the properties of one message. What r then points to is valid until
 * message_release().
 *
 * Errors:    ERR_NOMEM.
 */
int message_read(
    struct message_parts *p, const struct mqtt5__property *list, struct record *r);

const uint32_t *message_ids(const struct message_parts *p, size_t *count);

void message_release(struct message_parts *p);
void message_fini(struct message_parts *p);

#endif
