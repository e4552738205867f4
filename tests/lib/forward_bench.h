/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The forwarder between a real journal and a fake sink, as the tests of it need it.
 * Time is passed in: nothing sleeps, and nothing depends on how fast it runs. What goes
 * wrong fails the cmocka test.
 */
#ifndef TESTS_FORWARD_BENCH_H
#define TESTS_FORWARD_BENCH_H

#include <stddef.h>
#include <stdint.h>

#include "fake_sink.h"
#include "forwarder.h"
#include "journal.h"
#include "route.h"
#include "settings.h"

#define ROUTES_MAX 200
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
	int retries;
	size_t transaction_max_records;
	int64_t transaction_max_ms;
	bool may_drop_oldest;
	enum batch_codec codec;
	struct journal *journal;
	struct route *open_routes[ROUTES_MAX];
	struct fake_sink sink;
	struct forwarder *forwarder;
	struct histogram latency;
	int64_t now_ms;
};

/* Settings own their text; these only read it. */
char *bench_text(const char *literal);

/* state: as tmpdir_setup() has left it. No route yet. */
void bench_init(struct bench *b, void **state);
void bench_add_route(
    struct bench *b, const char *name, const char *filter, const char *topic);
struct journal *bench_open_journal(const struct bench *b, enum journal_role role);

/* Ingest's part; the forwarder must not run: a process opens a journal once only. */
void bench_stage(
    struct journal *j, const char *topic, const void *payload, size_t size);

/* Numbered messages first to last, of devices in turn: topic PREFIX/DEVICE. */
void bench_fill(
    const struct bench *b, const char *prefix, int first, int last, int devices);

/* One message of that size. */
void bench_fill_one(const struct bench *b, const char *topic, size_t size);

/* Numbered messages of 20 devices, of which one is of 5,000 bytes. */
void bench_fill_with_one_large(const struct bench *b, int count, int large);

void bench_start(struct bench *b);
void bench_stop(struct bench *b);
void bench_step(struct bench *b);
void bench_run_ms(struct bench *b, int64_t ms);

/* Until the forwarder says that the journal is empty. */
void bench_run_to_the_end(struct bench *b);
void bench_finish(struct bench *b);

struct forwarder_route_stat bench_stat_of(const struct bench *b, size_t index);

/* Figures alone, no routes. */
struct journal_stat bench_stat_journal(const struct bench *b);
void bench_assert_journal_empty(const struct bench *b);

/*
 * In topic: are the numbers first to last there, each at least once, at most most
 * times, and the first deliveries of each key in rising order? All but one number.
 */
void bench_assert_landed(
    const struct bench *b, const char *topic, int first, int last, int but, int most);

/* In topic: nothing twice, and each key in rising order. */
void bench_assert_in_order(const struct bench *b, const char *topic);

/* How many of a route went to the dead letters for that reason? seq: out, the last. */
size_t bench_dead_letters(
    const struct bench *b, const char *route, const char *reason, uint64_t *seq);

#endif
