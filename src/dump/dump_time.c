/* SPDX-License-Identifier: Apache-2.0 */
/* Points in time, as people write and read them. */
#include "dump_time.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "err.h"

#define YEAR_10000_MS 253402300800000

/* Digits at *at; moves behind them. */
static int
take_digits(const char **at, int count, int *out)
{
	int value = 0;

	for (int i = 0; i < count; i++) {
		if (!isdigit((unsigned char)(*at)[i]))
			return ERR_INVALID;
		value = value * 10 + ((*at)[i] - '0');
	}
	*at += count;
	*out = value;
	return 0;
}

static int
parse_ago(const char *text, int64_t now_ms, int64_t *at_ms)
{
	static const struct {
		char letter;
		int64_t ms;
	} units[] = {{'s', 1000}, {'m', 60000}, {'h', 3600000}, {'d', 86400000}};
	char *end;
	long long amount;

	if (!isdigit((unsigned char)text[0]))
		return ERR_INVALID;
	errno = 0;
	amount = strtoll(text, &end, 10);
	/* A million years is enough, and keeps the product in range. */
	if (errno != 0 || amount > 100000000 || end[0] == '\0' || end[1] != '\0')
		return ERR_INVALID;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (units[i].letter == end[0]) {
			*at_ms = now_ms - amount * units[i].ms;
			return 0;
		}
	}
	return ERR_INVALID;
}

/* One of the characters at *at; moves behind it. */
static int
take_one_of(const char **at, const char *characters)
{
	if (**at == '\0' || strchr(characters, **at) == NULL)
		return ERR_INVALID;
	(*at)++;
	return 0;
}

/* "2026-11-24": its start, in seconds. */
static int
take_date(const char **at, int64_t *start_s)
{
	struct tm tm = {0};
	struct tm normal;

	if (take_digits(at, 4, &tm.tm_year) != 0 || take_one_of(at, "-") != 0 ||
	    take_digits(at, 2, &tm.tm_mon) != 0 || take_one_of(at, "-") != 0 ||
	    take_digits(at, 2, &tm.tm_mday) != 0)
		return ERR_INVALID;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	normal = tm;
	*start_s = timegm(&normal);
	/* timegm(3) takes the 31st of February for the 3rd of March. */
	if (normal.tm_mon != tm.tm_mon || normal.tm_mday != tm.tm_mday)
		return ERR_INVALID;
	return 0;
}

/* "10:00:00.123": ms since the day's start; further digits are cut. */
static int
take_clock(const char **at, int64_t *ms)
{
	int hours;
	int minutes;
	int seconds;

	if (take_digits(at, 2, &hours) != 0 || take_one_of(at, ":") != 0 ||
	    take_digits(at, 2, &minutes) != 0 || take_one_of(at, ":") != 0 ||
	    take_digits(at, 2, &seconds) != 0)
		return ERR_INVALID;
	if (hours > 23 || minutes > 59 || seconds > 60)
		return ERR_INVALID;
	*ms = ((hours * 60 + minutes) * 60 + seconds) * (int64_t)1000;
	if (take_one_of(at, ".") != 0)
		return 0;
	if (!isdigit((unsigned char)**at))
		return ERR_INVALID;
	for (int scale = 100; isdigit((unsigned char)**at); (*at)++) {
		*ms += (**at - '0') * scale;
		scale /= 10;
	}
	return 0;
}

/* "Z", "+01:00": how far it is ahead of UTC. */
static int
take_zone(const char **at, int64_t *ahead_ms)
{
	int sign = **at == '-' ? -1 : 1;
	int hours;
	int minutes;

	*ahead_ms = 0;
	if (take_one_of(at, "Zz") == 0)
		return 0;
	if (take_one_of(at, "+-") != 0 || take_digits(at, 2, &hours) != 0 ||
	    take_one_of(at, ":") != 0 || take_digits(at, 2, &minutes) != 0)
		return ERR_INVALID;
	if (hours > 23 || minutes > 59)
		return ERR_INVALID;
	*ahead_ms = sign * (hours * 60 + minutes) * (int64_t)60000;
	return 0;
}

int
dump_time_parse(const char *text, int64_t now_ms, int64_t *at_ms)
{
	const char *at = text;
	int64_t date_s;
	int64_t clock_ms;
	int64_t ahead_ms;

	if (text[0] == '-')
		return parse_ago(text + 1, now_ms, at_ms);
	if (take_date(&at, &date_s) != 0 || take_one_of(&at, "Tt ") != 0 ||
	    take_clock(&at, &clock_ms) != 0 || take_zone(&at, &ahead_ms) != 0 ||
	    *at != '\0')
		return ERR_INVALID;
	*at_ms = date_s * 1000 + clock_ms - ahead_ms;
	return 0;
}

int
dump_time_append(struct buffer *out, uint64_t at_ms)
{
	/* Neighbours in a list often share their second: then it is made once. */
	static time_t known = -1;
	static char text[32];
	time_t seconds = (time_t)(at_ms / 1000);
	char *fraction = text + 19;
	struct tm tm;

	if (at_ms >= YEAR_10000_MS)
		return buffer_printf(out, "%" PRIu64, at_ms);
	if (seconds != known) {
		if (gmtime_r(&seconds, &tm) == NULL)
			return buffer_printf(out, "%" PRIu64, at_ms);
		(void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S.000Z", &tm);
		known = seconds;
	}
	fraction[1] = (char)('0' + at_ms / 100 % 10);
	fraction[2] = (char)('0' + at_ms / 10 % 10);
	fraction[3] = (char)('0' + at_ms % 10);
	return buffer_append(out, text, 24);
}
