/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a configuration with libconfig, by the tables in settings_options.c. The
 * only file that knows libconfig.
 *
 * Invariant: what comes out is complete and within the ranges of the tables; a value
 * that is wrong never stands in for another. All mistakes are reported in one go, in
 * the order of the file; what single options cannot say alone comes after them.
 *
 * Failure modes: a file that cannot be read is ERR_IO, which may pass; everything
 * about the text itself is ERR_INVALID, which will not. libconfig does not look
 * whether its own allocations succeed.
 */
#include "settings.h"

#include <libconfig.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "settings_parts.h"

/* ---- libconfig's values ---- */

static int
line_of(const config_setting_t *setting)
{
	int line = (int)config_setting_source_line(setting);

	return line > 0 ? line : 1;
}

static struct settings_value
value_of(const config_setting_t *setting)
{
	static const char *const types[] = {
	    [CONFIG_TYPE_NONE] = "nothing",
	    [CONFIG_TYPE_GROUP] = "a group { }",
	    [CONFIG_TYPE_INT] = "a number",
	    [CONFIG_TYPE_INT64] = "a number",
	    [CONFIG_TYPE_FLOAT] = "a number with a point",
	    [CONFIG_TYPE_STRING] = "a text",
	    [CONFIG_TYPE_BOOL] = "true or false",
	    [CONFIG_TYPE_ARRAY] = "a list [ ]",
	    [CONFIG_TYPE_LIST] = "a list ( )",
	};
	int type = config_setting_type(setting);
	struct settings_value v = {
	    .line = line_of(setting),
	    .type = types[type],
	    .is_number = type == CONFIG_TYPE_INT || type == CONFIG_TYPE_INT64,
	    .is_bool = type == CONFIG_TYPE_BOOL,
	};

	if (type == CONFIG_TYPE_STRING)
		v.text = config_setting_get_string(setting);
	else if (v.is_number)
		v.number = config_setting_get_int64(setting);
	else if (v.is_bool)
		v.number = config_setting_get_bool(setting);
	return v;
}

static bool
is_list(const config_setting_t *setting)
{
	return config_setting_is_list(setting) || config_setting_is_array(setting);
}

/* A scalar, or a group, stands for a list of one. */
static size_t
list_count(const config_setting_t *setting)
{
	return is_list(setting) ? (size_t)config_setting_length(setting) : 1;
}

static config_setting_t *
list_element(config_setting_t *setting, size_t i)
{
	return is_list(setting) ? config_setting_get_elem(setting, (unsigned)i)
				: setting;
}

/* ---- groups and lists ---- */

static void
unknown_mistake(struct settings_reader *r, const struct settings_option table[],
    const config_setting_t *setting)
{
	const char *key = config_setting_name(setting);
	const char *near = settings_name_nearest(table, key);
	const char *tbmq = settings_name_of_tbmq(key);

	if (tbmq != NULL) {
		settings_value_mistake(
		    r, line_of(setting), key, "that is TBMQ's name; write %s", tbmq);
		return;
	}
	if (settings_option_find(table, "properties") != NULL &&
	    settings_name_is_security(key)) {
		settings_value_mistake(r, line_of(setting), key,
		    "there is no such option; TLS and SASL belong into "
		    "kafka.properties, as \"security.protocol=SSL\"");
		return;
	}
	if (near != NULL) {
		settings_value_mistake(r, line_of(setting), key,
		    "there is no such option; did you mean \"%s\"?", near);
		return;
	}
	if (settings_option_find(table, "value") != NULL) {
		settings_value_mistake(r, line_of(setting), key,
		    "there is no such option; write { name = \"%.64s\"; value = "
		    "\"...\"; }",
		    key);
		return;
	}
	for (const struct settings_option *o = settings_options; o->key != NULL; o++) {
		if (o->members == NULL || settings_option_find(o->members, key) == NULL)
			continue;
		settings_value_mistake(r, line_of(setting), key,
		    "there is no such option here; it belongs into \"%s\"", o->key);
		return;
	}
	settings_value_mistake(r, line_of(setting), key, "there is no such option");
}

static void
take_filters(struct settings_reader *r, const struct settings_option *o,
    config_setting_t *setting, struct settings_route *route)
{
	size_t count = list_count(setting);

	if (count == 0) {
		settings_value_mistake(
		    r, line_of(setting), o->key, "must have at least one filter");
		return;
	}
	route->topic_filters = calloc(count, sizeof(*route->topic_filters));
	if (route->topic_filters == NULL) {
		r->mistakes.err = ERR_NOMEM;
		return;
	}
	for (size_t i = 0; i < count; i++) {
		struct settings_value v = value_of(list_element(setting, i));

		settings_take_filter(r, o, &v, route);
	}
}

