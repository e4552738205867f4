/* SPDX-License-Identifier: Apache-2.0 */
/* tidegate-forward: takes what is in the journal to Kafka. */
#include <stdio.h>
#include <stdlib.h>

#include "err.h"
#include "forward/forward.h"
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

int
main(int argc, char *argv[])
{
	struct worker w;
	int status;

	if (worker_begin(&w, "tidegate-forward", argc, argv, &status) != 0)
		return status;
	status = w.check ? check(&w) : forward_run(&w);
	worker_end(&w);
	return status;
}
