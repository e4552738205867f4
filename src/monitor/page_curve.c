/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The curve of the status page: what came in and what went out, each second, over the
 * last minutes. One line is whole and the other broken, and the same stands in words.
 *
 * The drawing is stretched to its place, so there is no text in it; what is written at
 * its axes stands beside it.
 */
#include "page_parts.h"

#include <stdio.h>

#define WIDTH       900 /* a unit a second */
#define HEIGHT      200
#define SMOOTH      3 /* samples that a point is the mean of: one alone jumps */
#define LAST_MS     60000
#define DIVISIONS_X 3
#define DIVISIONS_Y 2

enum direction {
	DIRECTION_IN,
	DIRECTION_OUT,
};

static double
rate_at(const struct history *y, size_t i, enum direction direction)
{
	const struct history_sample *b = &y->samples[i];
	const struct history_sample *a = &y->samples[i > SMOOTH ? i - SMOOTH : 0];
	uint64_t count = direction == DIRECTION_IN
			     ? b->received_count - a->received_count
			     : b->delivered_count - a->delivered_count;

	return b->at_ms > a->at_ms
		   ? (double)count * 1000 / (double)(b->at_ms - a->at_ms)
		   : 0;
}

static double
highest(const struct history *y, enum direction direction)
{
	double most = 0;

	for (size_t i = 1; i < y->count; i++) {
		double rate = rate_at(y, i, direction);

		if (rate > most)
			most = rate;
	}
	return most;
}

/* The end of the axis: 1, 2 or 5 and noughts, not below what is to be shown. */
static double
axis_end(double most)
{
	double end = 1;

	for (;;) {
		if (end >= most)
			return end;
		if (end * 2 >= most)
			return end * 2;
		if (end * 5 >= most)
			return end * 5;
		end *= 10;
	}
}

static void
put_line(struct html *h, const struct view *v, enum direction direction, double end)
{
	const struct history *y = v->history;

	html_printf(h, "<polyline class=\"line %s\" points=\"",
	    direction == DIRECTION_IN ? "in" : "out");
	for (size_t i = 0; i < y->count; i++) {
		double ago_s = (double)(v->facts.now_ms - y->samples[i].at_ms) / 1000;
		/* Of the first there is none: the line begins level. */
		double rate = rate_at(y, i > 0 ? i : 1, direction);

		if (ago_s <= WIDTH)
			html_printf(h, "%.1f,%.1f ", WIDTH - ago_s,
			    HEIGHT - rate / end * HEIGHT);
	}
	html_add(h, "\"/>\n");
}

static void
put_grid(struct html *h)
{
	html_add(h, "<path class=\"grid\" d=\"");
	for (int i = 0; i <= DIVISIONS_Y; i++)
		html_printf(h, "M0 %dH%d", i * HEIGHT / DIVISIONS_Y, WIDTH);
	for (int i = 0; i <= DIVISIONS_X; i++)
		html_printf(h, "M%d 0V%d", i * WIDTH / DIVISIONS_X, HEIGHT);
	html_add(h, "\"/>\n");
}

/* At the axis: 50/s, 2.5/s. */
static void
put_mark(struct html *h, double rate)
{
	html_add(h, "<span>");
	if (rate < 10 && rate > (double)(int)rate)
		html_rate(h, rate);
	else
		html_count(h, (uint64_t)(rate + 0.5));
	html_add(h, rate > 0 ? "/s</span>" : "</span>");
}

static void
put_drawing(struct html *h, const struct view *v, double end)
{
	html_add(h, "<div class=\"plot\">\n<p class=\"axis y\" aria-hidden=\"true\">");
	for (int i = DIVISIONS_Y; i >= 0; i--) {
		put_mark(h, end * i / DIVISIONS_Y);
	}
	html_printf(h,
	    "</p>\n<svg viewBox=\"0 0 %d %d\" preserveAspectRatio=\"none\" "
	    "role=\"img\" aria-labelledby=\"rates-words\">\n",
	    WIDTH, HEIGHT);
	put_grid(h);
	/* The broken line on top: where both run together both are seen. */
	put_line(h, v, DIRECTION_IN, end);
	put_line(h, v, DIRECTION_OUT, end);
	html_add(h, "</svg>\n<p class=\"axis x\" aria-hidden=\"true\">"
		    "<span>15 min ago</span><span>10 min</span><span>5 min</span>"
		    "<span>now</span></p>\n</div>\n");
}

/* The samples of the lines, and what they are. */
static void
put_legend(struct html *h)
{
	static const char sample[] =
	    "<svg viewBox=\"0 0 36 8\" width=\"36\" height=\"8\" "
	    "aria-hidden=\"true\" focusable=\"false\"><path class=\"line %s\" "
	    "d=\"M1 4H35\"/></svg>";

	html_add(h, "<ul class=\"legend\" aria-label=\"The lines\">\n<li>");
	html_printf(h, sample, "in");
	html_add(h, "In: messages from the broker</li>\n<li>");
	html_printf(h, sample, "out");
	html_add(h, "Out: records that Kafka has confirmed</li>\n</ul>\n");
}

static void
put_pair(struct html *h, double in, double out)
{
	html_add(h, "in <b>");
	html_rate(h, in);
	html_add(h, "/s</b>, out <b>");
	html_rate(h, out);
	html_add(h, "/s</b>");
}

void
page_put_curve(struct html *h, const struct view *v)
{
	const struct history *y = v->history;
	bool has_rates = y != NULL && y->count >= 2;
	double in = 0, out = 0;

	html_add(h, "<section class=\"card\" aria-labelledby=\"rates-title\">\n"
		    "<h2 id=\"rates-title\">In and out, the last 15 minutes</h2>\n"
		    "<figure>\n<figcaption id=\"rates-words\" data-live>");
	if (has_rates) {
		in = highest(y, DIRECTION_IN);
		out = highest(y, DIRECTION_OUT);
		html_add(h, "Over the last minute: ");
		put_pair(h, history_received_rate(y, LAST_MS),
		    history_delivered_rate(y, LAST_MS));
		html_add(h, ". Highest: ");
		put_pair(h, in, out);
		html_add(h, ".");
	} else {
		html_add(h, "The curve begins in a few seconds.");
	}
	html_add(h, "</figcaption>\n");
	put_legend(h);
	html_add(h, "<div id=\"rates\" data-live>\n");
	if (has_rates)
		put_drawing(h, v, axis_end(in > out ? in : out));
	html_add(h, "</div>\n</figure>\n</section>\n");
}
