/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LMDB, in plain mode: no MDB_WRITEMAP (SIGBUS on a full disk), no MDB_NOSYNC, no
 * MDB_NOMETASYNC. MDB_NOTLS, so that the one read transaction can be kept, reset, for
 * the next time.
 *
 * Invariant: s->txn is the one open transaction, or NULL; s->reader, when it is not
 * open, is reset, so it pins no page and the map may be changed.
 *
 * Failure modes: MDB_MAP_RESIZED (another process has grown the map): adopted, once
 * more. MDB_PANIC (the meta page could not be written) and a map that could not be made
 * anew leave the environment unusable: it is opened again before the next transaction.
 * A disk that is full shows as ENOSPC or, after a short write, as EIO: the free space
 * tells the two apart. MDB_READERS_FULL: slots of dead processes are freed, once more.
 */
#include "store.h"

#include <errno.h>
#include <lmdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk.h"
#include "err.h"
#include "log.h"
#include "now.h"

#define MAP_STEP_BYTES   ((size_t)1 << 20)
#define MAX_DATABASES    16     /* later versions have more */
#define NO_DBI           0      /* LMDB's own free list: never one of ours */
#define MAX_FREE_ENTRIES 100000 /* of the free list, looked at in one go */

struct store {
	char *directory;
	bool read_only;
	bool is_made;
	bool is_broken;   /* opened again before the next transaction */
	bool is_map_full; /* what the latest ERR_FULL was about */
	size_t map_bytes; /* as asked for; 0 takes what the file says */
	size_t reserve_bytes;
	MDB_env *env;
	MDB_dbi dbis[STORE_DB_COUNT]; /* NO_DBI: it is not there */
	MDB_txn *reader; /* kept, reset while it is not open */
	MDB_txn *txn;
	struct disk disk;
	struct log_repeat repeat;
};

static const char *const names[STORE_DB_COUNT] = {
    [STORE_LOG] = "log",
    [STORE_DEAD] = "dead",
    [STORE_GAPS] = "gaps",
    [STORE_META] = "meta",
    [STORE_ORDERS] = "orders",
    [STORE_DAMAGED] = "damaged",
};

/* The one place where an LMDB code becomes one of ours. */
static int
err_of_lmdb(struct store *s, int rc)
{
	switch (rc) {
	case MDB_SUCCESS:
		return ERR_OK;
	case MDB_NOTFOUND:
		return ERR_NOTFOUND;
	case MDB_MAP_FULL:
	case ENOSPC:
	case EDQUOT:
		return ERR_FULL;
	case ENOMEM:
		return ERR_NOMEM;
	case MDB_READERS_FULL:
		return ERR_LOCKED;
	case MDB_VERSION_MISMATCH:
		return ERR_VERSION;
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_INVALID:
	case MDB_INCOMPATIBLE:
	case MDB_KEYEXIST:
		return ERR_CORRUPT;
	case EIO:
		return disk_is_full(&s->disk) ? ERR_FULL : ERR_IO;
	default:
		return ERR_IO;
	}
}

/* Translate, and log what is not part of everyday life. */
static int
report(struct store *s, const char *what, int rc)
{
	int err = err_of_lmdb(s, rc);

	if (rc == MDB_PANIC)
		s->is_broken = true;
	if (err == ERR_FULL)
		s->is_map_full = rc == MDB_MAP_FULL;
	if (err != ERR_OK && err != ERR_NOTFOUND && rc != MDB_MAP_FULL)
		log_repeated(&s->repeat, now_monotonic_ms(), LOG_LEVEL_ERROR,
		    LOG_JOURNAL, "%s: %s: %s", s->directory, what, mdb_strerror(rc));
	return err;
}

static MDB_val
val_of(struct bytes b)
{
	/* LMDB only reads what it is given. */
	return (MDB_val){.mv_size = b.size, .mv_data = (void *)(uintptr_t)b.data};
}

static struct bytes
bytes_of(MDB_val v)
{
	return (struct bytes){.data = v.mv_data, .size = v.mv_size};
}

