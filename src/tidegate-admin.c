/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tidegate-admin: changes a journal, by order to the daemon where that runs.
 *
 * Failure modes: what needs the journal for itself is refused while somebody has it open;
 * nothing is changed then.
 */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/admin.h"
#include "err.h"
#include "journal.h"
#include "log.h"
#include "settings.h"
#include "worker.h"

#define WAIT_S     10
#define WAIT_S_MAX 86400

enum long_option { LONG_ALL = 256, LONG_WAIT, LONG_SHORT, LONG_JSON };

static void
print_usage(FILE *to)
{
	(void)fputs(
	    "usage: tidegate-admin [-c FILE | -d DIR] COMMAND\n"
	    "  status [--short | --json]    how the gateway is; exit status 0 only "
	    "when "
	    "it is well\n"
	    "  requeue-dead SEQ... | --all  send dead letters again, each to its "
	    "route\n"
	    "  discard-dead SEQ... | --all  delete dead letters; a gap marker is left\n"
	    "  skip SEQ       put a record that waits into the dead letters\n"
	    "  orders         list what was asked of tidegate-forward\n"
	    "  withdraw NUMBER...  take back orders that wait\n"
	    "  leave          end the session at the broker, for a gateway that is "
	    "retired: what\n"
	    "                 the broker holds comes into the journal first; daemon "
	    "stopped\n"
	    "  backup FILE    copy the journal, also beside the daemon\n"
	    "  compact        give back what is free in the file; daemon stopped\n"
	    "  salvage DIR    what can be read of a damaged journal, into a new one in "
	    "DIR;\n"
	    "                 daemon stopped\n"
	    "  adopt          the journal was moved here: take it over as it is; "
	    "daemon stopped\n"
	    "  new-identity   the journal is a copy and the original lives on: give "
	    "it a new\n"
	    "                 UUID, and note the old one as its parent; daemon "
	    "stopped\n"
	    "options:\n"
	    "  -c, --config FILE    take the directory and the gateway id from this\n"
	    "                       configuration (default: " SETTINGS_DEFAULT_PATH
	    ")\n"
	    "  -d, --directory DIR  the journal's directory; without -c the gateway id "
	    "stays\n"
	    "  --wait SECONDS       how long to wait for the daemon (default: 10)\n"
	    "  -v                   more on standard error\n"
	    "  -h, --help    -V, --version\n",
	    to);
}

void
admin_complain(const char *format, ...)
{
	va_list args;

	(void)fputs("tidegate-admin: ", stderr);
	va_start(args, format);
	(void)vfprintf(stderr, format, args);
	va_end(args);
	(void)fputs("\n", stderr);
}

int
admin_fail(const char *outcome, int rc)
{
	if (rc == ERR_LOCKED)
		admin_complain("%s: stop tidegated first", outcome);
	else if (rc == ERR_NOMEM)
		admin_complain("%s: %s", outcome, err_str(rc));
	else
		admin_complain("%s", outcome);
	return EXIT_FAILED;
}

uint64_t
admin_seq(const char *text)
{
	uint64_t seq = 0;

	for (const char *at = text; *at != '\0'; at++) {
		uint64_t digit = (uint64_t)*at - '0';

		if (digit > 9 || seq > (UINT64_MAX - digit) / 10)
			return 0;
		seq = seq * 10 + digit;
	}
	return seq;
}

/* ---- commands ---- */

static int
change_identity(const struct admin *a, bool is_copy)
{
	int rc = is_copy ? journal_new_identity(a->directory, a->gateway_id)
			 : journal_adopt(a->directory, a->gateway_id);

	if (rc != ERR_OK)
		return admin_fail("nothing was changed", rc);
	(void)printf(
	    "%s: %s\n", a->directory, is_copy ? "has a new identity" : "adopted");
	return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILED;
}

static int
adopt(const struct admin *a)
{
	return change_identity(a, false);
}

static int
new_identity(const struct admin *a)
{
	return change_identity(a, true);
}

static int
requeue_dead(const struct admin *a)
{
	return admin_letters(a, JOURNAL_ORDER_REQUEUE);
}

static int
discard_dead(const struct admin *a)
{
	return admin_letters(a, JOURNAL_ORDER_DISCARD);
}

enum arguments {
	ARGUMENTS_NONE,
	ARGUMENTS_PATH,
	ARGUMENTS_SEQ,
	ARGUMENTS_LETTERS, /* at least one sequence, or --all */
	ARGUMENTS_ORDERS,  /* at least one number */
};

static const struct command {
	const char *name;
	enum arguments arguments;
	int (*run)(const struct admin *a);
	bool has_forms; /* --short and --json */
} commands[] = {
    {"status", ARGUMENTS_NONE, admin_status, true},
    {"requeue-dead", ARGUMENTS_LETTERS, requeue_dead, false},
    {"discard-dead", ARGUMENTS_LETTERS, discard_dead, false},
    {"skip", ARGUMENTS_SEQ, admin_skip, false},
    {"orders", ARGUMENTS_NONE, admin_orders, false},
    {"withdraw", ARGUMENTS_ORDERS, admin_withdraw, false},
    {"leave", ARGUMENTS_NONE, admin_leave, false},
    {"backup", ARGUMENTS_PATH, admin_backup, false},
    {"compact", ARGUMENTS_NONE, admin_compact, false},
    {"salvage", ARGUMENTS_PATH, admin_salvage, false},
    {"adopt", ARGUMENTS_NONE, adopt, false},
    {"new-identity", ARGUMENTS_NONE, new_identity, false},
};

