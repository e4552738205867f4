/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a transaction ends, and what librdkafka's answers mean: see kafka_transaction.c.
 */
#include <stdio.h>
#include <string.h>

#include "err.h"
#include "kafka_conf.h"
#include "kafka_transaction_parts.h"
#include "now.h"

#define QUICK_MS 20 /* an answer that came sooner: do not ask again at once */
#define PAUSE_MS 50
#define STUCK_MS (KAFKA_TRANSACTION_TIMEOUT_MS + 15000)

#define NO_POSITIONS "the position topic is not there, or not for us"

#define LEAVE_MS  300
#define SLOW_MS   20000
#define BYTES_MIN ((uint64_t)64 << 10)

/* ---- what librdkafka answers ---- */

int
kafka_transaction_finish(struct kafka_transaction *t, const char *why)
{
	(void)snprintf(t->why, sizeof(t->why), "%s", why);
	t->state = STATE_FINISHED;
	return ERR_FATAL;
}

void
kafka_transaction_explain(
    struct kafka_transaction *t, rd_kafka_resp_err_t code, const char *text)
{
	const char *id = t->settings->kafka.transactional_id;
	int64_t now_ms = now_monotonic_ms();

	if (t->is_explained)
		return;
	t->is_explained = true;
	switch ((int)code) { /* int: -Wswitch would want all of librdkafka's codes */
	case RD_KAFKA_RESP_ERR__FENCED:
	case RD_KAFKA_RESP_ERR_PRODUCER_FENCED:
	case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH:
		log_repeated(&t->fatal_log, now_ms, LOG_LEVEL_WARNING, LOG_DELIVERY,
		    "exactly once: fenced (%s): either Kafka has given up a "
		    "transaction "
		    "that took longer than %d s, or another gateway uses the "
		    "transactional id %s; a new producer looks at the position",
		    text, KAFKA_TRANSACTION_TIMEOUT_MS / 1000, id);
		break;
	case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
		log_repeated(&t->fatal_log, now_ms, LOG_LEVEL_ERROR, LOG_DELIVERY,
		    "exactly once: Kafka does not let this user use the transactional "
		    "id %s: it needs WRITE and DESCRIBE on that TransactionalId",
		    id);
		break;
	default:
		log_repeated(&t->fatal_log, now_ms, LOG_LEVEL_WARNING, LOG_DELIVERY,
		    "exactly once: a new producer: %s", text);
	}
}

int
kafka_transaction_judge(struct kafka_transaction *t, const char *what,
    rd_kafka_error_t *error, int64_t called_ms)
{
	int64_t now_ms = now_monotonic_ms();
	rd_kafka_resp_err_t code = rd_kafka_error_code(error);
	char text[256];
	int err = ERR_FATAL;

	(void)snprintf(
	    text, sizeof(text), "%s: %s", what, rd_kafka_error_string(error));
	if (!rd_kafka_error_is_fatal(error)) {
		if (rd_kafka_error_txn_requires_abort(error))
			err = ERR_REFUSED;
		else if (rd_kafka_error_is_retriable(error))
			err = ERR_AWAY;
	}
	rd_kafka_error_destroy(error);
	if (err == ERR_AWAY && now_ms - called_ms < QUICK_MS)
		t->pause_ms = now_ms + PAUSE_MS;
	if (err == ERR_AWAY && t->state != STATE_NEW &&
	    now_ms - t->begun_ms > STUCK_MS) {
		(void)snprintf(
		    text, sizeof(text), "%s has not ended for too long", what);
		err = ERR_FATAL;
	}
	if (err == ERR_REFUSED)
		log_repeated(&t->abort_log, now_ms, LOG_LEVEL_INFO, LOG_DELIVERY,
		    "exactly once: a transaction is aborted, and sent again: %s", text);
	if (err != ERR_FATAL)
		return err;
	kafka_transaction_explain(t, code, text);
	return kafka_transaction_finish(t, text);
}

bool
kafka_transaction_may_call(const struct kafka_transaction *t)
{
	return now_monotonic_ms() >= t->pause_ms;
}

/*
 * A transaction has to end within KAFKA_TRANSACTION_TIMEOUT_MS, on a slow link too: so it
 * holds no more than can be sent in a part of that, as far as the last one tells.
 */
void
kafka_transaction_adapt(struct kafka_transaction *t, bool is_committed)
{
	int64_t took_ms = now_monotonic_ms() - t->opened_ms;

	if (took_ms > SLOW_MS) {
		t->bytes_max = t->taken_bytes / 4;
		if (t->bytes_max < BYTES_MIN)
			t->bytes_max = BYTES_MIN;
	} else if (is_committed && took_ms < SLOW_MS / 4 &&
		   t->bytes_max < UINT64_MAX / 4) {
		t->bytes_max *= 4;
	}
}

