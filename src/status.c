/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The status report: what is on the board and in the journal, as JSON.
 *
 * Invariant (I9): "well" is said only when status_problems() has nothing to say.
 *
 * Failure modes: no memory: no report.
 */
#include "status.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "certificate_watch.h"
#include "err.h"
#include "text.h"

/* ---- JSON ---- */

/* An object that is being filled; the first failure sticks. */
struct object {
	json_t *json;
	bool has_failed;
};

static void
put(struct object *o, const char *name, json_t *value)
{
	/* Takes value over in any case; fails for NULL, the object's or the value's. */
	if (json_object_set_new(o->json, name, value) != 0)
		o->has_failed = true;
}

static void
put_count(struct object *o, const char *name, uint64_t count)
{
	put(o, name, json_integer((json_int_t)count));
}

/* What may have been cut in the middle of a character, or never was UTF-8. */
static json_t *
json_text(const char *text)
{
	struct buffer safe = {0};
	json_t *json = NULL;

	if (text_append_safe(&safe, text, strlen(text)) == 0)
		json = json_stringn(
		    safe.size > 0 ? (const char *)safe.data : "", safe.size);
	buffer_fini(&safe);
	return json;
}

static void
put_text(struct object *o, const char *name, const char *text)
{
	put(o, name, json_text(text));
}

static void
put_time(struct object *o, const char *name, int64_t real_ms)
{
	time_t seconds = (time_t)(real_ms / 1000);
	char day[32] = "";
	char text[48];
	struct tm tm;

	if (gmtime_r(&seconds, &tm) == NULL ||
	    strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm) == 0)
		day[0] = '\0';
	(void)snprintf(text, sizeof(text), "%s.%03dZ", day, (int)(real_ms % 1000));
	put(o, name, json_string(text));
}

/* An instant of the board, as time of day; not at all where there is none. */
static void
put_instant(
    struct object *o, const struct status_facts *f, const char *name, int64_t at_ms)
{
	if (at_ms != 0)
		put_time(o, name, f->real_ms - (f->now_ms - at_ms));
}

/* Into its parent; anything that has failed in it fails there. */
static void
put_object(struct object *o, const char *name, struct object *child)
{
	o->has_failed = o->has_failed || child->has_failed;
	put(o, name, child->json);
}

static struct object
new_object(void)
{
	return (struct object){.json = json_object()};
}

static void
put_state(struct object *o, const struct status_facts *f)
{
	struct buffer problems = {0};
	struct buffer words = {0};
	json_t *list = json_array();
	int err = status_problems(f, &problems);
	size_t at = 0;

	while (at < problems.size && err == 0) {
		const char *one = (const char *)problems.data + at;

		at += strlen(one) + 1;
		err = json_array_append_new(list, json_string(one));
		if (err == 0 && words.size > 0)
			err = buffer_append_str(&words, "; ");
		if (err == 0)
			err = buffer_append_str(&words, one);
	}
	if (err == 0)
		err = buffer_append(&words, "", 1);
	o->has_failed = o->has_failed || err != 0;
	put(o, "state",
	    json_string(
		problems.size == 0 || err != 0 ? "well" : (const char *)words.data));
	put(o, "well", json_boolean(problems.size == 0));
	put(o, "problems", list);
	buffer_fini(&problems);
	buffer_fini(&words);
}

static void
put_gaps(struct object *o, const struct status_facts *f)
{
	json_t *list = json_array();

	for (size_t i = 0; i < f->gap_count; i++) {
		const struct journal_gap *gap = &f->gaps[i];
		struct object one = new_object();

		put_count(&one, "first_seq", gap->first_seq);
		put_count(&one, "count", gap->count);
		put_text(&one, "reason", journal_gap_reason_str(gap->reason));
		put_time(&one, "time", (int64_t)gap->at_ms);
		if (json_array_append_new(list, one.json) != 0 || one.has_failed)
			o->has_failed = true;
	}
	put(o, "latest_gaps", list);
}

