/* SPDX-License-Identifier: Apache-2.0 */
/* What tidegate-monitor answers at which path. */
#ifndef ANSWERS_H
#define ANSWERS_H

#include "http.h"
#include "view.h"

/* Errors: ERR_NOTFOUND, there is no such path; ERR_NOMEM. */
int answers_path(const struct view *v, const char *path, struct http_answer *answer);

#endif
