/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state of the transaction that is open.
 *
 * Invariants: a record counts as delivered only when the transaction that sent it is
 * committed, and so is then the position that says so. Between the commit and what the
 * journal records of it lies what the position tells after a crash. In doubt about a
 * commit nothing is sent before the position was read.
 *
 * Failure modes: Kafka is away: the same call again until it is back. The commit is
 * refused, or a record: abort, all of it again; without anybody to blame ever more
 * slowly. The producer fails: a new one, and the position is read again. Something does
 * not come back though Kafka answers others: abort, and the lanes that wait for it hold.
 */
#include "transaction.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "err.h"
#include "forwarder_parts.h"

#define AGAIN_MS       10 /* the sink has waited itself before it says "again" */
#define RECOVER_MS     20 /* likewise; for as long as Kafka is away */
#define DELAY_FIRST_MS 1000
#define DELAY_LAST_MS  30000
#define RUSHED_MS      10000

int
transaction_init(struct forwarder *f, const struct forwarder_options *o)
{
	struct transaction *t = &f->transaction;
	uint64_t number;

	if (f->sink->ops->commit == NULL)
		return 0;
	if (getrandom(&number, sizeof(number), 0) != (ssize_t)sizeof(number))
		return ERR_IO;
	snprintf(t->instance, sizeof(t->instance), "%016" PRIx64, number);
	t->state = TRANSACTION_RECOVERING;
	t->late_ms = TRANSACTION_LATE_MS;
	t->record_max = o->transaction_max_records;
	t->age_max_ms = o->transaction_max_ms;
	return 0;
}

void
transaction_fini(struct transaction *t)
{
	buffer_fini(&t->position);
	buffer_fini(&t->found);
	buffer_fini(&t->stranger);
}

/* ---- who may send ---- */

/* Nothing more may join it, and it ends, however young it is. */
static bool
is_closed(const struct transaction *t)
{
	return t->must_end || t->must_abort || t->record_count >= t->record_max;
}

bool
transaction_admits(struct forwarder *f, const struct lane *lane)
{
	struct transaction *t = &f->transaction;
	bool is_careful = lane->careful_limit > 0;

	if (t->state == TRANSACTION_NONE)
		return true;
	if (t->state != TRANSACTION_OPEN || is_closed(t) || f->now_ms < t->again_ms)
		return false;
	if (lane->route == NULL || t->record_count == 0 || t->owner == lane)
		return true;
	if (t->owner == NULL && !is_careful)
		return true;
	if (t->owner == NULL && t->waiting == NULL)
		t->waiting = &f->lanes[lane - f->lanes];
	return false;
}

uint64_t
transaction_gap_sum(void)
{
	return position_hash((struct bytes){"gap", 3});
}

/* The record of next_seq; data NULL: there is none, it is the news of a gap. */
static struct bytes
stored_of_next(const struct lane *lane)
{
	const struct run *run = lane->run;
	uint64_t seq = lane->next_seq;

	if (run == NULL || run->view == NULL || seq < run->base_seq ||
	    seq >= run->end_seq)
		return (struct bytes){NULL, 0};
	return run_stored(run, seq);
}

/* Of all that a transaction sends only the last one's sum counts, and it takes long. */
void
transaction_sum_sent(struct lane *lane)
{
	if (lane->sent_stored.data != NULL)
		lane->sent.sum = position_hash(lane->sent_stored);
	lane->sent_stored.data = NULL;
}

void
transaction_note_sent(struct forwarder *f, struct lane *lane)
{
	struct transaction *t = &f->transaction;

	if (t->state == TRANSACTION_NONE)
		return;
	if (t->record_count == 0) {
		t->begun_ms = f->now_ms;
		t->owner = lane->careful_limit > 0 ? lane : NULL;
	}
	t->record_count++;
	lane->sent_stored = stored_of_next(lane);
	lane->sent = (struct position_mark){
	    .seq = lane->next_seq,
	    .sum = lane->sent_stored.data == NULL ? transaction_gap_sum() : 0,
	    .asked = lane->asked,
	};
}

void
transaction_note_passed(struct forwarder *f, struct lane *lane, uint64_t seq)
{
	/* Nothing was sent of it when the gap is not announced. */
	if (f->transaction.state != TRANSACTION_NONE && lane->sent.seq != 0 &&
	    lane->sent_stored.data == NULL && lane->sent.sum == transaction_gap_sum())
		lane->sent.seq = seq;
}

bool
transaction_take(
    struct forwarder *f, struct lane *lane, uint64_t number, enum sink_result result)
{
	struct transaction *t = &f->transaction;

	if (t->state == TRANSACTION_NONE)
		return false;
	t->heard_ms = f->now_ms;
	if (result == SINK_DELIVERED) {
		lane_keep(lane, number);
		return true;
	}
	t->must_abort = true;
	if (result != SINK_NOT_DELIVERED)
		t->is_refused = true;
	return false;
}

