/* SPDX-License-Identifier: Apache-2.0 */
#include "tmpdir.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

int
tmpdir_setup(void **state)
{
	char template[] = "/tmp/tidegate-test-XXXXXX";
	char *dir = mkdtemp(template);

	*state = dir == NULL ? NULL : strdup(dir);
	return *state == NULL ? -1 : 0;
}

int
tmpdir_teardown(void **state)
{
	int rc = nftw(*state, remove_one, 8, FTW_DEPTH | FTW_PHYS);

	free(*state);
	return rc;
}
