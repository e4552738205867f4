/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_compression [-s] DIR
 *
 * What journal.compression keeps and costs, on telemetry.h: bytes of the stored batches and
 * of the file, the processor's time for each message, for appending and for reading back;
 * and how long an outage may take until the file has a GB. Bytes are counted, so nothing
 * disturbs them; times are the best of the runs, none and zstd in turn.
 */
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../lib/telemetry.h"
#include "bench.h"
#include "err.h"
#include "journal.h"
#include "log.h"

#define START_MS 1790000000000
#define RUNS_MAX 5
#define GB       1e9

struct message {
	char *topic; /* and the payload behind it */
	size_t topic_size;
	size_t payload_size;
	uint64_t received_ms;
};

/* What one journal came to, for each message. */
struct outcome {
	double kept_bytes; /* of the batches, as stored */
	double file_bytes; /* that the file grew by */
	double append_us;
	double read_us;
};

struct bench {
	char directory[4096];
	struct message *messages;
	size_t count;
	double payload_bytes; /* of one message, on average */
	size_t runs;
	FILE *cells; /* compression.tsv; NULL: not wanted */
	FILE *outages;
};

static const char *const codec_names[] = {"none", "zstd"};

static void
must_have(const void *memory)
{
	if (memory == NULL)
		bench_must(ERR_NOMEM, "memory");
}

static struct message
message_copy(const struct telemetry_message *m)
{
	struct message copy = {.topic_size = strlen(m->topic),
	    .payload_size = m->payload_size,
	    .received_ms = m->received_ms};

	copy.topic = malloc(copy.topic_size + copy.payload_size);
	must_have(copy.topic);
	memcpy(copy.topic, m->topic, copy.topic_size);
	memcpy(copy.topic + copy.topic_size, m->payload, m->payload_size);
	return copy;
}

/* Made before anything is measured. */
static void
make_messages(struct bench *b, double per_second, size_t count)
{
	struct telemetry *t = telemetry_open(per_second, START_MS);
	struct telemetry_message m;
	double sum = 0;

	must_have(t);
	b->messages = calloc(count, sizeof(*b->messages));
	must_have(b->messages);
	for (size_t i = 0; i < count; i++) {
		telemetry_next(t, &m);
		b->messages[i] = message_copy(&m);
		sum += (double)m.payload_size;
	}
	telemetry_close(t);
	b->count = count;
	b->payload_bytes = sum / (double)count;
}

static void
drop_messages(struct bench *b)
{
	for (size_t i = 0; i < b->count; i++)
		free(b->messages[i].topic);
	free(b->messages);
}

/* ---- one journal ---- */

static uint64_t
file_bytes(struct journal *j)
{
	struct journal_stat stat;
	uint64_t bytes;

	bench_must(journal_stat(j, &stat), "journal_stat");
	bytes = stat.file_bytes;
	journal_stat_fini(&stat);
	return bytes;
}

static void
append(struct bench *b, enum batch_codec codec, size_t per_commit, struct outcome *o)
{
	struct journal_options options = {.directory = b->directory,
	    .gateway_id = "bench",
	    .max_bytes = (uint64_t)1 << 30,
	    .dead_max_bytes = (uint64_t)1 << 20,
	    .codec = codec};
	struct journal *j;
	uint64_t before;
	double began;

	bench_must(journal_open(&j, JOURNAL_INGEST, &options), "journal_open");
	before = file_bytes(j);
	began = bench_worked_s();
	for (size_t i = 0; i < b->count; i++) {
		const struct message *m = &b->messages[i];
		struct record r = {.received_ms = m->received_ms,
		    .topic = {m->topic, m->topic_size},
		    .payload = {m->topic + m->topic_size, m->payload_size},
		    .qos = 1,
		    .subscription_id = 1};

		bench_must(journal_stage(j, &r), "journal_stage");
		if ((i + 1) % per_commit == 0 || i + 1 == b->count)
			bench_must(journal_commit(j), "journal_commit");
	}
	o->append_us = (bench_worked_s() - began) * 1e6 / (double)b->count;
	o->file_bytes = (double)(file_bytes(j) - before) / (double)b->count;
	journal_close(j);
}

