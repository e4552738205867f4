/* SPDX-License-Identifier: Apache-2.0 */
/* Settings and the files behind them: configurations, secrets, the file that is shipped. */
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

#include "../lib/parsing.h"
#include "../lib/tmpdir.h"
#include "err.h"
#include "kafka_sink.h"
#include "settings.h"
#include "settings/settings_parts.h"

static char *
print(const struct settings *s)
{
	struct buffer b = {0};

	assert_int_equal(settings_print(s, &b), 0);
	assert_int_equal(buffer_append(&b, "", 1), 0);
	return (char *)b.data;
}

/* ---- files ---- */

static void
write_file(const char *path, const void *data, size_t size)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, size, f), size);
	assert_int_equal(fclose(f), 0);
}

static char *
path_in(void **state, const char *name)
{
	static char path[4096];

	(void)snprintf(path, sizeof(path), "%s/%s", (const char *)*state, name);
	return path;
}

static void
files_that_cannot_be_read_may_come_later(void **state)
{
	struct buffer mistakes = {0};
	struct settings *s;

	assert_int_equal(settings_load(&s, path_in(state, "none"), &mistakes), ERR_IO);
	assert_null(s);
	assert_true(mistakes.size > 0);
	buffer_clear(&mistakes);
	assert_int_equal(settings_load(&s, *state, &mistakes), ERR_IO);
	assert_true(mistakes.size > 0);
	buffer_fini(&mistakes);
}

static void
files_that_are_no_text_are_refused(void **state)
{
	struct buffer mistakes = {0};
	char *path = path_in(state, "f");
	size_t size = (size_t)2 << 20;
	struct settings *s;
	char *big = malloc(size);

	write_file(path, ID "\0" ROUTES, sizeof(ID "\0" ROUTES) - 1);
	assert_int_equal(settings_load(&s, path, &mistakes), ERR_INVALID);
	assert_non_null(big);
	memset(big, '\n', size);
	write_file(path, big, size);
	free(big);
	assert_int_equal(settings_load(&s, path, &mistakes), ERR_INVALID);
	buffer_fini(&mistakes);
}

static void
a_file_is_read_whole(void **state)
{
	struct buffer mistakes = {0};
	struct settings *s;
	char *path = path_in(state, "f");

	write_file(path, ID ROUTES, sizeof(ID ROUTES) - 1);
	assert_int_equal(settings_load(&s, path, &mistakes), 0);
	assert_int_equal(mistakes.size, 0);
	assert_string_equal(s->name, path);
	settings_free(s);
	buffer_fini(&mistakes);
}

static void
secrets_come_from_files_and_credentials(void **state)
{
	char *path = path_in(state, "secret");
	char value[4200];
	char *out = NULL;

	write_file(path, "geheim \r\nmore\n", 14);
	assert_int_equal(chmod(path, 0640), 0);
	assert_int_equal(settings_secret("mqtt.password", "plain", &out), 0);
	assert_string_equal(out, "plain");
	free(out);
	(void)snprintf(value, sizeof(value), "file:%s", path);
	assert_int_equal(settings_secret("mqtt.password", value, &out), 0);
	assert_string_equal(out, "geheim ");
	free(out);
	assert_int_equal(setenv("CREDENTIALS_DIRECTORY", *state, 1), 0);
	assert_int_equal(
	    settings_secret("mqtt.password", "credential:secret", &out), 0);
	assert_string_equal(out, "geheim ");
	free(out);
	out = NULL;
	assert_int_equal(
	    settings_secret("mqtt.password", "credential:none", &out), ERR_IO);
	assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
	assert_int_equal(
	    settings_secret("mqtt.password", "credential:secret", &out), ERR_IO);
	assert_int_equal(
	    settings_secret("mqtt.password", "file:/nowhere/secret", &out), ERR_IO);
	assert_null(out);
}

/* How many lines a call to settings_warn_readable() or settings_secret() logs. */
static size_t
count_warnings(void **state, const char *path, bool is_secret)
{
	char log_path[4096], value[4200], line[4500], wanted[4500];
	size_t count = 0;
	int saved_fd = dup(STDERR_FILENO);
	char *out = NULL;
	FILE *f;

	(void)snprintf(log_path, sizeof(log_path), "%s/log", (const char *)*state);
	(void)snprintf(value, sizeof(value), "file:%s", path);
	(void)snprintf(wanted, sizeof(wanted),
	    "warning tidegate: lifecycle: %s can be read by every user of this "
	    "machine: "
	    "chmod o-r",
	    path);
	f = fopen(log_path, "w+");
	assert_non_null(f);
	assert_true(dup2(fileno(f), STDERR_FILENO) >= 0);
	if (is_secret && settings_secret("mqtt.password", value, &out) != 0)
		count = 1000;
	else if (!is_secret)
		settings_warn_readable(path);
	assert_true(dup2(saved_fd, STDERR_FILENO) >= 0);
	(void)close(saved_fd);
	free(out);
	rewind(f);
	for (; fgets(line, sizeof(line), f) != NULL; count++)
		assert_non_null(strstr(line, wanted));
	assert_int_equal(fclose(f), 0);
	return count;
}

