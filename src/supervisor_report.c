/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the supervisor sees of its workers on the board: it tells the service manager how
 * the gateway is, and finds a worker that hangs.
 *
 * Invariant (I9): the service manager is told "well" only where status_problems() has
 * nothing to say. A worker counts as silent only for time in which the supervisor itself
 * was running: after all of them were frozen together none is.
 *
 * Failure modes: no memory: the service manager keeps the last status, and no worker is
 * found to be silent.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "notify.h"
#include "now.h"
#include "status.h"
#include "supervisor_parts.h"
#include "text.h"

/* A test makes it shorter. */
#ifndef SUPERVISOR_SILENT_MS
#define SUPERVISOR_SILENT_MS 300000
#endif

#define STATUS_MS    1000 /* between two looks, where somebody is told */
#define COUNT_MS     5000 /* so long the count of a worker holds */
#define LOOK_MS      (SUPERVISOR_SILENT_MS / 30)
#define STATUS_BYTES 400

/* One that shows on the board that it is alive. */
struct watched {
	uint32_t pid;
	int64_t alive_at_ms; /* as seen last */
	int64_t silent_ms;
};

struct report {
	const struct board *board;
	struct board_view view;
	struct watched watched[BOARD_WORKER_COUNT];
	bool is_told; /* is there a service manager? */
	bool is_ready, is_stopping;
	bool is_refused; /* the configuration that was read last */
	int64_t looked_at_ms, look_at_ms;
	int64_t watchdog_ms; /* 0: none */
	int64_t watchdog_at_ms;
	char status[STATUS_BYTES]; /* as told last */
};

int
report_open(struct report **out, const struct board *board)
{
	struct report *r = calloc(1, sizeof(*r));

	*out = NULL;
	if (r == NULL)
		return ERR_NOMEM;
	r->board = board;
	r->is_told = getenv("NOTIFY_SOCKET") != NULL;
	r->watchdog_ms = notify_watchdog_ms();
	*out = r;
	return 0;
}

void
report_close(struct report *r)
{
	if (r == NULL)
		return;
	board_view_fini(&r->view);
	free(r);
}

/* ---- the service manager ---- */

static void
tell(struct report *r, const char *status)
{
	if (strcmp(r->status, status) == 0)
		return;
	if (notify_status(status))
		(void)snprintf(r->status, sizeof(r->status), "%s", status);
}

/*
 * How many records wait for the slowest route; false: it is not known. tidegate-forward
 * writes each second what the count is made of: without its word there is none.
 */
static bool
count_waiting(const struct board_view *view, int64_t now_ms, uint64_t *count)
{
	uint64_t acked_seq = UINT64_MAX;

	for (uint32_t i = 0; view->has_forward && i < view->forward.route_count; i++) {
		if (view->routes[i].acked_seq < acked_seq)
			acked_seq = view->routes[i].acked_seq;
	}
	if (acked_seq == UINT64_MAX || view->forward.next_seq == 0 ||
	    now_ms - view->forward.alive_at_ms > COUNT_MS)
		return false;
	*count = acked_seq + 1 < view->forward.next_seq
		     ? view->forward.next_seq - acked_seq - 1
		     : 0;
	return true;
}

/* mark: between the words before and these. */
static int
append_waiting(
    const struct board_view *view, int64_t now_ms, const char *mark, struct buffer *out)
{
	uint64_t waiting;
	char count[TEXT_COUNT_BYTES];

	if (!count_waiting(view, now_ms, &waiting))
		return 0;
	if (waiting == 0)
		return buffer_printf(out, "%s nothing waits", mark);
	text_count(count, waiting);
	return buffer_printf(out, "%s %s %s", mark, count,
	    waiting == 1 ? "record waits" : "records wait");
}

/* The words of status_problems(), one after the other, and what waits. */
static int
append_state(const struct report *r, const struct settings *settings, int64_t now_ms,
    struct buffer *out)
{
	const struct status_facts facts = {
	    .settings = settings,
	    .board = &r->view,
	    .is_board_alone = true,
	    .now_ms = now_ms,
	    .real_ms = now_real_ms(),
	};
	struct buffer problems = {0};
	int err = status_problems(&facts, &problems);

