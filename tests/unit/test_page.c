/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/monitor/page.h"
#include "tests/lib/views.h"
#include "text.h"

#define NONCE "MDEyMzQ1Njc4OWFiY2RlZg"

struct fixture {
	struct made_view made;
	struct buffer out;
};

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (f == NULL || views_make(&f->made) != 0)
		return -1;
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	views_fini(&f->made);
	buffer_fini(&f->out);
	free(f);
	return 0;
}

static const char *
page(struct fixture *f)
{
	assert_int_equal(views_judge(&f->made), 0);
	f->out.size = 0;
	assert_int_equal(page_render(&f->made.view, NONCE, &f->out), 0);
	assert_true(text_is_utf8(f->out.data, f->out.size));
	assert_int_equal(buffer_append(&f->out, "", 1), 0);
	return (const char *)f->out.data;
}

static void
has(const char *page, const char *text)
{
	if (strstr(page, text) == NULL)
		fail_msg("the page has no: %s", text);
}

static void
has_not(const char *page, const char *text)
{
	if (strstr(page, text) != NULL)
		fail_msg("the page has: %s", text);
}

static size_t
times(const char *page, const char *text)
{
	size_t count = 0;

	for (const char *p = strstr(page, text); p != NULL; p = strstr(p + 1, text))
		count++;
	return count;
}

/* ---- the document ---- */

static void
policy_lets_all_of_it_pass(void **state)
{
	struct fixture *f = *state;
	const char *p = page(f);

	assert_int_equal(times(p, "<style nonce=\"" NONCE "\">"), 1);
	assert_int_equal(times(p, "<script nonce=\"" NONCE "\">"), 1);
	assert_int_equal(times(p, "<style"), 2); /* one is in the script's own text */
	assert_int_equal(times(p, "<script"), 1);
	has_not(p, " style=");
	has_not(p, "<form");
	has_not(p, "<base");
	has_not(p, "<img");
	has_not(p, "@import");
	has_not(p, "url(");
	has_not(p, "https://");
	/* That of SVG's namespace. */
	assert_int_equal(times(p, "http://"), 1);
}

/* Each end tag closes what was opened last. */
static void
is_nested(const char *p)
{
	static const char *const voids[] = {"!DOCTYPE", "meta", "link", "br"};
	char open[64][16];
	size_t depth = 0;

	for (p = strchr(p, '<'); p != NULL; p = strchr(p + 1, '<')) {
		bool is_end = p[1] == '/';
		size_t length = strcspn(p + 1 + is_end, " >/\n");
		char name[16] = "";
		bool is_void = false;

		assert_in_range(length, 1, sizeof(name) - 1);
		memcpy(name, p + 1 + is_end, length);
		for (size_t i = 0; i < sizeof(voids) / sizeof(voids[0]); i++)
			is_void = is_void || strcmp(name, voids[i]) == 0;
		/* <rect .../> */
		is_void = is_void || strchr(p, '>')[-1] == '/';
		if (is_end) {
			assert_true(depth > 0);
			assert_string_equal(open[--depth], name);
		} else if (!is_void) {
			assert_true(depth < sizeof(open) / sizeof(open[0]));
			memcpy(open[depth++], name, sizeof(name));
		}
		if (strcmp(name, "style") == 0 && !is_end)
			p = strstr(p, "</style>") - 1;
		if (strcmp(name, "script") == 0 && !is_end)
			p = strstr(p, "</script>") - 1;
	}
	assert_int_equal(depth, 0);
}

static void
elements_are_nested(void **state)
{
	struct fixture *f = *state;

	is_nested(page(f));
	views_take_kafka_away(&f->made);
	is_nested(page(f));
}

/* The value of the attribute that begins at p, as name="value". */
static void
take_value(const char *p, char value[64])
{
	const char *from = strchr(p, '"') + 1;
	size_t length = strcspn(from, "\"");

	assert_in_range(length, 1, 63);
	memcpy(value, from, length);
	value[length] = '\0';
}

static void
names_refer_to_elements(void **state)
{
	static const char *const references[] = {
	    " aria-labelledby=\"", " aria-describedby=\""};
	struct fixture *f = *state;
	const char *p = page(f);
	char value[64], id[80];

	for (const char *q = strstr(p, " id=\""); q != NULL;
	     q = strstr(q + 1, " id=\"")) {
		take_value(q, value);
		(void)snprintf(id, sizeof(id), " id=\"%s\"", value);
		assert_int_equal(times(p, id), 1);
	}
	for (size_t i = 0; i < sizeof(references) / sizeof(references[0]); i++) {
		for (const char *q = strstr(p, references[i]); q != NULL;
		     q = strstr(q + 1, references[i])) {
			take_value(q, value);
			(void)snprintf(id, sizeof(id), " id=\"%s\"", value);
			has(p, id);
		}
	}
}

