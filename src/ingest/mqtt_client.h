/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection to an MQTT broker, by libmosquitto, over which nothing is written but
 * in client_write(). What the connection means is mqtt_source.c's.
 */
#ifndef MQTT_CLIENT_H
#define MQTT_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "record.h"
#include "settings.h"

/* Reason codes of MQTT 5 (2.4) that mean more to us than their text. */
#define CLIENT_PROTOCOL_REFUSED 132
#define CLIENT_TAKEN_OVER       142

struct client;

/* All borrowed for the call. */
struct client_options {
	const char *host;
	int port;
	int protocol; /* 5, or 4 for MQTT 3.1.1 */
	const char *id;
	bool is_visit; /* a new session, and no retained messages (MQTT 5) */
	const char *username, *password; /* NULL: none */
	int keepalive_s;
	uint32_t session_expiry_s;
	int receive_maximum;
	const struct settings_tls *tls; /* NULL: none; as long as the client lives */
	const char *key_password;       /* NULL: none; as it is, not as written */
	const char *will_topic;         /* NULL: no will */
	struct bytes will;              /* retained, at QoS 1 */
};

/* The broker's answer to CONNECT, SUBSCRIBE or PUBLISH. Texts are borrowed, never NULL. */
struct client_answer {
	int code; /* 0: connected; else refused. Of SUBSCRIBE: QoS, >= 128 refused */
	const char *text;  /* what the code means */
	const char *words; /* what the broker adds */
	int mid;
	bool session_present;
	bool has_identifiers;      /* may a subscription have one? */
	bool has_shared;           /* are there shared subscriptions? */
	uint32_t session_expiry_s; /* that the broker grants */
};

/* Called only from inside client_read(). An error ends the reading. */
struct client_handler {
	int (*connected)(void *context, const struct client_answer *a);
	int (*subscribed)(void *context, const struct client_answer *a);
	int (*unsubscribed)(void *context, int mid);
	/* The broker has not taken a message (MQTT 5). NULL: nothing is published. */
	int (*publish_refused)(void *context, const struct client_answer *a);
	/* ids: the subscription identifiers, as many as the message has. */
	int (*message)(void *context, const struct record *r, const uint32_t ids[],
	    size_t id_count);
};

/* As the settings say: without the secrets, and without a will. */
void client_options_init(struct client_options *o, const struct settings_mqtt *m);

/*
 * Connect and queue CONNECT. Blocks for the TCP connection; a TLS handshake only begins.
 *
 * Ownership: handler and context are borrowed as long as the client lives.
 * why:       out, on failure: in words; valid until the next call.
 * Errors:    ERR_AWAY.
 */
int client_open(struct client **out, const struct client_options *o,
    const struct client_handler *handler, void *context, const char **why);

/* Close the socket and forget what is queued. */
void client_close(struct client *c);

int client_fd(const struct client *c);
bool client_wants_write(const struct client *c);

/* Has TLS read what client_read() has not yet? poll(2) does not see it. */
bool client_has_pending(const struct client *c);

/*
 * Read one packet. more: out, as source_read().
 *
 * Errors:    what a handler returned; ERR_AWAY, the connection is lost.
 */
int client_read(struct client *c, bool *more);

/* Write what is queued, as much as the socket takes. Errors: ERR_AWAY. */
int client_write(struct client *c);

/* Once a second. Errors: ERR_AWAY. */
int client_keepalive(struct client *c);

/*
 * Queue SUBSCRIBE or UNSUBSCRIBE. id 0: without an identifier. Retained: at QoS 0, for
 * the latest message that the broker retains, each time anew.
 *
 * mid:       out, the packet's number, which the answer tells.
 * Errors:    ERR_AWAY, not queued.
 */
int client_subscribe(
    struct client *c, const char *filter, int qos, uint32_t id, int *mid);
int client_subscribe_retained(struct client *c, const char *filter, int *mid);
int client_unsubscribe(struct client *c, const char *filter, int *mid);

/*
 * Queue a message. At a lower QoS where the broker takes no such.
 *
 * Errors:    ERR_INVALID, such a message cannot be sent at all; ERR_NOMEM; ERR_AWAY.
 */
int client_publish(
    struct client *c, const char *topic, struct bytes payload, int qos, bool retain);

/* What the broker has not answered, where it says nothing: in words. */
const char *client_silence_text(const struct client *c);

/* Why it was lost: in words; the reason code of the broker's DISCONNECT, 0 without one. */
const char *client_loss_text(const struct client *c);
int client_loss_code(const struct client *c);

/* Did the broker end it, and not the network? */
bool client_was_hung_up(const struct client *c);

/*
 * DISCONNECT, so that the broker does not publish the will. To be followed by
 * client_hang_up(); it is not written where something is still queued.
 */
void client_say_goodbye(struct client *c);

/*
 * shutdown(SHUT_WR), then read to the end of file, not looking at it: what was written
 * arrives, what is queued is not written any more. Waits at most timeout_ms.
 */
void client_hang_up(struct client *c, int64_t timeout_ms);

#endif
