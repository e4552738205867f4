/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop of tidegate-ingest, by state: away (no connection, waiting for the next try),
 * online (a connection, or CONNECT under way), paused (the journal is full: stay away,
 * the broker keeps the session).
 *
 * Invariant: source_flush(), source_keepalive(), source_leave() and source_pause() are
 * called only when nothing is staged and nothing that was read is missing from the
 * journal: a PUBACK that is queued goes out with the next write, whatever it is written
 * for.
 *
 * Failure modes: a commit that fails drops the connection, and with it the queued
 * PUBACKs; the broker sends those messages again. A connection lost in the middle of a
 * batch: what was read is committed all the same, and may come a second time.
 */
#include "ingest.h"

#include "err.h"
#include "ingest_figures.h"
#include "log.h"
#include "mqtt_source.h"
#include "now.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define TICK_MS          1000
#define READERS_CHECK_MS 60000
#define BACKOFF_FIRST_MS 1000
#define BACKOFF_LAST_MS  60000
#define GOOD_ENOUGH_MS   60000 /* a connection after which the back-off begins anew */
#define CONNECT_LIMIT_MS 10000
#define LEAVE_LIMIT_MS   3000

/* What one commit may take beside its records: pages that are only partly filled, and
 * the copies of pages on the way to the root. */
#define COMMIT_EXTRA_BYTES 65536

enum state {
	STATE_AWAY,
	STATE_ONLINE,
	STATE_PAUSED,
};

struct ingest {
	const struct worker *worker;
	const struct settings *settings;
	struct journal *journal;
	struct source *source;
	enum state state;
	size_t commit_count_max;
	int64_t commit_interval_ms;
	int64_t tick_at_ms, readers_check_at_ms;

	int64_t connect_at_ms, connected_at_ms, backoff_ms;

	uint64_t room_bytes;   /* estimate, low rather than high; see account() */
	uint64_t low_bytes;    /* less room than this: pause */
	uint64_t resume_bytes; /* as much room as this: go on */
	int64_t paused_at_ms;

	uint64_t message_count, commit_count;
	struct ingest_figures figures;
	struct log_repeat commit_repeat, room_repeat, stage_repeat;
};

static int
stage(void *context, const struct record *r)
{
	struct ingest *in = context;

	ingest_figures_stage(&in->figures, r);
	return journal_stage(in->journal, r);
}

static enum board_mqtt
board_state(const struct ingest *in)
{
	if (in->state == STATE_PAUSED)
		return BOARD_MQTT_PAUSED;
	return source_is_connected(in->source) ? BOARD_MQTT_CONNECTED : BOARD_MQTT_AWAY;
}

/* ---- waiting ---- */

/*
 * Wait for the socket (none: fd -1) and for the order to stop, at most timeout_ms.
 * True when the socket has something, or is lost.
 */
static bool
wait_for_socket(const struct ingest *in, int fd, short events, int64_t timeout_ms)
{
	struct pollfd fds[2] = {
	    {.fd = fd, .events = events},
	    {.fd = in->worker->stop_fd, .events = POLLIN},
	};

	if (timeout_ms < 0)
		timeout_ms = 0;
	if (poll(fds, 2, (int)timeout_ms) <= 0)
		return false;
	return fds[1].revents == 0 && fds[0].revents != 0;
}

/* From half of ms to one and a half: gateways must not all come at once. */
static int64_t
with_jitter(int64_t ms)
{
	uint32_t random = 0;

	/* Without it there is no jitter, which is all right. */
	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
		return ms;
	return ms / 2 + (int64_t)(random % (uint64_t)ms);
}

/* ---- changes of state ---- */

static void
go_away(struct ingest *in, int64_t now_ms)
{
	if (in->connected_at_ms != 0 && now_ms - in->connected_at_ms >= GOOD_ENOUGH_MS)
		in->backoff_ms = BACKOFF_FIRST_MS;
	in->state = STATE_AWAY;
	in->connected_at_ms = 0;
	in->connect_at_ms = now_ms + with_jitter(in->backoff_ms);
	in->backoff_ms *= 2;
	if (in->backoff_ms > BACKOFF_LAST_MS)
		in->backoff_ms = BACKOFF_LAST_MS;
}

