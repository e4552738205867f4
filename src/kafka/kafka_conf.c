/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration of a producer: first what Tidegate sets, then kafka.properties,
 * each name judged by kafka_properties.c and then by librdkafka itself.
 *
 * Invariant: a value that comes from a file never appears in a message.
 *
 * Failure modes: a file that is named is not there (yet), or is not for us: said with the
 * property that names it, ERR_IO, and the caller may try again.
 */
#include "kafka_conf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "err.h"
#include "kafka_properties.h"
#include "kafka_sent.h"
#include "kafka_sink.h"
#include "log.h"

#define TIMEOUT_TEXT "60000"    /* KAFKA_TRANSACTION_TIMEOUT_MS */
#define SCRAM_MENDED 0x020601ff /* before that, Kafka 4 takes no SCRAM of librdkafka */

struct building {
	rd_kafka_conf_t *conf;
	const struct settings *settings;
	struct buffer *mistakes;
	bool is_wrong;
	bool is_file_away;
};

static int
complain(struct building *b, int line, const char *name, const char *why)
{
	b->is_wrong = true;
	return buffer_printf(b->mistakes, "%s:%d: kafka.properties: %s: %s\n",
	    b->settings->name, line, name, why);
}

static int
set_own(void *context, const char *name, const char *value)
{
	struct building *b = context;
	char text[256], why[256];

	if (rd_kafka_conf_set(b->conf, name, value, text, sizeof(text)) ==
	    RD_KAFKA_CONF_OK)
		return 0;
	kafka_reason_discreet(why, sizeof(why), text);
	b->is_wrong = true;
	return buffer_printf(b->mistakes, "%s: kafka: %s\n", b->settings->name, why);
}

/* value: what stands behind a secret, or NULL where only the name is to be judged. */
static int
set_property(
    struct building *b, const struct settings_property *property, const char *value)
{
	const char *why = kafka_property_refused(property->name);
	rd_kafka_conf_res_t rc;
	char text[256], plain[256];

	if (why != NULL)
		return complain(b, property->line, property->name, why);
	/* With a stand-in check_sasl() sees that there will be something. */
	rc = rd_kafka_conf_set(b->conf, property->name,
	    value == NULL ? "secret" : value, text, sizeof(text));
	if (rc == RD_KAFKA_CONF_OK || (rc == RD_KAFKA_CONF_INVALID && value == NULL))
		return 0;
	why = kafka_property_hint(property->name);
	if (why == NULL && rc == RD_KAFKA_CONF_UNKNOWN)
		why = "librdkafka knows no such property";
	if (why == NULL && settings_secret_is_reference(property->value))
		why = "librdkafka does not take what the file says";
	kafka_reason_discreet(plain, sizeof(plain), text);
	return complain(b, property->line, property->name, why == NULL ? plain : why);
}

static bool
has_value(const rd_kafka_conf_t *conf, const char *name)
{
	size_t size = 0;

	return rd_kafka_conf_get(conf, name, NULL, &size) == RD_KAFKA_CONF_OK &&
	       size > 1;
}

static bool
has(const rd_kafka_conf_t *conf, const char *name, const char *value)
{
	char text[32] = "";
	size_t size = sizeof(text);

	return rd_kafka_conf_get(conf, name, text, &size) == RD_KAFKA_CONF_OK &&
	       strcmp(text, value) == 0;
}

/* Without either of the two librdkafka waits for a token that nobody gives it. */
static bool
makes_tokens(const rd_kafka_conf_t *conf)
{
	return has(conf, "enable.sasl.oauthbearer.unsecure.jwt", "true") ||
	       has(conf, "sasl.oauthbearer.method", "oidc");
}

static const struct settings_property *
find_property(const struct settings *s, const char *name)
{
	for (size_t i = 0; i < s->kafka.property_count; i++)
		if (strcmp(s->kafka.properties[i].name, name) == 0)
			return &s->kafka.properties[i];
	return NULL;
}

