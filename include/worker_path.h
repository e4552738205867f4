/* SPDX-License-Identifier: Apache-2.0 */
/* Where the workers are, for who starts one. */
#ifndef WORKER_PATH_H
#define WORKER_PATH_H

#include <limits.h>

/*
 * The directory with the workers: that of this program, as in a build tree, or else
 * where they were installed. Borrowed: buffer, or static.
 */
const char *worker_directory(char buffer[PATH_MAX]);

#endif
