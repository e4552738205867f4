/* SPDX-License-Identifier: Apache-2.0 */
#include "parsing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "err.h"

int
parse(const char *text, struct settings **s, char **mistakes)
{
	struct buffer b = {0};
	int err = settings_parse(s, "F", text, &b);

	assert_int_equal(buffer_append(&b, "", 1), 0);
	assert_int_equal(err != 0, *s == NULL);
	assert_int_equal(err != 0, b.data[0] != '\0');
	*mistakes = (char *)b.data;
	return err;
}

struct settings *
parse_good(const char *text)
{
	struct settings *s;
	char *mistakes;
	int err = parse(text, &s, &mistakes);

	if (err != 0)
		fail_msg("%s\n%s", text, mistakes);
	free(mistakes);
	return s;
}

void
expect_mistakes(const char *text, const char *wanted)
{
	struct settings *s;
	char *mistakes;
	int err = parse(text, &s, &mistakes);

	if (err != ERR_INVALID || strcmp(mistakes, wanted) != 0)
		fail_msg("%s\nwanted (%d): %s\ngot (%d):    %s", text, ERR_INVALID,
		    wanted, err, mistakes);
	free(mistakes);
}