static bool
are_numbers(const struct admin *a)
{
	for (size_t i = 0; i < a->argument_count; i++) {
		if (admin_seq(a->arguments[i]) == 0) {
			admin_complain(
			    "\"%s\" is no number, from 1 on", a->arguments[i]);
			return false;
		}
	}
	return true;
}

static bool
has_its_arguments(const struct command *c, const struct admin *a)
{
	bool is_right = false;

	switch (c->arguments) {
	case ARGUMENTS_NONE:
		is_right = a->argument_count == 0 && !a->is_all;
		break;
	case ARGUMENTS_PATH:
		is_right = a->argument_count == 1 && !a->is_all;
		break;
	case ARGUMENTS_SEQ:
		is_right = a->argument_count == 1 && !a->is_all;
		break;
	case ARGUMENTS_LETTERS:
		is_right = (a->argument_count > 0) != a->is_all;
		break;
	case ARGUMENTS_ORDERS:
		is_right = a->argument_count > 0 && !a->is_all;
		break;
	}
	if (!is_right)
		admin_complain("%s: %s", c->name,
		    c->arguments == ARGUMENTS_LETTERS
			? "say which, by their sequence numbers or with --all"
			: "wrong number of arguments");
	if (is_right && c->arguments != ARGUMENTS_NONE &&
	    c->arguments != ARGUMENTS_PATH)
		is_right = are_numbers(a);
	if ((a->is_short || a->is_json) && !c->has_forms) {
		admin_complain("%s: --short and --json go with \"status\"", c->name);
		is_right = false;
	}
	return is_right;
}

static const struct command *
find_command(const struct admin *a)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(commands[i].name, a->command) == 0)
			return has_its_arguments(&commands[i], a) ? &commands[i] : NULL;
	}
	admin_complain("no command \"%s\"", a->command);
	return NULL;
}

/* ---- the command line ---- */

static bool
take_wait(struct admin *a, const char *text)
{
	uint64_t seconds = admin_seq(text);

	if (seconds > WAIT_S_MAX || (seconds == 0 && strcmp(text, "0") != 0)) {
		admin_complain("--wait: \"%s\" is no number of seconds, 0 to %d", text,
		    WAIT_S_MAX);
		return false;
	}
	a->wait_ms = (int64_t)seconds * 1000;
	return true;
}

/* Returns true when there is a command to carry out; else *status is the exit status. */
static bool
parse(struct admin *a, int argc, char *argv[], int *status)
{
	static const struct option options[] = {
	    {"config", required_argument, NULL, 'c'},
	    {"directory", required_argument, NULL, 'd'},
	    {"all", no_argument, NULL, LONG_ALL},
	    {"wait", required_argument, NULL, LONG_WAIT},
	    {"short", no_argument, NULL, LONG_SHORT},
	    {"json", no_argument, NULL, LONG_JSON},
	    {"help", no_argument, NULL, 'h'},
	    {"version", no_argument, NULL, 'V'},
	    {NULL, 0, NULL, 0},
	};
	bool is_good = true;
	int c;

	*status = EXIT_USAGE;
	for (c = getopt_long(argc, argv, "c:d:hVv", options, NULL); c != -1 && is_good;
	     c = getopt_long(argc, argv, "c:d:hVv", options, NULL)) {
		switch (c) {
		case 'c':
			a->config_path = optarg;
			break;
		case 'd':
			a->directory = optarg;
			break;
		case 'v':
			a->is_verbose = true;
			break;
		case LONG_ALL:
			a->is_all = true;
			break;
		case LONG_SHORT:
			a->is_short = true;
			break;
		case LONG_JSON:
			a->is_json = true;
			break;
		case LONG_WAIT:
			is_good = take_wait(a, optarg);
			break;
		case 'h':
		case 'V':
			if (c == 'h')
				print_usage(stdout);
			else
				(void)printf("tidegate-admin %s\n", PACKAGE_VERSION);
			*status = fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILED;
			return false;
		default:
			is_good = false;
		}
	}
	if (!is_good || optind >= argc || (a->is_short && a->is_json)) {
		print_usage(stderr);
		return false;
	}
	a->command = argv[optind];
	a->arguments = argv + optind + 1;
	a->argument_count = (size_t)(argc - optind - 1);
	return true;
}

static int
run_configured(struct admin *a, const struct command *command)
{
	const char *path =
	    a->config_path != NULL ? a->config_path : SETTINGS_DEFAULT_PATH;
	struct settings *settings = NULL;
	struct buffer mistakes = {0};
	int status = EXIT_FAILED;
	int rc = settings_load(&settings, path, &mistakes);

	if (rc == ERR_OK) {
		if (a->directory == NULL)
			a->directory = settings->journal.directory;
		a->gateway_id = settings->gateway_id;
		a->codec = settings->journal.compression;
		a->settings = settings;
		a->config_path = path;
		status = command->run(a);
	} else {
		(void)fprintf(
		    stderr, "%.*s", (int)mistakes.size, (const char *)mistakes.data);
	}
	if (rc == ERR_INVALID)
		status = EXIT_CONFIG;
	settings_free(settings);
	buffer_fini(&mistakes);
	return status;
}

int
main(int argc, char *argv[])
{
	struct admin a = {.codec = BATCH_CODEC_ZSTD, .wait_ms = WAIT_S * 1000};
	const struct command *command;
	int status;

	if (!parse(&a, argc, argv, &status))
		return status;
	command = find_command(&a);
	if (command == NULL)
		return EXIT_USAGE;
	log_open("tidegate-admin", a.is_verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO,
	    LOG_FORMAT_TEXT);
	if (a.directory != NULL && a.config_path == NULL)
		return command->run(&a);
	return run_configured(&a, command);
}
