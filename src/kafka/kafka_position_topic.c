/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The position topic itself: making it, and how it is configured.
 *
 * Failure modes: what is missing may only not be known yet where it was asked for: only
 * the controller, which is asked to make it, knows for certain. We may not make it: said
 * with the rights that are needed, and tried again after REFUSED_MS.
 */
#include <stdio.h>
#include <string.h>

#include "err.h"
#include "kafka_position_parts.h"
#include "now.h"

#define STEP_MAX_MS 1600
#define MAKE_MS     10000
#define REFUSED_MS  10000

/* ---- what goes wrong ---- */

int
kafka_position_pause(struct kafka_position *p, int64_t ms)
{
	p->pause_ms = now_monotonic_ms() + ms;
	return ERR_AWAY;
}

int
kafka_position_again(struct kafka_position *p, rd_kafka_resp_err_t code)
{
	log_debug(LOG_CONNECTION, "position: %s", rd_kafka_err2str(code));
	if (code == RD_KAFKA_RESP_ERR__TIMED_OUT && p->timeout_ms < STEP_MAX_MS)
		p->timeout_ms *= 2;
	return kafka_position_pause(p, KAFKA_POSITION_PAUSE_MS);
}

int
kafka_position_refuse(
    struct kafka_position *p, const char *what, const char *rights, const char *why)
{
	log_repeated(&p->refused_log, now_monotonic_ms(), LOG_LEVEL_ERROR,
	    LOG_CONNECTION, "exactly once: the topic %s %s: %s; this user needs %s",
	    p->topic, what, why, rights);
	p->is_refused = true;
	(void)kafka_position_pause(p, REFUSED_MS);
	return ERR_REFUSED;
}

/* ---- the topic ---- */

int
kafka_position_make(struct kafka_position *p)
{
	rd_kafka_AdminOptions_t *options =
	    rd_kafka_AdminOptions_new(p->rk, RD_KAFKA_ADMIN_OP_CREATETOPICS);
	rd_kafka_NewTopic_t *topic;
	char why[256];

	/* -1: as many replicas as the cluster's default.replication.factor says. */
	topic = rd_kafka_NewTopic_new(p->topic, 1, -1, why, sizeof(why));
	if (topic == NULL) {
		rd_kafka_AdminOptions_destroy(options);
		return kafka_position_refuse(
		    p, "cannot be made", "another name for it", why);
	}
	(void)rd_kafka_NewTopic_set_config(topic, "cleanup.policy", "compact");
	(void)rd_kafka_AdminOptions_set_request_timeout(
	    options, MAKE_MS, why, sizeof(why));
	rd_kafka_CreateTopics(p->rk, &topic, 1, options, p->admin);
	rd_kafka_NewTopic_destroy(topic);
	rd_kafka_AdminOptions_destroy(options);
	p->step = STEP_MAKE;
	return ERR_AWAY;
}

int
kafka_position_take_made(struct kafka_position *p, rd_kafka_event_t *event)
{
	const rd_kafka_topic_result_t **results;
	rd_kafka_resp_err_t code = rd_kafka_event_error(event);
	const char *why = rd_kafka_event_error_string(event);
	size_t count = 0;

	p->step = STEP_FIND;
	if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
		results = rd_kafka_CreateTopics_result_topics(
		    rd_kafka_event_CreateTopics_result(event), &count);
		code = rd_kafka_topic_result_error(results[0]);
		why = rd_kafka_topic_result_error_string(results[0]);
	}
	switch ((int)code) { /* int: -Wswitch would want all of librdkafka's codes */
	case RD_KAFKA_RESP_ERR_NO_ERROR:
		log_warning(LOG_DELIVERY,
		    "exactly once: made the topic %s for positions: it was not there",
		    p->topic);
		return kafka_position_pause(p, KAFKA_POSITION_PAUSE_MS);
	case RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS:
	case RD_KAFKA_RESP_ERR__TIMED_OUT:
	case RD_KAFKA_RESP_ERR__TRANSPORT:
	case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
	case RD_KAFKA_RESP_ERR_NOT_CONTROLLER:
		return kafka_position_again(p, code);
	default:
		return kafka_position_refuse(p, "does not exist, and cannot be made",
		    "CREATE on it or on the cluster; or make it by hand: one "
		    "partition, cleanup.policy=compact",
		    why == NULL ? rd_kafka_err2str(code) : why);
	}
}

void
kafka_position_ask_policy(struct kafka_position *p)
{
	rd_kafka_AdminOptions_t *options;
	rd_kafka_ConfigResource_t *resource;
	char why[128];

	if (p->is_asked)
		return;
	p->is_asked = true;
	p->is_asking = true;
	options = rd_kafka_AdminOptions_new(p->rk, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
	resource = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, p->topic);
	(void)rd_kafka_ConfigResource_set_config(resource, "cleanup.policy", "");
	(void)rd_kafka_AdminOptions_set_request_timeout(
	    options, MAKE_MS, why, sizeof(why));
	rd_kafka_DescribeConfigs(p->rk, &resource, 1, options, p->admin);
	rd_kafka_ConfigResource_destroy(resource);
	rd_kafka_AdminOptions_destroy(options);
}

void
kafka_position_take_policy(struct kafka_position *p, rd_kafka_event_t *event)
{
	const rd_kafka_ConfigResource_t **resources;
	const rd_kafka_ConfigEntry_t **entries;
	size_t count = 0;

	p->is_asking = false;
	if (rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR)
		return;
	resources = rd_kafka_DescribeConfigs_result_resources(
	    rd_kafka_event_DescribeConfigs_result(event), &count);
	if (count == 0)
		return;
	entries = rd_kafka_ConfigResource_configs(resources[0], &count);
	for (size_t i = 0; i < count; i++) {
		const char *value = rd_kafka_ConfigEntry_value(entries[i]);

		if (strcmp(rd_kafka_ConfigEntry_name(entries[i]), "cleanup.policy") !=
			0 ||
		    value == NULL || strcmp(value, "compact") == 0)
			continue;
		log_warning(LOG_DELIVERY,
		    "exactly once: the topic %s has cleanup.policy=%s: positions will "
		    "be deleted, and after that the last batch may come twice; it has "
		    "to be \"compact\" alone",
		    p->topic, value);
	}
}
