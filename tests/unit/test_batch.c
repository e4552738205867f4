/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <libdeflate.h>

#include "../lib/records.h"
#include "../lib/telemetry.h"
#include "batch.h"
#include "err.h"

#define BASE_SEQ 0x1122334455667788U

static int
coder_setup(void **state)
{
	struct batch_coder *c;
	int err = batch_coder_open(&c);

	*state = c;
	return err;
}

static int
coder_teardown(void **state)
{
	batch_coder_close(*state);
	return 0;
}

static struct batch_header
some_header(void)
{
	struct batch_header h = {
	    .synchronised = true,
	    .count = 3,
	    .base_seq = BASE_SEQ,
	    .boot_ms = 0x0102030405060708,
	    .real_ms = 1795514400123,
	};

	for (uint8_t i = 0; i < 16; i++)
		h.boot_id[i] = (uint8_t)(0xa0 + i);
	return h;
}

static void
seal_body(struct batch_coder *c, enum batch_codec codec, const void *body, size_t size,
    struct batch_header *h, struct buffer *out)
{
	*h = some_header();
	assert_int_equal(batch_encode(c, codec, (struct bytes){body, size}, h, out), 0);
	batch_seal(h, out);
}

static int
decode(struct batch_coder *c, const struct buffer *stored, struct batch_header *h,
    struct buffer *body)
{
	return batch_decode(
	    c, (struct bytes){stored->data, stored->size}, BASE_SEQ, h, body);
}

static void
assert_survives(
    struct batch_coder *c, enum batch_codec codec, const void *body, size_t size)
{
	struct buffer stored = {0};
	struct buffer back = {0};
	struct batch_header h;
	struct batch_header found;

	seal_body(c, codec, body, size, &h, &stored);
	assert_int_equal(decode(c, &stored, &found, &back), 0);
	assert_int_equal(back.size, size);
	if (size > 0)
		assert_memory_equal(back.data, body, size);
	assert_int_equal(found.codec, h.codec);
	assert_int_equal(found.body_bytes, size);
	assert_true(found.synchronised);
	assert_int_equal(found.count, 3);
	assert_int_equal(found.base_seq, BASE_SEQ);
	assert_memory_equal(found.boot_id, h.boot_id, 16);
	assert_int_equal(found.boot_ms, h.boot_ms);
	assert_int_equal(found.real_ms, h.real_ms);
	buffer_fini(&stored);
	buffer_fini(&back);
}

static void
bodies_survive_under_both_codecs(void **state)
{
	static char same[300000];
	static uint8_t noise[70000];
	uint64_t seed = records_seed();

	memset(same, 'x', sizeof(same));
	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (uint8_t)records_random_number(&seed);
	for (int codec = BATCH_CODEC_NONE; codec <= BATCH_CODEC_ZSTD; codec++) {
		assert_survives(*state, (enum batch_codec)codec, "", 0);
		assert_survives(*state, (enum batch_codec)codec, "a", 1);
		assert_survives(*state, (enum batch_codec)codec, same, sizeof(same));
		assert_survives(*state, (enum batch_codec)codec, noise, sizeof(noise));
	}
}

static void
zstd_is_used_only_where_it_helps(void **state)
{
	char same[1000];
	struct buffer stored = {0};
	struct batch_header h;

	memset(same, 'x', sizeof(same));
	seal_body(*state, BATCH_CODEC_ZSTD, same, sizeof(same), &h, &stored);
	assert_int_equal(h.codec, BATCH_CODEC_ZSTD);
	assert_int_equal(stored.data[1], 1);
	assert_true(stored.size < BATCH_HEADER_BYTES + 100);
	seal_body(*state, BATCH_CODEC_ZSTD, "short", 5, &h, &stored);
	assert_int_equal(h.codec, BATCH_CODEC_NONE);
	assert_int_equal(stored.data[1], 0);
	assert_int_equal(stored.size, BATCH_HEADER_BYTES + 5);
	seal_body(*state, BATCH_CODEC_NONE, same, sizeof(same), &h, &stored);
	assert_int_equal(h.codec, BATCH_CODEC_NONE);
	assert_int_equal(stored.size, BATCH_HEADER_BYTES + 1000);
	buffer_fini(&stored);
}

