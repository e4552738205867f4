/* SPDX-License-Identifier: Apache-2.0 */
/* What the monitor would show of a gateway that there is not. */
#ifndef VIEWS_H
#define VIEWS_H

#include "src/monitor/view.h"

#define VIEWS_NOW_MS  INT64_C(90000000)
#define VIEWS_REAL_MS INT64_C(1795435452000) /* 2026-11-23T12:04:12Z */

#define VIEWS_ROUTES 3

struct made_view {
	struct view view;
	struct settings settings;
	struct settings_route settings_routes[VIEWS_ROUTES];
	struct journal_identity identity;
	struct journal_stat stat;
	struct board_view board;
	struct board_route routes[VIEWS_ROUTES];
	struct history history;
	struct events *events;
	int events_fd;
};

/*
 * A gateway that is well, with routes, rates and certificates, to be spoiled. All of it
 * belongs to m. Returns 0, or -1: no memory.
 */
int views_make(struct made_view *m);
void views_fini(struct made_view *m);

/* Kafka has been away for three hours; the journal fills. */
void views_take_kafka_away(struct made_view *m);

/* text stands wherever a name, an error or an event can; borrowed as long as m is used. */
void views_take_odd(struct made_view *m, char *text);

/* The problems of what m holds now, as the monitor would have them. */
int views_judge(struct made_view *m);

#endif
