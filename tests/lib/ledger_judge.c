/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The judgement over what arrived; see ledger_judge.h.
 *
 * Each message is one of: seen for the first time (in order or not), seen again under
 * the sequence number of an earlier arrival, or seen again under a new one. For that it
 * keeps, per device, which numbers it has seen, and per journal, which message each
 * sequence number stood for.
 */
#include "ledger_judge.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JOURNALS_MAX 16
#define SEQ_MAX      200000000U
#define TOLD_MAX     10

struct device {
	uint8_t *seen; /* by number */
	uint64_t capacity;
	uint64_t highest;
	uint64_t prefix; /* everything up to here has been seen */
};

struct entry {
	uint32_t device; /* + 1; 0: this sequence number has not been seen */
	uint32_t number;
};

struct journal {
	char uuid[40];
	struct entry *by_seq;
	uint64_t capacity;
};

struct judge {
	struct device *devices;
	size_t device_count;
	struct journal journals[JOURNALS_MAX];
	struct judge_counts counts;
	unsigned told_reordered;
};

/* Room for an element at index, the new ones zero. */
static void *
grow(void *array, uint64_t *capacity, uint64_t index, size_t element_bytes)
{
	uint64_t wanted = *capacity < 1024 ? 1024 : *capacity;
	char *data;

	if (index < *capacity)
		return array;
	while (wanted <= index)
		wanted *= 2;
	data = realloc(array, wanted * element_bytes);
	if (data == NULL)
		abort();
	memset(
	    data + *capacity * element_bytes, 0, (wanted - *capacity) * element_bytes);
	*capacity = wanted;
	return data;
}

struct judge *
judge_open(void)
{
	struct judge *j = calloc(1, sizeof *j);

	if (j == NULL)
		abort();
	j->device_count = LEDGER_DEVICES_MAX;
	j->devices = calloc(j->device_count, sizeof *j->devices);
	if (j->devices == NULL)
		abort();
	return j;
}

void
judge_close(struct judge *j)
{
	size_t i;

	if (j == NULL)
		return;
	for (i = 0; i < j->device_count; i++)
		free(j->devices[i].seen);
	for (i = 0; i < JOURNALS_MAX; i++)
		free(j->journals[i].by_seq);
	free(j->devices);
	free(j);
}

void
judge_wrong(struct judge *j, const char *format, ...)
{
	va_list args;

	j->counts.wrong++;
	if (j->counts.wrong > TOLD_MAX)
		return;
	va_start(args, format);
	(void)fputs("wrong: ", stderr);
	(void)vfprintf(stderr, format, args);
	(void)fputc('\n', stderr);
	va_end(args);
}

/* The entry of this header's sequence number; NULL if it cannot be read. */
static struct entry *
entry_of(struct judge *j, const char *header, size_t size)
{
	char text[256];
	char uuid[40];
	uint64_t seq;
	size_t i;

	if (size >= sizeof text)
		return NULL;
	memcpy(text, header, size);
	text[size] = '\0';
	if (sscanf(text, "%*[^/]/%39[^/]/%" SCNu64 "/", uuid, &seq) != 2 || seq == 0 ||
	    seq > SEQ_MAX)
		return NULL;
	for (i = 0; i < JOURNALS_MAX; i++) {
		struct journal *journal = &j->journals[i];

		if (journal->uuid[0] == '\0')
			(void)snprintf(journal->uuid, sizeof journal->uuid, "%s", uuid);
		if (strcmp(journal->uuid, uuid) != 0)
			continue;
		journal->by_seq = grow(
		    journal->by_seq, &journal->capacity, seq, sizeof *journal->by_seq);
		return &journal->by_seq[seq];
	}
	return NULL;
}

static void
first_seen(
    struct judge *j, struct device *d, size_t device, uint64_t number, bool is_requeued)
{
	d->seen[number] = 1;
	j->counts.delivered++;
	if (is_requeued) {
		j->counts.requeued++;
	} else if (number > d->highest) {
		d->highest = number;
	} else {
		j->counts.reordered++;
		j->told_reordered++;
		if (j->told_reordered <= TOLD_MAX)
			(void)fprintf(stderr,
			    "reordered: dev-%03zu %" PRIu64 " behind %" PRIu64 "\n",
			    device, number, d->highest);
	}
	while (d->prefix + 1 < d->capacity && d->seen[d->prefix + 1] != 0)
		d->prefix++;
}

static void
take(struct judge *j, size_t device, uint64_t number, const char *header,
    size_t header_size, bool is_requeued)
{
	struct entry *entry = entry_of(j, header, header_size);
	struct device *d;
	bool is_known;

	if (entry == NULL || device >= j->device_count || number == 0 ||
	    number > SEQ_MAX) {
		judge_wrong(j, "dev-%03zu %" PRIu64 ": header \"%.*s\"", device, number,
		    (int)header_size, header);
		return;
	}
	is_known = entry->device != 0;
	if (is_known && (entry->device != device + 1 || entry->number != number)) {
		judge_wrong(j, "%.*s was dev-%03u %u before, now dev-%03zu %" PRIu64,
		    (int)header_size, header, entry->device - 1, entry->number, device,
		    number);
		return;
	}
	entry->device = (uint32_t)device + 1;
	entry->number = (uint32_t)number;
	d = &j->devices[device];
	d->seen = grow(d->seen, &d->capacity, number, 1);
	if (d->seen[number] == 0)
		first_seen(j, d, device, number, is_requeued);
	else if (is_known)
		j->counts.duplicated++;
	else
		j->counts.redelivered++;
}

void
judge_message(struct judge *j, size_t device, uint64_t number, const char *header,
    size_t header_size)
{
	take(j, device, number, header, header_size, false);
}

void
judge_requeued(struct judge *j, size_t device, uint64_t number, const char *header,
    size_t header_size)
{
	take(j, device, number, header, header_size, true);
}

bool
judge_has_all(const struct judge *j, const struct ledger *l)
{
	size_t i;

	for (i = 0; i < l->count; i++) {
		if (j->devices[i].prefix < l->devices[i].acked)
			return false;
	}
	return true;
}

struct judge_counts
judge_result(struct judge *j, const struct ledger *l)
{
	uint64_t number;
	size_t i;

	j->counts.lost = 0;
	for (i = 0; i < l->count; i++) {
		const struct device *d = &j->devices[i];

		for (number = d->prefix + 1; number <= l->devices[i].acked; number++) {
			if (number < d->capacity && d->seen[number] != 0)
				continue;
			j->counts.lost++;
			if (j->counts.lost <= TOLD_MAX)
				(void)fprintf(
				    stderr, "lost: dev-%03zu %" PRIu64 "\n", i, number);
		}
	}
	for (i = l->count; i < j->device_count; i++) {
		if (j->devices[i].highest > 0)
			judge_wrong(j, "dev-%03zu is not in the ledger", i);
	}
	return j->counts;
}
