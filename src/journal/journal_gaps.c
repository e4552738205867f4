/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gap markers: what was removed, or never kept, without Kafka's confirmation.
 *
 * Invariant: no two markers overlap, and none that touch have the same reason: so a
 * policy that drops for weeks leaves one marker, not one for each batch. A marker never
 * covers what was not removed, so where there are too many one is forgotten, not merged.
 */
#include "journal_private.h"

#include <string.h>

#include "err.h"
#include "now.h"

#define GAP_BYTES 24

static int
gap_decode(struct bytes key, struct bytes value, struct journal_gap *gap)
{
	const uint8_t *v = value.data;
	uint64_t first;
	int rc = journal_key_seq(key, &first);

	if (rc != ERR_OK || value.size != GAP_BYTES)
		return ERR_CORRUPT;
	*gap = (struct journal_gap){
	    .first_seq = first,
	    .count = le64_get(v),
	    .at_ms = le64_get(v + 8),
	    .reason = (enum journal_gap_reason)v[16],
	};
	return ERR_OK;
}

static int
write_gap(struct journal *j, const struct journal_gap *gap)
{
	uint8_t number[8], data[GAP_BYTES] = {0};

	le64_put(data, gap->count);
	le64_put(data + 8, gap->at_ms);
	data[16] = (uint8_t)gap->reason;
	return store_put(j->store, STORE_GAPS, seq_key(number, gap->first_seq),
	    (struct bytes){.data = data, .size = sizeof(data)}, STORE_REPLACE);
}

/* The last marker that begins before seq, else the first behind: by move. */
static int
find_gap(struct journal *j, uint64_t seq, bool before, struct journal_gap *gap)
{
	struct store_cursor *c = NULL;
	uint8_t number[8];
	struct bytes key = seq_key(number, seq), value;
	int rc = store_cursor_open(j->store, STORE_GAPS, &c);

	if (rc != ERR_OK)
		return rc;
	rc = store_cursor_get(c, STORE_SEEK, &key, &value);
	if (before && rc == ERR_OK)
		rc = store_cursor_get(c, STORE_PREVIOUS, &key, &value);
	else if (before && rc == ERR_NOTFOUND)
		rc = store_cursor_get(c, STORE_LAST, &key, &value);
	if (rc == ERR_OK)
		rc = gap_decode(key, value, gap);
	store_cursor_close(c);
	return rc;
}

/* A piece that no marker tells of: it may grow a neighbour. */
static int
put_piece(struct journal *j, struct journal_gap gap)
{
	struct journal_gap other;
	uint8_t number[8];
	int rc;

	rc = find_gap(j, gap.first_seq, true, &other);
	if (rc == ERR_OK && other.first_seq + other.count == gap.first_seq &&
	    other.reason == gap.reason) {
		gap.first_seq = other.first_seq;
		gap.count += other.count;
		if (gap.at_ms < other.at_ms)
			gap.at_ms = other.at_ms;
	}
	if (rc == ERR_OK || rc == ERR_NOTFOUND)
		rc = find_gap(j, gap.first_seq + gap.count, false, &other);
	if (rc == ERR_OK && other.first_seq == gap.first_seq + gap.count &&
	    other.reason == gap.reason) {
		gap.count += other.count;
		if (gap.at_ms < other.at_ms)
			gap.at_ms = other.at_ms;
		rc = store_delete(
		    j->store, STORE_GAPS, seq_key(number, other.first_seq));
	}
	if (rc != ERR_OK && rc != ERR_NOTFOUND)
		return rc;
	return write_gap(j, &gap);
}

int
journal_gap_at(struct journal *j, uint64_t seq, struct journal_gap *gap)
{
	struct journal_gap found;
	int rc = store_begin_read(j->store);

	if (rc != ERR_OK)
		return rc;
	rc = seq == UINT64_MAX ? ERR_NOTFOUND : find_gap(j, seq + 1, true, &found);
	store_end(j->store);
	if (rc == ERR_OK && seq - found.first_seq >= found.count)
		rc = ERR_NOTFOUND;
	if (rc == ERR_OK)
		*gap = found;
	return rc;
}

/* ---- how many records they stand for ---- */

/* As many as the markers tell. */
static int
sum_gaps(struct journal *j, uint64_t removed[JOURNAL_GAP_REASONS])
{
	struct store_cursor *c = NULL;
	struct journal_gap gap;
	struct bytes key = {0}, value;
	int rc = store_cursor_open(j->store, STORE_GAPS, &c);

	if (rc == ERR_OK)
		rc = store_cursor_get(c, STORE_FIRST, &key, &value);
	while (rc == ERR_OK) {
		if (gap_decode(key, value, &gap) == ERR_OK &&
		    gap.reason < JOURNAL_GAP_REASONS)
			removed[gap.reason] += gap.count;
		rc = store_cursor_get(c, STORE_NEXT, &key, &value);
	}
	store_cursor_close(c);
	return rc == ERR_NOTFOUND ? ERR_OK : rc;
}

