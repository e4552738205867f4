/* SPDX-License-Identifier: Apache-2.0 */
/* What is dropped where the journal is full, and gaps that are announced. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/forward_bench.h"
#include "../lib/records.h"
#include "../lib/tmpdir.h"
#include "err.h"
#include "forward/forwarder_parts.h"

#define EVERYTHING ((uint64_t)1 << 40)
#define SEQS_MAX   40000

/* ---- what became of each sequence ---- */

static void
drop(struct bench *b, struct journal_dropped *dropped)
{
	assert_int_equal(
	    forwarder_drop_oldest(b->forwarder, EVERYTHING, dropped), ERR_OK);
}

static void
mark_gaps(const struct bench *b, uint8_t in_gap[SEQS_MAX])
{
	struct journal_gap gap = {0};

	memset(in_gap, 0, SEQS_MAX);
	while (journal_gap_read(b->journal, gap.first_seq + 1, &gap) == ERR_OK) {
		for (uint64_t i = 0; i < gap.count; i++)
			in_gap[gap.first_seq + i] = 1;
	}
}

/*
 * Each message's number is its sequence. In topic each is there, or in a gap; with
 * is_strict never both. Returns how many are in gaps.
 */
static size_t
check_each(const struct bench *b, const char *topic, int last, bool is_strict)
{
	static uint8_t in_gap[SEQS_MAX], landed[SEQS_MAX];
	size_t count = 0;

	mark_gaps(b, in_gap);
	memset(landed, 0, sizeof(landed));
	for (size_t i = 0; i < b->sink.landed_count; i++) {
		const struct fake_landed *l = &b->sink.landed[i];

		if (strcmp(l->topic, topic) == 0 && l->value[0] != '{')
			landed[atoi(l->value)] = 1;
	}
	for (int n = 1; n <= last; n++) {
		assert_true(landed[n] || in_gap[n]);
		if (is_strict)
			assert_false(landed[n] && in_gap[n]);
		count += in_gap[n];
	}
	return count;
}

/* ---- dropping ---- */

static void
what_is_on_its_way_is_not_dropped(void **state)
{
	struct bench b;
	struct journal_dropped d = {0};

	bench_init(&b, state);
	bench_add_route(&b, "r", "dev/#", "t");
	bench_fill(&b, "dev", 1, 20000, 10);
	b.sink.is_down = true;
	bench_start(&b);
	bench_run_ms(&b, 500);
	assert_true(b.sink.out_count > 100);
	drop(&b, &d);
	assert_true(d.records > 1000);
	assert_true(d.range.first_seq > b.sink.out_count);
	b.sink.is_down = false;
	bench_run_to_the_end(&b);
	assert_int_equal(check_each(&b, "t", 20000, true), d.records);
	bench_assert_in_order(&b, "t");
	bench_assert_journal_empty(&b);
	bench_finish(&b);
}

/* The producer is gone, all of it came back, and Kafka has a part of it. */
static void
what_is_in_doubt_is_not_dropped(void **state)
{
	struct bench b;
	struct journal_dropped d = {0};

	bench_init(&b, state);
	bench_add_route(&b, "r", "dev/#", "t");
	b.buffer_max_bytes = 1 << 20;
	bench_fill(&b, "dev", 1, 20000, 10);
	b.sink.is_down = true;
	bench_start(&b);
	bench_run_ms(&b, 100);
	b.sink.landed_on_reopen = b.sink.out_count - 10;
	b.sink.reopen_failures = 3;
	fake_sink_fail(&b.sink);
	bench_step(&b);
	assert_int_equal(b.sink.out_count, 0);
	assert_true(b.sink.landed_count > 5000);
	drop(&b, &d);
	assert_true(d.records > 1000);
	b.sink.is_down = false;
	bench_run_to_the_end(&b);
	assert_int_equal(check_each(&b, "t", 20000, true), d.records);
	bench_finish(&b);
}

