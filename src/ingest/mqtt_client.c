/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libmosquitto; beside this file, mqtt_message.c and mqtt_client_loss.c alone know it.
 *
 * Invariant: nothing is written to the socket but by mosquitto_loop_write(), and that is
 * called in client_write() alone.
 *
 * Failure modes: every loss is ERR_AWAY, its cause in client_loss_text(). A packet that
 * libmosquitto holds to be malformed (a topic that is not UTF-8, say) is a loss as well:
 * so the standard wants it.
 */
#include "mqtt_client_parts.h"

#include "err.h"
#include "now.h"

#include <errno.h>
#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define FIRST_MQTT_FAILURE 128 /* smaller: an enum mosq_err_t, or MQTT 3.1.1's codes */
#define WHY_SIZE           400

/* ---- messages ---- */

static int
hand_over(struct client *c, struct record *r, const mosquitto_property *list)
{
	const uint32_t *ids;
	size_t count;
	int err = message_read(&c->parts, list, r);

	if (err != 0)
		return err;
	ids = message_ids(&c->parts, &count);
	return c->handler->message(c->context, r, ids, count);
}

static void
on_message(struct mosquitto *mosq, void *context, const struct mosquitto_message *m,
    const mosquitto_property *list)
{
	struct client *c = context;
	struct record r = {
	    .received_ms = (uint64_t)now_real_ms(),
	    .topic = {m->topic, strlen(m->topic)},
	    .payload = {m->payload != NULL ? m->payload : "", (size_t)m->payloadlen},
	    .qos = (uint8_t)m->qos,
	    .retain = m->retain,
	};

	(void)mosq;
	c->has_packet = true;
	c->unwritten_count++;
	if (c->err == 0)
		c->err = hand_over(c, &r, list);
	if (list != NULL)
		message_release(&c->parts);
	/* With TLS mosquitto_loop_read() would go on as long as OpenSSL holds bytes, which
	 * is for ever where records come fast and do not end with a packet: past every
	 * bound of a commit. By this it returns, without an error. */
	errno = EAGAIN;
}

/* ---- answers ---- */

/* One call may read several packets: what went wrong with one of them stays. */
static void
note(struct client *c, int err)
{
	if (c->err == 0)
		c->err = err;
}

/* Release *owned with free(3). */
static const char *
broker_words(const mosquitto_property *list, char **owned)
{
	*owned = NULL;
	(void)mosquitto_property_read_string(
	    list, MQTT_PROP_REASON_STRING, owned, false);
	return *owned != NULL ? *owned : "the broker says no more";
}

static void
on_connect(struct mosquitto *mosq, void *context, int code, int flags,
    const mosquitto_property *list)
{
	struct client *c = context;
	struct client_answer a = {
	    .code = code,
	    .session_present = (flags & 1) != 0,
	    .session_expiry_s = c->session_expiry_s,
	};
	uint8_t has_identifiers = 1, has_shared = 1;
	char *words;

	(void)mosq;
	c->has_packet = true;
	c->is_answered = true;
	if (c->tls != NULL)
		tls_let_go(c->tls);
	/* What an MQTT 3.1.1 broker says to MQTT 5. */
	if (c->protocol == 5 && code == 1)
		a.code = CLIENT_PROTOCOL_REFUSED;
	a.text = c->protocol == 5 ? mosquitto_reason_string(a.code)
				  : mosquitto_connack_string(code);
	a.words = broker_words(list, &words);
	(void)mosquitto_property_read_byte(
	    list, MQTT_PROP_SUBSCRIPTION_ID_AVAILABLE, &has_identifiers, false);
	(void)mosquitto_property_read_byte(
	    list, MQTT_PROP_SHARED_SUB_AVAILABLE, &has_shared, false);
	(void)mosquitto_property_read_int32(
	    list, MQTT_PROP_SESSION_EXPIRY_INTERVAL, &a.session_expiry_s, false);
	a.has_shared = has_shared != 0;
	a.has_identifiers = c->protocol == 5 && has_identifiers != 0;
	note(c, c->handler->connected(c->context, &a));
	free(words);
}

static void
on_subscribe(struct mosquitto *mosq, void *context, int mid, int count,
    const int *granted_qos, const mosquitto_property *list)
{
	struct client *c = context;
	struct client_answer a = {.mid = mid};
	char *words;

	(void)mosq;
	c->has_packet = true;
	if (count < 1)
		return; /* each of our packets asks for one filter */
	a.code = granted_qos[0];
	a.text = mosquitto_reason_string(a.code);
	a.words = broker_words(list, &words);
	note(c, c->handler->subscribed(c->context, &a));
	free(words);
}

