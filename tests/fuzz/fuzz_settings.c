/* SPDX-License-Identifier: Apache-2.0 */
/* sources: settings/settings.c settings/settings_check.c settings/settings_file.c settings/settings_names.c settings/settings_options.c settings/settings_print.c settings/settings_scan.c settings/settings_take.c settings/settings_together.c buffer.c err.c events.c log.c now.c payload_json.c template.c text.c topic_filter.c */
/*
 * Any text as a configuration. What passes prints as a configuration that passes and
 * prints the same; what does not has a mistake with a line.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(bool right)
{
	if (!right)
		abort();
}

static void
print(const struct settings *s, struct buffer *out)
{
	check(settings_print(s, out) == 0);
	check(buffer_append(out, "", 1) == 0);
}

static void
check_round(const struct settings *s)
{
	struct buffer first = {0}, second = {0}, mistakes = {0};
	struct settings *again;

	print(s, &first);
	check(settings_parse(&again, "F", (const char *)first.data, &mistakes) == 0);
	check(mistakes.size == 0);
	print(again, &second);
	check(first.size == second.size &&
	      memcmp(first.data, second.data, first.size) == 0);
	settings_free(again);
	buffer_fini(&first);
	buffer_fini(&second);
	buffer_fini(&mistakes);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buffer mistakes = {0};
	struct settings *s;
	char *text = malloc(size + 1);
	int err;

	check(text != NULL);
	memcpy(text, data, size);
	text[size] = '\0';
	err = settings_parse(&s, "F", text, &mistakes);
	free(text);
	check(err == 0 || err == ERR_INVALID);
	check((err == 0) == (s != NULL));
	check((err == 0) == (mistakes.size == 0));
	check(err == 0 || memcmp(mistakes.data, "F:", 2) == 0);
	if (s != NULL)
		check_round(s);
	settings_free(s);
	buffer_fini(&mistakes);
	return 0;
}
