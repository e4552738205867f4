/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Status reports to Kafka.
 *
 * Invariant: at most one report is out, and each has one outcome.
 *
 * Failure modes: Kafka is away, or does not take it: librdkafka gives up after
 * TIMEOUT_MS, it is logged now and then, and that is all. What ails the connection is
 * logged by the data's producer, which meets the same.
 */
#include "kafka_report.h"

#include <librdkafka/rdkafka.h>

#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "kafka_conf.h"
#include "kafka_producer.h"
#include "kafka_reason.h"
#include "log.h"
#include "now.h"

#define TIMEOUT_MS "10000"
#define CLOSE_MS   500

struct kafka_report {
	const struct settings *settings;
	struct kafka_producer *producer;
	bool is_out;
	enum kafka_report_outcome outcome; /* not asked for yet */
	struct log_repeat failed_log;
};

static void
note_outcome(struct kafka_report *r, const char *why)
{
	const char *topic = r->settings->status.kafka_topic;

	r->is_out = false;
	r->outcome = why == NULL ? KAFKA_REPORT_ARRIVED : KAFKA_REPORT_FAILED;
	if (why != NULL)
		log_repeated(&r->failed_log, now_monotonic_ms(), LOG_LEVEL_WARNING,
		    LOG_CONNECTION,
		    "a status report does not reach Kafka's topic %s: %s", topic, why);
	else if (r->failed_log.quiet_until_ms != 0) {
		log_recovered(&r->failed_log, LOG_LEVEL_INFO, LOG_CONNECTION, NULL,
		    "status reports reach Kafka's topic %s again", topic);
		r->failed_log = (struct log_repeat){0};
	}
}

/* Only from within rd_kafka_poll(). */
static void
on_report(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
	const struct kafka_producer *p = opaque;
	struct kafka_report *r = p->user;

	(void)rk;
	(void)kafka_producer_report(p, m);
	note_outcome(
	    r, m->err == RD_KAFKA_RESP_ERR_NO_ERROR ? NULL : rd_kafka_err2str(m->err));
}

static void
log_discreetly(const char *what, const char *text)
{
	char plain[1024];

	kafka_reason_discreet(plain, sizeof(plain), text);
	log_debug(LOG_CONNECTION, "status: librdkafka: %s: %s", what, plain);
}

static void
on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque)
{
	(void)rk;
	(void)opaque;
	log_discreetly(rd_kafka_err2name((rd_kafka_resp_err_t)code), reason);
}

static void
on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
	(void)rk;
	(void)level;
	log_discreetly(facility, text);
}

/* The data's way to Kafka, but none of what is promised for data. */
static int
loosen(rd_kafka_conf_t *conf, const struct settings *s)
{
	char client_id[256];
	int err = 0;
	const char *const list[][2] = {
	    {"client.id", client_id},
	    {"enable.gapless.guarantee", "false"},
	    {"enable.idempotence", "false"},
	    {"acks", "1"},
	    {"message.timeout.ms", TIMEOUT_MS},
	    {"linger.ms", "0"},
	    {"queue.buffering.max.messages", "2"},
	};

	(void)snprintf(client_id, sizeof(client_id), "%s-%s-status",
	    s->kafka.client_id_prefix, s->gateway_id);
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]) && err == 0; i++)
		err =
		    kafka_conf_put(conf, list[i][0], list[i][1], "status.kafka_topic");
	return err;
}

int
kafka_report_open(struct kafka_report **out, const struct settings *settings, int fd)
{
	struct kafka_report *r = calloc(1, sizeof(*r));
	struct buffer mistakes = {0};
	rd_kafka_conf_t *conf = NULL;
	int err;

	*out = NULL;
	if (r == NULL)
		return ERR_NOMEM;
	r->settings = settings;
	/* Its mistakes are those of the data's producer, which has told them. */
	err = kafka_conf_build(settings, true, &mistakes, &conf);
	buffer_fini(&mistakes);
	if (err == 0) {
		err = loosen(conf, settings);
		if (err != 0)
			rd_kafka_conf_destroy(conf);
	}
	if (err == 0) {
		rd_kafka_conf_set_dr_msg_cb(conf, on_report);
		rd_kafka_conf_set_error_cb(conf, on_error);
		rd_kafka_conf_set_log_cb(conf, on_log);
		err = kafka_producer_open(&r->producer, conf, false, fd, r);
	}
	if (err == 0)
		*out = r;
	else
		free(r);
	return err;
}

void
kafka_report_close(struct kafka_report *r)
{
	if (r == NULL)
		return;
	/* One that hangs in a name server is left to the end of the process. */
	if (!kafka_producer_give_back(r->producer, 0, CLOSE_MS) ||
	    !kafka_producer_close(r->producer))
		return;
	free(r);
}

void
kafka_report_send(struct kafka_report *r, const void *text, size_t size)
{
	const char *id = r->settings->gateway_id;
	const struct sink_record record = {
	    .topic = r->settings->status.kafka_topic,
	    .key = {id, strlen(id)},
	    .value = {text, size},
	    .copy_value = true,
	    .timestamp_ms = now_real_ms(),
	};
	int err = kafka_producer_send(r->producer, &record, 0);

	r->is_out = err == 0;
	if (err != 0)
		note_outcome(r, err_str(err));
}

bool
kafka_report_is_busy(const struct kafka_report *r)
{
	return r->is_out;
}

enum kafka_report_outcome
kafka_report_poll(struct kafka_report *r)
{
	enum kafka_report_outcome outcome;

	kafka_producer_poll(r->producer, 0);
	outcome = r->outcome;
	r->outcome = KAFKA_REPORT_NONE;
	return outcome;
}
