/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hops make FILE COUNT
 *     a file with room for COUNT messages, for hops_watch.so
 * hops mqtt FILE FIRST COUNT RATE PORT
 * hops kafka FILE FIRST COUNT RATE BOOTSTRAP TOPIC
 *     send COUNT messages of 200 bytes, RATE a second, by MQTT with QoS 1, or by an
 *     idempotent producer with the key and the header that the gateway gives them; wait
 *     until the delivery reports of all are noted
 * hops report FILE FIRST COUNT
 *     of each leg of the way, and of each place from the start on: NAME, mean, median,
 *     99th percentile in ms, and of how many
 *
 * They are sent when they are due, one by one, and FIRST to FIRST + COUNT are their rows
 * in FILE. Both ways have the same loop: it sleeps in ppoll(2) until the next is due or
 * the library has something for it.
 *
 * Failure modes: what does not arrive within a minute after the last was sent: exit 1.
 */
#include "hops.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <mosquitto.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DEVICES       100
#define PAYLOAD_BYTES 200
#define TOPIC_BYTES   32
#define LEAD_NS       200000000   /* between being connected and the first */
#define LIMIT_NS      60000000000 /* without progress */
#define LOOK_NS       10000000    /* has the last arrived? */
/* As long as what the gateway says of each. */
#define HEADER "bench/00000000-0000-4000-8000-000000000000/1234567/1790000000000"

struct feed {
	struct hops_row *rows;
	size_t first, count;
	double rate;
	const char *topic;      /* of Kafka */
	struct mosquitto *mosq; /* or */
	rd_kafka_t *rk;
	int fd;
	uint32_t state; /* of the payloads */
	char payload[PAYLOAD_BYTES + 1];
	char topics[DEVICES][TOPIC_BYTES];
};

static void
die(const char *what, const char *why)
{
	fprintf(stderr, "hops: %s: %s\n", what, why);
	exit(EXIT_FAILURE);
}

static int64_t
now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- the file ---- */

static int
make(const char *path, size_t count)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || ftruncate(fd, (off_t)(count * sizeof(struct hops_row))) != 0)
		die(path, strerror(errno));
	(void)close(fd);
	return EXIT_SUCCESS;
}

static struct hops_row *
map(const char *path, size_t first, size_t count)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct stat st;
	void *rows;

	if (fd < 0 || fstat(fd, &st) != 0)
		die(path, strerror(errno));
	if ((size_t)st.st_size / sizeof(struct hops_row) < first + count)
		die(path, "it has too few rows");
	rows =
	    mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (rows == MAP_FAILED)
		die(path, strerror(errno));
	(void)close(fd);
	return rows;
}

/* ---- by MQTT ---- */

static void
connect_mqtt(struct feed *f, int port)
{
	int rc;

	(void)mosquitto_lib_init(); /* fails on Windows alone */
	f->mosq = mosquitto_new(NULL, true, NULL);
	if (f->mosq == NULL)
		die("mosquitto_new", strerror(errno));
	(void)mosquitto_int_option(f->mosq, MOSQ_OPT_TCP_NODELAY, 1);
	(void)mosquitto_max_inflight_messages_set(f->mosq, 0);
	rc = mosquitto_connect(f->mosq, "127.0.0.1", port, 60);
	/* CONNACK: what is published before it would be queued. */
	while (rc == MOSQ_ERR_SUCCESS && mosquitto_want_write(f->mosq))
		rc = mosquitto_loop(f->mosq, 100, 1);
	if (rc == MOSQ_ERR_SUCCESS)
		rc = mosquitto_loop(f->mosq, 1000, 1);
	if (rc != MOSQ_ERR_SUCCESS)
		die("connecting to the broker", mosquitto_strerror(rc));
	f->fd = mosquitto_socket(f->mosq);
}

static void
send_mqtt(struct feed *f, size_t device)
{
	char topic[TOPIC_BYTES + 2];
	int rc;

	(void)snprintf(topic, sizeof(topic), "%s", f->topics[device]);
	rc = mosquitto_publish(
	    f->mosq, NULL, topic, PAYLOAD_BYTES, f->payload, 1, false);
	if (rc != MOSQ_ERR_SUCCESS)
		die("publishing", mosquitto_strerror(rc));
}

static void
serve_mqtt(struct feed *f)
{
	int rc = mosquitto_loop(f->mosq, 0, 1);

	if (rc != MOSQ_ERR_SUCCESS)
		die("the broker", mosquitto_strerror(rc));
}

/* ---- straight to Kafka ---- */

static void
on_report(rd_kafka_t *rk, const rd_kafka_message_t *m, void *context)
{
	(void)rk;
	(void)context;
	/* When it came has been noted on the way here. */
	if (m->err != RD_KAFKA_RESP_ERR_NO_ERROR)
		die("Kafka", rd_kafka_err2str(m->err));
}

