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
#include "kafka_result.h"
#include "kafka_transaction.h"
#include "log.h"
#include "now.h"

#define PROBE_MS     2000
#define GRACE_MS     500  /* for answers that are on their way, before giving up */
#define GIVE_BACK_MS 2000 /* for librdkafka's threads to hand everything back */

struct kafka_sink {
	struct sink base;
	const struct settings *settings;
	int fd;
	struct kafka_producer *producer;       /* NULL: reopen() has failed */
	struct kafka_transaction *transaction; /* NULL: at least once */
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
	const struct kafka_producer *p = opaque;
	struct kafka_sink *s = p->user;
	enum sink_result result = kafka_result(m->err);
	uint64_t tag = kafka_producer_report(p, m);

	(void)rk;
	if (result == SINK_DELIVERED && s->seen != KAFKA_HERE)
		note_reachable(s);
	if (s->transaction != NULL &&
	    !kafka_transaction_report(s->transaction, m, tag, &result))
		return;
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
	if (kafka_backoff_is_cause(reason))
		return; /* the cause has been told, by the connect before this one */
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
	static const char *const known[] = {"FAIL", "ERROR", "FATAL", "CONFWARN",
	    "SSLCERTVRFY", "TXNERR", "ADDPARTS", "GETPID"};
	struct kafka_producer *p = rd_kafka_opaque(rk);
	struct kafka_sink *s = p->user;
	char plain[1024];

	/* The error that follows says no more than that a certificate was refused. */
	(void)kafka_reason_certificate(
	    s->certificate_text, sizeof(s->certificate_text), text);
	if (s->transaction != NULL)
		kafka_transaction_log(s->transaction, facility, text);
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

static int
open_producer(struct kafka_producer **out, struct kafka_sink *s)
{
	struct buffer mistakes = {0};
	rd_kafka_conf_t *conf;
	int err;

	*out = NULL;
	err = kafka_conf_build(s->settings, true, &mistakes, &conf);
	kafka_conf_log(&mistakes);
	buffer_fini(&mistakes);
	if (err == 0 && s->transaction != NULL) {
		err = kafka_conf_transactional(conf, s->settings);
		if (err != 0)
			rd_kafka_conf_destroy(conf);
	}
	if (err != 0)
		return err;
	rd_kafka_conf_set_dr_msg_cb(conf, on_report);
	rd_kafka_conf_set_error_cb(conf, on_error);
	rd_kafka_conf_set_log_cb(conf, on_log);
	/* In a transaction what lands out of order is aborted. */
	err = kafka_producer_open(out, conf,
	    s->transaction == NULL && kafka_is_idempotent(s->settings), s->fd, s);
	if (s->transaction != NULL)
		kafka_transaction_use(s->transaction, *out);
	return err;
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
	kafka_producer_poll(s->producer, 0);
	if (s->seen == KAFKA_AWAY)
		probe(s);
	if (s->transaction != NULL)
		kafka_transaction_poll(s->transaction);
	else if (s->aside == NULL &&
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
	rd_kafka_resp_err_t code;

	*text = s->fatal_text;
	if (s->producer == NULL) {
		snprintf(s->fatal_text, sizeof(s->fatal_text), "there is no producer");
		return true;
	}
	code =
	    rd_kafka_fatal_error(s->producer->rk, s->fatal_text, sizeof(s->fatal_text));
	if (code != RD_KAFKA_RESP_ERR_NO_ERROR && s->transaction != NULL)
		kafka_transaction_explain(s->transaction, code, s->fatal_text);
	if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
		return true;
	if (s->transaction != NULL &&
	    kafka_transaction_is_finished(s->transaction, text))
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
		int64_t grace_ms = s->transaction == NULL ? GRACE_MS : 0;

		if (s->transaction != NULL)
			kafka_transaction_leave(s->transaction);
		if (!kafka_producer_give_back(s->producer, grace_ms, GIVE_BACK_MS))
			return ERR_FATAL;
		if (s->transaction != NULL)
			kafka_transaction_use(s->transaction, NULL);
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
	if (s->transaction != NULL)
		kafka_transaction_leave(s->transaction);
	if (s->aside != NULL && !kafka_producer_close(s->aside))
		log_debug(LOG_LIFECYCLE, "a producer still waits for its name server");
	if (p != NULL && (!kafka_producer_give_back(p, 0, GIVE_BACK_MS) ||
			     !kafka_producer_close(p))) {
		log_debug(
		    LOG_LIFECYCLE, "the producer still waits for its name server");
		return;
	}
	if (!kafka_transaction_close(s->transaction))
		log_debug(LOG_LIFECYCLE, "a reader still waits for its name server");
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

/* ---- exactly once ---- */

static int
send_in_transaction(struct sink *base, const struct sink_record *r, uint64_t tag)
{
	return kafka_transaction_send(of_sink(base)->transaction, r, tag);
}

static int
recover(struct sink *base, struct buffer *position)
{
	return kafka_transaction_recover(of_sink(base)->transaction, position);
}

static int
commit(struct sink *base, struct bytes position)
{
	return kafka_transaction_commit(of_sink(base)->transaction, position);
}

static int
abort_transaction(struct sink *base)
{
	return kafka_transaction_abort(of_sink(base)->transaction);
}

static const struct sink_ops transactional_ops = {
    .send = send_in_transaction,
    .poll = poll_deliveries,
    .fd = event_fd,
    .is_fatal = is_fatal,
    .reopen = reopen,
    .close = close_sink,
    .recover = recover,
    .commit = commit,
    .abort = abort_transaction,
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
	s->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (s->fd < 0) {
		log_error(LOG_LIFECYCLE, "eventfd: %s", strerror(errno));
		err = ERR_FATAL;
		goto fail;
	}
	if (settings->kafka.delivery == SETTINGS_EXACTLY_ONCE) {
		s->base.ops = &transactional_ops;
		err = kafka_transaction_open(&s->transaction, settings, uuid);
		if (err != 0)
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
	(void)kafka_transaction_close(s->transaction); /* it has no reader yet */
	if (s->fd >= 0)
		close(s->fd);
	free(s);
	return err;
}