static int
complain_of(struct building *b, const char *name, const char *why)
{
	const struct settings_property *p = find_property(b->settings, name);

	return complain(b, p == NULL ? 0 : p->line, name, why);
}

/* ---- security ---- */

static bool
begins_with(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

/*
 * Who writes them wants more than plain text: librdkafka would pass over them in silence.
 */
static int
check_effect(struct building *b, const char *protocol)
{
	const struct settings_kafka *k = &b->settings->kafka;
	const struct settings_property *given =
	    find_property(b->settings, "security.protocol");
	bool has_sasl = begins_with(protocol, "sasl_");
	bool has_tls = strstr(protocol, "ssl") != NULL;
	char why[128] = "has no effect without security.protocol";
	int err = 0;

	/* Otherwise it is not one, which has been said. */
	if (given != NULL && strcasecmp(given->value, protocol) != 0)
		return 0;
	if (given != NULL)
		snprintf(why, sizeof(why), "has no effect with security.protocol=%s%s",
		    given->value,
		    has_sasl || has_tls ? "; SASL over TLS is SASL_SSL" : "");
	for (size_t i = 0; i < k->property_count && err == 0; i++) {
		const char *name = k->properties[i].name;
		bool is_sasl =
		    begins_with(name, "sasl.") || begins_with(name, "enable.sasl.");
		bool is_tls =
		    begins_with(name, "ssl.") || begins_with(name, "enable.ssl.");

		if (!((is_sasl && !has_sasl) || (is_tls && !has_tls)))
			continue;
		/* Without a value it is one that librdkafka did not take. */
		if (has_value(b->conf, name))
			err = complain(b, k->properties[i].line, name, why);
	}
	return err;
}

/* Which of them there are depends on what librdkafka was built with. */
static const struct mechanism {
	const char *name, *feature;
} mechanisms[] = {
    {"PLAIN", "sasl_plain"},
    {"SCRAM-SHA-1", "sasl_scram"},
    {"SCRAM-SHA-256", "sasl_scram"},
    {"SCRAM-SHA-512", "sasl_scram"},
    {"OAUTHBEARER", "sasl_oauthbearer"},
    {"GSSAPI", "sasl_gssapi"},
};

static int
check_mechanism(
    struct building *b, const struct settings_property *p, const char *mechanism)
{
	char features[512] = "", why[256];
	size_t size = sizeof(features), length;

	if (settings_secret_is_reference(p->value))
		return 0;
	(void)rd_kafka_conf_get(b->conf, "builtin.features", features, &size);
	snprintf(why, sizeof(why),
	    "\"%.64s\" is not a mechanism that librdkafka here knows:", p->value);
	for (size_t i = 0; i < sizeof(mechanisms) / sizeof(mechanisms[0]); i++) {
		if (strstr(features, mechanisms[i].feature) == NULL)
			continue;
		if (strcmp(mechanisms[i].name, mechanism) == 0)
			return 0;
		length = strlen(why);
		snprintf(why + length, sizeof(why) - length, " %s", mechanisms[i].name);
	}
	return complain(b, p->line, p->name, why);
}

/* librdkafka would not start without the keytab that its own command for kinit names. */
static int
check_kerberos(struct building *b)
{
	char command[1024] = "";
	size_t size = sizeof(command);

	(void)rd_kafka_conf_get(b->conf, "sasl.kerberos.kinit.cmd", command, &size);
	if (has_value(b->conf, "sasl.kerberos.keytab") ||
	    strstr(command, "%{sasl.kerberos.keytab}") == NULL ||
	    has(b->conf, "sasl.kerberos.min.time.before.relogin", "0"))
		return 0;
	return complain_of(b, "security.protocol",
	    "for GSSAPI sasl.kerberos.keytab is missing, or, where something else sees "
	    "to the ticket, sasl.kerberos.min.time.before.relogin=0");
}

static int
check_sasl(struct building *b)
{
	const struct settings_property *p =
	    find_property(b->settings, "sasl.mechanism");
	char mechanism[64] = "";
	size_t size = sizeof(mechanism);
	int err;

	if (p == NULL)
		p = find_property(b->settings, "sasl.mechanisms");
	if (p == NULL)
		return complain_of(
		    b, "security.protocol", "sasl.mechanisms is missing");
	(void)rd_kafka_conf_get(b->conf, "sasl.mechanisms", mechanism, &size);
	err = check_mechanism(b, p, mechanism);
	if (err != 0)
		return err;
	if (strcmp(mechanism, "GSSAPI") == 0)
		return check_kerberos(b);
	if (strcmp(mechanism, "OAUTHBEARER") == 0 && !makes_tokens(b->conf))
		return complain_of(b, "security.protocol",
		    "for OAUTHBEARER sasl.oauthbearer.method=oidc is missing, or for "
		    "trials enable.sasl.oauthbearer.unsecure.jwt=true");
	if (strcmp(mechanism, "PLAIN") != 0 && !begins_with(mechanism, "SCRAM-"))
		return 0;
	if (!has_value(b->conf, "sasl.username"))
		return complain_of(b, "security.protocol", "sasl.username is missing");
	if (!has_value(b->conf, "sasl.password"))
		return complain_of(b, "security.protocol", "sasl.password is missing");
	return 0;
}

/* What librdkafka would find only when it has started, or never. */
static int
check_security(struct building *b)
{
	char protocol[64] = "";
	size_t size = sizeof(protocol);
	int err;

	(void)rd_kafka_conf_get(b->conf, "security.protocol", protocol, &size);
	err = check_effect(b, protocol);
	if (err == 0 && has_value(b->conf, "ssl.keystore.location") &&
	    !has_value(b->conf, "ssl.keystore.password"))
		err = complain_of(
		    b, "ssl.keystore.location", "ssl.keystore.password is missing");
	if (err == 0 && begins_with(protocol, "sasl_"))
		err = check_sasl(b);
	return err;
}

/* ---- files ---- */

/* OpenSSL has more words for it, and they tell less. */
static int
check_file(struct building *b, const struct settings_property *property)
{
	static const char *const names[] = {"ssl.ca.location", "ssl.crl.location",
	    "ssl.certificate.location", "ssl.key.location", "ssl.keystore.location"};
	bool is_file = false;
	int fd;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		is_file |= strcmp(names[i], property->name) == 0;
	/* librdkafka's word for "look where the system keeps them". */
	if (!is_file || strcmp(property->value, "probe") == 0)
		return 0;
	fd = open(property->value, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0) {
		(void)close(fd);
		return 0;
	}
	b->is_file_away = true;
	return buffer_printf(b->mistakes, "%s:%d: kafka.properties: %s: %s: %s\n",
	    b->settings->name, property->line, property->name, property->value,
	    strerror(errno));
}

static bool
names_a_key(const char *property)
{
	return strcmp(property, "ssl.key.location") == 0 ||
	       strcmp(property, "ssl.keystore.location") == 0 ||
	       strcmp(property, "sasl.kerberos.keytab") == 0;
}

/*
 * In a thread of librdkafka. The judgement is OpenSSL's: this only has it named, in a
 * line of librdkafka's that comes to the log callback.
 */
static int
verify(rd_kafka_t *rk, const char *broker, int32_t id, int *error, int depth,
    const char *certificate, size_t certificate_size, char *why, size_t why_size,
    void *opaque)
{
	(void)rk;
	(void)broker;
	(void)id;
	(void)depth;
	(void)certificate;
	(void)certificate_size;
	(void)opaque;
	if (*error != 0)
		kafka_reason_fault(why, why_size, *error);
	return *error == 0;
}

struct kafka_reason_hints
kafka_conf_hints(const rd_kafka_conf_t *conf)
{
	int version = rd_kafka_version();

	return (struct kafka_reason_hints){
	    .has_client_certificate = has_value(conf, "ssl.certificate.location") ||
				      has_value(conf, "ssl.certificate.pem") ||
				      has_value(conf, "ssl.keystore.location"),
	    .scram_version = version < SCRAM_MENDED ? version : 0,
	};
}

static int
take_property(
    struct building *b, const struct settings_property *property, bool read_secrets)
{
	char name[128];
	char *secret = NULL;
	int err = 0;

	if (read_secrets && names_a_key(property->name))
		settings_warn_readable(property->value);
	if (!settings_secret_is_reference(property->value)) {
		if (read_secrets)
			err = check_file(b, property);
		return err == 0 ? set_property(b, property, property->value) : err;
	}
	snprintf(name, sizeof(name), "kafka.properties: %s", property->name);
	if (read_secrets)
		err = settings_secret(name, property->value, &secret);
	if (err == 0)
		err = set_property(b, property, secret);
	settings_secret_forget(secret);
	return err;
}

int
kafka_conf_build(const struct settings *settings, bool read_secrets,
    struct buffer *mistakes, rd_kafka_conf_t **out)
{
	const struct settings_kafka *k = &settings->kafka;
	struct building b = {
	    .conf = rd_kafka_conf_new(), .settings = settings, .mistakes = mistakes};
	int err = kafka_properties_own(settings, set_own, &b);

	kafka_sent_count(b.conf);
	/* Fails only where librdkafka has no TLS. */
	(void)rd_kafka_conf_set_ssl_cert_verify_cb(b.conf, verify);
	for (size_t i = 0; i < k->property_count && err == 0; i++)
		err = take_property(&b, &k->properties[i], read_secrets);
	if (err == 0)
		err = check_security(&b);
	if (err == 0 && b.is_wrong)
		err = ERR_INVALID;
	if (err == 0 && b.is_file_away)
		err = ERR_IO;
	if (err != 0)
		rd_kafka_conf_destroy(b.conf);
	else
		*out = b.conf;
	return err;
}

void
kafka_conf_log(const struct buffer *mistakes)
{
	const char *line = (const char *)mistakes->data;
	size_t left = mistakes->size;

	while (left > 0) {
		const char *end = memchr(line, '\n', left);
		size_t size = end == NULL ? left : (size_t)(end - line);

		log_error(LOG_LIFECYCLE, "%.*s", (int)size, line);
		left -= end == NULL ? left : size + 1;
		line += size + 1;
	}
}

int
kafka_conf_put(
    rd_kafka_conf_t *conf, const char *name, const char *value, const char *whose)
{
	char why[256];

	if (rd_kafka_conf_set(conf, name, value, why, sizeof(why)) == RD_KAFKA_CONF_OK)
		return 0;
	log_error(LOG_LIFECYCLE, "%s: %s", whose, why);
	return ERR_INVALID;
}

int
kafka_conf_transactional(rd_kafka_conf_t *conf, const struct settings *settings)
{
	const char *const list[][2] = {
	    {"transactional.id", settings->kafka.transactional_id},
	    {"transaction.timeout.ms", TIMEOUT_TEXT},
	    {"message.timeout.ms", TIMEOUT_TEXT},
	    /* It would make an end of the producer of what an abort mends. */
	    {"enable.gapless.guarantee", "false"},
	    /* After a commit Kafka says "not yet" to the next for some milliseconds. */
	    {"retry.backoff.ms", "10"},
	    /* For kafka_position_read(). */
	    {"isolation.level", "read_uncommitted"},
	};
	int err = 0;

	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]) && err == 0; i++) {
		if (find_property(settings, list[i][0]) == NULL)
			err = kafka_conf_put(conf, list[i][0], list[i][1], "kafka");
	}
	return err;
}

int
kafka_sink_check(const struct settings *settings, struct buffer *mistakes)
{
	rd_kafka_conf_t *conf;
	int err = kafka_conf_build(settings, false, mistakes, &conf);

	if (err == 0)
		rd_kafka_conf_destroy(conf);
	return err;
}
