/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The position that was committed last, out of kafka.position_topic: the last record of
 * partition 0 with our key that belongs to a transaction which was committed.
 */
#ifndef KAFKA_POSITION_H
#define KAFKA_POSITION_H

#include <librdkafka/rdkafka.h>

#include <stdbool.h>

#include "buffer.h"
#include "settings.h"

/* "TRANSACTIONAL-ID/UUID" and an end mark. */
#define KAFKA_POSITION_KEY_MAX 512

void kafka_position_key(char key[KAFKA_POSITION_KEY_MAX],
    const struct settings *settings, const uint8_t uuid[16]);

struct kafka_position;

/*
 * Ownership: settings and key are borrowed as long as it lives.
 * Errors:    ERR_INVALID, ERR_IO, ERR_FATAL: logged; ERR_NOMEM.
 */
int kafka_position_open(
    struct kafka_position **out, const struct settings *settings, const char *key);

/*
 * Take in what is still on its way when the position has been read: how the topic is
 * configured. True: nothing is.
 */
bool kafka_position_serve(struct kafka_position *p);

/* Release it; NULL is taken. False: nothing was done, see kafka_resolver.h; try again. */
bool kafka_position_close(struct kafka_position *p);

/*
 * Read it, in steps of a tenth of a second or so; on a slow link they become longer. The
 * topic is made where it is missing. Nothing of ours is being written meanwhile, and the
 * transactions of an earlier producer have been ended (init_transactions).
 *
 * producer:  with isolation.level=read_uncommitted: where does the partition end? Nobody's
 *            open transaction is to hide what lies behind it.
 * position:  replaced, when 0 is returned; empty: there is none.
 * Errors:    ERR_AWAY (call again), ERR_REFUSED (Kafka does not let us, logged with what
 *            is needed; it is tried again after a while), ERR_NOMEM.
 */
int kafka_position_read(
    struct kafka_position *p, rd_kafka_t *producer, struct buffer *position);

#endif
