/* SPDX-License-Identifier: Apache-2.0 */
/* When the certificates in a file end (RFC 5280 section 4.1.2.5), by OpenSSL. */
#ifndef CERTIFICATE_H
#define CERTIFICATE_H

#include <stdint.h>

enum certificate_use {
	CERTIFICATE_OWN, /* a certificate and its chain: the first to end counts */
	CERTIFICATE_AUTHORITIES, /* any of them may be the one: the last to end counts */
};

/*
 * path: PEM.
 *
 * Errors:    ERR_NOTFOUND (no such file), ERR_IO, ERR_INVALID (no certificate in it).
 */
int certificate_expiry(
    const char *path, enum certificate_use use, int64_t *expires_at_s);

#endif
