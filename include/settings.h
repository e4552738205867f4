/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration of one gateway, by libconfig: read, checked, completed.
 *
 * Every mistake is reported with file and line, in plain words, all of them in one
 * go. A key that is not known is a mistake. Nothing is opened or contacted.
 */
#ifndef SETTINGS_H
#define SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "batch.h"
#include "buffer.h"
#include "log.h"

/* Where every program looks without -c. */
#define SETTINGS_DEFAULT_PATH SYSCONFDIR "/tidegate/tidegate.conf"

/* More would not be seen in the status, see board.h. */
#define SETTINGS_ROUTES_MAX 4096

enum settings_envelope {
	SETTINGS_ENVELOPE_NONE,
	SETTINGS_ENVELOPE_TBMQ,
	SETTINGS_ENVELOPE_CLOUDEVENTS,
	SETTINGS_ENVELOPE_CLOUDEVENTS_BINARY,
};

/* How a payload stands in a JSON envelope. */
enum settings_payload_format {
	SETTINGS_PAYLOAD_BASE64,
	SETTINGS_PAYLOAD_TEXT, /* where it is UTF-8, else base64 */
	SETTINGS_PAYLOAD_JSON, /* where it is JSON, else base64 */
};

enum settings_on_reject {
	SETTINGS_REJECT_HOLD,
	SETTINGS_REJECT_BURY, /* after kafka.retries rejections */
};

enum settings_on_full {
	SETTINGS_FULL_BLOCK,
	SETTINGS_FULL_DROP_OLDEST,
	SETTINGS_FULL_DROP_NEWEST,
};

enum settings_delivery {
	SETTINGS_AT_LEAST_ONCE,
	SETTINGS_EXACTLY_ONCE,
};

/* Where a gap is announced when a route comes to it. */
enum settings_gap_records {
	SETTINGS_GAPS_STATUS, /* in the status report */
	SETTINGS_GAPS_TOPIC,  /* there, and as a record in the route's own topic */
	SETTINGS_GAPS_NONE,
};

enum settings_timestamp {
	SETTINGS_TIMESTAMP_AUTO,
	SETTINGS_TIMESTAMP_RECEIVED,
	SETTINGS_TIMESTAMP_FORWARDED,
};

struct settings_tls {
	bool is_on;      /* the group was given */
	char *ca_file;   /* NULL, as all of these: not given. With neither of the */
	char *ca_path;   /* two the system's own authorities are trusted */
	char *cert_file; /* PEM; with key_file, for mutual TLS */
	char *key_file;
	char *key_password; /* as written, see settings_secret() */
	bool insecure;      /* the host name in the certificate is not compared */
};

struct settings_mqtt {
	char *host;
	int port;
	int protocol; /* 5, or 4 for MQTT 3.1.1 */
	char *client_id;
	char *username; /* NULL: none */
	char *password; /* NULL: none; as written, see settings_secret() */
	int keepalive_s;
	uint32_t session_expiry_s; /* UINT32_MAX: never (MQTT 5, 3.1.2.11.2) */
	int qos;
	int receive_maximum;
	bool broker_figures; /* what the broker says about itself is asked for */
	struct settings_tls tls;
};

struct settings_journal {
	char *directory;
	uint64_t max_bytes;
	uint64_t dead_max_bytes;
	enum settings_on_full on_full;
	bool preallocate;
	int commit_max_messages;
	uint64_t commit_max_bytes;
	int commit_interval_ms;
	enum batch_codec compression;
};

/* One of kafka.properties, "name=value". */
struct settings_property {
	char *name;
	char *value; /* as written, see settings_secret() */
	int line;
};

struct settings_kafka {
	char *bootstrap_servers;
	char *client_id_prefix;
	enum settings_delivery delivery;
	char *transactional_id; /* these two: with SETTINGS_EXACTLY_ONCE */
	char *position_topic;
	int transaction_max_messages; /* these two likewise: then it is committed */
	int transaction_max_ms;
	char *acks;               /* "all", "1", "0" */
	char *compression;        /* librdkafka's words */
	int64_t batch_size_bytes; /* -1: librdkafka's default */
	int64_t linger_ms;        /* -1: librdkafka's default */
	uint64_t buffer_max_bytes;
	int retries; /* rejections before a record is buried where on_reject says so; -1: never */
	int shutdown_ms;
	struct settings_property *properties; /* handed to librdkafka as they are */
	size_t property_count;
};

