/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The properties of the producer, and the judgement on those of the user. librdkafka
 * knows which names there are and what their values may be; this knows which of them
 * would break a promise (nothing lost, order kept), belong to a setting of our own, or
 * are meant for Java.
 */
#include "kafka_properties.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

struct entry {
	const char *name; /* ends with "*": every name that begins so */
	const char *why;
};

#define LOSES     "a timer must never decide that a record is lost; Tidegate sets it to 0"
#define PROMISES  "Tidegate sets it: order and completeness depend on it"
#define SAY(key)  "write " key " instead"
#define NO_RETRY  "a record is tried for as long as it takes"
#define REPORTS   "without every delivery report nothing could leave the journal"
#define PARTITION "Tidegate places keys as Java's producer does (murmur2_random)"
#define INTERNAL  "Tidegate needs it for itself"
#define OLD       "the protocol of an old broker knows neither headers nor what keeps order"

static const struct entry refused[] = {
    {"message.timeout.ms", LOSES},
    {"delivery.timeout.ms", LOSES},
    {"enable.idempotence", PROMISES},
    {"enable.gapless.guarantee", PROMISES},
    {"queuing.strategy", PROMISES},
    {"max.in.flight", PROMISES},
    {"max.in.flight.requests.per.connection", PROMISES},
    {"acks", SAY("kafka.acks")},
    {"request.required.acks", SAY("kafka.acks")},
    {"retries", NO_RETRY},
    {"message.send.max.retries", NO_RETRY},
    {"transactional.id", SAY("kafka.transactional_id")},
    {"transaction.timeout.ms", INTERNAL},
    {"bootstrap.servers", SAY("kafka.bootstrap_servers")},
    {"metadata.broker.list", SAY("kafka.bootstrap_servers")},
    {"client.id", SAY("kafka.client_id_prefix")},
    {"compression.codec", SAY("kafka.compression")},
    {"compression.type", SAY("kafka.compression")},
    {"linger.ms", SAY("kafka.linger_ms")},
    {"queue.buffering.max.ms", SAY("kafka.linger_ms")},
    {"batch.size", SAY("kafka.batch_size_bytes")},
    {"queue.buffering.max.messages", SAY("kafka.buffer_max_bytes")},
    {"queue.buffering.max.kbytes", SAY("kafka.buffer_max_bytes")},
    {"queue.buffering.backpressure.threshold", INTERNAL},
    {"partitioner", PARTITION},
    {"sticky.partitioning.linger.ms", PARTITION},
    {"delivery.report.only.error", REPORTS},
    {"dr_*", REPORTS},
    {"enabled_events", INTERNAL},
    {"statistics.interval.ms", "nobody would read them; see monitor.listen"},
    {"log.queue", INTERNAL},
    {"log_level", SAY("log.level")},
    {"internal.termination.signal", INTERNAL},
    {"topic.blacklist", "what is meant for such a topic would wait for ever"},
    {"api.version.request", OLD},
    {"api.version.fallback.ms", OLD},
    {"broker.version.fallback", OLD},
    {"interceptors", "Tidegate loads no foreign code"},
    {"plugin.library.paths", "Tidegate loads no foreign code"},
    {"test.mock.*", "it would send everything to a Kafka that does not exist"},
};

static const struct entry java[] = {
    {"sasl.jaas.config", "that is Java's; write sasl.username and sasl.password"},
    {"sasl.login.callback.handler.class",
	"that is Java's; see sasl.oauthbearer.method"},
    {"sasl.client.callback.handler.class", "that is Java's"},
    {"ssl.truststore.certificates", "that is Java's; write ssl.ca.pem"},
    {"ssl.truststore.*", "that is Java's; write ssl.ca.location, a PEM file"},
    {"ssl.keystore.type", "that is Java's; ssl.keystore.location is PKCS#12, "
			  "ssl.certificate.location and ssl.key.location are PEM"},
    {"ssl.keystore.key", "that is Java's; write ssl.key.pem"},
    {"ssl.keystore.certificate.chain", "that is Java's; write ssl.certificate.pem"},
    {"buffer.memory", "that is Java's; write kafka.buffer_max_bytes"},
    {"max.request.size", "that is Java's; write message.max.bytes"},
    {"max.block.ms", "that is Java's; Tidegate waits for as long as it takes"},
    {"key.serializer", "that is Java's; the routes say what the key is"},
    {"value.serializer", "that is Java's; the routes say what the value is"},
    {"partitioner.*", "that is Java's; " PARTITION},
    {"interceptor.classes", "that is Java's; Tidegate loads no foreign code"},
    {"metric*", "that is Java's"},
    {"send.buffer.bytes", "that is Java's; write socket.send.buffer.bytes"},
    {"receive.buffer.bytes", "that is Java's; write socket.receive.buffer.bytes"},
};

