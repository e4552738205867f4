/* SPDX-License-Identifier: Apache-2.0 */
/* A journal that is damaged: what is whole of it is read, and nothing else is. */
#include <fcntl.h>
#include <libdeflate.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/damage.h"
#include "../lib/journals.h"
#include "../lib/records.h"
#include "../lib/tmpdir.h"
#include "err.h"

#define CHILD_SECONDS 60

/* ---- batches ---- */

/* Flip a byte in each place of the file that holds this text; at least one. */
static void
flip_text(const char *directory, const char *text)
{
	struct buffer file = {0};
	uint8_t *at;
	int count = 0;

	damage_load(directory, &file);
	for (at = memmem(file.data, file.size, text, strlen(text)); at != NULL;
	     at = memmem(file.data, file.size, text, strlen(text))) {
		at[0] ^= 1;
		count++;
	}
	assert_true(count > 0);
	damage_store(directory, &file);
	buffer_fini(&file);
}

/* Three commits of ten records each; the payload of number n is "<n>" and filler. */
static void
make_three(const char *directory, size_t payload_bytes)
{
	struct journal *j = journals_open(directory, JOURNAL_INGEST);
	char *payload = malloc(payload_bytes + 32);

	assert_non_null(payload);
	for (unsigned n = 1; n <= 30; n++) {
		struct record r;

		memset(payload, 'x', payload_bytes + 32);
		(void)snprintf(payload, 32, "<%u>", n);
		payload[strlen(payload)] = 'x';
		payload[payload_bytes] = '\0';
		records_plain(&r, "n", payload);
		assert_int_equal(journal_stage(j, &r), ERR_OK);
		if (n % 10 == 0)
			assert_int_equal(journal_commit(j), ERR_OK);
	}
	free(payload);
	journal_close(j);
}

static void
assert_gap(struct journal *j, uint64_t first_seq, uint64_t count)
{
	struct journal_gap gap = {0};

	assert_int_equal(journal_gap_read(j, 1, &gap), ERR_OK);
	assert_int_equal(gap.first_seq, first_seq);
	assert_int_equal(gap.count, count);
	assert_int_equal(gap.reason, JOURNAL_GAP_DAMAGED);
	assert_int_equal(journal_gap_read(j, first_seq + 1, &gap), ERR_NOTFOUND);
}

static void
assert_read(struct journal *j, uint64_t from, int rc, uint64_t base, uint64_t end)
{
	struct journal_batch b = {0};

	assert_int_equal(journal_read(j, from, &b), rc);
	assert_int_equal(b.base_seq, base);
	assert_int_equal(b.end_seq, end);
	journal_batch_fini(&b);
}

static uint64_t
count_damaged(struct journal *j)
{
	struct journal_stat s;
	uint64_t count;

	assert_int_equal(journal_stat(j, &s), ERR_OK);
	count = s.damaged_count;
	journal_stat_fini(&s);
	return count;
}

static void
set_aside_the_middle(const char *directory, size_t payload_bytes)
{
	struct journal_range range = {11, 21};
	struct journal *j;

	make_three(directory, payload_bytes);
	flip_text(directory, "<15>");
	j = journals_open(directory, JOURNAL_FORWARD);
	assert_read(j, 11, ERR_CORRUPT, 11, 21);
	assert_int_equal(journal_quarantine(j, &range), ERR_OK);
	assert_int_equal(range.first_seq, 11);
	assert_int_equal(range.end_seq, 21);
	assert_gap(j, 11, 10);
	assert_int_equal(count_damaged(j), 1);
	assert_read(j, 1, ERR_OK, 1, 11);
	assert_read(j, 11, ERR_OK, 21, 31);
	journal_close(j);
	/* It is on disk. */
	j = journals_open(directory, JOURNAL_LOOK);
	assert_gap(j, 11, 10);
	assert_int_equal(count_damaged(j), 1);
	journal_close(j);
}

static void
damaged_batch_goes_out_of_the_way(void **state)
{
	set_aside_the_middle(*state, 20); /* in a leaf */
}

static void
damaged_batch_with_pages_of_its_own_goes_out_of_the_way(void **state)
{
	set_aside_the_middle(*state, 2000);
}

static void
the_last_batch_ends_where_the_next_number_is(void **state)
{
	struct journal_range range = {21, 31};
	struct journal *j;

	make_three(*state, 20);
	flip_text(*state, "<25>");
	j = journals_open(*state, JOURNAL_FORWARD);
	assert_int_equal(journal_quarantine(j, &range), ERR_OK);
	assert_gap(j, 21, 10);
	assert_read(j, 21, ERR_NOTFOUND, 21, 31);
	journal_close(j);
	assert_int_equal(journals_next(j = journals_open(*state, JOURNAL_LOOK)), 31);
	journal_close(j);
}

