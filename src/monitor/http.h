/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP server of tidegate-monitor: GET and HEAD, and no more than a few connections
 * for no longer than it takes, whatever comes over them.
 */
#ifndef HTTP_H
#define HTTP_H

#include <stdint.h>

#include "buffer.h"

struct http;

/* What is answered; zero-initialised before. */
struct http_answer {
	unsigned status; /* 200, 404, ... */
	const char *content_type;
	char policy[512];   /* Content-Security-Policy; "": none */
	struct buffer body; /* taken over */
};

/*
 * Answer a GET of path, which begins with "/" and has no query.
 *
 * Errors:    ERR_NOTFOUND, there is no such path; ERR_NOMEM. The body is released then.
 */
typedef int http_answer_path(
    void *context, const char *path, struct http_answer *answer);

/*
 * listen:    see listen.h. context: borrowed as long as it lives.
 * Ownership: *out is the caller's; NULL on failure.
 * Errors:    ERR_IO (logged), ERR_NOMEM.
 */
int http_open(
    struct http **out, const char *listen, http_answer_path *answer, void *context);

/* For poll(2): readable when http_run() has something to do. */
int http_fd(const struct http *h);

/* Call it at the latest after so many ms. */
int http_timeout_ms(const struct http *h);

/* Do what there is to do; never waits. */
void http_run(struct http *h, int64_t now_ms);

void http_close(struct http *h);

#endif
