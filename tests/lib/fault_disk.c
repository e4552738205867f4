/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk that fails by order, for a program that has this preloaded: the file that
 * TIDEGATE_FAULTS names says, a line each,
 *
 *   PROGRAM CALL WHAT
 *
 * PROGRAM: how its name ends, or *. CALL: write, sync (a flush, and a write through
 * O_DSYNC), grow (fallocate and ftruncate) or open (for writing). WHAT: EIO, EROFS or
 * ENOSPC, or so many milliseconds that the call takes. Only data.mdb is meant. The file
 * is looked at in each call: what was taken out of it fails no more.
 *
 * A sync write that is to fail is written all the same: so does a disk that cannot say
 * whether it did.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* A function pointer out of a void *, as POSIX wants it to be possible. */
#define NEXT(type, name, ...)             \
	static type (*next)(__VA_ARGS__); \
	if (next == NULL)                 \
	*(void **)(void *)&next = dlsym(RTLD_NEXT, #name)

static bool
is_data(int fd)
{
	char link[64], path[4096];
	ssize_t n;

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n <= 0)
		return false;
	path[n] = '\0';
	return strstr(path, "/data.mdb") != NULL;
}

static bool
is_me(const char *program)
{
	const char *name = program_invocation_short_name;
	size_t all = strlen(name), end = strlen(program);

	return strcmp(program, "*") == 0 ||
	       (end <= all && strcmp(name + all - end, program) == 0);
}

static int
errno_of(const char *what)
{
	if (strcmp(what, "EIO") == 0)
		return EIO;
	if (strcmp(what, "EROFS") == 0)
		return EROFS;
	return strcmp(what, "ENOSPC") == 0 ? ENOSPC : 0;
}

static void
take_ms(long ms)
{
	struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	/* A disk does not mind signals. */
	while (nanosleep(&left, &left) != 0 && errno == EINTR)
		;
}

/* Is this call to fail? Then errno says how. It may also only take its time. */
static bool
fails(const char *call)
{
	const char *path = getenv("TIDEGATE_FAULTS");
	char program[32], name[16], what[16];
	int err = 0;
	FILE *file = path == NULL ? NULL : fopen(path, "re");

	if (file == NULL)
		return false;
	while (fscanf(file, "%31s %15s %15s", program, name, what) == 3) {
		if (!is_me(program) || strcmp(name, call) != 0)
			continue;
		err = errno_of(what);
		if (err == 0)
			take_ms(strtol(what, NULL, 10));
	}
	(void)fclose(file);
	errno = err;
	return err != 0;
}

static bool
is_sync(int fd)
{
	return (fcntl(fd, F_GETFL) & O_DSYNC) != 0;
}

/* ---- libc's ---- */

ssize_t
pwrite(int fd, const void *data, size_t size, off_t offset)
{
	ssize_t done;
	NEXT(ssize_t, pwrite, int, const void *, size_t, off_t);

	if (!is_data(fd))
		return next(fd, data, size, offset);
	if (fails("write"))
		return -1;
	done = next(fd, data, size, offset);
	return is_sync(fd) && fails("sync") ? -1 : done;
}

ssize_t
pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
	NEXT(ssize_t, pwritev, int, const struct iovec *, int, off_t);

	return is_data(fd) && fails("write") ? -1 : next(fd, parts, count, offset);
}

ssize_t
writev(int fd, const struct iovec *parts, int count)
{
	NEXT(ssize_t, writev, int, const struct iovec *, int);

	return is_data(fd) && fails("write") ? -1 : next(fd, parts, count);
}

int
fsync(int fd)
{
	NEXT(int, fsync, int);

	return is_data(fd) && fails("sync") ? -1 : next(fd);
}

int
fdatasync(int fd)
{
	NEXT(int, fdatasync, int);

	return is_data(fd) && fails("sync") ? -1 : next(fd);
}

int
ftruncate(int fd, off_t size)
{
	NEXT(int, ftruncate, int, off_t);

	return is_data(fd) && fails("grow") ? -1 : next(fd, size);
}

int
fallocate(int fd, int mode, off_t offset, off_t size)
{
	NEXT(int, fallocate, int, int, off_t, off_t);

	return is_data(fd) && fails("grow") ? -1 : next(fd, mode, offset, size);
}

int
open(const char *path, int flags, ...)
{
	va_list args;
	mode_t mode;
	NEXT(int, open, const char *, int, ...);

	va_start(args, flags);
	mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(args, mode_t) : 0;
	va_end(args);
	if ((flags & O_ACCMODE) != O_RDONLY && strstr(path, "/data.mdb") != NULL &&
	    fails("open"))
		return -1;
	return next(path, flags, mode);
}
