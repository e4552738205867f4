/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A trie of filter levels. A topic goes down all of its branches at once, level by
 * level: the nodes that are alive lie in a list, each gives way to its child of that
 * name and to its child for +. A node has one parent, so it is alive at most once in a
 * match, whatever the filters look like: the cost has the number of nodes for a bound,
 * and no stack grows with the topic.
 *
 * The children of all nodes share one hash table, keyed by parent and name: a thousand
 * siblings cost no more than one. Only filters are put into it, never topics.
 *
 * Invariant: whatever topic_matcher_match() needs has been allocated by
 * topic_matcher_add(), so that matching cannot fail.
 */
#include "topic_matcher.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "topic_filter.h"

#define ROOT        0
#define NONE        0 /* no node: the root is nobody's child; no link */
#define FIRST_EDGES 64
#define COUNT_MAX   ((size_t)UINT32_MAX / 4)
#define WORD_BITS   64

struct node {
	uint32_t any;   /* the child for + */
	uint32_t here;  /* owners of the filters that end here: the first link */
	uint32_t below; /* of those that go on with # */
	bool has_named; /* children in the table */
};

struct link {
	uint32_t owner;
	uint32_t next;
};

struct edge {
	uint32_t child; /* NONE: this place is free */
	uint32_t parent;
	uint32_t hash; /* of the name */
	uint32_t name_size;
	size_t name; /* where it begins in names */
};

struct topic_matcher {
	struct node *nodes; /* the root first */
	size_t node_count;
	size_t node_capacity;
	struct link *links; /* the first one is not used */
	size_t link_count;
	size_t link_capacity;
	struct edge *edges; /* a power of two, at most half of them taken */
	size_t edge_count;
	size_t edge_capacity;
	struct buffer names;

	/* For one match. */
	uint32_t *live;
	uint32_t *next_live;
	size_t live_capacity;
	uint64_t *marks; /* a bit for each owner; all clear between matches */
	size_t mark_words;
	size_t mark_first; /* words that are not clear */
	size_t mark_end;
	uint32_t *owners;
	size_t owner_capacity;
};

/* Room for one more in a list: the list, or NULL. */
static void *
grow(void *list, size_t count, size_t *capacity, size_t size)
{
	size_t wanted = *capacity == 0 ? 16 : *capacity * 2;
	void *grown;

	if (count < *capacity)
		return list;
	if (count >= COUNT_MAX)
		return NULL;
	grown = realloc(list, wanted * size);
	if (grown != NULL)
		*capacity = wanted;
	return grown;
}

static int
add_node(struct topic_matcher *m, uint32_t *out)
{
	struct node *nodes =
	    grow(m->nodes, m->node_count, &m->node_capacity, sizeof(*nodes));

	if (nodes == NULL)
		return ERR_NOMEM;
	m->nodes = nodes;
	*out = (uint32_t)m->node_count++;
	nodes[*out] = (struct node){0};
	return 0;
}

/* ---- levels ---- */

/* The level that begins at data: its size, up to the slash or the end. */
static size_t
level_size(const char *data, size_t left)
{
	const char *slash = memchr(data, '/', left);

	return slash == NULL ? left : (size_t)(slash - data);
}

/* FNV-1a. */
static uint32_t
hash_of(const char *name, size_t size)
{
	uint32_t hash = 2166136261U;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ (unsigned char)name[i]) * 16777619U;
	return hash;
}

/* Where the search for a child begins. */
static size_t
place_of(const struct topic_matcher *m, uint32_t parent, uint32_t hash)
{
	uint64_t mixed = ((uint64_t)parent << 32 | hash) * 0x9e3779b97f4a7c15U;

	return (size_t)(mixed >> 32) & (m->edge_capacity - 1);
}

/* The place in the table that has the child, or the free one where it would go. */
static struct edge *
find_edge(const struct topic_matcher *m, uint32_t parent, uint32_t hash,
    const char *name, size_t size)
{
	size_t i = place_of(m, parent, hash);

	for (;; i = (i + 1) & (m->edge_capacity - 1)) {
		struct edge *e = &m->edges[i];

		if (e->child == NONE ||
		    (e->parent == parent && e->hash == hash && e->name_size == size &&
			memcmp(m->names.data + e->name, name, size) == 0))
			return e;
	}
}

/* ---- adding ---- */