static void
connect_kafka(struct feed *f, const char *bootstrap)
{
	static const char *const settings[][2] = {{"enable.idempotence", "true"},
	    {"enable.gapless.guarantee", "true"}, {"acks", "all"},
	    {"compression.type", "none"}, {"message.timeout.ms", "0"},
	    {"linger.ms", "5"}};
	static const uint64_t one = 1;
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	const struct rd_kafka_metadata *m = NULL;
	rd_kafka_resp_err_t rc;
	rd_kafka_topic_t *rkt;
	char why[512] = "";

	(void)rd_kafka_conf_set(conf, "bootstrap.servers", bootstrap, NULL, 0);
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
		if (rd_kafka_conf_set(conf, settings[i][0], settings[i][1], why,
			sizeof(why)) != RD_KAFKA_CONF_OK)
			die(settings[i][0], why);
	rd_kafka_conf_set_dr_msg_cb(conf, on_report);
	f->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
	if (f->rk == NULL)
		die("rd_kafka_new", why);
	rkt = rd_kafka_topic_new(f->rk, f->topic, NULL);
	rc = rd_kafka_metadata(f->rk, 0, rkt, &m, 10000);
	if (rc != RD_KAFKA_RESP_ERR_NO_ERROR)
		die("Kafka", rd_kafka_err2str(rc));
	rd_kafka_metadata_destroy(m);
	rd_kafka_topic_destroy(rkt);
	f->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	rd_kafka_queue_io_event_enable(
	    rd_kafka_queue_get_main(f->rk), f->fd, &one, sizeof(one));
}

static void
send_kafka(struct feed *f, size_t device)
{
	char *key = f->topics[device];
	rd_kafka_resp_err_t rc = rd_kafka_producev(f->rk, RD_KAFKA_V_TOPIC(f->topic),
	    RD_KAFKA_V_KEY(key, strlen(key)),
	    RD_KAFKA_V_VALUE(f->payload, PAYLOAD_BYTES),
	    RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
	    RD_KAFKA_V_HEADER("tidegate", HEADER, sizeof(HEADER) - 1), RD_KAFKA_V_END);

	if (rc != RD_KAFKA_RESP_ERR_NO_ERROR)
		die("producing", rd_kafka_err2str(rc));
}

