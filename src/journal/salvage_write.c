/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was salvaged, written into a new journal.
 *
 * Invariant: format and identity come last, in one transaction with all but the batches:
 * what was cut short before is no journal.
 */
#include "salvage.h"

#include "err.h"
#include "now.h"

#define CHUNK_ENTRIES 500
#define CHUNK_BYTES   ((size_t)8 << 20)

struct chunk {
	struct salvage *salvage;
	size_t from;
	size_t to; /* out */
};

static int
write_chunk(struct journal *j, void *context)
{
	struct chunk *chunk = context;
	struct salvage *s = chunk->salvage;
	size_t bytes = 0, i = chunk->from;
	int rc = store_is_complete(j->store) ? ERR_OK : store_create(j->store);

	for (; rc == ERR_OK && i < s->chosen_count && i - chunk->from < CHUNK_ENTRIES &&
	       bytes < CHUNK_BYTES;
	     i++) {
		const struct salvage_piece *piece = &s->found.pieces[i];
		uint8_t number[8];

		buffer_clear(&s->raw);
		rc = buffer_reserve(&s->raw, piece->place.bytes + 1);
		if (rc == ERR_OK)
			rc = pages_read(&s->found.pages, piece->place.at, s->raw.data,
			    piece->place.bytes);
		if (rc == ERR_OK)
			rc = store_put(j->store, STORE_LOG,
			    seq_key(number, piece->base_seq),
			    (struct bytes){s->raw.data, piece->place.bytes},
			    STORE_APPEND);
		bytes += piece->place.bytes;
	}
	chunk->to = i;
	return rc;
}

int
salvage_write_batches(struct salvage *s)
{
	struct chunk chunk = {.salvage = s};
	int rc;

	do {
		chunk.from = chunk.to;
		rc = journal_take_blocks(s->new);
		if (rc == ERR_OK)
			rc = journal_write(s->new, write_chunk, &chunk);
	} while (rc == ERR_OK && chunk.to < s->chosen_count);
	return rc;
}

static int
write_list(struct journal *j, enum store_db db, const struct salvage_list *list)
{
	int rc = ERR_OK;

	for (size_t i = 0; rc == ERR_OK && i < list->count; i++) {
		const struct salvage_entry *e = &list->items[i];

		rc = store_put(j->store, db, (struct bytes){e->key.data, e->key.size},
		    (struct bytes){e->value.data, e->value.size}, STORE_KEEP);
	}
	return rc;
}

static int
write_known_gaps(struct journal *j, const struct salvage_list *list)
{
	int rc = ERR_OK;

	for (size_t i = 0; rc == ERR_OK && i < list->count; i++) {
		const uint8_t *v = list->items[i].value.data;
		struct journal_gap gap = {
		    .first_seq = be64_get(list->items[i].key.data),
		    .count = le64_get(v),
		    .at_ms = le64_get(v + 8),
		    .reason = (enum journal_gap_reason)v[16],
		};

		if (gap.count < SALVAGE_BELIEVABLE_SEQ - gap.first_seq)
			rc = journal_gap_put(j, gap);
	}
	return rc;
}

static int
write_hole(struct salvage *s, uint64_t first_seq, uint64_t end_seq)
{
	struct journal_gap gap = {
	    .first_seq = first_seq,
	    .count = end_seq - first_seq,
	    .at_ms = (uint64_t)now_real_ms(),
	    .reason = JOURNAL_GAP_DAMAGED,
	};
	uint64_t added = 0;
	int rc;

	if (first_seq >= end_seq)
		return ERR_OK;
	rc = journal_gap_add(s->new, gap, &added);
	if (rc == ERR_OK && added > 0) {
		s->result.lost_ranges++;
		s->result.lost_records += added;
	}
	return rc;
}

/* What is owed, but neither a batch nor a gap that is known of has it. */
static int
write_holes(struct salvage *s)
{
	uint64_t seq = s->least_acked + 1;
	int rc = ERR_OK;

	s->result.lost_ranges = 0;
	s->result.lost_records = 0;
	if (s->route_count == 0)
		seq = s->chosen_count > 0 ? s->found.pieces[0].base_seq : s->next_seq;
	for (size_t i = 0; rc == ERR_OK && i < s->chosen_count; i++) {
		rc = write_hole(s, seq, s->found.pieces[i].base_seq);
		if (s->found.pieces[i].end_seq > seq)
			seq = s->found.pieces[i].end_seq;
	}
	return rc == ERR_OK ? write_hole(s, seq, s->next_seq) : rc;
}

static int
copy_meta(struct salvage *s, const char *name, const char *as, bool is_needed)
{
	const struct buffer *value = salvage_meta(s, name);

	if (value == NULL)
		return is_needed ? journal_meta_put(s->new, as, "", 0) : ERR_OK;
	return journal_meta_put(s->new, as, value->data, value->size);
}

/* Its identity: a copy of that one, as far as that is known. */
static int
write_identity(struct salvage *s)
{
	static const uint8_t format[4] = {JOURNAL_FORMAT, 0, 0, 0};
	const struct buffer *uuid = salvage_meta(s, "uuid");
	const struct buffer *gateway = salvage_meta(s, "gateway");
	const struct buffer *machine = salvage_meta(s, "machine");
	uint8_t made[16];
	int rc = journal_uuid_make(made);

	if (rc == ERR_OK)
		rc = journal_meta_put(s->new, "uuid", made, sizeof(made));
	if (rc == ERR_OK && uuid != NULL && uuid->size == 16)
		rc = journal_meta_put(s->new, "parent", uuid->data, 16);
	if (rc == ERR_OK)
		rc = copy_meta(s, "gateway", "gateway", true);
	if (rc == ERR_OK)
		rc = copy_meta(s, "machine", "machine", true);
	if (rc == ERR_OK && gateway != NULL && gateway->size > 64)
		rc = journal_meta_put(s->new, "gateway", "", 0);
	if (rc == ERR_OK && machine != NULL && machine->size > 32)
		rc = journal_meta_put(s->new, "machine", "", 0);
	return rc == ERR_OK ? journal_meta_put(s->new, "format", format, sizeof(format))
			    : rc;
}

int
salvage_write_rest(struct journal *j, void *context)
{
	struct salvage *s = context;
	uint64_t max_bytes = salvage_meta_largest(s, "max_bytes");
	int rc = write_list(j, STORE_DEAD, &s->found.dead);

	if (rc == ERR_OK)
		rc = write_list(j, STORE_DAMAGED, &s->found.damaged);
	if (rc == ERR_OK)
		rc = write_known_gaps(j, &s->found.gaps);
	if (rc == ERR_OK)
		rc = write_holes(s);
	for (size_t i = 0; rc == ERR_OK && i < s->route_count; i++) {
		uint8_t number[8];

		le64_put(number, s->routes[i].acked);
		rc = store_put(j->store, STORE_META, s->routes[i].name,
		    (struct bytes){number, sizeof(number)}, STORE_REPLACE);
	}
	if (rc == ERR_OK)
		rc = copy_meta(s, "subscriptions", "subscriptions", false);
	if (rc == ERR_OK && max_bytes > 0)
		rc = journal_meta_put_u64(j, "max_bytes", max_bytes);
	if (rc == ERR_OK)
		rc = journal_meta_put_u64(j, "next", s->next_seq);
	return rc == ERR_OK ? write_identity(s) : rc;
}
