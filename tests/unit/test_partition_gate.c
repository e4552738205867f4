/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "partition_gate.h"

static void
first_record_of_a_partition_goes_alone(void **state)
{
	struct partition_gate g = {0};

	(void)state;
	assert_true(partition_gate_admit(&g, 1, 3, 0));
	assert_false(partition_gate_admit(&g, 1, 3, 0));
	assert_true(partition_gate_admit(&g, 2, 3, 0));
	partition_gate_report(&g, 1, true, 5);
	assert_true(partition_gate_admit(&g, 1, 3, 5));
	assert_true(partition_gate_admit(&g, 1, 3, 5));
	assert_false(partition_gate_admit(&g, 2, 3, 5));
	partition_gate_fini(&g);
}

static void
refused_first_record_proves_nothing(void **state)
{
	struct partition_gate g = {0};

	(void)state;
	assert_true(partition_gate_admit(&g, 0, 1, 0));
	partition_gate_report(&g, 0, false, 1);
	assert_true(partition_gate_admit(&g, 0, 1, 1));
	assert_false(partition_gate_admit(&g, 0, 1, 1));
	partition_gate_fini(&g);
}

static void
long_silence_must_be_proven_again(void **state)
{
	struct partition_gate g = {0};
	int64_t later_ms = PARTITION_GATE_IDLE_MS + 2;

	(void)state;
	assert_true(partition_gate_admit(&g, 0, 1, 0));
	partition_gate_report(&g, 0, true, 1);
	assert_true(partition_gate_admit(&g, 0, 1, later_ms));
	assert_false(partition_gate_admit(&g, 0, 1, later_ms));
	partition_gate_report(&g, 0, true, later_ms);
	assert_true(partition_gate_admit(&g, 0, 1, later_ms));
	assert_true(partition_gate_admit(&g, 0, 1, later_ms));
	partition_gate_fini(&g);
}

static void
outage_is_no_silence(void **state)
{
	struct partition_gate g = {0};

	(void)state;
	assert_true(partition_gate_admit(&g, 0, 1, 0));
	partition_gate_report(&g, 0, true, 1);
	assert_true(partition_gate_admit(&g, 0, 1, 2));
	assert_true(partition_gate_admit(&g, 0, 1, 2 * PARTITION_GATE_IDLE_MS));
	partition_gate_fini(&g);
}

static void
topic_may_grow(void **state)
{
	struct partition_gate g = {0};

	(void)state;
	assert_true(partition_gate_admit(&g, 0, 1, 0));
	partition_gate_report(&g, 0, true, 1);
	assert_true(partition_gate_admit(&g, 5, 6, 2));
	assert_false(partition_gate_admit(&g, 5, 6, 2));
	assert_true(partition_gate_admit(&g, 0, 6, 2));
	assert_true(partition_gate_admit(&g, 0, 6, 2));
	partition_gate_fini(&g);
}

/* The same key, before and after: 4 partitions, then 2, then 3. */
static void
nothing_goes_elsewhere_before_all_is_back(void **state)
{
	struct partition_gate g = {0};

	(void)state;
	assert_true(partition_gate_admit(&g, 3, 4, 0));
	assert_true(partition_gate_admit(&g, 2, 4, 0));
	assert_false(partition_gate_admit(&g, 1, 2, 1));
	partition_gate_report(&g, 3, false, 2);
	assert_false(partition_gate_admit(&g, 1, 2, 2));
	partition_gate_report(&g, -1, false, 3);
	assert_true(partition_gate_admit(&g, 1, 2, 3));
	assert_false(partition_gate_admit(&g, 2, 3, 3));
	partition_gate_report(&g, 1, true, 4);
	assert_true(partition_gate_admit(&g, 1, 2, 4));
	assert_true(partition_gate_admit(&g, 0, 2, 4));
	assert_false(partition_gate_admit(&g, 0, 3, 4));
	partition_gate_fini(&g);
}

static void
report_of_what_was_placed_later_is_taken(void **state)
{
	struct partition_gate g = {0};

	(void)state;
	partition_gate_report(&g, -1, false, 0);
	partition_gate_report(&g, 7, true, 0);
	assert_true(partition_gate_admit(&g, 7, 8, 1));
	assert_true(partition_gate_admit(&g, 7, 8, 1));
	partition_gate_fini(&g);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(first_record_of_a_partition_goes_alone),
	    cmocka_unit_test(refused_first_record_proves_nothing),
	    cmocka_unit_test(long_silence_must_be_proven_again),
	    cmocka_unit_test(outage_is_no_silence),
	    cmocka_unit_test(topic_may_grow),
	    cmocka_unit_test(nothing_goes_elsewhere_before_all_is_back),
	    cmocka_unit_test(report_of_what_was_placed_later_is_taken),
	};
	return cmocka_run_group_tests_name("partition_gate", tests, NULL, NULL);
}
