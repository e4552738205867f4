/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A visit to the Kafka cluster.
 *
 * Invariants: no topic is made by it: what asks for a topic says that it is not to be
 * (allow.auto.create.topics). librdkafka calls back only from inside rd_kafka_poll().
 *
 * Failure modes: librdkafka tries again for ever, so what it reports meanwhile is kept,
 * the most telling of it, and is the answer when the time is over or every broker has
 * failed. A thread of it that sits in getaddrinfo(3) would be waited for at the end:
 * check_wait_for_nothing() limits that.
 */
#include "kafka_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "kafka_check_parts.h"
#include "kafka_conf.h"
#include "kafka_properties.h"
#include "now.h"

#define FIRST_TURN_MS 250
/* How long one more address may take after every broker has failed once. */
#define GRACE_MS 1500
#define BROKERS  "kafka.brokers"
#define LOGIN    "kafka.authentication"

/* ---- what librdkafka reports ---- */

static int
rank_of(rd_kafka_resp_err_t err, bool is_refusal)
{
	if (is_refusal)
		return 5;
	switch (err) {
	case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
		return 1;
	case RD_KAFKA_RESP_ERR__TRANSPORT:
		return 3;
	case RD_KAFKA_RESP_ERR__RESOLVE:
	case RD_KAFKA_RESP_ERR__SSL:
		return 4;
	default:
		return 2;
	}
}

static void
on_error(rd_kafka_t *rk, int err, const char *reason, void *opaque)
{
	struct kafka_check *k = opaque;
	rd_kafka_resp_err_t code = err;
	char plain[sizeof(k->error)], text[sizeof(k->error)];
	enum kafka_refusal by;
	bool is_refusal;
	int rank;

	(void)rk;
	kafka_reason_discreet(plain, sizeof(plain), reason);
	by = kafka_reason(text, sizeof(text), plain, &k->hints);
	if (code == RD_KAFKA_RESP_ERR__AUTHENTICATION)
		by = KAFKA_REFUSED_BY_IT;
	is_refusal = by != KAFKA_REFUSED_BY_NONE;
	if (k->hopeless_at_ms == 0 &&
	    (is_refusal || code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN))
		k->hopeless_at_ms = now_monotonic_ms();
	rank = rank_of(code, is_refusal);
	if (rank < k->error_rank)
		return;
	k->error_rank = rank;
	k->is_login_refused = by == KAFKA_REFUSED_BY_IT;
	(void)snprintf(k->error, sizeof(k->error), "%s", text);
}

/* The error that follows says no more than that a certificate was refused. */
static void
on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
	struct kafka_check *k = rd_kafka_opaque(rk);

	(void)level;
	(void)facility;
	if (kafka_reason_certificate(k->certificate, sizeof(k->certificate), text))
		k->hints.certificate = k->certificate;
}

void
kafka_check_serve(struct kafka_check *k)
{
	while (rd_kafka_poll(k->rk, 0) > 0)
		continue;
}

int
kafka_check_timeout_ms(const struct kafka_check *k, int64_t limit_ms)
{
	int64_t left_ms = check_left_ms(k->check);

	return (int)(left_ms < limit_ms ? left_ms : limit_ms);
}

/* ---- the connection ---- */

static void
get_property(const struct kafka_check *k, const char *name, char *value, size_t size)
{
	value[0] = '\0';
	(void)rd_kafka_conf_get(rd_kafka_conf(k->rk), name, value, &size);
}

static int
set_up(struct kafka_check *k, rd_kafka_conf_t *conf, char *why, size_t size)
{
	char id[300], full_id[320], max_bytes[32] = "0";
	size_t id_size = sizeof(id), max_size = sizeof(max_bytes);

	(void)rd_kafka_conf_get(conf, "message.max.bytes", max_bytes, &max_size);
	k->needs.producer_max_bytes = strtoull(max_bytes, NULL, 10);
	k->needs.is_producer_max_given =
	    strcmp(max_bytes, KAFKA_MESSAGE_MAX_BYTES) != 0;
	if (rd_kafka_conf_get(conf, "client.id", id, &id_size) != RD_KAFKA_CONF_OK)
		return ERR_INVALID;
	(void)snprintf(full_id, sizeof(full_id), "%s-check", id);
	if (rd_kafka_conf_set(conf, "client.id", full_id, why, size) != 0 ||
	    rd_kafka_conf_set(conf, "allow.auto.create.topics", "false", why, size) !=
		0)
		return ERR_INVALID;
	k->hints = kafka_conf_hints(conf);
	rd_kafka_conf_set_error_cb(conf, on_error);
	rd_kafka_conf_set_log_cb(conf, on_log);
	rd_kafka_conf_set_opaque(conf, k);
	return 0;
}

