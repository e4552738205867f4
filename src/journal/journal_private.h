/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the journal share: journal.c opens it, journal_meta.c keeps its
 * meta database, journal_append.c, journal_read.c and journal_drain.c do the rest.
 */
#ifndef JOURNAL_PRIVATE_H
#define JOURNAL_PRIVATE_H

#include "journal.h"
#include "log.h"
#include "store.h"

/* A meta key: "ack/" and a route name, within LMDB's 511 bytes. */
#define JOURNAL_KEY_BYTES 512

/* What one commit may take besides the batches: copied tree pages, the free list. */
#define JOURNAL_EXTRA_PAGES 32

/* Something staged: a batch, or a gap marker in the place of records. */
struct staged {
	bool is_gap;
	enum journal_gap_reason gap_reason;
	struct batch_header header;
	struct buffer stored; /* the batch as it will be written, not yet sealed */
	uint64_t gap_count;
	uint64_t gap_at_ms;
};

struct journal {
	enum journal_role role;
	char *directory;
	struct store *store;
	int lock_fds[2]; /* -1: not held */
	struct journal_identity identity;
	uint64_t max_bytes;
	uint64_t dead_max_bytes;
	enum batch_codec codec;
	struct batch_coder *coder;
	uint8_t boot_id[16];

	/*
	 * Staged: items in order; body is the batch that is still being gathered, behind
	 * the room for its header.
	 */
	struct staged *items;
	size_t item_count;
	size_t item_capacity;
	struct buffer body;
	uint32_t body_count;
	size_t staged_count;
	size_t staged_bytes;
	struct log_repeat too_large_repeat;
	struct log_repeat gap_repeat;

	struct buffer raw; /* a batch as it is stored, copied out */

	/* Draining: the names of journal_routes_set(). */
	char **route_names;
	size_t route_count;
};

static inline void
le64_put(uint8_t out[8], uint64_t n)
{
	for (int i = 0; i < 8; i++)
		out[i] = (uint8_t)(n >> (8 * i));
}

static inline uint32_t
le32_get(const uint8_t in[4])
{
	return (uint32_t)in[0] | (uint32_t)in[1] << 8 | (uint32_t)in[2] << 16 |
	       (uint32_t)in[3] << 24;
}

static inline uint64_t
le64_get(const uint8_t in[8])
{
	uint64_t n = 0;

	for (int i = 7; i >= 0; i--)
		n = n << 8 | in[i];
	return n;
}

static inline void
be64_put(uint8_t out[8], uint64_t n)
{
	for (int i = 7; i >= 0; i--) {
		out[i] = (uint8_t)n;
		n >>= 8;
	}
}

static inline uint64_t
be64_get(const uint8_t in[8])
{
	uint64_t n = 0;

	for (int i = 0; i < 8; i++)
		n = n << 8 | in[i];
	return n;
}

/* A sequence number as a key of log or gaps, and back. Errors: ERR_CORRUPT. */
static inline struct bytes
seq_key(uint8_t number[8], uint64_t seq)
{
	be64_put(number, seq);
	return (struct bytes){.data = number, .size = 8};
}

int journal_key_seq(struct bytes key, uint64_t *seq);

/* Is it safe to delete the batches from key first to key last? As store_check_runs(). */
int journal_check_runs(
    struct journal *j, uint64_t first_seq, uint64_t last_seq, size_t most);

/* Nobody else has it: take both locks; nothing is opened yet. Errors: as journal_open(). */
int journal_lock_alone(struct journal **out, const char *directory);

/*
 * Open what is there, whatever it holds; with map_bytes, for that much, and make it where
 * nothing is.
 */
int journal_open_bare(struct journal *j, uint64_t map_bytes);

/*
 * Both, and read its identity: whosever it is. Asks for no more map than there is, so
 * that it works whatever max_bytes was.
 */
int journal_open_alone(struct journal **out, const char *directory);

/* As journal_new_identity(); the gateway and the machine stay as they are. */
int journal_copy_identity(const char *directory);

/*
 * A backup may be put back more than once: each time it is worked with first it gets a
 * UUID of its own.
 */
int journal_begin_to_use(struct journal *j);

/*
 * Do something in one write transaction that must not fail for want of room: work may
 * be called again, after the map has grown or the ballast was given up.
 */
typedef int journal_work(struct journal *j, void *context);
int journal_write(struct journal *j, journal_work *work, void *context);

/* As journal_commit(); work is done in the same transaction, behind the records. */
int journal_commit_with(struct journal *j, journal_work *work, void *context);

/* As journal_stage(), for one that was taken already: as large as it is. */
int journal_stage_again(struct journal *j, const struct record *r);

/* Take blocks for what a transaction may copy; without them, try all the same. */
int journal_take_blocks(struct journal *j);

/* ---- in the transaction that is open ---- */

/*
 * Note a gap. What a marker tells already stays as it is; neighbours of one reason
 * become one marker. added: out, so many sequences had none; NULL: not asked.
 */
int journal_gap_put(struct journal *j, struct journal_gap gap);
int journal_gap_add(struct journal *j, struct journal_gap gap, uint64_t *added);

/* Write the order under its number. */
int journal_order_put(struct journal *j, const struct journal_order *o);

/* How many records gap markers stand for, or stood, by reason. */
int journal_removed_get(struct journal *j, uint64_t removed[JOURNAL_GAP_REASONS]);

/* ---- meta, in the transaction that is open ---- */

int journal_meta_get(struct journal *j, const char *name, struct bytes *value);
int journal_meta_put(
    struct journal *j, const char *name, const void *data, size_t size);
int journal_meta_get_u64(struct journal *j, const char *name, uint64_t *n);
int journal_meta_put_u64(struct journal *j, const char *name, uint64_t n);

/* The sequence number that comes next. ERR_CORRUPT where it is missing or 0. */
int journal_meta_next(struct journal *j, uint64_t *next);

/* "KIND/ROUTE". Errors: ERR_INVALID, the name is too long. */
int journal_meta_route_key(
    const char *kind, const char *route, char key[JOURNAL_KEY_BYTES]);

/*
 * Show visit the position of each known route; it may delete the one that it is shown,
 * by c. Stops at the first answer that is not 0, and returns that.
 */
typedef int journal_position_visit(
    void *context, struct store_cursor *c, struct bytes route, uint64_t acked);
int journal_meta_positions(
    struct journal *j, journal_position_visit *visit, void *context);

/* The position of a route that is known. Errors: ERR_NOTFOUND. */
int journal_acked_get(struct journal *j, const char *route, uint64_t *acked);
int journal_acked_put(struct journal *j, const char *route, uint64_t acked);

/* Where the slowest of the known routes stands. */
int journal_slowest(struct journal *j, uint64_t *seq);

/* What is known of an earlier route of that name, but for its position. */
int journal_asked_forget(struct journal *j, const char *route);

/* A new journal's meta, unless another process was first. */
int journal_meta_create(struct journal *j, const char *gateway_id);

/* Does this program know that format? Errors: ERR_VERSION (logged), ERR_CORRUPT. */
int journal_format_check(const char *directory, struct bytes format);

/* The accept of struct store_options; context: the journal. Errors: ERR_VERSION. */
int journal_accept(void *context, struct store *s);

/* Read the format and the identity. Errors: ERR_VERSION, ERR_CORRUPT. */
int journal_meta_load(struct journal *j);

/* This machine's id; "" where there is none. */
void journal_machine_id(char id[33]);

/* A random version 4 UUID. Errors: ERR_IO. */
int journal_uuid_make(uint8_t uuid[16]);

#endif