static void
odd_text_makes_no_element(void **state)
{
	static char plain[] = "name";
	static char odd[] = "\"'><script>x</script><img onerror=\"x\" src=x>&amp;";
	static char bytes[] = "<\x01\xff\xe2\x80\xae>";
	struct fixture *f = *state;
	size_t count, quotes;
	const char *p;

	views_take_odd(&f->made, plain);
	p = page(f);
	count = times(p, "<");
	quotes = times(p, "\"");
	views_fini(&f->made);
	assert_int_equal(views_make(&f->made), 0);
	views_take_odd(&f->made, odd);
	p = page(f);
	assert_int_equal(times(p, "<"), count);
	assert_int_equal(times(p, "\""), quotes);
	has_not(p, "<script>x");
	has_not(p, "<img");
	has_not(p, "onerror=\"");
	has(p, "&lt;script&gt;x");
	is_nested(p);
	views_take_odd(&f->made, bytes);
	p = page(f);
	has(p, "&lt;\\x01\\xff\\u202e&gt;");
	has_not(p, "\x01");
	is_nested(p);
}

/* ---- what it says ---- */

static void
well_is_said(void **state)
{
	struct fixture *f = *state;
	const char *p = page(f);

	has(p,
	    "<title id=\"title\" data-live>Well: data is moving \xe2\x80\x93 site-17");
	has(p, "<p class=\"words\">Well: data is moving</p>");
	has(p, "verdict good");
	has(p, "<p class=\"words\">Connected</p>");
	has(p, "<p class=\"words\">Reachable</p>");
	has(p, "<b>17</b> records wait");
	has(p, "<dd>1,234,567 messages, 942\xc2\xa0MiB</dd>");
	has(p, "energy &lt;north&gt; &amp; Co");
	has(p, "<div>delivers</div>");
	has(p, "not filling up");
}

static void
nothing_to_move_is_said(void **state)
{
	struct fixture *f = *state;

	size_t last = f->made.history.count - 1;

	/* It did move, but not within the last minute. */
	for (size_t i = last - 60000 / HISTORY_STEP_MS; i < last; i++)
		f->made.history.samples[i].delivered_count =
		    f->made.history.samples[last].delivered_count;
	has(page(f), "Well: what waits is on its way<");
	f->made.history.count = 0;
	has(page(f), "Well: what waits is on its way<");
	f->made.stat.records = 0;
	has(page(f), "Well: there is nothing to move<");
}

static void
outage_is_said(void **state)
{
	struct fixture *f = *state;
	const char *p;

	views_take_kafka_away(&f->made);
	p = page(f);
	has(p, "<title id=\"title\" data-live>Waiting for Kafka \xe2\x80\x93 site-17");
	has(p, "<p class=\"words\">Waiting for Kafka</p>");
	has(p, "<p class=\"why\">kafka-1.example:9093/bootstrap: Connect");
	has(p, "<li>route alarms holds: topic site17.alarms: not authorised");
	has_not(p, "Well:");
	has(p, "<b>178,468</b> records wait");
	has(p, "<dt>The oldest waits for</dt><dd>3 h 20 min</dd>");
	has(p, "aria-valuetext=\"12 %\"");
	has(p, "<dt>Time to full</dt><dd>about 3 days 5 h</dd>");
	has(p, "growing by 14.4/s");
	has(p, "<strong>holds</strong> since <time");
	has(p, "<div>waits for Kafka</div>");
	has_not(p, "<div>delivers</div>");
}

static void
route_says_what_it_does(void **state)
{
	struct fixture *f = *state;
	struct board_route *r = &f->made.routes[0];

	r->acked_seq = f->made.stat.next_seq - 1;
	has(page(f), "<div>up to date</div>");
	r->acked_seq = 1;
	r->moved_at_ms = VIEWS_NOW_MS - STATUS_STALLED_MS - 1;
	has(page(f), "<strong>Kafka confirms nothing</strong>");
	f->made.board.forward.state = BOARD_KAFKA_UNKNOWN;
	has(page(f), "<div>waits for Kafka</div>");
	r->held_since_ms = VIEWS_NOW_MS - 1000;
	f->made.settings_routes[0].enabled = false;
	has(page(f), "<strong>off</strong> since");
}

static void
what_no_route_matches_is_shown_where_there_is_some(void **state)
{
	struct fixture *f = *state;
	struct board_route *r = &f->made.routes[2];

	(void)snprintf(r->name, sizeof(r->name), "%s", JOURNAL_UNROUTED);
	has_not(page(f), JOURNAL_UNROUTED);
	r->dead_count = 1;
	has(page(f), JOURNAL_UNROUTED);
}

static void
unknown_is_not_said_as_known(void **state)
{
	struct fixture *f = *state;
	const char *p;

	f->made.board.ingest.alive_at_ms = VIEWS_NOW_MS - STATUS_SILENT_MS - 1;
	p = page(f);
	has(p, "<p class=\"words\">No word from tidegate-ingest any more</p>");
	has_not(p, "Connected");
	has(p, "Reachable");
	has_not(p, "Time to full");
	f->made.board.supervisor.members[BOARD_WORKER_FORWARD].pid = 0;
	p = page(f);
	has(p, "tidegate-forward does not run: killed by signal 9");
	has_not(p, "Reachable");
	has_not(p, "<div>delivers</div>");
	has(p, "<strong>does not run</strong>");
}

