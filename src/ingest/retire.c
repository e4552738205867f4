/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of the session: what the broker holds comes into the journal first.
 *
 * Invariant: as in ingest.c, nothing is flushed while anything is staged; and the session
 * is ended only when the broker has answered to be asked for nothing more, has been
 * silent since, and has then answered once again.
 *
 * Failure modes: the broker is away or lost, the journal is full or cannot be written:
 * the session stays with all that is not in the journal, and this is tried again by
 * whoever called.
 */
#include "retire.h"

#include <inttypes.h>
#include <poll.h>

#include "err.h"
#include "log.h"
#include "mqtt_source.h"
#include "now.h"

#define CONNECTS         3 /* another version of MQTT may have to be found */
#define CONNECT_LIMIT_MS 10000
#define CONNECT_PAUSE_MS 1000
#define SILENCE_MS       3000
#define ANSWER_MS        60000   /* to be asked for nothing more */
#define DRAIN_MS         3600000 /* while messages keep coming */
#define TELL_MS          10000
#define TICK_MS          1000
#define LEAVE_LIMIT_MS   3000
#define FULL_PARTS       32

struct retire {
	const struct worker *worker;
	struct journal *journal;
	struct source *source;
	size_t count_max, bytes_max;
	uint64_t message_count;
	int64_t started_at_ms, heard_at_ms, tick_at_ms, tell_at_ms;
	bool is_sounded;
};

static int
stage(void *context, const struct record *record)
{
	struct retire *r = context;

	r->message_count++;
	r->heard_at_ms = now_monotonic_ms();
	r->is_sounded = false;
	return journal_stage(r->journal, record);
}

/* ---- one turn ---- */

static int
gather(struct retire *r)
{
	bool more = true;
	int err = 0;

	for (size_t i = 0; i < r->count_max && more && err == 0; i++) {
		err = source_read(r->source, &more);
		if (journal_staged_bytes(r->journal) >= r->bytes_max)
			break;
	}
	return err;
}

static int
read_and_commit(struct retire *r)
{
	int err = gather(r);
	int rc = 0;

	if (err != 0 && err != ERR_AWAY) {
		/* A message is missing from the batch whose PUBACK is queued. */
		journal_unstage(r->journal);
		source_drop(r->source);
		log_error(LOG_JOURNAL, "cannot take a message: %s", err_str(err));
		return err;
	}
	if (journal_staged_count(r->journal) > 0)
		rc = journal_commit(r->journal);
	if (rc != 0) {
		source_drop(
		    r->source); /* the PUBACKs that are queued must not go out */
		log_error(LOG_JOURNAL, "%s",
		    rc == ERR_FULL ? "the journal is full: deliver what it holds, and "
				     "then try again"
				   : err_str(rc));
		return rc;
	}
	worker_wake(r->worker);
	return err != 0 ? err : source_flush(r->source);
}

static int
turn(struct retire *r)
{
	struct pollfd fds[2] = {
	    {.events = POLLIN},
	    {.fd = r->worker->stop_fd, .events = POLLIN},
	};
	int64_t now_ms = now_monotonic_ms();
	int err = 0;

	if (now_ms >= r->tick_at_ms) {
		r->tick_at_ms = now_ms + TICK_MS;
		err = source_keepalive(r->source);
	}
	if (err == 0)
		err = source_flush(r->source);
	if (err != 0)
		return err;
	fds[0].fd = source_fd(r->source);
	if (source_wants_write(r->source))
		fds[0].events |= POLLOUT;
	if (!source_has_pending(r->source) &&
	    (poll(fds, 2, TICK_MS / 10) <= 0 || fds[0].revents == 0))
		return 0;
	return read_and_commit(r);
}

/* ---- the whole ---- */