static void
read_back(struct bench *b, struct outcome *o)
{
	struct journal_options options = {.directory = b->directory};
	struct journal_batch batch = {0};
	struct record_decoder *decoder;
	struct journal *j;
	struct record r;
	double began;
	size_t n = 0;

	bench_must(journal_open(&j, JOURNAL_LOOK, &options), "journal_open");
	bench_must(record_decoder_open(&decoder), "record_decoder_open");
	began = bench_worked_s();
	for (uint64_t seq = 1; seq <= b->count; seq = batch.end_seq) {
		bench_must(journal_read(j, seq, &batch), "journal_read");
		for (size_t at = 0; at < batch.body.size; n++)
			bench_must(record_decode(decoder, batch.body.data,
				       batch.body.size, &at, &r),
			    "record_decode");
		record_decoder_reset(decoder);
	}
	o->read_us = (bench_worked_s() - began) * 1e6 / (double)b->count;
	if (n != b->count)
		bench_must(ERR_CORRUPT, "what was read");
	record_decoder_close(decoder);
	journal_batch_fini(&batch);
	journal_close(j);
}

static void
must_lmdb(int rc)
{
	if (rc == MDB_SUCCESS)
		return;
	fprintf(stderr, "LMDB: %s\n", mdb_strerror(rc));
	exit(EXIT_FAILURE);
}

/* The batches as they are stored: the journal tells only pages. Nobody writes now. */
static void
sum_batches(struct bench *b, struct outcome *o)
{
	MDB_env *env;
	MDB_txn *txn;
	MDB_cursor *cursor;
	MDB_dbi log;
	MDB_val key, value;
	double sum = 0;
	int rc;

	must_lmdb(mdb_env_create(&env));
	must_lmdb(mdb_env_set_maxdbs(env, 8));
	must_lmdb(mdb_env_open(env, b->directory, MDB_RDONLY | MDB_NOLOCK, 0));
	must_lmdb(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn));
	must_lmdb(mdb_dbi_open(txn, "log", 0, &log));
	must_lmdb(mdb_cursor_open(txn, log, &cursor));
	for (rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST); rc == MDB_SUCCESS;
	     rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT))
		sum += (double)value.mv_size;
	if (rc != MDB_NOTFOUND)
		must_lmdb(rc);
	mdb_cursor_close(cursor);
	mdb_txn_abort(txn);
	mdb_env_close(env);
	o->kept_bytes = sum / (double)b->count;
}

static struct outcome
measure(struct bench *b, enum batch_codec codec, size_t per_commit)
{
	struct outcome o;

	append(b, codec, per_commit, &o);
	read_back(b, &o);
	sum_batches(b, &o);
	bench_clean(b->directory);
	return o;
}

/* ---- what is kept, and what it costs ---- */

static void
take_best(struct outcome *best, struct outcome o)
{
	if (best->append_us > 0 && best->append_us < o.append_us)
		o.append_us = best->append_us;
	if (best->read_us > 0 && best->read_us < o.read_us)
		o.read_us = best->read_us;
	*best = o;
}

static void
print_row(struct bench *b, size_t per_commit, enum batch_codec codec, struct outcome o)
{
	double payload = b->payload_bytes;

	printf("%10zu %6s %12.1f %12.3f %12.3f %12.2f %12.2f\n", per_commit,
	    codec_names[codec], o.kept_bytes, o.kept_bytes / payload,
	    o.file_bytes / payload, o.append_us, o.read_us);
	if (b->cells != NULL)
		fprintf(b->cells, "%zu\t%s\t%.1f\t%.1f\t%.4f\t%.4f\t%.3f\t%.3f\n",
		    per_commit, codec_names[codec], payload, o.kept_bytes,
		    o.kept_bytes / payload, o.file_bytes / payload, o.append_us,
		    o.read_us);
}

static void
report(struct bench *b, size_t per_commit, struct outcome o, const char *target)
{
	char name[80];
	double ratio = o.kept_bytes / b->payload_bytes;

	(void)snprintf(
	    name, sizeof(name), "zstd, kept per byte of JSON, %zu a batch", per_commit);
	bench_result(&(struct bench_result){
	    name, "B/message", b->payload_bytes, o.kept_bytes, ratio, ratio, target});
}

static void
compare(struct bench *b, size_t per_commit, const char *target)
{
	struct outcome none = {0}, zstd = {0};

	for (size_t i = 0; i < b->runs; i++) {
		take_best(&none, measure(b, BATCH_CODEC_NONE, per_commit));
		take_best(&zstd, measure(b, BATCH_CODEC_ZSTD, per_commit));
	}
	print_row(b, per_commit, BATCH_CODEC_NONE, none);
	print_row(b, per_commit, BATCH_CODEC_ZSTD, zstd);
	report(b, per_commit, zstd, target);
}

/* ---- how long an outage may take ---- */

static const int rates[] = {1, 10, 100, 1000};
static const int intervals_ms[] = {10, 100, 1000, 5000};

#define INTERVALS       (sizeof(intervals_ms) / sizeof(intervals_ms[0]))
#define COMMIT_MESSAGES 5000 /* commit_max_messages, as it is by default */

