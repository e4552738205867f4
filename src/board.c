/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The board: figures in shared memory; layout and rules are in board.h.
 *
 * Invariant: copy number turn & 1 of a part is whole; the other one is being written,
 * or was before it. The contents go word by word through relaxed atomics, so that a
 * reader that loses the race has read nonsense, which it throws away, and no more.
 *
 * Failure modes: no memory for it: whoever opens it says so and does not start. A
 * writer that dies leaves its earlier copy.
 */
#include "board.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err.h"
#include "log.h"

#define MAGIC      0x54474244u /* "TGBD" */
#define READ_TRIES 1000000     /* far more than any writer can win in a row */

typedef char board_words_are_lock_free[ATOMIC_INT_LOCK_FREE == 2 ? 1 : -1];

#define WORDS(type) (sizeof(type) / sizeof(uint32_t))

static_assert(sizeof(struct board_supervisor) % sizeof(uint32_t) == 0, "whole words");
static_assert(sizeof(struct board_ingest) % sizeof(uint32_t) == 0, "whole words");
static_assert(sizeof(struct board_forward) % sizeof(uint32_t) == 0, "whole words");
static_assert(sizeof(struct board_route) % sizeof(uint32_t) == 0, "whole words");

struct memory {
	uint32_t magic, version, size;
	_Atomic uint32_t supervisor_turn, ingest_turn, forward_turn;
	_Atomic uint32_t supervisor[2][WORDS(struct board_supervisor)];
	_Atomic uint32_t ingest[2][WORDS(struct board_ingest)];
	_Atomic uint32_t forward[2][WORDS(struct board_forward)];
	_Atomic uint32_t routes[2][BOARD_ROUTES_MAX][WORDS(struct board_route)];
};

struct board {
	struct memory *memory;
};

/* ---- words ---- */

static void
put_words(_Atomic uint32_t *to, const void *from, size_t size)
{
	const unsigned char *bytes = from;
	uint32_t word;

	for (size_t i = 0; i < size / sizeof(word); i++) {
		memcpy(&word, bytes + i * sizeof(word), sizeof(word));
		atomic_store_explicit(&to[i], word, memory_order_relaxed);
	}
}

static void
get_words(void *to, _Atomic uint32_t *from, size_t size)
{
	unsigned char *bytes = to;
	uint32_t word;

	for (size_t i = 0; i < size / sizeof(word); i++) {
		word = atomic_load_explicit(&from[i], memory_order_relaxed);
		memcpy(bytes + i * sizeof(word), &word, sizeof(word));
	}
}

/* Returns the number of the copy to be filled. */
static unsigned
begin_write(_Atomic uint32_t *turn)
{
	unsigned next = atomic_load_explicit(turn, memory_order_relaxed) + 1;

	/* Nothing of the copy may be seen by who still sees the turn before the last. */
	atomic_thread_fence(memory_order_release);
	return next & 1;
}

static void
end_write(_Atomic uint32_t *turn)
{
	uint32_t next = atomic_load_explicit(turn, memory_order_relaxed) + 1;

	/* 0 means that nobody has written: not after 2^32 times either. */
	atomic_store_explicit(turn, next == 0 ? 2 : next, memory_order_release);
}

static bool
has_moved(_Atomic uint32_t *turn, uint32_t seen)
{
	atomic_thread_fence(memory_order_acquire);
	return atomic_load_explicit(turn, memory_order_relaxed) != seen;
}

/* ---- from the beginning to the end ---- */

