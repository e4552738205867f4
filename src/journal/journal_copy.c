/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies of the whole journal: backup and compaction.
 *
 * Invariant: a copy gets its name only when it is complete, was read to its end, and is
 * on disk; until then it lies in a directory of its own beside that name.
 *
 * Failure modes: whatever fails, what was there stays as it was, and the unfinished copy
 * is removed. A crash may leave its directory.
 */
#include "journal_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err.h"

#define PATH_BYTES 4096

/* A copy that is being made. */
struct draft {
	char directory[PATH_BYTES]; /* "": there is none */
	char file[PATH_BYTES + 16];
};

static int
report(const char *what)
{
	int err = errno;

	log_error(LOG_JOURNAL, "%s: %s", what, strerror(err));
	switch (err) {
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return ERR_FULL;
	case ENOENT:
	case ENOTDIR:
		return ERR_NOTFOUND;
	default:
		return ERR_IO;
	}
}

static int
sync_path(const char *path, int flags)
{
	int fd = open(path, flags | O_RDONLY | O_CLOEXEC);
	int rc = ERR_OK;

	if (fd < 0)
		return report(path);
	if (fsync(fd) != 0)
		rc = report(path);
	(void)close(fd); /* synced */
	return rc;
}

/* The directory that a file is in. */
static int
sync_parent(const char *file)
{
	char path[PATH_BYTES];
	const char *slash = strrchr(file, '/');
	int n = slash == NULL ? snprintf(path, sizeof(path), ".")
			      : snprintf(path, sizeof(path), "%.*s",
				    (int)(slash - file + 1), file);

	if (n < 0 || (size_t)n >= sizeof(path))
		return ERR_INVALID;
	return sync_path(path, O_DIRECTORY);
}

/* ---- the draft ---- */

static int
draft_begin(struct draft *d, const char *beside)
{
	int n = snprintf(d->directory, sizeof(d->directory), "%s.XXXXXX", beside);
	int rc;

	if (n < 0 || (size_t)n >= sizeof(d->directory)) {
		d->directory[0] = '\0';
		errno = ENAMETOOLONG;
		return report(beside);
	}
	if (mkdtemp(d->directory) == NULL) {
		rc = report(d->directory);
		d->directory[0] = '\0';
		return rc;
	}
	(void)snprintf(d->file, sizeof(d->file), "%s/data.mdb", d->directory);
	return ERR_OK;
}

static void
draft_end(struct draft *d)
{
	static const char *const names[] = {
	    "data.mdb", "lock.mdb", "ingest.lock", "forward.lock", "ballast"};
	char path[PATH_BYTES + 16];

	if (d->directory[0] == '\0')
		return;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", d->directory, names[i]);
		(void)unlink(path); /* most of them are not there */
	}
	if (rmdir(d->directory) != 0)
		log_warning(LOG_JOURNAL, "%s: %s", d->directory, strerror(errno));
}

