/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publish numbered messages and keep a ledger of what the broker has acknowledged.
 *
 * Invariant: a device's numbers are published in order, and after a lost connection
 * everything without a PUBACK is published again, in order, before anything new. So a
 * number that is acknowledged was accepted, and the first arrivals are in order.
 *
 * Failure modes: the broker goes away: it is tried again until it is back. A PUBACK
 * that says no: exit 1, for then the ledger would prove nothing.
 */
#include <errno.h>
#include <inttypes.h>
#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ledger.h"

#define WINDOW_MAX 20000

struct options {
	const char *host;
	int port;
	const char *ledger;
	const char *prefix;
	size_t devices;
	uint64_t count; /* 0: until SIGTERM */
	double rate; /* messages a second in all; 0: as fast as they are acknowledged */
	size_t size_min;
	size_t size_max;
	size_t window;
	bool properties;
	int protocol; /* 5, or 4 for MQTT 3.1.1 */
};

/* One message without a PUBACK. */
struct pending {
	size_t device;
	uint64_t number;
	bool acked; /* its PUBACK is here, one before it is missing still */
};

struct publisher {
	struct options o;
	struct ledger ledger;
	struct mosquitto *mosq;
	bool is_connected;
	bool is_refused;
	struct pending *ring; /* o.window of them; [head, tail) counted without end */
	uint64_t head;
	uint64_t again; /* from here to tail: to be published again, before new ones */
	uint64_t tail;
	uint64_t by_mid[65536]; /* the place in ring, counted without end */
	uint64_t made;          /* new messages */
	uint64_t unheard;       /* acknowledged, and nobody has subscribed */
	size_t next_device;
	char *payload;
};

static volatile sig_atomic_t stop_asked;

static void
on_signal(int number)
{
	(void)number;
	stop_asked = 1;
}

static double
seconds_now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void
on_connect(struct mosquitto *mosq, void *context, int reason, int flags,
    const mosquitto_property *properties)
{
	struct publisher *p = context;

	(void)mosq;
	(void)flags;
	(void)properties;
	p->is_connected = reason == 0;
	if (reason != 0)
		(void)fprintf(stderr, "connect: %s\n", mosquitto_reason_string(reason));
}

static void
on_publish(struct mosquitto *mosq, void *context, int mid, int reason,
    const mosquitto_property *properties)
{
	struct publisher *p = context;

	(void)mosq;
	(void)properties;
	if (reason >= 0x80) {
		(void)fprintf(stderr, "PUBACK: %s\n", mosquitto_reason_string(reason));
		p->is_refused = true;
		return;
	}
	if (reason == MQTT_RC_NO_MATCHING_SUBSCRIBERS)
		p->unheard++;
	p->ring[p->by_mid[mid] % p->o.window].acked = true;
	while (p->head < p->again && p->ring[p->head % p->o.window].acked) {
		const struct pending *done = &p->ring[p->head % p->o.window];

		p->ledger.devices[done->device].acked = done->number;
		p->head++;
	}
}

/* Between min and max, the same each time for the same message. */
static size_t
size_of(const struct options *o, size_t device, uint64_t number)
{
	uint64_t hash = (number * 1000003 + device) * 0x9e3779b97f4a7c15U;

	return o->size_min + (size_t)(hash >> 33) % (o->size_max - o->size_min + 1);
}

static int
property_add(mosquitto_property **list, const char *name, const char *value)
{
	return mosquitto_property_add_string_pair(
	    list, MQTT_PROP_USER_PROPERTY, name, value);
}

/* Properties as ledger_consume -u looks for them: one name twice, in this order. */
static int
properties_make(mosquitto_property **list, size_t device, uint64_t number)
{
	char text[32];
	int rc;

	(void)snprintf(text, sizeof text, "%zu", device);
	rc = property_add(list, "ledger-device", text);
	(void)snprintf(text, sizeof text, "%" PRIu64, number);
	if (rc == MOSQ_ERR_SUCCESS)
		rc = property_add(list, "ledger-number", text);
	if (rc == MOSQ_ERR_SUCCESS)
		rc = property_add(list, "ledger-number", "again");
	return rc;
}

