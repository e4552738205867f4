/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The top of the status page: is data moving, and the way that it takes: broker, journal,
 * Kafka.
 *
 * Invariant (I9): what a worker has not lately said is not shown as if it held. The state
 * is a live region, so it has no figures in it that change with each look.
 */
#include "page_parts.h"

#include <string.h>

#define LATELY_MS 60000 /* as the rates that are told */

/* ---- what is known ---- */

static bool
is_lately(const struct view *v, int64_t alive_at_ms)
{
	return alive_at_ms != 0 && v->facts.now_ms - alive_at_ms <= STATUS_SILENT_MS;
}

bool
page_is_ingest_alive(const struct view *v)
{
	const struct board_view *b = v->facts.board;

	return b->has_ingest && is_lately(v, b->ingest.alive_at_ms) &&
	       !(b->has_supervisor &&
		   b->supervisor.members[BOARD_WORKER_INGEST].pid == 0);
}

bool
page_is_forward_alive(const struct view *v)
{
	const struct board_view *b = v->facts.board;

	return b->has_forward && is_lately(v, b->forward.alive_at_ms) &&
	       !(b->has_supervisor &&
		   b->supervisor.members[BOARD_WORKER_FORWARD].pid == 0);
}

/* Did anything come in or go out within what is remembered? */
static bool
has_traffic(const struct view *v)
{
	const struct history *y = v->history;

	if (y == NULL)
		return false;
	return history_delivered_rate(y, LATELY_MS) > 0;
}

/* ---- the state ---- */

enum sign {
	SIGN_GOOD,
	SIGN_BAD,
	SIGN_UNKNOWN,
};

static const char *
sign_class(enum sign sign)
{
	switch (sign) {
	case SIGN_GOOD:
		return "good";
	case SIGN_BAD:
		return "bad";
	case SIGN_UNKNOWN:
		return "unknown";
	}
	return "";
}

/* A shape beside the words, so that it is not colour alone that tells. */
static void
put_sign(struct html *h, enum sign sign)
{
	html_add(h,
	    "<svg class=\"sign\" viewBox=\"0 0 24 24\" width=\"24\" height=\"24\" "
	    "aria-hidden=\"true\" focusable=\"false\">");
	switch (sign) {
	case SIGN_GOOD:
		html_add(h, "<circle class=\"shape\" cx=\"12\" cy=\"12\" r=\"11\"/>"
			    "<path class=\"mark\" d=\"M6.5 12.5l3.7 3.7 7.3-8\"/>");
		break;
	case SIGN_BAD:
		html_add(h, "<path class=\"shape\" d=\"M12 1.5 23.5 22H.5z\"/>"
			    "<path class=\"mark\" d=\"M12 8.5v6.5M12 17.6v2\"/>");
		break;
	case SIGN_UNKNOWN:
		html_add(h,
		    "<circle class=\"shape\" cx=\"12\" cy=\"12\" r=\"11\"/>"
		    "<path class=\"mark\" d=\"M8.8 9.2a3.2 3.2 0 1 1 4.6 3.1q-1.4 "
		    ".7-1.4 2.2M12 17v2\"/>");
		break;
	}
	html_add(h, "</svg>");
}

/* The first clause of a problem; the rest of it is why. */
static size_t
clause_size(const char *problem)
{
	const char *colon = strstr(problem, ": ");

	return colon == NULL ? strlen(problem) : (size_t)(colon - problem);
}

/* As the start of a sentence; a program keeps its name. */
static void
put_clause(struct html *h, const char *problem)
{
	size_t size = clause_size(problem);
	char first = problem[0];

	if (first >= 'a' && first <= 'z' && strncmp(problem, "tidegate", 8) != 0) {
		html_printf(h, "%c", first - 'a' + 'A');
		html_text_bytes(h, problem + 1, size - 1);
	} else {
		html_text_bytes(h, problem, size);
	}
}

static void
put_well(struct html *h, const struct view *v)
{
	const struct journal_stat *s = v->facts.stat;

	if (has_traffic(v))
		html_add(h, "Well: data is moving");
	else if (s != NULL && s->records > 0)
		html_add(h, "Well: what waits is on its way");
	else
		html_add(h, "Well: there is nothing to move");
}

void
page_put_title(struct html *h, const struct view *v)
{
	if (v->problems.size == 0)
		put_well(h, v);
	else
		put_clause(h, (const char *)v->problems.data);
	html_add(h, " \xe2\x80\x93 ");
	html_text(h, v->facts.settings->gateway_id);
	html_add(h, " \xe2\x80\x93 Tidegate");
}

static void
put_problems(struct html *h, const struct view *v)
{
	const char *problem = (const char *)v->problems.data;
	size_t at = strlen(problem) + 1;
	size_t clause = clause_size(problem);

	html_add(h, "<p class=\"words\">");
	put_clause(h, problem);
	html_add(h, "</p>\n");
	if (problem[clause] != '\0') {
		html_add(h, "<p class=\"why\">");
		html_text(h, problem + clause + 2);
		html_add(h, "</p>\n");
	}
	if (at >= v->problems.size)
		return;
	html_add(h, "<ul>\n");
	for (; at < v->problems.size; at += strlen(problem) + 1) {
		problem = (const char *)v->problems.data + at;
		html_add(h, "<li>");
		html_text(h, problem);
		html_add(h, "</li>\n");
	}
	html_add(h, "</ul>\n");
}

