/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A producer and its topics.
 *
 * Invariants: what send() took is reported once before the producer is destroyed. In
 * threads of librdkafka only place() and what kafka_resolver.c and kafka_backoff.c have
 * run; place() touches nothing but its arguments.
 *
 * Failure modes: a name server that does not answer holds a thread of librdkafka in
 * getaddrinfo(3) for ten seconds and more, and rd_kafka_destroy() and a blocking purge
 * would wait for it: so threads in there are counted. What such a thread has in its
 * queue is reported when it is back.
 */
#include "kafka_producer.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "kafka_conf.h"
#include "log.h"
#include "now.h"

#define TURN_MS    20
#define STICKY_MS  20 /* records without a key stay on one partition this long */
#define REFRESH_MS 1000
#define LOOK_MS    60000
#define LEAVE_MS   5000 /* what does not come home by then is not waited for */

#define ASK_MS      100
#define ASK_MAX_MS  1600
#define AGAIN_MS    100 /* an answer that may change in a moment */
#define CREATING_MS 500 /* a cluster that makes topics needs so long for one */
#define DENIED_MS   10000

/* What place() is asked, and its answer, while send() is within librdkafka. */
struct placing {
	struct kafka_topic *topic;
	int64_t now_ms;
	bool is_gated;
	bool is_placed;
	bool is_refused;
};

/* NULL in the threads of librdkafka, which place what waited for the topic. */
static _Thread_local struct placing *placing;

/* ---- threads of librdkafka ---- */

/*
 * librdkafka's partitioner: within send(), or in a thread of librdkafka for what was
 * sent before the topic was known.
 */
static int32_t
place(const rd_kafka_topic_t *rkt, const void *key, size_t key_size, int32_t count,
    void *rkt_opaque, void *opaque)
{
	struct placing *now = placing;
	int32_t partition;

	partition = rd_kafka_msg_partitioner_murmur2_random(
	    rkt, key, key_size, count, rkt_opaque, opaque);
	if (now == NULL)
		return partition;
	now->is_placed = true;
	/* That of the latest poll() will do for one among many. */
	if (key == NULL || now->topic->gate.out == 0)
		now->now_ms = now_monotonic_ms();
	if (key == NULL && now->now_ms < now->topic->sticky_until_ms &&
	    now->topic->sticky_partition < count) {
		partition = now->topic->sticky_partition;
	} else if (key == NULL) {
		now->topic->sticky_partition = partition;
		now->topic->sticky_until_ms = now->now_ms + STICKY_MS;
	}
	now->is_refused = now->is_gated && !partition_gate_admit(&now->topic->gate,
					       partition, count, now->now_ms);
	return now->is_refused ? INT32_MAX : partition;
}

static int
connect_broker(
    int fd, const struct sockaddr *address, int size, const char *name, void *opaque)
{
	struct kafka_producer *p = opaque;

	(void)name;
	return kafka_backoff_connect(&p->backoff, fd, address, size);
}

/* ---- topics ---- */

static int
open_topic(struct kafka_topic **out, struct kafka_producer *p, const char *name,
    int64_t now_ms)
{
	rd_kafka_topic_conf_t *conf;
	struct kafka_topic *t;
	int err = kafka_topics_add(&t, &p->topics, name, now_ms);

	if (err != 0)
		return err;
	conf = rd_kafka_default_topic_conf_dup(p->rk);
	rd_kafka_topic_conf_set_opaque(conf, t);
	rd_kafka_topic_conf_set_partitioner_cb(conf, place);
	t->rkt = rd_kafka_topic_new(p->rk, name, conf);
	if (t->rkt == NULL) {
		rd_kafka_topic_conf_destroy(conf);
		kafka_topics_remove(&p->topics, t);
		return ERR_REFUSED; /* librdkafka does not take such a name */
	}
	*out = t;
	return 0;
}

static int
find_topic(struct kafka_topic **out, struct kafka_producer *p, const char *name,
    int64_t now_ms)
{
	*out = kafka_topics_find(&p->topics, name, now_ms);
	return *out != NULL ? 0 : open_topic(out, p, name, now_ms);
}

