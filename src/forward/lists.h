/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For each route the records of a run that it matches, and one list more for those that
 * none matches. A record that is bound to a route (a requeued dead letter) is in the list
 * of that route alone, whatever its topic; without such a route, in the last. Part of
 * readahead.
 */
#ifndef LISTS_H
#define LISTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "record.h"
#include "topic_matcher.h"

/* A route matches a record. */
struct pair {
	uint32_t route;
	uint32_t record;
};

/* What makes lists; its room is used again. */
struct lister {
	struct topic_matcher *matcher; /* borrowed; the owners are routes, by number */
	const char *const *names;      /* borrowed; of the routes */
	size_t list_count;             /* one more than routes */
	struct pair *pairs;            /* by record */
	size_t pair_count;
	size_t pair_capacity;
};

struct lists {
	uint32_t *records; /* numbers in the run: the lists, one behind another */
	size_t capacity;
	uint32_t *ends; /* of each list, in records */
};

/* Errors: ERR_NOMEM. */
int lists_init(struct lists *l, size_t list_count);
void lists_fini(struct lists *l);

/* Lists are made by lister_begin(), lister_add() for each record in turn, lister_end(). */
void lister_begin(struct lister *m);

/* Match one record. Errors: ERR_NOMEM. */
int lister_add(struct lister *m, uint32_t number, const struct record *r);

/* is_all_routed: out, each record has a route. Errors: ERR_NOMEM. */
int lister_end(struct lister *m, struct lists *l, bool *is_all_routed);

void lister_fini(struct lister *m);

#endif