/* Until the broker has said yes. */
static int
connect_to_broker(struct retire *r)
{
	int err = ERR_AWAY;

	for (int i = 0; i < CONNECTS && err != 0; i++) {
		if (i > 0)
			now_pause_ms(CONNECT_PAUSE_MS);
		if (worker_should_stop(r->worker))
			break;
		worker_guard_begin(CONNECT_LIMIT_MS);
		err = source_connect(r->source);
		worker_guard_end();
		while (err == 0 && !source_is_connected(r->source) &&
		       !worker_should_stop(r->worker))
			err = turn(r);
	}
	return err;
}

/* Is there nothing more to come? Asks the broker, once it has been silent. */
static int
look_whether_empty(struct retire *r, bool *is_empty)
{
	int64_t now_ms = now_monotonic_ms();

	*is_empty = false;
	if (!source_is_unsubscribed(r->source)) {
		if (now_ms - r->heard_at_ms < ANSWER_MS)
			return 0;
		log_error(LOG_CONNECTION, "the broker does not answer any more");
		return ERR_AWAY;
	}
	if (now_ms - r->started_at_ms >= DRAIN_MS) {
		log_error(LOG_CONNECTION,
		    "messages still come, after an hour: does the session have "
		    "subscriptions that nobody here knows of?");
		return ERR_REFUSED;
	}
	if (r->is_sounded) {
		*is_empty = true;
		return 0;
	}
	if (now_ms - r->heard_at_ms < SILENCE_MS)
		return 0;
	r->is_sounded = true;
	return source_sound(r->source);
}

static int
drain(struct retire *r)
{
	bool is_empty = false;
	int err = 0;

	r->started_at_ms = r->heard_at_ms = now_monotonic_ms();
	r->tell_at_ms = r->started_at_ms + TELL_MS;
	while (err == 0 && !is_empty && !worker_should_stop(r->worker)) {
		err = turn(r);
		if (err == 0)
			err = look_whether_empty(r, &is_empty);
		if (now_monotonic_ms() >= r->tell_at_ms) {
			r->tell_at_ms = now_monotonic_ms() + TELL_MS;
			log_info(LOG_CONNECTION,
			    "%" PRIu64 " messages came so far from the broker",
			    r->message_count);
		}
	}
	if (err == 0 && !is_empty) {
		log_warning(LOG_LIFECYCLE, "stopped: the session stays");
		err = ERR_REFUSED;
	}
	return err;
}

static int
retire(struct retire *r)
{
	int err = connect_to_broker(r);

	if (err == 0 && !source_is_connected(r->source))
		err = ERR_REFUSED; /* somebody has asked to stop */
	if (err == 0 && !source_has_session(r->source))
		log_info(LOG_LIFECYCLE, "the broker has no session of this gateway");
	else if (err == 0)
		err = drain(r);
	if (err != 0)
		return err;
	err = source_end_session(r->source);
	if (err == 0)
		log_info(LOG_LIFECYCLE,
		    "the session at the broker has ended; %" PRIu64
		    " messages came into the journal before",
		    r->message_count);
	return err;
}

int
retire_run(const struct worker *w, struct journal *j)
{
	const struct settings *s = w->settings;
	int count = s->journal.commit_max_messages;
	struct retire r = {.worker = w, .journal = j};
	int err;

	/* A broker that sends no more than that waits for our PUBACKs. */
	r.count_max =
	    (size_t)(count < s->mqtt.receive_maximum ? count : s->mqtt.receive_maximum);
	/* What does not fit is not there at all: small parts fill a journal to its end. */
	r.bytes_max = (size_t)(s->journal.max_bytes / FULL_PARTS);
	if (r.bytes_max > (size_t)s->journal.commit_max_bytes)
		r.bytes_max = (size_t)s->journal.commit_max_bytes;
	err = source_open(&r.source, s, j, stage, &r);
	if (err != 0)
		return err;
	source_retire(r.source);
	err = retire(&r);
	if (err != 0)
		source_leave(r.source, LEAVE_LIMIT_MS);
	source_close(r.source);
	return err;
}
