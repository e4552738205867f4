/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The figures for Prometheus.
 *
 * Invariant: a figure that is not known is left out: 0 would be a statement. What a
 * worker said of its connection counts as gone once the worker is silent.
 *
 * Failure modes: no memory: no answer.
 */
#include "metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "record.h"
#include "text.h"

#define PREFIX "tidegate_"

/* What is being written; the first failure sticks. */
struct writer {
	struct buffer *out;
	const char *name; /* of the metric that is being written */
	int err;
};

static void
put_str(struct writer *w, const char *text)
{
	if (w->err == 0)
		w->err = buffer_append_str(w->out, text);
}

static void
put_char(struct writer *w, char c)
{
	if (w->err == 0)
		w->err = buffer_append(w->out, &c, 1);
}

/* ---- the format ---- */

/* What follows are its samples. help: without line breaks and backslashes. */
static void
begin(struct writer *w, const char *name, const char *type, const char *help)
{
	w->name = name;
	if (w->err == 0)
		w->err = buffer_printf(w->out,
		    "# HELP " PREFIX "%s %s\n# TYPE " PREFIX "%s %s\n", name, help,
		    name, type);
}

static void
put_escaped(struct writer *w, const char *text, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (text[i] == '\n') {
			put_str(w, "\\n");
			continue;
		}
		if (text[i] == '\\' || text[i] == '"')
			put_char(w, '\\');
		put_char(w, text[i]);
	}
}

/* The value of a label has to be UTF-8. */
static void
put_label(struct writer *w, const char *label, const char *value)
{
	struct buffer safe = {0};

	put_char(w, '{');
	put_str(w, label);
	put_str(w, "=\"");
	if (text_is_utf8(value, strlen(value))) {
		put_escaped(w, value, strlen(value));
	} else {
		if (w->err == 0)
			w->err = text_append_safe(&safe, value, strlen(value));
		if (w->err == 0)
			put_escaped(w, (const char *)safe.data, safe.size);
		buffer_fini(&safe);
	}
	put_str(w, "\"}");
}

/* label NULL: none */
static void
put_start(struct writer *w, const char *label, const char *value)
{
	put_str(w, PREFIX);
	put_str(w, w->name);
	if (label != NULL)
		put_label(w, label, value);
	put_char(w, ' ');
}

static void
put_count(struct writer *w, const char *label, const char *value, uint64_t count)
{
	put_start(w, label, value);
	if (w->err == 0)
		w->err = buffer_append_number(w->out, count);
	put_char(w, '\n');
}

/* With one value, and no label. */
static void
put_one(struct writer *w, const char *name, const char *type, const char *help,
    uint64_t count)
{
	begin(w, name, type, help);
	put_count(w, NULL, NULL, count);
}

static void
put_real(struct writer *w, double number)
{
	put_start(w, NULL, NULL);
	if (w->err == 0)
		w->err = buffer_printf(w->out, "%.15g\n", number);
}

/* Cumulative, as Prometheus wants it, and in seconds. */
static void
put_histogram(struct writer *w, const char *name, const char *help,
    const struct histogram *h, enum histogram_kind kind)
{
	const int64_t *bounds_us = histogram_bounds_us(kind);
	uint64_t sum = 0;

	begin(w, name, "histogram", help);
	for (int i = 0; i < HISTOGRAM_BUCKETS && w->err == 0; i++) {
		sum += h->buckets[i];
		if (i < HISTOGRAM_BUCKETS - 1)
			w->err = buffer_printf(w->out,
			    PREFIX "%s_bucket{le=\"%.15g\"} %" PRIu64 "\n", name,
			    (double)bounds_us[i] / 1e6, sum);
	}
	if (w->err == 0)
		w->err = buffer_printf(w->out,
		    PREFIX "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n" PREFIX
			   "%s_sum %.15g\n" PREFIX "%s_count %" PRIu64 "\n",
		    name, sum, name, (double)h->sum_us / 1e6, name, sum);
}

/* ---- the whole gateway ---- */

static bool
is_alive(const struct view *v, enum board_worker worker, int64_t alive_at_ms)
{
	if (v->has_supervisor && v->facts.board->supervisor.members[worker].pid == 0)
		return false;
	return alive_at_ms != 0 && v->facts.now_ms - alive_at_ms <= STATUS_SILENT_MS;
}

static void
put_supervisor(struct writer *w, const struct view *v)
{
	static const char *const names[] = {"ingest", "forward", "monitor"};
	const struct board_supervisor *s = &v->facts.board->supervisor;

	if (!v->has_supervisor)
		return;
	begin(w, "start_time_seconds", "gauge", "When tidegated was started.");
	put_real(w,
	    (double)(v->facts.real_ms - (v->facts.now_ms - s->started_at_ms)) / 1000);
	begin(w, "worker_restarts_total", "counter",
	    "How often the worker had to be started again since tidegated was "
	    "started.");
	for (size_t i = 0; i < BOARD_WORKER_COUNT; i++)
		put_count(w, "worker", names[i], s->members[i].restart_count);
	begin(w, "worker_up", "gauge", "Whether the worker's process runs.");
	for (size_t i = 0; i < BOARD_WORKER_COUNT; i++)
		put_count(w, "worker", names[i], s->members[i].pid != 0);
}

