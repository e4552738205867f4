/* SPDX-License-Identifier: Apache-2.0 */
/* Worker processes: how tidegated starts them, and what it hands them. */
#ifndef CHILD_H
#define CHILD_H

#include <stdbool.h>
#include <sys/types.h>

#include "buffer.h"

struct child_options {
	const char *directory;   /* of the programs */
	const char *config_name; /* for messages */
	int config_fd;           /* the text that passed, see child_config_open() */
	int wake_fd;             /* -1: none */
	int board_fd;            /* -1: none; for child_start() alone */
	int events_fd;           /* likewise */
	bool is_verbose;
};

/*
 * A file that exists only in memory and that nobody can change: a worker that starts
 * later, after a crash, never meets a configuration that is half edited.
 *
 * Errors:    ERR_IO (logged).
 */
int child_config_open(int *fd, const char *text);

/*
 * Start a worker; it ends when this process ends. Signals are as at the start of a
 * program there.
 *
 * Errors:    ERR_IO (logged): there is no such process.
 */
int child_start(pid_t *pid, const char *name, const struct child_options *o);

/*
 * Run a worker with --check to its end, and append to lines what it writes.
 *
 * Errors:    ERR_INVALID (it says that the configuration is wrong), ERR_IO (it could
 *            not be run, or did not end by itself; in lines too), ERR_NOMEM.
 */
int child_check(const char *name, const struct child_options *o, struct buffer *lines);

/*
 * Start a worker with --check-connection; it ends when this process ends.
 *
 * Ownership: *fd, the reading end of its standard output, is the caller's.
 * Errors:    ERR_IO (logged): there is no such process, and no *fd.
 */
int child_check_connection(
    pid_t *pid, int *fd, const char *name, const struct child_options *o, bool is_json);

#endif