/* Ask again what the cluster knows of it; the answer changes what send() meets. */
static void
refresh_topic(struct kafka_producer *p, struct kafka_topic *t, int64_t now_ms)
{
	const struct rd_kafka_metadata *m = NULL;

	if (now_ms < t->refresh_at_ms)
		return;
	t->refresh_at_ms = now_ms + REFRESH_MS;
	/* It would wait for the answer; we do not, and the answer counts all the same. */
	if (rd_kafka_metadata(p->rk, 0, t->rkt, &m, 1) == RD_KAFKA_RESP_ERR_NO_ERROR)
		rd_kafka_metadata_destroy(m);
}

static bool
is_unknown(rd_kafka_resp_err_t code)
{
	return code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
	       code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC ||
	       code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
}

/* What the cluster has answered about t. */
static int
take_answer(struct kafka_topic *t, rd_kafka_resp_err_t code, int64_t now_ms)
{
	if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
		t->is_known = true;
		t->is_refused = false;
		t->is_denied = false;
		t->unknown_since_ms = 0;
		t->refresh_at_ms = 0;
		return 0;
	}
	log_debug(LOG_DELIVERY, "topic %s: %s", t->name, rd_kafka_err2str(code));
	t->refresh_at_ms = now_ms + AGAIN_MS;
	if (code == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE)
		return ERR_AWAY;
	if (t->unknown_since_ms == 0)
		t->unknown_since_ms = now_ms;
	if (is_unknown(code) && !t->is_refused &&
	    now_ms - t->unknown_since_ms < CREATING_MS)
		return ERR_AWAY;
	t->is_refused = true;
	t->refresh_at_ms = now_ms + REFRESH_MS;
	return ERR_REFUSED;
}

static int
ask(struct kafka_producer *p, struct kafka_topic *t, int64_t now_ms)
{
	const struct rd_kafka_metadata *m = NULL;
	rd_kafka_resp_err_t err;
	int rc;

	if (t->is_known)
		return 0;
	if (now_ms < t->refresh_at_ms || now_ms < p->ask_at_ms)
		return t->is_refused ? ERR_REFUSED : ERR_AWAY;
	if (p->ask_ms == 0)
		p->ask_ms = ASK_MS;
	err = rd_kafka_metadata(p->rk, 0, t->rkt, &m, p->ask_ms);
	now_ms = p->now_ms = now_monotonic_ms();
	if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
		/* On a slow link it is the answer that takes long. */
		if (err == RD_KAFKA_RESP_ERR__TIMED_OUT && p->ask_ms < ASK_MAX_MS)
			p->ask_ms *= 2;
		p->ask_at_ms = now_ms + AGAIN_MS;
		return t->is_refused ? ERR_REFUSED : ERR_AWAY;
	}
	if (m->topic_cnt != 1)
		rc = ERR_AWAY;
	else
		rc = take_answer(t, m->topics[0].err, now_ms);
	rd_kafka_metadata_destroy(m);
	return rc;
}

int
kafka_producer_ask(struct kafka_producer *p, const char *topic)
{
	int64_t now_ms = now_monotonic_ms();
	struct kafka_topic *t;
	int err = find_topic(&t, p, topic, now_ms);

	return err != 0 ? err : ask(p, t, now_ms);
}

void
kafka_producer_deny(struct kafka_producer *p, const char *topic)
{
	int64_t now_ms = now_monotonic_ms();
	struct kafka_topic *t = kafka_topics_find(&p->topics, topic, now_ms);

	if (t == NULL)
		return;
	t->is_known = false;
	t->is_refused = true;
	t->is_denied = true;
	t->refresh_at_ms = now_ms + DENIED_MS;
}

bool
kafka_producer_is_denied(const rd_kafka_message_t *m)
{
	const struct kafka_topic *t = rd_kafka_topic_opaque(m->rkt);

	return t->is_denied && (m->err == RD_KAFKA_RESP_ERR__PURGE_QUEUE ||
				   m->err == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT);
}

/* ---- sending, and what comes back ---- */

/* A tag travels through librdkafka as a pointer, which may be narrower. */
#define TAG_FITS (sizeof(uintptr_t) >= sizeof(uint64_t))

static int
pack_tag(void **out, uint64_t tag)
{
	uint64_t *copy;

	if (TAG_FITS) {
		*out = (void *)(uintptr_t)tag;
		return 0;
	}
	copy = malloc(sizeof(*copy));
	if (copy == NULL)
		return ERR_NOMEM;
	*copy = tag;
	*out = copy;
	return 0;
}

static void
drop_tag(void *packed)
{
	if (!TAG_FITS)
		free(packed);
}

