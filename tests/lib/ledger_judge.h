/* SPDX-License-Identifier: Apache-2.0 */
/* What ledger_consume makes of each record that arrives. Knows no Kafka. */
#ifndef TESTS_LEDGER_JUDGE_H
#define TESTS_LEDGER_JUDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ledger.h"

struct judge;

struct judge_counts {
	uint64_t delivered;   /* different messages */
	uint64_t lost;        /* acknowledged, and not seen */
	uint64_t duplicated;  /* again with the same journal and sequence number */
	uint64_t redelivered; /* again with another: the broker sent it twice */
	uint64_t reordered;   /* first seen behind a later one of its device */
	uint64_t requeued;    /* first seen as what was a dead letter */
	uint64_t wrong;       /* none of these: see judge_wrong() */
};

/* Exits the program without memory. */
struct judge *judge_open(void);
void judge_close(struct judge *j);

/*
 * A message of a device has arrived under the header "tidegate" (GATEWAY/UUID/SEQ/
 * RECEIVED; not terminated). One sequence number that stands for two messages is wrong.
 */
void judge_message(struct judge *j, size_t device, uint64_t number, const char *header,
    size_t header_size);

/* The same with what was a dead letter: it may come behind later ones. */
void judge_requeued(struct judge *j, size_t device, uint64_t number, const char *header,
    size_t header_size);

/* Count something that should not be there; the first few are printed on stderr. */
__attribute__((format(printf, 2, 3))) void judge_wrong(
    struct judge *j, const char *format, ...);

/* Has everything been seen that the ledger says is acknowledged? */
bool judge_has_all(const struct judge *j, const struct ledger *l);

/* The result, with lost counted against the ledger. The first few lost go to stderr. */
struct judge_counts judge_result(struct judge *j, const struct ledger *l);

#endif
