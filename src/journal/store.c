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
#include <stdlib.h>

#include "err.h"
#include "now.h"
#include "store_parts.h"

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

int
store_report(struct store *s, const char *what, int rc)
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

int
store_set_map(struct store *s, size_t bytes)
{
	int rc = mdb_env_set_mapsize(s->env, bytes);

	/* The old map is gone by now: nothing may look at it any more. */
	if (rc != MDB_SUCCESS)
		s->is_broken = true;
	return store_report(s, "set the size of the map", rc);
}

bool
store_is_mended(struct store *s, int rc)
{
	int dead;

	if (rc == MDB_MAP_RESIZED)
		return store_set_map(s, 0) == ERR_OK;
	return rc == MDB_READERS_FULL && mdb_reader_check(s->env, &dead) == MDB_SUCCESS;
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
	log_repeated(&s->files_repeat, now_monotonic_ms(), LOG_LEVEL_ERROR, LOG_JOURNAL,
	    "%s: data.mdb or lock.mdb was removed or replaced while in use: nothing is "
	    "written until they are back",
	    s->directory);
	return ERR_IO;
}

static int
begin_anyway(struct store *s, bool write)
{
	int rc;

	if (s->is_broken) {
		store_close_env(s);
		s->is_broken = false;
		rc = store_open_env(s);
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
	if (rc != MDB_SUCCESS && store_is_mended(s, rc))
		rc = begin(s, write);
	return store_report(s, write ? "begin to write" : "begin to read", rc);
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
	return store_report(s, "commit", rc);
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

	if (s->dbis[db] == STORE_NO_DBI)
		return ERR_NOTFOUND;
	rc = mdb_get(s->txn, s->dbis[db], &k, &v);

	if (rc == MDB_SUCCESS)
		*value = bytes_of(v);
	return store_report(s, "read", rc);
}

int
store_put(struct store *s, enum store_db db, struct bytes key, struct bytes value,
    enum store_put how)
{
	MDB_val k = val_of(key), v = val_of(value);
	unsigned flags = how == STORE_APPEND ? MDB_APPEND
			 : how == STORE_KEEP ? MDB_NOOVERWRITE
					     : 0;
	int rc = s->dbis[db] == STORE_NO_DBI
		     ? EINVAL
		     : mdb_put(s->txn, s->dbis[db], &k, &v, flags);

	if (rc == MDB_KEYEXIST && how == STORE_KEEP)
		return ERR_OK;
	return store_report(s, "write", rc);
}

int
store_delete(struct store *s, enum store_db db, struct bytes key)
{
	MDB_val k = val_of(key);
	int rc;

	if (s->dbis[db] == STORE_NO_DBI)
		return ERR_OK;
	rc = mdb_del(s->txn, s->dbis[db], &k, NULL);

	return rc == MDB_NOTFOUND ? ERR_OK : store_report(s, "delete", rc);
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
	if (s->dbis[db] == STORE_NO_DBI)
		return ERR_NOTFOUND;
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		return ERR_NOMEM;
	c->store = s;
	rc = mdb_cursor_open(s->txn, s->dbis[db], &c->cursor);
	if (rc != MDB_SUCCESS) {
		free(c);
		return store_report(s, "open a cursor", rc);
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
	return store_report(c->store, "read", rc);
}

int
store_cursor_delete(struct store_cursor *c)
{
	return store_report(c->store, "delete", mdb_cursor_del(c->cursor, 0));
}
