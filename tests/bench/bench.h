/* SPDX-License-Identifier: Apache-2.0 */
/* What the benchmarks have in common: options, time, medians. Mistakes end the program. */
#ifndef TESTS_BENCH_H
#define TESTS_BENCH_H

#include <stdbool.h>
#include <stddef.h>

void bench_must(int err, const char *what);

/* NAME [-s], and DIR behind it if has_directory. Is it to be short? */
bool bench_is_short(int argc, char *argv[], const char *name, bool has_directory);

/* An empty directory for a journal, below the one that the last argument names. */
void bench_make_directory(char directory[4096], const char *parent);

/* Removes a journal's files and leaves the directory. */
void bench_clean(const char *directory);

double bench_now_s(void);

/* Time of this process alone: for work that is compared, not waiting. */
double bench_worked_s(void);

/* Sorts. */
double bench_median(double v[], size_t count);

#endif