void
page_put_state(struct html *h, const struct view *v)
{
	bool is_well = v->problems.size == 0;

	html_printf(h,
	    "<div id=\"state\" class=\"verdict %s\" role=\"status\" "
	    "aria-live=\"polite\" data-live>\n",
	    sign_class(is_well ? SIGN_GOOD : SIGN_BAD));
	put_sign(h, is_well ? SIGN_GOOD : SIGN_BAD);
	html_add(h, "<div>\n");
	if (is_well) {
		html_add(h, "<p class=\"words\">");
		put_well(h, v);
		html_add(h, "</p>\n");
	} else {
		put_problems(h, v);
	}
	html_add(h, "</div>\n</div>\n");
}

/* ---- the way of a message ---- */

static void
begin_card(struct html *h, const char *id, const char *heading)
{
	html_printf(h,
	    "<section class=\"card\" aria-labelledby=\"%s-title\">\n"
	    "<h2 id=\"%s-title\">%s</h2>\n<div id=\"%s\" data-live>\n",
	    id, id, heading, id);
}

static void
end_card(struct html *h)
{
	html_add(h, "</dl>\n</div>\n</section>\n");
}

/* How it stands, since when; then the list of facts begins. */
static void
put_condition(struct html *h, enum sign sign, const char *words, int64_t since_ms)
{
	html_printf(h, "<div class=\"condition %s\">", sign_class(sign));
	put_sign(h, sign);
	html_printf(h, "<div><p class=\"words\">%s</p>", words);
	if (since_ms != 0) {
		html_add(h, "<p class=\"since\">");
		html_since(h, since_ms);
		html_add(h, "</p>");
	}
	html_add(h, "</div></div>\n<dl>\n");
}

static void
put_broker(struct html *h, const struct view *v)
{
	static const char *const words[] = {"Away", "Connected",
	    "Kept away: journal full", "Kept away: disk full",
	    "Kept away: journal not writable"};
	const struct board_ingest *in = &v->facts.board->ingest;
	const struct settings_mqtt *mqtt = &v->facts.settings->mqtt;
	bool is_known =
	    page_is_ingest_alive(v) && in->state < sizeof(words) / sizeof(words[0]);

	begin_card(h, "broker", "MQTT broker");
	put_condition(h,
	    !is_known                           ? SIGN_UNKNOWN
	    : in->state == BOARD_MQTT_CONNECTED ? SIGN_GOOD
						: SIGN_BAD,
	    is_known ? words[in->state] : "Not known", is_known ? in->since_ms : 0);
	if (mqtt->host != NULL) {
		page_fact_begin(h, "Broker");
		html_text(h, mqtt->host);
		html_printf(h, ":%d", mqtt->port);
		page_fact_end(h);
	}
	if (is_known && in->protocol != 0)
		page_fact_text(
		    h, "Protocol", in->protocol == 5 ? "MQTT 5" : "MQTT 3.1.1");
	page_fact_begin(h, "Received");
	html_counted(h, in->message_count, "message", NULL);
	html_add(h, ", ");
	html_size(h, in->byte_count);
	page_fact_end(h);
	if (in->refused_count > 0)
		page_fact_count(h, "Subscriptions refused", in->refused_count);
	if (in->dropped_count > 0)
		page_fact_count(h, "Dropped: journal full", in->dropped_count);
	if (in->has_broker_dropped && in->broker_dropped_count > 0)
		page_fact_count(h, "Dropped by the broker", in->broker_dropped_count);
	if (in->error[0] != '\0')
		page_fact_long(h,
		    is_known && in->state == BOARD_MQTT_CONNECTED ? "Trouble"
								  : "Last error",
		    in->error);
	end_card(h);
}

static void
put_kafka(struct html *h, const struct view *v)
{
	static const char *const words[] = {"Not heard from yet", "Away", "Reachable"};
	static const enum sign signs[] = {SIGN_UNKNOWN, SIGN_BAD, SIGN_GOOD};
	const struct board_forward *w = &v->facts.board->forward;
	const struct settings_kafka *kafka = &v->facts.settings->kafka;
	bool is_known =
	    page_is_forward_alive(v) && w->state < sizeof(words) / sizeof(words[0]);
	uint64_t count = 0;

	for (uint32_t i = 0; v->facts.board->has_forward && i < w->route_count; i++)
		count += v->facts.board->routes[i].delivered_count;
	begin_card(h, "kafka", "Kafka");
	put_condition(h, is_known ? signs[w->state] : SIGN_UNKNOWN,
	    is_known ? words[w->state] : "Not known", is_known ? w->since_ms : 0);
	if (kafka->bootstrap_servers != NULL)
		page_fact_long(h, "Servers", kafka->bootstrap_servers);
	page_fact_begin(h, "Delivered");
	html_counted(h, count, "record", NULL);
	page_fact_end(h);
	if (w->sent_bytes > 0) {
		page_fact_begin(h, "Sent over the wire");
		html_size(h, w->sent_bytes);
		page_fact_end(h);
	}
	if (w->error[0] != '\0')
		page_fact_long(h, "Last error", w->error);
	if (w->journal_error[0] != '\0')
		page_fact_long(h, "Not recorded", w->journal_error);
	end_card(h);
}

