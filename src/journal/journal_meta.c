/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal's meta database: format, identity, next sequence number, positions,
 * subscriptions.
 *
 * Invariant: nothing read here is kept over the end of its transaction, but for the
 * identity, which changes only while nobody else has the journal.
 */
#include "journal_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "err.h"
#include "guard.h"

#define MACHINE_ID_FILE "/etc/machine-id"

static struct bytes
key_of(const char *name)
{
	return (struct bytes){.data = name, .size = strlen(name)};
}

int
journal_meta_get(struct journal *j, const char *name, struct bytes *value)
{
	return store_get(j->store, STORE_META, key_of(name), value);
}

int
journal_meta_put(struct journal *j, const char *name, const void *data, size_t size)
{
	struct bytes value = {.data = data, .size = size};

	return store_put(j->store, STORE_META, key_of(name), value, STORE_REPLACE);
}

int
journal_meta_get_u64(struct journal *j, const char *name, uint64_t *n)
{
	struct bytes value;
	int rc = journal_meta_get(j, name, &value);

	if (rc != ERR_OK)
		return rc;
	if (value.size != 8)
		return ERR_CORRUPT;
	*n = le64_get(value.data);
	return ERR_OK;
}

int
journal_meta_put_u64(struct journal *j, const char *name, uint64_t n)
{
	uint8_t data[8];

	le64_put(data, n);
	return journal_meta_put(j, name, data, sizeof(data));
}

int
journal_meta_next(struct journal *j, uint64_t *next)
{
	uint64_t n = 0;
	int rc = journal_meta_get_u64(j, "next", &n);

	if (rc == ERR_NOTFOUND || (rc == ERR_OK && n == 0))
		rc = ERR_CORRUPT;
	if (rc == ERR_CORRUPT)
		log_error(LOG_JOURNAL,
		    "%s: its next sequence number is missing or damaged", j->directory);
	if (rc == ERR_OK)
		*next = n;
	return rc;
}

int
journal_meta_route_key(const char *kind, const char *route, char key[JOURNAL_KEY_BYTES])
{
	int n = snprintf(key, JOURNAL_KEY_BYTES, "%s/%s", kind, route);

	/* LMDB takes keys of up to 511 bytes. */
	return n < 0 || n >= JOURNAL_KEY_BYTES ? ERR_INVALID : ERR_OK;
}

int
journal_meta_positions(struct journal *j, journal_position_visit *visit, void *context)
{
	struct bytes key = {.data = "ack/", .size = 4}, value;
	struct store_cursor *c = NULL;
	int rc;

	rc = store_cursor_open(j->store, STORE_META, &c);
	if (rc != ERR_OK)
		return rc;
	rc = store_cursor_get(c, STORE_SEEK, &key, &value);
	while (rc == ERR_OK && key.size > 4 && memcmp(key.data, "ack/", 4) == 0) {
		struct bytes route = {
		    .data = (const char *)key.data + 4, .size = key.size - 4};

		rc = value.size != 8 ? ERR_CORRUPT
				     : visit(context, c, route, le64_get(value.data));
		if (rc == ERR_OK)
			rc = store_cursor_get(c, STORE_NEXT, &key, &value);
	}
	store_cursor_close(c);
	return rc == ERR_NOTFOUND ? ERR_OK : rc;
}

/* ---- identity ---- */

void
journal_machine_id(char id[33])
{
	FILE *f = fopen(MACHINE_ID_FILE, "re");

	id[0] = '\0';
	if (f == NULL)
		return;
	if (fgets(id, 33, f) == NULL || strspn(id, "0123456789abcdef") != 32)
		id[0] = '\0';
	(void)fclose(f); /* only read from */
}

int
journal_uuid_make(uint8_t uuid[16])
{
	if (getrandom(uuid, 16, 0) != 16)
		return ERR_IO;
	uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40);
	uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
	return ERR_OK;
}

void
journal_uuid_text(const uint8_t uuid[16], char text[37])
{
	char *at = text;

	for (int i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*at++ = '-';
		(void)snprintf(at, 3, "%02x", uuid[i]);
		at += 2;
	}
}

