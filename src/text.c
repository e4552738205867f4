/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes as text. Runs for each record that tidegate-dump lists: what is plain already
 * is copied in runs.
 */
#include "text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "err.h"

size_t
text_utf8_next(const void *data, size_t size, uint32_t *code)
{
	static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
	const uint8_t *p = data;
	size_t length;
	uint32_t c;

	if (size == 0)
		return 0;
	if (p[0] < 0x80) {
		*code = p[0];
		return 1;
	}
	if (p[0] >= 0xc2 && p[0] < 0xe0) {
		length = 2;
		c = p[0] & 0x1fU;
	} else if (p[0] >= 0xe0 && p[0] < 0xf0) {
		length = 3;
		c = p[0] & 0x0fU;
	} else if (p[0] >= 0xf0 && p[0] < 0xf5) {
		length = 4;
		c = p[0] & 0x07U;
	} else {
		return 0;
	}
	if (length > size)
		return 0;
	for (size_t i = 1; i < length; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3fU);
	}
	if (c < smallest[length] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return 0;
	*code = c;
	return length;
}

bool
text_is_utf8(const void *data, size_t size)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < size;) {
		uint32_t code;
		size_t length = text_utf8_next(p + i, size - i, &code);

		if (length == 0)
			return false;
		i += length;
	}
	return true;
}

size_t
text_cut(const char *text, size_t size)
{
	while (size > 0 && ((unsigned char)text[size] & 0xc0) == 0x80)
		size--;
	return size;
}

/* Unicode's control, format, separator and tag characters, and noncharacters. */
static bool
is_plain(uint32_t c)
{
	static const struct {
		uint32_t first, last;
	} special[] = {
	    {0x0000, 0x001f},
	    {'\\', '\\'},
	    {0x007f, 0x009f},
	    {0x00ad, 0x00ad},
	    {0x061c, 0x061c},
	    {0x115f, 0x1160},
	    {0x180e, 0x180e},
	    {0x200b, 0x200f},
	    {0x2028, 0x202e},
	    {0x2060, 0x206f},
	    {0xe000, 0xf8ff},
	    {0xfdd0, 0xfdef},
	    {0xfeff, 0xfeff},
	    {0xfff0, 0xfffb},
	    {0xe0000, 0xe0fff},
	    {0xf0000, 0x10ffff},
	};

	for (size_t i = 0; i < sizeof(special) / sizeof(special[0]); i++) {
		if (c >= special[i].first && c <= special[i].last)
			return false;
	}
	return (c & 0xfffe) != 0xfffe;
}

static int
append_escaped(struct buffer *out, uint32_t c)
{
	switch (c) {
	case '\\':
		return buffer_append(out, "\\\\", 2);
	case '\n':
		return buffer_append(out, "\\n", 2);
	case '\r':
		return buffer_append(out, "\\r", 2);
	case '\t':
		return buffer_append(out, "\\t", 2);
	default:
		break;
	}
	if (c < 0x80)
		return buffer_printf(out, "\\x%02x", (unsigned)c);
	if (c < 0x10000)
		return buffer_printf(out, "\\u%04x", (unsigned)c);
	return buffer_printf(out, "\\U%08x", (unsigned)c);
}

/* How many bytes from the start can be shown as they are. */
static size_t
plain_run(const uint8_t *p, size_t size)
{
	size_t i = 0;

	while (i < size) {
		uint32_t code;
		size_t length;

		if (p[i] >= 0x20 && p[i] < 0x7f && p[i] != '\\') {
			i++;
			continue;
		}
		length = text_utf8_next(p + i, size - i, &code);
		if (length == 0 || !is_plain(code))
			break;
		i += length;
	}
	return i;
}

int
text_append_safe(struct buffer *out, const void *data, size_t size)
{
	const uint8_t *p = data;
	size_t i = 0;

	while (i < size) {
		size_t length = plain_run(p + i, size - i);
		uint32_t code;
		int err;

		if (length > 0) {
			err = buffer_append(out, p + i, length);
		} else {
			length = text_utf8_next(p + i, size - i, &code);
			if (length > 0)
				err = append_escaped(out, code);
			else
				err = buffer_printf(out, "\\x%02x", p[i]);
			length = length > 0 ? length : 1;
		}
		if (err != 0)
			return err;
		i += length;
	}
	return 0;
}

