/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MQTT broker as the source of messages: the session, its subscriptions, and what an
 * operator is told about them.
 *
 * Invariant: client_write() is called in source_flush() and source_leave() alone.
 *
 * Each connection is a client of its own: a packet that was queued on one that failed
 * cannot reach the next.
 *
 * Failure modes: every loss ends the client, is logged once, and comes out as ERR_AWAY.
 */
#include "mqtt_source.h"

#include "err.h"
#include "mqtt_client.h"
#include "now.h"
#include "subscriptions.h"

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define CONNACK_WAIT_MS     20000
#define SUBSCRIBE_RETRY_MS  60000
#define BRIEF_CONNECTION_MS 10000
#define BRIEF_CONNECTIONS   3
#define DROP_LIMIT_MS       1000

struct source {
	const struct settings_mqtt *settings;
	source_deliver *deliver;
	void *context;
	struct subscriptions subscriptions;
	struct client *client; /* NULL: no connection */
	int protocol;          /* 4 once the broker has refused 5 */
	bool is_connected;
	bool has_ids;      /* the broker knows subscription identifiers */
	bool is_explained; /* why the connection ends has been logged */
	int64_t opened_at_ms, connected_at_ms, subscribed_at_ms;
	unsigned brief_count; /* connections in a row that were soon lost */
	uint64_t surplus_count;
	struct log_repeat connect_repeat, lost_repeat, rival_repeat;
};

/* ---- messages ---- */

