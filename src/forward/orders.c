/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Orders: what tidegate-admin and ingest ask of the forwarder, found in the journal.
 *
 * Requeueing and discarding are the journal's work, a bounded part in each step. A record
 * to be skipped is buried by each lane that still owes it, when the lane comes by; nothing
 * that is on its way is touched.
 *
 * Invariants: letters leave only when the recorded positions are past them, and an order
 * to skip ends only when they are: so a crash at any point neither brings back what was
 * put away nor sends twice what was requeued. An order is in the journal until it has
 * ended; a restart finds it there.
 *
 * Failure modes: the journal cannot be read or written: logged, and tried again. No room
 * to append letters: the order fails, and says so. A lane never gets to what is to be
 * skipped (its route is switched off): the order waits.
 */
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "forwarder_parts.h"

#define LOOK_MS     250
#define WORK_MAX    16 /* orders in a step; each may be a few commits */
#define TIDY_MS     60000
#define NEW_MAX     1000 /* found in one look */
#define WAITING_MAX 10000
#define ENDED_MAX   1000 /* kept for those who asked */
#define ENDED_MS    ((uint64_t)24 * 3600 * 1000)
#define FORGET_MAX  50 /* at a time; each is a commit */

static void
tell_trouble(struct forwarder *f, const char *what, int err)
{
	log_repeated(&f->orders.log, f->now_ms, LOG_LEVEL_ERROR, LOG_JOURNAL,
	    "cannot %s: %s; trying again", what, err_str(err));
}

/* ---- the list ---- */

static bool
add(struct orders *orders, const struct journal_order *o)
{
	if (orders->count == orders->capacity) {
		size_t capacity = orders->capacity == 0 ? 8 : 2 * orders->capacity;
		struct journal_order *list =
		    realloc(orders->list, capacity * sizeof(*list));

		if (list == NULL)
			return false;
		orders->list = list;
		orders->capacity = capacity;
	}
	orders->list[orders->count++] = *o;
	orders->skip_count += o->kind == JOURNAL_ORDER_SKIP;
	return true;
}

static void
leave_letters(struct orders *orders)
{
	journal_dead_fini(&orders->at);
	orders->at_number = 0;
}

static void
drop(struct orders *orders, size_t index)
{
	const struct journal_order *o = &orders->list[index];

	if (orders->at_number == o->number)
		leave_letters(orders);
	orders->skip_count -= o->kind == JOURNAL_ORDER_SKIP;
	orders->count--;
	memmove(&orders->list[index], &orders->list[index + 1],
	    (orders->count - index) * sizeof(*orders->list));
}

void
forwarder_close_orders(struct forwarder *f)
{
	leave_letters(&f->orders);
	free(f->orders.list);
	f->orders.list = NULL;
}

bool
forwarder_is_skipped(const struct forwarder *f, uint64_t seq)
{
	if (f->orders.skip_count == 0)
		return false;
	for (size_t i = 0; i < f->orders.count; i++) {
		const struct journal_order *o = &f->orders.list[i];

		if (o->kind == JOURNAL_ORDER_SKIP && o->seq == seq &&
		    o->state == JOURNAL_ORDER_WAITS)
			return true;
	}
	return false;
}

/* ---- the end of an order ---- */

static void
tell_done(const struct journal_order *o)
{
	const struct log_details details = {
	    .counts = {{"order", o->number}, {"seq", o->seq}, {"count", o->count}}};
	unsigned long long count = o->count;

	switch (o->kind) {
	case JOURNAL_ORDER_SKIP:
		log_event(count > 0 ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO, LOG_DELIVERY,
		    &details,
		    "skipped as ordered: %llu; routes that owed it, and have it in the "
		    "dead letters now: %llu",
		    (unsigned long long)o->seq, count);
		break;
	case JOURNAL_ORDER_REQUEUE:
		log_event(LOG_LEVEL_INFO, LOG_JOURNAL, &details,
		    "dead letters appended again, as ordered: %llu", count);
		break;
	case JOURNAL_ORDER_DISCARD:
		log_event(LOG_LEVEL_WARNING, LOG_JOURNAL, &details,
		    "dead letters discarded, as ordered: %llu; each has left a gap "
		    "marker",
		    count);
		break;
	case JOURNAL_ORDER_DROP_OLDEST:
		break; /* forwarder_drop_oldest() has told */
	case JOURNAL_ORDER_WITHDRAW:
		log_event(LOG_LEVEL_INFO, LOG_JOURNAL, &details,
		    "order %llu was withdrawn; %llu were done",
		    (unsigned long long)o->seq, count);
		break;
	}
}

