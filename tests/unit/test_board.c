/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/tmpdir.h"
#include "board.h"
#include "err.h"
#include "log.h"

#define ROUTES 3
#define LOOKS  20000

struct fixture {
	int fd;
	struct board *board;
	struct board_view view;
};

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (f == NULL || board_make(&f->fd) != 0 || board_open(&f->board, f->fd) != 0)
		return -1;
	log_open("test", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	board_view_fini(&f->view);
	board_close(f->board);
	(void)close(f->fd);
	free(f);
	return 0;
}

/* Every figure of all parts is n, so that what does not belong together is seen. */
static void
write_all(struct board *b, uint64_t n)
{
	struct board_route routes[ROUTES];
	struct board_ingest ingest = {.alive_at_ms = (int64_t)n,
	    .message_count = n,
	    .byte_count = n,
	    .error_count = n,
	    .broker_dropped_count = n,
	    .commits.sum_us = n};
	struct board_forward forward = {.alive_at_ms = (int64_t)n,
	    .next_seq = n,
	    .sent_bytes = n,
	    .route_count = (uint32_t)(n % ROUTES + 1),
	    .topic_count = 1,
	    .other_count = n};

	memset(routes, 0, sizeof(routes));
	(void)snprintf(
	    ingest.error, sizeof(ingest.error), "%llu", (unsigned long long)n);
	ingest.commits.buckets[HISTOGRAM_BUCKETS - 1] = n;
	ingest.certificates[BOARD_CERTIFICATES_MAX - 1].expires_at_s = (int64_t)n;
	forward.latency.buckets[0] = n;
	forward.latency.sum_us = n;
	forward.certificates[0].expires_at_s = (int64_t)n;
	forward.topics[0].count = n;
	for (size_t i = 0; i < ROUTES; i++) {
		routes[i].delivered_count = n;
		routes[i].acked_seq = n;
		(void)snprintf(routes[i].held_why, sizeof(routes[i].held_why), "%llu",
		    (unsigned long long)n);
	}
	board_write_ingest(b, &ingest);
	board_write_forward(b, &forward, routes);
}

static void
check_ingest(const struct board_view *v)
{
	const struct board_ingest *in = &v->ingest;

	assert_int_equal(in->byte_count, in->message_count);
	assert_int_equal(in->error_count, in->message_count);
	assert_int_equal(in->alive_at_ms, in->message_count);
	assert_int_equal(in->broker_dropped_count, in->message_count);
	assert_int_equal(in->commits.sum_us, in->message_count);
	assert_int_equal(histogram_count(&in->commits), in->message_count);
	assert_int_equal(in->certificates[BOARD_CERTIFICATES_MAX - 1].expires_at_s,
	    in->message_count);
	assert_int_equal(strtoull(in->error, NULL, 10), in->message_count);
}

static void
check_forward(const struct board_view *v)
{
	uint64_t n = v->forward.other_count;

	assert_int_equal(v->forward.alive_at_ms, n);
	assert_int_equal(v->forward.topics[0].count, n);
	assert_int_equal(v->forward.next_seq, n);
	assert_int_equal(v->forward.sent_bytes, n);
	assert_int_equal(histogram_count(&v->forward.latency), n);
	assert_int_equal(v->forward.latency.sum_us, n);
	assert_int_equal(v->forward.certificates[0].expires_at_s, n);
	assert_int_equal(v->forward.route_count, n % ROUTES + 1);
	for (uint32_t i = 0; i < v->forward.route_count; i++) {
		assert_int_equal(v->routes[i].delivered_count, n);
		assert_int_equal(v->routes[i].acked_seq, n);
		assert_int_equal(strtoull(v->routes[i].held_why, NULL, 10), n);
	}
}

static void
new_board_has_nobody_on_it(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(board_look(f->board, &f->view), 0);
	assert_false(f->view.has_supervisor);
	assert_false(f->view.has_ingest);
	assert_false(f->view.has_forward);
}

static void
what_one_process_writes_another_reads(void **state)
{
	struct fixture *f = *state;
	struct board_supervisor part = {.started_at_ms = 7};
	struct board *other;
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		if (board_open(&other, f->fd) != 0)
			_exit(1);
		part.members[BOARD_WORKER_FORWARD].restart_count = 3;
		board_write_supervisor(other, &part);
		write_all(other, 41);
		write_all(other, 42);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(board_look(f->board, &f->view), 0);
	assert_true(f->view.has_supervisor && f->view.has_ingest);
	assert_true(f->view.has_forward);
	assert_int_equal(f->view.supervisor.started_at_ms, 7);
	assert_int_equal(
	    f->view.supervisor.members[BOARD_WORKER_FORWARD].restart_count, 3);
	assert_int_equal(f->view.ingest.message_count, 42);
	check_ingest(&f->view);
	check_forward(&f->view);
}

static void
reader_sees_one_moment_while_another_process_writes(void **state)
{
	struct fixture *f = *state;
	uint64_t last = 0, moved = 0;
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed test leaves it */
		for (uint64_t n = 1;; n++)
			write_all(f->board, n);
	}
	for (int i = 0; i < LOOKS || moved < 100; i++) {
		assert_int_equal(board_look(f->board, &f->view), 0);
		if (!f->view.has_forward)
			continue;
		check_ingest(&f->view);
		check_forward(&f->view);
		assert_true(f->view.forward.other_count >= last);
		moved += f->view.forward.other_count > last;
		last = f->view.forward.other_count;
	}
	/* Wherever it was just then, what it had finished is there. */
	(void)kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(board_look(f->board, &f->view), 0);
	assert_true(f->view.has_ingest && f->view.has_forward);
	check_ingest(&f->view);
	check_forward(&f->view);
	/* And the next writer goes on. */
	write_all(f->board, 5);
	assert_int_equal(board_look(f->board, &f->view), 0);
	assert_int_equal(f->view.forward.other_count, 5);
	check_forward(&f->view);
}

