/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Make a journal for the tests of tidegate-dump, and damage it:
 *
 *   make_journal [-n N] [-k PER_COMMIT] [-z] [-w] [-p] [-l] [-a SEQ] [-b SEQ] [-B SEQ]
 *                [-x SEQ] [-m SEQ] DIR
 *
 * Record number SEQ arrives at 2026-11-24T10:00:00Z plus SEQ seconds under the topic
 * site/SEQ%10/sensor with the payload "record-SEQ;" (nine digits). With -p it has every
 * property; -w puts bytes into topic and payload that no terminal should see; -l stages
 * a record in the middle that is too large for the journal. Then: -a acknowledges up to
 * SEQ (route "default"), -b buries SEQ, -B buries SEQ as a letter that does not decode,
 * -x flips a bit in the stored record SEQ (not with -z), -m deletes the batch that begins
 * with SEQ. Without -n nothing is appended.
 */
#include <endian.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <lmdb.h>

#include "err.h"
#include "journal.h"

#define FIRST_MS 1795514400000U
#define LITERAL(text)                    \
	{                                \
		(text), sizeof(text) - 1 \
	}

struct order {
	const char *directory;
	uint64_t count;
	uint64_t per_commit;
	enum batch_codec codec;
	bool is_awkward;
	bool has_properties;
	bool has_large;
	uint64_t acked_seq;
	uint64_t dead_seq;
	uint64_t bad_dead_seq;
	uint64_t damaged_seq;
	uint64_t missing_seq;
};

static const struct user_property properties[] = {
    {LITERAL("client-id"), LITERAL("dev-1")},
    {LITERAL("repeated"), LITERAL("first")},
    {LITERAL("repeated"), LITERAL("second")},
    {LITERAL("awkward\xff"), LITERAL("\x1b[2J")},
};

static void
fail_on(int err, const char *what)
{
	if (err == 0)
		return;
	fprintf(stderr, "make_journal: %s: %s\n", what, err_str(err));
	exit(1);
}

static struct journal *
open_journal(const struct order *o, enum journal_role role)
{
	struct journal_options options = {
	    .directory = o->directory,
	    .gateway_id = "test",
	    .max_bytes = (uint64_t)1 << 30,
	    .dead_max_bytes = (uint64_t)1 << 24,
	    .codec = o->codec,
	};
	struct journal *j;

	if (o->has_large)
		options.max_bytes = (uint64_t)16 << 20;
	fail_on(journal_open(&j, role, &options), "journal_open");
	return j;
}

static void
make_record(const struct order *o, uint64_t seq, struct record *r)
{
	static char topic[64];
	static char payload[256];
	static const struct bytes awkward_topic =
	    LITERAL("a\0b\xff\x1b[31m\xe2\x80\xae");
	int length;

	length = snprintf(topic, sizeof(topic), "site/%u/sensor", (unsigned)(seq % 10));
	*r = (struct record){
	    .received_ms = FIRST_MS + seq * 1000,
	    .topic = {topic, (size_t)length},
	    .qos = 1,
	};
	length = snprintf(payload, sizeof(payload), "record-%09" PRIu64 ";", seq);
	r->payload = (struct bytes){payload, (size_t)length};
	if (o->is_awkward) {
		static const char bytes[] = "\x1b]0;title\x07\0\xc2\x9b\xff\r\n";

		memcpy(payload + length, bytes, sizeof(bytes) - 1);
		r->payload.size += sizeof(bytes) - 1;
		r->topic = awkward_topic;
	}
	if (!o->has_properties)
		return;
	r->retain = true;
	r->has_payload_format = true;
	r->payload_format = 1;
	r->has_message_expiry = true;
	r->message_expiry_s = 60;
	r->subscription_id = 5;
	r->content_type = (struct bytes)LITERAL("text/plain");
	r->response_topic = (struct bytes)LITERAL("answer");
	r->correlation_data = (struct bytes)LITERAL("\x01\x02");
	r->user_properties = properties;
	r->user_property_count = sizeof(properties) / sizeof(properties[0]);
}

static void
append(const struct order *o)
{
	struct journal *j = open_journal(o, JOURNAL_INGEST);
	static char large[2 << 20];

	for (uint64_t seq = 1; seq <= o->count; seq++) {
		struct record r;

		make_record(o, seq, &r);
		if (o->has_large && seq == o->count / 2)
			r.payload = (struct bytes){large, sizeof(large)};
		fail_on(journal_stage(j, &r), "journal_stage");
		if (seq % o->per_commit == 0 || seq == o->count)
			fail_on(journal_commit(j), "journal_commit");
	}
	journal_close(j);
}

