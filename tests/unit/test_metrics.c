/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/views.h"
#include "monitor/metrics.h"

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
render(struct fixture *f)
{
	buffer_clear(&f->out);
	assert_int_equal(metrics_render(&f->made.view, &f->out), 0);
	assert_int_equal(buffer_append(&f->out, "", 1), 0);
	return (const char *)f->out.data;
}

/* Is this one of its lines? Without "tidegate_" in front. */
static bool
says(const char *text, const char *line)
{
	char whole[512];

	(void)snprintf(whole, sizeof(whole), "\ntidegate_%s\n", line);
	return strstr(text, whole) != NULL;
}

/* Does it have samples of this name, with or without labels? */
static bool
has(const char *text, const char *name)
{
	char plain[128], labelled[128];

	(void)snprintf(plain, sizeof(plain), "\ntidegate_%s ", name);
	(void)snprintf(labelled, sizeof(labelled), "\ntidegate_%s{", name);
	return strstr(text, plain) != NULL || strstr(text, labelled) != NULL;
}

/* ---- form ---- */

/* Up to its value: the name and the labels, which nobody else may have. */
static void
expect_once(const char *line)
{
	const char *next = strchr(line, '\n');
	char start[512];
	size_t size = (size_t)(next - line);

	while (size > 0 && line[size - 1] != ' ')
		size--;
	assert_in_range(size, 2, sizeof(start) - 2);
	(void)snprintf(start, sizeof(start), "\n%.*s", (int)size, line);
	if (strstr(next, start) != NULL)
		fail_msg("twice: %s", start);
}

/* Each metric: HELP, TYPE, then its samples and no others; each of them once. */
static void
expect_well_formed(const char *text)
{
	char name[128] = "", type[32];

	for (const char *line = text; *line != '\0'; line = strchr(line, '\n') + 1) {
		assert_non_null(strchr(line, '\n'));
		if (strncmp(line, "# HELP ", 7) == 0) {
			assert_int_equal(sscanf(line, "# HELP %127s", name), 1);
			assert_null(strstr(strchr(line, '\n'), line));
		} else if (*line == '#') {
			char typed[128];

			assert_int_equal(
			    sscanf(line, "# TYPE %127s %31s", typed, type), 2);
			assert_string_equal(typed, name);
		} else {
			assert_memory_equal(line, name, strlen(name));
			expect_once(line);
		}
	}
}

static void
all_of_it_is_well_formed(void **state)
{
	struct fixture *f = *state;

	expect_well_formed(render(f));
	views_take_kafka_away(&f->made);
	assert_int_equal(views_judge(&f->made), 0);
	expect_well_formed(render(f));
}

static void
labels_are_escaped(void **state)
{
	struct fixture *f = *state;
	struct board_certificate *c = f->made.board.ingest.certificates;
	const char *text;

	(void)snprintf(c[0].file, sizeof(c[0].file), "/a\"b\\c\nd");
	c[0].expires_at_s = 17;
	(void)snprintf(c[1].file, sizeof(c[1].file), "/\xff");
	c[1].expires_at_s = 18;
	text = render(f);
	assert_true(says(text,
	    "certificate_expiry_timestamp_seconds{file=\"/a\\\"b\\\\c\\nd\"} 17"));
	assert_true(
	    says(text, "certificate_expiry_timestamp_seconds{file=\"/\\\\xff\"} 18"));
}

/* ---- figures ---- */

static void
what_is_well_is_told(void **state)
{
	struct fixture *f = *state;
	const char *text = render(f);

	assert_true(says(text, "state_well 1"));
	assert_true(says(text, "clock_synchronised 1"));
	assert_true(says(text, "start_time_seconds 1795349152"));
	assert_true(says(text, "worker_restarts_total{worker=\"ingest\"} 0"));
	assert_true(says(text, "worker_restarts_total{worker=\"forward\"} 1"));
	assert_true(says(text, "worker_restarts_total{worker=\"monitor\"} 0"));
	assert_true(says(text, "mqtt_connected 1"));
	assert_true(says(text, "kafka_connected 1"));
	assert_true(says(text, "received_messages_total 1234567"));
	assert_true(says(text, "received_bytes_total 987654321"));
	assert_true(says(text, "kafka_sent_bytes_total 654321987"));
	assert_true(says(text, "journal_records 17"));
	assert_true(says(text, "journal_bytes 3145728"));
	assert_true(says(text, "journal_max_bytes 4294967296"));
	assert_true(says(text, "journal_room_bytes 4291821568"));
	assert_true(says(text, "journal_next_seq 1234568"));
	assert_true(says(text, "journal_oldest_age_seconds 1.2"));
	assert_true(says(text, "delivered_records_total{route=\"telemetry\"} 1000000"));
	assert_true(says(text, "route_acknowledged_seq{route=\"telemetry\"} 1234550"));
	assert_true(says(text, "route_held{route=\"alarms\"} 0"));
	assert_true(has(text, "build_info"));
}

static void
an_outage_is_told(void **state)
{
	struct fixture *f = *state;
	const char *text;

	views_take_kafka_away(&f->made);
	assert_int_equal(views_judge(&f->made), 0);
	text = render(f);
	assert_true(says(text, "state_well 0"));
	assert_true(says(text, "kafka_connected 0"));
	assert_true(says(text, "mqtt_connected 1"));
	assert_true(says(text, "route_held{route=\"alarms\"} 1"));
	assert_true(says(text, "journal_full_in_seconds 277200"));
	assert_true(says(text, "journal_oldest_age_seconds 12012"));
}

