/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_queue [-s] DIR
 *
 * A queue in its steady state: this process appends to a journal in DIR, 1,000 messages
 * a commit, another truncates behind it, and the file has reached its size. Against
 * write(2) and fdatasync(2) of the same bytes to a file that grows, in turn. Two windows:
 * truncated whenever 20,000 messages are there, and each 100 ms as tidegate-forward does
 * it. -s: a short run, which proves that it works.
 */
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "append.h"
#include "bench.h"

#define RUNS_MAX   5
#define PER_COMMIT 1000
#define MAX_BYTES  ((uint64_t)1 << 30)
#define GIVE_UP_S  60

static const struct way {
	const char *name;
	const char *target;
	uint64_t window; /* truncated when so many messages are there */
	long pause_ms;   /* between two looks */
} ways[] = {
    {"window of 20,000", ">=0.85", 20000, 1},
    {"each 100 ms", ">=0.85", 1, 100},
};

/* Between the two processes. */
struct shared {
	_Atomic uint64_t appended; /* the last sequence number that is committed */
	_Atomic uint64_t truncated;
	_Atomic bool is_over;
};

static void
pause_ms(long ms)
{
	struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	(void)nanosleep(&t, NULL); /* the loop looks again in any case */
}

/* The other process. */
static void
truncate_behind(const struct append *a, const struct way *way, struct shared *shared)
{
	struct journal *j = append_open(a, JOURNAL_FORWARD, MAX_BYTES);
	const char *route = "bench";
	uint64_t acked = 0;
	bool more;

	bench_must(journal_routes_set(j, &route, 1, &acked), "journal_routes_set");
	while (!atomic_load(&shared->is_over)) {
		uint64_t appended = atomic_load(&shared->appended);

		if (appended - acked < way->window) {
			pause_ms(way->pause_ms);
			continue;
		}
		more = true;
		while (more)
			bench_must(journal_acknowledge(j, &appended, &more),
			    "journal_acknowledge");
		acked = appended;
		atomic_store(&shared->truncated, acked);
		if (way->window == 1)
			pause_ms(way->pause_ms);
	}
	journal_close(j);
}

static void
append_some(const struct append *a, struct journal *j, struct shared *shared)
{
	for (size_t i = 0; i < a->commits; i++) {
		bench_must(append_commit(a, j), "journal_commit");
		(void)atomic_fetch_add(&shared->appended, a->per_commit);
	}
}

/* The first time round all pages are new: not yet the steady state. */
static void
warm_up(const struct append *a, struct journal *j, struct shared *shared)
{
	double give_up_at = bench_now_s() + GIVE_UP_S;

	append_some(a, j, shared);
	while (atomic_load(&shared->truncated) == 0 && bench_now_s() < give_up_at)
		pause_ms(1);
	if (atomic_load(&shared->truncated) > 0)
		return;
	fprintf(stderr, "nothing was truncated in %d s\n", GIVE_UP_S);
	exit(EXIT_FAILURE);
}

static double
append_queue(const struct append *a, const struct way *way, struct shared *shared)
{
	struct journal *j = append_open(a, JOURNAL_INGEST, MAX_BYTES);
	int status = 0;
	double began;
	pid_t child;

	journal_close(j);
	*shared = (struct shared){0};
	child = fork();
	if (child == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		truncate_behind(a, way, shared);
		_exit(EXIT_SUCCESS);
	}
	if (child < 0) {
		perror("fork");
		exit(EXIT_FAILURE);
	}
	j = append_open(a, JOURNAL_INGEST, MAX_BYTES);
	warm_up(a, j, shared);
	began = bench_now_s();
	append_some(a, j, shared);
	began = bench_now_s() - began;
	atomic_store(&shared->is_over, true);
	journal_close(j);
	if (waitpid(child, &status, 0) != child || status != 0) {
		fprintf(stderr, "the process that truncates has failed\n");
		exit(EXIT_FAILURE);
	}
	bench_clean(a->directory);
	return (double)(a->commits * a->per_commit) / began;
}

static void
run_way(
    const struct append *a, const struct way *way, struct shared *shared, size_t runs)
{
	double raw[RUNS_MAX], queue[RUNS_MAX], ratio[RUNS_MAX];
	double raw_median, median;
	char name[80];

	for (size_t i = 0; i < runs; i++) {
		if (i % 2 == 0)
			raw[i] = append_raw(a);
		queue[i] = append_queue(a, way, shared);
		if (i % 2 != 0)
			raw[i] = append_raw(a);
		ratio[i] = queue[i] / raw[i];
	}
	raw_median = bench_median(raw, runs);
	median = bench_median(queue, runs);
	(void)bench_median(ratio, runs);
	printf("%18s %11.0f %11.0f %11.0f %11.0f %6.2f %7.2f\n", way->name,
	    raw[runs - 1], raw_median, queue[runs - 1], median,
	    queue[runs - 1] / raw[runs - 1], ratio[runs / 2]);
	(void)snprintf(name, sizeof(name), "steady queue, %s", way->name);
	bench_result(&(struct bench_result){.name = name,
	    .unit = "messages/s",
	    .base = raw[runs - 1],
	    .ours = queue[runs - 1],
	    .best = queue[runs - 1] / raw[runs - 1],
	    .median = ratio[runs / 2],
	    .target = way->target});
}

int
main(int argc, char *argv[])
{
	bool is_short = bench_is_short(argc, argv, "bench_queue");
	struct shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct append a;

	if (shared == MAP_FAILED) {
		perror("mmap");
		return EXIT_FAILURE;
	}
	append_init(&a, argv[argc - 1]);
	append_set(&a, PER_COMMIT, is_short ? 60 : 1000);
	printf(
	    "A steady queue, appended to by one process and truncated by another, "
	    "against write and\nfdatasync of the same bytes; %d messages of %d bytes "
	    "a commit, messages a second, %d runs in turn\n\n%18s %11s %11s %11s "
	    "%11s %6s %7s\n",
	    PER_COMMIT, APPEND_PAYLOAD_BYTES, is_short ? 1 : RUNS_MAX, "truncated",
	    "raw best", "median", "queue", "median", "best", "median");
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		run_way(&a, &ways[i], shared, is_short ? 1 : RUNS_MAX);
	append_fini(&a);
	return EXIT_SUCCESS;
}
