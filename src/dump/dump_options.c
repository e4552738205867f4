/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of tidegate-dump. */
#include "dump_options.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dump_time.h"
#include "err.h"
#include "settings.h"
#include "topic_filter.h"
#include "worker.h"

static const char usage[] =
    "usage: tidegate-dump [-c FILE | -d DIR] [OPTION...]\n"
    "Look into a journal; nothing in it is changed.\n"
    "\n"
    "  -c, --config FILE     configuration that names the journal\n"
    "                        (default " SETTINGS_DEFAULT_PATH ")\n"
    "  -d, --directory DIR   the journal itself\n"
    "\n"
    "what (default: the records not yet acknowledged)\n"
    "      --dead            the dead letters\n"
    "      --gaps            what was removed without Kafka's confirmation\n"
    "      --stat            figures\n"
    "      --check           read everything, verify checksums and sequence\n"
    "      --from SEQ, --to SEQ\n"
    "      --since TIME, --until TIME\n"
    "                        RFC 3339 (2026-11-24T10:00:00Z), or -30m, -2h, -1d\n"
    "      --topic FILTER    an MQTT topic filter\n"
    "      --count N         at most so many\n"
    "      --follow          go on with what arrives\n"
    "\n"
    "how (default: one line each)\n"
    "      --json            JSON lines with every field\n"
    "      --payload         the payloads alone\n"
    "\n"
    "  -v, --verbose         more about what goes on, on standard error\n"
    "  -h, --help\n"
    "  -V, --version\n";

enum long_option {
	OPTION_FROM = 256,
	OPTION_TO,
	OPTION_SINCE,
	OPTION_UNTIL,
	OPTION_TOPIC,
	OPTION_COUNT,
	OPTION_DEAD,
	OPTION_GAPS,
	OPTION_STAT,
	OPTION_CHECK,
	OPTION_JSON,
	OPTION_PAYLOAD,
	OPTION_FOLLOW,
};

static const struct option long_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"directory", required_argument, NULL, 'd'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {"verbose", no_argument, NULL, 'v'},
    {"from", required_argument, NULL, OPTION_FROM},
    {"to", required_argument, NULL, OPTION_TO},
    {"since", required_argument, NULL, OPTION_SINCE},
    {"until", required_argument, NULL, OPTION_UNTIL},
    {"topic", required_argument, NULL, OPTION_TOPIC},
    {"count", required_argument, NULL, OPTION_COUNT},
    {"dead", no_argument, NULL, OPTION_DEAD},
    {"gaps", no_argument, NULL, OPTION_GAPS},
    {"stat", no_argument, NULL, OPTION_STAT},
    {"check", no_argument, NULL, OPTION_CHECK},
    {"json", no_argument, NULL, OPTION_JSON},
    {"payload", no_argument, NULL, OPTION_PAYLOAD},
    {"follow", no_argument, NULL, OPTION_FOLLOW},
    {NULL, 0, NULL, 0},
};

__attribute__((format(printf, 1, 2))) static int
complain(const char *format, ...)
{
	va_list args;

	(void)fputs("tidegate-dump: ", stderr);
	va_start(args, format);
	(void)vfprintf(stderr, format, args);
	va_end(args);
	(void)fputs("\nTry tidegate-dump --help.\n", stderr);
	return ERR_INVALID;
}

static int
take_number(const char *name, const char *text, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 10);
	if (!isdigit((unsigned char)text[0]) || *end != '\0' || errno != 0 || *out == 0)
		return complain("--%s: \"%s\" is not a number from 1", name, text);
	return 0;
}

static int
take_time(const char *name, const char *text, int64_t now_ms, int64_t *out)
{
	if (dump_time_parse(text, now_ms, out) != 0)
		return complain(
		    "--%s: \"%s\" is not a time; write 2026-11-24T10:00:00Z, "
		    "or -30m, -2h, -1d",
		    name, text);
	return 0;
}

static int
take_topic(struct dump_options *o, const char *text)
{
	const char *why;

	if (!topic_filter_is_valid(text, &why))
		return complain("--topic: \"%s\" is not a topic filter: %s", text, why);
	o->topic_filter = text;
	return 0;
}

static int
take_what(struct dump_options *o, enum dump_what what)
{
	if (o->what != DUMP_RECORDS && o->what != what)
		return complain("only one of --dead, --gaps, --stat and --check");
	o->what = what;
	return 0;
}

