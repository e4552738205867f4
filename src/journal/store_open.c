/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening LMDB's environment, and making one.
 *
 * Invariant: data.mdb is there whole or not at all: it is made under another name, by
 * one process at a time. Nothing is followed before structure_check() has seen it.
 *
 * Failure modes: who makes data.mdb or lock.mdb dies in the middle: the next makes it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "err.h"
#include "now.h"
#include "store_parts.h"
#include "structure.h"

#define MAX_DATABASES  16 /* later versions have more */
#define CHECK_ATTEMPTS 100
#define OPEN_ATTEMPTS  50
#define OPEN_PAUSE_MS  20

static const char *const names[STORE_DB_COUNT] = {
    [STORE_LOG] = "log",
    [STORE_DEAD] = "dead",
    [STORE_GAPS] = "gaps",
    [STORE_META] = "meta",
    [STORE_ORDERS] = "orders",
    [STORE_DAMAGED] = "damaged",
};

void
store_close_env(struct store *s)
{
	if (s->env == NULL)
		return;
	if (s->reader != NULL)
		mdb_txn_abort(s->reader);
	s->reader = NULL;
	mdb_env_close(s->env);
	s->env = NULL;
	s->disk.fd = -1;
}

/*
 * Reading a mapped page beyond the end of the file is SIGBUS. Ours is never shorter
 * than its pages, so one that is has lost its end.
 */
static int
check_length(struct store *s, uint64_t end_bytes)
{
	struct stat st;

	if (fstat(s->disk.fd, &st) != 0)
		return store_report(s, "data.mdb", errno);
	if ((uint64_t)st.st_size >= end_bytes)
		return ERR_OK;
	log_error(LOG_JOURNAL,
	    "%s: data.mdb has %llu bytes, but its pages need %llu: its end is lost",
	    s->directory, (unsigned long long)st.st_size,
	    (unsigned long long)end_bytes);
	return ERR_CORRUPT;
}

/* A max_bytes that was lowered must not leave the file without its reserve. */
static int
fit_map(struct store *s)
{
	MDB_envinfo info;
	MDB_stat stat;
	size_t end;
	int rc;

	rc = mdb_env_info(s->env, &info);
	if (rc == MDB_SUCCESS)
		rc = mdb_env_stat(s->env, &stat);
	if (rc != MDB_SUCCESS)
		return store_report(s, "look at the environment", rc);
	end = (info.me_last_pgno + 1) * stat.ms_psize;
	rc = check_length(s, end);
	if (rc != ERR_OK || s->read_only || info.me_mapsize - end >= s->reserve_bytes)
		return rc;
	return store_set_map(s, end + s->reserve_bytes);
}

/* Begin to read; nothing is followed before what the snapshot holds was found whole. */
static int
begin_checked(struct store *s, MDB_txn **txn)
{
	int rc = ERR_NOTFOUND;

	/* Others may commit twice in between: what is in the file is later, then. */
	for (int i = 0; i < CHECK_ATTEMPTS && rc == ERR_NOTFOUND; i++) {
		rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, txn);
		if (rc != MDB_SUCCESS && store_is_mended(s, rc))
			rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, txn);
		if (rc != MDB_SUCCESS)
			return store_report(s, "begin to read", rc);
		rc = structure_check(s->disk.fd, s->directory, mdb_txn_id(*txn),
		    s->edges_only ? PAGES_STRICT_EDGES : PAGES_STRICT);
		if (rc != ERR_OK)
			mdb_txn_abort(*txn);
	}
	if (rc == ERR_NOTFOUND) {
		s->is_unsettled = true;
		rc = ERR_CORRUPT;
	}
	return rc;
}

static int
find_databases(struct store *s)
{
	MDB_txn *txn = NULL;
	int rc;

	s->is_made = false;
	rc = begin_checked(s, &txn);
	if (rc != ERR_OK)
		return rc;
	for (int i = 0; i < STORE_DB_COUNT && rc == MDB_SUCCESS; i++) {
		s->dbis[i] = STORE_NO_DBI;
		rc = mdb_dbi_open(txn, names[i], 0, &s->dbis[i]);
		if (rc == MDB_NOTFOUND && i >= STORE_DB_NEEDED)
			rc = MDB_SUCCESS;
	}
	if (rc != MDB_SUCCESS) {
		mdb_txn_abort(txn);
		return rc == MDB_NOTFOUND ? ERR_OK
					  : store_report(s, "open a database", rc);
	}
	rc = mdb_txn_commit(txn); /* keeps the handles */
	s->is_made = rc == MDB_SUCCESS;
	return store_report(s, "open the databases", rc);
}

/*
 * A meta page that could not be written may be on disk all the same, and LMDB's undoing
 * of it only in the cache: the next commit's pages would be written over those that it
 * names before it is gone. So both meta pages are written and flushed before anything.
 */
