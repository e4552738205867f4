/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenSSL; no other file knows it.
 *
 * Invariant: the first thing that goes wrong is the one that is told. What follows it
 * (an alert after a certificate that did not pass, a connection that ends after an
 * alert) says less.
 *
 * Failure modes: each ends the connection, its cause in tls_failure(). After the
 * handshake that is an alert from the broker; the rest libmosquitto reports.
 */
#include "mqtt_tls.h"

#include "err.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TEXT_SIZE 400
#define NAME_SIZE 160

struct tls {
	SSL_CTX *context;
	const struct settings_tls *settings;
	const char *key_password; /* NULL: none, and after tls_open() */
	bool is_password_asked;
	SSL *held; /* NULL: none */
	int held_fd;
	char host[NAME_SIZE];
	char text[TEXT_SIZE]; /* empty: nothing has failed */
};

__attribute__((format(printf, 2, 3))) static void
say(struct tls *t, const char *format, ...)
{
	va_list arguments;

	if (t->text[0] != '\0')
		return;
	va_start(arguments, format);
	(void)vsnprintf(t->text, sizeof(t->text), format, arguments);
	va_end(arguments);
}

/* Of the last error in OpenSSL's queue, which is left empty. */
static const char *
last_reason(void)
{
	const char *text = ERR_reason_error_string(ERR_peek_last_error());

	ERR_clear_error();
	return text != NULL ? text : "no reason given";
}

/* ---- why the broker's certificate does not pass ---- */

static const char *
trusted_by(const struct tls *t)
{
	if (t->settings->ca_file != NULL)
		return t->settings->ca_path != NULL ? "in ca_file or ca_path"
						    : "in ca_file";
	return t->settings->ca_path != NULL ? "in ca_path" : "that this system trusts";
}

static void
put_date(const ASN1_TIME *at, char out[NAME_SIZE])
{
	struct tm date;

	if (ASN1_TIME_to_tm(at, &date) != 1 ||
	    strftime(out, NAME_SIZE, "%Y-%m-%d %H:%M UTC", &date) == 0)
		(void)snprintf(out, NAME_SIZE, "a date that cannot be read");
}

/* The names that a certificate is for: subjectAltName, otherwise the common name. */
static void
put_names(X509 *certificate, char out[NAME_SIZE])
{
	int at = X509_get_ext_by_NID(certificate, NID_subject_alt_name, -1);
	BIO *text = at >= 0 ? BIO_new(BIO_s_mem()) : NULL;
	int size = -1;

	if (text != NULL &&
	    X509V3_EXT_print(text, X509_get_ext(certificate, at), 0, 0) == 1)
		size = BIO_read(text, out, NAME_SIZE - 1);
	if (size < 0)
		size = X509_NAME_get_text_by_NID(
		    X509_get_subject_name(certificate), NID_commonName, out, NAME_SIZE);
	out[size > 0 ? size : 0] = '\0';
	BIO_free(text);
}

static void
explain_certificate(struct tls *t, X509_STORE_CTX *store)
{
	X509 *certificate = X509_STORE_CTX_get_current_cert(store);
	int error = X509_STORE_CTX_get_error(store);
	const char *whose = X509_STORE_CTX_get_error_depth(store) == 0
				? "the broker's certificate"
				: "the certificate of an authority above the broker's";
	char what[NAME_SIZE];

	switch (error) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
		put_date(X509_get0_notAfter(certificate), what);
		say(t, "%s expired on %s", whose, what);
		break;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		put_date(X509_get0_notBefore(certificate), what);
		say(t, "%s is not valid before %s: is the clock here right?", whose,
		    what);
		break;
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		put_names(certificate, what);
		say(t, "the broker's certificate is not for %s, but for %s", t->host,
		    what);
		break;
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_CERT_SIGNATURE_FAILURE:
	case X509_V_ERR_CERT_UNTRUSTED:
		say(t, "the broker's certificate is not signed by an authority %s",
		    trusted_by(t));
		break;
	default:
		say(t, "%s does not pass: %s", whose,
		    X509_verify_cert_error_string(error));
		break;
	}
}