/* Base64's two digits for each value of twelve bits: 64 lines of 64 pairs. */
#define ROW(d)                                                                    \
	d "A" d "B" d "C" d "D" d "E" d "F" d "G" d "H" d "I" d "J" d "K" d "L" d \
	  "M" d "N" d "O" d "P" d "Q" d "R" d "S" d "T" d "U" d "V" d "W" d "X" d \
	  "Y" d "Z" d "a" d "b" d "c" d "d" d "e" d "f" d "g" d "h" d "i" d "j" d \
	  "k" d "l" d "m" d "n" d "o" d "p" d "q" d "r" d "s" d "t" d "u" d "v" d \
	  "w" d "x" d "y" d "z" d "0" d "1" d "2" d "3" d "4" d "5" d "6" d "7" d \
	  "8" d "9" d "+" d "/"

static const char digit_pairs[64][128] = {ROW("A"), ROW("B"), ROW("C"), ROW("D"),
    ROW("E"), ROW("F"), ROW("G"), ROW("H"), ROW("I"), ROW("J"), ROW("K"), ROW("L"),
    ROW("M"), ROW("N"), ROW("O"), ROW("P"), ROW("Q"), ROW("R"), ROW("S"), ROW("T"),
    ROW("U"), ROW("V"), ROW("W"), ROW("X"), ROW("Y"), ROW("Z"), ROW("a"), ROW("b"),
    ROW("c"), ROW("d"), ROW("e"), ROW("f"), ROW("g"), ROW("h"), ROW("i"), ROW("j"),
    ROW("k"), ROW("l"), ROW("m"), ROW("n"), ROW("o"), ROW("p"), ROW("q"), ROW("r"),
    ROW("s"), ROW("t"), ROW("u"), ROW("v"), ROW("w"), ROW("x"), ROW("y"), ROW("z"),
    ROW("0"), ROW("1"), ROW("2"), ROW("3"), ROW("4"), ROW("5"), ROW("6"), ROW("7"),
    ROW("8"), ROW("9"), ROW("+"), ROW("/")};

#undef ROW

static void
put_digits(uint8_t *to, uint32_t three_bytes)
{
	const char *pairs = (const char *)digit_pairs;

	memcpy(to, pairs + (size_t)(three_bytes >> 12) * 2, 2);
	memcpy(to + 2, pairs + (size_t)(three_bytes & 4095) * 2, 2);
}

int
text_append_base64(struct buffer *out, const void *data, size_t size)
{
	const uint8_t *p = data;
	size_t left = size;
	uint8_t *to;
	int err = buffer_reserve(out, (size + 2) / 3 * 4);

	if (err != 0)
		return err;
	to = out->data + out->size;
	for (; left >= 4; left -= 3, p += 3, to += 4) {
		/* The fourth byte makes one load of it, where the machine can. */
		uint32_t v = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
			     (uint32_t)p[2] << 8 | p[3];

		put_digits(to, v >> 8);
	}
	if (left > 0) {
		uint32_t v = (uint32_t)p[0] << 16 |
			     (left > 1 ? (uint32_t)p[1] << 8 : 0) |
			     (left > 2 ? p[2] : 0);

		put_digits(to, v);
		if (left < 2)
			to[2] = '=';
		if (left < 3)
			to[3] = '=';
	}
	out->size += (size + 2) / 3 * 4;
	return 0;
}

void
text_count(char text[TEXT_COUNT_BYTES], uint64_t count)
{
	char digits[TEXT_COUNT_BYTES];
	int length = snprintf(digits, sizeof(digits), "%" PRIu64, count);

	for (int i = 0; i < length; i++) {
		if (i > 0 && (length - i) % 3 == 0)
			*text++ = ',';
		*text++ = digits[i];
	}
	*text = '\0';
}
