/* SPDX-License-Identifier: Apache-2.0 */
#include "damage.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err.h"
#include "record.h"

#define PAGE_BYTES 4096
#define STEPS_MAX  100000 /* more reads than there are numbers: a loop */

struct damage_seen damage_seen;

struct journal_options
damage_options(const char *directory)
{
	return (struct journal_options){
	    .directory = directory,
	    .gateway_id = DAMAGE_GATEWAY,
	    .max_bytes = (uint64_t)4 << 20,
	    .dead_max_bytes = (uint64_t)2 << 20,
	    .codec = BATCH_CODEC_ZSTD,
	};
}

/* ---- what is in it ---- */

void
damage_record(uint64_t seq, struct record *r)
{
	static char topic[32];
	static char payload[100000];
	size_t size = 20 + (size_t)(seq * 37 % 180);
	uint64_t state = seq * 2654435761U + 1;

	if (seq == 700)
		size = sizeof(payload);
	for (size_t i = 0; i < size; i++) {
		state = state * 6364136223846793005U + 1442695040888963407U;
		payload[i] = (char)(seq % 2 == 0 ? (char)('a' + state % 3)
						 : (char)(state >> 33));
	}
	(void)snprintf(topic, sizeof(topic), "t/%u", (unsigned)(seq % 7));
	*r = (struct record){
	    .received_ms = 1795514400000U + seq,
	    .topic = {topic, strlen(topic)},
	    .payload = {payload, size},
	    .qos = 1,
	};
}

static int
append(struct journal *j, uint64_t *seq, int commits, int records)
{
	int rc = ERR_OK;

	for (int c = 0; rc == ERR_OK && c < commits; c++) {
		for (int i = 0; rc == ERR_OK && i < records; i++) {
			struct record r;

			damage_record((*seq)++, &r);
			rc = journal_stage(j, &r);
		}
		if (rc == ERR_OK)
			rc = journal_commit(j);
	}
	return rc;
}

static int
append_too_large(struct journal *j, uint64_t *seq)
{
	char *payload = calloc(1, 300000);
	struct record r;
	int rc = ERR_NOMEM;

	damage_record(*seq, &r);
	r.payload = (struct bytes){payload, 300000};
	if (payload != NULL)
		rc = journal_stage(j, &r);
	if (rc == ERR_OK)
		rc = journal_commit(j);
	free(payload);
	++*seq;
	return rc;
}

static int
fill(const char *directory, enum batch_codec codec, uint64_t *seq)
{
	struct journal_options o = damage_options(directory);
	struct journal *j = NULL;
	int rc;

	o.codec = codec;
	rc = journal_open(&j, JOURNAL_INGEST, &o);
	if (rc == ERR_OK)
		rc = append(j, seq, 40, 1);
	if (rc == ERR_OK)
		rc = append(j, seq, 2, 300);
	if (rc == ERR_OK)
		rc = append_too_large(j, seq);
	if (rc == ERR_OK)
		rc = append(j, seq, 70, 2);
	journal_close(j);
	return rc;
}

static int
bury(struct journal *j, uint64_t seq)
{
	struct dead_letter letter = {
	    .buried_ms = 1795514400000U,
	    .reason = DEAD_TOO_LARGE,
	    .detail = {"Broker: Message size too large", 30},
	};
	struct buffer stored = {0};
	struct record r;
	int rc;

	damage_record(seq, &r);
	rc = record_encode(&r, &stored);
	letter.record = (struct bytes){stored.data, stored.size};
	if (rc == ERR_OK)
		rc = journal_bury(j, seq, "slow", &letter);
	buffer_fini(&stored);
	return rc;
}

static int
drain(const char *directory, uint64_t fast, uint64_t slow)
{
	static const char *const names[] = {"fast", "slow"};
	struct journal_options o = damage_options(directory);
	uint64_t acked[2];
	struct journal *j = NULL;
	bool more = true;
	int rc;

	rc = journal_open(&j, JOURNAL_FORWARD, &o);
	if (rc == ERR_OK)
		rc = journal_routes_set(j, names, 2, acked);
	if (rc == ERR_OK)
		rc = bury(j, slow);
	acked[0] = fast;
	acked[1] = slow;
	while (rc == ERR_OK && more)
		rc = journal_acknowledge(j, acked, &more);
	journal_close(j);
	return rc;
}

static int
make(const char *directory)
{
	char filter[] = "t/#";
	struct journal_subscription one = {1, filter};
	struct journal_subscriptions s = {.list = &one, .count = 1, .next_id = 2};
	struct journal_options o = damage_options(directory);
	struct journal *j = NULL;
	uint64_t seq = 1;
	int rc;

	rc = fill(directory, BATCH_CODEC_ZSTD, &seq);
	if (rc == ERR_OK)
		rc = drain(directory, 60, 21);
	if (rc == ERR_OK)
		rc = fill(directory, BATCH_CODEC_NONE, &seq);
	if (rc == ERR_OK)
		rc = drain(directory, 400, 30);
	if (rc == ERR_OK)
		rc = journal_open(&j, JOURNAL_INGEST, &o);
	if (rc == ERR_OK)
		rc = journal_subscriptions_save(j, &s);
	if (rc == ERR_OK)
		rc = append(j, &seq, 1, 5);
	journal_close(j);
	return rc;
}

