/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of tidegate-dump. */
#ifndef DUMP_OPTIONS_H
#define DUMP_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

enum dump_what {
	DUMP_RECORDS,
	DUMP_DEAD,
	DUMP_GAPS,
	DUMP_STAT,
	DUMP_CHECK,
};

enum dump_form {
	DUMP_TEXT,
	DUMP_JSON,
	DUMP_PAYLOAD,
};

struct dump_options {
	const char *config_path;
	const char *directory; /* NULL: as the configuration says */
	bool verbose;
	bool follow; /* go on with what arrives; with DUMP_RECORDS alone */
	enum dump_what what;
	enum dump_form form;
	uint64_t from_seq; /* 0: from the first that is not yet acknowledged */
	uint64_t to_seq;
	uint64_t count;
	int64_t since_ms; /* epoch; both ends belong to it */
	int64_t until_ms;
	const char *topic_filter; /* NULL: all */
};

/*
 * Read the command line. What is wrong with it is said on stderr.
 *
 * now_ms:    real time, for "2 hours ago".
 * status:    out, when the result is not 0: what main() is to return.
 * Errors:    ERR_INVALID: the program is to end (also after --help).
 */
int dump_options_parse(
    struct dump_options *o, int argc, char *argv[], int64_t now_ms, int *status);

#endif
