/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sink that behaves as Kafka behind librdkafka does, as far as forwarder can tell:
 * records are queued by topic and partition, go out in batches, and a batch is accepted
 * or refused as a whole. Nothing happens but in poll() and reopen().
 */
#ifndef TESTS_FAKE_SINK_H
#define TESTS_FAKE_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sink.h"

#define FAKE_PARTITIONS_MAX 8

/* What is in "Kafka", in the order in which it got there. */
struct fake_landed {
	uint64_t tag;
	char *topic;
	size_t partition;
	char *key; /* NULL: none */
	char *value;
	size_t value_size;
	int64_t timestamp_ms;
};

struct fake_record;

enum fake_call {
	FAKE_NO_CALL,
	FAKE_RECOVER,
	FAKE_COMMIT,
	FAKE_ABORT,
};

struct fake_sink {
	struct sink sink; /* first, so that one is the other */

	/* How it behaves; may be changed at any time. */
	size_t partitions;
	bool is_stuck[FAKE_PARTITIONS_MAX]; /* nothing of this partition is answered */
	size_t batch_max;                   /* records in a batch */
	size_t batches_per_poll;
	size_t queue_max;    /* send() answers ERR_FULL at this many */
	bool is_down;        /* nothing is answered */
	bool is_gapless;     /* a rejection is fatal */
	size_t value_max;    /* larger, and the batch is refused; 0: no limit */
	bool is_invalid;     /* ... not for its size */
	size_t send_max;     /* larger, and send() answers ERR_TOOLARGE; 0: no limit */
	int64_t time_max_ms; /* later, and the batch is refused; 0: no limit */
	const char *refused_topic; /* NULL: none */
	bool is_refused_at_once;   /* refused_topic by send(), else by delivered() */
	size_t given_back;         /* so many batches more come back as not delivered */
	size_t landed_on_reopen;   /* of what is given back, so many have landed */
	size_t reopen_failures;    /* so many more calls of reopen() fail */

	/* The same, of one with transactions. */
	size_t again_count;        /* each of the three says "again" so many times */
	size_t refused_recoveries; /* so many more are refused */
	size_t refused_commits;    /* so many more are refused */
	size_t fatal_commits; /* so many more fail for good, and have not happened */
	size_t fatal_commits_after; /* so many more fail for good, but have happened */

	/*
	 * What happened. With transactions landed holds what is not committed, too, behind
	 * the first committed_count.
	 */
	struct fake_landed *landed;
	size_t landed_count;
	size_t committed_count;
	size_t commit_count;
	size_t abort_count;
	size_t abort_landed_count; /* records that were taken back */
	struct buffer position;    /* of the last commit; a NUL behind it */
	size_t sent_count;
	size_t reopen_count;
	size_t out_count; /* sent and not come back */
	size_t out_count_max;
	uint64_t out_bytes; /* of keys and values */
	uint64_t out_bytes_max;

	struct fake_record *queue;
	size_t queue_count;
	size_t queue_capacity;
	size_t landed_capacity;
	size_t next_partition;
	bool is_fatal;
	bool is_recovered;   /* since there is this producer */
	bool is_rejected;    /* of this transaction something was */
	enum fake_call call; /* it said "again" */
	size_t call_count;   /* so many times */
};

/* One partition, batches of 100, ten batches a poll, a queue of 100,000; gapless. */
void fake_sink_init(struct fake_sink *s);

/* One with transactions; what is refused is not fatal. "Again" is said once each time. */
void fake_sink_init_transactional(struct fake_sink *s);
void fake_sink_fini(struct fake_sink *s);

/* Where a record with that key goes. */
size_t fake_sink_partition(const struct fake_sink *s, const char *key);

/* The producer fails for good. */
void fake_sink_fail(struct fake_sink *s);

/*
 * The producer dies with its process: what is out is gone, and nobody is told. What landed
 * in its transaction stays until the next one has recovered.
 */
void fake_sink_forget(struct fake_sink *s);

#endif
