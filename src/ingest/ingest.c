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
#include "ingest_room.h"
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
#define DROP_RETRY_MS    10000

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

	struct ingest_room room;
	int64_t paused_at_ms;
	enum board_mqtt paused_as; /* the reason, while it is paused */

	uint64_t message_count, commit_count;
	uint64_t failed_at_count; /* commits, when the disk failed last */
	struct ingest_figures figures;
	struct log_repeat commit_repeat, stage_repeat;
};

static int
stage(void *context, const struct record *r)
{
	struct ingest *in = context;

	ingest_figures_stage(&in->figures, r);
	if (in->room.is_dropping)
		return journal_stage_dropped(in->journal, 1);
	return journal_stage(in->journal, r);
}

static enum board_mqtt
board_state(const struct ingest *in)
{
	if (in->state == STATE_PAUSED)
		return in->paused_as;
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
	if (in->connected_at_ms != 0 &&
	    now_ms - in->connected_at_ms >= GOOD_ENOUGH_MS &&
	    !source_has_rival(in->source))
		in->backoff_ms = BACKOFF_FIRST_MS;
	in->state = STATE_AWAY;
	in->connected_at_ms = 0;
	in->connect_at_ms = now_ms + with_jitter(in->backoff_ms);
	in->backoff_ms *= 2;
	if (in->backoff_ms > BACKOFF_LAST_MS)
		in->backoff_ms = BACKOFF_LAST_MS;
}

/* What there is no room on: the disk, or the journal by its max_bytes. */
static enum board_mqtt
full_state(const struct ingest *in)
{
	return journal_is_short_of_disk(in->journal) ? BOARD_MQTT_DISK_FULL
						     : BOARD_MQTT_PAUSED;
}

/*
 * The connection has been ended. A broker that was asked for messages again and again,
 * while none can be kept, would be none the better for it.
 */
static void
pause_for_disk(struct ingest *in, int64_t now_ms)
{
	if (in->commit_count != in->failed_at_count)
		in->backoff_ms = BACKOFF_FIRST_MS; /* it has taken some since */
	in->failed_at_count = in->commit_count;
	in->state = STATE_PAUSED;
	in->paused_as = BOARD_MQTT_DISK_FAILS;
	in->connected_at_ms = 0;
	in->paused_at_ms = now_ms;
	log_warning(LOG_JOURNAL,
	    "paused: the journal cannot be written; the broker keeps "
	    "what comes until it can");
}

/* The connection has been ended. */
static void
pause_for_room(struct ingest *in, int64_t now_ms)
{
	const struct log_details details = {
	    .counts = {{"room_bytes", in->room.bytes},
		{"max_bytes", in->settings->journal.max_bytes},
		{"resume_bytes", in->room.resume_bytes}}};

	in->state = STATE_PAUSED;
	in->paused_as = full_state(in);
	in->connected_at_ms = 0;
	in->paused_at_ms = now_ms;
	log_event(LOG_LEVEL_WARNING, LOG_JOURNAL, &details,
	    "paused: %s full: room for %" PRIu64 " of %" PRIu64
	    " KiB; the broker keeps what comes until there is room for %" PRIu64 " KiB",
	    in->paused_as == BOARD_MQTT_DISK_FULL ? "disk" : "journal",
	    in->room.bytes / 1024, in->settings->journal.max_bytes / 1024,
	    in->room.resume_bytes / 1024);
}

/* ---- online ---- */

static void
commit_failed(struct ingest *in, int err, size_t count, size_t bytes, int64_t now_ms)
{
	ingest_figures_fail(&in->figures, err_str(err));
	source_drop(in->source); /* the PUBACKs that are queued must not go out */
	log_repeated(&in->commit_repeat, now_ms, LOG_LEVEL_ERROR, LOG_JOURNAL,
	    "commit of %zu messages failed: %s; the broker will send them again", count,
	    err_str(err));
	if (err == ERR_IO) {
		pause_for_disk(in, now_ms);
		return;
	}
	if (err != ERR_FULL) {
		go_away(in, now_ms);
		return;
	}
	ingest_room_fail(&in->room, bytes, now_ms);
	pause_for_room(in, now_ms);
}

/* duration_us: out, how long that took. */
static int
commit_timed(struct ingest *in, int64_t *duration_us)
{
	int64_t start_us = now_monotonic_us();
	int err = journal_commit(in->journal);

	*duration_us = now_monotonic_us() - start_us;
	return err;
}

/*
 * Write what is staged. Where that does not fit and the policy is to drop the newest, gap
 * markers in its place: they are acknowledged like messages.
 */
