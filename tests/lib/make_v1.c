/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes the journals of tests/data, by hand and once for each format version:
 *
 *     mkdir D && make_v1 D && mdb_copy -c D C && cp C/data.mdb v1-journal.mdb
 *
 * under "unshare -m" with /dev/null mounted over /etc/machine-id, so that it belongs to
 * no machine. v1-flipped.mdb is a copy with one byte of a body changed, v1-truncated.mdb
 * one without its last page. What is in it: tests/unit/test_journal_stored.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "journal.h"
#include "records.h"

static struct journal_options options = {
    .gateway_id = "v1",
    .max_bytes = 1 << 20,
    .dead_max_bytes = 1 << 20,
};

static void
must(int rc)
{
	if (rc == ERR_OK)
		return;
	(void)fprintf(stderr, "make_v1: %s\n", err_str(rc));
	exit(1);
}

static void
append(enum batch_codec codec, int count)
{
	char payload[101];
	struct journal *j;
	struct record r;

	options.codec = codec;
	must(journal_open(&j, JOURNAL_INGEST, &options));
	for (int i = 0; i < count; i++) {
		memset(payload, 'a' + i % 26, 100);
		payload[100] = '\0';
		records_plain(&r, "site/v1", payload);
		must(journal_stage(j, &r));
	}
	records_full(&r);
	must(journal_stage(j, &r));
	must(journal_commit(j));
	journal_close(j);
}

static void
append_gap(void)
{
	char *payload = calloc(1, (1 << 20) + 1);
	struct journal *j;
	struct record r;

	if (payload == NULL)
		exit(1);
	memset(payload, 'x', 1 << 20);
	must(journal_open(&j, JOURNAL_INGEST, &options));
	records_plain(&r, "site/v1", payload);
	must(journal_stage(j, &r));
	must(journal_stage(j, &r));
	must(journal_commit(j));
	journal_close(j);
	free(payload);
}

static void
bury_and_acknowledge(void)
{
	const char *const names[] = {"fast", "slow"};
	struct dead_letter letter = {
	    .buried_ms = 1795514400123,
	    .reason = DEAD_TOO_LARGE,
	    .detail = {"Broker: Message size too large", 30},
	};
	struct buffer stored = {0};
	uint64_t acked[2];
	struct journal *j;
	struct record r;
	bool more;

	records_full(&r);
	must(record_encode(&r, &stored));
	letter.record = (struct bytes){.data = stored.data, .size = stored.size};
	must(journal_open(&j, JOURNAL_FORWARD, &options));
	must(journal_routes_set(j, names, 2, acked));
	must(journal_bury(j, 9, "slow", &letter));
	acked[0] = 64;
	acked[1] = 12;
	must(journal_acknowledge(j, acked, &more));
	journal_close(j);
	buffer_fini(&stored);
}

int
main(int argc, char *argv[])
{
	char filter[] = "site/#";
	struct journal_subscription one = {1, filter};
	struct journal_subscriptions s = {.list = &one, .count = 1, .next_id = 2};
	struct journal *j;

	if (argc != 2)
		return 2;
	options.directory = argv[1];
	append(BATCH_CODEC_NONE, 9);  /* 1 to 10: acknowledged, gone */
	append(BATCH_CODEC_NONE, 29); /* 11 to 40 */
	append_gap();                 /* 41, 42 */
	append(BATCH_CODEC_ZSTD, 99); /* 43 to 142 */
	append(BATCH_CODEC_NONE, 39); /* 143 to 182 */
	must(journal_open(&j, JOURNAL_INGEST, &options));
	must(journal_subscriptions_save(j, &s));
	journal_close(j);
	bury_and_acknowledge();
	return 0;
}
