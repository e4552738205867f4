/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The supervisor: starts the workers, starts one again that has died, stops them in
 * order. It opens neither the journal's environment nor the network.
 */
#ifndef SUPERVISOR_H
#define SUPERVISOR_H

#include <stdbool.h>

#include "buffer.h"
#include "settings.h"

struct supervisor_options {
	const char *config_path;      /* read again on SIGHUP */
	const char *worker_directory; /* where tidegate-ingest and the others are */
	/* One of several here: its file says who it is and where its journal is. NULL: no. */
	const char *instance;
	bool is_verbose; /* log at level debug, the workers too */
};

/*
 * Read a configuration and check all of it: settings_parse(), then what librdkafka
 * says to kafka.properties, which only tidegate-forward can ask.
 *
 * Ownership: *out and text are the caller's; *out is NULL on failure.
 *            mistakes is appended to, a line each.
 * Errors:    ERR_INVALID (see mistakes), ERR_IO (the file or tidegate-forward is out
 *            of reach; also in mistakes), ERR_NOMEM.
 */
int supervisor_check(const struct supervisor_options *o, struct settings **out,
    struct buffer *text, struct buffer *mistakes);

/*
 * Run until SIGTERM or SIGINT. Returns the exit status of the program.
 */
int supervisor_run(const struct supervisor_options *o);

#endif