static int
on_verify(int is_good, X509_STORE_CTX *store)
{
	const SSL *ssl =
	    X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());

	if (is_good == 0)
		explain_certificate(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)), store);
	return is_good;
}

/* ---- why the handshake fails ---- */

/* What the broker says, see RFC 8446, 6. */
static void
explain_alert(struct tls *t, int alert)
{
	bool has_certificate = t->settings->cert_file != NULL;

	switch (alert) {
	case SSL_AD_CLOSE_NOTIFY:
	case SSL_AD_USER_CANCELLED:
		break;
	case SSL_AD_CERTIFICATE_REQUIRED:
		say(t, "the broker wants a client certificate (mqtt.tls.cert_file)");
		break;
	case SSL_AD_HANDSHAKE_FAILURE:
		say(t, "the broker refuses the TLS handshake%s",
		    has_certificate ? ""
				    : "; it may want a client certificate "
				      "(mqtt.tls.cert_file)");
		break;
	case SSL_AD_PROTOCOL_VERSION:
		say(t, "the broker speaks neither TLS 1.2 nor 1.3");
		break;
	case SSL_AD_UNKNOWN_CA:
		say(t, "the broker does not know the authority that signed the "
		       "certificate in cert_file");
		break;
	case SSL_AD_BAD_CERTIFICATE:
	case SSL_AD_UNSUPPORTED_CERTIFICATE:
	case SSL_AD_CERTIFICATE_REVOKED:
	case SSL_AD_CERTIFICATE_EXPIRED:
	case SSL_AD_CERTIFICATE_UNKNOWN:
		say(t, "the broker refuses the certificate in cert_file: %s",
		    SSL_alert_desc_string_long(alert));
		break;
	default:
		say(t, "the broker ends TLS: %s", SSL_alert_desc_string_long(alert));
		break;
	}
}

static void
explain_error(struct tls *t, unsigned long error)
{
	switch (ERR_GET_LIB(error) == ERR_LIB_SSL ? ERR_GET_REASON(error) : 0) {
	case SSL_R_WRONG_VERSION_NUMBER:
	case SSL_R_PACKET_LENGTH_TOO_LONG:
	case SSL_R_HTTP_REQUEST:
	case SSL_R_HTTPS_PROXY_REQUEST:
	case SSL_R_RECORD_LENGTH_MISMATCH:
		say(t, "what answers at this port does not speak TLS");
		break;
	case SSL_R_UNSUPPORTED_PROTOCOL:
		say(t, "the broker speaks neither TLS 1.2 nor 1.3");
		break;
	default:
		say(t, "the TLS handshake failed: %s", ERR_reason_error_string(error));
		break;
	}
}

static void
explain_end(struct tls *t, const SSL *ssl, int result)
{
	int error = errno;

	switch (SSL_get_error(ssl, result)) {
	case SSL_ERROR_SSL:
		explain_error(t, ERR_peek_error());
		break;
	case SSL_ERROR_ZERO_RETURN:
	case SSL_ERROR_SYSCALL:
		if (error != 0 && error != ECONNRESET && error != EAGAIN)
			say(t, "the TLS handshake failed: %s", strerror(error));
		else
			say(t, "the broker ended the connection in the TLS handshake: "
			       "does it speak TLS at this port?");
		break;
	default: /* it goes on */
		break;
	}
}

static void
on_info(const SSL *ssl, int where, int value)
{
	struct tls *t = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

	if (where == SSL_CB_READ_ALERT)
		explain_alert(t, value & 0xff);
	else if (where == SSL_CB_CONNECT_EXIT && value <= 0)
		explain_end(t, ssl, value);
}

/* ---- certificates and keys ---- */

