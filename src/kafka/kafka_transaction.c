/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transactions (KIP-98), for exactly once.
 *
 * One rule for what librdkafka answers: what can be tried again is the same call again,
 * a little later; what has to be aborted is ERR_REFUSED; all else is ERR_FATAL, and the
 * next producer begins with recover(), which finds out what became of it.
 *
 * Invariants: a transaction is committed only with the position record in it, and only
 * when nothing in it has failed (librdkafka counts). What a failed transaction delivers
 * is reported as SINK_NOT_DELIVERED.
 *
 * Failure modes: Kafka is away: the calls go on as before when it is back, or it has
 * aborted the transaction meanwhile, which ends the producer. A commit, or an abort, that
 * does not end: the producer is given up after STUCK_MS, later than Kafka itself gives
 * the transaction up. The position topic was deleted: the same at once, for only
 * recover() makes it again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "kafka_transaction_parts.h"
#include "now.h"

#define BYTES_FIRST ((uint64_t)256 << 10)
#define SILENCE_MS  2000  /* records are out, and nothing comes back */
#define LOOK_MS     60000 /* whether the producer has met too many topics */

/* ---- from the beginning to the end ---- */

int
kafka_transaction_open(struct kafka_transaction **out, const struct settings *settings,
    const uint8_t uuid[16])
{
	struct kafka_transaction *t = calloc(1, sizeof(*t));

	*out = NULL;
	if (t == NULL)
		return ERR_NOMEM;
	t->settings = settings;
	t->bytes_max = BYTES_FIRST;
	kafka_position_key(t->key, settings, uuid);
	*out = t;
	return 0;
}

bool
kafka_transaction_close(struct kafka_transaction *t)
{
	if (t == NULL)
		return true;
	if (!kafka_position_close(t->reader))
		return false;
	free(t);
	return true;
}

void
kafka_transaction_use(struct kafka_transaction *t, struct kafka_producer *producer)
{
	if (t->taken_count > 0)
		kafka_transaction_adapt(t, false);
	t->producer = producer;
	t->state = STATE_NEW;
	t->taken_count = 0;
	t->pause_ms = 0;
	t->begun_ms = 0;
	t->looked_ms = now_monotonic_ms();
	t->is_position_lost = false;
	t->is_explained = false;
	t->why[0] = '\0';
	if (producer != NULL)
		producer->is_asking = true;
}

bool
kafka_transaction_is_finished(const struct kafka_transaction *t, const char **text)
{
	*text = t->why;
	return t->state == STATE_FINISHED;
}

/* ---- recover ---- */

static int
init(struct kafka_transaction *t)
{
	int64_t called_ms = now_monotonic_ms();
	rd_kafka_error_t *error;

	if (t->begun_ms == 0)
		t->begun_ms = called_ms;
	error = rd_kafka_init_transactions(t->producer->rk, KAFKA_TRANSACTION_STEP_MS);
	if (error == NULL) {
		t->state = STATE_READING;
		return 0;
	}
	if (called_ms - t->begun_ms > 10000)
		log_repeated(&t->init_log, called_ms, LOG_LEVEL_INFO, LOG_DELIVERY,
		    "exactly once: waits for Kafka's transaction coordinator: %s",
		    rd_kafka_error_string(error));
	return kafka_transaction_judge(t, "init_transactions", error, called_ms);
}

static int
read_position(struct kafka_transaction *t, struct buffer *position)
{
	int err = 0;

	if (t->reader == NULL)
		err = kafka_position_open(&t->reader, t->settings, t->key);
	if (err == 0)
		err = kafka_position_read(t->reader, t->producer->rk, position);
	if (err == ERR_INVALID || err == ERR_IO || err == ERR_FATAL)
		return ERR_REFUSED; /* logged; a file may come */
	if (err == 0)
		t->state = STATE_ASKING;
	return err;
}

int
kafka_transaction_recover(struct kafka_transaction *t, struct buffer *position)
{
	int err = 0;

	if (t->producer == NULL || t->state == STATE_FINISHED)
		return ERR_FATAL;
	if (!kafka_transaction_may_call(t))
		return ERR_AWAY;
	if (t->state == STATE_READY) /* once more: it may have been written since */
		t->state = STATE_READING;
	if (t->state == STATE_NEW)
		err = init(t);
	if (err == 0 && t->state == STATE_READING)
		err = read_position(t, position);
	if (err == 0 && t->state == STATE_ASKING)
		err =
		    kafka_producer_ask(t->producer, t->settings->kafka.position_topic);
	if (err != 0)
		return err;
	t->state = STATE_READY;
	return 0;
}

/* ---- open ---- */