/* ---- commit ---- */

static int
send_position(struct kafka_transaction *t, struct bytes position)
{
	const struct sink_record record = {
	    .topic = t->settings->kafka.position_topic,
	    .key = {t->key, strlen(t->key)},
	    .value = position,
	    .copy_value = true,
	    .timestamp_ms = now_real_ms(),
	};
	int err = kafka_producer_send_first(t->producer, &record, KAFKA_POSITION_TAG);

	if (t->producer->must_abort) {
		t->state = STATE_FAILED;
		return ERR_REFUSED;
	}
	if (err == ERR_REFUSED)
		return kafka_transaction_finish(t, NO_POSITIONS);
	return err == ERR_FULL ? ERR_AWAY : err;
}

/* Errors of the position topic are not mended by an abort. */
static int
fail(struct kafka_transaction *t)
{
	if (t->is_position_lost)
		return kafka_transaction_finish(t, NO_POSITIONS);
	t->state = STATE_FAILED;
	return ERR_REFUSED;
}

int
kafka_transaction_commit(struct kafka_transaction *t, struct bytes position)
{
	int64_t called_ms = now_monotonic_ms();
	rd_kafka_error_t *error;
	int err = 0;

	if (t->producer == NULL || t->state == STATE_FINISHED)
		return ERR_FATAL;
	if (t->state == STATE_FAILED)
		return fail(t);
	if (!kafka_transaction_may_call(t) || t->state < STATE_READY ||
	    t->state == STATE_ABORTING)
		return ERR_AWAY;
	if (t->state == STATE_READY)
		err = kafka_transaction_begin(t);
	if (err == 0 && t->state == STATE_OPEN)
		err = send_position(t, position);
	if (err != 0)
		return err;
	if (t->state == STATE_OPEN) {
		t->state = STATE_COMMITTING;
		t->begun_ms = called_ms;
	}
	error = rd_kafka_commit_transaction(t->producer->rk, KAFKA_TRANSACTION_STEP_MS);
	if (error == NULL) {
		t->state = STATE_READY;
		kafka_transaction_adapt(t, true);
		t->taken_count = 0;
		return 0;
	}
	err = kafka_transaction_judge(t, "commit_transaction", error, called_ms);
	return err == ERR_REFUSED ? fail(t) : err;
}

/* ---- abort ---- */

int
kafka_transaction_abort(struct kafka_transaction *t)
{
	int64_t called_ms = now_monotonic_ms();
	rd_kafka_error_t *error;
	int err;

	if (t->producer == NULL || t->state == STATE_FINISHED)
		return ERR_FATAL;
	if (t->state <= STATE_READY)
		return 0;
	/* It purges, and for that waits for threads that may be in getaddrinfo(3). */
	if (!kafka_transaction_may_call(t) ||
	    kafka_resolver_is_busy(&t->producer->resolver))
		return ERR_AWAY;
	if (t->state != STATE_ABORTING) {
		t->state = STATE_ABORTING;
		t->begun_ms = called_ms;
		kafka_transaction_adapt(t, false);
	}
	error = rd_kafka_abort_transaction(t->producer->rk, KAFKA_TRANSACTION_STEP_MS);
	if (error == NULL) {
		t->state = STATE_READY;
		t->taken_count = 0;
		t->producer->must_abort = false;
		return 0;
	}
	err = kafka_transaction_judge(t, "abort_transaction", error, called_ms);
	return err == ERR_REFUSED
		   ? kafka_transaction_finish(t, "it cannot even be aborted")
		   : err;
}

/*
 * It also keeps librdkafka from adding partitions to the transaction: to be destroyed
 * while it begins to do that ends it by an assertion (2.0.2).
 */
void
kafka_transaction_leave(struct kafka_transaction *t)
{
	bool is_open = t->state == STATE_OPEN || t->state == STATE_FAILED ||
		       t->state == STATE_ABORTING;
	rd_kafka_error_t *error;

	if (t->producer == NULL || !is_open ||
	    kafka_resolver_is_busy(&t->producer->resolver))
		return;
	t->state = STATE_ABORTING;
	error = rd_kafka_abort_transaction(t->producer->rk, LEAVE_MS);
	if (error == NULL)
		return;
	log_debug(LOG_DELIVERY, "abort_transaction: %s", rd_kafka_error_string(error));
	rd_kafka_error_destroy(error);
}
