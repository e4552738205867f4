/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Once a route has met its largest record, rendering allocates nothing. Linked with
 * --wrap for what allocates.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../lib/allocations.h"
#include "../lib/records.h"
#include "../lib/route_bench.h"

static void
check(enum settings_envelope envelope, enum settings_payload_format format)
{
	struct sink_record out;
	struct route_bench b;
	struct record r;
	unsigned before;

	route_bench_init(&b);
	b.route.envelope = envelope;
	b.route.payload_format = format;
	b.route.mqtt_headers = true;
	b.route.topic = route_bench_text("t.${topic:1-}");
	b.route.key = route_bench_text("${topic:2}/${user:client-id}");
	route_bench_header(&b, "own", "${seq}/${topic}");
	route_bench_metadata(&b, "site", "\n${topic:2}");
	route_bench_metadata(&b, "fixed", "x");
	before = allocations;
	route_bench_open(&b);
	assert_true(allocations > before); /* the calls are wrapped */
	for (unsigned i = 0; i < 100; i++) {
		if (i == 2)
			before = allocations;
		records_full(&r);
		r.topic.size -= i % 2;
		route_bench_render(&b, &r, &out);
		records_plain(&r, "dev/1", "plain");
		route_bench_render(&b, &r, &out);
	}
	assert_int_equal(allocations, before);
	route_bench_close(&b);
}

static void
a_record_costs_no_allocation(void **state)
{
	(void)state;
	check(SETTINGS_ENVELOPE_NONE, SETTINGS_PAYLOAD_BASE64);
	check(SETTINGS_ENVELOPE_TBMQ, SETTINGS_PAYLOAD_BASE64);
	check(SETTINGS_ENVELOPE_TBMQ, SETTINGS_PAYLOAD_TEXT);
	check(SETTINGS_ENVELOPE_CLOUDEVENTS, SETTINGS_PAYLOAD_BASE64);
	check(SETTINGS_ENVELOPE_CLOUDEVENTS, SETTINGS_PAYLOAD_TEXT);
	check(SETTINGS_ENVELOPE_CLOUDEVENTS_BINARY, SETTINGS_PAYLOAD_BASE64);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_record_costs_no_allocation),
	};

	return cmocka_run_group_tests_name("route_steady", tests, NULL, NULL);
}
