/* SPDX-License-Identifier: Apache-2.0 */
/* The room of ingest, with a real journal and an order that is ended as forward does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../lib/journals.h"
#include "../lib/tmpdir.h"
#include "err.h"
#include "ingest/ingest_room.h"

#define MAX_BYTES ((uint64_t)2 << 20)

static const char *const one_route[] = {"r"};

static struct journal *
open_full(const char *directory)
{
	struct journal *j = journals_open_sized(directory, JOURNAL_INGEST, MAX_BYTES);

	assert_int_equal(journals_fill(j, 50, 500), ERR_FULL);
	return j;
}

/* Drop count records by order, as far as the figures go, and make room for all. */
static void
act_as_forward(const char *directory, uint64_t order, uint64_t count)
{
	struct journal *j = journals_open_sized(directory, JOURNAL_FORWARD, MAX_BYTES);
	struct journal_order o;
	uint64_t acked;

	assert_int_equal(journal_routes_set(j, one_route, 1, &acked), ERR_OK);
	assert_int_equal(journal_order_next(j, order - 1, &o), ERR_OK);
	assert_int_equal(o.number, order);
	assert_int_equal(o.kind, JOURNAL_ORDER_DROP_OLDEST);
	o.state = JOURNAL_ORDER_DONE;
	o.count = count;
	assert_int_equal(journal_order_end(j, &o), ERR_OK);
	assert_int_equal(journals_drain(j, journals_next(j) - 1), ERR_OK);
	journal_close(j);
}

static void
what_was_dropped_is_counted_when_there_is_room_again(void **state)
{
	struct settings settings = {
	    .journal = {.max_bytes = MAX_BYTES, .on_full = SETTINGS_FULL_DROP_OLDEST}};
	const struct worker worker = {
	    .settings = &settings, .stop_fd = -1, .wake_fd = -1};
	struct ingest_room r = {0};
	struct journal *j = open_full(*state);
	uint64_t order;

	ingest_room_init(&r, &worker, j);
	ingest_room_tick(&r, 1000);
	order = r.order_number;
	assert_int_not_equal(order, 0);
	journal_close(j);
	act_as_forward(*state, order, 40);
	r.journal = j = journals_open_sized(*state, JOURNAL_INGEST, MAX_BYTES);
	ingest_room_tick(&r, 2000);
	assert_true(r.bytes >= r.resume_bytes);
	assert_int_equal(r.dropped_count, 40);
	assert_int_equal(r.dropped_at_ms, 2000);
	assert_int_equal(r.order_number, 0);
	/* Once, and no other order is given. */
	ingest_room_tick(&r, 3000);
	ingest_room_account(&r, 1000, 4000);
	assert_int_equal(r.dropped_count, 40);
	assert_int_equal(r.order_number, 0);
	journal_close(j);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tmpdir_setup, tmpdir_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(what_was_dropped_is_counted_when_there_is_room_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
