/* SPDX-License-Identifier: Apache-2.0 */
/* The worker tidegate-monitor: shows by HTTP how this gateway is. Changes nothing. */
#ifndef MONITOR_H
#define MONITOR_H

#include "worker.h"

/* Run until somebody asks to stop. Returns the exit status of the program. */
int monitor_run(struct worker *w);

#endif
