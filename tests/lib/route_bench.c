/* SPDX-License-Identifier: Apache-2.0 */
#include "route_bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct journal_identity identity = {
    .uuid = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0x4c, 0xde, 0x8f, 0x01, 0x23, 0x45,
	0x67, 0x89, 0xab, 0xcd},
    .gateway_id = "gw-1",
};

char *
route_bench_text(const char *literal)
{
	return (char *)(uintptr_t)literal;
}

void
route_bench_init(struct route_bench *b)
{
	memset(b, 0, sizeof(*b));
	b->settings.mqtt.host = route_bench_text("broker");
	b->settings.routes = &b->route;
	b->settings.route_count = 1;
	b->filters[0] = route_bench_text("dev/#");
	b->route = (struct settings_route){
	    .name = route_bench_text("r1"),
	    .enabled = true,
	    .topic_filters = b->filters,
	    .topic_filter_count = 1,
	    .topic = route_bench_text("kafka.topic"),
	    .key = route_bench_text("${topic}"),
	    .envelope = SETTINGS_ENVELOPE_NONE,
	    .client_id = route_bench_text("${user:client-id}"),
	    .headers = b->headers,
	    .metadata = b->metadata,
	    .provenance = true,
	    .user_properties = true,
	    .timestamp = SETTINGS_TIMESTAMP_AUTO,
	    .timestamp_max_age_s = 86400,
	};
}

static void
add_pair(
    struct settings_pair *pairs, size_t *count, const char *name, const char *value)
{
	pairs[(*count)++] = (struct settings_pair){
	    .name = route_bench_text(name), .value = route_bench_text(value)};
}

void
route_bench_header(struct route_bench *b, const char *name, const char *value)
{
	assert_true(b->route.header_count < sizeof(b->headers) / sizeof(b->headers[0]));
	add_pair(b->headers, &b->route.header_count, name, value);
}

void
route_bench_metadata(struct route_bench *b, const char *name, const char *value)
{
	assert_true(
	    b->route.metadata_count < sizeof(b->metadata) / sizeof(b->metadata[0]));
	add_pair(b->metadata, &b->route.metadata_count, name, value);
}

int
route_bench_try_open(struct route_bench *b)
{
	return route_open(&b->open, &b->settings, 0, &identity);
}

void
route_bench_open(struct route_bench *b)
{
	assert_int_equal(route_bench_try_open(b), 0);
}

void
route_bench_render(
    struct route_bench *b, const struct record *r, struct sink_record *out)
{
	const char *why;

	assert_int_equal(route_render(b->open, r, ROUTE_BENCH_SEQ, ROUTE_BENCH_NOW_MS,
			     false, out, &why),
	    0);
}

void
route_bench_close(struct route_bench *b)
{
	route_close(b->open);
}

void
route_bench_assert_bytes(struct bytes b, const char *want)
{
	assert_non_null(b.data);
	if (b.size != strlen(want) || memcmp(b.data, want, b.size) != 0)
		fail_msg("\"%.*s\" instead of \"%s\"", (int)b.size,
		    (const char *)b.data, want);
}

void
route_bench_assert_header(
    const struct sink_record *r, size_t index, const char *name, const char *value)
{
	assert_true(index < r->header_count);
	assert_string_equal(r->headers[index].name, name);
	route_bench_assert_bytes(r->headers[index].value, value);
}
