/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One record alone for as long as a partition is not proven. Invariants: a partition
 * that is not proven has at most one admitted record out; all that are out were placed
 * among the same number of partitions.
 */
#include "partition_gate.h"

#include <stdlib.h>

void
partition_gate_fini(struct partition_gate *g)
{
	free(g->list);
	*g = (struct partition_gate){0};
}

static bool
make_room(struct partition_gate *g, int32_t count)
{
	struct gate_partition *list;

	if (count <= g->count)
		return true;
	list = realloc(g->list, (size_t)count * sizeof(*list));
	if (list == NULL)
		return false;
	for (int32_t i = g->count; i < count; i++)
		list[i] = (struct gate_partition){0};
	g->list = list;
	g->count = count;
	return true;
}

bool
partition_gate_admit(
    struct partition_gate *g, int32_t partition, int32_t count, int64_t now_ms)
{
	struct gate_partition *p;

	if (!make_room(g, count) || (g->out > 0 && g->among != count))
		return false;
	p = &g->list[partition];
	if (p->out == 0 && now_ms - p->reported_at_ms > PARTITION_GATE_IDLE_MS)
		p->is_proven = false;
	if (!p->is_proven && p->out > 0)
		return false;
	p->out++;
	g->out++;
	g->among = count;
	return true;
}

void
partition_gate_report(
    struct partition_gate *g, int32_t partition, bool is_delivered, int64_t now_ms)
{
	struct gate_partition *p;

	if (g->out > 0)
		g->out--;
	if (partition < 0 || !make_room(g, partition + 1))
		return;
	p = &g->list[partition];
	if (p->out > 0)
		p->out--;
	p->reported_at_ms = now_ms;
	if (is_delivered)
		p->is_proven = true;
}
