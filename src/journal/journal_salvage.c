/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Salvage: what was found in a damaged journal (salvage_find.c) becomes a new one.
 *
 * Invariant: the batches that go into it rise strictly and do not overlap; each number
 * from the first that was owed to the next one is in a batch or in a gap. What the latest
 * tree has comes before what only lies about: that may be a leftover that was never
 * committed, or was delivered long ago. The damaged journal is only read.
 *
 * Failure modes: the new one gets its format and identity last, in one transaction: one
 * that was cut short is none, and is removed where that is possible.
 */
#include "journal_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err.h"
#include "salvage.h"

#define PATH_BYTES  4096
#define SPARE_BYTES ((uint64_t)16 << 20)

static bool
is_named(const struct salvage_entry *e, const char *name)
{
	size_t size = strlen(name);

	return e->key.size == size && memcmp(e->key.data, name, size) == 0;
}

const struct buffer *
salvage_meta(const struct salvage *s, const char *name)
{
	const struct salvage_list *list = &s->found.meta;

	for (size_t i = 0; i < list->count; i++)
		if (is_named(&list->items[i], name))
			return &list->items[i].value;
	return NULL;
}

uint64_t
salvage_meta_largest(const struct salvage *s, const char *name)
{
	const struct salvage_list *list = &s->found.meta;
	uint64_t largest = 0;

	for (size_t i = 0; i < list->count; i++) {
		const struct salvage_entry *e = &list->items[i];
		uint64_t n;

		if (!is_named(e, name) || e->value.size != 8)
			continue;
		n = le64_get(e->value.data);
		if (n > largest && n < SALVAGE_BELIEVABLE_SEQ)
			largest = n;
	}
	return largest;
}

/* ---- what is to go into it ---- */

static int
compare_ranges(const void *left, const void *right)
{
	const struct journal_range *a = left, *b = right;

	return (a->first_seq > b->first_seq) - (a->first_seq < b->first_seq);
}

static int
take_gaps(struct salvage *s)
{
	const struct salvage_list *list = &s->found.gaps;
	size_t kept = 0;

	s->gaps = calloc(list->count + 1, sizeof(*s->gaps));
	if (s->gaps == NULL)
		return ERR_NOMEM;
	for (size_t i = 0; i < list->count; i++) {
		uint64_t first = be64_get(list->items[i].key.data);
		uint64_t end = first + le64_get(list->items[i].value.data);

		if (end < SALVAGE_BELIEVABLE_SEQ)
			s->gaps[s->gap_count++] = (struct journal_range){first, end};
	}
	qsort(s->gaps, s->gap_count, sizeof(*s->gaps), compare_ranges);
	for (size_t i = 0; i < s->gap_count; i++) {
		if (kept > 0 && s->gaps[i].first_seq <= s->gaps[kept - 1].end_seq) {
			if (s->gaps[i].end_seq > s->gaps[kept - 1].end_seq)
				s->gaps[kept - 1].end_seq = s->gaps[i].end_seq;
		} else {
			s->gaps[kept++] = s->gaps[i];
		}
	}
	s->gap_count = kept;
	return ERR_OK;
}

static bool
touches_gap(const struct salvage *s, const struct salvage_piece *piece)
{
	size_t low = 0, high = s->gap_count;

	while (low < high) { /* the first gap that ends behind base_seq */
		size_t middle = low + (high - low) / 2;

		if (s->gaps[middle].end_seq <= piece->base_seq)
			low = middle + 1;
		else
			high = middle;
	}
	return low < s->gap_count && s->gaps[low].first_seq < piece->end_seq;
}

/* The largest that was found for each route: all of them were true once. */
static int
take_positions(struct salvage *s, uint64_t next_seq)
{
	const struct salvage_list *list = &s->found.meta;

	s->routes = calloc(list->count + 1, sizeof(*s->routes));
	if (s->routes == NULL)
		return ERR_NOMEM;
	for (size_t i = 0; i < list->count; i++) {
		const struct salvage_entry *e = &list->items[i];
		uint64_t acked = e->value.size == 8 ? le64_get(e->value.data) : 0;
		size_t n = 0;

		if (e->key.size <= 4 || memcmp(e->key.data, "ack/", 4) != 0 ||
		    e->value.size != 8 || acked >= next_seq)
			continue;
		while (n < s->route_count && (s->routes[n].name.size != e->key.size ||
						 memcmp(s->routes[n].name.data,
						     e->key.data, e->key.size) != 0))
			n++;
		if (n == s->route_count)
			s->routes[s->route_count++].name =
			    (struct bytes){e->key.data, e->key.size};
		if (acked > s->routes[n].acked)
			s->routes[n].acked = acked;
	}
	for (size_t n = 0; n < s->route_count; n++)
		if (n == 0 || s->routes[n].acked < s->least_acked)
			s->least_acked = s->routes[n].acked;
	return ERR_OK;
}

