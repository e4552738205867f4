/* SPDX-License-Identifier: Apache-2.0 */
/* What the files behind kafka_transaction.h share; nobody else includes it. */
#ifndef KAFKA_TRANSACTION_PARTS_H
#define KAFKA_TRANSACTION_PARTS_H

#include "kafka_position.h"
#include "kafka_transaction.h"
#include "log.h"

#define KAFKA_POSITION_TAG UINT64_MAX /* of the position's own record */

/* A call into librdkafka waits no longer. */
#define KAFKA_TRANSACTION_STEP_MS 100

enum phase {
	STATE_NEW,     /* init_transactions has not ended */
	STATE_READING, /* the position */
	STATE_ASKING,  /* whether the producer knows the position topic */
	STATE_READY,
	STATE_OPEN,
	STATE_FAILED, /* open, and to be aborted */
	STATE_COMMITTING,
	STATE_ABORTING,
	STATE_FINISHED,
};

struct kafka_transaction {
	const struct settings *settings;
	char key[KAFKA_POSITION_KEY_MAX];
	struct kafka_producer *producer;
	struct kafka_position *reader;
	enum phase state;
	size_t taken_count;   /* records in this one */
	uint64_t taken_bytes; /* and their keys and values */
	uint64_t bytes_max;   /* no more than that: see adapt() */
	int64_t opened_ms;
	int64_t pause_ms;      /* until then librdkafka is not called again */
	int64_t begun_ms;      /* the call that is under way */
	int64_t heard_ms;      /* the latest report, or question why there is none */
	int64_t looked_ms;     /* at the topics */
	bool is_position_lost; /* its topic is not there */
	bool is_explained;     /* the end of this producer */
	char why[256];         /* STATE_FINISHED */
	struct log_repeat fatal_log, abort_log, init_log;
};

/* There is no way on but a new producer. Returns ERR_FATAL. */
int kafka_transaction_finish(struct kafka_transaction *t, const char *why);

/*
 * error is destroyed. Errors: ERR_AWAY (the same call again), ERR_REFUSED (abort),
 * ERR_FATAL.
 */
int kafka_transaction_judge(struct kafka_transaction *t, const char *what,
    rd_kafka_error_t *error, int64_t called_ms);

/* May librdkafka be called now? */
bool kafka_transaction_may_call(const struct kafka_transaction *t);

/* STATE_READY to STATE_OPEN. Errors: as kafka_transaction_judge(). */
int kafka_transaction_begin(struct kafka_transaction *t);

/* How much may be in the next one? */
void kafka_transaction_adapt(struct kafka_transaction *t, bool is_committed);

#endif