/* ---- opening ---- */

static void
close_env(struct store *s)
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
		return report(s, "data.mdb", errno);
	if ((uint64_t)st.st_size >= end_bytes)
		return ERR_OK;
	log_error(LOG_JOURNAL,
	    "%s: data.mdb has %llu bytes, but its pages need %llu: its end is lost",
	    s->directory, (unsigned long long)st.st_size,
	    (unsigned long long)end_bytes);
	return ERR_CORRUPT;
}

static int
set_map(struct store *s, size_t bytes)
{
	int rc = mdb_env_set_mapsize(s->env, bytes);

	/* The old map is gone by now: nothing may look at it any more. */
	if (rc != MDB_SUCCESS)
		s->is_broken = true;
	return report(s, "set the size of the map", rc);
}

/* A transaction could not begin: is there a reason to try once more? */
static bool
is_mended(struct store *s, int rc)
{
	int dead;

	if (rc == MDB_MAP_RESIZED)
		return set_map(s, 0) == ERR_OK;
	return rc == MDB_READERS_FULL && mdb_reader_check(s->env, &dead) == MDB_SUCCESS;
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
		return report(s, "look at the environment", rc);
	end = (info.me_last_pgno + 1) * stat.ms_psize;
	rc = check_length(s, end);
	if (rc != ERR_OK || s->read_only || info.me_mapsize - end >= s->reserve_bytes)
		return rc;
	return set_map(s, end + s->reserve_bytes);
}

static int
find_databases(struct store *s)
{
	MDB_txn *txn = NULL;
	int rc;

	s->is_made = false;
	rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn);
	if (rc != MDB_SUCCESS && is_mended(s, rc))
		rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn);
	if (rc != MDB_SUCCESS)
		return report(s, "begin to read", rc);
	for (int i = 0; i < STORE_DB_COUNT && rc == MDB_SUCCESS; i++) {
		s->dbis[i] = NO_DBI;
		rc = mdb_dbi_open(txn, names[i], 0, &s->dbis[i]);
		if (rc == MDB_NOTFOUND && i >= STORE_DB_NEEDED)
			rc = MDB_SUCCESS;
	}
	if (rc != MDB_SUCCESS) {
		mdb_txn_abort(txn);
		return rc == MDB_NOTFOUND ? ERR_OK : report(s, "open a database", rc);
	}
	rc = mdb_txn_commit(txn); /* keeps the handles */
	s->is_made = rc == MDB_SUCCESS;
	return report(s, "open the databases", rc);
}

static int
open_env(struct store *s)
{
	unsigned flags = MDB_NOTLS | (s->read_only ? MDB_RDONLY : 0);
	int dead, rc;

	rc = mdb_env_create(&s->env);
	if (rc != MDB_SUCCESS)
		return report(s, "make an environment", rc);
	rc = mdb_env_set_maxdbs(s->env, MAX_DATABASES);
	if (rc == MDB_SUCCESS && s->map_bytes != 0)
		rc = mdb_env_set_mapsize(s->env, s->map_bytes);
	if (rc == MDB_SUCCESS)
		rc = mdb_env_open(s->env, s->directory, flags, 0640);
	if (rc == MDB_SUCCESS)
		rc = mdb_env_get_fd(s->env, &s->disk.fd);
	if (rc == MDB_SUCCESS)
		rc = mdb_reader_check(s->env, &dead);
	if (rc != MDB_SUCCESS)
		return report(s, "open the environment", rc);
	if (!s->read_only) {
		rc = disk_note_files(&s->disk);
		if (rc != ERR_OK)
			return rc;
	}
	rc = fit_map(s);
	if (rc == ERR_OK)
		rc = find_databases(s);
	return rc;
}

