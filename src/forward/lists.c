/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists by route, out of what the matcher says by record: the pairs of both are gathered
 * first, then sorted by counting, so that the cost has the number of pairs and of routes
 * for a bound, and not their product. A list has 4 bytes for each delivery that is owed.
 */
#include "lists.h"

#include <stdlib.h>
#include <string.h>

#include "err.h"

int
lists_init(struct lists *l, size_t list_count)
{
	*l = (struct lists){.ends = calloc(list_count, sizeof(*l->ends))};
	return l->ends == NULL ? ERR_NOMEM : 0;
}

void
lists_fini(struct lists *l)
{
	free(l->records);
	free(l->ends);
	*l = (struct lists){0};
}

void
lister_begin(struct lister *m)
{
	m->pair_count = 0;
}

static int
add_pair(struct lister *m, uint32_t route, uint32_t record)
{
	if (m->pair_count == m->pair_capacity) {
		size_t capacity = m->pair_capacity == 0 ? 1024 : m->pair_capacity * 2;
		struct pair *p = realloc(m->pairs, capacity * sizeof(*p));

		if (p == NULL)
			return ERR_NOMEM;
		m->pairs = p;
		m->pair_capacity = capacity;
	}
	m->pairs[m->pair_count++] = (struct pair){route, record};
	return 0;
}

/* The route of that name, or the number behind the last. */
static uint32_t
find_route(const struct lister *m, struct bytes name)
{
	uint32_t i;

	for (i = 0; i + 1 < m->list_count; i++) {
		if (strlen(m->names[i]) == name.size &&
		    memcmp(m->names[i], name.data, name.size) == 0)
			break;
	}
	return i;
}

int
lister_add(struct lister *m, uint32_t number, const struct record *r)
{
	const uint32_t *routes;
	size_t count;
	int err = 0;

	if (r->route.data != NULL)
		return add_pair(m, find_route(m, r->route), number);
	topic_matcher_match(m->matcher, r->topic, &routes, &count);
	for (size_t i = 0; i < count && err == 0; i++)
		err = add_pair(m, routes[i], number);
	if (count == 0)
		err = add_pair(m, (uint32_t)m->list_count - 1, number);
	return err;
}

int
lister_end(struct lister *m, struct lists *l, bool *is_all_routed)
{
	uint32_t sum = 0;

	if (m->pair_count > l->capacity) {
		uint32_t *records =
		    realloc(l->records, m->pair_count * sizeof(*records));

		if (records == NULL)
			return ERR_NOMEM;
		l->records = records;
		l->capacity = m->pair_count;
	}
	for (size_t i = 0; i < m->list_count; i++)
		l->ends[i] = 0;
	for (size_t i = 0; i < m->pair_count; i++)
		l->ends[m->pairs[i].route]++;
	*is_all_routed = l->ends[m->list_count - 1] == 0;
	/* First where each list begins; it moves to its end as the list is filled. */
	for (size_t i = 0; i < m->list_count; i++) {
		uint32_t count = l->ends[i];

		l->ends[i] = sum;
		sum += count;
	}
	for (size_t i = 0; i < m->pair_count; i++)
		l->records[l->ends[m->pairs[i].route]++] = m->pairs[i].record;
	return 0;
}

void
lister_fini(struct lister *m)
{
	free(m->pairs);
	*m = (struct lister){0};
}
