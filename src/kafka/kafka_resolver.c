/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counted name resolution. In threads of librdkafka only resolve() runs; it touches
 * nothing but atomics.
 */
#include "kafka_resolver.h"

#include <netdb.h>

static int
resolve(const char *node, const char *service, const struct addrinfo *hints,
    struct addrinfo **res, void *opaque)
{
	struct kafka_resolver *r = opaque;
	int rc = EAI_AGAIN;

	if (node == NULL && service == NULL) {
		freeaddrinfo(*res);
		return 0;
	}
	atomic_fetch_add(&r->busy, 1);
	if (!atomic_load(&r->is_closed))
		rc = getaddrinfo(node, service, hints, res);
	atomic_fetch_sub(&r->busy, 1);
	return rc;
}

void
kafka_resolver_use(rd_kafka_conf_t *conf)
{
	rd_kafka_conf_set_resolve_cb(conf, resolve);
}

bool
kafka_resolver_is_busy(const struct kafka_resolver *r)
{
	return atomic_load(&r->busy) > 0;
}

bool
kafka_resolver_close(struct kafka_resolver *r)
{
	atomic_store(&r->is_closed, true);
	return atomic_load(&r->busy) == 0;
}