static void
what_was_delivered_goes_without_a_marker(void **state)
{
	struct bench b;
	struct journal_dropped d = {0};

	bench_init(&b, state);
	bench_add_route(&b, "r", "dev/#", "t");
	bench_fill(&b, "dev", 1, 5000, 10);
	bench_start(&b);
	while (b.sink.landed_count < 1500)
		bench_step(&b);
	drop(&b, &d);
	bench_run_to_the_end(&b);
	assert_int_equal(check_each(&b, "t", 5000, true), d.records);
	bench_finish(&b);
}

/* One route holds; the other has read all of it, and memory still has a part. */
static void
what_is_dropped_does_not_come_out_of_memory(void **state)
{
	struct bench b;
	struct journal_dropped d = {0};

	bench_init(&b, state);
	bench_add_route(&b, "quick", "dev/#", "t");
	bench_add_route(&b, "held", "dev/#", "away");
	b.sink.refused_topic = "away";
	b.sink.is_refused_at_once = true;
	bench_fill(&b, "dev", 1, 20000, 10);
	bench_start(&b);
	bench_run_ms(&b, 3000);
	bench_assert_landed(&b, "t", 1, 20000, 0, 1);
	drop(&b, &d);
	assert_true(d.records > 18000);
	b.sink.refused_topic = NULL;
	bench_run_to_the_end(&b);
	assert_int_equal(check_each(&b, "away", 20000, true), d.records);
	bench_assert_in_order(&b, "away");
	bench_finish(&b);
}

static void
route_that_is_off_goes_on_behind_what_is_gone(void **state)
{
	struct bench b;
	struct journal_dropped d = {0};

	bench_init(&b, state);
	bench_add_route(&b, "off", "dev/#", "t");
	b.routes[0].enabled = false;
	bench_fill(&b, "dev", 1, 1000, 10);
	bench_start(&b);
	bench_run_ms(&b, 500);
	drop(&b, &d);
	assert_int_equal(d.records, 1000);
	bench_run_to_the_end(&b);
	bench_assert_journal_empty(&b);
	bench_finish(&b);
}

/* Everything at random; one seed repeats it. */
static void
random_drops_leave_each_record_one_place(void **state)
{
	uint64_t seed = records_seed();
	struct bench b;
	int last = 0;

	bench_init(&b, state);
	bench_add_route(&b, "one", "dev/#", "t");
	bench_add_route(&b, "two", "dev/#", "u");
	b.sink.partitions = 4;
	for (int round = 0; round < 15; round++) {
		struct journal_dropped d = {0};
		int more = 1 + (int)(records_random_number(&seed) % 2500);

		bench_fill(&b, "dev", last + 1, last + more, 10);
		last += more;
		bench_start(&b);
		for (int i = 0; i < 40; i++) {
			uint64_t dice = records_random_number(&seed) % 8;

			b.sink.is_down = dice == 0;
			b.sink.refused_topic = dice == 1 ? "t" : dice == 2 ? "u" : NULL;
			b.sink.is_stuck[0] = dice == 3;
			b.sink.given_back = dice == 4 ? 2 : 0;
			if (dice == 5)
				fake_sink_fail(&b.sink);
			if (dice == 6)
				drop(&b, &d);
			bench_run_ms(&b, dice == 7 ? 500 : 30);
		}
		b.sink.is_down = false;
		b.sink.refused_topic = NULL;
		b.sink.is_stuck[0] = false;
		bench_run_to_the_end(&b);
		/* A slow route makes that something is dropped that the other has. */
		(void)check_each(&b, "t", last, false);
		(void)check_each(&b, "u", last, false);
		bench_stop(&b);
	}
	bench_finish(&b);
}

static void
tell_nobody(void *context, uint64_t tag, enum sink_result result, const char *text)
{
	(void)context, (void)tag, (void)result, (void)text;
}

