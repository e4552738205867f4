/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The room in the journal, and the two policies that lose messages where there is none.
 *
 * Dropping the oldest is forward's work: it knows what is on its way. It is ordered
 * before the room has come to its end, one order at a time, and until it is carried out
 * ingest waits as with "block": a forward that is dead makes nobody lose anything.
 *
 * Failure modes: the room cannot be told: a commit will tell. No order can be left: it is
 * tried again, and ingest waits.
 */
#include "ingest_room.h"

#include <inttypes.h>
#include <poll.h>

#include "err.h"
#include "now.h"

/* After an order that brought nothing. */
#define ORDER_RETRY_FIRST_MS 2000
#define ORDER_RETRY_LAST_MS  60000
#define AWAIT_MS             500
#define AWAIT_STEP_MS        5

void
ingest_room_init(struct ingest_room *r, const struct worker *w, struct journal *journal)
{
	r->worker = w;
	r->settings = w->settings;
	r->journal = journal;
	r->low_bytes = w->settings->journal.max_bytes / 64;
	if (r->low_bytes < COMMIT_EXTRA_BYTES)
		r->low_bytes = COMMIT_EXTRA_BYTES;
	ingest_room_expect_usual(r);
}

/* ---- how much ---- */

void
ingest_room_measure(struct ingest_room *r, int64_t now_ms)
{
	uint64_t bytes;
	int err = journal_room(r->journal, &bytes);

	if (err != 0) { /* then a commit will tell */
		log_repeated(&r->measure_repeat, now_ms, LOG_LEVEL_WARNING, LOG_JOURNAL,
		    "cannot tell how much room there is: %s", err_str(err));
		return;
	}
	r->bytes = bytes;
	if (fill_rate_is_due(&r->fill, now_ms))
		fill_rate_note(&r->fill, now_ms, bytes);
}

void
ingest_room_expect_usual(struct ingest_room *r)
{
	uint64_t bytes = r->settings->journal.max_bytes / 20;

	r->resume_bytes = bytes > 2 * r->low_bytes ? bytes : 2 * r->low_bytes;
}

void
ingest_room_fail(struct ingest_room *r, size_t bytes, int64_t now_ms)
{
	uint64_t wanted = 2 * ((uint64_t)bytes + COMMIT_EXTRA_BYTES);

	ingest_room_measure(r, now_ms);
	ingest_room_expect_usual(r);
	/* So much that the same batch fits, but never more than can be hoped for. */
	if (wanted > r->settings->journal.max_bytes / 8)
		wanted = r->settings->journal.max_bytes / 8;
	if (wanted > r->resume_bytes)
		r->resume_bytes = wanted;
}

size_t
ingest_room_commit_max(const struct ingest_room *r)
{
	uint64_t bytes = r->bytes - r->bytes / 8;

	bytes -= bytes < COMMIT_EXTRA_BYTES ? bytes : COMMIT_EXTRA_BYTES;
	/* What is dropped takes no room, but its PUBACK is wanted. */
	if (r->is_dropping || bytes > r->settings->journal.commit_max_bytes)
		bytes = r->settings->journal.commit_max_bytes;
	return (size_t)bytes;
}

bool
ingest_room_is_low(const struct ingest_room *r)
{
	return r->bytes < r->low_bytes;
}

/* Nothing waits in the journal: more room than now there will not be. */
static bool
is_journal_empty(struct ingest_room *r)
{
	struct journal_stat stat;
	bool is_empty;

	if (journal_stat(r->journal, &stat) != 0)
		return false;
	is_empty = stat.records == 0;
	journal_stat_fini(&stat);
	return is_empty;
}

bool
ingest_room_is_back(struct ingest_room *r)
{
	if (ingest_room_is_low(r))
		return false;
	return r->bytes >= r->resume_bytes || is_journal_empty(r);
}

/* ---- dropping the oldest ---- */

static bool
drops_oldest(const struct ingest_room *r)
{
	return r->settings->journal.on_full == SETTINGS_FULL_DROP_OLDEST;
}

static void
order_later(struct ingest_room *r, int64_t now_ms)
{
	int64_t delay_ms = 2 * r->order_delay_ms;

	if (delay_ms < ORDER_RETRY_FIRST_MS)
		delay_ms = ORDER_RETRY_FIRST_MS;
	r->order_delay_ms =
	    delay_ms < ORDER_RETRY_LAST_MS ? delay_ms : ORDER_RETRY_LAST_MS;
	r->order_at_ms = now_ms + r->order_delay_ms;
}

static void
give_order(struct ingest_room *r, int64_t now_ms)
{
	struct journal_order o = {
	    .kind = JOURNAL_ORDER_DROP_OLDEST, .bytes = 2 * r->resume_bytes};
	int err = journal_order_give(r->journal, &o);

	if (err == 0) {
		r->order_number = o.number;
		worker_wake(r->worker);
		return;
	}
	order_later(r, now_ms);
	log_repeated(&r->order_repeat, now_ms, LOG_LEVEL_ERROR, LOG_JOURNAL,
	    "cannot order that the oldest be dropped: %s", err_str(err));
}

