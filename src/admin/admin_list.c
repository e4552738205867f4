/* SPDX-License-Identifier: Apache-2.0 */
/* The orders that are in the journal: those that wait, and the latest that have ended. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "admin.h"
#include "err.h"
#include "worker.h"

static void
print_time(uint64_t at_ms)
{
	time_t seconds = (time_t)(at_ms / 1000);
	char text[32] = "?";
	struct tm tm;

	if (gmtime_r(&seconds, &tm) != NULL)
		(void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	(void)printf("%-20s  ", text);
}

static void
print_state(const struct journal_order *o)
{
	const char *word = "waits";

	if (o->state == JOURNAL_ORDER_DONE)
		word = "done";
	else if (o->state == JOURNAL_ORDER_FAILED)
		word = o->err == ERR_REFUSED ? "withdrawn" : "failed";
	(void)printf("%-9s  ", word);
}

/* In the words by which it was asked for. */
static void
print_what(const struct journal_order *o)
{
	const char *verb =
	    o->kind == JOURNAL_ORDER_REQUEUE ? "requeue-dead" : "discard-dead";

	switch (o->kind) {
	case JOURNAL_ORDER_SKIP:
		(void)printf("skip %" PRIu64, o->seq);
		break;
	case JOURNAL_ORDER_REQUEUE:
	case JOURNAL_ORDER_DISCARD:
		if (o->seq == 0)
			(void)printf("%s --all", verb);
		else
			(void)printf("%s %" PRIu64, verb, o->seq);
		break;
	case JOURNAL_ORDER_DROP_OLDEST:
		(void)printf("make room: drop the oldest, %" PRIu64 " bytes", o->bytes);
		break;
	case JOURNAL_ORDER_WITHDRAW:
		(void)printf("withdraw %" PRIu64, o->seq);
		break;
	}
}

static void
print_order(const struct journal_order *o)
{
	(void)printf("%-6" PRIu64 "  ", o->number);
	print_time(o->at_ms);
	print_state(o);
	print_what(o);
	if (o->count > 0)
		(void)printf("; %" PRIu64 " done", o->count);
	if (o->state == JOURNAL_ORDER_FAILED && o->err != ERR_REFUSED)
		(void)printf(": %s", err_str(o->err));
	(void)printf("\n");
}

static int
print_all(struct journal *j)
{
	struct journal_order o = {0};
	uint64_t after = 0;
	int rc = 0;

	while (rc == 0 || (rc == ERR_CORRUPT && o.number > after)) {
		after = o.number;
		rc = journal_order_next(j, after, &o);
		if (rc == 0 && after == 0)
			(void)printf("%-6s  %-20s  %-9s  %s\n", "NUMBER", "SINCE",
			    "STATE", "WHAT");
		if (rc == 0)
			print_order(&o);
		else if (rc == ERR_CORRUPT && o.number != 0)
			admin_complain("order %" PRIu64 " is damaged", o.number);
	}
	if (rc == ERR_NOTFOUND && after == 0)
		(void)printf("there are no orders\n");
	return rc == ERR_NOTFOUND ? 0 : rc;
}

int
admin_orders(const struct admin *a)
{
	const struct journal_options options = {.directory = a->directory};
	struct journal *j = NULL;
	int rc = journal_open(&j, JOURNAL_LOOK, &options);

	if (rc != 0)
		return EXIT_FAILED; /* logged there */
	rc = print_all(j);
	journal_close(j);
	if (rc != 0)
		return admin_fail("the orders cannot be read", rc);
	return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILED;
}