static uint64_t
unpack_tag(void *packed)
{
	uint64_t tag;

	if (TAG_FITS)
		return (uint64_t)(uintptr_t)packed;
	tag = *(uint64_t *)packed;
	free(packed);
	return tag;
}

static int
make_headers(rd_kafka_headers_t **out, const struct sink_record *r)
{
	rd_kafka_headers_t *headers;

	if (r->header_count == 0)
		return 0;
	headers = rd_kafka_headers_new(r->header_count);
	*out = headers;
	for (size_t i = 0; i < r->header_count; i++) {
		const struct sink_header *h = &r->headers[i];

		if (rd_kafka_header_add(headers, h->name, -1, h->value.data,
			(ssize_t)h->value.size) != RD_KAFKA_RESP_ERR_NO_ERROR)
			return ERR_NOMEM;
	}
	return 0;
}

/* librdkafka's word on a record that it did not take. */
static int
refusal(struct kafka_producer *p, struct kafka_topic *t, rd_kafka_resp_err_t code)
{
	if (rd_kafka_fatal_error(p->rk, NULL, 0) != RD_KAFKA_RESP_ERR_NO_ERROR)
		return ERR_FATAL;
	if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL)
		return ERR_FULL;
	if (code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
		return ERR_TOOLARGE;
	if (code == RD_KAFKA_RESP_ERR__STATE) {
		p->must_abort = true;
		return ERR_AWAY;
	}
	log_debug(LOG_DELIVERY, "topic %s: %s", t->name, rd_kafka_err2str(code));
	t->is_known = false;
	refresh_topic(p, t, now_monotonic_ms());
	return ERR_REFUSED;
}

/* partition: RD_KAFKA_PARTITION_UA leaves it to place(). */
static int
produce(struct kafka_producer *p, struct kafka_topic *t, int32_t partition,
    const struct sink_record *r, void *tag, rd_kafka_headers_t *headers,
    rd_kafka_resp_err_t *code)
{
	/* By uintptr_t: librdkafka does not write to what it does not call const. */
	rd_kafka_vu_t list[] = {
	    {.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = t->rkt},
	    {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = partition},
	    {.vtype = RD_KAFKA_VTYPE_VALUE,
		.u.mem = {(void *)(uintptr_t)r->value.data, r->value.size}},
	    {.vtype = RD_KAFKA_VTYPE_KEY,
		.u.mem = {(void *)(uintptr_t)r->key.data, r->key.size}},
	    {.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = r->timestamp_ms},
	    {.vtype = RD_KAFKA_VTYPE_MSGFLAGS,
		.u.i = r->copy_value ? RD_KAFKA_MSG_F_COPY : 0},
	    {.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = tag},
	    {.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers},
	};
	size_t count = sizeof(list) / sizeof(list[0]);
	rd_kafka_error_t *error;

	error = rd_kafka_produceva(p->rk, list, headers == NULL ? count - 1 : count);
	if (error == NULL)
		return 0;
	*code = rd_kafka_error_code(error);
	rd_kafka_error_destroy(error);
	return -1;
}

static int
send_record(struct kafka_producer *p, const struct sink_record *r, int32_t partition,
    uint64_t tag)
{
	struct placing now = {.now_ms = p->now_ms, .is_gated = p->is_gated};
	rd_kafka_headers_t *headers = NULL;
	rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
	void *packed = NULL;
	int err;

	if (p->is_going)
		return ERR_FATAL;
	if (p->is_leaving)
		return ERR_FULL;
	err = find_topic(&now.topic, p, r->topic, now.now_ms);
	if (err != 0)
		return err;
	if (p->is_asking)
		err = ask(p, now.topic, now.now_ms);
	else if (now.topic->is_unplaced_out)
		err = ERR_AWAY;
	if (err != 0)
		return err;
	err = pack_tag(&packed, tag);
	if (err == 0)
		err = make_headers(&headers, r);
	if (err != 0)
		goto fail;
	placing = &now;
	err = produce(p, now.topic, partition, r, packed, headers, &code);
	placing = NULL;
	if (err == 0) {
		now.topic->is_unplaced_out = p->is_gated && !now.is_placed;
		return 0;
	}
	err = now.is_refused ? ERR_AWAY : refusal(p, now.topic, code);
fail:
	if (headers != NULL)
		rd_kafka_headers_destroy(headers);
	drop_tag(packed);
	return err;
}

