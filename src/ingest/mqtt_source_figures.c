/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the broker says about itself, which only mosquitto does in this way: how many
 * messages it has dropped, of all its clients, in a topic of its own.
 *
 * Invariants: it is asked for last, when every other filter is granted, and is no part of
 * the set that the journal keeps. A message to that topic which no filter of a route
 * matches goes nowhere, whatever subscription brought it: a session may still have one.
 * Each time the broker is asked to forget it in the same breath, and tells by what it
 * retains: with queue_qos0_messages it would keep each change for a gateway that is away,
 * and mosquitto 2.0.11 lets messages of QoS 1 overtake one another behind those.
 *
 * Failure modes: the broker refuses it, or has no such topic: then there is no figure. It
 * ends the connection in place of the first answer, as some do: it is not asked again.
 */
#include "mqtt_source_parts.h"

#include "now.h"

#include <inttypes.h>
#include <string.h>

#define ASK_MS        10000 /* as often as mosquitto writes it */
#define DROPPED_TOPIC "$SYS/broker/publish/messages/dropped"
#define DIGITS_MAX    19 /* of a number that fits in 64 bits, whatever they are */

static const struct bytes dropped_topic = {DROPPED_TOPIC, sizeof(DROPPED_TOPIC) - 1};

void
source_begin_figures(struct source *s, bool session_present)
{
	struct broker_figures *b = &s->figures;

	b->asked_mid = 0;
	b->forget_mid = 0;
	b->ask_at_ms = 0;
	b->is_settled = false;
	b->may_have_it = session_present && !b->is_forgotten;
}

static int
ask(struct source *s, int64_t now_ms)
{
	struct broker_figures *b = &s->figures;
	int err;

	b->ask_at_ms = now_ms + ASK_MS;
	b->is_forgotten = false;
	err = client_subscribe_retained(s->client, DROPPED_TOPIC, &b->asked_mid);
	if (err != 0)
		return err;
	return client_unsubscribe(s->client, DROPPED_TOPIC, &b->forget_mid);
}

int
source_ask_figures(struct source *s)
{
	struct broker_figures *b = &s->figures;
	const struct subscriptions *set = &s->subscriptions;
	int64_t now_ms = now_monotonic_ms();

	if (b->is_settled || b->is_refused || b->asked_mid != 0 || b->forget_mid != 0 ||
	    now_ms < b->ask_at_ms || !subscriptions_are_granted(set))
		return 0;
	if (b->is_wanted && !subscriptions_match(set, dropped_topic))
		return ask(s, now_ms);
	b->is_settled = true;
	/* A filter of a route's may be the very same: that one must stay. */
	if (!b->may_have_it || subscriptions_want(set, DROPPED_TOPIC))
		return 0;
	return client_unsubscribe(s->client, DROPPED_TOPIC, &b->forget_mid);
}

static bool
take_forgotten(struct broker_figures *b, int mid)
{
	if (b->forget_mid == 0 || mid != b->forget_mid)
		return false;
	b->forget_mid = 0;
	b->is_forgotten = true;
	if (b->is_settled)
		log_debug(LOG_CONNECTION, "unsubscribed from " DROPPED_TOPIC);
	return true;
}

bool
source_take_figures_answer(struct source *s, int mid, const struct client_answer *a)
{
	struct broker_figures *b = &s->figures;

	if (a == NULL)
		return take_forgotten(b, mid);
	if (b->asked_mid == 0 || mid != b->asked_mid)
		return false;
	b->asked_mid = 0;
	if (a->code >= 128) {
		b->is_settled = true;
		b->has_dropped = false;
		log_debug(LOG_CONNECTION,
		    "the broker refuses the subscription to " DROPPED_TOPIC ": %s (%s)",
		    a->text, a->words);
	} else if (!b->is_answered) {
		log_debug(LOG_CONNECTION, "subscribed to " DROPPED_TOPIC);
	}
	b->is_answered = true;
	return true;
}

void
source_watch_figures(struct source *s)
{
	struct broker_figures *b = &s->figures;

	if (!s->is_connected || b->asked_mid == 0 || b->is_answered)
		return;
	b->lost_count++;
	/* Silence may be the network's, once. */
	if (!client_was_hung_up(s->client) && b->lost_count == 1)
		return;
	b->is_refused = true;
	log_info(LOG_CONNECTION,
	    "the connection was lost before the broker answered about " DROPPED_TOPIC
	    ": it is not asked again (mqtt.broker_figures)");
}

/* mosquitto writes it in decimal, and nothing else. */
static void
read_dropped(struct broker_figures *b, struct bytes text)
{
	const char *digits = text.data;
	uint64_t n = 0;

	if (text.size == 0 || text.size > DIGITS_MAX)
		return;
	for (size_t i = 0; i < text.size; i++) {
		if (digits[i] < '0' || digits[i] > '9')
			return;
		n = n * 10 + (uint64_t)(digits[i] - '0');
	}
	b->dropped_count = n;
	b->has_dropped = true;
}

bool
source_take_figure(struct source *s, const struct record *r)
{
	if (r->topic.size != dropped_topic.size ||
	    memcmp(r->topic.data, dropped_topic.data, dropped_topic.size) != 0)
		return false;
	if (s->figures.is_wanted)
		read_dropped(&s->figures, r->payload);
	return !subscriptions_match(&s->subscriptions, r->topic);
}

bool
source_broker_dropped(const struct source *s, uint64_t *count)
{
	if (s->figures.has_dropped)
		*count = s->figures.dropped_count;
	return s->figures.has_dropped;
}
