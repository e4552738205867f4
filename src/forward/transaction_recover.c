/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the position in Kafka says, held against this journal.
 *
 * Invariants: a record is skipped only when the position says that it was delivered, with
 * the filters that its route has now, and the journal still holds the very record that
 * the route delivered last. Whatever is not certain is sent again, and said.
 *
 * Failure modes: there is no position, or it cannot be read, or what it points to is not
 * in the journal any more: some records may come twice. It is ahead of the journal, or
 * of another one: an older image was restored, so that sequence numbers stand for other
 * records than those that Kafka has: the journal gets a new UUID. It is another
 * process's: two work under one name: wait, and look again.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "err.h"
#include "forwarder_parts.h"
#include "transaction.h"

#define STRANGER_MS 60000
#define RENEW_MS    1000

void
transaction_commit_lanes(struct forwarder *f)
{
	for (size_t i = 0; i < f->lane_count; i++)
		lane_commit(&f->lanes[i], f->now_ms, f->real_ms);
}

void
transaction_undo_lanes(struct forwarder *f)
{
	for (size_t i = 0; i < f->lane_count; i++) {
		struct lane *lane = &f->lanes[i];

		if (lane->kept_count == 0 && !lane->is_draining)
			continue;
		forwarder_leave_run(f, lane);
		lane_undo(lane);
	}
}

/* ---- does a mark fit? ---- */

enum fit {
	FIT_YES,
	FIT_UNKNOWN, /* the record is not to be had */
	FIT_NO,      /* it is another one */
};

static int
find_fit(struct forwarder *f, const struct position_mark *m, enum fit *out)
{
	bool is_gap = m->sum == transaction_gap_sum();
	struct journal_gap gap;
	struct damage damage;
	struct run *run;
	int err;

	*out = FIT_UNKNOWN;
	if (is_gap && journal_gap_at(f->journal, m->seq, &gap) == 0) {
		*out = FIT_YES;
		return 0;
	}
	err = readahead_enter(f->readahead, m->seq, &run, &damage);
	if (err == ERR_NOTFOUND || err == ERR_CORRUPT || err == ERR_VERSION)
		return 0;
	if (err != 0)
		return err;
	if (m->seq >= run->base_seq && m->seq < run->end_seq)
		*out =
		    position_hash(run_stored(run, m->seq)) == m->sum ? FIT_YES : FIT_NO;
	readahead_leave(f->readahead, run);
	return 0;
}

static void
tell_twice(const struct lane *lane, const struct position_mark *m, const char *why)
{
	log_event(LOG_LEVEL_ERROR, LOG_DELIVERY,
	    &(struct log_details){.route = lane->name,
		.counts = {{"acked_seq", lane->acked_seq}, {"seq", m->seq}}},
	    "route %s: Kafka has records up to %" PRIu64
	    " of it, but %s: of those from "
	    "%" PRIu64 " on some may come twice",
	    lane->name, m->seq, why, lane->acked_seq + 1);
}

static void
skip(struct forwarder *f, struct lane *lane, uint64_t seq)
{
	log_event(LOG_LEVEL_INFO, LOG_DELIVERY,
	    &(struct log_details){.route = lane->name,
		.counts = {{"acked_seq", lane->acked_seq}, {"seq", seq}}},
	    "route %s: Kafka has what is for it up to %" PRIu64 ", the journal knew of "
	    "%" PRIu64,
	    lane->name, seq, lane->acked_seq);
	forwarder_leave_run(f, lane);
	lane_go_back(lane);
	lane_skip(lane, seq + 1);
	lane->is_parked = false;
}

/* fits: out, left alone where it does. */
static int
apply_mark(
    struct forwarder *f, struct lane *lane, const struct position_mark *m, bool *fits)
{
	enum fit fit;
	int err;

	if (m->seq <= lane->acked_seq)
		return 0;
	err = find_fit(f, m, &fit);
	if (err != 0)
		return err;
	if (fit == FIT_NO) {
		*fits = false;
	} else if (m->asked != lane->asked && m->asked != lane->passed_asked) {
		tell_twice(lane, m, "its filters have been changed more than once");
	} else if (fit == FIT_UNKNOWN) {
		tell_twice(lane, m, "that one is not in the journal any more");
	} else if (m->asked == lane->asked) {
		skip(f, lane, m->seq);
	} else if (m->seq > lane->passed_seq) {
		lane->passed_seq = m->seq;
	}
	return 0;
}

/* ---- the position ---- */

/* Routes are written in the order of lanes. */
static struct lane *
find_lane(struct forwarder *f, const char *name, size_t *from)
{
	for (size_t n = 0; n + 1 < f->lane_count; n++) {
		size_t i = (*from + n) % (f->lane_count - 1);

		if (strcmp(f->lanes[i].name, name) != 0)
			continue;
		*from = i + 1;
		return &f->lanes[i];
	}
	return NULL;
}

static int
apply(struct forwarder *f, const struct position *p, bool *fits)
{
	struct journal_stat stat;
	size_t from = 0;
	int err = journal_stat(f->journal, &stat);

	if (err != 0)
		return err;
	for (size_t i = 0; i < p->route_count && *fits; i++)
		*fits = p->routes[i].last.seq < stat.next_seq &&
			p->routes[i].before.seq < stat.next_seq;
	journal_stat_fini(&stat);
	for (size_t i = 0; i < p->route_count && err == 0 && *fits; i++) {
		const struct position_route *r = &p->routes[i];
		struct lane *lane = find_lane(f, r->name, &from);

		if (lane == NULL)
			continue;
		err = apply_mark(f, lane, &r->last, fits);
		if (err == 0 && *fits)
			err = apply_mark(f, lane, &r->before, fits);
		if (err == 0)
			lane->place = *r;
	}
	return err;
}

