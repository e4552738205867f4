/* SPDX-License-Identifier: Apache-2.0 */
/* What the benchmarks have in common: options, time, medians. Mistakes end the program. */
#ifndef TESTS_BENCH_H
#define TESTS_BENCH_H

#include <stdbool.h>
#include <stddef.h>

void bench_must(int err, const char *what);

/* NAME [-s] DIR, also for those that keep nothing in DIR. Is it to be short? */
bool bench_is_short(int argc, char *argv[], const char *name);

/* An empty directory for a journal, below the one that the last argument names. */
void bench_make_directory(char directory[4096], const char *parent);

/* Removes a journal's files and leaves the directory. */
void bench_clean(const char *directory);

double bench_now_s(void);

/* Time of this process alone: for work that is compared, not waiting. */
double bench_worked_s(void);

/* Sorts. */
double bench_median(double v[], size_t count);

/* What two sides of one comparison came to: rates or amounts, as unit says. */
struct bench_result {
	const char *name;
	const char *unit;
	double base;
	double ours;
	double best;        /* the best run of ours by the best of base */
	double median;      /* of the ratios of the single runs */
	const char *target; /* ">=0.65", "<=1.2"; NULL: there is none */
};

/* One line of ratios.tsv in the directory that BENCH_OUT names; without it nothing. */
void bench_result(const struct bench_result *result);

#endif
