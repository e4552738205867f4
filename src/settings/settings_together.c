/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What no option can say alone: defaults that follow from other options, and options
 * that contradict each other or need each other.
 *
 * Invariant: a mistake in one option does not draw another one here, so each check asks
 * whether an option was given, not whether its value could be used.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "err.h"
#include "settings_parts.h"

#define TLS_PORT 8883

/* ---- defaults ---- */

static int
copy_host_name(struct settings_reader *r, char **out)
{
	char host[256] = "";
	const char *why;

	(void)gethostname(host, sizeof(host) - 1);
	why = settings_check_gateway_id(host);
	if (why != NULL) {
		settings_mistake(&r->mistakes, 1,
		    "gateway_id: is missing, and this machine's host name \"%.64s\" "
		    "%s",
		    host, why);
		return 0;
	}
	*out = strdup(host);
	return *out == NULL ? ERR_NOMEM : 0;
}

/* "tidegate-" and the gateway id. */
static int
make_own_name(const char *gateway_id, char **out)
{
	size_t size = sizeof("tidegate-") + strlen(gateway_id);

	*out = malloc(size);
	if (*out == NULL)
		return ERR_NOMEM;
	(void)snprintf(*out, size, "tidegate-%s", gateway_id);
	return 0;
}

void
settings_complete(struct settings_reader *r)
{
	struct settings *s = r->settings;
	int err = 0;

	s->is_gateway_id_given = settings_line(r, "gateway_id") > 0;
	s->is_directory_given = settings_line(r, "journal.directory") > 0;
	if (s->gateway_id == NULL && settings_line(r, "gateway_id") == 0)
		err = copy_host_name(r, &s->gateway_id);
	if (err == 0 && s->gateway_id != NULL && s->mqtt.client_id == NULL)
		err = make_own_name(s->gateway_id, &s->mqtt.client_id);
	if (err == 0 && s->gateway_id != NULL && s->kafka.transactional_id == NULL)
		err = make_own_name(s->gateway_id, &s->kafka.transactional_id);
	if (s->mqtt.tls.is_on && settings_line(r, "mqtt.port") == 0)
		s->mqtt.port = TLS_PORT;
	if (err != 0)
		r->mistakes.err = err;
}

/* ---- the file ---- */

/* Report path: text at the line of path where that is given and other is not. */
static void
expect_with(
    struct settings_reader *r, const char *path, const char *other, const char *text)
{
	int line = settings_line(r, path);

	if (line > 0 && settings_line(r, other) == 0)
		settings_mistake(&r->mistakes, line, "%s: %s", path, text);
}

static void
check_delivery(struct settings_reader *r)
{
	const struct settings_kafka *k = &r->settings->kafka;

	if (k->delivery == SETTINGS_EXACTLY_ONCE && strcmp(k->acks, "all") != 0)
		settings_mistake(&r->mistakes, settings_line(r, "kafka.acks"),
		    "kafka.acks: delivery = \"exactly_once\" needs acks = \"all\"");
}

/* What is on its way stays in any case: there must be something that can be dropped. */
static void
check_on_full(struct settings_reader *r)
{
	const struct settings *s = r->settings;

	if (s->journal.on_full == SETTINGS_FULL_DROP_OLDEST &&
	    s->journal.max_bytes / 2 < s->kafka.buffer_max_bytes)
		settings_mistake(&r->mistakes, settings_line(r, "journal.on_full"),
		    "journal.on_full: what is on its way to Kafka is not dropped: "
		    "\"drop_oldest\" needs max_bytes to be at least twice "
		    "kafka.buffer_max_bytes");
}

/* Positions among records would be read as such by consumers, and be deleted with them. */
static void
check_position_topic(struct settings_reader *r)
{
	const struct settings *s = r->settings;
	const char *topic = s->kafka.position_topic;
	int line = settings_line(r, "kafka.position_topic");
	bool is_taken;

	if (s->kafka.delivery != SETTINGS_EXACTLY_ONCE || topic == NULL)
		return;
	is_taken =
	    s->status.kafka_topic != NULL && strcmp(s->status.kafka_topic, topic) == 0;
	for (size_t i = 0; i < s->route_count && !is_taken; i++)
		is_taken = s->routes[i].topic != NULL &&
			   strcmp(s->routes[i].topic, topic) == 0;
	if (is_taken)
		settings_mistake(&r->mistakes,
		    line > 0 ? line : settings_line(r, "kafka.delivery"),
		    "kafka.position_topic: \"%.249s\" is the topic of a route or of "
		    "the "
		    "status: positions need one of their own",
		    topic);
}

void
settings_check_together(struct settings_reader *r)
{
	const struct settings *s = r->settings;
	const struct settings_option *room = settings_option_find(
	    settings_option_find(settings_options, "journal")->members, "max_bytes");
	int line = settings_line(r, "journal.max_bytes");

	if (line == 0)
		line = settings_line(r, "journal.dead_max_bytes");
	if (s->mqtt.protocol == 4)
		expect_with(r, "mqtt.password", "mqtt.username",
		    "MQTT 3.1.1 needs a username as well");
	expect_with(r, "mqtt.tls.cert_file", "mqtt.tls.key_file",
	    "needs key_file as well, the private key of this certificate");
	expect_with(r, "mqtt.tls.key_file", "mqtt.tls.cert_file",
	    "needs cert_file as well, the certificate of this private key");
	expect_with(r, "mqtt.tls.key_password", "mqtt.tls.key_file",
	    "needs key_file as well, the private key that it opens");
	if (s->journal.max_bytes + s->journal.dead_max_bytes > (uint64_t)room->max)
		settings_mistake(&r->mistakes, line,
		    "journal.max_bytes: with dead_max_bytes it is more than this "
		    "machine can map");
	check_delivery(r);
	check_position_topic(r);
	check_on_full(r);
}

