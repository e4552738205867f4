/* SPDX-License-Identifier: Apache-2.0 */
/* The figures of tidegate-forward: on the board for the others, and as statistics. */
#ifndef FIGURES_H
#define FIGURES_H

#include "board.h"
#include "forwarder.h"
#include "journal.h"
#include "sink.h"

struct figures;

/* All borrowed, for as long as the figures live. */
struct figures_options {
	struct board *board;
	struct journal *journal;
	const struct forwarder *forwarder;
	const struct sink *sink; /* of kafka_sink_open() */
	const struct topic_counts *topics;
	const struct histogram *latency;
	const struct settings *settings;
	size_t route_count; /* of the settings */
};

/* Goes on from what a forward before this one has left. Errors: ERR_NOMEM. */
int figures_open(
    struct figures **out, const struct figures_options *options, int64_t now_ms);

/* Tells the board that it ends, in order. */
void figures_close(struct figures *f);

/* Write the board. Once a second. */
void figures_publish(struct figures *f, int64_t now_ms);

/* Log what happened since the last time. */
void figures_log(struct figures *f);

#endif
