/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why a connection to the broker is lost, in words.
 *
 * Invariant: client_loss_text() always has some: what the broker said goes first, then
 * what TLS knows, then what libmosquitto returned.
 *
 * Failure modes: none of its own.
 */
#include "mqtt_client_parts.h"

#include "err.h"

#include <errno.h>
#include <mosquitto.h>
#include <netdb.h>
#include <string.h>

static const char *
text_of(int rc, int error)
{
	if (rc == MOSQ_ERR_EAI)
		return gai_strerror(error);
	if (rc == MOSQ_ERR_ERRNO && error == EINTR)
		return "no answer in time";
	if (rc == MOSQ_ERR_KEEPALIVE) /* libmosquitto 2.0.11 has no words for it */
		return "no answer to a ping (mqtt.keepalive_s)";
	/* How libmosquitto tells of any error in TLS, and of an end inside a packet. */
	if (rc == MOSQ_ERR_ERRNO && (error == EPROTO || error == 0))
		return mosquitto_strerror(MOSQ_ERR_CONN_LOST);
	if (rc == MOSQ_ERR_ERRNO)
		return strerror(error);
	return mosquitto_strerror(rc);
}

/* Is it the end of the connection that was met, not silence or a lack of ours? */
static bool
is_end(int rc, int error)
{
	return rc == MOSQ_ERR_CONN_LOST ||
	       (rc == MOSQ_ERR_ERRNO && (error == ECONNRESET || error == EPIPE ||
					    error == EPROTO || error == 0));
}

/* Did the broker hang up in place of an answer to CONNECT? */
static bool
is_unanswered(const struct client *c, int rc, int error)
{
	return !c->is_answered && (rc == MOSQ_ERR_PROTOCOL || is_end(rc, error));
}

/* A broker that knows MQTT 3.1.1 alone may hang up as well, without a word. */
static const char *
unanswered_text(const struct client *c)
{
	if (c->tls != NULL && c->protocol == 5)
		return "the broker ended the connection behind the TLS handshake, and "
		       "gave no reason (if it knows no MQTT 5: mqtt.protocol = 4)";
	if (c->tls != NULL)
		return "the broker ended the connection behind the TLS handshake, and "
		       "gave no reason";
	if (c->protocol == 5)
		return "the broker ended the connection without an answer: does it "
		       "want TLS at this port (mqtt.tls)? (if it knows no MQTT 5: "
		       "mqtt.protocol = 4)";
	return "the broker ended the connection without an answer: does it want TLS at "
	       "this port (mqtt.tls)?";
}

int
client_lose(struct client *c, int rc, int error)
{
	const char *failure = NULL;

	if (c->tls != NULL) {
		tls_hear_out(c->tls);
		failure = tls_failure(c->tls);
	}
	c->is_hung_up = c->goodbye >= 0 || is_end(rc, error);
	if (c->goodbye == 0)
		c->loss_text = "the broker closed it";
	else if (c->goodbye > 0)
		c->loss_text = mosquitto_reason_string(c->goodbye);
	else if (failure != NULL)
		c->loss_text = failure;
	else if (is_unanswered(c, rc, error))
		c->loss_text = unanswered_text(c);
	else
		c->loss_text = text_of(rc, error);
	return ERR_AWAY;
}

bool
client_is_lost(const struct client *c, int rc)
{
	return rc != MOSQ_ERR_SUCCESS || mosquitto_socket(c->mosq) < 0 ||
	       (!c->is_answered && c->tls != NULL && tls_failure(c->tls) != NULL);
}

const char *
client_silence_text(const struct client *c)
{
	return tls_is_shaking_hands(mosquitto_ssl_get(c->mosq))
		   ? "the broker does not answer to the TLS handshake: does it speak "
		     "TLS "
		     "at this port?"
		   : "the broker does not answer to CONNECT";
}

const char *
client_loss_text(const struct client *c)
{
	return c->loss_text != NULL ? c->loss_text : "not known";
}

int
client_loss_code(const struct client *c)
{
	return c->goodbye > 0 ? c->goodbye : 0;
}

bool
client_was_hung_up(const struct client *c)
{
	return c->is_hung_up;
}
