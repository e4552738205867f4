/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why there is no connection to Kafka, in plain words, out of librdkafka's own.
 *
 * It knows no library: texts come in, texts go out.
 */
#ifndef KAFKA_REASON_H
#define KAFKA_REASON_H

#include <stdbool.h>
#include <stddef.h>

/* Who does not want whom. */
enum kafka_refusal {
	KAFKA_REFUSED_BY_NONE, /* it is a matter of the network */
	KAFKA_REFUSED_BY_US,   /* its certificate does not convince us */
	KAFKA_REFUSED_BY_IT,   /* password, or our certificate */
};

/* What is known beside the text; zero-initialised is valid. */
struct kafka_reason_hints {
	const char *certificate; /* by kafka_reason_certificate(); NULL: none */
	bool has_client_certificate;
	int scram_version; /* librdkafka's, if it is too old for Kafka 4's SCRAM; else 0 */
};

/* What is wrong with a certificate, by the number of OpenSSL's X509_V_ERR_*. */
void kafka_reason_fault(char *out, size_t size, int error);

/* The same about a certificate, out of librdkafka's line SSLCERTVRFY. False: not one. */
bool kafka_reason_certificate(char *out, size_t size, const char *line);

/*
 * A text of librdkafka's, but for what it may tell of sasl.oauthbearer.config, and for
 * the end of line that some have.
 */
void kafka_reason_discreet(char *out, size_t size, const char *text);

/* The reason that librdkafka's error callback was given; at most some 400 bytes. */
enum kafka_refusal kafka_reason(
    char *out, size_t size, const char *reason, const struct kafka_reason_hints *hints);

#endif
