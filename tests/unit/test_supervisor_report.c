/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "log.h"
#include "notify.h"
#include "supervisor_parts.h"

#define SILENT_MS 300000

/* What the service manager was told. */
static struct told {
	int ready, stopping, reloading, statuses, watchdogs;
	int64_t watchdog_ms; /* is asked for */
	char status[1000];
	bool is_deaf; /* takes no status */
} told;

void
notify_ready(void)
{
	told.ready++;
}

void
notify_stopping(void)
{
	told.stopping++;
}

void
notify_reloading(int64_t now_us)
{
	assert_true(now_us > 0);
	told.reloading++;
}

bool
notify_status(const char *text)
{
	told.statuses++;
	assert_true(strlen(text) < sizeof(told.status));
	memcpy(told.status, text, strlen(text) + 1);
	return !told.is_deaf;
}

int64_t
notify_watchdog_ms(void)
{
	return told.watchdog_ms;
}

void
notify_watchdog(void)
{
	told.watchdogs++;
}

struct fixture {
	struct settings *settings;
	struct board *board;
	struct report *report;
	struct board_supervisor supervisor;
	struct board_ingest ingest;
	struct board_forward forward;
	struct board_route routes[2];
};

static const char text[] =
    "gateway_id = \"site\";\n"
    "kafka = { bootstrap_servers = \"localhost\"; };\n"
    "routes = ( { name = \"a\"; topic_filters = [ \"t/#\" ]; topic = \"r\"; },\n"
    "           { name = \"b\"; topic_filters = [ \"u/#\" ]; topic = \"r\"; } );\n";

static void
open_report(struct fixture *f)
{
	report_close(f->report);
	assert_int_equal(report_open(&f->report, f->board), 0);
}

/* All is well, and nothing waits. */
static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct buffer mistakes = {0};

	told = (struct told){0};
	log_open("test", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	assert_non_null(f);
	assert_int_equal(settings_parse(&f->settings, "test", text, &mistakes), 0);
	buffer_fini(&mistakes);
	assert_int_equal(board_open(&f->board, -1), 0);
	for (uint32_t i = 0; i < BOARD_WORKER_COUNT; i++)
		f->supervisor.members[i].pid = 100 + i;
	f->ingest = (struct board_ingest){
	    .pid = 100, .alive_at_ms = 1000, .state = BOARD_MQTT_CONNECTED};
	f->forward = (struct board_forward){.pid = 101,
	    .alive_at_ms = 1000,
	    .state = BOARD_KAFKA_REACHABLE,
	    .next_seq = 1,
	    .route_count = 2};
	strcpy(f->routes[0].name, "a");
	strcpy(f->routes[1].name, "b");
	setenv("NOTIFY_SOCKET", "/nowhere", 1);
	open_report(f);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	report_close(f->report);
	board_close(f->board);
	settings_free(f->settings);
	free(f);
	return 0;
}

/* The workers are alive and have written what is in f. */
static void
write_board(struct fixture *f, int64_t now_ms)
{
	f->ingest.alive_at_ms = now_ms;
	f->forward.alive_at_ms = now_ms;
	board_write_supervisor(f->board, &f->supervisor);
	board_write_ingest(f->board, &f->ingest);
	board_write_forward(f->board, &f->forward, f->routes);
}

static int64_t
step(struct fixture *f, int64_t now_ms)
{
	return report_step(f->report, f->settings, now_ms);
}

static const char *
status_at(struct fixture *f, int64_t now_ms)
{
	write_board(f, now_ms);
	(void)step(f, now_ms);
	return told.status;
}

static void
ready_is_told_once(void **state)
{
	struct fixture *f = *state;

	(void)step(f, 1000);
	(void)step(f, 1001);
	assert_int_equal(told.ready, 1);
}

static void
nobody_has_written_anything_yet(void **state)
{
	struct fixture *f = *state;

	(void)step(f, 1000);
	assert_string_equal(told.status,
	    "no word from tidegate-ingest yet; no word from tidegate-forward yet");
}

static void
well_is_told_with_what_waits(void **state)
{
	struct fixture *f = *state;

	assert_string_equal(status_at(f, 1000), "well: nothing waits");
	f->forward.next_seq = 1235;
	f->routes[0].acked_seq = 1233;
	f->routes[1].acked_seq = 1234;
	f->routes[0].moved_at_ms = f->routes[1].moved_at_ms = 2000;
	assert_string_equal(status_at(f, 2000), "well: 1 record waits");
	f->routes[1].acked_seq = 0;
	assert_string_equal(status_at(f, 3000), "well: 1,234 records wait");
	f->forward.next_seq = 1000001;
	assert_string_equal(status_at(f, 4000), "well: 1,000,000 records wait");
	f->forward.next_seq = 0; /* it is not known */
	assert_string_equal(status_at(f, 5000), "well");
}