/* What is on its way arrives, in part, and the forwarder does not come to know it. */
static void
crash(struct bench *b)
{
	b->sink.is_down = false;
	b->sink.sink.delivered = tell_nobody;
	b->sink.sink.ops->poll(&b->sink.sink);
	fake_sink_forget(&b->sink);
	bench_stop(b);
	bench_start(b);
}

/* The same with one route, where what is dropped was never delivered. */
static void
random_drops_of_one_route_are_true(void **state)
{
	uint64_t seed = records_seed();
	uint64_t dropped = 0;
	struct bench b;
	int last = 0;

	bench_init(&b, state);
	bench_add_route(&b, "one", "dev/#", "t");
	b.may_drop_oldest = true;
	b.buffer_max_bytes = 64 * 1024;
	b.sink.partitions = 4;
	for (int round = 0; round < 6; round++) {
		int more = 3000 + (int)(records_random_number(&seed) % 3000);

		bench_fill(&b, "dev", last + 1, last + more, 10);
		last += more;
		bench_start(&b);
		for (int i = 0; i < 40; i++) {
			struct journal_dropped d = {0};
			uint64_t dice = records_random_number(&seed) % 12;

			b.sink.is_down = dice < 8;
			b.sink.is_stuck[1] = dice == 3;
			if (dice == 5) {
				b.sink.landed_on_reopen = 3;
				fake_sink_fail(&b.sink);
			}
			if (dice == 6)
				drop(&b, &d);
			dropped += d.records;
			bench_run_ms(&b, 20);
			if (dice == 9) {
				crash(&b);
				d = (struct journal_dropped){0};
				drop(&b, &d);
				dropped += d.records;
			}
		}
		b.sink.is_down = false;
		b.sink.is_stuck[1] = false;
		bench_run_to_the_end(&b);
		assert_int_equal(check_each(&b, "t", last, true), dropped);
		bench_stop(&b);
	}
	assert_true(dropped > 0);
	bench_finish(&b);
}

/* Not before it is known where Kafka stands, or how far was sent. */
static void
may_drop(struct bench *b, uint64_t *dropped)
{
	struct journal_dropped d = {0};
	int err = forwarder_drop_oldest(b->forwarder, EVERYTHING, &d);

	assert_true(err == ERR_OK || (err == ERR_AWAY && d.records == 0));
	*dropped += d.records;
}

/* The same with transactions: what is not committed is in doubt, too. */
static void
random_drops_are_true_with_transactions(void **state)
{
	uint64_t seed = records_seed();
	uint64_t dropped = 0;
	struct bench b;
	int last = 0;

	bench_init(&b, state);
	fake_sink_fini(&b.sink);
	fake_sink_init_transactional(&b.sink);
	bench_add_route(&b, "one", "dev/#", "t");
	b.may_drop_oldest = true;
	b.buffer_max_bytes = 64 * 1024;
	b.sink.partitions = 4;
	for (int round = 0; round < 6; round++) {
		int more = 3000 + (int)(records_random_number(&seed) % 3000);

		bench_fill(&b, "dev", last + 1, last + more, 10);
		last += more;
		bench_start(&b);
		for (int i = 0; i < 40; i++) {
			uint64_t dice = records_random_number(&seed) % 12;

			b.sink.is_down = dice < 8;
			b.sink.refused_commits = dice == 3;
			b.sink.fatal_commits_after = dice == 4;
			if (dice == 5)
				fake_sink_fail(&b.sink);
			if (dice == 6)
				may_drop(&b, &dropped);
			bench_run_ms(&b, 20);
			if (dice == 9)
				crash(&b);
			if (dice >= 9)
				may_drop(&b, &dropped);
		}
		b.sink.is_down = false;
		b.sink.refused_commits = 0;
		b.sink.fatal_commits_after = 0;
		bench_run_to_the_end(&b);
		assert_int_equal(check_each(&b, "t", last, true), dropped);
		bench_assert_in_order(&b, "t");
		fake_sink_forget(&b.sink); /* the next one is a process of its own */
		bench_stop(&b);
	}
	assert_true(dropped > 0);
	bench_finish(&b);
}

