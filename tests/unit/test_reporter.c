/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "../lib/journals.h"
#include "../lib/tmpdir.h"
#include "now.h"
#include "status.h"

#define INTERVAL_MS 60000
#define FIRST_MS    2000
#define CHANGE_MS   5000
#define RETRY_MS    10000

struct fixture {
	struct settings settings;
	struct journal *journal;
	struct board *board;
	struct reporter *reporter;
	int64_t at_ms; /* of opening it */
	json_t *json;
};

static char gateway_id[] = "test";

/* With something new on the board at each call, and Kafka in this state. */
static void
write_board(struct fixture *f, enum board_kafka kafka, int64_t now_ms, uint64_t acked)
{
	const struct board_ingest ingest = {
	    .alive_at_ms = now_ms, .state = BOARD_MQTT_CONNECTED};
	const struct board_route route = {
	    .name = "default", .acked_seq = acked, .moved_at_ms = now_ms};
	const struct board_forward forward = {
	    .alive_at_ms = now_ms, .state = kafka, .run_from_ms = 1, .route_count = 1};

	board_write_ingest(f->board, &ingest);
	board_write_forward(f->board, &forward, &route);
}

static int
setup(void **state)
{
	struct fixture *f;
	void *directory;

	if (tmpdir_setup(&directory) != 0)
		return -1;
	f = calloc(1, sizeof(*f));
	if (f == NULL || board_open(&f->board, -1) != 0)
		return -1;
	f->journal = journals_open(directory, JOURNAL_INGEST);
	f->settings.gateway_id = gateway_id;
	f->settings.status.interval_s = INTERVAL_MS / 1000;
	if (reporter_open(&f->reporter, &f->settings, f->journal, f->board) != 0)
		return -1;
	f->at_ms = now_monotonic_ms();
	write_board(f, BOARD_KAFKA_REACHABLE, f->at_ms, 0);
	*state = f;
	return tmpdir_teardown(&directory); /* what is open stays open */
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	json_decref(f->json);
	reporter_close(f->reporter);
	journal_close(f->journal);
	board_close(f->board);
	free(f);
	return 0;
}

static json_t *
make(struct fixture *f, int64_t now_ms)
{
	struct buffer text = {0};

	assert_int_equal(reporter_make(f->reporter, now_ms, &text), 0);
	json_decref(f->json);
	f->json = json_loadb((const char *)text.data, text.size, 0, NULL);
	assert_non_null(f->json);
	buffer_fini(&text);
	return f->json;
}

static json_int_t
range_start(struct fixture *f)
{
	const json_t *route = json_array_get(json_object_get(f->json, "routes"), 0);

	return json_integer_value(json_object_get(route, "acknowledged_from_seq"));
}

static void
first_report_comes_soon_and_then_one_each_interval(void **state)
{
	struct fixture *f = *state;
	int64_t t = f->at_ms + FIRST_MS;

	assert_false(reporter_is_due(f->reporter, t - FIRST_MS));
	assert_true(reporter_is_due(f->reporter, t));
	make(f, t);
	reporter_done(f->reporter, t, true);
	write_board(f, BOARD_KAFKA_REACHABLE, t + INTERVAL_MS - 1000, 0);
	assert_false(reporter_is_due(f->reporter, t + INTERVAL_MS - 1000));
	assert_true(reporter_is_due(f->reporter, t + INTERVAL_MS));
}

static void
change_is_reported_at_once_but_not_too_often(void **state)
{
	struct fixture *f = *state;
	int64_t t = f->at_ms + FIRST_MS;

	make(f, t);
	reporter_done(f->reporter, t, true);
	write_board(f, BOARD_KAFKA_AWAY, t + 1000, 0);
	assert_false(reporter_is_due(f->reporter, t + 1000));
	assert_true(reporter_is_due(f->reporter, t + CHANGE_MS));
	assert_non_null(
	    strstr(json_string_value(json_object_get(make(f, t + CHANGE_MS), "state")),
		"waiting for Kafka"));
	reporter_done(f->reporter, t + CHANGE_MS, true);
	/* The same state again is none. */
	assert_false(reporter_is_due(f->reporter, t + 3 * CHANGE_MS));
	write_board(f, BOARD_KAFKA_REACHABLE, t + 3 * CHANGE_MS, 0);
	assert_true(reporter_is_due(f->reporter, t + 3 * CHANGE_MS + 1000));
}

static void
report_that_did_not_arrive_is_made_anew_for_the_whole_range(void **state)
{
	struct fixture *f = *state;
	int64_t t = f->at_ms + FIRST_MS;

	write_board(f, BOARD_KAFKA_REACHABLE, t, 10);
	make(f, t);
	reporter_done(f->reporter, t, true);
	write_board(f, BOARD_KAFKA_REACHABLE, t + INTERVAL_MS, 20);
	make(f, t + INTERVAL_MS);
	assert_int_equal(range_start(f), 11);
	reporter_done(f->reporter, t + INTERVAL_MS, false);
	t += INTERVAL_MS + RETRY_MS;
	write_board(f, BOARD_KAFKA_REACHABLE, t, 30);
	assert_true(reporter_is_due(f->reporter, t));
	make(f, t);
	assert_int_equal(range_start(f), 11);
	reporter_done(f->reporter, t, true);
	make(f, t + 1000);
	assert_int_equal(range_start(f), 31);
}

static void
hurry_is_due_now(void **state)
{
	struct fixture *f = *state;
	int64_t t = f->at_ms + FIRST_MS;

	make(f, t);
	reporter_done(f->reporter, t, true);
	assert_false(reporter_is_due(f->reporter, t + 10));
	reporter_hurry(f->reporter);
	assert_true(reporter_is_due(f->reporter, t + 10));
}

#define REPORTER(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    REPORTER(first_report_comes_soon_and_then_one_each_interval),
	    REPORTER(change_is_reported_at_once_but_not_too_often),
	    REPORTER(report_that_did_not_arrive_is_made_anew_for_the_whole_range),
	    REPORTER(hurry_is_due_now),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
