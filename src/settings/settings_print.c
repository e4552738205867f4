/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The settings as a configuration again, by the same tables, and what two of them
 * have in common: two configurations are equal for a worker when the parts that it
 * reads print as the same text.
 */
#include <inttypes.h>
#include <string.h>

#include "err.h"
#include "settings_parts.h"

/* Where to print; no-ops after the first failure. */
struct printer {
	struct buffer *out;
	bool shows_secrets;
	int err;
	const char *indent; /* end of tabs[] less what stands in front of a line */
};

static const char tabs[] = "\t\t\t\t";

#define NO_INDENT (tabs + sizeof(tabs) - 1)

#define PRINT(p, ...)                                                    \
	do {                                                             \
		if ((p)->err == 0)                                       \
			(p)->err = buffer_printf((p)->out, __VA_ARGS__); \
	} while (0)

/* A text in quotes, two of them one after the other. */
static void
print_text(struct printer *p, const char *first, const char *second)
{
	const char *parts[] = {first, second};

	PRINT(p, "\"");
	for (size_t i = 0; i < 2; i++) {
		for (const char *c = parts[i]; *c != '\0'; c++)
			PRINT(p, *c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
	}
	PRINT(p, "\"");
}

static const char *
masked(const struct printer *p, bool is_secret, const char *value)
{
	if (!is_secret || p->shows_secrets || settings_secret_is_reference(value))
		return value;
	return "***";
}

static const char *
choice_word(const struct settings_option *o, int value)
{
	const struct option_choice *c = o->choices;

	while (c->value != value)
		c++;
	return c->word;
}

static void
print_size(struct printer *p, uint64_t bytes)
{
	char text[32];

	settings_size_format(bytes, text);
	PRINT(p, "\"%s\"", text);
}

static void
print_value(struct printer *p, const struct settings_option *o, const void *at)
{
	const char *text;

	switch (o->kind) {
	case OPTION_TEXT:
	case OPTION_WORD:
		text = *(char *const *)at;
		print_text(p, text == NULL ? "" : masked(p, o->is_secret, text), "");
		break;
	case OPTION_CHOICE:
		print_text(p, choice_word(o, *(const int *)at), "");
		break;
	case OPTION_BOOL:
		PRINT(p, "%s", *(const bool *)at ? "true" : "false");
		break;
	case OPTION_INT:
		PRINT(p, "%d", *(const int *)at);
		break;
	case OPTION_LONG:
		PRINT(p, "%" PRId64, *(const int64_t *)at);
		break;
	case OPTION_SIZE:
		print_size(p, *(const uint64_t *)at);
		break;
	case OPTION_EXPIRY:
		if (*(const uint32_t *)at == UINT32_MAX)
			PRINT(p, "\"never\"");
		else
			PRINT(p, "%" PRIu32, *(const uint32_t *)at);
		break;
	case OPTION_FILTERS:
	case OPTION_PROPERTIES:
	case OPTION_HEADERS:
	case OPTION_METADATA:
	case OPTION_GROUP:
	case OPTION_ROUTES:
	case OPTION_PAYLOAD:
		break;
	}
}

static void
print_filters(struct printer *p, const struct settings_route *route)
{
	PRINT(p, "[ ");
	for (size_t i = 0; i < route->topic_filter_count; i++) {
		PRINT(p, "%s", i > 0 ? ", " : "");
		print_text(p, route->topic_filters[i], "");
	}
	PRINT(p, " ]");
}

static void
print_properties(struct printer *p, const struct settings_kafka *k)
{
	PRINT(p, "[");
	for (size_t i = 0; i < k->property_count; i++) {
		const struct settings_property *property = &k->properties[i];
		bool is_secret = settings_property_is_secret(property->name);
		struct buffer name = {0};

		PRINT(p, "%s\n%s\t", i > 0 ? "," : "", p->indent);
		if (p->err == 0)
			p->err = buffer_printf(&name, "%s=", property->name);
		if (p->err == 0)
			p->err = buffer_append(&name, "", 1);
		if (p->err == 0)
			print_text(p, (const char *)name.data,
			    masked(p, is_secret, property->value));
		buffer_fini(&name);
	}
	PRINT(p, "%s%s]", k->property_count > 0 ? "\n" : " ",
	    k->property_count > 0 ? p->indent : "");
}

static void
print_pairs(struct printer *p, const struct settings_pair *pairs, size_t count)
{
	PRINT(p, "(");
	for (size_t i = 0; i < count; i++) {
		PRINT(p, "%s\n%s\t{ name = ", i > 0 ? "," : "", p->indent);
		print_text(p, pairs[i].name, "");
		PRINT(p, "; value = ");
		print_text(p, pairs[i].value, "");
		PRINT(p, "; }");
	}
	PRINT(p, "%s%s)", count > 0 ? "\n" : " ", count > 0 ? p->indent : "");
}

/* Has the option no value, because it is not given and has no default of ours? */
static bool
is_absent(const struct settings_option *o, const void *at)
{
	switch (o->kind) {
	case OPTION_TEXT:
	case OPTION_WORD:
		return *(char *const *)at == NULL && !o->may_be_empty;
	case OPTION_LONG:
	case OPTION_SIZE:
		return *(const int64_t *)at == -1;
	case OPTION_GROUP: /* is_on is the first member */
		return o->is_switch && !*(const bool *)at;
	default:
		return false;
	}
}

static void print_group(
    struct printer *p, const struct settings_option *o, const void *base);
static void print_routes(
    struct printer *p, const struct settings_option *o, const struct settings *s);

static void
print_option(struct printer *p, const struct settings_option *o, const void *base)
{
	const void *at = (const char *)base + o->offset;
	const struct settings_route *route = base;

	if (o->kind == OPTION_PAYLOAD)
		return;
	if (is_absent(o, at)) {
		PRINT(p, "%s# %s is not set\n", p->indent, o->key);
		return;
	}
	PRINT(p, "%s%s = ", p->indent, o->key);
	if (o->kind == OPTION_FILTERS)
		print_filters(p, base);
	else if (o->kind == OPTION_PROPERTIES)
		print_properties(p, base);
	else if (o->kind == OPTION_HEADERS)
		print_pairs(p, route->headers, route->header_count);
	else if (o->kind == OPTION_METADATA)
		print_pairs(p, route->metadata, route->metadata_count);
	else if (o->kind == OPTION_GROUP)
		print_group(p, o, at);
	else if (o->kind == OPTION_ROUTES)
		print_routes(p, o, base);
	else
		print_value(p, o, at);
	PRINT(p, ";\n");
}

static void
print_group(struct printer *p, const struct settings_option *o, const void *base)
{
	PRINT(p, "{\n");
	p->indent--;
	for (const struct settings_option *m = o->members; m->key != NULL; m++)
		print_option(p, m, base);
	p->indent++;
	PRINT(p, "%s}", p->indent);
}

static void
print_routes(
    struct printer *p, const struct settings_option *o, const struct settings *s)
{
	PRINT(p, "(\n");
	p->indent--;
	for (size_t i = 0; i < s->route_count; i++) {
		PRINT(p, "%s", p->indent);
		print_group(p, o, &s->routes[i]);
		PRINT(p, "%s\n", i + 1 < s->route_count ? "," : "");
	}
	p->indent++;
	PRINT(p, ")");
}

static void
print_part(struct printer *p, const struct settings *s, const char *key)
{
	print_option(p, settings_option_find(settings_options, key), s);
}

int
settings_print(const struct settings *s, struct buffer *out)
{
	struct printer p = {.out = out, .indent = NO_INDENT};

	for (const struct settings_option *o = settings_options; o->key != NULL; o++)
		print_part(&p, s, o->key);
	return p.err;
}

/* ---- differences ---- */

static bool
is_same_text(const struct buffer *a, const struct buffer *b)
{
	return a->size == b->size &&
	       (a->size == 0 || memcmp(a->data, b->data, a->size) == 0);
}

static void
print_for_ingest(struct printer *p, const struct settings *s)
{
	print_part(p, s, "gateway_id");
	print_part(p, s, "mqtt");
	print_part(p, s, "journal");
	print_part(p, s, "status");
	PRINT(p, "%d\n", s->monitor.statistics_s);
	print_part(p, s, "log");
	for (size_t i = 0; i < s->route_count; i++) {
		print_filters(p, &s->routes[i]);
		PRINT(p, "\n");
	}
}

static void
print_for_forward(struct printer *p, const struct settings *s)
{
	print_part(p, s, "gateway_id");
	print_text(p, s->mqtt.host, "");
	print_part(p, s, "journal");
	print_part(p, s, "kafka");
	print_part(p, s, "routes");
	print_part(p, s, "status");
	PRINT(p, "%d\n", s->monitor.statistics_s);
	print_part(p, s, "log");
}

/* It judges by the settings of the others, and shows them. */
static void
print_for_monitor(struct printer *p, const struct settings *s)
{
	print_part(p, s, "gateway_id");
	print_part(p, s, "mqtt");
	print_part(p, s, "journal");
	print_part(p, s, "kafka");
	print_part(p, s, "routes");
	print_part(p, s, "monitor");
	print_part(p, s, "log");
}

/* With no memory to compare: a restart too many harms less than one too few. */
static bool
differ(const struct settings *a, const struct settings *b,
    void (*print)(struct printer *, const struct settings *))
{
	struct buffer text_a = {0};
	struct buffer text_b = {0};
	struct printer p_a = {
	    .out = &text_a, .indent = NO_INDENT, .shows_secrets = true};
	struct printer p_b = {
	    .out = &text_b, .indent = NO_INDENT, .shows_secrets = true};
	bool result;

	print(&p_a, a);
	print(&p_b, b);
	result = p_a.err != 0 || p_b.err != 0 || !is_same_text(&text_a, &text_b);
	buffer_fini(&text_a);
	buffer_fini(&text_b);
	return result;
}

bool
settings_differ_for_ingest(const struct settings *a, const struct settings *b)
{
	const struct settings_tls *tls = &b->mqtt.tls;

	/* What a file holds may have changed although its name has not. */
	if (b->mqtt.password != NULL && settings_secret_is_reference(b->mqtt.password))
		return true;
	if (tls->ca_file != NULL || tls->ca_path != NULL || tls->key_file != NULL)
		return true;
	return differ(a, b, print_for_ingest);
}

bool
settings_differ_for_forward(const struct settings *a, const struct settings *b)
{
	for (size_t i = 0; i < b->kafka.property_count; i++) {
		const struct settings_property *p = &b->kafka.properties[i];

		/* The same, with keys and certificates. */
		if (settings_secret_is_reference(p->value) ||
		    strstr(p->name, ".location") != NULL ||
		    strstr(p->name, ".keytab") != NULL)
			return true;
	}
	return differ(a, b, print_for_forward);
}

bool
settings_differ_for_monitor(const struct settings *a, const struct settings *b)
{
	return differ(a, b, print_for_monitor);
}
