/* SPDX-License-Identifier: Apache-2.0 */
/*
 * feed_journal DIR GATEWAY_ID [NUMBER]
 *
 * Appends records to a journal, without an MQTT broker: for each line "TOPIC BYTES
 * AHEAD_MS" of stdin one, under that topic, with a payload of that many bytes that
 * begins with the number of the line (the first is NUMBER, or 1) and a space, arrived
 * AHEAD_MS from now. 100 records a commit. Exit status: 0 done, 1 it failed, 2 usage.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "journal.h"
#include "now.h"

#define PER_COMMIT 100
#define BYTES_MAX  (4 << 20)

static int
stage_line(struct journal *j, const char *line, unsigned long number, char *payload)
{
	char topic[256];
	size_t bytes;
	int64_t ahead_ms;
	int written;

	if (sscanf(line, "%255s %zu %" SCNd64, topic, &bytes, &ahead_ms) != 3 ||
	    bytes > BYTES_MAX) {
		fprintf(stderr, "feed_journal: line %lu is not understood\n", number);
		return ERR_INVALID;
	}
	memset(payload, '.', bytes < 32 ? 32 : bytes);
	written = snprintf(payload, 32, "%lu", number);
	payload[written] = ' ';
	return journal_stage(j, &(struct record){
				    .received_ms = (uint64_t)(now_real_ms() + ahead_ms),
				    .topic = {topic, strlen(topic)},
				    .payload = {payload, bytes},
				    .qos = 1,
				});
}

int
main(int argc, char *argv[])
{
	struct journal_options options = {
	    .max_bytes = (uint64_t)256 << 20,
	    .dead_max_bytes = (uint64_t)16 << 20,
	    .lock_wait_ms = 5000,
	};
	struct journal *j = NULL;
	char *payload = malloc(BYTES_MAX);
	char line[512];
	unsigned long number;
	int err;

	if ((argc != 3 && argc != 4) || payload == NULL) {
		fprintf(stderr, "usage: feed_journal DIR GATEWAY_ID [NUMBER]\n");
		free(payload);
		return 2;
	}
	options.directory = argv[1];
	options.gateway_id = argv[2];
	number = argc == 4 ? strtoul(argv[3], NULL, 10) : 1;
	err = journal_open(&j, JOURNAL_INGEST, &options);
	while (err == 0 && fgets(line, sizeof(line), stdin) != NULL) {
		err = stage_line(j, line, number++, payload);
		if (err == 0 && journal_staged_count(j) >= PER_COMMIT)
			err = journal_commit(j);
	}
	if (err == 0 && journal_staged_count(j) > 0)
		err = journal_commit(j);
	if (err != 0)
		fprintf(stderr, "feed_journal: %s\n", err_str(err));
	journal_close(j);
	free(payload);
	return err == 0 ? 0 : 1;
}