/* ---- the journal ---- */

/* How much the backlog has changed over the last minute, one a second. */
static double
backlog_trend(const struct history *y)
{
	const struct history_sample *last, *first;
	size_t i;

	if (y == NULL || y->count < 2)
		return 0;
	last = &y->samples[y->count - 1];
	for (i = y->count - 1; i > 0; i--) {
		if (last->at_ms - y->samples[i].at_ms >= LATELY_MS)
			break;
	}
	first = &y->samples[i];
	if (last->at_ms <= first->at_ms)
		return 0;
	return ((double)last->backlog - (double)first->backlog) * 1000 /
	       (double)(last->at_ms - first->at_ms);
}

static void
put_trend(struct html *h, const struct view *v)
{
	double trend = backlog_trend(v->history);

	if (v->facts.stat->records == 0)
		return;
	page_fact_begin(h, "Trend");
	if (trend >= 0.05) {
		html_add(h, "growing by ");
		html_rate(h, trend);
		html_add(h, "/s");
	} else if (trend <= -0.05) {
		html_add(h, "shrinking; at this rate empty in ");
		html_age(h, (int64_t)((double)v->facts.stat->records * 1000 / -trend));
	} else {
		html_add(h, "steady");
	}
	page_fact_end(h);
}

static void
put_meter(struct html *h, const struct journal_stat *s)
{
	double share = s->max_bytes == 0 || s->used_bytes >= s->max_bytes
			   ? 1
			   : (double)s->used_bytes / (double)s->max_bytes;
	/* It is full only when it is: 99.6 % are 99. */
	int percent = (int)(share * 100);

	html_printf(h,
	    "<div class=\"full\"><dt id=\"full-title\">Full</dt><dd>\n<svg "
	    "class=\"meter%s\" "
	    "role=\"meter\" aria-labelledby=\"full-title\" aria-valuemin=\"0\" "
	    "aria-valuemax=\"100\" aria-valuenow=\"%d\" aria-valuetext=\"%d %%\" "
	    "viewBox=\"0 0 1000 10\" preserveAspectRatio=\"none\">",
	    percent >= 90 ? " nearly" : "", percent, percent);
	html_printf(h,
	    "<rect class=\"track\" width=\"1000\" height=\"10\"/>"
	    "<rect class=\"fill\" width=\"%d\" height=\"10\"/></svg>\n",
	    (int)(share * 1000));
	html_printf(h, "<span>%s%d %%: ", percent < 1 ? "under " : "",
	    percent < 1 ? 1 : percent);
	html_size(h, s->used_bytes);
	html_add(h, " of ");
	html_size(h, s->max_bytes);
	html_add(h, "</span></dd></div>\n");
}

static void
put_room(struct html *h, const struct view *v)
{
	const struct board_ingest *in = &v->facts.board->ingest;

	if (!page_is_ingest_alive(v))
		return;
	page_fact_begin(h, "Time to full");
	if (in->state == BOARD_MQTT_PAUSED || in->is_dropping) {
		html_add(h, "it is full");
	} else if (in->full_in_ms > 0) {
		html_add(h, "about ");
		html_age(h, in->full_in_ms);
	} else {
		html_add(h, "not filling up");
	}
	page_fact_end(h);
}

static void
put_journal(struct html *h, const struct view *v)
{
	const struct journal_stat *s = v->facts.stat;
	uint64_t removed = 0;

	begin_card(h, "journal", "Journal");
	if (s == NULL) {
		put_condition(h, SIGN_BAD, "It cannot be read", 0);
		end_card(h);
		return;
	}
	html_add(h, "<p class=\"figure\"><b>");
	html_count(h, s->records);
	html_add(h, s->records == 1 ? "</b> record waits</p>\n<dl>\n"
				    : "</b> records wait</p>\n<dl>\n");
	if (s->records > 0 && s->oldest_ms != 0) {
		page_fact_begin(h, "The oldest waits for");
		html_age(h, v->facts.real_ms - (int64_t)s->oldest_ms);
		page_fact_end(h);
	}
	put_trend(h, v);
	put_meter(h, s);
	put_room(h, v);
	for (int i = 1; i < JOURNAL_GAP_REASONS; i++)
		removed += s->removed[i];
	if (removed > 0)
		page_fact_count(h, "Removed undelivered", removed);
	if (s->damaged_count > 0)
		page_fact_count(h, "Damaged batches set aside", s->damaged_count);
	end_card(h);
}

void
page_put_flow(struct html *h, const struct view *v)
{
	html_add(h, "<div class=\"flow\">\n");
	put_broker(h, v);
	put_journal(h, v);
	put_kafka(h, v);
	html_add(h, "</div>\n");
}
