/* SPDX-License-Identifier: Apache-2.0 */
/* The texts are those of librdkafka 2.0.2 before Apache Kafka 4.1.1. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kafka/kafka_reason.h"

#define VERIFY                                                                   \
	"SSL handshake failed: error:0A000086:SSL routines::certificate verify " \
	"failed: broker certificate could not be verified, verify that "         \
	"ssl.ca.location is correctly configured or root CA certificates are "   \
	"installed (install ca-certificates package) (after 37ms in state "      \
	"SSL_HANDSHAKE)"
#define ALERT(name, number)                                                    \
	"ssl://127.0.0.1:24145/bootstrap: Receive failed: error:0A000412:SSL " \
	"routines::" name ": SSL alert number " number                         \
	" (after 0ms in state APIVERSION_QUERY)"

static void
assert_reason(const struct kafka_reason_hints *hints, const char *reason,
    const char *words, enum kafka_refusal by)
{
	char out[512];

	assert_int_equal(kafka_reason(out, sizeof(out), reason, hints), by);
	assert_string_equal(out, words);
}

static void
fault_of_a_certificate_is_named(void **state)
{
	struct kafka_reason_hints hints = {0};
	char fault[256], certificate[512], line[512];

	(void)state;
	kafka_reason_fault(fault, sizeof(fault), 10);
	snprintf(line, sizeof(line),
	    "[thrd:ssl://127.0.0.1:24147/bootstrap]: ssl://127.0.0.1:24147/bootstrap: "
	    "Certificate (subject=/CN=a, issuer=/CN=ca) verification callback failed: "
	    "%s",
	    fault);
	assert_true(kafka_reason_certificate(certificate, sizeof(certificate), line));
	hints.certificate = certificate;
	assert_reason(&hints, "ssl://127.0.0.1:24147/bootstrap: " VERIFY,
	    "ssl://127.0.0.1:24147: its certificate has expired "
	    "(subject=/CN=a, issuer=/CN=ca)",
	    KAFKA_REFUSED_BY_US);
	assert_reason(&hints,
	    "ssl://h:9/bootstrap: Failed to verify broker certificate: certificate has "
	    "expired (after 3ms in state SSL_HANDSHAKE)",
	    "ssl://h:9: Failed to verify broker certificate: certificate has expired",
	    KAFKA_REFUSED_BY_US);
}

static void
every_fault_has_words(void **state)
{
	static const struct {
		int number;
		const char *words;
	} list[] = {
	    {9, "not valid yet"},
	    {10, "has expired"},
	    {18, "ssl.ca.location"},
	    {19, "authority that is not trusted"},
	    {20, "authority that is not trusted"},
	    {62, "host name"},
	    {64, "host name"},
	    {23, "revoked"},
	    {999, "error 999"},
	};
	char out[256];

	(void)state;
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		kafka_reason_fault(out, sizeof(out), list[i].number);
		if (strstr(out, list[i].words) == NULL)
			fail_msg("%d: %s", list[i].number, out);
	}
}

static void
a_text_loses_its_end_of_line(void **state)
{
	char out[64];

	(void)state;
	kafka_reason_discreet(out, sizeof(out), "fcntl failed: ignoring\r\n\n");
	assert_string_equal(out, "fcntl failed: ignoring");
	kafka_reason_discreet(out, sizeof(out), "\n");
	assert_string_equal(out, "");
}

static void
another_line_is_about_no_certificate(void **state)
{
	char out[64];

	(void)state;
	assert_false(kafka_reason_certificate(out, sizeof(out), "FAIL: Certificate"));
	assert_false(kafka_reason_certificate(
	    out, sizeof(out), "Certificate (subject=/CN=a, issuer=/CN=b) is fine"));
}

static void
missing_client_certificate_is_asked_for(void **state)
{
	const struct kafka_reason_hints none = {0},
					some = {.has_client_certificate = true};

	(void)state;
	assert_reason(&none, ALERT("sslv3 alert bad certificate", "42"),
	    "ssl://127.0.0.1:24145: the broker asks for a client certificate, and none "
	    "is given (ssl.certificate.location, ssl.key.location)",
	    KAFKA_REFUSED_BY_IT);
	assert_reason(&some, ALERT("sslv3 alert bad certificate", "42"),
	    "ssl://127.0.0.1:24145: the broker refuses our certificate",
	    KAFKA_REFUSED_BY_IT);
	assert_reason(&some, ALERT("sslv3 alert certificate expired", "45"),
	    "ssl://127.0.0.1:24145: the broker refuses our certificate: it has expired",
	    KAFKA_REFUSED_BY_IT);
}

static void
wrong_password_is_called_so(void **state)
{
	const struct kafka_reason_hints hints = {0},
					old = {.scram_version = 0x020002ff};
	static const char scram[] =
	    "sasl_ssl://h:9/bootstrap: SASL authentication error: Authentication "
	    "failed "
	    "during authentication due to invalid credentials with SASL mechanism "
	    "SCRAM-SHA-256 (after 329ms in state AUTH_REQ)";

	(void)state;
	assert_reason(&hints,
	    "sasl_ssl://h:9/1: SASL authentication error: Authentication failed: "
	    "Invalid username or password (after 301ms in state AUTH_REQ)",
	    "sasl_ssl://h:9: user name or password is wrong (SASL PLAIN)",
	    KAFKA_REFUSED_BY_IT);
	assert_reason(&hints, scram,
	    "sasl_ssl://h:9: user name or password is wrong (SASL SCRAM-SHA-256)",
	    KAFKA_REFUSED_BY_IT);
	assert_reason(&old, scram,
	    "sasl_ssl://h:9: user name or password is wrong (SASL SCRAM-SHA-256); if "
	    "they are right: librdkafka 2.0.2 cannot do SCRAM with Kafka 4, 2.6.1 can",
	    KAFKA_REFUSED_BY_IT);
}

static void
port_without_tls_is_guessed(void **state)
{
	const struct kafka_reason_hints hints = {0};

	(void)state;
	assert_reason(&hints,
	    "ssl://h:9092/bootstrap: SSL handshake failed: error:0A000126:SSL "
	    "routines::unexpected eof while reading (after 9ms in state SSL_HANDSHAKE)",
	    "ssl://h:9092: the broker speaks no TLS there: are port and "
	    "security.protocol right?",
	    KAFKA_REFUSED_BY_NONE);
}

static void
setting_that_may_be_secret_is_not_repeated(void **state)
{
	char out[256];

	(void)state;
	kafka_reason_discreet(out, sizeof(out),
	    "Failed to acquire SASL OAUTHBEARER token: Unrecognized "
	    "sasl.oauthbearer.config beginning at: x=secret");
	assert_string_equal(out, "Failed to acquire SASL OAUTHBEARER token: "
				 "Unrecognized sasl.oauthbearer.config");
	kafka_reason_discreet(out, sizeof(out), "another text");
	assert_string_equal(out, "another text");
}

static void
matter_of_the_network_stays_one(void **state)
{
	const struct kafka_reason_hints hints = {0};

	(void)state;
	assert_reason(&hints,
	    "[::1]:9092/bootstrap: Connect to ipv6#[::1]:9092 failed: Connection "
	    "refused "
	    "(after 0ms in state CONNECT, 3 identical error(s) suppressed)",
	    "[::1]:9092: Connect to ipv6#[::1]:9092 failed: Connection refused",
	    KAFKA_REFUSED_BY_NONE);
	assert_reason(&hints,
	    "127.0.0.1:1/1: Disconnected: verify that security.protocol is correctly "
	    "configured, broker might require SASL authentication (after 620ms in "
	    "state "
	    "UP)",
	    "127.0.0.1:1: the broker has closed the connection", KAFKA_REFUSED_BY_NONE);
	assert_reason(&hints,
	    "Failed to resolve 'nowhere.example:9092': Name or service not known",
	    "Failed to resolve 'nowhere.example:9092': Name or service not known",
	    KAFKA_REFUSED_BY_NONE);
	assert_reason(&hints, "1/1 brokers are down", "1/1 brokers are down",
	    KAFKA_REFUSED_BY_NONE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(fault_of_a_certificate_is_named),
	    cmocka_unit_test(every_fault_has_words),
	    cmocka_unit_test(a_text_loses_its_end_of_line),
	    cmocka_unit_test(another_line_is_about_no_certificate),
	    cmocka_unit_test(missing_client_certificate_is_asked_for),
	    cmocka_unit_test(wrong_password_is_called_so),
	    cmocka_unit_test(port_without_tls_is_guessed),
	    cmocka_unit_test(setting_that_may_be_secret_is_not_repeated),
	    cmocka_unit_test(matter_of_the_network_stays_one),
	};
	return cmocka_run_group_tests_name("kafka_reason", tests, NULL, NULL);
}
