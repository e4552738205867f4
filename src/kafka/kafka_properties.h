/* SPDX-License-Identifier: Apache-2.0 */
/* What Tidegate asks of librdkafka, and which names of kafka.properties it refuses. */
#ifndef KAFKA_PROPERTIES_H
#define KAFKA_PROPERTIES_H

#include "settings.h"

/*
 * The size of a record: Kafka is to judge it, by its own limits. This one is below what
 * it takes for a request at all (socket.request.max.bytes, 100 MiB): on a larger one it
 * hangs up, which looks like an outage, and would be tried again for ever.
 */
#define KAFKA_MESSAGE_MAX_BYTES "100000000"

/*
 * Hand the properties that Tidegate itself wants to set(), one by one, in librdkafka's
 * words. Stops at the first that set() does not answer with 0, and returns that.
 */
typedef int kafka_property_set(void *context, const char *name, const char *value);
int kafka_properties_own(
    const struct settings *s, kafka_property_set *set, void *context);

/* With acks = 0 or 1 a producer cannot be idempotent, and promises less. */
bool kafka_is_idempotent(const struct settings *s);

/* The reason, for people; NULL: the name is for librdkafka to judge. Static. */
const char *kafka_property_refused(const char *name);

/* What to write instead of a name that is Java's; NULL: not one of those. Static. */
const char *kafka_property_hint(const char *name);

#endif