/* The count is its own: without its word "nothing waits" might be wrong. */
static void
nothing_is_counted_without_a_word_of_forward(void **state)
{
	struct fixture *f = *state;

	(void)status_at(f, 1000);
	(void)step(f, 5000);
	assert_string_equal(told.status, "well: nothing waits");
	f->ingest.alive_at_ms = 32000;
	board_write_ingest(f->board, &f->ingest);
	(void)step(f, 7000);
	assert_string_equal(told.status, "well");
	(void)step(f, 32000);
	assert_string_equal(told.status, "no word from tidegate-forward any more");
	assert_string_equal(status_at(f, 33000), "well: nothing waits");
}

static void
not_well_while_records_wait_and_none_moves(void **state)
{
	struct fixture *f = *state;

	f->forward.next_seq = 11;
	f->routes[0].acked_seq = 10;
	f->routes[1].acked_seq = 7;
	f->routes[1].moved_at_ms = 1000;
	assert_string_equal(status_at(f, 70000),
	    "route b: records wait, and Kafka confirms none; 3 records wait");
	f->forward.state = BOARD_KAFKA_UNKNOWN;
	assert_string_equal(
	    status_at(f, 71000), "Kafka has not answered yet; 3 records wait");
	f->forward.state = BOARD_KAFKA_AWAY;
	strcpy(f->forward.error, "no route to host");
	assert_string_equal(
	    status_at(f, 72000), "waiting for Kafka: no route to host; 3 records wait");
	f->routes[1].held_since_ms = 70000;
	strcpy(f->routes[1].held_why, "no such topic");
	f->forward.state = BOARD_KAFKA_REACHABLE;
	assert_string_equal(
	    status_at(f, 73000), "route b holds: no such topic; 3 records wait");
}

static void
only_a_change_is_told_and_once_a_second(void **state)
{
	struct fixture *f = *state;

	(void)status_at(f, 1000);
	(void)status_at(f, 2500);
	assert_int_equal(told.statuses, 1);
	f->ingest.state = BOARD_MQTT_AWAY;
	(void)status_at(f, 2600);
	assert_int_equal(told.statuses, 1);
	assert_int_equal(step(f, 2700), 3500);
	assert_string_equal(
	    status_at(f, 3500), "waiting for the MQTT broker; nothing waits");
	assert_int_equal(told.statuses, 2);
}

static void
what_was_not_taken_is_told_again(void **state)
{
	struct fixture *f = *state;

	told.is_deaf = true;
	(void)status_at(f, 1000);
	(void)status_at(f, 2500);
	assert_int_equal(told.statuses, 2);
	told.is_deaf = false;
	(void)status_at(f, 4000);
	(void)status_at(f, 5500);
	assert_int_equal(told.statuses, 3);
}

static void
a_long_status_is_cut_at_a_character(void **state)
{
	struct fixture *f = *state;
	const char *status;

	for (size_t i = 0; i + 2 < sizeof(f->forward.error); i += 2)
		memcpy(f->forward.error + i, "\xc3\xbc", 2);
	memcpy(f->ingest.error, f->forward.error, sizeof(f->ingest.error));
	memcpy(f->routes[0].held_why, f->forward.error, sizeof(f->routes[0].held_why));
	f->routes[0].held_since_ms = 1;
	f->forward.state = BOARD_KAFKA_AWAY;
	status = status_at(f, 1000);
	assert_true(strlen(status) > 390 && strlen(status) < 400);
	assert_string_equal(status + strlen(status) - 5, "\xc3\xbc...");
}

static void
a_reload_is_told_and_what_became_of_it(void **state)
{
	struct fixture *f = *state;

	(void)status_at(f, 1000);
	report_reload_begin();
	assert_int_equal(told.reloading, 1);
	report_reload_end(f->report, false);
	assert_int_equal(told.ready, 2);
	assert_string_equal(status_at(f, 1100),
	    "the new configuration was not taken over, see the log; well: nothing "
	    "waits");
	report_reload_end(f->report, true);
	assert_int_equal(told.ready, 3);
	assert_string_equal(status_at(f, 1200), "well: nothing waits");
}

