/* SPDX-License-Identifier: Apache-2.0 */
/* What the files behind mqtt_client.h share; nobody else includes it. */
#ifndef MQTT_CLIENT_PARTS_H
#define MQTT_CLIENT_PARTS_H

#include "mqtt_client.h"
#include "mqtt_message.h"
#include "mqtt_tls.h"

struct mosquitto;

struct client {
	struct mosquitto *mosq;
	const struct client_handler *handler;
	void *context;
	int protocol;
	bool is_visit;
	uint32_t session_expiry_s;
	bool has_packet;        /* a callback has run */
	int err;                /* of a handler */
	size_t unwritten_count; /* messages since the last client_write() */
	int goodbye; /* reason code of the broker's DISCONNECT; -1: none yet */
	const char *loss_text;
	bool is_hung_up;            /* by the broker, with or without a word */
	struct message_parts parts; /* of the message that is being read */
	struct tls *tls;            /* NULL: none */
	bool is_answered;           /* CONNACK has come */
};

/*
 * Has the call that returned rc met the end of the connection? When that breaks in the
 * handshake, libmosquitto 2.0 does not notice.
 */
bool client_is_lost(const struct client *c, int rc);

/* Note why, for client_loss_text(). error: errno behind the call. Returns ERR_AWAY. */
int client_lose(struct client *c, int rc, int error);

#endif
