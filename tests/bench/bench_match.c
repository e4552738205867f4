/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_match [-s] DIR
 *
 * What many topic filters cost: topic_matcher_match() with one filter against 10 to
 * 10,000, and the forwarder with one route against 1,000, from a journal in DIR to a
 * sink that takes everything at once. One and many in turn, several times, in time of the
 * processor; what counts are the ratios. -s: a short run, which proves that it works.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "err.h"
#include "forwarder.h"
#include "journal.h"
#include "log.h"
#include "now.h"
#include "topic_matcher.h"

#define DEVICES       1000
#define FILTERS_MAX   10000
#define TOPICS        1000
#define RUNS_MAX      9
#define PAYLOAD_BYTES 200
#define OUT_MAX       100000

/* ---- the matcher alone ---- */

/* Filters as they are in use; number i of them matches the topic made of i. */
static const struct shape {
	const char *name;
	const char *filter[2]; /* before and behind the number */
	const char *topic[2];
} shapes[] = {
    {"plant/dev-N/#", {"plant/dev-", "/#"}, {"plant/dev-", "/temperature"}},
    {"+/dev-N/state", {"+/dev-", "/state"}, {"plant/dev-", "/state"}},
    {"site/area-N/line/+/value", {"site/area-", "/line/+/value"},
	{"site/area-", "/line/7/value"}},
    {"N/up", {"", "/up"}, {"", "/up"}},
};

static size_t
put(char out[64], const char *const parts[2], size_t number)
{
	return (size_t)snprintf(out, 64, "%s%zu%s", parts[0], number, parts[1]);
}

static struct topic_matcher *
open_matcher(const struct shape *shape, size_t count)
{
	struct topic_matcher *m;
	char filter[64];

	bench_must(topic_matcher_open(&m), "topic_matcher_open");
	for (size_t i = 0; i < count; i++) {
		(void)put(filter, shape->filter, i);
		bench_must(
		    topic_matcher_add(m, filter, (uint32_t)i), "topic_matcher_add");
	}
	return m;
}

/* Nanoseconds a match. Every topic matches one filter. */
static double
time_matches(const struct shape *shape, size_t filter_count, size_t rounds)
{
	static char topics[TOPICS][64];
	struct topic_matcher *m = open_matcher(shape, filter_count);
	struct bytes topic[TOPICS];
	size_t found = 0, count;
	const uint32_t *owners;
	double began;

	for (size_t i = 0; i < TOPICS; i++) {
		/* From all over the filters, in no order that a cache would like. */
		size_t size = put(topics[i], shape->topic, i * 7919 % filter_count);

		topic[i] = (struct bytes){topics[i], size};
	}
	began = bench_worked_s();
	for (size_t n = 0; n < rounds; n++) {
		for (size_t i = 0; i < TOPICS; i++) {
			topic_matcher_match(m, topic[i], &owners, &count);
			found += count;
		}
	}
	began = bench_worked_s() - began;
	if (found != rounds * TOPICS)
		bench_must(ERR_INVALID, shape->name);
	topic_matcher_close(m);
	return began * 1e9 / (double)(rounds * TOPICS);
}

static void
bench_matcher(bool is_short)
{
	static const size_t counts[] = {1, 10, 100, 1000, FILTERS_MAX};
	size_t runs = is_short ? 1 : 7, rounds = is_short ? 10 : 300;

	printf(
	    "Matching a topic against one filter and against many of one shape;\n"
	    "nanoseconds a topic, median of %zu runs in turn; ratio to one filter\n\n"
	    "%-26s %8s %8s %8s\n",
	    runs, "shape", "filters", "ns", "ratio");
	for (size_t s = 0; s < sizeof(shapes) / sizeof(shapes[0]); s++) {
		for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
			double one[RUNS_MAX], many[RUNS_MAX], ratio[RUNS_MAX];

			for (size_t i = 0; i < runs; i++) {
				one[i] = time_matches(&shapes[s], 1, rounds);
				many[i] = time_matches(&shapes[s], counts[c], rounds);
				ratio[i] = many[i] / one[i];
			}
			printf("%-26s %8zu %8.0f %8.2f\n", shapes[s].name, counts[c],
			    bench_median(many, runs), bench_median(ratio, runs));
		}
	}
}

/* ---- the forwarder ---- */

/* Takes everything, and has delivered it at the next poll. */
struct null_sink {
	struct sink sink; /* first, so that one is the other */
	uint64_t tags[OUT_MAX];
	size_t count;
	uint64_t total;
};

static int
null_send(struct sink *sink, const struct sink_record *r, uint64_t tag)
{
	struct null_sink *s = (struct null_sink *)sink;

	(void)r;
	if (s->count == OUT_MAX)
		return ERR_FULL;
	s->tags[s->count++] = tag;
	return 0;
}

static void
null_poll(struct sink *sink)
{
	struct null_sink *s = (struct null_sink *)sink;

	for (size_t i = 0; i < s->count; i++)
		sink->delivered(sink->context, s->tags[i], SINK_DELIVERED, "");
	s->total += s->count;
	s->count = 0;
}

static bool
null_is_fatal(struct sink *sink, const char **text)
{
	(void)sink;
	(void)text;
	return false;
}

static const struct sink_ops null_ops = {
    .send = null_send,
    .poll = null_poll,
    .is_fatal = null_is_fatal,
};

struct bench {
	char directory[4096];
	size_t records;
	struct settings settings;
	struct settings_route routes[DEVICES];
	char *filters[DEVICES];
	char texts[DEVICES][64];
	char names[DEVICES][16];
	struct route *open_routes[DEVICES];
};

