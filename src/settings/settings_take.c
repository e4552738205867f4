/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Single values of a configuration: checked by their option's row in the table, then
 * stored. A value that is wrong is reported and leaves the default in its place,
 * which nobody gets to see.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "settings_parts.h"
#include "text.h"
#include "topic_filter.h"

void
settings_mistake(struct settings_mistakes *m, int line, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	m->count++;
	if (buffer_printf(m->out, "%s:%d: %s\n", m->name, line, text) != 0)
		m->err = ERR_NOMEM;
}

void
settings_value_mistake(
    struct settings_reader *r, int line, const char *key, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	settings_mistake(&r->mistakes, line, "%s%s: %s", r->prefix, key, text);
}

void
settings_type_mistake(struct settings_reader *r, const struct settings_value *v,
    const char *key, const char *wanted)
{
	settings_value_mistake(r, v->line, key, "must be %s, not %s", wanted, v->type);
}

/* why: what is wrong with the text, as words that go behind it. */
static void
text_mistake(struct settings_reader *r, const struct settings_option *o,
    const struct settings_value *v, const char *why)
{
	if (o->is_secret)
		settings_value_mistake(r, v->line, o->key, "the value %s", why);
	else if (strlen(v->text) > 100)
		settings_value_mistake(
		    r, v->line, o->key, "\"%.90s...\" %s", v->text, why);
	else
		settings_value_mistake(r, v->line, o->key, "\"%s\" %s", v->text, why);
}

/*
 * Text is UTF-8 without control characters, whatever the option. Other text is not
 * even shown: it might do something to the terminal.
 */
static bool
is_presentable(struct settings_reader *r, const struct settings_option *o,
    const struct settings_value *v)
{
	for (const char *p = v->text; *p != '\0'; p++) {
		if ((unsigned char)*p >= 0x20 && *p != 0x7f)
			continue;
		settings_value_mistake(
		    r, v->line, o->key, "the value has a control character");
		return false;
	}
	if (text_is_utf8(v->text, strlen(v->text)))
		return true;
	settings_value_mistake(r, v->line, o->key, "the value is not UTF-8");
	return false;
}

static char *
copy_text(struct settings_reader *r, const char *text)
{
	char *copy = strdup(text);

	if (copy == NULL)
		r->mistakes.err = ERR_NOMEM;
	return copy;
}

static void
store_text(struct settings_reader *r, const char *text, char **out)
{
	char *copy = copy_text(r, text);

	if (copy == NULL)
		return;
	free(*out);
	*out = copy;
}

static void
take_text(struct settings_reader *r, const struct settings_option *o,
    const struct settings_value *v, char **out)
{
	const char *why;

	if (v->text == NULL) {
		settings_type_mistake(r, v, o->key, "a text in double quotes");
		return;
	}
	if (!is_presentable(r, o, v))
		return;
	if (o->may_be_empty && *v->text == '\0') {
		free(*out);
		*out = NULL;
		return;
	}
	why = o->check == NULL ? NULL : o->check(v->text);
	if (why != NULL)
		text_mistake(r, o, v, why);
	else
		store_text(r, v->text, out);
}

static void
choice_mistake(struct settings_reader *r, const struct settings_option *o,
    const struct settings_value *v)
{
	char list[160] = "";
	size_t used = 0;

	for (const struct option_choice *c = o->choices; c->word != NULL; c++) {
		if (used >= sizeof(list))
			continue;
		used += (size_t)snprintf(list + used, sizeof(list) - used, "%s\"%s\"",
		    used > 0 ? ", " : "", c->word);
	}
	settings_value_mistake(
	    r, v->line, o->key, "\"%.40s\" is not one of %s", v->text, list);
}