static int
grow_edges(struct topic_matcher *m)
{
	struct edge *old = m->edges;
	size_t count = m->edge_capacity;

	if (m->edge_count < count / 2)
		return 0;
	m->edges = calloc(count * 2, sizeof(*m->edges));
	if (m->edges == NULL) {
		m->edges = old;
		return ERR_NOMEM;
	}
	m->edge_capacity = count * 2;
	for (size_t i = 0; i < count; i++) {
		const char *name = (const char *)m->names.data + old[i].name;

		if (old[i].child != NONE)
			*find_edge(m, old[i].parent, old[i].hash, name,
			    old[i].name_size) = old[i];
	}
	free(old);
	return 0;
}

static int
add_named_child(struct topic_matcher *m, uint32_t parent, const char *name, size_t size,
    uint32_t *child)
{
	uint32_t hash = hash_of(name, size);
	struct edge made = {.parent = parent, .hash = hash, .name = m->names.size};
	struct edge *e;
	int err;

	/* An empty level has a name as well; so there is something to compare with. */
	err = buffer_reserve(&m->names, size + 1);
	if (err == 0)
		err = grow_edges(m);
	if (err != 0)
		return err;
	e = find_edge(m, parent, hash, name, size);
	if (e->child != NONE) {
		*child = e->child;
		return 0;
	}
	err = add_node(m, &made.child);
	if (err != 0)
		return err;
	made.name_size = (uint32_t)size;
	*e = made;
	m->edge_count++;
	m->nodes[parent].has_named = true;
	*child = made.child;
	return buffer_append(&m->names, name, size);
}

static int
add_child(struct topic_matcher *m, uint32_t parent, const char *name, size_t size,
    uint32_t *child)
{
	int err;

	if (size != 1 || name[0] != '+')
		return add_named_child(m, parent, name, size, child);
	if (m->nodes[parent].any == NONE) {
		uint32_t made;

		err = add_node(m, &made);
		if (err != 0)
			return err;
		m->nodes[parent].any = made;
	}
	*child = m->nodes[parent].any;
	return 0;
}

static int
add_link(struct topic_matcher *m, uint32_t node, bool is_below, uint32_t owner)
{
	uint32_t *first;
	struct link *links =
	    grow(m->links, m->link_count, &m->link_capacity, sizeof(*links));

	if (links == NULL)
		return ERR_NOMEM;
	m->links = links;
	first = is_below ? &m->nodes[node].below : &m->nodes[node].here;
	links[m->link_count] = (struct link){owner, *first};
	*first = (uint32_t)m->link_count++;
	return 0;
}

static int
resize(uint32_t **list, size_t count)
{
	uint32_t *grown = realloc(*list, count * sizeof(**list));

	if (grown == NULL)
		return ERR_NOMEM;
	*list = grown;
	return 0;
}

/* Whatever a match may need: see the invariant. */
static int
make_room(struct topic_matcher *m, uint32_t owner)
{
	size_t words = (size_t)owner / WORD_BITS + 1;

	if (m->live_capacity < m->node_capacity) {
		if (resize(&m->live, m->node_capacity) != 0 ||
		    resize(&m->next_live, m->node_capacity) != 0)
			return ERR_NOMEM;
		m->live_capacity = m->node_capacity;
	}
	if (m->owner_capacity < m->link_capacity) {
		if (resize(&m->owners, m->link_capacity) != 0)
			return ERR_NOMEM;
		m->owner_capacity = m->link_capacity;
	}
	if (m->mark_words < words) {
		uint64_t *marks = realloc(m->marks, words * sizeof(*marks));

		if (marks == NULL)
			return ERR_NOMEM;
		memset(
		    marks + m->mark_words, 0, (words - m->mark_words) * sizeof(*marks));
		m->marks = marks;
		m->mark_words = words;
	}
	return 0;
}

int
topic_matcher_open(struct topic_matcher **out)
{
	struct topic_matcher *m = calloc(1, sizeof(*m));
	uint32_t root;

	*out = NULL;
	if (m == NULL)
		return ERR_NOMEM;
	m->edges = calloc(FIRST_EDGES, sizeof(*m->edges));
	m->edge_capacity = FIRST_EDGES;
	m->link_count = 1; /* NONE is not used */
	if (m->edges == NULL || add_node(m, &root) != 0 || make_room(m, 0) != 0) {
		topic_matcher_close(m);
		return ERR_NOMEM;
	}
	*out = m;
	return 0;
}

