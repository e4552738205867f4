/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "err.h"
#include "events.h"
#include "log.h"

#define LOOKS 200

struct fixture {
	int fd;
	struct events *events;
	struct buffer text;
};

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (f == NULL || events_make(&f->fd) != 0 ||
	    events_open(&f->events, f->fd) != 0)
		return -1;
	log_open("test", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	events_close(f->events);
	(void)close(f->fd);
	buffer_fini(&f->text);
	free(f);
	return 0;
}

static void
put(struct events *e, enum events_writer writer, int64_t real_ms, const char *line)
{
	events_put(e, writer, real_ms, line, strlen(line));
}

/* The latest max as one string. */
static const char *
read_back(struct fixture *f, size_t max)
{
	buffer_clear(&f->text);
	assert_int_equal(events_read(f->events, max, &f->text), 0);
	assert_int_equal(buffer_append(&f->text, "", 1), 0);
	return (const char *)f->text.data;
}

/* All of the memory, as another program would see it. */
static unsigned char *
map_all(const struct fixture *f, size_t *size)
{
	struct stat st;
	unsigned char *bytes;

	assert_int_equal(fstat(f->fd, &st), 0);
	*size = (size_t)st.st_size;
	bytes = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
	assert_true(bytes != MAP_FAILED);
	return bytes;
}

static void
nothing_was_written(void **state)
{
	struct fixture *f = *state;

	assert_string_equal(read_back(f, EVENTS_MAX), "");
	buffer_clear(&f->text);
	assert_int_equal(events_read(NULL, EVENTS_MAX, &f->text), 0);
	assert_int_equal(f->text.size, 0);
}

static void
lines_of_all_writers_come_in_order_of_time(void **state)
{
	struct fixture *f = *state;

	put(f->events, EVENTS_INGEST, 10, "ingest 10");
	put(f->events, EVENTS_INGEST, 30, "ingest 30");
	put(f->events, EVENTS_FORWARD, 20, "forward 20");
	put(f->events, EVENTS_SUPERVISOR, 5, "supervisor 5");
	put(f->events, EVENTS_FORWARD, 40, "forward 40");
	put(f->events, EVENTS_MONITOR, 25, "monitor 25");
	assert_string_equal(read_back(f, EVENTS_MAX),
	    "supervisor 5\ningest 10\nforward 20\nmonitor 25\ningest 30\nforward 40\n");
	assert_string_equal(read_back(f, 2), "ingest 30\nforward 40\n");
	assert_string_equal(read_back(f, 0), "");
}

static void
a_clock_set_back_changes_no_writers_order(void **state)
{
	struct fixture *f = *state;

	put(f->events, EVENTS_INGEST, 1000, "one");
	put(f->events, EVENTS_INGEST, 500, "two");
	put(f->events, EVENTS_INGEST, 510, "three");
	assert_string_equal(read_back(f, EVENTS_MAX), "one\ntwo\nthree\n");
}

static void
the_latest_thousand_are_kept(void **state)
{
	struct fixture *f = *state;
	char line[32];
	const char *text;
	size_t lines = 0;

	for (int i = 0; i < 5000; i++) {
		(void)snprintf(line, sizeof(line), "line %d", i);
		put(f->events, EVENTS_FORWARD, i, line);
	}
	text = read_back(f, 100000);
	assert_int_equal(strncmp(text, "line 4000\n", 10), 0);
	for (const char *c = text; *c != '\0'; c++)
		lines += *c == '\n';
	assert_int_equal(lines, EVENTS_MAX);
	assert_string_equal(text + strlen(text) - 10, "line 4999\n");
}

static void
the_longest_line_fits_and_a_longer_one_is_left_out(void **state)
{
	struct fixture *f = *state;
	char line[EVENTS_LINE_BYTES + 1];

	memset(line, 'x', sizeof(line));
	events_put(f->events, EVENTS_INGEST, 1, line, sizeof(line));
	assert_string_equal(read_back(f, EVENTS_MAX), "");
	events_put(f->events, EVENTS_INGEST, 1, line, EVENTS_LINE_BYTES);
	assert_int_equal(strlen(read_back(f, EVENTS_MAX)), EVENTS_LINE_BYTES + 1);
}

static void
what_is_no_line_of_text_is_left_out(void **state)
{
	struct fixture *f = *state;

	put(f->events, EVENTS_INGEST, 1, "good");
	put(f->events, EVENTS_INGEST, 2, "");
	put(f->events, EVENTS_INGEST, 3, "two\nlines");
	put(f->events, EVENTS_INGEST, 4, "\xff");
	put(f->events, EVENTS_INGEST, 5, "gut, auch dies: \xc3\xbc");
	assert_string_equal(
	    read_back(f, EVENTS_MAX), "good\ngut, auch dies: \xc3\xbc\n");
}

/* Finds where in the memory a text is. */
static unsigned char *
find(unsigned char *bytes, size_t size, const char *text)
{
	unsigned char *at = memmem(bytes, size, text, strlen(text));

	assert_non_null(at);
	return at;
}

