/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The board: memory that tidegated and its workers share, on which each writes its own
 * figures for the others to read. One for the life of a tidegated; a worker that runs
 * alone has one of its own.
 *
 * Layout (it exists in memory only, among programs of one version; another version or
 * size is refused): u32 magic, u32 BOARD_VERSION, u32 size of all of it, then the
 * parts: supervisor, ingest, forward. A part is a u32 turn and two copies of its
 * struct; forward's copies go on with BOARD_ROUTES_MAX of struct board_route, of which
 * the first route_count count. Memory that nobody has written to is not taken.
 *
 * Rules:
 *  - A part has one writer. It fills the copy that is not in use and then counts turn
 *    up (0: nobody has written yet), so that it never waits, and dying in the middle
 *    leaves the earlier copy in force.
 *  - A reader copies, and starts over where turn has moved meanwhile: what it gets is
 *    one moment of that part.
 *  - Counts are totals since the start of tidegated: a worker that starts reads its own
 *    part and goes on from there. forward finds its routes by name: after a new
 *    configuration a route that stayed goes on counting, a new one starts at 0, and one
 *    that went is gone.
 *  - Instants are CLOCK_MONOTONIC, ms; 0: never.
 */
#ifndef BOARD_H
#define BOARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "histogram.h"
#include "settings.h"

#define BOARD_VERSION          2
#define BOARD_ROUTES_MAX       SETTINGS_ROUTES_MAX
#define BOARD_TOPICS_MAX       64 /* further topics are counted together */
#define BOARD_TEXT_BYTES       160
#define BOARD_NAME_BYTES       128
#define BOARD_FILE_BYTES       256
#define BOARD_CERTIFICATES_MAX 8 /* of one worker */

struct board;

enum board_worker {
	BOARD_WORKER_INGEST,
	BOARD_WORKER_FORWARD,
	BOARD_WORKER_MONITOR, /* reads alone: it has no part */
	BOARD_WORKER_COUNT,
};

/* A file with certificates that a worker uses; see certificate.h. */
struct board_certificate {
	char file[BOARD_FILE_BYTES]; /* "": no further ones */
	int64_t expires_at_s;        /* since the epoch; 0: it could not be read */
};

struct board_member {
	uint32_t pid; /* 0: it does not run */
	uint32_t restart_count;
	char died[BOARD_TEXT_BYTES]; /* how it died last; "" */
};

struct board_supervisor {
	int64_t started_at_ms;
	struct board_member members[BOARD_WORKER_COUNT];
};

enum board_mqtt {
	BOARD_MQTT_AWAY,
	BOARD_MQTT_CONNECTED,
	BOARD_MQTT_PAUSED,     /* the journal is full: it stays away */
	BOARD_MQTT_DISK_FULL,  /* likewise: the disk has no room for it */
	BOARD_MQTT_DISK_FAILS, /* the journal cannot be written: it stays away */
};

struct board_ingest {
	int64_t
	    alive_at_ms;   /* written at least each second; 0: it has ended in order */
	int64_t since_ms;  /* of state */
	uint32_t state;    /* enum board_mqtt */
	uint32_t protocol; /* 5 or 4; 0: not connected yet */
	uint32_t pid;
	uint32_t refused_count; /* subscriptions that the broker does not grant */
	uint64_t message_count; /* in commits that have returned */
	uint64_t byte_count;    /* of their topics and payloads */
	uint64_t commit_count;
	uint64_t error_count;   /* commits that failed, connections lost */
	uint64_t dropped_count; /* messages: the oldest and the newest, see on_full */
	int64_t dropped_at_ms;  /* dropped_count rose */
	uint64_t room_bytes;    /* in the journal, about */
	int64_t full_in_ms;     /* at the present rate; 0: it is not known */
	uint32_t is_dropping;   /* the newest, for want of room */
	/* Messages that the broker says it has dropped, of all its clients: $SYS. */
	uint32_t has_broker_dropped;
	uint64_t broker_dropped_count;
	struct histogram commits; /* how long a commit took, HISTOGRAM_COMMIT */
	struct board_certificate certificates[BOARD_CERTIFICATES_MAX];
	char error[BOARD_TEXT_BYTES]; /* the latest; "" */
};