static bool
is_known_before(const struct board_certificate a[], size_t a_count,
    const struct board_certificate b[], size_t b_count, const char *file)
{
	for (size_t i = 0; i < a_count; i++) {
		if (strcmp(a[i].file, file) == 0)
			return true;
	}
	for (size_t i = 0; i < b_count; i++) {
		if (strcmp(b[i].file, file) == 0)
			return true;
	}
	return false;
}

/* Both workers may use one file: it is told once. */
static void
put_certificates(struct writer *w, const struct view *v)
{
	const struct board_certificate *lists[] = {
	    v->facts.board->ingest.certificates, v->facts.board->forward.certificates};

	begin(w, "certificate_expiry_timestamp_seconds", "gauge",
	    "When the certificates in the file end.");
	for (size_t k = 0; k < 2; k++) {
		for (size_t i = 0; i < BOARD_CERTIFICATES_MAX; i++) {
			const struct board_certificate *c = &lists[k][i];

			if (c->file[0] == '\0')
				break;
			if (c->expires_at_s > 0 &&
			    !is_known_before(lists[0],
				k > 0 ? BOARD_CERTIFICATES_MAX : i, lists[1],
				k > 0 ? i : 0, c->file))
				put_count(
				    w, "file", c->file, (uint64_t)c->expires_at_s);
		}
	}
}

static void
put_gateway(struct writer *w, const struct view *v)
{
	begin(w, "build_info", "gauge", "The version of tidegate-monitor; always 1.");
	put_count(w, "version", PACKAGE_VERSION, 1);
	put_one(w, "state_well", "gauge",
	    "Whether data moves, or nothing waits: 1; /readyz tells why not.",
	    v->problems.size == 0);
	put_one(w, "clock_synchronised", "gauge",
	    "Whether the kernel holds the clock to be synchronised.",
	    v->facts.is_clock_synchronised);
	put_supervisor(w, v);
	put_certificates(w, v);
}

/* ---- from the broker ---- */

static void
put_ingest(struct writer *w, const struct view *v)
{
	const struct board_ingest *in = &v->facts.board->ingest;

	if (!v->facts.board->has_ingest)
		return;
	put_one(w, "mqtt_connected", "gauge", "Whether the MQTT broker is connected.",
	    is_alive(v, BOARD_WORKER_INGEST, in->alive_at_ms) &&
		in->state == BOARD_MQTT_CONNECTED);
	put_one(w, "mqtt_refused_subscriptions", "gauge",
	    "Subscriptions that the MQTT broker does not grant.", in->refused_count);
	put_one(w, "received_messages_total", "counter",
	    "Messages in commits to the journal that have returned.",
	    in->message_count);
	put_one(w, "received_bytes_total", "counter",
	    "Bytes of their topics and payloads.", in->byte_count);
	put_one(w, "ingest_errors_total", "counter",
	    "Commits that failed and connections to the broker that were lost.",
	    in->error_count);
	put_histogram(w, "commit_duration_seconds",
	    "How long a commit to the journal took, flushing included.", &in->commits,
	    HISTOGRAM_COMMIT);
	if (in->has_broker_dropped)
		put_one(w, "broker_dropped_messages", "gauge",
		    "Messages that the MQTT broker says it has dropped, of all its "
		    "clients.",
		    in->broker_dropped_count);
	if (in->full_in_ms > 0) {
		begin(w, "journal_full_in_seconds", "gauge",
		    "When the journal is full at the present rate; not there where it "
		    "does not fill.");
		put_real(w, (double)in->full_in_ms / 1000);
	}
}

/* ---- the journal ---- */

static void
put_removed(struct writer *w, const struct journal_stat *s)
{
	begin(w, "dropped_records_total", "counter",
	    "Records that left the journal without Kafka's confirmation, since it was "
	    "made.");
	for (int i = 1; i < JOURNAL_GAP_REASONS; i++)
		put_count(w, "reason",
		    journal_gap_reason_str((enum journal_gap_reason)i), s->removed[i]);
}

/* Also the reasons that there are none of, so that a series does not begin with a jump. */
static void
put_dead(struct writer *w, const struct view *v)
{
	static const char *const always[] = {
	    DEAD_TOO_LARGE, DEAD_REFUSED, DEAD_NO_ROUTE, DEAD_BAD_TOPIC, DEAD_SKIPPED};

	begin(w, "dead_records", "gauge",
	    "Dead letters in the journal, by why Kafka does not get them.");
	for (size_t i = 0; i < v->dead_count; i++)
		put_count(w, "reason", v->dead[i].reason, v->dead[i].count);
	for (size_t i = 0; i < sizeof(always) / sizeof(always[0]); i++) {
		size_t k = 0;

		while (k < v->dead_count && strcmp(v->dead[k].reason, always[i]) != 0)
			k++;
		if (k == v->dead_count)
			put_count(w, "reason", always[i], 0);
	}
}

