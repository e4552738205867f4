/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A configuration for the supervisor: the whole check of it, our own and librdkafka's
 * through tidegate-forward, and what may change while the supervisor runs.
 */
#include <string.h>
#include <unistd.h>

#include "child.h"
#include "err.h"
#include "log.h"
#include "supervisor_parts.h"

/*
 * What two on one machine must not have in common, and what the tools have to find with
 * the file alone. Errors: ERR_INVALID, ERR_NOMEM.
 */
static int
check_instance(const struct settings *s, const char *instance, struct buffer *mistakes)
{
	int err = 0;

	if (!s->is_gateway_id_given)
		err = buffer_printf(mistakes,
		    "%s:1: gateway_id: is missing: each of several gateways on a "
		    "machine needs its own\n",
		    s->name);
	if (!s->is_directory_given && err == 0)
		err = buffer_printf(mistakes,
		    "%s:1: journal.directory: is missing: the journal of this one is "
		    "in \"" LOCALSTATEDIR "/lib/tidegate/%s\"\n",
		    s->name, instance);
	if (err != 0)
		return err;
	return s->is_gateway_id_given && s->is_directory_given ? 0 : ERR_INVALID;
}

int
supervisor_check(const struct supervisor_options *o, struct settings **out,
    struct buffer *text, struct buffer *mistakes)
{
	struct child_options child = {
	    .directory = o->worker_directory,
	    .config_name = o->config_path,
	    .config_fd = -1,
	    .wake_fd = -1,
	};
	struct settings *settings = NULL;
	int err;

	*out = NULL;
	err = settings_read(o->config_path, text, mistakes);
	if (err == 0)
		err = settings_parse(
		    &settings, o->config_path, (const char *)text->data, mistakes);
	if (err == 0 && o->instance != NULL)
		err = check_instance(settings, o->instance, mistakes);
	if (err == 0)
		err = child_config_open(&child.config_fd, (const char *)text->data);
	if (err == 0)
		err = child_check("tidegate-forward", &child, mistakes);
	if (child.config_fd >= 0)
		(void)close(child.config_fd);
	if (err == 0)
		*out = settings;
	else
		settings_free(settings);
	return err;
}

static void
log_mistakes(struct buffer *mistakes)
{
	char *rest = NULL;

	if (buffer_append(mistakes, "", 1) != 0)
		return;
	for (char *line = strtok_r((char *)mistakes->data, "\n", &rest); line != NULL;
	     line = strtok_r(NULL, "\n", &rest))
		log_error(LOG_LIFECYCLE, "%s", line);
}

int
supervisor_read(
    const struct supervisor_options *o, struct settings **settings, int *config_fd)
{
	struct buffer text = {0};
	struct buffer mistakes = {0};
	int err;

	err = supervisor_check(o, settings, &text, &mistakes);
	if (err == 0)
		err = child_config_open(config_fd, (const char *)text.data);
	else
		log_mistakes(&mistakes);
	if (err != 0) {
		settings_free(*settings);
		*settings = NULL;
	}
	buffer_fini(&text);
	buffer_fini(&mistakes);
	return err;
}

bool
supervisor_may_follow(const struct settings *old, const struct settings *new)
{
	if (strcmp(old->journal.directory, new->journal.directory) == 0 &&
	    strcmp(old->gateway_id, new->gateway_id) == 0)
		return true;
	log_error(LOG_LIFECYCLE,
	    "%s: journal.directory and gateway_id cannot change while tidegated runs: "
	    "stop it and start it again",
	    new->name);
	return false;
}
