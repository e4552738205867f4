/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of options that are not ours, and what was meant by them: typing errors, other
 * programs' names, librdkafka's.
 */
#include <string.h>

#include "settings_parts.h"

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

/* Edits that make one name of the other: letters put in, left out, replaced. */
static size_t
distance(const char *a, const char *b)
{
	size_t row[32];
	size_t length = strlen(b);

	if (length >= COUNT(row))
		return SIZE_MAX;
	for (size_t k = 0; k <= length; k++)
		row[k] = k;
	for (size_t i = 1; a[i - 1] != '\0'; i++) {
		size_t corner = row[0];

		row[0] = i;
		for (size_t k = 1; k <= length; k++) {
			size_t best = corner + (a[i - 1] != b[k - 1]);

			corner = row[k];
			if (row[k] + 1 < best)
				best = row[k] + 1;
			if (row[k - 1] + 1 < best)
				best = row[k - 1] + 1;
			row[k] = best;
		}
	}
	return row[length];
}

const char *
settings_name_other(const struct settings_option table[], const char *key)
{
	static const char *const names[][2] = {
	    {"gateway", "gateway_id"},
	    {"id", "gateway_id"},
	    {"user", "username"},
	    {"login", "username"},
	    {"pass", "password"},
	    {"hostname", "host"},
	    {"server", "host"},
	    {"broker", "host"},
	    {"address", "host"},
	    {"ssl", "tls"},
	    {"clean_session", "session_expiry_s"},
	    {"clean_start", "session_expiry_s"},
	    {"cafile", "ca_file"},
	    {"capath", "ca_path"},
	    {"ca", "ca_file"},
	    {"cert", "cert_file"},
	    {"certfile", "cert_file"},
	    {"key", "key_file"},
	    {"keyfile", "key_file"},
	    {"key", "name"},
	    {"path", "directory"},
	    {"dir", "directory"},
	    {"size", "max_bytes"},
	    {"max_size", "max_bytes"},
	    {"servers", "bootstrap_servers"},
	    {"server", "bootstrap_servers"},
	    {"bootstrap", "bootstrap_servers"},
	    {"brokers", "bootstrap_servers"},
	    {"broker", "bootstrap_servers"},
	    {"hosts", "bootstrap_servers"},
	    {"host", "bootstrap_servers"},
	    {"client_id", "client_id_prefix"},
	    {"batch_size", "batch_size_bytes"},
	    {"compression_type", "compression"},
	    {"filter", "topic_filters"},
	    {"filters", "topic_filters"},
	    {"topics", "topic_filters"},
	    {"mqtt_topic", "topic_filters"},
	    {"subscriptions", "topic_filters"},
	    {"kafka_topic", "topic"},
	    {"format", "payload_format"},
	};

	for (size_t i = 0; i < COUNT(names); i++) {
		if (strcmp(names[i][0], key) == 0 &&
		    settings_option_find(table, names[i][1]) != NULL)
			return names[i][1];
	}
	return NULL;
}

const char *
settings_name_nearest(const struct settings_option table[], const char *key)
{
	size_t nearest = strlen(key) / 3 + 2;
	const char *result = settings_name_other(table, key);

	if (result != NULL)
		return result;
	for (const struct settings_option *o = table; o->key != NULL; o++) {
		size_t edits = distance(key, o->key);

		if (edits < nearest) {
			nearest = edits;
			result = o->key;
		}
	}
	return result;
}

const char *
settings_name_of_tbmq(const char *key)
{
	static const char *const names[][2] = {
	    {"bootstrapServers", "kafka.bootstrap_servers"},
	    {"clientIdPrefix", "kafka.client_id_prefix"},
	    {"batchSize", "kafka.batch_size_bytes"},
	    {"linger", "kafka.linger_ms"},
	    {"bufferMemory", "kafka.buffer_max_bytes"},
	    {"otherProperties", "kafka.properties"},
	    {"sendOnlyMsgPayload", "send_only_payload in the route"},
	    {"topicFilters", "topic_filters in the route"},
	    {"kafkaHeaders", "headers in the route"},
	};

	for (size_t i = 0; i < COUNT(names); i++) {
		if (strcmp(names[i][0], key) == 0)
			return names[i][1];
	}
	return NULL;
}

bool
settings_name_is_security(const char *key)
{
	static const char *const starts[] = {"security", "sasl", "ssl", "tls"};

	for (size_t i = 0; i < COUNT(starts); i++) {
		if (strncmp(key, starts[i], strlen(starts[i])) == 0)
			return true;
	}
	return false;
}

const char *
settings_name_of_property(const char *name)
{
	/* Of the properties whose table in librdkafka says "Alias for". */
	static const char *const aliases[][2] = {
	    {"acks", "request.required.acks"},
	    {"bootstrap.servers", "metadata.broker.list"},
	    {"compression.type", "compression.codec"},
	    {"delivery.timeout.ms", "message.timeout.ms"},
	    {"linger.ms", "queue.buffering.max.ms"},
	    {"max.in.flight", "max.in.flight.requests.per.connection"},
	    {"max.partition.fetch.bytes", "fetch.message.max.bytes"},
	    {"retries", "message.send.max.retries"},
	    {"sasl.mechanism", "sasl.mechanisms"},
	};

	for (size_t i = 0; i < COUNT(aliases); i++) {
		if (strcmp(aliases[i][0], name) == 0)
			return aliases[i][1];
	}
	return name;
}
