/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service manager. What it is told goes out by a socket of our own: sd_notify(3)
 * waits as long as the manager reads nothing, and what nobody reads must not keep the
 * supervisor from its workers.
 *
 * Failure modes: what it does not take in time is lost; of the status that is told to
 * whoever calls. A watchdog that is not heard ends this process.
 */
#include "notify.h"

#ifdef HAVE_SYSTEMD

#include <inttypes.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define WAIT_MS    1000 /* for what is said only once */
#define TEXT_BYTES 1024

/* Returns whether it was taken. */
static bool
tell(const char *text, int wait_ms)
{
	const char *path = getenv("NOTIFY_SOCKET");
	size_t size = path != NULL ? strlen(path) : 0;
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	struct pollfd wait = {.fd = -1, .events = POLLOUT};
	bool is_taken = false;

	if (size < 2 || size >= sizeof(to.sun_path) || (*path != '/' && *path != '@'))
		return false;
	memcpy(to.sun_path, path, size);
	if (*path == '@') /* a name that is in no directory */
		to.sun_path[0] = '\0';
	wait.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (wait.fd < 0)
		return false;
	size += offsetof(struct sockaddr_un, sun_path);
	if (connect(wait.fd, (const struct sockaddr *)&to, (socklen_t)size) == 0 &&
	    poll(&wait, 1, wait_ms) > 0)
		is_taken = send(wait.fd, text, strlen(text), MSG_NOSIGNAL) >= 0;
	(void)close(wait.fd);
	return is_taken;
}

void
notify_ready(void)
{
	(void)tell("READY=1", WAIT_MS);
}

void
notify_stopping(void)
{
	(void)tell("STOPPING=1", WAIT_MS);
}

void
notify_reloading(int64_t now_us)
{
	char text[80];

	(void)snprintf(
	    text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%" PRId64, now_us);
	(void)tell(text, WAIT_MS);
}

bool
notify_status(const char *text)
{
	char line[TEXT_BYTES];

	(void)snprintf(line, sizeof(line), "STATUS=%s", text);
	return tell(line, 0);
}

int64_t
notify_watchdog_ms(void)
{
	uint64_t limit_us;

	/* Half of the limit, as sd_watchdog_enabled(3) asks for. */
	return sd_watchdog_enabled(0, &limit_us) > 0 ? (int64_t)(limit_us / 2000) : 0;
}

void
notify_watchdog(void)
{
	(void)tell("WATCHDOG=1", 0);
}

#else

void
notify_ready(void)
{
}

void
notify_stopping(void)
{
}

void
notify_reloading(int64_t now_us)
{
	(void)now_us;
}

bool
notify_status(const char *text)
{
	(void)text;
	return true;
}

int64_t
notify_watchdog_ms(void)
{
	return 0;
}

void
notify_watchdog(void)
{
}

#endif