static void
nothing_is_known_yet(void **state)
{
	struct fixture *f = *state;
	const char *p;

	f->made.board.has_supervisor = false;
	f->made.board.has_ingest = f->made.board.has_forward = false;
	f->made.view.facts.stat = NULL;
	f->made.view.facts.identity = NULL;
	f->made.view.events = NULL;
	f->made.view.has_supervisor = false;
	f->made.history.count = 0;
	p = page(f);
	is_nested(p);
	has(p, "No word from tidegate-ingest yet");
	has(p, "It cannot be read");
	has(p, "The curve begins in a few seconds.");
	has(p, "it is told of no events");
	has(p, "tidegate-forward has not told of its routes yet.");
	has(p, "None in use.");
	has_not(p, "Well:");
}

static void
full_is_full_only_when_it_is(void **state)
{
	struct fixture *f = *state;

	f->made.stat.used_bytes = f->made.stat.max_bytes - 1;
	has(page(f), "aria-valuetext=\"99 %\"");
	f->made.stat.used_bytes = f->made.stat.max_bytes + 4096;
	has(page(f), "aria-valuetext=\"100 %\"");
	f->made.board.ingest.state = BOARD_MQTT_PAUSED;
	has(page(f), "<dt>Time to full</dt><dd>it is full</dd>");
	has(page(f), "Kept away: journal full");
}

static void
curve_has_a_point_for_each_sample(void **state)
{
	struct fixture *f = *state;
	const char *p = page(f);
	const char *line = strstr(p, "<polyline class=\"line in\" points=\"");
	size_t points = 0;

	assert_non_null(line);
	for (; *line != '>'; line++)
		points += *line == ',';
	/* The oldest is from before what is drawn. */
	assert_int_equal(points, HISTORY_MAX - 1);
	has(p, "<polyline class=\"line out\"");
	has(p, "Over the last minute: in <b>");
	has(p, "<span>50/s</span><span>25/s</span><span>0</span>");
}

static void
routes_that_hold_are_shown_first(void **state)
{
	static struct board_route routes[300];
	struct fixture *f = *state;
	const char *p;

	memset(routes, 0, sizeof(routes));
	for (size_t i = 0; i < 300; i++)
		(void)snprintf(routes[i].name, sizeof(routes[i].name), "route-%zu-", i);
	routes[299].held_since_ms = VIEWS_NOW_MS - 1000;
	f->made.board.routes = routes;
	f->made.board.forward.route_count = 300;
	p = page(f);
	has(p, ">route-299-<");
	has(p, ">route-98-<");
	has_not(p, ">route-99-<");
	has(p, "200 more are not shown.");
}

static void
certificates_have_days_left(void **state)
{
	struct fixture *f = *state;
	const char *p = page(f);

	has(p, "/etc/tidegate/tls/gateway.pem");
	has(p, "<strong>12 days</strong>");
	has(p, ">1,200 days<");
	f->made.board.ingest.certificates[0].expires_at_s = VIEWS_REAL_MS / 1000 - 1;
	has(page(f), "<strong>it has ended</strong>");
	f->made.board.ingest.certificates[0].expires_at_s = 0;
	has(page(f), "<strong>it could not be read</strong>");
}

static void
events_come_newest_first(void **state)
{
	struct fixture *f = *state;
	const char *p = page(f);
	const char *newest = strstr(p, "a line that is no JSON: &lt;b&gt;");
	const char *warning =
	    strstr(p, "title=\"2026-11-23 12:01:59 UTC\">12:01:59</time>");
	const char *oldest = strstr(p, ">22 Nov 12:04:11</time>");

	assert_non_null(newest);
	assert_non_null(warning);
	assert_non_null(oldest);
	assert_true(newest < warning && warning < oldest);
	has(p, "<li class=\"loud\"><time");
	has(p, "route alarms: &lt;script&gt;alert(1)&lt;/script&gt; &amp; what");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
		policy_lets_all_of_it_pass, setup, teardown),
	    cmocka_unit_test_setup_teardown(elements_are_nested, setup, teardown),
	    cmocka_unit_test_setup_teardown(names_refer_to_elements, setup, teardown),
	    cmocka_unit_test_setup_teardown(odd_text_makes_no_element, setup, teardown),
	    cmocka_unit_test_setup_teardown(well_is_said, setup, teardown),
	    cmocka_unit_test_setup_teardown(nothing_to_move_is_said, setup, teardown),
	    cmocka_unit_test_setup_teardown(outage_is_said, setup, teardown),
	    cmocka_unit_test_setup_teardown(route_says_what_it_does, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		what_no_route_matches_is_shown_where_there_is_some, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		unknown_is_not_said_as_known, setup, teardown),
	    cmocka_unit_test_setup_teardown(nothing_is_known_yet, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		full_is_full_only_when_it_is, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		curve_has_a_point_for_each_sample, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		routes_that_hold_are_shown_first, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		certificates_have_days_left, setup, teardown),
	    cmocka_unit_test_setup_teardown(events_come_newest_first, setup, teardown),
	};

	return cmocka_run_group_tests_name("page", tests, NULL, NULL);
}
