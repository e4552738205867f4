/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hold_transaction BOOTSTRAP TRANSACTIONAL_ID TOPIC TIMEOUT_MS
 *
 * Another producer's transaction that stays open: it writes a record to partition 0 of the
 * topic, says "open" when Kafka has it, and waits for the end of stdin. It never ends the
 * transaction: Kafka does, some time after TIMEOUT_MS. Exit status: 0 done, 1 it failed,
 * 2 usage.
 */
#include <librdkafka/rdkafka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LIMIT_MS 30000

static int
fail(const char *what, rd_kafka_error_t *error)
{
	fprintf(stderr, "hold_transaction: %s: %s\n", what,
	    error == NULL ? "failed" : rd_kafka_error_string(error));
	return EXIT_FAILURE;
}

static rd_kafka_t *
open_producer(char *argv[])
{
	const char *const list[][2] = {
	    {"bootstrap.servers", argv[1]},
	    {"transactional.id", argv[2]},
	    {"transaction.timeout.ms", argv[4]},
	};
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char why[256] = "";

	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		if (rd_kafka_conf_set(conf, list[i][0], list[i][1], why, sizeof(why)) !=
		    RD_KAFKA_CONF_OK)
			fprintf(stderr, "hold_transaction: %s\n", why);
	return rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
}

int
main(int argc, char *argv[])
{
	rd_kafka_error_t *error;
	rd_kafka_t *rk;
	char c;

	if (argc != 5) {
		fprintf(stderr,
		    "usage: hold_transaction BOOTSTRAP TRANSACTIONAL_ID TOPIC "
		    "TIMEOUT_MS\n");
		return 2;
	}
	rk = open_producer(argv);
	if (rk == NULL)
		return fail("rd_kafka_new", NULL);
	error = rd_kafka_init_transactions(rk, LIMIT_MS);
	if (error != NULL)
		return fail("init_transactions", error);
	error = rd_kafka_begin_transaction(rk);
	if (error != NULL)
		return fail("begin_transaction", error);
	if (rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(argv[3]), RD_KAFKA_V_PARTITION(0),
		RD_KAFKA_V_KEY(argv[2], 1), RD_KAFKA_V_VALUE(argv[2], 1),
		RD_KAFKA_V_END) != 0 ||
	    rd_kafka_flush(rk, LIMIT_MS) != 0)
		return fail("the record", NULL);
	puts("open");
	(void)fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0)
		continue;
	_exit(EXIT_SUCCESS); /* as if it were killed */
}
