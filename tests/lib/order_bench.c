/* SPDX-License-Identifier: Apache-2.0 */
#include "order_bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

uint64_t
order_give(struct bench *b, enum journal_order_kind kind, uint64_t seq)
{
	struct journal_order o = {
	    .kind = kind, .seq = seq, .bytes = (uint64_t)64 << 20};

	assert_int_equal(journal_order_give(b->journal, &o), 0);
	o.at_ms = (uint64_t)(REAL_MS + b->now_ms); /* letters tell this clock's time */
	assert_int_equal(journal_order_end(b->journal, &o), 0);
	return o.number;
}

struct journal_order
order_look_at(const struct bench *b, uint64_t number)
{
	struct journal_order o;

	assert_int_equal(journal_order_next(b->journal, number - 1, &o), 0);
	assert_int_equal(o.number, number);
	return o;
}

struct journal_order
order_await(struct bench *b, uint64_t number, int64_t limit_ms)
{
	int64_t end_ms = b->now_ms + limit_ms;

	while (order_look_at(b, number).state == JOURNAL_ORDER_WAITS) {
		assert_true(b->now_ms < end_ms);
		bench_step(b);
	}
	return order_look_at(b, number);
}

void
order_assert_ended(struct journal_order o, int err, uint64_t count)
{
	assert_int_equal(o.state, err == 0 ? JOURNAL_ORDER_DONE : JOURNAL_ORDER_FAILED);
	assert_int_equal(o.err, err);
	assert_int_equal(o.count, count);
	assert_true(o.at_ms > 0);
}

size_t
order_count_landed(const struct bench *b, const char *topic, const char *value)
{
	size_t count = 0;

	for (size_t i = 0; i < b->sink.landed_count; i++) {
		const struct fake_landed *l = &b->sink.landed[i];

		count += strcmp(l->topic, topic) == 0 &&
			 strncmp(l->value, value, strlen(value)) == 0;
	}
	return count;
}