static void
tell_failed(const struct journal_order *o)
{
	static const char *const names[] = {
	    [JOURNAL_ORDER_SKIP] = "skip a sequence",
	    [JOURNAL_ORDER_REQUEUE] = "requeue dead letters",
	    [JOURNAL_ORDER_DISCARD] = "discard dead letters",
	    [JOURNAL_ORDER_DROP_OLDEST] = "drop the oldest",
	    [JOURNAL_ORDER_WITHDRAW] = "withdraw an order",
	};

	log_event(LOG_LEVEL_WARNING, LOG_JOURNAL,
	    &(struct log_details){
		.counts = {{"order", o->number}, {"seq", o->seq}, {"count", o->count}}},
	    "the order to %s (%llu) has failed: %s; %llu are done", names[o->kind],
	    (unsigned long long)o->seq, err_str(o->err), (unsigned long long)o->count);
}

/* From now on only its end has to be written. */
static void
conclude(struct forwarder *f, struct journal_order *o, int err)
{
	o->state = err == 0 ? JOURNAL_ORDER_DONE : JOURNAL_ORDER_FAILED;
	o->err = err;
	o->at_ms = f->real_ms > 0 ? (uint64_t)f->real_ms : 0;
	if (f->orders.at_number == o->number)
		leave_letters(&f->orders);
	if (err == 0)
		tell_done(o);
	else
		tell_failed(o);
}

/* False: it could not be written. */
static bool
has_ended(struct forwarder *f, const struct journal_order *o)
{
	int err;

	if (o->state == JOURNAL_ORDER_WAITS)
		return false;
	err = journal_order_end(f->journal, o);
	if (err != 0)
		tell_trouble(f, "write down that an order has ended", err);
	return err == 0;
}

/* ---- letters ---- */

/* What waited for room among the dead letters, or found nothing in the log, goes on. */
static void
wake_lanes(struct forwarder *f)
{
	for (size_t i = 0; i < f->lane_count; i++) {
		struct lane *lane = &f->lanes[i];

		lane->is_at_end = false;
		if (lane->hold == LANE_HOLD_BURY)
			lane->hold_until_ms = f->now_ms;
	}
}

/* All letters were looked at that it is about. */
static void
conclude_letters(struct forwarder *f, struct journal_order *o)
{
	if (o->err == ERR_AWAY) {
		/* Those of which the routes are not past them are tried again. */
		leave_letters(&f->orders);
		return;
	}
	if (o->err == 0 && o->seq != 0 && o->count == 0)
		o->err = ERR_NOTFOUND;
	conclude(f, o, o->err);
}

static void
do_letters(struct forwarder *f, struct journal_order *o)
{
	uint64_t count = o->count;
	bool more = false;
	int err = 0;

	if (f->orders.at_number != o->number) {
		leave_letters(&f->orders);
		f->orders.at_number = o->number;
		o->err = 0;
		err = forwarder_checkpoint(f);
	}
	if (err == 0)
		err = journal_order_letters(f->journal, o, &f->orders.at, &more);
	if (o->count > count)
		wake_lanes(f);
	if (err == 0 && more)
		return;
	if (err == 0) {
		conclude_letters(f, o);
	} else if ((err == ERR_FULL && o->kind == JOURNAL_ORDER_REQUEUE) ||
		   err == ERR_CORRUPT) {
		conclude(f, o, err);
	} else {
		tell_trouble(f, "carry out an order about dead letters", err);
		leave_letters(&f->orders);
	}
}

/* ---- sequences to be skipped ---- */

/* A lane that holds, or is switched off, and stands right there tries now. */
static void
wake_for_skip(struct forwarder *f, uint64_t seq)
{
	for (size_t i = 0; i < f->lane_count; i++) {
		struct lane *lane = &f->lanes[i];

		if (lane->next_seq != seq)
			continue;
		lane->is_parked = false;
		if (lane->hold != LANE_RUNS && lane->hold_until_ms > f->now_ms)
			lane->hold_until_ms = f->now_ms;
	}
}