static void
what_can_be_read_stays(void **state)
{
	struct journal_range range = {11, 21};
	struct journal *j;

	make_three(*state, 20);
	j = journals_open(*state, JOURNAL_FORWARD);
	assert_int_equal(journal_quarantine(j, &range), ERR_INVALID);
	range.first_seq = 1000;
	assert_int_equal(journal_quarantine(j, &range), ERR_INVALID);
	assert_int_equal(count_damaged(j), 0);
	assert_int_equal(journals_check_dense(j, 1), 31);
	journal_close(j);
}

static void
without_room_for_it_it_stays(void **state)
{
	struct journal_options o = journals_options(*state);
	struct journal_range range = {11, 21};
	struct journal *j;

	make_three(*state, 2000);
	flip_text(*state, "<15>");
	o.dead_max_bytes = 16384;
	assert_int_equal(journal_open(&j, JOURNAL_FORWARD, &o), ERR_OK);
	assert_int_equal(journal_quarantine(j, &range), ERR_FULL);
	assert_int_equal(count_damaged(j), 0);
	assert_read(j, 11, ERR_CORRUPT, 11, 21);
	journal_close(j);
	o.dead_max_bytes = 1 << 20;
	assert_int_equal(journal_open(&j, JOURNAL_FORWARD, &o), ERR_OK);
	assert_int_equal(journal_quarantine(j, &range), ERR_OK);
	journal_close(j);
}

/* It stays in the log: taking it out would free pages of another. */
static void
without_a_good_first_page_it_stays(void **state)
{
	struct journal_range range = {11, 21};
	struct journal *j;

	make_three(*state, 2000);
	flip_text(*state, "<15>");
	damage_run(*state, "<11>");
	j = journals_open(*state, JOURNAL_FORWARD);
	assert_int_equal(journal_quarantine(j, &range), ERR_CORRUPT);
	assert_int_equal(count_damaged(j), 0);
	assert_read(j, 11, ERR_CORRUPT, 11, 21);
	assert_read(j, 21, ERR_OK, 21, 31);
	journal_close(j);
}

/* Where a batch begins that has pages of its own. */
static size_t
find_batch(const struct buffer *file, uint64_t seq)
{
	for (size_t at = 8192 + 16; at + BATCH_HEADER_BYTES < file->size; at += 4096)
		if (file->data[at] == BATCH_VERSION && file->data[at + 16] == seq &&
		    file->data[at + 17] == 0)
			return at - 16;
	fail_msg("no batch %llu", (unsigned long long)seq);
	return 0;
}

/* Put a value under a key of log, as no program does. */
static void
change_batch(const char *directory, uint64_t seq,
    void (*change)(
	uint8_t *stored, size_t size, struct batch_coder *c, struct buffer *out))
{
	struct buffer file = {0}, out = {0};
	struct batch_coder *c;
	uint8_t number[8];
	size_t bytes;
	uint64_t base;
	uint8_t *at = NULL;

	for (int i = 0; i < 8; i++)
		number[i] = (uint8_t)(seq >> (8 * i));
	assert_int_equal(batch_coder_open(&c), ERR_OK);
	damage_load(directory, &file);
	for (size_t i = 0; i + BATCH_HEADER_BYTES < file.size; i++) {
		struct batch_header h;
		struct buffer body = {0};
		struct bytes rest = {file.data + i, file.size - i};

		if (memcmp(file.data + i + 16, number, 8) != 0 ||
		    batch_measure(rest, &base, &bytes) != ERR_OK)
			continue;
		rest.size = bytes;
		if (batch_decode(c, rest, seq, &h, &body) == ERR_OK) {
			at = file.data + i;
			buffer_clear(&out);
			change(at, bytes, c, &out);
			assert_int_equal(out.size, bytes);
			memcpy(at, out.data, bytes);
		}
		buffer_fini(&body);
	}
	assert_non_null(at);
	damage_store(directory, &file);
	batch_coder_close(c);
	buffer_fini(&file);
	buffer_fini(&out);
}

