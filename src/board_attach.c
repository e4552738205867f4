/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The board of a tidegated that runs, for who is none of its workers.
 *
 * Invariant: it is read alone. Whether a tidegated runs, its lock tells; the number in
 * the file only where to look.
 *
 * Failure modes: the lock is ours for a moment where nobody has it: a tidegated that
 * starts just then waits for that. One that runs and cannot be looked at is told apart
 * from one that does not run.
 */
#include "board.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err.h"
#include "log.h"
#include "now.h"

#define BOARD_LINK  "/memfd:tidegate-board"
#define START_MS    1000 /* from taking the lock until it has its board */
#define START_POLLS 20

/* Errors: ERR_NOTFOUND, nobody has it; ERR_IO (logged). */
static int
check_lock(int fd, const char *path)
{
	if (flock(fd, LOCK_SH | LOCK_NB) == 0) {
		(void)flock(fd, LOCK_UN); /* closing it would do so, too */
		return ERR_NOTFOUND;
	}
	if (errno == EWOULDBLOCK)
		return 0;
	log_error(LOG_LIFECYCLE, "%s: %s", path, strerror(errno));
	return ERR_IO;
}

static long
read_pid(int fd)
{
	char text[16] = "";

	if (pread(fd, text, sizeof(text) - 1, 0) <= 0)
		return 0;
	return strtol(text, NULL, 10);
}

/* Is this descriptor of the process the board? */
static bool
is_board(int dir_fd, const char *name)
{
	char target[sizeof(BOARD_LINK)];

	return readlinkat(dir_fd, name, target, sizeof(target)) ==
		   (ssize_t)sizeof(target) &&
	       memcmp(target, BOARD_LINK, sizeof(BOARD_LINK) - 1) == 0;
}

/* Errors: ERR_NOTFOUND, it has none (yet); ERR_IO, errno tells. */
static int
open_descriptor(long pid, int *fd)
{
	char path[64];
	struct dirent *entry;
	int err = ERR_NOTFOUND;
	DIR *dir;

	(void)snprintf(path, sizeof(path), "/proc/%ld/fd", pid);
	dir = opendir(path);
	if (dir == NULL)
		return ERR_IO;
	for (entry = readdir(dir); entry != NULL && err != 0; entry = readdir(dir)) {
		if (!is_board(dirfd(dir), entry->d_name))
			continue;
		*fd = openat(dirfd(dir), entry->d_name, O_RDONLY | O_CLOEXEC);
		err = *fd >= 0 ? 0 : ERR_IO;
	}
	(void)closedir(dir); /* only read from */
	return err;
}

static void
tell_hidden(const char *directory, long pid, int error)
{
	if (error == EACCES || error == EPERM)
		log_error(LOG_LIFECYCLE,
		    "%s: its tidegated (pid %ld) belongs to another user: be that user "
		    "or root to look at it",
		    directory, pid);
	else
		log_error(LOG_LIFECYCLE,
		    "%s: a tidegated runs on it, and is not to be seen from here: does "
		    "it run in a container?",
		    directory);
}

/* One that has only just started gets a little time. Errors: as board_attach(). */
static int
find_board(int lock_fd, const char *path, const char *directory, int *fd)
{
	int err = ERR_NOTFOUND;
	long pid = 0;

	for (int i = 0; i < START_POLLS && err == ERR_NOTFOUND; i++) {
		if (i > 0)
			now_pause_ms(START_MS / START_POLLS);
		err = check_lock(lock_fd, path);
		if (err != 0)
			return err;
		pid = read_pid(lock_fd);
		err = pid > 0 ? open_descriptor(pid, fd) : ERR_NOTFOUND;
	}
	if (err == 0)
		return 0;
	tell_hidden(directory, pid, err == ERR_IO ? errno : 0);
	return ERR_IO;
}

int
board_attach(struct board **out, const char *directory)
{
	char path[PATH_MAX];
	int lock_fd, fd = -1, err;

	*out = NULL;
	(void)snprintf(path, sizeof(path), "%s/tidegated.lock", directory);
	lock_fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (lock_fd < 0) {
		if (errno == ENOENT || errno == ENOTDIR)
			return ERR_NOTFOUND;
		log_error(LOG_LIFECYCLE, "%s: %s", path, strerror(errno));
		return ERR_IO;
	}
	err = find_board(lock_fd, path, directory, &fd);
	if (err == 0)
		err = board_open_to_look(out, fd);
	if (fd >= 0)
		(void)close(fd); /* the map stays */
	(void)close(lock_fd);
	return err;
}
