/* SPDX-License-Identifier: Apache-2.0 */
/* What the files behind mqtt_source.h share; nobody else includes it. */
#ifndef MQTT_SOURCE_PARTS_H
#define MQTT_SOURCE_PARTS_H

#include "buffer.h"
#include "log.h"
#include "mqtt_client.h"
#include "mqtt_source.h"
#include "subscriptions.h"

#define BRIEF_CONNECTIONS 3 /* in a row are no accident */
#define TROUBLE_SIZE      200

/* What the broker says about itself, see mqtt_source_figures.c. */
struct broker_figures {
	bool is_wanted;      /* by the settings */
	int asked_mid;       /* the packet that is not answered yet; 0: none */
	int forget_mid;      /* likewise, of UNSUBSCRIBE */
	int64_t ask_at_ms;   /* not before */
	bool is_settled;     /* on this connection nothing more is to be asked */
	bool is_answered;    /* once at least */
	unsigned lost_count; /* connections that were lost before that */
	bool is_refused;     /* a connection has ended for it: never again */
	bool may_have_it;  /* the broker may have the subscription, of a time before */
	bool is_forgotten; /* the broker has confirmed that it has it no more */
	bool has_dropped;
	uint64_t dropped_count;
};

struct source {
	const struct settings_mqtt *settings;
	const char *status_topic; /* NULL: no will */
	struct buffer will;
	source_deliver *deliver;
	void *context;
	struct subscriptions subscriptions;
	struct client *client; /* NULL: no connection */
	int protocol;          /* 4 once the broker has refused 5 */
	bool is_connected;
	bool has_ids;      /* the broker knows subscription identifiers */
	bool is_explained; /* why the connection ends has been logged */
	bool is_retiring, has_session;
	int sound_mid; /* of source_sound(), until it is answered; else 0 */
	int64_t opened_at_ms, connected_at_ms, subscribed_at_ms;
	int64_t lost_at_ms;  /* a connection that stood; 0: never */
	int64_t rival_at_ms; /* as lost_at_ms, and it looked like another client's */
	char rival[TROUBLE_SIZE];
	int64_t published_at_ms, rest_until_ms; /* 0: never */
	unsigned hang_up_count; /* those that were lost just behind a report */
	char trouble[TROUBLE_SIZE];
	uint64_t surplus_count;
	struct broker_figures figures;
	struct log_repeat connect_repeat, lost_repeat, rival_repeat, publish_repeat;
};

/* Log the loss, and end the connection. Returns ERR_AWAY. */
int source_lose(struct source *s, const char *text);

/* ---- subscriptions ---- */

/*
 * Ask for what the routes want, the oldest first, and then have the rest forgotten, so
 * that a filter goes only when the one that replaces it is there.
 *
 * all:       not only what is not granted yet.
 * Errors:    ERR_AWAY.
 */
int source_ask(struct source *s, bool all);

/* Has the broker granted anything, which a session of ours would still have? */
bool source_expects_session(const struct source *s);

/* Of struct client_handler; the context is the source. */
int source_on_subscribed(void *context, const struct client_answer *a);
int source_on_unsubscribed(void *context, int mid);

/* ---- for good ---- */

/* In place of what on_connected() and source_on_unsubscribed() do. */
int source_retire_connected(struct source *s, const struct client_answer *a);
int source_retire_unsubscribed(struct source *s, int mid);

/* As the settings say, with the secrets. Errors: ERR_AWAY (logged). */
int source_open_client(struct source *s, const struct client_handler *handler,
    void *context, bool is_visit, struct client **out);

/* ---- the broker's figures ---- */

/* A connection begins. */
void source_begin_figures(struct source *s, bool session_present);

/*
 * Ask for them now and then where they are wanted, once all filters are granted, and have
 * the broker forget the subscription at once; otherwise what it may have of a time before.
 * Only queues. Errors: ERR_AWAY.
 */
int source_ask_figures(struct source *s);

/* The broker's answer to a packet; a: NULL of UNSUBSCRIBE. False: it was not that. */
bool source_take_figures_answer(
    struct source *s, int mid, const struct client_answer *a);

/* The connection is lost: because they were asked for, the first time? */
void source_watch_figures(struct source *s);

/* Is it one of them, and of no use beyond that? It has been read then. */
bool source_take_figure(struct source *s, const struct record *r);

/* ---- reports ---- */

/* Of struct client_handler; the context is the source. */
int source_on_publish_refused(void *context, const struct client_answer *a);

/*
 * The connection is lost: because of a report? A broker may end the connection of one
 * that is not allowed to publish (mosquitto 2.0.11 does so with max_queued_messages 0),
 * and MQTT 3.1.1 has no other way to say so. What arrives must not suffer for a report.
 */
void source_watch_for_refusal(struct source *s);

#endif
