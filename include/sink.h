/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one seam: where forwarder hands records over. kafka_sink is the real one,
 * tests have a fake.
 */
#ifndef SINK_H
#define SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buffer.h"

struct sink_header {
	const char *name;
	struct bytes value;
};

struct sink_record {
	const char *topic;
	struct bytes key; /* data NULL: no key */
	struct bytes value;
	bool copy_value; /* false: value stays valid until delivered() for its tag */
	int64_t timestamp_ms;
	const struct sink_header *headers;
	size_t header_count;
};

enum sink_result {
	SINK_DELIVERED,         /* Kafka has it, by the acks that were asked for */
	SINK_RECORD_REFUSED,    /* invalid: this one, or another one of its batch */
	SINK_RECORD_TOO_LARGE,  /* as SINK_RECORD_REFUSED: this one, or its batch */
	SINK_TIMESTAMP_REFUSED, /* the record time is outside what the topic accepts */
	SINK_ROUTE_REFUSED,     /* topic or partition unknown, not authorised */
	SINK_NOT_DELIVERED, /* given back; it is not known whether Kafka has it. With
				 * transactions: it does not count, this one is aborted */
};

/*
 * Called once for each record that send() took, and only from inside poll() and
 * reopen(). text tells what Kafka said; borrowed, never NULL.
 */
typedef void sink_delivered(
    void *context, uint64_t tag, enum sink_result result, const char *text);

struct sink;

struct sink_ops {
	/*
	 * Take a record; the outcome comes by delivered().
	 *
	 * Ownership: borrowed for the call, but for a value with copy_value false.
	 * Errors:    ERR_FULL (its queue is full: poll, then again), ERR_AWAY (this topic
	 *            takes no more just now, others may: poll, then again), ERR_TOOLARGE
	 *            (this record can never be sent), ERR_REFUSED (as SINK_ROUTE_REFUSED),
	 *            ERR_FATAL (the producer is finished: reopen). Not taken, and
	 *            delivered() will not be called for it.
	 */
	int (*send)(struct sink *s, const struct sink_record *r, uint64_t tag);

	/* Call delivered() for what is known now. Never waits. */
	void (*poll)(struct sink *s);

	/* Readable when poll() may have something; read it empty before polling. */
	int (*fd)(const struct sink *s);

	/* Has the producer failed for good (librdkafka's fatal error)? text: borrowed. */
	bool (*is_fatal)(struct sink *s, const char **text);

	/*
	 * A new producer in place of the old. Everything that is still out is given
	 * back first, as what it became or as SINK_NOT_DELIVERED.
	 *
	 * Errors:    ERR_FATAL, ERR_NOMEM: there is no producer; try again later.
	 */
	int (*reopen)(struct sink *s);

	/* What is still out is never reported; until this returns, values are read. */
	void (*close)(struct sink *s);

	/*
	 * Exactly once; NULL where the sink has no transactions. What was sent since the
	 * last commit, or abort, lands with the position of the next commit, or not at
	 * all. A transaction begins by itself with the first record.
	 *
	 * Each of the three may have to be called again (ERR_AWAY) until it is through,
	 * with the same arguments and nothing else in between but poll(); none waits
	 * longer than about 100 ms.
	 *
	 * recover: to be called first, and after each reopen(). Ends what an earlier
	 * producer of this name left open, and reads the position that was committed
	 * last for this journal (KAFKA_POSITION_KEY in kafka_sink.h). Until it is
	 * through, send() answers ERR_AWAY. position: replaced; empty: there is none.
	 * commit: nothing is out, and all of it was delivered.
	 * abort: what is out is given back first, by delivered().
	 *
	 * Errors:    ERR_AWAY (call again), ERR_REFUSED (commit: it has to be aborted;
	 *            recover: Kafka does not let us, try again later), ERR_FATAL (reopen;
	 *            of a commit it is not known whether it happened: recover tells),
	 *            ERR_NOMEM.
	 */
	int (*recover)(struct sink *s, struct buffer *position);
	int (*commit)(struct sink *s, struct bytes position);
	int (*abort)(struct sink *s);
};

struct sink {
	const struct sink_ops *ops;
	sink_delivered
	    *delivered; /* set by the user of the sink before the first send */
	void *context;
};

#endif
