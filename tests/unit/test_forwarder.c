/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The forwarder between a real journal and a fake sink. Time is passed in: nothing
 * here sleeps, and nothing depends on how fast it runs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>

#include "../lib/fake_sink.h"
#include "../lib/records.h"
#include "../lib/tmpdir.h"
#include "err.h"
#include "forwarder.h"
#include "journal.h"
#include "route.h"

#define ROUTES_MAX 4
#define REAL_MS    1795514500000
#define STEP_MS    10
#define STEPS_MAX  200000
#define BUFFER     ((uint64_t)256 * 1024)

/* A gateway's forwarding half, as a test sees it. */
struct bench {
	const char *dir;
	struct settings settings;
	struct settings_route routes[ROUTES_MAX];
	char *filters[ROUTES_MAX][3];
	uint64_t buffer_max_bytes;
	uint64_t dead_max_bytes;
	enum batch_codec codec;
	struct journal *journal;
	struct route *open_routes[ROUTES_MAX];
	struct fake_sink sink;
	struct forwarder *forwarder;
	int64_t now_ms;
};

/* Settings own their text; these only read it. */
static char *
text(const char *literal)
{
	return (char *)(uintptr_t)literal;
}

static void
bench_init(struct bench *b, void **state)
{
	memset(b, 0, sizeof(*b));
	b->dir = *state;
	b->settings.mqtt.host = text("broker");
	b->settings.routes = b->routes;
	b->buffer_max_bytes = BUFFER;
	b->dead_max_bytes = 1 << 20;
	b->codec = BATCH_CODEC_ZSTD;
	b->now_ms = 1000;
	fake_sink_init(&b->sink);
}

static void
add_route(struct bench *b, const char *name, const char *filter, const char *topic)
{
	size_t index = b->settings.route_count++;
	struct settings_route *r = &b->routes[index];

	b->filters[index][0] = text(filter);
	*r = (struct settings_route){
	    .name = text(name),
	    .topic_filters = b->filters[index],
	    .topic_filter_count = 1,
	    .topic = text(topic),
	    .key = text("${topic}"),
	    .envelope = SETTINGS_ENVELOPE_NONE,
	    .provenance = true,
	    .timestamp = SETTINGS_TIMESTAMP_RECEIVED,
	    .timestamp_max_age_s = 86400,
	};
}

static struct journal *
open_journal(const struct bench *b, enum journal_role role)
{
	struct journal_options o = {
	    .directory = b->dir,
	    .gateway_id = "gw",
	    .max_bytes = 64 << 20,
	    .dead_max_bytes = b->dead_max_bytes,
	    .codec = b->codec,
	};
	struct journal *j;

	assert_int_equal(journal_open(&j, role, &o), 0);
	return j;
}

static void
stage(struct journal *j, const char *topic, const void *payload, size_t size)
{
	struct record r;

	records_plain(&r, topic, "");
	r.payload = (struct bytes){payload, size};
	assert_int_equal(journal_stage(j, &r), 0);
}

/* Numbered messages first to last of devices in turn: topic PREFIX/DEVICE. */
static void
fill(const struct bench *b, const char *prefix, int first, int last, int devices)
{
	struct journal *j = open_journal(b, JOURNAL_INGEST);

	for (int n = first; n <= last; n++) {
		char topic[64], payload[64];

		snprintf(topic, sizeof(topic), "%s/%d", prefix, n % devices);
		snprintf(payload, sizeof(payload), "%d", n);
		stage(j, topic, payload, strlen(payload));
		if (n % 1000 == 0)
			assert_int_equal(journal_commit(j), 0);
	}
	assert_int_equal(journal_commit(j), 0);
	journal_close(j);
}

static void
fill_one(const struct bench *b, const char *topic, size_t size)
{
	struct journal *j = open_journal(b, JOURNAL_INGEST);
	char *payload = malloc(size + 1);

	assert_non_null(payload);
	memset(payload, 'x', size);
	stage(j, topic, payload, size);
	assert_int_equal(journal_commit(j), 0);
	free(payload);
	journal_close(j);
}

static void
start(struct bench *b)
{
	struct forwarder_options o = {
	    .sink = &b->sink.sink,
	    .routes = b->open_routes,
	    .route_count = b->settings.route_count,
	    .buffer_max_bytes = b->buffer_max_bytes,
	};

	b->journal = open_journal(b, JOURNAL_FORWARD);
	for (size_t i = 0; i < b->settings.route_count; i++)
		assert_int_equal(route_open(&b->open_routes[i], &b->settings, i,
				     journal_identity(b->journal)),
		    0);
	o.journal = b->journal;
	assert_int_equal(forwarder_open(&b->forwarder, &o), 0);
}

static void
stop(struct bench *b)
{
	forwarder_close(b->forwarder);
	for (size_t i = 0; i < b->settings.route_count; i++)
		route_close(b->open_routes[i]);
	journal_close(b->journal);
	b->forwarder = NULL;
	b->journal = NULL;
}

static void
step(struct bench *b)
{
	b->now_ms += STEP_MS;
	assert_int_equal(
	    forwarder_step(b->forwarder, b->now_ms, REAL_MS + b->now_ms), 0);
}

static void
run_ms(struct bench *b, int64_t ms)
{
	for (int64_t end = b->now_ms + ms; b->now_ms < end;)
		step(b);
}

static void
run_to_the_end(struct bench *b)
{
	for (int i = 0; i < STEPS_MAX && !forwarder_is_empty(b->forwarder); i++)
		step(b);
	assert_true(forwarder_is_empty(b->forwarder));
	assert_true(forwarder_is_settled(b->forwarder));
}

