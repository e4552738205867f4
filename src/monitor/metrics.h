/* SPDX-License-Identifier: Apache-2.0 */
/* The figures in Prometheus' text format, version 0.0.4; names as in tidegated(8). */
#ifndef METRICS_H
#define METRICS_H

#include "buffer.h"
#include "view.h"

/* Appends to out, without an end mark. Errors: ERR_NOMEM. */
int metrics_render(const struct view *v, struct buffer *out);

#endif