int
kafka_producer_send(struct kafka_producer *p, const struct sink_record *r, uint64_t tag)
{
	return send_record(p, r, RD_KAFKA_PARTITION_UA, tag);
}

int
kafka_producer_send_first(
    struct kafka_producer *p, const struct sink_record *r, uint64_t tag)
{
	return send_record(p, r, 0, tag);
}

void
kafka_producer_poll(struct kafka_producer *p, int wait_ms)
{
	p->now_ms = now_monotonic_ms();
	rd_kafka_poll(p->rk, wait_ms);
}

uint64_t
kafka_producer_report(const struct kafka_producer *p, const rd_kafka_message_t *m)
{
	struct kafka_topic *t = rd_kafka_topic_opaque(m->rkt);

	if (is_unknown(m->err))
		t->is_known = false;
	t->is_unplaced_out = false;
	t->used_at_ms = p->now_ms;
	partition_gate_report(
	    &t->gate, m->partition, m->err == RD_KAFKA_RESP_ERR_NO_ERROR, p->now_ms);
	return unpack_tag(m->_private);
}

/* ---- from the beginning to the end ---- */

int
kafka_producer_open(struct kafka_producer **out, rd_kafka_conf_t *conf, bool is_gated,
    int fd, void *user)
{
	static const uint64_t one = 1;
	struct kafka_producer *p = calloc(1, sizeof(*p));
	char why[512];

	*out = NULL;
	if (p == NULL) {
		rd_kafka_conf_destroy(conf);
		return ERR_NOMEM;
	}
	p->is_gated = is_gated;
	p->now_ms = now_monotonic_ms();
	p->user = user;
	rd_kafka_conf_set_opaque(conf, p);
	kafka_resolver_use(conf);
	kafka_backoff_use(&p->backoff, conf);
	rd_kafka_conf_set_connect_cb(conf, connect_broker);
	p->hints = kafka_conf_hints(conf);
	p->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
	if (p->rk == NULL) {
		log_error(LOG_LIFECYCLE, "kafka: %s", why);
		rd_kafka_conf_destroy(conf);
		kafka_backoff_fini(&p->backoff);
		free(p);
		return ERR_FATAL;
	}
	(void)rd_kafka_set_log_queue(p->rk, NULL); /* cannot fail: log.queue is set */
	p->queue = rd_kafka_queue_get_main(p->rk);
	rd_kafka_queue_io_event_enable(p->queue, fd, &one, sizeof(one));
	*out = p;
	return 0;
}

bool
kafka_producer_may_leave(struct kafka_producer *p, int64_t now_ms)
{
	if (p->is_going)
		return false;
	if (p->looked_at_ms == 0 || now_ms - p->looked_at_ms >= LOOK_MS) {
		p->is_leaving = p->looked_at_ms != 0 &&
				kafka_topics_are_too_many(&p->topics, now_ms);
		p->looked_at_ms = now_ms;
	} else if (now_ms - p->looked_at_ms >= LEAVE_MS) {
		p->is_leaving = false;
	}
	return p->is_leaving && rd_kafka_outq_len(p->rk) == 0;
}

bool
kafka_producer_give_back(struct kafka_producer *p, int64_t grace_ms, int64_t limit_ms)
{
	int64_t start_ms = now_monotonic_ms();
	int64_t spent_ms = 0;

	p->is_going = true;
	while (rd_kafka_outq_len(p->rk) > 0 && spent_ms < limit_ms) {
		int what = RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_NON_BLOCKING;

		/* What lands meanwhile need not be sent twice. */
		if (spent_ms >= grace_ms)
			what |= RD_KAFKA_PURGE_F_INFLIGHT;
		(void)rd_kafka_purge(p->rk, what);
		kafka_producer_poll(p, TURN_MS);
		spent_ms = now_monotonic_ms() - start_ms;
	}
	return rd_kafka_outq_len(p->rk) == 0;
}

bool
kafka_producer_close(struct kafka_producer *p)
{
	if (!kafka_resolver_close(&p->resolver))
		return false;
	rd_kafka_queue_io_event_enable(p->queue, -1, NULL, 0);
	rd_kafka_queue_destroy(p->queue);
	kafka_topics_fini(&p->topics);
	rd_kafka_destroy(p->rk);
	kafka_backoff_fini(&p->backoff);
	free(p);
	return true;
}
