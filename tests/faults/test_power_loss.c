/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Power cuts. One process appends and another drains, as ingest and forward do, while
 * everything that reaches data.mdb is recorded. Then the power is cut in effect after
 * each entry of that record: the file is made anew as it may be found then, and the
 * journal must open, with all that was acknowledged by then.
 *
 * POWER_CUTS=N makes more cuts at each point, POWER_COMMITS=N the run longer.
 */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/journals.h"
#include "../lib/record_writes.h"
#include "../lib/records.h"
#include "../lib/replay.h"
#include "../lib/tmpdir.h"
#include "err.h"
#include "log.h"

#define MAX_BYTES    ((uint64_t)2 << 20)
#define SEQ_MAX      20000
#define BURY_EVERY   41
#define POINTS_LEAST 500 /* of each of the two runs; together more than 1,000 */
#define TRIES        10000
#define LIMIT_S      3600 /* on a machine that does other things, too */

/* What the two processes note; see struct record_note. */
enum note {
	NOTE_COMMITTED = 1, /* a: the first sequence, b: behind the last, c: attempt */
	NOTE_ACKNOWLEDGING, /* a: the position that is about to be written */
	NOTE_ACKNOWLEDGED,  /* a: the position */
	NOTE_BURIED,        /* a: the sequence */
};

/* ---- messages ---- */

static uint64_t
mix(uint64_t n)
{
	return records_random_number(&n);
}

/* Some are larger than a page, and a few larger than the journal takes. */
static size_t
message_bytes(uint64_t seq)
{
	uint64_t n = mix(seq), size = n >> 32;

	if (n % 100 < 70)
		return 50 + size % 450;
	if (n % 100 < 93)
		return 1000 + size % 7000;
	if (n % 100 < 99)
		return 20000 + size % 40000;
	return MAX_BYTES / 16 + 1;
}

static bool
is_too_large(uint64_t seq)
{
	return message_bytes(seq) > MAX_BYTES / 16;
}

/* Each word of it says which message this is, and at which attempt. */
static void
write_message(uint64_t seq, uint64_t attempt, char *text, size_t size)
{
	char word[40];
	int n = snprintf(word, sizeof(word), "%llu/%llu.", (unsigned long long)seq,
	    (unsigned long long)attempt);

	for (size_t i = 0; i + 1 < size; i++)
		text[i] = word[i % (size_t)n];
	text[size - 1] = '\0';
}

/* Is it that message, of that attempt (0: of any)? */
static bool
is_message(struct bytes payload, uint64_t seq, uint64_t attempt)
{
	size_t size = message_bytes(seq);
	char *text;
	bool is_same;

	if (payload.size != size - 1)
		return false;
	if (attempt == 0) {
		const char *slash = memchr(payload.data, '/', payload.size);

		if (slash == NULL)
			return false;
		attempt = strtoull(slash + 1, NULL, 10);
	}
	text = malloc(size);
	if (text == NULL)
		abort();
	write_message(seq, attempt, text, size);
	is_same = memcmp(text, payload.data, size - 1) == 0;
	free(text);
	return is_same;
}

/* ---- the two processes ---- */

struct run {
	const char *directory;
	const char *log;
	uint64_t commits;
	uint64_t seed;
	bool has_faults; /* the disk fails now and then */
	uint64_t attempt;
	int idle_max; /* the drain ends when so often nothing had come */
};

static struct journal_options
options(const char *directory)
{
	struct journal_options o = journals_options(directory);

	o.max_bytes = MAX_BYTES;
	return o;
}

static void
pause_us(long us)
{
	struct timespec ts = {.tv_nsec = us * 1000};

	(void)nanosleep(&ts, NULL);
}

static int
stage(struct journal *j, uint64_t seq, uint64_t attempt)
{
	size_t size = message_bytes(seq);
	char *text = malloc(size);
	struct record r;
	int rc;

	if (text == NULL)
		return ERR_NOMEM;
	write_message(seq, attempt, text, size);
	records_plain(&r, "power", text);
	rc = journal_stage(j, &r);
	free(text);
	return rc;
}

