/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Change a journal that nobody has open, as another version of the program might:
 *
 *   change_journal DIR put DATABASE NAME HEX  an entry; the database is made if need be
 *   change_journal DIR get DATABASE NAME      its value in hex; 1 where it is not there
 *   change_journal DIR later-batch            the last batch is of a later version
 *   change_journal DIR strange-record         append a record with a field more
 *
 * Exit status: 0 done, 1 it failed, 2 usage.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libdeflate.h>
#include <lmdb.h>

#include "batch.h"
#include "buffer.h"
#include "record.h"

#define MAX_DATABASES 16

static void
fail_on(int rc, const char *what)
{
	if (rc == MDB_SUCCESS)
		return;
	(void)fprintf(
	    stderr, "change_journal: %s: %d %s\n", what, rc, mdb_strerror(rc));
	exit(1);
}

static MDB_val
value_of(const void *data, size_t size)
{
	union {
		const void *in;
		void *out;
	} pointer = {.in = data};

	return (MDB_val){.mv_data = pointer.out, .mv_size = size};
}

static void
put(MDB_txn *txn, const char *database, const char *name, const char *hex)
{
	unsigned char bytes[256];
	size_t size = strlen(hex) / 2;
	MDB_val key = value_of(name, strlen(name)), value = value_of(bytes, size);
	MDB_dbi dbi;

	for (size_t i = 0; i < size && i < sizeof(bytes); i++) {
		const char pair[3] = {hex[2 * i], hex[2 * i + 1], '\0'};

		bytes[i] = (unsigned char)strtoul(pair, NULL, 16);
	}
	fail_on(mdb_dbi_open(txn, database, MDB_CREATE, &dbi), database);
	fail_on(mdb_put(txn, dbi, &key, &value, 0), name);
}

static void
get(MDB_txn *txn, const char *database, const char *name)
{
	MDB_val key = value_of(name, strlen(name)), value;
	MDB_dbi dbi;

	fail_on(mdb_dbi_open(txn, database, 0, &dbi), database);
	fail_on(mdb_get(txn, dbi, &key, &value), name);
	for (size_t i = 0; i < value.mv_size; i++)
		(void)printf("%02x", ((const unsigned char *)value.mv_data)[i]);
	(void)printf("\n");
}

static void
put_later_batch(MDB_txn *txn)
{
	unsigned char *copy;
	MDB_cursor *cursor;
	MDB_val key, value;
	MDB_dbi dbi;
	uint32_t crc;

	fail_on(mdb_dbi_open(txn, "log", 0, &dbi), "log");
	fail_on(mdb_cursor_open(txn, dbi, &cursor), "cursor");
	fail_on(mdb_cursor_get(cursor, &key, &value, MDB_LAST), "last batch");
	copy = malloc(value.mv_size);
	if (copy == NULL)
		exit(1);
	memcpy(copy, value.mv_data, value.mv_size);
	copy[0] = BATCH_VERSION + 1;
	memset(copy + 8, 0, 4); /* the checksum counts as zero */
	crc = libdeflate_crc32(0, copy, value.mv_size);
	for (int i = 0; i < 4; i++)
		copy[8 + i] = (unsigned char)(crc >> 8 * i);
	value.mv_data = copy;
	fail_on(mdb_cursor_put(cursor, &key, &value, MDB_CURRENT), "batch");
	mdb_cursor_close(cursor);
	free(copy);
}

/* A record's map has small integer keys: one more, of a meaning that nobody knows. */
static void
encode_strange(struct buffer *body)
{
	static const unsigned char field[] = {0x7e, 0xa3, 'n', 'e', 'w'};
	const struct record r = {.received_ms = 1795514400000U,
	    .topic = {"t/strange", 9},
	    .payload = {"strange", 7},
	    .qos = 1};

	fail_on(record_encode(&r, body), "encode");
	if ((body->data[0] & 0xf0) != 0x80 || body->data[0] == 0x8f)
		exit(1);
	body->data[0]++;
	fail_on(buffer_append(body, field, sizeof(field)), "encode");
}

static void
append_strange(MDB_txn *txn)
{
	struct buffer body = {0}, out = {0};
	struct batch_header h = {.count = 1, .real_ms = 1795514400000U};
	struct batch_coder *coder;
	unsigned char number[8], next[8];
	MDB_val key = value_of("next", 4), value;
	MDB_dbi meta, log;

	fail_on(mdb_dbi_open(txn, "meta", 0, &meta), "meta");
	fail_on(mdb_dbi_open(txn, "log", 0, &log), "log");
	fail_on(mdb_get(txn, meta, &key, &value), "next");
	for (int i = 7; i >= 0; i--)
		h.base_seq = h.base_seq << 8 | ((unsigned char *)value.mv_data)[i];
	encode_strange(&body);
	fail_on(batch_coder_open(&coder), "coder");
	fail_on(batch_encode(coder, BATCH_CODEC_NONE,
		    (struct bytes){body.data, body.size}, &h, &out),
	    "batch");
	batch_seal(&h, &out);
	for (int i = 0; i < 8; i++) {
		number[i] = (unsigned char)(h.base_seq >> 8 * (7 - i));
		next[i] = (unsigned char)((h.base_seq + 1) >> 8 * i);
	}
	value = value_of(next, sizeof(next));
	fail_on(mdb_put(txn, meta, &key, &value, 0), "next");
	key = value_of(number, sizeof(number));
	value = value_of(out.data, out.size);
	fail_on(mdb_put(txn, log, &key, &value, 0), "batch");
	batch_coder_close(coder);
	buffer_fini(&body);
	buffer_fini(&out);
}

int
main(int argc, char *argv[])
{
	const char *command = argc > 2 ? argv[2] : "";
	MDB_env *env;
	MDB_txn *txn;

	if (argc < 3)
		return 2;
	fail_on(mdb_env_create(&env), "environment");
	fail_on(mdb_env_set_maxdbs(env, MAX_DATABASES), "environment");
	fail_on(mdb_env_open(env, argv[1], 0, 0640), argv[1]);
	fail_on(mdb_txn_begin(env, NULL, 0, &txn), "transaction");
	if (strcmp(command, "put") == 0 && argc == 6)
		put(txn, argv[3], argv[4], argv[5]);
	else if (strcmp(command, "get") == 0 && argc == 5)
		get(txn, argv[3], argv[4]);
	else if (strcmp(command, "later-batch") == 0)
		put_later_batch(txn);
	else if (strcmp(command, "strange-record") == 0)
		append_strange(txn);
	else
		return 2;
	fail_on(mdb_txn_commit(txn), "commit");
	mdb_env_close(env);
	return fflush(stdout) == 0 ? 0 : 1;
}
