/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libmosquitto; no other file knows it.
 *
 * Invariant: nothing is written to the socket but by mosquitto_loop_write(), and that is
 * called in client_write() alone.
 *
 * Failure modes: every loss is ERR_AWAY, its cause in client_loss_text(). A packet that
 * libmosquitto holds to be malformed (a topic that is not UTF-8, say) is a loss as well:
 * so the standard wants it.
 */
#include "mqtt_client.h"

#include "buffer.h"
#include "err.h"
#include "now.h"

#include <errno.h>
#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FIRST_MQTT_FAILURE 128 /* smaller: an enum mosq_err_t, or MQTT 3.1.1's codes */

struct client {
	struct mosquitto *mosq;
	const struct client_handler *handler;
	void *context;
	int protocol;
	uint32_t session_expiry_s;
	bool has_packet;        /* a callback has run */
	int err;                /* of a handler */
	size_t unwritten_count; /* messages since the last client_write() */
	int goodbye; /* reason code of the broker's DISCONNECT; -1: none yet */
	const char *loss_text;

	/* Properties of the message that is being read. */
	struct buffer user;  /* struct user_property */
	struct buffer ids;   /* uint32_t */
	struct buffer owned; /* void *: what the library allocated for us */
};

/* ---- messages ---- */

static void
release_properties(struct client *c)
{
	void **owned = (void *)c->owned.data;

	for (size_t i = 0; i < c->owned.size / sizeof(*owned); i++)
		free(owned[i]);
	buffer_clear(&c->owned);
	buffer_clear(&c->user);
	buffer_clear(&c->ids);
}

/* Remember to free(3) it. On failure that is done at once. */
static int
own(struct client *c, void *memory)
{
	int err = buffer_append(&c->owned, &memory, sizeof(memory));

	if (err != 0)
		free(memory);
	return err;
}

static int
read_text(struct client *c, const mosquitto_property *at, int id, struct bytes *out)
{
	char *text;
	int err;

	if (mosquitto_property_read_string(at, id, &text, false) == NULL)
		return ERR_NOMEM;
	err = own(c, text);
	if (err == 0)
		*out = (struct bytes){text, strlen(text)};
	return err;
}

static int
read_correlation(struct client *c, const mosquitto_property *at, struct bytes *out)
{
	void *data;
	uint16_t size;
	int err;

	if (mosquitto_property_read_binary(
		at, MQTT_PROP_CORRELATION_DATA, &data, &size, false) == NULL)
		return ERR_NOMEM;
	/* For an empty value nothing is allocated; it is not the same as none. */
	*out = (struct bytes){data != NULL ? data : "", data != NULL ? size : 0};
	err = own(c, data);
	return err;
}

static int
read_user_property(struct client *c, const mosquitto_property *at)
{
	struct user_property one;
	char *name, *value;
	int err;

	if (mosquitto_property_read_string_pair(
		at, MQTT_PROP_USER_PROPERTY, &name, &value, false) == NULL)
		return ERR_NOMEM;
	err = own(c, name);
	if (err != 0) {
		free(value);
		return err;
	}
	err = own(c, value);
	if (err != 0)
		return err;
	one.name = (struct bytes){name, strlen(name)};
	one.value = (struct bytes){value, strlen(value)};
	return buffer_append(&c->user, &one, sizeof(one));
}

static int
read_identifier(struct client *c, const mosquitto_property *at, struct record *r)
{
	uint32_t id = 0;

	(void)mosquitto_property_read_varint(
	    at, MQTT_PROP_SUBSCRIPTION_IDENTIFIER, &id, false);
	if (r->subscription_id == 0)
		r->subscription_id = id;
	return buffer_append(&c->ids, &id, sizeof(id));
}

