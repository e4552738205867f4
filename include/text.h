/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes as text: is it UTF-8, how to show it to a person, base64. */
#ifndef TEXT_H
#define TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buffer.h"

/*
 * Decode the character at the start of data, by RFC 3629 (no surrogates, nothing
 * overlong). Returns its bytes, 1 to 4; 0 when it is not UTF-8 or size is 0.
 *
 * code:      out.
 */
size_t text_utf8_next(const void *data, size_t size, uint32_t *code);

/* Is all of it UTF-8? U+0000 counts as a character. */
bool text_is_utf8(const void *data, size_t size);

/*
 * Where to cut text, which is UTF-8 and longer than size bytes: the bytes of its longest
 * start, at most size, that ends with a character.
 */
size_t text_cut(const char *text, size_t size);

/*
 * Append data in a form that does nothing to a terminal and stays on one line:
 * control characters, line separators, invisible and direction-changing characters
 * and bytes that are not UTF-8 are escaped as in C (\n, \x1b, \u202e), and so is the
 * backslash. What is appended is UTF-8.
 *
 * Errors:    ERR_NOMEM; a part may have been appended.
 */
int text_append_safe(struct buffer *out, const void *data, size_t size);

/* Append data in base64 (RFC 4648, section 4). Errors: ERR_NOMEM, out is as before. */
int text_append_base64(struct buffer *out, const void *data, size_t size);

#define TEXT_COUNT_BYTES 32

/* Write a number for people: 1,234,567, and an end mark. */
void text_count(char text[TEXT_COUNT_BYTES], uint64_t count);

#endif
