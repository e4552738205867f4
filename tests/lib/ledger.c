/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger's file and payloads; see ledger.h.
 *
 * Failure modes: a file that is damaged or not there is reported to the caller; the
 * writer never leaves half a file under the name.
 */
#include "ledger.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEAD_BYTES 48 /* what is in front of the letters, at most */

void
ledger_init(struct ledger *l, const char *prefix, size_t count)
{
	memset(l, 0, sizeof *l);
	(void)snprintf(l->prefix, sizeof l->prefix, "%s", prefix);
	l->count = count;
	l->devices = calloc(count, sizeof *l->devices);
	if (l->devices == NULL)
		abort();
}

void
ledger_fini(struct ledger *l)
{
	free(l->devices);
	memset(l, 0, sizeof *l);
}

int
ledger_load(struct ledger *l, const char *path)
{
	struct ledger new = {.count = 0};
	FILE *f = fopen(path, "r");
	char prefix[LEDGER_PREFIX_MAX];
	size_t count;
	size_t i;

	if (f == NULL)
		return -1;
	if (fscanf(f, "ledger 1 %127s %zu", prefix, &count) != 2 || count == 0 ||
	    count > LEDGER_DEVICES_MAX)
		goto fail;
	ledger_init(&new, prefix, count);
	for (i = 0; i < count; i++) {
		struct ledger_device *d = &new.devices[i];

		if (fscanf(f, "%" SCNu64 " %" SCNu64, &d->acked, &d->published) != 2)
			goto fail;
	}
	(void)fclose(f);
	ledger_fini(l);
	*l = new;
	return 0;
fail:
	(void)fclose(f);
	ledger_fini(&new);
	return -1;
}

int
ledger_save(const struct ledger *l, const char *path)
{
	char temporary[4096];
	FILE *f;
	size_t i;
	int failed;

	(void)snprintf(temporary, sizeof temporary, "%s.new", path);
	f = fopen(temporary, "w");
	if (f == NULL)
		return -1;
	(void)fprintf(f, "ledger 1 %s %zu\n", l->prefix, l->count);
	for (i = 0; i < l->count; i++)
		(void)fprintf(f, "%" PRIu64 " %" PRIu64 "\n", l->devices[i].acked,
		    l->devices[i].published);
	failed = ferror(f);
	failed |= fclose(f);
	if (failed != 0 || rename(temporary, path) != 0) {
		(void)unlink(temporary);
		return -1;
	}
	return 0;
}

uint64_t
ledger_acked(const struct ledger *l)
{
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < l->count; i++)
		sum += l->devices[i].acked;
	return sum;
}

uint64_t
ledger_published(const struct ledger *l)
{
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < l->count; i++)
		sum += l->devices[i].published;
	return sum;
}

void
ledger_topic(const struct ledger *l, size_t device, char topic[LEDGER_TOPIC_MAX])
{
	(void)snprintf(topic, LEDGER_TOPIC_MAX, "%s/dev-%03zu", l->prefix, device);
}

static char
letter(size_t device, uint64_t number, size_t at)
{
	return (char)('a' + (device + number + at) % 26);
}

void
ledger_payload_make(char *data, size_t size, size_t device, uint64_t number)
{
	char head[HEAD_BYTES];
	int length = snprintf(
	    head, sizeof head, "dev-%03zu %" PRIu64 " %zu ", device, number, size);
	size_t i;

	if (length < 0 || (size_t)length > size) {
		fprintf(stderr, "%zu bytes are too few for \"%s\"\n", size, head);
		exit(EXIT_FAILURE);
	}
	memcpy(data, head, (size_t)length);
	for (i = (size_t)length; i < size; i++)
		data[i] = letter(device, number, i);
}

bool
ledger_payload_parse(const char *data, size_t size, size_t *device, uint64_t *number)
{
	char head[HEAD_BYTES + 1];
	size_t head_size = size < HEAD_BYTES ? size : HEAD_BYTES;
	size_t found_device;
	uint64_t found_number;
	size_t found_size;
	size_t i;
	int length = 0;

	if (size < LEDGER_PAYLOAD_MIN)
		return false;
	memcpy(head, data, head_size);
	head[head_size] = '\0';
	if (sscanf(head, "dev-%zu %" SCNu64 " %zu%n", &found_device, &found_number,
		&found_size, &length) != 3 ||
	    found_size != size || (size_t)length >= size || data[length] != ' ')
		return false;
	for (i = (size_t)length + 1; i < size; i++) {
		if (data[i] != letter(found_device, found_number, i))
			return false;
	}
	*device = found_device;
	*number = found_number;
	return true;
}