/* How many records gaps stand for, and why. */
static void
put_removed(struct object *o, const struct journal_stat *s)
{
	struct object reasons = new_object();
	uint64_t sum = 0;

	for (int i = 1; i < JOURNAL_GAP_REASONS; i++) {
		sum += s->removed[i];
		if (s->removed[i] > 0)
			put_count(&reasons,
			    journal_gap_reason_str((enum journal_gap_reason)i),
			    s->removed[i]);
	}
	put_count(o, "dropped_records", sum);
	put_object(o, "dropped_by_reason", &reasons);
}

/* How long there is room at the present rate; not at all where that is not known. */
static void
put_room(struct object *o, const struct status_facts *f)
{
	const struct board_ingest *in = &f->board->ingest;

	put_count(o, "free_bytes", f->room_bytes);
	if (f->board->has_ingest && in->full_in_ms > 0)
		put_count(o, "full_in_s", (uint64_t)in->full_in_ms / 1000);
}

static void
put_journal(struct object *o, const struct status_facts *f)
{
	const struct journal_stat *s = f->stat;
	char uuid[37];

	if (f->identity == NULL)
		return;
	journal_uuid_text(f->identity->uuid, uuid);
	put_text(o, "journal", uuid);
	if (s == NULL)
		return;
	put_count(o, "first_seq", s->first_seq);
	put_count(o, "next_seq", s->next_seq);
	put_count(o, "acknowledged_seq", s->acked_seq);
	put_count(o, "records_waiting", s->records);
	put_count(o, "oldest_age_s",
	    s->records > 0 && s->oldest_ms != 0 && (int64_t)s->oldest_ms < f->real_ms
		? ((uint64_t)f->real_ms - s->oldest_ms) / 1000
		: 0);
	put_count(o, "used_bytes", s->used_bytes);
	put_count(o, "max_bytes", s->max_bytes);
	put_room(o, f);
	put_count(o, "dead_records", s->dead_count);
	put_removed(o, s);
	put_count(o, "gaps", s->gap_count);
	put_gaps(o, f);
}

static void
put_mqtt(struct object *o, const struct status_facts *f)
{
	static const char *const words[] = {
	    "away", "connected", "paused", "paused", "paused"};
	const struct board_ingest *in = &f->board->ingest;
	struct object mqtt = new_object();

	if (!f->board->has_ingest || in->state >= sizeof(words) / sizeof(words[0])) {
		put(&mqtt, "state", json_string("unknown"));
	} else {
		put(&mqtt, "state", json_string(words[in->state]));
		put_instant(&mqtt, f, "since", in->since_ms);
		put_count(&mqtt, "protocol", in->protocol);
		put_count(&mqtt, "refused_subscriptions", in->refused_count);
		put_count(&mqtt, "received_messages", in->message_count);
		put_count(&mqtt, "received_bytes", in->byte_count);
		put_count(&mqtt, "commits", in->commit_count);
		put_count(&mqtt, "errors", in->error_count);
		if (in->has_broker_dropped)
			put_count(
			    &mqtt, "broker_dropped_messages", in->broker_dropped_count);
		put_text(&mqtt, "error", in->error);
	}
	put_object(o, "mqtt", &mqtt);
}

static void
put_kafka(struct object *o, const struct status_facts *f)
{
	static const char *const words[] = {"unknown", "away", "reachable"};
	const struct board_forward *w = &f->board->forward;
	struct object kafka = new_object();

	if (!f->board->has_forward || w->state >= sizeof(words) / sizeof(words[0])) {
		put(&kafka, "state", json_string("unknown"));
	} else {
		put(&kafka, "state", json_string(words[w->state]));
		put_instant(&kafka, f, "since", w->since_ms);
		put_count(&kafka, "sent_bytes", w->sent_bytes);
		put_text(&kafka, "error", w->error);
	}
	put_object(o, "kafka", &kafka);
}