/* ---- announcing ---- */

/* Announcements in topic cover the gaps, each once at least; returns how many. */
static size_t
check_announced(const struct bench *b, const char *topic, size_t most)
{
	static uint8_t in_gap[SEQS_MAX];
	static size_t told[SEQS_MAX];
	size_t count = 0;

	mark_gaps(b, in_gap);
	memset(told, 0, sizeof(told));
	for (size_t i = 0; i < b->sink.landed_count; i++) {
		const struct fake_landed *l = &b->sink.landed[i];
		const char *first = strstr(l->value, "\"first\":");
		const char *number = strstr(l->value, "\"count\":");
		uint64_t from;

		if (strcmp(l->topic, topic) != 0 || l->value[0] != '{')
			continue;
		assert_string_equal(l->key, "gw");
		assert_non_null(first);
		assert_non_null(number);
		from = strtoull(first + 8, NULL, 10);
		for (uint64_t k = 0; k < strtoull(number + 8, NULL, 10); k++)
			told[from + k]++;
		count++;
	}
	for (size_t seq = 1; seq < SEQS_MAX; seq++)
		assert_in_range(told[seq], in_gap[seq], in_gap[seq] * most);
	return count;
}

static void
gap_is_announced_in_its_place(void **state)
{
	struct bench b;
	struct journal *j;
	char value[400];

	bench_init(&b, state);
	bench_add_route(&b, "r", "dev/#", "t");
	bench_add_route(&b, "quiet", "dev/#", "u");
	b.routes[0].gap_records = SETTINGS_GAPS_TOPIC;
	b.sink.batch_max = 1;
	bench_fill(&b, "dev", 1, 3, 1);
	j = bench_open_journal(&b, JOURNAL_INGEST);
	assert_int_equal(journal_stage_dropped(j, 4), ERR_OK);
	assert_int_equal(journal_commit(j), ERR_OK);
	journal_close(j);
	bench_fill(&b, "dev", 8, 9, 1);
	bench_start(&b);
	bench_run_to_the_end(&b);
	bench_assert_journal_empty(&b);
	assert_int_equal(b.sink.landed_count, 3 + 1 + 2 + 5);
	assert_int_equal(check_announced(&b, "t", 1), 1);
	for (size_t i = 0, at = 0; i < b.sink.landed_count; i++) {
		static const char first[] = "12348";

		if (strcmp(b.sink.landed[i].topic, "t") != 0 || at == 5)
			continue;
		if (at == 3)
			snprintf(value, sizeof(value), "%s", b.sink.landed[i].value);
		else
			assert_int_equal(b.sink.landed[i].value[0], first[at]);
		at++;
	}
	assert_non_null(strstr(value, "{\"gap\":{\"gateway\":\"gw\",\"uuid\":\""));
	assert_non_null(strstr(value,
	    "\",\"route\":\"r\",\"first\":4,\"count\":4,\"reason\":\"dropped: newest\","
	    "\"at\":\"20"));
	bench_finish(&b);
}

/* At the end of the journal it grows; each piece is told once, and nothing is owed. */
static void
gap_at_the_end_is_announced_as_it_grows(void **state)
{
	struct bench b;
	struct journal *j;

	bench_init(&b, state);
	bench_add_route(&b, "r", "dev/#", "t");
	b.routes[0].gap_records = SETTINGS_GAPS_TOPIC;
	bench_start(&b); /* a route that is new begins with the first record */
	bench_run_to_the_end(&b);
	bench_stop(&b);
	for (int i = 0; i < 3; i++) {
		j = bench_open_journal(&b, JOURNAL_INGEST);
		assert_int_equal(journal_stage_dropped(j, 5), ERR_OK);
		assert_int_equal(journal_commit(j), ERR_OK);
		journal_close(j);
		bench_start(&b);
		bench_run_to_the_end(&b);
		bench_assert_journal_empty(&b);
		bench_stop(&b);
	}
	bench_start(&b);
	assert_int_equal(check_announced(&b, "t", 1), 3);
	bench_finish(&b);
}

