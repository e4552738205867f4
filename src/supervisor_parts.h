/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the supervisor have in common. */
#ifndef SUPERVISOR_PARTS_H
#define SUPERVISOR_PARTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "board.h"
#include "child.h"
#include "supervisor.h"

/*
 * Read, check, keep for the workers.
 *
 * Ownership: *settings and *config_fd are the caller's; *settings is NULL on failure.
 * Errors:    as supervisor_check(); all is logged.
 */
int supervisor_read(
    const struct supervisor_options *o, struct settings **settings, int *config_fd);

/*
 * May one follow the other in a tidegated that runs? Not where the journal would be
 * another: it is locked, and has the backlog. That is logged.
 */
bool supervisor_may_follow(const struct settings *old, const struct settings *new);

/* ---- one worker ---- */

enum want {
	WANT_RUN,
	WANT_RESTART, /* end, then WANT_RUN */
	WANT_STOP,
};

struct member {
	const char *name;
	bool (*differs)(const struct settings *, const struct settings *);
	int (*stop_ms)(const struct settings *);    /* how long it may take to end */
	bool (*is_wanted)(const struct settings *); /* NULL: always */
	enum want want;
	pid_t pid; /* 0: there is no process */
	bool is_asked;
	bool is_silent;     /* it is killed for that */
	int64_t kill_at_ms; /* once it is asked to end */
	int64_t started_at_ms;
	int64_t start_at_ms; /* where there is no process */
	int64_t delay_ms;    /* waited before the latest start */
	unsigned restart_count;
	char died[BOARD_TEXT_BYTES]; /* how, the last time */
};

/* Start it; where that fails it is due again later. */
void member_start(struct member *m, const struct child_options *child, int64_t now_ms);

/* Ask it to end, and do not take no for an answer: to be called again at kill_at_ms. */
void member_end(struct member *m, const struct settings *settings, int64_t now_ms);

/* It has ended. status: waitpid(2)'s. */
void member_bury(struct member *m, int status, int64_t now_ms);

/* ---- what the workers show on the board ---- */

/* It is told to the service manager, and watched. */
struct report;

/* board is borrowed as long as it lives. Errors: ERR_NOMEM. */
int report_open(struct report **out, const struct board *board);
void report_close(struct report *r);

/*
 * Tell the service manager what is due: the first time that all is ready, then the
 * status and that the loop turns. Returns when it is due again.
 */
int64_t report_step(struct report *r, const struct settings *settings, int64_t now_ms);

/* The configuration is read again. */
void report_reload_begin(void);
void report_reload_end(struct report *r, bool is_taken);

void report_stopping(struct report *r);

/* Has it been alive, and given no sign of it for long? */
bool report_is_silent(const struct report *r, enum board_worker worker, pid_t pid);

#endif
