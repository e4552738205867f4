/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the position topic.
 *
 * The partition is read from its end backwards, in windows that grow, by a consumer that
 * sees only what was committed (KIP-98). Such a consumer is shown nothing behind the
 * first transaction that is still open, and that may be another gateway's: so the end is
 * asked for with read_uncommitted, and the reader waits until it has come to it.
 *
 * Invariant: "there is none" is said only when the whole partition was read up to its
 * end as it was when this began.
 *
 * Failure modes: Kafka is away: tried again for ever. The topic is missing: only the
 * controller, which is asked to make it, knows that for certain. We may not read or make
 * it: said with the rights that are needed, and tried again after REFUSED_MS.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "journal.h"
#include "kafka_conf.h"
#include "kafka_position_parts.h"
#include "kafka_reason.h"
#include "kafka_resolver.h"
#include "log.h"
#include "now.h"

#define STEP_MS  100
#define STUCK_MS 90000 /* longer than a transaction may last */
#define TELL_MS  5000
#define WINDOW   64 /* offsets; then four times as much, and so on */

void
kafka_position_key(char key[KAFKA_POSITION_KEY_MAX], const struct settings *settings,
    const uint8_t uuid[16])
{
	char text[37];

	journal_uuid_text(uuid, text);
	(void)snprintf(key, KAFKA_POSITION_KEY_MAX, "%.400s/%s",
	    settings->kafka.transactional_id, text);
}

/* ---- the consumer ---- */

static void
log_discreetly(const char *what, const char *text)
{
	char plain[1024];

	kafka_reason_discreet(plain, sizeof(plain), text);
	log_debug(LOG_CONNECTION, "position: librdkafka: %s: %s", what, plain);
}

/* What ails the connection is logged by the producer, which meets the same. */
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

/* A consumer without a group: it needs no right but to read the topic. */
static int
adapt(rd_kafka_conf_t *conf, const struct settings *s)
{
	char client_id[256];
	int err = 0;
	const char *const list[][2] = {
	    {"client.id", client_id},
	    {"isolation.level", "read_committed"},
	    {"enable.auto.commit", "false"},
	    {"enable.auto.offset.store", "false"},
	    {"auto.offset.reset", "earliest"},
	    {"enable.partition.eof", "true"},
	    {"allow.auto.create.topics", "false"},
	    /* With the default of 500 the end of a partition takes a second to see. */
	    {"fetch.wait.max.ms", "10"},
	    {"fetch.error.backoff.ms", "50"},
	    {"queued.max.messages.kbytes", "1024"},
	    /* On a slow link an answer has to come within socket.timeout.ms. */
	    {"fetch.message.max.bytes", "131072"},
	};

	(void)snprintf(client_id, sizeof(client_id), "%s-%s-position",
	    s->kafka.client_id_prefix, s->gateway_id);
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]) && err == 0; i++)
		err = kafka_conf_put(
		    conf, list[i][0], list[i][1], "kafka.position_topic");
	if (err != 0)
		return err;
	rd_kafka_conf_set_error_cb(conf, on_error);
	rd_kafka_conf_set_log_cb(conf, on_log);
	kafka_resolver_use(conf);
	return 0;
}

static int
open_consumer(struct kafka_position *p)
{
	struct buffer mistakes = {0};
	rd_kafka_conf_t *conf = NULL;
	char why[512];
	int err;

	/* Its mistakes are those of the producer, which has told them. */
	err = kafka_conf_build(p->settings, true, &mistakes, &conf);
	buffer_fini(&mistakes);
	if (err != 0)
		return err;
	err = adapt(conf, p->settings);
	rd_kafka_conf_set_opaque(conf, p);
	if (err == 0) {
		p->rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof(why));
		if (p->rk != NULL)
			conf = NULL; /* taken over */
		else
			err = ERR_FATAL;
	}
	if (err == ERR_FATAL)
		log_error(LOG_LIFECYCLE, "kafka: %s", why);
	if (conf != NULL)
		rd_kafka_conf_destroy(conf);
	if (err == 0)
		(void)rd_kafka_set_log_queue(p->rk, NULL); /* log.queue is set */
	return err;
}

int
kafka_position_open(
    struct kafka_position **out, const struct settings *settings, const char *key)
{
	struct kafka_position *p = calloc(1, sizeof(*p));
	int err;