static void
on_unsubscribe(struct mosquitto *mosq, void *context, int mid)
{
	struct client *c = context;

	(void)mosq;
	c->has_packet = true;
	note(c, c->handler->unsubscribed(c->context, mid));
}

/* Of QoS 0 it says that the message has left, with a code of 0. */
static void
on_publish(struct mosquitto *mosq, void *context, int mid, int code,
    const mosquitto_property *list)
{
	struct client *c = context;
	struct client_answer a = {.code = code, .mid = mid};
	char *words;

	(void)mosq;
	c->has_packet = true;
	if (code < FIRST_MQTT_FAILURE)
		return;
	a.text = mosquitto_reason_string(code);
	a.words = broker_words(list, &words);
	note(c, c->handler->publish_refused(c->context, &a));
	free(words);
}

/* The broker's DISCONNECT. Of other losses the call that meets them tells more. */
static void
on_disconnect(
    struct mosquitto *mosq, void *context, int code, const mosquitto_property *list)
{
	struct client *c = context;

	(void)mosq;
	(void)list;
	if (code == 0 || code >= FIRST_MQTT_FAILURE)
		c->goodbye = code;
}

/* ---- the connection ---- */

static int
set_options(struct client *c, const struct client_options *o)
{
	int version = o->protocol == 5 ? MQTT_PROTOCOL_V5 : MQTT_PROTOCOL_V311;
	int rc = MOSQ_ERR_SUCCESS;

	/* These cannot fail with a handle that is new. */
	(void)mosquitto_int_option(c->mosq, MOSQ_OPT_PROTOCOL_VERSION, version);
	(void)mosquitto_int_option(c->mosq, MOSQ_OPT_TCP_NODELAY, 1);
#ifndef TIDEGATE_ACK_EARLY
	(void)mosquitto_threaded_set(c->mosq, true); /* packets are only queued */
#endif
	mosquitto_connect_v5_callback_set(c->mosq, on_connect);
	mosquitto_disconnect_v5_callback_set(c->mosq, on_disconnect);
	mosquitto_message_v5_callback_set(c->mosq, on_message);
	mosquitto_publish_v5_callback_set(c->mosq, on_publish);
	mosquitto_subscribe_v5_callback_set(c->mosq, on_subscribe);
	mosquitto_unsubscribe_callback_set(c->mosq, on_unsubscribe);
	if (c->tls != NULL) {
		/* What the library would set of itself needs its own tls options. */
		(void)mosquitto_int_option(c->mosq, MOSQ_OPT_SSL_CTX_WITH_DEFAULTS, 0);
		(void)mosquitto_void_option(
		    c->mosq, MOSQ_OPT_SSL_CTX, tls_context(c->tls));
	}
	if (o->will_topic != NULL)
		rc = mosquitto_will_set(
		    c->mosq, o->will_topic, (int)o->will.size, o->will.data, 1, true);
	if (rc != MOSQ_ERR_SUCCESS)
		return rc;
	return mosquitto_username_pw_set(c->mosq, o->username, o->password);
}

/* No Maximum Packet Size: a broker drops what is larger without a word. */
static int
make_properties(mosquitto_property **list, const struct client_options *o)
{
	int rc;

	if (o->protocol != 5)
		return MOSQ_ERR_SUCCESS;
	rc = mosquitto_property_add_int32(
	    list, MQTT_PROP_SESSION_EXPIRY_INTERVAL, o->session_expiry_s);
	if (rc == MOSQ_ERR_SUCCESS)
		rc = mosquitto_property_add_int16(
		    list, MQTT_PROP_RECEIVE_MAXIMUM, (uint16_t)o->receive_maximum);
	return rc;
}

static int
connect_now(struct client *c, const struct client_options *o)
{
	mosquitto_property *list = NULL;
	int rc = set_options(c, o);

	if (rc == MOSQ_ERR_SUCCESS)
		rc = make_properties(&list, o);
	if (rc == MOSQ_ERR_SUCCESS)
		rc = mosquitto_connect_bind_v5(
		    c->mosq, o->host, o->port, o->keepalive_s, NULL, list);
	if (rc == MOSQ_ERR_SUCCESS && !client_is_lost(c, rc)) {
		if (c->tls != NULL)
			tls_hold(c->tls, mosquitto_ssl_get(c->mosq), client_fd(c));
		mosquitto_property_free_all(&list);
		return 0;
	}
	(void)client_lose(c, rc, errno);
	mosquitto_property_free_all(&list);
	return ERR_AWAY;
}

