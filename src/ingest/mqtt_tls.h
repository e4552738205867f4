/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS on the connection to the MQTT broker, by OpenSSL: what it is set up with, and in
 * plain words why it failed. The handshake itself is libmosquitto's.
 *
 * TLS 1.2 and 1.3. The broker's certificate has to lead to an authority that is trusted,
 * and to be for the host name that was asked for.
 *
 * ssl: the SSL of a connection (mosquitto_ssl_get()); NULL is without TLS.
 */
#ifndef MQTT_TLS_H
#define MQTT_TLS_H

#include <stdbool.h>
#include <stddef.h>

#include "settings.h"

struct tls;

/*
 * Read the certificates and the key, for one connection.
 *
 * Ownership: settings is borrowed as long as the tls lives; key_password (NULL: none)
 *            and host for the call.
 * why:       out, on failure: in words, at most size bytes.
 * Errors:    ERR_IO, a file is missing or is not what it should be; ERR_NOMEM.
 */
int tls_open(struct tls **out, const struct settings_tls *settings,
    const char *key_password, const char *host, char *why, size_t size);

/* When no connection uses it any more. */
void tls_close(struct tls *t);

/* The SSL_CTX. */
void *tls_context(const struct tls *t);

/*
 * With TLS 1.3 a broker refuses a client's certificate when the handshake is over, and
 * closes: what is written meets a reset, and libmosquitto frees the SSL before anybody
 * has read the reason. So keep hold of both until the broker has answered (tls_let_go()),
 * and if it does not, let tls_hear_out() read what it said.
 *
 * fd:        the connection's socket; the hold is on a copy.
 */
void tls_hold(struct tls *t, void *ssl, int fd);
void tls_let_go(struct tls *t);
void tls_hear_out(struct tls *t);

/* Why TLS has failed: in words; NULL while it has not. */
const char *tls_failure(const struct tls *t);

/* Has it read more than it has given out? poll(2) does not see that. */
bool tls_has_pending(const void *ssl);

/* Is the handshake still going on? */
bool tls_is_shaking_hands(const void *ssl);

/* Is it waiting to be able to write? */
bool tls_wants_write(const void *ssl);

/* Write all of it. False: it could not, and may have written a part. */
bool tls_write(void *ssl, const void *data, size_t size);

/* Tell the broker that nothing more will come, if there is room to. */
void tls_say_goodbye(void *ssl);

#endif
