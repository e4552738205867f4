/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal's environment: LMDB behind thin wrappers. store.c is the only file that
 * knows LMDB; its codes become ours here, and are logged here with LMDB's own text.
 *
 * At most one transaction is open at a time; every call works on that one. Bytes that
 * come out are LMDB's: valid to the end of the transaction, or to the next change in it.
 */
#ifndef STORE_H
#define STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "buffer.h"

struct store;
struct store_cursor;

enum store_db {
	STORE_LOG,
	STORE_DEAD,
	STORE_GAPS,
	STORE_META,
	STORE_ORDERS, /* these two an older journal has not got before it is written to */
	STORE_DAMAGED,
};
#define STORE_DB_COUNT  6
#define STORE_DB_NEEDED 4 /* without them it is no journal */

struct store_options {
	const char *directory;
	bool read_only;
	bool edges_only; /* with read_only: of the log only its first and last entry */
	bool must_exist; /* as with read_only: nothing is made */
	uint64_t map_bytes; /* not used with read_only, as are the rest */
	uint64_t
	    reserve_bytes; /* the map reaches at least this far beyond the last page */
	bool preallocate;  /* take blocks for all of the map now */
	/*
	 * Asked in a read transaction, before anything is written, where the databases are
	 * there: may this program work with them? What it returns but for 0 ends the
	 * opening. NULL: nobody is asked. context: as long as the store lives.
	 */
	int (*accept)(void *context, struct store *s);
	void *context;
};

/*
 * Ownership: options is borrowed for the call; *out is the caller's, NULL on failure.
 * Errors:    ERR_NOTFOUND (read_only, must_exist: no data.mdb), ERR_CORRUPT, ERR_VERSION, ERR_NOMEM,
 *            ERR_FULL, ERR_LOCKED (all reader slots taken), ERR_IO.
 */
int store_open(struct store **out, const struct store_options *options);
void store_close(struct store *s);

/* Are the databases there? After store_create() and its commit, or found at open. */
bool store_is_made(const struct store *s);

/* Are those there, too, that came with later versions? */
bool store_is_complete(const struct store *s);

/* Make the databases, in the write transaction that is open; none is made twice. */
int store_create(struct store *s);

/* A new file's name does not survive a power cut before its directory is synced. */
int store_sync_directory(struct store *s);

/* Look at all of it again, the first page of each value too. Errors: as store_open(). */
int store_check(struct store *s);

/*
 * Is it safe to delete, or to replace, these entries? For values of many pages LMDB takes
 * their first page's word for what it frees. At most so many of them are looked at, as they
 * are in the file: in a read transaction, or in one that has not written any of them.
 * Errors: ERR_CORRUPT, ERR_VERSION, ERR_IO: not (logged now and then); ERR_NOMEM.
 */
int store_check_runs(struct store *s, enum store_db db, struct bytes first,
    struct bytes last, size_t most);

/* Write a consistent copy, without what is free, to a new file. Errors: ERR_FULL, ERR_IO. */
int store_copy(struct store *s, int fd);

/* ---- transactions ---- */

int store_begin_read(struct store *s);
int store_begin_write(struct store *s);

/* On disk when this returns 0. The transaction is over either way. */
int store_commit(struct store *s);

/* End a read transaction; give up a write transaction. Nothing when none is open. */
void store_end(struct store *s);

/* ---- entries ---- */

enum store_put {
	STORE_REPLACE, /* whatever is there */
	STORE_KEEP,    /* what is there already stays, and that is no failure */
	STORE_APPEND,  /* the key is behind every other; else ERR_CORRUPT */
};

/* A database that is not there has no entries. Errors: ERR_NOTFOUND. */
int store_get(struct store *s, enum store_db db, struct bytes key, struct bytes *value);
int store_put(struct store *s, enum store_db db, struct bytes key, struct bytes value,
    enum store_put how);
/* No failure when it is not there. */
int store_delete(struct store *s, enum store_db db, struct bytes key);

enum store_move {
	STORE_FIRST,
	STORE_LAST,
	STORE_NEXT,
	STORE_PREVIOUS,
	STORE_SEEK, /* the first key at or behind *key */
};

/* Close a cursor before its transaction ends. ERR_NOTFOUND: no such database yet. */
int store_cursor_open(struct store *s, enum store_db db, struct store_cursor **out);
void store_cursor_close(struct store_cursor *c);

/* key: in for STORE_SEEK, and out. Errors: ERR_NOTFOUND, *key and *value as before. */
int store_cursor_get(struct store_cursor *c, enum store_move move, struct bytes *key,
    struct bytes *value);

/* Delete the entry that the cursor is on; STORE_NEXT goes to the one behind it. */
int store_cursor_delete(struct store_cursor *c);

/* ---- room ---- */

struct store_pages {
	uint64_t page_bytes;
	uint64_t end; /* pages of the file, used or not: last page and one */
	uint64_t map; /* pages of the map */
};

/* In an open transaction. */
int store_pages(struct store *s, struct store_pages *out);
int store_db_size(
    struct store *s, enum store_db db, uint64_t *entries, uint64_t *pages);

/*
 * How many pages that are free can the next write transaction use? Not those that a
 * reader may still see, and not those that the latest commit has freed: LMDB keeps them
 * for one commit more. With soon, they count. Counting stops at enough. In a read
 * transaction.
 */
int store_free_pages(struct store *s, bool soon, uint64_t enough, uint64_t *pages);

/*
 * Take blocks for the file up to end_bytes and a spare part more (disk.h). *reach_bytes:
 * out, how far the file can grow now, the spare part left out. Errors: ERR_FULL (*reach_bytes is set).
 */
int store_take(struct store *s, uint64_t end_bytes, uint64_t *reach_bytes);

/* How far the file has blocks, the spare part among them. */
int store_backed(struct store *s, uint64_t *bytes);

/* Free space on the disk that store_take() could have. */
int store_disk_free(struct store *s, uint64_t *bytes);

/*
 * After ERR_FULL, with no transaction open, for what must not fail: make the map 1 MiB
 * larger, or give up the ballast. Errors: ERR_FULL, nothing more can be done.
 */
int store_relieve(struct store *s);

/* Free the reader slots of processes that are gone. */
int store_check_readers(struct store *s);

#endif
