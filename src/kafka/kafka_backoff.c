/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Back-off between connects, for each address.
 *
 * Invariant: an address that is tried again before a broker has answered waits longer
 * each time, up to last_ms, and never longer than that. Threads of librdkafka run
 * kafka_backoff_connect() and on_response(); all that they touch is behind the lock, or
 * atomic.
 *
 * Failure modes: more addresses than places: those that wait least are forgotten, and
 * tried too soon.
 */
#include "kafka_backoff.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "now.h"

#define NAME "tidegate-backoff"

/* Kafka's numbers of the requests by which a connection is made. */
#define SASL_HANDSHAKE    17
#define API_VERSIONS      18
#define SASL_AUTHENTICATE 36

void
kafka_backoff_init(struct kafka_backoff *b, int64_t first_ms, int64_t last_ms)
{
	*b = (struct kafka_backoff){.first_ms = first_ms, .last_ms = last_ms};
	(void)pthread_mutex_init(&b->lock, NULL); /* cannot fail with glibc or musl */
}

void
kafka_backoff_fini(struct kafka_backoff *b)
{
	(void)pthread_mutex_destroy(&b->lock);
}

/* FNV-1a; never 0. Two addresses of one hash would share their back-off. */
static uint64_t
hash(const void *data, size_t size)
{
	const unsigned char *bytes = data;
	uint64_t h = 0xcbf29ce484222325U;

	for (size_t i = 0; i < size; i++)
		h = (h ^ bytes[i]) * 0x100000001b3U;
	return h | 1;
}

/* The place of an address, or the one that it may have. */
static size_t
find(const struct kafka_backoff *b, uint64_t address)
{
	size_t least = 0;

	for (size_t i = 0; i < KAFKA_BACKOFF_PLACES; i++) {
		if (b->places[i].address == address)
			return i;
		if (b->places[i].next_ms < b->places[least].next_ms)
			least = i;
	}
	return least;
}

/* From three quarters to one and a half, as librdkafka does: not all at once. */
static int64_t
with_jitter(int64_t ms)
{
	uint32_t random = 0;

	/* Without it there is no jitter, which is all right. */
	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
		return ms;
	return ms * 3 / 4 + ms * (int64_t)(random % 1024) * 3 / 4096;
}

static bool
admit(struct kafka_backoff *b, uint64_t address, int64_t now_ms)
{
	size_t i = find(b, address);
	int64_t wait_ms = b->first_ms, jittered_ms;

	if (b->places[i].address == address) {
		if (now_ms < b->places[i].next_ms)
			return false;
		wait_ms = 2 * b->places[i].wait_ms;
	}
	if (wait_ms > b->last_ms)
		wait_ms = b->last_ms;
	jittered_ms = with_jitter(wait_ms);
	b->places[i].address = address;
	b->places[i].wait_ms = wait_ms;
	b->places[i].next_ms =
	    now_ms + (jittered_ms < b->last_ms ? jittered_ms : b->last_ms);
	return true;
}

bool
kafka_backoff_admit(
    struct kafka_backoff *b, const void *address, size_t size, int64_t now_ms)
{
	bool is_admitted;

	if (b->first_ms == 0)
		return true;
	(void)pthread_mutex_lock(&b->lock);
	if (atomic_exchange(&b->is_well, false))
		memset(b->places, 0, sizeof(b->places));
	is_admitted = admit(b, hash(address, size), now_ms);
	(void)pthread_mutex_unlock(&b->lock);
	return is_admitted;
}

void
kafka_backoff_end(struct kafka_backoff *b)
{
	atomic_store_explicit(&b->is_well, true, memory_order_relaxed);
}

int
kafka_backoff_connect(
    struct kafka_backoff *b, int fd, const struct sockaddr *address, int size)
{
	if (!kafka_backoff_admit(b, address, (size_t)size, now_monotonic_ms()))
		return ECANCELED;
	if (connect(fd, address, (socklen_t)size) == 0 || errno == EINPROGRESS)
		return 0;
	return errno;
}

bool
kafka_backoff_is_cause(const char *reason)
{
	return strstr(reason, strerror(ECANCELED)) != NULL;
}

/* ---- librdkafka ---- */

/* What comes before a connection is of use may well be answered, again and again. */
static rd_kafka_resp_err_t
on_response(rd_kafka_t *rk, int fd, const char *broker, int32_t broker_id, int16_t key,
    int16_t version, int32_t number, size_t size, int64_t round_trip_us,
    rd_kafka_resp_err_t err, void *opaque)
{
	(void)rk;
	(void)fd;
	(void)broker;
	(void)broker_id;
	(void)version;
	(void)number;
	(void)size;
	(void)round_trip_us;
	if (err == RD_KAFKA_RESP_ERR_NO_ERROR && key >= 0 && key != SASL_HANDSHAKE &&
	    key != API_VERSIONS && key != SASL_AUTHENTICATE)
		kafka_backoff_end(opaque);
	return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* Within rd_kafka_new(). */
static rd_kafka_resp_err_t
on_new(rd_kafka_t *rk, const rd_kafka_conf_t *conf, void *opaque, char *why,
    size_t why_size)
{
	(void)conf;
	(void)why;
	(void)why_size;
	return rd_kafka_interceptor_add_on_response_received(
	    rk, NAME, on_response, opaque);
}

static int64_t
number_of(const rd_kafka_conf_t *conf, const char *name)
{
	char text[24] = "";
	size_t size = sizeof(text);

	/* librdkafka has it, and it is a number. */
	(void)rd_kafka_conf_get(conf, name, text, &size);
	return strtoll(text, NULL, 10);
}

void
kafka_backoff_use(struct kafka_backoff *b, rd_kafka_conf_t *conf)
{
	kafka_backoff_init(b, number_of(conf, "reconnect.backoff.ms"),
	    number_of(conf, "reconnect.backoff.max.ms"));
	/* Fails only where it is there already. */
	(void)rd_kafka_conf_interceptor_add_on_new(conf, NAME, on_new, b);
}
