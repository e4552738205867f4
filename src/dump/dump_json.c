/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tidegate-dump writes as JSON, by jansson. It is ASCII, so that no character of a
 * message reaches a terminal.
 */
#include "dump_json.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "dump_print.h"
#include "dump_time.h"
#include "err.h"
#include "text.h"

static json_t *
json_number(uint64_t value)
{
	/* Beyond JSON's integers: damage or nonsense, but not another number. */
	return value <= INT64_MAX ? json_integer((json_int_t)value)
				  : json_sprintf("%" PRIu64, value);
}

static json_t *
json_bytes(int (*append)(struct buffer *, const void *, size_t), struct bytes value)
{
	struct buffer text = {0};
	json_t *string = NULL;

	if (append(&text, value.data, value.size) == 0 &&
	    buffer_append(&text, "", 1) == 0)
		string = json_stringn((const char *)text.data, text.size - 1);
	buffer_fini(&text);
	return string;
}

/* Set a member; false when there is no memory. Takes value over, NULL included. */
static bool
set(json_t *object, const char *name, json_t *value)
{
	return json_object_set_new(object, name, value) == 0;
}

/* Both NAME, to read, and NAME_ms, to calculate with. */
static bool
set_time(json_t *object, const char *name, uint64_t at_ms)
{
	struct buffer text = {0};
	char number[40];
	bool done;

	(void)snprintf(number, sizeof(number), "%s_ms", name);
	done = dump_time_append(&text, at_ms) == 0 &&
	       set(object, name, json_stringn((const char *)text.data, text.size)) &&
	       set(object, number, json_number(at_ms));
	buffer_fini(&text);
	return done;
}

static bool
set_base64(json_t *object, const char *name, struct bytes value)
{
	return set(object, name, json_bytes(text_append_base64, value));
}

/* NAME where it is UTF-8; else NAME escaped to look at, and NAME_base64 exact. */
static bool
set_text(json_t *object, const char *name, struct bytes value)
{
	char exact[40];

	if (value.data == NULL)
		return true;
	if (text_is_utf8(value.data, value.size))
		return set(object, name, json_stringn_nocheck(value.data, value.size));
	(void)snprintf(exact, sizeof(exact), "%s_base64", name);
	return set(object, name, json_bytes(text_append_safe, value)) &&
	       set_base64(object, exact, value);
}

static bool
set_properties(json_t *object, const struct record *r)
{
	json_t *array = json_array();

	if (!set(object, "user_properties", array))
		return false;
	for (size_t i = 0; i < r->user_property_count; i++) {
		const struct user_property *property = &r->user_properties[i];
		json_t *pair = json_object();

		if (json_array_append_new(array, pair) != 0 ||
		    !set_text(pair, "name", property->name) ||
		    !set_text(pair, "value", property->value))
			return false;
	}
	return true;
}

static bool
set_record(json_t *o, const struct record *r)
{
	bool done = set_time(o, "received", r->received_ms) &&
		    set(o, "qos", json_integer(r->qos)) &&
		    set(o, "retain", json_boolean(r->retain)) &&
		    set_text(o, "topic", r->topic);

	if (done && r->has_payload_format)
		done = set(o, "payload_format", json_integer(r->payload_format));
	if (done && r->has_message_expiry)
		done = set(o, "message_expiry_s", json_integer(r->message_expiry_s));
	if (done && r->subscription_id != 0)
		done = set(o, "subscription_id", json_integer(r->subscription_id));
	/* Not "route": that is where a dead letter was to go. */
	if (done && r->route.data != NULL)
		done = set_text(o, "bound_to", r->route);
	if (done && r->requeued_from != 0)
		done = set(o, "requeued_from", json_number(r->requeued_from));
	if (done)
		done = set_text(o, "content_type", r->content_type) &&
		       set_text(o, "response_topic", r->response_topic);
	if (done && r->correlation_data.data != NULL)
		done = set_base64(o, "correlation_data", r->correlation_data);
	if (done && r->user_property_count > 0)
		done = set_properties(o, r);
	if (done)
		done = set(o, "size", json_number(r->payload.size)) &&
		       set_base64(o, "payload", r->payload);
	if (done && text_is_utf8(r->payload.data, r->payload.size))
		done = set_text(o, "payload_text", r->payload);
	return done;
}

static int
append_dump(const char *data, size_t size, void *context)
{
	return buffer_append(context, data, size);
}

