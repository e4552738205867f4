/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_journal [-s] DIR
 *
 * Appends to a journal in DIR, against write(2) and fdatasync(2) of the same encoded
 * bytes to a file in DIR. Both in turn, several times, because a disk's speed wanders:
 * what counts are the ratios. -s: a short run, which proves that it works.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "journal.h"
#include "log.h"

#define PAYLOAD_BYTES 200
#define RUNS_MAX      9

struct bench {
	char directory[4096];
	size_t per_commit;
	size_t commits;
	size_t runs;
	struct record record;
	struct buffer encoded; /* what one commit writes */
};

static void
must_errno(bool is_done, const char *what)
{
	if (is_done)
		return;
	perror(what);
	exit(EXIT_FAILURE);
}

/* Records a second. */
static double
append_raw(struct bench *b)
{
	char path[4200];
	double began;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/raw", b->directory);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	must_errno(fd >= 0, path);
	began = bench_now_s();
	for (size_t i = 0; i < b->commits; i++) {
		ssize_t n = write(fd, b->encoded.data, b->encoded.size);

		must_errno(n == (ssize_t)b->encoded.size, "write");
		must_errno(fdatasync(fd) == 0, "fdatasync");
	}
	began = bench_now_s() - began;
	(void)close(fd);
	(void)unlink(path);
	return (double)(b->commits * b->per_commit) / began;
}

static double
append_journal(struct bench *b)
{
	struct journal_options options = {.directory = b->directory,
	    .gateway_id = "bench",
	    .max_bytes = (uint64_t)4 << 30,
	    .dead_max_bytes = (uint64_t)1 << 20,
	    .codec = BATCH_CODEC_NONE};
	struct journal *j;
	double began;

	bench_must(journal_open(&j, JOURNAL_INGEST, &options), "journal_open");
	began = bench_now_s();
	for (size_t i = 0; i < b->commits; i++) {
		for (size_t k = 0; k < b->per_commit; k++)
			bench_must(journal_stage(j, &b->record), "journal_stage");
		bench_must(journal_commit(j), "journal_commit");
	}
	began = bench_now_s() - began;
	journal_close(j);
	bench_clean(b->directory);
	return (double)(b->commits * b->per_commit) / began;
}

static void
run(struct bench *b)
{
	double raw[RUNS_MAX], journal[RUNS_MAX], ratio[RUNS_MAX];
	double raw_median, journal_median;

	buffer_clear(&b->encoded);
	for (size_t k = 0; k < b->per_commit; k++)
		bench_must(record_encode(&b->record, &b->encoded), "record_encode");
	for (size_t i = 0; i < b->runs; i++) {
		/* The first of the two has the quieter disk, or the colder one. */
		if (i % 2 == 0)
			raw[i] = append_raw(b);
		journal[i] = append_journal(b);
		if (i % 2 != 0)
			raw[i] = append_raw(b);
		ratio[i] = journal[i] / raw[i];
	}
	raw_median = bench_median(raw, b->runs);
	journal_median = bench_median(journal, b->runs);
	printf("%10zu %12.0f %12.0f %12.0f %12.0f %8.2f %8.2f\n", b->per_commit,
	    raw[b->runs - 1], raw_median, journal[b->runs - 1], journal_median,
	    journal[b->runs - 1] / raw[b->runs - 1], bench_median(ratio, b->runs));
}

int
main(int argc, char *argv[])
{
	static const size_t per_commit[] = {1, 10, 100, 1000};
	static char payload[PAYLOAD_BYTES];
	bool is_short = bench_is_short(argc, argv, "bench_journal");
	struct bench b = {.runs = is_short ? 1 : 7};

	bench_make_directory(b.directory, argv[argc - 1]);
	log_open("bench_journal", LOG_LEVEL_WARNING, LOG_FORMAT_TEXT);
	for (size_t i = 0; i < sizeof(payload); i++)
		payload[i] = (char)('a' + i % 26);
	b.record = (struct record){.received_ms = 1790000000000,
	    .topic = {.data = "plant/dev-017", .size = 13},
	    .payload = {.data = payload, .size = sizeof(payload)},
	    .qos = 1};
	printf(
	    "Journal append against write and fdatasync of the same bytes; messages of "
	    "%d bytes,\nmessages a second, %zu runs in turn\n\n%10s %12s %12s %12s "
	    "%12s "
	    "%8s %8s\n",
	    PAYLOAD_BYTES, b.runs, "per commit", "raw best", "raw median",
	    "journal best", "journal med.", "best", "median");
	for (size_t i = 0; i < sizeof(per_commit) / sizeof(per_commit[0]); i++) {
		b.per_commit = per_commit[i];
		b.commits = is_short ? 20 : per_commit[i] == 1000 ? 200 : 400;
		run(&b);
	}
	buffer_fini(&b.encoded);
	(void)rmdir(b.directory);
	return EXIT_SUCCESS;
}
