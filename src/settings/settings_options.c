/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options: names, kinds, ranges and defaults, the one list of them, by which
 * settings begin and are freed. What is listed in etc/tidegate.conf is held to it by a
 * test.
 */
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "settings_parts.h"

#define KIB ((int64_t)1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

#if SIZE_MAX > UINT32_MAX
#define DEFAULT_MAX_BYTES (4 * GIB)
#define LARGEST_JOURNAL   (32 * 1024 * GIB)
#define LARGEST_MEMORY    (64 * GIB)
#else
#define DEFAULT_MAX_BYTES (1 * GIB)
#define LARGEST_JOURNAL   (2 * GIB)
#define LARGEST_MEMORY    (512 * MIB)
#endif

static const struct option_choice on_full_words[] = {
    {.word = "block", .value = SETTINGS_FULL_BLOCK},
    {.word = "drop_oldest", .value = SETTINGS_FULL_DROP_OLDEST},
    {.word = "drop_newest", .value = SETTINGS_FULL_DROP_NEWEST},
    {.word = NULL},
};

static const struct option_choice codec_words[] = {
    {.word = "zstd", .value = BATCH_CODEC_ZSTD},
    {.word = "none", .value = BATCH_CODEC_NONE},
    {.word = NULL},
};

static const struct option_choice delivery_words[] = {
    {.word = "at_least_once", .value = SETTINGS_AT_LEAST_ONCE},
    {.word = "exactly_once", .value = SETTINGS_EXACTLY_ONCE},
    {.word = NULL},
};

static const struct option_choice acks_words[] = {
    {.word = "all", .value = -1},
    {.word = "-1", .value = -1},
    {.word = "1", .value = 1},
    {.word = "0", .value = 0},
    {.word = NULL},
};

static const struct option_choice compression_words[] = {
    {.word = "zstd", .value = 4},
    {.word = "lz4", .value = 3},
    {.word = "snappy", .value = 2},
    {.word = "gzip", .value = 1},
    {.word = "none", .value = 0},
    {.word = NULL},
};

static const struct option_choice envelope_words[] = {
    {.word = "tbmq", .value = SETTINGS_ENVELOPE_TBMQ},
    {.word = "none", .value = SETTINGS_ENVELOPE_NONE},
    {.word = "cloudevents", .value = SETTINGS_ENVELOPE_CLOUDEVENTS},
    {.word = "cloudevents_binary", .value = SETTINGS_ENVELOPE_CLOUDEVENTS_BINARY},
    {.word = NULL},
};

static const struct option_choice payload_words[] = {
    {.word = "base64", .value = SETTINGS_PAYLOAD_BASE64},
    {.word = "text", .value = SETTINGS_PAYLOAD_TEXT},
    {.word = "json", .value = SETTINGS_PAYLOAD_JSON},
    {.word = NULL},
};

static const struct option_choice timestamp_words[] = {
    {.word = "auto", .value = SETTINGS_TIMESTAMP_AUTO},
    {.word = "received", .value = SETTINGS_TIMESTAMP_RECEIVED},
    {.word = "forwarded", .value = SETTINGS_TIMESTAMP_FORWARDED},
    {.word = NULL},
};

static const struct option_choice on_reject_words[] = {
    {.word = "hold", .value = SETTINGS_REJECT_HOLD},
    {.word = "bury", .value = SETTINGS_REJECT_BURY},
    {.word = NULL},
};

static const struct option_choice gap_words[] = {
    {.word = "status", .value = SETTINGS_GAPS_STATUS},
    {.word = "topic", .value = SETTINGS_GAPS_TOPIC},
    {.word = "none", .value = SETTINGS_GAPS_NONE},
    {.word = NULL},
};

static const struct option_choice level_words[] = {
    {.word = "error", .value = LOG_LEVEL_ERROR},
    {.word = "warning", .value = LOG_LEVEL_WARNING},
    {.word = "info", .value = LOG_LEVEL_INFO},
    {.word = "debug", .value = LOG_LEVEL_DEBUG},
    {.word = NULL},
};

static const struct option_choice format_words[] = {
    {.word = "text", .value = LOG_FORMAT_TEXT},
    {.word = "json", .value = LOG_FORMAT_JSON},
    {.word = NULL},
};

#define AT(group, member) offsetof(struct settings_##group, member)

_Static_assert(AT(tls, is_on) == 0, "see settings_option.is_switch");