/* The connection has been ended. */
static void
pause_for_room(struct ingest *in, int64_t now_ms)
{
	const struct log_details details = {
	    .counts = {{"room_bytes", in->room_bytes},
		{"max_bytes", in->settings->journal.max_bytes},
		{"resume_bytes", in->resume_bytes}}};

	in->state = STATE_PAUSED;
	in->connected_at_ms = 0;
	in->paused_at_ms = now_ms;
	log_event(LOG_LEVEL_WARNING, LOG_JOURNAL, &details,
	    "paused: journal full: room for %" PRIu64 " of %" PRIu64
	    " KiB; the broker keeps what comes until there is room for %" PRIu64 " KiB",
	    in->room_bytes / 1024, in->settings->journal.max_bytes / 1024,
	    in->resume_bytes / 1024);
}

static uint64_t
usual_resume_bytes(const struct ingest *in)
{
	uint64_t bytes = in->settings->journal.max_bytes / 20;

	return bytes > 2 * in->low_bytes ? bytes : 2 * in->low_bytes;
}

/* ---- room in the journal ---- */

static void
measure_room(struct ingest *in, int64_t now_ms)
{
	uint64_t bytes;
	int err = journal_room(in->journal, &bytes);

	if (err == 0)
		in->room_bytes = bytes;
	else /* then a commit will tell */
		log_repeated(&in->room_repeat, now_ms, LOG_LEVEL_WARNING, LOG_JOURNAL,
		    "cannot tell how much room there is: %s", err_str(err));
}

/*
 * The room after a commit. Measured only where the estimate says that it is low: the
 * estimate counts uncompressed bytes, and nothing of what is truncated meanwhile.
 */
static void
account(struct ingest *in, size_t bytes, int64_t now_ms)
{
	uint64_t taken = bytes + bytes / 8 + COMMIT_EXTRA_BYTES;

	in->room_bytes -= taken < in->room_bytes ? taken : in->room_bytes;
	if (in->room_bytes < in->low_bytes + taken)
		measure_room(in, now_ms);
}

/* How many bytes to stage for one commit: no more than there is room for. */
static size_t
commit_bytes_max(const struct ingest *in)
{
	uint64_t bytes = in->room_bytes - in->room_bytes / 8;

	bytes -= bytes < COMMIT_EXTRA_BYTES ? bytes : COMMIT_EXTRA_BYTES;
	if (bytes > in->settings->journal.commit_max_bytes)
		bytes = in->settings->journal.commit_max_bytes;
	return (size_t)bytes;
}

/* Nothing waits in the journal: more room than now there will not be. */
static bool
is_journal_empty(struct ingest *in)
{
	struct journal_stat stat;
	bool is_empty;

	if (journal_stat(in->journal, &stat) != 0)
		return false;
	is_empty = stat.records == 0;
	journal_stat_fini(&stat);
	return is_empty;
}

/* ---- online ---- */

static void
wake_forward(const struct ingest *in)
{
	uint64_t one = 1;

	if (in->worker->wake_fd < 0)
		return;
	/* It fails only where forward has 2^64 - 2 wake-ups waiting. */
	if (write(in->worker->wake_fd, &one, sizeof(one)) < 0)
		return;
}

static void
commit_failed(struct ingest *in, int err, size_t count, size_t bytes, int64_t now_ms)
{
	ingest_figures_fail(&in->figures, err_str(err));
	source_drop(in->source); /* the PUBACKs that are queued must not go out */
	log_repeated(&in->commit_repeat, now_ms, LOG_LEVEL_ERROR, LOG_JOURNAL,
	    "commit of %zu messages failed: %s; the broker will send them again", count,
	    err_str(err));
	if (err != ERR_FULL) {
		go_away(in, now_ms);
		return;
	}
	measure_room(in, now_ms);
	/* So much that the same batch fits, but never more than can be hoped for. */
	in->resume_bytes = 2 * (bytes + COMMIT_EXTRA_BYTES);
	if (in->resume_bytes > in->settings->journal.max_bytes / 8)
		in->resume_bytes = in->settings->journal.max_bytes / 8;
	if (in->resume_bytes < usual_resume_bytes(in))
		in->resume_bytes = usual_resume_bytes(in);
	pause_for_room(in, now_ms);
}