/* One of a route's headers or metadata. */
struct settings_pair {
	char *name;
	char *value; /* a template */
	int line;
};

struct settings_route {
	char *name;
	bool enabled; /* false: it holds, it does not drop */
	char **topic_filters;
	size_t topic_filter_count;
	char *topic; /* a template, see template.h */
	char *key;   /* a template; "${topic}" by default, "" for none */
	enum settings_envelope envelope;
	enum settings_payload_format payload_format;
	char *client_id; /* a template; "${user:client-id}" by default */
	struct settings_pair *headers;
	size_t header_count;
	struct settings_pair *metadata;
	size_t metadata_count;
	bool provenance;
	bool user_properties;
	bool mqtt_headers;
	enum settings_timestamp timestamp;
	int64_t timestamp_max_age_s;
	enum settings_on_reject on_reject;
	enum settings_gap_records gap_records;
};

/* Reports in band, see status.h. */
struct settings_status {
	char *kafka_topic; /* NULL: none */
	char *mqtt_topic;  /* NULL: none */
	int interval_s;
};

struct settings_monitor {
	char *listen; /* "ADDRESS:PORT"; NULL: no HTTP, no tidegate-monitor */
	int statistics_s;
};

struct settings_log {
	enum log_level level;
	enum log_format format;
};

struct settings {
	char *name; /* of the file, for messages */
	char *gateway_id;
	/* In the file, not by default: see supervisor_options.instance. */
	bool is_gateway_id_given, is_directory_given;
	struct settings_mqtt mqtt;
	struct settings_journal journal;
	struct settings_kafka kafka;
	struct settings_route *routes;
	size_t route_count; /* at least 1 */
	struct settings_status status;
	struct settings_monitor monitor;
	struct settings_log log;
};

/*
 * Read and check a configuration.
 *
 * Ownership: *out is the caller's; NULL on failure. text is borrowed for the call.
 *            mistakes is appended to: one line each, "NAME:LINE: what is wrong".
 * Errors:    ERR_INVALID (see mistakes); ERR_IO (settings_load() alone: the file
 *            cannot be read; also in mistakes); ERR_NOMEM.
 */
int settings_load(struct settings **out, const char *path, struct buffer *mistakes);
int settings_parse(
    struct settings **out, const char *name, const char *text, struct buffer *mistakes);

/*
 * The text of a file for settings_parse(), with an end mark (counted in size).
 *
 * Errors:    ERR_IO, ERR_INVALID (not a text at all): both also in mistakes; ERR_NOMEM.
 */
int settings_read(const char *path, struct buffer *text, struct buffer *mistakes);

void settings_free(struct settings *s);

/*
 * The effective settings with every default, as a configuration that can be read
 * back; secrets are shown as "***". Appends to out. Errors: ERR_NOMEM.
 */
int settings_print(const struct settings *s, struct buffer *out);

/*
 * Would the worker have to be started again for it to take over b in place of a?
 * Also true where b names files with secrets or certificates, which may have changed.
 */
bool settings_differ_for_ingest(const struct settings *a, const struct settings *b);
bool settings_differ_for_forward(const struct settings *a, const struct settings *b);
bool settings_differ_for_monitor(const struct settings *a, const struct settings *b);

/*
 * The value behind "file:PATH" (first line of the file) or "credential:NAME" (in
 * $CREDENTIALS_DIRECTORY, see systemd.exec(5)); anything else stands for itself.
 *
 * A file that everyone can read draws a warning, see settings_warn_readable().
 *
 * name:      what it is for, for the log: "mqtt.password".
 * Ownership: *out is the caller's, settings_secret_forget().
 * Errors:    ERR_IO, the file cannot be read (logged; try again later); ERR_NOMEM.
 */
int settings_secret(const char *name, const char *value, char **out);

/* Wipe and free what settings_secret() gave; NULL is taken. */
void settings_secret_forget(char *secret);

/*
 * Warn where a file with a secret in it, as a private key, can be read by everyone; once
 * for each file.
 */
void settings_warn_readable(const char *path);

/* Does the value stand for one that is kept elsewhere ("file:", "credential:")? */
bool settings_secret_is_reference(const char *value);

#endif
