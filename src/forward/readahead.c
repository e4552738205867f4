/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading ahead. A run is made of one batch or, where the commits were small, of several:
 * so the number of runs bounds the memory, whatever the batches look like, and a backlog
 * of tiny commits does not make for a window of few records.
 *
 * A body stays while a value inside it is on its way; the decoded records, which may be
 * larger than the body, only while somebody stands in the run. Both are used again.
 *
 * Invariant: a run that nobody stands in and that is not pinned may be overwritten at any
 * call of readahead_enter(); until then it is found again.
 *
 * Failure modes: a batch that cannot be read, or whose records cannot be decoded, is
 * reported with its range each time it is asked for; nothing is skipped here.
 */
#include "readahead.h"

#include <stdlib.h>

#include "err.h"

/* Further batches are added to a run that is smaller than this ... */
#define GATHER_BYTES ((size_t)32 * 1024)

/* ... as long as it stays below this; the room of a larger one is not kept. */
#define RUN_BYTES ((size_t)128 * 1024)

struct place {
	struct record record;
	size_t start; /* in the body */
	size_t end;
};

struct view {
	struct record_decoder *decoder;
	struct place *places;
	size_t capacity;
	struct view *next; /* in the list of those not used */
};

struct readahead {
	struct journal *journal;
	struct journal_batch scratch;
	struct run **runs;
	size_t run_count;
	size_t run_max;
	struct view *views; /* not used */
	uint64_t use_count;
	uint64_t nothing_from; /* the journal had nothing from here on */
};

static void
close_view(struct view *v)
{
	if (v == NULL)
		return;
	record_decoder_close(v->decoder);
	free(v->places);
	free(v);
}

static int
open_view(struct readahead *ra, struct view **out)
{
	struct view *v = ra->views;

	if (v != NULL) {
		ra->views = v->next;
		*out = v;
		return 0;
	}
	v = calloc(1, sizeof(*v));
	if (v == NULL)
		return ERR_NOMEM;
	if (record_decoder_open(&v->decoder) != 0) {
		free(v);
		return ERR_NOMEM;
	}
	*out = v;
	return 0;
}

int
readahead_open(struct readahead **out, struct journal *j, size_t run_max)
{
	struct readahead *ra = calloc(1, sizeof(*ra));

	*out = NULL;
	if (ra == NULL)
		return ERR_NOMEM;
	ra->runs = calloc(run_max, sizeof(struct run *));
	if (ra->runs == NULL) {
		free(ra);
		return ERR_NOMEM;
	}
	ra->journal = j;
	ra->run_max = run_max;
	ra->nothing_from = UINT64_MAX;
	*out = ra;
	return 0;
}

void
readahead_close(struct readahead *ra)
{
	if (ra == NULL)
		return;
	for (size_t i = 0; i < ra->run_count; i++) {
		buffer_fini(&ra->runs[i]->body);
		close_view(ra->runs[i]->view);
		free(ra->runs[i]);
	}
	while (ra->views != NULL) {
		struct view *v = ra->views;

		ra->views = v->next;
		close_view(v);
	}
	journal_batch_fini(&ra->scratch);
	free(ra->runs);
	free(ra);
}

void
readahead_refresh(struct readahead *ra)
{
	ra->nothing_from = UINT64_MAX;
}

static bool
is_idle(const struct run *run)
{
	return run->reader_count == 0 && run->pin_count == 0;
}

static void
forget(struct run *run)
{
	run->from_seq = run->base_seq = run->end_seq = 0;
}

static struct run *
find_run(const struct readahead *ra, uint64_t seq)
{
	for (size_t i = 0; i < ra->run_count; i++) {
		if (seq >= ra->runs[i]->from_seq && seq < ra->runs[i]->end_seq)
			return ra->runs[i];
	}
	return NULL;
}

/* The idle run that was used longest ago, or a new one. */
static int
take_run(struct readahead *ra, struct run **out)
{
	struct run *best = NULL;

	for (size_t i = 0; i < ra->run_count; i++) {
		struct run *run = ra->runs[i];

		if (is_idle(run) && (best == NULL || run->used_at < best->used_at))
			best = run;
	}
	if (best == NULL) {
		if (ra->run_count == ra->run_max)
			return ERR_FULL;
		best = calloc(1, sizeof(*best));
		if (best == NULL)
			return ERR_NOMEM;
		ra->runs[ra->run_count++] = best;
	}
	forget(best);
	*out = best;
	return 0;
}

