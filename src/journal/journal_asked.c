/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each route asks for, kept beside its position. A position says "nothing before
 * me is owed" only for the filters with which it got there; when they change, the
 * journal may hold what the route now asks for and was past.
 *
 * Invariant: a route whose text has changed stands where the slowest stands, in the
 * transaction that stores the new text. So the text and the position belong together,
 * whenever a crash comes.
 */
#include "journal_private.h"

#include <stdlib.h>
#include <string.h>

#include "err.h"

#define PASSED_FIXED 8 /* bytes before the text */

struct asking {
	const char *const *asked;
	uint64_t *acked;
	struct journal_passed *passed;
};

static int
get_passed(struct journal *j, const char *route, uint64_t *until_seq, char **asked)
{
	char key[JOURNAL_KEY_BYTES];
	struct bytes value;
	int rc = journal_meta_route_key("passed", route, key);

	if (rc == ERR_OK)
		rc = journal_meta_get(j, key, &value);
	if (rc == ERR_OK && value.size < PASSED_FIXED)
		rc = ERR_CORRUPT;
	if (rc != ERR_OK)
		return rc;
	*asked =
	    strndup((const char *)value.data + PASSED_FIXED, value.size - PASSED_FIXED);
	if (*asked == NULL)
		return ERR_NOMEM;
	*until_seq = le64_get(value.data);
	return ERR_OK;
}

static int
put_passed(struct journal *j, const char *route, uint64_t until_seq, struct bytes asked)
{
	char key[JOURNAL_KEY_BYTES];
	struct buffer value = {0};
	uint8_t number[PASSED_FIXED];
	int rc = journal_meta_route_key("passed", route, key);

	le64_put(number, until_seq);
	if (rc == ERR_OK)
		rc = buffer_append(&value, number, sizeof(number));
	if (rc == ERR_OK)
		rc = buffer_append(&value, asked.data, asked.size);
	if (rc == ERR_OK)
		rc = journal_meta_put(j, key, value.data, value.size);
	buffer_fini(&value);
	return rc;
}

/*
 * The route asked for something else before. Twice within one backlog: what it has had
 * is not known any more, and it gets all of it again.
 */
static int
send_back(struct journal *j, const char *route, struct bytes before, uint64_t *acked,
    bool is_on_its_way)
{
	struct bytes nothing = {"", 0};
	uint64_t start = 0;
	int rc = journal_slowest(j, &start);

	if (rc == ERR_OK && is_on_its_way)
		rc = put_passed(j, route, 0, nothing);
	else if (rc == ERR_OK)
		rc = put_passed(j, route, *acked, before);
	if (rc == ERR_OK)
		rc = journal_acked_put(j, route, start);
	if (rc == ERR_OK)
		*acked = start;
	return rc;
}

static int
ask_one(struct journal *j, const char *route, const char *asked, uint64_t *acked,
    struct journal_passed *passed)
{
	char key[JOURNAL_KEY_BYTES];
	struct bytes before = {0};
	int rc = journal_meta_route_key("asked", route, key);

	free(passed->asked); /* of an earlier try at this transaction */
	*passed = (struct journal_passed){0};
	if (rc == ERR_OK)
		rc = journal_meta_get(j, key, &before);
	if (rc == ERR_NOTFOUND)
		return journal_meta_put(j, key, asked, strlen(asked));
	if (rc == ERR_OK)
		rc = get_passed(j, route, &passed->until_seq, &passed->asked);
	if (rc != ERR_OK && rc != ERR_NOTFOUND)
		return rc;
	if (before.size == strlen(asked) &&
	    memcmp(before.data, asked, before.size) == 0)
		return ERR_OK;
	rc = send_back(j, route, before, acked, passed->until_seq > *acked);
	if (rc == ERR_OK)
		rc = journal_meta_put(j, key, asked, strlen(asked));
	free(passed->asked);
	*passed = (struct journal_passed){0};
	return rc != ERR_OK ? rc
			    : get_passed(j, route, &passed->until_seq, &passed->asked);
}

static int
ask(struct journal *j, void *context)
{
	struct asking *a = context;
	int rc = ERR_OK;

	for (size_t i = 0; rc == ERR_OK && i < j->route_count; i++) {
		rc = journal_acked_get(j, j->route_names[i], &a->acked[i]);
		if (rc == ERR_OK && a->asked[i] != NULL)
			rc = ask_one(j, j->route_names[i], a->asked[i], &a->acked[i],
			    &a->passed[i]);
	}
	return rc;
}

int
journal_routes_ask(struct journal *j, const char *const asked[], uint64_t acked_seq[],
    struct journal_passed passed[])
{
	struct asking a = {.asked = asked};
	int rc = ERR_NOMEM;

	a.acked = calloc(j->route_count + 1, sizeof(*a.acked));
	a.passed = calloc(j->route_count + 1, sizeof(*a.passed));
	if (a.acked != NULL && a.passed != NULL)
		rc = journal_write(j, ask, &a);
	for (size_t i = 0; a.passed != NULL && i < j->route_count; i++) {
		if (rc != ERR_OK) {
			free(a.passed[i].asked);
			continue;
		}
		acked_seq[i] = a.acked[i];
		passed[i] = a.passed[i];
	}
	free(a.acked);
	free(a.passed);
	return rc;
}

int
journal_asked_forget(struct journal *j, const char *route)
{
	static const char *const kinds[] = {"asked", "passed", "sent"};
	int rc = ERR_OK;

	for (size_t i = 0; rc == ERR_OK && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		char key[JOURNAL_KEY_BYTES];

		rc = journal_meta_route_key(kinds[i], route, key);
		if (rc == ERR_OK)
			rc = store_delete(j->store, STORE_META,
			    (struct bytes){.data = key, .size = strlen(key)});
	}
	return rc;
}