int
journal_meta_create(struct journal *j, const char *gateway_id)
{
	static const uint8_t format[4] = {JOURNAL_FORMAT, 0, 0, 0};
	struct bytes there;
	uint8_t uuid[16];
	char machine[33];
	int rc;

	rc = journal_meta_get(j, "format", &there);
	if (rc != ERR_NOTFOUND)
		return rc;
	rc = journal_uuid_make(uuid);
	if (rc == ERR_OK)
		rc = journal_meta_put(j, "format", format, sizeof(format));
	if (rc == ERR_OK)
		rc = journal_meta_put(j, "uuid", uuid, sizeof(uuid));
	if (rc == ERR_OK)
		rc = journal_meta_put(j, "gateway", gateway_id, strlen(gateway_id));
	journal_machine_id(machine);
	if (rc == ERR_OK)
		rc = journal_meta_put(j, "machine", machine, strlen(machine));
	if (rc == ERR_OK)
		rc = journal_meta_put_u64(j, "next", 1);
	return rc;
}

static int
load_text(struct journal *j, const char *name, char *text, size_t size)
{
	struct bytes value;
	int rc = journal_meta_get(j, name, &value);

	if (rc == ERR_NOTFOUND || (rc == ERR_OK && value.size >= size))
		return ERR_CORRUPT;
	if (rc != ERR_OK)
		return rc;
	memcpy(text, value.data, value.size);
	text[value.size] = '\0';
	return ERR_OK;
}

static int
load_uuid(struct journal *j, const char *name, uint8_t uuid[16])
{
	struct bytes value;
	int rc = journal_meta_get(j, name, &value);

	if (rc == ERR_OK && value.size != 16)
		rc = ERR_CORRUPT;
	if (rc == ERR_OK)
		memcpy(uuid, value.data, 16);
	return rc;
}

static int
later_version(const char *directory, const char *what, uint32_t version, int known)
{
	log_error(LOG_JOURNAL,
	    "%s: %s of version %" PRIu32 ", and this program knows version %d: use the "
	    "Tidegate that wrote it, or a later one. It is left as it is",
	    directory, what, version, known);
	return ERR_VERSION;
}

int
journal_format_check(const char *directory, struct bytes format)
{
	uint32_t version;

	if (format.size != 4)
		return ERR_CORRUPT;
	version = le32_get(format.data);
	if (version > JOURNAL_FORMAT)
		return later_version(
		    directory, "its format is", version, JOURNAL_FORMAT);
	return version == 0 ? ERR_CORRUPT : ERR_OK;
}

/* One that cannot be read for other reasons is met by who reads it. */
static int
check_last_batch(struct journal *j, struct store *s)
{
	struct store_cursor *c = NULL;
	struct bytes key = {0}, value;
	int rc = store_cursor_open(s, STORE_LOG, &c);

	if (rc != ERR_OK)
		return rc;
	rc = store_cursor_get(c, STORE_LAST, &key, &value);
	store_cursor_close(c);
	if (rc != ERR_OK)
		return rc;
	rc = guard_copy(&j->raw, value);
	if (rc == ERR_OK && batch_is_later((struct bytes){j->raw.data, j->raw.size}))
		return later_version(
		    j->directory, "its latest batch is", j->raw.data[0], BATCH_VERSION);
	return rc == ERR_NOMEM ? rc : ERR_OK;
}

int
journal_accept(void *context, struct store *s)
{
	static const struct bytes name = {"format", 6};
	struct journal *j = context;
	struct bytes format;
	int rc = store_get(s, STORE_META, name, &format);

	if (rc == ERR_OK)
		rc = journal_format_check(j->directory, format);
	if (rc == ERR_OK)
		rc = check_last_batch(j, s);
	/* What is missing or damaged is told by who loads it. */
	return rc == ERR_NOTFOUND || rc == ERR_CORRUPT ? ERR_OK : rc;
}

static int
check_format(struct journal *j)
{
	struct bytes value;
	int rc = journal_meta_get(j, "format", &value);

	if (rc == ERR_NOTFOUND)
		return ERR_CORRUPT;
	return rc != ERR_OK ? rc : journal_format_check(j->directory, value);
}

