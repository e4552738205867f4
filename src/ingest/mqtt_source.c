/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MQTT broker as the source of messages: the session, and what an operator is told
 * about it.
 *
 * Invariant: client_write() is called in source_flush() and source_leave() alone.
 *
 * Each connection is a client of its own: a packet that was queued on one that failed
 * cannot reach the next.
 *
 * Failure modes: every loss ends the client, is logged once, and comes out as ERR_AWAY.
 */
#include "mqtt_source_parts.h"

#include "err.h"
#include "now.h"
#include "status.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNACK_WAIT_MS     20000
#define SUBSCRIBE_RETRY_MS  60000
#define BRIEF_CONNECTION_MS 10000
#define LOSSES_TOGETHER_MS  20000
#define RIVAL_MEMORY_MS     180000 /* two of the longest pauses between two tries */
#define DROP_LIMIT_MS       1000

/* ---- messages ---- */

static int
on_message(void *context, const struct record *r, const uint32_t ids[], size_t id_count)
{
	struct source *s = context;

	if (source_take_figure(s, r))
		return 0;
	if (!subscriptions_is_surplus(&s->subscriptions, ids, id_count, r->topic))
		return s->deliver(s->context, r);
	s->surplus_count++;
	if (log_enabled(LOG_LEVEL_DEBUG))
		log_debug(LOG_CONNECTION,
		    "surplus copy by subscription %" PRIu32 ": %.*s",
		    r->subscription_id, (int)r->topic.size,
		    (const char *)r->topic.data);
	return 0;
}

/* ---- the session ---- */

static int
refused(struct source *s, const struct client_answer *a)
{
	const struct settings_mqtt *m = s->settings;

	s->is_explained = true;
	(void)snprintf(s->trouble, sizeof(s->trouble),
	    "the broker refuses the connection: %s", a->text);
	if (s->protocol == 5 && a->code == CLIENT_PROTOCOL_REFUSED) {
		s->protocol = 4;
		log_warning(LOG_CONNECTION,
		    "%s:%d does not speak MQTT 5: MQTT 3.1.1 from now on", m->host,
		    m->port);
	} else {
		log_repeated(&s->connect_repeat, now_monotonic_ms(), LOG_LEVEL_ERROR,
		    LOG_CONNECTION, "%s:%d refuses the connection of %s: %s (%s)",
		    m->host, m->port, m->client_id, a->text, a->words);
	}
	return ERR_AWAY;
}

static void
log_connected(struct source *s, const struct client_answer *a)
{
	const struct settings_mqtt *m = s->settings;

	log_recovered(&s->connect_repeat, LOG_LEVEL_INFO, LOG_CONNECTION, NULL,
	    "connected to %s:%d as %s, MQTT %s, %s session", m->host, m->port,
	    m->client_id, s->protocol == 5 ? "5" : "3.1.1",
	    a->session_present ? "the earlier" : "a new");
	if (!a->session_present && source_expects_session(s))
		log_warning(LOG_CONNECTION,
		    "the broker has lost the session of %s: what it held for this "
		    "gateway will not arrive",
		    m->client_id);
	if (a->session_expiry_s < m->session_expiry_s)
		log_warning(LOG_CONNECTION,
		    "the broker keeps the session for no longer than %" PRIu32 " s",
		    a->session_expiry_s);
}

static int
on_connected(void *context, const struct client_answer *a)
{
	struct source *s = context;
	int err;

	if (a->code != 0)
		return refused(s, a);
	s->has_ids = a->has_identifiers;
	log_connected(s, a);
	if (s->is_retiring)
		return source_retire_connected(s, a);
	source_begin_figures(s, a->session_present);
	err = subscriptions_begin(&s->subscriptions, a->session_present, s->has_ids);
	/* MQTT 3.1.1 would send the retained messages again for each subscription; once
	 * it must be, because the settings may be others now. */
	if (err == 0)
		err = source_ask(s,
		    s->protocol == 5 || !a->session_present || s->connected_at_ms == 0);
	if (err != 0) {
		log_error(LOG_CONNECTION, "cannot ask for the subscriptions: %s",
		    err == ERR_AWAY ? client_loss_text(s->client) : err_str(err));
		s->is_explained = true;
		return err;
	}
	s->is_connected = true;
	s->trouble[0] = '\0';
	s->connected_at_ms = now_monotonic_ms();
	return 0;
}

bool
source_has_rival(const struct source *s)
{
	return s->rival_at_ms != 0 &&
	       now_monotonic_ms() - s->rival_at_ms < RIVAL_MEMORY_MS;
}

/*
 * Does the loss look as if another client had connected with our id? By MQTT 5 a broker
 * says so, but mosquitto 2.0.11 does not, and by MQTT 3.1.1 none can: it only hangs up,
 * on the one as on the other, and each loses one connection soon after another.
 */
