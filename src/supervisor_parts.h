/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the supervisor have in common. */
#ifndef SUPERVISOR_PARTS_H
#define SUPERVISOR_PARTS_H

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

#endif
