/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking at the board and the journal.
 *
 * Invariant: looking changes neither and keeps nobody from anything: the board is mapped
 * to read, the journal is opened for JOURNAL_LOOK, and no read transaction outlives a
 * look.
 *
 * Failure modes: there is no journal yet, it is damaged, or another one has come in its
 * place: facts.stat is NULL until it can be opened, which is tried again more and more
 * seldom, as each failure is logged. Likewise the board, where this runs alone.
 */
#include "view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "err.h"
#include "letters.h"

#define RETRY_MS         2000
#define LONGEST_RETRY_MS 60000
#define ATTACH_MS        5000 /* where this runs alone: the tidegated may be another now */
#define CLOSER_MS        5000 /* room and clock; gaps when there are new ones */
#define SETTLE_MS        5000 /* from the start of tidegated: the workers open the journal */

struct view_source {
	struct view view;
	const struct settings *settings;
	bool is_alone;
	struct board *board; /* NULL: see trouble */
	const char *trouble; /* why there is none */
	struct board_view board_view;
	int64_t attach_at_ms;
	struct journal *journal; /* NULL: it cannot be opened */
	struct stat data;        /* of the file that it is */
	int64_t open_at_ms, retry_ms;
	struct status_look look;
	int64_t closer_at_ms;
	uint64_t gap_records; /* that all the gaps stand for, at the closer look */
	struct letters *letters;
	struct history history;
};

int
view_open(struct view **out, const struct settings *settings, int board_fd,
    const struct events *events)
{
	struct view_source *s = calloc(1, sizeof(*s));
	int err;

	*out = NULL;
	if (s == NULL)
		return ERR_NOMEM;
	s->settings = settings;
	s->is_alone = board_fd < 0;
	s->retry_ms = RETRY_MS;
	s->view.source = s;
	s->view.events = events;
	s->view.history = &s->history;
	err = letters_open(&s->letters);
	if (err == 0 && !s->is_alone)
		err = board_open_to_look(&s->board, board_fd);
	if (err == 0)
		*out = &s->view;
	else
		view_close(&s->view);
	return err;
}

void
view_close(struct view *v)
{
	struct view_source *s;

	if (v == NULL)
		return;
	s = v->source;
	status_look_end(&s->look);
	buffer_fini(&v->problems);
	board_view_fini(&s->board_view);
	board_close(s->board);
	journal_close(s->journal);
	letters_close(s->letters);
	free(s);
}

/* ---- the board ---- */

static const char *
trouble_of(int err)
{
	switch (err) {
	case 0:
		return NULL;
	case ERR_NOTFOUND:
		return "tidegated does not run";
	case ERR_VERSION:
		return "tidegated is of another version than this program";
	default:
		return "tidegated runs, and may not be looked at";
	}
}

/* Of whichever tidegated runs now: the board of an earlier one tells nothing any more. */
static void
attach(struct view_source *s, int64_t now_ms)
{
	int err;

	if (now_ms < s->attach_at_ms)
		return;
	board_close(s->board);
	err = board_attach(&s->board, s->settings->journal.directory);
	s->trouble = trouble_of(err);
	/* Anything else has been logged. */
	s->attach_at_ms =
	    now_ms + (err == 0 || err == ERR_NOTFOUND ? ATTACH_MS : LONGEST_RETRY_MS);
}

static int
look_at_board(struct view_source *s, int64_t now_ms)
{
	if (s->is_alone)
		attach(s, now_ms);
	if (s->board != NULL)
		return board_look(s->board, &s->board_view);
	board_view_fini(&s->board_view);
	return 0;
}

/* ---- the journal ---- */

/* Returns whether there is a file of it; where not, opening would log that. */
static bool
find_data(const struct view_source *s, struct stat *data)
{
	char path[4096];
	int n =
	    snprintf(path, sizeof(path), "%s/data.mdb", s->settings->journal.directory);

	return n > 0 && (size_t)n < sizeof(path) && stat(path, data) == 0;
}