static void
finish(struct bench *b)
{
	if (b->forwarder != NULL)
		stop(b);
	fake_sink_fini(&b->sink);
}

static struct forwarder_route_stat
stat_of(const struct bench *b, size_t index)
{
	struct forwarder_route_stat s;

	forwarder_route_stat(b->forwarder, index, &s);
	return s;
}

static struct journal_stat
stat_journal(const struct bench *b)
{
	struct journal_stat s, figures;

	assert_int_equal(journal_stat(b->journal, &s), 0);
	figures = s;
	figures.routes = NULL;
	journal_stat_fini(&s);
	return figures;
}

static void
assert_journal_empty(const struct bench *b)
{
	struct journal_stat s = stat_journal(b);

	assert_int_equal(s.batches, 0);
	assert_int_equal(s.records, 0);
	assert_int_equal(s.first_seq, s.next_seq);
	assert_int_equal(s.acked_seq + 1, s.next_seq);
}

/*
 * In topic: are the numbers first to last there, each at least once, at most most
 * times, and the first deliveries of each key in rising order? But for the number left out.
 */
static void
assert_landed(
    const struct bench *b, const char *topic, int first, int last, int but, int most)
{
	size_t count = (size_t)(last - first + 1);
	int *times = calloc(count, sizeof(*times));
	int newest[64] = {0};

	assert_non_null(times);
	for (size_t i = 0; i < b->sink.landed_count; i++) {
		const struct fake_landed *l = &b->sink.landed[i];
		int n = atoi(l->value);
		size_t device;

		if (strcmp(l->topic, topic) != 0)
			continue;
		assert_in_range(n, first, last);
		assert_true(++times[n - first] <= most);
		device = (size_t)atoi(strrchr(l->key, '/') + 1);
		assert_in_range(device, 0, 63);
		if (times[n - first] == 1) {
			assert_true(n > newest[device]);
			newest[device] = n;
		}
	}
	for (size_t i = 0; i < count; i++)
		assert_int_equal(times[i] > 0, first + (int)i != but);
	free(times);
}

/* In topic: nothing twice, and each key in rising order. */
static void
assert_in_order(const struct bench *b, const char *topic)
{
	int newest[64] = {0};

	for (size_t i = 0; i < b->sink.landed_count; i++) {
		const struct fake_landed *l = &b->sink.landed[i];
		size_t device = (size_t)atoi(strrchr(l->key, '/') + 1);

		if (strcmp(l->topic, topic) != 0)
			continue;
		assert_in_range(device, 0, 63);
		assert_true(atoi(l->value) > newest[device]);
		newest[device] = atoi(l->value);
	}
}

static size_t
dead_letters(
    const struct bench *b, const char *route, const char *reason, uint64_t *seq)
{
	struct record_decoder *d;
	struct journal_dead dead = {0};
	struct dead_letter letter;
	size_t count = 0;

	assert_int_equal(record_decoder_open(&d), 0);
	while (journal_dead_next(b->journal, &dead) == 0) {
		struct record r;
		size_t offset = 0;

		assert_int_equal(
		    dead_letter_decode(d, dead.value.data, dead.value.size, &letter),
		    0);
		assert_int_equal(record_decode(d, letter.record.data,
				     letter.record.size, &offset, &r),
		    0);
		assert_int_equal(offset, letter.record.size);
		if (strcmp((char *)dead.route.data, route) != 0 ||
		    strcmp(letter.reason, reason) != 0)
			continue;
		*seq = dead.seq;
		count++;
	}
	journal_dead_fini(&dead);
	record_decoder_close(d);
	return count;
}

/* ---- the usual way ---- */

static void
everything_arrives_in_order_and_the_journal_is_empty(void **state)
{
	struct bench b;

	bench_init(&b, state);
	add_route(&b, "all", "#", "t");
	fill(&b, "dev", 1, 30000, 50);
	b.sink.partitions = 4;
	start(&b);
	run_to_the_end(&b);
	assert_landed(&b, "t", 1, 30000, 0, 1);
	assert_int_equal(stat_of(&b, 0).delivered_count, 30000);
	assert_int_equal(stat_of(&b, 0).acked_seq, 30000);
	assert_journal_empty(&b);
	assert_int_equal(forwarder_timeout_ms(b.forwarder, b.now_ms), -1);
	finish(&b);
}

static void
nothing_is_acknowledged_before_it_is_delivered(void **state)
{
	struct bench b;

	bench_init(&b, state);
	add_route(&b, "all", "#", "t");
	fill(&b, "dev", 1, 1000, 10);
	b.sink.is_down = true;
	start(&b);
	run_ms(&b, 600000);
	assert_true(b.sink.out_count > 0);
	assert_int_equal(stat_of(&b, 0).acked_seq, 0);
	assert_int_equal(stat_journal(&b).acked_seq, 0);
	assert_int_equal(stat_journal(&b).records, 1000);
	assert_false(forwarder_is_settled(b.forwarder));
	b.sink.is_down = false;
	run_to_the_end(&b);
	assert_landed(&b, "t", 1, 1000, 0, 1);
	finish(&b);
}