static size_t
per_commit_of(int rate, int interval_ms)
{
	size_t count = (size_t)rate * (size_t)interval_ms / 1000;

	if (count > COMMIT_MESSAGES)
		return COMMIT_MESSAGES;
	return count == 0 ? 1 : count;
}

static void
print_hours(const double hours[2])
{
	printf(" %.*f / %.*f |", hours[0] < 10, hours[0], hours[1] < 10, hours[1]);
}

/* One rate: hours for each interval. */
static void
outages(struct bench *b, int rate, bool is_short)
{
	double hours[INTERVALS][2];
	size_t done = 0; /* that the interval before had */

	printf("| %d |", rate);
	for (size_t i = 0; i < INTERVALS; i++) {
		size_t per_commit = per_commit_of(rate, intervals_ms[i]);
		size_t commits = is_short ? 2 : per_commit < 100 ? 1000 : 100;

		for (size_t codec = 0; codec < 2 && per_commit != done; codec++) {
			struct outcome o;

			make_messages(b, rate, commits * per_commit);
			o = measure(b, (enum batch_codec)codec, per_commit);
			drop_messages(b);
			hours[i][codec] = GB / (o.file_bytes * rate * 3600);
		}
		if (per_commit == done)
			memcpy(hours[i], hours[i - 1], sizeof(hours[i]));
		done = per_commit;
		print_hours(hours[i]);
		if (b->outages != NULL)
			fprintf(b->outages, "%d\t%d\t%zu\t%.4g\t%.4g\n", rate,
			    intervals_ms[i], per_commit, hours[i][0], hours[i][1]);
	}
	printf("\n");
}

/* ---- both ---- */

static FILE *
table(const char *name, const char *columns)
{
	const char *directory = getenv("BENCH_OUT");
	char path[4200];
	FILE *file;

	if (directory == NULL)
		return NULL;
	(void)snprintf(path, sizeof(path), "%s/%s.tsv", directory, name);
	file = fopen(path, "we");
	if (file == NULL) {
		perror(path);
		exit(EXIT_FAILURE);
	}
	fprintf(file, "%s\n", columns);
	return file;
}

static void
finish(FILE *file)
{
	if (file == NULL || fclose(file) == 0)
		return;
	perror("BENCH_OUT");
	exit(EXIT_FAILURE);
}

static void
run_compression(struct bench *b, bool is_short)
{
	static const struct {
		size_t per_commit;
		size_t commits;
		const char *target;
	} cases[] = {{10, 1000, NULL}, {100, 300, "<=0.20"}, {1000, 100, "<=0.15"}};

	printf(
	    "journal.compression on JSON telemetry of 100 devices with 10 fields; "
	    "bytes "
	    "and\nmicroseconds of processor time a message, best of %zu runs in "
	    "turn\n\n%10s %6s %12s %12s %12s %12s %12s\n%10s %6s %12s %12s %12s %12s "
	    "%12s\n",
	    b->runs, "messages", "", "bytes kept", "by byte", "file by", "to append",
	    "to read", "a batch", "", "", "of payload", "payload", "us", "us");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t commits = is_short ? 2 : cases[i].commits;

		make_messages(b, 100, commits * cases[i].per_commit);
		compare(b, cases[i].per_commit, cases[i].target);
		drop_messages(b);
	}
}

static void
run_outages(struct bench *b, bool is_short)
{
	printf("\nHours of outage until data.mdb has grown by 1 GB, compression none / "
	       "zstd\n\n| messages/s | commit_interval_ms %d | %d | %d | %d |\n"
	       "| ---: | ---: | ---: | ---: | ---: |\n",
	    intervals_ms[0], intervals_ms[1], intervals_ms[2], intervals_ms[3]);
	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++)
		outages(b, rates[i], is_short);
}

int
main(int argc, char *argv[])
{
	bool is_short = bench_is_short(argc, argv, "bench_compression");
	struct bench b = {.runs = is_short ? 1 : RUNS_MAX};

	bench_make_directory(b.directory, argv[argc - 1]);
	log_open("bench_compression", LOG_LEVEL_WARNING, LOG_FORMAT_TEXT);
	b.cells = table("compression", "messages_per_batch\tcodec\tpayload_bytes\tkept_"
				       "bytes\tkept_per_payload_byte\t"
				       "file_per_payload_byte\tappend_us\tread_us");
	b.outages = table("outage", "messages_per_s\tinterval_ms\tmessages_per_batch\t"
				    "hours_per_gb_none\thours_per_gb_zstd");
	run_compression(&b, is_short);
	run_outages(&b, is_short);
	finish(b.cells);
	finish(b.outages);
	(void)rmdir(b.directory);
	return EXIT_SUCCESS;
}
