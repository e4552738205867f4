/* SPDX-License-Identifier: Apache-2.0 */
/* sources: batch.c buffer.c err.c */
/*
 * Any bytes as a stored batch, as they are, and with checksum and key put right: only
 * so does the fuzzer get behind them. Then the same bytes as a body.
 */
#include <libdeflate.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(bool right)
{
	if (!right)
		abort();
}

static void
decode(struct batch_coder *c, const uint8_t *data, size_t size, uint64_t base_seq)
{
	struct buffer body = {0};
	struct batch_header h;
	int err = batch_decode(c, (struct bytes){data, size}, base_seq, &h, &body);

	if (err == 0)
		check(
		    body.size == h.body_bytes && h.count > 0 && h.base_seq == base_seq);
	else
		check(err == ERR_CORRUPT || err == ERR_VERSION || err == ERR_NOMEM);
	buffer_fini(&body);
}

static void
check_round(struct batch_coder *c, const uint8_t *data, size_t size)
{
	struct batch_header h = {.count = 1, .base_seq = 7};
	struct buffer stored = {0};
	struct buffer body = {0};

	check(batch_encode(
		  c, BATCH_CODEC_ZSTD, (struct bytes){data, size}, &h, &stored) == 0);
	batch_seal(&h, &stored);
	check(batch_decode(c, (struct bytes){stored.data, stored.size}, 7, &h, &body) ==
	      0);
	check(body.size == size && (size == 0 || memcmp(body.data, data, size) == 0));
	buffer_fini(&stored);
	buffer_fini(&body);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct batch_coder *c;
	uint8_t *copy;
	uint32_t crc;

	if (c == NULL)
		check(batch_coder_open(&c) == 0);
	check_round(c, data, size);
	decode(c, data, size, 7);
	/* With a right checksum the size of the body is believed: keep it sensible. */
	if (size < BATCH_HEADER_BYTES || data[15] != 0)
		return 0;
	copy = malloc(size);
	check(copy != NULL);
	memcpy(copy, data, size);
	memset(copy + 8, 0, 4);
	memset(copy + 16, 0, 8);
	copy[16] = 7;
	crc = libdeflate_crc32(0, copy, size);
	for (int i = 0; i < 4; i++)
		copy[8 + i] = (uint8_t)(crc >> 8 * i);
	decode(c, copy, size, 7);
	free(copy);
	return 0;
}