/* The choice that a value names, or NULL after a mistake was reported. */
static const struct option_choice *
find_choice(struct settings_reader *r, const struct settings_option *o,
    const struct settings_value *v)
{
	char number[24];
	struct settings_value text = *v;

	if (v->text == NULL && v->is_number) {
		(void)snprintf(number, sizeof(number), "%" PRId64, v->number);
		text.text = number;
	}
	if (text.text == NULL) {
		settings_type_mistake(r, v, o->key, "a text in double quotes");
		return NULL;
	}
	if (!is_presentable(r, o, &text))
		return NULL;
	for (const struct option_choice *c = o->choices; c->word != NULL; c++) {
		if (strcmp(text.text, c->word) == 0)
			return c;
	}
	choice_mistake(r, o, &text);
	return NULL;
}

static void
take_word(struct settings_reader *r, const struct settings_option *o,
    const struct settings_value *v, char **out)
{
	const struct option_choice *given = find_choice(r, o, v);
	const struct option_choice *kept = o->choices;

	if (given == NULL)
		return;
	while (kept->value != given->value)
		kept++;
	store_text(r, kept->word, out);
}

static bool
take_number(struct settings_reader *r, const struct settings_option *o,
    const struct settings_value *v, int64_t *out)
{
	if (!v->is_number) {
		settings_type_mistake(r, v, o->key, "a whole number without quotes");
		return false;
	}
	if (v->number == 0 && o->why_not_zero != NULL) {
		settings_value_mistake(r, v->line, o->key, "0 %s", o->why_not_zero);
		return false;
	}
	if (v->number < o->min || v->number > o->max) {
		settings_value_mistake(r, v->line, o->key,
		    "%" PRId64 " is out of range: from %" PRId64 " to %" PRId64,
		    v->number, o->min, o->max);
		return false;
	}
	*out = v->number;
	return true;
}

static void
take_size(struct settings_reader *r, const struct settings_option *o,
    const struct settings_value *v, uint64_t *out)
{
	const char *why;
	uint64_t bytes = 0;
	char low[32], high[32];

	if (v->text == NULL) {
		settings_type_mistake(r, v, o->key,
		    "a size with a unit in double quotes, as in \"64 KiB\" or \"4 "
		    "GiB\"");
		return;
	}
	if (!is_presentable(r, o, v))
		return;
	if (settings_size_meant(v->text, low)) {
		settings_value_mistake(
		    r, v->line, o->key, "\"%.40s\": write \"%s\"", v->text, low);
		return;
	}
	why = settings_size_parse(v->text, &bytes);
	if (why != NULL) {
		text_mistake(r, o, v, why);
		return;
	}
	if (bytes < (uint64_t)o->min || bytes > (uint64_t)o->max) {
		settings_size_format((uint64_t)o->min, low);
		settings_size_format((uint64_t)o->max, high);
		settings_value_mistake(r, v->line, o->key,
		    "\"%.40s\" is out of range: from %s to %s", v->text, low, high);
		return;
	}
	*out = bytes;
}

static void
take_expiry(struct settings_reader *r, const struct settings_option *o,
    const struct settings_value *v, uint32_t *out)
{
	int64_t seconds;

	if (v->text != NULL && strcmp(v->text, "never") == 0)
		*out = UINT32_MAX;
	else if (!v->is_number)
		settings_type_mistake(r, v, o->key, "a number of seconds or \"never\"");
	else if (take_number(r, o, v, &seconds))
		*out = (uint32_t)seconds;
}

