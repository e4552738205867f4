/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The figures of tidegate-ingest.
 *
 * Failure modes: no memory for a report: there is none, and the next one is tried.
 */
#include "ingest_figures.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "err.h"
#include "log.h"
#include "now.h"

#define STATUS_QOS 1

static int64_t
statistics_ms(const struct ingest_figures *f)
{
	return f->settings->monitor.statistics_s * (int64_t)1000;
}

static void
take_over(struct ingest_figures *f, const struct board_ingest *old)
{
	f->part.message_count = old->message_count;
	f->part.byte_count = old->byte_count;
	f->part.commit_count = old->commit_count;
	f->part.error_count = old->error_count;
	f->part.dropped_count = old->dropped_count;
	f->part.dropped_at_ms = old->dropped_at_ms;
	f->part.commits = old->commits;
	f->dropped_before = old->dropped_count;
	f->logged = f->part;
}

int
ingest_figures_open(struct ingest_figures *f, const struct worker *w, struct journal *j)
{
	struct board_view view = {0};
	int64_t now_ms = now_monotonic_ms();
	int err;

	f->settings = w->settings;
	certificate_watch_ingest(&f->certificates, w->settings);
	f->statistics_at_ms = now_ms + statistics_ms(f);
	err = board_open(&f->board, w->board_fd);
	if (err == 0)
		err = board_look(f->board, &view);
	if (err == 0 && f->settings->status.mqtt_topic != NULL)
		err = reporter_open(&f->reporter, f->settings, j, f->board);
	if (err == 0 && view.has_ingest)
		take_over(f, &view.ingest);
	f->part.pid = (uint32_t)getpid();
	f->part.since_ms = now_ms;
	board_view_fini(&view);
	return err;
}

static void
log_statistics(struct ingest_figures *f)
{
	const struct board_ingest *now = &f->part, *last = &f->logged;
	const struct log_details details = {
	    .counts = {{"received", now->message_count - last->message_count},
		{"bytes", now->byte_count - last->byte_count},
		{"commits", now->commit_count - last->commit_count},
		{"errors", now->error_count - last->error_count},
		{"dropped", now->dropped_count - last->dropped_count},
		{"connected", now->state == BOARD_MQTT_CONNECTED}}};

	log_event(LOG_LEVEL_INFO, LOG_STATISTICS, &details,
	    "%" PRIu64 " messages received, %" PRIu64 " bytes, in %" PRIu64
	    " commits, %" PRIu64 " errors, %" PRIu64 " dropped%s",
	    details.counts[0].value, details.counts[1].value, details.counts[2].value,
	    details.counts[3].value, details.counts[4].value,
	    now->state == BOARD_MQTT_CONNECTED   ? ""
	    : now->state == BOARD_MQTT_PAUSED    ? "; paused: journal full"
	    : now->state == BOARD_MQTT_DISK_FULL ? "; paused: disk full"
	    : now->state == BOARD_MQTT_DISK_FAILS
		? "; paused: the journal cannot be written"
		: "; not connected");
	log_tell_suppressed();
	f->logged = f->part;
}

void
ingest_figures_close(struct ingest_figures *f)
{
	if (f->board != NULL) {
		log_statistics(f);
		f->part.alive_at_ms = 0;
		f->part.pid = 0;
		board_write_ingest(f->board, &f->part);
	}
	reporter_close(f->reporter);
	board_close(f->board);
	*f = (struct ingest_figures){0};
}

void
ingest_figures_stage(struct ingest_figures *f, const struct record *r)
{
	f->staged_bytes += r->topic.size + r->payload.size;
}

void
ingest_figures_commit(struct ingest_figures *f, size_t count, int64_t duration_us)
{
	f->part.message_count += count;
	f->part.byte_count += f->staged_bytes;
	f->part.commit_count++;
	histogram_add(&f->part.commits, HISTOGRAM_COMMIT, duration_us);
	f->staged_bytes = 0;
}

void
ingest_figures_fail(struct ingest_figures *f, const char *why)
{
	f->staged_bytes = 0;
	f->part.error_count++;
	(void)snprintf(f->part.error, sizeof(f->part.error), "%s", why);
}

void
ingest_figures_room(struct ingest_figures *f, const struct ingest_room *r)
{
	f->part.is_dropping = r->is_dropping;
	f->part.room_bytes = r->bytes;
	f->part.full_in_ms = fill_rate_full_in_ms(&r->fill);
	f->part.dropped_count = f->dropped_before + r->dropped_count;
	if (r->dropped_at_ms != 0)
		f->part.dropped_at_ms = r->dropped_at_ms;
}

void
ingest_figures_publish(struct ingest_figures *f, const struct source *s,
    enum board_mqtt state, int64_t now_ms)
{
	const char *trouble = source_trouble(s);

	if (state != (enum board_mqtt)f->part.state)
		f->part.since_ms = now_ms;
	if (state == BOARD_MQTT_CONNECTED) {
		(void)snprintf(f->part.error, sizeof(f->part.error), "%s", trouble);
		f->part.protocol = (uint32_t)source_protocol(s);
	} else if (*trouble != '\0') {
		(void)snprintf(f->part.error, sizeof(f->part.error), "%s", trouble);
	}
	f->part.alive_at_ms = now_ms;
	f->part.state = state;
	f->part.refused_count = (uint32_t)source_refused_count(s);
	f->part.has_broker_dropped =
	    source_broker_dropped(s, &f->part.broker_dropped_count);
	certificate_watch_look(
	    &f->certificates, now_ms, now_real_ms(), f->part.certificates);
	board_write_ingest(f->board, &f->part);
	if (now_ms < f->statistics_at_ms)
		return;
	log_statistics(f);
	f->statistics_at_ms = now_ms + statistics_ms(f);
}

void
ingest_figures_hurry(struct ingest_figures *f)
{
	if (f->reporter != NULL)
		reporter_hurry(f->reporter);
}

int
ingest_figures_report(struct ingest_figures *f, struct source *s, int64_t now_ms)
{
	struct buffer text = {0};
	int err;

	if (f->reporter == NULL || !reporter_is_due(f->reporter, now_ms))
		return 0;
	err = reporter_make(f->reporter, now_ms, &text);
	if (err == 0)
		err = source_publish(s, f->settings->status.mqtt_topic, text.data,
		    text.size, STATUS_QOS, true);
	reporter_done(f->reporter, now_ms, err == 0);
	buffer_fini(&text);
	return err == ERR_AWAY ? err : 0;
}
