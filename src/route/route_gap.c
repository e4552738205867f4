/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The announcement of a gap in the route's own topic (gap_records): a record that tells
 * what will never come. Every name in it has been checked to need no escape in JSON.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "err.h"
#include "route_parts.h"

#define GAP_HEADERS 2

bool
route_announces_gaps(const struct route *r)
{
	return r->settings->gap_records == SETTINGS_GAPS_TOPIC && r->topic.is_constant;
}

static int
render_value(struct route *r, const struct journal_gap *gap)
{
	time_t seconds = (time_t)(gap->at_ms / 1000);
	char day[32] = "";
	struct tm tm;

	if (gmtime_r(&seconds, &tm) == NULL ||
	    strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm) == 0)
		day[0] = '\0';
	buffer_clear(&r->value);
	return buffer_printf(&r->value,
	    "{\"gap\":{\"gateway\":\"%s\",\"uuid\":\"%s\",\"route\":\"%s\","
	    "\"first\":%" PRIu64 ",\"count\":%" PRIu64 ",\"reason\":\"%s\","
	    "\"at\":\"%s.%03uZ\"}}",
	    r->values.gateway_id, r->uuid, r->settings->name, gap->first_seq,
	    gap->count, journal_gap_reason_str(gap->reason), day,
	    (unsigned)(gap->at_ms % 1000));
}

static int
reserve(struct route *r)
{
	struct sink_header *h;

	if (r->sink_header_capacity >= GAP_HEADERS)
		return 0;
	h = realloc(r->sink_headers, GAP_HEADERS * sizeof(*h));
	if (h == NULL)
		return ERR_NOMEM;
	r->sink_headers = h;
	r->sink_header_capacity = GAP_HEADERS;
	return 0;
}

/* GATEWAY/UUID/FIRST/TIME, and the count behind it in the same buffer. */
static int
render_headers(struct route *r, const struct journal_gap *gap, struct sink_record *out)
{
	struct buffer *b = &r->provenance;
	size_t count_at;
	int err = reserve(r);

	b->size = r->provenance_fixed;
	if (err == 0)
		err = buffer_printf(
		    b, "%" PRIu64 "/%" PRIu64, gap->first_seq, gap->at_ms);
	count_at = b->size;
	if (err == 0)
		err = buffer_append_number(b, gap->count);
	if (err != 0)
		return err;
	r->sink_headers[0] = (struct sink_header){"tidegate", {b->data, count_at}};
	r->sink_headers[1] = (struct sink_header){
	    "tidegate-gap", {b->data + count_at, b->size - count_at}};
	out->headers = r->sink_headers;
	out->header_count = GAP_HEADERS;
	return 0;
}

int
route_render_gap(struct route *r, const struct journal_gap *gap, int64_t now_ms,
    struct sink_record *out)
{
	struct sink_record made = {.topic = r->topic_text,
	    .key = {r->values.gateway_id, strlen(r->values.gateway_id)},
	    .copy_value = true,
	    .timestamp_ms = now_ms};
	int err = render_value(r, gap);

	if (err == 0)
		err = render_headers(r, gap, &made);
	if (err != 0)
		return err;
	made.value = (struct bytes){r->value.data, r->value.size};
	*out = made;
	return 0;
}
