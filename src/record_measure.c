/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A walk over MessagePack that may be anything. It trusts no length and uses no
 * memory but its own few words.
 */
#include "record_measure.h"

#include <stdbool.h>

#define DEPTH_MAX 8 /* a record has 2 levels; the rest is for later versions */

/* The MessagePack forms 0xc0 to 0xdf: what follows the first byte. */
static const struct form {
	uint8_t count_bytes; /* width of the big-endian count n */
	uint8_t fixed_bytes; /* then this many bytes */
	uint8_t body;        /* and this many times n bytes */
	uint8_t children;    /* and this many times n objects */
	bool never;          /* not MessagePack at all */
} forms[32] = {
    [0x01] = {.never = true},
    [0x04] = {1, 0, 1, 0, false}, /* bin */
    [0x05] = {2, 0, 1, 0, false},
    [0x06] = {4, 0, 1, 0, false},
    [0x07] = {1, 1, 1, 0, false}, /* ext */
    [0x08] = {2, 1, 1, 0, false},
    [0x09] = {4, 1, 1, 0, false},
    [0x0a] = {0, 4, 0, 0, false}, /* float */
    [0x0b] = {0, 8, 0, 0, false},
    [0x0c] = {0, 1, 0, 0, false}, /* uint */
    [0x0d] = {0, 2, 0, 0, false},
    [0x0e] = {0, 4, 0, 0, false},
    [0x0f] = {0, 8, 0, 0, false},
    [0x10] = {0, 1, 0, 0, false}, /* int */
    [0x11] = {0, 2, 0, 0, false},
    [0x12] = {0, 4, 0, 0, false},
    [0x13] = {0, 8, 0, 0, false},
    [0x14] = {0, 2, 0, 0, false}, /* fixext */
    [0x15] = {0, 3, 0, 0, false},
    [0x16] = {0, 5, 0, 0, false},
    [0x17] = {0, 9, 0, 0, false},
    [0x18] = {0, 17, 0, 0, false},
    [0x19] = {1, 0, 1, 0, false}, /* str */
    [0x1a] = {2, 0, 1, 0, false},
    [0x1b] = {4, 0, 1, 0, false},
    [0x1c] = {2, 0, 0, 1, false}, /* array */
    [0x1d] = {4, 0, 0, 1, false},
    [0x1e] = {2, 0, 0, 2, false}, /* map */
    [0x1f] = {4, 0, 0, 2, false},
};

/* Step over one head and its body. False when it is not there as a whole. */
static bool
step_over(const uint8_t *data, size_t size, size_t *at, uint64_t *children)
{
	uint8_t first;
	uint64_t count = 0;
	uint64_t skip = 0;

	*children = 0;
	if (*at >= size)
		return false;
	first = data[(*at)++];
	if (first < 0x80 || first >= 0xe0) {
		return true; /* a small integer */
	} else if (first < 0x90) {
		*children = 2 * (first & 0x0fU);
	} else if (first < 0xa0) {
		*children = first & 0x0fU;
	} else if (first < 0xc0) {
		skip = first & 0x1fU;
	} else {
		const struct form *form = &forms[first - 0xc0];

		if (form->never || form->count_bytes > size - *at)
			return false;
		for (size_t i = 0; i < form->count_bytes; i++)
			count = count << 8 | data[(*at)++];
		skip = form->fixed_bytes + form->body * count;
		*children = form->children * count;
	}
	if (skip > size - *at)
		return false;
	*at += skip;
	return true;
}

size_t
record_measure(const uint8_t *data, size_t size)
{
	uint64_t left[DEPTH_MAX] = {1};
	size_t depth = 0;
	size_t at = 0;

	for (;;) {
		uint64_t children;

		while (left[depth] == 0) {
			if (depth == 0)
				return at;
			depth--;
		}
		left[depth]--;
		if (!step_over(data, size, &at, &children))
			return 0;
		if (children > 0) {
			if (depth + 1 == DEPTH_MAX)
				return 0;
			left[++depth] = children;
		}
	}
}