	*out = NULL;
	if (p == NULL)
		return ERR_NOMEM;
	p->settings = settings;
	p->topic = settings->kafka.position_topic;
	p->key = key;
	p->id_size = strlen(key) - strlen(strrchr(key, '/')) + 1;
	p->timeout_ms = STEP_MS;
	err = open_consumer(p);
	if (err != 0) {
		free(p);
		return err;
	}
	p->queue = rd_kafka_queue_new(p->rk);
	p->admin = rd_kafka_queue_new(p->rk);
	p->rkt = rd_kafka_topic_new(p->rk, p->topic, NULL);
	if (p->rkt == NULL) {
		log_error(LOG_LIFECYCLE, "kafka.position_topic: %s is no name for one",
		    p->topic);
		(void)kafka_position_close(p);
		return ERR_INVALID;
	}
	*out = p;
	return 0;
}

static void
stop_reading(struct kafka_position *p)
{
	if (p->is_reading)
		(void)rd_kafka_consume_stop(p->rkt, 0);
	p->is_reading = false;
}

bool
kafka_position_close(struct kafka_position *p)
{
	if (p == NULL)
		return true;
	if (!kafka_resolver_close(&p->resolver))
		return false;
	stop_reading(p);
	if (p->rkt != NULL)
		rd_kafka_topic_destroy(p->rkt);
	rd_kafka_queue_destroy(p->queue);
	rd_kafka_queue_destroy(p->admin);
	rd_kafka_destroy(p->rk);
	buffer_fini(&p->found);
	free(p);
	return true;
}

static bool
is_unknown(rd_kafka_resp_err_t code)
{
	return code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
	       code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC ||
	       code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
}

static int
refuse_reading(struct kafka_position *p, rd_kafka_resp_err_t code)
{
	return kafka_position_refuse(p, "cannot be read",
	    "READ, WRITE and DESCRIBE on it", rd_kafka_err2str(code));
}

static void
start_over(struct kafka_position *p)
{
	stop_reading(p);
	p->step = STEP_FIND;
}

/* ---- the topic ---- */

/* Take in what has come beside what was read. Only for STEP_MAKE it is more than advice. */
static int
serve(struct kafka_position *p)
{
	rd_kafka_event_t *event;
	int err = ERR_AWAY;

	while (rd_kafka_poll(p->rk, 0) > 0)
		continue;
	event = rd_kafka_queue_poll(p->admin, 0);
	if (event == NULL)
		return ERR_AWAY;
	if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DESCRIBECONFIGS_RESULT)
		kafka_position_take_policy(p, event);
	else if (p->step == STEP_MAKE)
		err = kafka_position_take_made(p, event);
	rd_kafka_event_destroy(event);
	return err;
}

bool
kafka_position_serve(struct kafka_position *p)
{
	(void)serve(p);
	return !p->is_asking;
}

static int
find_topic(struct kafka_position *p)
{
	const struct rd_kafka_metadata *m = NULL;
	rd_kafka_resp_err_t code;

	code = rd_kafka_metadata(p->rk, 0, p->rkt, &m, p->timeout_ms);
	if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
		return kafka_position_again(p, code);
	code = RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
	if (m->topic_cnt == 1)
		code = m->topics[0].err;
	rd_kafka_metadata_destroy(m);
	if (is_unknown(code))
		return kafka_position_make(p);
	if (code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED ||
	    code == RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION)
		return refuse_reading(p, code);
	if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
		return kafka_position_again(p, code);
	p->step = STEP_MEASURE;
	return ERR_AWAY;
}

/* ---- reading ---- */

static int
read_window(struct kafka_position *p)
{
	p->from = p->end > p->window ? p->end - p->window : 0;
	p->next = p->from;
	if (rd_kafka_consume_start_queue(p->rkt, 0, p->from, p->queue) != 0)
		return kafka_position_again(p, rd_kafka_last_error());
	p->is_reading = true;
	p->heard_at_ms = now_monotonic_ms();
	p->step = STEP_READ;
	return ERR_AWAY;
}

static int
measure(struct kafka_position *p, rd_kafka_t *producer)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_t *one =
	    rd_kafka_topic_partition_list_add(list, p->topic, 0);
	rd_kafka_resp_err_t code;

	/* Not rd_kafka_query_watermark_offsets(): it waits past its time-out. */
	one->offset = RD_KAFKA_OFFSET_END;
	code = rd_kafka_offsets_for_times(producer, list, p->timeout_ms);
	if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
		code = one->err;
	p->end = one->offset;
	rd_kafka_topic_partition_list_destroy(list);
	if (code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
		return refuse_reading(p, code);
	if (code != RD_KAFKA_RESP_ERR_NO_ERROR || p->end < 0) {
		p->step = STEP_FIND;
		return kafka_position_again(p, code);
	}
	p->until = p->end;
	p->window = WINDOW;
	p->is_found = false;
	p->foreign[0] = '\0';
	kafka_position_ask_policy(p);
	return read_window(p);
}

