/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory_peak [-i MS] PID
 *
 * The anonymous memory (RssAnon) of a process and its children together, looked at every
 * MS milliseconds (10) until PID has ended or SIGTERM comes. Then one line of KiB:
 *
 *   all MOST samples COUNT NAME MOST NAME MOST ...
 *
 * with the most that all had at one time, and the most that each name had.
 */
#include <ctype.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PROCESSES_MAX 64
#define NAMES_MAX     16
#define NAME_BYTES    32

struct name {
	char text[NAME_BYTES];
	unsigned long most_kib;
};

static struct name names[NAMES_MAX];
static size_t name_count;
static volatile sig_atomic_t stop;

static void
on_signal(int signal)
{
	(void)signal;
	stop = 1;
}

static void
note_name(const char *text, unsigned long kib)
{
	size_t i;

	for (i = 0; i < name_count && strcmp(names[i].text, text) != 0; i++)
		;
	if (i == NAMES_MAX)
		return;
	if (i == name_count)
		(void)snprintf(names[name_count++].text, NAME_BYTES, "%s", text);
	if (kib > names[i].most_kib)
		names[i].most_kib = kib;
}

/* One that is gone, or a zombie, has none. */
static unsigned long
kib_of(long pid)
{
	char path[64], line[256], name[NAME_BYTES] = "?";
	unsigned long kib = 0;
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/%ld/status", pid);
	file = fopen(path, "re");
	if (file == NULL)
		return 0;
	while (fgets(line, sizeof(line), file) != NULL) {
		(void)sscanf(line, "Name: %31s", name);
		if (sscanf(line, "RssAnon: %lu", &kib) == 1)
			break;
	}
	(void)fclose(file);
	if (kib > 0)
		note_name(name, kib);
	return kib;
}

/* Parent's children, one a line in the list that the kernel keeps. */
static size_t
find_children(long parent, long pids[PROCESSES_MAX])
{
	char path[96];
	size_t count = 0;
	FILE *file;

	(void)snprintf(
	    path, sizeof(path), "/proc/%ld/task/%ld/children", parent, parent);
	file = fopen(path, "re");
	if (file == NULL)
		return 0;
	while (count < PROCESSES_MAX && fscanf(file, "%ld", &pids[count]) == 1)
		count++;
	(void)fclose(file);
	return count;
}

static void
look_until_end(long parent, long interval_ms)
{
	const struct timespec pause = {
	    .tv_sec = interval_ms / 1000, .tv_nsec = interval_ms % 1000 * 1000000};
	unsigned long most = 0, samples = 0, sum;
	long pids[PROCESSES_MAX];

	while (stop == 0) {
		size_t count = find_children(parent, pids);

		sum = kib_of(parent);
		if (sum == 0)
			break;
		for (size_t i = 0; i < count; i++)
			sum += kib_of(pids[i]);
		if (sum > most)
			most = sum;
		samples++;
		(void)nanosleep(&pause, NULL);
	}
	printf("all %lu samples %lu", most, samples);
	for (size_t i = 0; i < name_count; i++)
		printf(" %s %lu", names[i].text, names[i].most_kib);
	printf("\n");
}

int
main(int argc, char *argv[])
{
	struct sigaction action = {.sa_handler = on_signal};
	long interval_ms = 10;
	int option;

	while ((option = getopt(argc, argv, "i:")) != -1) {
		if (option != 'i')
			return 2;
		interval_ms = strtol(optarg, NULL, 10);
	}
	if (optind + 1 != argc || !isdigit((unsigned char)argv[optind][0]) ||
	    interval_ms <= 0) {
		fprintf(stderr, "usage: memory_peak [-i MS] PID\n");
		return 2;
	}
	if (access("/proc/self/task", R_OK) != 0) {
		fprintf(stderr, "memory_peak: there is no /proc\n");
		return 1;
	}
	(void)sigaction(SIGTERM, &action, NULL);
	(void)sigaction(SIGINT, &action, NULL);
	look_until_end(strtol(argv[optind], NULL, 10), interval_ms);
	return 0;
}