/* The second partition is stuck: nothing behind its first record is acknowledged. */
static void
only_the_finished_prefix_is_acknowledged(void **state)
{
	struct bench b;
	uint64_t first_stuck = 0;

	bench_init(&b, state);
	add_route(&b, "all", "#", "t");
	fill(&b, "dev", 1, 1000, 10);
	b.sink.partitions = 2;
	b.sink.is_stuck[1] = true;
	start(&b);
	run_ms(&b, 2000);
	assert_true(b.sink.landed_count > 0);
	for (uint64_t n = 1; first_stuck == 0; n++) {
		bool has_landed = false;

		for (size_t i = 0; i < b.sink.landed_count && !has_landed; i++)
			has_landed = (uint64_t)atoi(b.sink.landed[i].value) == n;
		first_stuck = has_landed ? 0 : n;
	}
	assert_int_equal(stat_of(&b, 0).acked_seq, first_stuck - 1);
	assert_int_equal(stat_journal(&b).acked_seq, first_stuck - 1);
	b.sink.is_stuck[1] = false;
	run_to_the_end(&b);
	assert_landed(&b, "t", 1, 1000, 0, 1);
	assert_journal_empty(&b);
	finish(&b);
}

static void
what_is_on_its_way_stays_within_the_buffer(void **state)
{
	struct bench b;

	bench_init(&b, state);
	add_route(&b, "all", "#", "t");
	b.buffer_max_bytes = 64 * 1024;
	for (int i = 0; i < 30; i++)
		fill_one(&b, "dev/1", 5000);
	fill_one(&b, "dev/1", 200000);
	for (int i = 0; i < 30; i++)
		fill_one(&b, "dev/1", 5000);
	b.sink.is_down = true;
	start(&b);
	run_ms(&b, 1000);
	assert_in_range(b.sink.out_bytes, 64 * 1024 - 2 * 5200, 64 * 1024);
	b.sink.is_down = false;
	b.sink.batch_max = 1;
	b.sink.batches_per_poll = 1;
	run_to_the_end(&b);
	/* The large one went, but alone. */
	assert_int_equal(b.sink.landed_count, 61);
	assert_int_equal(b.sink.out_bytes_max, 200000 + 5);
	finish(&b);
}

/* Commits of one record each must not make for a small window. */
static void
tiny_batches_fill_the_window_too(void **state)
{
	struct bench b;
	struct journal *j;

	bench_init(&b, state);
	add_route(&b, "all", "#", "t");
	j = open_journal(&b, JOURNAL_INGEST);
	for (int n = 1; n <= 400; n++) {
		char payload[16];

		snprintf(payload, sizeof(payload), "%d", n);
		stage(j, "dev/1", payload, strlen(payload));
		assert_int_equal(journal_commit(j), 0);
	}
	journal_close(j);
	b.sink.is_down = true;
	start(&b);
	run_ms(&b, 100);
	assert_int_equal(b.sink.out_count, 400);
	b.sink.is_down = false;
	run_to_the_end(&b);
	assert_landed(&b, "t", 1, 400, 0, 1);
	finish(&b);
}

static void
a_full_sink_is_asked_again(void **state)
{
	struct bench b;

	bench_init(&b, state);
	add_route(&b, "all", "#", "t");
	fill(&b, "dev", 1, 3000, 10);
	b.sink.queue_max = 7;
	start(&b);
	run_to_the_end(&b);
	assert_landed(&b, "t", 1, 3000, 0, 1);
	assert_int_equal(b.sink.out_count_max, 7);
	finish(&b);
}

static void
a_restart_goes_on_where_it_was(void **state)
{
	struct bench b;

	bench_init(&b, state);
	add_route(&b, "all", "#", "t");
	fill(&b, "dev", 1, 5000, 10);
	start(&b);
	while (b.sink.landed_count < 2000)
		step(&b);
	forwarder_stop(b.forwarder);
	for (int i = 0; i < 1000 && !forwarder_is_settled(b.forwarder); i++)
		step(&b);
	assert_true(forwarder_is_settled(b.forwarder));
	assert_int_equal(forwarder_checkpoint(b.forwarder), 0);
	assert_true(b.sink.landed_count < 5000);
	stop(&b);
	fill(&b, "dev", 5001, 6000, 10);
	start(&b);
	run_to_the_end(&b);
	assert_landed(&b, "t", 1, 6000, 0, 1);
	finish(&b);
}

/* What was delivered since the last checkpoint comes twice, nothing else. */
static void
a_crash_sends_the_unrecorded_again(void **state)
{
	struct bench b;

	bench_init(&b, state);
	add_route(&b, "all", "#", "t");
	fill(&b, "dev", 1, 5000, 10);
	start(&b);
	for (int crash = 0; crash < 5; crash++) {
		size_t landed = b.sink.landed_count;

		while (b.sink.landed_count < landed + 700)
			step(&b);
		stop(&b);
		fake_sink_forget(&b.sink);
		start(&b);
	}
	run_to_the_end(&b);
	assert_landed(&b, "t", 1, 5000, 0, 6);
	assert_journal_empty(&b);
	finish(&b);
}

/* ---- rejections ---- */

static void
fill_with_one_large(const struct bench *b, int count, int large)
{
	struct journal *j = open_journal(b, JOURNAL_INGEST);
	char *payload = malloc(5001);

	assert_non_null(payload);
	for (int n = 1; n <= count; n++) {
		char topic[32];
		int size = snprintf(payload, 5001, "%d", n);

		if (n == large) {
			memset(payload + size, ' ', (size_t)(5000 - size));
			size = 5000;
		}
		snprintf(topic, sizeof(topic), "dev/%d", n % 20);
		stage(j, topic, payload, (size_t)size);
	}
	assert_int_equal(journal_commit(j), 0);
	free(payload);
	journal_close(j);
}