/* What became of an order of ours. One that waits is void when the policy has changed. */
static void
note_order(struct ingest_room *r, const struct journal_order *o, int64_t now_ms)
{
	if (o->state == JOURNAL_ORDER_WAITS && drops_oldest(r)) {
		r->order_number = o->number;
		return;
	}
	(void)journal_order_forget(
	    r->journal, o->number); /* else forward does, later */
	r->order_number = 0;
	ingest_room_measure(r, now_ms);
	if (o->count > 0) {
		r->dropped_count += o->count;
		r->dropped_at_ms = now_ms;
	}
	if (o->count > 0 || r->bytes >= r->resume_bytes)
		r->order_delay_ms = 0;
	else
		order_later(r, now_ms);
}

/* Those that an ingest before this one has left. */
static void
find_orders(struct ingest_room *r, int64_t now_ms)
{
	struct journal_order o = {0};
	int err = 0;

	for (uint64_t after = 0; err == 0 || err == ERR_CORRUPT; after = o.number) {
		err = journal_order_next(r->journal, after, &o);
		if (err == ERR_CORRUPT && o.number <= after)
			break;
		if (err == 0 && o.kind == JOURNAL_ORDER_DROP_OLDEST)
			note_order(r, &o, now_ms);
	}
	r->has_found_orders = err == ERR_NOTFOUND || err == ERR_CORRUPT;
}

static void
look_at_order(struct ingest_room *r, int64_t now_ms)
{
	struct journal_order o = {0};
	int err;

	if (r->order_number == 0)
		return;
	err = journal_order_next(r->journal, r->order_number - 1, &o);
	if (err == ERR_NOTFOUND || (err == 0 && o.number != r->order_number))
		r->order_number = 0; /* somebody has tidied up */
	else if (err == 0)
		note_order(r, &o, now_ms);
}

static void
order_room(struct ingest_room *r, int64_t now_ms)
{
	if (!r->has_found_orders)
		find_orders(r, now_ms);
	if (!drops_oldest(r))
		return;
	/* Also where there is room: what it dropped has to be counted. */
	look_at_order(r, now_ms);
	if (r->order_number == 0 && now_ms >= r->order_at_ms &&
	    r->bytes < r->resume_bytes)
		give_order(r, now_ms);
}

void
ingest_room_await(struct ingest_room *r)
{
	int64_t now_ms = now_monotonic_ms(), end_ms = now_ms + AWAIT_MS;

	while (
	    r->order_number != 0 && now_ms < end_ms && !worker_should_stop(r->worker)) {
		struct pollfd stop = {.fd = r->worker->stop_fd, .events = POLLIN};

		(void)poll(&stop, 1, AWAIT_STEP_MS); /* all it does is wait */
		now_ms = now_monotonic_ms();
		look_at_order(r, now_ms);
	}
}

/* ---- dropping the newest ---- */

bool
ingest_room_may_drop_newest(const struct ingest_room *r)
{
	return r->settings->journal.on_full == SETTINGS_FULL_DROP_NEWEST;
}

void
ingest_room_begin_dropping(struct ingest_room *r, int64_t now_ms)
{
	const struct log_details details = {
	    .counts = {{"room_bytes", r->bytes}, {"resume_bytes", r->resume_bytes}}};

	if (r->is_dropping)
		return;
	r->is_dropping = true;
	r->dropping_since_ms = now_ms;
	r->dropping_count = 0;
	log_event(LOG_LEVEL_WARNING, LOG_JOURNAL, &details,
	    "journal full: dropping what comes (on_full = \"drop_newest\") until there "
	    "is room for %" PRIu64 " KiB",
	    r->resume_bytes / 1024);
}

static void
end_dropping(struct ingest_room *r, int64_t now_ms)
{
	const struct log_details details = {
	    .counts = {{"dropped", r->dropping_count}, {"room_bytes", r->bytes},
		{"dropping_s", (uint64_t)(now_ms - r->dropping_since_ms) / 1000}}};

	r->is_dropping = false;
	log_event(LOG_LEVEL_WARNING, LOG_JOURNAL, &details,
	    "room for %" PRIu64 " KiB in the journal: dropped %" PRIu64
	    " messages in %" PRIu64 " s, keeping what comes again",
	    r->bytes / 1024, r->dropping_count, details.counts[2].value);
}

void
ingest_room_note_dropped(struct ingest_room *r, size_t count, int64_t now_ms)
{
	r->dropping_count += count;
	r->dropped_count += count;
	r->dropped_at_ms = now_ms;
}

/* ---- now and then ---- */

/*
 * Measured only where the estimate says that it is low: the estimate counts uncompressed
 * bytes, and nothing of what is truncated meanwhile.
 */
void
ingest_room_account(struct ingest_room *r, size_t bytes, int64_t now_ms)
{
	uint64_t taken = bytes + bytes / 8 + COMMIT_EXTRA_BYTES;
	uint64_t floor = r->low_bytes;

	if (r->is_dropping)
		return;
	if (drops_oldest(r) && r->order_number == 0)
		floor = r->resume_bytes;
	r->bytes -= taken < r->bytes ? taken : r->bytes;
	if (r->bytes < floor + taken)
		ingest_room_measure(r, now_ms);
	order_room(r, now_ms);
}

void
ingest_room_tick(struct ingest_room *r, int64_t now_ms)
{
	if (r->is_dropping || r->order_number != 0 ||
	    fill_rate_is_due(&r->fill, now_ms))
		ingest_room_measure(r, now_ms);
	order_room(r, now_ms);
	if (r->is_dropping && ingest_room_is_back(r))
		end_dropping(r, now_ms);
}
