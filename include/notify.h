/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the service manager is told, as sd_notify(3) has it, where this was built with
 * libsystemd. Without a service manager all of it does nothing. None of it waits longer
 * than a second for one that does not listen.
 */
#ifndef NOTIFY_H
#define NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

void notify_ready(void);
void notify_stopping(void);

/* A reload begins; notify_ready() ends it. */
void notify_reloading(int64_t now_us);

/* One line for "systemctl status", up to 1,000 bytes. False: it was not taken. */
bool notify_status(const char *text);

/* How often notify_watchdog() has to be called, ms; 0: there is no watchdog. */
int64_t notify_watchdog_ms(void);
void notify_watchdog(void);

#endif
