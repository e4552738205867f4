/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Name resolution for librdkafka that nobody has to wait for: a name server that does
 * not answer holds a thread of librdkafka in getaddrinfo(3) for ten seconds and more,
 * and rd_kafka_destroy() waits for its threads. So those in there are counted.
 */
#ifndef KAFKA_RESOLVER_H
#define KAFKA_RESOLVER_H

#include <librdkafka/rdkafka.h>

#include <stdatomic.h>
#include <stdbool.h>

/* Zero-initialised is valid. */
struct kafka_resolver {
	atomic_bool is_closed;
	atomic_int busy; /* threads within getaddrinfo(3) */
};

/* The opaque of conf has to point to a struct that begins with a kafka_resolver. */
void kafka_resolver_use(rd_kafka_conf_t *conf);

/* Is a thread in there? */
bool kafka_resolver_is_busy(const struct kafka_resolver *r);

/* From now on nothing is resolved. True: nobody is in there, and nobody will be. */
bool kafka_resolver_close(struct kafka_resolver *r);

#endif
