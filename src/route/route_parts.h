/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of a route share: its compiled form, and the steps of rendering. */
#ifndef ROUTE_PARTS_H
#define ROUTE_PARTS_H

#include "envelope.h"
#include "payload_json.h"
#include "route.h"
#include "template.h"

/* The most that Kafka allows. */
#define ROUTE_TOPIC_MAX 249

/* One of the route's templates. */
struct route_field {
	struct template *template;
	bool is_constant; /* rendered when it was opened */
	struct bytes
	    text; /* the latest rendering; of a template that is not there NULL */
};

struct route {
	const struct settings_route *settings;
	char uuid[37];
	struct envelope_context context;
	struct template_values values;
	struct route_field topic;
	struct route_field key;
	struct route_field client_id;
	struct route_field *headers; /* as many as the settings have */
	struct route_field *metadata;
	struct envelope_pair *pairs;  /* the metadata, for the context */
	struct payload_json *payload; /* NULL: nothing looks into the payload */
	bool has_content_type; /* is one of the route's own headers the content type? */

	/* Of the latest record. They keep their room. */
	char topic_text[ROUTE_TOPIC_MAX + 1];
	struct buffer value;
	struct envelope_attributes attributes; /* of a CloudEvent */
	struct buffer provenance; /* "GATEWAY/UUID/", then what the record adds */
	size_t provenance_fixed;
	struct buffer requeued_from; /* a sequence */
	struct buffer names;         /* of headers, where they had to be made */
	struct sink_header *sink_headers;
	size_t sink_header_capacity;
	char qos;
};

/* Is the value a CloudEvent, structured or binary? */
static inline bool
route_makes_events(const struct route *r)
{
	return r->settings->envelope == SETTINGS_ENVELOPE_CLOUDEVENTS ||
	       r->settings->envelope == SETTINGS_ENVELOPE_CLOUDEVENTS_BINARY;
}

/*
 * what says which template it is, for the log.
 *
 * Errors:    ERR_INVALID, ERR_NOMEM.
 */
int route_field_open(
    struct route *r, struct route_field *f, const char *what, const char *text);
void route_field_close(struct route_field *f);

/* Put r->values in. Errors: ERR_NOMEM. */
int route_field_render(struct route *r, struct route_field *f);

/*
 * Fill in the value of out, whose key is set, and what the headers take from the same
 * source. Errors: ERR_NOMEM.
 */
int route_render_value(
    struct route *r, const struct record *record, struct sink_record *out);

/* Then its headers. Errors: ERR_NOMEM. */
int route_render_headers(
    struct route *r, const struct record *record, struct sink_record *out);

#endif
