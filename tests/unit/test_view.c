/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/journals.h"
#include "../lib/tmpdir.h"
#include "monitor/view.h"

#define START_MS 1000000
#define MIB      ((size_t)1 << 20)

struct fixture {
	char *directory;
	struct settings settings;
	struct settings_route route;
	struct board *board;
	struct view *view;
	int board_fd;
};

static char gateway_id[] = "test";
static char route_name[] = "r";

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	void *directory;

	if (f == NULL || tmpdir_setup(&directory) != 0)
		return -1;
	f->directory = directory;
	f->route.name = route_name;
	f->route.enabled = true;
	f->settings.gateway_id = gateway_id;
	f->settings.routes = &f->route;
	f->settings.route_count = 1;
	f->settings.journal.directory = f->directory;
	if (board_make(&f->board_fd) != 0 || board_open(&f->board, f->board_fd) != 0 ||
	    view_open(&f->view, &f->settings, f->board_fd, NULL) != 0)
		return -1;
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;
	void *directory = f->directory;

	view_close(f->view);
	board_close(f->board);
	(void)close(f->board_fd);
	free(f);
	return tmpdir_teardown(&directory);
}

/* Look at this time; what stat then is. */
static const struct journal_stat *
look(struct fixture *f, int64_t ms)
{
	assert_int_equal(view_look(f->view, START_MS + ms), 0);
	return f->view->facts.stat;
}

static bool
has_problem(const struct fixture *f, const char *text)
{
	const struct buffer *p = &f->view->problems;

	for (size_t at = 0; at < p->size;) {
		const char *one = (const char *)p->data + at;

		if (strcmp(one, text) == 0)
			return true;
		at += strlen(one) + 1;
	}
	return false;
}

static void
make_journal(const char *directory, int records)
{
	struct journal *j = journals_open(directory, JOURNAL_INGEST);

	assert_int_equal(journals_append(j, records, 10), 0);
	journal_close(j);
}

static void
write_boards(struct fixture *f, int64_t ms)
{
	const struct board_ingest ingest = {.alive_at_ms = START_MS + ms,
	    .state = BOARD_MQTT_CONNECTED,
	    .message_count = 70};
	const struct board_route routes[] = {
	    {.name = "r", .acked_seq = 30, .delivered_count = 30},
	    {.name = "s", .acked_seq = 30, .delivered_count = 12}};
	const struct board_forward forward = {.alive_at_ms = START_MS + ms,
	    .state = BOARD_KAFKA_REACHABLE,
	    .route_count = 2};

	board_write_ingest(f->board, &ingest);
	board_write_forward(f->board, &forward, routes);
}

/* ---- the journal ---- */

static void
a_journal_that_comes_later_is_found(void **state)
{
	struct fixture *f = *state;

	assert_null(look(f, 0));
	assert_true(has_problem(f, "the journal cannot be read"));
	assert_null(f->view->facts.identity);
	make_journal(f->directory, 10);
	assert_non_null(look(f, 1000));
	assert_int_equal(f->view->facts.stat->next_seq, 11);
	assert_true(f->view->facts.room_bytes > MIB);
	assert_string_equal(f->view->facts.identity->gateway_id, "test");
	assert_false(has_problem(f, "the journal cannot be read"));
}

/* The room is looked at more seldom than what is used. */
static void
room_and_what_is_used_are_no_more_than_all(void **state)
{
	struct fixture *f = *state;
	struct journal *j = journals_open(f->directory, JOURNAL_INGEST);
	const struct journal_stat *stat = look(f, 0);

	assert_non_null(stat);
	assert_int_equal(journals_append(j, 200, 10000), 0);
	stat = look(f, 1000);
	assert_true(stat->used_bytes > MIB);
	assert_true(f->view->facts.room_bytes > 0);
	assert_true(f->view->facts.room_bytes + stat->used_bytes <= stat->max_bytes);
	journal_close(j);
}

static void
another_journal_in_its_place_is_noticed(void **state)
{
	struct fixture *f = *state;
	char from[512], to[512];
	void *other;

	make_journal(f->directory, 10);
	assert_int_equal(look(f, 0)->next_seq, 11);
	assert_int_equal(tmpdir_setup(&other), 0);
	make_journal(other, 20);
	(void)snprintf(from, sizeof(from), "%s/data.mdb", (const char *)other);
	(void)snprintf(to, sizeof(to), "%s/data.mdb", f->directory);
	assert_int_equal(rename(from, to), 0);
	assert_int_equal(look(f, 1000)->next_seq, 21);
	assert_int_equal(unlink(to), 0);
	assert_null(look(f, 2000));
	assert_int_equal(tmpdir_teardown(&other), 0);
}

/* Each try is logged, so there are ever fewer. */
static void
a_damaged_journal_is_tried_again_now_and_then(void **state)
{
	struct fixture *f = *state;
	char path[512], hidden[512];
	int fd;

	make_journal(f->directory, 10);
	(void)snprintf(path, sizeof(path), "%s/data.mdb", f->directory);
	(void)snprintf(hidden, sizeof(hidden), "%s/hidden", f->directory);
	assert_int_equal(rename(path, hidden), 0);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, "nonsense", 8), 8);
	assert_int_equal(close(fd), 0);
	for (int64_t ms = 0; ms <= 200000; ms += 1000)
		assert_null(look(f, ms));
	assert_int_equal(rename(hidden, path), 0);
	assert_null(look(f, 201000)); /* it is not its time */
	assert_non_null(look(f, 262000));
}

