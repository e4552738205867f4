/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exactly once, at random: records and topics that are refused, commits in doubt,
 * producers that fail, crashes, more records, changed filters, gaps. What is committed in
 * the end has each record once, in the order of its MQTT topic.
 *
 * TIDEGATE_TEST_ROUNDS says how many seeds are tried, from TIDEGATE_TEST_SEED on.
 */
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

#define RECORDS_MAX 4000
#define DEVICES     7
#define KINDS       2 /* of topics: dev/N and other/N */
#define TOPICS      (DEVICES * KINDS)
#define LARGE_BYTES 5000
#define FOUR_MIB    (4 << 20)

static const char *const kinds[KINDS] = {"dev", "other"};

/* A message; its number is its sequence. */
struct message {
	uint8_t topic;
	bool is_gap;
};

struct world {
	struct bench b;
	uint64_t seed;
	struct message messages[RECORDS_MAX + 1];
	int count;
	const char *before[4]; /* the filter of that route up to ... */
	uint64_t before_until[4];
	size_t crash_count;
};

static uint64_t
dice(struct world *w, uint64_t sides)
{
	return records_random_number(&w->seed) % sides;
}

static void
stage_one(struct world *w, struct journal *j)
{
	static char large[FOUR_MIB + 1];
	struct message *m = &w->messages[++w->count];
	char payload[LARGE_BYTES] = {0};
	char topic[32];
	size_t size;

	m->topic = (uint8_t)dice(w, TOPICS);
	m->is_gap = dice(w, 1500) == 0;
	snprintf(topic, sizeof(topic), "%s/%d", kinds[m->topic / DEVICES],
	    m->topic % DEVICES);
	snprintf(payload, sizeof(payload), "%d", w->count);
	size = dice(w, 400) == 0 ? sizeof(payload) : strlen(payload);
	if (m->is_gap)
		bench_stage(j, topic, large, sizeof(large));
	else
		bench_stage(j, topic, payload, size);
}

static void
add_messages(struct world *w)
{
	struct journal *j = bench_open_journal(&w->b, JOURNAL_INGEST);
	int count = (int)dice(w, 1000) + 1;

	for (int i = 0; i < count && w->count < RECORDS_MAX; i++) {
		stage_one(w, j);
		if (dice(w, 100) == 0)
			assert_int_equal(journal_commit(j), 0);
	}
	assert_int_equal(journal_commit(j), 0);
	journal_close(j);
}

static void
add_routes(struct world *w)
{
	static const char *const names[] = {"r0", "r1", "r2", "r3"};
	static const char *const filters[] = {"#", "dev/#", "other/+", "dev/+"};
	size_t count = dice(w, 4) + 1;

	for (size_t i = 0; i < count; i++) {
		bench_add_route(&w->b, names[i], filters[dice(w, 4)], names[i]);
		if (dice(w, 4) == 0)
			w->b.routes[i].on_reject = SETTINGS_REJECT_BURY;
	}
	w->b.retries = (int)dice(w, 3) + 1;
}

/*
 * To what has more in it, from where the slowest stands; once: a second time it would be
 * sent again.
 */
static void
change_filters(struct world *w, uint64_t slowest)
{
	size_t i = dice(w, w->b.settings.route_count);

	if (w->before[i] != NULL || dice(w, 3) != 0)
		return;
	w->before[i] = w->b.filters[i][0];
	w->before_until[i] = slowest;
	w->b.filters[i][0] = bench_text("#");
}

static void
begin(struct world *w, void *dir)
{
	bench_init(&w->b, &dir);
	fake_sink_init_transactional(&w->b.sink);
	add_routes(w);
	w->b.buffer_max_bytes = (dice(w, 8) + 1) * 32 * 1024;
	w->b.sink.partitions = dice(w, 4) + 1;
	w->b.sink.value_max = LARGE_BYTES - 1;
	w->b.sink.is_invalid = dice(w, 2) == 0;
	w->b.sink.is_gapless = dice(w, 4) == 0;
	add_messages(w);
	bench_start(&w->b);
}

static void
crash(struct world *w)
{
	uint64_t slowest;

	if (dice(w, 3) == 0)
		assert_int_equal(forwarder_checkpoint(w->b.forwarder), 0);
	slowest = bench_stat_journal(&w->b).acked_seq;
	bench_stop(&w->b);
	fake_sink_forget(&w->b.sink);
	w->crash_count++;
	if (dice(w, 2) == 0 && w->count < RECORDS_MAX)
		add_messages(w);
	change_filters(w, slowest);
	bench_start(&w->b);
}