/*
 * For each packet that it queues, the library writes a byte to a socket pair of its own, to
 * wake mosquitto_loop(). Here nobody calls that, and so nobody reads the bytes; the write,
 * which fails in the end, was a tenth of what a message costs. Before 2.1 there is no
 * option against it, but where the pair cannot be had the library goes without: so let it
 * fail.
 */
static struct mosquitto *
new_without_pair(const char *id, bool is_visit, struct client *c)
{
	struct rlimit usual, none;
	struct mosquitto *mosq;
	bool is_limited = getrlimit(RLIMIT_NOFILE, &usual) == 0;

	if (is_limited) {
		none = (struct rlimit){0, usual.rlim_max};
		is_limited = setrlimit(RLIMIT_NOFILE, &none) == 0;
	}
	mosq = mosquitto_new(id, is_visit, c); /* opens nothing else */
	if (is_limited)
		(void)setrlimit(RLIMIT_NOFILE, &usual); /* as it was: cannot fail */
	return mosq;
}

void
client_options_init(struct client_options *o, const struct settings_mqtt *m)
{
	*o = (struct client_options){
	    .host = m->host,
	    .port = m->port,
	    .protocol = m->protocol,
	    .id = m->client_id,
	    .username = m->username,
	    .keepalive_s = m->keepalive_s,
	    .session_expiry_s = m->session_expiry_s,
	    .receive_maximum = m->receive_maximum,
	    .tls = m->tls.is_on ? &m->tls : NULL,
	};
}

int
client_open(struct client **out, const struct client_options *o,
    const struct client_handler *handler, void *context, const char **why)
{
	static char words[WHY_SIZE];
	struct client *c = calloc(1, sizeof(*c));

	*out = NULL;
	*why = words;
	(void)snprintf(words, sizeof(words), "%s", err_str(ERR_NOMEM));
	if (c == NULL)
		return ERR_AWAY;
	c->handler = handler;
	c->context = context;
	c->protocol = o->protocol;
	c->is_visit = o->is_visit;
	c->session_expiry_s = o->session_expiry_s;
	c->goodbye = -1;
	if (o->tls != NULL && tls_open(&c->tls, o->tls, o->key_password, o->host, words,
				  sizeof(words)) != 0)
		goto fail;
	(void)mosquitto_lib_init(); /* fails on Windows alone */
	/* Not a visit: it keeps its session. */
	c->mosq = new_without_pair(o->id, o->is_visit, c);
	if (c->mosq == NULL)
		goto fail;
	if (connect_now(c, o) != 0) {
		(void)snprintf(words, sizeof(words), "%s", client_loss_text(c));
		goto fail;
	}
	*out = c;
	return 0;
fail:
	client_close(c);
	return ERR_AWAY;
}

void
client_close(struct client *c)
{
	if (c == NULL)
		return;
	/* Of MQTT it writes nothing. No mosquitto_lib_cleanup(): it unloads OpenSSL's
	 * configuration, which the next connection needs. */
	mosquitto_destroy(c->mosq);
	message_fini(&c->parts);
	tls_close(c->tls);
	free(c);
}

int
client_fd(const struct client *c)
{
	return mosquitto_socket(c->mosq);
}

bool
client_wants_write(const struct client *c)
{
	const void *ssl = mosquitto_ssl_get(c->mosq);

	/* In the handshake libmosquitto goes on saying so when the write is done. */
	if (tls_is_shaking_hands(ssl))
		return tls_wants_write(ssl);
	return mosquitto_want_write(c->mosq);
}

bool
client_has_pending(const struct client *c)
{
	return tls_has_pending(mosquitto_ssl_get(c->mosq));
}

int
client_read(struct client *c, bool *more)
{
	int rc, error;

	c->has_packet = false;
	c->err = 0;
	/* At the end of file inside a packet the library looks at errno, which read(2)
	 * has not set: EAGAIN, left there by an earlier call, would mean "later". */
	errno = 0;
	rc = mosquitto_loop_read(c->mosq, 1);
	error = errno;
	if (c->err != 0)
		return c->err;
	if (client_is_lost(c, rc))
		return client_lose(c, rc, error);
	/* errno does not tell whether the socket is drained. What has no callback, a
	 * PINGRESP, counts as nothing: poll(2) sees what is behind it. */
	*more = c->has_packet || client_has_pending(c);
	return 0;
}

/* Many PUBACKs of 4 bytes in few segments; it works without. */
static void
set_cork(struct client *c, int on)
{
	(void)setsockopt(client_fd(c), IPPROTO_TCP, TCP_CORK, &on, sizeof(on));
}

