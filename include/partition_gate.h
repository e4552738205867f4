/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which partitions of a topic may take another record.
 *
 * Kafka holds an idempotent producer to its sequence numbers only from the first
 * batch on that it has taken from it on a partition: before that any number will do.
 * So if the first batch is refused and others are on the wire behind it, those land,
 * and what was refused comes after them when it is sent again. Therefore the first
 * record of a producer on a partition goes alone: the next is admitted only when that
 * one has been delivered. The same after a long silence, for which a broker may have
 * forgotten the producer (producer.id.expiration.ms, a day by default).
 *
 * A key's partition depends on how many there are. When that changes (partitions are
 * added, the topic is deleted and made again with fewer), what is out may still have to
 * be sent again, behind what would go elsewhere now. So nothing is placed among another
 * number of partitions before all that is out has come back.
 *
 * It knows no library and no clock.
 */
#ifndef PARTITION_GATE_H
#define PARTITION_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PARTITION_GATE_IDLE_MS ((int64_t)10 * 60 * 1000)

struct gate_partition {
	uint32_t out;   /* admitted and not yet reported */
	bool is_proven; /* the broker has taken something from this producer */
	int64_t reported_at_ms;
};

/* Zero-initialised is valid: nothing is proven. */
struct partition_gate {
	struct gate_partition *list;
	int32_t count;
	int32_t among; /* so many partitions what is out was placed among */
	uint32_t out;  /* on all of them */
};

void partition_gate_fini(struct partition_gate *g);

/*
 * May a record go to this partition now? True: it counts as out until it is reported.
 * False too where there is no memory to remember it.
 *
 * Units:     now_ms is monotonic; count is how many partitions the topic has.
 */
bool partition_gate_admit(
    struct partition_gate *g, int32_t partition, int32_t count, int64_t now_ms);

/*
 * A record came back. partition: negative where it never got one; one that was not
 * admitted (librdkafka placed it later) is welcome, while no other is out.
 */
void partition_gate_report(
    struct partition_gate *g, int32_t partition, bool is_delivered, int64_t now_ms);

#endif