void
topic_matcher_close(struct topic_matcher *m)
{
	if (m == NULL)
		return;
	free(m->nodes);
	free(m->links);
	free(m->edges);
	buffer_fini(&m->names);
	free(m->live);
	free(m->next_live);
	free(m->marks);
	free(m->owners);
	free(m);
}

int
topic_matcher_add(struct topic_matcher *m, const char *filter, uint32_t owner)
{
	const char *level = topic_filter_inner(filter);
	size_t left = level == NULL ? 0 : strlen(level);
	uint32_t node = ROOT;
	bool is_last = false, is_below = false;
	int err = 0;

	if (left == 0)
		return 0; /* nothing, or $share without a filter: no topic matches */
	while (err == 0 && !is_last && !is_below) {
		size_t size = level_size(level, left);

		is_last = size == left;
		is_below = size == 1 && level[0] == '#';
		if (!is_below)
			err = add_child(m, node, level, size, &node);
		level += is_last ? size : size + 1;
		left -= is_last ? size : size + 1;
	}
	if (err == 0)
		err = add_link(m, node, is_below, owner);
	if (err == 0)
		err = make_room(m, owner);
	return err;
}

/* ---- matching ---- */

static void
mark_owners(struct topic_matcher *m, uint32_t link)
{
	for (; link != NONE; link = m->links[link].next) {
		uint32_t owner = m->links[link].owner;
		size_t word = owner / WORD_BITS;

		m->marks[word] |= (uint64_t)1 << owner % WORD_BITS;
		if (word < m->mark_first)
			m->mark_first = word;
		if (word >= m->mark_end)
			m->mark_end = word + 1;
	}
}

/* The children of all that are alive take their places. */
static size_t
go_down(struct topic_matcher *m, size_t count, const char *level, size_t size,
    bool is_wild_allowed)
{
	uint32_t *swapped = m->live;
	uint32_t hash = 0;
	bool is_hashed = false;
	size_t next_count = 0;

	for (size_t i = 0; i < count; i++) {
		const struct node *n = &m->nodes[m->live[i]];

		if (n->any != NONE && is_wild_allowed)
			m->next_live[next_count++] = n->any;
		if (!n->has_named)
			continue;
		if (!is_hashed)
			hash = hash_of(level, size);
		is_hashed = true;
		m->next_live[next_count] =
		    find_edge(m, m->live[i], hash, level, size)->child;
		next_count += m->next_live[next_count] != NONE;
	}
	m->live = m->next_live;
	m->next_live = swapped;
	return next_count;
}

/* The marks as numbers; clears them. */
static size_t
collect_owners(struct topic_matcher *m)
{
	size_t count = 0;

	for (size_t word = m->mark_first; word < m->mark_end; word++) {
		uint64_t bits = m->marks[word];

		m->marks[word] = 0;
		for (; bits != 0; bits &= bits - 1)
			m->owners[count++] = (uint32_t)(word * WORD_BITS) +
					     (uint32_t)__builtin_ctzll(bits);
	}
	return count;
}

static void
walk(struct topic_matcher *m, const char *level, size_t left)
{
	bool is_wild_allowed = level[0] != '$';
	bool is_last = false;
	size_t count = 1;

	m->live[0] = ROOT;
	while (count > 0 && !is_last) {
		size_t size = level_size(level, left);

		for (size_t i = 0; i < count && is_wild_allowed; i++)
			mark_owners(m, m->nodes[m->live[i]].below);
		count = go_down(m, count, level, size, is_wild_allowed);
		is_wild_allowed = true; /* behind the first level */
		is_last = size == left;
		level += is_last ? size : size + 1;
		left -= is_last ? size : size + 1;
	}
	/* The topic ends here; a/# matches a as well. */
	for (size_t i = 0; i < count; i++) {
		mark_owners(m, m->nodes[m->live[i]].here);
		mark_owners(m, m->nodes[m->live[i]].below);
	}
}

void
topic_matcher_match(
    struct topic_matcher *m, struct bytes topic, const uint32_t **owners, size_t *count)
{
	m->mark_first = SIZE_MAX;
	m->mark_end = 0;
	if (topic.size > 0)
		walk(m, topic.data, topic.size);
	*count = collect_owners(m);
	*owners = m->owners;
}