static int
draft_copy(struct draft *d, struct journal *j)
{
	int fd = open(d->file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	int rc;

	if (fd < 0)
		return report(d->file);
	rc = store_copy(j->store, fd);
	if (rc == ERR_OK && fsync(fd) != 0)
		rc = report(d->file);
	if (close(fd) != 0 && rc == ERR_OK)
		rc = report(d->file);
	if (rc == ERR_FULL)
		log_error(
		    LOG_JOURNAL, "%s: there is no room for the copy", d->directory);
	return rc;
}

/* ---- is it the same? ---- */

struct content {
	uint64_t batches;
	uint64_t unreadable;
	uint64_t records;
	uint64_t dead;
	uint64_t gaps;
	uint64_t next_seq;
};

static int
count_batches(struct journal *j, struct content *c)
{
	struct journal_batch b = {0};
	uint64_t seq = 1;
	int rc;

	for (rc = journal_read(j, seq, &b); rc != ERR_NOTFOUND;
	     rc = journal_read(j, seq, &b)) {
		if (rc != ERR_OK && rc != ERR_CORRUPT && rc != ERR_VERSION)
			break;
		if (rc == ERR_OK)
			c->records += b.header.count;
		else
			c->unreadable++;
		c->batches++;
		seq = b.end_seq;
	}
	journal_batch_fini(&b);
	return rc == ERR_NOTFOUND ? ERR_OK : rc;
}

static int
count_letters(struct journal *j, struct content *c)
{
	struct journal_dead d = {0};
	int rc;

	for (rc = journal_dead_next(j, &d); rc == ERR_OK; rc = journal_dead_next(j, &d))
		c->dead++;
	journal_dead_fini(&d);
	return rc == ERR_NOTFOUND ? ERR_OK : rc;
}

static int
read_all(struct journal *j, struct content *c)
{
	struct journal_stat stat;
	int rc;

	*c = (struct content){0};
	rc = count_batches(j, c);
	if (rc == ERR_OK)
		rc = count_letters(j, c);
	if (rc == ERR_OK)
		rc = journal_stat(j, &stat);
	if (rc != ERR_OK)
		return rc;
	c->gaps = stat.gap_count;
	c->next_seq = stat.next_seq;
	journal_stat_fini(&stat);
	return ERR_OK;
}

/* Read the copy to its end; it must have what the other one has. */
static int
draft_verify(struct draft *d, const struct content *wanted)
{
	struct journal_options o = {.directory = d->directory};
	struct content found = {0};
	struct journal *j = NULL;
	int rc;

	rc = journal_open(&j, JOURNAL_LOOK, &o);
	if (rc == ERR_OK)
		rc = read_all(j, &found);
	journal_close(j);
	if (rc == ERR_OK && wanted != NULL &&
	    memcmp(&found, wanted, sizeof(found)) != 0) {
		log_error(LOG_JOURNAL, "%s: the copy does not hold what it was made of",
		    d->directory);
		rc = ERR_CORRUPT;
	}
	return rc;
}

/* ---- backup ---- */

static int
copy_hot(const char *directory, struct draft *d)
{
	struct journal_options o = {.directory = directory};
	struct journal *j = NULL;
	int rc;

	rc = journal_open(&j, JOURNAL_LOOK, &o);
	if (rc == ERR_OK)
		rc = store_check(j->store);
	if (rc == ERR_OK)
		rc = draft_copy(d, j);
	journal_close(j);
	return rc;
}

int
journal_backup(const char *directory, const char *file)
{
	struct draft d = {.directory = ""};
	struct stat st;
	int rc;

	if (lstat(file, &st) == 0) {
		log_error(LOG_JOURNAL, "%s: is there already", file);
		return ERR_INVALID;
	}
	rc = draft_begin(&d, file);
	if (rc == ERR_OK)
		rc = copy_hot(directory, &d);
	if (rc == ERR_OK)
		rc = journal_copy_identity(d.directory);
	if (rc == ERR_OK)
		rc = draft_verify(&d, NULL);
	if (rc == ERR_OK)
		rc = sync_path(d.file, 0);
	if (rc == ERR_OK && lstat(file, &st) == 0)
		rc = ERR_INVALID; /* made by somebody else in the meantime */
	if (rc == ERR_OK && rename(d.file, file) != 0)
		rc = report(file);
	if (rc == ERR_OK)
		rc = sync_parent(file);
	draft_end(&d);
	return rc;
}

/* ---- compaction ---- */

static int
file_bytes(const char *path, uint64_t *bytes)
{
	struct stat st;

	if (stat(path, &st) != 0)
		return report(path);
	*bytes = (uint64_t)st.st_size;
	return ERR_OK;
}

/* Made by root, it would be root's, and the daemon could not open it. */
static int
keep_owner(const struct draft *d, const char *file)
{
	struct stat old, made;

	if (stat(file, &old) != 0 || stat(d->file, &made) != 0)
		return report(file);
	if ((old.st_uid != made.st_uid || old.st_gid != made.st_gid) &&
	    chown(d->file, old.st_uid, old.st_gid) != 0)
		return report(d->file);
	return chmod(d->file, old.st_mode & 07777) == 0 ? ERR_OK : report(d->file);
}

/*
 * lock.mdb goes, too: who still looks at the old file keeps it open, and with it the
 * number of the old one's latest transaction. Who opens both between the two steps is
 * refused, because the number does not fit.
 */
static int
replace(const struct draft *d, const char *file, const char *directory)
{
	char lock[PATH_BYTES];
	int n = snprintf(lock, sizeof(lock), "%s/lock.mdb", directory);

	if (n < 0 || (size_t)n >= sizeof(lock))
		return ERR_INVALID;
	if (rename(d->file, file) != 0)
		return report(file);
	if (unlink(lock) != 0 && errno != ENOENT)
		return report(lock);
	return sync_path(directory, O_DIRECTORY);
}

int
journal_compact(const char *directory, uint64_t *before, uint64_t *after)
{
	struct draft d = {.directory = ""};
	struct content content;
	struct journal *j = NULL;
	char file[PATH_BYTES];
	uint64_t old_bytes = 0, new_bytes = 0;
	int n = snprintf(file, sizeof(file), "%s/data.mdb", directory);
	int rc;

	if (n < 0 || (size_t)n >= sizeof(file))
		return ERR_INVALID;
	rc = journal_open_alone(&j, directory);
	if (rc == ERR_OK)
		rc = read_all(j, &content);
	if (rc == ERR_OK)
		rc = draft_begin(&d, file);
	if (rc == ERR_OK)
		rc = draft_copy(&d, j);
	if (rc == ERR_OK)
		rc = draft_verify(&d, &content);
	if (rc == ERR_OK)
		rc = file_bytes(file, &old_bytes);
	if (rc == ERR_OK)
		rc = file_bytes(d.file, &new_bytes);
	if (rc == ERR_OK)
		rc = keep_owner(&d, file);
	if (rc == ERR_OK)
		rc = replace(&d, file, directory);
	if (rc == ERR_OK) {
		*before = old_bytes;
		*after = new_bytes;
	}
	draft_end(&d);
	journal_close(j); /* the locks last until here */
	return rc;
}
