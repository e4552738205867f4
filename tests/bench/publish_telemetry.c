/* SPDX-License-Identifier: Apache-2.0 */
/*
 * publish_telemetry PORT PREFIX RATE COUNT
 *
 * Publishes COUNT messages of telemetry.h at QoS 1 under PREFIX/, RATE a second, evenly,
 * to the broker at 127.0.0.1, and ends when all are acknowledged.
 *
 * Failure modes: the connection ends, or a minute passes without a PUBACK: exit 1.
 */
#include <mosquitto.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "../lib/telemetry.h"
#include "now.h"

#define WINDOW   10000
#define STEP_MS  2
#define LIMIT_MS 60000

struct publisher {
	struct mosquitto *mosq;
	struct telemetry *telemetry;
	const char *prefix;
	unsigned long sent, acked;
	bool is_connected;
};

static void
must(int rc, const char *what)
{
	if (rc == MOSQ_ERR_SUCCESS)
		return;
	(void)fprintf(stderr, "%s: %s\n", what, mosquitto_strerror(rc));
	exit(EXIT_FAILURE);
}

static void
on_connect(struct mosquitto *m, void *context, int rc)
{
	struct publisher *p = context;

	(void)m;
	if (rc != 0)
		(void)fprintf(stderr, "connect: %s\n", mosquitto_connack_string(rc));
	p->is_connected = rc == 0;
}

static void
on_publish(struct mosquitto *m, void *context, int mid)
{
	struct publisher *p = context;

	(void)m;
	(void)mid;
	p->acked++;
}

static void
publish(struct publisher *p)
{
	struct telemetry_message m;
	char topic[256];

	telemetry_next(p->telemetry, &m);
	(void)snprintf(topic, sizeof(topic), "%s/%s", p->prefix, m.topic);
	must(mosquitto_publish(
		 p->mosq, NULL, topic, (int)m.payload_size, m.payload, 1, false),
	    "publish");
	p->sent++;
}

static int
run(struct publisher *p, double per_second, unsigned long count)
{
	int64_t begun_ms = 0, acked_ms = now_monotonic_ms();
	unsigned long acked = 0;

	while (p->acked < count) {
		int64_t now_ms = now_monotonic_ms();
		double due = 0;

		if (p->is_connected && begun_ms == 0)
			begun_ms = now_ms;
		if (begun_ms != 0)
			due = 1 + (double)(now_ms - begun_ms) * per_second / 1000;
		while (p->sent < count && (double)p->sent + 1 <= due &&
		       p->sent - p->acked < WINDOW)
			publish(p);
		must(mosquitto_loop(p->mosq, STEP_MS, 1), "connection");
		if (p->acked != acked || p->sent == p->acked)
			acked_ms = now_ms;
		acked = p->acked;
		if (now_ms - acked_ms > LIMIT_MS)
			return -1;
	}
	return 0;
}

int
main(int argc, char *argv[])
{
	struct publisher p = {0};
	double per_second;
	int rc;

	if (argc != 5) {
		(void)fprintf(
		    stderr, "usage: publish_telemetry PORT PREFIX RATE COUNT\n");
		return 2;
	}
	p.prefix = argv[2];
	per_second = atof(argv[3]);
	(void)mosquitto_lib_init();
	p.telemetry = telemetry_open(per_second, (uint64_t)now_real_ms());
	p.mosq = mosquitto_new(NULL, true, &p);
	if (p.telemetry == NULL || p.mosq == NULL)
		return EXIT_FAILURE;
	must(mosquitto_int_option(p.mosq, MOSQ_OPT_TCP_NODELAY, 1), "option");
	mosquitto_max_inflight_messages_set(p.mosq, 0);
	mosquitto_connect_callback_set(p.mosq, on_connect);
	mosquitto_publish_callback_set(p.mosq, on_publish);
	must(mosquitto_connect(p.mosq, "127.0.0.1", atoi(argv[1]), 60), "connect");
	rc = run(&p, per_second, strtoul(argv[4], NULL, 10));
	if (rc != 0)
		(void)fprintf(stderr, "no PUBACK for %d s\n", LIMIT_MS / 1000);
	mosquitto_destroy(p.mosq);
	telemetry_close(p.telemetry);
	(void)mosquitto_lib_cleanup();
	return rc == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
