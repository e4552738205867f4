/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is the journal whole?
 *
 * Invariant: every sequence number below the next one is a record that decodes, or is
 * acknowledged by every route, or lies in a gap; anything else is told.
 *
 * The gateway may run beside it. So what was appended after the start is left out, and
 * before a number is called missing it is asked anew what is acknowledged by then.
 */
#include "dump_check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "err.h"

struct check {
	struct journal *journal;
	struct record_decoder *decoder;
	struct dump_progress *progress;
	struct journal_gap gap; /* the first that ends behind all that was looked at */
	bool has_gap;
	uint64_t records;
	uint64_t dead;
	uint64_t gaps;
	uint64_t problems;
};

__attribute__((format(printf, 2, 3))) static void
tell(struct check *c, const char *format, ...)
{
	va_list args;

	dump_progress_clear(c->progress);
	va_start(args, format);
	(void)vprintf(format, args); /* judged at the end, by the stream's state */
	va_end(args);
	c->problems++;
}

static void
tell_range(struct check *c, const char *what, uint64_t first_seq, uint64_t end_seq)
{
	tell(c, "%s: %" PRIu64 " to %" PRIu64 " (%" PRIu64 ")\n", what, first_seq,
	    end_seq - 1, end_seq - first_seq);
}

/* ---- numbers that no batch has ---- */

/* Let c->gap be the first gap that reaches beyond seq. */
static int
seek_gap(struct check *c, uint64_t seq)
{
	uint64_t from = c->has_gap ? c->gap.first_seq : 0;
	int err;

	for (;;) {
		if (c->has_gap && c->gap.first_seq + c->gap.count > seq)
			return 0;
		if (c->has_gap)
			from = c->gap.first_seq + 1;
		err = journal_gap_read(c->journal, from, &c->gap);
		c->has_gap = err == 0;
		if (err != 0)
			return err == ERR_NOTFOUND ? 0 : err;
	}
}

/* Move *seq on over acknowledged numbers and gaps, at most to end_seq. */
static int
skip_explained(struct check *c, uint64_t *seq, uint64_t end_seq, uint64_t acked_seq)
{
	int err;

	if (*seq <= acked_seq)
		*seq = acked_seq < end_seq ? acked_seq + 1 : end_seq;
	for (;;) {
		if (*seq >= end_seq) {
			*seq = end_seq;
			return 0;
		}
		err = seek_gap(c, *seq);
		if (err != 0)
			return err;
		if (!c->has_gap || c->gap.first_seq > *seq)
			return 0;
		*seq = c->gap.first_seq + c->gap.count;
	}
}

/* No batch has the numbers from seq to end_seq - 1: tell those without an excuse. */
static int
check_hole(struct check *c, uint64_t seq, uint64_t end_seq)
{
	struct journal_stat stat;
	int err;

	while (seq < end_seq) {
		uint64_t missing_end = end_seq;

		err = journal_stat(c->journal, &stat);
		if (err != 0)
			return err;
		err = skip_explained(c, &seq, end_seq, stat.acked_seq);
		journal_stat_fini(&stat);
		if (err != 0 || seq == end_seq)
			return err;
		if (c->has_gap && c->gap.first_seq < end_seq)
			missing_end = c->gap.first_seq;
		tell_range(c, "missing", seq, missing_end);
		seq = missing_end;
	}
	return 0;
}

/* ---- batches ---- */

static int
check_batch(struct check *c, const struct journal_batch *b)
{
	uint64_t seq = b->base_seq;
	size_t offset = 0;
	int err = 0;

	record_decoder_reset(c->decoder);
	for (; seq < b->end_seq; seq++) {
		struct record r;

		err =
		    record_decode(c->decoder, b->body.data, b->body.size, &offset, &r);
		if (err != 0)
			break;
		c->records++;
	}
	if (err == ERR_CORRUPT)
		tell_range(c, "damaged", seq, b->end_seq);
	else if (err == 0 && offset != b->body.size)
		tell(c,
		    "damaged: the batch from %" PRIu64 " to %" PRIu64
		    " holds more than its records\n",
		    b->base_seq, b->end_seq - 1);
	return err == ERR_CORRUPT ? 0 : err;
}

static bool
is_damage(int err)
{
	return err == ERR_CORRUPT || err == ERR_VERSION;
}