static int
open_handle(struct kafka_check *k)
{
	struct buffer mistakes = {0};
	rd_kafka_conf_t *conf = NULL;
	char why[512] = "a secret cannot be read; the reason is on standard error";
	int err = kafka_conf_build(k->settings, true, &mistakes, &conf);

	if (err == 0)
		err = set_up(k, conf, why, sizeof(why));
	else if (mistakes.size > 0)
		(void)snprintf(why, sizeof(why), "%.*s", (int)mistakes.size - 1,
		    (const char *)mistakes.data);
	if (err == 0) {
		k->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
		if (k->rk != NULL)
			conf = NULL; /* taken over */
		else
			err = ERR_FATAL;
		if (k->rk != NULL) /* cannot fail: log.queue is set */
			(void)rd_kafka_set_log_queue(k->rk, NULL);
	}
	if (conf != NULL)
		rd_kafka_conf_destroy(conf);
	if (err != 0)
		check_say(k->check, CHECK_FAIL, BROKERS, NULL, "%s", why);
	buffer_fini(&mistakes);
	return err;
}

/* Longer from turn to turn: a broker may be slow to answer, and errors wait for the end. */
static const struct rd_kafka_metadata *
reach(struct kafka_check *k)
{
	const struct rd_kafka_metadata *m = NULL;
	int64_t turn_ms = FIRST_TURN_MS;

	while (check_left_ms(k->check) > 0) {
		if (rd_kafka_metadata(
			k->rk, 0, NULL, &m, kafka_check_timeout_ms(k, turn_ms)) ==
		    RD_KAFKA_RESP_ERR_NO_ERROR)
			return m;
		kafka_check_serve(k);
		if (k->hopeless_at_ms != 0 &&
		    now_monotonic_ms() - k->hopeless_at_ms >= GRACE_MS)
			break;
		turn_ms *= 2;
	}
	return NULL;
}

static void
say_brokers(struct kafka_check *k, const struct rd_kafka_metadata *m)
{
	char *cluster = rd_kafka_clusterid(k->rk, kafka_check_timeout_ms(k, 1000));
	struct buffer names = {0};

	for (int i = 0; i < m->broker_cnt && i < 8; i++)
		(void)buffer_printf(&names, "%s%s:%d", i == 0 ? "" : ", ",
		    m->brokers[i].host, m->brokers[i].port);
	check_say(k->check, CHECK_OK, BROKERS, NULL, "%d broker%s: %.*s%s; cluster %s",
	    m->broker_cnt, m->broker_cnt == 1 ? "" : "s", (int)names.size,
	    names.size > 0 ? (const char *)names.data : "",
	    m->broker_cnt > 8 ? ", ..." : "", cluster != NULL ? cluster : "not known");
	if (cluster != NULL)
		rd_kafka_mem_free(k->rk, cluster);
	buffer_fini(&names);
}

static void
say_login(struct kafka_check *k)
{
	char protocol[32], mechanism[64];

	get_property(k, "security.protocol", protocol, sizeof(protocol));
	get_property(k, "sasl.mechanisms", mechanism, sizeof(mechanism));
	if (strncmp(protocol, "sasl_", 5) == 0)
		check_say(k->check, CHECK_OK, LOGIN, NULL, "%s over %s", mechanism,
		    strcmp(protocol, "sasl_ssl") == 0 ? "TLS" : "plain text");
	else
		check_say(k->check, CHECK_OK, LOGIN, NULL, "%s",
		    strcmp(protocol, "ssl") == 0 ? "TLS" : "none, plain text");
}

static int
check_brokers(struct kafka_check *k)
{
	const struct rd_kafka_metadata *m;
	const char *servers = k->settings->kafka.bootstrap_servers;
	char text[400];

	(void)snprintf(text, sizeof(text), "%s: no answer in time", servers);
	check_wait_for(k->check, BROKERS, text);
	if (open_handle(k) != 0)
		return ERR_AWAY;
	m = reach(k);
	if (m == NULL) {
		check_say(k->check, CHECK_FAIL, k->is_login_refused ? LOGIN : BROKERS,
		    NULL, "%s cannot be reached: %s", servers,
		    k->error[0] != '\0' ? k->error : "no answer in time");
		return ERR_AWAY;
	}
	say_brokers(k, m);
	say_login(k);
	rd_kafka_metadata_destroy(m);
	return 0;
}

/* The producer's number is asked for beside all that; so is the right to have one. */
static void
check_fatal(struct kafka_check *k)
{
	char text[400] = "";

	kafka_check_serve(k);
	if (rd_kafka_fatal_error(k->rk, text, sizeof(text)) !=
	    RD_KAFKA_RESP_ERR_NO_ERROR)
		check_say(k->check, CHECK_FAIL, LOGIN, NULL, "%s", text);
}

void
kafka_check(struct check *c, const struct settings *settings, int64_t oldest_age_ms)
{
	struct kafka_check k = {
	    .check = c,
	    .settings = settings,
	    .needs = {.oldest_age_ms = oldest_age_ms,
		.journal_max_bytes = settings->journal.max_bytes / 16,
		.is_acks_all = kafka_is_idempotent(settings)},
	};

	if (check_brokers(&k) == 0) {
		k.queue = rd_kafka_queue_new(k.rk);
		kafka_check_topics(&k);
		check_fatal(&k);
		rd_kafka_queue_destroy(k.queue);
	}
	check_wait_for_nothing(c);
	if (k.rk != NULL)
		rd_kafka_destroy(k.rk);
}