static struct journal *
open_journal(struct bench *b, enum journal_role role)
{
	struct journal_options options = {.directory = b->directory,
	    .gateway_id = "bench",
	    .max_bytes = (uint64_t)4 << 30,
	    .dead_max_bytes = (uint64_t)1 << 20,
	    .codec = BATCH_CODEC_NONE};
	struct journal *j;

	bench_must(journal_open(&j, role, &options), "journal_open");
	return j;
}

static void
fill(struct bench *b)
{
	static char payload[PAYLOAD_BYTES];
	struct journal *j = open_journal(b, JOURNAL_INGEST);
	char topic[64];

	memset(payload, 'x', sizeof(payload));
	for (size_t i = 0; i < b->records; i++) {
		int size = snprintf(
		    topic, sizeof(topic), "plant/dev-%zu/t", i * 7919 % DEVICES);
		struct record r = {.received_ms = 1790000000000,
		    .topic = {topic, (size_t)size},
		    .payload = {payload, sizeof(payload)},
		    .qos = 1};

		bench_must(journal_stage(j, &r), "journal_stage");
		if (i % 5000 == 4999)
			bench_must(journal_commit(j), "journal_commit");
	}
	bench_must(journal_commit(j), "journal_commit");
	journal_close(j);
}

/* count routes, each for its own device; one for everything, if is_one_busy. */
static void
set_routes(struct bench *b, size_t count, bool is_one_busy)
{
	static char all[] = "plant/#", topic[] = "t", key[] = "${topic}", none[] = "",
		    host[] = "broker";

	b->settings = (struct settings){
	    .routes = b->routes, .route_count = count, .mqtt.host = host};
	for (size_t i = 0; i < count; i++) {
		(void)snprintf(b->names[i], sizeof(b->names[i]), "r%zu", i);
		(void)snprintf(b->texts[i], sizeof(b->texts[i]), "%s/dev-%zu/#",
		    is_one_busy ? "other" : "plant", i);
		b->filters[i] = b->texts[i];
		if (i == 0 && (is_one_busy || count == 1))
			b->filters[i] = all;
		b->routes[i] = (struct settings_route){
		    .name = b->names[i],
		    .enabled = true,
		    .topic_filters = &b->filters[i],
		    .topic_filter_count = 1,
		    .topic = topic,
		    .key = key,
		    .client_id = none,
		    .provenance = true,
		    .timestamp_max_age_s = 86400,
		};
	}
}

static void
step(struct forwarder *f)
{
	bench_must(
	    forwarder_step(f, now_monotonic_ms(), 1790000000000), "forwarder_step");
}

/* Records a second of work. */
static double
forward(struct bench *b, size_t route_count, bool is_one_busy)
{
	static struct null_sink sink;
	struct forwarder_options options = {.sink = &sink.sink,
	    .routes = b->open_routes,
	    .route_count = route_count,
	    .buffer_max_bytes = (uint64_t)8 << 20,
	    .retries = -1};
	struct forwarder *f;
	double began;

	sink = (struct null_sink){.sink.ops = &null_ops};
	fill(b);
	set_routes(b, route_count, is_one_busy);
	options.journal = open_journal(b, JOURNAL_FORWARD);
	for (size_t i = 0; i < route_count; i++)
		bench_must(route_open(&b->open_routes[i], &b->settings, i,
			       journal_identity(options.journal)),
		    "route_open");
	bench_must(forwarder_open(&f, &options), "forwarder_open");
	began = bench_worked_s();
	while (sink.total < b->records)
		step(f);
	began = bench_worked_s() - began;
	/* What follows waits for the next time to acknowledge: it is not work. */
	while (!forwarder_is_empty(f))
		step(f);
	if (sink.total != b->records)
		bench_must(ERR_INVALID, "not every record came once");
	forwarder_close(f);
	for (size_t i = 0; i < route_count; i++)
		route_close(b->open_routes[i]);
	journal_close(options.journal);
	bench_clean(b->directory);
	return (double)b->records / began;
}

static void
bench_forwarder(struct bench *b, bool is_short)
{
	static const char *const rows[] = {
	    "1,000 routes, a device each", "1,000 routes, one takes all"};
	size_t runs = is_short ? 1 : 5;

	b->records = is_short ? 20000 : 500000;
	printf("\nForwarder with 1,000 routes against one, from the journal to a sink "
	       "that takes all:\n%zu records of %d bytes of %d devices, each for one "
	       "route; records a second of processor time, %zu runs in turn\n\n%-30s "
	       "%12s %12s %12s\n",
	    b->records, PAYLOAD_BYTES, DEVICES, runs, "", "one route", "1,000 routes",
	    "cost ratio");
	for (size_t row = 0; row < 2; row++) {
		double one[RUNS_MAX], many[RUNS_MAX], ratio[RUNS_MAX];

		for (size_t i = 0; i < runs; i++) {
			one[i] = forward(b, 1, true);
			many[i] = forward(b, DEVICES, row == 1);
			ratio[i] = one[i] / many[i];
		}
		printf("%-30s %12.0f %12.0f %12.2f\n", rows[row],
		    bench_median(one, runs), bench_median(many, runs),
		    bench_median(ratio, runs));
	}
}

int
main(int argc, char *argv[])
{
	static struct bench b;
	bool is_short = bench_is_short(argc, argv, "bench_match");

	bench_make_directory(b.directory, argv[argc - 1]);
	log_open("bench_match", LOG_LEVEL_WARNING, LOG_FORMAT_TEXT);
	bench_matcher(is_short);
	bench_forwarder(&b, is_short);
	(void)rmdir(b.directory);
	return EXIT_SUCCESS;
}
