/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker would meet that opens the journal: may it write, is there room, whose is
 * it, and what waits in it.
 *
 * Invariant: where there is no journal none is made, lock.mdb included.
 *
 * Failure modes: a file system that does not answer ends the process (check.h).
 */
#include "journal_check.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "err.h"
#include "journal.h"
#include "now.h"

#define DIRECTORY "journal.directory"
#define ROOM      "journal.room"
#define BACKLOG   "journal.backlog"
#define IDENTITY  "journal.identity"

/* Less than this cannot even be begun with. */
#define LEAST_ROOM_BYTES ((uint64_t)2 << 20)

struct journal_files {
	bool is_there; /* data.mdb */
	uint64_t taken_bytes;
};

/* ---- the directory ---- */

/* Returns whether it can be used; says so if not. A file that is not there is made. */
static bool
may_write(struct check *c, const char *directory, const char *name)
{
	char path[4096];
	int n = snprintf(path, sizeof(path), "%s/%s", directory, name);

	if (n < 0 || (size_t)n >= sizeof(path))
		return true; /* the directory has been looked at */
	if (faccessat(AT_FDCWD, path, R_OK | W_OK, AT_EACCESS) == 0 || errno == ENOENT)
		return true;
	check_say(c, CHECK_FAIL, DIRECTORY, NULL, "%s cannot be written: %s", path,
	    strerror(errno));
	return false;
}

static bool
check_directory(struct check *c, const char *directory)
{
	static const char *const names[] = {
	    "data.mdb", "lock.mdb", "ingest.lock", "forward.lock"};
	struct stat st;

	if (stat(directory, &st) != 0) {
		check_say(c, CHECK_FAIL, DIRECTORY, NULL, "%s: %s%s", directory,
		    strerror(errno),
		    errno == ENOENT ? "; it is not made by itself" : "");
		return false;
	}
	if (!S_ISDIR(st.st_mode)) {
		check_say(
		    c, CHECK_FAIL, DIRECTORY, NULL, "%s is not a directory", directory);
		return false;
	}
	if (faccessat(AT_FDCWD, directory, R_OK | W_OK | X_OK, AT_EACCESS) != 0) {
		check_say(c, CHECK_FAIL, DIRECTORY, NULL, "%s cannot be written: %s",
		    directory, strerror(errno));
		return false;
	}
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!may_write(c, directory, names[i]))
			return false;
	}
	check_say(
	    c, CHECK_OK, DIRECTORY, NULL, "%s is writable for this user", directory);
	return true;
}

static struct journal_files
look_at_files(const char *directory)
{
	struct journal_files files = {0};
	char path[4096];
	struct stat st;
	int n = snprintf(path, sizeof(path), "%s/data.mdb", directory);

	if (n < 0 || (size_t)n >= sizeof(path) || stat(path, &st) != 0)
		return files;
	files.is_there = true;
	files.taken_bytes = (uint64_t)st.st_blocks * 512;
	return files;
}

/* What max_bytes and dead_max_bytes may still take, against what there is. */
static void
check_room(struct check *c, const struct settings *s, const struct journal_files *files)
{
	const struct settings_journal *j = &s->journal;
	uint64_t whole = j->max_bytes + j->dead_max_bytes;
	uint64_t wanted = whole > files->taken_bytes ? whole - files->taken_bytes : 0;
	struct check_text free_text, wanted_text = check_size(wanted);
	struct statvfs st;
	uint64_t free_bytes;

	if (statvfs(j->directory, &st) != 0) {
		check_say(
		    c, CHECK_FAIL, ROOM, NULL, "%s: %s", j->directory, strerror(errno));
		return;
	}
	free_bytes = (uint64_t)st.f_bavail * st.f_frsize;
	free_text = check_size(free_bytes);
	if (!files->is_there && free_bytes < LEAST_ROOM_BYTES)
		check_say(c, CHECK_FAIL, ROOM, NULL,
		    "%s are free: too little to make a journal", free_text.text);
	else if (free_bytes < wanted)
		check_say(c, CHECK_WARN, ROOM, NULL,
		    "%s are free, and the journal may still take %s, dead letters "
		    "included: the disk would be full before the journal is",
		    free_text.text, wanted_text.text);
	else
		check_say(c, CHECK_OK, ROOM, NULL,
		    "%s are free, and the journal may still take %s, dead letters "
		    "included",
		    free_text.text, wanted_text.text);
}

