/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Invariant: disk holds what is on disk for sure, cache what a program reads. What lies
 * between the two is a list of sectors, each as the write that changed it left it in the
 * cache: a disk writes whole sectors, and a cache is written back as it is.
 */
#include "replay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "records.h"

#define SECTOR_BYTES 512
#define FILE_MAX     ((size_t)64 << 20)
#define PIDS_MAX     256

struct pending {
	size_t entry; /* that wrote it */
	size_t sector;
	bool is_doubtful; /* its write or flush failed: no later flush helps */
	uint8_t data[SECTOR_BYTES];
};

struct flush {
	uint32_t pid;
	size_t entry;
};

struct replay {
	bool doubts_flushes, doubts_sync_writes;
	const uint8_t *log;
	struct recorded current;
	size_t log_bytes, offset, entry;
	uint8_t *disk, *cache;
	size_t *settled; /* for each sector of disk the entry that wrote it */
	size_t disk_bytes, cache_bytes;
	size_t size_entry; /* the latest change of the size */
	struct pending *pending;
	size_t pending_count, pending_capacity;
	struct flush flushes[PIDS_MAX];
	bool is_named, is_named_for_sure;
	size_t named_entry;
	uint32_t names_pid;
	size_t names_entry;
};

static void *
must(void *p)
{
	if (p == NULL)
		abort();
	return p;
}

struct replay *
replay_open(const char *log)
{
	struct replay *r = must(calloc(1, sizeof(*r)));
	int fd = open(log, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *map = MAP_FAILED;

	if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0)
		map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (fd >= 0)
		(void)close(fd);
	if (map == MAP_FAILED) {
		free(r);
		return NULL;
	}
	r->log = map;
	r->log_bytes = (size_t)st.st_size;
	r->disk = must(calloc(1, FILE_MAX));
	r->cache = must(calloc(1, FILE_MAX));
	r->settled = must(calloc(FILE_MAX / SECTOR_BYTES, sizeof(*r->settled)));
	return r;
}

void
replay_close(struct replay *r)
{
	if (r == NULL)
		return;
	(void)munmap((void *)(uintptr_t)r->log, r->log_bytes);
	free(r->disk);
	free(r->cache);
	free(r->settled);
	free(r->pending);
	free(r);
}

/* ---- what happens ---- */

static void
settle_sector(struct replay *r, const struct pending *p)
{
	size_t end = (p->sector + 1) * SECTOR_BYTES;

	if (p->entry < r->settled[p->sector])
		return; /* something later is there */
	memcpy(r->disk + p->sector * SECTOR_BYTES, p->data, SECTOR_BYTES);
	r->settled[p->sector] = p->entry;
	if (end > r->disk_bytes)
		r->disk_bytes = end;
}

static void
write_sectors(struct replay *r, const struct recorded *e, const uint8_t *data)
{
	bool is_sync = e->kind == RECORDED_SYNC_WRITE && !r->doubts_sync_writes;
	size_t first = e->offset / SECTOR_BYTES;
	size_t end = (e->offset + e->size + SECTOR_BYTES - 1) / SECTOR_BYTES;

	if (end * SECTOR_BYTES > FILE_MAX)
		abort();
	memcpy(r->cache + e->offset, data, e->size);
	if (e->offset + e->size > r->cache_bytes)
		r->cache_bytes = e->offset + e->size;
	for (size_t sector = first; sector < end; sector++) {
		struct pending *p;

		if (r->pending_count == r->pending_capacity) {
			r->pending_capacity = 2 * r->pending_capacity + 64;
			r->pending = must(realloc(
			    r->pending, r->pending_capacity * sizeof(*r->pending)));
		}
		p = &r->pending[r->pending_count++];
		*p = (struct pending){.entry = r->entry, .sector = sector};
		p->is_doubtful = e->kind == RECORDED_FAILED_WRITE;
		memcpy(p->data, r->cache + sector * SECTOR_BYTES, SECTOR_BYTES);
		if (is_sync)
			settle_sector(r, p);
	}
	/* It is out of doubt, and so is what was there before. */
	if (is_sync)
		r->pending_count -= end - first;
}

/* A flush that began at that entry has ended. */
static void
flush(struct replay *r, size_t before, bool has_failed)
{
	size_t kept = 0;

	for (size_t i = 0; i < r->pending_count; i++) {
		struct pending *p = &r->pending[i];

		if (p->entry < before && has_failed)
			p->is_doubtful = true;
		if (p->entry >= before || p->is_doubtful)
			r->pending[kept++] = *p;
		else
			settle_sector(r, p);
	}
	r->pending_count = kept;
	if (!has_failed && r->size_entry < before && r->cache_bytes > r->disk_bytes)
		r->disk_bytes = r->cache_bytes;
}

static struct flush *
flush_of(struct replay *r, uint32_t pid)
{
	for (size_t i = 0; i < PIDS_MAX; i++) {
		if (r->flushes[i].pid == pid || r->flushes[i].pid == 0) {
			r->flushes[i].pid = pid;
			return &r->flushes[i];
		}
	}
	abort();
}

