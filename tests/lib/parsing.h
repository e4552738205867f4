/* SPDX-License-Identifier: Apache-2.0 */
/* Configurations as text, for the tests of settings. The file is always called "F". */
#ifndef TESTS_PARSING_H
#define TESTS_PARSING_H

#include "settings.h"

/* The least that a configuration needs; a line each. */
#define ROUTE  "{ name = \"r\"; topic_filters = [ \"a/#\" ]; topic = \"t\"; }"
#define ROUTES "routes = ( " ROUTE " );\n"
#define ID     "gateway_id = \"g\";\n"

/* mistakes: out, the caller's to free; checks that there are some only with an error. */
int parse(const char *text, struct settings **s, char **mistakes);

/* Fails the test where text is refused. The caller frees what it returns. */
struct settings *parse_good(const char *text);

/* Fails the test unless text is refused, with exactly these lines. */
void expect_mistakes(const char *text, const char *wanted);

#endif