/* Something goes wrong, or right again. */
static void
happen(struct world *w)
{
	static const char *const topics[] = {"r0", "r1", "r2", "r3"};
	struct fake_sink *s = &w->b.sink;

	s->batch_max = dice(w, 100) + 1;
	s->batches_per_poll = dice(w, 6);
	s->is_stuck[dice(w, s->partitions)] ^= dice(w, 30) == 0;
	switch (dice(w, 250)) {
	case 0:
		fake_sink_fail(s);
		break;
	case 1:
		s->refused_topic = topics[dice(w, 4)];
		s->is_refused_at_once = dice(w, 2) == 0;
		break;
	case 2:
	case 3:
	case 4:
		s->refused_topic = NULL;
		break;
	case 5:
		s->refused_commits = dice(w, 3);
		break;
	case 6:
		s->fatal_commits = dice(w, 2);
		break;
	case 7:
		s->fatal_commits_after = dice(w, 2);
		break;
	case 8:
		s->given_back = dice(w, 3);
		break;
	case 9:
		s->again_count = dice(w, 4);
		break;
	case 10:
		s->refused_recoveries = dice(w, 2);
		break;
	case 11:
		s->landed_on_reopen = dice(w, 20);
		break;
	case 12:
	case 13:
		crash(w);
		break;
	case 14:
		w->b.now_ms += (int64_t)dice(w, 8000);
		break;
	default:
		break;
	}
}

static void
be_well(struct world *w)
{
	struct fake_sink *s = &w->b.sink;

	memset(s->is_stuck, 0, sizeof(s->is_stuck));
	s->batches_per_poll = 5;
	s->refused_topic = NULL;
	s->refused_commits = 0;
	s->refused_recoveries = 0;
	s->fatal_commits = 0;
	s->fatal_commits_after = 0;
	s->given_back = 0;
	bench_run_to_the_end(&w->b);
}

/* ---- what came of it ---- */

static bool
is_owed(const struct world *w, size_t route, int n)
{
	const struct message *m = &w->messages[n];
	const char *filter = w->b.filters[route][0];

	if (m->is_gap)
		return false;
	if ((uint64_t)n <= w->before_until[route])
		filter = w->before[route];
	if (strcmp(filter, "#") == 0)
		return true;
	return strncmp(filter, "dev", 3) == 0 ? m->topic < DEVICES
					      : m->topic >= DEVICES;
}

/* Once each, and rising within a topic. */
static void
count_landed(const struct world *w, size_t route, uint8_t *times)
{
	int newest[TOPICS] = {0};

	for (size_t i = 0; i < w->b.sink.committed_count; i++) {
		const struct fake_landed *l = &w->b.sink.landed[i];
		int n = atoi(l->value);

		if (strcmp(l->topic, w->b.routes[route].name) != 0)
			continue;
		assert_in_range(n, 1, w->count);
		assert_true(n > newest[w->messages[n].topic]);
		newest[w->messages[n].topic] = n;
		assert_int_equal(times[n], 0);
		times[n]++;
	}
}

static void
count_dead(const struct world *w, size_t route, uint8_t *times)
{
	struct journal_dead dead = {0};

	while (journal_dead_next(w->b.journal, &dead) == 0) {
		if (strcmp((char *)dead.route.data, w->b.routes[route].name) == 0)
			times[dead.seq]++;
	}
	journal_dead_fini(&dead);
}

static void
check(const struct world *w)
{
	assert_int_equal(w->b.sink.landed_count, w->b.sink.committed_count);
	assert_true(w->b.sink.out_bytes_max <= w->b.buffer_max_bytes);
	for (size_t route = 0; route < w->b.settings.route_count; route++) {
		uint8_t landed[RECORDS_MAX + 1] = {0}, dead[RECORDS_MAX + 1] = {0};

		count_landed(w, route, landed);
		count_dead(w, route, dead);
		for (int n = 1; n <= w->count; n++) {
			if (is_owed(w, route, n) != (landed[n] + dead[n] > 0))
				fail_msg("route %zu, number %d: landed %d, dead %d",
				    route, n, landed[n], dead[n]);
		}
	}
	bench_assert_journal_empty(&w->b);
}

static void
run(struct world *w)
{
	void *dir = NULL;
	int steps;

	assert_int_equal(tmpdir_setup(&dir), 0);
	begin(w, dir);
	steps = (int)dice(w, 3000);
	for (int i = 0; i < steps; i++) {
		happen(w);
		bench_step(&w->b);
	}
	be_well(w);
	check(w);
	bench_finish(&w->b);
	assert_int_equal(tmpdir_teardown(&dir), 0);
}

static void
whatever_happens_each_is_committed_once_and_in_order(void **state)
{
	const char *rounds = getenv("TIDEGATE_TEST_ROUNDS");
	uint64_t seed = records_seed();
	struct world *w = calloc(1, sizeof(*w));

	(void)state;
	assert_non_null(w);
	for (int i = 0; i < (rounds == NULL ? 5 : atoi(rounds)); i++) {
		memset(w, 0, sizeof(*w));
		w->seed = seed + (uint64_t)i;
		printf("# seed %llu\n", (unsigned long long)w->seed);
		run(w);
		printf("# %d messages, %zu crashes, %zu commits, %zu aborts, "
		       "%zu taken back\n",
		    w->count, w->crash_count, w->b.sink.commit_count,
		    w->b.sink.abort_count, w->b.sink.abort_landed_count);
	}
	free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(whatever_happens_each_is_committed_once_and_in_order),
	};

	return cmocka_run_group_tests_name("forwarder_exactly_once", tests, NULL, NULL);
}
