/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the gateway is, for a person or a script: by the journal, and by the board of the
 * tidegated that runs on it.
 *
 * Invariant (I9): "well", and exit status 0, are given only when status_problems() has
 * nothing to say, which it always has where no tidegated can be looked at.
 *
 * Failure modes: the journal, or the board, cannot be read: that is what it says.
 */
#include "admin_status.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "now.h"
#include "text.h"
#include "worker.h"

/* ---- gathering ---- */

/* Of the orders those that wait. */
static uint64_t
count_orders(struct journal *j)
{
	struct journal_order o = {0};
	uint64_t after = 0, count = 0;

	for (; journal_order_next(j, after, &o) == 0; after = o.number)
		count += o.state == JOURNAL_ORDER_WAITS;
	return count;
}

/* Errors: ERR_NOMEM. */
static int
look_at_board(struct admin_status *s, const char *directory)
{
	struct board *board = NULL;
	int err = board_attach(&board, directory);

	if (err == 0)
		err = board_look(board, &s->view);
	board_close(board);
	switch (err) {
	case 0:
		break;
	case ERR_NOMEM:
		return err;
	case ERR_NOTFOUND:
		s->trouble = "tidegated does not run";
		break;
	case ERR_VERSION:
		s->trouble = "tidegated is of another version than this program";
		break;
	default:
		s->trouble = "tidegated runs, and may not be looked at";
		break;
	}
	return 0;
}

/* Without settings: what can be told by the journal alone. */
static void
choose_settings(struct admin_status *s, const struct settings *settings)
{
	if (settings != NULL) {
		s->settings = settings;
		return;
	}
	s->bare = (struct settings){.gateway_id = s->gateway_id};
	if (s->journal != NULL)
		(void)snprintf(s->gateway_id, sizeof(s->gateway_id), "%s",
		    journal_identity(s->journal)->gateway_id);
	s->settings = &s->bare;
}

static int
gather(struct admin_status *s, const struct admin *a)
{
	const struct journal_options options = {.directory = a->directory};
	int err;

	/* Why it cannot be opened is logged there, and belongs to what is told. */
	(void)journal_open(&s->journal, JOURNAL_LOOK, &options);
	choose_settings(s, a->settings);
	err = look_at_board(s, a->directory);
	if (err != 0)
		return err;
	status_look_begin(
	    &s->look, s->settings, s->journal, &s->view, now_monotonic_ms());
	s->look.facts.trouble = s->trouble;
	status_look_closer(&s->look);
	if (s->journal != NULL)
		s->order_count = count_orders(s->journal);
	return status_problems(&s->look.facts, &s->problems);
}

static void
finish(struct admin_status *s)
{
	status_look_end(&s->look);
	board_view_fini(&s->view);
	buffer_fini(&s->problems);
	journal_close(s->journal);
}

/* ---- one line ---- */

/* One unit is enough at a glance. */
static void
write_short_span(char text[24], int64_t ms)
{
	long long s = ms / 1000;

	if (s < 60)
		(void)snprintf(text, 24, "%llds", s < 0 ? 0 : s);
	else if (s < 3600)
		(void)snprintf(text, 24, "%lldm", s / 60);
	else if (s < (long long)48 * 3600)
		(void)snprintf(text, 24, "%lldh", s / 3600);
	else
		(void)snprintf(text, 24, "%lldd", s / 86400);
}

/* How much waits, since when, and for how long there is room. */
static void
write_tail(char text[80], const struct status_facts *f)
{
	const struct board_ingest *in = &f->board->ingest;
	char count[TEXT_COUNT_BYTES], span[24];
	int n;

	text[0] = '\0';
	if (f->stat == NULL)
		return;
	text_count(count, f->stat->records);
	n = snprintf(text, 80, "; %s wait", count);
	if (f->stat->records > 0 && f->stat->oldest_ms != 0) {
		write_short_span(span, f->real_ms - (int64_t)f->stat->oldest_ms);
		n += snprintf(text + n, 80 - (size_t)n, ", oldest %s", span);
	}
	if (f->board->has_ingest && f->trouble == NULL && in->full_in_ms > 0 &&
	    in->full_in_ms < SHORT_FULL_MS) {
		write_short_span(span, in->full_in_ms);
		(void)snprintf(text + n, 80 - (size_t)n, ", full in %s", span);
	}
}

/* The first of the problems, as far as there is room, and how many more there are. */
static void
write_problem(char *text, size_t room, const struct buffer *problems)
{
	const char *first = (const char *)problems->data;
	size_t length = strlen(first), count = 0, taken;
	char more[32] = "";

	for (size_t i = 0; i < problems->size; i++)
		count += problems->data[i] == '\0';
	if (count > 1)
		(void)snprintf(more, sizeof(more), " (+%zu)", count - 1);
	taken = room - strlen(more);
	if (length <= taken) {
		(void)snprintf(text, room + 1, "%s%s", first, more);
	} else {
		/* Not in the middle of a word, where one ends soon before. */
		taken -= 3;
		for (size_t i = taken; i + 12 > taken && i > 0; i--) {
			if (first[i] == ' ' || first[i] == ':') {
				taken = i;
				break;
			}
		}
		(void)snprintf(text, room + 1, "%.*s...%s", (int)taken, first, more);
	}
}

static void
print_short(const struct admin_status *s)
{
	static const char not_well[] = "NOT WELL: ";
	char tail[80], problem[SHORT_BYTES], line[3 * SHORT_BYTES];
	size_t room;

	write_tail(tail, &s->look.facts);
	tail[SHORT_TAIL_BYTES] = '\0'; /* numbers beyond all reason */
	if (s->problems.size == 0) {
		(void)snprintf(line, sizeof(line), "well%s", tail);
	} else {
		room = SHORT_BYTES - 1 - (sizeof(not_well) - 1) - strlen(tail);
		write_problem(problem, room, &s->problems);
		(void)snprintf(line, sizeof(line), "%s%s%s", not_well, problem, tail);
	}
	for (char *at = line; *at != '\0'; at++) {
		if (*at < ' ' || *at > '~')
			*at = '?';
	}
	(void)printf("%s\n", line);
}

/* ---- the command ---- */

static int
print_json(const struct admin_status *s)
{
	struct buffer out = {0};
	int err = status_render(&s->look.facts, &out);

	if (err == 0)
		(void)printf("%.*s\n", (int)out.size, (const char *)out.data);
	buffer_fini(&out);
	return err;
}

int
admin_status(const struct admin *a)
{
	struct admin_status s = {0};
	int status = EXIT_FAILED;
	int err = gather(&s, a);

	if (err == 0 && a->is_json)
		err = print_json(&s);
	else if (err == 0 && a->is_short)
		print_short(&s);
	else if (err == 0)
		admin_status_print(&s);
	if (err != 0)
		(void)admin_fail("it cannot be told how the gateway is", err);
	else if (fflush(stdout) == 0 && s.problems.size == 0)
		status = EXIT_SUCCESS;
	finish(&s);
	return status;
}
