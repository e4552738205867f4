/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading ahead. A run is made of one batch or, where the commits were small, of several:
 * so the number of runs bounds the memory, whatever the batches look like, and a backlog
 * of tiny commits does not make for a window of few records.
 *
 * A body stays while a value inside it is on its way; the decoded records, which may be
 * larger than the body, only while somebody stands in the run, and no longer than until
 * VIEWS_MAX others are wanted. Both are used again.
 *
 * With the records come lists (lists.h), so that a route pays for its own records alone,
 * however many others there are.
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
#include "lists.h"

/* Further batches are added to a run that is smaller than this ... */
#define GATHER_BYTES ((size_t)32 * 1024)

/*
 * ... as long as it stays below this. A larger one, as a whole compressed batch is, is not
 * kept for those who might want it again: with many routes that is a lot of memory.
 */
#define RUN_BYTES ((size_t)128 * 1024)

/* Runs of which the records are decoded: with many routes that is most of the memory. */
#define VIEWS_MAX 16

struct place {
	struct record record;
	size_t start; /* in the body */
	size_t end;
};

struct view {
	struct record_decoder *decoder;
	struct place *places;
	size_t capacity;
	struct lists lists;
	struct view *next; /* in the list of those not used */
};

struct readahead {
	struct journal *journal;
	struct lister lister;
	struct journal_batch scratch;
	struct run **runs;
	size_t run_count;
	size_t run_max;
	struct view *views; /* not used */
	struct run *latest; /* entered last: most who ask want the same */
	size_t pin_max;
	size_t pinned_count; /* runs */
	size_t pinned_bytes; /* their bodies' room */
	uint64_t use_count;
	uint64_t nothing_from; /* the journal had nothing from here on */
	uint64_t routed_from;  /* each record from here ... */
	uint64_t routed_until; /* ... to before here has a route */
};

static void
close_view(struct view *v)
{
	if (v == NULL)
		return;
	record_decoder_close(v->decoder);
	free(v->places);
	lists_fini(&v->lists);
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
	if (lists_init(&v->lists, ra->lister.list_count) != 0 ||
	    record_decoder_open(&v->decoder) != 0) {
		close_view(v);
		return ERR_NOMEM;
	}
	*out = v;
	return 0;
}