int
kafka_transaction_begin(struct kafka_transaction *t)
{
	int64_t now_ms = now_monotonic_ms();
	rd_kafka_error_t *error;

	if (now_ms - t->looked_ms > LOOK_MS) {
		t->looked_ms = now_ms;
		if (kafka_topics_are_too_many(&t->producer->topics, now_ms))
			return kafka_transaction_finish(
			    t, "the producer has met too many topics");
	}
	error = rd_kafka_begin_transaction(t->producer->rk);
	t->begun_ms = now_ms;
	if (error != NULL) {
		int err =
		    kafka_transaction_judge(t, "begin_transaction", error, now_ms);

		return err == ERR_REFUSED ? ERR_AWAY : err;
	}
	t->state = STATE_OPEN;
	t->taken_count = 0;
	t->taken_bytes = 0;
	t->opened_ms = now_ms;
	t->heard_ms = now_ms;
	t->producer->must_abort = false;
	return 0;
}

/* What has to be aborted, and has nothing in it that anybody knows of. */
static int
give_up_empty(struct kafka_transaction *t)
{
	int err = kafka_transaction_abort(t);

	return err == ERR_FATAL ? ERR_FATAL : ERR_AWAY;
}

int
kafka_transaction_send(
    struct kafka_transaction *t, const struct sink_record *r, uint64_t tag)
{
	int err = 0;

	if (t->producer == NULL || t->state == STATE_FINISHED)
		return ERR_FATAL;
	if (t->taken_count == 0 &&
	    (t->state == STATE_FAILED || t->state == STATE_ABORTING))
		return give_up_empty(t);
	if (t->state != STATE_READY && t->state != STATE_OPEN)
		return ERR_AWAY;
	/* Asked outside of a transaction: it may take its time. */
	if (t->state == STATE_READY)
		err = kafka_producer_ask(t->producer, r->topic);
	if (err == 0 && t->state == STATE_READY)
		err = kafka_transaction_begin(t);
	if (err != 0)
		return err;
	if (t->taken_count > 0 && t->taken_bytes >= t->bytes_max)
		return ERR_FULL;
	err = kafka_producer_send(t->producer, r, tag);
	if (err == 0) {
		t->taken_count++;
		t->taken_bytes += r->key.size + r->value.size;
	}
	if (t->producer->must_abort)
		t->state = STATE_FAILED;
	return err;
}

bool
kafka_transaction_report(struct kafka_transaction *t, const rd_kafka_message_t *m,
    uint64_t tag, enum sink_result *result)
{
	bool is_position = tag == KAFKA_POSITION_TAG;

	t->heard_ms = t->producer->now_ms;
	if (*result == SINK_DELIVERED) {
		if (t->state == STATE_FAILED || t->state == STATE_ABORTING ||
		    t->state == STATE_FINISHED)
			*result = SINK_NOT_DELIVERED;
		return !is_position;
	}
	if (kafka_producer_is_denied(m))
		*result = SINK_ROUTE_REFUSED;
	if (t->state == STATE_OPEN)
		t->state = STATE_FAILED;
	if (is_position && *result == SINK_ROUTE_REFUSED)
		t->is_position_lost = true;
	return !is_position;
}

/*
 * A topic that is deleted while records for it are out is noticed only when somebody
 * asks (seen with 2.0.2). The answer counts although it is not waited for.
 */
static void
ask_why_silent(struct kafka_transaction *t)
{
	const struct rd_kafka_metadata *m = NULL;
	int64_t now_ms = now_monotonic_ms();

	if ((t->state != STATE_OPEN && t->state != STATE_COMMITTING) ||
	    rd_kafka_outq_len(t->producer->rk) == 0 ||
	    now_ms - t->heard_ms < SILENCE_MS)
		return;
	t->heard_ms = now_ms;
	if (rd_kafka_metadata(t->producer->rk, 0, NULL, &m, 1) ==
	    RD_KAFKA_RESP_ERR_NO_ERROR)
		rd_kafka_metadata_destroy(m);
}

void
kafka_transaction_poll(struct kafka_transaction *t)
{
	if (t->producer == NULL)
		return;
	if (t->reader != NULL && t->state >= STATE_READY &&
	    kafka_position_serve(t->reader) && kafka_position_close(t->reader))
		t->reader = NULL;
	ask_why_silent(t);
}

/* "Failed to add partition "TOPIC" [0] to transaction: Broker: Topic authorization failed" */
void
kafka_transaction_log(
    struct kafka_transaction *t, const char *facility, const char *text)
{
	static const char before[] = "Failed to add partition \"";
	static const char after[] = "\" [";
	const char *from = strstr(text, before);
	const char *to = from == NULL ? NULL : strstr(from + strlen(before), after);
	char topic[256];

	if (strcmp(facility, "ADDPARTS") != 0 || to == NULL || t->producer == NULL ||
	    strstr(to, "authorization failed") == NULL)
		return;
	from += strlen(before);
	(void)snprintf(topic, sizeof(topic), "%.*s", (int)(to - from), from);
	kafka_producer_deny(t->producer, topic);
	if (strcmp(topic, t->settings->kafka.position_topic) == 0)
		log_repeated(&t->init_log, now_monotonic_ms(), LOG_LEVEL_ERROR,
		    LOG_DELIVERY,
		    "exactly once: Kafka does not let this user write to the topic %s",
		    topic);
}
