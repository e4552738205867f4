/* SPDX-License-Identifier: Apache-2.0 */
/* tidegate-ingest: takes messages from the MQTT broker and keeps them in the journal. */
#include "check.h"
#include "err.h"
#include "ingest/ingest.h"
#include "ingest/mqtt_check.h"
#include "ingest/retire.h"
#include "journal.h"
#include "log.h"
#include "worker.h"

#include <stdlib.h>

/* The broker; the journal and Kafka are tidegate-forward's to look at. */
static int
check(struct worker *w)
{
	struct check c;

	check_begin(&c, w->is_json);
	mqtt_check(&c, w->settings);
	worker_end(w);
	return check_status(&c);
}

int
main(int argc, char *argv[])
{
	struct journal_options options;
	struct journal *j;
	struct worker w;
	int err, status;

	if (worker_begin(&w, "tidegate-ingest", argc, argv, &status) != 0)
		return status;
	if (w.check_connection)
		return check(&w);
	options = worker_journal_options(&w);
	err = journal_open(&j, JOURNAL_INGEST, &options);
	if (err == 0)
		err = w.leave ? retire_run(&w, j) : ingest_run(&w, j);
	journal_close(j);
	worker_end(&w);
	return err == 0 ? EXIT_SUCCESS : EXIT_FAILED;
}
