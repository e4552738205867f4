/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP by libmicrohttpd: one thread, ours; http_run() never waits.
 *
 * Invariant: at most PLACES connections are kept. One more than that ends the one that
 * has gone longest without asking for anything, so that connections that never ask (a
 * "slow loris") cannot keep others out. A connection has IDLE_S for each byte,
 * REQUEST_MS for a request and ANSWER_MS for taking its answer; libmicrohttpd knows the
 * first of these limits alone. All answers on their way together have SENDING_MAX bytes.
 *
 * Failure modes: no memory for an answer: 503. A connection that is to end is shut
 * down; libmicrohttpd finds that with its next turn, and closes it.
 */
#include "http.h"

#include <limits.h>
#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "err.h"
#include "listen.h"
#include "log.h"

#define PLACES        32
#define LIMIT         (2 * PLACES) /* of libmicrohttpd: with those that are ending */
#define IDLE_S        10
#define REQUEST_MS    30000
#define ANSWER_MS     120000
#define REQUEST_BYTES 32768 /* memory for a request, and the head of its answer */
#define SENDING_MAX   ((size_t)16 << 20)
#define LONGEST_MS    1000

struct place {
	struct MHD_Connection *connection; /* NULL: free */
	int fd;
	int64_t since_ms; /* it waits for a request, or takes its answer */
	bool is_asking;   /* a request has come, and its answer is not gone yet */
	bool is_ending;
	size_t sending_bytes;
};

struct http {
	struct MHD_Daemon *daemon;
	http_answer_path *answer;
	void *context;
	int epoll_fd;
	int64_t now_ms;
	struct place places[LIMIT];
	struct log_repeat crowded, full;
};

/* ---- connections ---- */

static void
end_connection(struct place *p)
{
	p->is_ending = true;
	(void)shutdown(p->fd, SHUT_RDWR); /* fails where the other side was faster */
}

static bool
is_kept(const struct place *p)
{
	return p->connection != NULL && !p->is_ending;
}

/* Of two, the one that waits for a request goes first, and of two such the older. */
static bool
goes_before(const struct place *a, const struct place *b)
{
	if (a->is_asking != b->is_asking)
		return b->is_asking;
	return a->since_ms < b->since_ms;
}

static void
make_room(struct http *h)
{
	struct place *first = NULL;
	size_t count = 0;

	for (size_t i = 0; i < LIMIT; i++) {
		struct place *p = &h->places[i];

		if (!is_kept(p))
			continue;
		count++;
		if (first == NULL || goes_before(p, first))
			first = p;
	}
	if (count < PLACES)
		return;
	log_repeated(&h->crowded, h->now_ms, LOG_LEVEL_WARNING, LOG_CONNECTION,
	    "more than %d HTTP connections at once: the oldest that asks for nothing "
	    "is ended",
	    PLACES);
	end_connection(first);
}

static void
end_slow(struct http *h)
{
	for (size_t i = 0; i < LIMIT; i++) {
		struct place *p = &h->places[i];
		int64_t limit_ms = p->is_asking ? ANSWER_MS : REQUEST_MS;

		if (is_kept(p) && h->now_ms - p->since_ms > limit_ms)
			end_connection(p);
	}
}

static struct place *
free_place(struct http *h)
{
	for (size_t i = 0; i < LIMIT; i++) {
		if (h->places[i].connection == NULL)
			return &h->places[i];
	}
	return NULL; /* cannot be: libmicrohttpd takes no more than LIMIT */
}

static void
take_connection(struct http *h, struct MHD_Connection *connection, void **context)
{
	const union MHD_ConnectionInfo *info =
	    MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct place *p;

	make_room(h);
	p = free_place(h);
	*context = p;
	if (p != NULL && info != NULL)
		*p = (struct place){.connection = connection,
		    .fd = info->connect_fd,
		    .since_ms = h->now_ms};
}

/* libmicrohttpd calls: a connection has begun, or is about to be closed. */
static void
notify_connection(void *cls, struct MHD_Connection *connection, void **context,
    enum MHD_ConnectionNotificationCode code)
{
	struct place *p = *context;

