/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stored form of a batch: header, checksum, compression.
 *
 * Invariant: nothing that stands in a header is believed before the checksum over the
 * whole value has proved it, so a damaged size never makes anybody allocate.
 */
#include "batch.h"

#include <libdeflate.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "err.h"

#define FLAG_SYNCHRONISED 1U

/* More than a batch takes that is no larger than BATCH_BODY_BYTES. */
#define PACKED_KEPT_BYTES (4 * BATCH_BODY_BYTES)

enum offset {
	AT_VERSION = 0,
	AT_CODEC = 1,
	AT_FLAGS = 2,
	AT_COUNT = 4,
	AT_CHECKSUM = 8,
	AT_BODY_BYTES = 12,
	AT_BASE_SEQ = 16,
	AT_BOOT_ID = 24,
	AT_BOOT_MS = 40,
	AT_REAL_MS = 48,
};

struct batch_coder {
	ZSTD_CCtx *compressor;
	ZSTD_DCtx *decompressor;
	struct buffer packed; /* changes places with what was compressed into it */
};

/*
 * For records that repeat each other all but for their numbers: matches of five bytes,
 * found by a table that holds a whole batch. The nearest match is the best one, so the
 * search is short; what gains is to look whether one that begins a little later is longer.
 * No level of zstd's own has all that. On JSON telemetry, 1,000 records: 0.162 of its
 * bytes for 0.3 µs a record, and 0.147 for 1.1 µs.
 */
static const struct {
	ZSTD_cParameter name;
	int value[2]; /* by enum batch_effort */
} parameters[] = {
    {ZSTD_c_compressionLevel, {1, 1}},
    {ZSTD_c_strategy, {ZSTD_fast, ZSTD_lazy2}},
    {ZSTD_c_minMatch, {5, 5}},
    {ZSTD_c_hashLog, {16, 16}},
    {ZSTD_c_searchLog, {1, 1}},
};

