/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The forwarder: reads the journal ahead of what is acknowledged, sends each record
 * down every route that matches, counts what comes back, moves each route's
 * acknowledged sequence over the finished prefix, and truncates.
 *
 * It knows no third-party library; time comes in as now_ms (monotonic) and real_ms.
 * It never waits: step, poll on forwarder_timeout_ms() and the sink's fd, step.
 *
 * Invariants: a record is acknowledged for a route only after SINK_DELIVERED, or after
 * journal_bury() has returned 0, or when the route does not match it. No timer decides
 * that one is lost. On one route records are sent in the order of their sequence; after
 * a rejection nothing behind it is sent before it is settled (I4).
 */
#ifndef FORWARDER_H
#define FORWARDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "histogram.h"
#include "journal.h"
#include "route.h"
#include "sink.h"
#include "topic_counts.h"

/*
 * The name under which the journal keeps the position of the lane that buries records
 * which no route matches; no route can have it.
 */
#define FORWARDER_UNROUTED JOURNAL_UNROUTED

struct forwarder;

struct forwarder_options {
	struct journal *journal; /* borrowed */
	/* Borrowed; its delivered and context are set here. One with commit: exactly once. */
	struct sink *sink;
	struct route *const *routes; /* borrowed */
	size_t route_count;          /* at least 1 */
	uint64_t buffer_max_bytes;   /* records on their way, all routes together */
	/*
	 * For routes with on_reject = "bury": after so many rejections a record goes to
	 * the dead letters; -1: never, the route holds. Only what Kafka refuses counts,
	 * never an outage. Those behind it, for the same topic, get one try each until
	 * one is delivered.
	 */
	int retries;
	/* With exactly once a transaction ends when it has so many records, or is so old. */
	size_t transaction_max_records;
	int64_t transaction_max_ms;
	/* Orders to drop the oldest may come: how far was sent is noted in the journal. */
	bool may_drop_oldest;
	/* Counts what was delivered as acked_seq moves over it. Borrowed; NULL: nobody. */
	struct topic_counts *topics;
	/*
	 * Likewise: from arrival to delivery, HISTOGRAM_DELIVERY, once for each route;
	 * with exactly once to the commit. Without requeued dead letters.
	 */
	struct histogram *latency;
};

/*
 * Compiles the filters of all routes. A route that is switched off passes by what is not
 * for it, and keeps the first record that is, and all behind it, for the day when it is
 * switched on.
 *
 * One whose filters were changed goes back to where the slowest stands, for what they
 * did not match before.
 *
 * Errors:    ERR_NOMEM, and those of journal_routes_set().
 */
int forwarder_open(struct forwarder **out, const struct forwarder_options *o);

/*
 * What was delivered but not yet recorded is delivered again by the next forwarder.
 * Close the sink before: values on their way lie in memory that is freed here.
 */
void forwarder_close(struct forwarder *f);

/*
 * Do what can be done now: collect deliveries, read, send, bury, acknowledge. The
 * work of one call is bounded, so that signals and the watchdog are served.
 *
 * Errors:    ERR_CORRUPT and the like from the journal are logged and hold the route.
 *            ERR_NOMEM; ERR_IDENTITY: the position in Kafka does not fit this journal,
 *            which has a new UUID now: open everything anew.
 */
int forwarder_step(struct forwarder *f, int64_t now_ms, int64_t real_ms);

/* Ingest has woken us: it may have left an order to drop the oldest. */
void forwarder_wake(struct forwarder *f);

/* How long the caller may wait before the next step: 0 = not at all, -1 = for good. */
int forwarder_timeout_ms(const struct forwarder *f, int64_t now_ms);

/*
 * Why the journal does not take what was delivered, or cannot be truncated; 0: it does, and
 * can. It is tried again.
 */
int forwarder_journal_error(const struct forwarder *f);

/* Stop sending new records; deliveries are still collected. */
void forwarder_stop(struct forwarder *f);

/* Is nothing in flight, and no transaction open? After forwarder_stop(): ready to close. */
bool forwarder_is_settled(const struct forwarder *f);

/*
 * Does no route owe anything? What a route owes that is switched off does not count, nor
 * does what lies behind it and may have to be buried one day because no route matches it.
 */
bool forwarder_is_idle(const struct forwarder *f);

/* And is that recorded, and the journal truncated? */
bool forwarder_is_empty(const struct forwarder *f);

/*
 * Record the acknowledged sequences now. Errors: as journal_acknowledge(); that it could
 * not be truncated is none (forwarder_journal_error()).
 */
int forwarder_checkpoint(struct forwarder *f);

struct forwarder_route_stat {
	const char *name;
	uint64_t acked_seq;
	uint64_t delivered_count;
	uint64_t delivered_bytes; /* their keys and values */
	uint64_t dead_count;
	uint64_t error_count; /* records that were refused or given back */
	bool is_held; /* also while there is no producer, and when switched off */
	const char *held_why; /* borrowed until the next step; "" */
};

/* Figures of route number index; route_count: of what no route matches. */
void forwarder_route_stat(
    const struct forwarder *f, size_t index, struct forwarder_route_stat *out);

#endif
