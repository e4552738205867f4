/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counting dead letters by reason: the journal knows only how many there are in all.
 *
 * Invariant: what is given out is of a whole walk through them; a walk goes on from
 * call to call, each of them bounded.
 *
 * Failure modes: the journal cannot be read: the walk goes on with the next call.
 */
#include "letters.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

#define STEP_LETTERS 5000
#define STEP_BYTES   ((size_t)4 << 20)

static const char *const reasons[] = {
    DEAD_TOO_LARGE, DEAD_REFUSED, DEAD_NO_ROUTE, DEAD_BAD_TOPIC, DEAD_SKIPPED, "other"};

#define REASON_COUNT (sizeof(reasons) / sizeof(reasons[0]))

typedef char reasons_fit[REASON_COUNT <= VIEW_REASONS_MAX ? 1 : -1];

struct letters {
	struct record_decoder *decoder;
	uint64_t known[REASON_COUNT];    /* of the last whole walk */
	uint64_t counting[REASON_COUNT]; /* of the one under way */
	struct journal_dead at;
	bool is_walking;
	/* The journal's own figures when the latest walk began. */
	uint64_t dead_count, dead_bytes;
};

int
letters_open(struct letters **out)
{
	struct letters *l = calloc(1, sizeof(*l));
	int err = ERR_NOMEM;

	*out = NULL;
	if (l != NULL)
		err = record_decoder_open(&l->decoder);
	if (err == 0)
		*out = l;
	else
		free(l);
	return err;
}

void
letters_close(struct letters *l)
{
	if (l == NULL)
		return;
	journal_dead_fini(&l->at);
	record_decoder_close(l->decoder);
	free(l);
}

void
letters_forget(struct letters *l)
{
	journal_dead_fini(&l->at);
	l->is_walking = false;
	l->dead_count = 0;
	l->dead_bytes = 0;
	memset(l->known, 0, sizeof(l->known));
}

static size_t
reason_of(struct letters *l)
{
	struct dead_letter letter;
	size_t i = 0;

	record_decoder_reset(l->decoder);
	if (dead_letter_decode(
		l->decoder, l->at.value.data, l->at.value.size, &letter) != 0)
		return REASON_COUNT - 1;
	while (i < REASON_COUNT - 1 && strcmp(letter.reason, reasons[i]) != 0)
		i++;
	return i;
}

static void
begin_walk(struct letters *l, const struct journal_stat *stat)
{
	journal_dead_fini(&l->at);
	memset(l->counting, 0, sizeof(l->counting));
	l->dead_count = stat->dead_count;
	l->dead_bytes = stat->dead_bytes;
	l->is_walking = true;
}

static void
walk(struct letters *l, struct journal *j)
{
	size_t bytes = 0;

	for (int i = 0; i < STEP_LETTERS && bytes < STEP_BYTES; i++) {
		int err = journal_dead_next(j, &l->at);

		/* Behind a key that is damaged there is no way on. */
		if (err == ERR_NOTFOUND || err == ERR_CORRUPT) {
			memcpy(l->known, l->counting, sizeof(l->known));
			journal_dead_fini(&l->at);
			l->is_walking = false;
		}
		if (err != 0)
			return;
		l->counting[reason_of(l)]++;
		bytes += l->at.value.size;
	}
}

size_t
letters_look(struct letters *l, struct journal *j, const struct journal_stat *stat,
    struct view_reason found[VIEW_REASONS_MAX])
{
	size_t count = 0;

	if (!l->is_walking &&
	    (stat->dead_count != l->dead_count || stat->dead_bytes != l->dead_bytes))
		begin_walk(l, stat);
	if (l->is_walking)
		walk(l, j);
	for (size_t i = 0; i < REASON_COUNT; i++) {
		if (l->known[i] > 0)
			found[count++] = (struct view_reason){reasons[i], l->known[i]};
	}
	return count;
}