static int
take_form(struct dump_options *o, enum dump_form form)
{
	if (o->form != DUMP_TEXT && o->form != form)
		return complain("only one of --json and --payload");
	o->form = form;
	return 0;
}

/* One option that selects or forms; the rest is dump_options_parse()'s. */
static int
take_option(struct dump_options *o, int option, const char *value, int64_t now_ms)
{
	switch (option) {
	case 'c':
		o->config_path = value;
		return 0;
	case 'd':
		o->directory = value;
		return 0;
	case 'v':
		o->verbose = true;
		return 0;
	case OPTION_FROM:
		return take_number("from", value, &o->from_seq);
	case OPTION_TO:
		return take_number("to", value, &o->to_seq);
	case OPTION_COUNT:
		return take_number("count", value, &o->count);
	case OPTION_SINCE:
		return take_time("since", value, now_ms, &o->since_ms);
	case OPTION_UNTIL:
		return take_time("until", value, now_ms, &o->until_ms);
	case OPTION_TOPIC:
		return take_topic(o, value);
	case OPTION_DEAD:
		return take_what(o, DUMP_DEAD);
	case OPTION_GAPS:
		return take_what(o, DUMP_GAPS);
	case OPTION_STAT:
		return take_what(o, DUMP_STAT);
	case OPTION_CHECK:
		return take_what(o, DUMP_CHECK);
	case OPTION_JSON:
		return take_form(o, DUMP_JSON);
	case OPTION_PAYLOAD:
		return take_form(o, DUMP_PAYLOAD);
	case OPTION_FOLLOW:
		o->follow = true;
		return 0;
	default:
		(void)fputs("Try tidegate-dump --help.\n", stderr);
		return ERR_INVALID;
	}
}

static int
check_together(const struct dump_options *o, bool is_config_given)
{
	bool selects = o->from_seq != 0 || o->to_seq != UINT64_MAX ||
		       o->count != UINT64_MAX || o->since_ms != INT64_MIN ||
		       o->until_ms != INT64_MAX;

	if (is_config_given && o->directory != NULL)
		return complain("only one of --config and --directory");
	if ((o->what == DUMP_STAT || o->what == DUMP_CHECK) &&
	    (selects || o->topic_filter != NULL))
		return complain(
		    "--stat and --check look at all of the journal: no --from, "
		    "--to, --since, --until, --topic or --count");
	if (o->follow && (o->what == DUMP_STAT || o->what == DUMP_CHECK))
		return complain("--stat and --check look once: no --follow");
	if (o->follow && o->what != DUMP_RECORDS)
		return complain(
		    "--follow is for records: dead letters and gaps do not come "
		    "in the order of their numbers");
	if (o->what == DUMP_CHECK && o->form != DUMP_TEXT)
		return complain("--check has no other form");
	if (o->what == DUMP_STAT && o->form == DUMP_PAYLOAD)
		return complain("--stat has no payloads");
	if (o->what == DUMP_GAPS &&
	    (o->topic_filter != NULL || o->form == DUMP_PAYLOAD))
		return complain("--gaps has neither topics nor payloads");
	return 0;
}

int
dump_options_parse(
    struct dump_options *o, int argc, char *argv[], int64_t now_ms, int *status)
{
	static char default_path[] = SETTINGS_DEFAULT_PATH;
	int option;
	int err = 0;

	*o = (struct dump_options){
	    .to_seq = UINT64_MAX,
	    .count = UINT64_MAX,
	    .since_ms = INT64_MIN,
	    .until_ms = INT64_MAX,
	};
	*status = EXIT_USAGE;
	for (;;) {
		option = getopt_long(argc, argv, "c:d:hVv", long_options, NULL);
		if (option == -1)
			break;
		if (option == 'h' || option == 'V') {
			(void)fputs(option == 'h' ? usage
						  : "tidegate-dump " PACKAGE_VERSION
						    "\n",
			    stdout);
			*status = fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILED;
			return ERR_INVALID;
		}
		err = take_option(o, option, optarg, now_ms);
		if (err != 0)
			return err;
	}
	if (optind < argc)
		return complain("unexpected argument \"%s\"", argv[optind]);
	err = check_together(o, o->config_path != NULL);
	if (o->config_path == NULL)
		o->config_path = default_path;
	return err;
}
