/* SPDX-License-Identifier: Apache-2.0 */
/* What the files behind kafka_position.h share; nobody else includes it. */
#ifndef KAFKA_POSITION_PARTS_H
#define KAFKA_POSITION_PARTS_H

#include <stdint.h>

#include "kafka_position.h"
#include "kafka_resolver.h"
#include "log.h"

#define KAFKA_POSITION_PAUSE_MS 100

enum position_step {
	STEP_FIND,    /* is the topic there? */
	STEP_MAKE,    /* it is being made */
	STEP_MEASURE, /* where does it end? */
	STEP_READ,
};

struct kafka_position {
	struct kafka_resolver resolver; /* first: see there */
	const struct settings *settings;
	const char *topic;
	const char *key;
	size_t id_size; /* of the key: the transactional id and the slash */
	rd_kafka_t *rk; /* a consumer */
	rd_kafka_topic_t *rkt;
	rd_kafka_queue_t *queue; /* what was read */
	rd_kafka_queue_t *admin;
	enum position_step step;
	bool is_reading;
	bool is_asking;     /* its answer is on its way */
	bool is_asked;      /* for the topic's configuration */
	int64_t pause_ms;   /* until then nothing is done */
	bool is_refused;    /* that is why */
	int timeout_ms;     /* of what blocks */
	int64_t from, next; /* the window is read from here; it has come so far */
	int64_t until;      /* and ends here */
	int64_t end;        /* of the partition */
	int64_t window;
	int64_t heard_at_ms; /* the latest record, or the window was begun */
	bool is_found;
	struct buffer found;
	int64_t found_offset, foreign_offset;
	char foreign[64]; /* UUID of another journal */
	struct log_repeat refused_log, wait_log;
};

/* Do nothing for so long. Returns ERR_AWAY. */
int kafka_position_pause(struct kafka_position *p, int64_t ms);

/* The same, for a moment, and longer time-outs: on a slow link answers take long. */
int kafka_position_again(struct kafka_position *p, rd_kafka_resp_err_t code);

/* Say it, and do nothing for a while. Returns ERR_REFUSED. */
int kafka_position_refuse(
    struct kafka_position *p, const char *what, const char *rights, const char *why);

/* ---- kafka_position_topic.c ---- */

/* STEP_FIND to STEP_MAKE. Errors: ERR_AWAY (it is under way), ERR_REFUSED. */
int kafka_position_make(struct kafka_position *p);

/* The answer to that. Back to STEP_FIND. Errors: ERR_AWAY, ERR_REFUSED. */
int kafka_position_take_made(struct kafka_position *p, rd_kafka_event_t *event);

/* Is it compacted, and nothing else? Asked once; the answer changes nothing. */
void kafka_position_ask_policy(struct kafka_position *p);
void kafka_position_take_policy(struct kafka_position *p, rd_kafka_event_t *event);

#endif