static const struct settings_option tls_options[] = {
    {"ca_file", OPTION_TEXT, AT(tls, ca_file), .check = settings_check_path},
    {"ca_path", OPTION_TEXT, AT(tls, ca_path), .check = settings_check_path},
    {"cert_file", OPTION_TEXT, AT(tls, cert_file), .check = settings_check_path},
    {"key_file", OPTION_TEXT, AT(tls, key_file), .check = settings_check_path},
    {"key_password", OPTION_TEXT, AT(tls, key_password), .check = settings_check_secret,
	.is_secret = true},
    {"insecure", OPTION_BOOL, AT(tls, insecure), .number = false},
    {.key = NULL},
};

static const struct settings_option mqtt_options[] = {
    {"host", OPTION_TEXT, AT(mqtt, host), .text = "localhost",
	.check = settings_check_host},
    {"port", OPTION_INT, AT(mqtt, port), 1, 65535, .number = 1883},
    {"protocol", OPTION_INT, AT(mqtt, protocol), 4, 5, .number = 5},
    {"client_id", OPTION_TEXT, AT(mqtt, client_id),
	.check = settings_check_mqtt_string},
    {"username", OPTION_TEXT, AT(mqtt, username), .check = settings_check_mqtt_string},
    {"password", OPTION_TEXT, AT(mqtt, password), .check = settings_check_secret,
	.is_secret = true},
    {"keepalive_s", OPTION_INT, AT(mqtt, keepalive_s), 5, 65535, .number = 60},
    {"session_expiry_s", OPTION_EXPIRY, AT(mqtt, session_expiry_s), 1, INT32_MAX,
	.number = UINT32_MAX},
    {"qos", OPTION_INT, AT(mqtt, qos), 0, 1, .number = 1},
    {"broker_figures", OPTION_BOOL, AT(mqtt, broker_figures), .number = true},
    {"receive_maximum", OPTION_INT, AT(mqtt, receive_maximum), 1, 65535,
	.number = 10000},
    {"tls", OPTION_GROUP, AT(mqtt, tls), .members = tls_options, .is_switch = true},
    {.key = NULL},
};

static const struct settings_option journal_options[] = {
    {"directory", OPTION_TEXT, AT(journal, directory),
	.text = LOCALSTATEDIR "/lib/tidegate", .check = settings_check_path},
    {"max_bytes", OPTION_SIZE, AT(journal, max_bytes), MIB, LARGEST_JOURNAL,
	.number = DEFAULT_MAX_BYTES},
    {"dead_max_bytes", OPTION_SIZE, AT(journal, dead_max_bytes), 64 * KIB,
	LARGEST_JOURNAL, .number = 64 * MIB},
    {"on_full", OPTION_CHOICE, AT(journal, on_full), .number = SETTINGS_FULL_BLOCK,
	.choices = on_full_words},
    {"preallocate", OPTION_BOOL, AT(journal, preallocate), .number = false},
    {"commit_max_messages", OPTION_INT, AT(journal, commit_max_messages), 1, 1000000,
	.number = 5000},
    {"commit_max_bytes", OPTION_SIZE, AT(journal, commit_max_bytes), 64 * KIB, GIB,
	.number = 4 * MIB},
    {"commit_interval_ms", OPTION_INT, AT(journal, commit_interval_ms), 0, 60000,
	.number = 10},
    {"compression", OPTION_CHOICE, AT(journal, compression), .number = BATCH_CODEC_ZSTD,
	.choices = codec_words},
    {.key = NULL},
};

static const struct settings_option kafka_options[] = {
    {"bootstrap_servers", OPTION_TEXT, AT(kafka, bootstrap_servers),
	.text = "localhost:9092", .check = settings_check_servers},
    {"client_id_prefix", OPTION_TEXT, AT(kafka, client_id_prefix), .text = "tidegate",
	.check = settings_check_name},
    {"delivery", OPTION_CHOICE, AT(kafka, delivery), .number = SETTINGS_AT_LEAST_ONCE,
	.choices = delivery_words},
    {"transactional_id", OPTION_TEXT, AT(kafka, transactional_id),
	.check = settings_check_mqtt_string},
    {"position_topic", OPTION_TEXT, AT(kafka, position_topic),
	.text = "tidegate.positions", .check = settings_check_static_topic},
    {"transaction_max_messages", OPTION_INT, AT(kafka, transaction_max_messages), 1,
	100000, .number = 50000},
    {"transaction_max_ms", OPTION_INT, AT(kafka, transaction_max_ms), 1, 10000,
	.number = 200},
    {"acks", OPTION_WORD, AT(kafka, acks), .text = "all", .choices = acks_words},
    {"compression", OPTION_WORD, AT(kafka, compression), .text = "zstd",
	.choices = compression_words},
    {"batch_size_bytes", OPTION_SIZE, AT(kafka, batch_size_bytes), 1, INT32_MAX,
	.number = -1},
    {"linger_ms", OPTION_LONG, AT(kafka, linger_ms), 0, 900000, .number = -1},
    {"buffer_max_bytes", OPTION_SIZE, AT(kafka, buffer_max_bytes), 64 * KIB,
	LARGEST_MEMORY, .number = 8 * MIB},
    {"retries", OPTION_INT, AT(kafka, retries), -1, INT32_MAX, .number = -1,
	.why_not_zero =
	    "is not allowed: these are the rejections (never outages) after "
	    "which a record is buried where the route says on_reject = "
	    "\"bury\": -1 for never, else at least 1"},
    {"shutdown_ms", OPTION_INT, AT(kafka, shutdown_ms), 0, 600000, .number = 5000},
    {.key = "properties", .kind = OPTION_PROPERTIES},
    {.key = NULL},
};

