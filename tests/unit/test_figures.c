/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "err.h"
#include "forward/figures.h"
#include "kafka_sink.h"
#include "topic_counts.h"

/* In place of the forwarder, the journal and the sink: what a test wants them to say. */
struct forwarder {
	struct forwarder_route_stat routes[2];
	int journal_error;
};

struct journal {
	struct journal_stat stat;
};

void
forwarder_route_stat(
    const struct forwarder *f, size_t index, struct forwarder_route_stat *out)
{
	*out = f->routes[index];
}

int
forwarder_journal_error(const struct forwarder *f)
{
	return f->journal_error;
}

int
journal_stat(struct journal *j, struct journal_stat *out)
{
	*out = j->stat;
	return 0;
}

void
journal_stat_fini(struct journal_stat *stat)
{
	(void)stat;
}

enum kafka_reach
kafka_sink_reach(const struct sink *s, const char **why)
{
	(void)s;
	*why = "";
	return KAFKA_HERE;
}

static uint64_t sent_bytes;

uint64_t
kafka_sink_sent_bytes(void)
{
	return sent_bytes;
}

struct fixture {
	struct settings settings;
	struct histogram latency;
	struct forwarder forwarder;
	struct journal journal;
	struct sink sink;
	struct topic_counts topics;
	struct board *board;
	struct board_view view;
	struct figures *figures;
};

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return -1;
	f->journal.stat.next_seq = 11;
	f->forwarder.routes[0] = (struct forwarder_route_stat){
	    .name = "north", .acked_seq = 5, .held_why = ""};
	f->forwarder.routes[1] =
	    (struct forwarder_route_stat){.name = "", .acked_seq = 10, .held_why = ""};
	*state = f;
	return board_open(&f->board, -1);
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	figures_close(f->figures);
	board_view_fini(&f->view);
	board_close(f->board);
	free(f);
	return 0;
}

static void
start(struct fixture *f, int64_t now_ms)
{
	const struct figures_options options = {.board = f->board,
	    .journal = &f->journal,
	    .forwarder = &f->forwarder,
	    .sink = &f->sink,
	    .topics = &f->topics,
	    .latency = &f->latency,
	    .settings = &f->settings,
	    .route_count = 1};

	figures_close(f->figures);
	assert_int_equal(figures_open(&f->figures, &options, now_ms), 0);
}

static const struct board_route *
north(struct fixture *f)
{
	assert_int_equal(board_look(f->board, &f->view), 0);
	assert_string_equal(f->view.routes[0].name, "north");
	return &f->view.routes[0];
}

/* ---- tests ---- */

static void
standstill_outlives_a_restart(void **state)
{
	struct fixture *f = *state;

	start(f, 1000);
	figures_publish(f->figures, 2000);
	assert_int_equal(north(f)->moved_at_ms, 1000);
	start(f, 50000);
	figures_publish(f->figures, 51000);
	assert_int_equal(north(f)->moved_at_ms, 1000);
	f->forwarder.routes[0].acked_seq = 6;
	figures_publish(f->figures, 52000);
	assert_int_equal(north(f)->moved_at_ms, 52000);
}

static void
what_moved_before_the_restart_is_no_standstill(void **state)
{
	struct fixture *f = *state;

	start(f, 1000);
	f->forwarder.routes[0].acked_seq = 6;
	start(f, 50000);
	assert_int_equal(north(f)->moved_at_ms, 50000);
}

static void
nothing_that_waits_is_no_standstill(void **state)
{
	struct fixture *f = *state;

	f->forwarder.routes[0].acked_seq = 10;
	start(f, 1000);
	start(f, 50000);
	assert_int_equal(north(f)->moved_at_ms, 50000);
}

