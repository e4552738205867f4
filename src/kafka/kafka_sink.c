/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sink that is Kafka: what a delivery report means, what is worth a line in the
 * log, and when a producer has to make room for the next.
 *
 * Invariant: each record that send() took is given back once, by on_report().
 *
 * Failure modes: Kafka is away: librdkafka waits and tries again, we only log. A record
 * is refused: reported with its whole batch, and the producer is finished (is_fatal);
 * what is on the wire behind it comes home only in reopen(). What is purged there may
 * have landed all the same, or land later. A name server that does not answer: see
 * kafka_producer.c; such a producer is put aside, and destroyed by a later poll().
 */
#include "kafka_sink.h"

#include <librdkafka/rdkafka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "err.h"
#include "kafka_conf.h"
#include "kafka_producer.h"
#include "kafka_properties.h"
#include "kafka_reason.h"
#include "log.h"
#include "now.h"

#define PROBE_MS     2000
#define GRACE_MS     500  /* for answers that are on their way, before giving up */
#define GIVE_BACK_MS 2000 /* for librdkafka's threads to hand everything back */

struct kafka_sink {
	struct sink base;
	const struct settings *settings;
	uint8_t uuid[16]; /* of the journal */
	int fd;
	struct kafka_producer *producer; /* NULL: reopen() has failed */
	struct kafka_producer *aside; /* waits for its name server, then is destroyed */
	char fatal_text[512];
	char away_text[512];        /* the latest complaint about a broker */
	char certificate_text[384]; /* about the latest that was refused */
	bool is_denied; /* that was that it does not let us in: logged as such */
	enum kafka_reach seen;
	int64_t probe_at_ms; /* while it is away */
	struct log_repeat away_log, denied_log, library_log;
};

static struct kafka_sink *
of_sink(struct sink *s)
{
	return (struct kafka_sink *)s;
}

/* ---- what comes back ---- */

static enum sink_result
result_of(rd_kafka_resp_err_t err)
{
	switch ((int)err) { /* int: -Wswitch would want all of librdkafka's codes */
	case RD_KAFKA_RESP_ERR_NO_ERROR:
		return SINK_DELIVERED;
	case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
	case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
	case RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE:
		return SINK_RECORD_TOO_LARGE;
	case RD_KAFKA_RESP_ERR_INVALID_MSG:
	case RD_KAFKA_RESP_ERR_INVALID_RECORD:
		return SINK_RECORD_REFUSED;
	case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
		return SINK_TIMESTAMP_REFUSED;
	case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
	case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
	case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
	case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
	case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
	case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
	case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
	case RD_KAFKA_RESP_ERR_INVALID_REQUIRED_ACKS:
	case RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT:
	case RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE:
		return SINK_ROUTE_REFUSED;
	default:
		return SINK_NOT_DELIVERED;
	}
}

static void
note_reachable(struct kafka_sink *s)
{
	struct log_repeat *r = s->is_denied ? &s->denied_log : &s->away_log;

	if (s->seen == KAFKA_AWAY)
		log_recovered(r, LOG_LEVEL_INFO, LOG_CONNECTION, NULL,
		    "Kafka is reachable again");
	s->seen = KAFKA_HERE;
	s->is_denied = false;
	s->away_text[0] = '\0';
}

/* librdkafka's delivery report; only from within rd_kafka_poll(). */
static void
on_report(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
	struct kafka_sink *s = ((struct kafka_producer *)opaque)->user;
	enum sink_result result = result_of(m->err);
	uint64_t tag = kafka_producer_report(m);

	(void)rk;
	if (result == SINK_DELIVERED && s->seen != KAFKA_HERE)
		note_reachable(s);
	s->base.delivered(s->base.context, tag, result,
	    result == SINK_DELIVERED ? "" : rd_kafka_err2str(m->err));
}