/* Pairs. More is said about their names once the envelope is known. */
static const struct settings_option header_options[] = {
    {"name", OPTION_TEXT, AT(pair, name), .check = settings_check_header_name,
	.is_required = true},
    {"value", OPTION_TEXT, AT(pair, value), .check = settings_check_template,
	.is_required = true},
    {.key = NULL},
};

static const struct settings_option metadata_options[] = {
    {"name", OPTION_TEXT, AT(pair, name), .check = settings_check_metadata_name,
	.is_required = true},
    {"value", OPTION_TEXT, AT(pair, value), .check = settings_check_template,
	.is_required = true},
    {.key = NULL},
};

static const struct settings_option route_options[] = {
    {"name", OPTION_TEXT, AT(route, name), .check = settings_check_name,
	.is_required = true},
    {"enabled", OPTION_BOOL, AT(route, enabled), .number = true},
    {"topic_filters", OPTION_FILTERS, .is_required = true},
    {"topic", OPTION_TEXT, AT(route, topic), .check = settings_check_topic,
	.is_required = true},
    {"key", OPTION_TEXT, AT(route, key), .text = "${topic}",
	.check = settings_check_template},
    {"envelope", OPTION_CHOICE, AT(route, envelope), .number = SETTINGS_ENVELOPE_TBMQ,
	.choices = envelope_words},
    {.key = "send_only_payload", .kind = OPTION_PAYLOAD},
    {"payload_format", OPTION_CHOICE, AT(route, payload_format),
	.number = SETTINGS_PAYLOAD_BASE64, .choices = payload_words},
    {"client_id", OPTION_TEXT, AT(route, client_id), .text = "${user:client-id}",
	.check = settings_check_template},
    {.key = "headers", .kind = OPTION_HEADERS, .members = header_options},
    {.key = "metadata", .kind = OPTION_METADATA, .members = metadata_options},
    {"provenance", OPTION_BOOL, AT(route, provenance), .number = true},
    {"mqtt_headers", OPTION_BOOL, AT(route, mqtt_headers), .number = false},
    {"user_properties", OPTION_BOOL, AT(route, user_properties), .number = true},
    {"timestamp", OPTION_CHOICE, AT(route, timestamp),
	.number = SETTINGS_TIMESTAMP_AUTO, .choices = timestamp_words},
    {"timestamp_max_age_s", OPTION_LONG, AT(route, timestamp_max_age_s), 1, INT32_MAX,
	.number = 86400},
    {"on_reject", OPTION_CHOICE, AT(route, on_reject), .number = SETTINGS_REJECT_HOLD,
	.choices = on_reject_words},
    {"gap_records", OPTION_CHOICE, AT(route, gap_records),
	.number = SETTINGS_GAPS_STATUS, .choices = gap_words},
    {.key = NULL},
};

static const struct settings_option status_options[] = {
    {"kafka_topic", OPTION_TEXT, AT(status, kafka_topic),
	.check = settings_check_static_topic, .may_be_empty = true},
    {"mqtt_topic", OPTION_TEXT, AT(status, mqtt_topic),
	.check = settings_check_mqtt_topic, .may_be_empty = true},
    {"interval_s", OPTION_INT, AT(status, interval_s), 1, 31536000, .number = 300},
    {.key = NULL},
};

