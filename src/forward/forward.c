/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop of tidegate-forward: one poll(2) for ingest's wake-up, librdkafka's event
 * and the request to stop.
 *
 * Failure modes: the journal or the producer cannot be opened: exit, tidegated tries
 * again. It cannot be told what was delivered before the end: that is sent again.
 */
#include "forward.h"

#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "board.h"
#include "err.h"
#include "figures.h"
#include "forwarder.h"
#include "journal.h"
#include "kafka/kafka_report.h"
#include "kafka_sink.h"
#include "log.h"
#include "now.h"
#include "route.h"
#include "status.h"

#define ALONE_WAIT_MS 100  /* nobody wakes us when something was journalled */
#define LONG_WAIT_MS  1000 /* for housekeeping */
#define READERS_MS    60000
#define FIGURES_MS    1000
#define ONCE_TELL_MS  60000

struct forward {
	struct worker *worker;
	struct journal *journal;
	struct sink *sink;
	struct route **routes;
	size_t route_count;
	struct forwarder *forwarder;
	struct topic_counts topics;
	struct histogram latency;
	struct board *board;
	struct figures *figures;
	struct reporter *reporter;
	struct kafka_report *report; /* NULL: no reports to Kafka */
	int64_t readers_at_ms;
	int64_t figures_at_ms;
	int64_t statistics_at_ms;
	int64_t once_tell_at_ms;
};

static int
open_routes(struct forward *f)
{
	const struct settings *s = f->worker->settings;
	int err = 0;

	f->routes = calloc(s->route_count, sizeof(*f->routes));
	if (f->routes == NULL)
		return ERR_NOMEM;
	f->route_count = s->route_count;
	for (size_t i = 0; i < f->route_count && err == 0; i++)
		err = route_open(&f->routes[i], s, i, journal_identity(f->journal));
	return err;
}

static int
open_forwarder(struct forward *f)
{
	const struct forwarder_options options = {
	    .journal = f->journal,
	    .sink = f->sink,
	    .routes = f->routes,
	    .route_count = f->route_count,
	    .buffer_max_bytes = f->worker->settings->kafka.buffer_max_bytes,
	    .retries = f->worker->settings->kafka.retries,
	    .transaction_max_records =
		(size_t)f->worker->settings->kafka.transaction_max_messages,
	    .transaction_max_ms = f->worker->settings->kafka.transaction_max_ms,
	    .topics = &f->topics,
	    .latency = &f->latency,
	    .may_drop_oldest =
		f->worker->settings->journal.on_full == SETTINGS_FULL_DROP_OLDEST,
	};

	return forwarder_open(&f->forwarder, &options);
}

static int
open_figures(struct forward *f)
{
	const struct figures_options options = {
	    .board = f->board,
	    .journal = f->journal,
	    .forwarder = f->forwarder,
	    .sink = f->sink,
	    .topics = &f->topics,
	    .latency = &f->latency,
	    .settings = f->worker->settings,
	    .route_count = f->route_count,
	};

	return figures_open(&f->figures, &options, now_monotonic_ms());
}

/* Only ERR_NOMEM keeps the data from flowing. */
static int
open_reports(struct forward *f)
{
	const struct settings *s = f->worker->settings;
	int err;

	if (s->status.kafka_topic == NULL || f->worker->once)
		return 0;
	err = reporter_open(&f->reporter, s, f->journal, f->board);
	if (err != 0)
		return err;
	err = kafka_report_open(&f->report, s, f->sink->ops->fd(f->sink));
	if (err != 0)
		log_warning(
		    LOG_LIFECYCLE, "there will be no status reports: %s", err_str(err));
	return err == ERR_NOMEM ? err : 0;
}

/* The sink goes first: values on their way lie in the forwarder's memory. */
static void
close_all(struct forward *f)
{
	kafka_report_close(f->report); /* it borrows the sink's descriptor */
	reporter_close(f->reporter);
	figures_close(f->figures);
	if (f->sink != NULL)
		f->sink->ops->close(f->sink);
	forwarder_close(f->forwarder);
	for (size_t i = 0; i < f->route_count; i++)
		route_close(f->routes[i]);
	free(f->routes);
	board_close(f->board);
	journal_close(f->journal);
}

/* ---- waiting ---- */

static void
read_empty(int fd)
{
	uint64_t count;

	/* A non-blocking eventfd: one read takes all. Fails only if there was nothing. */
	if (read(fd, &count, sizeof(count)) < 0)
		return;
}

