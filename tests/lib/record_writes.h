/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What reaches the journal's file, in order: every write, flush and change of size of
 * data.mdb, by whichever process, in one log. Linked into a test, or preloaded into a
 * program with TIDEGATE_RECORD=LOG. replay.h makes of it what a power cut may leave.
 */
#ifndef TESTS_RECORD_WRITES_H
#define TESTS_RECORD_WRITES_H

#include <stdint.h>

enum recorded_kind {
	RECORDED_WRITE = 1,    /* to the page cache: on disk after a flush */
	RECORDED_SYNC_WRITE,   /* through O_DSYNC: on disk */
	RECORDED_FAILED_WRITE, /* on disk or not: nobody knows, and no flush tells */
	RECORDED_SIZE,         /* offset: where the file ends at least */
	RECORDED_FLUSH_BEGIN,
	RECORDED_FLUSH_END,
	RECORDED_FLUSH_FAILED, /* what it should have flushed may be lost for good */
	RECORDED_NAMED,        /* the file is called data.mdb now */
	RECORDED_NAMES_BEGIN,  /* a flush of the directory */
	RECORDED_NAMES_END,
	RECORDED_NOTE, /* of the test */
};

/* As it is in the log; size bytes follow it. */
struct recorded {
	uint32_t kind;
	uint32_t pid;
	uint64_t offset;
	uint64_t size;
};

/* Record what this process does from now on. 0, or -1 with errno. */
int record_to(const char *log);

/*
 * Let each so-manieth flush of the file fail, and each so-manieth write through O_DSYNC
 * (which is on disk all the same), with EIO. 0: none.
 */
void record_fail(unsigned flush, unsigned sync_write);

/* From now on the file cannot grow: there is no space left. Recorded or not. */
void record_fill_disk(void);

/* What the test knows at this point: it is behind all that has happened before. */
struct record_note {
	uint64_t what;
	uint64_t a, b, c;
};
void record_note(uint64_t what, uint64_t a, uint64_t b, uint64_t c);

#endif