static void
check_one_large_of_2000(void **state, size_t partitions, int large)
{
	struct bench b;
	uint64_t seq = 0;

	bench_init(&b, state);
	add_route(&b, "all", "#", "t");
	fill_with_one_large(&b, 2000, large);
	b.sink.partitions = partitions;
	b.sink.value_max = 4000;
	start(&b);
	run_to_the_end(&b);
	assert_landed(&b, "t", 1, 2000, large, 1);
	assert_int_equal(dead_letters(&b, "all", DEAD_TOO_LARGE, &seq), 1);
	assert_int_equal(seq, large);
	assert_int_equal(stat_of(&b, 0).dead_count, 1);
	assert_int_equal(stat_of(&b, 0).delivered_count, 1999);
	assert_false(stat_of(&b, 0).is_held);
	assert_journal_empty(&b);
	/* Found by dividing, not one by one; and never by waiting. */
	assert_in_range(b.sink.reopen_count, 2, 4);
	assert_true(b.now_ms < 20000);
	finish(&b);
}

static void
one_refused_in_the_middle_does_not_disturb_the_others(void **state)
{
	check_one_large_of_2000(state, 1, 1111);
}

static void
one_refused_among_four_partitions(void **state)
{
	check_one_large_of_2000(state, 4, 1111);
}

static void
the_first_is_refused(void **state)
{
	check_one_large_of_2000(state, 1, 1);
}

static void
the_last_is_refused(void **state)
{
	check_one_large_of_2000(state, 1, 2000);
}

static void
refused_by_a_producer_that_goes_on(void **state)
{
	struct bench b;
	uint64_t seq = 0;

	bench_init(&b, state);
	add_route(&b, "all", "#", "t");
	fill_with_one_large(&b, 2000, 777);
	b.sink.is_gapless = false;
	b.sink.value_max = 4000;
	b.sink.is_invalid = true;
	b.sink.queue_max = 50; /* so that nothing behind is out: order holds */
	b.sink.batch_max = 50;
	start(&b);
	run_to_the_end(&b);
	assert_landed(&b, "t", 1, 2000, 777, 1);
	assert_int_equal(dead_letters(&b, "all", DEAD_REFUSED, &seq), 1);
	assert_int_equal(b.sink.reopen_count, 0);
	finish(&b);
}

static void
too_large_for_the_client_is_buried_at_once(void **state)
{
	struct bench b;
	uint64_t seq = 0;

	bench_init(&b, state);
	add_route(&b, "all", "#", "t");
	fill_with_one_large(&b, 2000, 500);
	b.sink.send_max = 4000;
	start(&b);
	run_to_the_end(&b);
	assert_landed(&b, "t", 1, 2000, 500, 1);
	assert_int_equal(dead_letters(&b, "all", DEAD_TOO_LARGE, &seq), 1);
	assert_int_equal(seq, 500);
	assert_int_equal(b.sink.reopen_count, 0);
	finish(&b);
}

/*
 * Two routes into one topic: their records share Kafka's batches, so each is refused for
 * what the other one sent. Only the large one may die, once for each route.
 */
static void
routes_that_share_a_batch_are_judged_apart(void **state)
{
	struct bench b;
	uint64_t seq = 0;

	bench_init(&b, state);
	add_route(&b, "one", "#", "t");
	add_route(&b, "two", "dev/+", "t");
	fill_with_one_large(&b, 1000, 333);
	b.sink.value_max = 4000;
	start(&b);
	run_to_the_end(&b);
	assert_int_equal(b.sink.landed_count, 2 * 999);
	assert_landed(&b, "t", 1, 1000, 333, 2);
	assert_int_equal(dead_letters(&b, "one", DEAD_TOO_LARGE, &seq), 1);
	assert_int_equal(seq, 333);
	assert_int_equal(dead_letters(&b, "two", DEAD_TOO_LARGE, &seq), 1);
	assert_int_equal(seq, 333);
	assert_int_equal(stat_of(&b, 0).dead_count, 1);
	assert_int_equal(stat_of(&b, 1).dead_count, 1);
	finish(&b);
}

static void
many_large_ones_all_go_to_the_dead_letters(void **state)
{
	struct bench b;
	uint64_t seq = 0;

	bench_init(&b, state);
	add_route(&b, "all", "#", "t");
	for (int i = 0; i < 20; i++) {
		fill_one(&b, "dev/1", 10);
		fill_one(&b, "dev/2", 5000);
		fill_one(&b, "dev/2", 6000);
	}
	b.sink.value_max = 4000;
	start(&b);
	run_to_the_end(&b);
	assert_int_equal(b.sink.landed_count, 20);
	assert_int_equal(dead_letters(&b, "all", DEAD_TOO_LARGE, &seq), 40);
	assert_true(b.now_ms < 20000);
	finish(&b);
}

static void
a_bad_time_is_sent_again_under_the_time_of_sending(void **state)
{
	struct bench b;

	bench_init(&b, state);
	add_route(&b, "all", "#", "t");
	fill(&b, "dev", 1, 1000, 10);
	start(&b);
	/* The records are of 1795514400123; the clock of the gateway ran ahead. */
	b.sink.time_max_ms = 1795514400000;
	for (int i = 0; i < STEPS_MAX && !forwarder_is_empty(b.forwarder); i++) {
		b.now_ms += STEP_MS;
		assert_int_equal(
		    forwarder_step(b.forwarder, b.now_ms, 1795514300000 + b.now_ms), 0);
	}
	assert_landed(&b, "t", 1, 1000, 0, 1);
	for (size_t i = 0; i < b.sink.landed_count; i++)
		assert_true(b.sink.landed[i].timestamp_ms < 1795514400000);
	assert_true(b.now_ms < 10000);
	finish(&b);
}

