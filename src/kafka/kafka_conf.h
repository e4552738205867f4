/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration of a producer, out of the settings. */
#ifndef KAFKA_CONF_H
#define KAFKA_CONF_H

#include <librdkafka/rdkafka.h>

#include "settings.h"

/*
 * With read_secrets false no file is opened: a name whose value comes from one is
 * judged alone.
 *
 * Ownership: *out is the caller's, for rd_kafka_new() or rd_kafka_conf_destroy();
 *            mistakes is appended to, a line each.
 * Errors:    ERR_INVALID (see mistakes), ERR_IO (a secret cannot be read; logged),
 *            ERR_NOMEM.
 */
int kafka_conf_build(const struct settings *settings, bool read_secrets,
    struct buffer *mistakes, rd_kafka_conf_t **out);

#endif
