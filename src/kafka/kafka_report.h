/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way of status reports to Kafka: a producer of its own beside the data's, so that
 * a report goes past the backlog, and one that is refused disturbs no data. It promises
 * nothing: one report at a time, which arrives within seconds or is given up.
 */
#ifndef KAFKA_REPORT_H
#define KAFKA_REPORT_H

#include <stddef.h>

#include "settings.h"

struct kafka_report;

enum kafka_report_outcome {
	KAFKA_REPORT_NONE, /* nothing new */
	KAFKA_REPORT_ARRIVED,
	KAFKA_REPORT_FAILED, /* logged, not too often */
};

/*
 * Ownership: settings (status.kafka_topic is set) and fd are borrowed as long as it
 *            lives; fd, a non-blocking eventfd, gets something when there may be an
 *            outcome.
 * Errors:    ERR_INVALID, ERR_IO, ERR_FATAL: logged; ERR_NOMEM.
 */
int kafka_report_open(
    struct kafka_report **out, const struct settings *settings, int fd);

/* Takes half a second at most. */
void kafka_report_close(struct kafka_report *r);

/*
 * Send a report. Its outcome comes by kafka_report_poll(), also when this fails.
 *
 * Ownership: text is borrowed for the call.
 */
void kafka_report_send(struct kafka_report *r, const void *text, size_t size);

/* Is one on its way? Then send no other. */
bool kafka_report_is_busy(const struct kafka_report *r);

/* Never waits. */
enum kafka_report_outcome kafka_report_poll(struct kafka_report *r);

#endif
