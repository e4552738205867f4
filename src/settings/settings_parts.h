/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the settings*.c files share: the options as tables, by which settings.c
 * reads and settings_print.c prints, and where mistakes go.
 */
#ifndef SETTINGS_PARTS_H
#define SETTINGS_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buffer.h"
#include "settings.h"

/* ---- mistakes ---- */

struct settings_mistakes {
	const char *name; /* of the file */
	struct buffer *out;
	size_t count;
	int err; /* ERR_NOMEM once a line could not be added */
};

/* Add the line "NAME:LINE: text". */
__attribute__((format(printf, 3, 4))) void settings_mistake(
    struct settings_mistakes *m, int line, const char *format, ...);

/*
 * Look through the text for the usual slips, of which libconfig says no more than
 * "syntax error", and for numbers, which it cuts to 32 bits without a word. Returns
 * whether libconfig may read the text: false after a slip of syntax.
 */
bool settings_scan(const char *text, struct settings_mistakes *m);

/* ---- options ---- */

enum option_kind {
	OPTION_TEXT,       /* char *, NULL where it is not given and has no default */
	OPTION_WORD,       /* char *, one of choices */
	OPTION_CHOICE,     /* an enum, one of choices */
	OPTION_BOOL,       /* bool */
	OPTION_INT,        /* int */
	OPTION_LONG,       /* int64_t; -1: not given */
	OPTION_SIZE,       /* 64 bits; all set: not given */
	OPTION_EXPIRY,     /* uint32_t; UINT32_MAX: never */
	OPTION_FILTERS,    /* a route's topic_filters */
	OPTION_PROPERTIES, /* kafka.properties */
	OPTION_HEADERS,    /* a route's headers; members, for each */
	OPTION_METADATA,   /* a route's metadata; the same */
	OPTION_GROUP,      /* members */
	OPTION_ROUTES,     /* members, for each route */
	OPTION_PAYLOAD,    /* send_only_payload, another name for an envelope */
};

struct option_choice {
	const char *word; /* NULL ends the list */
	int value;        /* of several words for one value the first is kept */
};

struct settings_option {
	const char *key; /* NULL ends the table */
	enum option_kind kind;
	size_t offset; /* in the struct of the group around it */
	int64_t min, max;
	int64_t number;   /* default of everything that is not text */
	const char *text; /* default of text and words; NULL: none */
	const struct option_choice *choices;
	const struct settings_option *members;
	/* NULL if text will do, else why not: words that go behind the text. */
	const char *(*check)(const char *text);
	/* Where 0 lies within the range and is not allowed all the same: why. */
	const char *why_not_zero;
	bool is_required;
	bool is_secret;
	/* Empty text stands for none, and is kept as NULL. */
	bool may_be_empty;
	/* A group that switches something on: its struct begins with the bool for it. */
	bool is_switch;
};

/* The whole configuration. */
extern const struct settings_option settings_options[];

/* The option of that name in a table, or NULL. */
const struct settings_option *settings_option_find(
    const struct settings_option table[], const char *key);

/* Put the defaults into a group's struct. Errors: ERR_NOMEM. */
int settings_option_defaults(const struct settings_option table[], void *base);

/* Free what the options of a group own. */
void settings_option_free(const struct settings_option table[], void *base);

/* ---- names that are not ours ---- */

/* What other programs call an option of a table, or NULL where none is called so. */
const char *settings_name_other(const struct settings_option table[], const char *key);

/* The same, else the option that is nearest to a mistyped name. */
const char *settings_name_nearest(
    const struct settings_option table[], const char *key);

/* Where an option of ThingsBoard TBMQ's Kafka integration is found here, or NULL. */
const char *settings_name_of_tbmq(const char *key);

/* Does it look like what kafka.properties have for TLS and SASL? */
bool settings_name_is_security(const char *key);

/* librdkafka's proper name for a property: several have two. */
const char *settings_name_of_property(const char *name);

/* ---- reading ---- */

struct settings_reader {
	struct settings_mistakes mistakes;
	struct settings *settings;
	void *scope;     /* libconfig's: where settings_line() looks */
	char prefix[96]; /* of the names in mistakes: "mqtt.", "routes[0]." */
};

/*
 * The line of an option, by the path to it within the file ("mqtt.port") or, for
 * settings_check_route(), within the route; 0 where it is not given.
 */
int settings_line(const struct settings_reader *r, const char *path);

/* One value of the file, as libconfig read it. Borrowed from there. */
struct settings_value {
	int line;
	const char *type; /* for people: "a number" */
	const char *text; /* NULL: it is not text */
	bool is_number, is_bool;
	int64_t number; /* also 0 and 1 of a bool */
};

/* Report a mistake in the value of an option: "NAME:LINE: PREFIX+KEY: text". */
__attribute__((format(printf, 4, 5))) void settings_value_mistake(
    struct settings_reader *r, int line, const char *key, const char *format, ...);
void settings_type_mistake(struct settings_reader *r, const struct settings_value *v,
    const char *key, const char *wanted);

/* Check a plain value and store it at its place; mistakes are reported. */
void settings_take(struct settings_reader *r, const struct settings_option *o,
    const struct settings_value *v, void *at);

/* The same for one element of a list; its place is there already. */
void settings_take_filter(struct settings_reader *r, const struct settings_option *o,
    const struct settings_value *v, struct settings_route *route);
void settings_take_property(struct settings_reader *r, const struct settings_option *o,
    const struct settings_value *v, struct settings_kafka *k);

/* Fill in what depends on other options, when the whole file has been read. */
void settings_complete(struct settings_reader *r);

/* Report what no option can say alone: of the file, of the route that was read last. */
void settings_check_together(struct settings_reader *r);
void settings_check_route(struct settings_reader *r);

/* ---- values ---- */

/* "64 KiB" -> 65536. Returns NULL, or why not. */
const char *settings_size_parse(const char *text, uint64_t *bytes);

/* "4 GB" -> "4 GiB". Returns false where the unit is another one, or the number none. */
bool settings_size_meant(const char *text, char meant[32]);

/* The reverse, with the largest unit that divides it. */
void settings_size_format(uint64_t bytes, char text[32]);

/* For struct settings_option.check. */
const char *settings_check_gateway_id(const char *text);
const char *settings_check_name(const char *text);
const char *settings_check_mqtt_string(const char *text);
const char *settings_check_host(const char *text);
const char *settings_check_servers(const char *text);
const char *settings_check_listen(const char *text);
const char *settings_check_secret(const char *text);
const char *settings_check_path(const char *text);
const char *settings_check_template(const char *text);
const char *settings_check_topic(const char *text);
const char *settings_check_static_topic(const char *text);
const char *settings_check_mqtt_topic(const char *text);
const char *settings_check_header_name(const char *text);
const char *settings_check_metadata_name(const char *text);

/* The same for metadata that become attributes of a CloudEvent. */
const char *settings_check_attribute(const char *text);

/* Would showing the value of this one of kafka.properties give a secret away? */
bool settings_property_is_secret(const char *name);

#endif
