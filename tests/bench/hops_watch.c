/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded into a program, it notes in the file that TIDEGATE_HOPS names when a message
 * passes; see hops.h. It stands between the program and its libraries, so the program is
 * the one that is shipped, and a producer without a gateway is watched in the very same
 * way. A note costs a look at a clock and a store.
 *
 * Invariant: each call goes on as it came; without the file nothing is noted.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <librdkafka/rdkafka.h>
#include <lmdb.h>
#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "hops.h"

#define MARK_BYTES (sizeof(HOPS_MARK) - 1)
#define RING       65536

/* A function pointer out of a void *, as POSIX wants it to be possible. */
#define NEXT(type, name, ...)             \
	static type (*next)(__VA_ARGS__); \
	if (next == NULL)                 \
	*(void **)(void *)&next = dlsym(RTLD_NEXT, #name)

static struct hops_row *rows;
static size_t row_count;

static void (*take_message)(struct mosquitto *, void *,
    const struct mosquitto_message *, const mosquitto_property *);
static void (*take_report)(rd_kafka_t *, const rd_kafka_message_t *, void *);

/* What tidegate-ingest has read, in order: counted without end. It has one thread. */
static struct {
	size_t row[RING];
	size_t arrived, committed, acked;
} read_rows;

static _Thread_local int64_t woken_ns;

__attribute__((constructor)) static void
map_rows(void)
{
	const char *path = getenv("TIDEGATE_HOPS");
	struct stat st;
	void *map;
	int fd;

	if (path == NULL)
		return;
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0) {
		map = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		    fd, 0);
		if (map != MAP_FAILED) {
			rows = map;
			row_count = (size_t)st.st_size / sizeof(*rows);
		}
	}
	(void)close(fd);
}

static int64_t
now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* The row that a payload names; row_count: none. */
static size_t
row_of(const void *data, size_t size)
{
	const char *text = data;
	size_t row = 0;

	if (size < MARK_BYTES + HOPS_DIGITS || memcmp(text, HOPS_MARK, MARK_BYTES) != 0)
		return row_count;
	for (size_t i = MARK_BYTES; i < MARK_BYTES + HOPS_DIGITS; i++) {
		if (text[i] < '0' || text[i] > '9')
			return row_count;
		row = row * 10 + (size_t)(text[i] - '0');
	}
	return row < row_count ? row : row_count;
}

/* The first time counts. */
static void
note(size_t row, enum hop hop, int64_t at_ns)
{
	if (row < row_count && rows[row].at_ns[hop] == 0)
		rows[row].at_ns[hop] = at_ns;
}

/* ---- tidegate-ingest ---- */

static void
on_message(struct mosquitto *mosq, void *context, const struct mosquitto_message *m,
    const mosquitto_property *list)
{
	size_t row = row_of(m->payload, (size_t)m->payloadlen);

	if (row < row_count) {
		note(row, HOP_ARRIVED, now_ns());
		read_rows.row[read_rows.arrived++ % RING] = row;
	}
	take_message(mosq, context, m, list);
}

void
mosquitto_message_v5_callback_set(struct mosquitto *mosq,
    void (*callback)(struct mosquitto *, void *, const struct mosquitto_message *,
	const mosquitto_property *))
{
	NEXT(void, mosquitto_message_v5_callback_set, struct mosquitto *,
	    void (*)(struct mosquitto *, void *, const struct mosquitto_message *,
		const mosquitto_property *));

	if (rows == NULL || callback == NULL) {
		next(mosq, callback);
		return;
	}
	take_message = callback;
	next(mosq, on_message);
}

int
mdb_txn_commit(MDB_txn *txn)
{
	NEXT(int, mdb_txn_commit, MDB_txn *);
	int rc = next(txn);
	int64_t at_ns = now_ns();

	if (rc != 0)
		return rc;
	for (; read_rows.committed < read_rows.arrived; read_rows.committed++)
		note(read_rows.row[read_rows.committed % RING], HOP_COMMITTED, at_ns);
	return rc;
}

/* Looked up: not every program that has this preloaded has libmosquitto. */
static bool
wants_write(struct mosquitto *mosq)
{
	NEXT(bool, mosquitto_want_write, struct mosquitto *);

	return next(mosq);
}

int
mosquitto_loop_write(struct mosquitto *mosq, int max_packets)
{
	NEXT(int, mosquitto_loop_write, struct mosquitto *, int);
	int rc = next(mosq, max_packets);
	int64_t at_ns = now_ns();

	/* As long as something waits, it is not known which PUBACKs are out. */
	if (rc != MOSQ_ERR_SUCCESS || wants_write(mosq))
		return rc;
	for (; read_rows.acked < read_rows.committed; read_rows.acked++)
		note(read_rows.row[read_rows.acked % RING], HOP_PUBACK, at_ns);
	return rc;
}

/* ---- tidegate-forward, and a producer without a gateway ---- */

int
poll(struct pollfd *fds, nfds_t count, int timeout)
{
	NEXT(int, poll, struct pollfd *, nfds_t, int);
	int rc = next(fds, count, timeout);

	woken_ns = now_ns();
	return rc;
}

rd_kafka_error_t *
rd_kafka_produceva(rd_kafka_t *rk, const rd_kafka_vu_t *list, size_t count)
{
	NEXT(rd_kafka_error_t *, rd_kafka_produceva, rd_kafka_t *,
	    const rd_kafka_vu_t *, size_t);

	for (size_t i = 0; i < count; i++) {
		size_t row;

		if (list[i].vtype != RD_KAFKA_VTYPE_VALUE)
			continue;
		row = row_of(list[i].u.mem.ptr, list[i].u.mem.size);
		if (row < row_count) {
			note(row, HOP_WOKEN, woken_ns);
			note(row, HOP_PRODUCED, now_ns());
		}
	}
	return next(rk, list, count);
}

/* librdkafka writes so where there is no TLS. Uncompressed values can be seen. */
ssize_t
sendmsg(int fd, const struct msghdr *message, int flags)
{
	NEXT(ssize_t, sendmsg, int, const struct msghdr *, int);
	int64_t at_ns = now_ns();

	for (size_t i = 0; rows != NULL && i < message->msg_iovlen; i++) {
		const char *p = message->msg_iov[i].iov_base;
		const char *end = p + message->msg_iov[i].iov_len;

		for (;;) {
			p = memmem(p, (size_t)(end - p), HOPS_MARK, MARK_BYTES);
			if (p == NULL)
				break;
			note(row_of(p, (size_t)(end - p)), HOP_WIRE, at_ns);
			p += MARK_BYTES;
		}
	}
	return next(fd, message, flags);
}

static void
on_report(rd_kafka_t *rk, const rd_kafka_message_t *m, void *context)
{
	if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR)
		note(row_of(m->payload, m->len), HOP_ACKED, now_ns());
	take_report(rk, m, context);
}

/* The first producer alone: that is the one with the records. */
void
rd_kafka_conf_set_dr_msg_cb(rd_kafka_conf_t *conf,
    void (*callback)(rd_kafka_t *, const rd_kafka_message_t *, void *))
{
	NEXT(void, rd_kafka_conf_set_dr_msg_cb, rd_kafka_conf_t *,
	    void (*)(rd_kafka_t *, const rd_kafka_message_t *, void *));

	if (rows == NULL || (take_report != NULL && take_report != callback)) {
		next(conf, callback);
		return;
	}
	take_report = callback;
	next(conf, on_report);
}