enum board_kafka {
	BOARD_KAFKA_UNKNOWN, /* neither has it answered nor failed yet */
	BOARD_KAFKA_AWAY,
	BOARD_KAFKA_REACHABLE,
};

struct board_topic {
	char name[256];
	uint64_t count;
};

struct board_forward {
	int64_t alive_at_ms;
	int64_t since_ms;    /* of state */
	int64_t run_from_ms; /* start of this process: topics count from there */
	uint32_t state;      /* enum board_kafka */
	uint32_t pid;
	uint32_t route_count;
	uint32_t topic_count;
	uint64_t other_count; /* acknowledged, to topics that are not in the list */
	uint64_t next_seq;    /* of the journal */
	uint64_t sent_bytes;  /* to Kafka's brokers, all that went over the wire */
	/* From arrival to Kafka's acknowledgement, HISTOGRAM_DELIVERY. */
	struct histogram latency;
	struct board_certificate certificates[BOARD_CERTIFICATES_MAX];
	/* Records in order up to acked_seq of their route, by topic; see run_from_ms. */
	struct board_topic topics[BOARD_TOPICS_MAX];
	char error[BOARD_TEXT_BYTES];         /* why Kafka is away; "" */
	char journal_error[BOARD_TEXT_BYTES]; /* why positions are not recorded; "" */
};

struct board_route {
	char name[BOARD_NAME_BYTES];
	uint64_t delivered_count;
	uint64_t delivered_bytes; /* keys and values */
	uint64_t dead_count;
	uint64_t error_count; /* records that Kafka refused or gave back */
	uint64_t acked_seq;
	uint64_t start_seq;    /* acked_seq at run_from_ms */
	int64_t moved_at_ms;   /* acked_seq moved, or nothing waited */
	int64_t dead_at_ms;    /* dead_count rose */
	int64_t held_since_ms; /* 0: it does not hold */
	char held_why[BOARD_TEXT_BYTES];
};

/*
 * The memory for a board, for board_open() here and in a child.
 *
 * Ownership: *fd is the caller's, close-on-exec.
 * Errors:    ERR_IO (logged).
 */
int board_make(int *fd);

/*
 * Ownership: *out is the caller's; NULL on failure. fd is borrowed for the call; -1:
 *            a board of one's own.
 * Errors:    ERR_IO, ERR_VERSION (fd is no board of this version): both logged;
 *            ERR_NOMEM.
 */
int board_open(struct board **out, int fd);

/* The same to read alone: fd need not be open for writing, and no board_write_*(). */
int board_open_to_look(struct board **out, int fd);

/*
 * The board of the tidegated that runs on the journal in directory, to look at it: found
 * by the process number in tidegated.lock and by way of /proc, so only its own user and
 * root can.
 *
 * Ownership: as board_open().
 * Errors:    ERR_NOTFOUND (none runs), ERR_VERSION (it is of another version), ERR_IO (it
 *            runs, and may not be looked at): the last two logged; ERR_NOMEM.
 */
int board_attach(struct board **out, const char *directory);

void board_close(struct board *b);

/* Write one's own part. Never fails, never waits. */
void board_write_supervisor(struct board *b, const struct board_supervisor *part);
void board_write_ingest(struct board *b, const struct board_ingest *part);

/* routes: part->route_count of them; those past BOARD_ROUTES_MAX are left out. */
void board_write_forward(struct board *b, const struct board_forward *part,
    const struct board_route routes[]);

/* What was read. A part that nobody has written is all zero. */
struct board_view {
	bool has_supervisor, has_ingest, has_forward;
	struct board_supervisor supervisor;
	struct board_ingest ingest;
	struct board_forward forward;
	struct board_route *routes; /* forward.route_count of them */
};

/*
 * Read all parts; each is of one moment.
 *
 * Ownership: view is the caller's, zero-initialised or used before; release it with
 *            board_view_fini().
 * Errors:    ERR_NOMEM, view is as before or in part the new one.
 */
int board_look(const struct board *b, struct board_view *view);
void board_view_fini(struct board_view *view);

#endif
