/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch_journal DIR COUNT COMMAND...
 *
 * Starts COMMAND, waits until COUNT further records were appended to the journal in DIR,
 * ends it by SIGTERM, and prints the seconds from its start to the last record. It gives
 * up after five minutes, or when COMMAND ends by itself.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "err.h"
#include "journal.h"
#include "log.h"

#define LIMIT_S 300

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

int
main(int argc, char *argv[])
{
	struct journal_options options = {0};
	const struct timespec pause = {.tv_nsec = 2000000};
	struct journal *j;
	uint64_t end;
	double began;
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
	end = next_seq(j) + strtoull(argv[2], NULL, 10);
	began = bench_now_s();
	pid = start(argv + 3);
	while (next_seq(j) < end && bench_now_s() - began < LIMIT_S &&
	       waitpid(pid, &status, WNOHANG) == 0)
		(void)nanosleep(&pause, NULL);
	began = bench_now_s() - began;
	if (next_seq(j) < end) {
		fprintf(stderr, "only %" PRIu64 " were left out\n", end - next_seq(j));
		(void)kill(pid, SIGTERM);
		return EXIT_FAILURE;
	}
	journal_close(j);
	(void)kill(pid, SIGTERM);
	(void)waitpid(pid, &status, 0);
	printf("%.4f\n", began);
	return EXIT_SUCCESS;
}
