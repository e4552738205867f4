/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The latest events: a ring of lines for each writer, in shared memory.
 *
 * Invariant: a slot whose turn is odd is being written, or its writer died at it, and is
 * not read. A writer counts up only once the slot is whole, so that whoever comes after
 * one that died writes to the same slot. The contents go word by word through relaxed
 * atomics, as on the board: a reader that loses the race has read nonsense, which it
 * throws away, and no more.
 *
 * Failure modes: no memory for it: whoever opens it says so. Memory that was spoilt is
 * left out, or shows lines that nobody wrote; it never leads out of the map.
 */
#include "events.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err.h"
#include "log.h"
#include "text.h"

#define MAGIC  0x54474556u /* "TGEV" */
#define LAYOUT 1
#define SLOTS  1024u /* a power of two: counts may overflow. More than EVENTS_MAX */

/* What is in a slot. */
struct line {
	uint32_t number; /* of its writer's lines */
	uint32_t size;
	int64_t real_ms;
	char text[EVENTS_LINE_BYTES];
};

#define WORDS (sizeof(struct line) / sizeof(uint32_t))

static_assert(sizeof(struct line) % sizeof(uint32_t) == 0, "whole words");
static_assert(SLOTS > EVENTS_MAX, "what is read is not what is written next");

struct ring {
	_Atomic uint32_t count; /* lines so far */
	struct slot {
		_Atomic uint32_t turn; /* 0: never written */
		_Atomic uint32_t words[WORDS];
	} slots[SLOTS];
};

struct memory {
	uint32_t magic, version, size;
	struct ring rings[EVENTS_WRITER_COUNT];
};

struct events {
	struct memory *memory;
};

/* ---- from the beginning to the end ---- */

