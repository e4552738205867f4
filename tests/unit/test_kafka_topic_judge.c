/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/parsing.h"
#include "kafka/kafka_topic_judge.h"

#define HOUR_MS ((int64_t)3600000)
#define DAY_MS  (24 * HOUR_MS)

/* A route as it is by default, on a topic as Kafka makes it, with nothing that waits. */
struct scene {
	struct topic_use use;
	struct topic_needs needs;
	struct topic_facts facts;
};

static struct scene
usual(void)
{
	return (struct scene){
	    .use = {.name = "records", .is_route = true, .max_age_ms = DAY_MS},
	    .needs = {.oldest_age_ms = -1,
		.producer_max_bytes = 1000000,
		.journal_max_bytes = (uint64_t)256 << 20,
		.is_acks_all = true},
	    .facts = {.partition_count = 3,
		.replica_count = 3,
		.is_configured = true,
		.is_deleted = true,
		.retention_ms = 7 * DAY_MS,
		.oldest_time_ms = INT64_MAX,
		.max_message_bytes = 1048588,
		.min_insync_replicas = 2},
	};
}

static void
assert_judged(const struct scene *s, enum check_result want, const char *words)
{
	struct buffer text = {0};
	enum check_result result = CHECK_FAIL;

	assert_int_equal(topic_judge(&s->use, &s->needs, &s->facts, &text, &result), 0);
	assert_int_equal(buffer_append(&text, "", 1), 0);
	if (result != want || strstr((const char *)text.data, words) == NULL)
		fail_msg("result %d, text: %s", (int)result, (const char *)text.data);
	buffer_fini(&text);
}

static void
a_usual_topic_is_ok(void **state)
{
	struct scene s = usual();

	(void)state;
	assert_judged(
	    &s, CHECK_OK, "3 partitions, 3 replicas; keeps records for 7 days");
	s.needs.oldest_age_ms = HOUR_MS;
	assert_judged(&s, CHECK_OK, "7 days");
	s.facts.retention_ms = -1;
	assert_judged(&s, CHECK_OK, "3 partitions");
}

static void
partitions_without_leader_fail(void **state)
{
	struct scene s = usual();

	(void)state;
	s.facts.leaderless_count = 1;
	assert_judged(&s, CHECK_FAIL, "1 of the partitions have no leader");
}

static void
more_replicas_wanted_than_there_are_warn_with_acks_all(void **state)
{
	struct scene s = usual();

	(void)state;
	s.facts.replica_count = 1;
	assert_judged(&s, CHECK_WARN, "min.insync.replicas is 2");
	s.needs.is_acks_all = false;
	assert_judged(&s, CHECK_OK, "1 replica;");
}

static void
compacted_needs_a_key(void **state)
{
	struct scene s = usual();

	(void)state;
	s.facts.is_compacted = true;
	assert_judged(&s, CHECK_OK, "compacted: the latest");
	s.use.may_lack_key = true;
	assert_judged(&s, CHECK_WARN, "key may be empty");
	s.use.has_no_key = true;
	assert_judged(&s, CHECK_FAIL, "key is empty");
	s.facts.is_compacted = false;
	assert_judged(&s, CHECK_OK, "3 partitions");
}

static void
positions_are_to_be_compacted_and_nothing_else(void **state)
{
	struct scene s = usual();

	(void)state;
	s.use = (struct topic_use){.name = "positions", .is_position = true};
	assert_judged(&s, CHECK_WARN, "has to be \"compact\" alone");
	s.facts.is_compacted = true;
	assert_judged(&s, CHECK_WARN, "has to be \"compact\" alone");
	s.facts.is_deleted = false;
	assert_judged(&s, CHECK_OK, "compacted, for positions");
}

static void
retention_shorter_than_the_backlog_warns(void **state)
{
	struct scene s = usual();

	(void)state;
	s.facts.retention_ms = 2 * DAY_MS;
	s.needs.oldest_age_ms = 3 * DAY_MS;
	/* A day old at most, or as old as they are. */
	assert_judged(&s, CHECK_WARN, "from their sending on, consumers have 48 h");
	s.use.max_age_ms = INT64_MAX;
	assert_judged(&s, CHECK_WARN, "deleted soon after they arrive");
	s.facts.is_log_append_time = true;
	assert_judged(&s, CHECK_WARN, "from their sending on");
	s.use.is_route = false;
	assert_judged(&s, CHECK_OK, "48 h");
	s = usual();
	s.facts.retention_ms = 2 * DAY_MS;
	s.needs.oldest_age_ms = 3 * DAY_MS;
	s.facts.is_deleted = false;
	assert_judged(&s, CHECK_OK, "3 partitions");
}

static void
retention_shorter_than_record_times_are_old_warns(void **state)
{
	struct scene s = usual();

	(void)state;
	s.facts.retention_ms = HOUR_MS;
	assert_judged(&s, CHECK_WARN, "deleted too soon");
	s.needs.oldest_age_ms = 2 * HOUR_MS;
	assert_judged(&s, CHECK_WARN, "deleted soon after they arrive");
	s.use.max_age_ms = 0;
	s.needs.oldest_age_ms = -1;
	assert_judged(&s, CHECK_OK, "60 min");
}

