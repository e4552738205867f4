/* SPDX-License-Identifier: Apache-2.0 */
/* sources: batch.c buffer.c err.c events.c log.c now.c record.c record_decode.c record_measure.c text.c */
/* sources: ../tests/lib/damage.c journal/disk.c journal/guard.c */
/* sources: journal/journal.c journal/journal_append.c journal/journal_asked.c */
/* sources: journal/journal_copy.c journal/journal_damaged.c */
/* sources: journal/journal_dead.c journal/journal_drain.c */
/* sources: journal/journal_drop.c journal/journal_gaps.c */
/* sources: journal/journal_identity.c */
/* sources: journal/journal_letters.c journal/journal_meta.c */
/* sources: journal/journal_orders.c journal/journal_read.c */
/* sources: journal/journal_salvage.c journal/pages.c journal/pages_runs.c */
/* sources: journal/pages_walk.c */
/* sources: journal/salvage_find.c journal/salvage_write.c journal/store.c */
/* sources: journal/store_open.c journal/store_room.c journal/structure.c */
/* seconds: 60 */
/*
 * A journal of which some bytes are changed: the input is a list of changes, six bytes
 * each (page, offset, what; value), so that the fuzzer has to find pages and not to make
 * them. Then all that a gateway and its tools do with it. Nothing may crash, end in a
 * loop, or give a record that is not what it was.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../lib/damage.h"
#include "log.h"

#define PAGE_BYTES   4096
#define CHANGE_BYTES 6
#define CHANGES_MAX  16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static char directory[64], spare[64];
static struct buffer whole, file;

static void
check(bool right)
{
	if (!right)
		abort();
}

/* In memory where there is a file system for it. */
static void
make_directory(char path[64], const char *name)
{
	(void)snprintf(path, 64, "/dev/shm/%s-XXXXXX", name);
	if (mkdtemp(path) != NULL)
		return;
	(void)snprintf(path, 64, "%s-XXXXXX", name);
	check(mkdtemp(path) != NULL);
}

static void
clean_up(void)
{
	static const char *const names[] = {
	    "data.mdb", "lock.mdb", "ingest.lock", "forward.lock", "ballast"};
	char path[100];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
		(void)unlink(path);
		(void)snprintf(path, sizeof(path), "%s/%s", spare, names[i]);
		(void)unlink(path);
	}
	(void)rmdir(directory);
	(void)rmdir(spare);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	log_open("fuzz", (enum log_level)0, LOG_FORMAT_TEXT); /* not a word */
	make_directory(directory, "fuzz-journal");
	make_directory(spare, "fuzz-salvaged");
	check(atexit(clean_up) == 0);
	check(damage_make(directory) == 0);
	damage_load(directory, &whole);
	return 0;
}

static void
change(const uint8_t *c)
{
	size_t page = (size_t)(c[0] | c[1] << 8) % (file.size / PAGE_BYTES);
	size_t offset = (size_t)(c[2] | c[3] << 8);
	uint8_t *at = file.data + page * PAGE_BYTES;
	size_t other = (size_t)c[5] % (file.size / PAGE_BYTES);

	switch (offset >> 12) {
	case 0:
	case 1:
		at[offset % PAGE_BYTES] ^= c[4];
		break;
	case 2:
		memset(at + offset % PAGE_BYTES, c[4],
		    c[5] < PAGE_BYTES - offset % PAGE_BYTES
			? c[5]
			: PAGE_BYTES - offset % PAGE_BYTES);
		break;
	case 3:
		memmove(at, file.data + other * PAGE_BYTES, PAGE_BYTES);
		break;
	case 4:
		memset(at, 0, PAGE_BYTES);
		break;
	default:
		at[offset % PAGE_BYTES] = c[4];
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *wrong;

	buffer_clear(&file);
	check(buffer_append(&file, whole.data, whole.size) == 0);
	for (size_t i = 0; i + CHANGE_BYTES <= size && i < CHANGES_MAX * CHANGE_BYTES;
	     i += CHANGE_BYTES)
		change(data + i);
	damage_store(directory, &file);
	wrong = damage_exercise(directory, spare);
	if (wrong != NULL)
		(void)fprintf(stderr, "%s\n", wrong);
	check(wrong == NULL);
	return 0;
}
