/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The status page: the document around its parts, with its style and its script in it.
 *
 * Invariant (I9): the first sentence says "well" only where status_problems() has had
 * nothing to say; where nobody answers any more, the script takes it back.
 *
 * What has data-live is kept up to date by the script, see page.js; it has an id, and no
 * other such element in it.
 */
#include "page.h"

#include "page_parts.h"
#include "src/monitor/page_assets.h"

/* ---- tables and lists ---- */

void
page_table_begin(struct html *h, const char *id, const char *heading,
    const char *const labels[], size_t count)
{
	html_printf(h,
	    "<table role=\"table\" aria-labelledby=\"%s\"><thead role=\"rowgroup\">"
	    "<tr role=\"row\">",
	    heading);
	for (size_t i = 0; i < count; i++)
		html_printf(h, "<th role=\"columnheader\" scope=\"col\"%s>%s</th>",
		    labels[i][0] == '#' ? " class=\"number\"" : "",
		    labels[i] + (labels[i][0] == '#'));
	html_printf(
	    h, "</tr></thead>\n<tbody role=\"rowgroup\" id=\"%s\" data-live>", id);
}

void
page_table_end(struct html *h)
{
	html_add(h, "</tbody></table>\n");
}

void
page_row_begin(struct html *h, bool is_marked)
{
	html_add(
	    h, is_marked ? "<tr role=\"row\" class=\"marked\">" : "<tr role=\"row\">");
}

void
page_row_head(struct html *h, const char *name)
{
	html_add(h, "<th role=\"rowheader\" scope=\"row\">");
	html_text(h, name);
	html_add(h, "</th>");
}

void
page_row_end(struct html *h)
{
	html_add(h, "</tr>\n");
}

void
page_cell_begin(struct html *h, const char *label)
{
	html_printf(h, "<td role=\"cell\" data-label=\"%s\"><div>", label);
}

void
page_cell_begin_number(struct html *h, const char *label)
{
	html_printf(
	    h, "<td role=\"cell\" class=\"number\" data-label=\"%s\"><div>", label);
}

void
page_cell_number(struct html *h, const char *label, uint64_t count)
{
	page_cell_begin_number(h, label);
	html_count(h, count);
	page_cell_end(h);
}

void
page_cell_end(struct html *h)
{
	html_add(h, "</div></td>");
}

void
page_fact_begin(struct html *h, const char *name)
{
	html_printf(h, "<div><dt>%s</dt><dd>", name);
}

void
page_fact_end(struct html *h)
{
	html_add(h, "</dd></div>\n");
}

void
page_fact_count(struct html *h, const char *name, uint64_t count)
{
	page_fact_begin(h, name);
	html_count(h, count);
	page_fact_end(h);
}

void
page_fact_text(struct html *h, const char *name, const char *text)
{
	page_fact_begin(h, name);
	html_text(h, text);
	page_fact_end(h);
}

void
page_fact_long(struct html *h, const char *name, const char *text)
{
	html_printf(h, "<div class=\"long\"><dt>%s</dt><dd>", name);
	html_text(h, text);
	page_fact_end(h);
}

/* ---- the document ---- */

static void
put_lines(struct html *h, const char *const lines[])
{
	for (size_t i = 0; lines[i] != NULL; i++)
		html_add(h, lines[i]);
}

static void
put_head(struct html *h, const struct view *v, const char *nonce)
{
	html_add(h,
	    "<!DOCTYPE html>\n<html lang=\"en\" data-version=\"" PACKAGE_VERSION
	    "\">\n<head>\n<meta charset=\"utf-8\">\n"
	    "<meta name=\"viewport\" content=\"width=device-width, "
	    "initial-scale=1\">\n"
	    "<meta name=\"color-scheme\" content=\"light dark\">\n"
	    "<noscript><meta http-equiv=\"refresh\" content=\"10\"></noscript>\n"
	    "<title id=\"title\" data-live>");
	page_put_title(h, v);
	html_add(h, "</title>\n<link rel=\"icon\" href=\"data:image/svg+xml,");
	/* A gate above water; in a URL, so that no request is made for it. */
	html_add(h,
	    "%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E"
	    "%3Crect width='32' height='32' rx='7' fill='%230b5563'/%3E"
	    "%3Cpath d='M9 17V7h14v10M16 7v10' fill='none' stroke='white' "
	    "stroke-width='2.5'/%3E"
	    "%3Cpath d='M5 22q3.7-4 7.3 0t7.4 0 7.3 0' fill='none' stroke='%237fe0d4' "
	    "stroke-width='2.5'/%3E%3C/svg%3E\">\n");
	html_printf(h, "<style nonce=\"%s\">\n", nonce);
	put_lines(h, page_css);
	html_add(h, "</style>\n</head>\n");
}

static void
put_header(struct html *h, const struct view *v)
{
	html_add(h,
	    "<header>\n<p class=\"brand\"><svg viewBox=\"0 0 32 32\" width=\"28\" "
	    "height=\"28\" aria-hidden=\"true\" focusable=\"false\">"
	    "<rect class=\"sign\" width=\"32\" height=\"32\" rx=\"7\"/>"
	    "<path class=\"gate\" d=\"M9 17V7h14v10M16 7v10\"/>"
	    "<path class=\"water\" d=\"M5 22q3.7-4 7.3 0t7.4 0 7.3 0\"/></svg>"
	    "Tidegate</p>\n<h1>");
	html_text(h, v->facts.settings->gateway_id);
	html_add(h, "</h1>\n<p class=\"made\">As of <span id=\"made\" data-live>");
	html_time(h, v->facts.real_ms);
	html_add(h, "</span></p>\n</header>\n");
}

static void
put_footer(struct html *h)
{
	html_add(h,
	    "<footer>\n<nav aria-label=\"The same for programs\"><ul>\n"
	    "<li><a href=\"status.json\">status.json</a></li>\n"
	    "<li><a href=\"metrics\">metrics</a></li>\n"
	    "<li><a href=\"events\">events</a></li>\n"
	    "<li><a href=\"healthz\">healthz</a></li>\n"
	    "<li><a href=\"readyz\">readyz</a></li>\n"
	    "</ul></nav>\n<p>This page only looks: nothing can be changed here. "
	    "Times are UTC.</p>\n</footer>\n");
}

int
page_render(const struct view *v, const char *nonce, struct buffer *out)
{
	struct html h = {
	    .out = out, .now_ms = v->facts.now_ms, .real_ms = v->facts.real_ms};

	put_head(&h, v, nonce);
	html_add(&h, "<body>\n");
	put_header(&h, v);
	html_add(&h, "<main>\n");
	page_put_state(&h, v);
	page_put_flow(&h, v);
	page_put_curve(&h, v);
	page_put_routes(&h, v);
	page_put_dead(&h, v);
	html_add(&h, "<div class=\"pair\">\n");
	page_put_workers(&h, v);
	page_put_certificates(&h, v);
	html_add(&h, "</div>\n");
	page_put_events(&h, v);
	page_put_about(&h, v);
	html_add(&h, "</main>\n");
	put_footer(&h);
	html_printf(&h, "<script nonce=\"%s\">\n", nonce);
	put_lines(&h, page_js);
	html_add(&h, "</script>\n</body>\n</html>\n");
	return h.err;
}
