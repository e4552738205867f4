/* SPDX-License-Identifier: Apache-2.0 */
/* Copies of the journal: backup, compact, salvage. The journal does it; this tells. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "admin.h"
#include "worker.h"

static int
flush(void)
{
	return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILED;
}

int
admin_backup(const struct admin *a)
{
	const char *file = a->arguments[0];
	int rc = journal_backup(a->directory, file);

	if (rc != 0)
		return admin_fail("no backup was made", rc);
	(void)printf("%s: a copy of %s, with a UUID of its own\n", file, a->directory);
	return flush();
}

int
admin_compact(const struct admin *a)
{
	uint64_t before = 0, after = 0;
	int rc = journal_compact(a->directory, &before, &after);

	if (rc != 0)
		return admin_fail("nothing was changed", rc);
	(void)printf("%s: %" PRIu64 " bytes before, %" PRIu64 " bytes now\n",
	    a->directory, before, after);
	return flush();
}

int
admin_salvage(const struct admin *a)
{
	const char *into = a->arguments[0];
	struct journal_salvaged s = {0};
	int rc = journal_salvage(a->directory, into, &s);

	if (rc != 0)
		return admin_fail("nothing was saved", rc);
	(void)printf("%s: %" PRIu64 " records in %" PRIu64 " batches and %" PRIu64
		     " dead letters were saved\n",
	    into, s.records, s.batches, s.dead);
	if (s.lost_records > 0)
		(void)printf("%s: %" PRIu64 " records in %" PRIu64
			     " ranges are lost; gap markers tell which\n",
		    into, s.lost_records, s.lost_ranges);
	if (!s.has_tree)
		(void)printf("%s: how the pages belonged together was not to be seen "
			     "any more: it was put together by their contents\n",
		    into);
	return flush();
}