/* Write what is staged. False: it failed, and the connection has been dropped. */
static bool
commit(struct ingest *in)
{
	size_t count = journal_staged_count(in->journal);
	size_t bytes = journal_staged_bytes(in->journal);
	int64_t now_ms;
	int err;

	if (count == 0)
		return true;
	err = journal_commit(in->journal);
	now_ms = now_monotonic_ms();
	if (err != 0) {
		commit_failed(in, err, count, bytes, now_ms);
		return false;
	}
	in->message_count += count;
	in->commit_count++;
	ingest_figures_commit(&in->figures, count);
	wake_forward(in);
	account(in, bytes, now_ms);
	return true;
}

/*
 * Read and stage what the socket has, up to one commit. Where it has nothing more,
 * wait commit_interval_ms from the first message on for others to come.
 */
static int
gather(struct ingest *in)
{
	int64_t interval_ms = in->commit_interval_ms, until_ms = 0;
	size_t bytes_max = commit_bytes_max(in);

	/* Also bounded where nothing is staged: surplus copies want their PUBACK. */
	for (size_t count = 0; count < in->commit_count_max; count++) {
		bool more = false;
		int err = source_read(in->source, &more);

		if (err != 0)
			return err;
		if (journal_staged_count(in->journal) == 0) {
			if (!more)
				break;
			continue;
		}
		if (journal_staged_bytes(in->journal) >= bytes_max)
			break;
		if (more && until_ms != 0)
			continue;
		if (until_ms == 0)
			until_ms = now_monotonic_ms() + interval_ms;
		if (more)
			continue;
		if (interval_ms == 0 || !wait_for_socket(in, source_fd(in->source),
					    POLLIN, until_ms - now_monotonic_ms()))
			break;
	}
	return 0;
}

/* It can be said no more when the broker has been left. */
static void
report_pause(struct ingest *in, int64_t now_ms)
{
	ingest_figures_publish(&in->figures, in->source, BOARD_MQTT_PAUSED, now_ms);
	ingest_figures_hurry(&in->figures);
	/* A connection that is lost meanwhile is noticed by who leaves. */
	(void)ingest_figures_report(&in->figures, in->source, now_ms);
}

static void
read_and_commit(struct ingest *in)
{
	int err = gather(in);
	int64_t now_ms;

	if (err != 0 && err != ERR_AWAY) {
		/* A message is missing from the batch whose PUBACK is queued. */
		journal_unstage(in->journal);
		source_drop(in->source);
		ingest_figures_fail(&in->figures, err_str(err));
		log_repeated(&in->stage_repeat, now_monotonic_ms(), LOG_LEVEL_ERROR,
		    LOG_JOURNAL,
		    "cannot take a message: %s; the broker will send it again",
		    err_str(err));
	}
	if (!commit(in))
		return;
	now_ms = now_monotonic_ms();
	if (err == 0)
		err = source_flush(in->source);
	if (err == 0 && in->room_bytes < in->low_bytes) {
		report_pause(in, now_ms);
		source_pause(in->source, LEAVE_LIMIT_MS);
		in->resume_bytes = usual_resume_bytes(in);
		pause_for_room(in, now_ms);
		return;
	}
	if (err != 0)
		go_away(in, now_ms);
}

static void
turn_online(struct ingest *in, int64_t now_ms, bool is_tick)
{
	short events = POLLIN;
	int err = 0;

	if (is_tick)
		err = source_keepalive(in->source);
	if (err == 0 && is_tick && source_is_connected(in->source))
		err = ingest_figures_report(&in->figures, in->source, now_ms);
	if (err == 0)
		err = source_flush(in->source);
	if (err != 0) {
		go_away(in, now_ms);
		return;
	}
	if (in->connected_at_ms == 0 && source_is_connected(in->source)) {
		in->connected_at_ms = now_ms;
		in->tick_at_ms = now_ms;
		/* In its place the broker has the will of the connection before. */
		ingest_figures_hurry(&in->figures);
	}
	if (source_wants_write(in->source))
		events |= POLLOUT;
	if (source_has_pending(in->source) ||
	    wait_for_socket(in, source_fd(in->source), events, in->tick_at_ms - now_ms))
		read_and_commit(in);
}

/* ---- the other states ---- */

static void
turn_away(struct ingest *in, int64_t now_ms)
{
	int err;

	if (now_ms < in->connect_at_ms) {
		int64_t until_ms = in->connect_at_ms < in->tick_at_ms
				       ? in->connect_at_ms
				       : in->tick_at_ms;

		(void)wait_for_socket(in, -1, 0, until_ms - now_ms);
		return;
	}
	measure_room(in, now_ms);
	if (in->room_bytes < in->low_bytes) {
		in->resume_bytes = usual_resume_bytes(in);
		pause_for_room(in, now_ms);
		return;
	}
	worker_guard_begin(CONNECT_LIMIT_MS);
	err = source_connect(in->source);
	worker_guard_end();
	if (err != 0)
		go_away(in, now_monotonic_ms());
	else
		in->state = STATE_ONLINE;
}