/* The fourth record of the batch becomes nonsense, and the checksum is right again. */
static void
spoil_fourth(uint8_t *stored, size_t size, struct batch_coder *c, struct buffer *out)
{
	struct buffer body = {0};
	struct batch_header h;
	uint8_t *fourth;

	assert_int_equal(
	    batch_decode(c, (struct bytes){stored, size}, 11, &h, &body), ERR_OK);
	fourth = memmem(body.data, body.size, "<14>", 4);
	assert_non_null(fourth);
	while (*fourth != 0x84) /* the map that a record is */
		fourth--;
	*fourth = 0xc1;
	assert_int_equal(batch_encode(c, BATCH_CODEC_NONE,
			     (struct bytes){body.data, body.size}, &h, out),
	    ERR_OK);
	batch_seal(&h, out);
	buffer_fini(&body);
}

static void
records_in_front_of_one_that_does_not_decode_stay(void **state)
{
	struct journal_range range = {14, 21};
	struct journal *j;

	make_three(*state, 20);
	change_batch(*state, 11, spoil_fourth);
	j = journals_open(*state, JOURNAL_FORWARD);
	assert_read(j, 11, ERR_OK, 11, 21);
	assert_int_equal(journal_quarantine(j, &range), ERR_OK);
	assert_int_equal(range.first_seq, 14);
	assert_int_equal(range.end_seq, 21);
	assert_gap(j, 14, 7);
	assert_read(j, 11, ERR_OK, 11, 14);
	assert_read(j, 14, ERR_OK, 21, 31);
	range.first_seq = 14;
	assert_int_equal(journal_quarantine(j, &range), ERR_INVALID);
	assert_int_equal(count_damaged(j), 1);
	journal_close(j);
}

/* Another version, and the checksum is right. */
static void
make_later(uint8_t *stored, size_t size, struct batch_coder *c, struct buffer *out)
{
	uint32_t crc;

	(void)c;
	assert_int_equal(buffer_append(out, stored, size), ERR_OK);
	out->data[0] = BATCH_VERSION + 1;
	memset(out->data + 8, 0, 4);
	crc = libdeflate_crc32(0, out->data, size);
	for (int i = 0; i < 4; i++)
		out->data[8 + i] = (uint8_t)(crc >> 8 * i);
}

static void
batch_of_a_later_version_is_held_not_set_aside(void **state)
{
	struct journal_range range = {11, 21};
	struct journal *j;

	make_three(*state, 20);
	change_batch(*state, 11, make_later);
	j = journals_open(*state, JOURNAL_FORWARD);
	assert_read(j, 11, ERR_VERSION, 11, 21);
	assert_int_equal(journal_quarantine(j, &range), ERR_VERSION);
	assert_int_equal(count_damaged(j), 0);
	journal_close(j);
}

/* ---- what the disk does not give ---- */

static void
a_batch_that_the_disk_does_not_give_is_no_damage(void **state)
{
	struct journal_range range = {11, 21};
	struct journal_batch b = {0};
	struct buffer file = {0};
	struct journal *j;
	char path[4096];

	make_three(*state, 2000);
	damage_load(*state, &file);
	(void)snprintf(path, sizeof(path), "%s/data.mdb", (char *)*state);
	j = journals_open(*state, JOURNAL_FORWARD);
	assert_read(j, 11, ERR_OK, 11, 21);
	/* Touching a mapped page that is not there is a SIGBUS, as with a bad sector. */
	assert_int_equal(truncate(path, (off_t)find_batch(&file, 11)), 0);
	assert_int_equal(journal_read(j, 11, &b), ERR_IO);
	assert_int_equal(journal_quarantine(j, &range), ERR_IO);
	assert_int_equal(journal_read(j, 1, &b), ERR_OK);
	damage_store(*state, &file);
	assert_int_equal(journal_read(j, 11, &b), ERR_OK);
	assert_int_equal(count_damaged(j), 0);
	journal_batch_fini(&b);
	journal_close(j);
	buffer_fini(&file);
}

/* ---- at random ---- */

struct trial {
	const char *directory;
	const char *spare;
};

