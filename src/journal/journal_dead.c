/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Burying: a record goes into dead. What takes it out again is in journal_letters.c.
 *
 * Failure modes: dead_max_bytes is used up, also by batches that were found damaged: the
 * letter is refused, and whoever wanted to bury it keeps the record in the log.
 */
#include "journal_private.h"

#include <string.h>

#include "err.h"

struct burial {
	struct bytes key;
	struct bytes value;
};

static int
put_dead(struct journal *j, void *context)
{
	const struct burial *b = context;

	return store_put(j->store, STORE_DEAD, b->key, b->value, STORE_KEEP);
}

/* Is it there already? Else: is there room for it within dead_max_bytes? */
static int
check_dead(struct journal *j, const struct burial *b, bool *is_there)
{
	struct store_pages pages = {0};
	struct bytes value;
	uint64_t entries, used = 0, damaged = 0, wanted, reach;
	int rc;

	rc = store_begin_read(j->store);
	if (rc != ERR_OK)
		return rc;
	rc = store_get(j->store, STORE_DEAD, b->key, &value);
	*is_there = rc == ERR_OK;
	if (rc == ERR_NOTFOUND)
		rc = store_pages(j->store, &pages);
	if (rc == ERR_OK)
		rc = store_db_size(j->store, STORE_DEAD, &entries, &used);
	if (rc == ERR_OK)
		rc = store_db_size(j->store, STORE_DAMAGED, &entries, &damaged);
	store_end(j->store);
	if (rc != ERR_OK || *is_there)
		return rc;
	wanted = b->value.size / pages.page_bytes + 2;
	if ((used + damaged + wanted) * pages.page_bytes > j->dead_max_bytes)
		return ERR_FULL;
	return store_take(j->store,
	    (pages.end + wanted + JOURNAL_EXTRA_PAGES) * pages.page_bytes, &reach);
}

static int
make_key(
    uint8_t data[JOURNAL_KEY_BYTES], uint64_t seq, const char *route, struct bytes *key)
{
	size_t size = strlen(route);

	if (size == 0 || 8 + size >= JOURNAL_KEY_BYTES)
		return ERR_INVALID;
	be64_put(data, seq);
	memcpy(data + 8, route, size);
	*key = (struct bytes){.data = data, .size = 8 + size};
	return ERR_OK;
}

int
journal_is_buried(struct journal *j, uint64_t seq, const char *route)
{
	uint8_t data[JOURNAL_KEY_BYTES];
	struct bytes key, value;
	int rc = make_key(data, seq, route, &key);

	if (rc == ERR_OK)
		rc = store_begin_read(j->store);
	if (rc != ERR_OK)
		return rc;
	rc = store_get(j->store, STORE_DEAD, key, &value);
	store_end(j->store);
	return rc;
}

int
journal_bury(struct journal *j, uint64_t seq, const char *route,
    const struct dead_letter *letter)
{
	uint8_t data[JOURNAL_KEY_BYTES];
	struct burial b;
	struct buffer value = {0};
	bool is_there = false;
	int rc = make_key(data, seq, route, &b.key);

	if (rc != ERR_OK)
		return rc;
	rc = dead_letter_encode(letter, &value);
	b.value = (struct bytes){.data = value.data, .size = value.size};
	if (rc == ERR_OK)
		rc = check_dead(j, &b, &is_there);
	if (rc == ERR_OK && !is_there)
		rc = journal_write(j, put_dead, &b);
	buffer_fini(&value);
	return rc;
}
