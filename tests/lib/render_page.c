/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the status page of a made-up gateway to stdout, to look at it:
 *
 *   render_page [well | outage | empty | odd TEXT]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/monitor/page.h"
#include "views.h"

/* As it is when tidegated has just started. */
static void
make_empty(struct made_view *m)
{
	m->board.has_ingest = m->board.has_forward = false;
	m->history.count = 0;
	m->view.facts.stat = NULL;
	m->view.facts.identity = NULL;
	m->view.events = NULL;
	m->view.dead_count = 0;
}

int
main(int argc, char *argv[])
{
	const char *what = argc > 1 ? argv[1] : "well";
	struct made_view m;
	struct buffer page = {0};
	int status = EXIT_FAILURE;

	if (views_make(&m) != 0)
		return EXIT_FAILURE;
	if (strcmp(what, "outage") == 0)
		views_take_kafka_away(&m);
	else if (strcmp(what, "empty") == 0)
		make_empty(&m);
	else if (strcmp(what, "odd") == 0 && argc > 2)
		views_take_odd(&m, argv[2]);
	if (views_judge(&m) == 0 &&
	    page_render(&m.view, "MDEyMzQ1Njc4OWFiY2RlZg", &page) == 0 &&
	    fwrite(page.data, 1, page.size, stdout) == page.size && fflush(stdout) == 0)
		status = EXIT_SUCCESS;
	buffer_fini(&page);
	views_fini(&m);
	return status;
}
