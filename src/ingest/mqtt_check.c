/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A visit to the MQTT broker, in a session of its own.
 *
 * Invariant: what is subscribed to belongs to a session that ends with its connection,
 * however this process ends. A first connection asks for the configured session expiry,
 * because only so a broker tells what it would grant; it subscribes to nothing, and the
 * second one, with a clean start, ends its session too.
 *
 * Failure modes: a broker that takes the connection and does not answer is left at
 * CHECK_SOFT_MS; a name server that does not answer ends the process (check.h).
 */
#include "mqtt_check.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "mqtt_client.h"

#define TURN_MS  200
#define LEAVE_MS 500
#define CONNECT  "mqtt.connect"
#define FILTER   "mqtt.subscription"

/* A filter, and what the broker says to it. */
struct question {
	const char *filter; /* as configured */
	const char *plain;  /* without $share/GROUP/ */
	int mid;            /* 0: not asked */
	bool is_answered;
	int code;
	char text[300];
};

struct visit {
	struct check *check;
	const struct settings_mqtt *settings;
	char *id;
	char *password, *key_password;
	int protocol;
	struct client *client;
	bool is_answered; /* CONNACK is here, and this is in it: */
	int code;
	uint32_t session_expiry_s;
	bool has_shared;
	char text[300];
	struct question *questions;
	size_t question_count;
};

/* ---- answers ---- */

static int
on_connected(void *context, const struct client_answer *a)
{
	struct visit *v = context;

	v->is_answered = true;
	v->code = a->code;
	v->session_expiry_s = a->session_expiry_s;
	v->has_shared = a->has_shared;
	(void)snprintf(v->text, sizeof(v->text), "%s (%s)", a->text, a->words);
	return 0;
}

static int
on_subscribed(void *context, const struct client_answer *a)
{
	struct visit *v = context;

	for (size_t i = 0; i < v->question_count; i++) {
		struct question *q = &v->questions[i];

		if (q->mid != a->mid)
			continue;
		q->is_answered = true;
		q->code = a->code;
		(void)snprintf(q->text, sizeof(q->text), "%s (%s)", a->text, a->words);
	}
	return 0;
}

static int
on_unsubscribed(void *context, int mid)
{
	(void)context;
	(void)mid;
	return 0;
}

/* A copy: the gateway's session gets its own. */
static int
on_message(void *context, const struct record *r, const uint32_t ids[], size_t id_count)
{
	(void)context;
	(void)r;
	(void)ids;
	(void)id_count;
	return 0;
}

static bool
has_all_answers(const struct visit *v)
{
	if (!v->is_answered)
		return false;
	for (size_t i = 0; i < v->question_count; i++) {
		if (v->questions[i].mid != 0 && !v->questions[i].is_answered)
			return false;
	}
	return true;
}

/* ---- the connection ---- */

static int
turn(struct visit *v)
{
	bool wants_write = client_wants_write(v->client);
	struct pollfd wait = {
	    .fd = client_fd(v->client),
	    .events = wants_write ? POLLIN | POLLOUT : POLLIN,
	};
	bool more = true;
	int err;

	if (!client_has_pending(v->client))
		(void)poll(&wait, 1, TURN_MS); /* a signal only makes it shorter */
	err = client_read(v->client, &more);
	if (err == 0 && client_wants_write(v->client))
		err = client_write(v->client);
	return err != 0 ? err : client_keepalive(v->client);
}

/* why: out, on failure; as long as the client lives. */
static int
wait_for_answers(struct visit *v, const char **why)
{
	while (!has_all_answers(v)) {
		if (check_left_ms(v->check) == 0) {
			*why = "it took the connection, and gives no answer";
			return ERR_AWAY;
		}
		if (turn(v) != 0 && !has_all_answers(v)) {
			*why = client_loss_text(v->client);
			return ERR_AWAY;
		}
	}
	return 0;
}

