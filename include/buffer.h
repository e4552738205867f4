/* SPDX-License-Identifier: Apache-2.0 */
/* A growing run of bytes. */
#ifndef BUFFER_H
#define BUFFER_H

#include <stddef.h>
#include <stdint.h>

/* Borrowed bytes. data is NULL where there is nothing, not even an empty string. */
struct bytes {
	const void *data;
	size_t size;
};

/* Zero-initialised is valid and empty. The caller owns it; release with buffer_fini(). */
struct buffer {
	uint8_t *data;
	size_t size;
	size_t capacity;
};

void buffer_fini(struct buffer *b);

/* Forget the bytes, keep the room. */
void buffer_clear(struct buffer *b);

/*
 * Make room for extra more bytes behind size; data may move.
 *
 * Errors:    ERR_NOMEM, nothing changed.
 */
int buffer_reserve(struct buffer *b, size_t extra);

/*
 * Append size bytes. data is borrowed and must not lie inside b.
 *
 * Errors:    ERR_NOMEM, nothing changed.
 */
int buffer_append(struct buffer *b, const void *data, size_t size);

/* The same for a string, without its end mark. */
int buffer_append_str(struct buffer *b, const char *text);

/* The same for a number, in decimal. */
int buffer_append_number(struct buffer *b, uint64_t n);

/* printf(3) into the buffer. Errors: ERR_NOMEM, nothing changed. */
__attribute__((format(printf, 2, 3))) int buffer_printf(
    struct buffer *b, const char *format, ...);

#endif
