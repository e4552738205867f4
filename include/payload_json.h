/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The payload of one record at a time, seen as JSON. It is parsed when somebody asks,
 * and once only.
 *
 * jansson tells what is JSON. It says no to some that RFC 8259 leaves to the reader:
 * U+0000 in a name, half a surrogate pair, a number beyond the range of a double, more
 * than 2048 levels. We do to more than 250,000 values: so no message makes it take
 * more than some 50 MB beside the size of its strings.
 *
 * What is found is taken from the text of the payload itself: a number comes out digit by
 * digit as it was written. Of members with the same name the last counts.
 */
#ifndef PAYLOAD_JSON_H
#define PAYLOAD_JSON_H

#include <stdbool.h>

#include "buffer.h"

struct payload_json;

/* Errors: ERR_NOMEM. */
int payload_json_open(struct payload_json **out);
void payload_json_close(struct payload_json *p);

/* The next record. Ownership: payload is borrowed until the next one or the close. */
void payload_json_begin(struct payload_json *p, struct bytes payload);

/* Is it one JSON value, in UTF-8? (RFC 8259; any kind of value.) */
bool payload_json_is_valid(struct payload_json *p);

/* Is it a JSON pointer that can be looked up (RFC 6901: "" or "/...")? */
bool payload_json_is_pointer(const char *pointer);

/*
 * Append what a pointer finds: a string's characters, anything else as it is written
 * there, without the white space between values.
 *
 * found:     out; false: the payload is not JSON, nothing is there, or it is null.
 * Errors:    ERR_NOMEM, out is as before.
 */
int payload_json_find(
    struct payload_json *p, const char *pointer, struct buffer *out, bool *found);

#endif
