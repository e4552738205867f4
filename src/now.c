/* SPDX-License-Identifier: Apache-2.0 */
/* The clocks, and what the kernel says about them. */
#include "now.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/timex.h>
#include <time.h>

static struct timespec
read_clock(clockid_t clock)
{
	struct timespec t = {0};

	/* These clocks exist on every Linux: it cannot fail. */
	(void)clock_gettime(clock, &t);
	return t;
}

static int64_t
read_ms(clockid_t clock)
{
	struct timespec t = read_clock(clock);

	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t
now_monotonic_ms(void)
{
	return read_ms(CLOCK_MONOTONIC);
}

int64_t
now_monotonic_us(void)
{
	struct timespec t = read_clock(CLOCK_MONOTONIC);

	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t
now_real_ms(void)
{
	return read_ms(CLOCK_REALTIME);
}

int64_t
now_boot_ms(void)
{
	return read_ms(CLOCK_BOOTTIME);
}

static int
digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return tolower((unsigned char)c) - 'a' + 10;
}

void
now_boot_id(uint8_t id[16])
{
	FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
	char text[40] = "";
	size_t digits = 0;

	memset(id, 0, 16);
	if (f == NULL)
		return;
	if (fgets(text, sizeof(text), f) == NULL)
		text[0] = '\0';
	(void)fclose(f); /* only read from */
	for (const char *c = text; *c != '\0' && digits < 32; c++) {
		if (!isxdigit((unsigned char)*c))
			continue;
		id[digits / 2] = (uint8_t)(id[digits / 2] << 4 | digit_value(*c));
		digits++;
	}
	if (digits != 32)
		memset(id, 0, 16);
}

void
now_pause_ms(int64_t ms)
{
	struct timespec ts = {
	    .tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};

	(void)nanosleep(&ts, NULL); /* cut short by a signal, which is all right */
}

bool
now_is_synchronised(void)
{
	struct timex t = {0};
	int state = adjtimex(&t);

	return state >= 0 && state != TIME_ERROR && (t.status & STA_UNSYNC) == 0;
}