static int
check_batches(struct check *c, uint64_t first_seq, uint64_t next_seq)
{
	struct journal_batch b = {0};
	uint64_t seq = first_seq;
	int err = 0;

	dump_progress_begin(c->progress, first_seq, next_seq);
	while (err == 0 && seq < next_seq) {
		int read_err = journal_read(c->journal, seq, &b);

		dump_progress_step(c->progress, seq);
		if (read_err == ERR_NOTFOUND)
			break;
		if (read_err == 0 || (is_damage(read_err) && b.end_seq > seq))
			err = check_hole(c, seq, b.base_seq);
		else
			err = read_err;
		if (err != 0)
			break;
		if (read_err == ERR_VERSION)
			tell_range(c, "of a later version", b.base_seq, b.end_seq);
		else if (read_err == ERR_CORRUPT)
			tell_range(c, "damaged", b.base_seq, b.end_seq);
		else
			err = check_batch(c, &b);
		seq = b.end_seq;
	}
	if (err == ERR_CORRUPT) {
		/* Not a batch but the tree around it: there is no way on. */
		tell_range(c, "unreadable", seq, next_seq);
		err = 0;
	} else if (err == 0) {
		err = check_hole(c, seq, next_seq);
	}
	journal_batch_fini(&b);
	return err;
}

/* ---- the rest ---- */

static int
check_dead(struct check *c)
{
	struct journal_dead dead = {0};
	int err;

	for (;;) {
		struct dead_letter letter;
		struct record r;
		size_t offset = 0;

		err = journal_dead_next(c->journal, &dead);
		if (err != 0)
			break;
		record_decoder_reset(c->decoder);
		err = dead_letter_decode(
		    c->decoder, dead.value.data, dead.value.size, &letter);
		if (err == 0)
			err = record_decode(c->decoder, letter.record.data,
			    letter.record.size, &offset, &r);
		if (err == ERR_CORRUPT)
			tell(c, "damaged: dead letter %" PRIu64 "\n", dead.seq);
		else if (err != 0)
			break;
		c->dead++;
	}
	if (err == ERR_CORRUPT) {
		tell(c, "damaged: dead letters behind %" PRIu64 "\n", dead.seq);
		err = 0;
	}
	journal_dead_fini(&dead);
	return err == ERR_NOTFOUND ? 0 : err;
}

static int
check_gaps(struct check *c)
{
	struct journal_gap gap;
	uint64_t from = 0;
	int err;

	for (;;) {
		err = journal_gap_read(c->journal, from, &gap);
		if (err != 0)
			break;
		if (gap.count == 0 || gap.count > UINT64_MAX - gap.first_seq)
			tell(c, "damaged: gap at %" PRIu64 "\n", gap.first_seq);
		from = gap.first_seq + 1;
		c->gaps++;
	}
	if (err == ERR_CORRUPT) {
		tell(c, "damaged: gaps from %" PRIu64 "\n", from);
		err = 0;
	}
	return err == ERR_NOTFOUND ? 0 : err;
}

static void
check_routes(struct check *c, const struct journal_stat *stat)
{
	for (size_t i = 0; i < stat->route_count; i++) {
		if (stat->routes[i].acked_seq >= stat->next_seq)
			tell(c,
			    "route %s: acknowledged %" PRIu64
			    ", but the next number is %" PRIu64 "\n",
			    stat->routes[i].name, stat->routes[i].acked_seq,
			    stat->next_seq);
	}
}

int
dump_check(struct journal *j, struct dump_progress *progress, uint64_t *problems)
{
	struct check c = {.journal = j, .progress = progress};
	struct journal_stat stat = {0};
	uint64_t first_seq;
	int err;

	err = record_decoder_open(&c.decoder);
	if (err == 0)
		err = journal_stat(j, &stat);
	if (err != 0)
		goto done;
	check_routes(&c, &stat);
	/* Without a route nothing is known of what was there before the first. */
	first_seq = stat.route_count > 0 ? 1 : stat.first_seq;
	err = check_gaps(&c);
	if (err == 0)
		err = check_batches(&c, first_seq, stat.next_seq);
	if (err == 0)
		err = check_dead(&c);
	dump_progress_clear(progress);
	if (err != 0)
		goto done;
	printf("read %" PRIu64 " records, %" PRIu64 " dead letters, %" PRIu64 " gaps",
	    c.records, c.dead, c.gaps);
	if (stat.damaged_count > 0)
		printf("; %" PRIu64 " damaged batches were set aside, see the gaps",
		    stat.damaged_count);
	printf(": ");
	if (c.problems == 0)
		printf("whole\n");
	else
		printf("%" PRIu64 " problems\n", c.problems);
	*problems = c.problems;
done:
	journal_stat_fini(&stat);
	record_decoder_close(c.decoder);
	return err;
}
