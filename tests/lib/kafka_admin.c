/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kafka_admin BOOTSTRAP create NAME PARTITIONS [NAME=VALUE...]
 *                       delete NAME
 *                       alter NAME NAME=VALUE...   (replaces all settings of the topic)
 *                       deny NAME USER write|all
 *                       allow NAME USER            (takes back every deny)
 *                       leader NAME                (prints the node of each partition)
 *
 * What kafka-topics, kafka-configs and kafka-acls do, for tests, without starting a Java
 * machine. create returns when the topic has a leader for each partition, delete when it
 * is no longer listed; replication.factor=N is for the topic itself. A topic that is there
 * already, or no longer, is a failure. It gives up after 60 s. Exit status: 0 done, 1 it
 * failed, 2 usage.
 */
#include <librdkafka/rdkafka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LIMIT_MS 60000

static int64_t
monotonic_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int
say(const char *what, const char *why)
{
	fprintf(stderr, "kafka_admin: %s: %s\n", what, why);
	return -1;
}

/* Split NAME=VALUE in place; value is NULL where there is no "=". */
static const char *
split(char *pair)
{
	char *equals = strchr(pair, '=');

	if (equals == NULL)
		return NULL;
	*equals = '\0';
	return equals + 1;
}

/* The result of the one thing that was asked for. */
static int
wait_result(rd_kafka_queue_t *queue, const char *topic)
{
	rd_kafka_event_t *event = rd_kafka_queue_poll(queue, LIMIT_MS);
	const rd_kafka_topic_result_t **topics = NULL;
	const rd_kafka_ConfigResource_t **configs = NULL;
	const rd_kafka_DeleteAcls_result_response_t **responses = NULL;
	const rd_kafka_acl_result_t **acls = NULL;
	size_t count = 0;
	int rc = 0;

	if (event == NULL)
		return say(topic, "no answer");
	if (rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR)
		rc = say(topic, rd_kafka_event_error_string(event));
	else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_CREATETOPICS_RESULT)
		topics = rd_kafka_CreateTopics_result_topics(
		    rd_kafka_event_CreateTopics_result(event), &count);
	else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DELETETOPICS_RESULT)
		topics = rd_kafka_DeleteTopics_result_topics(
		    rd_kafka_event_DeleteTopics_result(event), &count);
	else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_CREATEACLS_RESULT)
		acls = rd_kafka_CreateAcls_result_acls(
		    rd_kafka_event_CreateAcls_result(event), &count);
	else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DELETEACLS_RESULT)
		responses = rd_kafka_DeleteAcls_result_responses(
		    rd_kafka_event_DeleteAcls_result(event), &count);
	else
		configs = rd_kafka_AlterConfigs_result_resources(
		    rd_kafka_event_AlterConfigs_result(event), &count);

	for (size_t i = 0; i < count; i++) {
		if (topics != NULL && rd_kafka_topic_result_error(topics[i]) != 0)
			rc = say(topic, rd_kafka_topic_result_error_string(topics[i]));
		if (configs != NULL && rd_kafka_ConfigResource_error(configs[i]) != 0)
			rc = say(
			    topic, rd_kafka_ConfigResource_error_string(configs[i]));
		if (acls != NULL && rd_kafka_acl_result_error(acls[i]) != NULL)
			rc = say(topic,
			    rd_kafka_error_string(rd_kafka_acl_result_error(acls[i])));
		if (responses != NULL &&
		    rd_kafka_DeleteAcls_result_response_error(responses[i]) != NULL)
			rc = say(topic, rd_kafka_error_string(
					    rd_kafka_DeleteAcls_result_response_error(
						responses[i])));
	}
	rd_kafka_event_destroy(event);
	return rc;
}

