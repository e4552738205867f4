/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The figures of tidegate-ingest: on the board for the others, as statistics, and as
 * status reports to the MQTT broker.
 */
#ifndef INGEST_FIGURES_H
#define INGEST_FIGURES_H

#include "board.h"
#include "certificate_watch.h"
#include "ingest_room.h"
#include "mqtt_source.h"
#include "status.h"
#include "worker.h"

struct ingest_figures {
	const struct settings *settings;
	struct board *board;
	struct board_ingest part;
	struct board_ingest logged; /* at the last statistics */
	struct reporter *reporter;  /* NULL: no reports to the broker */
	uint64_t staged_bytes;      /* in the commit that is being gathered */
	int64_t statistics_at_ms;
	uint64_t dropped_before; /* by those before this one */
	struct certificate_watch certificates;
};

/*
 * Goes on from what an ingest before this one has left on the board.
 *
 * Ownership: f is the caller's, zero-initialised; release with ingest_figures_close(),
 *            also after a failure. w and j are borrowed until then.
 * Errors:    those of board_open().
 */
int ingest_figures_open(
    struct ingest_figures *f, const struct worker *w, struct journal *j);

/* Tells the board that it ends, in order, and logs the last statistics. */
void ingest_figures_close(struct ingest_figures *f);

/* What became of messages: staged; then the commit of all that is has returned or not. */
void ingest_figures_stage(struct ingest_figures *f, const struct record *r);
void ingest_figures_commit(struct ingest_figures *f, size_t count, int64_t duration_us);
void ingest_figures_fail(struct ingest_figures *f, const char *why);

/* How full the journal is, and what of it was dropped. */
void ingest_figures_room(struct ingest_figures *f, const struct ingest_room *r);

/* Write the board, and the statistics when it is time. Once a second, and on a change. */
void ingest_figures_publish(struct ingest_figures *f, const struct source *s,
    enum board_mqtt state, int64_t now_ms);

/* Make the next ingest_figures_report() report. */
void ingest_figures_hurry(struct ingest_figures *f);

/*
 * Queue a report where it is time for one; source_flush() writes it. Only when nothing
 * is staged. Errors: ERR_AWAY, the connection is lost.
 */
int ingest_figures_report(struct ingest_figures *f, struct source *s, int64_t now_ms);

#endif
