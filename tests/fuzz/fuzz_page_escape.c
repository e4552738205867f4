/* SPDX-License-Identifier: Apache-2.0 */
/* sources: monitor/page_html.c text.c buffer.c err.c */
/* Whatever comes in as text, the page gets no markup, no quote and no control character. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/page_html.h"
#include "text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
is_entity(const uint8_t *p, size_t size)
{
	static const char *const entities[] = {
	    "&amp;", "&lt;", "&gt;", "&quot;", "&#39;"};

	for (size_t i = 0; i < sizeof(entities) / sizeof(entities[0]); i++) {
		size_t length = strlen(entities[i]);

		if (size >= length && memcmp(p, entities[i], length) == 0)
			return true;
	}
	return false;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buffer page = {0};
	struct html h = {.out = &page};

	html_text_bytes(&h, data, size);
	if (h.err != 0)
		abort();
	for (size_t i = 0; i < page.size;) {
		uint32_t c;
		size_t length = text_utf8_next(page.data + i, page.size - i, &c);

		if (length == 0 || c < 0x20 || (c >= 0x7f && c < 0xa0))
			abort();
		if (c == '<' || c == '>' || c == '"' || c == '\'')
			abort();
		if (c == '&' && !is_entity(page.data + i, page.size - i))
			abort();
		i += length;
	}
	buffer_fini(&page);
	return 0;
}