int
journal_removed_get(struct journal *j, uint64_t removed[JOURNAL_GAP_REASONS])
{
	struct bytes value;
	int rc = journal_meta_get(j, "removed", &value);

	memset(removed, 0, JOURNAL_GAP_REASONS * sizeof(removed[0]));
	if (rc == ERR_NOTFOUND)
		return sum_gaps(j, removed);
	for (size_t i = 0; rc == ERR_OK && i < JOURNAL_GAP_REASONS; i++) {
		if ((i + 1) * 8 <= value.size)
			removed[i] = le64_get((const uint8_t *)value.data + i * 8);
	}
	return rc;
}

static int
put_removed(struct journal *j, const uint64_t removed[JOURNAL_GAP_REASONS])
{
	uint8_t data[JOURNAL_GAP_REASONS * 8];

	for (size_t i = 0; i < JOURNAL_GAP_REASONS; i++)
		le64_put(data + i * 8, removed[i]);
	return journal_meta_put(j, "removed", data, sizeof(data));
}

/* ---- adding ---- */

/* One more than are kept: the lowest goes. */
static int
forget_lowest(struct journal *j)
{
	uint64_t entries = 0, pages;
	struct journal_gap gap;
	uint8_t number[8];
	int rc = store_db_size(j->store, STORE_GAPS, &entries, &pages);

	if (rc != ERR_OK || entries <= JOURNAL_GAPS_MAX)
		return rc;
	rc = find_gap(j, 0, false, &gap);
	if (rc == ERR_OK)
		rc = store_delete(j->store, STORE_GAPS, seq_key(number, gap.first_seq));
	if (rc == ERR_OK)
		log_repeated(&j->gap_repeat, now_monotonic_ms(), LOG_LEVEL_WARNING,
		    LOG_JOURNAL,
		    "more than %d gap markers: the one for %llu to %llu (%s) is "
		    "forgotten",
		    JOURNAL_GAPS_MAX, (unsigned long long)gap.first_seq,
		    (unsigned long long)(gap.first_seq + gap.count - 1),
		    journal_gap_reason_str(gap.reason));
	return rc;
}

/* The pieces of gap that no marker tells of. */
static int
put_pieces(struct journal *j, struct journal_gap gap, uint64_t *added)
{
	uint64_t end = gap.first_seq + gap.count;
	struct journal_gap other;
	int rc, err;

	rc = find_gap(j, gap.first_seq, true, &other);
	if (rc == ERR_OK && other.first_seq + other.count > gap.first_seq)
		gap.first_seq = other.first_seq + other.count;
	while ((rc == ERR_OK || rc == ERR_NOTFOUND) && gap.first_seq < end) {
		uint64_t piece_end = end, next = end;

		rc = find_gap(j, gap.first_seq, false, &other);
		if (rc == ERR_OK && other.first_seq < end) {
			piece_end = other.first_seq;
			next = other.first_seq + other.count;
		}
		gap.count = piece_end - gap.first_seq;
		err = gap.count == 0 ? ERR_OK : put_piece(j, gap);
		if (err == ERR_OK)
			err = forget_lowest(j);
		if (err != ERR_OK)
			return err;
		*added += gap.count;
		gap.first_seq = next;
	}
	return rc == ERR_NOTFOUND ? ERR_OK : rc;
}

int
journal_gap_add(struct journal *j, struct journal_gap gap, uint64_t *added)
{
	uint64_t removed[JOURNAL_GAP_REASONS], count = 0;
	int rc;

	if (gap.count == 0 || gap.count > UINT64_MAX - gap.first_seq ||
	    gap.reason >= JOURNAL_GAP_REASONS)
		return gap.count == 0 ? ERR_OK : ERR_INVALID;
	rc = journal_removed_get(j, removed);
	if (rc == ERR_OK)
		rc = put_pieces(j, gap, &count);
	if (rc == ERR_OK && count > 0) {
		removed[gap.reason] += count;
		rc = put_removed(j, removed);
	}
	if (rc == ERR_OK && added != NULL)
		*added = count;
	return rc;
}

int
journal_gap_put(struct journal *j, struct journal_gap gap)
{
	return journal_gap_add(j, gap, NULL);
}