static void
stopping_stays(void **state)
{
	struct fixture *f = *state;

	(void)status_at(f, 1000);
	report_stopping(f->report);
	report_stopping(f->report);
	assert_int_equal(told.stopping, 1);
	assert_string_equal(status_at(f, 3000), "stopping");
}

static void
the_watchdog_hears_each_half_of_its_time(void **state)
{
	struct fixture *f = *state;

	told.watchdog_ms = 400;
	open_report(f);
	assert_int_equal(step(f, 1000), 1400);
	assert_int_equal(step(f, 1399), 1400);
	assert_int_equal(told.watchdogs, 1);
	assert_int_equal(step(f, 1405), 1805);
	assert_int_equal(told.watchdogs, 2);
	assert_int_equal(step(f, 1900), 2000); /* the next look */
}

static void
without_a_service_manager_it_looks_seldom(void **state)
{
	struct fixture *f = *state;

	unsetenv("NOTIFY_SOCKET");
	open_report(f);
	write_board(f, 1000);
	assert_int_equal(step(f, 1000), 1000 + SILENT_MS / 30);
	assert_int_equal(told.statuses, 0);
}

/* As often as it asks for it, with ingest as it is and forward alive. */
static void
run_until(struct fixture *f, int64_t from_ms, int64_t end_ms)
{
	while (from_ms <= end_ms) {
		f->forward.alive_at_ms = from_ms;
		board_write_forward(f->board, &f->forward, f->routes);
		from_ms = step(f, from_ms);
	}
}

static void
a_worker_that_was_alive_and_is_no_more_is_silent(void **state)
{
	struct fixture *f = *state;

	write_board(f, 1000);
	run_until(f, 1000, 1000 + SILENT_MS - 2000);
	assert_false(report_is_silent(f->report, BOARD_WORKER_INGEST, 100));
	run_until(f, 1000 + SILENT_MS - 1000, 1000 + SILENT_MS + 1000);
	assert_true(report_is_silent(f->report, BOARD_WORKER_INGEST, 100));
	assert_false(report_is_silent(f->report, BOARD_WORKER_FORWARD, 101));
	assert_false(report_is_silent(f->report, BOARD_WORKER_MONITOR, 102));
	/* The next one is another. */
	assert_false(report_is_silent(f->report, BOARD_WORKER_INGEST, 200));
	assert_false(report_is_silent(f->report, BOARD_WORKER_INGEST, 0));
	f->ingest.alive_at_ms = SILENT_MS + 3000;
	board_write_ingest(f->board, &f->ingest);
	run_until(f, SILENT_MS + 3000, SILENT_MS + 3000);
	assert_false(report_is_silent(f->report, BOARD_WORKER_INGEST, 100));
}

static void
one_that_has_never_been_alive_or_has_ended_is_not(void **state)
{
	struct fixture *f = *state;

	f->ingest.alive_at_ms = 0;
	board_write_ingest(f->board, &f->ingest);
	run_until(f, 1000, 3 * SILENT_MS);
	assert_false(report_is_silent(f->report, BOARD_WORKER_INGEST, 100));
}

static void
time_in_which_the_supervisor_stood_still_does_not_count(void **state)
{
	struct fixture *f = *state;

	write_board(f, 1000);
	run_until(f, 1000, 5000);
	(void)step(f, 10 * SILENT_MS);
	assert_false(report_is_silent(f->report, BOARD_WORKER_INGEST, 100));
	run_until(f, 10 * SILENT_MS + 1000, 11 * SILENT_MS);
	assert_true(report_is_silent(f->report, BOARD_WORKER_INGEST, 100));
}

#define FRESH(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    FRESH(ready_is_told_once),
	    FRESH(nobody_has_written_anything_yet),
	    FRESH(well_is_told_with_what_waits),
	    FRESH(nothing_is_counted_without_a_word_of_forward),
	    FRESH(not_well_while_records_wait_and_none_moves),
	    FRESH(only_a_change_is_told_and_once_a_second),
	    FRESH(what_was_not_taken_is_told_again),
	    FRESH(a_long_status_is_cut_at_a_character),
	    FRESH(a_reload_is_told_and_what_became_of_it),
	    FRESH(stopping_stays),
	    FRESH(the_watchdog_hears_each_half_of_its_time),
	    FRESH(without_a_service_manager_it_looks_seldom),
	    FRESH(a_worker_that_was_alive_and_is_no_more_is_silent),
	    FRESH(one_that_has_never_been_alive_or_has_ended_is_not),
	    FRESH(time_in_which_the_supervisor_stood_still_does_not_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
