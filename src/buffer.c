/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growing run of bytes. It grows by doubling, so that appending costs the same
 * for each byte however long it gets; a failed call leaves it as it was.
 */
#include "buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

#define SMALLEST_BYTES 64

void
buffer_fini(struct buffer *b)
{
	free(b->data);
	*b = (struct buffer){0};
}

void
buffer_clear(struct buffer *b)
{
	b->size = 0;
}

int
buffer_reserve(struct buffer *b, size_t extra)
{
	size_t capacity = b->capacity < SMALLEST_BYTES ? SMALLEST_BYTES : b->capacity;
	uint8_t *data;

	if (extra <= b->capacity - b->size)
		return 0;
	if (extra > (size_t)PTRDIFF_MAX - b->size)
		return ERR_NOMEM;
	while (capacity < b->size + extra)
		capacity =
		    capacity > (size_t)PTRDIFF_MAX / 2 ? PTRDIFF_MAX : capacity * 2;
	data = realloc(b->data, capacity);
	if (data == NULL)
		return ERR_NOMEM;
	b->data = data;
	b->capacity = capacity;
	return 0;
}

int
buffer_append(struct buffer *b, const void *data, size_t size)
{
	int err = buffer_reserve(b, size);

	if (err != 0)
		return err;
	/* memcpy(3) forbids NULL even for no bytes. */
	if (size > 0)
		memcpy(b->data + b->size, data, size);
	b->size += size;
	return 0;
}

int
buffer_append_str(struct buffer *b, const char *text)
{
	return buffer_append(b, text, strlen(text));
}

int
buffer_append_number(struct buffer *b, uint64_t n)
{
	char text[20]; /* UINT64_MAX has so many digits */
	size_t at = sizeof(text);

	do {
		text[--at] = (char)('0' + n % 10);
		n /= 10;
	} while (n > 0);
	return buffer_append(b, text + at, sizeof(text) - at);
}

int
buffer_printf(struct buffer *b, const char *format, ...)
{
	size_t room;
	va_list args;
	int length;
	int err;

	/* Most of what is printed is short: then one pass is enough. */
	err = buffer_reserve(b, SMALLEST_BYTES);
	if (err != 0)
		return err;
	room = b->capacity - b->size;
	va_start(args, format);
	length = vsnprintf((char *)b->data + b->size, room, format, args);
	va_end(args);
	if (length < 0)
		return ERR_NOMEM;
	if ((size_t)length >= room) {
		err = buffer_reserve(b, (size_t)length + 1);
		if (err != 0)
			return err;
		va_start(args, format);
		length = vsnprintf(
		    (char *)b->data + b->size, (size_t)length + 1, format, args);
		va_end(args);
	}
	b->size += (size_t)length;
	return 0;
}