static void
turn_paused(struct ingest *in, int64_t now_ms, bool is_tick)
{
	struct log_details details;

	if (!is_tick) {
		(void)wait_for_socket(in, -1, 0, in->tick_at_ms - now_ms);
		return;
	}
	measure_room(in, now_ms);
	if (in->room_bytes < in->low_bytes)
		return;
	if (in->room_bytes < in->resume_bytes && !is_journal_empty(in))
		return;
	details = (struct log_details){
	    .counts = {{"room_bytes", in->room_bytes},
		{"paused_s", (uint64_t)(now_ms - in->paused_at_ms) / 1000}}};
	log_event(LOG_LEVEL_INFO, LOG_JOURNAL, &details,
	    "resumed: room for %" PRIu64 " KiB in the journal, after %" PRIu64 " s",
	    in->room_bytes / 1024, details.counts[1].value);
	in->state = STATE_AWAY;
	in->connect_at_ms = now_ms;
}

static void
turn(struct ingest *in)
{
	int64_t now_ms = now_monotonic_ms();
	bool is_tick = now_ms >= in->tick_at_ms;

	if (is_tick) {
		in->tick_at_ms = now_ms + TICK_MS;
		ingest_figures_publish(
		    &in->figures, in->source, board_state(in), now_ms);
	}
	if (now_ms >= in->readers_check_at_ms) {
		(void)journal_readers_check(in->journal); /* logged there */
		in->readers_check_at_ms = now_ms + READERS_CHECK_MS;
	}
	switch (in->state) {
	case STATE_AWAY:
		turn_away(in, now_ms);
		break;
	case STATE_ONLINE:
		turn_online(in, now_ms, is_tick);
		break;
	case STATE_PAUSED:
		turn_paused(in, now_ms, is_tick);
		break;
	}
}

/* A broker that sends no more than the receive maximum would wait for our PUBACKs while
 * we wait for more messages. */
static size_t
commit_count_max(const struct settings *s)
{
	int count = s->journal.commit_max_messages;

	return (
	    size_t)(count < s->mqtt.receive_maximum ? count : s->mqtt.receive_maximum);
}

/* While a commit is gathered nothing is written, no PINGREQ either: a broker that waits
 * for one too long ends the connection, and would send the same messages for ever. */
static int64_t
commit_interval_ms(const struct settings *s)
{
	int64_t most_ms = s->mqtt.keepalive_s * (int64_t)1000 / 8;

	return s->journal.commit_interval_ms < most_ms ? s->journal.commit_interval_ms
						       : most_ms;
}

int
ingest_run(const struct worker *w, struct journal *j)
{
	struct ingest in = {
	    .worker = w,
	    .settings = w->settings,
	    .journal = j,
	    .commit_count_max = commit_count_max(w->settings),
	    .commit_interval_ms = commit_interval_ms(w->settings),
	    .backoff_ms = BACKOFF_FIRST_MS,
	    .low_bytes = w->settings->journal.max_bytes / 64,
	};
	struct log_details details;
	int err;

	if (in.low_bytes < COMMIT_EXTRA_BYTES)
		in.low_bytes = COMMIT_EXTRA_BYTES;
	err = ingest_figures_open(&in.figures, w, j);
	if (err == 0)
		err = source_open(&in.source, w->settings, j, stage, &in);
	if (err != 0) {
		ingest_figures_close(&in.figures);
		return err;
	}
	log_info(LOG_LIFECYCLE, "started");
	while (!worker_should_stop(w))
		turn(&in);
	/* Between two turns nothing is staged. */
	source_leave(in.source, LEAVE_LIMIT_MS);
	source_close(in.source);
	ingest_figures_close(&in.figures);
	details = (struct log_details){
	    .counts = {{"received", in.message_count}, {"commits", in.commit_count}}};
	log_event(LOG_LEVEL_INFO, LOG_LIFECYCLE, &details,
	    "stopped: %" PRIu64 " messages in %" PRIu64 " commits", in.message_count,
	    in.commit_count);
	return 0;
}
