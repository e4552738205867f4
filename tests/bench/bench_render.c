/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_render [-s] DIR
 *
 * What it costs to make a Kafka record out of a message, for routes with different
 * settings: all of them in turn, several times. What counts are the ratios, to copying
 * topic and payload and to the simplest route. -s: a short run, which proves that it
 * works.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "log.h"
#include "route.h"

#define RUNS_MAX 5
#define NOW_MS   1790000000000

static const char payload[] =
    "{\"device\":{\"serial\":\"p12-004711\",\"firmware\":\"2.11.0\"},"
    "\"at\":1790000000000,\"temperature\":71.25,\"pressure\":[101.3,99.8,100.4],"
    "\"running\":true,\"state\":\"pressing\",\"shift\":\"early\","
    "\"operator\":\"m.mustermann-\"}";
static const char topic[] = "plant/line-3/press-12/telemetry";

static const struct bench_case {
	const char *name;
	const char *settings; /* of the route; NULL: no route, copies alone */
} cases[] = {
    {"copying topic and payload", NULL},
    {"payload only", "envelope = \"none\";"},
    {"tbmq", "envelope = \"tbmq\";"},
    {"cloudevents", "envelope = \"cloudevents\";"},
    {"cloudevents_binary", "envelope = \"cloudevents_binary\";"},
    {"tbmq, payload_format \"text\"",
	"envelope = \"tbmq\"; payload_format = \"text\";"},
    {"tbmq, payload_format \"json\"",
	"envelope = \"tbmq\"; payload_format = \"json\";"},
    {"topic of text and a value", "envelope = \"none\"; topic = \"plant.${topic:2}\";"},
    {"two templated headers",
	"envelope = \"none\"; headers = ( { name = \"line\"; value = \"${topic:2}\"; "
	"}, "
	"{ name = \"what\"; value = \"${topic:3-}, ${user:unit|none}\"; } );"},
    {"key out of the payload",
	"envelope = \"none\"; key = \"${payload:/device/serial}\";"},
};

#define CASE_COUNT (sizeof(cases) / sizeof(cases[0]))

struct bench {
	size_t runs;
	size_t records;
	struct record record;
	struct settings *settings[CASE_COUNT];
	struct route *routes[CASE_COUNT]; /* NULL: copies alone */
	double us[CASE_COUNT][RUNS_MAX];  /* a record */
	size_t bytes; /* of all values: so that nothing can be left out */
};

static void
open_route(struct bench *b, size_t i)
{
	static const struct journal_identity identity = {.gateway_id = "gateway-17"};
	struct buffer text = {0}, mistakes = {0};

	if (cases[i].settings == NULL)
		return;
	bench_must(buffer_printf(&text,
		       "gateway_id = \"gateway-17\";\nroutes = ( { name = \"plant\"; "
		       "topic_filters = [ \"plant/#\" ]; %s %s } );\n",
		       strstr(cases[i].settings, " topic =") == NULL
			   ? "topic = \"plant.messages\";"
			   : "",
		       cases[i].settings),
	    "settings");
	bench_must(buffer_append(&text, "", 1), "settings");
	if (settings_parse(
		&b->settings[i], cases[i].name, (char *)text.data, &mistakes) != 0) {
		fprintf(stderr, "%.*s", (int)mistakes.size, (char *)mistakes.data);
		exit(EXIT_FAILURE);
	}
	bench_must(
	    route_open(&b->routes[i], b->settings[i], 0, &identity), "route_open");
	buffer_fini(&text);
	buffer_fini(&mistakes);
}

static void
copy(struct bench *b)
{
	static struct buffer out;

	for (size_t i = 0; i < b->records; i++) {
		buffer_clear(&out);
		bench_must(
		    buffer_append(&out, b->record.topic.data, b->record.topic.size),
		    "copying");
		bench_must(
		    buffer_append(&out, b->record.payload.data, b->record.payload.size),
		    "copying");
		b->bytes += out.size;
	}
}

static void
render(struct bench *b, struct route *route)
{
	for (size_t i = 0; i < b->records; i++) {
		struct sink_record out;
		const char *why;

		b->record.received_ms = NOW_MS + i;
		bench_must(
		    route_render(route, &b->record, i + 1, NOW_MS, false, &out, &why),
		    "route_render");
		b->bytes += out.value.size;
	}
}

static void
run(struct bench *b, size_t round)
{
	for (size_t i = 0; i < CASE_COUNT; i++) {
		double began = bench_now_s();

		if (b->routes[i] == NULL)
			copy(b);
		else
			render(b, b->routes[i]);
		b->us[i][round] = (bench_now_s() - began) * 1e6 / (double)b->records;
	}
}

static void
print(struct bench *b)
{
	double medians[CASE_COUNT];

	printf("Making a Kafka record out of a message: %zu bytes of JSON, 4 levels;\n"
	       "microseconds a record, %zu runs in turn of %zu records each; ratios of "
	       "the "
	       "best\n\n%-30s %8s %8s %10s %10s\n",
	    sizeof(payload) - 1, b->runs, b->records, "", "best", "median",
	    "to copying", "to payload");
	for (size_t i = 0; i < CASE_COUNT; i++)
		medians[i] = bench_median(b->us[i], b->runs);
	for (size_t i = 0; i < CASE_COUNT; i++)
		printf("%-30s %8.3f %8.3f %10.1f %10.2f\n", cases[i].name, b->us[i][0],
		    medians[i], b->us[i][0] / b->us[0][0], b->us[i][0] / b->us[1][0]);
}

int
main(int argc, char *argv[])
{
	bool is_short = bench_is_short(argc, argv, "bench_render");
	static struct bench b;

	b.runs = is_short ? 1 : RUNS_MAX;
	b.records = is_short ? 1000 : 200000;
	log_open("bench_render", LOG_LEVEL_WARNING, LOG_FORMAT_TEXT);
	b.record = (struct record){.received_ms = NOW_MS,
	    .topic = {.data = topic, .size = sizeof(topic) - 1},
	    .payload = {.data = payload, .size = sizeof(payload) - 1},
	    .qos = 1};
	for (size_t i = 0; i < CASE_COUNT; i++)
		open_route(&b, i);
	for (size_t i = 0; i < b.runs; i++)
		run(&b, i);
	print(&b);
	for (size_t i = 0; i < CASE_COUNT; i++) {
		route_close(b.routes[i]);
		settings_free(b.settings[i]);
	}
	return b.bytes > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
