/* SPDX-License-Identifier: Apache-2.0 */
/* sources: record.c record_decode.c record_measure.c buffer.c err.c */
/* Any bytes as a dead letter: refused or decoded, then the same after another round. */
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

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct record_decoder *d;
	struct dead_letter letter;
	struct dead_letter back;
	struct buffer stored = {0};
	struct record r;
	size_t offset = 0;
	int err;

	if (d == NULL)
		check(record_decoder_open(&d) == 0);
	record_decoder_reset(d);
	err = dead_letter_decode(d, data, size, &letter);
	check(err == 0 || err == ERR_CORRUPT);
	if (err != 0)
		return 0;
	check(letter.reason != NULL && letter.detail.data != NULL);
	(void)record_decode(d, letter.record.data, letter.record.size, &offset, &r);
	check(offset <= letter.record.size);
	check(dead_letter_encode(&letter, &stored) == 0);
	check(dead_letter_decode(d, stored.data, stored.size, &back) == 0);
	check(strcmp(letter.reason, back.reason) == 0);
	check(letter.buried_ms == back.buried_ms);
	check(letter.record.size == back.record.size);
	buffer_fini(&stored);
	return 0;
}