/* ---- a route ---- */

static void
check_name(struct settings_reader *r, const struct settings_route *route)
{
	for (const struct settings_route *other = r->settings->routes; other < route;
	     other++) {
		if (route->name == NULL || other->name == NULL ||
		    strcmp(other->name, route->name) != 0)
			continue;
		settings_value_mistake(r, settings_line(r, "name"), "name",
		    "\"%s\" is the name of another route already", route->name);
		return;
	}
}

/* What only an envelope uses. The defaults pass: settings_print() writes them out. */
static void
check_unused(struct settings_reader *r, const struct settings_route *route)
{
	const struct settings_option *o = settings_option_find(
	    settings_option_find(settings_options, "routes")->members, "client_id");

	if (route->envelope != SETTINGS_ENVELOPE_NONE)
		return;
	if (strcmp(route->client_id, o->text) != 0)
		settings_value_mistake(r, settings_line(r, "client_id"), "client_id",
		    "has no effect: without an envelope there is no place for it");
	if (route->metadata_count > 0)
		settings_value_mistake(r, settings_line(r, "metadata"), "metadata",
		    "have no effect: without an envelope there is no place for them; "
		    "headers go with every record");
}

/* A payload that goes out byte for byte has no format. */
static void
check_payload_format(struct settings_reader *r, const struct settings_route *route)
{
	bool is_json = route->envelope == SETTINGS_ENVELOPE_TBMQ ||
		       route->envelope == SETTINGS_ENVELOPE_CLOUDEVENTS;

	if (!is_json && route->payload_format != SETTINGS_PAYLOAD_BASE64)
		settings_value_mistake(r, settings_line(r, "payload_format"),
		    "payload_format",
		    "has no effect: with this envelope the payload goes out byte for "
		    "byte");
}

/* There is no record whose values a template could take. */
static void
check_gap_records(struct settings_reader *r, const struct settings_route *route)
{
	if (route->gap_records == SETTINGS_GAPS_TOPIC && route->topic != NULL &&
	    strstr(route->topic, "${") != NULL)
		settings_value_mistake(r, settings_line(r, "gap_records"),
		    "gap_records",
		    "\"topic\" needs a topic that is the same for all records: a gap "
		    "has nothing to fill a \"${...}\" with");
}

static void
pair_mistake(struct settings_reader *r, const struct settings_pair *pair,
    const char *key, const char *why)
{
	settings_value_mistake(r, pair->line, key, "\"%.100s\" %s", pair->name, why);
}

/*
 * By content-type a consumer tells what kind of event it has: no device may choose it, and
 * with "application/cloudevents" it would take the payload for the event itself (Kafka
 * binding, section 3).
 */
static const char *
why_not_event_header(const struct settings_route *route, const struct settings_pair *p)
{
	static const char structured[] = "application/cloudevents";
	bool is_type = strcasecmp(p->name, "content-type") == 0;

	if (route->envelope == SETTINGS_ENVELOPE_CLOUDEVENTS)
		return is_type ? "is set by the envelope, as CloudEvents wants it"
			       : NULL;
	if (route->envelope != SETTINGS_ENVELOPE_CLOUDEVENTS_BINARY)
		return NULL;
	if (strncasecmp(p->name, "ce_", 3) == 0)
		return "begins with \"ce_\", which is for CloudEvents' attributes: "
		       "metadata become such";
	if (!is_type || p->value == NULL)
		return NULL;
	if (strstr(p->value, "${") != NULL)
		return "must be the same for all records with this envelope: by it a "
		       "consumer tells events apart";
	if (strncasecmp(p->value + strspn(p->value, " "), structured,
		sizeof(structured) - 1) == 0)
		return "must not say \"application/cloudevents\": a consumer would "
		       "take "
		       "the payload for the event itself";
	return NULL;
}

static void
check_headers(struct settings_reader *r, const struct settings_route *route)
{
	for (size_t i = 0; i < route->header_count; i++) {
		const struct settings_pair *pair = &route->headers[i];
		const char *why = NULL;

		if (pair->name != NULL)
			why = why_not_event_header(route, pair);
		if (why != NULL)
			pair_mistake(r, pair, "headers", why);
	}
}

static void
check_metadata(struct settings_reader *r, const struct settings_route *route)
{
	bool is_event = route->envelope == SETTINGS_ENVELOPE_CLOUDEVENTS ||
			route->envelope == SETTINGS_ENVELOPE_CLOUDEVENTS_BINARY;

	for (size_t i = 0; i < route->metadata_count; i++) {
		const struct settings_pair *pair = &route->metadata[i];
		const char *why;

		if (pair->name == NULL)
			continue;
		why = is_event ? settings_check_attribute(pair->name) : NULL;
		for (size_t k = 0; k < i && why == NULL; k++) {
			if (route->metadata[k].name != NULL &&
			    strcmp(route->metadata[k].name, pair->name) == 0)
				why = "is given twice";
		}
		if (why != NULL)
			pair_mistake(r, pair, "metadata", why);
	}
}

void
settings_check_route(struct settings_reader *r)
{
	const struct settings_route *route =
	    &r->settings->routes[r->settings->route_count - 1];

	check_name(r, route);
	check_unused(r, route);
	check_payload_format(r, route);
	check_gap_records(r, route);
	check_headers(r, route);
	check_metadata(r, route);
}
