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

struct fixture {
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
