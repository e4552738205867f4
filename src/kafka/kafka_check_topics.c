/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The topics that this gateway writes to: are they there, do their leaders answer, how
 * are they configured.
 *
 * Invariant: no topic is made by asking for it. The list of all topics makes none; one
 * that is not in it is asked for by name only where the cluster has answered to
 * DescribeConfigs: then it also knows how to be told that it is not to make the topic
 * (both came with Kafka 0.11).
 *
 * Failure modes: what may not be asked (the right to describe a configuration) or is not
 * known (a cluster that is not quite Kafka) is said in the topic's line. When the time is
 * over nothing waits any more, and each line says that there was no answer.
 */
#include "kafka_check_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

#define DESCRIBE_MS 5000
#define TOPIC       "kafka.topic"

/* ---- what the list of topics tells ---- */

static void
add_leader(struct kafka_check *k, int32_t id)
{
	const struct rd_kafka_metadata *m = k->metadata;
	struct leader_look *one = &k->leaders[k->leader_count];

	for (size_t i = 0; i < k->leader_count; i++) {
		if (k->leaders[i].id == id)
			return;
	}
	if (k->leader_count == KAFKA_CHECK_LEADERS_MAX)
		return;
	*one = (struct leader_look){.id = id, .address = "not known"};
	for (int i = 0; i < m->broker_cnt; i++) {
		if (m->brokers[i].id == id)
			(void)snprintf(one->address, sizeof(one->address), "%s:%d",
			    m->brokers[i].host, m->brokers[i].port);
	}
	k->leader_count++;
}

static void
look_at_topic(struct kafka_check *k, struct topic_look *t)
{
	const struct rd_kafka_metadata_topic *topic = NULL;

	t->facts = (struct topic_facts){.retention_ms = -1,
	    .oldest_time_ms = -1,
	    .max_message_bytes = -1,
	    .min_insync_replicas = -1};
	t->err = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
	for (int i = 0; i < k->metadata->topic_cnt; i++) {
		if (strcmp(k->metadata->topics[i].topic, t->use.name) == 0)
			topic = &k->metadata->topics[i];
	}
	if (topic == NULL)
		return;
	t->err = topic->err;
	t->facts.partition_count = topic->partition_cnt;
	for (int i = 0; i < topic->partition_cnt; i++) {
		const struct rd_kafka_metadata_partition *p = &topic->partitions[i];

		if (i == 0 || p->replica_cnt < t->facts.replica_count)
			t->facts.replica_count = p->replica_cnt;
		if (p->leader < 0)
			t->facts.leaderless_count++;
		else
			add_leader(k, p->leader);
	}
}

static bool
is_missing(const struct topic_look *t)
{
	return t->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
}

/* It is not in the list: is it not there, or may this user not see it? */
static void
ask_by_name(struct kafka_check *k, struct topic_look *t)
{
	rd_kafka_topic_t *rkt = rd_kafka_topic_new(k->rk, t->use.name, NULL);
	const struct rd_kafka_metadata *m = NULL;
	rd_kafka_resp_err_t rc = RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION;

	if (rkt != NULL)
		rc = rd_kafka_metadata(
		    k->rk, 0, rkt, &m, kafka_check_timeout_ms(k, CHECK_SOFT_MS));
	if (rc == RD_KAFKA_RESP_ERR_NO_ERROR && m->topic_cnt == 1)
		rc = m->topics[0].err;
	/* Made meanwhile: it is not in the list all the same. */
	t->err = rc == RD_KAFKA_RESP_ERR_NO_ERROR
		     ? RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
		     : rc;
	if (m != NULL)
		rd_kafka_metadata_destroy(m);
	if (rkt != NULL)
		rd_kafka_topic_destroy(rkt);
}

/* ---- configurations ---- */

static void
take_topic(struct topic_look *t, const rd_kafka_ConfigResource_t *resource)
{
	const rd_kafka_ConfigEntry_t **entries;
	size_t count;

	if (rd_kafka_ConfigResource_error(resource) != RD_KAFKA_RESP_ERR_NO_ERROR) {
		(void)snprintf(t->config_error, sizeof(t->config_error), "%s",
		    rd_kafka_ConfigResource_error_string(resource));
		return;
	}
	entries = rd_kafka_ConfigResource_configs(resource, &count);
	for (size_t i = 0; i < count; i++) {
		const char *value = rd_kafka_ConfigEntry_value(entries[i]);

		if (value != NULL)
			topic_facts_set(
			    &t->facts, rd_kafka_ConfigEntry_name(entries[i]), value);
	}
	t->facts.is_configured = true;
}

