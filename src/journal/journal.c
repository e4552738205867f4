/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening and keeping the journal: the role's lock, and the environment.
 *
 * Invariant: a role's lock is held from before the environment is opened until after
 * it is closed, so at most one process appends and one drains. Ours are files of our
 * own: nobody but LMDB opens LMDB's.
 *
 * Failure modes: two processes make the journal at the same time: both come with the
 * whole of it in one write transaction, and the second finds it made. A full disk does
 * not keep a journal that is there from being opened: nothing is written then.
 */
#include "journal_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "err.h"
#include "guard.h"
#include "now.h"

#define MIN_RESERVE_BYTES ((uint64_t)1 << 20)
#define LOCK_POLL_MS      20
#define RELIEF_ATTEMPTS   8

static const char *const lock_names[] = {
    [JOURNAL_INGEST] = "ingest.lock",
    [JOURNAL_FORWARD] = "forward.lock",
};

int
journal_key_seq(struct bytes key, uint64_t *seq)
{
	if (key.size != 8)
		return ERR_CORRUPT;
	*seq = be64_get(key.data);
	return ERR_OK;
}

/* ---- locks ---- */

static int
wait_for_lock(int fd, int64_t wait_ms)
{
	int64_t end_ms = now_monotonic_ms() + wait_ms;

	while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return ERR_IO;
		if (now_monotonic_ms() >= end_ms)
			return ERR_LOCKED;
		now_pause_ms(LOCK_POLL_MS);
	}
	return ERR_OK;
}

static int
take_lock(struct journal *j, enum journal_role role, int64_t wait_ms)
{
	char path[4096];
	int n, rc;

	n = snprintf(path, sizeof(path), "%s/%s", j->directory, lock_names[role]);
	if (n < 0 || (size_t)n >= sizeof(path))
		return ERR_INVALID;
	j->lock_fds[role] = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	if (j->lock_fds[role] < 0) {
		rc = errno == ENOENT || errno == ENOTDIR ? ERR_NOTFOUND : ERR_IO;
		log_error(LOG_JOURNAL, "%s: %s", path, strerror(errno));
		return rc;
	}
	rc = wait_for_lock(j->lock_fds[role], wait_ms);
	if (rc == ERR_LOCKED)
		log_error(LOG_JOURNAL, "%s: in use by another process (%s is held)",
		    j->directory, lock_names[role]);
	else if (rc != ERR_OK)
		log_error(LOG_JOURNAL, "%s: %s", path, strerror(errno));
	return rc;
}

bool
journal_is_held(const char *directory, enum journal_role role)
{
	char path[4096];
	int n = snprintf(path, sizeof(path), "%s/%s", directory, lock_names[role]);
	bool is_held = false;
	int fd;

	if (n < 0 || (size_t)n >= sizeof(path))
		return false;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	is_held = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
	(void)close(fd); /* lets it go, if it was got */
	return is_held;
}

/* ---- opening ---- */

/* Room for truncating, however full the journal is. */
static uint64_t
reserve_bytes(uint64_t max_bytes)
{
	uint64_t reserve = max_bytes / 16 * 4; /* four of the largest records */

	return reserve > MIN_RESERVE_BYTES ? reserve : MIN_RESERVE_BYTES;
}

static int
open_store(struct journal *j, bool preallocate, bool must_exist, bool figures_only)
{
	struct store_options o = {
	    .directory = j->directory,
	    .read_only = j->role == JOURNAL_LOOK,
	    .edges_only = figures_only,
	    .must_exist = must_exist,
	    .reserve_bytes = reserve_bytes(j->max_bytes),
	    .preallocate = preallocate,
	    .accept = journal_accept,
	    .context = j,
	};
	int rc;

	if (j->max_bytes > UINT64_MAX / 4 || j->dead_max_bytes > UINT64_MAX / 4)
		return ERR_NOMEM;
	o.map_bytes = j->max_bytes + j->dead_max_bytes + o.reserve_bytes;
	rc = store_open(&j->store, &o);
	if (rc == ERR_NOMEM)
		log_error(LOG_JOURNAL,
		    "%s: the address space cannot map max_bytes (%llu)", j->directory,
		    (unsigned long long)j->max_bytes);
	return rc;
}

static int
create_all(struct journal *j, void *context)
{
	const char *gateway_id = context; /* NULL: it has its meta already */
	int rc = store_create(j->store);

	if (rc != ERR_OK || gateway_id == NULL)
		return rc;
	return journal_meta_create(j, gateway_id);
}

