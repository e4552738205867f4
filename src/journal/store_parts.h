/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the store share. lmdb.h is included here, for them alone. */
#ifndef STORE_PARTS_H
#define STORE_PARTS_H

#include <lmdb.h>

#include "disk.h"
#include "log.h"
#include "store.h"

#define STORE_NO_DBI 0 /* LMDB's own free list: never one of ours */

struct store {
	char *directory;
	bool read_only;
	bool edges_only;
	bool is_made;
	bool is_broken;    /* opened again before the next transaction */
	bool is_unsettled; /* lock.mdb is of no use, as yet */
	bool is_map_full;  /* what the latest ERR_FULL was about */
	size_t map_bytes;  /* as asked for; 0 takes what the file says */
	size_t reserve_bytes;
	int (*accept)(void *context, struct store *s); /* see store_options */
	void *context;
	MDB_env *env;
	MDB_dbi dbis[STORE_DB_COUNT]; /* STORE_NO_DBI: it is not there */
	MDB_txn *reader;              /* kept, reset while it is not open */
	MDB_txn *txn;
	struct disk disk;
	struct log_repeat repeat, files_repeat, runs_repeat;
};

/* Translate LMDB's code (or an errno), and log what is not part of everyday life. */
int store_report(struct store *s, const char *what, int rc);

int store_set_map(struct store *s, size_t bytes);

/* A transaction could not begin: is there a reason to try once more? */
bool store_is_mended(struct store *s, int rc);

/* Also anew, after the environment was closed. Errors: as store_open(). */
int store_open_env(struct store *s);
void store_close_env(struct store *s);

#endif