static void
dead_letters_are_dated_and_counted_on(void **state)
{
	struct fixture *f = *state;

	start(f, 1000);
	figures_publish(f->figures, 2000);
	assert_int_equal(north(f)->dead_at_ms, 0);
	f->forwarder.routes[0].dead_count = 3;
	figures_publish(f->figures, 3000);
	figures_publish(f->figures, 4000);
	assert_int_equal(north(f)->dead_at_ms, 3000);
	f->forwarder.routes[0].dead_count = 0;
	start(f, 5000);
	assert_int_equal(north(f)->dead_at_ms, 3000);
	assert_int_equal(north(f)->dead_count, 3);
	f->forwarder.routes[0].dead_count = 1;
	figures_publish(f->figures, 6000);
	assert_int_equal(north(f)->dead_at_ms, 6000);
	assert_int_equal(north(f)->dead_count, 4);
}

static void
what_the_journal_does_not_take_is_said_while_it_lasts(void **state)
{
	struct fixture *f = *state;

	start(f, 1000);
	f->forwarder.journal_error = ERR_IO;
	figures_publish(f->figures, 2000);
	assert_int_equal(board_look(f->board, &f->view), 0);
	assert_string_equal(f->view.forward.journal_error, err_str(ERR_IO));
	f->forwarder.journal_error = 0;
	figures_publish(f->figures, 3000);
	assert_int_equal(board_look(f->board, &f->view), 0);
	assert_string_equal(f->view.forward.journal_error, "");
}

static const struct board_forward *
published(struct fixture *f, int64_t now_ms)
{
	figures_publish(f->figures, now_ms);
	assert_int_equal(board_look(f->board, &f->view), 0);
	return &f->view.forward;
}

static void
totals_go_on_over_a_restart(void **state)
{
	const int64_t second_us = 1000000;
	struct fixture *f = *state;

	start(f, 1000);
	histogram_add(&f->latency, HISTOGRAM_DELIVERY, second_us);
	sent_bytes = 100;
	assert_int_equal(published(f, 2000)->sent_bytes, 100);
	assert_int_equal(published(f, 3000)->latency.sum_us, second_us);
	assert_int_equal(histogram_count(&published(f, 3000)->latency), 1);
	f->latency = (struct histogram){0};
	sent_bytes = 0;
	start(f, 5000);
	assert_int_equal(published(f, 5000)->sent_bytes, 100);
	assert_int_equal(histogram_count(&published(f, 5000)->latency), 1);
	histogram_add(&f->latency, HISTOGRAM_DELIVERY, second_us);
	histogram_add(&f->latency, HISTOGRAM_DELIVERY, 3600 * second_us);
	sent_bytes = 7;
	assert_int_equal(published(f, 6000)->sent_bytes, 107);
	assert_int_equal(histogram_count(&published(f, 6000)->latency), 3);
	assert_int_equal(published(f, 6000)->latency.buckets[6], 2);
	assert_int_equal(published(f, 6000)->latency.sum_us, 3602 * second_us);
}

static void
next_sequence_is_the_journals(void **state)
{
	struct fixture *f = *state;

	start(f, 1000);
	assert_int_equal(published(f, 2000)->next_seq, 11);
	f->journal.stat.next_seq = 12;
	assert_int_equal(published(f, 3000)->next_seq, 12);
}

static void
certificates_are_on_the_board(void **state)
{
	static char name[] = "ssl.ca.location", value[] = "/nowhere/ca.pem";
	struct settings_property property = {.name = name, .value = value};
	struct fixture *f = *state;

	f->settings.kafka.properties = &property;
	f->settings.kafka.property_count = 1;
	start(f, 1000);
	assert_string_equal(published(f, 2000)->certificates[0].file, value);
	assert_int_equal(published(f, 2000)->certificates[0].expires_at_s, 0);
	assert_string_equal(published(f, 2000)->certificates[1].file, "");
}

#define FIGURES(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    FIGURES(standstill_outlives_a_restart),
	    FIGURES(what_moved_before_the_restart_is_no_standstill),
	    FIGURES(nothing_that_waits_is_no_standstill),
	    FIGURES(dead_letters_are_dated_and_counted_on),
	    FIGURES(what_the_journal_does_not_take_is_said_while_it_lasts),
	    FIGURES(totals_go_on_over_a_restart),
	    FIGURES(next_sequence_is_the_journals),
	    FIGURES(certificates_are_on_the_board),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
