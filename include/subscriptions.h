/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the MQTT broker is asked for: the filters of all routes, their identifiers, and
 * which copy of a message is surplus where filters overlap.
 *
 * An identifier stands for one unbroken subscription and is never used for another. It
 * is stored in the journal only once the broker has granted it; until then the filter
 * is stored with 0, "asked for, nothing known", and gets a fresh identifier at the next
 * try. So is one that was refused, that left the configuration, or whose session the
 * broker has lost. That is what makes it safe to throw a surplus copy away: a granted
 * identifier that is lower has been there since before the copy's own, so the broker
 * holds the other copy for certain.
 */
#ifndef SUBSCRIPTIONS_H
#define SUBSCRIPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buffer.h"
#include "journal.h"
#include "log.h"
#include "settings.h"
#include "topic_matcher.h"

struct subscription {
	char *filter;
	uint32_t id;     /* 0: none */
	int mid;         /* the packet that asks for it, until it is answered; else 0 */
	bool is_wanted;  /* a route needs it; otherwise the broker is to forget it */
	bool is_granted; /* as it was asked for, and unbroken since then */
	uint32_t owner;  /* its number in the matcher, while it is wanted */
	struct log_repeat repeat; /* for the alarm when it is refused */
};

struct subscriptions {
	struct subscription *list; /* by rising id, those without one last */
	size_t count;
	uint32_t next_id;
	struct journal *journal;
	bool is_changed; /* since it was stored */

	/* For subscriptions_is_surplus(), so that its cost does not grow with count. */
	struct topic_matcher *matcher; /* of all that is wanted */
	uint32_t *relied_on; /* by owner: its id if others may be surplus, else 0 */
	size_t owner_count;
	uint32_t *ids; /* those in list, but for 0; they rise */
	size_t id_count;
};

/*
 * Put together what the routes want (a filter that another one covers is not wanted)
 * and what is stored.
 *
 * Ownership: settings is borrowed for the call, j for as long as s lives.
 * Errors:    ERR_NOMEM, those of journal_subscriptions_load(). Nothing to release.
 */
int subscriptions_init(
    struct subscriptions *s, const struct settings *settings, struct journal *j);
void subscriptions_fini(struct subscriptions *s);

/*
 * A connection begins. Without session_present the broker knows no subscription.
 * What is not granted gets a fresh identifier, if with_ids; all of it is stored
 * when this returns 0, so that the broker may be asked.
 *
 * Errors:    those of journal_subscriptions_save().
 */
int subscriptions_begin(struct subscriptions *s, bool session_present, bool with_ids);

/* Fresh identifiers for a further try with what was not granted; otherwise the same. */
int subscriptions_renew(struct subscriptions *s, bool with_ids);

/* The one whose packet this was; NULL: none. */
struct subscription *subscriptions_by_mid(struct subscriptions *s, int mid);

/* The broker's answers. They are stored when the last one is in. */
void subscriptions_granted(struct subscriptions *s, struct subscription *one);
void subscriptions_refused(struct subscriptions *s, struct subscription *one);
void subscriptions_lowered(struct subscriptions *s, struct subscription *one);
void subscriptions_removed(struct subscriptions *s, struct subscription *one);

/* Has the broker granted all that is wanted, and is no answer missing? */
bool subscriptions_are_granted(const struct subscriptions *s);

/* Is there one that is wanted and matches the topic; is this very filter one? */
bool subscriptions_match(const struct subscriptions *s, struct bytes topic);
bool subscriptions_want(const struct subscriptions *s, const char *filter);

/*
 * Is a message that came with these identifiers a surplus copy? Only if all of them
 * are known and an older subscription, granted and still wanted, matches the topic.
 */
bool subscriptions_is_surplus(const struct subscriptions *s, const uint32_t ids[],
    size_t count, struct bytes topic);

#endif
