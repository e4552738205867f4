/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks for data.mdb.
 *
 * Invariant: after disk_take(end) has returned 0, pages up to end and a spare part beyond
 * can be written without the file system being asked for more. The file's size says
 * how far that reaches, so both processes see it and it outlives them.
 *
 * Failure modes: without fallocate(2) (NFS, some FUSE file systems) the size is set
 * alone and the free space is looked at; a file of one step, really written, stands
 * in for the step beyond the end, and is given up when truncating meets a full disk.
 */
#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "err.h"
#include "log.h"

#define BALLAST "ballast"

static int
report(const char *what)
{
	int err = errno;

	if (err == ENOSPC || err == EDQUOT)
		return ERR_FULL;
	log_error(LOG_JOURNAL, "%s: %s", what, strerror(err));
	return err == ENOENT || err == ENOTDIR ? ERR_NOTFOUND : ERR_IO;
}

int
disk_open(struct disk *d, const char *directory)
{
	*d = (struct disk){.dir_fd = -1, .fd = -1};
	d->dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return d->dir_fd < 0 ? report(directory) : ERR_OK;
}

void
disk_close(struct disk *d)
{
	if (d->dir_fd >= 0)
		(void)close(d->dir_fd); /* nothing was written through it */
	d->dir_fd = -1;
	d->fd = -1;
}

static int
look_at_files(const struct disk *d, struct disk_file files[DISK_FILE_COUNT])
{
	static const char *const names[DISK_FILE_COUNT] = {"data.mdb", "lock.mdb"};
	struct stat st;

	for (int i = 0; i < DISK_FILE_COUNT; i++) {
		if (fstatat(d->dir_fd, names[i], &st, 0) != 0)
			return -1;
		files[i] = (struct disk_file){st.st_dev, st.st_ino};
	}
	return 0;
}

int
disk_note_files(struct disk *d)
{
	return look_at_files(d, d->files) == 0 ? ERR_OK : report("data.mdb, lock.mdb");
}

bool
disk_has_its_files(const struct disk *d)
{
	struct disk_file now[DISK_FILE_COUNT];

	if (look_at_files(d, now) != 0)
		return false;
	for (int i = 0; i < DISK_FILE_COUNT; i++) {
		if (now[i].device != d->files[i].device ||
		    now[i].inode != d->files[i].inode)
			return false;
	}
	return true;
}

/* Not at all, while there may be holes in it. */
int
disk_backed_bytes(const struct disk *d, uint64_t *bytes)
{
	struct stat st;

	if (fstat(d->fd, &st) != 0)
		return report("data.mdb");
	*bytes = (uint64_t)st.st_size;
	if (!d->is_plain && !d->is_checked && (uint64_t)st.st_blocks * 512 < *bytes)
		*bytes = 0;
	return ERR_OK;
}

/*
 * What is for truncating alone. Beside a reader that pins every page, each transaction
 * needs new ones, and to note what it frees takes the more the larger the journal is.
 */
static uint64_t
spare_bytes(uint64_t end_bytes)
{
	uint64_t part = end_bytes / DISK_SPARE_PART;

	return part > DISK_STEP_BYTES ? part : DISK_STEP_BYTES;
}

int
disk_taken_bytes(const struct disk *d, uint64_t *bytes)
{
	uint64_t backed = 0, spare;
	int rc = disk_backed_bytes(d, &backed);

	/* The same part of what is in front of it. */
	spare = spare_bytes(backed - backed / (DISK_SPARE_PART + 1));
	if (rc == ERR_OK)
		*bytes = backed > spare ? backed - spare : 0;
	return rc;
}

int
disk_free_bytes(const struct disk *d, uint64_t *bytes)
{
	struct statvfs st;

	if (fstatvfs(d->dir_fd, &st) != 0)
		return report("statvfs");
	*bytes = (uint64_t)st.f_bavail * st.f_frsize;
	return ERR_OK;
}

bool
disk_is_full(const struct disk *d)
{
	uint64_t bytes = 0;

	return disk_free_bytes(d, &bytes) == ERR_OK && bytes < DISK_STEP_BYTES;
}

static int
write_ballast(int fd)
{
	static const char zeros[4096];

	for (uint64_t n = 0; n < DISK_STEP_BYTES; n += sizeof(zeros)) {
		ssize_t done = write(fd, zeros, sizeof(zeros));

		if (done >= 0 && (size_t)done < sizeof(zeros))
			errno = ENOSPC;
		if (done != (ssize_t)sizeof(zeros))
			return report(BALLAST);
	}
	return fsync(fd) == 0 ? ERR_OK : report(BALLAST);
}