static void
take_properties(struct settings_reader *r, const struct settings_option *o,
    config_setting_t *setting)
{
	struct settings_kafka *k = &r->settings->kafka;
	size_t count = list_count(setting);

	if (count == 0)
		return;
	k->properties = calloc(count, sizeof(*k->properties));
	if (k->properties == NULL) {
		r->mistakes.err = ERR_NOMEM;
		return;
	}
	for (size_t i = 0; i < count && r->mistakes.err == 0; i++) {
		struct settings_value v = value_of(list_element(setting, i));

		settings_take_property(r, o, &v, k);
	}
}

/* send_only_payload says in TBMQ's words what envelope says in ours. */
static void
take_payload(struct settings_reader *r, const struct settings_option *o,
    const config_setting_t *setting, struct settings_route *route)
{
	struct settings_value v = value_of(setting);
	const config_setting_t *other =
	    config_setting_get_member(config_setting_parent(setting), "envelope");
	const char *word = other == NULL ? NULL : config_setting_get_string(other);

	if (!v.is_bool) {
		settings_type_mistake(r, &v, o->key, "true or false without quotes");
		return;
	}
	if (word != NULL && (strcmp(word, "none") == 0) != (v.number != 0)) {
		settings_value_mistake(r, v.line, o->key,
		    "contradicts envelope = \"%.40s\" (true is another way to write "
		    "envelope = \"none\")",
		    word);
		return;
	}
	if (v.number != 0)
		route->envelope = SETTINGS_ENVELOPE_NONE;
}

static void take_group(struct settings_reader *r, const struct settings_option table[],
    config_setting_t *group, void *base);
static void take_routes(struct settings_reader *r, const struct settings_option *o,
    config_setting_t *setting);

static void
take_subgroup(struct settings_reader *r, const struct settings_option *o,
    config_setting_t *setting, void *base)
{
	struct settings_value v = value_of(setting);
	size_t outer = strlen(r->prefix);

	if (!config_setting_is_group(setting)) {
		settings_type_mistake(r, &v, o->key, "a group { }");
		return;
	}
	if (o->is_switch)
		*(bool *)base = true;
	(void)snprintf(r->prefix + outer, sizeof(r->prefix) - outer, "%s.", o->key);
	take_group(r, o->members, setting, base);
	r->prefix[outer] = '\0';
}

static void
take_pair(struct settings_reader *r, const struct settings_option *o,
    config_setting_t *setting, size_t index, struct settings_pair *pair)
{
	struct settings_value v = value_of(setting);
	size_t outer = strlen(r->prefix);

	if (!config_setting_is_group(setting)) {
		settings_type_mistake(r, &v, o->key,
		    "a list of groups ( { name = \"...\"; value = \"...\"; } )");
		return;
	}
	pair->line = v.line;
	(void)snprintf(
	    r->prefix + outer, sizeof(r->prefix) - outer, "%s[%zu].", o->key, index);
	take_group(r, o->members, setting, pair);
	r->prefix[outer] = '\0';
}

static void
take_pairs(struct settings_reader *r, const struct settings_option *o,
    config_setting_t *setting, struct settings_route *route)
{
	bool is_headers = o->kind == OPTION_HEADERS;
	size_t *count = is_headers ? &route->header_count : &route->metadata_count;
	struct settings_pair *pairs;

	if (list_count(setting) == 0)
		return;
	pairs = calloc(list_count(setting), sizeof(*pairs));
	if (pairs == NULL) {
		r->mistakes.err = ERR_NOMEM;
		return;
	}
	*(is_headers ? &route->headers : &route->metadata) = pairs;
	*count = list_count(setting);
	for (size_t i = 0; i < *count; i++)
		take_pair(r, o, list_element(setting, i), i, &pairs[i]);
}

static void
take_setting(struct settings_reader *r, const struct settings_option *o,
    config_setting_t *setting, void *base)
{
	void *at = (char *)base + o->offset;
	struct settings_value v = value_of(setting);

	switch (o->kind) {
	case OPTION_FILTERS:
		take_filters(r, o, setting, base);
		break;
	case OPTION_PROPERTIES:
		take_properties(r, o, setting);
		break;
	case OPTION_GROUP:
		take_subgroup(r, o, setting, at);
		break;
	case OPTION_ROUTES:
		take_routes(r, o, setting);
		break;
	case OPTION_PAYLOAD:
		take_payload(r, o, setting, base);
		break;
	case OPTION_HEADERS:
	case OPTION_METADATA:
		take_pairs(r, o, setting, base);
		break;
	case OPTION_TEXT:
	case OPTION_WORD:
	case OPTION_CHOICE:
	case OPTION_BOOL:
	case OPTION_INT:
	case OPTION_LONG:
	case OPTION_SIZE:
	case OPTION_EXPIRY:
		settings_take(r, o, &v, at);
		break;
	}
}