static const char *
run_trial(const struct trial *t, const struct buffer *file, struct damage_seen *seen)
{
	static char text[200];
	int pipe_fds[2], status;
	const char *wrong;
	pid_t pid;

	damage_store(t->directory, file);
	assert_int_equal(pipe(pipe_fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)alarm(CHILD_SECONDS);
		if (freopen("/dev/null", "w", stderr) == NULL)
			_exit(99);
		wrong = damage_exercise(t->directory, t->spare);
		if (write(pipe_fds[1], &damage_seen, sizeof(damage_seen)) < 0)
			_exit(99);
		if (wrong != NULL)
			(void)!write(pipe_fds[1], wrong, strlen(wrong));
		_exit(wrong == NULL ? 0 : 1);
	}
	(void)close(pipe_fds[1]);
	*seen = (struct damage_seen){0};
	if (read(pipe_fds[0], seen, sizeof(*seen)) < 0)
		seen->records = 0;
	memset(text, 0, sizeof(text));
	(void)!read(pipe_fds[0], text, sizeof(text) - 1);
	(void)close(pipe_fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		(void)snprintf(text, sizeof(text), "signal %d", WTERMSIG(status));
	else if (WEXITSTATUS(status) != 0 && text[0] == '\0')
		(void)snprintf(
		    text, sizeof(text), "exit status %d", WEXITSTATUS(status));
	return text[0] == '\0' ? NULL : text;
}

/* Memory is faster than the disk, and this is not about the disk. */
static void
make_directory(char path[4096], const char *fallback, const char *name)
{
	(void)snprintf(path, 4096, "/dev/shm/tidegate-%s-XXXXXX", name);
	if (mkdtemp(path) != NULL)
		return;
	(void)snprintf(path, 4096, "%s/%s-XXXXXX", fallback, name);
	assert_non_null(mkdtemp(path));
}

static void
remove_directory(const char *path)
{
	static const char *const names[] = {
	    "data.mdb", "lock.mdb", "ingest.lock", "forward.lock", "ballast"};
	char file[4200];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		(void)snprintf(file, sizeof(file), "%s/%s", path, names[i]);
		(void)unlink(file);
	}
	assert_int_equal(rmdir(path), 0);
}

/*
 * A whole one first. Then a page at a time is damaged, TIDEGATE_DAMAGE times: no crash,
 * no loop, no record that is not what it was; and each that cannot be opened any more
 * can be salvaged.
 */
static void
random_damage_never_crashes_nor_lies(void **state)
{
	const char *wanted = getenv("TIDEGATE_DAMAGE");
	long count = wanted == NULL ? 60 : strtol(wanted, NULL, 10);
	uint64_t seed = records_seed() | 1;
	char directory[4096], spare[4096];
	struct trial t = {directory, spare};
	struct buffer whole = {0}, file = {0};
	struct damage_seen seen;
	long refused = 0, set_aside = 0, salvaged = 0, wrongs = 0;
	uint64_t all;
	const char *wrong;

	make_directory(directory, *state, "damaged");
	make_directory(spare, *state, "salvaged");
	assert_int_equal(damage_make(directory), ERR_OK);
	damage_load(directory, &whole);
	wrong = run_trial(&t, &whole, &seen);
	if (wrong != NULL)
		fail_msg("%s", wrong);
	assert_int_equal(seen.look_err, ERR_OK);
	assert_int_equal(seen.set_aside, 0);
	all = seen.salvaged_records;
	assert_true(all > 1000);
	for (long i = 0; i < count; i++) {
		const char *what;

		buffer_clear(&file);
		assert_int_equal(buffer_append(&file, whole.data, whole.size), ERR_OK);
		what = damage_mutate(&file, &seed);
		wrong = run_trial(&t, &file, &seen);
		if (wrong != NULL) {
			print_error("%s: %s\n", what, wrong);
			wrongs++;
		}
		refused += seen.look_err != ERR_OK;
		set_aside += seen.set_aside > 0;
		salvaged += seen.look_err != ERR_OK && seen.salvage_err == ERR_OK;
		if (getenv("TIDEGATE_DAMAGE_TELL") != NULL)
			print_message("%s: look %s, set aside %d, salvage %s, %d\n",
			    what, err_str(seen.look_err), (int)seen.set_aside,
			    err_str(seen.salvage_err), (int)seen.salvaged_records);
	}
	print_message(
	    "%ld damaged: %ld refused, of these %ld salvaged; %ld with batches "
	    "set aside\n",
	    count, refused, salvaged, set_aside);
	assert_int_equal(wrongs, 0);
	buffer_fini(&whole);
	buffer_fini(&file);
	remove_directory(directory);
	remove_directory(spare);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tmpdir_setup, tmpdir_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(damaged_batch_goes_out_of_the_way),
	    TEST(damaged_batch_with_pages_of_its_own_goes_out_of_the_way),
	    TEST(the_last_batch_ends_where_the_next_number_is),
	    TEST(what_can_be_read_stays),
	    TEST(without_room_for_it_it_stays),
	    TEST(without_a_good_first_page_it_stays),
	    TEST(records_in_front_of_one_that_does_not_decode_stay),
	    TEST(batch_of_a_later_version_is_held_not_set_aside),
	    TEST(a_batch_that_the_disk_does_not_give_is_no_damage),
	    TEST(random_damage_never_crashes_nor_lies),
	};
	return cmocka_run_group_tests_name("journal: damaged", tests, NULL, NULL);
}