void
forwarder_note_skipped(struct forwarder *f, struct lane *lane)
{
	if (lane->hold == LANE_HOLD_ROUTE) {
		lane_resume(lane, LANE_HOLD_ROUTE, f->now_ms);
		/* What comes behind it may be no better. */
		lane_go_careful(lane, 1, lane->next_seq);
	}
	f->orders.look_at_ms = f->now_ms;
}

static bool
is_every_lane_past(const struct forwarder *f, uint64_t seq)
{
	for (size_t i = 0; i < f->lane_count; i++) {
		if (f->lanes[i].acked_seq < seq)
			return false;
	}
	return true;
}

static bool
is_past_recorded(const struct forwarder *f, uint64_t seq)
{
	for (size_t i = 0; i < f->lane_count; i++) {
		if (f->acked_seq[i] < seq)
			return false;
	}
	return true;
}

/* How many letters there are of it that were skipped; a restart has not forgotten them. */
static int
count_skipped(struct forwarder *f, uint64_t seq, uint64_t *count)
{
	struct journal_dead dead = {.seq = seq};
	struct record_decoder *decoder = NULL;
	struct dead_letter letter;
	int err = record_decoder_open(&decoder);

	*count = 0;
	while (err == 0) {
		err = journal_dead_next(f->journal, &dead);
		if (err != 0 || dead.seq != seq)
			break;
		if (dead_letter_decode(
			decoder, dead.value.data, dead.value.size, &letter) == 0)
			*count += strcmp(letter.reason, DEAD_SKIPPED) == 0;
	}
	record_decoder_close(decoder);
	journal_dead_fini(&dead);
	return err == ERR_NOTFOUND ? 0 : err;
}

static int
check_seq(struct forwarder *f, uint64_t seq)
{
	struct journal_stat stat;
	int err = journal_stat(f->journal, &stat);

	if (err != 0)
		return err;
	err = seq < stat.next_seq ? 0 : ERR_NOTFOUND;
	journal_stat_fini(&stat);
	return err;
}

static void
do_skip(struct forwarder *f, struct journal_order *o)
{
	int err;

	if (!is_every_lane_past(f, o->seq)) {
		err = check_seq(f, o->seq);
		if (err == ERR_NOTFOUND)
			conclude(f, o, err);
		wake_for_skip(f, o->seq);
		return;
	}
	err = forwarder_checkpoint(f);
	if (err == 0 && !is_past_recorded(f, o->seq))
		return;
	if (err == 0)
		err = count_skipped(f, o->seq, &o->count);
	if (err == 0)
		conclude(f, o, 0);
	else
		tell_trouble(f, "end an order to skip", err);
}

/* ---- dropping ---- */

static void
do_drop(struct forwarder *f, struct journal_order *o)
{
	struct journal_dropped dropped = {0};
	int err = forwarder_drop_oldest(f, o->bytes, &dropped);

	o->count += dropped.records;
	conclude(f, o, err);
}

/* ---- withdrawing ---- */

static struct journal_order *
find_waiting(struct forwarder *f, uint64_t number)
{
	for (size_t i = 0; i < f->orders.count; i++) {
		struct journal_order *o = &f->orders.list[i];

		if (o->number == number && o->state == JOURNAL_ORDER_WAITS &&
		    o->kind != JOURNAL_ORDER_WITHDRAW)
			return o;
	}
	return NULL;
}

/* Its end is on disk before this order's: a restart does not bring it back. */
static void
do_withdraw(struct forwarder *f, struct journal_order *o)
{
	struct journal_order *target = find_waiting(f, o->seq);
	struct journal_order ended;
	int err;

	if (target == NULL) {
		conclude(f, o, ERR_NOTFOUND);
		return;
	}
	ended = *target;
	ended.state = JOURNAL_ORDER_FAILED;
	ended.err = ERR_REFUSED;
	ended.at_ms = f->real_ms > 0 ? (uint64_t)f->real_ms : 0;
	err = journal_order_end(f->journal, &ended);
	if (err != 0) {
		tell_trouble(f, "withdraw an order", err);
		return;
	}
	*target = ended;
	o->count = ended.count;
	conclude(f, o, 0);
}