/* Read a group's settings into the struct at base, which has the defaults. */
static void
take_group(struct settings_reader *r, const struct settings_option table[],
    config_setting_t *group, void *base)
{
	unsigned count = (unsigned)config_setting_length(group);

	for (unsigned i = 0; i < count; i++) {
		config_setting_t *setting = config_setting_get_elem(group, i);
		const struct settings_option *o =
		    settings_option_find(table, config_setting_name(setting));

		if (o == NULL)
			unknown_mistake(r, table, setting);
		else
			take_setting(r, o, setting, base);
	}
	for (const struct settings_option *o = table; o->key != NULL; o++) {
		if (o->is_required && config_setting_get_member(group, o->key) == NULL)
			settings_value_mistake(r, line_of(group), o->key, "is missing");
	}
}

static void
take_route(struct settings_reader *r, const struct settings_option *o,
    config_setting_t *setting)
{
	struct settings *s = r->settings;
	struct settings_route *route = &s->routes[s->route_count];
	struct settings_value v = value_of(setting);

	if (!config_setting_is_group(setting)) {
		settings_type_mistake(r, &v, o->key, "a list of groups ( { }, { } )");
		return;
	}
	(void)snprintf(
	    r->prefix, sizeof(r->prefix), "%s[%zu].", o->key, s->route_count);
	/* Counted first, so that it is freed whatever happens. */
	s->route_count++;
	r->mistakes.err = settings_option_defaults(o->members, route);
	if (r->mistakes.err != 0)
		return;
	take_group(r, o->members, setting, route);
	r->scope = setting;
	settings_check_route(r);
	r->prefix[0] = '\0';
}

static void
take_routes(struct settings_reader *r, const struct settings_option *o,
    config_setting_t *setting)
{
	size_t count = list_count(setting);

	if (count == 0) {
		settings_value_mistake(
		    r, line_of(setting), o->key, "must have at least one route");
		return;
	}
	if (count > SETTINGS_ROUTES_MAX) {
		settings_value_mistake(r, line_of(setting), o->key,
		    "has %zu routes: %d are the most", count, SETTINGS_ROUTES_MAX);
		return;
	}
	r->settings->routes = calloc(count, sizeof(*r->settings->routes));
	if (r->settings->routes == NULL) {
		r->mistakes.err = ERR_NOMEM;
		return;
	}
	for (size_t i = 0; i < count && r->mistakes.err == 0; i++)
		take_route(r, o, list_element(setting, i));
}

/* ---- the whole ---- */

int
settings_line(const struct settings_reader *r, const char *path)
{
	const config_setting_t *setting = config_setting_lookup(r->scope, path);

	return setting == NULL ? 0 : line_of(setting);
}

static void
syntax_mistake(struct settings_mistakes *m, const config_t *config)
{
	const char *text = config_error_text(config);
	int line = config_error_line(config);

	if (text == NULL)
		text = "syntax error";
	if (strcmp(text, "duplicate setting name") == 0)
		text = "an option of this name is there already";
	else if (strcmp(text, "mismatched element type in array") == 0)
		text = "the values in [ ] must be of one kind";
	else if (strcmp(text, "syntax error") == 0)
		text =
		    "not understood: look for a missing \"=\", quote or bracket here "
		    "or on the line above";
	settings_mistake(m, line > 0 ? line : 1, "%s", text);
}

int
settings_parse(
    struct settings **out, const char *name, const char *text, struct buffer *mistakes)
{
	struct settings_reader r = {.mistakes = {.name = name, .out = mistakes}};
	config_t config;
	int err;

	*out = NULL;
	config_init(&config);
	r.settings = calloc(1, sizeof(*r.settings));
	if (r.settings == NULL)
		goto no_memory;
	r.settings->name = strdup(name);
	if (r.settings->name == NULL ||
	    settings_option_defaults(settings_options, r.settings) != 0)
		goto no_memory;
	if (!settings_scan(text, &r.mistakes))
		goto done;
	if (config_read_string(&config, text) != CONFIG_TRUE) {
		syntax_mistake(&r.mistakes, &config);
		goto done;
	}
	take_group(&r, settings_options, config_root_setting(&config), r.settings);
	r.scope = config_root_setting(&config);
	if (r.mistakes.err == 0)
		settings_complete(&r);
	if (r.mistakes.err == 0)
		settings_check_together(&r);
	goto done;

no_memory:
	r.mistakes.err = ERR_NOMEM;
done:
	config_destroy(&config);
	err = r.mistakes.err;
	if (err == 0 && r.mistakes.count > 0)
		err = ERR_INVALID;
	if (err == 0)
		*out = r.settings;
	else
		settings_free(r.settings);
	return err;
}

int
settings_load(struct settings **out, const char *path, struct buffer *mistakes)
{
	struct buffer text = {0};
	int err;

	*out = NULL;
	err = settings_read(path, &text, mistakes);
	if (err == 0)
		err = settings_parse(out, path, (const char *)text.data, mistakes);
	buffer_fini(&text);
	return err;
}