/* Publish the message at this place of the ring. */
static int
send_one(struct publisher *p, uint64_t place)
{
	struct pending *m = &p->ring[place % p->o.window];
	size_t size = size_of(&p->o, m->device, m->number);
	mosquitto_property *properties = NULL;
	char topic[LEDGER_TOPIC_MAX];
	int rc = MOSQ_ERR_SUCCESS;
	int mid = 0;

	ledger_topic(&p->ledger, m->device, topic);
	ledger_payload_make(p->payload, size, m->device, m->number);
	if (p->o.properties)
		rc = properties_make(&properties, m->device, m->number);
	if (rc == MOSQ_ERR_SUCCESS)
		rc = mosquitto_publish_v5(
		    p->mosq, &mid, topic, (int)size, p->payload, 1, false, properties);
	mosquitto_property_free_all(&properties);
	if (rc == MOSQ_ERR_SUCCESS) {
		p->by_mid[mid] = place;
		m->acked = false;
	}
	return rc;
}

static void
make_one(struct publisher *p)
{
	struct pending *m = &p->ring[p->tail % p->o.window];
	struct ledger_device *d = &p->ledger.devices[p->next_device];

	d->published++;
	m->device = p->next_device;
	m->number = d->published;
	m->acked = false;
	p->next_device = (p->next_device + 1) % p->ledger.count;
	p->made++;
	p->tail++;
}

/* Publish what is due: first what has to be repeated, then up to due new ones. */
static int
send_due(struct publisher *p, uint64_t due)
{
	int rc = MOSQ_ERR_SUCCESS;

	while (p->is_connected && rc == MOSQ_ERR_SUCCESS) {
		if (p->again == p->tail) {
			if (p->made >= due || p->tail - p->head >= p->o.window)
				break;
			make_one(p);
		}
		/* The callback may come from inside: it must find again moved. */
		p->again++;
		rc = send_one(p, p->again - 1);
		if (rc != MOSQ_ERR_SUCCESS)
			p->again--;
	}
	return rc;
}

/* A new connection without a session: libmosquitto repeats nothing, we do. */
static int
connect_again(struct publisher *p)
{
	struct timespec pause = {.tv_nsec = 50000000};

	mosquitto_destroy(p->mosq);
	p->is_connected = false;
	p->again = p->head;
	p->mosq = mosquitto_new(NULL, true, p);
	if (p->mosq == NULL)
		return MOSQ_ERR_NOMEM;
	(void)mosquitto_int_option(p->mosq, MOSQ_OPT_PROTOCOL_VERSION, p->o.protocol);
	(void)mosquitto_int_option(p->mosq, MOSQ_OPT_TCP_NODELAY, 1);
	(void)mosquitto_int_option(p->mosq, MOSQ_OPT_SEND_MAXIMUM, (int)p->o.window);
	mosquitto_connect_v5_callback_set(p->mosq, on_connect);
	mosquitto_publish_v5_callback_set(p->mosq, on_publish);
	while (
	    mosquitto_connect(p->mosq, p->o.host, p->o.port, 60) != MOSQ_ERR_SUCCESS) {
		(void)nanosleep(&pause, NULL);
		if (stop_asked != 0)
			return MOSQ_ERR_NO_CONN;
	}
	return MOSQ_ERR_SUCCESS;
}

static uint64_t
due_now(const struct publisher *p, double since_s)
{
	uint64_t due = UINT64_MAX;

	if (stop_asked != 0)
		return p->made;
	if (p->o.rate > 0)
		due = (uint64_t)((seconds_now() - since_s) * p->o.rate);
	if (p->o.count > 0 && due > p->o.count)
		due = p->o.count;
	return due;
}

static bool
is_done(const struct publisher *p)
{
	bool made_all = p->o.count > 0 && p->made >= p->o.count;

	return (made_all || stop_asked != 0) && p->head == p->tail;
}

/* 0, or -1: refused, or no PUBACKs within a minute of being asked to stop. */
static int
run(struct publisher *p)
{
	double since_s = seconds_now();
	double saved_s = since_s;
	double stop_s = 0;
	int rc = connect_again(p);

	while (!is_done(p)) {
		if (rc == MOSQ_ERR_SUCCESS)
			rc = send_due(p, due_now(p, since_s));
		if (rc == MOSQ_ERR_SUCCESS)
			rc = mosquitto_loop(p->mosq, 5, 1);
		if (p->is_refused)
			return -1;
		if (rc != MOSQ_ERR_SUCCESS) {
			(void)fprintf(
			    stderr, "connection: %s\n", mosquitto_strerror(rc));
			rc = connect_again(p);
		}
		if (seconds_now() - saved_s > 0.5) {
			saved_s = seconds_now();
			(void)ledger_save(&p->ledger, p->o.ledger);
		}
		if (stop_asked != 0 && stop_s <= 0)
			stop_s = seconds_now();
		if (stop_asked != 0 && seconds_now() - stop_s > 60)
			return -1;
	}
	return 0;
}

