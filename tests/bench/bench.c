/* SPDX-License-Identifier: Apache-2.0 */
/* What the benchmarks have in common. It needs no library, so each of them can link it. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "err.h"

void
bench_must(int err, const char *what)
{
	if (err == 0)
		return;
	fprintf(stderr, "%s: %s\n", what, err_str(err));
	exit(EXIT_FAILURE);
}

bool
bench_is_short(int argc, char *argv[], const char *name)
{
	bool is_short = argc == 3 && strcmp(argv[1], "-s") == 0;

	if (argc == 2 || is_short)
		return is_short;
	fprintf(stderr, "usage: %s [-s] DIR\n", name);
	exit(2);
}

void
bench_make_directory(char directory[4096], const char *parent)
{
	(void)snprintf(directory, 4096, "%s/bench-XXXXXX", parent);
	if (mkdtemp(directory) != NULL)
		return;
	perror(directory);
	exit(EXIT_FAILURE);
}

void
bench_clean(const char *directory)
{
	static const char *const names[] = {
	    "data.mdb", "lock.mdb", "ingest.lock", "forward.lock", "ballast"};
	char path[4200];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
		(void)unlink(path);
	}
}

static double
clock_s(clockid_t clock)
{
	struct timespec t;

	(void)clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

double
bench_now_s(void)
{
	return clock_s(CLOCK_MONOTONIC);
}

double
bench_worked_s(void)
{
	return clock_s(CLOCK_PROCESS_CPUTIME_ID);
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double
bench_median(double v[], size_t count)
{
	qsort(v, count, sizeof(v[0]), compare);
	return v[count / 2];
}

void
bench_result(const struct bench_result *result)
{
	const char *directory = getenv("BENCH_OUT");
	char path[4200];
	FILE *file;

	if (directory == NULL)
		return;
	(void)snprintf(path, sizeof(path), "%s/ratios.tsv", directory);
	file = fopen(path, "ae");
	if (file == NULL) {
		perror(path);
		exit(EXIT_FAILURE);
	}
	fprintf(file, "%s\t%s\t%g\t%g\t%.3f\t%.3f\t%s\n", result->name, result->unit,
	    result->base, result->ours, result->best, result->median,
	    result->target != NULL ? result->target : "-");
	if (fclose(file) != 0) {
		perror(path);
		exit(EXIT_FAILURE);
	}
}