int
events_make(int *fd)
{
	const struct memory *m = NULL;
	const uint32_t header[] = {MAGIC, LAYOUT, sizeof(*m)};
	int memfd = memfd_create("tidegate-events", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	/* Sealed, so that touching it never meets an end that has moved (SIGBUS). */
	if (memfd < 0 || ftruncate(memfd, (off_t)sizeof(*m)) != 0 ||
	    pwrite(memfd, header, sizeof(header), 0) != (ssize_t)sizeof(header) ||
	    fcntl(memfd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0) {
		log_error(LOG_LIFECYCLE, "no memory for events: %s", strerror(errno));
		if (memfd >= 0)
			(void)close(memfd);
		return ERR_IO;
	}
	*fd = memfd;
	return 0;
}

/* Maps it. Errors: as events_open(). */
static int
map_events(struct memory **out, int fd)
{
	struct stat st;
	struct memory *m;

	if (fstat(fd, &st) != 0) {
		log_error(LOG_LIFECYCLE, "the events: %s", strerror(errno));
		return ERR_IO;
	}
	if (st.st_size != (off_t)sizeof(*m))
		goto other;
	m = mmap(NULL, sizeof(*m), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (m == MAP_FAILED) {
		log_error(LOG_LIFECYCLE, "the events: %s", strerror(errno));
		return ERR_IO;
	}
	if (m->magic == MAGIC && m->version == LAYOUT && m->size == sizeof(*m)) {
		*out = m;
		return 0;
	}
	(void)munmap(m, sizeof(*m));
other:
	log_error(LOG_LIFECYCLE, "tidegated is of another version: start it again");
	return ERR_VERSION;
}

int
events_open(struct events **out, int fd)
{
	struct events *e = calloc(1, sizeof(*e));
	int err;

	*out = NULL;
	if (e == NULL)
		return ERR_NOMEM;
	err = map_events(&e->memory, fd);
	if (err == 0)
		*out = e;
	else
		free(e);
	return err;
}

void
events_close(struct events *e)
{
	if (e == NULL)
		return;
	(void)munmap(e->memory, sizeof(*e->memory));
	free(e);
}

/* ---- writing ---- */

void
events_put(struct events *e, enum events_writer writer, int64_t real_ms,
    const char *line, size_t size)
{
	struct ring *r = &e->memory->rings[writer];
	uint32_t count = atomic_load_explicit(&r->count, memory_order_relaxed);
	struct slot *slot = &r->slots[count % SLOTS];
	uint32_t turn = atomic_load_explicit(&slot->turn, memory_order_relaxed) | 1;
	struct line in = {.number = count, .size = (uint32_t)size, .real_ms = real_ms};
	uint32_t words[WORDS];

	if (size > EVENTS_LINE_BYTES)
		return;
	memcpy(in.text, line, size);
	memcpy(words, &in, sizeof(in));
	atomic_store_explicit(&slot->turn, turn, memory_order_relaxed);
	/* Nothing of the line may be seen by who still sees the turn before. */
	atomic_thread_fence(memory_order_release);
	for (size_t i = 0; i < WORDS; i++)
		atomic_store_explicit(&slot->words[i], words[i], memory_order_relaxed);
	/* 0 means never: not after 2^32 turns either. */
	atomic_store_explicit(
	    &slot->turn, turn + 1 == 0 ? 2 : turn + 1, memory_order_release);
	atomic_store_explicit(&r->count, count + 1, memory_order_release);
}

/* ---- reading ---- */

/* Goes from the newest line of a ring to the oldest. */
struct cursor {
	struct ring *ring;
	uint32_t next, left; /* number of the line to be read next, and how many */
	bool has_line;
	struct line line;
};

/* Is it there, whole, and the one that is meant? */
static bool
read_slot(struct slot *slot, uint32_t number, struct line *out)
{
	uint32_t turn = atomic_load_explicit(&slot->turn, memory_order_acquire);
	uint32_t words[WORDS];

	if (turn == 0 || (turn & 1) != 0)
		return false;
	for (size_t i = 0; i < WORDS; i++)
		words[i] = atomic_load_explicit(&slot->words[i], memory_order_relaxed);
	atomic_thread_fence(memory_order_acquire);
	if (atomic_load_explicit(&slot->turn, memory_order_relaxed) != turn)
		return false;
	memcpy(out, words, sizeof(*out));
	return out->number == number;
}

/* What it should be: one line of text, in UTF-8. */
static bool
is_text(const struct line *line)
{
	if (line->size == 0 || line->size > EVENTS_LINE_BYTES)
		return false;
	for (size_t i = 0; i < line->size; i++) {
		if ((unsigned char)line->text[i] < ' ')
			return false;
	}
	return text_is_utf8(line->text, line->size);
}

static void
advance(struct cursor *c)
{
	c->has_line = false;
	while (c->left > 0 && !c->has_line) {
		struct slot *slot = &c->ring->slots[c->next % SLOTS];

		c->has_line = read_slot(slot, c->next, &c->line) && is_text(&c->line);
		c->next--;
		c->left--;
	}
}

static void
start(struct cursor *c, struct ring *ring)
{
	uint32_t count = atomic_load_explicit(&ring->count, memory_order_acquire);

	c->ring = ring;
	c->next = count - 1;
	c->left = EVENTS_MAX;
	advance(c);
}

/* The one with the latest line; NULL: there are no further ones. */
static struct cursor *
latest(struct cursor cursors[EVENTS_WRITER_COUNT])
{
	struct cursor *found = NULL;

	for (size_t i = 0; i < EVENTS_WRITER_COUNT; i++) {
		if (cursors[i].has_line &&
		    (found == NULL || cursors[i].line.real_ms > found->line.real_ms))
			found = &cursors[i];
	}
	return found;
}

/*
 * Gathers the lines, the newest first, with the ends of each in ends[]. Lines of one
 * writer stay in its order, also where the clock was set back. Errors: ERR_NOMEM.
 */
static int
gather(const struct events *e, size_t max, struct buffer *lines, size_t ends[],
    size_t *count)
{
	struct cursor cursors[EVENTS_WRITER_COUNT];
	struct cursor *c;
	int err = 0;

	for (size_t i = 0; i < EVENTS_WRITER_COUNT; i++)
		start(&cursors[i], &e->memory->rings[i]);
	c = latest(cursors);
	for (; err == 0 && c != NULL && *count < max; c = latest(cursors)) {
		err = buffer_append(lines, c->line.text, c->line.size);
		if (err == 0)
			err = buffer_append(lines, "\n", 1);
		ends[(*count)++] = lines->size;
		advance(c);
	}
	return err;
}

int
events_read(const struct events *e, size_t max, struct buffer *out)
{
	size_t ends[EVENTS_MAX];
	struct buffer lines = {0};
	size_t count = 0;
	int err;

	if (e == NULL)
		return 0;
	err = gather(e, max < EVENTS_MAX ? max : EVENTS_MAX, &lines, ends, &count);
	if (err == 0)
		err = buffer_reserve(out, lines.size);
	while (err == 0 && count > 0) {
		size_t from = count > 1 ? ends[count - 2] : 0;

		err = buffer_append(out, lines.data + from, ends[count - 1] - from);
		count--;
	}
	buffer_fini(&lines);
	return err;
}
