/* SPDX-License-Identifier: Apache-2.0 */
/* sources: forward/position.c buffer.c err.c */
/*
 * Any bytes as a position, as somebody else may have put them into the topic. What is
 * taken is what comes out when it is written again.
 */
#include <stdlib.h>
#include <string.h>

#include "forward/position.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(int right)
{
	if (!right)
		abort();
}

static void
write_again(const struct position *p, struct buffer *out)
{
	check(position_begin(out, p->uuid, p->instance) == 0);
	for (size_t i = 0; i < p->route_count; i++)
		check(position_add(out, &p->routes[i]) == 0);
	check(position_end(out) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct position first = {0}, second = {0};
	struct buffer text = {0};

	if (position_parse(&first, (struct bytes){data, size}) != 0) {
		check(first.routes == NULL);
		return 0;
	}
	write_again(&first, &text);
	check(position_parse(&second, (struct bytes){text.data, text.size}) == 0);
	check(strcmp(first.uuid, second.uuid) == 0);
	check(strcmp(first.instance, second.instance) == 0);
	check(first.route_count == second.route_count);
	for (size_t i = 0; i < first.route_count; i++) {
		const struct position_route *a = &first.routes[i];
		const struct position_route *b = &second.routes[i];

		check(strcmp(a->name, b->name) == 0);
		check(memcmp(&a->last, &b->last, sizeof(a->last)) == 0);
		check(memcmp(&a->before, &b->before, sizeof(a->before)) == 0);
	}
	buffer_fini(&text);
	position_fini(&first);
	position_fini(&second);
	return 0;
}