static void
a_time_that_is_never_taken_holds(void **state)
{
	struct bench b;

	bench_init(&b, state);
	add_route(&b, "all", "#", "t");
	fill(&b, "dev", 1, 1000, 10);
	start(&b);
	b.sink.time_max_ms = 1;
	run_ms(&b, 600000);
	assert_true(stat_of(&b, 0).is_held);
	assert_int_equal(stat_of(&b, 0).acked_seq, 0);
	assert_int_equal(stat_of(&b, 0).dead_count, 0);
	assert_true(b.sink.reopen_count < 30);
	b.sink.time_max_ms = 0;
	run_to_the_end(&b);
	assert_landed(&b, "t", 1, 1000, 0, 1);
	assert_false(stat_of(&b, 0).is_held);
	finish(&b);
}

static void
check_one_route_held(void **state, bool at_once)
{
	struct bench b;
	size_t sent;

	bench_init(&b, state);
	add_route(&b, "good", "#", "good");
	add_route(&b, "bad", "dev/#", "bad");
	fill(&b, "dev", 1, 20000, 10);
	b.sink.refused_topic = "bad";
	b.sink.is_refused_at_once = at_once;
	start(&b);
	run_ms(&b, 20000);
	assert_int_equal(b.sink.landed_count, 20000);
	assert_landed(&b, "good", 1, 20000, 0, 1);
	assert_int_equal(stat_of(&b, 0).acked_seq, 20000);
	assert_false(stat_of(&b, 0).is_held);
	assert_true(stat_of(&b, 1).is_held);
	assert_true(strlen(stat_of(&b, 1).held_why) > 0);
	assert_int_equal(stat_of(&b, 1).acked_seq, 0);
	assert_int_equal(stat_journal(&b).records, 20000);
	/* It is asked for slowly, and with one record. */
	sent = b.sink.sent_count;
	run_ms(&b, 600000);
	assert_true(b.sink.sent_count - sent <= 12);
	assert_int_equal(b.sink.reopen_count, 0);
	assert_int_equal(stat_of(&b, 1).dead_count, 0);

	b.sink.refused_topic = NULL;
	run_to_the_end(&b);
	assert_landed(&b, "bad", 1, 20000, 0, 1);
	assert_int_equal(b.sink.landed_count, 40000);
	assert_false(stat_of(&b, 1).is_held);
	assert_journal_empty(&b);
	finish(&b);
}

static void
a_route_that_kafka_refuses_holds_and_the_other_goes_on(void **state)
{
	check_one_route_held(state, false);
}

static void
a_route_that_librdkafka_refuses_holds_and_the_other_goes_on(void **state)
{
	check_one_route_held(state, true);
}

/* One partition refuses while another does not answer: the lane waits for both. */
static void
nothing_passes_a_rejection_that_is_not_settled(void **state)
{
	struct bench b;

	bench_init(&b, state);
	add_route(&b, "all", "#", "t");
	fill(&b, "dev", 1, 1000, 10);
	b.sink.partitions = 2;
	b.sink.is_stuck[1] = true;
	b.sink.queue_max = 100;
	b.sink.refused_topic = "t";
	start(&b);
	step(&b);
	step(&b);
	assert_in_range(b.sink.out_count, 1, 99);
	b.sink.refused_topic = NULL;
	run_ms(&b, 10000);
	assert_int_equal(b.sink.sent_count, 100);
	b.sink.is_stuck[1] = false;
	run_to_the_end(&b);
	assert_landed(&b, "t", 1, 1000, 0, 1);
	finish(&b);
}

static void
overlapping_filters_of_two_routes_deliver_once_each(void **state)
{
	struct bench b;

	bench_init(&b, state);
	add_route(&b, "one", "#", "one");
	b.filters[0][1] = text("dev/#");
	b.filters[0][2] = text("dev/1");
	b.routes[0].topic_filter_count = 3;
	add_route(&b, "two", "other/+", "two");
	b.filters[1][1] = text("dev/+");
	b.routes[1].topic_filter_count = 2;
	fill(&b, "dev", 1, 3000, 10);
	fill(&b, "elsewhere", 3001, 4000, 10);
	start(&b);
	run_to_the_end(&b);
	assert_landed(&b, "one", 1, 4000, 0, 1);
	assert_landed(&b, "two", 1, 3000, 0, 1);
	assert_int_equal(b.sink.landed_count, 7000);
	assert_journal_empty(&b);
	finish(&b);
}

/* ---- the producer ---- */

static void
a_fatal_producer_is_replaced(void **state)
{
	struct bench b;

	bench_init(&b, state);
	add_route(&b, "one", "#", "one");
	add_route(&b, "two", "dev/+", "two");
	fill(&b, "dev", 1, 5000, 10);
	b.sink.partitions = 3;
	b.sink.batch_max = 50;
	b.sink.batches_per_poll = 6;
	start(&b);
	for (int i = 0; i < 5; i++) {
		run_ms(&b, 50);
		assert_true(b.sink.out_count > 0);
		/* Some of what is given back is there all the same. */
		b.sink.landed_on_reopen = 20;
		fake_sink_fail(&b.sink);
	}
	run_to_the_end(&b);
	assert_landed(&b, "one", 1, 5000, 0, 6);
	assert_landed(&b, "two", 1, 5000, 0, 6);
	assert_in_range(b.sink.landed_count, 10000, 10100);
	assert_int_equal(b.sink.reopen_count, 5);
	finish(&b);
}