static void
put_workers(struct object *o, const struct status_facts *f)
{
	static const char *const names[] = {
	    "tidegate-ingest", "tidegate-forward", "tidegate-monitor"};
	struct object restarts = new_object();

	if (!f->board->has_supervisor) {
		json_decref(restarts.json);
		return;
	}
	put_instant(o, f, "started", f->board->supervisor.started_at_ms);
	for (size_t i = 0; i < BOARD_WORKER_COUNT; i++)
		put_count(
		    &restarts, names[i], f->board->supervisor.members[i].restart_count);
	put_object(o, "restarts", &restarts);
}

/* ---- certificates ---- */

struct certificates {
	struct object *report;
	json_t *list, *warnings;
	int64_t real_s;
};

static void
warn_of_certificate(struct certificates *all, const struct board_certificate *c)
{
	int64_t left_s = c->expires_at_s - all->real_s;
	char text[BOARD_FILE_BYTES + 64];

	if (c->expires_at_s == 0 || left_s >= CERTIFICATE_SOON_S)
		return;
	if (left_s <= 0)
		(void)snprintf(
		    text, sizeof(text), "the certificate in %s has expired", c->file);
	else
		(void)snprintf(text, sizeof(text),
		    "the certificate in %s expires in %d days", c->file,
		    (int)(left_s / 86400));
	if (json_array_append_new(all->warnings, json_text(text)) != 0)
		all->report->has_failed = true;
}

/* Those of one worker; other: of another, whose files are not told again. */
static void
add_certificates(struct certificates *all, const struct board_certificate mine[],
    const struct board_certificate other[])
{
	for (size_t i = 0; i < BOARD_CERTIFICATES_MAX && mine[i].file[0] != '\0'; i++) {
		struct object one = new_object();
		bool is_known = false;

		for (size_t k = 0; k < BOARD_CERTIFICATES_MAX; k++)
			is_known |= strcmp(other[k].file, mine[i].file) == 0;
		if (is_known) {
			json_decref(one.json);
			continue;
		}
		put_text(&one, "file", mine[i].file);
		if (mine[i].expires_at_s != 0)
			put_time(&one, "expires", mine[i].expires_at_s * 1000);
		if (json_array_append_new(all->list, one.json) != 0 || one.has_failed)
			all->report->has_failed = true;
		warn_of_certificate(all, &mine[i]);
	}
}

/* That one ends soon is no reason not to be well: data moves. */
static void
put_certificates(struct object *o, const struct status_facts *f)
{
	static const struct board_certificate none[BOARD_CERTIFICATES_MAX];
	struct certificates all = {.report = o,
	    .list = json_array(),
	    .warnings = json_array(),
	    .real_s = f->real_ms / 1000};
	const struct board_certificate *in = none;

	if (f->board->has_ingest)
		in = f->board->ingest.certificates;
	add_certificates(&all, in, none);
	if (f->board->has_forward)
		add_certificates(&all, f->board->forward.certificates, in);
	put(o, "warnings", all.warnings);
	put(o, "certificates", all.list);
}

/* ---- routes and topics ---- */

/* May counts be compared with those of the last report? */
static bool
is_same_run(const struct status_facts *f)
{
	return f->earlier != NULL && f->earlier->has_forward &&
	       f->earlier->forward.run_from_ms == f->board->forward.run_from_ms;
}

/* Where the range since the last report begins. */
static uint64_t
range_start(const struct status_facts *f, const struct board_route *r)
{
	for (uint32_t i = 0; is_same_run(f) && i < f->earlier->forward.route_count;
	     i++) {
		if (strcmp(f->earlier->routes[i].name, r->name) == 0)
			return f->earlier->routes[i].acked_seq + 1;
	}
	return r->start_seq + 1;
}

