/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the status page, each a section of its own. */
#ifndef PAGE_PARTS_H
#define PAGE_PARTS_H

#include <stdbool.h>

#include "page_html.h"
#include "view.h"

/* More are not shown; those that hold come first. */
#define PAGE_ROUTES_MAX 100

/* What the page's title and its first sentence say. */
void page_put_title(struct html *h, const struct view *v);
void page_put_state(struct html *h, const struct view *v);

/* The broker, the journal, Kafka. */
void page_put_flow(struct html *h, const struct view *v);

/* What went in and out over the last minutes. */
void page_put_curve(struct html *h, const struct view *v);

void page_put_routes(struct html *h, const struct view *v);
void page_put_dead(struct html *h, const struct view *v);
void page_put_workers(struct html *h, const struct view *v);
void page_put_certificates(struct html *h, const struct view *v);
void page_put_events(struct html *h, const struct view *v);
void page_put_about(struct html *h, const struct view *v);

/* Has the worker lately said that it is alive? */
bool page_is_ingest_alive(const struct view *v);
bool page_is_forward_alive(const struct view *v);

/*
 * A table that a narrow screen shows as a card for each row; the roles say that it is
 * a table all the same. labels: of the columns, count of them; those of columns with
 * numbers begin with a #, which is not shown.
 */
void page_table_begin(struct html *h, const char *id, const char *heading,
    const char *const labels[], size_t count);
void page_table_end(struct html *h);
void page_row_begin(struct html *h, bool is_marked);
void page_row_head(struct html *h, const char *name);
void page_row_end(struct html *h);
void page_cell_begin(struct html *h, const char *label);
void page_cell_begin_number(struct html *h, const char *label);
void page_cell_number(struct html *h, const char *label, uint64_t count);
void page_cell_end(struct html *h);

/* One line of a list of names and values. */
void page_fact_begin(struct html *h, const char *name);
void page_fact_end(struct html *h);
void page_fact_count(struct html *h, const char *name, uint64_t count);
void page_fact_text(struct html *h, const char *name, const char *text);

/* One that may be long: it gets a line of its own. */
void page_fact_long(struct html *h, const char *name, const char *text);

#endif