static void
no_new_producer_to_be_had_is_tried_ever_more_slowly(void **state)
{
	struct bench b;

	bench_init(&b, state);
	add_route(&b, "one", "#", "one");
	fill(&b, "dev", 1, 1000, 10);
	start(&b);
	step(&b);
	fake_sink_fail(&b.sink);
	b.sink.reopen_failures = 1000;
	run_ms(&b, 600000);
	assert_in_range(b.sink.reopen_count, 15, 30);
	assert_true(stat_of(&b, 0).is_held);
	b.sink.reopen_failures = 0;
	run_to_the_end(&b);
	assert_false(stat_of(&b, 0).is_held);
	assert_landed(&b, "one", 1, 1000, 0, 1);
	finish(&b);
}

static void
a_producer_that_fails_each_time_is_not_a_hot_loop(void **state)
{
	struct bench b;

	bench_init(&b, state);
	add_route(&b, "one", "#", "one");
	fill(&b, "dev", 1, 1000, 10);
	b.sink.is_down = true;
	start(&b);
	for (int i = 0; i < 60000; i++) {
		step(&b);
		if (b.sink.out_count > 0)
			fake_sink_fail(&b.sink);
	}
	assert_in_range(b.sink.reopen_count, 15, 30);
	b.sink.is_down = false;
	run_to_the_end(&b);
	assert_landed(&b, "one", 1, 1000, 0, 1);
	finish(&b);
}

static void
given_back_again_and_again_is_not_a_hot_loop(void **state)
{
	struct bench b;

	bench_init(&b, state);
	add_route(&b, "one", "#", "one");
	fill(&b, "dev", 1, 100, 10);
	b.sink.given_back = SIZE_MAX;
	start(&b);
	run_ms(&b, 60000);
	assert_true(stat_of(&b, 0).is_held);
	assert_true(SIZE_MAX - b.sink.given_back < 20);
	b.sink.given_back = 0;
	run_to_the_end(&b);
	assert_landed(&b, "one", 1, 100, 0, 1);
	finish(&b);
}

/* ---- dead letters ---- */

static void
what_no_route_matches_is_buried(void **state)
{
	struct bench b;
	uint64_t seq = 0;

	bench_init(&b, state);
	add_route(&b, "some", "dev/#", "t");
	fill(&b, "dev", 1, 500, 10);
	fill(&b, "else", 501, 540, 10);
	fill(&b, "dev", 541, 1000, 10);
	start(&b);
	run_to_the_end(&b);
	assert_int_equal(b.sink.landed_count, 960);
	assert_int_equal(dead_letters(&b, FORWARDER_UNROUTED, DEAD_NO_ROUTE, &seq), 40);
	assert_int_equal(seq, 540);
	assert_int_equal(stat_of(&b, 1).dead_count, 40);
	assert_string_equal(stat_of(&b, 1).name, FORWARDER_UNROUTED);
	assert_journal_empty(&b);
	finish(&b);
}

static void
no_room_for_dead_letters_holds_what_is_owed(void **state)
{
	struct bench b;
	uint64_t seq = 0;
	size_t before;

	bench_init(&b, state);
	add_route(&b, "some", "dev/#", "t");
	b.dead_max_bytes = 16384;
	for (int i = 0; i < 20; i++)
		fill_one(&b, "else/1", 3000);
	fill(&b, "dev", 1, 100, 10);
	start(&b);
	run_ms(&b, 120000);
	/* The route is not disturbed; the journal keeps what could not be buried. */
	assert_landed(&b, "t", 1, 100, 0, 1);
	assert_true(stat_of(&b, 1).is_held);
	before = dead_letters(&b, FORWARDER_UNROUTED, DEAD_NO_ROUTE, &seq);
	assert_in_range(before, 1, 19);
	assert_int_equal(stat_journal(&b).acked_seq, before);
	stop(&b);
	b.dead_max_bytes = 1 << 20;
	start(&b);
	run_to_the_end(&b);
	assert_int_equal(dead_letters(&b, FORWARDER_UNROUTED, DEAD_NO_ROUTE, &seq), 20);
	assert_int_equal(b.sink.landed_count, 100);
	assert_journal_empty(&b);
	finish(&b);
}

static void
no_room_for_a_refused_one_holds_its_route(void **state)
{
	struct bench b;

	bench_init(&b, state);
	add_route(&b, "all", "#", "t");
	b.dead_max_bytes = 1;
	fill_with_one_large(&b, 500, 250);
	b.sink.value_max = 4000;
	start(&b);
	run_ms(&b, 300000);
	assert_true(stat_of(&b, 0).is_held);
	assert_int_equal(b.sink.landed_count, 249);
	assert_int_equal(stat_of(&b, 0).acked_seq, 249);
	/* It was judged once; waiting for room does not send it again. */
	assert_true(b.sink.reopen_count < 5);
	b.sink.value_max = 0;
	stop(&b);
	start(&b);
	run_to_the_end(&b);
	assert_landed(&b, "t", 1, 500, 0, 1);
	finish(&b);
}

/* ---- gaps ---- */

