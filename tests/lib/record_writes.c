/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands in front of libc's calls. A write is recorded when it has returned, a flush when
 * it begins and when it has returned: so a flush covers what was recorded before its
 * beginning, and nothing is taken for flushed that may not be.
 *
 * Invariant: the log is written by one call per entry, at its end: entries of several
 * processes do not mix.
 */
#include "record_writes.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define PARTS_MAX 66 /* LMDB hands over 64 pages at once */

static int log_fd = -1;
static bool is_full;

static struct {
	unsigned every, count;
} failing_flush, failing_sync_write;

/* A function pointer out of a void *, as POSIX wants it to be possible. */
#define NEXT(name, ...)                  \
	static int (*next)(__VA_ARGS__); \
	if (next == NULL)                \
	*(void **)(void *)&next = dlsym(RTLD_NEXT, #name)

#define NEXT_WRITE(name, ...)                \
	static ssize_t (*next)(__VA_ARGS__); \
	if (next == NULL)                    \
	*(void **)(void *)&next = dlsym(RTLD_NEXT, #name)

static ssize_t
next_writev(int fd, const struct iovec *parts, int count)
{
	NEXT_WRITE(writev, int, const struct iovec *, int);
	return next(fd, parts, count);
}

static void
put(enum recorded_kind kind, off_t offset, const struct iovec *parts, int count,
    size_t size)
{
	struct recorded entry = {.kind = (uint32_t)kind, .pid = (uint32_t)getpid()};
	struct iovec all[PARTS_MAX + 1];
	size_t left = size;

	entry.offset = (uint64_t)offset;
	entry.size = size;
	all[0] = (struct iovec){&entry, sizeof(entry)};
	for (int i = 0; i < count && i < PARTS_MAX; i++) {
		all[i + 1] = parts[i];
		if (all[i + 1].iov_len > left)
			all[i + 1].iov_len = left;
		left -= all[i + 1].iov_len;
	}
	/* A log that is cut off proves nothing. */
	if (count > PARTS_MAX || left != 0 ||
	    next_writev(log_fd, all, count + 1) != (ssize_t)(sizeof(entry) + size)) {
		(void)fprintf(stderr, "record_writes: cannot write the log\n");
		abort();
	}
}

static void
put_event(enum recorded_kind kind, off_t offset)
{
	put(kind, offset, NULL, 0, 0);
}

static bool
fails(unsigned every, unsigned *count)
{
	return every != 0 && ++*count % every == 0;
}

static size_t
bytes_of(const struct iovec *parts, int count)
{
	size_t bytes = 0;

	for (int i = 0; i < count; i++)
		bytes += parts[i].iov_len;
	return bytes;
}

/* Returns what the caller of write(2) is told. */
static ssize_t
put_write(int fd, off_t offset, const struct iovec *parts, int count, ssize_t done)
{
	bool is_sync = (fcntl(fd, F_GETFL) & O_DSYNC) != 0;
	size_t size = bytes_of(parts, count);

	if (log_fd < 0)
		return done;
	if (is_sync && fails(failing_sync_write.every, &failing_sync_write.count)) {
		errno = EIO;
		done = -1;
	}
	if (done < 0)
		put(RECORDED_FAILED_WRITE, offset, parts, count, size);
	else
		put(is_sync ? RECORDED_SYNC_WRITE : RECORDED_WRITE, offset, parts,
		    count, (size_t)done);
	return done;
}

/* Is it data.mdb, or that before it has its name? */
static bool
is_data(int fd)
{
	char link[64], path[4096];
	ssize_t n;

	if (log_fd < 0 && !is_full)
		return false;
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n <= 0)
		return false;
	path[n] = '\0';
	return strstr(path, "/data.mdb") != NULL || strstr(path, "/new.mdb") != NULL;
}

static bool
is_directory(int fd)
{
	struct stat st;

	return log_fd >= 0 && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Would it make the file larger, and the disk is full? */
static bool
is_too_much(int fd, off_t end)
{
	struct stat st;

	if (!is_full || !is_data(fd) || fstat(fd, &st) != 0 || end <= st.st_size)
		return false;
	errno = ENOSPC;
	return true;
}

/* ---- libc's ---- */

ssize_t
pwrite(int fd, const void *data, size_t size, off_t offset)
{
	struct iovec part = {(void *)(uintptr_t)data, size};
	ssize_t done;
	NEXT_WRITE(pwrite, int, const void *, size_t, off_t);

	if (is_too_much(fd, offset + (off_t)size))
		return -1;
	done = next(fd, data, size, offset);
	return is_data(fd) ? put_write(fd, offset, &part, 1, done) : done;
}

ssize_t
pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
	ssize_t done;
	NEXT_WRITE(pwritev, int, const struct iovec *, int, off_t);

	if (is_too_much(fd, offset + (off_t)bytes_of(parts, count)))
		return -1;
	done = next(fd, parts, count, offset);
	return is_data(fd) ? put_write(fd, offset, parts, count, done) : done;
}

/* LMDB's way where it was not built for pwritev(2): lseek(2), then this. */
ssize_t
writev(int fd, const struct iovec *parts, int count)
{
	bool is_ours = is_data(fd);
	off_t offset = is_ours ? lseek(fd, 0, SEEK_CUR) : 0;
	ssize_t done;

	if (is_ours && is_too_much(fd, offset + (off_t)bytes_of(parts, count)))
		return -1;
	done = next_writev(fd, parts, count);
	return is_ours ? put_write(fd, offset, parts, count, done) : done;
}

static int
flush(int fd, int (*next)(int))
{
	bool is_ours = log_fd >= 0 && is_data(fd), has_names = is_directory(fd);
	int rc = -1;

	if (is_ours)
		put_event(RECORDED_FLUSH_BEGIN, 0);
	if (has_names)
		put_event(RECORDED_NAMES_BEGIN, 0);
	errno = EIO;
	if (!is_ours || !fails(failing_flush.every, &failing_flush.count))
		rc = next(fd);
	if (is_ours)
		put_event(rc == 0 ? RECORDED_FLUSH_END : RECORDED_FLUSH_FAILED, 0);
	if (has_names && rc == 0)
		put_event(RECORDED_NAMES_END, 0);
	return rc;
}

int
fsync(int fd)
{
	NEXT(fsync, int);

	return flush(fd, next);
}

int
fdatasync(int fd)
{
	NEXT(fdatasync, int);

	return flush(fd, next);
}

int
ftruncate(int fd, off_t size)
{
	int rc;
	NEXT(ftruncate, int, off_t);

	if (is_too_much(fd, size))
		return -1;
	rc = next(fd, size);
	if (rc == 0 && log_fd >= 0 && is_data(fd))
		put_event(RECORDED_SIZE, size);
	return rc;
}

int
fallocate(int fd, int mode, off_t offset, off_t size)
{
	int rc;
	NEXT(fallocate, int, int, off_t, off_t);

	if (is_too_much(fd, offset + size))
		return -1;
	rc = next(fd, mode, offset, size);
	if (rc == 0 && log_fd >= 0 && is_data(fd) && (mode & FALLOC_FL_KEEP_SIZE) == 0)
		put_event(RECORDED_SIZE, offset + size);
	return rc;
}

int
renameat(int from_fd, const char *from, int to_fd, const char *to)
{
	int rc;
	NEXT(renameat, int, const char *, int, const char *);

	rc = next(from_fd, from, to_fd, to);
	if (rc == 0 && log_fd >= 0 && strcmp(to, "data.mdb") == 0)
		put_event(RECORDED_NAMED, 0);
	return rc;
}

/* ---- ours ---- */

int
record_to(const char *log)
{
	log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	return log_fd < 0 ? -1 : 0;
}

void
record_fail(unsigned flush_every, unsigned sync_write_every)
{
	failing_flush.every = flush_every;
	failing_sync_write.every = sync_write_every;
}

void
record_fill_disk(void)
{
	is_full = true;
}

void
record_note(uint64_t what, uint64_t a, uint64_t b, uint64_t c)
{
	struct record_note note = {what, a, b, c};
	struct iovec part = {&note, sizeof(note)};

	put(RECORDED_NOTE, 0, &part, 1, sizeof(note));
}

__attribute__((constructor)) static void
record_by_environment(void)
{
	const char *log = getenv("TIDEGATE_RECORD");

	if (log != NULL)
		(void)record_to(log); /* is_data() then finds nothing to record */
}