static void
more_routes_than_there_is_room_for_are_left_out(void **state)
{
	struct fixture *f = *state;
	struct board_forward part = {.route_count = BOARD_ROUTES_MAX + 5};
	struct board_route *routes = calloc(BOARD_ROUTES_MAX + 5, sizeof(*routes));

	assert_non_null(routes);
	routes[BOARD_ROUTES_MAX - 1].acked_seq = 9;
	board_write_forward(f->board, &part, routes);
	assert_int_equal(board_look(f->board, &f->view), 0);
	assert_int_equal(f->view.forward.route_count, BOARD_ROUTES_MAX);
	assert_int_equal(f->view.routes[BOARD_ROUTES_MAX - 1].acked_seq, 9);
	/* Fewer again. */
	part.route_count = 1;
	routes[0].acked_seq = 1;
	board_write_forward(f->board, &part, routes);
	assert_int_equal(board_look(f->board, &f->view), 0);
	assert_int_equal(f->view.forward.route_count, 1);
	assert_int_equal(f->view.routes[0].acked_seq, 1);
	free(routes);
}

static void
board_of_ones_own_is_like_any_other(void **state)
{
	struct board_view view = {0};
	struct board *b;

	(void)state;
	assert_int_equal(board_open(&b, -1), 0);
	write_all(b, 8);
	assert_int_equal(board_look(b, &view), 0);
	assert_int_equal(view.ingest.message_count, 8);
	board_view_fini(&view);
	board_close(b);
}

static void
something_else_is_refused(void **state)
{
	struct board *b;
	int fd = memfd_create("no board", MFD_CLOEXEC);
	int devnull = dup(STDERR_FILENO);

	(void)state;
	assert_true(fd >= 0 && devnull >= 0);
	assert_non_null(freopen("/dev/null", "w", stderr));
	assert_int_equal(board_open(&b, fd), ERR_VERSION);
	assert_null(b);
	assert_int_equal(ftruncate(fd, 1 << 24), 0);
	assert_int_equal(board_open(&b, fd), ERR_VERSION);
	assert_int_equal(board_open(&b, 987), ERR_IO);
	assert_true(dup2(devnull, STDERR_FILENO) >= 0);
	(void)close(devnull);
	(void)close(fd);
}

/* As a tidegated has it: the lock, its number in the file, and a board. */
static int
lock_as_daemon(const char *directory, const char *pid)
{
	char path[256];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/tidegated.lock", directory);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	assert_true(fd >= 0);
	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
	assert_true(dprintf(fd, "%s\n", pid) > 0);
	return fd;
}

static void
board_of_a_daemon_is_found_by_its_lock(void **state)
{
	struct fixture *f = *state;
	struct board_view view = {0};
	struct board *b = NULL;
	char pid[16];
	void *directory;
	int fd;

	assert_int_equal(tmpdir_setup(&directory), 0);
	assert_int_equal(board_attach(&b, directory), ERR_NOTFOUND);
	(void)snprintf(pid, sizeof(pid), "%d", (int)getpid());
	fd = lock_as_daemon(directory, pid);
	write_all(f->board, 7);
	assert_int_equal(board_attach(&b, directory), 0);
	assert_int_equal(board_look(b, &view), 0);
	assert_true(view.has_ingest);
	assert_int_equal(view.ingest.message_count, 7);
	board_view_fini(&view);
	board_close(b);
	(void)close(fd);
	assert_int_equal(board_attach(&b, directory), ERR_NOTFOUND);
	assert_null(b);
	/* Nothing is left of the look: the next one gets the lock. */
	(void)close(lock_as_daemon(directory, pid));
	assert_int_equal(tmpdir_teardown(&directory), 0);
}

static void
daemon_that_cannot_be_looked_at_is_not_taken_for_none(void **state)
{
	struct board *b = NULL;
	int devnull = dup(STDERR_FILENO);
	void *directory;
	int fd;

	(void)state;
	assert_int_equal(tmpdir_setup(&directory), 0);
	fd = lock_as_daemon(directory, "99999999"); /* beyond any process number */
	assert_non_null(freopen("/dev/null", "w", stderr));
	assert_int_equal(board_attach(&b, directory), ERR_IO);
	assert_true(dup2(devnull, STDERR_FILENO) >= 0);
	assert_null(b);
	(void)close(devnull);
	(void)close(fd);
	assert_int_equal(tmpdir_teardown(&directory), 0);
}

#define WITH_BOARD(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_BOARD(new_board_has_nobody_on_it),
	    WITH_BOARD(what_one_process_writes_another_reads),
	    WITH_BOARD(reader_sees_one_moment_while_another_process_writes),
	    WITH_BOARD(more_routes_than_there_is_room_for_are_left_out),
	    cmocka_unit_test(board_of_ones_own_is_like_any_other),
	    cmocka_unit_test(something_else_is_refused),
	    WITH_BOARD(board_of_a_daemon_is_found_by_its_lock),
	    cmocka_unit_test(daemon_that_cannot_be_looked_at_is_not_taken_for_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