	if (err == 0 && problems.size == 0)
		err = buffer_append_str(out, "well");
	for (size_t at = 0; err == 0 && at < problems.size;) {
		const char *one = (const char *)problems.data + at;

		err = at > 0 ? buffer_append_str(out, "; ") : 0;
		if (err == 0)
			err = buffer_append_str(out, one);
		at += strlen(one) + 1;
	}
	if (err == 0)
		err = append_waiting(
		    &r->view, now_ms, problems.size == 0 ? ":" : ";", out);
	buffer_fini(&problems);
	return err;
}

/* What is first matters most: the end is cut off. */
static void
write_status(char status[STATUS_BYTES], const struct buffer *text)
{
	static const char cut[] = "...";
	size_t size = text->size;

	if (size >= STATUS_BYTES) {
		size = text_cut((const char *)text->data, STATUS_BYTES - sizeof(cut));
		memcpy(status + size, cut, sizeof(cut));
	} else {
		status[size] = '\0';
	}
	memcpy(status, text->data, size);
}

static void
tell_status(struct report *r, const struct settings *settings, int64_t now_ms)
{
	struct buffer text = {0};
	char status[STATUS_BYTES];
	int err = 0;

	if (r->is_refused)
		err = buffer_append_str(
		    &text, "the new configuration was not taken over, see the log; ");
	if (err == 0)
		err = append_state(r, settings, now_ms, &text);
	if (err == 0) {
		write_status(status, &text);
		tell(r, status);
	}
	buffer_fini(&text);
}

void
report_reload_begin(void)
{
	/* Rounded up: it is not to be before the moment at which it was asked for. */
	notify_reloading((now_monotonic_ms() + 1) * 1000);
}

void
report_reload_end(struct report *r, bool is_taken)
{
	r->is_refused = !is_taken;
	r->look_at_ms = 0;
	notify_ready();
}

void
report_stopping(struct report *r)
{
	if (!r->is_stopping)
		notify_stopping();
	r->is_stopping = true;
	tell(r, "stopping");
}

/* ---- workers that hang ---- */

static void
watch(struct watched *w, uint32_t pid, int64_t alive_at_ms, int64_t elapsed_ms)
{
	if (w->pid != pid || w->alive_at_ms != alive_at_ms || alive_at_ms == 0)
		w->silent_ms = 0;
	else
		w->silent_ms += elapsed_ms < 2 * LOOK_MS ? elapsed_ms : 2 * LOOK_MS;
	w->pid = pid;
	w->alive_at_ms = alive_at_ms;
}

bool
report_is_silent(const struct report *r, enum board_worker worker, pid_t pid)
{
	const struct watched *w = &r->watched[worker];

	return pid > 0 && w->pid == (uint32_t)pid && w->alive_at_ms != 0 &&
	       w->silent_ms >= SUPERVISOR_SILENT_MS;
}

/* ---- now and then ---- */

static void
look(struct report *r, const struct settings *settings, int64_t now_ms)
{
	int64_t elapsed_ms = r->looked_at_ms != 0 ? now_ms - r->looked_at_ms : 0;

	r->looked_at_ms = now_ms;
	r->look_at_ms = now_ms + (r->is_told ? STATUS_MS : LOOK_MS);
	if (board_look(r->board, &r->view) != 0)
		return;
	/* A part that nobody has written is all zero. */
	watch(&r->watched[BOARD_WORKER_INGEST], r->view.ingest.pid,
	    r->view.ingest.alive_at_ms, elapsed_ms);
	watch(&r->watched[BOARD_WORKER_FORWARD], r->view.forward.pid,
	    r->view.forward.alive_at_ms, elapsed_ms);
	if (r->is_told && !r->is_stopping)
		tell_status(r, settings, now_ms);
}

int64_t
report_step(struct report *r, const struct settings *settings, int64_t now_ms)
{
	int64_t next_ms;

	if (!r->is_ready)
		notify_ready();
	r->is_ready = true;
	if (now_ms >= r->look_at_ms)
		look(r, settings, now_ms);
	next_ms = r->look_at_ms;
	if (r->watchdog_ms == 0)
		return next_ms;
	if (now_ms >= r->watchdog_at_ms) {
		notify_watchdog();
		r->watchdog_at_ms = now_ms + r->watchdog_ms;
	}
	return r->watchdog_at_ms < next_ms ? r->watchdog_at_ms : next_ms;
}