/*
 * The next number: behind everything that was seen. Where it is known for sure, what lies
 * behind it was never committed.
 */
static void
take_next(struct salvage *s)
{
	uint64_t next = salvage_meta_largest(s, "next");

	s->committed_seq = UINT64_MAX;
	if (s->found.is_log_whole && s->found.meta.is_whole && next > 0)
		s->committed_seq = next;
	for (size_t i = 0; i < s->found.piece_count; i++) {
		const struct salvage_piece *piece = &s->found.pieces[i];

		if (piece->end_seq > next && piece->base_seq < s->committed_seq &&
		    piece->end_seq < SALVAGE_BELIEVABLE_SEQ)
			next = piece->end_seq;
	}
	if (s->gap_count > 0 && s->gaps[s->gap_count - 1].end_seq > next)
		next = s->gaps[s->gap_count - 1].end_seq;
	s->next_seq = next == 0 ? 1 : next;
}

static bool
is_wanted(const struct salvage *s, const struct salvage_piece *piece)
{
	uint64_t end = piece->end_seq;

	if (end == piece->base_seq)
		end = piece->base_seq + 1; /* of a later version: at least that */
	if (end > SALVAGE_BELIEVABLE_SEQ || end - 1 <= s->least_acked)
		return false;
	return piece->is_of_tree ||
	       (piece->base_seq < s->committed_seq && !touches_gap(s, piece));
}

/* Leave in found.pieces what goes into the new journal. */
static void
choose(struct salvage *s)
{
	struct salvage_found *f = &s->found;
	uint64_t end = 0;
	size_t kept = 0, next_of_tree = 0;

	for (size_t i = 0; i < f->piece_count; i++) {
		struct salvage_piece piece = f->pieces[i];

		if (next_of_tree < i)
			next_of_tree = i;
		while (next_of_tree < f->piece_count &&
		       !f->pieces[next_of_tree].is_of_tree)
			next_of_tree++;
		if (piece.base_seq < end || !is_wanted(s, &piece))
			continue;
		if (!piece.is_of_tree && next_of_tree < f->piece_count &&
		    piece.end_seq > f->pieces[next_of_tree].base_seq)
			continue;
		end =
		    piece.end_seq > piece.base_seq ? piece.end_seq : piece.base_seq + 1;
		f->pieces[kept++] = piece;
	}
	s->chosen_count = kept;
	for (size_t i = 0; i < kept; i++)
		if (f->pieces[i].end_seq == f->pieces[i].base_seq)
			f->pieces[i].end_seq =
			    i + 1 < kept ? f->pieces[i + 1].base_seq : s->next_seq;
}

static int
decide(struct salvage *s)
{
	int rc = take_gaps(s);

	if (rc != ERR_OK)
		return rc;
	take_next(s);
	rc = take_positions(s, s->next_seq);
	if (rc != ERR_OK)
		return rc;
	choose(s);
	if (s->chosen_count == 0 && s->found.dead.count == 0 &&
	    s->found.meta.count == 0 && s->gap_count == 0)
		return ERR_NOTFOUND;
	return ERR_OK;
}

/* ---- is it good? ---- */

static int
verify(struct salvage *s, const char *into)
{
	struct journal_options o = {.directory = into};
	struct journal_batch b = {0};
	struct journal *j = NULL;
	uint64_t seq = 1, batches = 0, records = 0;
	int rc = journal_open(&j, JOURNAL_LOOK, &o);

	if (rc != ERR_OK)
		return rc;
	for (rc = journal_read(j, seq, &b); rc == ERR_OK || rc == ERR_VERSION;
	     rc = journal_read(j, seq, &b)) {
		batches++;
		records += b.end_seq - b.base_seq;
		seq = b.end_seq;
	}
	if (rc == ERR_NOTFOUND)
		rc = batches == s->chosen_count && b.end_seq == s->next_seq
			 ? ERR_OK
			 : ERR_CORRUPT;
	journal_batch_fini(&b);
	journal_close(j);
	s->result.batches = batches;
	s->result.records = records;
	s->result.dead = s->found.dead.count;
	s->result.has_tree = s->found.has_tree;
	if (rc != ERR_OK)
		log_error(LOG_JOURNAL, "%s: the new journal cannot be read: %s", into,
		    err_str(rc));
	return rc;
}