int
readahead_open(struct readahead **out, const struct readahead_options *o)
{
	struct readahead *ra = calloc(1, sizeof(*ra));

	*out = NULL;
	if (ra == NULL)
		return ERR_NOMEM;
	ra->run_max = o->reader_max + o->pin_max + 1;
	ra->runs = calloc(ra->run_max, sizeof(struct run *));
	if (ra->runs == NULL) {
		free(ra);
		return ERR_NOMEM;
	}
	ra->journal = o->journal;
	ra->lister.matcher = o->matcher;
	ra->lister.names = o->names;
	ra->lister.list_count = o->route_count + 1;
	ra->pin_max = o->pin_max;
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
	lister_fini(&ra->lister);
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

static bool
has_seq(const struct run *run, uint64_t seq)
{
	return seq >= run->from_seq && seq < run->end_seq;
}

static struct run *
find_run(const struct readahead *ra, uint64_t seq)
{
	if (ra->latest != NULL && has_seq(ra->latest, seq))
		return ra->latest;
	for (size_t i = 0; i < ra->run_count; i++) {
		if (has_seq(ra->runs[i], seq))
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

size_t
readahead_run_count(const struct readahead *ra)
{
	return ra->run_count;
}

size_t
readahead_in_use(const struct readahead *ra, struct journal_range ranges[])
{
	size_t count = 0;

	for (size_t i = 0; i < ra->run_count; i++) {
		const struct run *run = ra->runs[i];

		if (!is_idle(run) && run->base_seq < run->end_seq)
			ranges[count++] =
			    (struct journal_range){run->base_seq, run->end_seq};
	}
	return count;
}

void
readahead_forget(struct readahead *ra, uint64_t first_seq, uint64_t end_seq)
{
	for (size_t i = 0; i < ra->run_count; i++) {
		struct run *run = ra->runs[i];

		if (is_idle(run) && run->base_seq < end_seq && run->end_seq > first_seq)
			forget(run);
	}
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

/* ---- matching ---- */

static void
note_routed(struct readahead *ra, const struct run *run)
{
	bool goes_on =
	    run->base_seq >= ra->routed_from && run->base_seq <= ra->routed_until;

	if (!goes_on)
		ra->routed_from = run->base_seq;
	if (!goes_on || run->end_seq > ra->routed_until)
		ra->routed_until = run->end_seq;
}

static int
match(struct readahead *ra, const struct run *run)
{
	uint32_t count = (uint32_t)(run->end_seq - run->base_seq);
	struct view *v = run->view;
	bool is_all_routed = false;
	int err = 0;

	lister_begin(&ra->lister);
	for (uint32_t i = 0; i < count && err == 0; i++)
		err = lister_add(&ra->lister, i, &v->places[i].record);
	if (err == 0)
		err = lister_end(&ra->lister, &v->lists, &is_all_routed);
	if (is_all_routed)
		note_routed(ra, run);
	return err;
}

uint64_t
readahead_routed_until(const struct readahead *ra, uint64_t seq)
{
	return seq >= ra->routed_from && seq < ra->routed_until ? ra->routed_until
								: seq;
}

uint64_t
run_next_of(const struct run *run, size_t route, uint64_t seq, uint32_t *cursor)
{
	const struct lists *l = &run->view->lists;
	uint32_t begin = route == 0 ? 0 : l->ends[route - 1];

	for (; begin + *cursor < l->ends[route]; (*cursor)++) {
		uint64_t own = run->base_seq + l->records[begin + *cursor];

		if (own >= seq)
			return own;
	}
	return run->end_seq;
}

/* ---- standing in a run ---- */

static void
drop_view(struct readahead *ra, struct run *run)
{
	if (run->view == NULL)
		return;
	run->view->next = ra->views;
	ra->views = run->view;
	run->view = NULL;
}

/* What cannot be used as it is does not keep more than the room of a usual run. */
static void
settle(struct readahead *ra, struct run *run)
{
	if (run->reader_count == 0)
		drop_view(ra, run);
	if (run->view == NULL && run->pin_count == 0 &&
	    run->body.capacity > RUN_BYTES) {
		forget(run);
		buffer_fini(&run->body);
	}
}

/* Those who stand in the run that was entered longest ago have to enter it again. */
static void
limit_views(struct readahead *ra)
{
	struct run *oldest = NULL;
	size_t count = 0;

	for (size_t i = 0; i < ra->run_count; i++) {
		struct run *run = ra->runs[i];

		if (run->view == NULL)
			continue;
		count++;
		if (oldest == NULL || run->used_at < oldest->used_at)
			oldest = run;
	}
	if (count < VIEWS_MAX)
		return;
	drop_view(ra, oldest);
	settle(ra, oldest);
}

static int
decode(struct readahead *ra, struct run *run, uint64_t seq, struct damage *damage)
{
	int err;

	limit_views(ra);
	err = open_view(ra, &run->view);
	if (err != 0)
		return err;
	err = decode_into(run->view, run);
	if (err == 0 && seq < run->end_seq)
		err = match(ra, run);
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
	struct run *run;
	int err = 0;

	if (seq >= ra->nothing_from)
		return ERR_NOTFOUND;
	run = find_run(ra, seq);
	if (run == NULL) {
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
	ra->latest = run;
	*out = run;
	return 0;
}

void
readahead_leave(struct readahead *ra, struct run *run)
{
	run->reader_count--;
	settle(ra, run);
}

bool
readahead_pin(struct readahead *ra, struct run *run)
{
	if (run->pin_count == 0) {
		if (ra->pinned_count == ra->pin_max ||
		    ra->pinned_bytes >= ra->pin_max * RUN_BYTES)
			return false;
		ra->pinned_count++;
		ra->pinned_bytes += run->body.capacity;
	}
	run->pin_count++;
	return true;
}

void
readahead_unpin(struct readahead *ra, struct run *run)
{
	run->pin_count--;
	if (run->pin_count == 0) {
		ra->pinned_count--;
		ra->pinned_bytes -= run->body.capacity;
	}
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
