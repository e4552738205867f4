/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MQTT broker by libmosquitto (mqtt_client.c), with a PUBACK that leaves late.
 *
 * libmosquitto queues the PUBACK before it calls back. mosquitto_threaded_set() makes
 * every packet only queue, and nothing but mosquitto_loop_write() writes; that is
 * called for source_flush() and source_leave() alone. So: read, commit, flush. Never flush
 * while anything read is not yet durable. A queued PUBACK cannot be taken back: after
 * a failed commit source_drop() ends the connection, and the broker sends again.
 *
 * Subscriptions: at QoS 1 at most (MQTT 5, 4.3.3: with QoS 2 ownership would pass
 * before the commit), retain-handling "only when new" (3.8.3.1), each with an
 * identifier of its own (3.8.2.1.2). Where filters overlap a broker may send a message
 * once for each (3.3.4): only the copy of the oldest granted subscription that matches
 * is delivered; a copy with no identifier or an unknown one always is.
 */
#ifndef MQTT_SOURCE_H
#define MQTT_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "journal.h"
#include "record.h"
#include "settings.h"

struct source;

/*
 * A message has arrived. Returns 0, or an error: then reading stops at once.
 *
 * Ownership: r is borrowed for the call.
 */
typedef int source_deliver(void *context, const struct record *r);

/*
 * No connection yet.
 *
 * Ownership: settings, subscriptions' keeper j and context are borrowed for as long
 *            as the source lives. j keeps the set of filters (journal_subscriptions_*).
 * Errors:    ERR_NOMEM.
 */
int source_open(struct source **out, const struct settings *settings, struct journal *j,
    source_deliver *deliver, void *context);

/* Ends the connection without a word if there is one; see source_leave(). */
void source_close(struct source *s);

/*
 * Connect, anew or for the first time; certificates and secrets are read again. Blocks
 * for the TCP connection, 10 s at most, and less when a signal arrives; looking up a
 * name takes as long as resolv.conf(5) says, and no signal cuts that short. The TLS
 * handshake, CONNACK and SUBACK come by source_read().
 *
 * Errors:    ERR_AWAY.
 */
int source_connect(struct source *s);

/* Is there a connection (CONNACK received, not lost since)? */
bool source_is_connected(const struct source *s);

/* Socket for poll(2), or -1 without a connection. */
int source_fd(const struct source *s);

/* Is there something to read that poll(2) cannot see? Then read before waiting. */
bool source_has_pending(const struct source *s);

/* Are there packets that source_flush() would write? */
bool source_wants_write(const struct source *s);

/*
 * Read one packet from the socket, calling deliver if it is a message.
 *
 * more:      out, false when the socket has nothing more just now.
 * Errors:    ERR_AWAY, the connection is lost (logged); what deliver returned.
 */
int source_read(struct source *s, bool *more);

/*
 * Write what is queued, PUBACKs among it. Only when nothing is staged.
 *
 * Errors:    ERR_AWAY.
 */
int source_flush(struct source *s);

/* Keep-alive; once a second. Only queues. Errors: ERR_AWAY. */
int source_keepalive(struct source *s);

/*
 * Queue a message; it leaves by a later source_flush(). The will of each connection is
 * status_gone() on status.mqtt_topic, retained, where that is set.
 *
 * Errors:    ERR_AWAY (no connection, or it is lost now), ERR_NOMEM, ERR_INVALID (it
 *            cannot be sent), ERR_REFUSED (not queued: in the last hour the broker
 *            refused one).
 */
int source_publish(struct source *s, const char *topic, const void *payload,
    size_t size, int qos, bool retain);

/* 5, or 4 for MQTT 3.1.1: as it is spoken, or was last. */
int source_protocol(const struct source *s);

/*
 * Why there is no connection, in words; "" where that is not known. Also while there is
 * one, when another client seems to use our id. Borrowed.
 */
const char *source_trouble(const struct source *s);

/*
 * Does another client seem to use our id? Then each takes the session from the other
 * as often as it comes back, and should come back seldom.
 */
bool source_has_rival(const struct source *s);

/* How many filters that the routes want does the broker not grant? */
size_t source_refused_count(const struct source *s);

/*
 * How many messages has the broker dropped, of all its clients, as it said last? False:
 * it has not said so; count is left as it is.
 */
bool source_broker_dropped(const struct source *s, uint64_t *count);

/*
 * For a gateway that is retired, before source_connect(): nothing is asked for, and the
 * broker is to forget every filter. What it still has for us goes on to arrive. That the
 * filters are gone is in the journal before the broker hears of it.
 */
void source_retire(struct source *s);

/* Did the broker have a session of ours? Once there is a connection. */
bool source_has_session(const struct source *s);

/* Has the broker answered all that source_retire() and source_sound() have asked? */
bool source_is_unsubscribed(const struct source *s);

/* Have the broker answer once more: what it sent before that has then arrived. ERR_AWAY. */
int source_sound(struct source *s);

/*
 * End the session for good, and what the broker keeps of status.mqtt_topic; ends the
 * connection first. Blocks, some seconds where the broker does not answer. The journal
 * then holds no filters any more.
 *
 * Errors:    ERR_AWAY (logged): the session stays; those of
 *            journal_subscriptions_save().
 */
int source_end_session(struct source *s);

/* End the connection, in a second at most; queued PUBACKs are thrown away. */
void source_drop(struct source *s);

/*
 * Leave in order: flush, shutdown(SHUT_WR), read to the end of file, close. Closing
 * with unread bytes would reset the connection, and the broker would lose the PUBACKs
 * on their way (facts: about 3,000 duplicates). No DISCONNECT: the broker publishes the
 * will, which is right for a gateway that stops. Waits at most timeout_ms.
 */
void source_leave(struct source *s, int64_t timeout_ms);

/* The same for a gateway that stays, and will come back: the will is not published. */
void source_pause(struct source *s, int64_t timeout_ms);

#endif
