/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON's strings, for each record: a JSON library would cost tens of times as much
 * (facts: 0.13 us against 6.6). Names and punctuation are constants of the callers.
 *
 * Invariant: whatever comes in, what is appended is one JSON string in UTF-8. U+0000 is
 * replaced like a byte that is not UTF-8: MQTT forbids it (1.5.4-2), and many a consumer
 * cannot store it.
 */
#include "envelope_writer.h"

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "text.h"

/* A byte of text becomes at most this many: \u001f. A bad one becomes three. */
#define ESCAPED_MAX 6

/* Room is made for so much of a text at once: a payload may be large. */
#define PIECE_BYTES 4096

/* Write the character at p, which cannot stand as it is. Returns the bytes taken. */
static size_t
escape(const uint8_t *p, size_t size, uint8_t **to)
{
	static const char hex[] = "0123456789abcdef";
	uint8_t *t = *to;
	uint32_t code;
	size_t length;

	if (p[0] == '"' || p[0] == '\\') {
		*t++ = '\\';
		*t++ = p[0];
		*to = t;
		return 1;
	}
	if (p[0] > 0 && p[0] < 0x20) {
		memcpy(t, "\\u00", 4);
		t[4] = (uint8_t)hex[p[0] >> 4];
		t[5] = (uint8_t)hex[p[0] & 15];
		*to = t + 6;
		return 1;
	}
	length = p[0] == 0 ? 0 : text_utf8_next(p, size, &code);
	if (length == 0) {
		memcpy(t, "\xef\xbf\xbd", 3); /* U+FFFD */
		*to = t + 3;
		return 1;
	}
	memcpy(t, p, length);
	*to = t + length;
	return length;
}

static bool
is_plain(uint8_t c)
{
	return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* Is each of eight bytes plain? A subtraction borrows only from one that is not. */
static bool
are_plain(uint64_t eight)
{
	const uint64_t each = UINT64_C(0x0101010101010101);
	uint64_t quotes = (eight ^ each * '"') - each;
	uint64_t backslashes = (eight ^ each * '\\') - each;

	return ((eight | (eight - each * 0x20) | quotes | backslashes) & each * 0x80) ==
	       0;
}

static bool
copy_eight(uint8_t *to, const uint8_t *p)
{
	uint64_t eight;

	memcpy(&eight, p, sizeof(eight));
	memcpy(to, &eight, sizeof(eight));
	return are_plain(eight);
}

/* Copy the plain bytes at the start; to has room for all of size. Returns how many. */
static size_t
copy_plain(uint8_t *to, const uint8_t *p, size_t size)
{
	size_t i = 0;

	while (size - i >= 8 && copy_eight(to + i, p + i))
		i += 8;
	/* The rest at once, some of it for the second time. */
	if (size - i < 8 && size >= 8 && copy_eight(to + size - 8, p + size - 8))
		return size;
	for (; i < size && is_plain(p[i]); i++)
		to[i] = p[i];
	return i;
}

/* Write from p until at least size bytes are taken; behind them left - size more. */
static size_t
put_piece(struct buffer *out, const uint8_t *p, size_t size, size_t left)
{
	uint8_t *to = out->data + out->size;
	size_t i = 0;

	while (i < size) {
		size_t plain = copy_plain(to, p + i, size - i);

		i += plain;
		to += plain;
		if (i < size)
			i += escape(p + i, left - i, &to);
	}
	out->size = (size_t)(to - out->data);
	return i;
}

int
writer_text(struct buffer *out, struct bytes in)
{
	const uint8_t *p = in.data;
	size_t left = in.size;
	int err;

	err = writer_literal(out, "\"");
	while (err == 0 && left > 0) {
		size_t size = left < PIECE_BYTES ? left : PIECE_BYTES;

		/* The last character of a piece may reach up to three bytes beyond it. */
		err = buffer_reserve(out, size * ESCAPED_MAX + 3);
		if (err == 0) {
			size = put_piece(out, p, size, left);
			p += size;
			left -= size;
		}
	}
	return err == 0 ? writer_literal(out, "\"") : err;
}

int
writer_str(struct buffer *out, const char *text)
{
	return writer_text(out, (struct bytes){text, strlen(text)});
}

int
writer_base64(struct buffer *out, struct bytes in)
{
	int err;

	err = writer_literal(out, "\"");
	if (err == 0)
		err = text_append_base64(out, in.data, in.size);
	if (err == 0)
		err = writer_literal(out, "\"");
	return err;
}