/* Does the cluster make topics by itself? As words that go behind "does not exist". */
static void
take_broker(struct kafka_check *k, const rd_kafka_ConfigResource_t *resource)
{
	const rd_kafka_ConfigEntry_t **entries;
	const char *value = NULL, *partitions = "?";
	size_t count;

	if (rd_kafka_ConfigResource_error(resource) != RD_KAFKA_RESP_ERR_NO_ERROR)
		(void)snprintf(k->config_error, sizeof(k->config_error), "%s",
		    rd_kafka_ConfigResource_error_string(resource));
	entries = rd_kafka_ConfigResource_configs(resource, &count);
	for (size_t i = 0; i < count; i++) {
		const char *name = rd_kafka_ConfigEntry_name(entries[i]);

		if (strcmp(name, "auto.create.topics.enable") == 0)
			value = rd_kafka_ConfigEntry_value(entries[i]);
		else if (strcmp(name, "num.partitions") == 0 &&
			 rd_kafka_ConfigEntry_value(entries[i]) != NULL)
			partitions = rd_kafka_ConfigEntry_value(entries[i]);
	}
	if (value == NULL)
		return;
	if (strcmp(value, "true") == 0)
		(void)snprintf(k->creation, sizeof(k->creation),
		    "; the cluster creates topics by itself: the first record makes it "
		    "(num.partitions=%s)",
		    partitions);
	else
		(void)snprintf(k->creation, sizeof(k->creation),
		    ", and the cluster does not create topics by itself: until "
		    "somebody "
		    "does, what goes there waits");
}

static void
take_answer(struct kafka_check *k, rd_kafka_event_t *event)
{
	const rd_kafka_ConfigResource_t **resources;
	size_t count;

	resources = rd_kafka_DescribeConfigs_result_resources(
	    rd_kafka_event_DescribeConfigs_result(event), &count);
	for (size_t i = 0; i < count; i++) {
		const char *name = rd_kafka_ConfigResource_name(resources[i]);
		bool is_broker = rd_kafka_ConfigResource_type(resources[i]) ==
				 RD_KAFKA_RESOURCE_BROKER;

		if (is_broker)
			take_broker(k, resources[i]);
		for (size_t t = 0; t < k->topic_count && !is_broker; t++) {
			if (strcmp(k->topics[t].use.name, name) == 0)
				take_topic(&k->topics[t], resources[i]);
		}
	}
}

/* Only what is looked at: the whole is twenty times as much. */
static rd_kafka_ConfigResource_t *
new_resource(
    rd_kafka_ResourceType_t type, const char *name, const char *const settings[])
{
	rd_kafka_ConfigResource_t *resource = rd_kafka_ConfigResource_new(type, name);

	for (size_t i = 0; settings[i] != NULL; i++)
		(void)rd_kafka_ConfigResource_set_config(resource, settings[i], "");
	return resource;
}

