/* SPDX-License-Identifier: Apache-2.0 */
#include "append.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench.h"
#include "log.h"

void
append_init(struct append *a, const char *parent)
{
	static char payload[APPEND_PAYLOAD_BYTES];

	log_open("bench", LOG_LEVEL_WARNING, LOG_FORMAT_TEXT);
	for (size_t i = 0; i < sizeof(payload); i++)
		payload[i] = (char)('a' + i % 26);
	*a = (struct append){.record = {.received_ms = 1790000000000,
				 .topic = {.data = "plant/dev-017", .size = 13},
				 .payload = {.data = payload, .size = sizeof(payload)},
				 .qos = 1}};
	bench_make_directory(a->directory, parent);
}

void
append_fini(struct append *a)
{
	buffer_fini(&a->encoded);
	(void)rmdir(a->directory);
}

void
append_set(struct append *a, size_t per_commit, size_t commits)
{
	a->per_commit = per_commit;
	a->commits = commits;
	buffer_clear(&a->encoded);
	for (size_t i = 0; i < per_commit; i++)
		bench_must(record_encode(&a->record, &a->encoded), "record_encode");
}

double
append_bytes(const struct append *a)
{
	return (double)a->commits * (double)a->encoded.size;
}

struct journal *
append_open(const struct append *a, enum journal_role role, uint64_t max_bytes)
{
	struct journal_options options = {.directory = a->directory,
	    .gateway_id = "bench",
	    .max_bytes = max_bytes,
	    .dead_max_bytes = (uint64_t)1 << 20,
	    .codec = BATCH_CODEC_NONE};
	struct journal *j;

	bench_must(journal_open(&j, role, &options), "journal_open");
	return j;
}

int
append_commit(const struct append *a, struct journal *j)
{
	for (size_t i = 0; i < a->per_commit; i++)
		bench_must(journal_stage(j, &a->record), "journal_stage");
	return journal_commit(j);
}

static void
must_errno(bool is_done, const char *what)
{
	if (is_done)
		return;
	perror(what);
	exit(EXIT_FAILURE);
}

double
append_raw(const struct append *a)
{
	char path[4200];
	double began;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/raw", a->directory);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	must_errno(fd >= 0, path);
	began = bench_now_s();
	for (size_t i = 0; i < a->commits; i++) {
		ssize_t n = write(fd, a->encoded.data, a->encoded.size);

		must_errno(n == (ssize_t)a->encoded.size, "write");
		must_errno(fdatasync(fd) == 0, "fdatasync");
	}
	began = bench_now_s() - began;
	(void)close(fd);
	(void)unlink(path);
	return (double)(a->commits * a->per_commit) / began;
}
