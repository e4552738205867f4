/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A gateway is retired: the broker is told to forget it, when all that it holds for it
 * has come into the journal. tidegate-ingest does that; this starts it, and tells.
 *
 * Failure modes: tidegate-ingest cannot be started, or ends with a failure: the session
 * stays as it was, and the next try goes on from there.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "admin.h"
#include "board.h"
#include "err.h"
#include "worker.h"
#include "worker_path.h"

/* How it ended; -1: it could not be started (told). */
static int
run_ingest(const struct admin *a)
{
	char buffer[PATH_MAX], path[PATH_MAX + 32];
	int status = 0;
	pid_t pid;

	(void)snprintf(
	    path, sizeof(path), "%s/tidegate-ingest", worker_directory(buffer));
	(void)signal(SIGCHLD, SIG_DFL); /* ignored, how it ended would be lost */
	pid = fork();
	if (pid == 0) {
		(void)execl(path, "tidegate-ingest", "--leave", "-c", a->config_path,
		    a->is_verbose ? "-v" : NULL, (char *)NULL);
		_exit(127);
	}
	if (pid < 0) {
		admin_complain("fork: %s", strerror(errno));
		return -1;
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127) {
		admin_complain("%s cannot be started", path);
		return -1;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILED;
}

/* What is to be done now, by what the journal holds. */
static int
tell_what_next(const struct admin *a)
{
	const struct journal_options options = {
	    .directory = a->settings->journal.directory};
	struct journal_stat stat = {0};
	struct journal *j = NULL;
	char buffer[PATH_MAX];
	int rc = journal_open(&j, JOURNAL_LOOK, &options);

	if (rc == 0)
		rc = journal_stat(j, &stat);
	journal_close(j);
	if (rc != 0)
		return admin_fail("what is left in the journal cannot be told", rc);
	if (stat.records > 0)
		(void)printf("%" PRIu64 " records wait in the journal; next: "
			     "%s/tidegate-forward --once -c %s\n",
		    stat.records, worker_directory(buffer), a->config_path);
	else
		(void)printf("the journal is empty: the gateway can be retired\n");
	if (stat.dead_count > 0)
		(void)printf("%" PRIu64 " dead letters are in the journal, too: "
			     "\"tidegate-dump --dead\" lists them\n",
		    stat.dead_count);
	journal_stat_fini(&stat);
	return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILED;
}

/* Also between two starts of its worker. */
static bool
is_daemon_there(const char *directory)
{
	struct board *board = NULL;
	int err = board_attach(&board, directory);

	board_close(board);
	return err != ERR_NOTFOUND;
}

int
admin_leave(const struct admin *a)
{
	int status;

	if (a->settings == NULL) {
		admin_complain("leave: which broker? It needs the configuration, -c");
		return EXIT_USAGE;
	}
	if (is_daemon_there(a->settings->journal.directory) ||
	    journal_is_held(a->settings->journal.directory, JOURNAL_INGEST)) {
		admin_complain("nothing was changed: stop tidegated first");
		return EXIT_FAILED;
	}
	status = run_ingest(a);
	if (status == EXIT_SUCCESS)
		return tell_what_next(a);
	if (status > 0)
		admin_complain("the session at the broker stays");
	return status == EXIT_CONFIG ? EXIT_CONFIG : EXIT_FAILED;
}