	if (code == MHD_CONNECTION_NOTIFY_STARTED)
		take_connection(cls, connection, context);
	else if (p != NULL)
		*p = (struct place){.connection = NULL};
}

static struct place *
place_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
	    MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info == NULL ? NULL : info->socket_context;
}

/* libmicrohttpd calls: an answer is gone, or never will be. */
static void
notify_completed(void *cls, struct MHD_Connection *connection, void **context,
    enum MHD_RequestTerminationCode code)
{
	const struct http *h = cls;
	struct place *p = place_of(connection);

	(void)context;
	(void)code;
	if (p == NULL)
		return;
	p->is_asking = false;
	p->sending_bytes = 0;
	p->since_ms = h->now_ms;
}

/* ---- answers ---- */

static size_t
count_sending(const struct http *h)
{
	size_t sum = 0;

	for (size_t i = 0; i < LIMIT; i++)
		sum += h->places[i].sending_bytes;
	return sum;
}

static bool
add_headers(struct MHD_Response *r, const struct http_answer *answer, const char *allow)
{
	const char *const headers[][2] = {
	    {MHD_HTTP_HEADER_CONTENT_TYPE, answer->content_type},
	    {MHD_HTTP_HEADER_CACHE_CONTROL, "no-store"},
	    {"X-Content-Type-Options", "nosniff"},
	    {"Referrer-Policy", "no-referrer"},
	    {"Content-Security-Policy",
		answer->policy[0] != '\0' ? answer->policy : NULL},
	    {MHD_HTTP_HEADER_ALLOW, allow},
	};

	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
		if (headers[i][1] != NULL &&
		    MHD_add_response_header(r, headers[i][0], headers[i][1]) != MHD_YES)
			return false;
	}
	return true;
}

/* Takes the body over. MHD_NO ends the connection. */
static enum MHD_Result
send_answer(
    struct MHD_Connection *connection, struct http_answer *answer, const char *allow)
{
	static char nothing[] = "";
	struct buffer *body = &answer->body;
	struct place *p = place_of(connection);
	struct MHD_Response *r;
	enum MHD_Result result = MHD_NO;

	if (body->data != NULL)
		r = MHD_create_response_from_buffer(
		    body->size, body->data, MHD_RESPMEM_MUST_FREE);
	else
		r = MHD_create_response_from_buffer(0, nothing, MHD_RESPMEM_PERSISTENT);
	if (r == NULL) {
		buffer_fini(body);
		return MHD_NO;
	}
	if (p != NULL)
		p->sending_bytes = body->capacity;
	*body = (struct buffer){0}; /* it goes with r */
	if (add_headers(r, answer, allow))
		result = MHD_queue_response(connection, answer->status, r);
	MHD_destroy_response(r); /* when it is sent */
	return result;
}

static enum MHD_Result
send_words(struct MHD_Connection *connection, unsigned status, const char *words,
    const char *allow)
{
	struct http_answer answer = {
	    .status = status, .content_type = "text/plain; charset=utf-8"};

	if (buffer_append_str(&answer.body, words) != 0)
		return MHD_NO;
	return send_answer(connection, &answer, allow);
}

