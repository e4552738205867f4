/* SPDX-License-Identifier: Apache-2.0 */
/* Orders to the forwarder of forward_bench.h, as the tests of them need it. */
#ifndef TESTS_ORDER_BENCH_H
#define TESTS_ORDER_BENCH_H

#include "forward_bench.h"

/* Returns its number. One to drop is about 64 MiB. */
uint64_t order_give(struct bench *b, enum journal_order_kind kind, uint64_t seq);

/* As it stands in the journal. */
struct journal_order order_look_at(const struct bench *b, uint64_t number);

/* Step until it has ended, at most so long. */
struct journal_order order_await(struct bench *b, uint64_t number, int64_t limit_ms);

/* err: why it has failed; 0: it has not. */
void order_assert_ended(struct journal_order o, int err, uint64_t count);

/* How many values in the topic begin so? */
size_t order_count_landed(const struct bench *b, const char *topic, const char *value);

#endif