static void
put(uint8_t *to, size_t width, uint64_t value)
{
	for (size_t i = 0; i < width; i++)
		to[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t
get(const uint8_t *from, size_t width)
{
	uint64_t value = 0;

	for (size_t i = width; i > 0; i--)
		value = value << 8 | from[i - 1];
	return value;
}

static uint32_t
checksum(const uint8_t *data, size_t size)
{
	static const uint8_t zero[AT_BODY_BYTES - AT_CHECKSUM];
	uint32_t crc = libdeflate_crc32(0, data, AT_CHECKSUM);

	crc = libdeflate_crc32(crc, zero, sizeof(zero));
	return libdeflate_crc32(crc, data + AT_BODY_BYTES, size - AT_BODY_BYTES);
}

int
batch_coder_open(struct batch_coder **out)
{
	struct batch_coder *c = calloc(1, sizeof(*c));

	*out = NULL;
	if (c == NULL)
		return ERR_NOMEM;
	c->compressor = ZSTD_createCCtx();
	c->decompressor = ZSTD_createDCtx();
	if (c->compressor == NULL || c->decompressor == NULL) {
		batch_coder_close(c);
		return ERR_NOMEM;
	}
	*out = c;
	return 0;
}

void
batch_coder_close(struct batch_coder *c)
{
	if (c == NULL)
		return;
	(void)ZSTD_freeCCtx(c->compressor); /* never fails */
	(void)ZSTD_freeDCtx(c->decompressor);
	buffer_fini(&c->packed);
	free(c);
}

int
batch_begin(struct buffer *out)
{
	static const uint8_t room[BATCH_HEADER_BYTES];

	buffer_clear(out);
	return buffer_append(out, room, sizeof(room));
}

static int
set_effort(struct batch_coder *c, enum batch_effort effort)
{
	for (size_t i = 0; i < sizeof(parameters) / sizeof(parameters[0]); i++)
		if (ZSTD_isError(ZSTD_CCtx_setParameter(c->compressor,
			parameters[i].name, parameters[i].value[effort])))
			return ERR_INVALID;
	return 0;
}

/* The stored form, compressed, in c->packed. Sets *is_smaller: it is worth it. */
static int
compress_body(struct batch_coder *c, struct bytes body, enum batch_effort effort,
    bool *is_smaller)
{
	size_t bound = ZSTD_compressBound(body.size);
	size_t size;
	int err;

	if (ZSTD_isError(bound))
		return ERR_TOOLARGE;
	err = set_effort(c, effort);
	if (err == 0)
		err = batch_begin(&c->packed);
	if (err == 0)
		err = buffer_reserve(&c->packed, bound);
	if (err != 0)
		return err;
	size = ZSTD_compress2(c->compressor, c->packed.data + c->packed.size, bound,
	    body.data, body.size);
	if (ZSTD_isError(size))
		return ERR_NOMEM; /* the room suffices, so nothing else can be wrong */
	c->packed.size += size;
	*is_smaller = size < body.size;
	return 0;
}

int
batch_end(struct batch_coder *c, enum batch_codec codec, enum batch_effort effort,
    struct batch_header *h, struct buffer *out)
{
	struct bytes body = {
	    out->data + BATCH_HEADER_BYTES, out->size - BATCH_HEADER_BYTES};
	struct buffer plain = *out;
	bool is_smaller = false;
	int err = 0;

	if (body.size > UINT32_MAX)
		return ERR_TOOLARGE;
	if (codec == BATCH_CODEC_ZSTD)
		err = compress_body(c, body, effort, &is_smaller);
	if (is_smaller) {
		*out = c->packed;
		c->packed = plain;
	}
	if (c->packed.capacity > PACKED_KEPT_BYTES)
		buffer_fini(&c->packed);
	if (err != 0)
		return err;
	h->codec = is_smaller ? BATCH_CODEC_ZSTD : BATCH_CODEC_NONE;
	h->body_bytes = (uint32_t)body.size;
	return 0;
}

int
batch_encode(struct batch_coder *c, enum batch_codec codec, struct bytes body,
    struct batch_header *h, struct buffer *out)
{
	int err;

	if (body.size > UINT32_MAX)
		return ERR_TOOLARGE;
	err = batch_begin(out);
	if (err == 0)
		err = buffer_append(out, body.data, body.size);
	return err != 0 ? err : batch_end(c, codec, BATCH_QUICK, h, out);
}

void
batch_seal(const struct batch_header *h, struct buffer *out)
{
	uint8_t *p = out->data;

	put(p + AT_VERSION, 1, BATCH_VERSION);
	put(p + AT_CODEC, 1, h->codec);
	put(p + AT_FLAGS, 2, h->synchronised ? FLAG_SYNCHRONISED : 0);
	put(p + AT_COUNT, 4, h->count);
	put(p + AT_BODY_BYTES, 4, h->body_bytes);
	put(p + AT_BASE_SEQ, 8, h->base_seq);
	memcpy(p + AT_BOOT_ID, h->boot_id, sizeof(h->boot_id));
	put(p + AT_BOOT_MS, 8, h->boot_ms);
	put(p + AT_REAL_MS, 8, h->real_ms);
	put(p + AT_CHECKSUM, 4, checksum(p, out->size));
}

static int
decode_header(const uint8_t *p, size_t size, uint64_t base_seq, struct batch_header *h)
{
	if (size < BATCH_HEADER_BYTES || get(p + AT_CHECKSUM, 4) != checksum(p, size))
		return ERR_CORRUPT;
	if (p[AT_VERSION] > BATCH_VERSION)
		return ERR_VERSION;
	if (p[AT_VERSION] != BATCH_VERSION || p[AT_CODEC] > BATCH_CODEC_ZSTD)
		return ERR_CORRUPT;
	h->codec = (enum batch_codec)p[AT_CODEC];
	h->synchronised = (get(p + AT_FLAGS, 2) & FLAG_SYNCHRONISED) != 0;
	h->count = (uint32_t)get(p + AT_COUNT, 4);
	h->body_bytes = (uint32_t)get(p + AT_BODY_BYTES, 4);
	h->base_seq = get(p + AT_BASE_SEQ, 8);
	memcpy(h->boot_id, p + AT_BOOT_ID, sizeof(h->boot_id));
	h->boot_ms = get(p + AT_BOOT_MS, 8);
	h->real_ms = get(p + AT_REAL_MS, 8);
	if (h->count == 0 || h->base_seq != base_seq)
		return ERR_CORRUPT;
	return 0;
}

bool
batch_is_later(struct bytes data)
{
	struct batch_header h;

	return decode_header(data.data, data.size, 0, &h) == ERR_VERSION;
}

static int
decompress_body(
    struct batch_coder *c, struct bytes stored, size_t size, struct buffer *body)
{
	size_t got;

	/* zstd's own header must agree before the room is taken. */
	if (ZSTD_getFrameContentSize(stored.data, stored.size) != size)
		return ERR_CORRUPT;
	buffer_clear(body);
	if (buffer_reserve(body, size) != 0)
		return ERR_NOMEM;
	got = ZSTD_decompressDCtx(
	    c->decompressor, body->data, size, stored.data, stored.size);
	if (ZSTD_isError(got) || got != size)
		return ERR_CORRUPT;
	body->size = size;
	return 0;
}

int
batch_decode(struct batch_coder *c, struct bytes data, uint64_t base_seq,
    struct batch_header *h, struct buffer *body)
{
	const uint8_t *p = data.data;
	struct batch_header found;
	struct bytes stored;
	int err = decode_header(p, data.size, base_seq, &found);

	if (err != 0)
		return err;
	stored = (struct bytes){p + BATCH_HEADER_BYTES, data.size - BATCH_HEADER_BYTES};
	switch (found.codec) {
	case BATCH_CODEC_NONE:
		if (stored.size != found.body_bytes)
			return ERR_CORRUPT;
		buffer_clear(body);
		err = buffer_append(body, stored.data, stored.size);
		break;
	case BATCH_CODEC_ZSTD:
		err = decompress_body(c, stored, found.body_bytes, body);
		break;
	}
	if (err == 0)
		*h = found;
	return err;
}

int
batch_measure(struct bytes data, uint64_t *base_seq, size_t *bytes)
{
	const uint8_t *p = data.data;
	size_t size;

	if (data.size < BATCH_HEADER_BYTES || p[AT_VERSION] != BATCH_VERSION ||
	    p[AT_CODEC] > BATCH_CODEC_ZSTD || get(p + AT_COUNT, 4) == 0)
		return ERR_CORRUPT;
	size = (size_t)get(p + AT_BODY_BYTES, 4);
	if (p[AT_CODEC] == BATCH_CODEC_ZSTD)
		size = ZSTD_findFrameCompressedSize(
		    p + BATCH_HEADER_BYTES, data.size - BATCH_HEADER_BYTES);
	if (ZSTD_isError(size) || size > data.size - BATCH_HEADER_BYTES)
		return ERR_CORRUPT;
	*base_seq = get(p + AT_BASE_SEQ, 8);
	*bytes = BATCH_HEADER_BYTES + size;
	return 0;
}
