/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MQTT topic names and filters (MQTT 5, section 4.7; shared subscriptions 4.8.2).
 * A filter of the form $share/GROUP/FILTER stands for FILTER where it is matched.
 */
#ifndef TOPIC_FILTER_H
#define TOPIC_FILTER_H

#include <stdbool.h>
#include <stddef.h>

#include "buffer.h"

/*
 * Is it a filter that may be subscribed to? UTF-8 without U+0000 and control
 * characters, at most 65,535 bytes, wildcards alone in their level, # last.
 *
 * why:       out unless NULL, on false: plain words, static.
 */
bool topic_filter_is_valid(const char *filter, const char **why);

/* Is it of the form $share/GROUP/FILTER? */
bool topic_filter_is_shared(const char *filter);

/* The FILTER in $share/GROUP/FILTER, NULL where it is missing; another: as it is. */
const char *topic_filter_inner(const char *filter);

/* Does it match? Wildcards in the first level do not match topics that begin with $. */
bool topic_filter_matches(const char *filter, struct bytes topic);

/* Does wide match every topic that narrow matches? False for shared subscriptions. */
bool topic_filter_covers(const char *wide, const char *narrow);

#endif