static void
gaps_are_passed(void **state)
{
	struct bench b;
	struct journal *j;
	char *large = calloc(1, 8 << 20);

	assert_non_null(large);
	bench_init(&b, state);
	add_route(&b, "all", "#", "t");
	fill(&b, "dev", 1, 10, 10);
	j = open_journal(&b, JOURNAL_INGEST);
	stage(j, "dev/1", large, 8 << 20);
	stage(j, "dev/1", "11", 2);
	stage(j, "dev/1", large, 8 << 20);
	assert_int_equal(journal_commit(j), 0);
	journal_close(j);
	start(&b);
	run_to_the_end(&b);
	assert_int_equal(b.sink.landed_count, 11);
	assert_int_equal(stat_of(&b, 0).acked_seq, 13);
	assert_journal_empty(&b);
	stop(&b);
	/* The last gap grows; then records follow. */
	j = open_journal(&b, JOURNAL_INGEST);
	stage(j, "dev/1", large, 8 << 20);
	assert_int_equal(journal_commit(j), 0);
	journal_close(j);
	start(&b);
	run_to_the_end(&b);
	assert_int_equal(stat_of(&b, 0).acked_seq, 14);
	stop(&b);
	fill(&b, "dev", 15, 20, 10);
	start(&b);
	run_to_the_end(&b);
	assert_int_equal(b.sink.landed_count, 17);
	assert_journal_empty(&b);
	finish(&b);
	free(large);
}

/* ---- damage ---- */

/* The journal's file, whole. The caller frees it. */
static uint8_t *
load_file(const struct bench *b, size_t *size)
{
	char path[4096];
	uint8_t *data;
	FILE *file;

	snprintf(path, sizeof(path), "%s/data.mdb", b->dir);
	file = fopen(path, "rb");
	assert_non_null(file);
	assert_int_equal(fseek(file, 0, SEEK_END), 0);
	*size = (size_t)ftell(file);
	rewind(file);
	data = malloc(*size);
	assert_non_null(data);
	assert_int_equal(fread(data, 1, *size, file), *size);
	fclose(file);
	return data;
}

