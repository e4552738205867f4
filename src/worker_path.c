/* SPDX-License-Identifier: Apache-2.0 */
#include "worker_path.h"

#include <libgen.h>
#include <stdio.h>
#include <unistd.h>

const char *
worker_directory(char buffer[PATH_MAX])
{
	char probe[PATH_MAX + sizeof("/tidegate-ingest")];
	ssize_t length = readlink("/proc/self/exe", buffer, PATH_MAX - 1);

	if (length <= 0)
		return WORKERDIR;
	buffer[length] = '\0';
	(void)dirname(buffer);
	(void)snprintf(probe, sizeof(probe), "%s/tidegate-ingest", buffer);
	return access(probe, X_OK) == 0 ? buffer : WORKERDIR;
}
