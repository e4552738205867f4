/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The paths, and who renders what is there.
 *
 * Failure modes: no memory, or no random numbers for the page: no answer.
 */
#include "answers.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "err.h"
#include "metrics.h"
#include "page.h"
#include "text.h"

#define NONCE_BYTES    18 /* 24 characters of base64 */
#define RATE_WINDOW_MS 60000

static const char text_plain[] = "text/plain; charset=utf-8";

/* Those with an end mark each become lines. */
static int
append_lines(struct buffer *out, const struct buffer *texts)
{
	int err = 0;

	for (size_t at = 0; at < texts->size && err == 0;) {
		const char *one = (const char *)texts->data + at;

		err = buffer_printf(out, "%s\n", one);
		at += strlen(one) + 1;
	}
	return err;
}

static int
answer_metrics(const struct view *v, struct http_answer *answer)
{
	answer->content_type = "text/plain; version=0.0.4; charset=utf-8";
	return metrics_render(v, &answer->body);
}

/* Do the processes run? Says nothing of data. */
static int
answer_health(const struct view *v, struct http_answer *answer)
{
	struct buffer missing = {0};
	int err = status_workers(&v->facts, &missing);

	answer->content_type = text_plain;
	if (err == 0)
		err = append_lines(&answer->body, &missing);
	if (err == 0 && answer->body.size > 0)
		answer->status = 503;
	else if (err == 0)
		err = buffer_append_str(&answer->body, "running\n");
	buffer_fini(&missing);
	return err;
}

/* Does data move, where there is any? */
static int
answer_readiness(const struct view *v, struct http_answer *answer)
{
	answer->content_type = text_plain;
	if (v->problems.size == 0)
		return buffer_append_str(&answer->body, "well\n");
	answer->status = 503;
	return append_lines(&answer->body, &v->problems);
}

/* The status report, and with it what only who looks all the time knows. */
static int
answer_status(const struct view *v, struct http_answer *answer)
{
	struct buffer *body = &answer->body;
	int err = status_render(&v->facts, body);

	answer->content_type = "application/json";
	if (err != 0)
		return err;
	body->size--; /* its closing brace */
	return buffer_printf(body,
	    ",\"rates\":{\"seconds\":%d,\"received_per_s\":%.3f,"
	    "\"delivered_per_s\":%.3f}}\n",
	    RATE_WINDOW_MS / 1000, history_received_rate(v->history, RATE_WINDOW_MS),
	    history_delivered_rate(v->history, RATE_WINDOW_MS));
}

static int
answer_events(const struct view *v, struct http_answer *answer)
{
	answer->content_type = "application/x-ndjson";
	return v->events == NULL ? 0
				 : events_read(v->events, EVENTS_MAX, &answer->body);
}

static int
make_nonce(struct buffer *nonce)
{
	unsigned char bytes[NONCE_BYTES];
	int err;

	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		return ERR_NOMEM;
	err = text_append_base64(nonce, bytes, sizeof(bytes));
	return err != 0 ? err : buffer_append(nonce, "", 1);
}

static int
answer_page(const struct view *v, struct http_answer *answer)
{
	struct buffer nonce = {0};
	const char *n;
	int err = make_nonce(&nonce);

	answer->content_type = "text/html; charset=utf-8";
	if (err == 0) {
		n = (const char *)nonce.data;
		(void)snprintf(answer->policy, sizeof(answer->policy),
		    "default-src 'none'; style-src 'nonce-%s'; script-src 'nonce-%s'; "
		    "connect-src 'self'; img-src data:; base-uri 'none'; form-action "
		    "'none'; frame-ancestors 'none'",
		    n, n);
		err = page_render(v, n, &answer->body);
	}
	buffer_fini(&nonce);
	return err;
}

int
answers_path(const struct view *v, const char *path, struct http_answer *answer)
{
	static const struct {
		const char *path;
		int (*answer)(const struct view *v, struct http_answer *answer);
	} paths[] = {
	    {"/", answer_page},
	    {"/metrics", answer_metrics},
	    {"/healthz", answer_health},
	    {"/readyz", answer_readiness},
	    {"/status.json", answer_status},
	    {"/events", answer_events},
	};

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		if (strcmp(path, paths[i].path) != 0)
			continue;
		answer->status = 200;
		return paths[i].answer(v, answer);
	}
	return ERR_NOTFOUND;
}