/* Add the batches that follow. What goes wrong with one is found when it is its turn. */
static void
gather(struct readahead *ra, struct run *run)
{
	struct journal_batch *b = &ra->scratch;

	while (run->body.size < GATHER_BYTES) {
		int err = journal_read(ra->journal, run->end_seq, b);

		if (err == ERR_NOTFOUND)
			ra->nothing_from = run->end_seq;
		if (err != 0 || b->base_seq != run->end_seq)
			return;
		if (run->body.size + b->body.size > RUN_BYTES)
			return;
		if (buffer_append(&run->body, b->body.data, b->body.size) != 0)
			return;
		run->end_seq = b->end_seq;
	}
}

static int
fill(struct readahead *ra, struct run *run, uint64_t seq, struct damage *damage)
{
	struct journal_batch *b = &ra->scratch;
	struct buffer body;
	int err;

	err = journal_read(ra->journal, seq, b);
	if (err == ERR_NOTFOUND)
		ra->nothing_from = seq;
	if (err == ERR_CORRUPT || err == ERR_VERSION)
		*damage = (struct damage){b->base_seq, b->end_seq};
	if (err != 0)
		return err;
	/* Change buffers instead of copying; both keep their room. */
	body = run->body;
	run->body = b->body;
	b->body = body;
	run->from_seq = seq < b->base_seq ? seq : b->base_seq;
	run->base_seq = b->base_seq;
	run->end_seq = b->end_seq;
	run->batch_end_seq = b->end_seq;
	gather(ra, run);
	if (b->body.capacity > RUN_BYTES)
		buffer_fini(&b->body);
	return 0;
}

/* A record that cannot be decoded ends the run: what lies in front of it is good. */
static int
decode_into(struct view *v, struct run *run)
{
	size_t count = (size_t)(run->end_seq - run->base_seq);
	size_t at = 0;

	if (count > v->capacity) {
		struct place *p = realloc(v->places, count * sizeof(*p));

		if (p == NULL)
			return ERR_NOMEM;
		v->places = p;
		v->capacity = count;
	}
	record_decoder_reset(v->decoder);
	for (size_t i = 0; i < count; i++) {
		struct place *p = &v->places[i];
		int err;

		p->start = at;
		err = record_decode(
		    v->decoder, run->body.data, run->body.size, &at, &p->record);
		if (err == ERR_CORRUPT) {
			run->body.size = at;
			run->end_seq = run->base_seq + i;
			break;
		}
		if (err != 0)
			return err;
		p->end = at;
	}
	return 0;
}

static void
drop_view(struct readahead *ra, struct run *run)
{
	if (run->view == NULL)
		return;
	run->view->next = ra->views;
	ra->views = run->view;
	run->view = NULL;
}

static int
decode(struct readahead *ra, struct run *run, uint64_t seq, struct damage *damage)
{
	int err;

	err = open_view(ra, &run->view);
	if (err != 0)
		return err;
	err = decode_into(run->view, run);
	if (err == 0 && seq < run->end_seq)
		return 0;
	drop_view(ra, run);
	if (err != 0)
		return err;
	*damage = (struct damage){run->end_seq, run->batch_end_seq};
	return ERR_CORRUPT;
}

int
readahead_enter(
    struct readahead *ra, uint64_t seq, struct run **out, struct damage *damage)
{
	struct run *run = find_run(ra, seq);
	int err = 0;

	if (run == NULL) {
		if (seq >= ra->nothing_from)
			return ERR_NOTFOUND;
		err = take_run(ra, &run);
		if (err == 0)
			err = fill(ra, run, seq, damage);
	}
	if (err == 0 && run->view == NULL)
		err = decode(ra, run, seq, damage);
	if (err != 0)
		return err;
	run->reader_count++;
	run->used_at = ++ra->use_count;
	*out = run;
	return 0;
}

static void
settle(struct readahead *ra, struct run *run)
{
	if (run->reader_count == 0)
		drop_view(ra, run);
	if (is_idle(run) && run->body.capacity > RUN_BYTES) {
		forget(run);
		buffer_fini(&run->body);
	}
}

void
readahead_leave(struct readahead *ra, struct run *run)
{
	run->reader_count--;
	settle(ra, run);
}

void
readahead_pin(struct run *run)
{
	run->pin_count++;
}

void
readahead_unpin(struct readahead *ra, struct run *run)
{
	run->pin_count--;
	settle(ra, run);
}

const struct record *
run_record(const struct run *run, uint64_t seq)
{
	return &run->view->places[seq - run->base_seq].record;
}

struct bytes
run_stored(const struct run *run, uint64_t seq)
{
	const struct place *p = &run->view->places[seq - run->base_seq];

	return (struct bytes){run->body.data + p->start, p->end - p->start};
}