/* One broker and all topics. A request with a broker in it goes to that broker. */
static void
ask(struct kafka_check *k, struct leader_look *leader,
    rd_kafka_ConfigResource_t *list[], int limit_ms)
{
	static const char *const broker_settings[] = {
	    "auto.create.topics.enable", "num.partitions", NULL};
	rd_kafka_AdminOptions_t *options =
	    rd_kafka_AdminOptions_new(k->rk, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
	size_t count = 1;
	char id[24], why[128];

	(void)snprintf(id, sizeof(id), "%" PRId32, leader->id);
	list[0] = new_resource(RD_KAFKA_RESOURCE_BROKER, id, broker_settings);
	for (size_t t = 0; t < k->topic_count; t++) {
		if (!is_missing(&k->topics[t]))
			list[count++] = new_resource(RD_KAFKA_RESOURCE_TOPIC,
			    k->topics[t].use.name, topic_facts_settings);
	}
	(void)rd_kafka_AdminOptions_set_request_timeout(
	    options, limit_ms, why, sizeof(why));
	rd_kafka_AdminOptions_set_opaque(options, leader);
	rd_kafka_DescribeConfigs(k->rk, list, count, options, k->queue);
	rd_kafka_ConfigResource_destroy_array(list, count);
	rd_kafka_AdminOptions_destroy(options);
}

static void
take_event(struct kafka_check *k, rd_kafka_event_t *event)
{
	struct leader_look *leader = rd_kafka_event_opaque(event);
	rd_kafka_resp_err_t rc = rd_kafka_event_error(event);

	if (rc == RD_KAFKA_RESP_ERR_NO_ERROR)
		take_answer(k, event);
	else if (rc != RD_KAFKA_RESP_ERR__TIMED_OUT)
		(void)snprintf(k->config_error, sizeof(k->config_error), "%s",
		    rd_kafka_event_error_string(event));
	leader->has_answered = rc != RD_KAFKA_RESP_ERR__TIMED_OUT;
	k->is_answered |= leader->has_answered;
	k->is_described |= rc == RD_KAFKA_RESP_ERR_NO_ERROR;
}

static void
look_at_configurations(struct kafka_check *k)
{
	rd_kafka_ConfigResource_t **list = calloc(k->topic_count + 1, sizeof(*list));
	int limit_ms = kafka_check_timeout_ms(k, DESCRIBE_MS);

	k->error_rank = 0; /* what comes now is about them */
	k->error[0] = '\0';
	if (k->leader_count == 0 && k->metadata->broker_cnt > 0)
		add_leader(k, k->metadata->brokers[0].id);
	if (list == NULL || limit_ms == 0)
		goto done;
	for (size_t i = 0; i < k->leader_count; i++)
		ask(k, &k->leaders[i], list, limit_ms);
	for (size_t i = 0; i < k->leader_count; i++) {
		rd_kafka_event_t *event = rd_kafka_queue_poll(k->queue, limit_ms + 500);

		if (event == NULL)
			break;
		take_event(k, event);
		rd_kafka_event_destroy(event);
	}
	kafka_check_serve(k);
done:
	free(list);
}

/* ---- the lines ---- */

/* Where brokers are at home need not be a place that can be reached from here. */
static void
say_leaders(struct kafka_check *k)
{
	for (size_t i = 0; i < k->leader_count; i++) {
		const struct leader_look *one = &k->leaders[i];
		bool is_about_it = strstr(k->error, one->address) != NULL;

		if (!one->has_answered)
			check_say(k->check, CHECK_FAIL, "kafka.leader", one->address,
			    "broker %" PRId32
			    ", which leads partitions of these topics, does not answer "
			    "at the address that the cluster gives: %s",
			    one->id, is_about_it ? k->error : "no answer in time");
	}
}

static void
say_existing(struct kafka_check *k, const struct topic_look *t)
{
	const char *why =
	    t->config_error[0] != '\0' ? t->config_error : k->config_error;
	enum check_result result = CHECK_FAIL;
	struct buffer text = {0};

	if (topic_judge(&t->use, &k->needs, &t->facts, &text, &result) != 0 ||
	    !k->is_answered)
		result = CHECK_FAIL;
	check_say(k->check, result, TOPIC, t->use.name, "%.*s%s%s", (int)text.size,
	    text.size > 0 ? (const char *)text.data : "",
	    t->facts.is_configured ? "" : "; its configuration cannot be read: ",
	    t->facts.is_configured ? "" : why);
	buffer_fini(&text);
}

static void
say_topic(struct kafka_check *k, const struct topic_look *t)
{
	if (t->err == RD_KAFKA_RESP_ERR_NO_ERROR)
		say_existing(k, t);
	else if (!is_missing(t))
		check_say(k->check, CHECK_FAIL, TOPIC, t->use.name, "%s",
		    rd_kafka_err2str(t->err));
	else if (t->use.is_position)
		check_say(k->check, CHECK_WARN, TOPIC, t->use.name,
		    "does not exist: it is made at the first start, which needs the "
		    "right to create it");
	else if (k->creation[0] != '\0')
		check_say(k->check, CHECK_WARN, TOPIC, t->use.name, "does not exist%s",
		    k->creation);
	else
		check_say(k->check, k->is_answered ? CHECK_WARN : CHECK_FAIL, TOPIC,
		    t->use.name,
		    "does not exist; whether the cluster creates topics by itself "
		    "cannot "
		    "be told: %s",
		    k->config_error);
}

/* The list of all topics, and from it all that has to be known of ours. */
static int
look(struct kafka_check *k)
{
	rd_kafka_resp_err_t rc = rd_kafka_metadata(
	    k->rk, 1, NULL, &k->metadata, kafka_check_timeout_ms(k, CHECK_SOFT_MS));

	if (rc != RD_KAFKA_RESP_ERR_NO_ERROR) {
		check_say(k->check, CHECK_FAIL, TOPIC, NULL,
		    "the topics cannot be listed: %s", rd_kafka_err2str(rc));
		return ERR_AWAY;
	}
	for (size_t i = 0; i < k->topic_count; i++)
		look_at_topic(k, &k->topics[i]);
	(void)snprintf(k->config_error, sizeof(k->config_error), "no answer in time");
	check_wait_for(k->check, TOPIC, "no answer in time");
	look_at_configurations(k);
	for (size_t i = 0; i < k->topic_count && k->is_described; i++) {
		if (is_missing(&k->topics[i]))
			ask_by_name(k, &k->topics[i]);
	}
	rd_kafka_metadata_destroy(k->metadata);
	k->metadata = NULL;
	return 0;
}

void
kafka_check_topics(struct kafka_check *k)
{
	struct topic_use *uses = NULL;
	size_t count = 0;
	int err = topic_uses_list(k->check, k->settings, &uses, &count);

	if (err == 0)
		k->topics = calloc(count + 1, sizeof(*k->topics));
	if (k->topics == NULL) {
		check_say(k->check, CHECK_FAIL, TOPIC, NULL, "%s", err_str(ERR_NOMEM));
		goto done;
	}
	for (size_t i = 0; i < count; i++)
		k->topics[i].use = uses[i];
	k->topic_count = count;
	check_wait_for(k->check, TOPIC, "no answer in time");
	if (look(k) == 0) {
		say_leaders(k);
		for (size_t i = 0; i < k->topic_count; i++)
			say_topic(k, &k->topics[i]);
	}
done:
	free(k->topics);
	free(uses);
}