int
client_write(struct client *c)
{
	bool is_corked = c->unwritten_count > 1;
	int rc, error;

	if (is_corked)
		set_cork(c, 1);
	errno = 0;
	rc = mosquitto_loop_write(c->mosq, 1); /* all of it, whatever the 1 says */
	error = errno;
	if (client_is_lost(c, rc))
		return client_lose(c, rc, error);
	if (is_corked)
		set_cork(c, 0);
	c->unwritten_count = 0;
	return 0;
}

int
client_keepalive(struct client *c)
{
	int rc, error;

	errno = 0;
	rc = mosquitto_loop_misc(c->mosq);
	error = errno;
	return client_is_lost(c, rc) ? client_lose(c, rc, error) : 0;
}

int
client_subscribe(struct client *c, const char *filter, int qos, uint32_t id, int *mid)
{
	int options = MQTT_SUB_OPT_RETAIN_AS_PUBLISHED;
	mosquitto_property *list = NULL;
	int rc = MOSQ_ERR_SUCCESS;

	options |=
	    c->is_visit ? MQTT_SUB_OPT_SEND_RETAIN_NEVER : MQTT_SUB_OPT_SEND_RETAIN_NEW;
	if (id != 0)
		rc = mosquitto_property_add_varint(
		    &list, MQTT_PROP_SUBSCRIPTION_IDENTIFIER, id);
	if (rc == MOSQ_ERR_SUCCESS)
		rc = mosquitto_subscribe_v5(c->mosq, mid, filter, qos, options, list);
	mosquitto_property_free_all(&list);
	return rc == MOSQ_ERR_SUCCESS ? 0 : client_lose(c, rc, errno);
}

int
client_subscribe_retained(struct client *c, const char *filter, int *mid)
{
	int rc = mosquitto_subscribe_v5(
	    c->mosq, mid, filter, 0, MQTT_SUB_OPT_SEND_RETAIN_ALWAYS, NULL);

	return rc == MOSQ_ERR_SUCCESS ? 0 : client_lose(c, rc, errno);
}

int
client_unsubscribe(struct client *c, const char *filter, int *mid)
{
	int rc = mosquitto_unsubscribe(c->mosq, mid, filter);

	return rc == MOSQ_ERR_SUCCESS ? 0 : client_lose(c, rc, errno);
}

int
client_publish(
    struct client *c, const char *topic, struct bytes payload, int qos, bool retain)
{
	int size = (int)payload.size, rc;

	if (payload.size > MQTT_MAX_PAYLOAD)
		return ERR_INVALID;
	rc = mosquitto_publish(c->mosq, NULL, topic, size, payload.data, qos, retain);
	if (rc == MOSQ_ERR_QOS_NOT_SUPPORTED)
		rc = mosquitto_publish(
		    c->mosq, NULL, topic, size, payload.data, 0, retain);
	switch (rc) {
	case MOSQ_ERR_SUCCESS:
		return 0;
	case MOSQ_ERR_NOMEM:
		return ERR_NOMEM;
	case MOSQ_ERR_INVAL:
	case MOSQ_ERR_MALFORMED_UTF8:
	case MOSQ_ERR_PAYLOAD_SIZE:
	case MOSQ_ERR_OVERSIZE_PACKET:
		return ERR_INVALID;
	default:
		return client_lose(c, rc, errno);
	}
}

/*
 * Not by mosquitto_disconnect(): behind its packet the library closes the socket at once.
 * Where there are bytes that nobody has read, that resets the connection, and PUBACKs on
 * their way are lost. After a write that fails the broker meets the end of file instead.
 */
void
client_say_goodbye(struct client *c)
{
	static const unsigned char packet[] = {0xE0, 0}; /* the same in 3.1.1 */
	void *ssl = mosquitto_ssl_get(c->mosq);

	if (client_wants_write(c) || client_fd(c) < 0)
		return;
	if (ssl != NULL)
		(void)tls_write(ssl, packet, sizeof(packet));
	else if (send(client_fd(c), packet, sizeof(packet), MSG_NOSIGNAL) < 0)
		return;
}

void
client_hang_up(struct client *c, int64_t timeout_ms)
{
	int64_t deadline_ms = now_monotonic_ms() + timeout_ms;
	char bytes[16384];
	ssize_t got = 1;

	tls_say_goodbye(mosquitto_ssl_get(c->mosq));
	if (shutdown(client_fd(c), SHUT_WR) != 0)
		return;
	while (got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR))) {
		struct pollfd wait = {.fd = client_fd(c), .events = POLLIN};
		int64_t left_ms = deadline_ms - now_monotonic_ms();

		if (left_ms <= 0 || poll(&wait, 1, (int)left_ms) == 0)
			return;
		got = read(client_fd(c), bytes, sizeof(bytes));
	}
}
