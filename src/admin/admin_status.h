/* SPDX-License-Identifier: Apache-2.0 */
/* What tidegate-admin status has found out; for its own files. */
#ifndef ADMIN_STATUS_H
#define ADMIN_STATUS_H

#include <stdbool.h>
#include <stdint.h>

#include "admin.h"
#include "board.h"
#include "buffer.h"
#include "journal.h"
#include "settings.h"
#include "status.h"

#define SHORT_BYTES      80 /* of the line, its end included: half a short message */
#define SHORT_TAIL_BYTES 52 /* of it, for what waits */
#define SHORT_FULL_MS    ((int64_t)90 * 24 * 3600 * 1000) /* later than that is not told */

struct admin_status {
	const struct settings *settings;
	struct settings bare; /* where there are none */
	char gateway_id[65];  /* for that */
	struct journal *journal;
	const char *trouble; /* why nothing is known of tidegated; NULL: it is */
	struct board_view view;
	struct status_look look;
	struct buffer problems; /* as status_problems() writes them */
	uint64_t order_count;   /* that wait */
};

/* Everything, in lines. */
void admin_status_print(const struct admin_status *s);

#endif