/* Append the object, if it was completed, and release it. */
static int
finish(struct buffer *out, json_t *object, bool is_complete)
{
	size_t size = out->size;
	int err = 0;

	if (!is_complete || json_dump_callback(object, append_dump, out,
				JSON_COMPACT | JSON_ENSURE_ASCII) != 0) {
		out->size = size;
		err = ERR_NOMEM;
	}
	json_decref(object);
	return err;
}

int
dump_json_record(struct buffer *out, uint64_t seq, const struct record *r)
{
	json_t *o = json_object();

	return finish(out, o, set(o, "seq", json_number(seq)) && set_record(o, r));
}

int
dump_json_dead(struct buffer *out, const struct journal_dead *dead,
    const struct dead_letter *letter, const struct record *r)
{
	struct bytes route = {dead->route.data, dead->route.size};
	struct bytes reason = {letter->reason, strlen(letter->reason)};
	json_t *o = json_object();
	bool done = set(o, "seq", json_number(dead->seq)) &&
		    set_text(o, "route", route) && set_text(o, "reason", reason) &&
		    set_text(o, "detail", letter->detail) &&
		    set_time(o, "buried", letter->buried_ms) && set_record(o, r);

	return finish(out, o, done);
}

int
dump_json_gap(struct buffer *out, const struct journal_gap *gap)
{
	json_t *o = json_object();
	bool done = set(o, "first_seq", json_number(gap->first_seq)) &&
		    set(o, "last_seq", json_number(gap->first_seq + gap->count - 1)) &&
		    set(o, "count", json_number(gap->count)) &&
		    set_time(o, "time", gap->at_ms) &&
		    set(o, "reason", json_string(journal_gap_reason_str(gap->reason)));

	return finish(out, o, done);
}

static bool
set_uuid(json_t *o, const char *name, const uint8_t uuid[16])
{
	char text[37];

	journal_uuid_text(uuid, text);
	return set(o, name, json_string(text));
}

static bool
set_routes(json_t *o, const struct journal_stat *stat)
{
	json_t *routes = json_object();

	if (!set(o, "acknowledged", routes))
		return false;
	for (size_t i = 0; i < stat->route_count; i++) {
		if (!set(routes, stat->routes[i].name,
			json_number(stat->routes[i].acked_seq)))
			return false;
	}
	return true;
}

/* Records that were removed without Kafka's confirmation, by reason. */
static bool
set_removed(json_t *o, const struct journal_stat *stat)
{
	json_t *removed = json_object();

	if (!set(o, "removed", removed))
		return false;
	for (int i = 1; i < JOURNAL_GAP_REASONS; i++) {
		const char *name = journal_gap_reason_str((enum journal_gap_reason)i);

		if (stat->removed[i] > 0 &&
		    !set(removed, name, json_number(stat->removed[i])))
			return false;
	}
	return true;
}

static bool
set_figures(json_t *o, const struct journal_stat *stat, int64_t now_ms)
{
	bool done = set(o, "records", json_number(stat->records)) &&
		    set(o, "batches", json_number(stat->batches)) &&
		    set(o, "used_bytes", json_number(stat->used_bytes)) &&
		    set(o, "file_bytes", json_number(stat->file_bytes)) &&
		    set(o, "dead", json_number(stat->dead_count)) &&
		    set(o, "dead_bytes", json_number(stat->dead_bytes)) &&
		    set(o, "gaps", json_number(stat->gap_count)) &&
		    set(o, "damaged_batches", json_number(stat->damaged_count)) &&
		    set_removed(o, stat);

	if (done && stat->max_bytes > 0)
		done = set(o, "max_bytes", json_number(stat->max_bytes)) &&
		       set(o, "free_bytes", json_number(dump_free_bytes(stat)));
	if (done && stat->oldest_ms > 0)
		done = set_time(o, "oldest", stat->oldest_ms) &&
		       set(o, "oldest_age_ms",
			   json_number(dump_oldest_age_ms(stat, now_ms)));
	return done;
}

int
dump_json_stat(struct buffer *out, const struct journal_identity *identity,
    const struct journal_stat *stat, int64_t now_ms)
{
	static const uint8_t none[16];
	json_t *o = json_object();
	bool done = set_uuid(o, "uuid", identity->uuid);

	if (done && memcmp(identity->parent, none, sizeof(none)) != 0)
		done = set_uuid(o, "parent", identity->parent);
	done = done && set(o, "gateway", json_string(identity->gateway_id)) &&
	       set(o, "format", json_integer(JOURNAL_FORMAT)) &&
	       set(o, "first_seq", json_number(stat->first_seq)) &&
	       set(o, "next_seq", json_number(stat->next_seq)) && set_routes(o, stat) &&
	       set_figures(o, stat, now_ms);
	return finish(out, o, done);
}
