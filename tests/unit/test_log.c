/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "log.h"

/* stderr goes into a file that is gone already; what is in it is read back. */
struct capture {
	FILE *file;
	int saved_fd;
	char text[65536];
};

static int
capture_setup(void **state)
{
	struct capture *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return -1;
	unsetenv("JOURNAL_STREAM");
	c->file = tmpfile();
	c->saved_fd = dup(STDERR_FILENO);
	if (c->file == NULL || c->saved_fd < 0 ||
	    dup2(fileno(c->file), STDERR_FILENO) < 0)
		return -1;
	*state = c;
	return 0;
}

static int
capture_teardown(void **state)
{
	struct capture *c = *state;

	log_open("tidegate", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	(void)dup2(c->saved_fd, STDERR_FILENO);
	(void)close(c->saved_fd);
	(void)fclose(c->file);
	free(c);
	return 0;
}

/* All that was logged since the last call. */
static const char *
captured(struct capture *c)
{
	size_t length;

	rewind(c->file);
	length = fread(c->text, 1, sizeof(c->text) - 1, c->file);
	c->text[length] = '\0';
	assert_int_equal(ftruncate(fileno(c->file), 0), 0);
	rewind(c->file);
	return c->text;
}

static void
text_line_has_time_level_program_kind_and_text(void **state)
{
	const char *line;

	log_open("tidegate-test", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	log_warning(LOG_DELIVERY, "route \"%s\" is held", "default");
	line = captured(*state);
	assert_int_equal(line[10], 'T');
	assert_int_equal(line[23], 'Z');
	assert_string_equal(
	    line + 24, " warning tidegate-test: delivery: route \"default\" is held\n");
}

static void
journald_gets_a_priority_in_place_of_the_time(void **state)
{
	log_open("tidegate-test", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	setenv("JOURNAL_STREAM", "8:1234", 1);
	log_error(LOG_JOURNAL, "full");
	unsetenv("JOURNAL_STREAM");
	assert_string_equal(captured(*state), "<3>tidegate-test: journal: full\n");
}

static void
json_line_has_every_field(void **state)
{
	json_error_t error;
	const char *line;
	json_t *object;

	log_open("tidegate-test", LOG_LEVEL_INFO, LOG_FORMAT_JSON);
	log_info(LOG_CONNECTION, "a \"quoted\" word, \xff and ü");
	line = captured(*state);
	assert_int_equal(line[strlen(line) - 1], '\n');
	object = json_loads(line, 0, &error);
	assert_non_null(object);
	assert_string_equal(
	    json_string_value(json_object_get(object, "level")), "info");
	assert_string_equal(
	    json_string_value(json_object_get(object, "kind")), "connection");
	assert_string_equal(
	    json_string_value(json_object_get(object, "worker")), "tidegate-test");
	assert_string_equal(json_string_value(json_object_get(object, "text")),
	    "a \"quoted\" word, \\xff and ü");
	assert_int_equal(
	    strlen(json_string_value(json_object_get(object, "time"))), 24);
	json_decref(object);
}

static void
lower_levels_are_left_out(void **state)
{
	log_open("tidegate-test", LOG_LEVEL_WARNING, LOG_FORMAT_TEXT);
	log_info(LOG_LIFECYCLE, "not seen");
	log_debug(LOG_LIFECYCLE, "not seen");
	assert_string_equal(captured(*state), "");
	assert_false(log_enabled(LOG_LEVEL_INFO));
	assert_true(log_enabled(LOG_LEVEL_ERROR));
}

static void
control_characters_stay_on_one_line(void **state)
{
	const char *line;

	log_open("tidegate-test", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	log_info(LOG_LIFECYCLE, "a\nb\x1b[2J");
	line = captured(*state);
	assert_non_null(strstr(line, "a\\nb\\x1b[2J\n"));
	assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
}

static void
long_text_is_cut_with_a_mark(void **state)
{
	static char text[10000];
	const char *line;

	memset(text, 'x', sizeof(text) - 1);
	log_open("tidegate-test", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	log_info(LOG_LIFECYCLE, "%s", text);
	line = captured(*state);
	assert_true(strlen(line) > 1500 && strlen(line) < 2200);
	assert_string_equal(line + strlen(line) - 5, "x...\n");
}

static void
errno_is_kept(void **state)
{
	(void)state;
	errno = EXDEV;
	log_info(LOG_LIFECYCLE, "text");
	assert_int_equal(errno, EXDEV);
}

static void
repeated_event_is_limited_and_counted(void **state)
{
	struct log_repeat r = {0};
	const char *line;

	log_open("tidegate-test", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	for (int i = 0; i < 10; i++)
		log_repeated(
		    &r, 1000 + i, LOG_LEVEL_WARNING, LOG_CONNECTION, "try %d", i);
	line = captured(*state);
	assert_non_null(strstr(line, "connection: try 0\n"));
	assert_null(strstr(line, "try 1"));
	log_repeated(&r, 60999, LOG_LEVEL_WARNING, LOG_CONNECTION, "early");
	assert_string_equal(captured(*state), "");
	log_repeated(&r, 61000, LOG_LEVEL_WARNING, LOG_CONNECTION, "later");
	assert_non_null(strstr(captured(*state), "later (10 more were left out)\n"));
	log_repeated(&r, 121000, LOG_LEVEL_WARNING, LOG_CONNECTION, "again");
	assert_non_null(strstr(captured(*state), "again\n"));
}

static void
details_are_fields_of_the_json_object(void **state)
{
	const struct log_details details = {
	    .route = "dé\x01", .counts = {{"delivered", 12}, {"dead", 0}}};
	json_t *object;

	log_open("tidegate-test", LOG_LEVEL_INFO, LOG_FORMAT_JSON);
	log_event(LOG_LEVEL_INFO, LOG_STATISTICS, &details, "%d delivered", 12);
	object = json_loads(captured(*state), 0, NULL);
	assert_non_null(object);
	assert_string_equal(
	    json_string_value(json_object_get(object, "route")), "dé\\x01");
	assert_int_equal(json_integer_value(json_object_get(object, "delivered")), 12);
	assert_true(json_is_integer(json_object_get(object, "dead")));
	assert_string_equal(
	    json_string_value(json_object_get(object, "text")), "12 delivered");
	assert_null(json_object_get(object, "suppressed"));
	json_decref(object);
	log_open("tidegate-test", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	log_event(LOG_LEVEL_INFO, LOG_STATISTICS, &details, "12 delivered");
	assert_non_null(strstr(captured(*state), "statistics: 12 delivered\n"));
}

static void
suppressed_lines_are_a_field(void **state)
{
	struct log_repeat r = {0};
	json_t *object;

	log_open("tidegate-test", LOG_LEVEL_INFO, LOG_FORMAT_JSON);
	log_repeated(&r, 1000, LOG_LEVEL_ERROR, LOG_DELIVERY, "refused");
	log_repeated(&r, 1001, LOG_LEVEL_ERROR, LOG_DELIVERY, "refused");
	(void)captured(*state);
	log_repeated(&r, 70000, LOG_LEVEL_ERROR, LOG_DELIVERY, "refused");
	object = json_loads(captured(*state), 0, NULL);
	assert_non_null(object);
	assert_int_equal(json_integer_value(json_object_get(object, "suppressed")), 1);
	json_decref(object);
}

static void
recovery_tells_what_was_left_out(void **state)
{
	struct log_repeat r = {0};

	log_open("tidegate-test", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	for (int i = 0; i < 4; i++)
		log_repeated(&r, 1000, LOG_LEVEL_ERROR, LOG_CONNECTION, "lost");
	(void)captured(*state);
	log_recovered(&r, LOG_LEVEL_INFO, LOG_CONNECTION, NULL, "it is back");
	assert_non_null(
	    strstr(captured(*state), "it is back (3 more were left out)\n"));
	log_tell_suppressed();
	assert_string_equal(captured(*state), "");
	/* The log must not end with "it is back" when it is not. */
	log_repeated(&r, 1001, LOG_LEVEL_ERROR, LOG_CONNECTION, "lost once more");
	assert_non_null(strstr(captured(*state), "lost once more\n"));
	log_repeated(&r, 1002, LOG_LEVEL_ERROR, LOG_CONNECTION, "lost once more");
	assert_string_equal(captured(*state), "");
}

static void
what_was_left_out_is_told_without_another_error(void **state)
{
	struct log_repeat a = {0}, *b = calloc(1, sizeof(*b));
	const struct log_details details = {.route = "north"};
	json_t *object;

	assert_non_null(b);
	log_open("tidegate-test", LOG_LEVEL_INFO, LOG_FORMAT_JSON);
	log_tell_suppressed();
	(void)captured(*state);
	for (int i = 0; i < 3; i++)
		log_event_repeated(
		    &a, 1000, LOG_LEVEL_ERROR, LOG_DELIVERY, &details, "try %d", i);
	log_repeated(b, 1000, LOG_LEVEL_ERROR, LOG_CONNECTION, "first");
	free(b); /* its place may be gone by then */
	(void)captured(*state);
	log_tell_suppressed();
	object = json_loads(captured(*state), 0, NULL); /* one line, or it fails */
	assert_non_null(object);
	assert_int_equal(json_integer_value(json_object_get(object, "suppressed")), 2);
	assert_string_equal(
	    json_string_value(json_object_get(object, "route")), "north");
	assert_string_equal(
	    json_string_value(json_object_get(object, "kind")), "delivery");
	assert_non_null(
	    strstr(json_string_value(json_object_get(object, "text")), "try 2"));
	json_decref(object);
	/* Once is enough: neither here nor with the next error. */
	log_tell_suppressed();
	assert_string_equal(captured(*state), "");
	log_open("tidegate-test", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	log_repeated(&a, 70000, LOG_LEVEL_ERROR, LOG_DELIVERY, "again");
	assert_non_null(strstr(captured(*state), "again\n"));
}

static void
nothing_is_lost_with_more_places_than_rows(void **state)
{
	struct log_repeat places[100];
	uint64_t sum = 0;
	char *line;

	memset(places, 0, sizeof(places));
	log_open("tidegate-test", LOG_LEVEL_INFO, LOG_FORMAT_JSON);
	for (size_t i = 0; i < 300; i++)
		log_repeated(
		    &places[i % 100], 1000, LOG_LEVEL_ERROR, LOG_DELIVERY, "refused");
	(void)captured(*state);
	log_tell_suppressed();
	line = strtok((char *)(uintptr_t)captured(*state), "\n");
	for (; line != NULL; line = strtok(NULL, "\n")) {
		json_t *object = json_loads(line, 0, NULL);

		assert_non_null(object);
		sum +=
		    (uint64_t)json_integer_value(json_object_get(object, "suppressed"));
		json_decref(object);
	}
	assert_int_equal(sum, 200);
}

/* The events that were kept, each an object; the caller's. */
static json_t *
kept(const struct events *e)
{
	struct buffer text = {0};
	json_t *list = json_array();

	assert_int_equal(events_read(e, EVENTS_MAX, &text), 0);
	for (size_t at = 0; at < text.size;) {
		char *line = (char *)text.data + at;
		size_t size =
		    (size_t)((char *)memchr(line, '\n', text.size - at) - line);
		json_t *object = json_loadb(line, size, 0, NULL);

		assert_non_null(object);
		assert_int_equal(json_array_append_new(list, object), 0);
		at += size + 1;
	}
	buffer_fini(&text);
	return list;
}

static const char *
field(const json_t *list, size_t i, const char *name)
{
	const char *value =
	    json_string_value(json_object_get(json_array_get(list, i), name));

	assert_non_null(value);
	return value;
}

static struct events *
keep_events(int *fd)
{
	struct events *e;

	assert_int_equal(events_make(fd), 0);
	assert_int_equal(events_open(&e, *fd), 0);
	log_keep(e, EVENTS_FORWARD);
	return e;
}

static void
drop_events(struct events *e, int fd)
{
	log_keep(NULL, EVENTS_SUPERVISOR);
	events_close(e);
	(void)close(fd);
}

static void
written_lines_are_kept_as_json(void **state)
{
	const struct log_details details = {
	    .route = "north", .counts = {{"delivered", 12}}};
	struct log_repeat r = {0};
	struct events *e;
	json_t *list;
	int fd;

	log_open("tidegate-test", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	e = keep_events(&fd);
	log_debug(LOG_LIFECYCLE, "not written");
	log_event(LOG_LEVEL_INFO, LOG_STATISTICS, &details, "12\ndelivered");
	for (int i = 0; i < 3; i++)
		log_repeated(&r, 1000, LOG_LEVEL_ERROR, LOG_CONNECTION, "lost");
	log_repeated(&r, 70000, LOG_LEVEL_ERROR, LOG_CONNECTION, "lost");
	assert_non_null(strstr(captured(*state), "statistics: 12\\ndelivered\n"));
	list = kept(e);
	assert_int_equal(json_array_size(list), 3);
	assert_string_equal(field(list, 0, "level"), "info");
	assert_string_equal(field(list, 0, "kind"), "statistics");
	assert_string_equal(field(list, 0, "worker"), "tidegate-test");
	assert_string_equal(field(list, 0, "route"), "north");
	assert_string_equal(field(list, 0, "text"), "12\\ndelivered");
	assert_int_equal(strlen(field(list, 0, "time")), 24);
	assert_int_equal(
	    json_integer_value(json_object_get(json_array_get(list, 0), "delivered")),
	    12);
	assert_int_equal(
	    json_integer_value(json_object_get(json_array_get(list, 2), "suppressed")),
	    2);
	json_decref(list);
	drop_events(e, fd);
	log_info(LOG_LIFECYCLE, "no longer");
}

static void
what_is_too_long_is_kept_without_counts_and_cut(void **state)
{
	static const char *const names[LOG_COUNTS_MAX] = {"a_rather_long_name",
	    "another_rather_long_name", "one_more_of_these_long_names"};
	struct log_details details = {.route = "north"};
	struct events *e;
	json_t *list;
	const char *text;
	char long_text[1900];
	int fd;

	(void)state;
	for (size_t i = 0; i < LOG_COUNTS_MAX && names[i] != NULL; i++)
		details.counts[i] = (struct log_count){names[i], UINT32_MAX};
	log_open("tidegate-test", LOG_LEVEL_INFO, LOG_FORMAT_JSON);
	e = keep_events(&fd);
	/* With its counts a little too long. */
	memset(long_text, 'x', sizeof(long_text));
	log_event(LOG_LEVEL_INFO, LOG_DELIVERY, &details, "%.800s", long_text);
	/* Two bytes each, and at odd places then at even ones. */
	for (size_t i = 0; i + 1 < sizeof(long_text); i += 2)
		memcpy(long_text + i, "\xc3\xbc", 2);
	log_event(LOG_LEVEL_INFO, LOG_DELIVERY, &details, "%.1800s", long_text);
	log_event(LOG_LEVEL_INFO, LOG_DELIVERY, &details, "a%.1800s", long_text);
	/* Each becomes several. */
	memset(long_text, '"', sizeof(long_text));
	log_event(LOG_LEVEL_INFO, LOG_DELIVERY, &details, "%.1800s", long_text);
	list = kept(e);
	assert_int_equal(json_array_size(list), 4);
	assert_int_equal(strlen(field(list, 0, "text")), 800);
	for (size_t i = 0; i < 4; i++) {
		assert_null(json_object_get(json_array_get(list, i), names[0]));
		assert_string_equal(field(list, i, "route"), "north");
	}
	for (size_t i = 1; i < 3; i++) {
		text = field(list, i, "text");
		assert_true(strlen(text) > 700);
		assert_string_equal(text + strlen(text) - 5, "\xc3\xbc...");
	}
	assert_true(strlen(field(list, 3, "text")) > 400);
	json_decref(list);
	drop_events(e, fd);
}

/* Else the log would be written into whatever is opened next: the journal, perhaps. */
static void
closed_streams_are_taken(void **state)
{
	int status = -1;
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)close(STDIN_FILENO);
		(void)close(STDOUT_FILENO);
		(void)close(STDERR_FILENO);
		log_open("test", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
		_exit(open("/dev/zero", O_RDONLY) > STDERR_FILENO ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

#define CAPTURED(f) cmocka_unit_test_setup_teardown(f, capture_setup, capture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    CAPTURED(text_line_has_time_level_program_kind_and_text),
	    CAPTURED(journald_gets_a_priority_in_place_of_the_time),
	    CAPTURED(json_line_has_every_field),
	    CAPTURED(lower_levels_are_left_out),
	    CAPTURED(control_characters_stay_on_one_line),
	    CAPTURED(long_text_is_cut_with_a_mark),
	    CAPTURED(errno_is_kept),
	    CAPTURED(repeated_event_is_limited_and_counted),
	    CAPTURED(details_are_fields_of_the_json_object),
	    CAPTURED(suppressed_lines_are_a_field),
	    CAPTURED(recovery_tells_what_was_left_out),
	    CAPTURED(what_was_left_out_is_told_without_another_error),
	    CAPTURED(nothing_is_lost_with_more_places_than_rows),
	    CAPTURED(written_lines_are_kept_as_json),
	    CAPTURED(what_is_too_long_is_kept_without_counts_and_cut),
	    cmocka_unit_test(closed_streams_are_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