static const struct settings_option monitor_options[] = {
    {"listen", OPTION_TEXT, AT(monitor, listen), .text = "127.0.0.1:9464",
	.check = settings_check_listen, .may_be_empty = true},
    {"statistics_s", OPTION_INT, AT(monitor, statistics_s), 1, 31536000,
	.number = 3600},
    {.key = NULL},
};

static const struct settings_option log_options[] = {
    {"level", OPTION_CHOICE, AT(log, level), .number = LOG_LEVEL_INFO,
	.choices = level_words},
    {"format", OPTION_CHOICE, AT(log, format), .number = LOG_FORMAT_TEXT,
	.choices = format_words},
    {.key = NULL},
};

const struct settings_option settings_options[] = {
    {"gateway_id", OPTION_TEXT, offsetof(struct settings, gateway_id),
	.check = settings_check_gateway_id},
    {"mqtt", OPTION_GROUP, offsetof(struct settings, mqtt), .members = mqtt_options},
    {"journal", OPTION_GROUP, offsetof(struct settings, journal),
	.members = journal_options},
    {"kafka", OPTION_GROUP, offsetof(struct settings, kafka), .members = kafka_options},
    {"routes", OPTION_ROUTES, .members = route_options, .is_required = true},
    {"status", OPTION_GROUP, offsetof(struct settings, status),
	.members = status_options},
    {"monitor", OPTION_GROUP, offsetof(struct settings, monitor),
	.members = monitor_options},
    {"log", OPTION_GROUP, offsetof(struct settings, log), .members = log_options},
    {.key = NULL},
};

const struct settings_option *
settings_option_find(const struct settings_option table[], const char *key)
{
	for (const struct settings_option *o = table; o->key != NULL; o++) {
		if (strcmp(o->key, key) == 0)
			return o;
	}
	return NULL;
}

static int
text_default(const char *text, char **out)
{
	if (text == NULL)
		return 0;
	*out = strdup(text);
	return *out == NULL ? ERR_NOMEM : 0;
}

static int
one_default(const struct settings_option *o, void *at)
{
	switch (o->kind) {
	case OPTION_TEXT:
	case OPTION_WORD:
		return text_default(o->text, at);
	case OPTION_CHOICE:
	case OPTION_INT:
		*(int *)at = (int)o->number;
		break;
	case OPTION_BOOL:
		*(bool *)at = o->number != 0;
		break;
	case OPTION_LONG:
	case OPTION_SIZE:
		*(int64_t *)at = o->number;
		break;
	case OPTION_EXPIRY:
		*(uint32_t *)at = (uint32_t)o->number;
		break;
	case OPTION_GROUP:
		return settings_option_defaults(o->members, at);
	case OPTION_FILTERS:
	case OPTION_PROPERTIES:
	case OPTION_HEADERS:
	case OPTION_METADATA:
	case OPTION_ROUTES:
	case OPTION_PAYLOAD:
		break;
	}
	return 0;
}

int
settings_option_defaults(const struct settings_option table[], void *base)
{
	for (const struct settings_option *o = table; o->key != NULL; o++) {
		int err = one_default(o, (char *)base + o->offset);

		if (err != 0)
			return err;
	}
	return 0;
}

void
settings_option_free(const struct settings_option table[], void *base)
{
	for (const struct settings_option *o = table; o->key != NULL; o++) {
		if (o->kind == OPTION_TEXT || o->kind == OPTION_WORD)
			free(*(char **)(void *)((char *)base + o->offset));
		else if (o->kind == OPTION_GROUP)
			settings_option_free(o->members, (char *)base + o->offset);
	}
}

static void
free_pairs(struct settings_pair *pairs, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(pairs[i].name);
		free(pairs[i].value);
	}
	free(pairs);
}

static void
free_route(struct settings_route *route)
{
	const struct settings_option *o =
	    settings_option_find(settings_options, "routes");

	for (size_t i = 0; i < route->topic_filter_count; i++)
		free(route->topic_filters[i]);
	free(route->topic_filters);
	free_pairs(route->headers, route->header_count);
	free_pairs(route->metadata, route->metadata_count);
	settings_option_free(o->members, route);
}

void
settings_free(struct settings *s)
{
	if (s == NULL)
		return;
	for (size_t i = 0; i < s->route_count; i++)
		free_route(&s->routes[i]);
	free(s->routes);
	for (size_t i = 0; i < s->kafka.property_count; i++) {
		free(s->kafka.properties[i].name);
		free(s->kafka.properties[i].value);
	}
	free(s->kafka.properties);
	settings_option_free(settings_options, s);
	free(s->name);
	free(s);
}
