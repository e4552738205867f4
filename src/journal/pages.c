/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of data.mdb: meta pages, pages, nodes. The trees are in pages_walk.c.
 *
 * Invariant: nothing is read beyond the end of the file, nor in a page beyond its end,
 * whatever the numbers in it say.
 *
 * Failure modes: another process may write a meta page while both are read: they are
 * read again until they fit together, for a moment.
 */
#include "pages.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err.h"
#include "now.h"
#include "pages_parts.h"

#define MAGIC         0xBEEFC0DEU
#define MAGIC_SWAPPED 0xDEC0EFBEU
#define DATA_VERSION  1
#define LEAST_BYTES   512
#define MOST_BYTES    32768
#define FREE_FLAGS    0x08   /* its keys are numbers */
#define FILE_FLAG     0x4000 /* the file had no directory of its own */
#define LOOK_ATTEMPTS 5
#define LOOK_PAUSE_MS 1
#define OTHER_WORD_AT (sizeof(size_t) == 8 ? 12 : 16) /* of the magic number there */
#define WORD_BITS     (8 * (int)sizeof(size_t))

int
pages_bad(struct pages *p, const char *format, ...)
{
	va_list args;

	if (p->why[0] == '\0') {
		va_start(args, format);
		(void)vsnprintf(p->why, sizeof(p->why), format, args);
		va_end(args);
	}
	return ERR_CORRUPT;
}