int
journal_meta_load(struct journal *j)
{
	struct journal_identity id = {0};
	int rc;

	rc = check_format(j);
	if (rc == ERR_VERSION)
		return rc;
	if (rc == ERR_OK)
		rc = load_uuid(j, "uuid", id.uuid);
	if (rc == ERR_OK) {
		rc = load_uuid(j, "parent", id.parent);
		if (rc == ERR_NOTFOUND)
			rc = ERR_OK; /* not a copy */
	}
	if (rc == ERR_OK)
		rc = load_text(j, "gateway", id.gateway_id, sizeof(id.gateway_id));
	if (rc == ERR_OK)
		rc = load_text(j, "machine", id.machine_id, sizeof(id.machine_id));
	if (rc == ERR_NOTFOUND)
		rc = ERR_CORRUPT;
	if (rc == ERR_CORRUPT)
		log_error(LOG_JOURNAL, "%s: its identity is missing or damaged",
		    j->directory);
	if (rc == ERR_OK)
		j->identity = id;
	return rc;
}

const struct journal_identity *
journal_identity(const struct journal *j)
{
	return &j->identity;
}

/* ---- subscriptions ---- */

void
journal_subscriptions_fini(struct journal_subscriptions *s)
{
	for (size_t i = 0; i < s->count; i++)
		free(s->list[i].filter);
	free(s->list);
	*s = (struct journal_subscriptions){0};
}

static int
append_number(struct buffer *out, uint32_t n, size_t width)
{
	uint8_t data[4];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(n >> (8 * i));
	return buffer_append(out, data, width);
}

static int
add_subscription(
    struct journal_subscriptions *s, uint32_t id, const void *filter, size_t size)
{
	struct journal_subscription *list;

	list = realloc(s->list, (s->count + 1) * sizeof(*list));
	if (list == NULL)
		return ERR_NOMEM;
	s->list = list;
	list[s->count].id = id;
	list[s->count].filter = strndup(filter, size);
	if (list[s->count].filter == NULL)
		return ERR_NOMEM;
	s->count++;
	return ERR_OK;
}

static int
decode_subscriptions(struct bytes value, struct journal_subscriptions *s)
{
	const uint8_t *at = value.data;
	size_t left = value.size;

	if (left < 4)
		return ERR_CORRUPT;
	s->next_id = le32_get(at);
	at += 4;
	left -= 4;
	while (left > 0) {
		size_t size;
		int rc;

		if (left < 6)
			return ERR_CORRUPT;
		size = (size_t)at[4] | (size_t)at[5] << 8;
		if (left - 6 < size)
			return ERR_CORRUPT;
		rc = add_subscription(s, le32_get(at), at + 6, size);
		if (rc != ERR_OK)
			return rc;
		at += 6 + size;
		left -= 6 + size;
	}
	return s->next_id == 0 ? ERR_CORRUPT : ERR_OK;
}

int
journal_subscriptions_load(struct journal *j, struct journal_subscriptions *out)
{
	struct journal_subscriptions s = {.next_id = 1};
	struct bytes value;
	int rc;

	rc = store_begin_read(j->store);
	if (rc != ERR_OK)
		return rc;
	rc = journal_meta_get(j, "subscriptions", &value);
	if (rc == ERR_OK)
		rc = decode_subscriptions(value, &s);
	else if (rc == ERR_NOTFOUND)
		rc = ERR_OK; /* none was ever asked for */
	store_end(j->store);
	if (rc == ERR_CORRUPT)
		log_error(LOG_JOURNAL, "%s: its list of subscriptions is damaged",
		    j->directory);
	if (rc != ERR_OK) {
		journal_subscriptions_fini(&s);
		return rc;
	}
	*out = s;
	return ERR_OK;
}

static int
put_subscriptions(struct journal *j, void *context)
{
	const struct buffer *b = context;

	return journal_meta_put(j, "subscriptions", b->data, b->size);
}

int
journal_subscriptions_save(struct journal *j, const struct journal_subscriptions *s)
{
	struct buffer b = {0};
	int rc;

	rc = append_number(&b, s->next_id, 4);
	for (size_t i = 0; rc == ERR_OK && i < s->count; i++) {
		size_t size = strlen(s->list[i].filter);

		rc = size > UINT16_MAX ? ERR_INVALID
				       : append_number(&b, s->list[i].id, 4);
		if (rc == ERR_OK)
			rc = append_number(&b, (uint32_t)size, 2);
		if (rc == ERR_OK)
			rc = buffer_append(&b, s->list[i].filter, size);
	}
	if (rc == ERR_OK)
		rc = journal_write(j, put_subscriptions, &b);
	buffer_fini(&b);
	return rc;
}
