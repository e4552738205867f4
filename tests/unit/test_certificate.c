/* SPDX-License-Identifier: Apache-2.0 */
/* When the certificates in a file end, and what is said of it. */
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/tmpdir.h"
#include "certificate.h"
#include "certificate_watch.h"
#include "err.h"
#include "log.h"

#define DAY_S  86400
#define NOW_S  ((int64_t)1795514400)
#define NOW_MS 1000000

static EVP_PKEY *key;

static int
make_key(void **state)
{
	(void)state;
	key = EVP_EC_gen("P-256");
	return key == NULL;
}

static int
drop_key(void **state)
{
	(void)state;
	EVP_PKEY_free(key);
	return 0;
}

static X509 *
make_certificate(const char *end)
{
	X509 *one = X509_new();

	assert_non_null(one);
	assert_int_equal(X509_set_version(one, 2), 1);
	assert_int_equal(
	    ASN1_TIME_set_string_X509(X509_getm_notBefore(one), "20200101000000Z"), 1);
	assert_int_equal(ASN1_TIME_set_string_X509(X509_getm_notAfter(one), end), 1);
	assert_int_equal(X509_set_pubkey(one, key), 1);
	assert_true(X509_sign(one, key, EVP_sha256()) > 0);
	return one;
}

static const char *
path_of(void **state, const char *name)
{
	static char path[300];

	(void)snprintf(path, sizeof(path), "%s/%s", (const char *)*state, name);
	return path;
}

static FILE *
open_file(void **state, const char *mode)
{
	FILE *f = fopen(path_of(state, "file.pem"), mode);

	assert_non_null(f);
	return f;
}

static void
add_certificate(void **state, const char *end)
{
	FILE *f = open_file(state, "ae");
	X509 *one = make_certificate(end);

	assert_int_equal(PEM_write_X509(f, one), 1);
	assert_int_equal(fclose(f), 0);
	X509_free(one);
}

