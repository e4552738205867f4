/* SPDX-License-Identifier: Apache-2.0 */
/*
 * produce fill DIR COUNT                       append COUNT records to a journal
 * produce send BOOTSTRAP TOPIC COUNT [-h|-t]   send the same ones in a tight loop
 *
 * The tight loop is the most that librdkafka does with an idempotent producer: each
 * record is in memory already, nothing is copied, nothing is looked at but the count of
 * delivery reports. -h: with one header as long as the gateway's. -t: with values as long
 * as those of the envelope "tbmq", copied, as what is rendered for each record has to be.
 */
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "journal.h"
#include "log.h"

#define DEVICES       100
#define PAYLOAD_BYTES 200
#define PER_COMMIT    5000
#define TOPIC_BYTES   32
#define TBMQ_BYTES    545
#define HEADER        "bench/00000000-0000-4000-8000-000000000000/1234567/1790000000000"

enum kind {
	KIND_PLAIN,
	KIND_HEADER,
	KIND_TBMQ,
};

static char payload[DEVICES][TBMQ_BYTES]; /* most need but the first PAYLOAD_BYTES */
static char topics[DEVICES][TOPIC_BYTES];

/* Text that does not compress as if it were all the same. */
static void
make_records(void)
{
	uint32_t state = 1;

	for (size_t i = 0; i < DEVICES; i++) {
		(void)snprintf(topics[i], TOPIC_BYTES, "plant/dev-%03zu", i);
		for (size_t k = 0; k < TBMQ_BYTES; k++) {
			state = state * 1664525 + 1013904223;
			payload[i][k] = (char)('a' + (state >> 24) % 26);
		}
	}
}

static int
fill(const char *directory, size_t count)
{
	struct journal_options options = {.directory = directory,
	    .gateway_id = "bench",
	    .max_bytes = (uint64_t)8 << 30,
	    .dead_max_bytes = (uint64_t)1 << 20,
	    .codec = BATCH_CODEC_NONE};
	struct journal *j;
	int err = journal_open(&j, JOURNAL_INGEST, &options);

	for (size_t i = 0; err == 0 && i < count; i++) {
		const char *topic = topics[i % DEVICES];
		struct record r = {.received_ms = 1790000000000,
		    .topic = {.data = topic, .size = strlen(topic)},
		    .payload = {.data = payload[i % DEVICES], .size = PAYLOAD_BYTES},
		    .qos = 1};

		err = journal_stage(j, &r);
		if (err == 0 && ((i + 1) % PER_COMMIT == 0 || i + 1 == count))
			err = journal_commit(j);
	}
	journal_close(j);
	if (err != 0)
		fprintf(stderr, "fill: %s\n", err_str(err));
	return err == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

struct outcome {
	size_t delivered;
	size_t failed;
};

static void
on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
	struct outcome *o = opaque;

	(void)rk;
	if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR)
		o->delivered++;
	else
		o->failed++;
}

static rd_kafka_t *
open_producer(const char *bootstrap, struct outcome *o)
{
	static const char *const settings[][2] = {{"enable.idempotence", "true"},
	    {"acks", "all"}, {"compression.type", "none"}, {"message.timeout.ms", "0"},
	    {"queue.buffering.max.messages", "1000000"}};
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char why[512];
	rd_kafka_t *rk;

	(void)rd_kafka_conf_set(conf, "bootstrap.servers", bootstrap, NULL, 0);
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
		if (rd_kafka_conf_set(conf, settings[i][0], settings[i][1], why,
			sizeof(why)) != RD_KAFKA_CONF_OK)
			fprintf(stderr, "%s\n", why);
	rd_kafka_conf_set_opaque(conf, o);
	rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
	rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
	if (rk == NULL) {
		fprintf(stderr, "%s\n", why);
		exit(EXIT_FAILURE);
	}
	return rk;
}

static rd_kafka_resp_err_t
send_one(rd_kafka_t *rk, const char *topic, size_t device, enum kind kind)
{
	char *value = payload[device], *key = topics[device];

	switch (kind) {
	case KIND_HEADER:
		return rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic),
		    RD_KAFKA_V_KEY(key, strlen(key)),
		    RD_KAFKA_V_VALUE(value, PAYLOAD_BYTES),
		    RD_KAFKA_V_HEADER("tidegate", HEADER, sizeof(HEADER) - 1),
		    RD_KAFKA_V_END);
	case KIND_TBMQ:
		return rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic),
		    RD_KAFKA_V_KEY(key, strlen(key)),
		    RD_KAFKA_V_VALUE(value, TBMQ_BYTES),
		    RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
	case KIND_PLAIN:
		break;
	}
	return rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic),
	    RD_KAFKA_V_KEY(key, strlen(key)), RD_KAFKA_V_VALUE(value, PAYLOAD_BYTES),
	    RD_KAFKA_V_END);
}

static int
send_all(const char *bootstrap, const char *topic, size_t count, enum kind kind)
{
	struct outcome o = {0};
	rd_kafka_t *rk = open_producer(bootstrap, &o);

	for (size_t i = 0; i < count; i++) {
		rd_kafka_resp_err_t rc = send_one(rk, topic, i % DEVICES, kind);

		while (rc == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
			(void)rd_kafka_poll(rk, 10);
			rc = send_one(rk, topic, i % DEVICES, kind);
		}
		if (rc != RD_KAFKA_RESP_ERR_NO_ERROR) {
			fprintf(stderr, "produce: %s\n", rd_kafka_err2str(rc));
			return EXIT_FAILURE;
		}
		if (i % 100 == 0)
			(void)rd_kafka_poll(rk, 0);
	}
	while (o.delivered + o.failed < count)
		(void)rd_kafka_poll(rk, 100);
	rd_kafka_destroy(rk);
	if (o.failed > 0)
		fprintf(stderr, "%zu were not delivered\n", o.failed);
	return o.failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static bool
kind_get(int argc, char *argv[], enum kind *kind)
{
	*kind = KIND_PLAIN;
	if (argc == 6 && strcmp(argv[5], "-h") == 0)
		*kind = KIND_HEADER;
	else if (argc == 6 && strcmp(argv[5], "-t") == 0)
		*kind = KIND_TBMQ;
	return argc == 5 || *kind != KIND_PLAIN;
}

int
main(int argc, char *argv[])
{
	enum kind kind;

	log_open("produce", LOG_LEVEL_WARNING, LOG_FORMAT_TEXT);
	make_records();
	if (argc == 4 && strcmp(argv[1], "fill") == 0)
		return fill(argv[2], strtoul(argv[3], NULL, 10));
	if (argc >= 5 && strcmp(argv[1], "send") == 0 && kind_get(argc, argv, &kind))
		return send_all(argv[2], argv[3], strtoul(argv[4], NULL, 10), kind);
	fprintf(stderr, "usage: produce fill DIR COUNT\n"
			"       produce send BOOTSTRAP TOPIC COUNT [-h|-t]\n");
	return 2;
}