static int
on_message(void *context, const struct record *r, const uint32_t ids[], size_t id_count)
{
	struct source *s = context;

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

/* ---- subscriptions ---- */

/*
 * Ask for what the routes want, the oldest first, and then have the rest forgotten, so
 * that a filter goes only when the one that replaces it is there.
 *
 * all:       not only what is not granted yet.
 */
static int
ask(struct source *s, bool all)
{
	struct subscriptions *set = &s->subscriptions;
	int err = 0;

	for (size_t i = 0; i < set->count && err == 0; i++) {
		struct subscription *one = &set->list[i];

		if (one->is_wanted && one->mid == 0 && (all || !one->is_granted))
			err = client_subscribe(s->client, one->filter, s->settings->qos,
			    s->has_ids ? one->id : 0, &one->mid);
	}
	for (size_t i = 0; i < set->count && err == 0; i++) {
		struct subscription *one = &set->list[i];

		if (!one->is_wanted && one->mid == 0)
			err = client_unsubscribe(s->client, one->filter, &one->mid);
	}
	s->subscribed_at_ms = now_monotonic_ms();
	return err;
}

static int
on_subscribed(void *context, const struct client_answer *a)
{
	struct source *s = context;
	struct subscription *one = subscriptions_by_mid(&s->subscriptions, a->mid);
	int64_t now_ms = now_monotonic_ms();

	if (one == NULL)
		return 0;
	if (a->code >= 128) {
		log_repeated(&one->repeat, now_ms, LOG_LEVEL_ERROR, LOG_CONNECTION,
		    "the broker refuses the subscription to %s: %s (%s); nothing "
		    "arrives "
		    "by it",
		    one->filter, a->text, a->words);
		subscriptions_refused(&s->subscriptions, one);
	} else if (a->code < s->settings->qos) {
		log_repeated(&one->repeat, now_ms, LOG_LEVEL_ERROR, LOG_CONNECTION,
		    "the broker lowers the subscription to %s to QoS %d: messages may "
		    "be "
		    "lost on their way here",
		    one->filter, a->code);
		subscriptions_lowered(&s->subscriptions, one);
	} else {
		log_debug(LOG_CONNECTION, "subscribed to %s, identifier %" PRIu32,
		    one->filter, one->id);
		subscriptions_granted(&s->subscriptions, one);
	}
	return 0;
}

static int
on_unsubscribed(void *context, int mid)
{
	struct source *s = context;
	struct subscription *one = subscriptions_by_mid(&s->subscriptions, mid);

	if (one == NULL)
		return 0;
	log_info(LOG_CONNECTION, "unsubscribed from %s, which no route needs any more",
	    one->filter);
	subscriptions_removed(&s->subscriptions, one);
	return 0;
}

/* ---- the session ---- */

static int
refused(struct source *s, const struct client_answer *a)
{
	const struct settings_mqtt *m = s->settings;

	s->is_explained = true;
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

static bool
is_session_expected(const struct subscriptions *set)
{
	for (size_t i = 0; i < set->count; i++) {
		if (set->list[i].is_granted)
			return true;
	}
	return false;
}

static void
log_connected(const struct source *s, const struct client_answer *a)
{
	const struct settings_mqtt *m = s->settings;

	log_info(LOG_CONNECTION, "connected to %s:%d as %s, MQTT %s, %s session",
	    m->host, m->port, m->client_id, s->protocol == 5 ? "5" : "3.1.1",
	    a->session_present ? "the earlier" : "a new");
	if (!a->session_present && is_session_expected(&s->subscriptions))
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
	err = subscriptions_begin(&s->subscriptions, a->session_present, s->has_ids);
	/* MQTT 3.1.1 would send the retained messages again for each subscription; once
	 * it must be, because the settings may be others now. */
	if (err == 0)
		err = ask(s,
		    s->protocol == 5 || !a->session_present || s->connected_at_ms == 0);
	if (err != 0) {
		log_error(LOG_CONNECTION, "cannot ask for the subscriptions: %s",
		    err == ERR_AWAY ? client_loss_text(s->client) : err_str(err));
		s->is_explained = true;
		return err;
	}
	s->is_connected = true;
	s->connected_at_ms = now_monotonic_ms();
	return 0;
}

/* Another client with our id? The broker ends the one connection for the other. */
static void
watch_for_rival(struct source *s)
{
	int64_t now_ms = now_monotonic_ms();

	if (s->is_connected && now_ms - s->connected_at_ms < BRIEF_CONNECTION_MS)
		s->brief_count++;
	else
		s->brief_count = 0;
	if (client_loss_code(s->client) == CLIENT_TAKEN_OVER) {
		log_repeated(&s->rival_repeat, now_ms, LOG_LEVEL_ERROR, LOG_CONNECTION,
		    "another client has connected as %s: a client id is for one "
		    "gateway "
		    "alone (mqtt.client_id)",
		    s->settings->client_id);
		s->is_explained = true;
	} else if (s->brief_count >= BRIEF_CONNECTIONS) {
		log_repeated(&s->rival_repeat, now_ms, LOG_LEVEL_WARNING,
		    LOG_CONNECTION,
		    "the broker ends each connection soon: does another client use the "
		    "client id %s?",
		    s->settings->client_id);
	}
}

static int
lose(struct source *s, const char *text)
{
	watch_for_rival(s);
	if (!s->is_explained)
		log_repeated(&s->lost_repeat, now_monotonic_ms(), LOG_LEVEL_WARNING,
		    LOG_CONNECTION, "connection to %s:%d lost: %s", s->settings->host,
		    s->settings->port, text);
	source_drop(s);
	return ERR_AWAY;
}

/* ---- what the loop calls ---- */

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
	s->deliver = deliver;
	s->context = context;
	s->protocol = settings->mqtt.protocol;
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
open_client(struct source *s, const char *password)
{
	static const struct client_handler handler = {
	    .connected = on_connected,
	    .subscribed = on_subscribed,
	    .unsubscribed = on_unsubscribed,
	    .message = on_message,
	};
	const struct settings_mqtt *m = s->settings;
	const struct client_options options = {
	    .host = m->host,
	    .port = m->port,
	    .protocol = s->protocol,
	    .id = m->client_id,
	    .username = m->username,
	    .password = password,
	    .keepalive_s = m->keepalive_s,
	    .session_expiry_s = m->session_expiry_s,
	    .receive_maximum = m->receive_maximum,
	};
	const char *why;
	int err = client_open(&s->client, &options, &handler, s, &why);

	if (err != 0)
		log_repeated(&s->connect_repeat, now_monotonic_ms(), LOG_LEVEL_WARNING,
		    LOG_CONNECTION, "cannot connect to %s:%d: %s", m->host, m->port,
		    why);
	return err;
}

int
source_connect(struct source *s)
{
	char *password = NULL;
	int err = 0;

	source_drop(s);
	s->is_explained = false;
	if (s->settings->password != NULL)
		err = settings_secret(s->settings->password, &password);
	if (err == 0)
		err = open_client(s, password);
	if (password != NULL)
		explicit_bzero(password, strlen(password));
	free(password);
	s->opened_at_ms = now_monotonic_ms();
	return err == 0 ? 0 : ERR_AWAY;
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

int
source_read(struct source *s, bool *more)
{
	int err = client_read(s->client, more);

	/* What deliver returned is its caller's; the rest ends the connection. */
	if (err != 0 && (err == ERR_AWAY || !s->is_connected))
		return lose(s, client_loss_text(s->client));
	return err;
}

int
source_flush(struct source *s)
{
	if (!source_wants_write(s))
		return 0;
	if (client_write(s->client) != 0)
		return lose(s, client_loss_text(s->client));
	return 0;
}

int
source_keepalive(struct source *s)
{
	int64_t now_ms = now_monotonic_ms();

	if (client_keepalive(s->client) != 0)
		return lose(s, client_loss_text(s->client));
	if (!s->is_connected && now_ms - s->opened_at_ms >= CONNACK_WAIT_MS)
		return lose(s, "the broker does not answer to CONNECT");
	if (!s->is_connected || now_ms - s->subscribed_at_ms < SUBSCRIBE_RETRY_MS)
		return 0;
	s->subscribed_at_ms = now_ms;
	if (subscriptions_renew(&s->subscriptions, s->has_ids) != 0)
		return 0; /* the journal has logged it; what is granted goes on */
	if (ask(s, false) != 0)
		return lose(s, client_loss_text(s->client));
	return 0;
}

void
source_leave(struct source *s, int64_t timeout_ms)
{
	int64_t deadline_ms = now_monotonic_ms() + timeout_ms, left_ms = timeout_ms;

	while (s->is_connected && source_wants_write(s) && left_ms > 0) {
		struct pollfd wait = {.fd = source_fd(s), .events = POLLOUT};

		(void)poll(&wait, 1, (int)left_ms); /* a signal only makes it shorter */
		(void)source_flush(s);              /* a loss ends the loop */
		left_ms = deadline_ms - now_monotonic_ms();
	}
	if (s->is_connected && !source_wants_write(s) && left_ms > 0)
		client_hang_up(s->client, left_ms);
	s->is_connected = false; /* the time for that is spent */
	source_drop(s);
}
