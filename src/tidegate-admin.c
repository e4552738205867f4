/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tidegate-admin: changes a journal.
 *
 * Failure modes: a journal that somebody has open is refused; nothing is changed then.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "journal.h"
#include "log.h"
#include "settings.h"
#include "worker.h"

struct admin {
	const char *config_path; /* NULL: not given */
	const char *directory;   /* NULL: the configuration's */
	const char *command;
	bool is_verbose;
};

static void
print_usage(FILE *to)
{
	(void)fputs(
	    "usage: tidegate-admin [-c FILE | -d DIR] adopt | new-identity\n"
	    "  adopt         the journal was moved here: take it over as it is\n"
	    "  new-identity  the journal is a copy and the original lives on: give it "
	    "a new\n"
	    "                UUID, and note the old one as its parent\n"
	    "  -c, --config FILE    take the directory and the gateway id from this\n"
	    "                       configuration (default: " SETTINGS_DEFAULT_PATH
	    ")\n"
	    "  -d, --directory DIR  the journal's directory; without -c the gateway id "
	    "stays\n"
	    "  -v                   more on standard error\n"
	    "  -h, --help    -V, --version\n"
	    "The daemon has to be stopped.\n",
	    to);
}

/* Returns true when there is a command to carry out; else *status is the exit status. */
static bool
parse(struct admin *a, int argc, char *argv[], int *status)
{
	static const struct option options[] = {
	    {"config", required_argument, NULL, 'c'},
	    {"directory", required_argument, NULL, 'd'},
	    {"help", no_argument, NULL, 'h'},
	    {"version", no_argument, NULL, 'V'},
	    {NULL, 0, NULL, 0},
	};
	int c;

	*status = EXIT_USAGE;
	for (c = getopt_long(argc, argv, "c:d:hVv", options, NULL); c != -1;
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
		case 'h':
		case 'V':
			if (c == 'h')
				print_usage(stdout);
			else
				(void)printf("tidegate-admin %s\n", PACKAGE_VERSION);
			*status = fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILED;
			return false;
		default:
			print_usage(stderr);
			return false;
		}
	}
	if (optind != argc - 1) {
		print_usage(stderr);
		return false;
	}
	a->command = argv[optind];
	return true;
}

static int
carry_out(const char *command, const char *directory, const char *gateway_id)
{
	bool is_copy = strcmp(command, "new-identity") == 0;
	int rc;

	if (is_copy)
		rc = journal_new_identity(directory, gateway_id);
	else
		rc = journal_adopt(directory, gateway_id);
	if (rc != ERR_OK) {
		(void)fprintf(
		    stderr, "tidegate-admin: %s: %s\n", directory, err_str(rc));
		return EXIT_FAILED;
	}
	(void)printf("%s: %s\n", directory, is_copy ? "has a new identity" : "adopted");
	return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILED;
}

static int
run(const struct admin *a)
{
	const char *path =
	    a->config_path != NULL ? a->config_path : SETTINGS_DEFAULT_PATH;
	struct settings *settings = NULL;
	struct buffer mistakes = {0};
	int rc, status = EXIT_FAILED;

	if (a->directory != NULL && a->config_path == NULL)
		return carry_out(a->command, a->directory, NULL);
	rc = settings_load(&settings, path, &mistakes);
	if (rc == ERR_OK)
		status = carry_out(a->command,
		    a->directory != NULL ? a->directory : settings->journal.directory,
		    settings->gateway_id);
	else
		(void)fprintf(
		    stderr, "%.*s", (int)mistakes.size, (const char *)mistakes.data);
	if (rc == ERR_INVALID)
		status = EXIT_CONFIG;
	settings_free(settings);
	buffer_fini(&mistakes);
	return status;
}

int
main(int argc, char *argv[])
{
	struct admin a = {0};
	int status;

	if (!parse(&a, argc, argv, &status))
		return status;
	if (strcmp(a.command, "adopt") != 0 && strcmp(a.command, "new-identity") != 0) {
		(void)fprintf(stderr, "tidegate-admin: no command \"%s\"\n", a.command);
		print_usage(stderr);
		return EXIT_USAGE;
	}
	log_open("tidegate-admin", a.is_verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO,
	    LOG_FORMAT_TEXT);
	return run(&a);
}