static void
happen(struct replay *r, const struct recorded *e, const uint8_t *data)
{
	switch ((enum recorded_kind)e->kind) {
	case RECORDED_WRITE:
	case RECORDED_SYNC_WRITE:
	case RECORDED_FAILED_WRITE:
		write_sectors(r, e, data);
		break;
	case RECORDED_SIZE:
		if (e->offset > FILE_MAX)
			abort();
		if (e->offset > r->cache_bytes)
			r->cache_bytes = e->offset;
		r->size_entry = r->entry;
		break;
	case RECORDED_FLUSH_BEGIN:
		flush_of(r, e->pid)->entry = r->entry;
		break;
	case RECORDED_FLUSH_END:
		if (!r->doubts_flushes)
			flush(r, flush_of(r, e->pid)->entry, false);
		break;
	case RECORDED_FLUSH_FAILED:
		flush(r, flush_of(r, e->pid)->entry, true);
		break;
	case RECORDED_NAMED:
		r->is_named = true;
		r->named_entry = r->entry;
		break;
	case RECORDED_NAMES_BEGIN:
		r->names_pid = e->pid;
		r->names_entry = r->entry;
		break;
	case RECORDED_NAMES_END:
		if (r->is_named && r->named_entry < r->names_entry)
			r->is_named_for_sure = true;
		break;
	case RECORDED_NOTE:
		break;
	}
}

const struct recorded *
replay_next(struct replay *r, const void **data)
{
	struct recorded *e = &r->current;

	if (r->log_bytes - r->offset < sizeof(*e))
		return NULL;
	memcpy(e, r->log + r->offset, sizeof(*e)); /* where it may not be aligned */
	*data = r->log + r->offset + sizeof(*e);
	r->offset += sizeof(*e) + e->size;
	r->entry++;
	happen(r, e, *data);
	return e;
}

bool
replay_has_pending(const struct replay *r)
{
	return r->pending_count > 0 || r->cache_bytes > r->disk_bytes ||
	       !r->is_named_for_sure;
}

void
replay_doubt(struct replay *r, bool flushes, bool sync_writes)
{
	r->doubts_flushes = flushes;
	r->doubts_sync_writes = sync_writes;
}

/* ---- the cut ---- */

enum fate {
	FATE_LOST,
	FATE_KEPT,
	FATE_TORN,
};

static enum fate
fate_of(enum replay_cut how, uint64_t *seed)
{
	if (how != REPLAY_ANYTHING)
		return how == REPLAY_NOTHING ? FATE_LOST : FATE_KEPT;
	return (enum fate)(records_random_number(seed) % 3);
}

static size_t
build(const struct replay *r, enum replay_cut how, uint64_t *seed, uint8_t *file)
{
	bool has_size = fate_of(how, seed) == FATE_KEPT;
	size_t bytes = has_size ? r->cache_bytes : r->disk_bytes;
	enum fate fate = FATE_LOST;

	memcpy(file, r->disk, r->cache_bytes);
	for (size_t i = 0; i < r->pending_count; i++) {
		const struct pending *p = &r->pending[i];
		size_t end = (p->sector + 1) * SECTOR_BYTES;

		if (i == 0 || p->entry != p[-1].entry)
			fate = fate_of(how, seed);
		if (p->entry < r->settled[p->sector] || fate == FATE_LOST ||
		    (fate == FATE_TORN && records_random_number(seed) % 2 == 0))
			continue;
		memcpy(file + p->sector * SECTOR_BYTES, p->data, SECTOR_BYTES);
		if (end > bytes)
			bytes = end;
	}
	return bytes;
}

/* Over what is there: much faster than a new file. */
static int
write_file(const char *directory, const char *name, const uint8_t *data, size_t size)
{
	char path[4096];
	int fd, err = 0;

	(void)snprintf(path, sizeof(path), "%s/%s", directory, name);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	errno = EIO;
	if (write(fd, data, size) != (ssize_t)size || ftruncate(fd, (off_t)size) != 0)
		err = errno;
	(void)close(fd); /* a test's file */
	errno = err;
	return err == 0 ? 0 : -1;
}

static int
remove_file(const char *directory, const char *name)
{
	char path[4096];

	(void)snprintf(path, sizeof(path), "%s/%s", directory, name);
	return unlink(path) == 0 || errno == ENOENT ? 0 : -1;
}

int
replay_cut(
    const struct replay *r, enum replay_cut how, uint64_t *seed, const char *directory)
{
	uint8_t *file = must(malloc(r->cache_bytes + SECTOR_BYTES));
	size_t bytes = build(r, how, seed, file);
	bool has_name =
	    r->is_named_for_sure || (r->is_named && fate_of(how, seed) == FATE_KEPT);
	int rc = remove_file(directory, has_name ? "new.mdb" : "data.mdb");

	if (rc == 0)
		rc = write_file(
		    directory, has_name ? "data.mdb" : "new.mdb", file, bytes);
	free(file);
	return rc;
}
