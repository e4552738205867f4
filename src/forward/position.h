/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The position: how far each route has come, as Kafka keeps it with what was delivered,
 * in the same transaction. One JSON object:
 *
 *   format    1
 *   uuid      of the journal
 *   instance  16 hexadecimal digits, of the process that wrote it: random
 *   routes    by name; each with
 *     next    one past the last record that the route has delivered
 *     sum     position_hash() of that record as it is stored, 16 hexadecimal digits
 *     asked   position_hash() of the text of the filters with which it was: whatever
 *             matched them up to there is delivered, or buried
 *     before  the same three, of the filters before these, if there were any
 *
 * Part of the forwarder; knows no journal.
 */
#ifndef POSITION_H
#define POSITION_H

#include <stddef.h>
#include <stdint.h>

#include "buffer.h"

#define POSITION_INSTANCE_BYTES 17 /* with an end mark */
#define POSITION_UUID_BYTES     37
#define POSITION_NAME_BYTES     65

struct position_mark {
	uint64_t seq; /* "next" less 1; 0: there is no such mark */
	uint64_t sum;
	uint64_t asked;
};

struct position_route {
	char name[POSITION_NAME_BYTES];
	struct position_mark last;
	struct position_mark before;
};

struct position {
	char uuid[POSITION_UUID_BYTES];
	char instance[POSITION_INSTANCE_BYTES];
	struct position_route *routes;
	size_t route_count;
};

/*
 * A position is written in three parts, so that nobody has to gather its routes: begin,
 * each route that has a mark, end. Appended to out. Errors: ERR_NOMEM.
 */
int position_begin(struct buffer *out, const char *uuid, const char *instance);
int position_add(struct buffer *out, const struct position_route *r);
int position_end(struct buffer *out);

/*
 * Ownership: *out is the caller's; release with position_fini().
 * Errors:    ERR_INVALID, ERR_VERSION (a later format), ERR_NOMEM: *out is as before.
 */
int position_parse(struct position *out, struct bytes text);
void position_fini(struct position *p);

/* Never 0. The same on every machine. */
uint64_t position_hash(struct bytes text);

#endif