static void
add_text(void **state, const char *text)
{
	FILE *f = open_file(state, "ae");

	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void
ends_at(void **state, enum certificate_use use, int64_t at_s)
{
	int64_t found = -1;

	assert_int_equal(
	    certificate_expiry(path_of(state, "file.pem"), use, &found), 0);
	assert_int_equal(found, at_s);
}

static void
fails_with(const char *path, int err)
{
	int64_t found = -1;

	assert_int_equal(certificate_expiry(path, CERTIFICATE_OWN, &found), err);
	assert_int_equal(
	    certificate_expiry(path, CERTIFICATE_AUTHORITIES, &found), err);
	assert_int_equal(found, -1);
}

/* ---- files ---- */

static void
one_certificate_ends_when_it_says(void **state)
{
	add_certificate(state, "20261124120000Z");
	ends_at(state, CERTIFICATE_OWN, 1795521600);
	ends_at(state, CERTIFICATE_AUTHORITIES, 1795521600);
}

/* RFC 5280, 4.1.2.5: no end that is known; and one that 32 bits do not hold. */
static void
far_ends_are_read(void **state)
{
	add_certificate(state, "99991231235959Z");
	ends_at(state, CERTIFICATE_OWN, 253402300799);
	add_certificate(state, "20500101000000Z");
	ends_at(state, CERTIFICATE_OWN, 2524608000);
}

static void
of_a_chain_the_first_end_counts_of_authorities_the_last(void **state)
{
	add_certificate(state, "20270101000000Z");
	add_certificate(state, "20260101000000Z");
	add_text(state, "\nWords between two of them.\n");
	add_certificate(state, "20280101000000Z");
	ends_at(state, CERTIFICATE_OWN, 1767225600);
	ends_at(state, CERTIFICATE_AUTHORITIES, 1830297600);
}

static void
key_in_the_same_file_is_passed(void **state)
{
	FILE *f = open_file(state, "we");
	static char password[] = "secret";

	assert_int_equal(PEM_write_PrivateKey(f, key, EVP_aes_128_cbc(),
			     (const unsigned char *)password, 6, NULL, NULL),
	    1);
	assert_int_equal(fclose(f), 0);
	fails_with(path_of(state, "file.pem"), ERR_INVALID);
	add_certificate(state, "20270101000000Z");
	ends_at(state, CERTIFICATE_OWN, 1798761600);
}

static void
no_certificate_is_no_end(void **state)
{
	add_text(state, "");
	fails_with(path_of(state, "file.pem"), ERR_INVALID);
	add_text(state, "This is not a certificate.\n");
	fails_with(path_of(state, "file.pem"), ERR_INVALID);
	add_text(state, "-----BEGIN CERTIFICATE-----\nbm9uc2Vuc2U=\n"
			"-----END CERTIFICATE-----\n");
	fails_with(path_of(state, "file.pem"), ERR_INVALID);
}

static void
damaged_one_behind_a_good_one_is_not_overlooked(void **state)
{
	add_certificate(state, "20270101000000Z");
	add_text(state, "-----BEGIN CERTIFICATE-----\nMIIB\n");
	fails_with(path_of(state, "file.pem"), ERR_INVALID);
}

static void
der_in_place_of_pem_is_no_certificate(void **state)
{
	FILE *f = open_file(state, "we");
	X509 *one = make_certificate("20270101000000Z");

	assert_int_equal(i2d_X509_fp(f, one), 1);
	assert_int_equal(fclose(f), 0);
	X509_free(one);
	fails_with(path_of(state, "file.pem"), ERR_INVALID);
}

static void
all_too_large_file_is_not_read_on(void **state)
{
	add_certificate(state, "20270101000000Z");
	assert_int_equal(truncate(path_of(state, "file.pem"), 4 << 20), 0);
	ends_at(state, CERTIFICATE_OWN, 1798761600);
	assert_int_equal(truncate(path_of(state, "file.pem"), (off_t)1 << 40), 0);
	fails_with(path_of(state, "file.pem"), ERR_INVALID);
}

static void
what_is_no_file_is_not_waited_for(void **state)
{
	fails_with(path_of(state, "nothing.pem"), ERR_NOTFOUND);
	fails_with(path_of(state, "nothing/nothing.pem"), ERR_NOTFOUND);
	fails_with(*state, ERR_IO);
	assert_int_equal(mkfifo(path_of(state, "file.pem"), 0600), 0);
	fails_with(path_of(state, "file.pem"), ERR_IO);
}

/* ---- the watch ---- */

struct watching {
	struct certificate_watch watch;
	struct settings settings;
	struct board_certificate board[BOARD_CERTIFICATES_MAX];
	char path[300];
	FILE *log;
	int saved_fd;
	char text[8192];
};

static void
begin(struct watching *w, void **state)
{
	memset(w, 0, sizeof(*w));
	(void)snprintf(w->path, sizeof(w->path), "%s", path_of(state, "file.pem"));
	w->settings.mqtt.tls.is_on = true;
	w->settings.mqtt.tls.cert_file = w->path;
	certificate_watch_ingest(&w->watch, &w->settings);
	unsetenv("JOURNAL_STREAM");
	log_open("test", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	w->log = tmpfile();
	w->saved_fd = dup(STDERR_FILENO);
	assert_non_null(w->log);
	assert_true(dup2(fileno(w->log), STDERR_FILENO) >= 0);
}

static void
end(struct watching *w)
{
	assert_true(dup2(w->saved_fd, STDERR_FILENO) >= 0);
	(void)close(w->saved_fd);
	(void)fclose(w->log);
}

/* Look, so much later; what is logged for it. */
static const char *
look(struct watching *w, int64_t later_s)
{
	size_t size;

	assert_int_equal(ftruncate(fileno(w->log), 0), 0);
	rewind(w->log);
	certificate_watch_look(
	    &w->watch, NOW_MS + later_s * 1000, (NOW_S + later_s) * 1000, w->board);
	rewind(w->log);
	size = fread(w->text, 1, sizeof(w->text) - 1, w->log);
	w->text[size] = '\0';
	return w->text;
}

static void
replace(void **state, const char *end)
{
	assert_int_equal(unlink(path_of(state, "file.pem")), 0);
	add_certificate(state, end);
}

static void
end_that_is_near_is_told_once_a_day(void **state)
{
	struct watching w;
	const char *line;

	add_certificate(state, "20261204100000Z"); /* in ten days */
	begin(&w, state);
	line = look(&w, 0);
	assert_non_null(strstr(line, "<4>") == NULL ? strstr(line, "warning") : line);
	assert_non_null(strstr(line, "mqtt.tls.cert_file: the certificate in "));
	assert_non_null(strstr(line, " expires in 10 days, on 2026-12-04"));
	assert_string_equal(w.board[0].file, w.path);
	assert_int_equal(w.board[0].expires_at_s, NOW_S + 10 * DAY_S);
	assert_string_equal(w.board[1].file, "");
	for (int64_t at_s = 1; at_s < DAY_S; at_s += 600)
		assert_string_equal(look(&w, at_s), "");
	assert_non_null(strstr(look(&w, DAY_S + 3600), "expires in 8 days"));
	end(&w);
}

static void
end_that_is_far_is_only_on_the_board(void **state)
{
	struct watching w;

	add_certificate(state, "20261224100000Z"); /* in thirty days */
	begin(&w, state);
	assert_string_equal(look(&w, 0), "");
	assert_int_equal(w.board[0].expires_at_s, NOW_S + 30 * DAY_S);
	assert_string_equal(look(&w, 3599), "");
	assert_non_null(strstr(look(&w, 3600), "expires in 29 days"));
	end(&w);
}

static void
expiry_and_renewal_are_told_at_once(void **state)
{
	struct watching w;

	add_certificate(state, "20261124120000Z"); /* in two hours */
	begin(&w, state);
	assert_non_null(strstr(look(&w, 0), "expires in 0 days"));
	assert_non_null(strstr(look(&w, 7200), "has expired, on 2026-11-24"));
	assert_non_null(strstr(w.text, "error"));
	replace(state, "20271124120000Z");
	assert_string_equal(look(&w, 7300), ""); /* not yet looked at */
	assert_non_null(strstr(look(&w, 10800), "was renewed"));
	assert_string_equal(look(&w, 14400), "");
	assert_int_equal(unlink(w.path), 0);
	assert_string_equal(look(&w, 18000), "");
	assert_int_equal(w.board[0].expires_at_s, 0);
	assert_string_equal(w.board[0].file, w.path);
	end(&w);
}

static void
same_file_in_two_places_is_there_once(void **state)
{
	struct watching w;

	add_certificate(state, "20280101000000Z");
	add_certificate(state, "20270101000000Z");
	begin(&w, state);
	w.settings.mqtt.tls.ca_file = w.path;
	certificate_watch_ingest(&w.watch, &w.settings);
	assert_string_equal(look(&w, 0), "");
	assert_int_equal(w.board[0].expires_at_s, 1798761600);
	assert_string_equal(w.board[1].file, "");
	end(&w);
}

static void
nothing_is_watched_without_tls(void **state)
{
	struct watching w;

	begin(&w, state);
	w.settings.mqtt.tls.is_on = false;
	certificate_watch_ingest(&w.watch, &w.settings);
	assert_int_equal(w.watch.count, 0);
	assert_string_equal(look(&w, 0), "");
	assert_string_equal(w.board[0].file, "");
	end(&w);
}

static void
of_kafkas_properties_files_are_watched(void **state)
{
	static char certificate[] = "ssl.certificate.location",
		    authority[] = "ssl.ca.location", store[] = "ssl.keystore.location",
		    probe[] = "probe", elsewhere[] = "file:/etc/name",
		    file[] = "/etc/one.pem";
	struct settings_property list[] = {
	    {.name = store, .value = file},
	    {.name = authority, .value = probe},
	    {.name = authority, .value = *state}, /* a directory */
	    {.name = certificate, .value = elsewhere},
	    {.name = authority, .value = file},
	    {.name = certificate, .value = file},
	};
	struct settings s = {0};
	struct certificate_watch w;

	s.kafka.properties = list;
	s.kafka.property_count = sizeof(list) / sizeof(list[0]);
	certificate_watch_forward(&w, &s);
	assert_int_equal(w.count, 2);
	assert_int_equal(w.list[0].use, CERTIFICATE_AUTHORITIES);
	assert_int_equal(w.list[1].use, CERTIFICATE_OWN);
	assert_ptr_equal(w.list[1].file, file);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(one_certificate_ends_when_it_says),
	    TEST(far_ends_are_read),
	    TEST(of_a_chain_the_first_end_counts_of_authorities_the_last),
	    TEST(key_in_the_same_file_is_passed),
	    TEST(no_certificate_is_no_end),
	    TEST(damaged_one_behind_a_good_one_is_not_overlooked),
	    TEST(der_in_place_of_pem_is_no_certificate),
	    TEST(all_too_large_file_is_not_read_on),
	    TEST(what_is_no_file_is_not_waited_for),
	    TEST(end_that_is_near_is_told_once_a_day),
	    TEST(end_that_is_far_is_only_on_the_board),
	    TEST(expiry_and_renewal_are_told_at_once),
	    TEST(same_file_in_two_places_is_there_once),
	    TEST(nothing_is_watched_without_tls),
	    TEST(of_kafkas_properties_files_are_watched),
	};

	return cmocka_run_group_tests(tests, make_key, drop_key);
}