/* ---- what is in it ---- */

static int64_t
say_backlog(struct check *c, const struct settings *s, const struct journal_stat *stat)
{
	uint64_t max_bytes = s->journal.max_bytes;
	enum check_result result = CHECK_OK;
	int64_t age_ms = -1;
	char dead[64] = "", waiting[64] = "nothing waits";

	if (stat->records > 0 && stat->oldest_ms > 0) {
		age_ms = now_real_ms() - (int64_t)stat->oldest_ms;
		if (age_ms < 0)
			age_ms = 0; /* the clock was put back */
	}
	if (stat->records > 0)
		(void)snprintf(waiting, sizeof(waiting),
		    "%" PRIu64 " records wait, the oldest for %s", stat->records,
		    check_duration(age_ms < 0 ? 0 : age_ms).text);
	if (stat->dead_count > 0)
		(void)snprintf(
		    dead, sizeof(dead), "; %" PRIu64 " dead letters", stat->dead_count);
	if (stat->records > 0 && stat->used_bytes > max_bytes - max_bytes / 10)
		result = CHECK_WARN;
	check_say(c, result, BACKLOG, NULL, "%s; %s of %s used%s%s", waiting,
	    check_size(stat->used_bytes).text, check_size(max_bytes).text,
	    result == CHECK_WARN ? ": it is nearly full" : "", dead);
	return age_ms;
}

static int64_t
check_backlog(struct check *c, const struct settings *s, struct journal *j)
{
	struct journal_stat stat;
	int64_t age_ms;
	int err = journal_stat(j, &stat);

	if (err != 0) {
		check_say(c, CHECK_FAIL, BACKLOG, NULL,
		    "the journal cannot be read: %s", err_str(err));
		return -1;
	}
	age_ms = say_backlog(c, s, &stat);
	journal_stat_fini(&stat);
	return age_ms;
}

static void
check_identity(struct check *c, const struct settings *s, const struct journal *j)
{
	const struct journal_identity *id = journal_identity(j);
	struct buffer why = {0};
	char uuid[37];
	int err = journal_identity_check(j, s->gateway_id, &why);

	journal_uuid_text(id->uuid, uuid);
	if (err == 0)
		check_say(c, CHECK_OK, IDENTITY, NULL,
		    "of gateway %s, on this machine, UUID %s", id->gateway_id, uuid);
	else
		check_say(c, CHECK_FAIL, IDENTITY, NULL, "%.*s", (int)why.size,
		    why.size > 0 ? (const char *)why.data : err_str(err));
	buffer_fini(&why);
}

static int64_t
check_content(struct check *c, const struct settings *s)
{
	struct journal_options options = {.directory = s->journal.directory};
	struct journal *j;
	int64_t age_ms;
	int err = journal_open(&j, JOURNAL_LOOK, &options);

	if (err != 0) {
		check_say(c, CHECK_FAIL, BACKLOG, NULL,
		    "the journal cannot be opened: %s; the reason is on standard error",
		    err_str(err));
		return -1;
	}
	age_ms = check_backlog(c, s, j);
	check_identity(c, s, j);
	journal_close(j);
	return age_ms;
}

int64_t
journal_check(struct check *c, const struct settings *settings)
{
	const char *directory = settings->journal.directory;
	struct journal_files files;
	char text[4200];

	(void)snprintf(
	    text, sizeof(text), "%s: the file system does not answer", directory);
	check_wait_for(c, DIRECTORY, text);
	if (!check_directory(c, directory))
		return -1;
	files = look_at_files(directory);
	check_room(c, settings, &files);
	if (files.is_there)
		return check_content(c, settings);
	check_say(
	    c, CHECK_OK, BACKLOG, NULL, "there is no journal yet; it will be made");
	return -1;
}
