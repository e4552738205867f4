/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal's blocks on disk: taken before LMDB needs them, so that a full disk
 * is met while nothing is written yet, and so that truncating finds room.
 */
#ifndef DISK_H
#define DISK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Blocks are taken in steps of this size, a spare part beyond the end among them: one
 * step, or this part of what is before it.
 */
#define DISK_STEP_BYTES ((uint64_t)1 << 20)
#define DISK_SPARE_PART 64

#define DISK_FILE_COUNT 2 /* data.mdb and lock.mdb */

#define DISK_NEW "new.mdb" /* what data.mdb is called before it is whole */

struct disk_file {
	dev_t device;
	ino_t inode;
};

struct disk {
	int dir_fd;
	int fd;        /* of data.mdb, LMDB's own: borrowed, never closed here */
	bool is_plain; /* the file system has no fallocate(2): a ballast file instead */
	bool is_checked; /* data.mdb has no holes (it may have come as a sparse copy) */
	struct disk_file files[DISK_FILE_COUNT]; /* as LMDB has them open */
};

/* Errors: ERR_NOTFOUND, ERR_IO. Logged. */
int disk_open(struct disk *d, const char *directory);
void disk_close(struct disk *d);

/*
 * Note which files LMDB has just opened; are they still those in the directory? What is
 * written to a data.mdb that was removed is lost, and processes that have different
 * files as lock.mdb do not keep each other out.
 *
 * Errors:    ERR_NOTFOUND, ERR_IO. Logged.
 */
int disk_note_files(struct disk *d);
bool disk_has_its_files(const struct disk *d);

/*
 * Make sure that data.mdb has blocks, and a size, of at least end_bytes and the spare
 * part. Its size is never less than its pages, so a shorter one is damaged.
 *
 * Errors:    ERR_FULL, as much as there was is taken; ERR_IO (logged).
 */
int disk_take(struct disk *d, uint64_t end_bytes);

/* How far data.mdb has blocks, the spare part among them. */
int disk_backed_bytes(const struct disk *d, uint64_t *bytes);

/* Bytes of data.mdb that can be written without the disk giving more, less the spare. */
int disk_taken_bytes(const struct disk *d, uint64_t *bytes);

/*
 * Make data.mdb, so that a power cut leaves the whole of it or none: *fd is that of a new
 * and empty file under another name, DISK_NEW, and locked; -1 when another process has
 * made data.mdb meanwhile. disk_new_end() gives it its name when its content is flushed;
 * with is_good false only closes.
 *
 * Errors:    ERR_FULL, ERR_IO. Logged.
 */
int disk_new_begin(const struct disk *d, int *fd);
int disk_new_end(const struct disk *d, int fd, bool is_good);

/*
 * Write the first size bytes of data.mdb again, as they are, and flush: what a write that
 * failed has left on disk is gone then. Errors: ERR_FULL, ERR_IO. Logged.
 */
int disk_write_again(const struct disk *d, size_t size);

/* Free space on the file system, as far as this user may have it. */
int disk_free_bytes(const struct disk *d, uint64_t *bytes);

/* Is there less than a step left? Tells a full disk from a broken one. */
bool disk_is_full(const struct disk *d);

/* Give the ballast file back to the disk. False: there was none. */
bool disk_drop_ballast(struct disk *d);

/* Make entries of the directory durable: LMDB does not. Errors: ERR_IO. */
int disk_sync_directory(const struct disk *d);

#endif
