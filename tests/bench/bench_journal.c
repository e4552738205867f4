/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_journal [-s] DIR
 *
 * Appends to a journal in DIR, against write(2) and fdatasync(2) of the same encoded
 * bytes to a file in DIR. Both in turn, several times, because a disk's speed wanders:
 * what counts are the ratios. Then what that cost: bytes that the disk was given, and
 * bytes of data.mdb, for each byte kept. -s: a short run, which proves that it works.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "append.h"
#include "bench.h"

#define RUNS_MAX     5
#define MAX_BYTES    ((uint64_t)4 << 30)
#define SECTOR_BYTES 512

static const struct row {
	size_t per_commit;
	size_t commits;
	const char *target;      /* of the speed */
	const char *disk_target; /* of bytes on disk */
	const char *file_target;
} rows[] = {
    {1, 400, NULL, NULL, NULL},
    {10, 400, NULL, NULL, NULL},
    {100, 4000, ">=0.62", "<=2.4", "<=1.10"},
    {1000, 400, ">=0.65", "<=1.2", "<=1.10"},
};

/* What one run came to. */
struct run {
	double rate;
	double disk_bytes; /* for each byte kept; < 0: cannot be told */
	double file_bytes;
};

/*
 * Bytes written to the device that the directory is on, so far; < 0 where there is none
 * to ask. What others write counts, too.
 */
static double
written_bytes(const char *directory)
{
	unsigned long long sectors;
	char path[128];
	struct stat st;
	double bytes = -1;
	FILE *file;
	int fd;

	fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	if (syncfs(fd) == 0 && fstat(fd, &st) == 0) {
		(void)snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/stat",
		    major(st.st_dev), minor(st.st_dev));
		file = fopen(path, "re");
		if (file != NULL &&
		    fscanf(file, "%*u %*u %*u %*u %*u %*u %llu", &sectors) == 1)
			bytes = (double)sectors * SECTOR_BYTES;
		if (file != NULL)
			(void)fclose(file);
	}
	(void)close(fd);
	return bytes;
}

static double
file_bytes(const char *directory)
{
	char path[4200];
	struct stat st;

	(void)snprintf(path, sizeof(path), "%s/data.mdb", directory);
	if (stat(path, &st) == 0)
		return (double)st.st_size;
	perror(path);
	exit(EXIT_FAILURE);
}

static struct run
append_journal(const struct append *a)
{
	struct journal *j = append_open(a, JOURNAL_INGEST, MAX_BYTES);
	double before = written_bytes(a->directory), after, began;
	struct run run;

	began = bench_now_s();
	for (size_t i = 0; i < a->commits; i++)
		bench_must(append_commit(a, j), "journal_commit");
	began = bench_now_s() - began;
	after = written_bytes(a->directory);
	run.rate = (double)(a->commits * a->per_commit) / began;
	run.disk_bytes = before < 0 ? -1 : (after - before) / append_bytes(a);
	run.file_bytes = file_bytes(a->directory) / append_bytes(a);
	journal_close(j);
	bench_clean(a->directory);
	return run;
}

static void
report(const struct append *a, const char *what, const char *unit, const char *target,
    double base, double ours, double best, double median)
{
	char name[80];

	(void)snprintf(
	    name, sizeof(name), "journal %s, %zu a commit", what, a->per_commit);
	bench_result(&(struct bench_result){.name = name,
	    .unit = unit,
	    .base = base,
	    .ours = ours,
	    .best = best,
	    .median = median,
	    .target = target});
}

static void
run_row(struct append *a, const struct row *row, bool is_short)
{
	double raw[RUNS_MAX], rate[RUNS_MAX], ratio[RUNS_MAX];
	double disk[RUNS_MAX], file[RUNS_MAX];
	size_t runs = is_short ? 1 : RUNS_MAX;
	double raw_median, median;

	append_set(a, row->per_commit, is_short ? 20 : row->commits);
	for (size_t i = 0; i < runs; i++) {
		struct run run;

		/* The first of the two has the quieter disk, or the colder one. */
		if (i % 2 == 0)
			raw[i] = append_raw(a);
		run = append_journal(a);
		if (i % 2 != 0)
			raw[i] = append_raw(a);
		rate[i] = run.rate;
		ratio[i] = run.rate / raw[i];
		disk[i] = run.disk_bytes;
		file[i] = run.file_bytes;
	}
	raw_median = bench_median(raw, runs);
	median = bench_median(rate, runs);
	(void)bench_median(ratio, runs);
	(void)bench_median(disk, runs);
	(void)bench_median(file, runs);
	printf("%10zu %11.0f %11.0f %11.0f %11.0f %6.2f %7.2f", a->per_commit,
	    raw[runs - 1], raw_median, rate[runs - 1], median,
	    rate[runs - 1] / raw[runs - 1], ratio[runs / 2]);
	if (disk[0] < 0)
		printf(" %6s", "-");
	else
		printf(" %6.2f", disk[runs / 2]);
	printf(" %6.2f\n", file[runs / 2]);
	report(a, "append", "messages/s", row->target, raw[runs - 1], rate[runs - 1],
	    rate[runs - 1] / raw[runs - 1], ratio[runs / 2]);
	if (disk[0] >= 0)
		report(a, "bytes on disk", "bytes/byte kept", row->disk_target, 1,
		    disk[runs / 2], disk[0], disk[runs / 2]);
	report(a, "file size", "bytes/byte kept", row->file_target, 1, file[runs / 2],
	    file[0], file[runs / 2]);
}

int
main(int argc, char *argv[])
{
	bool is_short = bench_is_short(argc, argv, "bench_journal");
	struct append a;

	append_init(&a, argv[argc - 1]);
	printf("Journal append against write and fdatasync of the same bytes; messages "
	       "of %d bytes,\nmessages a second, %d runs in turn; then bytes on disk "
	       "and of the file, for each byte kept\n\n%10s %11s %11s %11s %11s %6s "
	       "%7s %6s %6s\n",
	    APPEND_PAYLOAD_BYTES, is_short ? 1 : RUNS_MAX, "per commit", "raw best",
	    "median", "journal", "median", "best", "median", "disk", "file");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		run_row(&a, &rows[i], is_short);
	append_fini(&a);
	return EXIT_SUCCESS;
}