static void
bury(struct journal *j, const struct order *o, uint64_t seq, bool is_bad)
{
	struct buffer stored = {0};
	struct record r;
	struct dead_letter letter = {
	    .buried_ms = FIRST_MS,
	    .reason = DEAD_TOO_LARGE,
	    .detail = LITERAL("Broker: Message size too large"),
	};

	make_record(o, seq, &r);
	fail_on(record_encode(&r, &stored), "record_encode");
	letter.record = (struct bytes){stored.data, is_bad ? 5 : stored.size};
	fail_on(journal_bury(j, seq, "default", &letter), "journal_bury");
	buffer_fini(&stored);
}

static void
drain(const struct order *o)
{
	static const char *const names[] = {"default"};
	struct journal *j = open_journal(o, JOURNAL_FORWARD);
	uint64_t acked_seq;
	bool more;

	fail_on(journal_routes_set(j, names, 1, &acked_seq), "journal_routes_set");
	if (o->dead_seq > 0)
		bury(j, o, o->dead_seq, false);
	if (o->bad_dead_seq > 0)
		bury(j, o, o->bad_dead_seq, true);
	if (o->acked_seq > 0) {
		do {
			fail_on(journal_acknowledge(j, &o->acked_seq, &more),
			    "journal_acknowledge");
		} while (more);
	}
	journal_close(j);
}

/* Flip a bit in every copy that the file has of the record. */
static void
damage(const struct order *o)
{
	char text[32];
	char path[4096];
	struct stat st;
	char *map;
	char *at;
	int count = 0;
	int fd;

	(void)snprintf(text, sizeof(text), "record-%09" PRIu64 ";", o->damaged_seq);
	(void)snprintf(path, sizeof(path), "%s/data.mdb", o->directory);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0) {
		perror(path);
		exit(1);
	}
	map = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		perror(path);
		exit(1);
	}
	for (;;) {
		at = memmem(map, (size_t)st.st_size, text, strlen(text));
		if (at == NULL)
			break;
		at[0] ^= 1;
		count++;
	}
	(void)munmap(map, (size_t)st.st_size);
	(void)close(fd);
	if (count == 0) {
		fprintf(
		    stderr, "make_journal: no record %" PRIu64 "\n", o->damaged_seq);
		exit(1);
	}
}

/* What no program does: a batch goes, and nothing says so. */
static void
delete_batch(const struct order *o)
{
	uint64_t seq = htobe64(o->missing_seq);
	MDB_val key = {sizeof(seq), &seq};
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;
	int rc = mdb_env_create(&env);

	if (rc == 0)
		rc = mdb_env_set_maxdbs(env, 8);
	if (rc == 0)
		rc = mdb_env_open(env, o->directory, 0, 0600);
	if (rc == 0)
		rc = mdb_txn_begin(env, NULL, 0, &txn);
	if (rc == 0)
		rc = mdb_dbi_open(txn, "log", 0, &dbi);
	if (rc == 0)
		rc = mdb_del(txn, dbi, &key, NULL);
	if (rc == 0)
		rc = mdb_txn_commit(txn);
	if (rc != 0) {
		fprintf(stderr, "make_journal: delete: %s\n", mdb_strerror(rc));
		exit(1);
	}
	mdb_env_close(env);
}

static uint64_t
number(const char *text)
{
	return strtoull(text, NULL, 10);
}

static void
parse(struct order *o, int argc, char *argv[])
{
	int option;

	for (;;) {
		option = getopt(argc, argv, "n:k:zwpla:b:B:x:m:");
		if (option == -1)
			break;
		switch (option) {
		case 'n':
			o->count = number(optarg);
			break;
		case 'k':
			o->per_commit = number(optarg);
			break;
		case 'z':
			o->codec = BATCH_CODEC_ZSTD;
			break;
		case 'w':
			o->is_awkward = true;
			break;
		case 'p':
			o->has_properties = true;
			break;
		case 'l':
			o->has_large = true;
			break;
		case 'a':
			o->acked_seq = number(optarg);
			break;
		case 'b':
			o->dead_seq = number(optarg);
			break;
		case 'B':
			o->bad_dead_seq = number(optarg);
			break;
		case 'x':
			o->damaged_seq = number(optarg);
			break;
		case 'm':
			o->missing_seq = number(optarg);
			break;
		default:
			exit(2);
		}
	}
	if (optind != argc - 1 || o->per_commit == 0) {
		fprintf(stderr, "usage: make_journal [OPTION...] DIR\n");
		exit(2);
	}
	o->directory = argv[optind];
}

int
main(int argc, char *argv[])
{
	struct order o = {.per_commit = 100};

	parse(&o, argc, argv);
	if (o.count > 0)
		append(&o);
	if (o.acked_seq > 0 || o.dead_seq > 0 || o.bad_dead_seq > 0)
		drain(&o);
	if (o.damaged_seq > 0)
		damage(&o);
	if (o.missing_seq > 0)
		delete_batch(&o);
	return 0;
}
