/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How soon a broker's address may be tried again. librdkafka waits between two connects
 * (reconnect.backoff.ms, doubled each time up to reconnect.backoff.max.ms), but passes
 * over that while no broker is up: some three connects a second were seen with 2.0.2 as
 * long as an outage lasts, each with a whole handshake where it is TLS that fails. On a
 * metered link that is half a gigabyte a day. So what it promises is kept here.
 */
#ifndef KAFKA_BACKOFF_H
#define KAFKA_BACKOFF_H

#include <librdkafka/rdkafka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KAFKA_BACKOFF_PLACES 64

struct kafka_backoff {
	pthread_mutex_t lock;
	int64_t first_ms, last_ms; /* 0: no back-off */
	atomic_bool is_well;       /* a broker has answered since the latest connect */
	struct {
		uint64_t address; /* its hash; 0: free */
		int64_t wait_ms;
		int64_t next_ms;
	} places[KAFKA_BACKOFF_PLACES];
};

void kafka_backoff_init(struct kafka_backoff *b, int64_t first_ms, int64_t last_ms);
void kafka_backoff_fini(struct kafka_backoff *b);

/* The same with what conf says, for the producer that is made of it; b outlives that. */
void kafka_backoff_use(struct kafka_backoff *b, rd_kafka_conf_t *conf);

/* May this address be connected to now? Then it may not for a while, see below. */
bool kafka_backoff_admit(
    struct kafka_backoff *b, const void *address, size_t size, int64_t now_ms);

/* A broker answers: from now on each address may be tried at once. */
void kafka_backoff_end(struct kafka_backoff *b);

/*
 * connect(2) for librdkafka's connect_cb.
 *
 * Returns 0 (done, or in progress), or an errno: ECANCELED where it is too early.
 */
int kafka_backoff_connect(
    struct kafka_backoff *b, int fd, const struct sockaddr *address, int size);

/* Does librdkafka only say that it was too early? */
bool kafka_backoff_is_cause(const char *reason);

#endif
