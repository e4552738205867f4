/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tidegate-dump: looks into a journal and changes nothing.
 *
 * Invariant: exit status 0 only if all that was asked for was read, and standard output
 * has taken it.
 *
 * Failure modes: a batch that cannot be read is told on standard error with its range
 * and the rest is listed. Each batch is a read transaction of its own, so a dump that
 * waits for its reader holds up nobody.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "dump/dump_check.h"
#include "dump/dump_options.h"
#include "dump/dump_print.h"
#include "err.h"
#include "journal.h"
#include "log.h"
#include "now.h"
#include "settings.h"
#include "topic_filter.h"
#include "worker.h"

struct dump {
	struct dump_options options;
	struct journal *journal;
	struct record_decoder *decoder;
	struct dump_printer *printer;
	uint64_t left;   /* how many may still be printed */
	bool is_partial; /* something could not be read */
};

__attribute__((format(printf, 2, 3))) static void
tell_partial(struct dump *d, const char *format, ...)
{
	va_list args;

	d->is_partial = true;
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

static int
list_batch(struct dump *d, const struct journal_batch *b, uint64_t from_seq)
{
	size_t offset = 0;
	uint64_t seq;
	int err = 0;

	record_decoder_reset(d->decoder);
	for (seq = b->base_seq; seq < b->end_seq && seq <= d->options.to_seq; seq++) {
		struct record r;

		err =
		    record_decode(d->decoder, b->body.data, b->body.size, &offset, &r);
		if (err != 0)
			break;
		if (seq < from_seq || d->left == 0 || !is_wanted(&d->options, &r))
			continue;
		err = dump_print_record(d->printer, seq, &r);
		if (err != 0)
			return err;
		d->left--;
	}
	if (err == ERR_CORRUPT) {
		tell_partial(d, "records %" PRIu64 " to %" PRIu64 " are damaged", seq,
		    b->end_seq - 1);
		err = 0;
	}
	return err;
}

static int
list_records(struct dump *d)
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
	journal_stat_fini(&stat);
	while (err == 0 && seq < end_seq && seq <= d->options.to_seq && d->left > 0) {
		err = journal_read(d->journal, seq, &b);
		if (err == 0) {
			err = list_batch(d, &b, seq);
		} else if ((err == ERR_CORRUPT || err == ERR_VERSION) &&
			   b.end_seq > seq) {
			tell_partial(d, "records %" PRIu64 " to %" PRIu64 ": %s",
			    b.base_seq, b.end_seq - 1, err_str(err));
			err = 0;
		}
		seq = b.end_seq;
	}
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
		tell_partial(d, "dead letter %" PRIu64 " is damaged", dead->seq);
		return 0;
	}
	if (err != 0 || !is_wanted(&d->options, &r))
		return err;
	d->left--;
	return dump_print_dead(d->printer, dead, &letter, &r);
}

static int
list_dead(struct dump *d)
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

static int
list_gaps(struct dump *d)
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

/* ---- the whole ---- */

static int
print_stat(struct dump *d)
{
	struct journal_stat stat;
	int err = journal_stat(d->journal, &stat);

	if (err != 0)
		return err;
	err = dump_print_stat(
	    d->printer, journal_identity(d->journal), &stat, now_real_ms());
	journal_stat_fini(&stat);
	return err;
}

static int
dump_run(struct dump *d)
{
	uint64_t problems = 0;
	int err = 0;

	switch (d->options.what) {
	case DUMP_RECORDS:
		return list_records(d);
	case DUMP_DEAD:
		return list_dead(d);
	case DUMP_GAPS:
		return list_gaps(d);
	case DUMP_STAT:
		return print_stat(d);
	case DUMP_CHECK:
		err = dump_check(d->journal, &problems);
		d->is_partial = problems > 0;
		break;
	}
	return err;
}

static int
dump_open(struct dump *d, const char *directory)
{
	struct journal_options options = {.directory = directory};
	int err;

	d->left = d->options.count;
	err = journal_open(&d->journal, JOURNAL_LOOK, &options);
	if (err != 0)
		return err; /* logged there */
	err = record_decoder_open(&d->decoder);
	if (err == 0)
		err = dump_printer_open(&d->printer, d->options.form);
	if (err != 0)
		(void)fprintf(stderr, "tidegate-dump: %s\n", err_str(err));
	return err;
}

static void
dump_close(struct dump *d)
{
	journal_close(d->journal);
	record_decoder_close(d->decoder);
	dump_printer_close(d->printer);
}

static int
dump_journal(struct dump *d, const char *directory)
{
	int err = dump_open(d, directory);
	int status = EXIT_FAILED;

	if (err != 0)
		goto done;
	err = dump_run(d);
	if (err != 0 && !dump_print_failed(d->printer))
		(void)fprintf(
		    stderr, "tidegate-dump: %s: %s\n", directory, err_str(err));
	if (dump_print_flush(d->printer) == 0 && err == 0 && !d->is_partial)
		status = EXIT_SUCCESS;
done:
	dump_close(d);
	return status;
}

static int
dump_configured(struct dump *d)
{
	struct settings *settings = NULL;
	struct buffer mistakes = {0};
	int status;
	int err = settings_load(&settings, d->options.config_path, &mistakes);

	if (err == 0) {
		status = dump_journal(d, settings->journal.directory);
	} else {
		(void)fwrite(mistakes.data, 1, mistakes.size, stderr);
		status = err == ERR_INVALID ? EXIT_CONFIG : EXIT_FAILED;
	}
	buffer_fini(&mistakes);
	settings_free(settings);
	return status;
}

int
main(int argc, char *argv[])
{
	struct dump d = {0};
	int status;

	/* A reader that leaves is seen as a failed write, and ends the listing. */
	(void)signal(SIGPIPE, SIG_IGN);
	if (dump_options_parse(&d.options, argc, argv, now_real_ms(), &status) != 0)
		return status;
	log_open("tidegate-dump",
	    d.options.verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING, LOG_FORMAT_TEXT);
	if (d.options.directory != NULL)
		return dump_journal(&d, d.options.directory);
	return dump_configured(&d);
}