/* Nothing is wrong with the network, but one of the two does not want the other. */
static void
note_refusal(struct kafka_sink *s, enum kafka_refusal by, const char *text)
{
	static const char *const prefixes[] = {
	    [KAFKA_REFUSED_BY_NONE] = "no TLS with Kafka",
	    [KAFKA_REFUSED_BY_US] = "Kafka is not trusted",
	    [KAFKA_REFUSED_BY_IT] = "Kafka does not let us in",
	};

	s->is_denied = true;
	snprintf(s->away_text, sizeof(s->away_text), "%s", text);
	log_repeated(&s->denied_log, now_monotonic_ms(), LOG_LEVEL_ERROR,
	    LOG_CONNECTION, "%s: %s", prefixes[by], text);
}

static void
note_away(struct kafka_sink *s, const char *text)
{
	s->seen = KAFKA_AWAY;
	if (s->is_denied)
		return;
	if (s->away_text[0] == '\0')
		snprintf(s->away_text, sizeof(s->away_text), "%s", text);
	log_repeated(&s->away_log, now_monotonic_ms(), LOG_LEVEL_WARNING,
	    LOG_CONNECTION, "Kafka is not reachable: %s", s->away_text);
}

static void
on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque)
{
	struct kafka_producer *p = opaque;
	struct kafka_sink *s = p->user;
	struct kafka_reason_hints hints = p->hints;
	char plain[sizeof(s->away_text)], text[sizeof(s->away_text)];
	enum kafka_refusal by;

	(void)rk;
	hints.certificate = s->certificate_text;
	kafka_reason_discreet(plain, sizeof(plain), reason);
	log_debug(LOG_CONNECTION, "librdkafka: %s", plain);
	by = kafka_reason(text, sizeof(text), plain, &hints);
	switch (code) {
	case RD_KAFKA_RESP_ERR__FATAL: /* asked for by is_fatal() */
		return;
	case RD_KAFKA_RESP_ERR__AUTHENTICATION:
		note_refusal(s, KAFKA_REFUSED_BY_IT, text);
		return;
	case RD_KAFKA_RESP_ERR__SSL:
		note_refusal(s, by, text);
		return;
	case RD_KAFKA_RESP_ERR__RESOLVE:
	case RD_KAFKA_RESP_ERR__TRANSPORT:
	case RD_KAFKA_RESP_ERR__TIMED_OUT: /* one broker of perhaps many */
		if (by != KAFKA_REFUSED_BY_NONE) {
			note_refusal(s, by, text);
			return;
		}
		s->is_denied = false;
		snprintf(s->away_text, sizeof(s->away_text), "%s", text);
		return;
	case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
		note_away(s, text);
		return;
	default:
		log_repeated(&s->library_log, now_monotonic_ms(), LOG_LEVEL_WARNING,
		    LOG_CONNECTION, "Kafka: %s", text);
	}
}

/* librdkafka's own lines. What also comes by on_error() or on_report() is for debugging. */
static void
on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
	static const char *const known[] = {
	    "FAIL", "ERROR", "FATAL", "CONFWARN", "SSLCERTVRFY"};
	struct kafka_producer *p = rd_kafka_opaque(rk);
	struct kafka_sink *s = p->user;
	char plain[1024];

	/* The error that follows says no more than that a certificate was refused. */
	(void)kafka_reason_certificate(
	    s->certificate_text, sizeof(s->certificate_text), text);
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(facility, known[i]) == 0)
			level = LOG_LEVEL_DEBUG;
	kafka_reason_discreet(plain, sizeof(plain), text);
	if (level > LOG_LEVEL_WARNING)
		log_debug(LOG_CONNECTION, "librdkafka: %s: %s", facility, plain);
	else
		log_repeated(&s->library_log, now_monotonic_ms(), LOG_LEVEL_WARNING,
		    LOG_CONNECTION, "librdkafka: %s: %s", facility, plain);
}