void
settings_take(struct settings_reader *r, const struct settings_option *o,
    const struct settings_value *v, void *at)
{
	const struct option_choice *choice;
	int64_t number;

	switch (o->kind) {
	case OPTION_TEXT:
		take_text(r, o, v, at);
		break;
	case OPTION_WORD:
		take_word(r, o, v, at);
		break;
	case OPTION_CHOICE:
		choice = find_choice(r, o, v);
		if (choice != NULL)
			*(int *)at = choice->value;
		break;
	case OPTION_BOOL:
		if (!v->is_bool)
			settings_type_mistake(
			    r, v, o->key, "true or false without quotes");
		else
			*(bool *)at = v->number != 0;
		break;
	case OPTION_INT:
		if (take_number(r, o, v, &number))
			*(int *)at = (int)number;
		break;
	case OPTION_LONG:
		if (take_number(r, o, v, &number))
			*(int64_t *)at = number;
		break;
	case OPTION_SIZE:
		take_size(r, o, v, at);
		break;
	case OPTION_EXPIRY:
		take_expiry(r, o, v, at);
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

void
settings_take_filter(struct settings_reader *r, const struct settings_option *o,
    const struct settings_value *v, struct settings_route *route)
{
	const char *why = "not valid";
	char *copy;

	if (v->text == NULL) {
		settings_type_mistake(r, v, o->key, "a list of texts in double quotes");
		return;
	}
	if (!is_presentable(r, o, v))
		return;
	if (!topic_filter_is_valid(v->text, &why)) {
		settings_value_mistake(r, v->line, o->key,
		    "\"%.200s\" is not a topic filter: %s", v->text, why);
		return;
	}
	copy = copy_text(r, v->text);
	if (copy != NULL)
		route->topic_filters[route->topic_filter_count++] = copy;
}

/* Cut "name = value" in two, without the blanks around "=". */
static bool
split_property(char *text, char **name, char **value)
{
	char *equals = strchr(text, '=');
	char *end = equals;

	if (equals == NULL)
		return false;
	while (end > text && end[-1] == ' ')
		end--;
	*end = '\0';
	*name = text + strspn(text, " ");
	*value = equals + 1 + strspn(equals + 1, " ");
	return true;
}

/* Which names there are and which may be set is for kafka_sink_check() to say. */
static const char *
why_not_property(const char *name, const char *value)
{
	const char *why = NULL;

	if (*name == '\0')
		why = "has no name in front of \"=\"";
	else if (*value == '\0')
		why = "has no value";
	else if (settings_secret_is_reference(value))
		why = settings_check_secret(value);
	return why;
}

/* Report that a property was given already, also under its other name; or return false. */
static bool
is_repeated(struct settings_reader *r, const struct settings_option *o,
    const struct settings_value *v, const char *name)
{
	const struct settings_kafka *k = &r->settings->kafka;
	const char *proper = settings_name_of_property(name);

	for (size_t i = 0; i < k->property_count; i++) {
		const struct settings_property *p = &k->properties[i];

		if (strcmp(settings_name_of_property(p->name), proper) != 0)
			continue;
		if (strcmp(p->name, name) == 0)
			settings_value_mistake(r, v->line, o->key,
			    "\"%.100s\" is given twice: on line %d already", name,
			    p->line);
		else
			settings_value_mistake(r, v->line, o->key,
			    "\"%.100s\" is another name of \"%.100s\", which is given "
			    "on line %d already",
			    name, p->name, p->line);
		return true;
	}
	return false;
}

void
settings_take_property(struct settings_reader *r, const struct settings_option *o,
    const struct settings_value *v, struct settings_kafka *k)
{
	struct settings_property *p = &k->properties[k->property_count];
	char *text = NULL, *name, *value;
	const char *why;

	if (v->text == NULL) {
		settings_type_mistake(r, v, o->key, "a list of texts in double quotes");
		return;
	}
	if (!is_presentable(r, o, v))
		return;
	text = copy_text(r, v->text);
	if (text == NULL)
		return;
	if (!split_property(text, &name, &value)) {
		settings_value_mistake(
		    r, v->line, o->key, "an entry must be \"name=value\"");
		goto done;
	}
	why = why_not_property(name, value);
	if (why != NULL) {
		settings_value_mistake(r, v->line, o->key, "\"%.100s\" %s", name, why);
		goto done;
	}
	if (is_repeated(r, o, v, name))
		goto done;
	/* Counted even if memory runs out now, so that it is freed. */
	p->name = copy_text(r, name);
	p->value = copy_text(r, value);
	p->line = v->line;
	k->property_count++;
done:
	free(text);
}
