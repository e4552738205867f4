/* SPDX-License-Identifier: Apache-2.0 */
/* sources: record.c record_measure.c buffer.c err.c */
/*
 * Any bytes as records, one after another: refused or decoded. What was decoded
 * survives another round, to the byte.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(bool right)
{
	if (!right)
		abort();
}

/* Encode, decode, encode: both stored forms must be the same. */
static void
check_round(struct record_decoder *d, const struct record *r)
{
	struct buffer first = {0};
	struct buffer second = {0};
	struct record back;
	size_t offset = 0;

	check(record_encode(r, &first) == 0);
	check(record_decode(d, first.data, first.size, &offset, &back) == 0);
	check(offset == first.size);
	check(record_encode(&back, &second) == 0);
	check(first.size == second.size);
	check(memcmp(first.data, second.data, first.size) == 0);
	buffer_fini(&first);
	buffer_fini(&second);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct record_decoder *d;
	size_t offset = 0;
	struct record r;
	int err = 0;

	if (d == NULL)
		check(record_decoder_open(&d) == 0);
	record_decoder_reset(d);
	while (offset < size) {
		size_t before = offset;

		err = record_decode(d, data, size, &offset, &r);
		if (err != 0)
			break;
		check(offset > before && offset <= size);
		check(r.topic.data != NULL && r.payload.data != NULL);
		check_round(d, &r);
	}
	check(err == 0 || err == ERR_CORRUPT);
	return 0;
}
