/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gateway's own messages over the MQTT session, and what becomes of them.
 *
 * Invariant: a report is only queued here; it leaves with source_flush().
 *
 * Failure modes: where the broker refuses a report, by its answer or by ending the
 * connection, there is none for PUBLISH_REST_MS.
 */
#include "mqtt_source_parts.h"

#include "err.h"
#include "now.h"

#define PUBLISH_JUDGE_MS 2000
#define PUBLISH_REST_MS  3600000

int
source_on_publish_refused(void *context, const struct client_answer *a)
{
	struct source *s = context;
	int64_t now_ms = now_monotonic_ms();

	s->rest_until_ms = now_ms + PUBLISH_REST_MS;
	log_repeated(&s->publish_repeat, now_ms, LOG_LEVEL_ERROR, LOG_CONNECTION,
	    "the broker refuses the report on %s: %s (%s); the next one in an hour",
	    s->status_topic, a->text, a->words);
	return 0;
}

void
source_watch_for_refusal(struct source *s)
{
	int64_t now_ms = now_monotonic_ms();

	if (!s->is_connected || now_ms < s->rest_until_ms)
		return;
	if (s->published_at_ms < s->connected_at_ms ||
	    now_ms - s->published_at_ms >= PUBLISH_JUDGE_MS ||
	    client_loss_code(s->client) == CLIENT_TAKEN_OVER) {
		s->hang_up_count = 0;
		return;
	}
	s->hang_up_count++;
	if (s->hang_up_count < BRIEF_CONNECTIONS)
		return;
	s->hang_up_count = 0;
	s->rest_until_ms = now_ms + PUBLISH_REST_MS;
	log_repeated(&s->publish_repeat, now_ms, LOG_LEVEL_ERROR, LOG_CONNECTION,
	    "the broker ends the connection after each report: may %s publish on %s? "
	    "The next one in an hour",
	    s->settings->client_id, s->status_topic);
}

int
source_publish(struct source *s, const char *topic, const void *payload, size_t size,
    int qos, bool retain)
{
	int64_t now_ms = now_monotonic_ms();
	int err;

	if (!s->is_connected)
		return ERR_AWAY;
	if (now_ms < s->rest_until_ms)
		return ERR_REFUSED;
	s->published_at_ms = now_ms;
	err = client_publish(
	    s->client, topic, (struct bytes){payload, size}, qos, retain);
	return err == ERR_AWAY ? source_lose(s, client_loss_text(s->client)) : err;
}
