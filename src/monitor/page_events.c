/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The latest events on the status page, the newest first.
 *
 * They come as lines of JSON out of memory that others write: a line that is no such
 * object is shown as the text that it is.
 */
#include "page_parts.h"

#include <jansson.h>
#include <string.h>
#include <time.h>

#define DAY_SIZE  10 /* of 2026-11-24T10:00:00.123Z */
#define TIME_FROM 11
#define TIME_SIZE 8

static const char *
field(const json_t *event, const char *name)
{
	const char *text = json_string_value(json_object_get(event, name));

	return text != NULL ? text : "";
}

/* Is it a time as the log writes it? */
static bool
is_time(const char *text)
{
	static const char form[] = "0000-00-00T00:00:00.000Z";
	size_t i;

	for (i = 0; text[i] != '\0' && form[i] != '\0'; i++) {
		bool is_digit = text[i] >= '0' && text[i] <= '9';

		if (form[i] == '0' ? !is_digit : text[i] != form[i])
			return false;
	}
	return text[i] == '\0' && form[i] == '\0';
}

/* today: the day of the page, in the same form. */
static void
put_time(struct html *h, const char *text, const char *today)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	int month;

	if (!is_time(text))
		return;
	html_printf(h, "<time datetime=\"%s\" title=\"%.10s %.8s UTC\">", text, text,
	    text + TIME_FROM);
	month = (text[5] - '0') * 10 + text[6] - '0';
	if (strncmp(text, today, DAY_SIZE) != 0 && month >= 1 && month <= 12)
		html_printf(h, "%.2s %.3s ", text + 8, months + (month - 1) * 3);
	html_printf(h, "%.*s</time> ", TIME_SIZE, text + TIME_FROM);
}

static void
put_event(struct html *h, const char *line, size_t size, const char *today)
{
	json_t *event = json_loadb(line, size, JSON_ALLOW_NUL, NULL);
	const char *level = field(event, "level");
	bool is_loud = strcmp(level, "error") == 0 || strcmp(level, "warning") == 0;

	html_add(h, is_loud ? "<li class=\"loud\">" : "<li>");
	if (field(event, "text")[0] == '\0') {
		html_add(h, "<span class=\"text raw\">");
		html_text_bytes(h, line, size);
		html_add(h, "</span>");
	} else {
		put_time(h, field(event, "time"), today);
		html_add(h, "<span class=\"level\">");
		html_text(h, level);
		html_add(h, "</span> <span class=\"text\">");
		html_text(h, field(event, "text"));
		html_add(h, "</span> <span class=\"worker\">");
		html_text(h, field(event, "worker"));
		html_add(h, "</span>");
	}
	html_add(h, "</li>\n");
	json_decref(event);
}

/* The lines backwards: they come with the oldest first, each with a newline. */
static void
put_lines(struct html *h, const char *lines, size_t size, const char *today)
{
	size_t end = size;

	while (end > 0) {
		size_t start = end - 1;

		while (start > 0 && lines[start - 1] != '\n')
			start--;
		if (end - 1 > start)
			put_event(h, lines + start, end - 1 - start, today);
		end = start;
	}
}

static void
format_day(char today[16], int64_t real_ms)
{
	time_t seconds = (time_t)(real_ms / 1000);
	struct tm tm;

	if (gmtime_r(&seconds, &tm) == NULL ||
	    strftime(today, 16, "%Y-%m-%d", &tm) == 0)
		today[0] = '\0';
}

void
page_put_events(struct html *h, const struct view *v)
{
	struct buffer lines = {0};
	char today[16];

	format_day(today, v->facts.real_ms);
	if (v->events != NULL && h->err == 0)
		h->err = events_read(v->events, VIEW_EVENTS_MAX, &lines);
	html_add(h, "<section class=\"card\" aria-labelledby=\"events-title\">\n"
		    "<h2 id=\"events-title\">Latest events</h2>\n"
		    "<ol id=\"events\" class=\"events\" data-live>\n");
	if (h->err == 0 && lines.size > 0)
		put_lines(h, (const char *)lines.data, lines.size, today);
	html_add(h, "</ol>\n<p class=\"note\" id=\"events-note\" data-live>");
	if (v->events == NULL)
		html_add(h, "tidegate-monitor runs alone: it is told of no events.");
	else if (lines.size == 0)
		html_add(h, "None yet.");
	html_add(h, "</p>\n</section>\n");
	buffer_fini(&lines);
}