static void
log_lines(const struct buffer *text)
{
	const char *line = (const char *)text->data;
	size_t left = text->size;

	while (left > 0) {
		const char *end = memchr(line, '\n', left);
		size_t size = end == NULL ? left : (size_t)(end - line);

		log_error(LOG_LIFECYCLE, "%.*s", (int)size, line);
		left -= end == NULL ? left : size + 1;
		line += size + 1;
	}
}

static int
open_producer(struct kafka_producer **out, struct kafka_sink *s)
{
	struct buffer mistakes = {0};
	rd_kafka_conf_t *conf;
	int err;

	*out = NULL;
	err = kafka_conf_build(s->settings, true, &mistakes, &conf);
	log_lines(&mistakes);
	buffer_fini(&mistakes);
	if (err != 0)
		return err;
	rd_kafka_conf_set_dr_msg_cb(conf, on_report);
	rd_kafka_conf_set_error_cb(conf, on_error);
	rd_kafka_conf_set_log_cb(conf, on_log);
	return kafka_producer_open(
	    out, conf, kafka_is_idempotent(s->settings), s->fd, s);
}

/* ---- the operations ---- */

static int
send_record(struct sink *base, const struct sink_record *r, uint64_t tag)
{
	struct kafka_producer *p = of_sink(base)->producer;

	return p == NULL ? ERR_FATAL : kafka_producer_send(p, r, tag);
}

/*
 * With nothing to deliver nobody would notice that Kafka is back. The call connects
 * where it must, and asks; it is not waited for: that there is a broker to ask is enough.
 */
static void
probe(struct kafka_sink *s)
{
	const struct rd_kafka_metadata *m = NULL;
	int64_t now_ms = now_monotonic_ms();
	rd_kafka_resp_err_t err;

	if (now_ms < s->probe_at_ms)
		return;
	s->probe_at_ms = now_ms + PROBE_MS;
	err = rd_kafka_metadata(s->producer->rk, 0, NULL, &m, 1);
	if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
		rd_kafka_metadata_destroy(m);
	if (err == RD_KAFKA_RESP_ERR_NO_ERROR || err == RD_KAFKA_RESP_ERR__TIMED_OUT)
		note_reachable(s);
}

/* Nothing is out: another producer takes over. What fails, reopen() tries again. */
static void
replace(struct kafka_sink *s)
{
	log_info(LOG_DELIVERY, "a new producer: the old one has met %zu topics",
	    s->producer->topics.count);
	if (!kafka_producer_close(s->producer))
		s->aside = s->producer;
	s->producer = NULL;
	if (open_producer(&s->producer, s) != 0)
		s->producer = NULL;
}

static void
poll_deliveries(struct sink *base)
{
	struct kafka_sink *s = of_sink(base);

	if (s->aside != NULL && kafka_producer_close(s->aside))
		s->aside = NULL;
	if (s->producer == NULL)
		return;
	rd_kafka_poll(s->producer->rk, 0);
	if (s->seen == KAFKA_AWAY)
		probe(s);
	if (s->aside == NULL &&
	    kafka_producer_may_leave(s->producer, now_monotonic_ms()))
		replace(s);
}

static int
event_fd(const struct sink *base)
{
	return ((const struct kafka_sink *)base)->fd;
}

static bool
is_fatal(struct sink *base, const char **text)
{
	struct kafka_sink *s = of_sink(base);

	*text = s->fatal_text;
	if (s->producer == NULL) {
		snprintf(s->fatal_text, sizeof(s->fatal_text), "there is no producer");
		return true;
	}
	if (rd_kafka_fatal_error(s->producer->rk, s->fatal_text,
		sizeof(s->fatal_text)) != RD_KAFKA_RESP_ERR_NO_ERROR)
		return true;
	snprintf(s->fatal_text, sizeof(s->fatal_text), "records are being given back");
	return s->producer->is_going;
}

