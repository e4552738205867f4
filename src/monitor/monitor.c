/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop of tidegate-monitor: one poll(2) for the HTTP server and the request to stop,
 * and a look at the gateway each second, whoever asks.
 *
 * Invariant: what is answered is of one look, at most about a second old; asking more
 * often costs the gateway nothing.
 *
 * Failure modes: the address cannot be had: exit, tidegated tries again. The look fails
 * for want of memory: no answers until the next one.
 */
#include "monitor.h"

#include <poll.h>
#include <stdlib.h>

#include "answers.h"
#include "err.h"
#include "http.h"
#include "log.h"
#include "now.h"
#include "view.h"

#define LOOK_MS 1000

struct monitor {
	struct worker *worker;
	struct view *view;
	struct http *http;
	int look_err; /* of the latest look */
	int64_t look_at_ms;
};

static int
answer(void *context, const char *path, struct http_answer *out)
{
	const struct monitor *m = context;

	return m->look_err != 0 ? m->look_err : answers_path(m->view, path, out);
}

static void
look(struct monitor *m, int64_t now_ms)
{
	m->look_err = view_look(m->view, now_ms);
	m->look_at_ms = now_ms + LOOK_MS;
}

static void
run(struct monitor *m)
{
	struct pollfd fds[] = {
	    {.fd = m->worker->stop_fd, .events = POLLIN},
	    {.fd = http_fd(m->http), .events = POLLIN},
	};

	while (!worker_should_stop(m->worker)) {
		int64_t now_ms = now_monotonic_ms();
		int wait_ms = http_timeout_ms(m->http);

		if (now_ms >= m->look_at_ms)
			look(m, now_ms);
		if (wait_ms > m->look_at_ms - now_ms)
			wait_ms = (int)(m->look_at_ms - now_ms);
		(void)poll(fds, sizeof(fds) / sizeof(fds[0]), wait_ms);
		http_run(m->http, now_monotonic_ms());
	}
}

int
monitor_run(struct worker *w)
{
	const char *listen = w->settings->monitor.listen;
	struct monitor m = {.worker = w};
	int err;

	if (listen == NULL) {
		log_error(
		    LOG_LIFECYCLE, "monitor.listen is empty: there is nothing to do");
		return EXIT_FAILED;
	}
	err = view_open(&m.view, w->settings, w->board_fd, w->events);
	if (err == 0)
		err = http_open(&m.http, listen, answer, &m);
	if (err == 0) {
		log_info(LOG_LIFECYCLE, "started; listens on http://%s/", listen);
		run(&m);
		log_info(LOG_LIFECYCLE, "stopped");
	} else if (err != ERR_IO) {
		log_error(LOG_LIFECYCLE, "cannot start: %s", err_str(err));
	}
	http_close(m.http);
	view_close(m.view);
	return err == 0 ? EXIT_SUCCESS : EXIT_FAILED;
}
