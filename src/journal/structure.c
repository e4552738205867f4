/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verdict on a data.mdb, in words.
 *
 * Invariant: the file is only read. data.mdb may be opened and closed beside LMDB: its
 * lock is on lock.mdb alone.
 */
#include "structure.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "err.h"
#include "now.h"

static int
tell(const char *directory, const struct pages *p, int rc)
{
	switch (rc) {
	case ERR_CORRUPT:
		log_error(LOG_JOURNAL,
		    "%s: data.mdb is damaged: %s. It is left as it is; "
		    "\"tidegate-admin salvage\" saves what can be read of it",
		    directory, p->why);
		break;
	case ERR_VERSION:
		log_error(LOG_JOURNAL,
		    "%s: data.mdb cannot be used here: %s. It is left as it is",
		    directory, p->why);
		break;
	case ERR_IO:
		log_error(LOG_JOURNAL,
		    "%s: data.mdb cannot be read: %s. If the disk stays like that, "
		    "\"tidegate-admin salvage\" saves what can be read",
		    directory, p->why);
		break;
	default:
		break;
	}
	return rc;
}

int
structure_look(int dir_fd, const char *directory)
{
	struct pages p = {0};
	int fd = openat(dir_fd, "data.mdb", O_RDONLY | O_CLOEXEC);
	int rc;

	if (fd < 0) {
		if (errno == ENOENT)
			return ERR_OK;
		log_error(LOG_JOURNAL, "%s/data.mdb: %s", directory, strerror(errno));
		return ERR_IO;
	}
	rc = pages_look(&p, fd);
	(void)close(fd); /* only read from */
	return rc == ERR_NOTFOUND ? ERR_OK : tell(directory, &p, rc);
}

int
structure_check(int fd, const char *directory, size_t txn_id, enum pages_how how)
{
	struct pages p = {0};
	const struct pages_meta *meta = &p.metas[txn_id & 1];
	int rc = pages_look(&p, fd);

	if (rc == ERR_OK && meta->txn_id != txn_id)
		return ERR_NOTFOUND;
	if (rc == ERR_OK)
		rc = pages_check(&p, meta, how);
	return tell(directory, &p, rc);
}

int
structure_check_runs(int fd, const char *directory, const struct pages_range *range,
    struct log_repeat *repeat)
{
	struct pages p = {0};
	int rc = pages_look(&p, fd);

	if (rc == ERR_OK)
		rc = pages_check_runs(&p, pages_latest(&p), range);
	if (rc != ERR_OK && rc != ERR_NOMEM)
		log_repeated(repeat, now_monotonic_ms(), LOG_LEVEL_ERROR, LOG_JOURNAL,
		    "%s: data.mdb is damaged: %s. Nothing is deleted there; stop the "
		    "gateway: \"tidegate-admin salvage\" saves what can be read of it",
		    directory, p.why);
	return rc;
}