void
transaction_end_soon(struct forwarder *f)
{
	f->transaction.must_end = true;
}

/* ---- how it ends ---- */

/* Nothing of it is left. Those who had to wait for it come first now. */
static void
clear(struct forwarder *f)
{
	struct transaction *t = &f->transaction;

	if (t->owner != NULL)
		f->turn = (size_t)(t->owner - f->lanes + 1) % f->lane_count;
	else if (t->waiting != NULL)
		f->turn = (size_t)(t->waiting - f->lanes);
	t->owner = NULL;
	t->waiting = NULL;
	t->record_count = 0;
	t->must_end = false;
	t->must_abort = false;
	t->is_refused = false;
	t->is_in_doubt = false;
	t->state = TRANSACTION_OPEN;
	f->has_more = true;
}

static void
wait_longer(struct forwarder *f, int64_t at_least_ms)
{
	struct transaction *t = &f->transaction;

	t->delay_ms *= 2;
	if (t->delay_ms < at_least_ms)
		t->delay_ms = at_least_ms;
	if (t->delay_ms > DELAY_LAST_MS)
		t->delay_ms = DELAY_LAST_MS;
	t->again_ms = f->now_ms + t->delay_ms;
}

static void
forget_trouble(struct transaction *t, const char *text)
{
	if (t->why[0] != '\0')
		log_recovered(&t->log, LOG_LEVEL_INFO, LOG_DELIVERY, NULL, "%s", text);
	t->delay_ms = 0;
	t->why[0] = '\0';
}

static int
make_position(struct forwarder *f)
{
	struct transaction *t = &f->transaction;
	char uuid[POSITION_UUID_BYTES];
	int err;

	buffer_clear(&t->position);
	journal_uuid_text(journal_identity(f->journal)->uuid, uuid);
	err = position_begin(&t->position, uuid, t->instance);
	for (size_t i = 0; i < f->lane_count && err == 0; i++) {
		struct lane *lane = &f->lanes[i];
		struct position_route place = lane->place;

		transaction_sum_sent(lane);
		if (lane->sent.seq != 0 && lane->sent.asked != place.last.asked)
			place.before = place.last;
		if (lane->sent.seq != 0)
			place.last = lane->sent;
		/* Not when acked_seq is past it: the journal may not have that yet. */
		if (place.before.seq <= place.last.seq)
			place.before.seq = 0;
		if (place.last.seq != 0)
			err = position_add(&t->position, &place);
	}
	return err != 0 ? err : position_end(&t->position);
}

static void
commit(struct forwarder *f)
{
	struct transaction *t = &f->transaction;
	const char *text = err_str(ERR_FATAL);
	struct bytes position = {t->position.data, t->position.size};
	int err;

	t->is_in_doubt = true;
	err = f->sink->ops->commit(f->sink, position);
	switch (err) {
	case 0:
		transaction_commit_lanes(f);
		t->has_committed = true;
		if (t->owner == NULL && t->late_ms > TRANSACTION_LATE_MS)
			t->late_ms -= t->late_ms / 64;
		forget_trouble(t, "transactions are committed again");
		f->has_progress = true;
		clear(f);
		break;
	case ERR_REFUSED:
		t->state = TRANSACTION_ABORTING;
		break;
	case ERR_FATAL:
		(void)f->sink->ops->is_fatal(f->sink, &text);
		forwarder_note_fatal(f, text);
		break;
	default: /* again */
		break;
	}
}

static void
end_abort(struct forwarder *f)
{
	struct transaction *t = &f->transaction;
	bool is_refused = t->is_refused;

	transaction_undo_lanes(f);
	if (transaction_hold_late(f))
		is_refused = true;
	clear(f);
	/* The first time it may be a broker that has changed its place. */
	if (!is_refused && t->delay_ms == 0)
		t->delay_ms = 1;
	else if (!is_refused)
		wait_longer(f, DELAY_FIRST_MS);
	if (is_refused || t->delay_ms < DELAY_FIRST_MS)
		return;
	if (t->why[0] == '\0')
		snprintf(t->why, sizeof(t->why), "Kafka does not commit what was sent");
	log_repeated(&t->log, f->now_ms, LOG_LEVEL_WARNING, LOG_DELIVERY,
	    "%s: it is sent again in %lld s", t->why, (long long)t->delay_ms / 1000);
}

static void
abort_it(struct forwarder *f)
{
	const char *text = err_str(ERR_FATAL);
	int err = f->sink->ops->abort(f->sink);

	if (err == 0) {
		end_abort(f);
	} else if (err == ERR_FATAL) {
		(void)f->sink->ops->is_fatal(f->sink, &text);
		forwarder_note_fatal(f, text);
	}
}