/* One commit of count messages; when it fails the same again, as the broker does. */
static int
append(struct journal *j, uint64_t *seq, uint64_t count, uint64_t *attempt)
{
	int rc = ERR_FULL;

	for (int n = 0; n < TRIES && rc != ERR_OK; n++) {
		++*attempt;
		for (uint64_t i = 0; i < count; i++)
			if (stage(j, *seq + i, *attempt) != ERR_OK)
				return ERR_NOMEM;
		rc = journal_commit(j);
		if (rc == ERR_FULL)
			pause_us(1000);
	}
	if (rc != ERR_OK)
		return rc;
	record_note(NOTE_COMMITTED, *seq, *seq + count, *attempt);
	*seq += count;
	return ERR_OK;
}

static int
ingest(void *context)
{
	const struct run *run = context;
	struct journal_options o = options(run->directory);
	uint64_t seed = run->seed, seq = 1, attempt = run->attempt;
	struct journal *j = NULL;
	int rc;

	if (record_to(run->log) != 0)
		return 1;
	rc = journal_open(&j, JOURNAL_INGEST, &o);
	if (rc == ERR_OK)
		seq = journals_next(j);
	if (run->has_faults)
		record_fail(13, 7);
	for (uint64_t i = 0; rc == ERR_OK && i < run->commits; i++)
		rc = append(j, &seq, 1 + records_random_number(&seed) % 12, &attempt);
	journal_close(j);
	return rc == ERR_OK ? 0 : 1;
}

static int
bury(struct journal *j, uint64_t seq, const struct record *r)
{
	struct buffer stored = {0};
	struct dead_letter letter = {.reason = DEAD_REFUSED, .detail = {"", 0}};
	int rc = record_encode(r, &stored);

	letter.record = (struct bytes){stored.data, stored.size};
	if (rc == ERR_OK)
		rc = journal_bury(j, seq, "r", &letter);
	buffer_fini(&stored);
	if (rc == ERR_OK)
		record_note(NOTE_BURIED, seq, 0, 0);
	return rc;
}

static int
bury_some(struct journal *j, const struct journal_batch *b, struct record_decoder *d)
{
	size_t offset = 0;
	int rc = ERR_OK;

	for (uint64_t seq = b->base_seq; rc == ERR_OK && seq < b->end_seq; seq++) {
		struct record r;

		rc = record_decode(d, b->body.data, b->body.size, &offset, &r);
		if (rc == ERR_OK && seq % BURY_EVERY == 0)
			rc = bury(j, seq, &r);
	}
	return rc;
}

static int
acknowledge(struct journal *j, uint64_t seq)
{
	bool more = true;
	int rc = ERR_OK;

	record_note(NOTE_ACKNOWLEDGING, seq, 0, 0);
	while (rc == ERR_OK && more)
		rc = journal_acknowledge(j, &seq, &more);
	if (rc == ERR_OK)
		record_note(NOTE_ACKNOWLEDGED, seq, 0, 0);
	return rc;
}

/* Read and bury up to the end or a little before it; then acknowledge up to there. */
static int
drain_some(struct journal *j, struct record_decoder *d, uint64_t *seq, uint64_t *seed)
{
	uint64_t batches = 1 + records_random_number(seed) % 12, before = *seq;
	struct journal_batch b = {0};
	int rc = ERR_OK;

	while (rc == ERR_OK && batches-- > 0) {
		rc = journal_read(j, *seq, &b);
		if (rc == ERR_OK)
			rc = bury_some(j, &b, d);
		if (rc == ERR_OK)
			*seq = b.end_seq;
		/* Gaps at the end. */
		if (rc == ERR_NOTFOUND)
			*seq = b.end_seq;
	}
	/* Sometimes in the middle of a batch. */
	if ((rc == ERR_OK || rc == ERR_NOTFOUND) && *seq > before + 1)
		rc = acknowledge(j, *seq - 1 - records_random_number(seed) % 2);
	journal_batch_fini(&b);
	return rc == ERR_NOTFOUND ? ERR_OK : rc;
}

static int
forward(void *context)
{
	const struct run *run = context;
	struct journal_options o = options(run->directory);
	const char *names[] = {"r"};
	uint64_t seed = run->seed + 1, seq = 1, acked = 0, before = 0;
	struct record_decoder *d = NULL;
	struct journal *j = NULL;
	int rc, idle = 0;

	if (record_to(run->log) != 0 || record_decoder_open(&d) != ERR_OK)
		return 1;
	rc = journal_open(&j, JOURNAL_FORWARD, &o);
	if (rc == ERR_OK)
		rc = journal_routes_set(j, names, 1, &acked);
	seq = acked + 1;
	if (run->has_faults)
		record_fail(11, 5);
	while (rc == ERR_OK && idle < run->idle_max) {
		rc = drain_some(j, d, &seq, &seed);
		if (rc == ERR_IO && run->has_faults)
			rc = ERR_OK;
		idle = seq == before ? idle + 1 : 0;
		before = seq;
		pause_us(1 + (long)(records_random_number(&seed) % 4000));
	}
	journal_close(j);
	record_decoder_close(d);
	return rc == ERR_OK ? 0 : 1;
}