static void
what_is_not_known_is_left_out(void **state)
{
	static const char *const names[] = {"mqtt_connected", "kafka_connected",
	    "received_messages_total", "commit_duration_seconds_count",
	    "delivered_records_total", "delivery_latency_seconds_count",
	    "journal_records", "journal_room_bytes", "dead_records",
	    "dropped_records_total", "worker_restarts_total", "journal_full_in_seconds",
	    "broker_dropped_messages", "kafka_sent_bytes_total"};
	struct fixture *f = *state;
	const char *text;

	f->made.board.has_supervisor = f->made.board.has_ingest = false;
	f->made.board.has_forward = f->made.view.has_supervisor = false;
	f->made.view.facts.stat = NULL;
	text = render(f);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (has(text, names[i]))
			fail_msg("%s is told", names[i]);
	}
	assert_true(has(text, "build_info"));
}

/* Kafka has neither answered nor failed yet: that is no word about it. */
static void
an_unknown_state_is_no_state(void **state)
{
	struct fixture *f = *state;

	f->made.board.forward.state = BOARD_KAFKA_UNKNOWN;
	assert_false(has(render(f), "kafka_connected"));
}

/* What it said of its connection was true when it lived. */
static void
a_worker_that_is_gone_is_not_connected(void **state)
{
	struct fixture *f = *state;
	const char *text;

	f->made.board.ingest.alive_at_ms = VIEWS_NOW_MS - STATUS_SILENT_MS - 1;
	f->made.board.supervisor.members[BOARD_WORKER_FORWARD].pid = 0;
	f->made.board.forward.state = BOARD_KAFKA_UNKNOWN;
	text = render(f);
	assert_true(says(text, "mqtt_connected 0"));
	assert_true(says(text, "kafka_connected 0"));
	assert_true(says(text, "worker_up{worker=\"forward\"} 0"));
	assert_true(says(text, "received_messages_total 1234567"));
}

static void
removed_records_and_dead_letters_have_reasons(void **state)
{
	struct fixture *f = *state;
	const char *text;

	f->made.stat.removed[JOURNAL_GAP_DROPPED_OLDEST] = 500;
	f->made.stat.removed[JOURNAL_GAP_OPERATOR] = 2;
	f->made.view.dead[0] = (struct view_reason){DEAD_REFUSED, 2};
	f->made.view.dead[1] = (struct view_reason){"other", 1};
	f->made.view.dead_count = 2;
	text = render(f);
	expect_well_formed(text);
	assert_true(
	    says(text, "dropped_records_total{reason=\"dropped: oldest\"} 500"));
	assert_true(says(text, "dropped_records_total{reason=\"operator\"} 2"));
	assert_true(says(text, "dropped_records_total{reason=\"damaged\"} 0"));
	assert_true(says(text, "dead_records{reason=\"refused\"} 2"));
	assert_true(says(text, "dead_records{reason=\"other\"} 1"));
	assert_true(says(text, "dead_records{reason=\"no route\"} 0"));
}

static void
a_certificate_of_both_workers_is_told_once(void **state)
{
	struct fixture *f = *state;

	f->made.board.forward.certificates[1] = f->made.board.ingest.certificates[0];
	expect_well_formed(render(f));
	assert_true(says(render(f), "certificate_expiry_timestamp_seconds{file=\"/etc/"
				    "tidegate/tls/kafka-ca.pem\"} "
				    "1899115452"));
}

static void
histograms_are_cumulative_and_in_seconds(void **state)
{
	struct fixture *f = *state;
	struct histogram *h = &f->made.board.ingest.commits;
	const char *text;

	histogram_add(h, HISTOGRAM_COMMIT, 500);
	histogram_add(h, HISTOGRAM_COMMIT, 1500);
	histogram_add(h, HISTOGRAM_COMMIT, 1600);
	histogram_add(h, HISTOGRAM_COMMIT, INT64_C(100000000));
	text = render(f);
	assert_true(says(text, "commit_duration_seconds_bucket{le=\"0.001\"} 1"));
	assert_true(says(text, "commit_duration_seconds_bucket{le=\"0.002\"} 3"));
	assert_true(says(text, "commit_duration_seconds_bucket{le=\"60\"} 3"));
	assert_true(says(text, "commit_duration_seconds_bucket{le=\"+Inf\"} 4"));
	assert_true(says(text, "commit_duration_seconds_count 4"));
	assert_true(says(text, "commit_duration_seconds_sum 100.0036"));
	assert_true(says(text, "delivery_latency_seconds_bucket{le=\"2419200\"} 0"));
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(all_of_it_is_well_formed),
	    TEST(labels_are_escaped),
	    TEST(what_is_well_is_told),
	    TEST(an_outage_is_told),
	    TEST(what_is_not_known_is_left_out),
	    TEST(an_unknown_state_is_no_state),
	    TEST(a_worker_that_is_gone_is_not_connected),
	    TEST(removed_records_and_dead_letters_have_reasons),
	    TEST(a_certificate_of_both_workers_is_told_once),
	    TEST(histograms_are_cumulative_and_in_seconds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
