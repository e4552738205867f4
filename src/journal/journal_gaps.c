/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gap markers: what was removed, or never kept, without Kafka's confirmation.
 *
 * Invariant: no two markers overlap, and none that touch have the same reason: so a
 * policy that drops for weeks leaves one marker, not one for each batch.
 */
#include "journal_private.h"

#include <string.h>

#include "err.h"

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
		gap.at_ms = other.at_ms;
	}
	if (rc == ERR_OK || rc == ERR_NOTFOUND)
		rc = find_gap(j, gap.first_seq + gap.count, false, &other);
	if (rc == ERR_OK && other.first_seq == gap.first_seq + gap.count &&
	    other.reason == gap.reason) {
		gap.count += other.count;
		rc = store_delete(
		    j->store, STORE_GAPS, seq_key(number, other.first_seq));
	}
	if (rc != ERR_OK && rc != ERR_NOTFOUND)
		return rc;
	return write_gap(j, &gap);
}

int
journal_gap_put(struct journal *j, struct journal_gap gap)
{
	uint64_t end = gap.first_seq + gap.count;
	struct journal_gap other;
	int rc;

	rc = find_gap(j, gap.first_seq, true, &other);
	if (rc == ERR_OK && other.first_seq + other.count > gap.first_seq)
		gap.first_seq = other.first_seq + other.count;
	while ((rc == ERR_OK || rc == ERR_NOTFOUND) && gap.first_seq < end) {
		gap.count = end - gap.first_seq;
		rc = find_gap(j, gap.first_seq, false, &other);
		if (rc == ERR_OK && other.first_seq < end)
			gap.count = other.first_seq - gap.first_seq;
		else if (rc == ERR_OK)
			rc = ERR_NOTFOUND;
		if (rc == ERR_OK || rc == ERR_NOTFOUND) {
			int err = gap.count == 0 ? ERR_OK : put_piece(j, gap);

			if (err != ERR_OK)
				return err;
			gap.first_seq =
			    rc == ERR_OK ? other.first_seq + other.count : end;
		}
	}
	return rc == ERR_NOTFOUND ? ERR_OK : rc;
}
