/* SPDX-License-Identifier: Apache-2.0 */
/* How far a long read has come. */
#include "dump_progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "now.h"

#define FIRST_MS 1000
#define AGAIN_MS 250

void
dump_progress_begin(struct dump_progress *p, uint64_t first_seq, uint64_t end_seq)
{
	*p = (struct dump_progress){
	    .is_on = end_seq > first_seq && isatty(STDERR_FILENO) != 0,
	    .next_ms = now_monotonic_ms() + FIRST_MS,
	    .first_seq = first_seq,
	    .end_seq = end_seq,
	};
}

void
dump_progress_step(struct dump_progress *p, uint64_t seq)
{
	int64_t now_ms;
	double share;

	if (!p->is_on || seq < p->first_seq || seq > p->end_seq)
		return;
	now_ms = now_monotonic_ms();
	if (now_ms < p->next_ms)
		return;
	share = (double)(seq - p->first_seq) / (double)(p->end_seq - p->first_seq);
	/* Behind the text: clear what is left of a longer one. */
	(void)fprintf(stderr, "\r%" PRIu64 " of %" PRIu64 ", %.0f %%\033[K", seq - 1,
	    p->end_seq - 1, share * 100);
	p->next_ms = now_ms + AGAIN_MS;
	p->is_shown = true;
}

void
dump_progress_clear(struct dump_progress *p)
{
	if (p->is_shown)
		(void)fputs("\r\033[K", stderr);
	p->is_shown = false;
}
