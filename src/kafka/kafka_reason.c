/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plain words for what keeps Kafka and us apart. librdkafka has one text for every fault
 * of a certificate, and many words for a wrong password.
 *
 * Failure modes: a text of librdkafka's that is not known here stays as it is.
 */
#include "kafka_reason.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNTRUSTED \
	"comes from an authority that is not trusted: is ssl.ca.location right?"
#define NAMELESS "does not match the host name: it is made for another host"

struct fault {
	int number;
	const char *text;
};

/* openssl/x509_vfy.h; the numbers are the same since OpenSSL 1.0.2. */
static const struct fault faults[] = {
    {2, UNTRUSTED},
    {3, "cannot be checked: no revocation list in ssl.crl.location is its authority's"},
    {7, "is not signed by the authority that it names"},
    {9, "is not valid yet: is the clock of this machine right?"},
    {10, "has expired"},
    {11, "cannot be checked: the revocation list in ssl.crl.location is not valid yet"},
    {12, "cannot be checked: the revocation list in ssl.crl.location has expired"},
    {18, "is signed by itself, and ssl.ca.location does not name it"},
    {19, UNTRUSTED},
    {20, UNTRUSTED},
    {21, UNTRUSTED},
    {23, "has been revoked"},
    {24, "is signed by one that is no authority"},
    {26, "is not made for a server"},
    {62, NAMELESS},
    {64, NAMELESS},
    {66, "has too small a key"},
    {67, "comes from an authority with too small a key"},
    {68, "is signed with too weak a digest"},
};

#define OURS "the broker refuses our certificate"

/* TLS alerts (RFC 8446, 6.2) by which a broker refuses us. */
static const struct fault alerts[] = {
    {40, "the broker has no TLS version or cipher in common with us"},
    {42, OURS},
    {43, OURS ": it is of a kind that it does not know"},
    {44, OURS ": it has been revoked"},
    {45, OURS ": it has expired"},
    {46, OURS},
    {48, OURS ": it does not trust the authority that signed it"},
    {70, "the broker has no TLS version in common with us"},
    {116, OURS},
};

static const char *
find(const struct fault *list, size_t count, int number)
{
	for (size_t i = 0; i < count; i++)
		if (list[i].number == number)
			return list[i].text;
	return NULL;
}

void
kafka_reason_fault(char *out, size_t size, int error)
{
	const char *text = find(faults, sizeof(faults) / sizeof(faults[0]), error);

	if (text != NULL)
		snprintf(out, size, "%s", text);
	else
		snprintf(out, size, "is refused by OpenSSL (error %d)", error);
}

bool
kafka_reason_certificate(char *out, size_t size, const char *line)
{
	static const char middle[] = ") verification callback failed: ";
	const char *from = strstr(line, "Certificate (subject=");
	const char *to = from == NULL ? NULL : strstr(from, middle);

	if (to == NULL)
		return false;
	from += strlen("Certificate (");
	snprintf(out, size, "its certificate %s (%.*s)", to + strlen(middle),
	    (int)(to - from), from);
	return true;
}

void
kafka_reason_discreet(char *out, size_t size, const char *text)
{
	const char *end = strstr(text, " beginning at: ");
	size_t length = end == NULL ? strlen(text) : (size_t)(end - text);

	while (length > 0 && (text[length - 1] == '\n' || text[length - 1] == '\r'))
		length--;
	snprintf(out, size, "%.*s", (int)length, text);
}

/* How long is the name of the broker in front: "ssl://host:9093"? */
static size_t
broker_length(const char *reason)
{
	const char *end = strstr(reason, ": ");
	size_t length = end == NULL ? 0 : (size_t)(end - reason);
	size_t start = 0;

	if (end == NULL || memchr(reason, ' ', length) != NULL)
		return 0;
	if (strstr(reason, "://") != NULL && strstr(reason, "://") < end)
		start = (size_t)(strstr(reason, "://") - reason) + 3;
	/* Behind a slash: its number, or "bootstrap". */
	for (size_t i = start; i < length; i++)
		if (reason[i] == '/')
			return i;
	return length;
}