static int
settle_metas(struct store *s)
{
	MDB_txn *txn = NULL; /* keeps the other writers out */
	MDB_stat stat;
	int rc;

	rc = mdb_env_stat(s->env, &stat);
	if (rc == MDB_SUCCESS)
		rc = mdb_txn_begin(s->env, NULL, 0, &txn);
	if (rc != MDB_SUCCESS && store_is_mended(s, rc))
		rc = mdb_txn_begin(s->env, NULL, 0, &txn);
	if (rc != MDB_SUCCESS)
		return store_report(s, "begin to write", rc);
	rc = disk_write_again(&s->disk, 2 * (size_t)stat.ms_psize);
	mdb_txn_abort(txn);
	return rc == ERR_FULL ? ERR_OK : rc; /* then nothing can be committed either */
}

static int
ask_acceptance(struct store *s)
{
	int rc = store_begin_read(s);

	if (rc == ERR_OK)
		rc = s->accept(s->context, s);
	store_end(s);
	return rc;
}

static int
try_env(struct store *s)
{
	unsigned flags = MDB_NOTLS | (s->read_only ? MDB_RDONLY : 0);
	int dead, rc;

	s->is_unsettled = false;
	rc = structure_look(s->disk.dir_fd, s->directory);
	if (rc != ERR_OK)
		return rc;
	rc = mdb_env_create(&s->env);
	if (rc != MDB_SUCCESS)
		return store_report(s, "make an environment", rc);
	rc = mdb_env_set_maxdbs(s->env, MAX_DATABASES);
	if (rc == MDB_SUCCESS && s->map_bytes != 0)
		rc = mdb_env_set_mapsize(s->env, s->map_bytes);
	if (rc == MDB_SUCCESS)
		rc = mdb_env_open(s->env, s->directory, flags, 0640);
	/* data.mdb was looked at: it is lock.mdb that is not whole, or empty. */
	s->is_unsettled = rc == MDB_INVALID || rc == EINVAL;
	if (rc == MDB_SUCCESS)
		rc = mdb_env_get_fd(s->env, &s->disk.fd);
	if (rc == MDB_SUCCESS)
		rc = mdb_reader_check(s->env, &dead);
	if (rc != MDB_SUCCESS)
		return store_report(s, "open the environment", rc);
	if (!s->read_only) {
		rc = disk_note_files(&s->disk);
		if (rc != ERR_OK)
			return rc;
	}
	rc = fit_map(s);
	if (rc == ERR_OK)
		rc = find_databases(s);
	if (rc == ERR_OK && s->is_made && s->accept != NULL)
		rc = ask_acceptance(s);
	if (rc == ERR_OK && !s->read_only)
		rc = settle_metas(s);
	return rc;
}

/*
 * Who opens it first makes lock.mdb anew; the others wait. One that dies there leaves
 * what it has begun to those who waited, and LMDB takes it as it is: a transaction
 * number of it would be given twice. With the last of them closed, the next makes it.
 */
int
store_open_env(struct store *s)
{
	int rc = ERR_CORRUPT;

	s->is_unsettled = true;
	for (int i = 0; i < OPEN_ATTEMPTS && s->is_unsettled; i++) {
		if (i > 0) {
			store_close_env(s);
			now_pause_ms(OPEN_PAUSE_MS);
		}
		rc = try_env(s);
	}
	if (s->is_unsettled)
		log_error(LOG_JOURNAL, "%s: lock.mdb is not that of this data.mdb",
		    s->directory);
	return rc;
}

/*
 * LMDB makes the file, and flushes it only with the first commit: a power cut before that
 * would leave one that nobody can open. So it is made under another name.
 */
static int
make_data(struct store *s)
{
	MDB_env *env = NULL;
	char path[4096];
	int fd = -1, n, rc, rc2;

	n = snprintf(path, sizeof(path), "%s/" DISK_NEW, s->directory);
	if (n < 0 || (size_t)n >= sizeof(path))
		return ERR_INVALID;
	rc = disk_new_begin(&s->disk, &fd);
	if (rc != ERR_OK || fd < 0)
		return rc;
	rc = mdb_env_create(&env);
	if (rc == MDB_SUCCESS)
		rc = mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NOLOCK, 0640);
	if (rc == MDB_SUCCESS)
		rc = mdb_env_sync(env, 1);
	if (env != NULL)
		mdb_env_close(env);
	rc2 = disk_new_end(&s->disk, fd, rc == MDB_SUCCESS);
	return rc != MDB_SUCCESS ? store_report(s, "make data.mdb", rc) : rc2;
}

/* LMDB would make lock.mdb before it finds that there is nothing to look at. */
static bool
has_data(const struct store *s)
{
	struct stat st;

	return fstatat(s->disk.dir_fd, "data.mdb", &st, 0) == 0 && st.st_size > 0;
}

