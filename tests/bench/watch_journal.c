/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch_journal DIR COUNT COMMAND...
 *
 * Starts COMMAND, waits until COUNT further records were appended to the journal in DIR,
 * ends it by SIGTERM, and prints the seconds from its start to the last record, and those
 * of the processor that COMMAND took in all. It gives up after five minutes, or when
 * COMMAND ends by itself.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "err.h"
#include "journal.h"
#include "log.h"

#define LIMIT_S        300
#define LEAST_PAUSE_NS 2000000

static uint64_t
next_seq(struct journal *j)
{
	struct journal_stat stat;
	uint64_t seq;
	int err = journal_stat(j, &stat);

	if (err != 0) {
		fprintf(stderr, "journal_stat: %s\n", err_str(err));
		return 0;
	}
	seq = stat.next_seq;
	journal_stat_fini(&stat);
	return seq;
}

static pid_t
start(char *argv[])
{
	pid_t pid = fork();

	if (pid == 0) {
		(void)execvp(argv[0], argv);
		perror(argv[0]);
		_exit(127);
	}
	return pid;
}

/*
 * A look takes the processor from what is watched: so only a few, a quarter of the time
 * that is left in between.
 */
static void
pause_by(double began, uint64_t first, uint64_t next, uint64_t end)
{
	double took = bench_now_s() - began, left = 0;
	struct timespec pause = {0};

	if (next > first)
		left = took * (double)(end - next) / (double)(next - first);
	pause.tv_nsec = left > 0.4 ? 100000000 : (long)(left / 4 * 1e9);
	if (pause.tv_nsec < LEAST_PAUSE_NS)
		pause.tv_nsec = LEAST_PAUSE_NS;
	(void)nanosleep(&pause, NULL);
}

/* Seconds until all were there; < 0: it has ended, or the time is up. */
static double
watch(struct journal *j, pid_t pid, uint64_t first, uint64_t end)
{
	double began = bench_now_s();
	siginfo_t ended = {0};
	uint64_t next;

	for (;;) {
		next = next_seq(j);
		if (next >= end)
			return bench_now_s() - began;
		if (bench_now_s() - began >= LIMIT_S ||
		    waitid(P_PID, (id_t)pid, &ended, WEXITED | WNOHANG | WNOWAIT) !=
			0 ||
		    ended.si_pid == pid)
			break;
		pause_by(began, first, next, end);
	}
	fprintf(stderr, "%" PRIu64 " were left out\n", end - next);
	return -1;
}

static double
seconds(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

int
main(int argc, char *argv[])
{
	struct journal_options options = {0};
	struct rusage used;
	struct journal *j;
	uint64_t first;
	double took;
	pid_t pid;
	int status;

	if (argc < 4) {
		fprintf(stderr, "usage: watch_journal DIR COUNT COMMAND...\n");
		return 2;
	}
	log_open("watch_journal", LOG_LEVEL_WARNING, LOG_FORMAT_TEXT);
	options.directory = argv[1];
	if (journal_open(&j, JOURNAL_LOOK, &options) != 0)
		return EXIT_FAILURE;
	first = next_seq(j);
	pid = start(argv + 3);
	took = watch(j, pid, first, first + strtoull(argv[2], NULL, 10));
	journal_close(j);
	(void)kill(pid, SIGTERM);
	(void)waitpid(pid, &status, 0);
	if (took < 0 || getrusage(RUSAGE_CHILDREN, &used) != 0)
		return EXIT_FAILURE;
	printf("%.4f %.4f\n", took, seconds(used.ru_utime) + seconds(used.ru_stime));
	return EXIT_SUCCESS;
}