static int
end(struct forwarder *f)
{
	struct transaction *t = &f->transaction;
	int err;

	if (t->must_abort) {
		t->state = TRANSACTION_ABORTING;
		return 0;
	}
	/*
	 * An abort would be silent about it: Kafka ends no transaction while one of its
	 * partitions takes no end marker (seen with too few replicas). A new producer
	 * says what it waits for.
	 */
	if (f->in_flight > 0 && transaction_find_late(f)) {
		f->has_progress = true; /* the next one need not wait */
		forwarder_note_fatal(
		    f, "some records do not come back, though others do");
	}
	if (f->in_flight > 0)
		return 0;
	if (t->record_count == 0) {
		clear(f);
		return 0;
	}
	err = make_position(f);
	if (err == 0)
		t->state = TRANSACTION_COMMITTING;
	return err;
}

/* ---- a new producer ---- */

static int
recover(struct forwarder *f)
{
	struct transaction *t = &f->transaction;
	const char *text = err_str(ERR_FATAL);
	int err;

	if (f->is_stopping || f->now_ms < t->again_ms)
		return 0;
	err = f->sink->ops->recover(f->sink, &t->found);
	switch (err) {
	case 0:
		break;
	case ERR_REFUSED:
		wait_longer(f, DELAY_FIRST_MS);
		snprintf(t->why, sizeof(t->why),
		    "Kafka does not let us use transactions, or read the position");
		log_repeated(&t->log, f->now_ms, LOG_LEVEL_ERROR, LOG_DELIVERY,
		    "%s; trying again in %lld s", t->why,
		    (long long)t->delay_ms / 1000);
		return 0;
	case ERR_FATAL:
		(void)f->sink->ops->is_fatal(f->sink, &text);
		forwarder_note_fatal(f, text);
		return 0;
	default: /* again */
		return err == ERR_NOMEM ? err : 0;
	}
	err = transaction_take_over(f);
	if (err != 0)
		return err == ERR_AWAY ? 0 : err;
	t->has_recovered = true;
	t->recovered_ms = f->now_ms;
	(void)transaction_hold_late(f); /* the abort has not come to it */
	forget_trouble(t, "transactions go on");
	clear(f);
	return 0;
}

void
transaction_restart(struct forwarder *f)
{
	struct transaction *t = &f->transaction;

	if (t->state == TRANSACTION_NONE)
		return;
	t->state = TRANSACTION_RECOVERING;
	t->again_ms = f->now_ms;
}

bool
transaction_is_rushed(const struct forwarder *f)
{
	const struct transaction *t = &f->transaction;

	return t->state != TRANSACTION_NONE && !t->is_refused && t->has_recovered &&
	       f->now_ms - t->recovered_ms < RUSHED_MS;
}

/* ---- the step ---- */

static bool
is_due(const struct forwarder *f, bool is_idle)
{
	const struct transaction *t = &f->transaction;

	return is_closed(t) ||
	       (t->record_count > 0 &&
		   (is_idle || f->now_ms - t->begun_ms >= t->age_max_ms));
}

int
transaction_step(struct forwarder *f, bool is_idle)
{
	struct transaction *t = &f->transaction;
	int err = 0;

	if (t->state == TRANSACTION_NONE || f->is_fatal)
		return 0;
	if (t->state == TRANSACTION_RECOVERING)
		err = recover(f);
	if (t->state == TRANSACTION_OPEN && is_due(f, is_idle)) {
		t->state = TRANSACTION_ENDING;
		t->ending_ms = f->now_ms;
	}
	if (t->state == TRANSACTION_ENDING)
		err = end(f);
	if (t->state == TRANSACTION_COMMITTING)
		commit(f);
	if (t->state == TRANSACTION_ABORTING && !f->is_fatal)
		abort_it(f);
	return err;
}

bool
transaction_is_clear(const struct forwarder *f)
{
	const struct transaction *t = &f->transaction;

	return t->state == TRANSACTION_NONE ||
	       (t->state == TRANSACTION_OPEN && t->record_count == 0);
}

bool
transaction_is_over(const struct forwarder *f)
{
	return f->is_fatal || f->transaction.state == TRANSACTION_RECOVERING ||
	       transaction_is_clear(f);
}

int64_t
transaction_next_ms(const struct forwarder *f)
{
	const struct transaction *t = &f->transaction;

	if (f->is_fatal)
		return -1;
	switch (t->state) {
	case TRANSACTION_NONE:
		break;
	case TRANSACTION_RECOVERING:
		return t->again_ms > f->now_ms ? t->again_ms : f->now_ms + RECOVER_MS;
	case TRANSACTION_OPEN:
		if (t->record_count > 0)
			return t->begun_ms + t->age_max_ms;
		return t->again_ms > f->now_ms ? t->again_ms : -1;
	case TRANSACTION_ENDING: /* later than that: when something comes back */
		return transaction_late_at_ms(f) > f->now_ms ? transaction_late_at_ms(f)
							     : -1;
	case TRANSACTION_COMMITTING:
	case TRANSACTION_ABORTING:
		return f->now_ms + AGAIN_MS;
	}
	return -1;
}

const char *
transaction_why(const struct forwarder *f)
{
	return f->transaction.why;
}