/* ---- dead letters ---- */

static void
bury(struct journal *j, uint64_t seq, const char *reason, size_t size)
{
	const struct dead_letter letter = {.reason = reason,
	    .detail = {"", 0},
	    .record = {.data = calloc(1, size), .size = size}};

	assert_non_null(letter.record.data);
	assert_int_equal(journal_bury(j, seq, "r", &letter), 0);
	free((void *)(uintptr_t)letter.record.data);
}

static uint64_t
count_dead(const struct fixture *f, const char *reason)
{
	for (size_t i = 0; i < f->view->dead_count; i++) {
		if (strcmp(f->view->dead[i].reason, reason) == 0)
			return f->view->dead[i].count;
	}
	return 0;
}

static struct journal *
open_forward(const struct fixture *f)
{
	const char *const names[] = {"r"};
	struct journal *j = journals_open(f->directory, JOURNAL_FORWARD);
	uint64_t acked;

	assert_int_equal(journal_routes_set(j, names, 1, &acked), 0);
	return j;
}

/* A process has a journal open once: this one is closed while it is written. */
static void
look_again_after_burying(struct fixture *f)
{
	struct journal *j;

	view_close(f->view);
	j = open_forward(f);
	bury(j, 9, "a reason of a later version", 10);
	journal_close(j);
	assert_int_equal(view_open(&f->view, &f->settings, f->board_fd, NULL), 0);
}

static void
dead_letters_are_counted_by_reason(void **state)
{
	struct fixture *f = *state;
	struct journal *j;

	make_journal(f->directory, 10);
	j = open_forward(f);
	bury(j, 1, DEAD_REFUSED, 10);
	bury(j, 2, DEAD_NO_ROUTE, 10);
	bury(j, 3, DEAD_REFUSED, 10);
	journal_close(j);
	assert_int_equal(look(f, 0)->dead_count, 3);
	assert_int_equal(f->view->dead_count, 2);
	assert_int_equal(count_dead(f, DEAD_REFUSED), 2);
	assert_int_equal(count_dead(f, DEAD_NO_ROUTE), 1);
	look_again_after_burying(f);
	assert_int_equal(look(f, 1000)->dead_count, 4);
	assert_int_equal(count_dead(f, DEAD_REFUSED), 2);
	assert_int_equal(count_dead(f, "other"), 1);
}

/* One look is not held up by them; until all are counted there is no word of them. */
static void
many_dead_letters_take_several_looks(void **state)
{
	struct fixture *f = *state;
	struct journal *j;

	make_journal(f->directory, 10);
	j = open_forward(f);
	for (uint64_t seq = 1; seq <= 6; seq++)
		bury(j, seq, DEAD_TOO_LARGE, MIB);
	journal_close(j);
	assert_int_equal(look(f, 0)->dead_count, 6);
	assert_int_equal(f->view->dead_count, 0);
	look(f, 1000);
	assert_int_equal(count_dead(f, DEAD_TOO_LARGE), 6);
	look(f, 2000);
	assert_int_equal(count_dead(f, DEAD_TOO_LARGE), 6);
}

/* ---- the board ---- */

static void
what_is_well_has_no_problems_and_a_history(void **state)
{
	struct fixture *f = *state;

	make_journal(f->directory, 30);
	write_boards(f, 0);
	assert_non_null(look(f, 0));
	assert_int_equal(f->view->problems.size, 0);
	assert_int_equal(f->view->history->count, 1);
	assert_int_equal(f->view->history->samples[0].received_count, 70);
	assert_int_equal(f->view->history->samples[0].delivered_count, 42);
	assert_false(f->view->has_supervisor);
	look(f, STATUS_SILENT_MS + 1);
	assert_true(has_problem(f, "no word from tidegate-forward any more"));
	assert_int_equal(f->view->history->count, 2);
}

static void
alone_it_says_that_nobody_works_on_the_journal(void **state)
{
	struct fixture *f = *state;

	view_close(f->view);
	assert_int_equal(view_open(&f->view, &f->settings, -1, NULL), 0);
	make_journal(f->directory, 10);
	assert_int_equal(look(f, 0)->next_seq, 11);
	assert_true(has_problem(f, "tidegated does not run"));
	assert_false(f->view->has_supervisor);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(a_journal_that_comes_later_is_found),
	    TEST(room_and_what_is_used_are_no_more_than_all),
	    TEST(another_journal_in_its_place_is_noticed),
	    TEST(a_damaged_journal_is_tried_again_now_and_then),
	    TEST(dead_letters_are_counted_by_reason),
	    TEST(many_dead_letters_take_several_looks),
	    TEST(what_is_well_has_no_problems_and_a_history),
	    TEST(alone_it_says_that_nobody_works_on_the_journal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