static bool
looks_like_rival(const struct source *s, int64_t now_ms)
{
	int64_t brief_ms = source_has_rival(s) ? RIVAL_MEMORY_MS : BRIEF_CONNECTION_MS;

	if (client_loss_code(s->client) == CLIENT_TAKEN_OVER)
		return true;
	return client_was_hung_up(s->client) &&
	       now_ms - s->connected_at_ms < brief_ms && s->lost_at_ms != 0 &&
	       now_ms - s->lost_at_ms < LOSSES_TOGETHER_MS + brief_ms;
}

/* Another client with our id? The broker ends the one connection for the other. */
static void
watch_for_rival(struct source *s)
{
	int64_t now_ms = now_monotonic_ms();
	bool is_told = client_loss_code(s->client) == CLIENT_TAKEN_OVER;

	if (!s->is_connected)
		return;
	if (looks_like_rival(s, now_ms)) {
		s->rival_at_ms = now_ms;
		(void)snprintf(s->rival, sizeof(s->rival),
		    is_told ? "another client has connected as %s: a client id is for "
			      "one gateway alone (mqtt.client_id)"
			    : "the broker ends each connection soon: does another "
			      "client use the client id %s (mqtt.client_id)?",
		    s->settings->client_id);
		log_repeated(&s->rival_repeat, now_ms,
		    is_told ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING, LOG_CONNECTION, "%s",
		    s->rival);
		(void)snprintf(s->trouble, sizeof(s->trouble), "%s", s->rival);
		s->is_explained = true;
	}
	s->lost_at_ms = now_ms;
}

int
source_lose(struct source *s, const char *text)
{
	struct log_repeat *repeat =
	    s->is_connected ? &s->lost_repeat : &s->connect_repeat;

	source_watch_for_refusal(s);
	source_watch_figures(s);
	watch_for_rival(s);
	if (!s->is_explained) {
		(void)snprintf(s->trouble, sizeof(s->trouble), "%s", text);
		log_repeated(repeat, now_monotonic_ms(), LOG_LEVEL_WARNING,
		    LOG_CONNECTION,
		    s->is_connected ? "connection to %s:%d lost: %s"
				    : "cannot connect to %s:%d: %s",
		    s->settings->host, s->settings->port, text);
	}
	source_drop(s);
	return ERR_AWAY;
}

/* ---- what the loop calls ---- */

static void
warn_of_tls(const struct settings_tls *tls)
{
	if (!tls->is_on)
		return;
	if (tls->key_file != NULL)
		settings_warn_readable(tls->key_file);
	if (tls->insecure)
		log_warning(LOG_CONNECTION,
		    "mqtt.tls.insecure is on: any certificate that a trusted authority "
		    "has signed passes for the broker's");
}

int
source_open(struct source **out, const struct settings *settings, struct journal *j,
    source_deliver *deliver, void *context)
{
	struct source *s = calloc(1, sizeof(*s));
	int err;

	*out = NULL;
	if (s == NULL)
		return ERR_NOMEM;
	err = subscriptions_init(&s->subscriptions, settings, j);
	if (err != 0) {
		free(s);
		return err;
	}
	s->settings = &settings->mqtt;
	s->status_topic = settings->status.mqtt_topic;
	if (s->status_topic != NULL)
		err = status_gone(settings, &s->will);
	if (err != 0) {
		source_close(s);
		return err;
	}
	warn_of_tls(&settings->mqtt.tls);
	s->deliver = deliver;
	s->context = context;
	s->protocol = settings->mqtt.protocol;
	s->figures.is_wanted = settings->mqtt.broker_figures;
	*out = s;
	return 0;
}

void
source_close(struct source *s)
{
	if (s == NULL)
		return;
	source_drop(s);
	if (s->surplus_count > 0)
		log_info(LOG_STATISTICS,
		    "%" PRIu64 " surplus copies came by overlapping filters",
		    s->surplus_count);
	subscriptions_fini(&s->subscriptions);
	buffer_fini(&s->will);
	free(s);
}

void
source_drop(struct source *s)
{
	/* Not with a reset, which would take the PUBACKs along that are on their way. */
	if (s->is_connected && client_fd(s->client) >= 0)
		client_hang_up(s->client, DROP_LIMIT_MS);
	client_close(s->client);
	s->client = NULL;
	s->is_connected = false;
}

static int
open_client(struct source *s, struct client **out, const struct client_handler *handler,
    void *context, bool is_visit, const char *password, const char *key_password)
{
	const struct settings_mqtt *m = s->settings;
	struct client_options options;
	const char *why;
	int err;

	client_options_init(&options, m);
	options.protocol = s->protocol;
	options.password = password;
	options.key_password = key_password;
	options.is_visit = is_visit;
	if (is_visit) {
		options.session_expiry_s = 0;
	} else {
		options.will_topic = s->status_topic;
		options.will = (struct bytes){s->will.data, s->will.size};
	}
	err = client_open(out, &options, handler, context, &why);
	if (err != 0) {
		(void)snprintf(s->trouble, sizeof(s->trouble), "%s", why);
		log_repeated(&s->connect_repeat, now_monotonic_ms(), LOG_LEVEL_WARNING,
		    LOG_CONNECTION, "cannot connect to %s:%d: %s", m->host, m->port,
		    why);
	}
	return err;
}

