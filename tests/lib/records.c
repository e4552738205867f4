/* SPDX-License-Identifier: Apache-2.0 */
#include "records.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "now.h"

#define POOL_BYTES     8192
#define PROPERTIES_MAX 16

#define LITERAL(text)                    \
	{                                \
		(text), sizeof(text) - 1 \
	}

void
records_plain(struct record *r, const char *topic, const char *payload)
{
	*r = (struct record){
	    .received_ms = 1795514400123,
	    .topic = {topic, strlen(topic)},
	    .payload = {payload, strlen(payload)},
	    .qos = 1,
	};
}

void
records_full(struct record *r)
{
	static const struct user_property properties[] = {
	    {LITERAL("client-id"), LITERAL("dev-1")},
	    {LITERAL("repeated"), LITERAL("first")},
	    {LITERAL("repeated"), LITERAL("second")},
	    {LITERAL(""), LITERAL("")},
	    {LITERAL("awkward\0name"), LITERAL("\xff\x1b[31m\n")},
	};

	*r = (struct record){
	    .received_ms = 1795514400123,
	    .topic = LITERAL("site/7/sensor/\xc3\xa4"),
	    .payload = LITERAL("{\"t\": 21.5}\0\x80\xff"),
	    .qos = 1,
	    .retain = true,
	    .has_payload_format = true,
	    .payload_format = 1,
	    .has_message_expiry = true,
	    .message_expiry_s = UINT32_MAX,
	    .subscription_id = 268435455,
	    .content_type = LITERAL("application/json"),
	    .response_topic = LITERAL("site/7/answer"),
	    .correlation_data = LITERAL("\x00\x01\x02\xfe"),
	    .user_properties = properties,
	    .user_property_count = sizeof(properties) / sizeof(properties[0]),
	};
}

uint64_t
records_seed(void)
{
	const char *text = getenv("TIDEGATE_TEST_SEED");
	uint64_t seed = text != NULL
			    ? strtoull(text, NULL, 10)
			    : (uint64_t)now_real_ms() ^ (uint64_t)now_boot_ms();

	printf("# TIDEGATE_TEST_SEED=%llu\n", (unsigned long long)seed);
	return seed;
}

/* splitmix64 */
uint64_t
records_random_number(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15U;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
	z = (z ^ z >> 27) * 0x94d049bb133111ebU;
	return z ^ z >> 31;
}

static bool
one_in(uint64_t *seed, uint64_t n)
{
	return records_random_number(seed) % n == 0;
}

/* Random bytes, cut out of the pool. */
static struct bytes
some_bytes(uint64_t *seed, uint8_t *pool, size_t *used, size_t most)
{
	size_t size = records_random_number(seed) % (most + 1);
	struct bytes b;

	if (size > POOL_BYTES - *used)
		size = POOL_BYTES - *used;
	b = (struct bytes){pool + *used, size};
	for (size_t i = 0; i < size; i++)
		pool[(*used)++] = (uint8_t)records_random_number(seed);
	return b;
}

void
records_random(uint64_t *seed, struct record *r)
{
	static uint8_t pool[POOL_BYTES + 1];
	static struct user_property properties[PROPERTIES_MAX];
	size_t used = 0;

	*r = (struct record){
	    .received_ms =
		records_random_number(seed) >> records_random_number(seed) % 64,
	    .qos = (uint8_t)(records_random_number(seed) % 3),
	    .retain = one_in(seed, 2),
	};
	r->topic = some_bytes(seed, pool, &used, 100);
	r->payload = some_bytes(seed, pool, &used, one_in(seed, 8) ? 3000 : 200);
	r->has_payload_format = one_in(seed, 2);
	r->payload_format = r->has_payload_format && one_in(seed, 2);
	r->has_message_expiry = one_in(seed, 2);
	if (r->has_message_expiry)
		r->message_expiry_s = (uint32_t)records_random_number(seed);
	if (one_in(seed, 2))
		r->subscription_id =
		    (uint32_t)(records_random_number(seed) % 268435455) + 1;
	if (one_in(seed, 2))
		r->content_type = some_bytes(seed, pool, &used, 40);
	if (one_in(seed, 2))
		r->response_topic = some_bytes(seed, pool, &used, 40);
	if (one_in(seed, 2))
		r->correlation_data = some_bytes(seed, pool, &used, 300);
	if (one_in(seed, 2)) {
		r->user_properties = properties;
		r->user_property_count =
		    records_random_number(seed) % PROPERTIES_MAX + 1;
	}
	for (size_t i = 0; i < r->user_property_count; i++) {
		properties[i].name = some_bytes(seed, pool, &used, 40);
		properties[i].value = some_bytes(seed, pool, &used, 60);
	}
}

static void
assert_bytes_equal(struct bytes a, struct bytes b)
{
	assert_int_equal(a.data == NULL, b.data == NULL);
	assert_int_equal(a.size, b.size);
	if (a.size > 0)
		assert_memory_equal(a.data, b.data, a.size);
}

void
records_assert_equal(const struct record *a, const struct record *b)
{
	assert_int_equal(a->received_ms, b->received_ms);
	assert_bytes_equal(a->topic, b->topic);
	assert_bytes_equal(a->payload, b->payload);
	assert_int_equal(a->qos, b->qos);
	assert_int_equal(a->retain, b->retain);
	assert_int_equal(a->has_payload_format, b->has_payload_format);
	assert_int_equal(a->payload_format, b->payload_format);
	assert_int_equal(a->has_message_expiry, b->has_message_expiry);
	assert_int_equal(a->message_expiry_s, b->message_expiry_s);
	assert_int_equal(a->subscription_id, b->subscription_id);
	assert_bytes_equal(a->content_type, b->content_type);
	assert_bytes_equal(a->response_topic, b->response_topic);
	assert_bytes_equal(a->correlation_data, b->correlation_data);
	assert_bytes_equal(a->route, b->route);
	assert_int_equal(a->requeued_from, b->requeued_from);
	assert_int_equal(a->user_property_count, b->user_property_count);
	for (size_t i = 0; i < a->user_property_count; i++) {
		assert_bytes_equal(
		    a->user_properties[i].name, b->user_properties[i].name);
		assert_bytes_equal(
		    a->user_properties[i].value, b->user_properties[i].value);
	}
}
