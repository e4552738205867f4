/* SPDX-License-Identifier: Apache-2.0 */
#include "journals.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "err.h"
#include "now.h"
#include "records.h"

#define PATIENCE_MS 60000

struct journal_options
journals_options(const char *directory)
{
	return (struct journal_options){
	    .directory = directory,
	    .gateway_id = "test",
	    .max_bytes = (uint64_t)64 << 20,
	    .dead_max_bytes = (uint64_t)8 << 20,
	    .codec = BATCH_CODEC_NONE,
	};
}

struct journal *
journals_open_sized(const char *directory, enum journal_role role, uint64_t max_bytes)
{
	struct journal_options o = journals_options(directory);
	struct journal *j = NULL;

	o.max_bytes = max_bytes;
	assert_int_equal(journal_open(&j, role, &o), ERR_OK);
	assert_non_null(j);
	return j;
}

struct journal *
journals_open(const char *directory, enum journal_role role)
{
	return journals_open_sized(directory, role, (uint64_t)64 << 20);
}

void
journals_stage(struct journal *j, int count, size_t payload_bytes)
{
	char *payload = malloc(payload_bytes + 1);
	struct record r;

	assert_non_null(payload);
	memset(payload, 'x', payload_bytes);
	payload[payload_bytes] = '\0';
	records_plain(&r, "n", payload);
	for (int i = 0; i < count; i++)
		assert_int_equal(journal_stage(j, &r), ERR_OK);
	free(payload);
}

int
journals_append(struct journal *j, int count, size_t payload_bytes)
{
	journals_stage(j, count, payload_bytes);
	return journal_commit(j);
}

int
journals_fill(struct journal *j, int count, size_t payload_bytes)
{
	int rc;

	do
		rc = journals_append(j, count, payload_bytes);
	while (rc == ERR_OK);
	return rc;
}

uint64_t
journals_next(struct journal *j)
{
	struct journal_stat s;
	uint64_t next;

	assert_int_equal(journal_stat(j, &s), ERR_OK);
	next = s.next_seq;
	journal_stat_fini(&s);
	return next;
}

static void
check_records(const struct journal_batch *b)
{
	struct record_decoder *d;
	size_t offset = 0;

	assert_int_equal(record_decoder_open(&d), ERR_OK);
	for (uint32_t i = 0; i < b->header.count; i++) {
		struct record r;

		assert_int_equal(
		    record_decode(d, b->body.data, b->body.size, &offset, &r), ERR_OK);
	}
	assert_int_equal(offset, b->body.size);
	record_decoder_close(d);
}

uint64_t
journals_check_dense(struct journal *j, uint64_t seq)
{
	struct journal_batch b = {0};
	int rc;

	for (;;) {
		rc = journal_read(j, seq, &b);
		if (rc != ERR_OK)
			break;
		assert_true(b.base_seq <= seq);
		assert_int_equal(b.end_seq, b.base_seq + b.header.count);
		check_records(&b);
		seq = b.end_seq;
	}
	assert_int_equal(rc, ERR_NOTFOUND);
	assert_int_equal(b.end_seq, seq);
	journal_batch_fini(&b);
	return seq;
}

int
journals_drain(struct journal *j, uint64_t seq)
{
	bool more = true;

	while (more) {
		int rc = journal_acknowledge(j, &seq, &more);

		if (rc != ERR_OK)
			return rc;
	}
	return ERR_OK;
}

uint64_t
journals_file_bytes(const char *directory)
{
	char path[4096];
	struct stat st;

	(void)snprintf(path, sizeof(path), "%s/data.mdb", directory);
	assert_int_equal(stat(path, &st), 0);
	return (uint64_t)st.st_size;
}

pid_t
journals_fork(journals_child *child, void *context)
{
	pid_t pid;

	(void)fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)alarm(
		    2 * PATIENCE_MS / 1000); /* never outlives a test that hangs */
		/* A failed assertion must not go on with the parent's tests. */
		(void)setenv("CMOCKA_TEST_ABORT", "1", 1);
		_exit(child(context));
	}
	return pid;
}

int
journals_wait(pid_t pid)
{
	int64_t end_ms = now_monotonic_ms() + PATIENCE_MS;
	struct timespec pause = {.tv_nsec = 2000000};
	int status;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (now_monotonic_ms() > end_ms) {
			(void)kill(pid, SIGKILL);
			(void)waitpid(pid, &status, 0);
			fail_msg("a child process did not end");
		}
		(void)nanosleep(&pause, NULL);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

void
journals_await(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char byte;

	if (poll(&p, 1, PATIENCE_MS) != 1 || read(fd, &byte, 1) != 1) {
		(void)fprintf(stderr, "nothing came from the other process\n");
		abort();
	}
}

void
journals_signal(int fd)
{
	if (write(fd, "x", 1) != 1)
		abort();
}