static void
wait_for_something(struct forward *f, int limit_ms)
{
	struct worker *w = f->worker;
	struct pollfd fds[] = {
	    {.fd = w->stop_fd, .events = POLLIN},
	    {.fd = f->sink->ops->fd(f->sink), .events = POLLIN},
	    {.fd = w->wake_fd, .events = POLLIN}, /* -1: left out by poll(2) */
	};
	int wait_ms = forwarder_timeout_ms(f->forwarder, now_monotonic_ms());

	if (wait_ms < 0 || wait_ms > limit_ms)
		wait_ms = limit_ms;
	if (poll(fds, sizeof(fds) / sizeof(fds[0]), wait_ms) <= 0)
		return;
	if (fds[1].revents & POLLIN)
		read_empty(fds[1].fd);
	if (fds[2].revents & POLLIN) {
		read_empty(w->wake_fd);
		forwarder_wake(f->forwarder);
	}
	if (fds[2].revents & (POLLERR | POLLNVAL)) {
		log_warning(
		    LOG_LIFECYCLE, "the wake-up from ingest is broken: polling");
		w->wake_fd = -1;
	}
}

/* ---- now and then ---- */

static int64_t
statistics_ms(const struct forward *f)
{
	return f->worker->settings->monitor.statistics_s * (int64_t)1000;
}

/* Past the backlog: the report has a producer of its own, and waits for nobody. */
static void
report_status(struct forward *f, int64_t now_ms)
{
	enum kafka_report_outcome outcome = kafka_report_poll(f->report);
	struct buffer text = {0};

	if (outcome != KAFKA_REPORT_NONE)
		reporter_done(f->reporter, now_ms, outcome == KAFKA_REPORT_ARRIVED);
	if (kafka_report_is_busy(f->report) || !reporter_is_due(f->reporter, now_ms))
		return;
	figures_publish(f->figures, now_ms);
	if (reporter_make(f->reporter, now_ms, &text) == 0)
		kafka_report_send(f->report, text.data, text.size);
	buffer_fini(&text);
}

static void
keep_house(struct forward *f, int64_t now_ms)
{
	if (now_ms >= f->readers_at_ms) {
		/* What fails is logged there; the next minute tries again. */
		(void)journal_readers_check(f->journal);
		f->readers_at_ms = now_ms + READERS_MS;
	}
	if (now_ms >= f->figures_at_ms) {
		figures_publish(f->figures, now_ms);
		f->figures_at_ms = now_ms + FIGURES_MS;
	}
	if (now_ms >= f->statistics_at_ms) {
		figures_log(f->figures);
		f->statistics_at_ms = now_ms + statistics_ms(f);
	}
	if (f->report != NULL)
		report_status(f, now_ms);
}

/* ---- until the journal is empty ---- */

static uint64_t
count_records(struct forward *f)
{
	struct journal_stat stat;
	uint64_t count;

	if (journal_stat(f->journal, &stat) != 0)
		return 0; /* logged there */
	count = stat.records;
	journal_stat_fini(&stat);
	return count;
}

/* Nobody else looks after one that runs by hand: a route that holds may do so for ever. */
static void
tell_what_waits(struct forward *f, int64_t now_ms)
{
	struct forwarder_route_stat s;

	if (now_ms < f->once_tell_at_ms)
		return;
	f->once_tell_at_ms = now_ms + ONCE_TELL_MS;
	log_info(
	    LOG_DELIVERY, "%llu records wait", (unsigned long long)count_records(f));
	for (size_t i = 0; i < f->route_count; i++) {
		forwarder_route_stat(f->forwarder, i, &s);
		if (s.is_held)
			log_info(
			    LOG_DELIVERY, "route %s holds: %s", s.name, s.held_why);
	}
}

/* It counts as empty, though a route that is switched off may be owed something. */
static void
tell_what_stays(struct forward *f)
{
	uint64_t count = count_records(f);

	if (count > 0)
		log_warning(LOG_DELIVERY,
		    "%llu records stay, for routes that are switched off",
		    (unsigned long long)count);
}

/* ---- the loop ---- */

/* Nothing is owed, and what is there cannot be deleted: to wait for it is in vain. */
static bool
is_beyond_truncation(const struct forward *f)
{
	return forwarder_is_idle(f->forwarder) &&
	       forwarder_journal_error(f->forwarder) == ERR_CORRUPT;
}

