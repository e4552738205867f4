/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drain_null -p PORT -i CLIENT -t FILTER -n COUNT [-r RECEIVE_MAXIMUM] [-b BATCH]
 *
 * Takes COUNT messages from a broker by the loop of tidegate-ingest (threaded_set, read
 * up to BATCH, then write), with nothing where the journal is, and prints the seconds
 * from its start to the last PUBACK, and those of the processor that the whole process
 * took. COUNT 0: subscribe, and end.
 */
#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"

struct drain {
	const char *filter;
	unsigned long count;
	unsigned long taken;
	bool is_subscribed;
};

static void
must(int rc, const char *what)
{
	if (rc == MOSQ_ERR_SUCCESS)
		return;
	fprintf(stderr, "%s: %s\n", what, mosquitto_strerror(rc));
	exit(EXIT_FAILURE);
}

static void
on_connect(
    struct mosquitto *m, void *context, int rc, int flags, const mosquitto_property *p)
{
	struct drain *d = context;

	(void)flags;
	(void)p;
	must(rc, "CONNACK");
	must(mosquitto_subscribe_v5(m, NULL, d->filter, 1, 0, NULL), "subscribe");
}

static void
on_subscribe(struct mosquitto *m, void *context, int mid, int count, const int *qos,
    const mosquitto_property *p)
{
	struct drain *d = context;

	(void)m;
	(void)mid;
	(void)count;
	(void)qos;
	(void)p;
	d->is_subscribed = true;
}

static void
on_message(struct mosquitto *m, void *context, const struct mosquitto_message *message,
    const mosquitto_property *p)
{
	struct drain *d = context;

	(void)m;
	(void)message;
	(void)p;
	d->taken++;
}

static struct mosquitto *
open_client(struct drain *d, const char *id, int port, int receive_maximum)
{
	struct mosquitto *m;
	mosquitto_property *properties = NULL;

	(void)mosquitto_lib_init();
	m = mosquitto_new(id, false, d);
	if (m == NULL)
		must(MOSQ_ERR_NOMEM, "mosquitto_new");
	must(mosquitto_int_option(m, MOSQ_OPT_PROTOCOL_VERSION, MQTT_PROTOCOL_V5),
	    "option");
	must(mosquitto_int_option(m, MOSQ_OPT_RECEIVE_MAXIMUM, receive_maximum),
	    "option");
	must(mosquitto_int_option(m, MOSQ_OPT_TCP_NODELAY, 1), "option");
	must(mosquitto_threaded_set(m, true), "threaded_set");
	mosquitto_connect_v5_callback_set(m, on_connect);
	mosquitto_subscribe_v5_callback_set(m, on_subscribe);
	mosquitto_message_v5_callback_set(m, on_message);
	must(mosquitto_property_add_int32(
		 &properties, MQTT_PROP_SESSION_EXPIRY_INTERVAL, UINT32_MAX),
	    "property");
	must(mosquitto_connect_bind_v5(m, "127.0.0.1", port, 60, NULL, properties),
	    "connect");
	mosquitto_property_free_all(&properties);
	return m;
}

/* Read until a batch is full or there is nothing more, then write the PUBACKs. */
static void
turn(struct mosquitto *m, struct drain *d, unsigned long batch)
{
	struct pollfd fd = {.fd = mosquitto_socket(m), .events = POLLIN};
	unsigned long before;

	if (mosquitto_want_write(m))
		fd.events |= POLLOUT;
	if (poll(&fd, 1, 1000) < 0)
		return;
	for (unsigned long i = 0; i < batch; i++) {
		before = d->taken;
		must(mosquitto_loop_read(m, 1), "read");
		if (d->taken == before)
			break;
	}
	if (mosquitto_want_write(m))
		must(mosquitto_loop_write(m, 1), "write");
}

/* A close with unread bytes would make the broker forget the last PUBACKs. */
static void
leave(struct mosquitto *m)
{
	char rest[4096];
	int fd = mosquitto_socket(m);

	(void)shutdown(fd, SHUT_WR);
	while (poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, -1) > 0 &&
	       read(fd, rest, sizeof(rest)) > 0)
		continue;
	mosquitto_destroy(m);
}

int
main(int argc, char *argv[])
{
	double began = bench_now_s(), ended;
	struct drain d = {.filter = "#"};
	const char *id = "drain-null";
	unsigned long batch = 5000;
	int port = 1883, receive_maximum = 10000, c;
	struct mosquitto *m;

	while ((c = getopt(argc, argv, "p:i:t:n:r:b:")) != -1) {
		switch (c) {
		case 'p':
			port = atoi(optarg);
			break;
		case 'i':
			id = optarg;
			break;
		case 't':
			d.filter = optarg;
			break;
		case 'n':
			d.count = strtoul(optarg, NULL, 10);
			break;
		case 'r':
			receive_maximum = atoi(optarg);
			break;
		case 'b':
			batch = strtoul(optarg, NULL, 10);
			break;
		default:
			return 2;
		}
	}
	m = open_client(&d, id, port, receive_maximum);
	while (!d.is_subscribed || d.taken < d.count || mosquitto_want_write(m))
		turn(m, &d, batch);
	ended = bench_now_s();
	leave(m);
	if (d.count > 0)
		printf("%.4f %.4f\n", ended - began, bench_worked_s());
	return EXIT_SUCCESS;
}
