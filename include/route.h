/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A route: which records go where in Kafka, and in which form. Compiled once from
 * the settings; a record is matched and rendered when it is forwarded, never when it
 * is journalled, so a mistake in a route can be mended without loss.
 */
#ifndef ROUTE_H
#define ROUTE_H

#include "journal.h"
#include "record.h"
#include "settings.h"
#include "sink.h"

struct route;

/*
 * Ownership: s and identity are borrowed for as long as the route lives.
 * Errors:    ERR_NOMEM.
 */
int route_open(struct route **out, const struct settings *s, size_t index,
    const struct journal_identity *identity);
void route_close(struct route *r);

const char *route_name(const struct route *r);

/* Its settings: filters, enabled, on_reject. Borrowed. */
const struct settings_route *route_settings(const struct route *r);

/*
 * Make what is sent to Kafka out of a record.
 *
 * Ownership: out borrows from record and from the route: valid until the next
 *            route_render() on it. out->copy_value is set accordingly.
 * Units:     now_ms is real time, ms since the epoch. With forwarded_time the record
 *            time is now_ms, whatever the settings say.
 * why:       out, with ERR_INVALID: the rendered topic is empty or too long, or the
 *            like, in words for people; static. Such a record can never be sent.
 * Errors:    ERR_INVALID, ERR_NOMEM.
 */
int route_render(struct route *r, const struct record *record, uint64_t seq,
    int64_t now_ms, bool forwarded_time, struct sink_record *out, const char **why);

/* Does it announce gaps in its own topic (gap_records), which has to be static? */
bool route_announces_gaps(const struct route *r);

/*
 * Make the announcement: sequences of the journal that were removed and will not come.
 * For a route that announces gaps.
 *
 * Ownership: as route_render(). Errors: ERR_NOMEM.
 */
int route_render_gap(struct route *r, const struct journal_gap *gap, int64_t now_ms,
    struct sink_record *out);

#endif
