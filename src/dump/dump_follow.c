/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Following a journal.
 *
 * Invariant: every sequence number from the first on is printed, is not wanted, or is
 * told on standard error as removed or as gone past; none twice.
 *
 * A record may be delivered and truncated some milliseconds after it was written. So the
 * kernel tells when data.mdb is written to, and between two looks no time is lost; where
 * it cannot tell, it is looked every 200 ms. No read transaction stays open.
 *
 * Failure modes: the file is another one (compacted, restored): the new one is opened
 * and, if it is the same journal, followed from the same number on.
 */
#include "dump_follow.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err.h"
#include "now.h"

#define LOOK_MS    200
#define AGAIN_MS   5  /* the kernel tells a little before a commit counts */
#define AWAY_LOOKS 25 /* so long it may be away while somebody exchanges it */
#define FILE_COUNT 2

static volatile sig_atomic_t is_interrupted;

/* Which file it is; all zero: none. */
struct place {
	dev_t device;
	ino_t inode;
};

struct follow {
	struct dump *d;
	const char *directory;
	struct place places[FILE_COUNT];
	uint8_t uuid[16];
	uint64_t seq;      /* all before it is done */
	uint64_t seen_seq; /* the journal's next number was at least this */
	int moved_looks;   /* so often in turn the files were others */
	int watch_fd;      /* -1: not to be had */
	bool was_written;  /* so the kernel told a moment ago */
};

static void
interrupt(int signal_number)
{
	(void)signal_number;
	is_interrupted = 1;
}

/* ---- what cannot be shown any more ---- */

/* From first_seq to end_seq - 1 there is no record: say why. */
static int
tell_hole(struct follow *f, uint64_t first_seq, uint64_t end_seq)
{
	struct dump *d = f->d;
	struct journal_gap gap;

	while (first_seq < end_seq) {
		uint64_t stop_seq = end_seq;
		int err = journal_gap_at(d->journal, first_seq, &gap);

		if (err == 0) {
			if (gap.first_seq + gap.count < stop_seq)
				stop_seq = gap.first_seq + gap.count;
			dump_tell(d,
			    "records %" PRIu64 " to %" PRIu64 " were removed: %s",
			    first_seq, stop_seq - 1,
			    journal_gap_reason_str(gap.reason));
			first_seq = stop_seq;
			continue;
		}
		if (err == ERR_NOTFOUND)
			err = journal_gap_read(d->journal, first_seq, &gap);
		if (err != 0 && err != ERR_NOTFOUND)
			return err;
		if (err == 0 && gap.first_seq < stop_seq)
			stop_seq = gap.first_seq;
		dump_tell(d,
		    "records %" PRIu64 " to %" PRIu64
		    " were delivered before they could be shown",
		    first_seq, stop_seq - 1);
		d->is_partial = true;
		first_seq = stop_seq;
	}
	return 0;
}

/* Move on to seq over what no batch has. */
static int
pass(struct follow *f, uint64_t seq)
{
	uint64_t to_seq = f->d->options.to_seq;
	int err;

	if (seq <= f->seq)
		return 0;
	err = tell_hole(f, f->seq, to_seq < seq ? to_seq + 1 : seq);
	f->seq = seq;
	return err;
}

/* ---- what is there ---- */

static bool
is_done(const struct follow *f)
{
	return f->d->left == 0 || f->seq > f->d->options.to_seq;
}

/* Print what has come. Errors: ERR_NOTFOUND, there is no more. */
static int
show_batch(struct follow *f, struct journal_batch *b)
{
	int err = journal_read(f->d->journal, f->seq, b);
	int passed;

	if (err == ERR_NOTFOUND && b->end_seq > f->seq) {
		f->seen_seq = b->end_seq;
		passed = pass(f, b->end_seq);
		return passed != 0 ? passed : err;
	}
	if (err == ERR_NOTFOUND)
		return err;
	if ((err != 0 && err != ERR_CORRUPT && err != ERR_VERSION) ||
	    b->end_seq == UINT64_MAX)
		return err;
	passed = pass(f, b->base_seq);
	if (passed != 0 || is_done(f))
		return passed;
	err = err == 0 ? dump_list_batch(f->d, b, f->seq)
		       : dump_list_unreadable(f->d, b, f->seq, err);
	f->seq = b->end_seq;
	if (f->seen_seq < b->end_seq)
		f->seen_seq = b->end_seq;
	return err != 0 ? err : dump_print_batch_end(f->d->printer);
}

static int
show_new(struct follow *f, struct journal_batch *b)
{
	int err = 0;

	while (err == 0 && !is_done(f) && !is_interrupted)
		err = show_batch(f, b);
	return err == ERR_NOTFOUND ? 0 : err;
}

/* Where to begin: what was truncated before that is nobody's loss. */
static int
find_start(struct follow *f)
{
	struct journal_stat stat;
	uint64_t owed_seq, kept_seq;
	int err = journal_stat(f->d->journal, &stat);

	if (err != 0)
		return err;
	owed_seq = stat.route_count > 0 ? stat.acked_seq + 1 : stat.first_seq;
	kept_seq = stat.first_seq < owed_seq ? stat.first_seq : owed_seq;
	f->seen_seq = stat.next_seq;
	journal_stat_fini(&stat);
	f->seq = f->d->options.from_seq > 0 ? f->d->options.from_seq : owed_seq;
	if (f->seq < kept_seq)
		f->seq = kept_seq;
	return 0;
}

/* ---- is it still the journal? ---- */