static int
read_property(struct client *c, const mosquitto_property *at, struct record *r)
{
	int id = mosquitto_property_identifier(at);

	switch (id) {
	case MQTT_PROP_PAYLOAD_FORMAT_INDICATOR:
		r->has_payload_format = mosquitto_property_read_byte(
					    at, id, &r->payload_format, false) != NULL;
		return 0;
	case MQTT_PROP_MESSAGE_EXPIRY_INTERVAL:
		r->has_message_expiry = mosquitto_property_read_int32(at, id,
					    &r->message_expiry_s, false) != NULL;
		return 0;
	case MQTT_PROP_SUBSCRIPTION_IDENTIFIER:
		return read_identifier(c, at, r);
	case MQTT_PROP_CONTENT_TYPE:
		return read_text(c, at, id, &r->content_type);
	case MQTT_PROP_RESPONSE_TOPIC:
		return read_text(c, at, id, &r->response_topic);
	case MQTT_PROP_CORRELATION_DATA:
		return read_correlation(c, at, &r->correlation_data);
	case MQTT_PROP_USER_PROPERTY:
		return read_user_property(c, at);
	default:
		return 0; /* a topic alias has been resolved, or the library refused it */
	}
}

static int
hand_over(struct client *c, struct record *r, const mosquitto_property *list)
{
	for (; list != NULL; list = mosquitto_property_next(list)) {
		int err = read_property(c, list, r);

		if (err != 0)
			return err;
	}
	r->user_properties = (const void *)c->user.data;
	r->user_property_count = c->user.size / sizeof(struct user_property);
	return c->handler->message(
	    c->context, r, (const void *)c->ids.data, c->ids.size / sizeof(uint32_t));
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
		release_properties(c);
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
	uint8_t has_identifiers = 1;
	char *words;

	(void)mosq;
	c->has_packet = true;
	/* What an MQTT 3.1.1 broker says to MQTT 5. */
	if (c->protocol == 5 && code == 1)
		a.code = CLIENT_PROTOCOL_REFUSED;
	a.text = c->protocol == 5 ? mosquitto_reason_string(a.code)
				  : mosquitto_connack_string(code);
	a.words = broker_words(list, &words);
	(void)mosquitto_property_read_byte(
	    list, MQTT_PROP_SUBSCRIPTION_ID_AVAILABLE, &has_identifiers, false);
	(void)mosquitto_property_read_int32(
	    list, MQTT_PROP_SESSION_EXPIRY_INTERVAL, &a.session_expiry_s, false);
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

static const char *
text_of(int rc, int error)
{
	if (rc == MOSQ_ERR_EAI)
		return gai_strerror(error);
	if (rc == MOSQ_ERR_ERRNO && error == EINTR)
		return "no answer in time";
	if (rc == MOSQ_ERR_ERRNO && error != 0)
		return strerror(error);
	return mosquitto_strerror(rc);
}

static int
lose(struct client *c, int rc, int error)
{
	if (c->goodbye == 0)
		c->loss_text = "the broker closed it";
	else if (c->goodbye > 0)
		c->loss_text = mosquitto_reason_string(c->goodbye);
	else
		c->loss_text = text_of(rc, error);
	return ERR_AWAY;
}

static bool
is_lost(const struct client *c, int rc)
{
	return rc != MOSQ_ERR_SUCCESS || mosquitto_socket(c->mosq) < 0;
}

static int
set_options(struct client *c, const struct client_options *o)
{
	int version = o->protocol == 5 ? MQTT_PROTOCOL_V5 : MQTT_PROTOCOL_V311;

	/* These cannot fail with a handle that is new. */
	(void)mosquitto_int_option(c->mosq, MOSQ_OPT_PROTOCOL_VERSION, version);
	(void)mosquitto_int_option(c->mosq, MOSQ_OPT_TCP_NODELAY, 1);
#ifndef TIDEGATE_ACK_EARLY
	(void)mosquitto_threaded_set(c->mosq, true); /* packets are only queued */
#endif
	mosquitto_connect_v5_callback_set(c->mosq, on_connect);
	mosquitto_disconnect_v5_callback_set(c->mosq, on_disconnect);
	mosquitto_message_v5_callback_set(c->mosq, on_message);
	mosquitto_subscribe_v5_callback_set(c->mosq, on_subscribe);
	mosquitto_unsubscribe_callback_set(c->mosq, on_unsubscribe);
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

int
client_open(struct client **out, const struct client_options *o,
    const struct client_handler *handler, void *context, const char **why)
{
	struct client *c = calloc(1, sizeof(*c));
	mosquitto_property *list = NULL;
	int rc = MOSQ_ERR_NOMEM;

	*out = NULL;
	if (c == NULL)
		goto fail;
	c->handler = handler;
	c->context = context;
	c->protocol = o->protocol;
	c->session_expiry_s = o->session_expiry_s;
	c->goodbye = -1;
	(void)mosquitto_lib_init(); /* fails on Windows alone */
	rc = MOSQ_ERR_ERRNO;
	c->mosq = mosquitto_new(o->id, false, c); /* false: the session outlives it */
	if (c->mosq == NULL)
		goto fail;
	rc = set_options(c, o);
	if (rc == MOSQ_ERR_SUCCESS)
		rc = make_properties(&list, o);
	if (rc == MOSQ_ERR_SUCCESS)
		rc = mosquitto_connect_bind_v5(
		    c->mosq, o->host, o->port, o->keepalive_s, NULL, list);
	if (rc != MOSQ_ERR_SUCCESS)
		goto fail;
	mosquitto_property_free_all(&list);
	*out = c;
	return 0;
fail:
	*why = text_of(rc, errno);
	mosquitto_property_free_all(&list);
	client_close(c);
	return ERR_AWAY;
}

void
client_close(struct client *c)
{
	if (c == NULL)
		return;
	mosquitto_destroy(c->mosq); /* writes nothing */
	(void)mosquitto_lib_cleanup();
	release_properties(c);
	buffer_fini(&c->user);
	buffer_fini(&c->ids);
	buffer_fini(&c->owned);
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
	return mosquitto_want_write(c->mosq);
}

int
client_read(struct client *c, bool *more)
{
	int rc, error;

	c->has_packet = false;
	c->err = 0;
	/* At the end of file inside a packet the library looks at errno, which read(2)
	 * has not set: EAGAIN, left there by its socket pair, would mean "later". */
	errno = 0;
	rc = mosquitto_loop_read(c->mosq, 1);
	error = errno;
	if (c->err != 0)
		return c->err;
	if (is_lost(c, rc))
		return lose(c, rc, error);
	/* errno does not tell whether the socket is drained. What has no callback, a
	 * PINGRESP, counts as nothing: poll(2) sees what is behind it. */
	*more = c->has_packet;
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
	if (is_lost(c, rc))
		return lose(c, rc, error);
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
	return is_lost(c, rc) ? lose(c, rc, error) : 0;
}

int
client_subscribe(struct client *c, const char *filter, int qos, uint32_t id, int *mid)
{
	int options = MQTT_SUB_OPT_RETAIN_AS_PUBLISHED | MQTT_SUB_OPT_SEND_RETAIN_NEW;
	mosquitto_property *list = NULL;
	int rc = MOSQ_ERR_SUCCESS;

	if (id != 0)
		rc = mosquitto_property_add_varint(
		    &list, MQTT_PROP_SUBSCRIPTION_IDENTIFIER, id);
	if (rc == MOSQ_ERR_SUCCESS)
		rc = mosquitto_subscribe_v5(c->mosq, mid, filter, qos, options, list);
	mosquitto_property_free_all(&list);
	return rc == MOSQ_ERR_SUCCESS ? 0 : lose(c, rc, errno);
}

int
client_unsubscribe(struct client *c, const char *filter, int *mid)
{
	int rc = mosquitto_unsubscribe(c->mosq, mid, filter);

	return rc == MOSQ_ERR_SUCCESS ? 0 : lose(c, rc, errno);
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

void
client_hang_up(struct client *c, int64_t timeout_ms)
{
	int64_t deadline_ms = now_monotonic_ms() + timeout_ms;
	char bytes[16384];
	ssize_t got = 1;

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