static enum MHD_Result
answer_path(struct http *h, struct MHD_Connection *connection, const char *path)
{
	struct http_answer answer = {0};
	int err;

	if (count_sending(h) > SENDING_MAX) {
		log_repeated(&h->full, h->now_ms, LOG_LEVEL_WARNING, LOG_CONNECTION,
		    "more than %zu MiB of HTTP answers wait to be taken: no more for "
		    "now",
		    SENDING_MAX >> 20);
		return send_words(connection, MHD_HTTP_SERVICE_UNAVAILABLE,
		    "busy: too much is being sent\n", NULL);
	}
	err = h->answer(h->context, path, &answer);
	if (err == 0)
		return send_answer(connection, &answer, NULL);
	buffer_fini(&answer.body);
	if (err == ERR_NOTFOUND)
		return send_words(
		    connection, MHD_HTTP_NOT_FOUND, "there is nothing here\n", NULL);
	return send_words(
	    connection, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory\n", NULL);
}

/* ---- requests ---- */

static bool
has_body(struct MHD_Connection *connection)
{
	const char *length = MHD_lookup_connection_value(
	    connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);

	return (length != NULL && strcmp(length, "0") != 0) ||
	       MHD_lookup_connection_value(connection, MHD_HEADER_KIND,
		   MHD_HTTP_HEADER_TRANSFER_ENCODING) != NULL;
}

/* libmicrohttpd calls: first with the head of a request, then once all of it is there. */
static enum MHD_Result
take_request(void *cls, struct MHD_Connection *connection, const char *url,
    const char *method, const char *version, const char *data, size_t *data_size,
    void **context)
{
	struct http *h = cls;
	struct place *p = place_of(connection);
	bool is_head = *context == NULL;

	(void)version;
	(void)data;
	*context = h;
	if (p == NULL || p->is_ending || *data_size != 0)
		return MHD_NO;
	if (is_head && strcmp(method, MHD_HTTP_METHOD_GET) != 0 &&
	    strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		return send_words(connection, MHD_HTTP_METHOD_NOT_ALLOWED,
		    "there is only GET and HEAD\n", "GET, HEAD");
	/* Answered now, it is not waited for. */
	if (is_head && has_body(connection))
		return send_words(connection, MHD_HTTP_BAD_REQUEST,
		    "a request has no body here\n", NULL);
	if (is_head)
		return MHD_YES;
	p->is_asking = true;
	p->since_ms = h->now_ms;
	return answer_path(h, connection, url);
}

/* ---- from the beginning to the end ---- */

/* libmicrohttpd calls. It tells of what clients do wrong, which is no news. */
__attribute__((format(printf, 2, 0))) static void
log_message(void *cls, const char *format, va_list args)
{
	char text[256];

	(void)cls;
	(void)vsnprintf(text, sizeof(text), format, args);
	text[strcspn(text, "\n")] = '\0';
	log_debug(LOG_CONNECTION, "HTTP: %s", text);
}

static struct MHD_Daemon *
start_daemon(struct http *h, int listen_fd)
{
	return MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_ERROR_LOG, 0, NULL, NULL,
	    take_request, h, MHD_OPTION_EXTERNAL_LOGGER, log_message, NULL,
	    MHD_OPTION_LISTEN_SOCKET, listen_fd, MHD_OPTION_CONNECTION_LIMIT,
	    (unsigned)LIMIT, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S,
	    MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)REQUEST_BYTES,
	    MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_NOTIFY_CONNECTION,
	    notify_connection, h, MHD_OPTION_NOTIFY_COMPLETED, notify_completed, h,
	    MHD_OPTION_END);
}

int
http_open(
    struct http **out, const char *listen, http_answer_path *answer, void *context)
{
	const union MHD_DaemonInfo *info = NULL;
	struct http *h = calloc(1, sizeof(*h));
	int listen_fd;
	int err = h == NULL ? ERR_NOMEM : listen_open(&listen_fd, listen);

	*out = NULL;
	if (err != 0)
		goto fail;
	h->answer = answer;
	h->context = context;
	h->daemon = start_daemon(h, listen_fd); /* owns listen_fd, come what may */
	if (h->daemon != NULL)
		info = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	if (info == NULL) {
		log_error(LOG_LIFECYCLE, "the HTTP server cannot be started");
		err = ERR_IO;
		goto fail;
	}
	h->epoll_fd = info->epoll_fd;
	*out = h;
	return 0;

fail:
	http_close(h);
	return err;
}

int
http_fd(const struct http *h)
{
	return h->epoll_fd;
}

int
http_timeout_ms(const struct http *h)
{
	MHD_UNSIGNED_LONG_LONG ms = 0;

	/* Not for long either way: what is slow is looked for by time. */
	if (MHD_get_timeout(h->daemon, &ms) != MHD_YES || ms > LONGEST_MS)
		return LONGEST_MS;
	return (int)ms;
}

void
http_run(struct http *h, int64_t now_ms)
{
	h->now_ms = now_ms;
	end_slow(h);
	(void)MHD_run(h->daemon); /* fails only for a daemon with threads */
}

void
http_close(struct http *h)
{
	if (h == NULL)
		return;
	if (h->daemon != NULL)
		MHD_stop_daemon(h->daemon);
	free(h);
}