static void
look_at_files(const struct follow *f, struct place places[FILE_COUNT])
{
	static const char *const names[FILE_COUNT] = {"data.mdb", "lock.mdb"};
	char path[4096];
	struct stat st;

	memset(places, 0, FILE_COUNT * sizeof(places[0]));
	for (int i = 0; i < FILE_COUNT; i++) {
		int n = snprintf(path, sizeof(path), "%s/%s", f->directory, names[i]);

		if (n < 0 || (size_t)n >= sizeof(path) || stat(path, &st) != 0)
			continue;
		places[i] = (struct place){st.st_dev, st.st_ino};
	}
}

static bool
is_same(struct place a, struct place b)
{
	return a.device == b.device && a.inode == b.inode;
}

static void
watch(struct follow *f)
{
	char path[4096];
	int n = snprintf(path, sizeof(path), "%s/data.mdb", f->directory);

	look_at_files(f, f->places);
	f->moved_looks = 0;
	if (f->watch_fd >= 0)
		(void)close(f->watch_fd);
	f->watch_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (f->watch_fd < 0 || n < 0 || (size_t)n >= sizeof(path))
		return;
	/* Refused, it is merely looked at less often. */
	(void)inotify_add_watch(f->watch_fd, path, IN_MODIFY);
}

static int
check_uuid(struct follow *f)
{
	const struct journal_identity *identity;
	char old[37], new[37];
	int err = journal_identity_load(f->d->journal);

	if (err != 0)
		return err;
	identity = journal_identity(f->d->journal);
	if (memcmp(identity->uuid, f->uuid, sizeof(f->uuid)) == 0)
		return 0;
	journal_uuid_text(f->uuid, old);
	journal_uuid_text(identity->uuid, new);
	dump_tell(f->d, "%s: this is another journal now: %s, it was %s", f->directory,
	    new, old);
	return ERR_IDENTITY;
}

/* The files are others: open those, if it is the same journal. */
static int
open_again(struct follow *f)
{
	struct journal_options options = {.directory = f->directory};
	struct journal_stat stat;
	int err;

	journal_close(f->d->journal);
	f->d->journal = NULL;
	err = journal_open(&f->d->journal, JOURNAL_LOOK, &options);
	if (err != 0)
		return err; /* logged there */
	watch(f);
	err = check_uuid(f);
	if (err == 0)
		err = journal_stat(f->d->journal, &stat);
	if (err != 0)
		return err;
	if (stat.next_seq < f->seen_seq) {
		dump_tell(f->d,
		    "%s: this is an older state of the journal: its next record is "
		    "%" PRIu64 ", it was %" PRIu64,
		    f->directory, stat.next_seq, f->seen_seq);
		err = ERR_IDENTITY;
	}
	journal_stat_fini(&stat);
	return err;
}

/* is_moved: out, the files are not those that are open; nothing is to be read of them. */
static int
check_files(struct follow *f, bool *is_moved)
{
	static const struct place none;
	struct place now[FILE_COUNT];

	look_at_files(f, now);
	*is_moved = !is_same(now[0], f->places[0]) || !is_same(now[1], f->places[1]);
	if (!*is_moved) {
		f->moved_looks = 0;
		return check_uuid(f);
	}
	f->moved_looks++;
	if (is_same(now[0], none) && f->moved_looks > AWAY_LOOKS) {
		dump_tell(f->d, "%s: the journal is gone", f->directory);
		return ERR_NOTFOUND;
	}
	/* Whoever exchanges the two does it one after the other. */
	if (is_same(now[0], none) || f->moved_looks < 2)
		return 0;
	*is_moved = false;
	return open_again(f);
}

/* ---- the whole ---- */

/* Until something was written, or some time. False: nobody reads the output any more. */
static bool
wait_for_more(struct follow *f)
{
	struct pollfd fds[] = {
	    {.fd = STDOUT_FILENO}, /* its end is told without being asked for */
	    {.fd = f->watch_fd, .events = POLLIN},
	};
	char events[4096];

	int ready = poll(fds, 2, f->was_written ? AGAIN_MS : LOOK_MS);

	f->was_written = ready > 0 && (fds[1].revents & POLLIN) != 0;
	if (ready <= 0)
		return true;
	while (f->was_written && read(f->watch_fd, events, sizeof(events)) > 0)
		continue; /* one look does for all of them */
	return (fds[0].revents & (POLLERR | POLLHUP | POLLNVAL)) == 0;
}

static int
run(struct follow *f)
{
	struct journal_batch b = {0};
	bool is_moved = false;
	int err = 0;

	while (err == 0) {
		bool is_last = now_real_ms() > f->d->options.until_ms;

		if (!is_moved)
			err = show_new(f, &b);
		if (err != 0 || is_done(f) || is_last || is_interrupted)
			break;
		if (!wait_for_more(f))
			err = ERR_AWAY;
		if (err == 0 && !is_interrupted)
			err = check_files(f, &is_moved);
	}
	journal_batch_fini(&b);
	return err;
}

int
dump_follow(struct dump *d, const char *directory)
{
	struct follow f = {.d = d, .directory = directory, .watch_fd = -1};
	struct sigaction action = {.sa_handler = interrupt};
	int err;

	/* No SA_RESTART: what waits is to end. */
	(void)sigemptyset(&action.sa_mask);
	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
	memcpy(f.uuid, journal_identity(d->journal)->uuid, sizeof(f.uuid));
	watch(&f);
	err = find_start(&f);
	if (err == 0)
		err = run(&f);
	if (f.watch_fd >= 0)
		(void)close(f.watch_fd);
	return err;
}
