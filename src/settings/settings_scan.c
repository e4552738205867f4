/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A look through the text of a configuration before libconfig has it. libconfig says
 * "syntax error" and a line, of a name that is repeated not which, cuts numbers to 32
 * bits and texts at "\x00" without a word, takes two texts with a forgotten comma for
 * one, and would open what @include names.
 *
 * Invariant: text that passes has strings, comments and brackets where libconfig
 * sees them, so that nothing is hidden from this scan and shown to libconfig.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "settings_parts.h"
#include "text.h"

#define DEEPEST 32

/* Names that are remembered to find repeated ones: more than a good file has open. */
#define NAMES_MAX 128

enum token {
	TOKEN_BREAK,  /* ; or the start of the file */
	TOKEN_ASSIGN, /* = or : */
	TOKEN_COMMA,
	TOKEN_OPEN,
	TOKEN_CLOSE,
	TOKEN_KEY,
	TOKEN_STRING,
	TOKEN_VALUE, /* any other value */
};

struct scan {
	struct settings_mistakes *mistakes;
	const char *at;
	int line;
	enum token last;
	int last_line;
	char last_bracket; /* where last is TOKEN_OPEN */
	bool is_broken;
	int broken_line; /* of the latest slip: one a line is enough */
	size_t depth;
	struct {
		char bracket;
		int line;
		size_t name_count; /* of those around it */
	} open[DEEPEST];
	struct name {
		const char *text;
		size_t length;
		int line;
	} names[NAMES_MAX]; /* of the groups that are open */
	size_t name_count;
};

#define SLIP(s, line, ...)                                                    \
	do {                                                                  \
		if ((s)->broken_line != (line))                               \
			settings_mistake((s)->mistakes, (line), __VA_ARGS__); \
		(s)->is_broken = true;                                        \
		(s)->broken_line = (line);                                    \
	} while (0)

static void
set_last(struct scan *s, enum token token)
{
	s->last = token;
	s->last_line = s->line;
}

/* Would a value stand here? Otherwise the name of an option would. */
static bool
expects_value(const struct scan *s)
{
	if (s->last == TOKEN_ASSIGN)
		return true;
	if (s->depth == 0 || s->open[s->depth - 1].bracket == '{')
		return false;
	return true;
}

/* What may be wrong in front of a value or a bracket that opens. */
static void
look_back(struct scan *s)
{
	if (s->last == TOKEN_KEY)
		SLIP(s, s->line, "\"=\" is missing in front of this value");
	else if (expects_value(s) &&
		 (s->last == TOKEN_STRING || s->last == TOKEN_VALUE ||
		     s->last == TOKEN_CLOSE))
		SLIP(s, s->line, "a comma is missing in front of this value");
}

static bool
skip_comment(struct scan *s)
{
	int first_line = s->line;

	if (s->at[0] == '#' || (s->at[0] == '/' && s->at[1] == '/')) {
		s->at += strcspn(s->at, "\n");
		return true;
	}
	if (s->at[0] != '/' || s->at[1] != '*')
		return false;
	for (s->at += 2; *s->at != '\0'; s->at++) {
		if (s->at[0] == '*' && s->at[1] == '/') {
			s->at += 2;
			return true;
		}
		if (*s->at == '\n')
			s->line++;
	}
	SLIP(s, first_line, "this comment is not closed by \"*/\"");
	return true;
}

static void
scan_string(struct scan *s)
{
	look_back(s);
	if (!expects_value(s))
		SLIP(s, s->line,
		    "a text stands where the name of an option belongs (names have no "
		    "quotes)");
	for (s->at++; *s->at != '"'; s->at++) {
		if (strncasecmp(s->at, "\\x00", 4) == 0)
			SLIP(s, s->line,
			    "a text has a \\x00, which would end it: no text can hold "
			    "that");
		if (*s->at == '\\' && s->at[1] != '\n' && s->at[1] != '\0')
			s->at++;
		if (*s->at == '\n' || *s->at == '\0') {
			SLIP(s, s->line, "a text is not closed by a quote on its line");
			set_last(s, TOKEN_STRING);
			return;
		}
	}
	s->at++;
	set_last(s, TOKEN_STRING);
}

static size_t
word_length(const char *p)
{
	size_t n = 0;

	while (p[n] != '\0' && strchr(" \t\r\n\f;,=:{}()[]\"#", p[n]) == NULL &&
	       !(p[n] == '/' && (p[n + 1] == '/' || p[n + 1] == '*')))
		n++;
	return n;
}

/* A value for a message, cut; not where it may be a secret without its quotes. */
static const char *
shown_value(const struct scan *s, const char *word, size_t length, char shown[64])
{
	const struct name *name;

	if (s->last == TOKEN_ASSIGN && s->name_count > 0) {
		name = &s->names[s->name_count - 1];
		(void)snprintf(shown, 64, "%.*s",
		    (int)(name->length < 63 ? name->length : 63), name->text);
		if (settings_property_is_secret(shown))
			return "***";
	}
	(void)snprintf(shown, 64, "%.*s", (int)(length < 40 ? length : 40), word);
	return shown;
}