/* ---- what must be there ---- */

struct ledger {
	uint64_t next; /* behind what was committed */
	uint64_t acknowledging, acknowledged;
	uint64_t attempts[SEQ_MAX]; /* 0: not committed */
	bool is_buried[SEQ_MAX];
};

static void
enter(struct ledger *l, const struct record_note *n)
{
	switch ((enum note)n->what) {
	case NOTE_COMMITTED:
		for (uint64_t seq = n->a; seq < n->b; seq++)
			l->attempts[seq] = n->c;
		l->next = n->b;
		break;
	case NOTE_ACKNOWLEDGING:
		l->acknowledging = n->a;
		break;
	case NOTE_ACKNOWLEDGED:
		l->acknowledged = n->a;
		break;
	case NOTE_BURIED:
		l->is_buried[n->a] = true;
		break;
	}
}

struct judge {
	const struct ledger *ledger;
	const char *directory;
	struct record_decoder *decoder;
	char why[200];
};

__attribute__((format(printf, 2, 3))) static bool
object(struct judge *g, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(g->why, sizeof(g->why), format, args);
	va_end(args);
	return false;
}

static bool
judge_batch(struct judge *g, const struct journal_batch *b)
{
	size_t offset = 0;

	for (uint64_t seq = b->base_seq; seq < b->end_seq; seq++) {
		uint64_t attempt = seq < g->ledger->next ? g->ledger->attempts[seq] : 0;
		struct record r;

		if (record_decode(
			g->decoder, b->body.data, b->body.size, &offset, &r) != ERR_OK)
			return object(
			    g, "record %llu: damaged", (unsigned long long)seq);
		if (!is_message(r.payload, seq, attempt))
			return object(
			    g, "record %llu: another message", (unsigned long long)seq);
	}
	return true;
}

/* Nothing is at these numbers: only messages that were too large may be missing. */
static bool
judge_gap(struct judge *g, struct journal *j, uint64_t seq, uint64_t end)
{
	for (; seq < end; seq++) {
		struct journal_gap gap = {0};
		uint64_t from = 0;

		if (!is_too_large(seq))
			return object(g, "record %llu: lost", (unsigned long long)seq);
		do {
			if (journal_gap_read(j, from, &gap) != ERR_OK)
				return object(
				    g, "gap %llu: lost", (unsigned long long)seq);
			from = gap.first_seq + 1;
		} while (gap.first_seq + gap.count <= seq);
		if (gap.first_seq > seq)
			return object(g, "gap %llu: lost", (unsigned long long)seq);
	}
	return true;
}

/* All that is not acknowledged, up to the end. */
static bool
judge_log(struct judge *g, struct journal *j, uint64_t seq, uint64_t next)
{
	struct journal_batch b = {0};
	bool is_good = true;
	int rc = ERR_OK;

	while (is_good) {
		rc = journal_read(j, seq, &b);
		if (rc != ERR_OK)
			break;
		is_good = judge_gap(g, j, seq, b.base_seq) && judge_batch(g, &b);
		seq = b.end_seq;
	}
	journal_batch_fini(&b);
	if (is_good && rc != ERR_NOTFOUND)
		return object(
		    g, "from %llu on: %s", (unsigned long long)seq, err_str(rc));
	return is_good && judge_gap(g, j, seq, next);
}