static json_t *
route_json(const struct status_facts *f, const struct board_route *r)
{
	struct object o = new_object();

	put_text(&o, "name", r->name);
	put_count(&o, "acknowledged_seq", r->acked_seq);
	put_count(&o, "acknowledged_from_seq", range_start(f, r));
	put_count(&o, "delivered_records", r->delivered_count);
	put_count(&o, "delivered_bytes", r->delivered_bytes);
	put_count(&o, "dead_records", r->dead_count);
	put_count(&o, "errors", r->error_count);
	put(&o, "held", json_boolean(r->held_since_ms != 0));
	if (r->held_since_ms != 0) {
		put_instant(&o, f, "held_since", r->held_since_ms);
		put_text(&o, "held_why", r->held_why);
	}
	if (!o.has_failed)
		return o.json;
	json_decref(o.json);
	return NULL;
}

static void
put_routes(struct object *o, const struct status_facts *f)
{
	json_t *list = json_array();
	uint32_t count = f->board->has_forward ? f->board->forward.route_count : 0;

	for (uint32_t i = 0; i < count && i < STATUS_ROUTES_MAX; i++) {
		if (json_array_append_new(list, route_json(f, &f->board->routes[i])) !=
		    0)
			o->has_failed = true;
	}
	put(o, "routes", list);
	put_count(o, "routes_left_out",
	    count > STATUS_ROUTES_MAX ? count - STATUS_ROUTES_MAX : 0);
}

struct topic_share {
	const char *name;
	uint64_t count;
};

static int
by_count_falling(const void *a, const void *b)
{
	const struct topic_share *x = a, *y = b;

	if (x->count != y->count)
		return x->count < y->count ? 1 : -1;
	return strcmp(x->name, y->name);
}

/* Acknowledged since the last report, by topic. */
static void
put_topics(struct object *o, const struct status_facts *f)
{
	const struct board_forward *now = &f->board->forward;
	const struct board_forward *then = is_same_run(f) ? &f->earlier->forward : NULL;
	struct topic_share shares[BOARD_TOPICS_MAX];
	struct object topics = new_object();
	uint64_t others = 0;

	/* A topic keeps its place on the board as long as a run lasts. */
	for (uint32_t i = 0; i < now->topic_count; i++) {
		shares[i].name = now->topics[i].name;
		shares[i].count = now->topics[i].count;
		if (then != NULL && i < then->topic_count)
			shares[i].count -= then->topics[i].count;
	}
	qsort(shares, now->topic_count, sizeof(shares[0]), by_count_falling);
	others = now->other_count - (then != NULL ? then->other_count : 0);
	for (uint32_t i = 0; i < now->topic_count; i++) {
		if (shares[i].count > 0 && i < STATUS_TOPICS_MAX)
			put_count(&topics, shares[i].name, shares[i].count);
		else
			others += shares[i].count;
	}
	put_object(o, "acknowledged_by_topic", &topics);
	put_count(o, "acknowledged_to_other_topics", others);
}

/* ---- the whole ---- */

/* Appends the object's text, and releases it. */
static int
finish(struct object *o, struct buffer *out)
{
	char *text = o->has_failed ? NULL : json_dumps(o->json, JSON_COMPACT);
	int err = text == NULL ? ERR_NOMEM : buffer_append_str(out, text);

	free(text);
	json_decref(o->json);
	return err;
}

int
status_render(const struct status_facts *f, struct buffer *out)
{
	struct object o = new_object();

	put_text(&o, "gateway", f->settings->gateway_id);
	put_time(&o, "time", f->real_ms);
	put(&o, "version", json_string(PACKAGE_VERSION));
	put_state(&o, f);
	put_journal(&o, f);
	put(&o, "clock_synchronised", json_boolean(f->is_clock_synchronised));
	put_workers(&o, f);
	put_mqtt(&o, f);
	put_kafka(&o, f);
	put_certificates(&o, f);
	put_routes(&o, f);
	put_topics(&o, f);
	return finish(&o, out);
}

int
status_gone(const struct settings *settings, struct buffer *out)
{
	struct object o = new_object();

	put_text(&o, "gateway", settings->gateway_id);
	put(&o, "version", json_string(PACKAGE_VERSION));
	put(&o, "state", json_string("gone"));
	put(&o, "well", json_false());
	return finish(&o, out);
}
