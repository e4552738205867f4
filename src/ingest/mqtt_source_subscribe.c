/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The subscriptions of the session: what is asked of the broker, and what it answers.
 *
 * Invariant: one packet asks for one filter, so its number tells which.
 *
 * Failure modes: what the broker refuses or lowers is logged, and asked for again by
 * source_keepalive().
 */
#include "mqtt_source_parts.h"

#include "now.h"

#include <inttypes.h>

#define SUBACK_WAIT_MS 5000

int
source_ask(struct source *s, bool all)
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

int
source_on_subscribed(void *context, const struct client_answer *a)
{
	struct source *s = context;
	struct subscription *one = subscriptions_by_mid(&s->subscriptions, a->mid);
	int64_t now_ms = now_monotonic_ms();

	if (source_take_figures_answer(s, a->mid, a) || one == NULL)
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

int
source_on_unsubscribed(void *context, int mid)
{
	struct source *s = context;
	struct subscription *one = subscriptions_by_mid(&s->subscriptions, mid);

	if (s->is_retiring)
		return source_retire_unsubscribed(s, mid);
	if (source_take_figures_answer(s, mid, NULL) || one == NULL)
		return 0;
	log_info(LOG_CONNECTION, "unsubscribed from %s, which no route needs any more",
	    one->filter);
	subscriptions_removed(&s->subscriptions, one);
	return 0;
}

bool
source_expects_session(const struct source *s)
{
	for (size_t i = 0; i < s->subscriptions.count; i++) {
		if (s->subscriptions.list[i].is_granted)
			return true;
	}
	return false;
}

size_t
source_refused_count(const struct source *s)
{
	bool is_late = now_monotonic_ms() - s->connected_at_ms >= SUBACK_WAIT_MS;
	size_t count = 0;

	for (size_t i = 0; i < s->subscriptions.count && s->is_connected; i++) {
		const struct subscription *one = &s->subscriptions.list[i];

		if (one->is_wanted && !one->is_granted && (one->mid == 0 || is_late))
			count++;
	}
	return count;
}
