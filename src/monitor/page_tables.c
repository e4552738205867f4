/* SPDX-License-Identifier: Apache-2.0 */
/* The lower half of the status page: routes, dead letters, workers, certificates. */
#include "page_parts.h"

#include <inttypes.h>
#include <string.h>

#include "forwarder.h"

#define DAY_S INT64_C(86400)

/* A certificate that ends sooner is marked. */
#define SOON_DAYS 30

/* ---- routes ---- */

static bool
is_off(const struct view *v, const char *route)
{
	const struct settings *s = v->facts.settings;

	for (size_t i = 0; i < s->route_count; i++) {
		if (strcmp(s->routes[i].name, route) == 0)
			return !s->routes[i].enabled;
	}
	return false;
}

/* What no route matches: no word of it where there is none. */
static bool
is_quiet(const struct board_route *r)
{
	return strcmp(r->name, FORWARDER_UNROUTED) == 0 && r->dead_count == 0 &&
	       r->held_since_ms == 0;
}

/* Records that it still owes, in the journal. */
static uint64_t
behind(const struct view *v, const struct board_route *r)
{
	uint64_t next = v->facts.stat != NULL ? v->facts.stat->next_seq
					      : v->facts.board->forward.next_seq;

	return next > r->acked_seq + 1 ? next - 1 - r->acked_seq : 0;
}

/* Of one that does not hold. */
static const char *
route_word(const struct view *v, const struct board_route *r)
{
	const struct board_forward *w = &v->facts.board->forward;

	if (!page_is_forward_alive(v))
		return "not known";
	if (strcmp(r->name, FORWARDER_UNROUTED) == 0)
		return "what no route matches becomes a dead letter";
	if (w->state == BOARD_KAFKA_AWAY)
		return "waits for Kafka";
	if (behind(v, r) == 0)
		return "up to date";
	if (w->state != BOARD_KAFKA_REACHABLE)
		return "waits for Kafka";
	return v->facts.now_ms - r->moved_at_ms > STATUS_STALLED_MS
		   ? "<strong>Kafka confirms nothing</strong>"
		   : "delivers";
}

static void
put_route_state(struct html *h, const struct view *v, const struct board_route *r)
{
	if (r->held_since_ms == 0) {
		html_add(h, route_word(v, r));
		return;
	}
	html_add(h, "<strong>");
	html_add(h, is_off(v, r->name) ? "off" : "holds");
	html_add(h, "</strong> ");
	html_since(h, r->held_since_ms);
	if (r->held_why[0] != '\0') {
		html_add(h, ": ");
		html_text(h, r->held_why);
	}
}

static void
put_route(struct html *h, const struct view *v, const struct board_route *r)
{
	page_row_begin(h, r->held_since_ms != 0);
	page_row_head(h, r->name);
	page_cell_begin(h, "State");
	put_route_state(h, v, r);
	page_cell_end(h);
	page_cell_number(h, "Delivered", r->delivered_count);
	page_cell_number(h, "Dead", r->dead_count);
	page_cell_number(h, "Position", r->acked_seq);
	page_cell_number(h, "Behind", behind(v, r));
	page_row_end(h);
}

/* Those that hold, or those that do not, while there is room. Returns how many. */
static uint32_t
put_some_routes(struct html *h, const struct view *v, bool do_hold, uint32_t room)
{
	const struct board_view *b = v->facts.board;
	uint32_t shown = 0;

	for (uint32_t i = 0; i < b->forward.route_count && shown < room; i++) {
		const struct board_route *r = &b->routes[i];

		if ((r->held_since_ms != 0) != do_hold || is_quiet(r))
			continue;
		put_route(h, v, r);
		shown++;
	}
	return shown;
}

static uint32_t
route_count(const struct board_view *b)
{
	uint32_t count = 0;

	for (uint32_t i = 0; b->has_forward && i < b->forward.route_count; i++)
		count += !is_quiet(&b->routes[i]);
	return count;
}

