/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tidegate-dump writes as JSON: each call appends one object, on one line, without
 * the line's end. Errors: ERR_NOMEM, out is as before.
 */
#ifndef DUMP_JSON_H
#define DUMP_JSON_H

#include "buffer.h"
#include "journal.h"
#include "record.h"

int dump_json_record(struct buffer *out, uint64_t seq, const struct record *r);
int dump_json_dead(struct buffer *out, const struct journal_dead *dead,
    const struct dead_letter *letter, const struct record *r);
int dump_json_gap(struct buffer *out, const struct journal_gap *gap);
int dump_json_stat(struct buffer *out, const struct journal_identity *identity,
    const struct journal_stat *stat, int64_t now_ms);

#endif
