/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tidegate-ingest and tidegate-forward have in common: options, settings, log,
 * signals, and the tie to tidegated.
 */
#ifndef WORKER_H
#define WORKER_H

#include <stdbool.h>

#include "events.h"
#include "journal.h"
#include "settings.h"

/* Exit statuses of every program. */
#define EXIT_FAILED \
	1 /* also: something is missing that may come; systemd tries again */
#define EXIT_USAGE  2
#define EXIT_CONFIG 78 /* sysexits.h EX_CONFIG: the file itself is wrong */

struct worker {
	struct settings *settings;
	int stop_fd; /* readable once SIGTERM, SIGINT or the end of tidegated has asked to stop */
	int wake_fd; /* eventfd from ingest to forward; -1 where the worker runs alone */
	int board_fd;          /* for board_open(); -1 where the worker runs alone */
	struct events *events; /* the latest; NULL where the worker runs alone */
	bool once;  /* --once (forward only): end when the journal is empty */
	bool leave; /* --leave (ingest only): end the session at the broker for good */
	bool check; /* --check (forward only): check the settings, open nothing */
	bool check_connection; /* --check-connection: see check.h, then end */
	bool is_json;          /* --json: the lines of that are JSON */
};

/*
 * Read the command line (-c FILE, -h, -V, -v, and between tidegated and its workers
 * --wake-fd N, --board-fd N, --events-fd N, --parent PID and --config-name FILE), the
 * settings and the log; take the signals over.
 *
 * status:    out, when the result is not 0: what main() is to return (help and
 *            version end with 0).
 */
int worker_begin(
    struct worker *w, const char *name, int argc, char *argv[], int *status);

/* How a worker opens the journal; borrows from w->settings. */
struct journal_options worker_journal_options(const struct worker *w);

/* Has somebody asked to stop? */
bool worker_should_stop(const struct worker *w);

/* Wake the worker at the other end of wake_fd, if there is one. */
void worker_wake(const struct worker *w);

/*
 * Make blocking calls end: from now until worker_guard_end() a signal that has no
 * other effect comes after limit_ms and then each second, so that connect(2) and the
 * like return EINTR.
 */
void worker_guard_begin(int limit_ms);
void worker_guard_end(void);

void worker_end(struct worker *w);

#endif