/* How many partitions of topic have a leader; -1 when it cannot be told. */
static int
leader_count(rd_kafka_t *rk, const char *name)
{
	const struct rd_kafka_metadata *m;
	int count = 0;

	/* All topics: asking for one would have the broker make it, where it may. */
	if (rd_kafka_metadata(rk, 1, NULL, &m, 5000) != RD_KAFKA_RESP_ERR_NO_ERROR)
		return -1;
	for (int i = 0; i < m->topic_cnt; i++) {
		if (strcmp(m->topics[i].topic, name) != 0)
			continue;
		for (int p = 0; p < m->topics[i].partition_cnt; p++)
			count += m->topics[i].partitions[p].leader >= 0;
	}
	rd_kafka_metadata_destroy(m);
	return count;
}

static int
wait_partitions(rd_kafka_t *rk, const char *topic, int count)
{
	int64_t deadline_ms = monotonic_ms() + LIMIT_MS;

	while (leader_count(rk, topic) != count) {
		if (monotonic_ms() > deadline_ms)
			return say(topic, "the cluster does not show the change");
		usleep(20000);
	}
	return 0;
}

static int
create(rd_kafka_t *rk, rd_kafka_queue_t *queue, int argc, char *argv[])
{
	int partitions = argc < 2 ? 0 : atoi(argv[1]);
	char why[256] = "";
	rd_kafka_NewTopic_t *topic;
	int replicas = 1, rc = 0;

	if (argc > 2 && sscanf(argv[2], "replication.factor=%d", &replicas) == 1) {
		argc--;
		memmove(&argv[2], &argv[3], (size_t)(argc - 2) * sizeof(argv[0]));
	}
	topic = rd_kafka_NewTopic_new(argv[0], partitions, replicas, why, sizeof(why));
	if (topic == NULL)
		return say(argv[0], why);
	for (int i = 2; i < argc; i++) {
		const char *value = split(argv[i]);

		if (rd_kafka_NewTopic_set_config(topic, argv[i], value) != 0)
			rc = say(argv[i], "not a setting");
	}
	if (rc == 0) {
		rd_kafka_CreateTopics(rk, &topic, 1, NULL, queue);
		rc = wait_result(queue, argv[0]);
	}
	rd_kafka_NewTopic_destroy(topic);
	return rc != 0 ? rc : wait_partitions(rk, argv[0], partitions);
}

static int delete (rd_kafka_t *rk, rd_kafka_queue_t *queue, char *name)
{
	rd_kafka_DeleteTopic_t *topic = rd_kafka_DeleteTopic_new(name);
	int rc;

	rd_kafka_DeleteTopics(rk, &topic, 1, NULL, queue);
	rc = wait_result(queue, name);
	rd_kafka_DeleteTopic_destroy(topic);
	return rc != 0 ? rc : wait_partitions(rk, name, 0);
}

static int
alter(rd_kafka_t *rk, rd_kafka_queue_t *queue, int argc, char *argv[])
{
	rd_kafka_ConfigResource_t *topic =
	    rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, argv[0]);
	int rc = 0;

	for (int i = 1; i < argc; i++) {
		const char *value = split(argv[i]);

		if (rd_kafka_ConfigResource_set_config(topic, argv[i], value) != 0)
			rc = say(argv[i], "not a setting");
	}
	if (rc == 0) {
		rd_kafka_AlterConfigs(rk, &topic, 1, NULL, queue);
		rc = wait_result(queue, argv[0]);
	}
	rd_kafka_ConfigResource_destroy(topic);
	return rc;
}

