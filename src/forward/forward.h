/* SPDX-License-Identifier: Apache-2.0 */
/* The worker tidegate-forward: opens what the forwarder needs, and runs it. */
#ifndef FORWARD_H
#define FORWARD_H

#include "worker.h"

/*
 * Run until somebody asks to stop or, with w->once, the journal is empty. Then collects
 * what is in flight, kafka.shutdown_ms at most. Returns the exit status of the program.
 */
int forward_run(struct worker *w);

#endif