static bool
judge_dead(struct judge *g, struct journal *j)
{
	static bool is_there[SEQ_MAX];
	struct journal_dead d = {0};
	int rc = ERR_OK;

	memset(is_there, 0, sizeof(is_there));
	while (rc == ERR_OK) {
		struct dead_letter letter;
		size_t offset = 0;
		struct record r;

		rc = journal_dead_next(j, &d);
		if (rc != ERR_OK)
			break;
		rc =
		    dead_letter_decode(g->decoder, d.value.data, d.value.size, &letter);
		if (rc == ERR_OK)
			rc = record_decode(g->decoder, letter.record.data,
			    letter.record.size, &offset, &r);
		if (rc == ERR_OK && d.seq < SEQ_MAX &&
		    is_message(r.payload, d.seq, g->ledger->attempts[d.seq]))
			is_there[d.seq] = true;
	}
	journal_dead_fini(&d);
	if (rc != ERR_NOTFOUND)
		return object(g, "dead letters: %s", err_str(rc));
	for (uint64_t seq = 0; seq < SEQ_MAX; seq++) {
		if (g->ledger->is_buried[seq] && !is_there[seq])
			return object(
			    g, "dead letter %llu: lost", (unsigned long long)seq);
	}
	return true;
}

static bool
judge_journal(struct judge *g, struct journal *j)
{
	const struct ledger *l = g->ledger;
	struct journal_stat s;
	uint64_t acked, next;

	if (journal_stat(j, &s) != ERR_OK)
		return object(g, "it has no figures");
	acked = s.acked_seq;
	next = s.next_seq;
	journal_stat_fini(&s);
	if (next < l->next)
		return object(g, "next is %llu, and up to %llu were committed",
		    (unsigned long long)next, (unsigned long long)l->next - 1);
	if (acked < l->acknowledged || acked > l->acknowledging)
		return object(g, "the position is %llu, and should be %llu to %llu",
		    (unsigned long long)acked, (unsigned long long)l->acknowledged,
		    (unsigned long long)l->acknowledging);
	return judge_log(g, j, acked + 1, next) && judge_dead(g, j);
}

/* It must go on as if nothing had been. */
static bool
judge_going_on(struct judge *g)
{
	struct journal_options o = options(g->directory);
	const char *names[] = {"r"};
	struct journal *j = NULL;
	uint64_t acked = 0;
	bool more;
	int rc;

	rc = journal_open(&j, JOURNAL_INGEST, &o);
	if (rc == ERR_OK)
		rc = journals_append(j, 3, 3000);
	journal_close(j);
	j = NULL;
	if (rc == ERR_FULL)
		return true;
	if (rc == ERR_OK)
		rc = journal_open(&j, JOURNAL_FORWARD, &o);
	if (rc == ERR_OK)
		rc = journal_routes_set(j, names, 1, &acked);
	if (rc == ERR_OK)
		rc = journal_acknowledge(j, &acked, &more);
	journal_close(j);
	return rc == ERR_OK || object(g, "it does not go on: %s", err_str(rc));
}

static bool
judge(struct judge *g, bool goes_on)
{
	struct journal_options o = options(g->directory);
	struct journal *j = NULL;
	bool is_good;
	int rc;

	rc = journal_open(&j, JOURNAL_INGEST, &o);
	if (rc != ERR_OK)
		return object(g, "it does not open: %s", err_str(rc));
	is_good = judge_journal(g, j);
	journal_close(j);
	return is_good && (!goes_on || judge_going_on(g));
}

/* ---- cutting ---- */

struct cuts {
	const char *log;
	bool doubts_flushes, doubts_sync_writes; /* once something is committed */
	unsigned each;                           /* by chance, at each point */
	uint64_t seed;
	struct ledger ledger;
	unsigned long points, made;
};

static void
clear(const char *directory)
{
	static const char *const names[] = {
	    "data.mdb", "new.mdb", "lock.mdb", "ingest.lock", "forward.lock"};
	char path[4096];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
		(void)unlink(path); /* most of them are there */
	}
}

static bool
cut_once(struct cuts *c, const struct replay *r, enum replay_cut how, struct judge *g)
{
	uint64_t seed = c->seed;

	if (replay_cut(r, how, &c->seed, g->directory) != 0)
		return object(g, "the file cannot be made");
	c->made++;
	if (judge(g, c->made % 8 == 0))
		return true;
	(void)fprintf(stderr, "# point %lu, cut %d, seed %llu: %s\n", c->points,
	    (int)how, (unsigned long long)seed, g->why);
	return false;
}

static bool
cut_here(struct cuts *c, const struct replay *r, struct judge *g)
{
	c->points++;
	if (!cut_once(c, r, REPLAY_NOTHING, g))
		return false;
	if (!replay_has_pending(r))
		return true;
	for (unsigned i = 0; i < c->each; i++)
		if (!cut_once(c, r, REPLAY_ANYTHING, g))
			return false;
	return cut_once(c, r, REPLAY_EVERYTHING, g);
}