/* LMDB would make lock.mdb before it finds that there is nothing to look at. */
static bool
has_data(const struct store *s)
{
	struct stat st;

	return fstatat(s->disk.dir_fd, "data.mdb", &st, 0) == 0 && st.st_size > 0;
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
	s->directory = strdup(o->directory);
	if (s->directory == NULL)
		goto fail;
	if (!o->read_only &&
	    (o->map_bytes > SIZE_MAX / 2 || o->reserve_bytes > SIZE_MAX / 4))
		goto fail;
	s->map_bytes = o->read_only ? 0 : (size_t)o->map_bytes;
	s->reserve_bytes = o->read_only ? 0 : (size_t)o->reserve_bytes;
	rc = disk_open(&s->disk, s->directory);
	if (rc == ERR_OK && (o->read_only || o->must_exist) && !has_data(s)) {
		log_error(LOG_JOURNAL, "%s: there is no journal", s->directory);
		rc = ERR_NOTFOUND;
	}
	if (rc == ERR_OK)
		rc = open_env(s);
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
	close_env(s);
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
		is_complete = is_complete && s->dbis[i] != NO_DBI;
	return is_complete;
}

int
store_create(struct store *s)
{
	for (int i = 0; i < STORE_DB_COUNT; i++) {
		int rc = mdb_dbi_open(s->txn, names[i], MDB_CREATE, &s->dbis[i]);

		if (rc != MDB_SUCCESS)
			return report(s, "make a database", rc);
	}
	return ERR_OK;
}

int
store_sync_directory(struct store *s)
{
	return disk_sync_directory(&s->disk);
}

/* ---- transactions ---- */

static int
begin(struct store *s, bool write)
{
	if (write)
		return mdb_txn_begin(s->env, NULL, 0, &s->txn);
	if (s->reader == NULL)
		return mdb_txn_begin(s->env, NULL, MDB_RDONLY, &s->reader);
	return mdb_txn_renew(s->reader);
}

static int
check_files(struct store *s)
{
	if (disk_has_its_files(&s->disk))
		return ERR_OK;
	log_repeated(&s->repeat, now_monotonic_ms(), LOG_LEVEL_ERROR, LOG_JOURNAL,
	    "%s: data.mdb or lock.mdb was removed or replaced while in use: nothing is "
	    "written any more; restart the gateway",
	    s->directory);
	return ERR_IO;
}

static int
begin_anyway(struct store *s, bool write)
{
	int rc;

	if (s->is_broken) {
		close_env(s);
		s->is_broken = false;
		rc = open_env(s);
		s->is_broken = rc != ERR_OK;
		if (rc != ERR_OK)
			return rc;
	}
	if (write) {
		rc = check_files(s);
		if (rc != ERR_OK)
			return rc;
	}
	rc = begin(s, write);
	if (rc != MDB_SUCCESS && is_mended(s, rc))
		rc = begin(s, write);
	return report(s, write ? "begin to write" : "begin to read", rc);
}

int
store_begin_read(struct store *s)
{
	int rc = begin_anyway(s, false);

	if (rc == ERR_OK)
		s->txn = s->reader;
	return rc;
}

int
store_begin_write(struct store *s)
{
	int rc = begin_anyway(s, true);

	if (rc != ERR_OK)
		s->txn = NULL;
	return rc;
}

int
store_commit(struct store *s)
{
	int rc = mdb_txn_commit(s->txn);

	s->txn = NULL; /* freed by mdb_txn_commit() even when it fails */
	if (rc == MDB_SUCCESS)
		s->is_made = true;
	return report(s, "commit", rc);
}

void
store_end(struct store *s)
{
	if (s->txn == NULL)
		return;
	if (s->txn == s->reader)
		mdb_txn_reset(s->reader);
	else
		mdb_txn_abort(s->txn);
	s->txn = NULL;
}

/* ---- entries ---- */

int
store_get(struct store *s, enum store_db db, struct bytes key, struct bytes *value)
{
	MDB_val k = val_of(key), v;
	int rc;

	if (s->dbis[db] == NO_DBI)
		return ERR_NOTFOUND;
	rc = mdb_get(s->txn, s->dbis[db], &k, &v);

	if (rc == MDB_SUCCESS)
		*value = bytes_of(v);
	return report(s, "read", rc);
}