static void
leave(struct visit *v)
{
	if (v->client != NULL && client_fd(v->client) >= 0) {
		/* PUBACKs of copies: it does not matter whether all of them leave. */
		if (client_wants_write(v->client))
			(void)client_write(v->client);
		client_say_goodbye(v->client);
		client_hang_up(v->client, LEAVE_MS);
	}
	client_close(v->client);
	v->client = NULL;
}

/* Connect, and have CONNACK. Says why not. */
static int
enter(struct visit *v, uint32_t session_expiry_s)
{
	static const struct client_handler handler = {
	    .connected = on_connected,
	    .subscribed = on_subscribed,
	    .unsubscribed = on_unsubscribed,
	    .message = on_message,
	};
	const struct settings_mqtt *m = v->settings;
	struct client_options options;
	const char *why = "";
	int err;

	client_options_init(&options, m);
	options.protocol = v->protocol;
	options.id = v->id;
	options.is_visit = true;
	options.password = v->password;
	options.session_expiry_s = session_expiry_s;
	options.key_password = v->key_password;
	v->is_answered = false;
	err = client_open(&v->client, &options, &handler, v, &why);
	if (err == 0)
		err = wait_for_answers(v, &why);
	if (err != 0)
		check_say(v->check, CHECK_FAIL, CONNECT, NULL,
		    "%s:%d cannot be reached: %s", m->host, m->port, why);
	return err;
}

/* The same with what the broker speaks, and what it grants. */
static int
greet(struct visit *v)
{
	const struct settings_mqtt *m = v->settings;
	int err = enter(v, m->session_expiry_s);

	if (err != 0)
		return err;
	if (v->protocol == 5 && v->code == CLIENT_PROTOCOL_REFUSED) {
		v->protocol = 4;
		leave(v);
		err = enter(v, 0);
	} else if (v->protocol == 5 && v->code == 0) {
		uint32_t granted_s = v->session_expiry_s;

		leave(v);
		err = enter(v, 0);
		v->session_expiry_s = granted_s;
	}
	return err;
}

static int
check_connect(struct visit *v)
{
	const struct settings_mqtt *m = v->settings;
	enum check_result result = CHECK_OK;
	char more[120] = "";
	int err = greet(v);

	if (err != 0)
		return err;
	if (v->code != 0) {
		check_say(v->check, CHECK_FAIL, CONNECT, NULL,
		    "%s:%d refuses the connection of %s: %s", m->host, m->port, v->id,
		    v->text);
		return ERR_REFUSED;
	}
	if (v->protocol != m->protocol) {
		result = CHECK_WARN;
		(void)snprintf(more, sizeof(more),
		    "; it does not speak MQTT 5: say so by mqtt.protocol = 4");
	} else if (v->protocol == 5 && v->session_expiry_s < m->session_expiry_s) {
		result = CHECK_WARN;
		(void)snprintf(more, sizeof(more),
		    "; it keeps the session for no longer than %" PRIu32 " s (%s)",
		    v->session_expiry_s,
		    check_duration((int64_t)v->session_expiry_s * 1000).text);
	}
	check_say(v->check, result, CONNECT, NULL, "%s:%d takes %s by MQTT %s%s%s",
	    m->host, m->port, v->id, v->protocol == 5 ? "5" : "3.1.1",
	    m->tls.is_on ? " over TLS" : "", more);
	return 0;
}

/* ---- filters ---- */

static const char *
without_share(const char *filter)
{
	const char *slash;

	if (strncmp(filter, "$share/", 7) != 0)
		return filter;
	slash = strchr(filter + 7, '/');
	return slash != NULL ? slash + 1 : filter;
}

static bool
is_listed(const struct visit *v, const char *filter)
{
	for (size_t i = 0; i < v->question_count; i++) {
		if (strcmp(v->questions[i].filter, filter) == 0)
			return true;
	}
	return false;
}