static size_t
stored_size(struct batch_coder *c, enum batch_effort effort, struct bytes body)
{
	struct buffer stored = {0}, back = {0};
	struct batch_header h = some_header(), found;
	size_t size;

	assert_int_equal(batch_begin(&stored), 0);
	assert_int_equal(buffer_append(&stored, body.data, body.size), 0);
	assert_int_equal(batch_end(c, BATCH_CODEC_ZSTD, effort, &h, &stored), 0);
	batch_seal(&h, &stored);
	assert_int_equal(decode(c, &stored, &found, &back), 0);
	assert_int_equal(back.size, body.size);
	assert_memory_equal(back.data, body.data, body.size);
	size = stored.size;
	buffer_fini(&stored);
	buffer_fini(&back);
	return size;
}

/* In turn, for what one leaves in the coder is not to show in the other. */
static void
effort_makes_telemetry_smaller(void **state)
{
	struct telemetry *t = telemetry_open(100, 1795514400000);
	struct telemetry_message m;
	struct buffer body = {0};
	struct bytes all;
	size_t quick, thorough;

	assert_non_null(t);
	for (size_t i = 0; i < 1000; i++) {
		telemetry_next(t, &m);
		assert_int_equal(buffer_append(&body, m.payload, m.payload_size), 0);
	}
	all = (struct bytes){body.data, body.size};
	quick = stored_size(*state, BATCH_QUICK, all);
	thorough = stored_size(*state, BATCH_THOROUGH, all);
	assert_true(thorough < quick - quick / 20);
	assert_int_equal(stored_size(*state, BATCH_QUICK, all), quick);
	buffer_fini(&body);
	telemetry_close(t);
}

/* Byte by byte, so that a change of the format cannot pass unseen. */
static void
header_is_as_documented(void **state)
{
	uint8_t expected[BATCH_HEADER_BYTES + 5] = {1, 0, 1,
	    0,                                              /* version, codec, flags */
	    3, 0, 0, 0,                                     /* count */
	    0, 0, 0, 0,                                     /* checksum */
	    5, 0, 0, 0,                                     /* body bytes */
	    0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, /* base */
	    0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, /* boot id */
	    0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf, /* */
	    8, 7, 6, 5, 4, 3, 2, 1,                         /* boot clock */
	    0x7b, 0x7d, 0xff, 0x0c, 0xa2, 0x01, 0, 0,       /* real clock */
	    'h', 'e', 'l', 'l', 'o'};
	uint32_t crc = libdeflate_crc32(0, expected, sizeof(expected));
	struct buffer stored = {0};
	struct batch_header h;

	for (int i = 0; i < 4; i++)
		expected[8 + i] = (uint8_t)(crc >> 8 * i);
	seal_body(*state, BATCH_CODEC_NONE, "hello", 5, &h, &stored);
	assert_int_equal(stored.size, sizeof(expected));
	assert_memory_equal(stored.data, expected, sizeof(expected));
	buffer_fini(&stored);
}

static void
every_flipped_bit_is_noticed(void **state)
{
	struct buffer stored = {0};
	struct buffer back = {0};
	struct batch_header h;

	seal_body(*state, BATCH_CODEC_NONE, "some body", 9, &h, &stored);
	for (size_t bit = 0; bit < stored.size * 8; bit++) {
		stored.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
		assert_int_equal(decode(*state, &stored, &h, &back), ERR_CORRUPT);
		stored.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
	}
	assert_int_equal(decode(*state, &stored, &h, &back), 0);
	buffer_fini(&stored);
	buffer_fini(&back);
}

static void
batch_cut_anywhere_is_noticed(void **state)
{
	struct buffer stored = {0};
	struct buffer back = {0};
	struct batch_header h;

	seal_body(*state, BATCH_CODEC_NONE, "some body", 9, &h, &stored);
	for (size_t size = 0; size < stored.size; size++) {
		/* A copy of just that size lets ASan see any read beyond it. */
		uint8_t *copy = malloc(size > 0 ? size : 1);

		assert_non_null(copy);
		memcpy(copy, stored.data, size);
		assert_int_equal(batch_decode(*state, (struct bytes){copy, size},
				     BASE_SEQ, &h, &back),
		    ERR_CORRUPT);
		free(copy);
	}
	buffer_fini(&stored);
	buffer_fini(&back);
}