/* Never asks at the terminal. */
static int
on_password(char *out, int size, int is_writing, void *context)
{
	struct tls *t = context;
	size_t length = t->key_password != NULL ? strlen(t->key_password) : 0;

	(void)is_writing;
	t->is_password_asked = true;
	if (length == 0 || length > (size_t)size)
		return -1;
	memcpy(out, t->key_password, length);
	return (int)length;
}

/* OpenSSL would not say which file it is, nor why. */
static int
check_readable(struct tls *t, const char *key, const char *path)
{
	FILE *file = path != NULL ? fopen(path, "re") : NULL;

	if (path != NULL && file == NULL) {
		say(t, "cannot read %s %s: %s", key, path, strerror(errno));
		return ERR_IO;
	}
	if (file != NULL)
		(void)fclose(file);
	return 0;
}

static int
trust_authorities(struct tls *t)
{
	const struct settings_tls *s = t->settings;
	DIR *directory = s->ca_path != NULL ? opendir(s->ca_path) : NULL;

	if (s->ca_path != NULL && directory == NULL) {
		say(t, "cannot read ca_path %s: %s", s->ca_path, strerror(errno));
		return ERR_IO;
	}
	if (directory != NULL)
		(void)closedir(directory);
	if (check_readable(t, "ca_file", s->ca_file) != 0)
		return ERR_IO;
	if (s->ca_file == NULL && s->ca_path == NULL)
		return SSL_CTX_set_default_verify_paths(t->context) == 1 ? 0 : ERR_IO;
	if (SSL_CTX_load_verify_locations(t->context, s->ca_file, s->ca_path) != 1) {
		say(t, "there is no certificate of an authority in ca_file %s: %s",
		    s->ca_file, last_reason());
		return ERR_IO;
	}
	return 0;
}

static void
explain_key(struct tls *t)
{
	const char *path = t->settings->key_file;
	unsigned long error = ERR_peek_last_error();

	if (ERR_GET_LIB(error) == ERR_LIB_X509 &&
	    ERR_GET_REASON(error) == X509_R_KEY_VALUES_MISMATCH)
		say(t,
		    "the key in key_file %s does not belong to the certificate in "
		    "cert_file",
		    path);
	else if (t->is_password_asked)
		say(t, "the key in key_file %s cannot be opened: %s", path,
		    t->key_password != NULL ? "key_password is wrong"
					    : "it wants a key_password");
	else
		say(t, "there is no private key in key_file %s: %s", path,
		    last_reason());
}

static int
take_certificate(struct tls *t)
{
	const struct settings_tls *s = t->settings;

	if (s->cert_file == NULL || s->key_file == NULL)
		return 0;
	if (check_readable(t, "cert_file", s->cert_file) != 0 ||
	    check_readable(t, "key_file", s->key_file) != 0)
		return ERR_IO;
	if (SSL_CTX_use_certificate_chain_file(t->context, s->cert_file) != 1) {
		say(t, "there is no certificate in cert_file %s: %s", s->cert_file,
		    last_reason());
		return ERR_IO;
	}
	SSL_CTX_set_default_passwd_cb(t->context, on_password);
	SSL_CTX_set_default_passwd_cb_userdata(t->context, t);
	if (SSL_CTX_use_PrivateKey_file(t->context, s->key_file, SSL_FILETYPE_PEM) !=
		1 ||
	    SSL_CTX_check_private_key(t->context) != 1) {
		explain_key(t);
		return ERR_IO;
	}
	return 0;
}

/* ---- the context ---- */

