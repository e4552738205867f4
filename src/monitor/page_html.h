/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing HTML: text escaped, and numbers, sizes, ages and times in the words of the
 * status page. The first failure sticks, and what follows it does nothing.
 */
#ifndef PAGE_HTML_H
#define PAGE_HTML_H

#include <stddef.h>
#include <stdint.h>

#include "buffer.h"

struct html {
	struct buffer *out;
	int64_t now_ms;  /* monotonic, of the instants that it is given */
	int64_t real_ms; /* the same moment by the clock */
	int err;         /* ERR_NOMEM */
};

/* Markup, as it is. */
void html_add(struct html *h, const char *markup);
__attribute__((format(printf, 2, 3))) void html_printf(
    struct html *h, const char *format, ...);

/*
 * Text, whatever its bytes: fit for an element and for an attribute's value in double
 * quotes. What is no character, or would do something to the page, is shown as in C
 * (text_append_safe()); a backslash stays as it is.
 */
void html_text(struct html *h, const char *text);
void html_text_bytes(struct html *h, const void *data, size_t size);

/* 1,234,567 */
void html_count(struct html *h, uint64_t count);

/* 1,234 things; 1 thing. plural: with an s, or NULL to have one put behind. */
void html_counted(struct html *h, uint64_t count, const char *one, const char *plural);

/* 1.2 MiB */
void html_size(struct html *h, uint64_t bytes);

/* 12.3, without a unit */
void html_rate(struct html *h, double per_second);

/* 3 h 20 min */
void html_age(struct html *h, int64_t ms);

/* A time element: 10:04:12 UTC on the day that it is, else 22 Nov 10:04 UTC. */
void html_time(struct html *h, int64_t real_ms);

/* "since 10:04:12 UTC, for 3 h 20 min", of an instant of the board; nothing for 0. */
void html_since(struct html *h, int64_t at_ms);

#endif
