/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting worker processes.
 *
 * Invariant: every file descriptor of this process is close-on-exec; a worker
 * inherits stdin, stdout, stderr and those that are meant for it, which lose the
 * mark between fork(2) and execv(2).
 *
 * Failure modes: whether execv() worked is known before child_start() returns, by a
 * pipe that it closes: a program that is missing is not taken for one that crashes.
 */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "err.h"
#include "log.h"
#include "now.h"
#include "worker.h"

#define CHECK_LIMIT_MS 10000
#define ARGUMENTS_MAX  20
#define KEEP_FDS       4

struct command {
	char path[4096];
	char config[32], parent[16], wake[16], board[16], events[16];
	const char *arguments[ARGUMENTS_MAX];
	size_t count;
	int keep_fds[KEEP_FDS];   /* -1: none */
	int stdout_fd, stderr_fd; /* -1: inherited */
};

int
child_config_open(int *fd, const char *text)
{
	size_t size = strlen(text);
	size_t done = 0;
	int memfd = memfd_create("tidegate.conf", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	while (memfd >= 0 && done < size) {
		ssize_t n = write(memfd, text + done, size - done);

		if (n < 0 && errno != EINTR)
			break;
		done += n > 0 ? (size_t)n : 0;
	}
	if (memfd < 0 || done < size ||
	    fcntl(memfd, F_ADD_SEALS,
		F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0) {
		log_error(LOG_LIFECYCLE,
		    "the configuration cannot be kept in memory: %s", strerror(errno));
		if (memfd >= 0)
			(void)close(memfd);
		return ERR_IO;
	}
	*fd = memfd;
	return 0;
}

static void
add_argument(struct command *c, const char *argument)
{
	c->arguments[c->count++] = argument;
	c->arguments[c->count] = NULL;
}

static int
make_command(struct command *c, const char *name, const struct child_options *o)
{
	int length;

	*c = (struct command){.keep_fds = {o->config_fd, o->wake_fd, -1, -1},
	    .stdout_fd = -1,
	    .stderr_fd = -1};
	length = snprintf(c->path, sizeof(c->path), "%s/%s", o->directory, name);
	if (length < 0 || (size_t)length >= sizeof(c->path)) {
		errno = ENAMETOOLONG;
		return ERR_IO;
	}
	(void)snprintf(c->config, sizeof(c->config), "/proc/self/fd/%d", o->config_fd);
	add_argument(c, name);
	add_argument(c, "-c");
	add_argument(c, c->config);
	add_argument(c, "--config-name");
	add_argument(c, o->config_name);
	if (o->is_verbose)
		add_argument(c, "-v");
	return 0;
}

/* In the child: becomes the program, or tells errno to the pipe and ends. */
static void
become(const struct command *c, int error_fd)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGPIPE};
	static const char *const private[] = {
	    "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"};
	char *arguments[ARGUMENTS_MAX];
	sigset_t none;
	int saved_errno;

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		(void)signal(signals[i], SIG_DFL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	for (size_t i = 0; i < KEEP_FDS; i++) {
		if (c->keep_fds[i] >= 0)
			(void)fcntl(c->keep_fds[i], F_SETFD, 0);
	}
	if (c->stdout_fd >= 0)
		(void)dup2(c->stdout_fd, STDOUT_FILENO);
	if (c->stderr_fd >= 0)
		(void)dup2(c->stderr_fd, STDERR_FILENO);
	/* The service manager: nobody but tidegated speaks to it in its name. */
	for (size_t i = 0; i < sizeof(private) / sizeof(private[0]); i++)
		(void)unsetenv(private[i]);
	/* execv() changes nothing in them; its type is older than const. */
	memcpy(arguments, c->arguments, sizeof(arguments));
	(void)execv(c->path, arguments);
	saved_errno = errno;
	if (write(error_fd, &saved_errno, sizeof(saved_errno)) < 0)
		_exit(126);
	_exit(127);
}

/* Errors: ERR_IO, errno tells. */
static int
spawn(pid_t *out, const struct command *c)
{
	int pipe_fds[2];
	int child_errno = 0;
	ssize_t n;
	pid_t pid;

	if (pipe2(pipe_fds, O_CLOEXEC) != 0)
		return ERR_IO;
	pid = fork();
	if (pid == 0)
		become(c, pipe_fds[1]);
	child_errno = pid < 0 ? errno : 0;
	(void)close(pipe_fds[1]);
	do {
		n = pid < 0 ? 0 : read(pipe_fds[0], &child_errno, sizeof(child_errno));
	} while (n < 0 && errno == EINTR);
	(void)close(pipe_fds[0]);
	if (child_errno != 0) {
		if (pid > 0)
			(void)waitpid(pid, NULL, 0);
		errno = child_errno;
		return ERR_IO;
	}
	*out = pid;
	return 0;
}

static void
add_parent(struct command *c)
{
	(void)snprintf(c->parent, sizeof(c->parent), "%d", (int)getpid());
	add_argument(c, "--parent");
	add_argument(c, c->parent);
}

int
child_start(pid_t *pid, const char *name, const struct child_options *o)
{
	struct command c;
	int err = make_command(&c, name, o);

	add_parent(&c);
	if (o->wake_fd >= 0) {
		(void)snprintf(c.wake, sizeof(c.wake), "%d", o->wake_fd);
		add_argument(&c, "--wake-fd");
		add_argument(&c, c.wake);
	}
	if (o->board_fd >= 0) {
		c.keep_fds[2] = o->board_fd;
		(void)snprintf(c.board, sizeof(c.board), "%d", o->board_fd);
		add_argument(&c, "--board-fd");
		add_argument(&c, c.board);
	}
	if (o->events_fd >= 0) {
		c.keep_fds[3] = o->events_fd;
		(void)snprintf(c.events, sizeof(c.events), "%d", o->events_fd);
		add_argument(&c, "--events-fd");
		add_argument(&c, c.events);
	}
	if (err == 0)
		err = spawn(pid, &c);
	if (err != 0)
		log_error(LOG_LIFECYCLE, "%s/%s cannot be started: %s", o->directory,
		    name, strerror(errno));
	return err;
}

/* Append what comes out of fd, until its other end is closed or the time is over. */
static int
read_to_end(int fd, struct buffer *out)
{
	int64_t deadline_ms = now_monotonic_ms() + CHECK_LIMIT_MS;

	for (;;) {
		struct pollfd pollfd = {.fd = fd, .events = POLLIN};
		int64_t left_ms = deadline_ms - now_monotonic_ms();
		ssize_t n;
		int err;

		if (left_ms <= 0)
			return ERR_IO;
		if (poll(&pollfd, 1, (int)left_ms) <= 0)
			continue;
		err = buffer_reserve(out, 4096);
		if (err != 0)
			return err;
		n = read(fd, out->data + out->size, 4096);
		if (n == 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return ERR_IO;
		out->size += n > 0 ? (size_t)n : 0;
	}
}

static int
judge(const char *name, int status, struct buffer *lines)
{
	int err;

	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_CONFIG)
		return ERR_INVALID;
	err = buffer_printf(lines, "%s --check ended with %s %d\n", name,
	    WIFEXITED(status) ? "status" : "signal",
	    WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
	return err != 0 ? err : ERR_IO;
}

int
child_check(const char *name, const struct child_options *o, struct buffer *lines)
{
	struct command c;
	int fds[2] = {-1, -1};
	int status = 0;
	pid_t pid;
	int err;

	err = make_command(&c, name, o);
	add_argument(&c, "--check");
	c.keep_fds[1] = -1;
	if (err == 0 && pipe2(fds, O_CLOEXEC) != 0)
		err = ERR_IO;
	c.stderr_fd = fds[1];
	if (err == 0)
		err = spawn(&pid, &c);
	if (fds[1] >= 0)
		(void)close(fds[1]);
	if (err != 0) {
		if (buffer_printf(lines, "%s/%s cannot be started: %s\n", o->directory,
			name, strerror(errno)) != 0)
			err = ERR_NOMEM;
		goto done;
	}
	err = read_to_end(fds[0], lines);
	if (err != 0)
		(void)kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	if (err != ERR_NOMEM)
		err = judge(name, status, lines);
done:
	if (fds[0] >= 0)
		(void)close(fds[0]);
	return err;
}

int
child_check_connection(
    pid_t *pid, int *fd, const char *name, const struct child_options *o, bool is_json)
{
	struct command c;
	int fds[2] = {-1, -1};
	int err = make_command(&c, name, o);

	add_parent(&c);
	add_argument(&c, "--check-connection");
	if (is_json)
		add_argument(&c, "--json");
	if (err == 0 && pipe2(fds, O_CLOEXEC) != 0)
		err = ERR_IO;
	c.stdout_fd = fds[1];
	if (err == 0)
		err = spawn(pid, &c);
	if (err != 0)
		log_error(LOG_LIFECYCLE, "%s/%s cannot be started: %s", o->directory,
		    name, strerror(errno));
	if (fds[1] >= 0)
		(void)close(fds[1]);
	if (err == 0)
		*fd = fds[0];
	else if (fds[0] >= 0)
		(void)close(fds[0]);
	return err;
}