static int
make_if_new(struct journal *j, const char *gateway_id)
{
	char id[sizeof(j->identity.gateway_id)];
	int rc;

	if (store_is_complete(j->store) ||
	    (store_is_made(j->store) && j->role == JOURNAL_LOOK))
		return ERR_OK;
	if (store_is_made(j->store)) { /* of an earlier version */
		rc = journal_write(j, create_all, NULL);
		return rc == ERR_FULL ? ERR_OK : rc;
	}
	if (j->role == JOURNAL_LOOK || j->role == JOURNAL_ORDER || gateway_id == NULL) {
		log_error(LOG_JOURNAL, "%s: there is no journal", j->directory);
		return ERR_NOTFOUND;
	}
	if (strlen(gateway_id) >= sizeof(id))
		return ERR_INVALID;
	(void)snprintf(id, sizeof(id), "%s", gateway_id);
	rc = journal_write(j, create_all, id);
	if (rc == ERR_OK)
		rc = store_sync_directory(j->store);
	if (rc == ERR_OK)
		log_info(LOG_JOURNAL, "%s: there was no journal: a new one is made",
		    j->directory);
	return rc;
}

/* Of the batch that begins there the last number, where the batch can be believed. */
static int
last_of(struct journal *j, struct bytes value, uint64_t *last)
{
	struct buffer body = {0};
	struct batch_header h;
	int rc = guard_copy(&j->raw, value);

	if (rc == ERR_OK)
		rc = batch_decode(j->coder,
		    (struct bytes){.data = j->raw.data, .size = j->raw.size}, *last, &h,
		    &body);
	buffer_fini(&body);
	if (rc == ERR_OK && h.count <= UINT64_MAX - *last)
		*last += h.count - 1;
	return rc == ERR_NOMEM ? rc : ERR_OK;
}

/* The next number must be behind everything kept, or numbers would be used again. */
static int
check_next(struct journal *j)
{
	struct store_cursor *c = NULL;
	struct bytes key = {0}, value;
	uint64_t next, last;
	int rc;

	rc = journal_meta_next(j, &next);
	if (rc == ERR_OK)
		rc = store_cursor_open(j->store, STORE_LOG, &c);
	if (rc != ERR_OK)
		return rc;
	rc = store_cursor_get(c, STORE_LAST, &key, &value);
	store_cursor_close(c);
	if (rc == ERR_NOTFOUND)
		return ERR_OK;
	if (rc == ERR_OK)
		rc = journal_key_seq(key, &last);
	if (rc == ERR_OK)
		rc = last_of(j, value, &last);
	if (rc == ERR_OK && last < next)
		return ERR_OK;
	log_error(LOG_JOURNAL,
	    "%s: its next sequence number is not behind its last batch", j->directory);
	return rc == ERR_OK ? ERR_CORRUPT : rc;
}

static int
load_all(struct journal *j, uint64_t *max_bytes)
{
	int rc = store_begin_read(j->store);

	if (rc != ERR_OK)
		return rc;
	*max_bytes = 0;
	rc = journal_meta_load(j);
	if (rc == ERR_OK && j->role != JOURNAL_LOOK)
		rc = check_next(j);
	if (rc == ERR_OK)
		rc = journal_meta_get_u64(j, "max_bytes", max_bytes);
	store_end(j->store);
	return rc == ERR_NOTFOUND ? ERR_OK : rc; /* not yet told */
}

static int
check_identity(const struct journal *j, const char *gateway_id)
{
	struct buffer why = {0};
	int rc = journal_identity_check(j, gateway_id, &why);

	if (rc != ERR_OK)
		log_error(LOG_JOURNAL, "%s: %.*s", j->directory, (int)why.size,
		    why.size > 0 ? (const char *)why.data : err_str(rc));
	buffer_fini(&why);
	return rc;
}

static int
put_max_bytes(struct journal *j, void *context)
{
	(void)context;
	return journal_meta_put_u64(j, "max_bytes", j->max_bytes);
}

static int
allocate(struct journal **out, enum journal_role role, const char *directory)
{
	struct journal *j = calloc(1, sizeof(*j));

	*out = j;
	if (j == NULL)
		return ERR_NOMEM;
	j->role = role;
	j->lock_fds[JOURNAL_INGEST] = -1;
	j->lock_fds[JOURNAL_FORWARD] = -1;
	j->directory = strdup(directory);
	if (j->directory == NULL)
		return ERR_NOMEM;
	now_boot_id(j->boot_id);
	return batch_coder_open(&j->coder);
}