int
store_put(struct store *s, enum store_db db, struct bytes key, struct bytes value,
    enum store_put how)
{
	MDB_val k = val_of(key), v = val_of(value);
	unsigned flags = how == STORE_APPEND ? MDB_APPEND
			 : how == STORE_KEEP ? MDB_NOOVERWRITE
					     : 0;
	int rc = s->dbis[db] == NO_DBI ? EINVAL : mdb_put(s->txn, s->dbis[db], &k, &v, flags);

	if (rc == MDB_KEYEXIST && how == STORE_KEEP)
		return ERR_OK;
	return report(s, "write", rc);
}

int
store_delete(struct store *s, enum store_db db, struct bytes key)
{
	MDB_val k = val_of(key);
	int rc;

	if (s->dbis[db] == NO_DBI)
		return ERR_OK;
	rc = mdb_del(s->txn, s->dbis[db], &k, NULL);

	return rc == MDB_NOTFOUND ? ERR_OK : report(s, "delete", rc);
}

struct store_cursor {
	struct store *store;
	MDB_cursor *cursor;
};

int
store_cursor_open(struct store *s, enum store_db db, struct store_cursor **out)
{
	struct store_cursor *c;
	int rc;

	*out = NULL;
	if (s->dbis[db] == NO_DBI)
		return ERR_NOTFOUND;
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		return ERR_NOMEM;
	c->store = s;
	rc = mdb_cursor_open(s->txn, s->dbis[db], &c->cursor);
	if (rc != MDB_SUCCESS) {
		free(c);
		return report(s, "open a cursor", rc);
	}
	*out = c;
	return ERR_OK;
}

void
store_cursor_close(struct store_cursor *c)
{
	if (c == NULL)
		return;
	mdb_cursor_close(c->cursor);
	free(c);
}

int
store_cursor_get(struct store_cursor *c, enum store_move move, struct bytes *key,
    struct bytes *value)
{
	static const MDB_cursor_op ops[] = {
	    [STORE_FIRST] = MDB_FIRST,
	    [STORE_LAST] = MDB_LAST,
	    [STORE_NEXT] = MDB_NEXT,
	    [STORE_PREVIOUS] = MDB_PREV,
	    [STORE_SEEK] = MDB_SET_RANGE,
	};
	MDB_val k = val_of(*key), v;
	int rc = mdb_cursor_get(c->cursor, &k, &v, ops[move]);

	if (rc == MDB_SUCCESS) {
		*key = bytes_of(k);
		*value = bytes_of(v);
	}
	return report(c->store, "read", rc);
}

int
store_cursor_delete(struct store_cursor *c)
{
	return report(c->store, "delete", mdb_cursor_del(c->cursor, 0));
}

/* ---- room ---- */

int
store_pages(struct store *s, struct store_pages *out)
{
	MDB_envinfo info;
	MDB_stat stat;
	int rc;

	if (s->is_broken)
		return ERR_IO;
	rc = mdb_env_info(s->env, &info);
	if (rc == MDB_SUCCESS)
		rc = mdb_env_stat(s->env, &stat);
	if (rc != MDB_SUCCESS)
		return report(s, "look at the environment", rc);
	out->page_bytes = stat.ms_psize;
	out->end = (uint64_t)info.me_last_pgno + 1;
	out->map = info.me_mapsize / stat.ms_psize;
	return ERR_OK;
}

int
store_db_size(struct store *s, enum store_db db, uint64_t *entries, uint64_t *pages)
{
	MDB_stat stat = {0};
	int rc = MDB_SUCCESS;

	if (s->dbis[db] != NO_DBI)
		rc = mdb_stat(s->txn, s->dbis[db], &stat);

	if (rc != MDB_SUCCESS)
		return report(s, "look at a database", rc);
	*entries = stat.ms_entries;
	*pages = stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
	return ERR_OK;
}

struct oldest {
	size_t id; /* of the oldest snapshot in use, so far */
	long skip; /* the process whose reader does not count; 0: none */
};