int
pages_read(const struct pages *p, uint64_t at, void *out, size_t bytes)
{
	size_t done = 0;

	if (at > p->file_bytes || bytes > p->file_bytes - at)
		return ERR_CORRUPT;
	while (done < bytes) {
		ssize_t n = pread(
		    p->fd, (uint8_t *)out + done, bytes - done, (off_t)(at + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return ERR_IO;
		if (n == 0)
			return ERR_CORRUPT; /* it has become shorter */
		done += (size_t)n;
	}
	return ERR_OK;
}

/* ---- meta pages ---- */

static uint32_t
word_at(const uint8_t *data, size_t at)
{
	uint32_t word;

	memcpy(&word, data + at, sizeof(word));
	return word;
}

/* Not of this machine? Then it is whole, perhaps, but for another one. */
static int
check_kind(struct pages *p, const uint8_t *first)
{
	uint32_t here = word_at(first, PAGES_HEADER_BYTES);
	uint32_t other = word_at(first, OTHER_WORD_AT);

	if (here == MAGIC_SWAPPED || other == MAGIC_SWAPPED) {
		(void)pages_bad(p, "it was made on a machine of another byte order");
		return ERR_VERSION;
	}
	if (other == MAGIC) {
		(void)pages_bad(p,
		    "it was made by a program of %d bits, this one has "
		    "%d",
		    96 - WORD_BITS, WORD_BITS);
		return ERR_VERSION;
	}
	return ERR_OK;
}

static bool
is_page_size(size_t bytes)
{
	return bytes >= LEAST_BYTES && bytes <= MOST_BYTES &&
	       (bytes & (bytes - 1)) == 0;
}

static int
check_db(struct pages *p, const struct pages_db *db, uint16_t flags, const char *name)
{
	bool is_empty = db->root == SIZE_MAX;

	if ((db->flags & ~FILE_FLAG) != flags)
		return pages_bad(p, "the record of %s has flags of another kind", name);
	if (db->depth > PAGES_DEPTH || is_empty != (db->depth == 0) ||
	    is_empty != (db->entries == 0))
		return pages_bad(p, "the record of %s contradicts itself", name);
	return ERR_OK;
}

static int
check_numbers(struct pages *p, const struct pages_meta *m)
{
	size_t page_bytes = m->free.pad;
	int rc;

	if (!is_page_size(page_bytes))
		return pages_bad(
		    p, "a meta page says that pages have %zu bytes", page_bytes);
	if (m->last_page < 1 || m->last_page >= SIZE_MAX / page_bytes - 1 ||
	    m->map_bytes > SIZE_MAX / 2)
		return pages_bad(p, "the numbers of a meta page make no sense");
	rc = check_db(p, &m->free, FREE_FLAGS, "the free list");
	return rc != ERR_OK ? rc : check_db(p, &m->main, 0, "the main tree");
}

/* One meta page, at that place. */
static int
look_at_meta(struct pages *p, int number, uint64_t at)
{
	uint8_t data[PAGES_HEADER_BYTES + sizeof(struct pages_meta)];
	struct pages_meta *m = &p->metas[number];
	struct pages_head head;
	int rc;

	rc = pages_read(p, at, data, sizeof(data));
	if (rc != ERR_OK) {
		(void)pages_bad(p, "meta page %d cannot be read", number);
		return rc;
	}
	rc = number == 0 ? check_kind(p, data) : ERR_OK;
	if (rc != ERR_OK)
		return rc;
	memcpy(m, data + PAGES_HEADER_BYTES, sizeof(*m));
	pages_head_get(data, &head);
	if (m->magic != MAGIC || head.flags != PAGES_META ||
	    head.number != (size_t)number)
		return pages_bad(p, "page %d is no meta page", number);
	if (m->version != DATA_VERSION) {
		(void)pages_bad(p, "LMDB's data format is version %u, known is %d",
		    (unsigned)m->version, DATA_VERSION);
		return ERR_VERSION;
	}
	rc = check_numbers(p, m);
	if (rc == ERR_OK)
		p->has_meta[number] = true;
	return rc;
}

const struct pages_meta *
pages_latest(const struct pages *p)
{
	if (!p->has_meta[0] || !p->has_meta[1])
		return &p->metas[p->has_meta[0] ? 0 : 1];
	return &p->metas[p->metas[0].txn_id < p->metas[1].txn_id];
}

/* Each commit goes to the page whose turn it is: so one is just behind the other. */
static int
check_together(struct pages *p)
{
	const struct pages_meta *latest = pages_latest(p);
	size_t a = p->metas[0].txn_id, b = p->metas[1].txn_id;

	if (p->metas[0].free.pad != p->metas[1].free.pad)
		return pages_bad(p, "the meta pages contradict each other");
	if ((a != 0 || b != 0) &&
	    ((a > b ? a - b : b - a) != 1 || latest != &p->metas[latest->txn_id & 1]))
		return pages_bad(p,
		    "the meta pages are of transactions %zu and %zu: a commit is lost",
		    a, b);
	if (p->file_bytes / p->page_bytes <= latest->last_page)
		return pages_bad(p,
		    "it has %llu bytes, but its pages need %llu: its end is lost",
		    (unsigned long long)p->file_bytes,
		    ((unsigned long long)latest->last_page + 1) * p->page_bytes);
	return ERR_OK;
}

/* The first page is no help: the second tells by its place how large pages are. */
static void
find_second(struct pages *p)
{
	struct pages_meta meta;
	size_t bytes;

	for (bytes = LEAST_BYTES; bytes <= MOST_BYTES; bytes *= 2) {
		if (look_at_meta(p, 1, bytes) == ERR_OK &&
		    p->metas[1].free.pad == bytes)
			break;
		p->has_meta[1] = false;
		p->metas[1] = meta = (struct pages_meta){0};
	}
	p->page_bytes = bytes <= MOST_BYTES ? bytes : (size_t)sysconf(_SC_PAGESIZE);
}

static int
look_once(struct pages *p)
{
	int fd = p->fd;
	struct stat st;
	int rc, rc2;

	*p = (struct pages){.fd = fd, .page_bytes = (size_t)sysconf(_SC_PAGESIZE)};
	if (fstat(fd, &st) != 0) {
		(void)pages_bad(p, "%s", strerror(errno));
		return ERR_IO;
	}
	p->file_bytes = (uint64_t)st.st_size;
	if (p->file_bytes == 0)
		return ERR_NOTFOUND;
	rc = look_at_meta(p, 0, 0);
	if (rc != ERR_OK) {
		find_second(p);
		/* If only one of them is of another kind, it was not made so. */
		return rc == ERR_VERSION && p->has_meta[1] ? ERR_CORRUPT : rc;
	}
	p->page_bytes = p->metas[0].free.pad;
	rc2 = look_at_meta(p, 1, p->page_bytes);
	if (rc2 == ERR_VERSION)
		rc2 = ERR_CORRUPT;
	return rc2 != ERR_OK ? rc2 : check_together(p);
}

int
pages_look(struct pages *p, int fd)
{
	int rc = ERR_CORRUPT;

	p->fd = fd;
	for (int i = 0; i < LOOK_ATTEMPTS && rc == ERR_CORRUPT; i++) {
		if (i > 0)
			now_pause_ms(LOOK_PAUSE_MS);
		rc = look_once(p);
	}
	return rc;
}

/* ---- pages and nodes ---- */

void
pages_head_get(const uint8_t *page, struct pages_head *head)
{
	size_t at = sizeof(size_t) + 2; /* a number that is not used is in between */

	memcpy(&head->number, page, sizeof(head->number));
	memcpy(&head->flags, page + at, 2);
	memcpy(&head->lower, page + at + 2, 2);
	memcpy(&head->upper, page + at + 4, 2);
	memcpy(&head->run_pages, page + at + 2, 4);
}

int
pages_head_check(struct pages *p, size_t number, const uint8_t *page, size_t *count)
{
	struct pages_head head;

	pages_head_get(page, &head);
	if (head.number != number)
		return pages_bad(
		    p, "page %zu says that it is page %zu", number, head.number);
	if (head.flags != PAGES_LEAF && head.flags != PAGES_BRANCH)
		return pages_bad(p, "page %zu is not of a tree (flags 0x%x)", number,
		    (unsigned)head.flags);
	if (head.lower < PAGES_HEADER_BYTES || head.lower > head.upper ||
	    head.upper > p->page_bytes || head.lower % 2 != 0)
		return pages_bad(p, "the bounds in page %zu make no sense", number);
	*count = (head.lower - PAGES_HEADER_BYTES) / 2;
	return ERR_OK;
}

/* The two halves of a number come in the machine's order, the flags behind them. */
static uint32_t
node_low(const uint8_t *node)
{
	uint32_t low;

	memcpy(&low, node, sizeof(low));
	return low;
}

static size_t
even(size_t n)
{
	return n + (n & 1);
}

int
pages_node_get(
    const struct pages *p, const uint8_t *page, size_t i, struct pages_node *node)
{
	struct pages_head head;
	uint16_t at, key_bytes;
	const uint8_t *data;
	size_t room;

	pages_head_get(page, &head);
	memcpy(&at, page + PAGES_HEADER_BYTES + 2 * i, 2);
	if (at < head.upper || at % 2 != 0 || (size_t)at + NODE_HEADER > p->page_bytes)
		return ERR_CORRUPT;
	data = page + at;
	memcpy(&node->flags, data + 4, 2);
	memcpy(&key_bytes, data + 6, 2);
	room = p->page_bytes - at - NODE_HEADER;
	if (key_bytes > room || key_bytes > PAGES_KEY_BYTES)
		return ERR_CORRUPT;
	node->at = at;
	node->key = (struct bytes){data + NODE_HEADER, key_bytes};
	node->value_at = (size_t)at + NODE_HEADER + key_bytes;
	node->child = 0;
	node->value_bytes = 0;
	if (head.flags == PAGES_BRANCH) {
		node->child = node_low(data);
		if (sizeof(size_t) > 4)
			node->child |= (size_t)((uint64_t)node->flags << 32);
		node->bytes = even(NODE_HEADER + key_bytes);
		return node->at + node->bytes <= p->page_bytes ? ERR_OK : ERR_CORRUPT;
	}
	node->value_bytes = node_low(data);
	room -= key_bytes;
	if ((node->flags & PAGES_NODE_BIG) != 0) {
		if (room < sizeof(size_t))
			return ERR_CORRUPT;
		memcpy(&node->child, page + node->value_at, sizeof(size_t));
		room = sizeof(size_t);
	} else if (node->value_bytes > room) {
		return ERR_CORRUPT;
	} else {
		room = node->value_bytes;
	}
	node->bytes = even(NODE_HEADER + key_bytes + room);
	return node->at + node->bytes <= p->page_bytes ? ERR_OK : ERR_CORRUPT;
}

size_t
pages_of_run(const struct pages *p, size_t value_bytes)
{
	return (PAGES_HEADER_BYTES - 1 + value_bytes) / p->page_bytes + 1;
}

int
pages_run_get(
    struct pages *p, const char *name, const struct pages_node *node, size_t *pages)
{
	uint8_t data[PAGES_HEADER_BYTES];
	struct pages_head head;
	int rc =
	    pages_read(p, (uint64_t)node->child * p->page_bytes, data, sizeof(data));

	if (rc != ERR_OK) {
		(void)pages_bad(p, "page %zu of %s cannot be read", node->child, name);
		return rc;
	}
	pages_head_get(data, &head);
	if (head.number != node->child || head.flags != PAGES_OVERFLOW ||
	    head.run_pages < pages_of_run(p, node->value_bytes))
		return pages_bad(
		    p, "page %zu of %s is not the first of a value", node->child, name);
	*pages = head.run_pages;
	return ERR_OK;
}

/* Where a node's value lies. */
int
pages_node_place(const struct pages *p, size_t number, const struct pages_node *node,
    struct pages_place *place)
{
	place->bytes = node->value_bytes;
	if ((node->flags & PAGES_NODE_BIG) == 0) {
		place->at = (uint64_t)number * p->page_bytes + node->value_at;
		return ERR_OK;
	}
	if (node->child < 2 ||
	    node->child > (p->file_bytes - PAGES_HEADER_BYTES) / p->page_bytes)
		return ERR_CORRUPT;
	place->at = (uint64_t)node->child * p->page_bytes + PAGES_HEADER_BYTES;
	return place->at <= p->file_bytes && place->bytes <= p->file_bytes - place->at
		   ? ERR_OK
		   : ERR_CORRUPT;
}

int
pages_visit_leaf(
    struct pages *p, size_t number, void *page, pages_visit *visit, void *context)
{
	struct pages_head head;
	size_t count;
	int rc = ERR_OK;

	pages_head_get(page, &head);
	if (head.flags != PAGES_LEAF ||
	    pages_head_check(p, number, page, &count) != ERR_OK)
		return ERR_NOTFOUND;
	for (size_t i = 0; rc == ERR_OK && i < count; i++) {
		struct pages_place place;
		struct pages_node node;

		if (pages_node_get(p, page, i, &node) == ERR_OK &&
		    pages_node_place(p, number, &node, &place) == ERR_OK)
			rc = visit(context, node.key, &place);
	}
	return rc;
}