/* ---- the whole ---- */

static bool
has_journal(const char *directory)
{
	char path[PATH_BYTES];
	struct stat st;
	int n = snprintf(path, sizeof(path), "%s/data.mdb", directory);

	return n < 0 || (size_t)n >= sizeof(path) ||
	       (stat(path, &st) == 0 && st.st_size > 0);
}

static void
remove_new(const char *directory)
{
	static const char *const names[] = {"data.mdb", "lock.mdb", "ballast"};
	char path[PATH_BYTES + 16];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
		(void)unlink(path); /* mostly it is not there */
	}
}

/* Where nobody can write there is nobody to be kept out. */
static int
lock_damaged(struct journal **old, const char *directory)
{
	*old = NULL;
	if (access(directory, W_OK) != 0 && errno == EROFS)
		return ERR_OK;
	return journal_lock_alone(old, directory);
}

/* A later version may mean something else by what can be read of it. */
static int
check_format(const struct salvage *s, const char *directory)
{
	const struct buffer *format = salvage_meta(s, "format");
	int rc = ERR_OK;

	if (format != NULL)
		rc = journal_format_check(
		    directory, (struct bytes){format->data, format->size});
	return rc == ERR_VERSION ? rc : ERR_OK;
}

static int
find(struct salvage *s, const char *directory, int *fd)
{
	char path[PATH_BYTES];
	int n = snprintf(path, sizeof(path), "%s/data.mdb", directory);
	int rc;

	if (n < 0 || (size_t)n >= sizeof(path))
		return ERR_INVALID;
	*fd = open(path, O_RDONLY | O_CLOEXEC);
	if (*fd < 0) {
		rc = errno == ENOENT || errno == ENOTDIR ? ERR_NOTFOUND : ERR_IO;
		log_error(LOG_JOURNAL, "%s: %s", path, strerror(errno));
		return rc;
	}
	rc = salvage_find(&s->found, *fd);
	if (rc == ERR_OK)
		rc = decide(s);
	if (rc == ERR_VERSION)
		log_error(LOG_JOURNAL, "%s: %s", path, s->found.pages.why);
	else if (rc == ERR_OK)
		rc = check_format(s, directory);
	else if (rc == ERR_NOTFOUND)
		log_error(
		    LOG_JOURNAL, "%s: there is nothing in it that can be read", path);
	return rc;
}

static int
make(struct salvage *s, const char *into)
{
	int rc = journal_lock_alone(&s->new, into);

	if (rc == ERR_OK)
		rc = journal_open_bare(
		    s->new, 2 * s->found.pages.file_bytes + SPARE_BYTES);
	if (rc == ERR_OK)
		rc = salvage_write_batches(s);
	if (rc == ERR_OK)
		rc = journal_write(s->new, salvage_write_rest, s);
	if (rc == ERR_OK)
		rc = store_sync_directory(s->new->store);
	journal_close(s->new);
	s->new = NULL;
	if (rc == ERR_OK)
		rc = verify(s, into);
	if (rc == ERR_FULL)
		log_error(
		    LOG_JOURNAL, "%s: there is no room for the new journal", into);
	if (rc != ERR_OK)
		remove_new(into);
	return rc;
}

static void
salvage_fini(struct salvage *s)
{
	salvage_found_fini(&s->found);
	free(s->gaps);
	free(s->routes);
	buffer_fini(&s->raw);
}

int
journal_salvage(const char *directory, const char *into, struct journal_salvaged *out)
{
	struct salvage s = {0};
	struct journal *old = NULL;
	int fd = -1;
	int rc;

	if (has_journal(into)) {
		log_error(LOG_JOURNAL, "%s: there is a journal already", into);
		return ERR_INVALID;
	}
	rc = lock_damaged(&old, directory);
	if (rc == ERR_OK)
		rc = find(&s, directory, &fd);
	if (rc == ERR_OK)
		rc = make(&s, into);
	if (rc == ERR_OK)
		*out = s.result;
	if (fd >= 0)
		(void)close(fd); /* only read from */
	journal_close(old);
	salvage_fini(&s);
	return rc;
}