/* One line of LMDB's list of readers: "pid thread txnid", the last "-" when idle. */
static int
note_reader(const char *line, void *context)
{
	struct oldest *oldest = context;
	const char *word = strrchr(line, ' ');
	unsigned long long id;
	char *end;

	if (word == NULL)
		return 0;
	id = strtoull(word + 1, &end, 10);
	if (end == word + 1 || *end != '\n' || strtol(line, NULL, 10) == oldest->skip)
		return 0;
	if (id < oldest->id)
		oldest->id = (size_t)id;
	return 0;
}

/*
 * The free list is LMDB's database number 0: transaction id -> {count, pages ...}.
 * What was freed before the oldest snapshot that anyone has may be used again.
 */
static int
count_free(MDB_cursor *cursor, size_t before, uint64_t enough, uint64_t *pages)
{
	MDB_val k, v;
	uint64_t sum = 0;
	int rc;

	rc = mdb_cursor_get(cursor, &k, &v, MDB_FIRST);
	for (int i = 0; rc == MDB_SUCCESS && i < MAX_FREE_ENTRIES && sum < enough;
	     i++) {
		size_t freed_at, count;

		if (k.mv_size != sizeof(freed_at) || v.mv_size < sizeof(count))
			return MDB_CORRUPTED;
		memcpy(&freed_at, k.mv_data, sizeof(freed_at));
		memcpy(&count, v.mv_data, sizeof(count));
		if (freed_at >= before)
			break;
		sum += count;
		rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
	}
	if (rc != MDB_SUCCESS && rc != MDB_NOTFOUND)
		return rc;
	*pages = sum;
	return MDB_SUCCESS;
}

int
store_free_pages(struct store *s, bool soon, uint64_t enough, uint64_t *pages)
{
	MDB_cursor *cursor = NULL;
	struct oldest oldest = {.id = mdb_txn_id(s->txn)};
	int rc;

	if (soon) {
		/* One commit later, when this transaction is over. */
		oldest.id++;
		oldest.skip = (long)getpid();
	}

	if (mdb_reader_list(s->env, note_reader, &oldest) < 0)
		return report(s, "list the readers", EIO);
	rc = mdb_cursor_open(s->txn, 0, &cursor);
	if (rc == MDB_SUCCESS) {
		rc = count_free(cursor, oldest.id, enough, pages);
		mdb_cursor_close(cursor);
	}
	return report(s, "read the free list", rc);
}

int
store_take(struct store *s, uint64_t end_bytes, uint64_t *reach_bytes)
{
	int rc = disk_take(&s->disk, end_bytes);
	int rc2;

	if (rc == ERR_FULL)
		s->is_map_full = false;
	else if (rc != ERR_OK)
		return rc;
	rc2 = disk_taken_bytes(&s->disk, reach_bytes);
	return rc2 != ERR_OK ? rc2 : rc;
}

int
store_disk_free(struct store *s, uint64_t *bytes)
{
	uint64_t free_bytes = 0;
	int rc = disk_free_bytes(&s->disk, &free_bytes);

	if (rc == ERR_OK)
		*bytes = free_bytes / DISK_STEP_BYTES * DISK_STEP_BYTES;
	return rc;
}

int
store_relieve(struct store *s)
{
	MDB_envinfo info;
	int rc;

	if (!s->is_map_full)
		return disk_drop_ballast(&s->disk) ? ERR_OK : ERR_FULL;
	rc = mdb_env_info(s->env, &info);
	if (rc != MDB_SUCCESS)
		return report(s, "look at the environment", rc);
	if (info.me_mapsize > SIZE_MAX - MAP_STEP_BYTES)
		return ERR_FULL;
	log_debug(LOG_JOURNAL, "%s: the map grows by 1 MiB", s->directory);
	return set_map(s, info.me_mapsize + MAP_STEP_BYTES);
}

int
store_check_readers(struct store *s)
{
	int dead = 0;
	int rc = mdb_reader_check(s->env, &dead);

	if (dead > 0)
		log_info(LOG_JOURNAL, "%s: freed %d reader slots of dead processes",
		    s->directory, dead);
	return report(s, "check the readers", rc);
}