/* It gets its name when it is made: an empty one has lost all that was in it. */
static int
check_not_emptied(const struct store *s)
{
	struct stat st;

	if (fstatat(s->disk.dir_fd, "data.mdb", &st, 0) != 0 || st.st_size > 0)
		return ERR_OK;
	log_error(LOG_JOURNAL,
	    "%s: data.mdb is damaged: it is empty, and what was in it is lost. It is "
	    "left as it is; put a backup in its place, or remove it for a new journal",
	    s->directory);
	return ERR_CORRUPT;
}

static int
take_first_blocks(struct store *s, bool all)
{
	struct store_pages pages;
	uint64_t reach;
	int rc;

	rc = store_pages(s, &pages);
	if (rc != ERR_OK)
		return rc;
	rc = store_take(s, (all ? pages.map : pages.end) * pages.page_bytes, &reach);
	/* Draining and looking must be possible on a full disk too. */
	if (rc == ERR_FULL && !all && s->is_made)
		return ERR_OK;
	if (rc == ERR_FULL)
		log_error(LOG_JOURNAL, "%s: the disk is full", s->directory);
	return rc;
}

int
store_open(struct store **out, const struct store_options *o)
{
	struct store *s;
	int rc = ERR_NOMEM;

	*out = NULL;
	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return ERR_NOMEM;
	s->disk = (struct disk){.dir_fd = -1, .fd = -1};
	s->read_only = o->read_only;
	s->edges_only = o->read_only && o->edges_only;
	s->accept = o->accept;
	s->context = o->context;
	s->directory = strdup(o->directory);
	if (s->directory == NULL)
		goto fail;
	if (!o->read_only &&
	    (o->map_bytes > SIZE_MAX / 2 || o->reserve_bytes > SIZE_MAX / 4))
		goto fail;
	s->map_bytes = o->read_only ? 0 : (size_t)o->map_bytes;
	s->reserve_bytes = o->read_only ? 0 : (size_t)o->reserve_bytes;
	rc = disk_open(&s->disk, s->directory);
	if (rc == ERR_OK)
		rc = check_not_emptied(s);
	if (rc == ERR_OK && (o->read_only || o->must_exist) && !has_data(s)) {
		log_error(LOG_JOURNAL, "%s: there is no journal", s->directory);
		rc = ERR_NOTFOUND;
	}
	if (rc == ERR_OK && !has_data(s))
		rc = make_data(s);
	if (rc == ERR_OK)
		rc = store_open_env(s);
	if (rc == ERR_OK && !s->read_only)
		rc = take_first_blocks(s, o->preallocate);
	if (rc != ERR_OK)
		goto fail;
	*out = s;
	return ERR_OK;
fail:
	store_close(s);
	return rc;
}

void
store_close(struct store *s)
{
	if (s == NULL)
		return;
	store_end(s);
	store_close_env(s);
	disk_close(&s->disk);
	free(s->directory);
	free(s);
}

bool
store_is_made(const struct store *s)
{
	return s->is_made;
}

bool
store_is_complete(const struct store *s)
{
	bool is_complete = s->is_made;

	for (int i = 0; i < STORE_DB_COUNT; i++)
		is_complete = is_complete && s->dbis[i] != STORE_NO_DBI;
	return is_complete;
}

int
store_create(struct store *s)
{
	for (int i = 0; i < STORE_DB_COUNT; i++) {
		int rc = mdb_dbi_open(s->txn, names[i], MDB_CREATE, &s->dbis[i]);

		if (rc != MDB_SUCCESS)
			return store_report(s, "make a database", rc);
	}
	return ERR_OK;
}

int
store_sync_directory(struct store *s)
{
	return disk_sync_directory(&s->disk);
}

int
store_check(struct store *s)
{
	int rc = ERR_NOTFOUND;

	for (int i = 0; i < CHECK_ATTEMPTS && rc == ERR_NOTFOUND; i++) {
		rc = store_begin_read(s);
		if (rc != ERR_OK)
			return rc;
		rc = structure_check(
		    s->disk.fd, s->directory, mdb_txn_id(s->txn), PAGES_STRICT_RUNS);
		store_end(s);
	}
	return rc;
}

int
store_check_runs(struct store *s, enum store_db db, struct bytes first,
    struct bytes last, size_t most)
{
	const struct pages_range range = {
	    .name = names[db], .first = first, .last = last, .most = most};

	return structure_check_runs(s->disk.fd, s->directory, &range, &s->runs_repeat);
}

int
store_copy(struct store *s, int fd)
{
	return store_report(s, "copy", mdb_env_copyfd2(s->env, fd, MDB_CP_COMPACT));
}