static void
a_limit_on_old_record_times_warns(void **state)
{
	struct scene s = usual();

	(void)state;
	s.facts.oldest_time_ms = HOUR_MS;
	assert_judged(&s, CHECK_WARN, "refuses record times older than 60 min");
	s.facts.is_log_append_time = true;
	assert_judged(&s, CHECK_OK, "7 days");
	s.facts.is_log_append_time = false;
	s.facts.oldest_time_ms = DAY_MS;
	assert_judged(&s, CHECK_OK, "7 days");
	s.facts.oldest_time_ms = -1;
	assert_judged(&s, CHECK_OK, "7 days");
}

static void
a_size_limit_below_what_is_asked_for_warns(void **state)
{
	struct scene s = usual();

	(void)state;
	assert_judged(&s, CHECK_OK, "records up to 976.6 KiB");
	s.facts.max_message_bytes = 20000;
	assert_judged(
	    &s, CHECK_OK, "up to 19.5 KiB when compressed (max.message.bytes)");
	s.needs.is_producer_max_given = true;
	assert_judged(&s, CHECK_WARN, "up to 19.5 KiB (max.message.bytes)");
	s.needs.producer_max_bytes = 20000;
	s.needs.journal_max_bytes = 10000;
	assert_judged(&s, CHECK_OK, "7 days");
}

static void
without_its_configuration_only_the_partitions_are_told(void **state)
{
	struct scene s = usual();

	(void)state;
	s.facts.is_configured = false;
	s.facts.is_compacted = true;
	s.use.has_no_key = true;
	assert_judged(&s, CHECK_OK, "3 partitions, 3 replicas");
}

static void
settings_of_a_topic_are_taken(void **state)
{
	struct topic_facts f = {.oldest_time_ms = -1};

	(void)state;
	topic_facts_set(&f, "cleanup.policy", "compact,delete");
	topic_facts_set(&f, "retention.ms", "-1");
	topic_facts_set(&f, "max.message.bytes", "77");
	topic_facts_set(&f, "min.insync.replicas", "2");
	topic_facts_set(&f, "message.timestamp.type", "LogAppendTime");
	topic_facts_set(
	    &f, "message.timestamp.difference.max.ms", "9223372036854775807");
	topic_facts_set(&f, "message.timestamp.before.max.ms", "5000");
	topic_facts_set(&f, "segment.ms", "1");
	assert_true(f.is_compacted && f.is_deleted && f.is_log_append_time);
	assert_int_equal(f.retention_ms, -1);
	assert_int_equal(f.max_message_bytes, 77);
	assert_int_equal(f.min_insync_replicas, 2);
	assert_int_equal(f.oldest_time_ms, 5000);
	topic_facts_set(&f, "cleanup.policy", "compact");
	topic_facts_set(&f, "message.timestamp.type", "CreateTime");
	assert_true(f.is_compacted && !f.is_deleted && !f.is_log_append_time);
}

static const char four_routes[] =
    "gateway_id = \"g\";\n"
    "status = { kafka_topic = \"state\"; };\n"
    "routes = (\n"
    "{ name = \"a\"; topic_filters = \"a\"; topic = \"records\"; },\n"
    "{ name = \"b\"; topic_filters = \"b\"; topic = \"records\"; key = \"\";\n"
    "  timestamp = \"received\"; },\n"
    "{ name = \"c\"; topic_filters = \"c\"; topic = \"other\"; key = \"${user:x}\";\n"
    "  timestamp_max_age_s = 60; },\n"
    "{ name = \"d\"; topic_filters = \"d\"; topic = \"off\"; enabled = false; } );\n";

static void
static_topics_are_listed_once(void **state)
{
	struct check c = {.is_json = false};
	struct settings *s = parse_good(four_routes);
	struct topic_use *uses;
	size_t count;

	(void)state;
	assert_int_equal(topic_uses_list(&c, s, &uses, &count), 0);
	assert_int_equal(count, 3);
	assert_string_equal(uses[0].name, "records");
	assert_true(uses[0].has_no_key && uses[0].may_lack_key);
	assert_int_equal(uses[0].max_age_ms, INT64_MAX);
	assert_string_equal(uses[1].name, "other");
	assert_true(!uses[1].has_no_key && uses[1].may_lack_key && uses[1].is_route);
	assert_int_equal(uses[1].max_age_ms, 60000);
	assert_string_equal(uses[2].name, "state");
	assert_true(!uses[2].is_route && !uses[2].may_lack_key);
	free(uses);
	settings_free(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_usual_topic_is_ok),
	    cmocka_unit_test(partitions_without_leader_fail),
	    cmocka_unit_test(more_replicas_wanted_than_there_are_warn_with_acks_all),
	    cmocka_unit_test(compacted_needs_a_key),
	    cmocka_unit_test(positions_are_to_be_compacted_and_nothing_else),
	    cmocka_unit_test(retention_shorter_than_the_backlog_warns),
	    cmocka_unit_test(retention_shorter_than_record_times_are_old_warns),
	    cmocka_unit_test(a_limit_on_old_record_times_warns),
	    cmocka_unit_test(a_size_limit_below_what_is_asked_for_warns),
	    cmocka_unit_test(without_its_configuration_only_the_partitions_are_told),
	    cmocka_unit_test(settings_of_a_topic_are_taken),
	    cmocka_unit_test(static_topics_are_listed_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
