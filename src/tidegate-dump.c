/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tidegate-dump: looks into a journal and changes nothing.
 *
 * Invariant: exit status 0 only if all that was asked for was read, and standard output
 * has taken it.
 *
 * Failure modes: what cannot be read is told on standard error, and the rest is listed.
 * Started with a stream closed, it would get LMDB's files under that number, and write
 * its lines into them: so each of the three is opened first.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "dump/dump_check.h"
#include "dump/dump_follow.h"
#include "dump/dump_list.h"
#include "dump/dump_options.h"
#include "err.h"
#include "journal.h"
#include "log.h"
#include "now.h"
#include "settings.h"
#include "worker.h"

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
dump_run(struct dump *d, const char *directory)
{
	uint64_t problems = 0;
	int err = 0;

	switch (d->options.what) {
	case DUMP_RECORDS:
		return d->options.follow ? dump_follow(d, directory)
					 : dump_list_records(d);
	case DUMP_DEAD:
		return dump_list_dead(d);
	case DUMP_GAPS:
		return dump_list_gaps(d);
	case DUMP_STAT:
		return print_stat(d);
	case DUMP_CHECK:
		err = dump_check(d->journal, &d->progress, &problems);
		d->is_partial = problems > 0;
		break;
	}
	return err;
}

static int
dump_open(struct dump *d, const char *directory)
{
	struct journal_options options = {
	    .directory = directory,
	    .figures_only = d->options.what == DUMP_STAT,
	};
	int err;

	d->left = d->options.count;
	d->shows_progress = isatty(STDOUT_FILENO) == 0;
	err = journal_open(&d->journal, JOURNAL_LOOK, &options);
	if (err != 0)
		return err; /* logged there */
	err = record_decoder_open(&d->decoder);
	if (err == 0)
		err =
		    dump_printer_open(&d->printer, d->options.form, d->options.follow);
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

/* By --follow itself; who closes its pipe has seen enough. */
static bool
is_told(int err)
{
	return err == ERR_IDENTITY || err == ERR_NOTFOUND || err == ERR_AWAY;
}

static int
dump_journal(struct dump *d, const char *directory)
{
	int err = dump_open(d, directory);
	int status = EXIT_FAILED;

	if (err != 0)
		goto done;
	err = dump_run(d, directory);
	if (err != 0 && !is_told(err) && !dump_print_failed(d->printer))
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

	/* Before anything is opened: see there. */
	log_open("tidegate-dump", LOG_LEVEL_WARNING, LOG_FORMAT_TEXT);
	/* A reader that leaves is seen as a failed write, and ends the listing. */
	(void)signal(SIGPIPE, SIG_IGN);
	if (dump_options_parse(&d.options, argc, argv, now_real_ms(), &status) != 0)
		return status;
	if (d.options.verbose)
		log_open("tidegate-dump", LOG_LEVEL_DEBUG, LOG_FORMAT_TEXT);
	if (d.options.directory != NULL)
		return dump_journal(&d, d.options.directory);
	return dump_configured(&d);
}
