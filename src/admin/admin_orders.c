/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dead letters and sequences to be skipped: carried out here, or left as an order.
 *
 * Invariant: what was asked is either done, or stands in the journal as an order, or has
 * failed and was told; which of them, the output and the exit status say.
 *
 * Failure modes: tidegate-forward does not come to it in time: the order stays, and is
 * carried out later, also after a restart. It starts or ends while this looks: whoever
 * gets its lock does the work.
 */
#include "admin.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "err.h"
#include "now.h"
#include "worker.h"

#define POLL_MS 50

/* All that was asked for in one call. */
struct request {
	const struct admin *admin;
	struct journal *journal;
	enum journal_order_kind kind;
	struct journal_order *orders;
	size_t count;
	uint64_t done;   /* letters */
	uint64_t queued; /* orders that wait */
	bool is_failed;
};

/* The same number twice is one. */
static void
add(struct request *q, enum journal_order_kind kind, uint64_t seq)
{
	for (size_t i = 0; i < q->count; i++) {
		if (q->orders[i].seq == seq)
			return;
	}
	q->orders[q->count++] = (struct journal_order){.kind = kind, .seq = seq};
}

static int
begin(struct request *q, const struct admin *a, enum journal_order_kind kind)
{
	*q = (struct request){.admin = a, .kind = kind};
	q->orders = calloc(a->argument_count + 1, sizeof(*q->orders));
	if (q->orders == NULL)
		return ERR_NOMEM;
	if (a->is_all)
		q->orders[q->count++].kind = kind;
	for (size_t i = 0; i < a->argument_count; i++)
		add(q, kind, admin_seq(a->arguments[i]));
	return 0;
}

static void
finish(struct request *q)
{
	journal_close(q->journal);
	free(q->orders);
}

/* ---- how it ended ---- */

static void
tell_failed(const struct request *q, const struct journal_order *o)
{
	bool is_skip = o->kind == JOURNAL_ORDER_SKIP;

	if (o->err == ERR_NOTFOUND && o->kind == JOURNAL_ORDER_WITHDRAW)
		admin_complain("%" PRIu64 ": no such order waits", o->seq);
	else if (o->err == ERR_NOTFOUND)
		admin_complain(is_skip ? "%" PRIu64 ": there is no such record yet"
				       : "%" PRIu64 ": there is no such dead letter",
		    o->seq);
	else if (o->err == ERR_FULL)
		admin_complain("%s: the journal is full: the other letters stay where "
			       "they are",
		    q->admin->directory);
	else if (o->err == ERR_CORRUPT)
		admin_complain("%s: damaged dead letters stay where they are; "
			       "\"discard-dead\" removes them",
		    q->admin->directory);
	else
		admin_complain("%s: %s", q->admin->directory, err_str(o->err));
}

static void
print_withdrawn(const struct journal_order *o)
{
	(void)printf("order %" PRIu64 " withdrawn", o->seq);
	if (o->count > 0)
		(void)printf("; %" PRIu64 " were done before, and stay so", o->count);
	(void)printf("\n");
}

static void
take_outcome(struct request *q, const struct journal_order *o)
{
	if (o->err == 0 && o->kind == JOURNAL_ORDER_WITHDRAW)
		print_withdrawn(o);
	else
		q->done += o->count;
	if (o->err == 0)
		return;
	tell_failed(q, o);
	q->is_failed = true;
}

static void
print_done(const struct request *q)
{
	const char *letters = q->done == 1 ? "dead letter" : "dead letters";

	switch (q->kind) {
	case JOURNAL_ORDER_REQUEUE:
		(void)printf("%" PRIu64 " %s requeued\n", q->done, letters);
		break;
	case JOURNAL_ORDER_DISCARD:
		(void)printf("%" PRIu64 " %s discarded%s\n", q->done, letters,
		    q->done == 0   ? ""
		    : q->done == 1 ? "; a gap marker was left for it"
				   : "; a gap marker was left for each");
		break;
	case JOURNAL_ORDER_SKIP:
		if (q->done > 0)
			(void)printf("%" PRIu64
				     " went to the dead letters, for %" PRIu64 " %s\n",
			    q->orders[0].seq, q->done,
			    q->done == 1 ? "route" : "routes");
		else
			(void)printf("%" PRIu64 ": no route owes it any more\n",
			    q->orders[0].seq);
		break;
	case JOURNAL_ORDER_DROP_OLDEST:
	case JOURNAL_ORDER_WITHDRAW: /* print_withdrawn() has told */
		break;
	}
}

static int
report(const struct request *q, bool is_forward_there)
{
	if (q->done > 0 || (q->queued == 0 && !q->is_failed))
		print_done(q);
	if (q->queued > 0)
		(void)printf("queued: tidegate-forward %s\n",
		    is_forward_there
			? "is not through with it yet, and goes on by itself"
			: "will carry it out when it runs");
	if (fflush(stdout) != 0 || q->is_failed)
		return EXIT_FAILED;
	return EXIT_SUCCESS;
}

/* ---- here ---- */

static int
next_seq(struct journal *j, uint64_t *seq)
{
	struct journal_stat stat;
	int rc = journal_stat(j, &stat);

	if (rc != 0)
		return rc;
	*seq = stat.next_seq;
	journal_stat_fini(&stat);
	return 0;
}