int
damage_make(const char *directory)
{
	static struct buffer whole;
	int rc;

	if (whole.size > 0) {
		damage_store(directory, &whole);
		return ERR_OK;
	}
	rc = make(directory);
	if (rc == ERR_OK)
		damage_load(directory, &whole);
	return rc;
}

/* ---- the file ---- */

static void
path_of(const char *directory, char path[4096])
{
	if (snprintf(path, 4096, "%s/data.mdb", directory) >= 4096)
		abort();
}

void
damage_load(const char *directory, struct buffer *file)
{
	char path[4096];
	struct stat st;
	int fd;

	path_of(directory, path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	buffer_clear(file);
	if (fd < 0 || fstat(fd, &st) != 0 ||
	    buffer_reserve(file, (size_t)st.st_size + 1) != 0 ||
	    read(fd, file->data, (size_t)st.st_size) != st.st_size)
		abort();
	file->size = (size_t)st.st_size;
	(void)close(fd);
}

void
damage_store(const char *directory, const struct buffer *file)
{
	char path[4096];
	int fd;

	path_of(directory, path);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	if (fd < 0 || write(fd, file->data, file->size) != (ssize_t)file->size)
		abort();
	(void)close(fd);
}

void
damage_run(const char *directory, const char *text)
{
	struct buffer file = {0};
	uint8_t *at;

	damage_load(directory, &file);
	at = memmem(file.data, file.size, text, strlen(text));
	if (at == NULL)
		abort();
	at -= (size_t)(at - file.data) % PAGE_BYTES;
	if (at[10] != 4) /* a page of another kind */
		abort();
	at[12]++;
	damage_store(directory, &file);
	buffer_fini(&file);
}

static uint64_t
random_number(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* A small page number, mostly: there the trees are. */
static size_t
random_page(const struct buffer *file, uint64_t *seed)
{
	size_t count = file->size / PAGE_BYTES;

	if (count > 120 && random_number(seed) % 8 != 0)
		count = 120;
	return (size_t)(random_number(seed) % (count == 0 ? 1 : count));
}

const char *
damage_mutate(struct buffer *file, uint64_t *seed)
{
	static char text[100];
	size_t page = random_page(file, seed), other = random_page(file, seed);
	size_t at = page * PAGE_BYTES;
	uint64_t how = random_number(seed) % 10;
	size_t byte = (size_t)(random_number(seed) % PAGE_BYTES);

	if (how < 3)
		byte %= 300; /* headers and pointers are in front */
	if (how < 6) {
		uint8_t bit = (uint8_t)(1 << random_number(seed) % 8);

		file->data[at + byte] ^= bit;
		(void)snprintf(text, sizeof(text), "page %zu, byte %zu ^ 0x%x", page,
		    byte, (unsigned)bit);
	} else if (how < 7) {
		memset(file->data + at, 0, PAGE_BYTES);
		(void)snprintf(text, sizeof(text), "page %zu is zeros", page);
	} else if (how < 8) {
		memmove(file->data + at, file->data + other * PAGE_BYTES, PAGE_BYTES);
		(void)snprintf(text, sizeof(text), "page %zu is page %zu", page, other);
	} else if (how < 9) {
		memset(file->data + at + byte, 0xff,
		    PAGE_BYTES - byte < 8 ? PAGE_BYTES - byte : 8);
		(void)snprintf(
		    text, sizeof(text), "page %zu, ones from byte %zu", page, byte);
	} else {
		file->size = at + byte;
		(void)snprintf(text, sizeof(text), "cut to %zu bytes", file->size);
	}
	return text;
}

/* ---- what is done to it ---- */

static const char *
compare(uint64_t seq, const struct record *r)
{
	struct record wanted;

	damage_record(seq, &wanted);
	if (r->received_ms != wanted.received_ms || r->qos != wanted.qos ||
	    r->topic.size != wanted.topic.size ||
	    memcmp(r->topic.data, wanted.topic.data, wanted.topic.size) != 0 ||
	    r->payload.size != wanted.payload.size ||
	    memcmp(r->payload.data, wanted.payload.data, wanted.payload.size) != 0)
		return "a record is not what it was";
	return NULL;
}

static const char *
check_batch(const struct journal_batch *b, struct record_decoder *d)
{
	const char *wrong = NULL;
	size_t at = 0;

	record_decoder_reset(d);
	for (uint64_t seq = b->base_seq; wrong == NULL && seq < b->end_seq; seq++) {
		struct record r;

		if (record_decode(d, b->body.data, b->body.size, &at, &r) != ERR_OK)
			return "a record whose checksum is right does not decode";
		wrong = compare(seq, &r);
		damage_seen.records++;
	}
	return wrong;
}

/* With set_aside as forward does it. */
static const char *
read_all(struct journal *j, bool set_aside)
{
	struct journal_batch b = {0};
	struct record_decoder *d = NULL;
	const char *wrong = NULL;
	uint64_t seq = 1;
	int steps = 0, rc;

	damage_seen.records = 0;
	if (record_decoder_open(&d) != ERR_OK)
		return "no memory";
	for (rc = journal_read(j, seq, &b); wrong == NULL && rc != ERR_NOTFOUND;
	     rc = journal_read(j, seq, &b)) {
		struct journal_range range = {b.base_seq, b.end_seq};

		if (steps++ > STEPS_MAX)
			wrong = "reading does not end";
		else if (rc == ERR_IO || rc == ERR_NOMEM)
			break;
		else if (rc == ERR_OK)
			wrong = check_batch(&b, d);
		else if (b.end_seq <= seq)
			break; /* nothing is known any more */
		if (wrong == NULL && rc == ERR_CORRUPT && set_aside &&
		    journal_quarantine(j, &range) == ERR_OK)
			damage_seen.set_aside++;
		else
			seq = b.end_seq;
	}
	record_decoder_close(d);
	journal_batch_fini(&b);
	return wrong;
}

static void
look_at_rest(struct journal *j)
{
	struct journal_subscriptions subscriptions;
	struct journal_dead dead = {0};
	struct journal_gap gap = {0};
	struct journal_stat stat;

	while (journal_gap_read(j, gap.first_seq + 1, &gap) == ERR_OK &&
	       gap.first_seq < UINT64_MAX)
		continue;
	while (journal_dead_next(j, &dead) == ERR_OK)
		continue;
	journal_dead_fini(&dead);
	if (journal_stat(j, &stat) == ERR_OK)
		journal_stat_fini(&stat);
	if (journal_subscriptions_load(j, &subscriptions) == ERR_OK)
		journal_subscriptions_fini(&subscriptions);
}

static const char *
look(const char *directory, int *err)
{
	struct journal_options o = damage_options(directory);
	struct journal *j = NULL;
	const char *wrong = NULL;

	*err = journal_open(&j, JOURNAL_LOOK, &o);
	if (*err != ERR_OK)
		return NULL;
	wrong = read_all(j, false);
	look_at_rest(j);
	journal_close(j);
	return wrong;
}

static const char *
forward(const char *directory)
{
	static const char *const names[] = {"fast", "slow"};
	struct journal_options o = damage_options(directory);
	struct journal *j = NULL;
	const char *wrong = NULL;
	uint64_t acked[2];
	bool more = true;
	int rc;

	damage_seen.forward_err = journal_open(&j, JOURNAL_FORWARD, &o);
	if (damage_seen.forward_err != ERR_OK)
		return NULL;
	wrong = read_all(j, true);
	if (wrong == NULL)
		wrong = read_all(j, true);
	rc = journal_routes_set(j, names, 2, acked);
	if (rc == ERR_OK)
		(void)bury(j, 50); /* whether it works is not the question */
	for (uint64_t seq = 100; rc == ERR_OK && seq < 1000; seq += 150) {
		acked[0] = acked[1] = seq;
		rc = journal_acknowledge(j, acked, &more);
	}
	journal_close(j);
	return wrong;
}

static void
ingest(const char *directory)
{
	struct journal_options o = damage_options(directory);
	struct journal *j = NULL;
	struct journal_stat stat;
	uint64_t seq;

	if (journal_open(&j, JOURNAL_INGEST, &o) != ERR_OK)
		return;
	if (journal_stat(j, &stat) == ERR_OK) {
		seq = stat.next_seq;
		journal_stat_fini(&stat);
		(void)append(j, &seq, 3, 2);
	}
	journal_close(j);
}

static void
remove_journal(const char *directory)
{
	static const char *const names[] = {
	    "data.mdb", "lock.mdb", "ingest.lock", "forward.lock"};
	char path[4200];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
		(void)unlink(path);
	}
}

static const char *
salvage(const char *directory, const char *spare)
{
	struct journal_salvaged done = {0};
	const char *wrong;
	int err;

	remove_journal(spare);
	damage_seen.salvage_err = journal_salvage(directory, spare, &done);
	damage_seen.salvaged_records = done.records;
	if (damage_seen.salvage_err != ERR_OK)
		return NULL;
	wrong = look(spare, &err);
	if (wrong == NULL && err != ERR_OK)
		wrong = "what was salvaged cannot be opened";
	if (wrong == NULL && damage_seen.records != done.records)
		wrong = "what was salvaged is not all there";
	return wrong;
}

const char *
damage_exercise(const char *directory, const char *spare)
{
	const char *wrong;

	damage_seen = (struct damage_seen){0};
	wrong = salvage(directory, spare);
	if (wrong == NULL)
		wrong = look(directory, &damage_seen.look_err);
	if (wrong == NULL)
		wrong = forward(directory);
	if (wrong == NULL) {
		ingest(directory);
		wrong = forward(directory);
	}
	return wrong;
}