static void
announcement_that_kafka_refuses_is_passed(void **state)
{
	struct bench b;
	struct journal *j;

	bench_init(&b, state);
	bench_add_route(&b, "r", "dev/#", "t");
	b.routes[0].gap_records = SETTINGS_GAPS_TOPIC;
	b.sink.value_max = 50;
	bench_fill(&b, "dev", 1, 300, 10);
	j = bench_open_journal(&b, JOURNAL_INGEST);
	assert_int_equal(journal_stage_dropped(j, 5), ERR_OK);
	assert_int_equal(journal_commit(j), ERR_OK);
	journal_close(j);
	bench_fill(&b, "dev", 306, 600, 10);
	bench_start(&b);
	bench_run_to_the_end(&b);
	assert_int_equal(check_each(&b, "t", 600, true), 5);
	assert_int_equal(bench_stat_of(&b, 0).dead_count, 0);
	b.sink.send_max = 50;
	bench_stop(&b);
	j = bench_open_journal(&b, JOURNAL_INGEST);
	assert_int_equal(journal_stage_dropped(j, 5), ERR_OK);
	assert_int_equal(journal_commit(j), ERR_OK);
	journal_close(j);
	bench_start(&b);
	bench_run_to_the_end(&b);
	bench_assert_journal_empty(&b);
	bench_finish(&b);
}

static void
random_gaps_are_all_announced(void **state)
{
	uint64_t seed = records_seed();
	struct bench b;
	int last = 0;

	bench_init(&b, state);
	bench_add_route(&b, "one", "dev/#", "t");
	b.routes[0].gap_records = SETTINGS_GAPS_TOPIC;
	b.sink.partitions = 4;
	for (int round = 0; round < 12; round++) {
		int more = 1 + (int)(records_random_number(&seed) % 1500);
		struct journal *j;

		bench_fill(&b, "dev", last + 1, last + more, 10);
		last += more;
		more = (int)(records_random_number(&seed) % 9);
		j = bench_open_journal(&b, JOURNAL_INGEST);
		assert_int_equal(journal_stage_dropped(j, (size_t)more), ERR_OK);
		assert_int_equal(journal_commit(j), ERR_OK);
		journal_close(j);
		last += more;
		if (round % 3 != 2)
			continue;
		bench_start(&b);
		for (int i = 0; i < 60; i++) {
			struct journal_dropped d = {0};
			uint64_t dice = records_random_number(&seed) % 8;

			b.sink.is_down = dice < 2;
			b.sink.refused_topic = dice == 3 ? "t" : NULL;
			b.sink.given_back = dice == 4 ? 2 : 0;
			if (dice == 5)
				fake_sink_fail(&b.sink);
			if (dice == 6)
				drop(&b, &d);
			bench_run_ms(&b, dice == 7 ? 200 : 20);
		}
		b.sink.is_down = false;
		b.sink.refused_topic = NULL;
		bench_run_to_the_end(&b);
		(void)check_each(&b, "t", last, true);
		(void)check_announced(&b, "t", 1000);
		bench_stop(&b);
	}
	bench_finish(&b);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tmpdir_setup, tmpdir_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(what_is_on_its_way_is_not_dropped),
	    TEST(what_is_in_doubt_is_not_dropped),
	    TEST(what_was_delivered_goes_without_a_marker),
	    TEST(what_is_dropped_does_not_come_out_of_memory),
	    TEST(route_that_is_off_goes_on_behind_what_is_gone),
	    TEST(random_drops_leave_each_record_one_place),
	    TEST(random_drops_of_one_route_are_true),
	    TEST(random_drops_are_true_with_transactions),
	    TEST(gap_is_announced_in_its_place),
	    TEST(gap_at_the_end_is_announced_as_it_grows),
	    TEST(announcement_that_kafka_refuses_is_passed),
	    TEST(random_gaps_are_all_announced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