static int
renew(struct forwarder *f)
{
	struct transaction *t = &f->transaction;
	char before[POSITION_UUID_BYTES], now[POSITION_UUID_BYTES];
	int err;

	journal_uuid_text(journal_identity(f->journal)->uuid, before);
	err = journal_renew_identity(f->journal);
	if (err != 0) {
		snprintf(t->why, sizeof(t->why),
		    "the journal is older than what Kafka has of it, and cannot get a "
		    "new UUID: %s",
		    err_str(err));
		log_repeated(
		    &t->log, f->now_ms, LOG_LEVEL_ERROR, LOG_JOURNAL, "%s", t->why);
		t->again_ms = f->now_ms + RENEW_MS;
		return ERR_AWAY;
	}
	journal_uuid_text(journal_identity(f->journal)->uuid, now);
	log_event(LOG_LEVEL_ERROR, LOG_JOURNAL, NULL,
	    "the journal is not the one that Kafka knows: it was restored from an "
	    "older "
	    "image, or its disk has lost what it had confirmed. It has a new UUID, %s "
	    "in "
	    "place of %s; all that it holds is sent, and what Kafka had of it comes "
	    "twice",
	    now, before);
	return ERR_IDENTITY;
}

/* ---- whose is it? ---- */

static bool
is_ours(const struct transaction *t, const struct position *p)
{
	if (!t->has_recovered || strcmp(p->instance, t->instance) == 0)
		return true;
	return !t->has_committed && strcmp(p->instance, t->instance_before) == 0;
}

/* One that has not moved since the last look was left by somebody who is gone. */
static bool
is_left(const struct transaction *t)
{
	return t->stranger.size == t->found.size &&
	       memcmp(t->stranger.data, t->found.data, t->found.size) == 0;
}

static int
beware(struct forwarder *f)
{
	struct transaction *t = &f->transaction;
	int err;

	buffer_clear(&t->stranger);
	err = buffer_append(&t->stranger, t->found.data, t->found.size);
	if (err != 0)
		return err;
	t->again_ms = f->now_ms + STRANGER_MS;
	snprintf(t->why, sizeof(t->why),
	    "another process forwards a copy of this journal under the same "
	    "transactional id");
	log_repeated(&t->log, f->now_ms, LOG_LEVEL_ERROR, LOG_DELIVERY,
	    "%s: stop one of them; if this machine is a copy, give it an identity of "
	    "its "
	    "own with \"tidegate-admin new-identity\"; trying again in %d s",
	    t->why, STRANGER_MS / 1000);
	return ERR_AWAY;
}

/* ---- taking over ---- */

static bool
is_of_this_journal(const struct forwarder *f, const struct position *p)
{
	char uuid[POSITION_UUID_BYTES];

	journal_uuid_text(journal_identity(f->journal)->uuid, uuid);
	return strcmp(p->uuid, uuid) == 0;
}

static bool
is_used(const struct forwarder *f)
{
	for (size_t i = 0; i < f->lane_count; i++) {
		if (f->lanes[i].acked_seq > 0)
			return true;
	}
	return false;
}

/* Kafka has no position that could be used. */
static int
go_without(struct forwarder *f, int err)
{
	struct transaction *t = &f->transaction;

	transaction_undo_lanes(f);
	if (err != 0)
		log_error(LOG_DELIVERY,
		    "the position in Kafka cannot be used (%s): what was delivered and "
		    "not recorded in the journal may come twice",
		    err_str(err));
	else if (t->has_committed)
		log_error(LOG_DELIVERY,
		    "the position in Kafka is gone: what was delivered and not "
		    "recorded in the journal may come twice");
	else if (is_used(f))
		log_warning(LOG_DELIVERY,
		    "Kafka has no position of this journal: it goes on from what the "
		    "journal has recorded; what was delivered just before may come "
		    "twice");
	return 0;
}

static int
take(struct forwarder *f, const struct position *p)
{
	struct transaction *t = &f->transaction;
	bool fits = true;
	int err;

	if (!is_ours(t, p) && !is_left(t))
		return beware(f);
	if (!is_ours(t, p) || !t->has_recovered) {
		memcpy(t->instance_before, p->instance, sizeof(t->instance_before));
		t->has_committed = false;
	}
	if (t->is_in_doubt && t->position.size == t->found.size &&
	    memcmp(t->position.data, t->found.data, t->found.size) == 0) {
		transaction_commit_lanes(f);
		t->has_committed = true;
	} else {
		transaction_undo_lanes(f);
	}
	err = apply(f, p, &fits);
	if (err != 0)
		return err;
	return fits ? 0 : renew(f);
}

int
transaction_take_over(struct forwarder *f)
{
	struct transaction *t = &f->transaction;
	struct position p = {0};
	int err = 0;

	if (t->found.size == 0)
		return go_without(f, 0);
	err = position_parse(&p, (struct bytes){t->found.data, t->found.size});
	if (err == ERR_NOMEM)
		return err;
	if (err == 0 && !is_of_this_journal(f, &p))
		err = ERR_IDENTITY;
	err = err != 0 ? go_without(f, err) : take(f, &p);
	position_fini(&p);
	/* The journal cannot be read just now. */
	if (err != 0 && err != ERR_NOMEM && err != ERR_IDENTITY && err != ERR_AWAY) {
		t->again_ms = f->now_ms + RENEW_MS;
		err = ERR_AWAY;
	}
	return err;
}