static void
patch_file(const struct bench *b, size_t at, const void *data, size_t size)
{
	char path[4096];
	FILE *file;

	snprintf(path, sizeof(path), "%s/data.mdb", b->dir);
	file = fopen(path, "r+b");
	assert_non_null(file);
	assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
	assert_int_equal(fwrite(data, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
}

/* Where the stored form of a payload lies. */
static size_t
place_in_file(const struct bench *b, const char *payload)
{
	size_t size;
	uint8_t *data = load_file(b, &size);
	uint8_t *at = memmem(data, size, payload, strlen(payload));

	assert_non_null(at);
	size = (size_t)(at - data);
	free(data);
	return size;
}

/* Records 1 to count, a hundred to a batch, not compressed. */
static void
fill_batches(const struct bench *b, int count)
{
	struct journal *j = open_journal(b, JOURNAL_INGEST);
	char payload[64];

	for (int n = 1; n <= count; n++) {
		snprintf(payload, sizeof(payload), "%d is the number", n);
		stage(j, "dev/1", payload, strlen(payload));
		if (n % 100 == 0)
			assert_int_equal(journal_commit(j), 0);
	}
	journal_close(j);
}

static void
a_damaged_batch_holds_those_who_reach_it(void **state)
{
	struct bench b;
	size_t at;

	bench_init(&b, state);
	add_route(&b, "all", "#", "t");
	b.codec = BATCH_CODEC_NONE;
	fill_batches(&b, 1000);
	at = place_in_file(&b, "450 is the number") + 4;
	patch_file(&b, at, "I", 1);
	start(&b);
	run_ms(&b, 300000);
	assert_landed(&b, "t", 1, 400, 0, 1);
	for (size_t i = 0; i < 2; i++) {
		assert_true(stat_of(&b, i).is_held);
		assert_non_null(
		    strstr(stat_of(&b, i).held_why, "sequences 401 to 500"));
	}
	assert_int_equal(stat_journal(&b).first_seq, 401);
	assert_int_equal(stat_journal(&b).records, 600);
	assert_true(forwarder_timeout_ms(b.forwarder, b.now_ms) > 0);
	/* As soon as it can be read again, all goes on. */
	patch_file(&b, at, "i", 1);
	run_to_the_end(&b);
	assert_landed(&b, "t", 1, 1000, 0, 1);
	assert_false(stat_of(&b, 0).is_held);
	assert_journal_empty(&b);
	finish(&b);
}

static void
put_le32(uint8_t *to, uint32_t n)
{
	for (int i = 0; i < 4; i++)
		to[i] = (uint8_t)(n >> (8 * i));
}

/*
 * Make the record with this payload undecodable, in a batch whose checksum is right all
 * the same: 0xc1 is never used in MessagePack.
 */
static void
spoil_record(const struct bench *b, const char *payload, uint64_t base_seq)
{
	size_t size, record = place_in_file(b, payload), header = record;
	uint8_t *data = load_file(b, &size);
	uint8_t wanted[8] = {0};
	uint32_t body_bytes = 0;

	put_le32(wanted, (uint32_t)base_seq);
	while (
	    memcmp(data + header + 16, wanted, 8) != 0 || data[header] != BATCH_VERSION)
		header--;
	for (int i = 3; i >= 0; i--)
		body_bytes = body_bytes << 8 | data[header + 12 + (size_t)i];
	assert_true(record < header + BATCH_HEADER_BYTES + body_bytes);
	data[record - 2] = 0xc1; /* in place of "bin 8" */
	put_le32(data + header + 8, 0);
	put_le32(data + header + 8,
	    (uint32_t)crc32(0, data + header, BATCH_HEADER_BYTES + body_bytes));
	patch_file(b, header, data + header, BATCH_HEADER_BYTES + body_bytes);
	free(data);
}

static void
a_record_that_cannot_be_decoded_holds_and_those_before_it_go(void **state)
{
	struct bench b;

	bench_init(&b, state);
	add_route(&b, "all", "#", "t");
	b.codec = BATCH_CODEC_NONE;
	fill_batches(&b, 1000);
	spoil_record(&b, "450 is the number", 401);
	start(&b);
	run_ms(&b, 300000);
	assert_landed(&b, "t", 1, 449, 0, 1);
	assert_int_equal(stat_of(&b, 0).acked_seq, 449);
	assert_non_null(strstr(stat_of(&b, 0).held_why, "sequences 450 to 500"));
	assert_int_equal(stat_journal(&b).first_seq, 401);
	finish(&b);
}

/* ---- all at once ---- */

/* Random rejections, failures and stuck partitions: nothing lost, order kept. */
static void
a_random_bad_day(void **state)
{
	uint64_t seed = records_seed();
	struct bench b;
	struct journal *j;
	uint64_t seq = 0;
	int large = 0;

	bench_init(&b, state);
	add_route(&b, "one", "#", "one");
	add_route(&b, "two", "dev/+", "two");
	b.sink.partitions = 4;
	j = open_journal(&b, JOURNAL_INGEST);
	for (int n = 1; n <= 20000; n++) {
		bool is_large = records_random_number(&seed) % 3000 == 0;
		char payload[5000] = {0};
		char topic[32];

		snprintf(payload, sizeof(payload), "%d", n);
		snprintf(topic, sizeof(topic), "dev/%d", n % 30);
		stage(j, topic, payload, is_large ? sizeof(payload) : strlen(payload));
		large += is_large;
		if (records_random_number(&seed) % 200 == 0)
			assert_int_equal(journal_commit(j), 0);
	}
	assert_int_equal(journal_commit(j), 0);
	journal_close(j);
	b.sink.value_max = 4000;
	start(&b);
	for (int i = 0; i < STEPS_MAX && !forwarder_is_empty(b.forwarder); i++) {
		uint64_t dice = records_random_number(&seed) % 400;

		b.sink.batch_max = records_random_number(&seed) % 200 + 1;
		b.sink.batches_per_poll = records_random_number(&seed) % 10;
		b.sink.is_stuck[records_random_number(&seed) % 4] ^= dice % 20 == 0;
		if (dice == 1)
			fake_sink_fail(&b.sink);
		if (dice == 2)
			b.sink.refused_topic = "two";
		if (dice == 3 || dice == 4)
			b.sink.refused_topic = NULL;
		step(&b);
	}
	assert_true(forwarder_is_empty(b.forwarder));
	assert_int_equal(dead_letters(&b, "one", DEAD_TOO_LARGE, &seq), large);
	assert_int_equal(dead_letters(&b, "two", DEAD_TOO_LARGE, &seq), large);
	assert_int_equal(b.sink.landed_count, 2 * (20000 - large));
	assert_in_order(&b, "one");
	assert_in_order(&b, "two");
	assert_journal_empty(&b);
	finish(&b);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tmpdir_setup, tmpdir_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(everything_arrives_in_order_and_the_journal_is_empty),
	    TEST(nothing_is_acknowledged_before_it_is_delivered),
	    TEST(only_the_finished_prefix_is_acknowledged),
	    TEST(what_is_on_its_way_stays_within_the_buffer),
	    TEST(tiny_batches_fill_the_window_too),
	    TEST(a_full_sink_is_asked_again),
	    TEST(a_restart_goes_on_where_it_was),
	    TEST(a_crash_sends_the_unrecorded_again),
	    TEST(one_refused_in_the_middle_does_not_disturb_the_others),
	    TEST(one_refused_among_four_partitions),
	    TEST(the_first_is_refused),
	    TEST(the_last_is_refused),
	    TEST(refused_by_a_producer_that_goes_on),
	    TEST(too_large_for_the_client_is_buried_at_once),
	    TEST(routes_that_share_a_batch_are_judged_apart),
	    TEST(many_large_ones_all_go_to_the_dead_letters),
	    TEST(a_bad_time_is_sent_again_under_the_time_of_sending),
	    TEST(a_time_that_is_never_taken_holds),
	    TEST(a_route_that_kafka_refuses_holds_and_the_other_goes_on),
	    TEST(a_route_that_librdkafka_refuses_holds_and_the_other_goes_on),
	    TEST(nothing_passes_a_rejection_that_is_not_settled),
	    TEST(overlapping_filters_of_two_routes_deliver_once_each),
	    TEST(a_fatal_producer_is_replaced),
	    TEST(no_new_producer_to_be_had_is_tried_ever_more_slowly),
	    TEST(a_producer_that_fails_each_time_is_not_a_hot_loop),
	    TEST(given_back_again_and_again_is_not_a_hot_loop),
	    TEST(what_no_route_matches_is_buried),
	    TEST(no_room_for_dead_letters_holds_what_is_owed),
	    TEST(no_room_for_a_refused_one_holds_its_route),
	    TEST(gaps_are_passed),
	    TEST(a_damaged_batch_holds_those_who_reach_it),
	    TEST(a_record_that_cannot_be_decoded_holds_and_those_before_it_go),
	    TEST(a_random_bad_day),
	};

	return cmocka_run_group_tests_name("forwarder", tests, NULL, NULL);
}
