/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is asked of librdkafka. Some of it shows in no short outage (message.timeout.ms
 * at 3 s, say, passes one of 20), so it is held here by name.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kafka/kafka_properties.h"

struct wanted {
	const char *name;
	char value[64];
};

static int
note(void *context, const char *name, const char *value)
{
	struct wanted *wanted = context;

	if (strcmp(name, wanted->name) != 0)
		return 0;
	assert_true(strlen(value) < sizeof(wanted->value));
	strcpy(wanted->value, value);
	return 1;
}

static void
assert_asked(const char *acks, const char *name, const char *value)
{
	char servers[] = "localhost:9092", prefix[] = "tidegate", id[] = "site",
	     codec[] = "zstd";
	char word[8];
	struct settings settings = {.gateway_id = id};
	struct wanted wanted = {.name = name};

	strcpy(word, acks);
	settings.kafka = (struct settings_kafka){.bootstrap_servers = servers,
	    .client_id_prefix = prefix,
	    .acks = word,
	    .compression = codec,
	    .batch_size_bytes = -1,
	    .linger_ms = -1};
	if (kafka_properties_own(&settings, note, &wanted) != 1)
		fail_msg("%s is not asked for", name);
	assert_string_equal(wanted.value, value);
}

static void
no_timer_decides_that_a_record_is_lost(void **state)
{
	(void)state;
	assert_asked("all", "message.timeout.ms", "0");
	assert_asked("1", "message.timeout.ms", "0");
}

static void
nothing_overtakes_what_was_rejected(void **state)
{
	(void)state;
	assert_asked("all", "enable.idempotence", "true");
	assert_asked("all", "enable.gapless.guarantee", "true");
	assert_asked("all", "max.in.flight", "5");
}

static void
without_idempotence_one_request_is_in_flight(void **state)
{
	(void)state;
	assert_asked("1", "enable.idempotence", "false");
	assert_asked("1", "max.in.flight", "1");
	assert_asked("0", "max.in.flight", "1");
}

static void
the_client_is_named_after_the_gateway(void **state)
{
	(void)state;
	assert_asked("all", "client.id", "tidegate-site");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(no_timer_decides_that_a_record_is_lost),
	    cmocka_unit_test(nothing_overtakes_what_was_rejected),
	    cmocka_unit_test(without_idempotence_one_request_is_in_flight),
	    cmocka_unit_test(the_client_is_named_after_the_gateway),
	};
	return cmocka_run_group_tests_name("kafka_properties", tests, NULL, NULL);
}
