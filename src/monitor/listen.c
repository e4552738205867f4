/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where to listen.
 *
 * Failure modes: the name cannot be resolved, or none of its addresses can be had: what
 * was wrong with the last one is logged.
 */
#include "listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "err.h"
#include "log.h"

#define BACKLOG 64

/* Errors: ERR_IO (logged). */
static int
resolve(const char *address, struct addrinfo **list)
{
	const struct addrinfo hints = {.ai_family = AF_UNSPEC,
	    .ai_socktype = SOCK_STREAM,
	    .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
	const char *colon = strrchr(address, ':');
	bool is_bracketed = *address == '[';
	char host[256];
	int rc;

	if (colon == NULL) /* it has been checked */
		return ERR_IO;
	(void)snprintf(host, sizeof(host), "%.*s",
	    (int)(colon - address) - 2 * is_bracketed, address + is_bracketed);
	rc = getaddrinfo(host, colon + 1, &hints, list);
	if (rc == 0)
		return 0;
	log_error(LOG_LIFECYCLE, "monitor.listen: %s: %s", address,
	    rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
	return ERR_IO;
}

/* Returns the socket, or -1: errno tells. */
static int
try_address(const struct addrinfo *a)
{
	const int on = 1;
	int saved_errno;
	int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
	    a->ai_protocol);

	if (fd < 0)
		return -1;
	/* Else connections of the one before would keep us from it for a minute. */
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	saved_errno = errno;
	(void)close(fd);
	errno = saved_errno;
	return -1;
}

static bool
is_loopback(const struct sockaddr *a)
{
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	if (a->sa_family == AF_INET) {
		memcpy(&in, a, sizeof(in));
		return ntohl(in.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	}
	memcpy(&in6, a, sizeof(in6));
	return IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr);
}

int
listen_open(int *fd, const char *address)
{
	struct addrinfo *list = NULL;
	const struct addrinfo *a;
	int err = resolve(address, &list);

	if (err != 0)
		return err;
	err = ERR_IO;
	errno = EADDRNOTAVAIL;
	for (a = list; a != NULL && err != 0; a = a->ai_next) {
		*fd = try_address(a);
		if (*fd < 0)
			continue;
		err = 0;
		if (!is_loopback(a->ai_addr))
			log_warning(LOG_LIFECYCLE,
			    "monitor.listen: %s is not this machine's alone, and there "
			    "is no password: whoever reaches it can see how this "
			    "gateway is",
			    address);
	}
	if (err != 0)
		log_error(LOG_LIFECYCLE, "monitor.listen: cannot listen on %s: %s",
		    address,
		    errno == EADDRINUSE ? "another program has this port"
					: strerror(errno));
	freeaddrinfo(list);
	return err;
}