static void
open_journal(struct view_source *s, const struct stat *data, int64_t now_ms)
{
	const struct journal_options options = {
	    .directory = s->settings->journal.directory};

	if (now_ms < s->open_at_ms)
		return;
	letters_forget(s->letters);
	if (journal_open(&s->journal, JOURNAL_LOOK, &options) == 0) {
		s->data = *data;
		s->retry_ms = RETRY_MS;
		s->closer_at_ms = 0;
		return;
	}
	s->open_at_ms = now_ms + s->retry_ms;
	if (s->retry_ms < LONGEST_RETRY_MS / 2)
		s->retry_ms *= 2;
	else
		s->retry_ms = LONGEST_RETRY_MS;
}

/* At the very first start it may have a file already and be no journal yet. */
static bool
is_being_made(const struct view_source *s, int64_t now_ms)
{
	const struct board_view *b = &s->board_view;

	return b->has_supervisor && !b->has_ingest && !b->has_forward &&
	       now_ms - b->supervisor.started_at_ms < SETTLE_MS;
}

/* It is open when this returns, if it can be, and is the one that is in its place. */
static void
find_journal(struct view_source *s, int64_t now_ms)
{
	struct stat data = {0};
	bool is_there = find_data(s, &data);

	if (s->journal != NULL && (!is_there || data.st_ino != s->data.st_ino ||
				      data.st_dev != s->data.st_dev)) {
		journal_close(s->journal);
		s->journal = NULL;
	}
	if (s->journal == NULL && is_there && !is_being_made(s, now_ms))
		open_journal(s, &data, now_ms);
}

static uint64_t
count_gap_records(const struct journal_stat *stat)
{
	uint64_t sum = stat->gap_count;

	for (int i = 0; i < JOURNAL_GAP_REASONS; i++)
		sum += stat->removed[i];
	return sum;
}

/* What was told before is too much where the journal has filled up since. */
static uint64_t
room_left(const struct journal_stat *stat, uint64_t room_bytes)
{
	uint64_t left_bytes;

	if (stat == NULL)
		return room_bytes;
	left_bytes =
	    stat->max_bytes > stat->used_bytes ? stat->max_bytes - stat->used_bytes : 0;
	return room_bytes < left_bytes ? room_bytes : left_bytes;
}

/* What takes longer is looked at now and then; between, what it told holds. */
static void
look_closer(struct view_source *s, const struct status_facts *last, int64_t now_ms)
{
	struct status_facts *facts = &s->look.facts;
	uint64_t gap_records = facts->stat != NULL ? count_gap_records(facts->stat) : 0;

	if (now_ms >= s->closer_at_ms || gap_records != s->gap_records) {
		status_look_closer(&s->look);
		s->closer_at_ms = now_ms + CLOSER_MS;
		s->gap_records = gap_records;
	} else {
		facts->room_bytes = room_left(facts->stat, last->room_bytes);
		facts->gaps = last->gaps; /* in s->look itself */
		facts->gap_count = last->gap_count;
		facts->is_clock_synchronised = last->is_clock_synchronised;
	}
}

/* ---- the whole ---- */

/* Where the journal cannot be asked there is no telling how long the backlog is. */
static void
add_to_history(struct view_source *s, int64_t now_ms)
{
	const struct board_view *b = &s->board_view;
	struct history_sample sample = {.at_ms = now_ms};

	if (s->look.facts.stat == NULL)
		return;
	sample.backlog = s->look.facts.stat->records;
	if (b->has_ingest)
		sample.received_count = b->ingest.message_count;
	for (uint32_t i = 0; b->has_forward && i < b->forward.route_count; i++)
		sample.delivered_count += b->routes[i].delivered_count;
	history_add(&s->history, &sample);
}

int
view_look(struct view *v, int64_t now_ms)
{
	struct view_source *s = v->source;
	struct status_facts last = s->look.facts;
	int err;

	status_look_end(&s->look);
	err = look_at_board(s, now_ms);
	if (err != 0)
		return err;
	find_journal(s, now_ms);
	status_look_begin(&s->look, s->settings, s->journal, &s->board_view, now_ms);
	look_closer(s, &last, now_ms);
	s->look.facts.trouble = s->trouble;
	v->facts = s->look.facts;
	v->has_supervisor = s->board_view.has_supervisor;
	v->dead_count = v->facts.stat != NULL ? letters_look(s->letters, s->journal,
						    v->facts.stat, v->dead)
					      : 0;
	add_to_history(s, now_ms);
	buffer_clear(&v->problems);
	return status_problems(&v->facts, &v->problems);
}