static int
expect_host(struct tls *t, const char *host)
{
	X509_VERIFY_PARAM *wanted = SSL_CTX_get0_param(t->context);

	if (t->settings->insecure)
		return 0;
	(void)snprintf(t->host, sizeof(t->host), "%s", host);
	X509_VERIFY_PARAM_set_hostflags(wanted, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	/* An address is compared with addresses alone. */
	if (X509_VERIFY_PARAM_set1_ip_asc(wanted, host) == 1 ||
	    X509_VERIFY_PARAM_set1_host(wanted, host, 0) == 1)
		return 0;
	return ERR_NOMEM;
}

static void
set_options(struct tls *t)
{
	(void)SSL_CTX_set_min_proto_version(t->context, TLS1_2_VERSION);
	(void)SSL_CTX_set_options(
	    t->context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
#ifdef SSL_OP_IGNORE_UNEXPECTED_EOF
	/* Brokers end a connection without a word. An MQTT packet says its own length, so
	 * nothing can be cut off unnoticed. */
	(void)SSL_CTX_set_options(t->context, SSL_OP_IGNORE_UNEXPECTED_EOF);
#endif
	SSL_CTX_set_app_data(t->context, t);
	SSL_CTX_set_verify(t->context, SSL_VERIFY_PEER, on_verify);
	SSL_CTX_set_info_callback(t->context, on_info);
}

int
tls_open(struct tls **out, const struct settings_tls *settings,
    const char *key_password, const char *host, char *why, size_t size)
{
	struct tls *t = calloc(1, sizeof(*t));
	int err = ERR_NOMEM;

	*out = NULL;
	(void)snprintf(why, size, "%s", err_str(err));
	if (t == NULL)
		return err;
	t->settings = settings;
	t->key_password = key_password;
	t->context = SSL_CTX_new(TLS_client_method());
	if (t->context == NULL)
		goto fail;
	set_options(t);
	err = expect_host(t, host);
	if (err == 0)
		err = trust_authorities(t);
	if (err == 0)
		err = take_certificate(t);
	t->key_password = NULL;
	ERR_clear_error();
	if (err != 0)
		goto fail;
	*out = t;
	return 0;
fail:
	if (t->text[0] != '\0')
		(void)snprintf(why, size, "%s", t->text);
	tls_close(t);
	return err;
}

void
tls_close(struct tls *t)
{
	if (t == NULL)
		return;
	tls_let_go(t);
	SSL_CTX_free(t->context);
	free(t);
}

void *
tls_context(const struct tls *t)
{
	return t->context;
}

const char *
tls_failure(const struct tls *t)
{
	return t->text[0] != '\0' ? t->text : NULL;
}

/* ---- one connection ---- */

void
tls_hold(struct tls *t, void *ssl, int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	if (copy < 0 || SSL_up_ref(ssl) != 1) {
		if (copy >= 0)
			(void)close(copy);
		return; /* then the reason may stay unknown */
	}
	t->held = ssl;
	t->held_fd = copy;
}

void
tls_let_go(struct tls *t)
{
	if (t->held == NULL)
		return;
	SSL_free(t->held);
	(void)close(t->held_fd);
	t->held = NULL;
}

void
tls_hear_out(struct tls *t)
{
	char byte;

	/* on_info() listens. The socket is one that does not block. */
	if (t->held != NULL && t->text[0] == '\0' &&
	    SSL_set_fd(t->held, t->held_fd) == 1)
		(void)SSL_read(t->held, &byte, 1);
	ERR_clear_error();
	tls_let_go(t);
}

bool
tls_has_pending(const void *ssl)
{
	return ssl != NULL && SSL_pending(ssl) > 0;
}

bool
tls_is_shaking_hands(const void *ssl)
{
	return ssl != NULL && !SSL_is_init_finished(ssl);
}

bool
tls_wants_write(const void *ssl)
{
	return ssl != NULL && SSL_want_write((const SSL *)ssl);
}

bool
tls_write(void *ssl, const void *data, size_t size)
{
	/* Without SSL_MODE_ENABLE_PARTIAL_WRITE it is all or nothing. */
	bool is_written = SSL_write(ssl, data, (int)size) > 0;

	ERR_clear_error();
	return is_written;
}

void
tls_say_goodbye(void *ssl)
{
	if (ssl != NULL && !SSL_in_init(ssl))
		(void)SSL_shutdown(ssl); /* 0: said; the answer is not waited for */
	ERR_clear_error();
}
