/* SPDX-License-Identifier: Apache-2.0 */
/* tidegate-forward: takes what is in the journal to Kafka. */
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "err.h"
#include "forward/forward.h"
#include "journal_check.h"
#include "kafka/kafka_check.h"
#include "kafka_sink.h"
#include "worker.h"

/* Would librdkafka take the settings? Says on stderr what it would not. */
static int
check(const struct worker *w)
{
	struct buffer mistakes = {0};
	int err = kafka_sink_check(w->settings, &mistakes);

	if (mistakes.size > 0)
		(void)fwrite(mistakes.data, 1, mistakes.size, stderr);
	else if (err != 0)
		(void)fprintf(stderr, "tidegate-forward: %s\n", err_str(err));
	buffer_fini(&mistakes);
	if (err == 0)
		return EXIT_SUCCESS;
	return err == ERR_INVALID ? EXIT_CONFIG : EXIT_FAILED;
}

/* The journal first: what waits in it tells what a topic's retention means. */
static int
check_connection(const struct worker *w)
{
	struct check c;
	int64_t oldest_age_ms;

	check_begin(&c, w->is_json);
	oldest_age_ms = journal_check(&c, w->settings);
	kafka_check(&c, w->settings, oldest_age_ms);
	return check_status(&c);
}

int
main(int argc, char *argv[])
{
	struct worker w;
	int status;

	if (worker_begin(&w, "tidegate-forward", argc, argv, &status) != 0)
		return status;
	if (w.check_connection)
		status = check_connection(&w);
	else
		status = w.check ? check(&w) : forward_run(&w);
	worker_end(&w);
	return status;
}
