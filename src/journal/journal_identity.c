/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose journal it is: gateway, machine and UUID.
 *
 * Invariant: a UUID is never that of another journal that goes on by itself: a copy gets
 * one of its own, before anything is written to it.
 */
#include "journal_private.h"

#include <string.h>

#include "err.h"

int
journal_identity_check(
    const struct journal *j, const char *gateway_id, struct buffer *why)
{
	const struct journal_identity *id = &j->identity;
	char machine[33];
	int rc;

	if (strcmp(id->gateway_id, gateway_id) != 0) {
		rc = buffer_printf(why,
		    "belongs to gateway \"%s\", the configuration says \"%s\". If "
		    "the journal was moved here or the gateway renamed: "
		    "\"tidegate-admin adopt\"; "
		    "if it is a copy: \"tidegate-admin new-identity\"",
		    id->gateway_id, gateway_id);
		return rc != ERR_OK ? rc : ERR_IDENTITY;
	}
	journal_machine_id(machine);
	if (id->machine_id[0] != '\0' && machine[0] != '\0' &&
	    strcmp(id->machine_id, machine) != 0) {
		rc = buffer_append_str(why,
		    "was made on another machine. If it was moved here: "
		    "\"tidegate-admin adopt\"; if this machine is a clone of the "
		    "other: "
		    "\"tidegate-admin new-identity\"");
		return rc != ERR_OK ? rc : ERR_IDENTITY;
	}
	return ERR_OK;
}

struct change {
	const char *gateway_id; /* NULL: as it is */
	bool is_copy;
	bool is_unused; /* and nobody has worked with it yet */
};

static int
change_identity(struct journal *j, void *context)
{
	const struct change *change = context;
	const char *gateway_id = change->gateway_id;
	uint8_t uuid[16];
	char machine[33];
	int rc = ERR_OK;

	if (gateway_id != NULL)
		rc = journal_meta_put(j, "gateway", gateway_id, strlen(gateway_id));
	journal_machine_id(machine);
	if (rc == ERR_OK && !change->is_unused)
		rc = journal_meta_put(j, "machine", machine, strlen(machine));
	if (rc != ERR_OK || !change->is_copy)
		return rc;
	rc = journal_uuid_make(uuid);
	if (rc == ERR_OK)
		rc = journal_meta_put(j, "parent", j->identity.uuid, 16);
	if (rc == ERR_OK)
		rc = journal_meta_put(j, "uuid", uuid, sizeof(uuid));
	if (rc == ERR_OK && change->is_unused)
		rc = journal_meta_put_u64(j, "unused", 1);
	return rc;
}

/* The other role may have been here first. */
static int
begin_to_use(struct journal *j, void *context)
{
	uint8_t uuid[16];
	uint64_t mark;
	int rc = journal_meta_get_u64(j, "unused", &mark);

	(void)context;
	if (rc != ERR_OK)
		return rc == ERR_NOTFOUND ? ERR_OK : rc;
	rc = journal_uuid_make(uuid);
	if (rc == ERR_OK)
		rc = journal_meta_put(j, "uuid", uuid, sizeof(uuid));
	if (rc == ERR_OK)
		rc = store_delete(j->store, STORE_META, (struct bytes){"unused", 6});
	return rc;
}

int
journal_identity_load(struct journal *j)
{
	int rc = store_begin_read(j->store);

	if (rc != ERR_OK)
		return rc;
	rc = journal_meta_load(j);
	store_end(j->store);
	return rc;
}

int
journal_begin_to_use(struct journal *j)
{
	uint64_t mark;
	int rc = store_begin_read(j->store);

	if (rc != ERR_OK)
		return rc;
	rc = journal_meta_get_u64(j, "unused", &mark);
	store_end(j->store);
	if (rc != ERR_OK)
		return rc == ERR_NOTFOUND ? ERR_OK : rc;
	rc = journal_write(j, begin_to_use, NULL);
	return rc == ERR_OK ? journal_identity_load(j) : rc;
}

int
journal_renew_identity(struct journal *j)
{
	struct change what = {.is_copy = true};
	int rc = journal_write(j, change_identity, &what);

	return rc == ERR_OK ? journal_identity_load(j) : rc;
}

static int
change(const char *directory, struct change what)
{
	struct journal *j = NULL;
	int rc;

	if (what.gateway_id != NULL &&
	    strlen(what.gateway_id) >= sizeof(j->identity.gateway_id))
		return ERR_INVALID;
	rc = journal_open_alone(&j, directory);
	if (rc == ERR_OK)
		rc = journal_write(j, change_identity, &what);
	journal_close(j);
	return rc;
}

int
journal_adopt(const char *directory, const char *gateway_id)
{
	return change(directory, (struct change){.gateway_id = gateway_id});
}

int
journal_new_identity(const char *directory, const char *gateway_id)
{
	return change(
	    directory, (struct change){.gateway_id = gateway_id, .is_copy = true});
}

int
journal_copy_identity(const char *directory)
{
	return change(directory, (struct change){.is_copy = true, .is_unused = true});
}