static void
a_line_whose_writer_died_at_it_is_left_out(void **state)
{
	struct fixture *f = *state;
	size_t size;
	unsigned char *bytes = map_all(f, &size);
	uint32_t turn;
	/* number, size and time are in front of the text, and the turn before them. */
	unsigned char *at;

	put(f->events, EVENTS_INGEST, 1, "first");
	put(f->events, EVENTS_INGEST, 2, "second");
	at = find(bytes, size, "second") - 16 - sizeof(turn);
	memcpy(&turn, at, sizeof(turn));
	assert_int_equal(turn, 2);
	turn = 3;
	memcpy(at, &turn, sizeof(turn));
	assert_string_equal(read_back(f, EVENTS_MAX), "first\n");
	put(f->events, EVENTS_INGEST, 3, "third");
	assert_string_equal(read_back(f, EVENTS_MAX), "first\nthird\n");
	/* The next one that comes to the place heals it. */
	for (int i = 0; i < 1023; i++)
		put(f->events, EVENTS_INGEST, 4, "more");
	put(f->events, EVENTS_INGEST, 5, "last");
	assert_string_equal(read_back(f, 1), "last\n");
	memcpy(&turn, at, sizeof(turn));
	assert_int_equal(turn, 4);
	(void)munmap(bytes, size);
}

static void
the_next_process_goes_on(void **state)
{
	struct fixture *f = *state;
	struct events *other;
	int status;

	for (int64_t i = 1; i <= 2; i++) {
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid == 0) {
			if (events_open(&other, f->fd) != 0)
				_exit(1);
			put(other, EVENTS_FORWARD, i, i == 1 ? "before" : "after");
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
	}
	assert_string_equal(read_back(f, EVENTS_MAX), "before\nafter\n");
}

/* A line of n: its digits again and again, so that a torn one is seen. */
static void
write_number(struct events *e, uint32_t n)
{
	char line[EVENTS_LINE_BYTES + 16];
	size_t size = 0;

	while (size + 11 <= EVENTS_LINE_BYTES)
		size += (size_t)snprintf(line + size, sizeof(line) - size, "%010u ", n);
	events_put(e, EVENTS_FORWARD, n, line, size);
}

/* Each is one that was written, and they rise. Returns the last. */
static unsigned long
check_numbers(const char *text)
{
	unsigned long last = 0;

	for (const char *line = text; *line != '\0'; line = strchr(line, '\n') + 1) {
		unsigned long n = strtoul(line, NULL, 10);

		assert_true(n > last);
		last = n;
		for (const char *c = line; *c != '\n'; c += 11)
			assert_int_equal(strtoul(c, NULL, 10), n);
	}
	return last;
}

static void
a_reader_beside_a_writer_that_is_killed_sees_whole_lines(void **state)
{
	struct fixture *f = *state;
	unsigned long last = 0, moved = 0;
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed test leaves it */
		for (uint32_t n = 1;; n++)
			write_number(f->events, n);
	}
	for (int i = 0; i < LOOKS || moved < 100; i++) {
		unsigned long n = check_numbers(read_back(f, EVENTS_MAX));

		assert_true(n >= last || n == 0);
		moved += n > last;
		last = n > last ? n : last;
	}
	(void)kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	last = check_numbers(read_back(f, EVENTS_MAX));
	assert_true(last > 0);
	write_number(f->events, (uint32_t)last + 10);
	assert_int_equal(check_numbers(read_back(f, EVENTS_MAX)), last + 10);
}

static void
spoilt_memory_is_survived(void **state)
{
	struct fixture *f = *state;
	size_t size;
	unsigned char *bytes = map_all(f, &size);

	/* A size that leads out of the line. */
	put(f->events, EVENTS_INGEST, 1, "line");
	memset(find(bytes, size, "line") - 12, 0x7f, 4);
	assert_string_equal(read_back(f, EVENTS_MAX), "");
	srand(1);
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < 1100; i++)
			put(f->events, (enum events_writer)(i % EVENTS_WRITER_COUNT), i,
			    "line");
		/* All but the header, which is looked at when it is opened. */
		for (int i = 0; i < 20000; i++)
			bytes[12 + (size_t)rand() % (size - 12)] =
			    (unsigned char)rand();
		(void)read_back(f, EVENTS_MAX);
	}
	memset(bytes + 12, 0xff, size - 12);
	assert_string_equal(read_back(f, EVENTS_MAX), "");
	memset(bytes + 12, 0xfe, size - 12); /* turns that are even */
	assert_string_equal(read_back(f, EVENTS_MAX), "");
	put(f->events, EVENTS_INGEST, 1, "again");
	assert_string_equal(read_back(f, EVENTS_MAX), "again\n");
	(void)munmap(bytes, size);
}

static void
another_version_is_refused(void **state)
{
	struct fixture *f = *state;
	struct events *other = f->events;
	const uint32_t version = 77;
	int fd = memfd_create("other", 0);

	log_open("test", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	assert_int_equal(events_open(&other, fd), ERR_VERSION); /* its size */
	assert_null(other);
	(void)close(fd);
	assert_int_equal(pwrite(f->fd, &version, sizeof(version), 4), 4);
	assert_int_equal(events_open(&other, f->fd), ERR_VERSION);
	assert_int_equal(events_open(&other, -1), ERR_IO);
	assert_null(other);
}

static void
its_size_is_sealed(void **state)
{
	struct fixture *f = *state;

	assert_int_not_equal(ftruncate(f->fd, 0), 0);
}

#define FRESH(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    FRESH(nothing_was_written),
	    FRESH(lines_of_all_writers_come_in_order_of_time),
	    FRESH(a_clock_set_back_changes_no_writers_order),
	    FRESH(the_latest_thousand_are_kept),
	    FRESH(the_longest_line_fits_and_a_longer_one_is_left_out),
	    FRESH(what_is_no_line_of_text_is_left_out),
	    FRESH(a_line_whose_writer_died_at_it_is_left_out),
	    FRESH(the_next_process_goes_on),
	    FRESH(a_reader_beside_a_writer_that_is_killed_sees_whole_lines),
	    FRESH(spoilt_memory_is_survived),
	    FRESH(another_version_is_refused),
	    FRESH(its_size_is_sealed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