/* Cut at each point, until something is lost. */
static bool
cut_everywhere(struct cuts *c)
{
	char shm[] = "/dev/shm/tidegate-test-XXXXXX"; /* in memory, it is much faster */
	char tmp[] = "/tmp/tidegate-test-XXXXXX";
	struct judge g = {.ledger = &c->ledger};
	struct replay *r = replay_open(c->log);
	const struct recorded *e;
	const void *data;
	bool is_good = true;

	g.directory = mkdtemp(shm);
	if (g.directory == NULL)
		g.directory = mkdtemp(tmp);
	if (r == NULL || g.directory == NULL ||
	    record_decoder_open(&g.decoder) != ERR_OK)
		abort();
	while (is_good) {
		e = replay_next(r, &data);
		if (e == NULL)
			break;
		if (e->kind == RECORDED_NOTE) {
			enter(&c->ledger, data);
			replay_doubt(r, c->doubts_flushes, c->doubts_sync_writes);
		}
		is_good = cut_here(c, r, &g);
	}
	record_decoder_close(g.decoder);
	replay_close(r);
	clear(g.directory);
	(void)rmdir(g.directory);
	return is_good;
}

static struct cuts cuts; /* too large for a stack */

/* In a process of its own: a journal that is beyond hope may end it. */
static int
cut_apart(void *context)
{
	struct cuts *c = context;
	bool is_good;

	(void)alarm(LIMIT_S);
	is_good = cut_everywhere(c);
	(void)fprintf(stderr, "# %lu points, %lu cuts\n", c->points, c->made);
	if (!is_good)
		return 1;
	return c->points >= POINTS_LEAST ? 0 : 2;
}

static uint64_t
number_of(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

static struct run
run_in(const char *directory, char log[4096])
{
	struct run run = {.directory = directory, .log = log, .idle_max = 300};

	run.seed = records_seed();
	run.commits = number_of("POWER_COMMITS", 130);
	(void)snprintf(log, 4096, "%s/writes", directory);
	return run;
}

static int
cut_with(const char *log, bool doubts_flushes, bool doubts_sync_writes)
{
	pid_t pid;
	int status;

	cuts = (struct cuts){.log = log, .seed = records_seed()};
	cuts.each = (unsigned)number_of("POWER_CUTS", 1);
	cuts.doubts_flushes = doubts_flushes;
	cuts.doubts_sync_writes = doubts_sync_writes;
	pid = journals_fork(cut_apart, &cuts);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void
what_was_acknowledged_survives(void **state)
{
	char log[4096];
	struct run run = run_in(*state, log);
	pid_t pids[2];

	pids[0] = journals_fork(ingest, &run);
	pids[1] = journals_fork(forward, &run);
	assert_int_equal(journals_wait(pids[0]), 0);
	assert_int_equal(journals_wait(pids[1]), 0);
	assert_int_equal(cut_with(log, false, false), 0);

	/* Does it see a loss? Disks that say "flushed" and have not. */
	assert_int_equal(cut_with(log, true, true), 1);
	assert_int_equal(cut_with(log, true, false), 1);
	assert_int_equal(cut_with(log, false, true), 1);
}

/*
 * A write or a flush fails, the disk recovers, and the power is cut later. What failed
 * may be on disk all the same, or may never get there.
 */
static void
what_was_acknowledged_survives_on_a_failing_disk(void **state)
{
	char log[4096];
	struct run run = run_in(*state, log);
	uint64_t turns;

	run.has_faults = true;
	run.idle_max = 3;
	turns = run.commits / 26;
	run.commits = 16;
	for (uint64_t i = 0; i < turns; i++) { /* what is appended must fit */
		assert_int_equal(journals_wait(journals_fork(ingest, &run)), 0);
		assert_int_equal(journals_wait(journals_fork(forward, &run)), 0);
		run.seed += 2;
		run.attempt += TRIES;
	}
	assert_int_equal(cut_with(log, false, false), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tmpdir_setup, tmpdir_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(what_was_acknowledged_survives),
	    TEST(what_was_acknowledged_survives_on_a_failing_disk),
	};
	return cmocka_run_group_tests_name("power loss", tests, NULL, NULL);
}
