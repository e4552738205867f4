/* SPDX-License-Identifier: Apache-2.0 */
#include "forward_bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "err.h"
#include "records.h"

char *
bench_text(const char *literal)
{
	return (char *)(uintptr_t)literal;
}

void
bench_init(struct bench *b, void **state)
{
	memset(b, 0, sizeof(*b));
	b->dir = *state;
	b->settings.mqtt.host = bench_text("broker");
	b->settings.routes = b->routes;
	b->buffer_max_bytes = BUFFER;
	b->dead_max_bytes = 1 << 20;
	b->codec = BATCH_CODEC_ZSTD;
	b->retries = -1;
	b->transaction_max_records = 50000;
	b->transaction_max_ms = 200;
	b->now_ms = 1000;
	fake_sink_init(&b->sink);
}

void
bench_add_route(
    struct bench *b, const char *name, const char *filter, const char *topic)
{
	size_t index = b->settings.route_count++;
	struct settings_route *r = &b->routes[index];

	b->filters[index][0] = bench_text(filter);
	*r = (struct settings_route){
	    .name = bench_text(name),
	    .enabled = true,
	    .topic_filters = b->filters[index],
	    .topic_filter_count = 1,
	    .topic = bench_text(topic),
	    .key = bench_text("${topic}"),
	    .envelope = SETTINGS_ENVELOPE_NONE,
	    .provenance = true,
	    .timestamp = SETTINGS_TIMESTAMP_RECEIVED,
	    .timestamp_max_age_s = 86400,
	};
}

struct journal *
bench_open_journal(const struct bench *b, enum journal_role role)
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

void
bench_stage(struct journal *j, const char *topic, const void *payload, size_t size)
{
	struct record r;

	records_plain(&r, topic, "");
	r.payload = (struct bytes){payload, size};
	assert_int_equal(journal_stage(j, &r), 0);
}

void
bench_fill(const struct bench *b, const char *prefix, int first, int last, int devices)
{
	struct journal *j = bench_open_journal(b, JOURNAL_INGEST);

	for (int n = first; n <= last; n++) {
		char topic[64], payload[64];

		snprintf(topic, sizeof(topic), "%s/%d", prefix, n % devices);
		snprintf(payload, sizeof(payload), "%d", n);
		bench_stage(j, topic, payload, strlen(payload));
		if (n % 1000 == 0)
			assert_int_equal(journal_commit(j), 0);
	}
	assert_int_equal(journal_commit(j), 0);
	journal_close(j);
}

void
bench_fill_one(const struct bench *b, const char *topic, size_t size)
{
	struct journal *j = bench_open_journal(b, JOURNAL_INGEST);
	char *payload = malloc(size + 1);

	assert_non_null(payload);
	memset(payload, 'x', size);
	bench_stage(j, topic, payload, size);
	assert_int_equal(journal_commit(j), 0);
	free(payload);
	journal_close(j);
}

void
bench_start(struct bench *b)
{
	struct forwarder_options o = {
	    .sink = &b->sink.sink,
	    .routes = b->open_routes,
	    .route_count = b->settings.route_count,
	    .buffer_max_bytes = b->buffer_max_bytes,
	    .retries = b->retries,
	    .transaction_max_records = b->transaction_max_records,
	    .transaction_max_ms = b->transaction_max_ms,
	    .may_drop_oldest = b->may_drop_oldest,
	    .latency = &b->latency,
	};

	b->journal = bench_open_journal(b, JOURNAL_FORWARD);
	for (size_t i = 0; i < b->settings.route_count; i++)
		assert_int_equal(route_open(&b->open_routes[i], &b->settings, i,
				     journal_identity(b->journal)),
		    0);
	o.journal = b->journal;
	assert_int_equal(forwarder_open(&b->forwarder, &o), 0);
}

void
bench_stop(struct bench *b)
{
	forwarder_close(b->forwarder);
	for (size_t i = 0; i < b->settings.route_count; i++)
		route_close(b->open_routes[i]);
	journal_close(b->journal);
	b->forwarder = NULL;
	b->journal = NULL;
	/* The producer goes with its process; one with transactions has to recover. */
	if (b->sink.sink.ops->commit != NULL)
		fake_sink_forget(&b->sink);
}

void
bench_step(struct bench *b)
{
	b->now_ms += STEP_MS;
	assert_int_equal(
	    forwarder_step(b->forwarder, b->now_ms, REAL_MS + b->now_ms), 0);
}

void
bench_run_ms(struct bench *b, int64_t ms)
{
	for (int64_t end = b->now_ms + ms; b->now_ms < end;)
		bench_step(b);
}

void
bench_run_to_the_end(struct bench *b)
{
	for (int i = 0; i < STEPS_MAX && !forwarder_is_empty(b->forwarder); i++)
		bench_step(b);
	assert_true(forwarder_is_empty(b->forwarder));
	assert_true(forwarder_is_settled(b->forwarder));
}

void
bench_finish(struct bench *b)
{
	if (b->forwarder != NULL)
		bench_stop(b);
	fake_sink_fini(&b->sink);
}

struct forwarder_route_stat
bench_stat_of(const struct bench *b, size_t index)
{
	struct forwarder_route_stat s;

	forwarder_route_stat(b->forwarder, index, &s);
	return s;
}

struct journal_stat
bench_stat_journal(const struct bench *b)
{
	struct journal_stat s, figures;

	assert_int_equal(journal_stat(b->journal, &s), 0);
	figures = s;
	figures.routes = NULL;
	journal_stat_fini(&s);
	return figures;
}

void
bench_assert_journal_empty(const struct bench *b)
{
	struct journal_stat s = bench_stat_journal(b);

	assert_int_equal(s.batches, 0);
	assert_int_equal(s.records, 0);
	assert_int_equal(s.first_seq, s.next_seq);
	assert_int_equal(s.acked_seq + 1, s.next_seq);
}

void
bench_assert_landed(
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

void
bench_assert_in_order(const struct bench *b, const char *topic)
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

size_t
bench_dead_letters(
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

void
bench_fill_with_one_large(const struct bench *b, int count, int large)
{
	struct journal *j = bench_open_journal(b, JOURNAL_INGEST);
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
		bench_stage(j, topic, payload, (size_t)size);
	}
	assert_int_equal(journal_commit(j), 0);
	free(payload);
	journal_close(j);
}
