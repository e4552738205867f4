/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listing what is there.
 *
 * Failure modes: a batch or a dead letter that cannot be read is told with its range, and
 * the rest is listed. Each batch is a read transaction of its own, so a listing that
 * waits for its reader holds up nobody.
 */
#include "dump_list.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "err.h"
#include "topic_filter.h"

void
dump_tell(struct dump *d, const char *format, ...)
{
	va_list args;

	(void)dump_print_flush(d->printer); /* told when it ends */
	dump_progress_clear(&d->progress);
	(void)fputs("tidegate-dump: ", stderr);
	va_start(args, format);
	(void)vfprintf(stderr, format, args);
	va_end(args);
	(void)fputs("\n", stderr);
}

static bool
is_in_time(const struct dump_options *o, uint64_t at_ms)
{
	if (o->since_ms > 0 && at_ms < (uint64_t)o->since_ms)
		return false;
	if (o->until_ms == INT64_MAX)
		return true;
	return o->until_ms >= 0 && at_ms <= (uint64_t)o->until_ms;
}

static bool
is_wanted(const struct dump_options *o, const struct record *r)
{
	if (!is_in_time(o, r->received_ms))
		return false;
	return o->topic_filter == NULL ||
	       topic_filter_matches(o->topic_filter, r->topic);
}

/* ---- records ---- */

int
dump_list_batch(struct dump *d, const struct journal_batch *b, uint64_t from_seq)
{
	size_t offset = 0;
	uint64_t seq;
	int err = 0;

	record_decoder_reset(d->decoder);
	for (seq = b->base_seq;
	     seq < b->end_seq && seq <= d->options.to_seq && d->left > 0; seq++) {
		struct record r;

		err =
		    record_decode(d->decoder, b->body.data, b->body.size, &offset, &r);
		if (err != 0)
			break;
		if (seq < from_seq || !is_wanted(&d->options, &r))
			continue;
		err = dump_print_record(d->printer, seq, &r);
		if (err != 0)
			return err;
		d->left--;
	}
	if (err == ERR_CORRUPT) {
		dump_tell(d, "records %" PRIu64 " to %" PRIu64 " are damaged", seq,
		    b->end_seq - 1);
		d->is_partial = true;
		err = 0;
	}
	return err;
}

int
dump_list_unreadable(
    struct dump *d, const struct journal_batch *b, uint64_t seq, int err)
{
	if ((err != ERR_CORRUPT && err != ERR_VERSION) || b->end_seq <= seq)
		return err;
	dump_tell(d, "records %" PRIu64 " to %" PRIu64 ": %s", b->base_seq,
	    b->end_seq - 1, err_str(err));
	d->is_partial = true;
	return 0;
}

int
dump_list_records(struct dump *d)
{
	struct journal_batch b = {0};
	struct journal_stat stat;
	uint64_t seq = d->options.from_seq;
	uint64_t end_seq;
	int err = journal_stat(d->journal, &stat);

	if (err != 0)
		return err;
	if (seq == 0)
		seq = stat.acked_seq + 1;
	end_seq = stat.next_seq; /* what comes after the start is left out */
	if (d->options.to_seq < end_seq)
		end_seq = d->options.to_seq + 1;
	if (d->shows_progress)
		dump_progress_begin(
		    &d->progress, seq > stat.first_seq ? seq : stat.first_seq, end_seq);
	journal_stat_fini(&stat);
	while (err == 0 && seq < end_seq && d->left > 0) {
		err = journal_read(d->journal, seq, &b);
		err = err == 0 ? dump_list_batch(d, &b, seq)
			       : dump_list_unreadable(d, &b, seq, err);
		if (err == 0)
			err = dump_print_batch_end(d->printer);
		seq = b.end_seq;
		dump_progress_step(&d->progress, seq);
	}
	dump_progress_clear(&d->progress);
	journal_batch_fini(&b);
	return err == ERR_NOTFOUND ? 0 : err;
}

/* ---- dead letters and gaps ---- */

static int
list_dead_letter(struct dump *d, const struct journal_dead *dead)
{
	struct dead_letter letter;
	struct record r;
	size_t offset = 0;
	int err;

	if (dead->seq < d->options.from_seq || dead->seq > d->options.to_seq)
		return 0;
	record_decoder_reset(d->decoder);
	err =
	    dead_letter_decode(d->decoder, dead->value.data, dead->value.size, &letter);
	if (err == 0)
		err = record_decode(
		    d->decoder, letter.record.data, letter.record.size, &offset, &r);
	if (err == ERR_CORRUPT) {
		dump_tell(d, "dead letter %" PRIu64 " is damaged", dead->seq);
		d->is_partial = true;
		return 0;
	}
	if (err != 0 || !is_wanted(&d->options, &r))
		return err;
	d->left--;
	return dump_print_dead(d->printer, dead, &letter, &r);
}

int
dump_list_dead(struct dump *d)
{
	struct journal_dead dead = {0};
	int err = 0;

	while (err == 0 && d->left > 0) {
		err = journal_dead_next(d->journal, &dead);
		if (err == 0)
			err = list_dead_letter(d, &dead);
	}
	journal_dead_fini(&dead);
	return err == ERR_NOTFOUND ? 0 : err;
}

int
dump_list_gaps(struct dump *d)
{
	const struct dump_options *o = &d->options;
	struct journal_gap gap = {0};
	int err;

	while (d->left > 0) {
		err = journal_gap_read(d->journal, gap.first_seq + 1, &gap);
		if (err != 0)
			return err == ERR_NOTFOUND ? 0 : err;
		if (gap.first_seq > o->to_seq ||
		    gap.first_seq + gap.count <= o->from_seq ||
		    !is_in_time(o, gap.at_ms))
			continue;
		err = dump_print_gap(d->printer, &gap);
		if (err != 0)
			return err;
		d->left--;
	}
	return 0;
}
