/* SPDX-License-Identifier: Apache-2.0 */
/* tidegated --check-connection: both ends and the journal, looked at by the workers. */
#ifndef CONNECTION_CHECK_H
#define CONNECTION_CHECK_H

#include <stdbool.h>

#include "supervisor.h"

/*
 * Prints a line for each check; mistakes in the configuration go to standard error. Ends
 * CHECK_KILL_MS after started_at_ms, or soon after that. Returns the exit status.
 */
int connection_check(
    const struct supervisor_options *o, bool is_json, int64_t started_at_ms);

#endif