/* Is the word a number in libconfig's eyes? Complain if it does not fit. */
static bool
scan_number(struct scan *s, const char *word, size_t length)
{
	char *end;
	long long value;
	bool is_hex =
	    length > 2 && word[0] == '0' && tolower((unsigned char)word[1]) == 'x';
	size_t digits = strspn(word, "+-0123456789.eE");
	char shown[64];

	if (!isdigit((unsigned char)word[strspn(word, "+-")]) && *word != '.')
		return false;
	errno = 0;
	value = strtoll(word, &end, is_hex ? 16 : 10);
	while (end < word + length && *end == 'L')
		end++;
	if (end != word + length) {
		/* With a point or an exponent: the reader will say what it wants. */
		(void)strtod(word, &end);
		return digits == length && end == word + length;
	}
	if (errno != 0 || value > INT32_MAX || value < INT32_MIN)
		SLIP(s, s->line,
		    "%s is too large: a number has at most 32 bits (2147483647); "
		    "a size is a text with a unit, as in \"5 GiB\"",
		    shown_value(s, word, length, shown));
	return true;
}

static bool
is_word(const char *word, size_t length, const char *const words[])
{
	for (; *words != NULL; words++) {
		if (strlen(*words) == length && strncasecmp(word, *words, length) == 0)
			return true;
	}
	return false;
}

static void
scan_value(struct scan *s, const char *word, size_t length)
{
	static const char *const booleans[] = {"true", "false", NULL};
	static const char *const yes[] = {"yes", "on", "y", "enabled", NULL};
	static const char *const no[] = {"no", "off", "n", "disabled", NULL};
	char shown[64];

	if (is_word(word, length, booleans) || scan_number(s, word, length))
		return;
	if (is_word(word, length, yes))
		SLIP(s, s->line, "write true in place of %.*s", (int)length, word);
	else if (is_word(word, length, no))
		SLIP(s, s->line, "write false in place of %.*s", (int)length, word);
	else
		SLIP(s, s->line, "text belongs in double quotes: %s",
		    shown_value(s, word, length, shown));
}

/* How much of the text at p can be shown, where all of it can; else 0. */
static size_t
shown_length(const char *p)
{
	size_t length = 0;

	if (*p++ != '"')
		return 0;
	while ((unsigned char)p[length] >= ' ' && strchr("\"\\\x7f", p[length]) == NULL)
		length++;
	return p[length] == '"' && length <= 100 ? length : 0;
}

/* Is it the path to an option of ours, as it stands in our own messages? */
static bool
is_path(const char *name, size_t group_length)
{
	const char *rest = name + group_length + 1;
	char part[64];
	const struct settings_option *group;

	(void)snprintf(part, sizeof(part), "%.*s", (int)group_length, name);
	group = settings_option_find(settings_options, part);
	if (group == NULL || group->members == NULL)
		return false;
	(void)snprintf(part, sizeof(part), "%.*s", (int)strcspn(rest, "."), rest);
	return strchr(rest, '.') == NULL ||
	       settings_option_find(group->members, part) != NULL;
}

/* The option of kafka's that repeats a property of librdkafka's, or NULL. */
static const char *
option_for(const char *property)
{
	const struct settings_option *kafka =
	    settings_option_find(settings_options, "kafka");
	const struct settings_option *o;
	char key[64];

	(void)snprintf(key, sizeof(key), "%s", property);
	for (char *p = strchr(key, '.'); p != NULL; p = strchr(p, '.'))
		*p = '_';
	o = settings_option_find(kafka->members, key);
	return o != NULL ? o->key : settings_name_other(kafka->members, key);
}

/* A dot is in no name of ours. A value is shown where it is text and no secret. */
static void
dotted_slip(struct scan *s, const char *word, size_t length)
{
	const char *value = s->at + strspn(s->at, " \t=:");
	size_t shown = shown_length(value);
	const char *option;
	char name[64];

	(void)snprintf(name, sizeof(name), "%.*s",
	    (int)(length < sizeof(name) ? length : sizeof(name)), word);
	length = strcspn(name, ".");
	if (is_path(name, length)) {
		SLIP(s, s->line,
		    "%s: a name has no dot; what belongs into a group is written "
		    "%.*s = { ... };",
		    name, (int)length, name);
		return;
	}
	option = option_for(name);
	if (settings_property_is_secret(name))
		shown = 0;
	if (option != NULL)
		SLIP(s, s->line, "%s: a name has no dot; write kafka.%s", name, option);
	else
		SLIP(s, s->line, "%s: belongs into kafka.properties, as \"%s=%.*s\"",
		    name, name, shown > 0 ? (int)shown : 3,
		    shown > 0 ? value + 1 : "...");
}

