/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing HTML.
 *
 * Invariant: what comes in as text never ends up as markup, and the page is UTF-8 without
 * control characters whatever a broker, a route's name or a library's message has in it.
 *
 * Failure modes: no memory; nobody gets a page then.
 */
#include "page_html.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "err.h"
#include "text.h"

#define SECOND_MS INT64_C(1000)
#define MINUTE_MS (60 * SECOND_MS)
#define HOUR_MS   (60 * MINUTE_MS)
#define DAY_MS    (24 * HOUR_MS)

void
html_add(struct html *h, const char *markup)
{
	if (h->err == 0)
		h->err = buffer_append_str(h->out, markup);
}

void
html_printf(struct html *h, const char *format, ...)
{
	char text[256];
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (h->err == 0 && (length < 0 || (size_t)length >= sizeof(text)))
		h->err = ERR_NOMEM;
	html_add(h, text);
}

/* ---- text ---- */

/* What stands for a character that means something in HTML; NULL: it means nothing. */
static const char *
entity_of(char c)
{
	switch (c) {
	case '&':
		return "&amp;";
	case '<':
		return "&lt;";
	case '>':
		return "&gt;";
	case '"':
		return "&quot;";
	case '\'':
		return "&#39;";
	default:
		return NULL;
	}
}

static void
add_escaped(struct html *h, const char *text, size_t size)
{
	size_t from = 0;

	for (size_t i = 0; i < size && h->err == 0; i++) {
		const char *entity = entity_of(text[i]);

		if (entity == NULL)
			continue;
		h->err = buffer_append(h->out, text + from, i - from);
		html_add(h, entity);
		from = i + 1;
	}
	if (h->err == 0)
		h->err = buffer_append(h->out, text + from, size - from);
}

void
html_text_bytes(struct html *h, const void *data, size_t size)
{
	struct buffer safe = {0};
	const char *p = data;
	size_t at = 0;

	/* Much of it has been made safe for a terminal before: not a second time. */
	while (at < size && h->err == 0) {
		const char *backslash = memchr(p + at, '\\', size - at);
		size_t end = backslash == NULL ? size : (size_t)(backslash - p);

		h->err = text_append_safe(&safe, p + at, end - at);
		if (h->err == 0 && end < size)
			h->err = buffer_append(&safe, "\\", 1);
		at = end + 1;
	}
	if (h->err == 0 && safe.size > 0)
		add_escaped(h, (const char *)safe.data, safe.size);
	buffer_fini(&safe);
}

void
html_text(struct html *h, const char *text)
{
	html_text_bytes(h, text, strlen(text));
}

/* ---- figures ---- */

void
html_count(struct html *h, uint64_t count)
{
	char text[TEXT_COUNT_BYTES];

	text_count(text, count);
	html_add(h, text);
}

void
html_counted(struct html *h, uint64_t count, const char *one, const char *plural)
{
	html_count(h, count);
	html_add(h, " ");
	html_add(h, count == 1 || plural == NULL ? one : plural);
	if (count != 1 && plural == NULL)
		html_add(h, "s");
}

void
html_size(struct html *h, uint64_t bytes)
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double size = (double)bytes / 1024;
	size_t unit = 0;
	int tenths;

	if (bytes < 1024) {
		html_counted(h, bytes, "byte", NULL);
		return;
	}
	/* What would be shown as 1024 is one of the next unit. */
	while (size >= 1023.5 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		size /= 1024;
		unit++;
	}
	/* One decimal where it says something: 9.5, but 4 and 12. */
	tenths = (int)(size * 10 + 0.5);
	if (tenths >= 100 || tenths % 10 == 0)
		html_printf(h, "%.0f\xc2\xa0%s", size, units[unit]);
	else
		html_printf(h, "%.1f\xc2\xa0%s", size, units[unit]);
}

void
html_rate(struct html *h, double per_second)
{
	if (per_second >= 99.5)
		html_count(h, (uint64_t)(per_second + 0.5));
	else if (per_second >= 0.05 || per_second <= 0)
		html_printf(h, per_second <= 0 ? "%.0f" : "%.1f", per_second);
	else
		html_add(h, "less than 0.1");
}

void
html_age(struct html *h, int64_t ms)
{
	if (ms < 0)
		ms = 0;
	if (ms < MINUTE_MS)
		html_printf(h, "%" PRId64 " s", ms / SECOND_MS);
	else if (ms < HOUR_MS)
		html_printf(h, "%" PRId64 " min", ms / MINUTE_MS);
	else if (ms < DAY_MS)
		html_printf(h, "%" PRId64 " h %" PRId64 " min", ms / HOUR_MS,
		    ms % HOUR_MS / MINUTE_MS);
	else
		html_printf(h, "%" PRId64 " %s %" PRId64 " h", ms / DAY_MS,
		    ms < 2 * DAY_MS ? "day" : "days", ms % DAY_MS / HOUR_MS);
}

/* ---- times ---- */

void
html_time(struct html *h, int64_t real_ms)
{
	static const char *const days[] = {"Sunday", "Monday", "Tuesday", "Wednesday",
	    "Thursday", "Friday", "Saturday"};
	static const char *const months[] = {"January", "February", "March", "April",
	    "May", "June", "July", "August", "September", "October", "November",
	    "December"};
	bool is_today = real_ms / DAY_MS == h->real_ms / DAY_MS;
	time_t seconds = (time_t)(real_ms / 1000);
	char day[40], clock[16];
	struct tm tm;

	if (gmtime_r(&seconds, &tm) == NULL ||
	    strftime(day, sizeof(day), "%Y-%m-%d", &tm) == 0 ||
	    strftime(clock, sizeof(clock), "%H:%M:%S", &tm) == 0) {
		html_add(h, "a time beyond the calendar");
		return;
	}
	html_printf(h, "<time datetime=\"%sT%sZ\" title=\"%s, %d %s %d, %s UTC\">", day,
	    clock, days[tm.tm_wday], tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900,
	    clock);
	if (is_today)
		html_printf(h, "%s UTC</time>", clock);
	else
		html_printf(h, "%d %.3s %d, %.5s UTC</time>", tm.tm_mday,
		    months[tm.tm_mon], tm.tm_year + 1900, clock);
}

void
html_since(struct html *h, int64_t at_ms)
{
	if (at_ms == 0)
		return;
	html_add(h, "since ");
	html_time(h, h->real_ms - (h->now_ms - at_ms));
	html_add(h, ", for ");
	html_age(h, h->now_ms - at_ms);
}
