/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many topic filters, compiled into one structure, so that the cost of matching a topic
 * grows with its levels and not with the number of filters. The rules are those of
 * topic_filter.h.
 */
#ifndef TOPIC_MATCHER_H
#define TOPIC_MATCHER_H

#include <stddef.h>
#include <stdint.h>

#include "buffer.h"

struct topic_matcher;

/* Errors: ERR_NOMEM. */
int topic_matcher_open(struct topic_matcher **out);
void topic_matcher_close(struct topic_matcher *m);

/*
 * Add a filter (a valid one, see topic_filter_is_valid()) that stands for owner. An
 * owner may have several filters, and a filter several owners. Owners are small
 * numbers: memory grows with the largest of them.
 *
 * Ownership: filter is borrowed for the call.
 * Errors:    ERR_NOMEM: the matcher is good for topic_matcher_close() alone.
 */
int topic_matcher_add(struct topic_matcher *m, const char *filter, uint32_t owner);

/*
 * Which owners have a filter that matches the topic? Each once, by rising number.
 *
 * Ownership: *owners is the matcher's, valid until the next call on it.
 * count:     out.
 */
void topic_matcher_match(struct topic_matcher *m, struct bytes topic,
    const uint32_t **owners, size_t *count);

#endif
