/* SPDX-License-Identifier: Apache-2.0 */
/* The socket that tidegate-monitor listens on. */
#ifndef LISTEN_H
#define LISTEN_H

/*
 * address:   "ADDRESS:PORT" or "[ADDRESS]:PORT", as settings.monitor.listen.
 * Ownership: *fd, listening and non-blocking, is the caller's.
 * Errors:    ERR_IO (logged): the port is taken, the address is not ours, ...
 */
int listen_open(int *fd, const char *address);

#endif
