/* SPDX-License-Identifier: Apache-2.0 */
/* tidegated: the daemon. Reads its command line; the rest is the supervisor's. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "connection_check.h"
#include "err.h"
#include "log.h"
#include "now.h"
#include "settings.h"
#include "supervisor.h"
#include "worker.h"
#include "worker_path.h"

enum long_option {
	LONG_PRINT_CONFIG = 256,
	LONG_CHECK_CONNECTION,
	LONG_JSON,
	LONG_INSTANCE,
};

static const struct option long_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"test-config", no_argument, NULL, 't'},
    {"print-config", no_argument, NULL, LONG_PRINT_CONFIG},
    {"check-connection", no_argument, NULL, LONG_CHECK_CONNECTION},
    {"json", no_argument, NULL, LONG_JSON},
    {"instance", required_argument, NULL, LONG_INSTANCE},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {"verbose", no_argument, NULL, 'v'},
    {NULL, 0, NULL, 0},
};

static void
print_help(void)
{
	printf("Usage: tidegated [-c FILE] [-t | --print-config | --check-connection "
	       "[--json]] [-v]\n"
	       "Takes messages from an MQTT broker, keeps them in a journal on local "
	       "disk,\n"
	       "and delivers them to Apache Kafka. Runs in the foreground.\n\n"
	       "  -c, --config FILE   configuration (default %s)\n"
	       "      --instance NAME one of several on this machine, as "
	       "tidegate@NAME.service:\n"
	       "                      gateway_id and journal.directory have to be "
	       "set\n"
	       "  -t, --test-config   check the configuration and say what is wrong\n"
	       "      --print-config  print the effective settings\n"
	       "      --check-connection\n"
	       "                      look at the broker, the journal and Kafka, and "
	       "say what\n"
	       "                      is ok, warn or fail; a running daemon is not "
	       "disturbed\n"
	       "      --json          the same as JSON lines\n"
	       "  -v, --verbose       log at level debug\n"
	       "  -h, --help          this help\n"
	       "  -V, --version       the version\n\n"
	       "SIGTERM and SIGINT stop it in order, SIGHUP reads the configuration "
	       "again.\n",
	    SETTINGS_DEFAULT_PATH);
}

static int
exit_status(int err)
{
	if (err == 0)
		return EXIT_SUCCESS;
	return err == ERR_INVALID ? EXIT_CONFIG : EXIT_FAILED;
}

/* Flush stdout and see whether all of it was written. */
static int
finish_output(void)
{
	if (fflush(stdout) == 0 && ferror(stdout) == 0)
		return EXIT_SUCCESS;
	fprintf(stderr, "tidegated: stdout: %s\n", strerror(errno));
	return EXIT_FAILED;
}

static int
test_config(const struct supervisor_options *o)
{
	struct settings *settings;
	struct buffer text = {0};
	struct buffer mistakes = {0};
	int err = supervisor_check(o, &settings, &text, &mistakes);
	int status = exit_status(err);

	if (mistakes.size > 0)
		(void)fwrite(mistakes.data, 1, mistakes.size, stderr);
	if (err == 0) {
		printf("%s: ok\n", o->config_path);
		status = finish_output();
	}
	settings_free(settings);
	buffer_fini(&text);
	buffer_fini(&mistakes);
	return status;
}

static int
print_config(const char *path)
{
	struct settings *settings = NULL;
	struct buffer mistakes = {0};
	struct buffer out = {0};
	int err = settings_load(&settings, path, &mistakes);
	int status;

	if (err == 0)
		err = settings_print(settings, &out);
	if (mistakes.size > 0)
		(void)fwrite(mistakes.data, 1, mistakes.size, stderr);
	if (err == 0)
		(void)fwrite(out.data, 1, out.size, stdout);
	status = err == 0 ? finish_output() : exit_status(err);
	settings_free(settings);
	buffer_fini(&mistakes);
	buffer_fini(&out);
	return status;
}

struct command_line {
	struct supervisor_options options;
	bool is_test, is_print, is_check, is_json;
};

/* Returns false when main() is to return *status now. */
static bool
read_command_line(struct command_line *line, int argc, char *argv[], int *status)
{
	int option = getopt_long(argc, argv, "c:thVv", long_options, NULL);

	for (; option != -1;
	     option = getopt_long(argc, argv, "c:thVv", long_options, NULL)) {
		switch (option) {
		case 'c':
			line->options.config_path = optarg;
			break;
		case 't':
			line->is_test = true;
			break;
		case LONG_PRINT_CONFIG:
			line->is_print = true;
			break;
		case LONG_CHECK_CONNECTION:
			line->is_check = true;
			break;
		case LONG_JSON:
			line->is_json = true;
			break;
		case LONG_INSTANCE:
			line->options.instance = optarg;
			break;
		case 'h':
			print_help();
			*status = finish_output();
			return false;
		case 'V':
			printf("tidegated %s\n", PACKAGE_VERSION);
			*status = finish_output();
			return false;
		case 'v':
			line->options.is_verbose = true;
			break;
		default: /* getopt_long(3) has said why */
			fprintf(stderr, "tidegated: see tidegated --help\n");
			*status = EXIT_USAGE;
			return false;
		}
	}
	*status = EXIT_USAGE;
	if (optind < argc) {
		fprintf(stderr,
		    "tidegated: unexpected argument: %s; see tidegated --help\n",
		    argv[optind]);
		return false;
	}
	if (line->is_json && !line->is_check)
		fprintf(stderr, "tidegated: --json goes with --check-connection\n");
	return !line->is_json || line->is_check;
}

int
main(int argc, char *argv[])
{
	char directory[PATH_MAX];
	struct command_line line = {.options = {.config_path = SETTINGS_DEFAULT_PATH}};
	int64_t started_at_ms = now_monotonic_ms();
	int status;

	/* Whoever started us may have it ignored: how a child ended would be lost. */
	(void)signal(SIGCHLD, SIG_DFL);
	if (!read_command_line(&line, argc, argv, &status))
		return status;
	log_open("tidegated", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	line.options.worker_directory = worker_directory(directory);
	if (line.is_test)
		return test_config(&line.options);
	if (line.is_print)
		return print_config(line.options.config_path);
	if (line.is_check) {
		status = connection_check(&line.options, line.is_json, started_at_ms);
		return finish_output() == EXIT_SUCCESS ? status : EXIT_FAILED;
	}
	return supervisor_run(&line.options);
}