/* Those of every route: one that is off holds, and its messages are taken in. */
static int
list_filters(struct visit *v, const struct settings *s)
{
	size_t count = 0;

	for (size_t r = 0; r < s->route_count; r++)
		count += s->routes[r].topic_filter_count;
	v->questions = calloc(count, sizeof(*v->questions));
	if (v->questions == NULL)
		return ERR_NOMEM;
	for (size_t r = 0; r < s->route_count; r++) {
		for (size_t f = 0; f < s->routes[r].topic_filter_count; f++) {
			const char *filter = s->routes[r].topic_filters[f];

			if (!is_listed(v, filter))
				v->questions[v->question_count++] = (struct question){
				    .filter = filter, .plain = without_share(filter)};
		}
	}
	return 0;
}

static void
say_filter(struct visit *v, const struct question *q, const char *why)
{
	bool is_shared = q->plain != q->filter;

	if (!q->is_answered)
		check_say(v->check, CHECK_FAIL, FILTER, q->filter, "%s", why);
	else if (q->code >= 128)
		check_say(
		    v->check, CHECK_FAIL, FILTER, q->filter, "refused: %s", q->text);
	else if (is_shared && !v->has_shared)
		check_say(v->check, CHECK_FAIL, FILTER, q->filter,
		    "the broker has no shared subscriptions");
	else if (q->code < v->settings->qos)
		check_say(v->check, CHECK_WARN, FILTER, q->filter,
		    "granted at QoS %d in place of %d: messages may be lost on their "
		    "way here",
		    q->code, v->settings->qos);
	else
		check_say(v->check, CHECK_OK, FILTER, q->filter, "granted at QoS %d%s",
		    q->code,
		    is_shared ? "; asked for without its group, so as to take nothing "
				"away from it"
			      : "");
}

static void
check_filters(struct visit *v)
{
	const char *why = "it could not be asked for";
	int err = 0;

	for (size_t i = 0; i < v->question_count && err == 0; i++)
		err = client_subscribe(v->client, v->questions[i].plain,
		    v->settings->qos, 0, &v->questions[i].mid);
	if (err != 0)
		why = client_loss_text(v->client);
	else
		(void)wait_for_answers(v, &why);
	for (size_t i = 0; i < v->question_count; i++)
		say_filter(v, &v->questions[i], why);
}

/* ---- the whole ---- */

static int
read_secrets(struct visit *v)
{
	const struct settings_mqtt *m = v->settings;
	const char *what = "mqtt.password";
	int err = 0;

	if (m->password != NULL)
		err = settings_secret(what, m->password, &v->password);
	if (err == 0 && m->tls.is_on && m->tls.key_password != NULL) {
		what = "mqtt.tls.key_password";
		err = settings_secret(what, m->tls.key_password, &v->key_password);
	}
	if (err != 0)
		check_say(v->check, CHECK_FAIL, CONNECT, NULL,
		    "%s cannot be read; the reason is on standard error", what);
	return err;
}

void
mqtt_check(struct check *c, const struct settings *settings)
{
	struct visit v = {.check = c,
	    .settings = &settings->mqtt,
	    .protocol = settings->mqtt.protocol};
	char text[400];
	int err;

	if (asprintf(&v.id, "%s-check", settings->mqtt.client_id) < 0) {
		check_say(c, CHECK_FAIL, CONNECT, NULL, "%s", err_str(ERR_NOMEM));
		return;
	}
	(void)snprintf(text, sizeof(text), "%s:%d cannot be reached: no answer in time",
	    settings->mqtt.host, settings->mqtt.port);
	check_wait_for(c, CONNECT, text);
	err = read_secrets(&v);
	if (err == 0)
		err = check_connect(&v);
	if (err == 0 && list_filters(&v, settings) == 0)
		check_filters(&v);
	else if (err == 0)
		check_say(c, CHECK_FAIL, FILTER, NULL, "%s", err_str(ERR_NOMEM));
	check_wait_for_nothing(c);
	leave(&v);
	settings_secret_forget(v.password);
	settings_secret_forget(v.key_password);
	free(v.questions);
	free(v.id);
}
