/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal: every message that was accepted and is not yet delivered, on disk.
 *
 * It is an LMDB environment (data.mdb, lock.mdb; mdb_stat and mdb_copy work on it)
 * with these named databases:
 *
 *   log   u64 base sequence, big-endian -> a batch (batch.h)
 *   dead  u64 sequence, big-endian, then the route name -> a dead letter (record.h)
 *   gaps  u64 first sequence, big-endian -> 24 bytes, little-endian:
 *         u64 count, u64 time (ms since the epoch), u32 reason (enum
 *         journal_gap_reason), u32 zero. "Removed without Kafka's confirmation".
 *         Neighbours of one reason are one marker, with the time of the last. Of more
 *         than JOURNAL_GAPS_MAX the one with the lowest sequences is forgotten, which
 *         is logged; none is ever made to cover what was not removed. "removed" in
 *         meta goes on counting what it stood for.
 *         (Big-endian keys, because MDB_INTEGERKEY compares only the lower half of a
 *         u64 where size_t has 32 bits.)
 *   orders   u64 number, big-endian -> 56 bytes, little-endian: u32 kind (enum
 *         journal_order_kind), u32 state (enum journal_order_state), u64 seq, u64
 *         until_seq, u64 bytes, u64 count, u64 time (ms since the epoch), i32 error
 *         (ERR_*), u32 zero; see struct journal_order
 *   damaged  u64 base sequence, big-endian -> a batch that could not be read, as found
 *   meta  name -> value, numbers little-endian:
 *         "format"        u32, 1
 *         "uuid"          16 bytes: identity of this journal, RFC 9562 version 4
 *         "parent"        16 bytes: the journal this one was copied from, if any
 *         "unused"        u64, in a backup that nobody has worked with yet
 *         "gateway"       the gateway id
 *         "machine"       machine-id(5), or empty where there is none
 *         "next"          u64, the sequence number that the next record will get
 *         "max_bytes"     u64, as the last writer was configured
 *         "ack/ROUTE"     u64, the last sequence number up to which ROUTE owes nothing
 *         "asked/ROUTE"   what ROUTE asks for, a text
 *         "passed/ROUTE"  u64 sequence number, a text: up to there ROUTE has had what
 *                         that text asked for
 *         "sent/ROUTE"    u64, up to there ROUTE may have handed records to Kafka; not
 *                         there where that is not noted
 *         "removed"       u64 for each number of enum journal_gap_reason, from 0 on: how
 *                         many records gap markers stand for, forgotten ones included;
 *                         not there: as many as the markers that are there tell
 *         "next_order"    u64, the number that the next order will get
 *         "subscriptions" u32 next identifier, then for each: u32 identifier,
 *                         u16 length, the filter
 *
 * Beside it: ingest.lock and forward.lock, held with flock(2) by the one process
 * of each role, and, where the file system has no fallocate(2), ballast: 1 MiB that
 * is given up when truncating meets a full disk. Nobody opens LMDB's own files:
 * closing lock.mdb a second time within a process would drop LMDB's lock (facts:
 * POSIX record locks). data.mdb is never shorter than its pages, so that a shorter
 * one can be told to be damaged before the map is touched (SIGBUS).
 *
 * Sequence numbers start at 1, are dense, and are never used again, also after the
 * journal ran empty: "next" is written in the transaction that appends.
 *
 * A commit has returned means: the batch pages and the meta page are on disk (plain
 * LMDB mode: no MDB_NOSYNC, MDB_NOMETASYNC, MDB_WRITEMAP). A crash leaves the state
 * after some commit that had returned or was under way; never a part of one.
 *
 * Versions. A program reads every format up to its own, and refuses a later one, or a
 * latest batch of a later version, with ERR_VERSION before anything is written. What it
 * does not know is let be: further databases, names in meta, and fields of records stay
 * as they are, and copies keep them. So an addition that an earlier program may pass by
 * is no new format. A new format is written only once that is asked for (a fleet can be
 * rolled back until then): a new version goes on writing the format that it finds, and
 * makes new journals in the one before, for at least one release.
 *
 * Room. The map is max_bytes + dead_max_bytes + a reserve (at least 1 MiB, 1 % of
 * max_bytes, four times the largest record). An append is refused once the pages in
 * use (last page less those that can be used again) would pass max_bytes plus what
 * dead letters take; the file grows only into blocks that fallocate(2) has taken, 1
 * MiB (or a 64th of the file) beyond the end always among them. So truncating works on a full journal and a
 * full disk; if LMDB still answers MDB_MAP_FULL the batch is made smaller, then the
 * map grows by 1 MiB, which other processes adopt. Free pages that do not lie together
 * may let the file grow past max_bytes, but not past the map.
 *
 * Damage. LMDB believes its pages. So each time that the file is opened, before LMDB
 * follows one, its structure is checked: meta pages, each tree page, the free list. What
 * is not whole is refused and left as it is (journal_salvage()). The first page of a
 * batch is looked at when the batch is to be deleted: one that is not whole stays, and
 * so does what is behind it. A batch is believed by its checksum; one that is wrong is
 * reported by journal_read() and set aside by journal_quarantine(). The numbers in meta
 * have no checksum of their own.
 *
 * Threads: none. One process may hold a journal open once only (LMDB's rule).
 */
#ifndef JOURNAL_H
#define JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "batch.h"
#include "buffer.h"
#include "record.h"

#define JOURNAL_FORMAT 1

/*
 * The name under which the position is kept of whoever buries what no route matches; no
 * route can have it.
 */
#define JOURNAL_UNROUTED "(unrouted)"

struct journal;

enum journal_role {
	JOURNAL_INGEST, /* appends; holds ingest.lock; makes a journal that is not there */
	JOURNAL_FORWARD, /* acknowledges, buries, truncates; holds forward.lock; likewise */
	JOURNAL_LOOK,  /* reads only; any number, beside the others */
	JOURNAL_ORDER, /* leaves orders, and reads; any number, beside the others */
};

struct journal_options {
	const char *directory; /* must exist */
	/*
	 * JOURNAL_LOOK, for journal_stat() and nothing else: only that much is checked, so
	 * that it does not take longer with the backlog.
	 */
	bool figures_only;
	/*
	 * Not used by JOURNAL_LOOK and JOURNAL_ORDER. NULL with JOURNAL_FORWARD: one that
	 * is there, whosever it is, as large as it was; the sizes below do not count.
	 */
	const char *gateway_id;
	uint64_t max_bytes; /* not used either, nor is the rest */
	uint64_t dead_max_bytes;
	enum batch_codec codec;
	bool preallocate;     /* take all of the room on disk now */
	int64_t lock_wait_ms; /* how long to wait for another holder of the role */
};

/*
 * Open the journal for a role.
 *
 * Ownership: options is borrowed for the call. *out is the caller's; NULL on failure.
 * Errors:    ERR_LOCKED (another process has this role), ERR_IDENTITY (another
 *            gateway's journal, or made on another machine: "tidegate-admin adopt"),
 *            ERR_VERSION, ERR_CORRUPT, ERR_NOTFOUND (no such directory; for
 *            JOURNAL_LOOK also: no journal in it), ERR_NOMEM (also: the address space
 *            cannot map max_bytes), ERR_FULL, ERR_IO. Each is logged with its cause.
 */
int journal_open(struct journal **out, enum journal_role role,
    const struct journal_options *options);

void journal_close(struct journal *j);

/*
 * Is there a process with this role, JOURNAL_INGEST or JOURNAL_FORWARD? Not when the
 * directory cannot be looked into either: opening it tells why.
 */
bool journal_is_held(const char *directory, enum journal_role role);

/* What stays the same while it is open. */
struct journal_identity {
	uint8_t uuid[16];
	uint8_t parent[16]; /* all zero: none */
	char gateway_id[65];
	char machine_id[33];
};

/* Borrowed; valid until journal_close(). */
const struct journal_identity *journal_identity(const struct journal *j);

/* Read it again: somebody else may have changed it. Errors: ERR_CORRUPT, ERR_IO. */
int journal_identity_load(struct journal *j);

/*
 * Does it belong to this gateway on this machine? Appends to why, on ERR_IDENTITY, what
 * is different and the ways out, in words.
 *
 * Errors:    ERR_IDENTITY, ERR_NOMEM.
 */
int journal_identity_check(
    const struct journal *j, const char *gateway_id, struct buffer *why);

/* "xxxxxxxx-xxxx-4xxx-xxxx-xxxxxxxxxxxx" and an end mark. */
void journal_uuid_text(const uint8_t uuid[16], char text[37]);

/* ---- appending: JOURNAL_INGEST ---- */

/*
 * Take a record into the commit that is being gathered. Nothing is on disk yet. A
 * record whose stored form is larger than max_bytes / 16 can never fit: a gap marker
 * is staged in its place, which takes a sequence number and is counted and logged.
 *
 * Ownership: r is borrowed for the call.
 * Errors:    ERR_NOMEM, not staged.
 */
int journal_stage(struct journal *j, const struct record *r);

/*
 * Take a gap marker "dropped: newest" into the commit in the place of count messages. A
 * commit of markers alone also works on a full journal and, mostly, on a full disk: it
 * has the room that is reserved for truncating.
 *
 * Errors:    ERR_NOMEM, not staged.
 */
int journal_stage_dropped(struct journal *j, size_t count);

/* Records (and gap markers) staged, and their encoded bytes. */
size_t journal_staged_count(const struct journal *j);
size_t journal_staged_bytes(const struct journal *j);

/*
 * Write all that is staged, in one transaction. When this returns 0 it is on disk.
 * When it fails nothing was written. Either way nothing is staged any more: after a
 * failure the MQTT broker has to send it again.
 *
 * Errors:    ERR_FULL (journal or disk), ERR_IO, ERR_CORRUPT, ERR_NOMEM.
 */
int journal_commit(struct journal *j);

/* Forget what is staged. */
void journal_unstage(struct journal *j);

/*
 * Can the journal be written? Writes something that changes nothing, and flushes it.
 * Errors:    ERR_FULL (it or the disk), ERR_IO, ERR_CORRUPT.
 */
int journal_probe(struct journal *j);

/*
 * How many bytes may still be appended, by the rule above and the disk's own free
 * space. 0: full. Reads the environment; not for every message.
 */
int journal_room(struct journal *j, uint64_t *bytes);

/* Is it the disk that has no more room for it, rather than max_bytes? */
bool journal_is_short_of_disk(struct journal *j);

/*
 * The subscriptions that the broker was asked for. An identifier stands for one
 * unbroken subscription and is never used again for another.
 */
struct journal_subscription {
	uint32_t id; /* 0: asked for, but not known to be granted */
	char *filter;
};

struct journal_subscriptions {
	struct journal_subscription *list; /* by rising id */
	size_t count;
	uint32_t next_id; /* at least 1 */
};

/* Ownership: *out is the caller's; release with journal_subscriptions_fini(). */
int journal_subscriptions_load(struct journal *j, struct journal_subscriptions *out);
int journal_subscriptions_save(
    struct journal *j, const struct journal_subscriptions *s);
void journal_subscriptions_fini(struct journal_subscriptions *s);

/* ---- reading: every role ---- */

/* A batch, copied out of the journal: it stays valid as long as its owner wants. */
struct journal_batch {
	struct batch_header header;
	uint64_t base_seq;
	uint64_t end_seq;   /* one past the last; known for a damaged batch as well */
	struct buffer body; /* decoded; for record_decode() */
};

void journal_batch_fini(struct journal_batch *b);

/*
 * Read the first batch that holds from_seq or anything behind it. The read
 * transaction is closed again when this returns (a long one would keep LMDB from
 * using pages again).
 *
 * Ownership: b is the caller's, zero-initialised or used before.
 * Errors:    ERR_NOTFOUND (no record at from_seq or behind: up to b->end_seq, the next
 *            sequence number, nothing is owed), ERR_CORRUPT or ERR_VERSION
 *            (b->base_seq and end_seq tell the range that cannot be read; go on with
 *            end_seq), ERR_NOMEM, ERR_IO.
 */
int journal_read(struct journal *j, uint64_t from_seq, struct journal_batch *b);

enum journal_gap_reason {
	JOURNAL_GAP_TOO_LARGE = 1, /* a message larger than the journal can hold */
	JOURNAL_GAP_DAMAGED = 2,
	JOURNAL_GAP_DROPPED_OLDEST = 3,
	JOURNAL_GAP_DROPPED_NEWEST = 4,
	JOURNAL_GAP_OPERATOR = 5,
};

#define JOURNAL_GAP_REASONS 6 /* one more than the last */

/* Markers that are kept; see above. */
#define JOURNAL_GAPS_MAX 10000

const char *journal_gap_reason_str(enum journal_gap_reason reason);

struct journal_gap {
	uint64_t first_seq;
	uint64_t count;
	uint64_t at_ms;
	enum journal_gap_reason reason;
};

/* The first gap that begins at from_seq or behind. Errors: ERR_NOTFOUND, ERR_IO. */
int journal_gap_read(struct journal *j, uint64_t from_seq, struct journal_gap *gap);

/* The gap that seq is in. Errors: ERR_NOTFOUND, ERR_CORRUPT, ERR_IO. */
int journal_gap_at(struct journal *j, uint64_t seq, struct journal_gap *gap);

/* A dead letter, copied out. value is for dead_letter_decode(). */
struct journal_dead {
	uint64_t seq;
	struct buffer route; /* NUL-terminated; the mark is not counted in size */
	struct buffer value;
};

void journal_dead_fini(struct journal_dead *d);

/*
 * The first dead letter behind (d->seq, d->route) as d holds them; start with d
 * zero-initialised. Errors: ERR_NOTFOUND (no more), ERR_CORRUPT, ERR_NOMEM, ERR_IO.
 */
int journal_dead_next(struct journal *j, struct journal_dead *d);

struct journal_route_stat {
	char *name;
	uint64_t acked_seq;
};

struct journal_stat {
	uint64_t first_seq; /* of the oldest record kept; next_seq when none is */
	uint64_t next_seq;
	uint64_t acked_seq; /* the smallest over the routes; 0 when there are none */
	uint64_t records;   /* not yet acknowledged by every route (gaps in it count) */
	uint64_t used_bytes; /* pages in use */
	uint64_t file_bytes; /* end of data.mdb */
	uint64_t max_bytes;  /* as the last writer was configured */
	uint64_t map_bytes;
	uint64_t oldest_ms; /* arrival of the oldest batch kept; 0 when none is */
	uint64_t dead_count;
	uint64_t dead_bytes;
	uint64_t gap_count;                    /* markers, not records */
	uint64_t damaged_count;                /* batches set aside */
	uint64_t removed[JOURNAL_GAP_REASONS]; /* records, since the journal was made */
	uint64_t batches;
	struct journal_route_stat *routes;
	size_t route_count;
};

/*
 * Figures, without a scan: its cost does not grow with the backlog.
 *
 * Ownership: release *out with journal_stat_fini().
 */
int journal_stat(struct journal *j, struct journal_stat *out);
void journal_stat_fini(struct journal_stat *s);

/* ---- draining: JOURNAL_FORWARD ---- */

/*
 * Say which routes there are. A route that is new starts where the slowest of the
 * known ones stands (with none known: at the oldest record kept); one that is not
 * named any more is forgotten.
 *
 * acked_seq: out, count numbers, in the order of names.
 */
int journal_routes_set(
    struct journal *j, const char *const names[], size_t count, uint64_t acked_seq[]);

struct journal_passed {
	uint64_t until_seq; /* 0: nothing */
	char *asked;        /* NULL, or the caller's: free(3) */
};

/*
 * Say what each route asks for, as a text, in the order of journal_routes_set(), and
 * after it; NULL: not to be remembered. A route that asked for something else before
 * goes back to where the slowest stands: there may be records for it that it was past.
 * What it had of them is told by passed. One of which nothing is known stays.
 *
 * acked_seq: out, the positions of all.
 */
int journal_routes_ask(struct journal *j, const char *const asked[],
    uint64_t acked_seq[], struct journal_passed passed[]);

/*
 * Record that each route owes nothing up to and including acked_seq (in the order
 * of journal_routes_set(); a number below the stored one is ignored), and delete the
 * batches that every route is past: at most a bounded number in one transaction.
 *
 * more:      out, true when batches are left that may be deleted: call again.
 * Errors:    ERR_FULL, ERR_IO: nothing changed, try again later. Where *more is set all
 *            the same it is recorded, but those left are not safe to delete: mostly
 *            ERR_CORRUPT (logged).
 */
int journal_acknowledge(struct journal *j, const uint64_t acked_seq[], bool *more);

/*
 * Put a record into dead, on disk when this returns 0. Acknowledge it only then. A
 * letter that is already there is left as it is.
 *
 * Errors:    ERR_FULL (dead_max_bytes is used up, or the disk), ERR_IO.
 */
int journal_bury(struct journal *j, uint64_t seq, const char *route,
    const struct dead_letter *letter);

/* Is it in dead? Errors: ERR_NOTFOUND, it is not; ERR_INVALID, ERR_IO. */
int journal_is_buried(struct journal *j, uint64_t seq, const char *route);

/*
 * Append a dead letter again under a new sequence, in the transaction that deletes it:
 * bound to its route (record.h). One of JOURNAL_UNROUTED is bound as it was before, to
 * nothing mostly. One that was requeued before keeps the sequence that it had first, and
 * a gap marker "operator" is left for the one that it has now.
 *
 * new_seq:   out.
 * Errors:    ERR_NOTFOUND (no such letter), ERR_AWAY (the position of its route is not
 *            past it: whoever delivers may come by it again, wait), ERR_FULL (no room in
 *            the log), ERR_CORRUPT, ERR_IO: nothing changed.
 */
int journal_requeue(
    struct journal *j, uint64_t seq, const char *route, uint64_t *new_seq);

/*
 * Delete a dead letter. A gap marker "operator" is left, also for the sequence that a
 * requeued one had first. Errors: as above; a damaged one is deleted, too.
 */
int journal_discard(struct journal *j, uint64_t seq, const char *route);

/* Sequences first_seq up to but not end_seq. */
struct journal_range {
	uint64_t first_seq;
	uint64_t end_seq;
};

struct journal_dropped {
	uint64_t records;
	uint64_t bytes;
	struct journal_range range; /* of the first to the last of them */
};

/*
 * Delete the oldest batches, whole ones, that touch none of the ranges kept, until
 * about so many bytes are free; gap markers "dropped: oldest" tell which. In bounded
 * transactions; what was done is done when one fails.
 *
 * keep:      by rising first_seq.
 * dropped:   out, added up; all zero: there was nothing that might go.
 * Errors:    ERR_FULL, ERR_IO.
 */
int journal_drop_oldest(struct journal *j, const struct journal_range keep[],
    size_t keep_count, uint64_t bytes, struct journal_dropped *dropped);

/*
 * Note that a route, by its place in journal_routes_set(), may send up to seq; on disk
 * when this returns 0. So after a crash it is known what may have arrived.
 *
 * seq of get: out, 0 where it is not known.
 */
int journal_sent_put(struct journal *j, size_t route, uint64_t seq);
int journal_sent_get(struct journal *j, size_t route, uint64_t *seq);

/*
 * Move the batch at range->first_seq, which journal_read() cannot read or whose records
 * do not decode, out of the way: into "damaged", as it is, with a gap marker for what
 * cannot be read of it. It counts towards dead_max_bytes. What can be read stays.
 *
 * range:     in, and out: what is a gap now.
 * Errors:    ERR_INVALID (it can be read), ERR_VERSION (of a later version, not
 *            damaged), ERR_FULL (dead_max_bytes, or the disk), ERR_IO.
 */
int journal_quarantine(struct journal *j, struct journal_range *range);

/*
 * The position in Kafka is ahead of this journal, or does not fit it: an image was
 * restored, or the disk has lied. A new UUID, the old one is its parent.
 */
int journal_renew_identity(struct journal *j);

/* ---- orders: what tidegate-admin and ingest ask of forward ---- */

enum journal_order_kind {
	JOURNAL_ORDER_SKIP = 1,    /* seq goes to dead for every route that owes it */
	JOURNAL_ORDER_REQUEUE = 2, /* dead letters of seq, or all (seq 0) */
	JOURNAL_ORDER_DISCARD = 3, /* likewise */
	JOURNAL_ORDER_DROP_OLDEST = 4, /* until so many bytes are free */
	JOURNAL_ORDER_WITHDRAW =
	    5, /* order number seq is taken back: it ends, refused */
};

enum journal_order_state {
	JOURNAL_ORDER_WAITS,
	JOURNAL_ORDER_DONE,
	JOURNAL_ORDER_FAILED,
};

struct journal_order {
	uint64_t number; /* rising, never used again; given by journal_order_give() */
	enum journal_order_kind kind;
	uint64_t seq;
	uint64_t until_seq; /* of all letters those before it; likewise */
	uint64_t bytes;
	enum journal_order_state state;
	uint64_t count; /* what was done: records or letters */
	int32_t err;    /* ERR_*, why it failed */
	uint64_t at_ms; /* real time when it was given, then when it ended */
};

/*
 * Leave an order: kind, seq and bytes say which. JOURNAL_ORDER, JOURNAL_INGEST,
 * JOURNAL_FORWARD.
 *
 * o:         out, the whole of it.
 */
int journal_order_give(struct journal *j, struct journal_order *o);

/*
 * The first one with a number behind after.
 *
 * Errors:    ERR_NOTFOUND, ERR_CORRUPT (o->number tells which, so that it can be
 *            forgotten; 0: the database itself), ERR_IO.
 */
int journal_order_next(struct journal *j, uint64_t after, struct journal_order *o);

/*
 * It ended: write state, count, err and at_ms. Forward alone, or who has forward.lock.
 * No failure when it was forgotten meanwhile.
 */
int journal_order_end(struct journal *j, const struct journal_order *o);

/*
 * Do a part of what a REQUEUE or DISCARD asks for: a bounded number of letters, in one
 * transaction, which also notes the count in the order, if it has been given (has a
 * number). Letters of which journal_requeue() says ERR_AWAY are passed by, as damaged
 * ones are; and without a word, where all are to be discarded by an order that was given,
 * those put away after that.
 *
 * o:         in and out: count is raised by what was done. err: of a letter that was
 *            passed by.
 * at:        the letter looked at last; zero-initialised at first and to begin anew;
 *            release with journal_dead_fini().
 * more:      out, true: call again.
 * Errors:    ERR_FULL (no room in the log for the next one), ERR_NOMEM, ERR_IO: nothing
 *            changed by this call.
 */
int journal_order_letters(
    struct journal *j, struct journal_order *o, struct journal_dead *at, bool *more);

/* Delete it, ended or not. No failure when it is not there. */
int journal_order_forget(struct journal *j, uint64_t number);

/* ---- housekeeping ---- */

/* Free the reader slots of processes that are gone. At start and each minute. */
int journal_readers_check(struct journal *j);

/*
 * The ways out of ERR_IDENTITY, for tidegate-admin. Both need every other process
 * off the journal (they take both locks) and write this machine and gateway_id (NULL:
 * it stays as it is).
 * adopt keeps the UUID: the journal was moved. new_identity gives a new one and
 * records the old as parent: this is a copy, and the other one lives on.
 */
int journal_adopt(const char *directory, const char *gateway_id);
int journal_new_identity(const char *directory, const char *gateway_id);

/* ---- copies, for tidegate-admin ---- */

/*
 * Copy the journal into a new file, hot and consistent: as data.mdb of another
 * directory it is a journal, with a UUID of its own and this one's as parent. On disk
 * under its name when this returns 0, else not there.
 *
 * Errors:    ERR_INVALID (file is there already), ERR_NOTFOUND, ERR_FULL, ERR_IO.
 */
int journal_backup(const char *directory, const char *file);

/*
 * Write data.mdb anew without what is free in it. Takes both locks. The old file is
 * replaced only when the new one has been read through.
 *
 * before, after: out, bytes of the file.
 */
int journal_compact(const char *directory, uint64_t *before, uint64_t *after);

struct journal_salvaged {
	uint64_t records;
	uint64_t batches;
	uint64_t dead;
	uint64_t
	    lost_ranges; /* gaps that are now in the new journal for want of them */
	uint64_t lost_records;
	bool has_tree; /* LMDB's own structure could be followed, at least in part */
};

/*
 * What can be read of a damaged journal, page by page, into a new one in into (which
 * must exist and hold no journal). Takes both locks of the damaged one. The new one has
 * a UUID of its own; sequences and positions stay as far as they are known.
 *
 * Errors:    ERR_NOTFOUND (nothing to be read), ERR_INVALID (into holds a journal),
 *            ERR_IO, ERR_FULL.
 */
int journal_salvage(
    const char *directory, const char *into, struct journal_salvaged *out);

#endif
