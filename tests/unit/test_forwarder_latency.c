/* SPDX-License-Identifier: Apache-2.0 */
/* How long records took from their arrival to Kafka's acknowledgement. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../lib/forward_bench.h"
#include "../lib/order_bench.h"
#include "../lib/records.h"
#include "../lib/tmpdir.h"

/* As records_plain() has it: when the bench's time begins that is 99.877 s ago. */
#define RECEIVED_MS 1795514400123

static int64_t
age_ms(const struct bench *b)
{
	return REAL_MS + b->now_ms - RECEIVED_MS;
}

static void
each_delivery_counts_once_for_each_route(void **state)
{
	struct bench b;

	bench_init(&b, state);
	bench_add_route(&b, "all", "#", "t");
	bench_add_route(&b, "some", "dev/1", "u");
	bench_fill(&b, "dev", 1, 100, 10);
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_int_equal(histogram_count(&b.latency), 110);
	assert_int_equal(b.latency.buckets[10], 110); /* one to ten minutes */
	assert_in_range(b.latency.sum_us, 110 * (uint64_t)(age_ms(&b) - 2000) * 1000,
	    110 * (uint64_t)age_ms(&b) * 1000);
	bench_finish(&b);
}

static void
it_counts_when_kafka_has_it_and_not_before(void **state)
{
	struct bench b;

	bench_init(&b, state);
	bench_add_route(&b, "all", "#", "t");
	bench_fill(&b, "dev", 1, 10, 1);
	b.sink.is_down = true;
	bench_start(&b);
	bench_run_ms(&b, 1000 * 1000);
	assert_int_equal(histogram_count(&b.latency), 0);
	b.sink.is_down = false;
	bench_run_to_the_end(&b);
	assert_int_equal(histogram_count(&b.latency), 10);
	assert_int_equal(b.latency.buckets[11], 10); /* up to an hour */
	bench_finish(&b);
}

static void
what_is_given_back_counts_once_when_it_is_delivered(void **state)
{
	struct bench b;

	bench_init(&b, state);
	bench_add_route(&b, "all", "#", "t");
	bench_fill(&b, "dev", 1, 500, 10);
	b.sink.given_back = 3; /* batches */
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_int_equal(histogram_count(&b.latency), 500);
	bench_finish(&b);
}

static void
with_transactions_it_counts_with_the_commit(void **state)
{
	struct bench b;

	bench_init(&b, state);
	fake_sink_init_transactional(&b.sink);
	bench_add_route(&b, "all", "#", "t");
	bench_fill_with_one_large(&b, 2000, 1111);
	b.sink.value_max = 4000; /* aborts, and tries again */
	bench_start(&b);
	while (b.sink.commit_count == 0) {
		assert_int_equal(histogram_count(&b.latency), 0);
		bench_step(&b);
	}
	bench_run_to_the_end(&b);
	assert_true(b.sink.abort_count > 0);
	assert_int_equal(histogram_count(&b.latency), 1999);
	bench_finish(&b);
}

/* They waited for a person. */
static void
requeued_letters_do_not_count(void **state)
{
	struct bench b;

	bench_init(&b, state);
	bench_add_route(&b, "all", "#", "t");
	bench_fill_with_one_large(&b, 100, 50);
	b.sink.send_max = 4000;
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_int_equal(histogram_count(&b.latency), 99);
	b.sink.send_max = 0;
	order_assert_ended(
	    order_await(&b, order_give(&b, JOURNAL_ORDER_REQUEUE, 50), 2000), 0, 1);
	bench_run_to_the_end(&b);
	assert_int_equal(b.sink.landed_count, 100);
	assert_int_equal(histogram_count(&b.latency), 99);
	bench_finish(&b);
}

static void
clock_that_was_set_back_gives_nothing_below_zero(void **state)
{
	struct bench b;

	bench_init(&b, state);
	b.now_ms = -200000;
	bench_add_route(&b, "all", "#", "t");
	bench_fill(&b, "dev", 1, 10, 1);
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_int_equal(b.latency.buckets[0], 10);
	assert_int_equal(b.latency.sum_us, 0);
	bench_finish(&b);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(each_delivery_counts_once_for_each_route),
	    TEST(it_counts_when_kafka_has_it_and_not_before),
	    TEST(what_is_given_back_counts_once_when_it_is_delivered),
	    TEST(with_transactions_it_counts_with_the_commit),
	    TEST(requeued_letters_do_not_count),
	    TEST(clock_that_was_set_back_gives_nothing_below_zero),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
