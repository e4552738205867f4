/* SPDX-License-Identifier: Apache-2.0 */
/* Pages of the file: how many are free, and where more come from. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "err.h"
#include "store_parts.h"

#define MAP_STEP_BYTES   ((size_t)1 << 20)
#define MAX_FREE_ENTRIES 100000 /* of the free list, looked at in one go */

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
		return store_report(s, "look at the environment", rc);
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

	if (s->dbis[db] != STORE_NO_DBI)
		rc = mdb_stat(s->txn, s->dbis[db], &stat);

	if (rc != MDB_SUCCESS)
		return store_report(s, "look at a database", rc);
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
		return store_report(s, "list the readers", EIO);
	rc = mdb_cursor_open(s->txn, 0, &cursor);
	if (rc == MDB_SUCCESS) {
		rc = count_free(cursor, oldest.id, enough, pages);
		mdb_cursor_close(cursor);
	}
	return store_report(s, "read the free list", rc);
}

int
store_take(struct store *s, uint64_t end_bytes, uint64_t *reach_bytes)
{
	/* Who only looks takes nothing: what others have taken is what there is. */
	int rc = s->read_only ? ERR_OK : disk_take(&s->disk, end_bytes);
	int rc2;

	if (rc == ERR_FULL)
		s->is_map_full = false;
	else if (rc != ERR_OK)
		return rc;
	rc2 = disk_taken_bytes(&s->disk, reach_bytes);
	return rc2 != ERR_OK ? rc2 : rc;
}

int
store_backed(struct store *s, uint64_t *bytes)
{
	return disk_backed_bytes(&s->disk, bytes);
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
		return store_report(s, "look at the environment", rc);
	if (info.me_mapsize > SIZE_MAX - MAP_STEP_BYTES)
		return ERR_FULL;
	log_debug(LOG_JOURNAL, "%s: the map grows by 1 MiB", s->directory);
	return store_set_map(s, info.me_mapsize + MAP_STEP_BYTES);
}

int
store_check_readers(struct store *s)
{
	int dead = 0;
	int rc = mdb_reader_check(s->env, &dead);

	if (dead > 0)
		log_info(LOG_JOURNAL, "%s: freed %d reader slots of dead processes",
		    s->directory, dead);
	return store_report(s, "check the readers", rc);
}
