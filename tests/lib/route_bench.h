/* SPDX-License-Identifier: Apache-2.0 */
/* A route for the tests of rendering, as the settings have it by default. */
#ifndef TESTS_ROUTE_BENCH_H
#define TESTS_ROUTE_BENCH_H

#include "route.h"

#define ROUTE_BENCH_NOW_MS   1795514500000
#define ROUTE_BENCH_RECEIVED 1795514400123 /* when records_plain() was received */
#define ROUTE_BENCH_SEQ      77
#define ROUTE_BENCH_UUID     "01234567-89ab-4cde-8f01-23456789abcd"

/* To be changed by the test before it opens the route. */
struct route_bench {
	struct settings settings;
	struct settings_route route;
	char *filters[3];
	struct settings_pair headers[5];
	struct settings_pair metadata[3];
	struct route *open;
};

/* gateway "gw-1", broker "broker", route "r1", envelope none. */
void route_bench_init(struct route_bench *b);

/* Settings own their text; these only read it. */
char *route_bench_text(const char *literal);

void route_bench_header(struct route_bench *b, const char *name, const char *value);
void route_bench_metadata(struct route_bench *b, const char *name, const char *value);

/* Errors: of route_open(). */
int route_bench_try_open(struct route_bench *b);
void route_bench_open(struct route_bench *b);
void route_bench_render(
    struct route_bench *b, const struct record *r, struct sink_record *out);
void route_bench_close(struct route_bench *b);

void route_bench_assert_bytes(struct bytes b, const char *want);
void route_bench_assert_header(
    const struct sink_record *r, size_t index, const char *name, const char *value);

#endif