static int
take_record(struct kafka_position *p, const rd_kafka_message_t *m)
{
	int err;

	if (m->key_len < p->id_size || memcmp(m->key, p->key, p->id_size) != 0)
		return 0;
	if (m->key_len != strlen(p->key) || memcmp(m->key, p->key, m->key_len) != 0) {
		if (m->offset < p->foreign_offset && p->foreign[0] != '\0')
			return 0;
		(void)snprintf(p->foreign, sizeof(p->foreign), "%.*s",
		    (int)(m->key_len - p->id_size), (const char *)m->key + p->id_size);
		p->foreign_offset = m->offset;
		return 0;
	}
	buffer_clear(&p->found);
	p->is_found = m->payload != NULL;
	err = p->is_found ? buffer_append(&p->found, m->payload, m->len) : 0;
	p->found_offset = m->offset;
	return err;
}

/* Errors: ERR_AWAY, ERR_REFUSED, ERR_NOMEM; 0: read on. */
static int
take_message(struct kafka_position *p, const rd_kafka_message_t *m)
{
	if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
		p->next = m->offset + 1;
		p->heard_at_ms = now_monotonic_ms();
		return m->offset < p->until ? take_record(p, m) : 0;
	}
	if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
		if (m->offset > p->next)
			p->next = m->offset;
		return 0;
	}
	if (m->err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED) {
		start_over(p);
		return refuse_reading(p, m->err);
	}
	if (is_unknown(m->err)) {
		start_over(p);
		return kafka_position_again(p, m->err);
	}
	log_debug(LOG_CONNECTION, "position: %s", rd_kafka_message_errstr(m));
	return 0;
}

static void
tell_foreign(const struct kafka_position *p)
{
	if (p->foreign[0] == '\0' ||
	    (p->is_found && p->found_offset > p->foreign_offset))
		return;
	log_warning(LOG_DELIVERY,
	    "exactly once: journal %s has written under the transactional id %.*s, "
	    "%s this one: a journal that was lost, of which a copy was restored, or "
	    "that of a second gateway with the same id",
	    p->foreign, (int)p->id_size - 1, p->key,
	    p->is_found ? "later than" : "and never");
}

/* The window is read. 0: so is all that has to be. */
static int
end_window(struct kafka_position *p, struct buffer *position)
{
	int err = 0;

	stop_reading(p);
	if (!p->is_found && p->from > 0) {
		p->until = p->from;
		p->window *= 4;
		return read_window(p);
	}
	buffer_clear(position);
	if (p->is_found)
		err = buffer_append(position, p->found.data, p->found.size);
	if (err != 0)
		return err;
	tell_foreign(p);
	p->step = STEP_FIND;
	p->timeout_ms = STEP_MS;
	return 0;
}

static int
read_on(struct kafka_position *p, struct buffer *position)
{
	int64_t now_ms = now_monotonic_ms();
	int64_t end_ms = now_ms + STEP_MS;
	int err = 0;

	while (err == 0 && p->next < p->until && now_ms < end_ms) {
		rd_kafka_message_t *m =
		    rd_kafka_consume_queue(p->queue, (int)(end_ms - now_ms));

		if (m != NULL) {
			err = take_message(p, m);
			rd_kafka_message_destroy(m);
		}
		now_ms = now_monotonic_ms();
	}
	if (err != 0)
		return err;
	if (p->next >= p->until)
		return end_window(p, position);
	if (now_ms - p->heard_at_ms > TELL_MS)
		log_repeated(&p->wait_log, now_ms, LOG_LEVEL_INFO, LOG_DELIVERY,
		    "exactly once: waits for the end of a transaction that another "
		    "gateway has open in the topic %s, or for Kafka",
		    p->topic);
	if (now_ms - p->heard_at_ms > STUCK_MS)
		start_over(p);
	return ERR_AWAY;
}

int
kafka_position_read(
    struct kafka_position *p, rd_kafka_t *producer, struct buffer *position)
{
	int err = serve(p);

	if (err != ERR_AWAY)
		return err;
	if (now_monotonic_ms() < p->pause_ms)
		return p->is_refused ? ERR_REFUSED : ERR_AWAY;
	p->is_refused = false;
	switch (p->step) {
	case STEP_FIND:
		return find_topic(p);
	case STEP_MAKE:
		return ERR_AWAY;
	case STEP_MEASURE:
		return measure(p, producer);
	case STEP_READ:
		return read_on(p, position);
	}
	return ERR_AWAY;
}