static int
run(struct forward *f)
{
	int err = 0;

	f->statistics_at_ms = now_monotonic_ms() + statistics_ms(f);
	f->once_tell_at_ms = now_monotonic_ms() + ONCE_TELL_MS;
	while (!worker_should_stop(f->worker)) {
		int64_t now_ms = now_monotonic_ms();

		err = forwarder_step(f->forwarder, now_ms, now_real_ms());
		if (err != 0)
			break;
		/* Nobody waits for more. What fails here is tried again, and logged, there. */
		if (f->worker->once && forwarder_is_idle(f->forwarder))
			(void)forwarder_checkpoint(f->forwarder);
		if (f->worker->once && forwarder_is_empty(f->forwarder))
			break;
		if (f->worker->once && is_beyond_truncation(f)) {
			err = ERR_CORRUPT;
			break;
		}
		if (f->worker->once)
			tell_what_waits(f, now_ms);
		keep_house(f, now_ms);
		wait_for_something(
		    f, f->worker->wake_fd < 0 ? ALONE_WAIT_MS : LONG_WAIT_MS);
	}
	if (err == ERR_IDENTITY)
		log_info(LOG_LIFECYCLE, "ends, to start again with the new identity");
	else if (err != 0)
		log_error(LOG_LIFECYCLE, "cannot go on: %s", err_str(err));
	return err;
}

/* Collect what is in flight, and tell the journal. */
static int
stop(struct forward *f)
{
	int64_t now_ms = now_monotonic_ms();
	int64_t end_ms = now_ms + f->worker->settings->kafka.shutdown_ms;
	int err;

	forwarder_stop(f->forwarder);
	while (!forwarder_is_settled(f->forwarder) && now_ms < end_ms) {
		/* What was asked to stop stays asked: only wait for the sink. */
		struct pollfd fd = {f->sink->ops->fd(f->sink), POLLIN, 0};
		int wait_ms = forwarder_timeout_ms(f->forwarder, now_ms);

		if (wait_ms < 0 || wait_ms > end_ms - now_ms)
			wait_ms = (int)(end_ms - now_ms);
		if (poll(&fd, 1, wait_ms) > 0)
			read_empty(fd.fd);
		now_ms = now_monotonic_ms();
		if (forwarder_step(f->forwarder, now_ms, now_real_ms()) != 0)
			break;
	}
	if (!forwarder_is_settled(f->forwarder))
		log_warning(LOG_DELIVERY, "Kafka has not confirmed all that was sent "
					  "to it: the journal keeps it");
	err = forwarder_checkpoint(f->forwarder);
	if (err != 0)
		log_error(LOG_JOURNAL,
		    "cannot record what was delivered, it will be sent again: %s",
		    err_str(err));
	return err;
}

static void
tell_start(const struct forward *f)
{
	struct journal_stat stat;

	if (journal_stat(f->journal, &stat) != 0)
		return;
	log_info(LOG_LIFECYCLE, "started; %llu records wait, from %llu on",
	    (unsigned long long)stat.records, (unsigned long long)stat.acked_seq + 1);
	journal_stat_fini(&stat);
}

/* What it met has been logged, in better words than these two codes have. */
static void
tell_failure(const struct worker *w, int err)
{
	if (err != ERR_FATAL && err != ERR_IO)
		log_error(LOG_LIFECYCLE, "cannot start: %s", err_str(err));
	else if (w->board_fd >= 0)
		log_error(LOG_LIFECYCLE, "cannot start; tidegated tries it again");
	else
		log_error(LOG_LIFECYCLE, "cannot start");
}

int
forward_run(struct worker *w)
{
	const struct journal_options options = worker_journal_options(w);
	struct forward f = {.worker = w};
	int status = EXIT_FAILED;
	int err;

	err = journal_open(&f.journal, JOURNAL_FORWARD, &options);
	if (err != 0)
		goto end;
	err = kafka_sink_open(&f.sink, w->settings, journal_identity(f.journal)->uuid);
	if (err == ERR_INVALID)
		status = EXIT_CONFIG;
	if (err == 0)
		err = open_routes(&f);
	if (err == 0)
		err = open_forwarder(&f);
	if (err == 0)
		err = board_open(&f.board, w->board_fd);
	if (err == 0)
		err = open_figures(&f);
	if (err == 0)
		err = open_reports(&f);
	if (err != 0) {
		tell_failure(w, err);
		goto end;
	}
	tell_start(&f);
	err = run(&f);
	if (stop(&f) != 0 || err != 0)
		goto end;
	figures_log(f.figures);
	if (w->once && !forwarder_is_empty(f.forwarder)) {
		log_warning(LOG_LIFECYCLE, "stopped before the journal was empty");
		goto end;
	}
	if (w->once)
		tell_what_stays(&f);
	log_info(LOG_LIFECYCLE, "stopped");
	status = EXIT_SUCCESS;
end:
	close_all(&f);
	return status;
}