void
page_put_routes(struct html *h, const struct view *v)
{
	static const char *const labels[] = {
	    "Route", "State", "#Delivered", "#Dead", "#Position", "#Behind"};
	uint32_t count = route_count(v->facts.board);
	uint32_t shown = 0;

	html_add(h, "<section class=\"card\" aria-labelledby=\"routes-title\">\n"
		    "<h2 id=\"routes-title\">Routes</h2>\n");
	page_table_begin(
	    h, "routes", "routes-title", labels, sizeof(labels) / sizeof(labels[0]));
	if (count > 0) {
		shown = put_some_routes(h, v, true, PAGE_ROUTES_MAX);
		shown += put_some_routes(h, v, false, PAGE_ROUTES_MAX - shown);
	}
	page_table_end(h);
	html_add(h, "<p class=\"note\" id=\"routes-note\" data-live>");
	if (count == 0)
		html_add(h, "tidegate-forward has not told of its routes yet.");
	else if (shown < count)
		html_printf(h, "%" PRIu32 " more are not shown.", count - shown);
	html_add(h, "</p>\n</section>\n");
}

/* ---- dead letters ---- */

void
page_put_dead(struct html *h, const struct view *v)
{
	const struct journal_stat *s = v->facts.stat;

	html_add(h, "<section class=\"card\" aria-labelledby=\"dead-title\">\n"
		    "<h2 id=\"dead-title\">Dead letters</h2>\n"
		    "<div id=\"dead\" data-live>\n");
	if (s == NULL) {
		html_add(h, "<p>The journal cannot be read.</p>\n");
	} else if (s->dead_count == 0) {
		html_add(h, "<p>None.</p>\n");
	} else {
		html_add(h, "<p><b>");
		html_counted(h, s->dead_count, "dead letter", NULL);
		html_add(h, "</b> in the journal, ");
		html_size(h, s->dead_bytes);
		html_add(h, ". They stay until <code>tidegate-admin</code> sends them "
			    "again or discards them.</p>\n<dl>\n");
		for (size_t i = 0; i < v->dead_count; i++) {
			if (v->dead[i].count == 0)
				continue;
			html_add(h, "<div><dt>");
			html_text(h, v->dead[i].reason);
			html_add(h, "</dt><dd>");
			html_count(h, v->dead[i].count);
			page_fact_end(h);
		}
		html_add(h, "</dl>\n");
	}
	html_add(h, "</div>\n</section>\n");
}

/* ---- workers ---- */

static void
put_worker(struct html *h, const struct view *v, enum board_worker worker)
{
	static const char *const names[] = {
	    "tidegate-ingest", "tidegate-forward", "tidegate-monitor"};
	const struct board_view *b = v->facts.board;
	const struct board_member *m = &b->supervisor.members[worker];
	bool has_supervisor = v->has_supervisor && b->has_supervisor;
	/* The monitor is who answers. */
	bool is_alive = worker == BOARD_WORKER_MONITOR  ? true
			: worker == BOARD_WORKER_INGEST ? page_is_ingest_alive(v)
							: page_is_forward_alive(v);

	page_row_begin(h, !is_alive);
	page_row_head(h, names[worker]);
	page_cell_begin(h, "State");
	if (is_alive)
		html_add(h, "runs");
	else if (has_supervisor && m->pid != 0)
		html_add(h, "<strong>no word</strong>");
	else
		html_add(h, "<strong>does not run</strong>");
	if (has_supervisor && m->pid != 0)
		html_printf(h, ", process %" PRIu32, m->pid);
	if (m->died[0] != '\0') {
		html_add(h, "<br>Died last: ");
		html_text(h, m->died);
	}
	page_cell_end(h);
	if (has_supervisor) {
		page_cell_number(h, "Restarts", m->restart_count);
	} else {
		page_cell_begin(h, "Restarts");
		html_add(h, "it runs alone");
		page_cell_end(h);
	}
	page_row_end(h);
}

void
page_put_workers(struct html *h, const struct view *v)
{
	static const char *const labels[] = {"Worker", "State", "#Restarts"};

	html_add(h, "<section class=\"card\" aria-labelledby=\"workers-title\">\n"
		    "<h2 id=\"workers-title\">Workers</h2>\n");
	page_table_begin(
	    h, "workers", "workers-title", labels, sizeof(labels) / sizeof(labels[0]));
	for (int i = 0; i < BOARD_WORKER_COUNT; i++)
		put_worker(h, v, (enum board_worker)i);
	page_table_end(h);
	html_add(h, "</section>\n");
}