/* The text without the broker in front and "(after 3ms in state ...)" behind. */
static void
cut(char *out, size_t size, const char *reason)
{
	const char *text = reason;
	size_t length;

	if (broker_length(reason) > 0)
		text = strstr(reason, ": ") + 2;
	length = strlen(text);
	for (const char *at = strstr(text, " (after "); at != NULL;
	     at = strstr(at + 1, " (after "))
		length = (size_t)(at - text);
	snprintf(out, size, "%.*s", (int)length, text);
}

static const char *
alert_of(const char *text, const struct kafka_reason_hints *hints)
{
	static const char mark[] = "SSL alert number ";
	const char *at = strstr(text, mark);
	int number = at == NULL ? 0 : atoi(at + strlen(mark));

	/* Java's way to say it is 42, that of TLS 1.3 is 116. */
	if ((number == 42 || number == 116) && !hints->has_client_certificate)
		return "the broker asks for a client certificate, and none is given "
		       "(ssl.certificate.location, ssl.key.location)";
	return find(alerts, sizeof(alerts) / sizeof(alerts[0]), number);
}

static void
credentials(
    char *out, size_t size, const char *text, const struct kafka_reason_hints *hints)
{
	static const char mark[] = "SASL mechanism ";
	const char *mechanism = strstr(text, mark);
	bool is_scram = strstr(text, "SCRAM-") != NULL;
	char more[128] = "";

	if (is_scram && hints->scram_version != 0)
		snprintf(more, sizeof(more),
		    "; if they are right: librdkafka %d.%d.%d cannot do SCRAM with "
		    "Kafka 4, 2.6.1 can",
		    hints->scram_version >> 24, hints->scram_version >> 16 & 0xff,
		    hints->scram_version >> 8 & 0xff);
	snprintf(out, size, "user name or password is wrong (SASL %s)%s",
	    mechanism == NULL ? "PLAIN" : mechanism + strlen(mark), more);
}

enum kafka_refusal
kafka_reason(
    char *out, size_t size, const char *reason, const struct kafka_reason_hints *hints)
{
	enum kafka_refusal by = KAFKA_REFUSED_BY_NONE;
	size_t length = broker_length(reason);
	const char *alert;
	char text[256], words[384];

	cut(text, sizeof(text), reason);
	alert = alert_of(text, hints);
	snprintf(words, sizeof(words), "%s", text);
	if (strstr(text, "certificate verify failed") != NULL) {
		by = KAFKA_REFUSED_BY_US;
		if (hints->certificate != NULL && hints->certificate[0] != '\0')
			snprintf(words, sizeof(words), "%s", hints->certificate);
	} else if (strstr(text, "Failed to verify broker certificate") != NULL) {
		by = KAFKA_REFUSED_BY_US;
	} else if (alert != NULL) {
		by = KAFKA_REFUSED_BY_IT;
		snprintf(words, sizeof(words), "%s", alert);
	} else if (strstr(text, "Invalid username or password") != NULL ||
		   strstr(text, "invalid credentials") != NULL) {
		by = KAFKA_REFUSED_BY_IT;
		credentials(words, sizeof(words), text, hints);
	} else if (strstr(text, "unexpected eof while reading") != NULL ||
		   strstr(text, "wrong version number") != NULL) {
		snprintf(words, sizeof(words),
		    "the broker speaks no TLS there: are port and security.protocol "
		    "right?");
	} else if (strstr(reason, "in state UP") != NULL &&
		   strncmp(text, "Disconnected", 12) == 0) {
		/* librdkafka's advice on security.protocol is not for one that ran. */
		snprintf(words, sizeof(words), "the broker has closed the connection");
	}
	snprintf(
	    out, size, "%.*s%s%s", (int)length, reason, length > 0 ? ": " : "", words);
	return by;
}
