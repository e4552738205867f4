/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tidegate-dump writes as JSON, straight into the line: a library that builds
 * objects first takes five times as long for a million records. It is ASCII, so that no
 * character of a message reaches a terminal.
 */
#include "dump_json.h"

#include <stdio.h>
#include <string.h>

#include "dump_print.h"
#include "dump_time.h"
#include "err.h"
#include "text.h"

/* What is open: an object or an array. Errors stick, and are looked at once. */
struct json {
	struct buffer *out;
	size_t start; /* where the line begins, to be taken back */
	bool has_members;
	int err;
};

static void
put(struct json *o, const char *text, size_t size)
{
	if (o->err == 0)
		o->err = buffer_append(o->out, text, size);
}

static void
put_str(struct json *o, const char *text)
{
	put(o, text, strlen(text));
}

static void
put_unit(struct json *o, uint32_t unit)
{
	static const char hex[] = "0123456789ABCDEF";
	const char text[] = {'\\', 'u', hex[unit >> 12 & 15], hex[unit >> 8 & 15],
	    hex[unit >> 4 & 15], hex[unit & 15]};

	put(o, text, sizeof(text));
}

static void
put_escaped(struct json *o, uint32_t code)
{
	static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
	const char *at = code > 0 && code < 0x80 ? strchr(from, (int)code) : NULL;

	if (at != NULL) {
		const char text[] = {'\\', to[at - from]};

		put(o, text, sizeof(text));
	} else if (code < 0x10000) {
		put_unit(o, code);
	} else {
		put_unit(o, 0xd800 + ((code - 0x10000) >> 10));
		put_unit(o, 0xdc00 + ((code - 0x10000) & 0x3ff));
	}
}

/* A string of UTF-8; a byte that is none becomes U+FFFD. */
static void
put_string(struct json *o, struct bytes value)
{
	const uint8_t *p = value.data;
	size_t i = 0, plain = 0;

	put_str(o, "\"");
	while (i < value.size) {
		uint32_t code = 0xfffd;
		size_t length;

		if (p[i] >= 0x20 && p[i] < 0x80 && p[i] != '"' && p[i] != '\\') {
			i++;
			continue;
		}
		put(o, (const char *)p + plain, i - plain);
		length = text_utf8_next(p + i, value.size - i, &code);
		put_escaped(o, code);
		i += length > 0 ? length : 1;
		plain = i;
	}
	if (i > plain)
		put(o, (const char *)p + plain, i - plain);
	put_str(o, "\"");
}

/* ---- members ---- */

static struct json
begin(struct buffer *out)
{
	struct json o = {.out = out, .start = out->size};

	put_str(&o, "{");
	return o;
}

/* End the line, or take back what there is of it. */
static int
finish(struct json *o)
{
	put_str(o, "}");
	if (o->err != 0)
		o->out->size = o->start;
	return o->err;
}

/* A name of ours: nothing in it has to be escaped. */
static void
set_name(struct json *o, const char *name)
{
	put_str(o, o->has_members ? ",\"" : "\"");
	put_str(o, name);
	put_str(o, "\":");
	o->has_members = true;
}

static void
open_in(struct json *o, const char *name, const char *bracket)
{
	set_name(o, name);
	put_str(o, bracket);
	o->has_members = false;
}

static void
close_in(struct json *o, const char *bracket)
{
	put_str(o, bracket);
	o->has_members = true;
}

static void
set_literal(struct json *o, const char *name, const char *text)
{
	set_name(o, name);
	put_str(o, text);
}

static void
set_string(struct json *o, const char *name, const char *text)
{
	set_name(o, name);
	put_string(o, (struct bytes){text, strlen(text)});
}

static void
put_number(struct json *o, uint64_t value)
{
	/* Beyond JSON's integers: damage or nonsense, but not another number. */
	const char *quote = value <= INT64_MAX ? "" : "\"";

	put_str(o, quote);
	if (o->err == 0)
		o->err = buffer_append_number(o->out, value);
	put_str(o, quote);
}

static void
set_number(struct json *o, const char *name, uint64_t value)
{
	set_name(o, name);
	put_number(o, value);
}

/* Both NAME, to read, and NAME_ms, to calculate with. */
static void
set_time(struct json *o, const char *name, uint64_t at_ms)
{
	char number[40];

	(void)snprintf(number, sizeof(number), "%s_ms", name);
	set_literal(o, name, "\"");
	if (o->err == 0)
		o->err = dump_time_append(o->out, at_ms);
	put_str(o, "\"");
	set_number(o, number, at_ms);
}

static void
set_base64(struct json *o, const char *name, struct bytes value)
{
	set_literal(o, name, "\"");
	if (o->err == 0)
		o->err = text_append_base64(o->out, value.data, value.size);
	put_str(o, "\"");
}

/* NAME where it is UTF-8; else NAME escaped to look at, and NAME_base64 exact. */
static void
set_text(struct json *o, const char *name, struct bytes value)
{
	struct buffer safe = {0};
	char exact[40];

	if (value.data == NULL)
		return;
	set_name(o, name);
	if (text_is_utf8(value.data, value.size)) {
		put_string(o, value);
		return;
	}
	if (o->err == 0)
		o->err = text_append_safe(&safe, value.data, value.size);
	put_string(o, (struct bytes){safe.data, safe.size});
	buffer_fini(&safe);
	(void)snprintf(exact, sizeof(exact), "%s_base64", name);
	set_base64(o, exact, value);
}

/* ---- things ---- */

