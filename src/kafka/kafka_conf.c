/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration of a producer: first what Tidegate sets, then kafka.properties,
 * each name judged by kafka_properties.c and then by librdkafka itself.
 *
 * Invariant: a value that comes from a file never appears in a message.
 */
#include "kafka_conf.h"

#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "kafka_properties.h"
#include "kafka_sink.h"

struct building {
	rd_kafka_conf_t *conf;
	const struct settings *settings;
	struct buffer *mistakes;
	bool is_wrong;
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
	char why[256];

	if (rd_kafka_conf_set(b->conf, name, value, why, sizeof(why)) ==
	    RD_KAFKA_CONF_OK)
		return 0;
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
	char text[256];

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
	return complain(b, property->line, property->name, why == NULL ? text : why);
}

static bool
has_value(const rd_kafka_conf_t *conf, const char *name)
{
	size_t size = 0;

	return rd_kafka_conf_get(conf, name, NULL, &size) == RD_KAFKA_CONF_OK &&
	       size > 1;
}

/* What librdkafka would find only when it has started: a mechanism without a user. */
static int
check_sasl(struct building *b)
{
	char protocol[64] = "", mechanism[64] = "";
	size_t protocol_size = sizeof(protocol), mechanism_size = sizeof(mechanism);

	(void)rd_kafka_conf_get(b->conf, "security.protocol", protocol, &protocol_size);
	(void)rd_kafka_conf_get(b->conf, "sasl.mechanisms", mechanism, &mechanism_size);
	if (strncmp(protocol, "sasl_", 5) != 0 ||
	    (strcmp(mechanism, "PLAIN") != 0 && strncmp(mechanism, "SCRAM-", 6) != 0))
		return 0;
	for (size_t i = 0; i < b->settings->kafka.property_count; i++) {
		const struct settings_property *p = &b->settings->kafka.properties[i];

		if (strcmp(p->name, "security.protocol") == 0 &&
		    !has_value(b->conf, "sasl.username"))
			return complain(
			    b, p->line, p->name, "sasl.username is missing");
		if (strcmp(p->name, "security.protocol") == 0 &&
		    !has_value(b->conf, "sasl.password"))
			return complain(
			    b, p->line, p->name, "sasl.password is missing");
	}
	return 0;
}

int
kafka_conf_build(const struct settings *settings, bool read_secrets,
    struct buffer *mistakes, rd_kafka_conf_t **out)
{
	const struct settings_kafka *k = &settings->kafka;
	struct building b = {
	    .conf = rd_kafka_conf_new(), .settings = settings, .mistakes = mistakes};
	int err = kafka_properties_own(settings, set_own, &b);

	for (size_t i = 0; i < k->property_count && err == 0; i++) {
		const struct settings_property *property = &k->properties[i];
		char *secret = NULL;

		if (!settings_secret_is_reference(property->value)) {
			err = set_property(&b, property, property->value);
			continue;
		}
		if (read_secrets)
			err = settings_secret(property->value, &secret);
		if (err == 0)
			err = set_property(&b, property, secret);
		free(secret);
	}
	if (err == 0)
		err = check_sasl(&b);
	if (err == 0 && b.is_wrong)
		err = ERR_INVALID;
	if (err != 0)
		rd_kafka_conf_destroy(b.conf);
	else
		*out = b.conf;
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
