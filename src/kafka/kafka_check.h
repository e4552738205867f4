/* SPDX-License-Identifier: Apache-2.0 */
/* --check-connection: the Kafka cluster. */
#ifndef KAFKA_CHECK_H
#define KAFKA_CHECK_H

#include "check.h"
#include "settings.h"

/*
 * Connect as the gateway would, under its client id with "-check" behind it, and look at
 * the topics that it writes to. Nothing is sent, made or changed.
 *
 * oldest_age_ms: of what waits in the journal; -1 where nothing does.
 */
void kafka_check(
    struct check *c, const struct settings *settings, int64_t oldest_age_ms);

#endif