int
board_make(int *fd)
{
	const struct memory header = {
	    .magic = MAGIC, .version = BOARD_VERSION, .size = sizeof(struct memory)};
	size_t size = offsetof(struct memory, supervisor_turn);
	int memfd = memfd_create("tidegate-board", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	/* Sealed, so that touching it never meets an end that has moved (SIGBUS). */
	if (memfd < 0 || ftruncate(memfd, (off_t)sizeof(struct memory)) != 0 ||
	    pwrite(memfd, &header, size, 0) != (ssize_t)size ||
	    fcntl(memfd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0) {
		log_error(LOG_LIFECYCLE, "no memory for figures: %s", strerror(errno));
		if (memfd >= 0)
			(void)close(memfd);
		return ERR_IO;
	}
	*fd = memfd;
	return 0;
}

/* Maps it. Errors: as board_open(). */
static int
map_board(struct memory **out, int fd, int protection)
{
	struct stat st;
	struct memory *m;

	if (fstat(fd, &st) != 0) {
		log_error(LOG_LIFECYCLE, "the board: %s", strerror(errno));
		return ERR_IO;
	}
	if (st.st_size != (off_t)sizeof(*m)) {
		log_error(
		    LOG_LIFECYCLE, "tidegated is of another version: start it again");
		return ERR_VERSION;
	}
	m = mmap(NULL, sizeof(*m), protection, MAP_SHARED, fd, 0);
	if (m == MAP_FAILED) {
		log_error(LOG_LIFECYCLE, "the board: %s", strerror(errno));
		return ERR_IO;
	}
	if (m->magic != MAGIC || m->version != BOARD_VERSION || m->size != sizeof(*m)) {
		log_error(
		    LOG_LIFECYCLE, "tidegated is of another version: start it again");
		(void)munmap(m, sizeof(*m));
		return ERR_VERSION;
	}
	*out = m;
	return 0;
}

static int
open_mapped(struct board **out, int fd, int protection)
{
	struct board *b = calloc(1, sizeof(*b));
	int err;

	*out = NULL;
	if (b == NULL)
		return ERR_NOMEM;
	err = map_board(&b->memory, fd, protection);
	if (err == 0)
		*out = b;
	else
		free(b);
	return err;
}

int
board_open(struct board **out, int fd)
{
	int own_fd = -1;
	int err = 0;

	*out = NULL;
	if (fd < 0)
		err = board_make(&own_fd);
	if (err == 0)
		err = open_mapped(out, fd < 0 ? own_fd : fd, PROT_READ | PROT_WRITE);
	if (own_fd >= 0)
		(void)close(own_fd); /* the map stays */
	return err;
}

int
board_open_to_look(struct board **out, int fd)
{
	return open_mapped(out, fd, PROT_READ);
}

void
board_close(struct board *b)
{
	if (b == NULL)
		return;
	(void)munmap(b->memory, sizeof(*b->memory));
	free(b);
}

/* ---- writing ---- */

void
board_write_supervisor(struct board *b, const struct board_supervisor *part)
{
	struct memory *m = b->memory;

	put_words(m->supervisor[begin_write(&m->supervisor_turn)], part, sizeof(*part));
	end_write(&m->supervisor_turn);
}

void
board_write_ingest(struct board *b, const struct board_ingest *part)
{
	struct memory *m = b->memory;

	put_words(m->ingest[begin_write(&m->ingest_turn)], part, sizeof(*part));
	end_write(&m->ingest_turn);
}

void
board_write_forward(struct board *b, const struct board_forward *part,
    const struct board_route routes[])
{
	struct board_forward copy = *part;
	struct memory *m = b->memory;
	unsigned at = begin_write(&m->forward_turn);

	if (copy.route_count > BOARD_ROUTES_MAX)
		copy.route_count = BOARD_ROUTES_MAX;
	put_words(m->forward[at], &copy, sizeof(copy));
	for (uint32_t i = 0; i < copy.route_count; i++)
		put_words(m->routes[at][i], &routes[i], sizeof(routes[i]));
	end_write(&m->forward_turn);
}

/* ---- reading ---- */

/* One try. Errors: ERR_NOMEM. */
static int
copy_forward(struct memory *m, unsigned at, struct board_view *view)
{
	struct board_route *routes;

	get_words(&view->forward, m->forward[at], sizeof(view->forward));
	/* They may be anything here, as long as it has not been looked at the turn. */
	if (view->forward.route_count > BOARD_ROUTES_MAX)
		view->forward.route_count = BOARD_ROUTES_MAX;
	if (view->forward.topic_count > BOARD_TOPICS_MAX)
		view->forward.topic_count = BOARD_TOPICS_MAX;
	if (view->forward.route_count == 0)
		return 0;
	routes = realloc(view->routes, view->forward.route_count * sizeof(*routes));
	if (routes == NULL) {
		view->forward.route_count = 0;
		return ERR_NOMEM;
	}
	view->routes = routes;
	for (uint32_t i = 0; i < view->forward.route_count; i++)
		get_words(&routes[i], m->routes[at][i], sizeof(routes[i]));
	return 0;
}

static int
look_at_forward(struct memory *m, struct board_view *view)
{
	int err = 0;

	for (int i = 0; i < READ_TRIES && err == 0; i++) {
		uint32_t turn =
		    atomic_load_explicit(&m->forward_turn, memory_order_acquire);

		if (turn != 0)
			err = copy_forward(m, turn & 1, view);
		view->has_forward = turn != 0;
		if (!has_moved(&m->forward_turn, turn))
			return err;
	}
	view->has_forward = false;
	view->forward.route_count = 0;
	return err;
}

/* Returns whether anybody has written it. */
static bool
look_at(_Atomic uint32_t *turn, _Atomic uint32_t *first, _Atomic uint32_t *second,
    void *part, size_t size)
{
	for (int i = 0; i < READ_TRIES; i++) {
		uint32_t seen = atomic_load_explicit(turn, memory_order_acquire);

		if (seen != 0)
			get_words(part, (seen & 1) == 0 ? first : second, size);
		if (!has_moved(turn, seen))
			return seen != 0;
	}
	return false;
}

int
board_look(const struct board *b, struct board_view *view)
{
	struct memory *m = b->memory;

	view->has_supervisor = look_at(&m->supervisor_turn, m->supervisor[0],
	    m->supervisor[1], &view->supervisor, sizeof(view->supervisor));
	view->has_ingest = look_at(&m->ingest_turn, m->ingest[0], m->ingest[1],
	    &view->ingest, sizeof(view->ingest));
	return look_at_forward(m, view);
}

void
board_view_fini(struct board_view *view)
{
	free(view->routes);
	*view = (struct board_view){0};
}
