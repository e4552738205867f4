/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A batch: a run of records with consecutive sequence numbers, the value of one
 * entry in the journal, as Kafka's own log does it.
 *
 * Layout, format version 1. All numbers are unsigned and little-endian:
 *
 *   offset  bytes  field
 *   0       1      format version, 1
 *   1       1      codec of the body: 0 none, 1 zstd
 *   2       2      flags: bit 0: the real-time clock was synchronised
 *   4       4      record count, at least 1
 *   8       4      CRC-32 (that of zlib) of the whole value, these four bytes taken as 0
 *   12      4      bytes of the body when decoded
 *   16      8      sequence number of the first record: must be the entry's key
 *   24      16     boot id of the machine, when the batch was sealed
 *   40      8      boot-time clock, ms
 *   48      8      real-time clock, ms since the epoch
 *   56      ...    body: the records (record.h), one after another, under the codec
 */
#ifndef BATCH_H
#define BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buffer.h"

#define BATCH_VERSION      1
#define BATCH_HEADER_BYTES 56

/*
 * Records are gathered into one batch up to this many encoded bytes; one record that is
 * larger has a batch of its own. A quarter as many where they are not to be compressed:
 * what damage takes with it stays small. Compressed, more of them leave less of each, and
 * less of the last page empty.
 */
#define BATCH_BODY_BYTES       ((size_t)64 * 4096 - 16 - BATCH_HEADER_BYTES)
#define BATCH_BODY_PLAIN_BYTES ((size_t)16 * 4096 - 16 - BATCH_HEADER_BYTES)

enum batch_codec {
	BATCH_CODEC_NONE = 0,
	BATCH_CODEC_ZSTD = 1,
};

/* What compressing may cost. */
enum batch_effort {
	BATCH_QUICK = 0,    /* the processor is what is short */
	BATCH_THOROUGH = 1, /* a tenth fewer bytes, for three to four times the time */
};

struct batch_header {
	enum batch_codec codec; /* as stored: "none" where zstd would not have helped */
	bool synchronised;
	uint32_t count;
	uint32_t body_bytes; /* decoded */
	uint64_t base_seq;
	uint8_t boot_id[16];
	uint64_t boot_ms;
	uint64_t real_ms;
};

/* Compression contexts, kept from batch to batch. */
struct batch_coder;

int batch_coder_open(struct batch_coder **out);
void batch_coder_close(struct batch_coder *c);

/*
 * Begin a stored form in out, replacing what it held: room for the header. The records
 * are appended behind it.
 *
 * Errors:    ERR_NOMEM.
 */
int batch_begin(struct buffer *out);

/*
 * No more records follow. codec is what is wanted; h->codec and h->body_bytes tell what
 * was done. Compression happens here, outside any transaction.
 *
 * Errors:    ERR_NOMEM; ERR_TOOLARGE past 4 GiB - 1. out is as before.
 */
int batch_end(struct batch_coder *c, enum batch_codec codec, enum batch_effort effort,
    struct batch_header *h, struct buffer *out);

/* Both, for a body that is there as a whole; BATCH_QUICK. Errors: as batch_end(). */
int batch_encode(struct batch_coder *c, enum batch_codec codec, struct bytes body,
    struct batch_header *h, struct buffer *out);

/*
 * Write the header into the room that batch_begin() left, checksum included.
 * Done when base_seq is known, in the transaction that appends.
 */
void batch_seal(const struct batch_header *h, struct buffer *out);

/* Was it written, whole, by a program of a later version than batch_decode() knows? */
bool batch_is_later(struct bytes data);

/*
 * How many bytes does the batch take that begins here? By what it says itself, which
 * nothing has proved: for one that was found by chance. Errors: ERR_CORRUPT.
 */
int batch_measure(struct bytes data, uint64_t *base_seq, size_t *bytes);

/*
 * Check a stored batch and give its body, decoded.
 *
 * Ownership: data is borrowed for the call; body's old content is replaced.
 * Errors:    ERR_CORRUPT (short, checksum, key differs, codec or sizes wrong),
 *            ERR_VERSION (a later format version, whose checksum is right),
 *            ERR_NOMEM. The body is bounded by what the header says only after
 *            the checksum has proved it.
 */
int batch_decode(struct batch_coder *c, struct bytes data, uint64_t base_seq,
    struct batch_header *h, struct buffer *body);

#endif
