/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A producer and its topics.
 *
 * Invariants: what send() took is reported once before the producer is destroyed. In
 * threads of librdkafka only resolve() and place() run; they touch nothing but atomics
 * and, in place(), their arguments.
 *
 * Failure modes: a name server that does not answer holds a thread of librdkafka in
 * getaddrinfo(3) for ten seconds and more, and rd_kafka_destroy() and a blocking purge
 * would wait for it: so threads in there are counted. What such a thread has in its
 * queue is reported when it is back.
 */
#include "kafka_producer.h"

#include <netdb.h>
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

/* In a thread of librdkafka. Counted, so that nobody waits for a dumb name server. */
static int
resolve(const char *node, const char *service, const struct addrinfo *hints,
    struct addrinfo **res, void *opaque)
{
	struct kafka_producer *p = opaque;
	int rc = EAI_AGAIN;

	if (node == NULL && service == NULL) {
		freeaddrinfo(*res);
		return 0;
	}
	atomic_fetch_add(&p->resolving, 1);
	if (!atomic_load(&p->is_closed))
		rc = getaddrinfo(node, service, hints, res);
	atomic_fetch_sub(&p->resolving, 1);
	return rc;
}

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
refusal(struct kafka_producer *p, struct kafka_topic *t, rd_kafka_resp_err_t code,
    int64_t now_ms)
{
	if (rd_kafka_fatal_error(p->rk, NULL, 0) != RD_KAFKA_RESP_ERR_NO_ERROR)
		return ERR_FATAL;
	if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL)
		return ERR_FULL;
	if (code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
		return ERR_TOOLARGE;
	log_debug(LOG_DELIVERY, "topic %s: %s", t->name, rd_kafka_err2str(code));
	refresh_topic(p, t, now_ms);
	return ERR_REFUSED;
}

static int
produce(struct kafka_producer *p, struct kafka_topic *t, const struct sink_record *r,
    void *tag, rd_kafka_headers_t *headers, rd_kafka_resp_err_t *code)
{
	/* By uintptr_t: librdkafka does not write to what it does not call const. */
	rd_kafka_vu_t list[] = {
	    {.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = t->rkt},
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

int
kafka_producer_send(struct kafka_producer *p, const struct sink_record *r, uint64_t tag)
{
	struct placing now = {.now_ms = now_monotonic_ms(), .is_gated = p->is_gated};
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
	if (now.topic->is_unplaced_out)
		return ERR_AWAY;
	err = pack_tag(&packed, tag);
	if (err == 0)
		err = make_headers(&headers, r);
	if (err != 0)
		goto fail;
	placing = &now;
	err = produce(p, now.topic, r, packed, headers, &code);
	placing = NULL;
	if (err == 0) {
		now.topic->is_unplaced_out = p->is_gated && !now.is_placed;
		return 0;
	}
	err = now.is_refused ? ERR_AWAY : refusal(p, now.topic, code, now.now_ms);
fail:
	if (headers != NULL)
		rd_kafka_headers_destroy(headers);
	drop_tag(packed);
	return err;
}

uint64_t
kafka_producer_report(const rd_kafka_message_t *m)
{
	struct kafka_topic *t = rd_kafka_topic_opaque(m->rkt);

	t->is_unplaced_out = false;
	partition_gate_report(&t->gate, m->partition,
	    m->err == RD_KAFKA_RESP_ERR_NO_ERROR, now_monotonic_ms());
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
	p->user = user;
	rd_kafka_conf_set_opaque(conf, p);
	rd_kafka_conf_set_resolve_cb(conf, resolve);
	p->hints = kafka_conf_hints(conf);
	p->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
	if (p->rk == NULL) {
		log_error(LOG_LIFECYCLE, "kafka: %s", why);
		rd_kafka_conf_destroy(conf);
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
		rd_kafka_poll(p->rk, TURN_MS);
		spent_ms = now_monotonic_ms() - start_ms;
	}
	return rd_kafka_outq_len(p->rk) == 0;
}

bool
kafka_producer_close(struct kafka_producer *p)
{
	atomic_store(&p->is_closed, true);
	if (atomic_load(&p->resolving) > 0)
		return false;
	rd_kafka_queue_io_event_enable(p->queue, -1, NULL, 0);
	rd_kafka_queue_destroy(p->queue);
	kafka_topics_fini(&p->topics);
	rd_kafka_destroy(p->rk);
	free(p);
	return true;
}