static void
usage(void)
{
	(void)fprintf(stderr,
	    "usage: ledger_publish -p PORT -l LEDGER [-h HOST] [-t PREFIX] [-d "
	    "DEVICES]\n"
	    "    [-n COUNT] [-r RATE] [-s SIZE[-SIZE]] [-w WINDOW] [-u]\n"
	    "    [-4]: MQTT 3.1.1\n"
	    "A ledger that is there is gone on with.\n");
	exit(2);
}

static void
options_read(struct options *o, int argc, char *argv[])
{
	int c;

	for (c = getopt(argc, argv, "4h:p:l:t:d:n:r:s:w:u"); c != -1;
	     c = getopt(argc, argv, "4h:p:l:t:d:n:r:s:w:u")) {
		switch (c) {
		case '4':
			o->protocol = MQTT_PROTOCOL_V311;
			break;
		case 'h':
			o->host = optarg;
			break;
		case 'p':
			o->port = atoi(optarg);
			break;
		case 'l':
			o->ledger = optarg;
			break;
		case 't':
			o->prefix = optarg;
			break;
		case 'd':
			o->devices = strtoul(optarg, NULL, 10);
			break;
		case 'n':
			o->count = strtoull(optarg, NULL, 10);
			break;
		case 'r':
			o->rate = strtod(optarg, NULL);
			break;
		case 's':
			o->size_max = 0;
			(void)sscanf(optarg, "%zu-%zu", &o->size_min, &o->size_max);
			if (o->size_max < o->size_min)
				o->size_max = o->size_min;
			break;
		case 'w':
			o->window = strtoul(optarg, NULL, 10);
			break;
		case 'u':
			o->properties = true;
			break;
		default:
			usage();
		}
	}
	if (optind != argc || o->port <= 0 || o->ledger == NULL || o->devices == 0 ||
	    o->devices > LEDGER_DEVICES_MAX || o->window == 0 ||
	    o->window > WINDOW_MAX || o->size_min < LEDGER_PAYLOAD_MIN)
		usage();
}

/* What is in the ledger without its PUBACK is published again under the same number. */
static void
ledger_take_up(struct publisher *p)
{
	size_t i;

	if (ledger_load(&p->ledger, p->o.ledger) != 0)
		ledger_init(&p->ledger, p->o.prefix, p->o.devices);
	for (i = 0; i < p->ledger.count; i++) {
		p->ledger.devices[i].published = p->ledger.devices[i].acked;
		if (p->ledger.devices[i].published <
		    p->ledger.devices[p->next_device].published)
			p->next_device = i;
	}
}

int
main(int argc, char *argv[])
{
	static struct publisher p;
	struct sigaction action = {.sa_handler = on_signal};
	int rc;

	p.o = (struct options){.host = "127.0.0.1",
	    .prefix = "t",
	    .devices = 1,
	    .size_min = 200,
	    .size_max = 200,
	    .window = 500,
	    .protocol = MQTT_PROTOCOL_V5};
	options_read(&p.o, argc, argv);
	(void)sigaction(SIGTERM, &action, NULL);
	(void)sigaction(SIGINT, &action, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	p.ring = calloc(p.o.window, sizeof *p.ring);
	p.payload = malloc(p.o.size_max);
	if (p.ring == NULL || p.payload == NULL || mosquitto_lib_init() != 0)
		return 1;
	ledger_take_up(&p);
	rc = run(&p);
	if (ledger_save(&p.ledger, p.o.ledger) != 0) {
		(void)fprintf(stderr, "%s: %s\n", p.o.ledger, strerror(errno));
		rc = -1;
	}
	if (p.unheard > 0)
		(void)fprintf(stderr, "%" PRIu64 " acknowledged without a subscriber\n",
		    p.unheard);
	(void)printf("published %" PRIu64 " acknowledged %" PRIu64 "\n",
	    ledger_published(&p.ledger), ledger_acked(&p.ledger));
	mosquitto_destroy(p.mosq);
	(void)mosquitto_lib_cleanup();
	ledger_fini(&p.ledger);
	free(p.ring);
	free(p.payload);
	return rc == 0 ? 0 : 1;
}
