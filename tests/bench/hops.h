/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a message passed which place on its way to Kafka: a file that everybody on the
 * way maps, with a row for each message. Times are of CLOCK_MONOTONIC, in ns, which is
 * the same clock in all processes; 0: it has not come there (yet).
 *
 * A payload begins with HOPS_MARK and HOPS_DIGITS digits, the number of its row.
 */
#ifndef TESTS_HOPS_H
#define TESTS_HOPS_H

#include <stdint.h>

#define HOPS_MARK   "hop:"
#define HOPS_DIGITS 10

enum hop {
	HOP_PUBLISHED, /* the sender is about to hand it over: to the broker, or to Kafka */
	HOP_ARRIVED,   /* libmosquitto gives it to tidegate-ingest */
	HOP_COMMITTED, /* the commit that holds it has returned */
	HOP_PUBACK,    /* the gateway's PUBACK is written */
	HOP_WOKEN,     /* tidegate-forward came out of poll(2) before it sent it */
	HOP_PRODUCED,  /* tidegate-forward hands it to librdkafka */
	HOP_WIRE,      /* librdkafka is about to write it to the socket */
	HOP_ACKED,     /* its delivery report */
	HOP_COUNT,
};

struct hops_row {
	int64_t at_ns[HOP_COUNT];
};

#endif