static void
a_secret_that_everyone_can_read_draws_one_warning(void **state)
{
	static const struct {
		mode_t mode;
		size_t warnings;
	} cases[] = {{0600, 0}, {0640, 0}, {0660, 0}, {0644, 1}, {0604, 1}};

	unsetenv("JOURNAL_STREAM");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (int is_secret = 0; is_secret < 2; is_secret++) {
			char name[32], path[4096];

			(void)snprintf(name, sizeof(name), "s%zu-%d", i, is_secret);
			(void)snprintf(path, sizeof(path), "%s", path_in(state, name));
			write_file(path, "geheim\n", 7);
			assert_int_equal(chmod(path, cases[i].mode), 0);
			assert_int_equal(count_warnings(state, path, is_secret != 0),
			    cases[i].warnings);
			assert_int_equal(
			    count_warnings(state, path, is_secret != 0), 0);
		}
	}
	settings_warn_readable("/nowhere/key");
}

/* ---- etc/tidegate.conf ---- */

/* The shipped file under ID; the caller frees. */
static char *
default_file(void)
{
	const char *top = getenv("TOP_SRCDIR");
	struct buffer text = {0};
	struct buffer mistakes = {0};
	char path[4096];

	(void)snprintf(
	    path, sizeof(path), "%s/etc/tidegate.conf", top == NULL ? "." : top);
	assert_int_equal(buffer_append_str(&text, ID), 0);
	assert_int_equal(settings_read(path, &text, &mistakes), 0);
	buffer_fini(&mistakes);
	return (char *)text.data;
}

static void
the_default_file_says_the_defaults(void **state)
{
	char *text = default_file();
	struct settings *file = parse_good(text);
	struct settings *none =
	    parse_good(ID "routes = { name = \"default\"; topic_filters = \"tbmq/#\";"
			  "topic = \"tbmq.messages\"; };");
	char *a = print(file);
	char *b = print(none);

	(void)state;
	assert_string_equal(a, b);
	free(a);
	free(b);
	free(text);
	settings_free(file);
	settings_free(none);
}

static void
expect_named(const char *text, const struct settings_option table[])
{
	for (const struct settings_option *o = table; o->key != NULL; o++) {
		char wanted[64];

		(void)snprintf(wanted, sizeof(wanted), "%s = ", o->key);
		if (strstr(text, wanted) == NULL)
			fail_msg("etc/tidegate.conf does not name %s", o->key);
		if (o->members != NULL)
			expect_named(text, o->members);
	}
}

static void
the_default_file_names_every_option(void **state)
{
	char *text = default_file();

	(void)state;
	expect_named(text, settings_options);
	free(text);
}

/* Does the line hold an example, "#" and no blank behind it? */
static char *
example_mark(char *line)
{
	char *mark = line + strspn(line, "\t ");

	return *mark == '#' && mark[1] != ' ' && mark[1] != '\n' && mark[1] != '\0'
		   ? mark
		   : NULL;
}

/* Take the "#" from an example's lines away, from the line at offset on. Returns its end. */
static size_t
uncomment(char *text, size_t offset)
{
	char *line = text + offset;
	char *mark = example_mark(line);

	while (mark != NULL) {
		*mark = ' ';
		line += strcspn(line, "\n") + 1;
		mark = example_mark(line);
	}
	return (size_t)(line - text);
}

static void
expect_good_example(const char *text)
{
	const char *id = strstr(text, " gateway_id = ");
	struct settings *s = parse_good(id == NULL ? text : text + strlen(ID));
	struct buffer mistakes = {0};

	/* Debian's librdkafka can do no OpenID Connect. */
	if (strstr(text, " \"sasl.oauthbearer") == NULL &&
	    kafka_sink_check(s, &mistakes) != 0)
		fail_msg("%.*s", (int)mistakes.size, (const char *)mistakes.data);
	buffer_fini(&mistakes);
	settings_free(s);
}

static void
the_default_files_examples_are_valid(void **state)
{
	char *text = default_file();
	size_t count = 0;
	size_t offset = 0;

	(void)state;
	while (text[offset] != '\0') {
		char *copy;

		if (example_mark(text + offset) == NULL) {
			offset += strcspn(text + offset, "\n") + 1;
			continue;
		}
		copy = strdup(text);
		assert_non_null(copy);
		offset = uncomment(copy, offset);
		expect_good_example(copy);
		free(copy);
		count++;
	}
	assert_true(count >= 13);
	free(text);
}

#define FILE_TEST(name) \
	cmocka_unit_test_setup_teardown(name, tmpdir_setup, tmpdir_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    FILE_TEST(files_that_cannot_be_read_may_come_later),
	    FILE_TEST(files_that_are_no_text_are_refused),
	    FILE_TEST(a_file_is_read_whole),
	    FILE_TEST(secrets_come_from_files_and_credentials),
	    FILE_TEST(a_secret_that_everyone_can_read_draws_one_warning),
	    cmocka_unit_test(the_default_file_says_the_defaults),
	    cmocka_unit_test(the_default_file_names_every_option),
	    cmocka_unit_test(the_default_files_examples_are_valid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
