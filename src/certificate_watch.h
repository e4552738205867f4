/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The certificates that a worker uses: when they end, for the board, and in the log when
 * that is soon.
 */
#ifndef CERTIFICATE_WATCH_H
#define CERTIFICATE_WATCH_H

#include <stddef.h>
#include <stdint.h>

#include "board.h"
#include "certificate.h"
#include "settings.h"

/* What is less than that is worth a warning. */
#define CERTIFICATE_SOON_S ((int64_t)30 * 86400)

enum certificate_state {
	CERTIFICATE_GOOD,
	CERTIFICATE_ENDS_SOON,
	CERTIFICATE_EXPIRED,
};

struct watched_certificate {
	const char *setting; /* for the log */
	const char *file;
	enum certificate_use use;
	int64_t expires_at_s;        /* 0: it could not be read */
	enum certificate_state told; /* by the log */
	int64_t tell_again_ms;
};

/* Zero-initialised is valid: it watches nothing. */
struct certificate_watch {
	struct watched_certificate list[BOARD_CERTIFICATES_MAX];
	size_t count;
	int64_t look_at_ms;
};

/*
 * What tidegate-ingest uses: mqtt.tls.cert_file and ca_file.
 *
 * Ownership: borrows from s, as long as w is used.
 */
void certificate_watch_ingest(struct certificate_watch *w, const struct settings *s);

/*
 * What tidegate-forward uses, out of kafka.properties: ssl.certificate.location and
 * ssl.ca.location. Not ssl.keystore.location, which takes a password to read, nor what is
 * written into the properties themselves.
 */
void certificate_watch_forward(struct certificate_watch *w, const struct settings *s);

/*
 * Look at the files where it is time to, which is once an hour, and at first. As often as
 * one likes.
 *
 * out:       BOARD_CERTIFICATES_MAX of them, each file once; left as they are where it
 *            is not time.
 */
void certificate_watch_look(struct certificate_watch *w, int64_t now_ms,
    int64_t real_ms, struct board_certificate out[]);

#endif
