/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of the session, for a gateway that is retired.
 *
 * Invariants: the youngest subscription goes first, so that the one whose copies count,
 * where filters overlap, is there as long as any other. The session is ended by a client
 * that begins a new one and leaves it, which every broker understands.
 *
 * Failure modes: the connection is lost: the session is there, perhaps with fewer
 * subscriptions; the journal knows that nothing is certain about them.
 */
#include "mqtt_source_parts.h"

#include <poll.h>
#include <stdlib.h>

#include "err.h"
#include "now.h"

#define ANSWER_WAIT_MS 20000
#define GOODBYE_MS     3000
#define SOUND_FILTER   "tidegate/leave" /* nobody subscribes to it */

void
source_retire(struct source *s)
{
	s->is_retiring = true;
}

bool
source_has_session(const struct source *s)
{
	return s->has_session;
}

bool
source_is_unsubscribed(const struct source *s)
{
	for (size_t i = 0; i < s->subscriptions.count; i++) {
		if (s->subscriptions.list[i].mid != 0)
			return false;
	}
	return s->is_connected && s->sound_mid == 0;
}

int
source_sound(struct source *s)
{
	if (client_unsubscribe(s->client, SOUND_FILTER, &s->sound_mid) != 0)
		return source_lose(s, client_loss_text(s->client));
	return 0;
}

/* Of each filter that it was asked for, and nothing more; or none. */
static int
store_filters(const struct source *s, bool all)
{
	const struct subscriptions *set = &s->subscriptions;
	struct journal_subscriptions stored = {.next_id = set->next_id};
	int err;

	stored.list = calloc(set->count + 1, sizeof(*stored.list));
	if (stored.list == NULL)
		return ERR_NOMEM;
	for (size_t i = 0; all && i < set->count; i++)
		stored.list[stored.count++].filter = set->list[i].filter;
	err = journal_subscriptions_save(set->journal, &stored);
	free(stored.list); /* the filters in it are the set's */
	return err;
}

int
source_retire_connected(struct source *s, const struct client_answer *a)
{
	struct subscriptions *set = &s->subscriptions;
	int err = store_filters(s, true);

	for (size_t i = 0; i < set->count; i++)
		set->list[i].mid = 0;
	for (size_t i = set->count; i > 0 && err == 0 && a->session_present; i--)
		err = client_unsubscribe(
		    s->client, set->list[i - 1].filter, &set->list[i - 1].mid);
	if (err != 0) {
		log_error(LOG_CONNECTION, "cannot end the subscriptions: %s",
		    err == ERR_AWAY ? client_loss_text(s->client) : err_str(err));
		s->is_explained = true;
		return err;
	}
	s->has_session = a->session_present;
	s->is_connected = true;
	s->trouble[0] = '\0';
	s->connected_at_ms = now_monotonic_ms();
	return 0;
}

int
source_retire_unsubscribed(struct source *s, int mid)
{
	struct subscription *one = subscriptions_by_mid(&s->subscriptions, mid);

	if (mid == s->sound_mid)
		s->sound_mid = 0;
	if (one != NULL)
		one->mid = 0;
	return 0;
}

/* ---- the visit that ends it ---- */

struct visit {
	bool is_answered;
	int code;
};

static int
on_answered(void *context, const struct client_answer *a)
{
	struct visit *v = context;

	v->is_answered = true;
	v->code = a->code;
	return 0;
}

static int
ignore_answer(void *context, const struct client_answer *a)
{
	(void)context;
	(void)a;
	return 0;
}

static int
ignore_number(void *context, int mid)
{
	(void)context;
	(void)mid;
	return 0;
}

static int
ignore_message(
    void *context, const struct record *r, const uint32_t ids[], size_t id_count)
{
	(void)context;
	(void)r;
	(void)ids;
	(void)id_count;
	return 0;
}

static int
turn(struct client *c, int64_t left_ms)
{
	struct pollfd fd = {.fd = client_fd(c), .events = POLLIN};
	bool more;
	int err = client_wants_write(c) ? client_write(c) : 0;

	if (err != 0)
		return err;
	fd.fd = client_fd(c);
	if (client_wants_write(c))
		fd.events |= POLLOUT;
	if (!client_has_pending(c) && poll(&fd, 1, (int)left_ms) <= 0)
		return 0;
	return client_read(c, &more);
}

static int
await_answer(struct client *c, const struct visit *v)
{
	int64_t end_ms = now_monotonic_ms() + ANSWER_WAIT_MS;
	int64_t left_ms = ANSWER_WAIT_MS;
	int err = 0;

	while (err == 0 && !v->is_answered && left_ms > 0) {
		err = turn(c, left_ms);
		left_ms = end_ms - now_monotonic_ms();
	}
	return err == 0 && v->is_answered && v->code == 0 ? 0 : ERR_AWAY;
}

/* An empty retained message is none; a broker that refuses it keeps the last report. */
static void
clear_status(struct source *s, struct client *c)
{
	struct pollfd fd = {.fd = client_fd(c), .events = POLLOUT};
	int err;

	if (s->status_topic == NULL)
		return;
	err = client_publish(c, s->status_topic, (struct bytes){"", 0}, 1, true);
	if (err == 0 && poll(&fd, 1, GOODBYE_MS) > 0)
		err = client_write(c);
	if (err != 0)
		log_warning(LOG_CONNECTION,
		    "what the broker keeps of %s could not be cleared: %s",
		    s->status_topic, err_str(err));
}

int
source_end_session(struct source *s)
{
	static const struct client_handler handler = {
	    .connected = on_answered,
	    .subscribed = ignore_answer,
	    .unsubscribed = ignore_number,
	    .publish_refused = ignore_answer,
	    .message = ignore_message,
	};
	struct client *c = NULL;
	struct visit v = {0};
	int err;

	source_pause(s, GOODBYE_MS);
	err = source_open_client(s, &handler, &v, true, &c);
	if (err == 0) {
		err = await_answer(c, &v);
		if (err != 0)
			log_error(LOG_CONNECTION, "%s:%d does not end the session",
			    s->settings->host, s->settings->port);
	}
	if (err == 0) {
		clear_status(s, c);
		if (client_fd(c) >= 0) {
			client_say_goodbye(c);
			client_hang_up(c, GOODBYE_MS);
		}
		err = store_filters(s, false);
	}
	client_close(c);
	return err;
}