static int
settle(struct journal *j, const struct journal_options *o)
{
	uint64_t max_bytes = 0;
	int rc;

	rc = make_if_new(j, o->gateway_id);
	if (rc == ERR_OK)
		rc = load_all(j, &max_bytes);
	if (rc != ERR_OK)
		return rc;
	if (j->role == JOURNAL_LOOK || j->role == JOURNAL_ORDER ||
	    o->gateway_id == NULL) {
		j->max_bytes = max_bytes;
		return ERR_OK;
	}
	rc = check_identity(j, o->gateway_id);
	if (rc == ERR_OK)
		rc = journal_begin_to_use(j);
	if (rc != ERR_OK || max_bytes == j->max_bytes)
		return rc;
	rc = journal_write(j, put_max_bytes, NULL);
	return rc == ERR_FULL ? ERR_OK : rc; /* only told to those who look */
}

int
journal_open(
    struct journal **out, enum journal_role role, const struct journal_options *o)
{
	struct journal *j = NULL;
	int rc;

	*out = NULL;
	rc = allocate(&j, role, o->directory);
	if (rc != ERR_OK)
		goto fail;
	if (role == JOURNAL_INGEST || role == JOURNAL_FORWARD) {
		j->max_bytes = o->gateway_id != NULL ? o->max_bytes : 0;
		j->dead_max_bytes = o->gateway_id != NULL ? o->dead_max_bytes : 0;
		j->codec = o->codec;
		rc = take_lock(j, role, o->lock_wait_ms);
		if (rc != ERR_OK)
			goto fail;
	}
	rc = open_store(j, o->preallocate,
	    role == JOURNAL_ORDER || o->gateway_id == NULL, o->figures_only);
	if (rc == ERR_OK)
		rc = settle(j, o);
	if (rc != ERR_OK)
		goto fail;
	*out = j;
	return ERR_OK;
fail:
	journal_close(j);
	return rc;
}

static void
free_items(struct journal *j)
{
	for (size_t i = 0; i < j->item_capacity; i++)
		buffer_fini(&j->items[i].stored);
	free(j->items);
}

void
journal_close(struct journal *j)
{
	if (j == NULL)
		return;
	store_close(j->store);
	for (int i = 0; i < 2; i++)
		if (j->lock_fds[i] >= 0)
			(void)close(j->lock_fds[i]); /* lets the lock go */
	free_items(j);
	buffer_fini(&j->body);
	buffer_fini(&j->raw);
	for (size_t i = 0; i < j->route_count; i++)
		free(j->route_names[i]);
	free(j->route_names);
	batch_coder_close(j->coder);
	free(j->directory);
	free(j);
}

/* ---- housekeeping ---- */

int
journal_write(struct journal *j, journal_work *work, void *context)
{
	int rc = ERR_FULL;

	for (int i = 0; i < RELIEF_ATTEMPTS && rc == ERR_FULL; i++) {
		if (i > 0 && store_relieve(j->store) != ERR_OK)
			return ERR_FULL;
		rc = store_begin_write(j->store);
		if (rc != ERR_OK)
			continue;
		rc = work(j, context);
		if (rc == ERR_OK)
			rc = store_commit(j->store);
		else
			store_end(j->store);
	}
	return rc;
}

int
journal_readers_check(struct journal *j)
{
	return store_check_readers(j->store);
}

int
journal_lock_alone(struct journal **out, const char *directory)
{
	struct journal *j = NULL;
	int rc = allocate(&j, JOURNAL_FORWARD, directory);

	*out = NULL;
	if (rc == ERR_OK)
		rc = take_lock(j, JOURNAL_INGEST, 0);
	if (rc == ERR_OK)
		rc = take_lock(j, JOURNAL_FORWARD, 0);
	if (rc == ERR_OK)
		*out = j;
	else
		journal_close(j);
	return rc;
}

int
journal_open_bare(struct journal *j, uint64_t map_bytes)
{
	int rc;

	j->max_bytes = map_bytes;
	rc = open_store(j, false, map_bytes == 0, false);
	if (rc == ERR_OK && map_bytes == 0 && !store_is_made(j->store)) {
		log_error(LOG_JOURNAL, "%s: there is no journal", j->directory);
		rc = ERR_NOTFOUND;
	}
	return rc;
}

int
journal_open_alone(struct journal **out, const char *directory)
{
	struct journal *j = NULL;
	int rc = journal_lock_alone(&j, directory);

	*out = NULL;
	if (rc == ERR_OK)
		rc = journal_open_bare(j, 0);
	if (rc == ERR_OK)
		rc = load_all(j, &j->max_bytes);
	if (rc == ERR_OK)
		*out = j;
	else
		journal_close(j);
	return rc;
}
