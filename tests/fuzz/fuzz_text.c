/* SPDX-License-Identifier: Apache-2.0 */
/* sources: text.c buffer.c err.c */
/* seconds: 60 */
/* Whatever is shown is UTF-8 and has no control character in it. */
#include <stdint.h>
#include <stdlib.h>

#include "text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buffer shown = {0};

	if (text_append_safe(&shown, data, size) != 0)
		abort();
	for (size_t i = 0; i < shown.size;) {
		uint32_t c;
		size_t length = text_utf8_next(shown.data + i, shown.size - i, &c);

		if (length == 0 || c < 0x20 || (c >= 0x7f && c < 0xa0))
			abort();
		if ((c >= 0x200b && c < 0x2010) || (c >= 0x2028 && c < 0x202f) ||
		    (c >= 0x2066 && c < 0x206a))
			abort();
		i += length;
	}
	buffer_fini(&shown);
	return 0;
}