/* ---- certificates ---- */

static void
put_certificate(struct html *h, const struct view *v, const struct board_certificate *c)
{
	int64_t left_s = c->expires_at_s - v->facts.real_ms / 1000;
	bool is_marked = c->expires_at_s == 0 || left_s < SOON_DAYS * DAY_S;

	page_row_begin(h, is_marked);
	page_row_head(h, c->file);
	page_cell_begin(h, "Ends");
	if (c->expires_at_s == 0) {
		html_add(h, "<strong>it could not be read</strong>");
	} else {
		html_time(h, c->expires_at_s * 1000);
	}
	page_cell_end(h);
	page_cell_begin_number(h, "Left");
	if (c->expires_at_s != 0) {
		html_add(h, is_marked ? "<strong>" : "");
		if (left_s <= 0)
			html_add(h, "it has ended");
		else if (left_s < DAY_S)
			html_age(h, left_s * 1000);
		else
			html_counted(h, (uint64_t)(left_s / DAY_S), "day", NULL);
		html_add(h, is_marked ? "</strong>" : "");
	}
	page_cell_end(h);
	page_row_end(h);
}

static size_t
put_certificates(struct html *h, const struct view *v,
    const struct board_certificate list[BOARD_CERTIFICATES_MAX])
{
	size_t count = 0;

	while (count < BOARD_CERTIFICATES_MAX && list[count].file[0] != '\0')
		put_certificate(h, v, &list[count++]);
	return count;
}

void
page_put_certificates(struct html *h, const struct view *v)
{
	static const char *const labels[] = {"Certificate", "Ends", "#Left"};
	const struct board_view *b = v->facts.board;
	size_t count = 0;

	html_add(h, "<section class=\"card\" aria-labelledby=\"certificates-title\">\n"
		    "<h2 id=\"certificates-title\">Certificates</h2>\n");
	page_table_begin(h, "certificates", "certificates-title", labels,
	    sizeof(labels) / sizeof(labels[0]));
	if (b->has_ingest)
		count += put_certificates(h, v, b->ingest.certificates);
	if (b->has_forward)
		count += put_certificates(h, v, b->forward.certificates);
	page_table_end(h);
	html_printf(h, "<p class=\"note\" id=\"certificates-note\" data-live>%s</p>\n",
	    count == 0 ? "None in use." : "");
	html_add(h, "</section>\n");
}

/* ---- the gateway ---- */

static bool
has_parent(const struct journal_identity *identity)
{
	static const uint8_t none[16];

	return memcmp(identity->parent, none, sizeof(none)) != 0;
}

void
page_put_about(struct html *h, const struct view *v)
{
	const struct journal_identity *identity = v->facts.identity;
	const struct board_view *b = v->facts.board;
	char uuid[37];

	html_add(h, "<section class=\"card\" aria-labelledby=\"about-title\">\n"
		    "<h2 id=\"about-title\">This gateway</h2>\n"
		    "<dl id=\"about\" class=\"wide\" data-live>\n");
	page_fact_text(h, "Gateway", v->facts.settings->gateway_id);
	if (identity != NULL) {
		journal_uuid_text(identity->uuid, uuid);
		page_fact_text(h, "Journal", uuid);
	}
	if (identity != NULL && has_parent(identity)) {
		journal_uuid_text(identity->parent, uuid);
		page_fact_text(h, "Copied from", uuid);
	}
	page_fact_text(h, "Version", PACKAGE_VERSION);
	if (b->has_supervisor && b->supervisor.started_at_ms != 0) {
		page_fact_begin(h, "Running");
		html_since(h, b->supervisor.started_at_ms);
		page_fact_end(h);
	}
	page_fact_text(h, "Clock",
	    v->facts.is_clock_synchronised ? "synchronised" : "not synchronised");
	html_add(h, "</dl>\n</section>\n");
}
