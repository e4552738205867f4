/* SPDX-License-Identifier: Apache-2.0 */
/* What tidegate-admin was asked, and the commands that are more than one call. */
#ifndef ADMIN_H
#define ADMIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "batch.h"
#include "journal.h"
#include "settings.h"

struct admin {
	const char *config_path;         /* NULL: not given */
	const char *directory;           /* the journal's */
	const char *gateway_id;          /* NULL: not known, and not to be changed */
	const struct settings *settings; /* NULL: there are none */
	enum batch_codec codec;
	const char *command;
	char *const *arguments;
	size_t argument_count;
	bool is_all;
	bool is_short, is_json;
	bool is_verbose;
	int64_t wait_ms; /* for tidegate-forward to carry out an order */
};

/* A sequence number, or 0: it is none. */
uint64_t admin_seq(const char *text);

/* "tidegate-admin: " and this on standard error. */
__attribute__((format(printf, 1, 2))) void admin_complain(const char *format, ...);

/* The journal has logged why: tell what became of it, and the way out where there is one. */
int admin_fail(const char *outcome, int rc);

/*
 * Requeue or discard: here, if nobody has forward's role, else by an order to
 * tidegate-forward. These return the exit status.
 */
int admin_letters(const struct admin *a, enum journal_order_kind kind);

/* By an order, always: only tidegate-forward knows what is on its way. */
int admin_skip(const struct admin *a);

/* List them; take some back. */
int admin_orders(const struct admin *a);
int admin_withdraw(const struct admin *a);

/* Exit status 0 only when the gateway is well. */
int admin_status(const struct admin *a);

/* By tidegate-ingest, which takes what the broker still has. */
int admin_leave(const struct admin *a);

int admin_backup(const struct admin *a);
int admin_compact(const struct admin *a);
int admin_salvage(const struct admin *a);

#endif