static void
batch_under_another_key_is_damaged(void **state)
{
	struct buffer stored = {0};
	struct buffer back = {0};
	struct batch_header h;

	seal_body(*state, BATCH_CODEC_NONE, "body", 4, &h, &stored);
	assert_int_equal(batch_decode(*state, (struct bytes){stored.data, stored.size},
			     BASE_SEQ + 1, &h, &back),
	    ERR_CORRUPT);
	buffer_fini(&stored);
	buffer_fini(&back);
}

/* Write the checksum again after a change that only a program could have made. */
static void
put_checksum(struct buffer *stored)
{
	uint32_t crc;

	memset(stored->data + 8, 0, 4);
	crc = libdeflate_crc32(0, stored->data, stored->size);
	for (int i = 0; i < 4; i++)
		stored->data[8 + i] = (uint8_t)(crc >> 8 * i);
}

static void
later_version_is_told_from_damage(void **state)
{
	struct buffer stored = {0};
	struct buffer back = {0};
	struct batch_header h;

	seal_body(*state, BATCH_CODEC_NONE, "body", 4, &h, &stored);
	stored.data[0] = BATCH_VERSION + 1;
	assert_int_equal(decode(*state, &stored, &h, &back), ERR_CORRUPT);
	put_checksum(&stored);
	assert_int_equal(decode(*state, &stored, &h, &back), ERR_VERSION);
	stored.data[0] = 0;
	put_checksum(&stored);
	assert_int_equal(decode(*state, &stored, &h, &back), ERR_CORRUPT);
	buffer_fini(&stored);
	buffer_fini(&back);
}

static void
header_that_contradicts_the_body_is_damaged(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
	} changes[] = {
	    {1, 0},    /* codec none, but it is zstd */
	    {1, 2},    /* no such codec */
	    {4, 0},    /* no records */
	    {12, 9},   /* other length */
	    {15, 255}, /* 4 GiB */
	};
	char same[1000];
	struct buffer stored = {0};
	struct buffer back = {0};
	struct batch_header h;

	memset(same, 'x', sizeof(same));
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		seal_body(*state, BATCH_CODEC_ZSTD, same, sizeof(same), &h, &stored);
		stored.data[changes[i].at] = changes[i].value;
		put_checksum(&stored);
		assert_int_equal(decode(*state, &stored, &h, &back), ERR_CORRUPT);
	}
	/* Not zstd, although it says so. */
	seal_body(*state, BATCH_CODEC_ZSTD, same, sizeof(same), &h, &stored);
	memset(
	    stored.data + BATCH_HEADER_BYTES, 0x33, stored.size - BATCH_HEADER_BYTES);
	put_checksum(&stored);
	assert_int_equal(decode(*state, &stored, &h, &back), ERR_CORRUPT);
	/* The size alone is not what the frame says. */
	seal_body(*state, BATCH_CODEC_NONE, same, 5, &h, &stored);
	stored.data[12] = 6;
	put_checksum(&stored);
	assert_int_equal(decode(*state, &stored, &h, &back), ERR_CORRUPT);
	buffer_fini(&stored);
	buffer_fini(&back);
}

#define WITH_CODER(f) cmocka_unit_test_setup_teardown(f, coder_setup, coder_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_CODER(bodies_survive_under_both_codecs),
	    WITH_CODER(zstd_is_used_only_where_it_helps),
	    WITH_CODER(effort_makes_telemetry_smaller),
	    WITH_CODER(header_is_as_documented),
	    WITH_CODER(every_flipped_bit_is_noticed),
	    WITH_CODER(batch_cut_anywhere_is_noticed),
	    WITH_CODER(batch_under_another_key_is_damaged),
	    WITH_CODER(later_version_is_told_from_damage),
	    WITH_CODER(header_that_contradicts_the_body_is_damaged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