/* ---- finding and tidying ---- */

/* Anything but 0: no more of them now. */
static int
take_next(struct forwarder *f)
{
	struct orders *orders = &f->orders;
	struct journal_order o = {0};
	int err = journal_order_next(f->journal, orders->seen_number, &o);

	if (err == ERR_CORRUPT && o.number != 0) {
		log_event(LOG_LEVEL_ERROR, LOG_JOURNAL,
		    &(struct log_details){.counts = {{"order", o.number}}},
		    "order %llu is damaged: nobody knows what it asks for, it is "
		    "forgotten",
		    (unsigned long long)o.number);
		err = journal_order_forget(f->journal, o.number);
	} else if (err == 0 && o.state == JOURNAL_ORDER_WAITS && !add(orders, &o)) {
		err = ERR_NOMEM;
	}
	if (err == 0)
		orders->seen_number = o.number;
	return err;
}

static void
look(struct forwarder *f)
{
	int err = 0;

	for (int i = 0; i < NEW_MAX && err == 0 && f->orders.count < WAITING_MAX; i++)
		err = take_next(f);
	if (err != 0 && err != ERR_NOTFOUND)
		tell_trouble(f, "look for orders", err);
}

static bool
is_old(const struct forwarder *f, const struct journal_order *o)
{
	return f->real_ms > 0 && o->at_ms + ENDED_MS < (uint64_t)f->real_ms;
}

/*
 * Nobody has come for the outcome of these: those that ended long ago, and the oldest
 * where there are too many.
 */
static void
tidy(struct forwarder *f)
{
	struct journal_order o = {0};
	size_t ended = 0, forgotten = 0;
	uint64_t after = 0;

	for (; journal_order_next(f->journal, after, &o) == 0; after = o.number)
		ended += o.state != JOURNAL_ORDER_WAITS;
	after = 0;
	while (
	    forgotten < FORGET_MAX && journal_order_next(f->journal, after, &o) == 0) {
		after = o.number;
		if (o.state == JOURNAL_ORDER_WAITS ||
		    (!is_old(f, &o) && ended - forgotten <= ENDED_MAX))
			continue;
		if (journal_order_forget(f->journal, o.number) != 0)
			return;
		forgotten++;
	}
	if (forgotten == FORGET_MAX)
		f->orders.tidy_at_ms = f->now_ms + LOOK_MS;
}

/* ---- the whole ---- */

static void
carry_out(struct forwarder *f, struct journal_order *o)
{
	switch (o->kind) {
	case JOURNAL_ORDER_SKIP:
		do_skip(f, o);
		break;
	case JOURNAL_ORDER_REQUEUE:
	case JOURNAL_ORDER_DISCARD:
		do_letters(f, o);
		break;
	case JOURNAL_ORDER_DROP_OLDEST:
		do_drop(f, o);
		break;
	case JOURNAL_ORDER_WITHDRAW:
		do_withdraw(f, o);
		break;
	}
}

/*
 * Each one has its turn once a round. An order about many letters keeps it, one part a
 * step, until it is through.
 */
static void
go_on(struct forwarder *f)
{
	struct orders *orders = &f->orders;

	for (int work = 0; work < WORK_MAX && orders->turn < orders->count; work++) {
		struct journal_order *o = &orders->list[orders->turn];

		if (o->state == JOURNAL_ORDER_WAITS)
			carry_out(f, o);
		if (orders->at_number != 0)
			return;
		if (has_ended(f, o))
			drop(orders, orders->turn);
		else
			orders->turn++;
	}
	orders->has_more = orders->turn < orders->count;
}

void
forwarder_take_orders(struct forwarder *f)
{
	struct orders *orders = &f->orders;

	if (f->is_stopping)
		return;
	if (f->now_ms >= orders->look_at_ms) {
		orders->look_at_ms = f->now_ms + LOOK_MS;
		look(f);
		if (!orders->has_more)
			orders->turn = 0;
		orders->has_more = true;
	}
	if (orders->has_more)
		go_on(f);
	if (f->now_ms >= orders->tidy_at_ms) {
		orders->tidy_at_ms = f->now_ms + TIDY_MS;
		tidy(f);
	}
}
