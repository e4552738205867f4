/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What does not come back, though others are answered: a partition without a leader, or
 * one that has not enough replicas, lets librdkafka wait without an end, and with it the
 * transaction of all lanes. Those that wait for it hold, and try again alone.
 *
 * A slow link looks much the same. So each answer counts as a sign of life, and whoever
 * was late once gets more time.
 */
#include <string.h>

#include "forwarder_parts.h"
#include "transaction.h"

#define LATE_LAST_MS  240000 /* no answer at all, at last */
#define LATE_TRIAL_MS 10000  /* of a lane that has the transaction alone */
#define LATE_GROUP    64     /* records that are tried then, alone */

/*
 * One that tries alone gets the more time the longer it holds: a single record may take
 * long on a slow link.
 */
int64_t
transaction_late_at_ms(const struct forwarder *f)
{
	const struct transaction *t = &f->transaction;
	int64_t since_ms = t->heard_ms > t->ending_ms ? t->heard_ms : t->ending_ms;

	if (t->owner == NULL)
		return since_ms + t->late_ms;
	return since_ms + (t->owner->hold_delay_ms / 2 > LATE_TRIAL_MS
				  ? t->owner->hold_delay_ms / 2
				  : LATE_TRIAL_MS);
}

bool
transaction_find_late(struct forwarder *f)
{
	struct transaction *t = &f->transaction;
	bool is_heard = t->owner != NULL;

	/* Two: that of a single route, and the one without. */
	if (f->lane_count <= 2 || f->now_ms < transaction_late_at_ms(f))
		return false;
	for (size_t i = 0; i < f->lane_count && !is_heard; i++)
		is_heard = f->lanes[i].kept_count > 0;
	for (size_t i = 0; i < f->lane_count && is_heard; i++)
		f->lanes[i].is_late = f->lanes[i].in_flight > 0;
	if (is_heard && t->owner == NULL && t->late_ms < LATE_LAST_MS)
		t->late_ms *= 2;
	return is_heard;
}

static void
hold_one(struct forwarder *f, struct lane *lane)
{
	uint64_t last_seq = lane->end_seq - 1;
	char why[sizeof(lane->held_why)] = "Kafka does not answer for it";

	lane->is_late = false;
	if (lane->hold == LANE_HOLD_ROUTE)
		memcpy(why, lane->held_why, sizeof(why));
	lane_hold(lane, LANE_HOLD_ROUTE, f->now_ms, why);
	lane_go_careful(lane, LATE_GROUP, last_seq);
}

bool
transaction_hold_late(struct forwarder *f)
{
	bool has_any = false;

	for (size_t i = 0; i < f->lane_count; i++) {
		if (!f->lanes[i].is_late)
			continue;
		hold_one(f, &f->lanes[i]);
		has_any = true;
	}
	return has_any;
}