static int
deny(rd_kafka_t *rk, rd_kafka_queue_t *queue, int argc, char *argv[])
{
	bool is_write = argc == 3 && strcmp(argv[2], "write") == 0;
	char principal[128], why[256] = "";
	rd_kafka_AclBinding_t *acl;
	int rc;

	if (argc != 3)
		return say(argv[0], "deny NAME USER write|all");
	snprintf(principal, sizeof(principal), "User:%s", argv[1]);
	acl = rd_kafka_AclBinding_new(RD_KAFKA_RESOURCE_TOPIC, argv[0],
	    RD_KAFKA_RESOURCE_PATTERN_LITERAL, principal, "*",
	    is_write ? RD_KAFKA_ACL_OPERATION_WRITE : RD_KAFKA_ACL_OPERATION_ALL,
	    RD_KAFKA_ACL_PERMISSION_TYPE_DENY, why, sizeof(why));
	if (acl == NULL)
		return say(argv[0], why);
	rd_kafka_CreateAcls(rk, &acl, 1, NULL, queue);
	rc = wait_result(queue, argv[0]);
	rd_kafka_AclBinding_destroy(acl);
	return rc;
}

static int
allow(rd_kafka_t *rk, rd_kafka_queue_t *queue, int argc, char *argv[])
{
	char principal[128], why[256] = "";
	rd_kafka_AclBindingFilter_t *filter;
	int rc;

	if (argc != 2)
		return say(argv[0], "allow NAME USER");
	snprintf(principal, sizeof(principal), "User:%s", argv[1]);
	filter = rd_kafka_AclBindingFilter_new(RD_KAFKA_RESOURCE_TOPIC, argv[0],
	    RD_KAFKA_RESOURCE_PATTERN_LITERAL, principal, "*",
	    RD_KAFKA_ACL_OPERATION_ANY, RD_KAFKA_ACL_PERMISSION_TYPE_DENY, why,
	    sizeof(why));
	if (filter == NULL)
		return say(argv[0], why);
	rd_kafka_DeleteAcls(rk, &filter, 1, NULL, queue);
	rc = wait_result(queue, argv[0]);
	rd_kafka_AclBinding_destroy(filter);
	return rc;
}

static int
leader(rd_kafka_t *rk, const char *name)
{
	const struct rd_kafka_metadata *m;
	int rc = -1;

	if (rd_kafka_metadata(rk, 1, NULL, &m, 5000) != RD_KAFKA_RESP_ERR_NO_ERROR)
		return say(name, "no metadata");
	for (int i = 0; i < m->topic_cnt; i++) {
		if (strcmp(m->topics[i].topic, name) != 0)
			continue;
		for (int p = 0; p < m->topics[i].partition_cnt; p++)
			printf("%d ", m->topics[i].partitions[p].leader);
		printf("\n");
		rc = 0;
	}
	rd_kafka_metadata_destroy(m);
	return rc;
}

int
main(int argc, char *argv[])
{
	char why[256];
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_queue_t *queue;
	rd_kafka_t *rk;
	int rc;

	if (argc < 4) {
		fprintf(stderr, "usage: kafka_admin BOOTSTRAP "
				"create|delete|alter|deny|allow|leader NAME ...\n");
		return 2;
	}
	if (rd_kafka_conf_set(conf, "bootstrap.servers", argv[1], why, sizeof(why)) !=
	    0) {
		say(argv[1], why);
		return 2;
	}
	rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
	if (rk == NULL) {
		say(argv[1], why);
		return 1;
	}
	queue = rd_kafka_queue_new(rk);
	if (strcmp(argv[2], "create") == 0)
		rc = create(rk, queue, argc - 3, argv + 3);
	else if (strcmp(argv[2], "delete") == 0)
		rc = delete (rk, queue, argv[3]);
	else if (strcmp(argv[2], "alter") == 0)
		rc = alter(rk, queue, argc - 3, argv + 3);
	else if (strcmp(argv[2], "deny") == 0)
		rc = deny(rk, queue, argc - 3, argv + 3);
	else if (strcmp(argv[2], "allow") == 0)
		rc = allow(rk, queue, argc - 3, argv + 3);
	else if (strcmp(argv[2], "leader") == 0)
		rc = leader(rk, argv[3]);
	else
		rc = say(argv[2], "unknown command");
	rd_kafka_queue_destroy(queue);
	rd_kafka_destroy(rk);
	return rc == 0 ? 0 : 1;
}
