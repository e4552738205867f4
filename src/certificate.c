/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates' ends, out of PEM files.
 *
 * Invariant: nothing is asked at a terminal, and nothing is waited for: a file that is
 * no file of the usual kind is not read.
 *
 * Failure modes: a file larger than FILE_BYTES_MAX, or with one certificate in it that is
 * damaged, is taken for one without: TLS would not take it either.
 */
#include "certificate.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buffer.h"
#include "err.h"

/* All authorities of a system take a quarter of a MiB. */
#define FILE_BYTES_MAX ((size_t)4 << 20)

#define DAY_S 86400

static int
read_all(int fd, struct buffer *out)
{
	char bytes[16384];
	ssize_t got = read(fd, bytes, sizeof(bytes));

	while (got > 0 && out->size <= FILE_BYTES_MAX) {
		int err = buffer_append(out, bytes, (size_t)got);

		if (err != 0)
			return err;
		got = read(fd, bytes, sizeof(bytes));
	}
	if (got < 0)
		return ERR_IO;
	return out->size > FILE_BYTES_MAX ? ERR_INVALID : 0;
}

static int
read_file(const char *path, struct buffer *out)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	int err;

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? ERR_NOTFOUND : ERR_IO;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		err = ERR_IO;
	else
		err = read_all(fd, out);
	(void)close(fd); /* only read from */
	return err;
}

/* In place of OpenSSL's own, which asks at the terminal. */
static int
no_password(char *out, int size, int is_writing, void *context)
{
	(void)out;
	(void)size;
	(void)is_writing;
	(void)context;
	return -1;
}

/* By a difference of days, so that it is right where time_t ends in 2038. */
static int
end_of(const X509 *certificate, const ASN1_TIME *epoch, int64_t *out)
{
	int days, seconds;

	if (ASN1_TIME_diff(&days, &seconds, epoch, X509_get0_notAfter(certificate)) !=
	    1)
		return ERR_INVALID;
	*out = (int64_t)days * DAY_S + seconds;
	return 0;
}

/* Did the last PEM_read_bio_X509() meet the end of the file, and nothing worse? */
static bool
is_at_end(void)
{
	unsigned long error = ERR_peek_last_error();

	return ERR_GET_LIB(error) == ERR_LIB_PEM &&
	       ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
}

static int
find_end(
    BIO *text, const ASN1_TIME *epoch, enum certificate_use use, int64_t *expires_at_s)
{
	X509 *one = PEM_read_bio_X509(text, NULL, no_password, NULL);
	int64_t found = 0, end = 0;
	bool has_one = false;

	while (one != NULL) {
		int err = end_of(one, epoch, &end);

		X509_free(one);
		if (err != 0)
			return err;
		if (!has_one || (use == CERTIFICATE_OWN ? end < found : end > found))
			found = end;
		has_one = true;
		one = PEM_read_bio_X509(text, NULL, no_password, NULL);
	}
	if (!has_one || !is_at_end())
		return ERR_INVALID;
	*expires_at_s = found;
	return 0;
}

int
certificate_expiry(const char *path, enum certificate_use use, int64_t *expires_at_s)
{
	struct buffer file = {0};
	ASN1_TIME *epoch = NULL;
	BIO *text = NULL;
	int err = read_file(path, &file);

	if (err != 0)
		goto end;
	epoch = ASN1_TIME_set(NULL, 0);
	text = BIO_new_mem_buf(
	    file.size > 0 ? (const void *)file.data : "", (int)file.size);
	err = ERR_NOMEM;
	if (epoch == NULL || text == NULL)
		goto end;
	err = find_end(text, epoch, use, expires_at_s);
end:
	BIO_free(text);
	ASN1_STRING_free(epoch);
	buffer_fini(&file);
	ERR_clear_error(); /* or the next TLS connection would report it as its own */
	return err;
}
