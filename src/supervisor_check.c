/* SPDX-License-Identifier: Apache-2.0 */
/* A whole check of a configuration: our own, and librdkafka's through tidegate-forward. */
#include <unistd.h>

#include "child.h"
#include "err.h"
#include "supervisor.h"

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