/* What its route may come by again is left to tidegate-forward. */
static void
letters_here(struct request *q, struct journal_order *o)
{
	struct journal_dead at = {0};
	struct journal_order rest = {.kind = o->kind, .seq = o->seq};
	bool more = true;
	int rc = next_seq(q->journal, &o->until_seq);

	while (rc == 0 && more)
		rc = journal_order_letters(q->journal, o, &at, &more);
	journal_dead_fini(&at);
	if (rc == 0 && o->err == ERR_AWAY) {
		rc = journal_order_give(q->journal, &rest);
		o->err = 0;
		q->queued += rc == 0;
	} else if (rc == 0 && o->err == 0 && o->count == 0 && o->seq != 0) {
		rc = ERR_NOTFOUND;
	}
	if (rc != 0)
		o->err = rc;
	take_outcome(q, o);
}

static void
withdraw_here(struct request *q, struct journal_order *o)
{
	struct journal_order target = {0};
	int rc = journal_order_next(q->journal, o->seq - 1, &target);

	if (rc == 0 && (target.number != o->seq || target.state != JOURNAL_ORDER_WAITS))
		rc = ERR_NOTFOUND;
	if (rc == 0) {
		target.state = JOURNAL_ORDER_FAILED;
		target.err = ERR_REFUSED;
		target.at_ms = (uint64_t)now_real_ms();
		rc = journal_order_end(q->journal, &target);
		o->count = target.count;
	}
	o->err = rc;
	take_outcome(q, o);
}

/* ---- by order ---- */

/* Has it ended, or is it not there any more? */
static bool
has_ended(const struct request *q, struct journal_order *o)
{
	struct journal_order now = {0};
	int rc = journal_order_next(q->journal, o->number - 1, &now);

	if (rc == 0 && now.number == o->number) {
		*o = now;
		return now.state != JOURNAL_ORDER_WAITS;
	}
	if (rc != 0 && rc != ERR_NOTFOUND)
		return false; /* perhaps next time */
	o->state = JOURNAL_ORDER_FAILED;
	o->err = ERR_NOTFOUND;
	return true;
}

static void
wait_for(struct request *q, struct journal_order *o, int64_t end_ms)
{
	while (!has_ended(q, o)) {
		if (now_monotonic_ms() >= end_ms) {
			q->done += o->count;
			q->queued++;
			return;
		}
		now_pause_ms(POLL_MS);
	}
	/* Left there it would go with time: no reason to call it a failure. */
	(void)journal_order_forget(q->journal, o->number);
	take_outcome(q, o);
}

static int
by_order(struct request *q)
{
	const struct journal_options options = {.directory = q->admin->directory};
	int64_t end_ms = now_monotonic_ms() + q->admin->wait_ms;
	bool is_expected;
	int rc = journal_open(&q->journal, JOURNAL_ORDER, &options);

	if (rc != 0)
		return EXIT_FAILED; /* logged there */
	for (size_t i = 0; i < q->count; i++) {
		rc = journal_order_give(q->journal, &q->orders[i]);
		if (rc != 0) {
			admin_complain("%s: %s", q->admin->directory, err_str(rc));
			q->is_failed = true;
			q->count = i;
		}
	}
	/* One that was there a moment ago, and is not now, is started again. */
	is_expected = q->kind != JOURNAL_ORDER_SKIP ||
		      journal_is_held(q->admin->directory, JOURNAL_FORWARD);
	for (size_t i = 0; i < q->count; i++) {
		if (is_expected)
			wait_for(q, &q->orders[i], end_ms);
		else
			q->queued++;
	}
	return report(q, journal_is_held(q->admin->directory, JOURNAL_FORWARD));
}

/* ---- the commands ---- */

/* ERR_LOCKED: tidegate-forward is there. */
static int
open_here(struct request *q)
{
	const struct journal_options options = {
	    .directory = q->admin->directory, .codec = q->admin->codec};

	if (journal_is_held(q->admin->directory, JOURNAL_FORWARD))
		return ERR_LOCKED;
	return journal_open(&q->journal, JOURNAL_FORWARD, &options);
}

static int
do_or_order(const struct admin *a, enum journal_order_kind kind,
    void (*do_one)(struct request *q, struct journal_order *o))
{
	struct request q;
	int status = EXIT_FAILED;
	int rc = begin(&q, a, kind);

	if (rc == 0)
		rc = open_here(&q);
	if (rc == ERR_LOCKED) {
		status = by_order(&q);
	} else if (rc == 0) {
		for (size_t i = 0; i < q.count; i++)
			do_one(&q, &q.orders[i]);
		status = report(&q, false);
	}
	finish(&q);
	return status;
}

int
admin_letters(const struct admin *a, enum journal_order_kind kind)
{
	return do_or_order(a, kind, letters_here);
}

int
admin_withdraw(const struct admin *a)
{
	return do_or_order(a, JOURNAL_ORDER_WITHDRAW, withdraw_here);
}

int
admin_skip(const struct admin *a)
{
	struct request q;
	int status = EXIT_FAILED;

	if (begin(&q, a, JOURNAL_ORDER_SKIP) == 0)
		status = by_order(&q);
	finish(&q);
	return status;
}