/* The name of an option: libconfig says that one is there already, but not which. */
static void
scan_name(struct scan *s, const char *word, size_t length)
{
	int shown = (int)(length < 40 ? length : 40);
	size_t first = s->depth == 0 ? 0 : s->open[s->depth - 1].name_count;

	if (!isalpha((unsigned char)*word)) {
		SLIP(
		    s, s->line, "this is not the name of an option: %.*s", shown, word);
		return;
	}
	if (memchr(word, '.', length) != NULL)
		dotted_slip(s, word, length);
	for (size_t i = first; i < s->name_count; i++) {
		if (s->names[i].length == length &&
		    memcmp(s->names[i].text, word, length) == 0)
			SLIP(s, s->line, "%.*s: is given twice: on line %d already",
			    shown, word, s->names[i].line);
	}
	if (s->name_count < NAMES_MAX)
		s->names[s->name_count++] = (struct name){word, length, s->line};
}

static void
scan_word(struct scan *s)
{
	const char *word = s->at;
	size_t length = word_length(word);
	bool is_value = expects_value(s);

	if (length == 0)
		length = 1;
	s->at += length;
	look_back(s);
	if (*word == '@') {
		SLIP(s, s->line, "@include is not available: a gateway has one file");
	} else if (is_value) {
		scan_value(s, word, length);
	} else {
		scan_name(s, word, length);
	}
	set_last(s, is_value ? TOKEN_VALUE : TOKEN_KEY);
}

static void
scan_open(struct scan *s, char bracket)
{
	if (s->last == TOKEN_OPEN && s->last_bracket == '[')
		SLIP(
		    s, s->line, "[ ] holds plain values only: write ( ) around groups");
	look_back(s);
	if (s->depth == DEEPEST) {
		SLIP(s, s->line, "brackets are nested too deeply");
		s->at += strlen(s->at);
		return;
	}
	s->open[s->depth].bracket = bracket;
	s->open[s->depth].line = s->line;
	s->open[s->depth].name_count = s->name_count;
	s->depth++;
	s->last_bracket = bracket;
	set_last(s, TOKEN_OPEN);
}

static void
scan_close(struct scan *s, char bracket)
{
	char opener = bracket == '}' ? '{' : bracket == ')' ? '(' : '[';

	if (s->last == TOKEN_COMMA && bracket != '}')
		SLIP(s, s->last_line, "a comma stands in front of \"%c\": take it away",
		    bracket);
	else if (s->last == TOKEN_KEY || s->last == TOKEN_ASSIGN)
		SLIP(s, s->last_line, "a value is missing in front of \"%c\"", bracket);
	if (s->depth == 0) {
		SLIP(s, s->line, "\"%c\" closes nothing", bracket);
	} else if (s->open[s->depth - 1].bracket != opener) {
		SLIP(s, s->line, "\"%c\" does not close the \"%c\" of line %d", bracket,
		    s->open[s->depth - 1].bracket, s->open[s->depth - 1].line);
		s->name_count = s->open[--s->depth].name_count;
	} else {
		s->name_count = s->open[--s->depth].name_count;
	}
	set_last(s, TOKEN_CLOSE);
}

static void
scan_token(struct scan *s)
{
	char c = *s->at;

	switch (c) {
	case '"':
		scan_string(s);
		return;
	case '{':
	case '(':
	case '[':
		s->at++;
		scan_open(s, c);
		return;
	case '}':
	case ')':
	case ']':
		s->at++;
		scan_close(s, c);
		return;
	case '=':
	case ':':
		s->at++;
		if (s->last != TOKEN_KEY)
			SLIP(
			    s, s->line, "\"%c\" has no name of an option before it", c);
		set_last(s, TOKEN_ASSIGN);
		return;
	case ';':
	case ',':
		s->at++;
		if (s->last == TOKEN_KEY || s->last == TOKEN_ASSIGN)
			SLIP(s, s->line, "a value is missing in front of \"%c\"", c);
		set_last(s, c == ';' ? TOKEN_BREAK : TOKEN_COMMA);
		return;
	default:
		scan_word(s);
		return;
	}
}

static void
check_utf8(struct scan *s, const char *text)
{
	int line = 1;

	while (*text != '\0') {
		size_t length = strcspn(text, "\n");

		if (!text_is_utf8(text, length))
			SLIP(s, line, "this line is not UTF-8");
		text += length;
		if (*text == '\n')
			text++;
		line++;
	}
}

bool
settings_scan(const char *text, struct settings_mistakes *m)
{
	struct scan s = {.mistakes = m, .at = text, .line = 1};

	if (strncmp(text, "\xef\xbb\xbf", 3) == 0) {
		SLIP(&s, 1,
		    "the file begins with a byte order mark: save it as UTF-8 without "
		    "one (BOM)");
		return false;
	}
	check_utf8(&s, text);
	if (s.is_broken)
		return false;
	while (*s.at != '\0') {
		if (*s.at == '\n')
			s.line++;
		if (strchr(" \t\r\n\f", *s.at) != NULL)
			s.at++;
		else if (!skip_comment(&s))
			scan_token(&s);
	}
	if (s.last == TOKEN_KEY || s.last == TOKEN_ASSIGN)
		SLIP(&s, s.last_line, "a value is missing at the end of the file");
	for (size_t i = s.depth; i > 0 && !s.is_broken; i--)
		SLIP(&s, s.open[i - 1].line, "this \"%c\" is never closed",
		    s.open[i - 1].bracket);
	return !s.is_broken;
}