static int
commit_or_drop(struct ingest *in, size_t count, size_t bytes, int64_t *duration_us)
{
	size_t dropped = in->room.is_dropping ? count : 0;
	int64_t now_ms;
	int err = commit_timed(in, duration_us);

	now_ms = now_monotonic_ms();
	if (err == ERR_FULL && dropped == 0 && ingest_room_may_drop_newest(&in->room)) {
		ingest_room_fail(&in->room, bytes, now_ms);
		ingest_room_begin_dropping(&in->room, now_ms);
		dropped = count;
		err = journal_stage_dropped(in->journal, count);
		if (err == 0)
			err = commit_timed(in, duration_us);
	}
	if (err == 0 && dropped > 0)
		ingest_room_note_dropped(&in->room, dropped, now_ms);
	return err;
}

/* Write what is staged. False: it failed, and the connection has been dropped. */
static bool
commit(struct ingest *in)
{
	size_t count = journal_staged_count(in->journal);
	size_t bytes = journal_staged_bytes(in->journal);
	int64_t now_ms, duration_us;
	int err;

	if (count == 0)
		return true;
	err = commit_or_drop(in, count, bytes, &duration_us);
	now_ms = now_monotonic_ms();
	if (err != 0) {
		commit_failed(in, err, count, bytes, now_ms);
		return false;
	}
	in->message_count += count;
	in->commit_count++;
	ingest_figures_commit(&in->figures, count, duration_us);
	worker_wake(in->worker);
	ingest_room_account(&in->room, bytes, now_ms);
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
	size_t bytes_max = ingest_room_commit_max(&in->room);

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
	ingest_figures_publish(&in->figures, in->source, full_state(in), now_ms);
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
	if (err == 0 && ingest_room_is_low(&in->room))
		ingest_room_await(&in->room);
	if (err == 0 && ingest_room_is_low(&in->room)) {
		ingest_room_expect_usual(&in->room);
		if (ingest_room_may_drop_newest(&in->room)) {
			ingest_room_begin_dropping(&in->room, now_ms);
			return;
		}
		report_pause(in, now_ms);
		source_pause(in->source, LEAVE_LIMIT_MS);
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
	ingest_room_measure(&in->room, now_ms);
	if (ingest_room_is_low(&in->room)) {
		ingest_room_expect_usual(&in->room);
		if (!ingest_room_may_drop_newest(&in->room)) {
			pause_for_room(in, now_ms);
			return;
		}
		ingest_room_begin_dropping(&in->room, now_ms);
	}
	worker_guard_begin(CONNECT_LIMIT_MS);
	err = source_connect(in->source);
	worker_guard_end();
	if (err != 0)
		go_away(in, now_monotonic_ms());
	else
		in->state = STATE_ONLINE;
}

/* Not even gap markers could be written; perhaps they can now. */
static bool
may_try_to_drop(const struct ingest *in, int64_t now_ms)
{
	return ingest_room_may_drop_newest(&in->room) &&
	       now_ms - in->paused_at_ms >= DROP_RETRY_MS;
}

/* It connects after the back-off: a disk may take a probe and fail at the next commit. */
static void
resume_if_written(struct ingest *in, int64_t now_ms)
{
	int err = journal_probe(in->journal);

	if (err != 0 && err != ERR_FULL)
		return;
	log_info(LOG_JOURNAL,
	    "resumed: the journal can be written again, after %" PRIu64 " s",
	    (uint64_t)(now_ms - in->paused_at_ms) / 1000);
	go_away(in, now_ms);
}

static void
turn_paused(struct ingest *in, int64_t now_ms, bool is_tick)
{
	struct log_details details;

	if (!is_tick) {
		(void)wait_for_socket(in, -1, 0, in->tick_at_ms - now_ms);
		return;
	}
	if (in->paused_as == BOARD_MQTT_DISK_FAILS) {
		resume_if_written(in, now_ms);
		return;
	}
	ingest_room_measure(&in->room, now_ms);
	if (!ingest_room_is_back(&in->room) && !may_try_to_drop(in, now_ms))
		return;
	details = (struct log_details){
	    .counts = {{"room_bytes", in->room.bytes},
		{"paused_s", (uint64_t)(now_ms - in->paused_at_ms) / 1000}}};
	log_event(LOG_LEVEL_INFO, LOG_JOURNAL, &details,
	    "resumed: room for %" PRIu64 " KiB in the journal, after %" PRIu64 " s",
	    in->room.bytes / 1024, details.counts[1].value);
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
		ingest_room_tick(&in->room, now_ms);
		ingest_figures_room(&in->figures, &in->room);
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
	};
	struct log_details details;
	int err;

	ingest_room_init(&in.room, w, j);
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
	    .counts = {{"received", in.message_count}, {"commits", in.commit_count},
		{"dropped", in.room.dropped_count}}};
	log_event(LOG_LEVEL_INFO, LOG_LIFECYCLE, &details,
	    "stopped: %" PRIu64 " messages in %" PRIu64 " commits", in.message_count,
	    in.commit_count);
	return 0;
}
