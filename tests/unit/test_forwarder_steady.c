/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the journal to Kafka (librdkafka's mock cluster) and back nothing of ours is
 * allocated for a record, once all is in use that a window needs; a look into the journal
 * costs one, for its cursor. Linked with --wrap for what allocates; what the libraries
 * allocate is not counted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "../lib/allocations.h"
#include "../lib/forward_bench.h"
#include "../lib/mock_cluster.h"
#include "../lib/tmpdir.h"
#include "kafka_sink.h"
#include "now.h"

#define RECORDS 40000
#define WARM    10000                  /* until then what is in use may grow */
#define MOST    ((RECORDS - WARM) / 2) /* of 2 * (RECORDS - WARM) that come behind */
#define WAIT_MS 120000

struct fixture {
	struct bench bench;
	struct mock_cluster cluster;
	struct settings settings;
	struct sink *sink;
};

static void
start(struct fixture *f, void **state)
{
	struct bench *b = &f->bench;
	struct forwarder_options o = {
	    .routes = b->open_routes, .buffer_max_bytes = BUFFER, .retries = -1};

	bench_init(b, state);
	bench_add_route(b, "plain", "dev/#", "plain");
	bench_add_route(b, "tbmq", "dev/#", "tbmq");
	b->routes[1].envelope = SETTINGS_ENVELOPE_TBMQ;
	b->routes[1].client_id = bench_text("${user:client-id}");
	bench_fill(b, "dev", 1, RECORDS, 100);
	mock_cluster_open(&f->cluster);
	mock_cluster_settings(&f->cluster, &f->settings);
	b->journal = bench_open_journal(b, JOURNAL_FORWARD);
	assert_int_equal(
	    kafka_sink_open(&f->sink, &f->settings, journal_identity(b->journal)->uuid),
	    0);
	o.journal = b->journal;
	o.sink = f->sink;
	o.route_count = b->settings.route_count;
	for (size_t i = 0; i < o.route_count; i++)
		assert_int_equal(route_open(&b->open_routes[i], &b->settings, i,
				     journal_identity(b->journal)),
		    0);
	assert_int_equal(forwarder_open(&b->forwarder, &o), 0);
}

static void
stop(struct fixture *f)
{
	f->sink->ops->close(f->sink);
	bench_finish(&f->bench);
	mock_cluster_close(&f->cluster);
}

/* As the loop of tidegate-forward does it. */
static void
run_until(struct fixture *f, uint64_t count)
{
	struct pollfd p = {.fd = f->sink->ops->fd(f->sink), .events = POLLIN};
	int64_t deadline_ms = now_monotonic_ms() + WAIT_MS;

	while (bench_stat_of(&f->bench, 0).delivered_count < count ||
	       bench_stat_of(&f->bench, 1).delivered_count < count) {
		int64_t now_ms = now_monotonic_ms();
		uint64_t events;
		int wait_ms;

		assert_true(now_ms < deadline_ms);
		assert_int_equal(
		    forwarder_step(f->bench.forwarder, now_ms, now_real_ms()), 0);
		wait_ms = forwarder_timeout_ms(f->bench.forwarder, now_ms);
		if (wait_ms < 0 || wait_ms > 100)
			wait_ms = 100;
		if (poll(&p, 1, wait_ms) > 0)
			assert_int_equal(
			    read(p.fd, &events, sizeof(events)), sizeof(events));
	}
}

static void
a_record_costs_no_allocation(void **state)
{
	static struct fixture f;
	unsigned before, after;

	before = allocations;
	start(&f, state);
	run_until(&f, WARM);
	assert_true(allocations > before); /* the calls are wrapped */
	before = allocations;
	run_until(&f, RECORDS);
	after = allocations;
	print_message("# %u allocations for %d records on two routes, %u before\n",
	    after - before, RECORDS - WARM, before);
	assert_true(after - before <= MOST);
	stop(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
		a_record_costs_no_allocation, tmpdir_setup, tmpdir_teardown),
	};

	return cmocka_run_group_tests_name("forwarder_steady", tests, NULL, NULL);
}
