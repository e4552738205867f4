/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON, written straight into a buffer. A call that fails may have written a part: the
 * envelope as a whole takes back what was appended.
 */
#ifndef ENVELOPE_WRITER_H
#define ENVELOPE_WRITER_H

#include <string.h>

#include "buffer.h"

/* The length of a constant without its end mark is known to the compiler. */
#define writer_literal(out, text) writer_append(out, text, sizeof(text) - 1)

/* As buffer_append(); where there is room, a constant takes a few instructions. */
static inline int
writer_append(struct buffer *out, const char *text, size_t size)
{
	if (size > out->capacity - out->size)
		return buffer_append(out, text, size);
	memcpy(out->data + out->size, text, size);
	out->size += size;
	return 0;
}

/*
 * A JSON string, quotes included. U+FFFD stands for each byte that is not UTF-8, and for
 * U+0000.
 */
int writer_text(struct buffer *out, struct bytes in);
int writer_str(struct buffer *out, const char *text);

/* A JSON string that holds the base64 of in. */
int writer_base64(struct buffer *out, struct bytes in);

#endif