static void
set_properties(struct json *o, const struct record *r)
{
	open_in(o, "user_properties", "[");
	for (size_t i = 0; i < r->user_property_count; i++) {
		put_str(o, i > 0 ? ",{" : "{");
		o->has_members = false;
		set_text(o, "name", r->user_properties[i].name);
		set_text(o, "value", r->user_properties[i].value);
		put_str(o, "}");
	}
	close_in(o, "]");
}

static void
set_record(struct json *o, const struct record *r)
{
	set_time(o, "received", r->received_ms);
	set_number(o, "qos", r->qos);
	set_literal(o, "retain", r->retain ? "true" : "false");
	set_text(o, "topic", r->topic);
	if (r->has_payload_format)
		set_number(o, "payload_format", r->payload_format);
	if (r->has_message_expiry)
		set_number(o, "message_expiry_s", r->message_expiry_s);
	if (r->subscription_id != 0)
		set_number(o, "subscription_id", r->subscription_id);
	/* Not "route": that is where a dead letter was to go. */
	set_text(o, "bound_to", r->route);
	if (r->requeued_from != 0)
		set_number(o, "requeued_from", r->requeued_from);
	set_text(o, "content_type", r->content_type);
	set_text(o, "response_topic", r->response_topic);
	if (r->correlation_data.data != NULL)
		set_base64(o, "correlation_data", r->correlation_data);
	if (r->user_property_count > 0)
		set_properties(o, r);
	set_number(o, "size", r->payload.size);
	set_base64(o, "payload", r->payload);
	if (text_is_utf8(r->payload.data, r->payload.size))
		set_text(o, "payload_text", r->payload);
}

int
dump_json_record(struct buffer *out, uint64_t seq, const struct record *r)
{
	struct json o = begin(out);

	set_number(&o, "seq", seq);
	set_record(&o, r);
	return finish(&o);
}

int
dump_json_dead(struct buffer *out, const struct journal_dead *dead,
    const struct dead_letter *letter, const struct record *r)
{
	struct json o = begin(out);

	set_number(&o, "seq", dead->seq);
	set_text(&o, "route", (struct bytes){dead->route.data, dead->route.size});
	set_string(&o, "reason", letter->reason);
	set_text(&o, "detail", letter->detail);
	set_time(&o, "buried", letter->buried_ms);
	set_record(&o, r);
	return finish(&o);
}

int
dump_json_gap(struct buffer *out, const struct journal_gap *gap)
{
	struct json o = begin(out);

	set_number(&o, "first_seq", gap->first_seq);
	set_number(&o, "last_seq", gap->first_seq + gap->count - 1);
	set_number(&o, "count", gap->count);
	set_time(&o, "time", gap->at_ms);
	set_string(&o, "reason", journal_gap_reason_str(gap->reason));
	return finish(&o);
}

/* ---- figures ---- */

static void
set_uuid(struct json *o, const char *name, const uint8_t uuid[16])
{
	char text[37];

	journal_uuid_text(uuid, text);
	set_string(o, name, text);
}

static void
set_routes(struct json *o, const struct journal_stat *stat)
{
	open_in(o, "acknowledged", "{");
	for (size_t i = 0; i < stat->route_count; i++) {
		const char *name = stat->routes[i].name;

		put_str(o, i > 0 ? "," : "");
		put_string(o, (struct bytes){name, strlen(name)});
		put_str(o, ":");
		put_number(o, stat->routes[i].acked_seq);
	}
	close_in(o, "}");
}

/* Records that were removed without Kafka's confirmation, by reason. */
static void
set_removed(struct json *o, const struct journal_stat *stat)
{
	open_in(o, "removed", "{");
	for (int i = 1; i < JOURNAL_GAP_REASONS; i++) {
		if (stat->removed[i] > 0)
			set_number(o,
			    journal_gap_reason_str((enum journal_gap_reason)i),
			    stat->removed[i]);
	}
	close_in(o, "}");
}

static void
set_figures(struct json *o, const struct journal_stat *stat, int64_t now_ms)
{
	set_number(o, "records", stat->records);
	set_number(o, "batches", stat->batches);
	set_number(o, "used_bytes", stat->used_bytes);
	set_number(o, "file_bytes", stat->file_bytes);
	set_number(o, "dead", stat->dead_count);
	set_number(o, "dead_bytes", stat->dead_bytes);
	set_number(o, "gaps", stat->gap_count);
	set_number(o, "damaged_batches", stat->damaged_count);
	set_removed(o, stat);
	if (stat->max_bytes > 0) {
		set_number(o, "max_bytes", stat->max_bytes);
		set_number(o, "free_bytes", dump_free_bytes(stat));
	}
	if (stat->oldest_ms > 0) {
		set_time(o, "oldest", stat->oldest_ms);
		set_number(o, "oldest_age_ms", dump_oldest_age_ms(stat, now_ms));
	}
}

int
dump_json_stat(struct buffer *out, const struct journal_identity *identity,
    const struct journal_stat *stat, int64_t now_ms)
{
	static const uint8_t none[16];
	struct json o = begin(out);

	set_uuid(&o, "uuid", identity->uuid);
	if (memcmp(identity->parent, none, sizeof(none)) != 0)
		set_uuid(&o, "parent", identity->parent);
	set_string(&o, "gateway", identity->gateway_id);
	set_number(&o, "format", JOURNAL_FORMAT);
	set_number(&o, "first_seq", stat->first_seq);
	set_number(&o, "next_seq", stat->next_seq);
	set_routes(&o, stat);
	set_figures(&o, stat, now_ms);
	return finish(&o);
}