static const char *
find(const struct entry *list, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++) {
		size_t length = strlen(list[i].name);

		if (list[i].name[length - 1] == '*') {
			if (strncmp(list[i].name, name, length - 1) == 0)
				return list[i].why;
		} else if (strcmp(list[i].name, name) == 0) {
			return list[i].why;
		}
	}
	return NULL;
}

const char *
kafka_property_refused(const char *name)
{
	return find(refused, sizeof(refused) / sizeof(refused[0]), name);
}

const char *
kafka_property_hint(const char *name)
{
	return find(java, sizeof(java) / sizeof(java[0]), name);
}

bool
kafka_is_idempotent(const struct settings *s)
{
	return strcmp(s->kafka.acks, "all") == 0 || strcmp(s->kafka.acks, "-1") == 0;
}

/* For what librdkafka may hold; the bound is the forwarder's, never this. */
static uint64_t
queue_kbytes(uint64_t buffer_max_bytes)
{
	uint64_t kbytes = buffer_max_bytes / 1024 * 4;

	if (kbytes < 1048576)
		return 1048576;
	return kbytes > INT32_MAX ? INT32_MAX : kbytes;
}

int
kafka_properties_own(const struct settings *s, kafka_property_set *set, void *context)
{
	const struct settings_kafka *k = &s->kafka;
	bool is_idempotent = kafka_is_idempotent(s);
	char client_id[256], kbytes[24], batch[24], linger[24];
	const char *const list[][2] = {
	    {"bootstrap.servers", k->bootstrap_servers},
	    {"client.id", client_id},
	    {"acks", k->acks},
	    {"enable.idempotence", is_idempotent ? "true" : "false"},
	    {"enable.gapless.guarantee", is_idempotent ? "true" : "false"},
	    {"max.in.flight", is_idempotent ? "5" : "1"},
	    {"message.timeout.ms", "0"},
	    {"compression.codec", k->compression},
	    {"message.max.bytes", KAFKA_MESSAGE_MAX_BYTES},
	    {"queue.buffering.max.messages", "0"},
	    {"queue.buffering.max.kbytes", kbytes},
	    {"sticky.partitioning.linger.ms", "0"},
	    {"socket.keepalive.enable", "true"},
	    /* With 1 s each try to connect would ask the name server. */
	    {"broker.address.ttl", "60000"},
	    /*
	     * Its default otherwise is three times topic.metadata.refresh.interval.ms,
	     * which overflows from 12 minutes on (2.0.2): a request each second.
	     */
	    {"metadata.max.age.ms", "900000"},
	    {"log.queue", "true"},
	    {"batch.size", k->batch_size_bytes < 0 ? NULL : batch},
	    {"linger.ms", k->linger_ms < 0 ? NULL : linger},
	};

	snprintf(
	    client_id, sizeof(client_id), "%s-%s", k->client_id_prefix, s->gateway_id);
	snprintf(kbytes, sizeof(kbytes), "%" PRIu64, queue_kbytes(k->buffer_max_bytes));
	snprintf(batch, sizeof(batch), "%" PRId64, k->batch_size_bytes);
	snprintf(linger, sizeof(linger), "%" PRId64, k->linger_ms);
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		int rc = list[i][1] == NULL ? 0 : set(context, list[i][0], list[i][1]);

		if (rc != 0)
			return rc;
	}
	return 0;
}