static int
make_ballast(struct disk *d)
{
	struct stat st;
	int fd, rc;

	if (fstatat(d->dir_fd, BALLAST, &st, 0) == 0 &&
	    (uint64_t)st.st_size == DISK_STEP_BYTES)
		return ERR_OK;
	fd = openat(d->dir_fd, BALLAST, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	if (fd < 0)
		return report(BALLAST);
	rc = write_ballast(fd);
	(void)close(fd); /* synced, or given up below */
	if (rc != ERR_OK)
		(void)unlinkat(d->dir_fd, BALLAST, 0); /* a part of it is of no use */
	return rc;
}

bool
disk_drop_ballast(struct disk *d)
{
	return unlinkat(d->dir_fd, BALLAST, 0) == 0;
}

static int
extend(struct disk *d, uint64_t to)
{
	uint64_t room = 0;
	struct stat st;
	int rc;

	rc = disk_free_bytes(d, &room);
	if (rc != ERR_OK)
		return rc;
	if (fstat(d->fd, &st) != 0)
		return report("data.mdb");
	if (to <= (uint64_t)st.st_size)
		return ERR_OK;
	if (room < to - (uint64_t)st.st_size)
		return ERR_FULL;
	return ftruncate(d->fd, (off_t)to) == 0 ? ERR_OK : report("data.mdb");
}

/*
 * Under a lock (LMDB has none of its own on data.mdb): of two processes that extend the
 * file, the one that wants less must not cut off what the other has.
 */
static int
take_plain(struct disk *d, uint64_t to)
{
	int rc;

	rc = make_ballast(d);
	if (rc != ERR_OK)
		return rc;
	if (flock(d->fd, LOCK_EX) != 0)
		return report("data.mdb: flock");
	rc = extend(d, to);
	if (flock(d->fd, LOCK_UN) != 0 && rc == ERR_OK)
		rc = report("data.mdb: flock");
	return rc;
}

static int
allocate(int fd, uint64_t from, uint64_t size)
{
	int rc;

	do
		rc = fallocate(fd, 0, (off_t)from, (off_t)size);
	while (rc != 0 && errno == EINTR);
	return rc;
}

/* One step at a time where the whole cannot be had, so that nothing is left over. */
static int
take_blocks(struct disk *d, uint64_t from, uint64_t to)
{
	if (allocate(d->fd, from, to - from) == 0) {
		d->is_checked = true;
		return ERR_OK;
	}
	if (errno == EOPNOTSUPP || errno == ENOSYS) {
		d->is_plain = true;
		return take_plain(d, to);
	}
	if (errno != ENOSPC && errno != EDQUOT)
		return report("data.mdb: fallocate");
	while (
	    from + DISK_STEP_BYTES < to && allocate(d->fd, from, DISK_STEP_BYTES) == 0)
		from += DISK_STEP_BYTES;
	return ERR_FULL;
}

int
disk_take(struct disk *d, uint64_t end_bytes)
{
	uint64_t from = 0, to;
	int rc;

	to = end_bytes + spare_bytes(end_bytes);
	to = (to + DISK_STEP_BYTES - 1) / DISK_STEP_BYTES * DISK_STEP_BYTES;
	rc = disk_backed_bytes(d, &from);
	if (rc != ERR_OK)
		return rc;
	if (d->is_plain)
		return take_plain(d, to);
	return from >= to ? ERR_OK : take_blocks(d, from, to);
}

/* ---- a new data.mdb ---- */

static bool
is_data_there(const struct disk *d)
{
	struct stat st;

	return fstatat(d->dir_fd, "data.mdb", &st, 0) == 0 && st.st_size > 0;
}

/* It may have got its name, or have been removed, while we waited for its lock. */
static bool
is_still_new(const struct disk *d, int fd)
{
	struct stat ours, there;

	return fstat(fd, &ours) == 0 && fstatat(d->dir_fd, DISK_NEW, &there, 0) == 0 &&
	       ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
}

static int
lock_new(const struct disk *d, int *fd)
{
	*fd = openat(d->dir_fd, DISK_NEW, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	if (*fd < 0)
		return report(DISK_NEW);
	if (flock(*fd, LOCK_EX) == 0)
		return ERR_OK;
	(void)report(DISK_NEW ": flock");
	(void)close(*fd); /* nothing was written to it */
	return ERR_IO;
}

int
disk_new_begin(const struct disk *d, int *fd)
{
	int new_fd = -1, rc;

	rc = lock_new(d, &new_fd);
	while (rc == ERR_OK && !is_data_there(d) && !is_still_new(d, new_fd)) {
		(void)close(new_fd);
		rc = lock_new(d, &new_fd);
	}
	if (rc != ERR_OK)
		return rc;
	if (is_data_there(d)) {
		/* Whoever waits for this one finds data.mdb too. */
		if (is_still_new(d, new_fd))
			(void)unlinkat(d->dir_fd, DISK_NEW, 0); /* only empty */
		(void)close(new_fd);
		*fd = -1;
		return ERR_OK;
	}
	/* A power cut may have left something under this name. */
	if (ftruncate(new_fd, 0) != 0) {
		rc = report(DISK_NEW);
		(void)close(new_fd);
		return rc;
	}
	*fd = new_fd;
	return ERR_OK;
}

int
disk_new_end(const struct disk *d, int fd, bool is_good)
{
	int rc = ERR_OK;

	if (is_good && renameat(d->dir_fd, DISK_NEW, d->dir_fd, "data.mdb") != 0)
		rc = report(DISK_NEW);
	else if (is_good)
		rc = disk_sync_directory(d);
	(void)close(fd); /* flushed by who wrote it, or of no use */
	return rc;
}

int
disk_write_again(const struct disk *d, size_t size)
{
	void *data = malloc(size);
	int rc = ERR_OK;

	if (data == NULL)
		return ERR_NOMEM;
	errno = EIO; /* where it is only shorter */
	if (pread(d->fd, data, size, 0) != (ssize_t)size ||
	    pwrite(d->fd, data, size, 0) != (ssize_t)size || fdatasync(d->fd) != 0)
		rc = report("data.mdb");
	free(data);
	return rc;
}

int
disk_sync_directory(const struct disk *d)
{
	return fsync(d->dir_fd) == 0 ? ERR_OK : report("journal directory");
}