int
source_open_client(struct source *s, const struct client_handler *handler,
    void *context, bool is_visit, struct client **out)
{
	const struct settings_mqtt *m = s->settings;
	char *password = NULL, *key_password = NULL;
	int err = 0;

	if (m->password != NULL)
		err = settings_secret("mqtt.password", m->password, &password);
	if (err == 0 && m->tls.is_on && m->tls.key_password != NULL)
		err = settings_secret(
		    "mqtt.tls.key_password", m->tls.key_password, &key_password);
	if (err == 0)
		err = open_client(
		    s, out, handler, context, is_visit, password, key_password);
	else
		(void)snprintf(
		    s->trouble, sizeof(s->trouble), "a secret cannot be read");
	settings_secret_forget(password);
	settings_secret_forget(key_password);
	return err == 0 ? 0 : ERR_AWAY;
}

int
source_connect(struct source *s)
{
	static const struct client_handler handler = {
	    .connected = on_connected,
	    .subscribed = source_on_subscribed,
	    .unsubscribed = source_on_unsubscribed,
	    .publish_refused = source_on_publish_refused,
	    .message = on_message,
	};
	int err;

	source_drop(s);
	s->is_explained = false;
	err = source_open_client(s, &handler, s, false, &s->client);
	s->opened_at_ms = now_monotonic_ms();
	return err;
}

bool
source_is_connected(const struct source *s)
{
	return s->is_connected;
}

int
source_fd(const struct source *s)
{
	return s->client != NULL ? client_fd(s->client) : -1;
}

bool
source_wants_write(const struct source *s)
{
	return s->client != NULL && client_wants_write(s->client);
}

bool
source_has_pending(const struct source *s)
{
	return s->client != NULL && client_has_pending(s->client);
}

int
source_protocol(const struct source *s)
{
	return s->protocol;
}

const char *
source_trouble(const struct source *s)
{
	if (s->is_connected)
		return source_has_rival(s) ? s->rival : "";
	return s->trouble;
}

int
source_read(struct source *s, bool *more)
{
	int err = client_read(s->client, more);

	/* What deliver returned is its caller's; the rest ends the connection. */
	if (err != 0 && (err == ERR_AWAY || !s->is_connected))
		return source_lose(s, client_loss_text(s->client));
	return err;
}

int
source_flush(struct source *s)
{
	if (!source_wants_write(s))
		return 0;
	if (client_write(s->client) != 0)
		return source_lose(s, client_loss_text(s->client));
	return 0;
}

int
source_keepalive(struct source *s)
{
	int64_t now_ms = now_monotonic_ms();

	if (client_keepalive(s->client) != 0)
		return source_lose(s, client_loss_text(s->client));
	if (!s->is_connected && now_ms - s->opened_at_ms >= CONNACK_WAIT_MS)
		return source_lose(s, client_silence_text(s->client));
	if (s->is_retiring)
		return 0;
	if (s->is_connected && source_ask_figures(s) != 0)
		return source_lose(s, client_loss_text(s->client));
	if (!s->is_connected || now_ms - s->subscribed_at_ms < SUBSCRIBE_RETRY_MS)
		return 0;
	s->subscribed_at_ms = now_ms;
	if (subscriptions_renew(&s->subscriptions, s->has_ids) != 0)
		return 0; /* the journal has logged it; what is granted goes on */
	if (source_ask(s, false) != 0)
		return source_lose(s, client_loss_text(s->client));
	return 0;
}

static void
leave(struct source *s, bool with_goodbye, int64_t timeout_ms)
{
	int64_t deadline_ms = now_monotonic_ms() + timeout_ms, left_ms = timeout_ms;

	while (s->is_connected && source_wants_write(s) && left_ms > 0) {
		struct pollfd wait = {.fd = source_fd(s), .events = POLLOUT};

		(void)poll(&wait, 1, (int)left_ms); /* a signal only makes it shorter */
		(void)source_flush(s);              /* a loss ends the loop */
		left_ms = deadline_ms - now_monotonic_ms();
	}
	if (s->is_connected && !source_wants_write(s) && left_ms > 0) {
		if (with_goodbye)
			client_say_goodbye(s->client);
		client_hang_up(s->client, left_ms);
	}
	s->is_connected = false; /* the time for that is spent */
	source_drop(s);
}

void
source_leave(struct source *s, int64_t timeout_ms)
{
	leave(s, false, timeout_ms);
}

void
source_pause(struct source *s, int64_t timeout_ms)
{
	leave(s, true, timeout_ms);
}