static double
oldest_age_s(const struct view *v)
{
	const struct journal_stat *s = v->facts.stat;

	if (s->records == 0 || s->oldest_ms == 0 ||
	    (int64_t)s->oldest_ms >= v->facts.real_ms)
		return 0;
	return (double)(v->facts.real_ms - (int64_t)s->oldest_ms) / 1000;
}

static void
put_journal(struct writer *w, const struct view *v)
{
	const struct journal_stat *s = v->facts.stat;

	if (s == NULL)
		return;
	put_one(w, "journal_records", "gauge",
	    "Records that wait, by sequence numbers.", s->records);
	put_one(w, "journal_bytes", "gauge", "Bytes of the journal that are in use.",
	    s->used_bytes);
	put_one(w, "journal_max_bytes", "gauge",
	    "Bytes that the journal may take (journal.max_bytes).", s->max_bytes);
	put_one(w, "journal_room_bytes", "gauge",
	    "Bytes that it can still take, the room on the disk considered.",
	    v->facts.room_bytes);
	begin(w, "journal_oldest_age_seconds", "gauge",
	    "How long ago the oldest record that waits arrived; 0 where none does.");
	put_real(w, oldest_age_s(v));
	put_one(w, "journal_next_seq", "gauge",
	    "The sequence number that the next record gets.", s->next_seq);
	put_one(
	    w, "journal_gaps", "gauge", "Gap markers in the journal.", s->gap_count);
	put_one(w, "journal_damaged_batches", "gauge",
	    "Batches that could not be read and were set aside.", s->damaged_count);
	put_one(w, "journal_dead_bytes", "gauge",
	    "Bytes that dead letters take (journal.dead_max_bytes).", s->dead_bytes);
	put_dead(w, v);
	put_removed(w, s);
}

/* ---- to Kafka ---- */

enum route_figure {
	ROUTE_DELIVERED,
	ROUTE_BYTES,
	ROUTE_HELD,
	ROUTE_ACKED,
	ROUTE_DEAD,
	ROUTE_ERRORS,
	ROUTE_FIGURE_COUNT,
};

static uint64_t
route_figure(const struct board_route *r, enum route_figure figure)
{
	switch (figure) {
	case ROUTE_DELIVERED:
		return r->delivered_count;
	case ROUTE_BYTES:
		return r->delivered_bytes;
	case ROUTE_HELD:
		return r->held_since_ms != 0;
	case ROUTE_ACKED:
		return r->acked_seq;
	case ROUTE_DEAD:
		return r->dead_count;
	case ROUTE_ERRORS:
		return r->error_count;
	case ROUTE_FIGURE_COUNT:
		break;
	}
	return 0;
}

static void
put_routes(struct writer *w, const struct board_view *b)
{
	static const struct {
		const char *name, *type, *help;
	} figures[ROUTE_FIGURE_COUNT] = {
	    [ROUTE_DELIVERED] = {"delivered_records_total", "counter",
		"Records that Kafka has confirmed."},
	    [ROUTE_BYTES] = {"delivered_bytes_total", "counter",
		"Bytes of their keys and values."},
	    [ROUTE_HELD] = {"route_held", "gauge", "Whether the route holds."},
	    [ROUTE_ACKED] = {"route_acknowledged_seq", "gauge",
		"The sequence number up to which the route owes nothing."},
	    [ROUTE_DEAD] = {"route_dead_letters_total", "counter",
		"Records of the route that became dead letters."},
	    [ROUTE_ERRORS] = {"route_errors_total", "counter",
		"Records that Kafka refused or gave back."},
	};

	for (int figure = 0; figure < ROUTE_FIGURE_COUNT; figure++) {
		begin(w, figures[figure].name, figures[figure].type,
		    figures[figure].help);
		for (uint32_t i = 0; i < b->forward.route_count; i++)
			put_count(w, "route", b->routes[i].name,
			    route_figure(&b->routes[i], (enum route_figure)figure));
	}
}

static void
put_forward(struct writer *w, const struct view *v)
{
	const struct board_forward *f = &v->facts.board->forward;
	bool is_here = is_alive(v, BOARD_WORKER_FORWARD, f->alive_at_ms);

	if (!v->facts.board->has_forward)
		return;
	if (!is_here || f->state != BOARD_KAFKA_UNKNOWN)
		put_one(w, "kafka_connected", "gauge", "Whether Kafka answers.",
		    is_here && f->state == BOARD_KAFKA_REACHABLE);
	put_one(w, "kafka_sent_bytes_total", "counter",
	    "Bytes sent to Kafka's brokers, all that went over the wire.",
	    f->sent_bytes);
	put_histogram(w, "delivery_latency_seconds",
	    "From the arrival of a record to Kafka's acknowledgement.", &f->latency,
	    HISTOGRAM_DELIVERY);
	put_routes(w, v->facts.board);
}

int
metrics_render(const struct view *v, struct buffer *out)
{
	struct writer w = {.out = out};

	put_gateway(&w, v);
	put_ingest(&w, v);
	put_journal(&w, v);
	put_forward(&w, v);
	return w.err;
}