static void
serve_kafka(struct feed *f)
{
	uint64_t count;

	/* Non-blocking: one read takes all. It fails only if there was nothing. */
	if (read(f->fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		die("eventfd", strerror(errno));
	(void)rd_kafka_poll(f->rk, 0);
}

/* ---- sending ---- */

static void
prepare(struct feed *f)
{
	for (size_t i = 0; i < DEVICES; i++)
		(void)snprintf(f->topics[i], TOPIC_BYTES, "plant/dev-%03zu", i);
	f->state = 1;
}

/* Text that does not compress as if it were all the same, and no two are alike. */
static void
make_payload(struct feed *f, size_t row)
{
	int head = snprintf(
	    f->payload, sizeof(f->payload), "%s%0*zu", HOPS_MARK, HOPS_DIGITS, row);

	for (size_t i = (size_t)head; i < PAYLOAD_BYTES; i++) {
		f->state = f->state * 1664525 + 1013904223;
		f->payload[i] = (char)('a' + (f->state >> 24) % 26);
	}
}

static void
send_one(struct feed *f, size_t row)
{
	make_payload(f, row);
	f->rows[row].at_ns[HOP_PUBLISHED] = now_ns();
	if (f->mosq != NULL) {
		send_mqtt(f, row % DEVICES);
		return;
	}
	f->rows[row].at_ns[HOP_PRODUCED] = f->rows[row].at_ns[HOP_PUBLISHED];
	send_kafka(f, row % DEVICES);
}

/* Whatever comes meanwhile is seen to at once. */
static void
wait_until(struct feed *f, int64_t until_ns)
{
	int64_t left_ns = until_ns - now_ns();

	do {
		struct pollfd fd = {.fd = f->fd, .events = POLLIN};
		struct timespec t = {0};

		if (left_ns > 0)
			t = (struct timespec){.tv_sec = left_ns / 1000000000,
			    .tv_nsec = left_ns % 1000000000};
		if (ppoll(&fd, 1, &t, NULL) > 0) {
			if (f->mosq != NULL)
				serve_mqtt(f);
			else
				serve_kafka(f);
		}
		left_ns = until_ns - now_ns();
	} while (left_ns > 0);
}

static void
wait_for_all(struct feed *f)
{
	int64_t limit_ns = now_ns() + LIMIT_NS;
	size_t row = f->first;

	while (row < f->first + f->count && now_ns() < limit_ns) {
		if (f->rows[row].at_ns[HOP_ACKED] != 0)
			row++;
		else
			wait_until(f, now_ns() + LOOK_NS);
	}
	if (row < f->first + f->count)
		die("waiting", "not all were delivered");
}

static int
feed(struct feed *f)
{
	int64_t start_ns;

	(void)prctl(PR_SET_TIMERSLACK, 1); /* or it would come 50 us late */
	start_ns = now_ns() + LEAD_NS;
	for (size_t i = 0; i < f->count; i++) {
		wait_until(f, start_ns + (int64_t)((double)i * 1e9 / f->rate));
		send_one(f, f->first + i);
	}
	wait_for_all(f);
	return EXIT_SUCCESS;
}

/* ---- what came of it ---- */

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* From one place to another, of those that came to both. */
static void
report_leg(const struct hops_row *rows, size_t count, const char *name, enum hop from,
    enum hop to)
{
	double *ms = calloc(count, sizeof(*ms));
	double sum = 0;
	size_t n = 0;

	if (ms == NULL)
		die(name, strerror(errno));
	for (size_t i = 0; i < count; i++) {
		const int64_t *at_ns = rows[i].at_ns;

		if (at_ns[from] == 0 || at_ns[to] == 0)
			continue;
		ms[n] = (double)(at_ns[to] - at_ns[from]) / 1e6;
		sum += ms[n++];
	}
	qsort(ms, n, sizeof(*ms), compare);
	if (n > 0)
		printf("%s\t%.3f\t%.3f\t%.3f\t%zu\n", name, sum / (double)n, ms[n / 2],
		    ms[n * 99 / 100], n);
	free(ms);
}

static int
report(const struct hops_row *rows, size_t count)
{
	static const struct {
		const char *name;
		enum hop from, to;
	} legs[] = {
	    {"publish-arrive", HOP_PUBLISHED, HOP_ARRIVED},
	    {"arrive-commit", HOP_ARRIVED, HOP_COMMITTED},
	    {"commit-puback", HOP_COMMITTED, HOP_PUBACK},
	    {"commit-wake", HOP_COMMITTED, HOP_WOKEN},
	    {"wake-produce", HOP_WOKEN, HOP_PRODUCED},
	    {"produce-wire", HOP_PRODUCED, HOP_WIRE},
	    {"wire-ack", HOP_WIRE, HOP_ACKED},
	    {"to-commit", HOP_PUBLISHED, HOP_COMMITTED},
	    {"to-puback", HOP_PUBLISHED, HOP_PUBACK},
	    {"to-wire", HOP_PUBLISHED, HOP_WIRE},
	    {"to-ack", HOP_PUBLISHED, HOP_ACKED},
	};
	size_t commit_count = 0;
	int64_t last_ns = 0;

	for (size_t i = 0; i < sizeof(legs) / sizeof(legs[0]); i++)
		report_leg(rows, count, legs[i].name, legs[i].from, legs[i].to);
	/* The broker hands them on in order, so equal times are neighbours. */
	for (size_t i = 0; i < count; i++) {
		commit_count += rows[i].at_ns[HOP_COMMITTED] != last_ns;
		last_ns = rows[i].at_ns[HOP_COMMITTED];
	}
	printf("commits\t%zu\n", commit_count);
	return EXIT_SUCCESS;
}

int
main(int argc, char *argv[])
{
	static struct feed f;
	bool is_mqtt = argc == 7 && strcmp(argv[1], "mqtt") == 0;
	bool is_kafka = argc == 8 && strcmp(argv[1], "kafka") == 0;

	if (argc == 4 && strcmp(argv[1], "make") == 0)
		return make(argv[2], strtoul(argv[3], NULL, 10));
	if (argc < 5 || !(is_mqtt || is_kafka || strcmp(argv[1], "report") == 0)) {
		fprintf(stderr,
		    "usage: hops make FILE COUNT\n"
		    "       hops mqtt FILE FIRST COUNT RATE PORT\n"
		    "       hops kafka FILE FIRST COUNT RATE BOOTSTRAP TOPIC\n"
		    "       hops report FILE FIRST COUNT\n");
		return 2;
	}
	f.first = strtoul(argv[3], NULL, 10);
	f.count = strtoul(argv[4], NULL, 10);
	f.rows = map(argv[2], f.first, f.count);
	if (!is_mqtt && !is_kafka)
		return report(f.rows + f.first, f.count);
	f.rate = strtod(argv[5], NULL);
	prepare(&f);
	if (is_mqtt) {
		connect_mqtt(&f, (int)strtol(argv[6], NULL, 10));
	} else {
		f.topic = argv[7];
		connect_kafka(&f, argv[6]);
	}
	return feed(&f);
}