static int
reopen(struct sink *base)
{
	struct kafka_sink *s = of_sink(base);
	int err;

	/* One aside is enough: who comes here again and again must not gather them. */
	if (s->aside != NULL && !kafka_producer_close(s->aside))
		return ERR_FATAL;
	s->aside = NULL;
	if (s->producer != NULL) {
		if (!kafka_producer_give_back(s->producer, GRACE_MS, GIVE_BACK_MS))
			return ERR_FATAL;
		if (!kafka_producer_close(s->producer))
			s->aside = s->producer;
		s->producer = NULL;
	}
	err = open_producer(&s->producer, s);
	return err == 0 || err == ERR_NOMEM ? err : ERR_FATAL;
}

static void
ignore(void *context, uint64_t tag, enum sink_result result, const char *text)
{
	(void)context;
	(void)tag;
	(void)result;
	(void)text;
}

/*
 * The process is about to end. A thread that is still within getaddrinfo(3) is left to
 * that end, with its producer: nobody waits for a name server.
 */
static void
close_sink(struct sink *base)
{
	struct kafka_sink *s = of_sink(base);
	struct kafka_producer *p;

	if (s == NULL)
		return;
	p = s->producer;
	s->base.delivered = ignore;
	if (s->aside != NULL && !kafka_producer_close(s->aside))
		log_debug(LOG_LIFECYCLE, "a producer still waits for its name server");
	if (p != NULL && (!kafka_producer_give_back(p, 0, GIVE_BACK_MS) ||
			     !kafka_producer_close(p))) {
		log_debug(
		    LOG_LIFECYCLE, "the producer still waits for its name server");
		return;
	}
	close(s->fd);
	free(s);
}

static const struct sink_ops ops = {
    .send = send_record,
    .poll = poll_deliveries,
    .fd = event_fd,
    .is_fatal = is_fatal,
    .reopen = reopen,
    .close = close_sink,
};

enum kafka_reach
kafka_sink_reach(const struct sink *base, const char **why)
{
	const struct kafka_sink *s = (const struct kafka_sink *)base;

	*why = s->seen == KAFKA_AWAY ? s->away_text : "";
	return s->seen;
}

static void
warn_of_strangers(rd_kafka_t *rk)
{
	static const char *const names[][2] = {
	    {"enable.ssl.certificate.verification", "false"},
	    {"ssl.endpoint.identification.algorithm", "none"},
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char value[32] = "";
		size_t size = sizeof(value);

		(void)rd_kafka_conf_get(rd_kafka_conf(rk), names[i][0], value, &size);
		if (strcmp(value, names[i][1]) == 0)
			log_warning(LOG_CONNECTION,
			    "kafka.properties: %s=%s: who is in the way can pretend to "
			    "be Kafka",
			    names[i][0], value);
	}
}

int
kafka_sink_open(
    struct sink **out, const struct settings *settings, const uint8_t uuid[16])
{
	struct kafka_sink *s = calloc(1, sizeof(*s));
	int err;

	*out = NULL;
	if (s == NULL)
		return ERR_NOMEM;
	s->base.ops = &ops;
	s->settings = settings;
	memcpy(s->uuid, uuid, sizeof(s->uuid));
	s->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (s->fd < 0) {
		log_error(LOG_LIFECYCLE, "eventfd: %s", strerror(errno));
		err = ERR_FATAL;
		goto fail;
	}
	if (!kafka_is_idempotent(settings))
		log_warning(LOG_DELIVERY,
		    "kafka.acks = %s: records may be lost when a Kafka broker fails, "
		    "and may come twice or out of order after an error",
		    settings->kafka.acks);
	err = open_producer(&s->producer, s);
	if (err != 0)
		goto fail;
	warn_of_strangers(s->producer->rk);
	*out = &s->base;
	return 0;
fail:
	if (s->fd >= 0)
		close(s->fd);
	free(s);
	return err;
}
