/* SPDX-License-Identifier: Apache-2.0 */
/* What the values of single options have to look like. */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "err.h"
#include "settings_parts.h"
#include "template.h"

#define DIGITS  "0123456789"
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define WORDS   LETTERS DIGITS "._-"

#define LONGEST_TOPIC 249

static const struct {
	const char *word;
	uint64_t bytes;
} units[] = {
    {"TiB", (uint64_t)1 << 40},
    {"GiB", (uint64_t)1 << 30},
    {"MiB", (uint64_t)1 << 20},
    {"KiB", (uint64_t)1 << 10},
    {"B", 1},
    {"T", (uint64_t)1 << 40},
    {"G", (uint64_t)1 << 30},
    {"M", (uint64_t)1 << 20},
    {"K", (uint64_t)1 << 10},
};

const char *
settings_size_parse(const char *text, uint64_t *bytes)
{
	size_t digits = strspn(text, DIGITS);
	const char *unit = text + digits + strspn(text + digits, " ");
	uint64_t number;

	if (digits == 0)
		return "must begin with a whole number, as in \"64 KiB\"";
	if (*unit == '\0')
		return "needs a unit: B, KiB, MiB, GiB or TiB";
	if (digits > 18)
		return "is too large";
	number = strtoull(text, NULL, 10);
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcasecmp(unit, units[i].word) != 0)
			continue;
		if (number > INT64_MAX / units[i].bytes)
			return "is too large";
		*bytes = number * units[i].bytes;
		return NULL;
	}
	return "must be a whole number with a unit: B, KiB, MiB, GiB or TiB";
}

bool
settings_size_meant(const char *text, char meant[32])
{
	static const char *const decimal[] = {"KB", "MB", "GB", "TB"};
	size_t digits = strspn(text, DIGITS);
	const char *unit = text + digits + strspn(text + digits, " ");

	for (size_t i = 0; i < sizeof(decimal) / sizeof(decimal[0]); i++) {
		if (digits == 0 || digits > 18 || strcasecmp(unit, decimal[i]) != 0)
			continue;
		(void)snprintf(
		    meant, 32, "%.*s %ciB", (int)digits, text, decimal[i][0]);
		return true;
	}
	return false;
}

void
settings_size_format(uint64_t bytes, char text[32])
{
	size_t i = 0;

	while (bytes == 0 ? units[i].bytes != 1 : bytes % units[i].bytes != 0)
		i++;
	(void)snprintf(
	    text, 32, "%" PRIu64 " %s", bytes / units[i].bytes, units[i].word);
}

const char *
settings_check_name(const char *text)
{
	size_t length = strlen(text);

	if (length == 0)
		return "must not be empty";
	if (text[strspn(text, WORDS)] != '\0')
		return "may have only letters, digits, \".\", \"_\" and \"-\"";
	if (length > 64)
		return "is longer than 64 characters";
	return NULL;
}

const char *
settings_check_gateway_id(const char *text)
{
	if (strcmp(text, "localhost") == 0 || strncmp(text, "localhost.", 10) == 0)
		return "would be the name of many gateways: give this one a name of "
		       "its own";
	return settings_check_name(text);
}

const char *
settings_check_mqtt_string(const char *text)
{
	if (*text == '\0')
		return "must not be empty";
	if (strlen(text) > UINT16_MAX)
		return "is longer than 65535 bytes, the most that MQTT allows";
	return NULL;
}

static bool
is_ipv6(const char *text)
{
	struct in6_addr address;

	return inet_pton(AF_INET6, text, &address) == 1;
}

static const char *
why_not_host_name(const char *text)
{
	if (*text == '\0')
		return "names no host";
	if (strstr(text, "://") != NULL)
		return "is a URL: give the host alone";
	if (text[strspn(text, WORDS)] != '\0')
		return "is not a host name or address";
	if (strlen(text) > 253)
		return "is longer than a host name can be";
	return NULL;
}

const char *
settings_check_host(const char *text)
{
	const char *colon = strchr(text, ':');

	if (is_ipv6(text))
		return NULL;
	if (*text == '[')
		return "must be without brackets: they belong around the address only "
		       "where a port follows";
	if (colon != NULL && colon[1] != '\0' &&
	    colon[1 + strspn(colon + 1, DIGITS)] == '\0')
		return "has a port: give it as mqtt.port";
	return why_not_host_name(text);
}

/* text is ":PORT" or empty: then Kafka's usual one, 9092. */
static const char *
why_not_port(const char *text)
{
	size_t digits;
	long port;

	if (*text == '\0')
		return NULL;
	if (*text != ':')
		return "has something behind the address that is not \":PORT\"";
	digits = strspn(text + 1, DIGITS);
	port = digits > 0 && digits < 6 ? strtol(text + 1, NULL, 10) : 0;
	if (text[1 + digits] != '\0' || port < 1 || port > 65535)
		return "has a port that is not a number from 1 to 65535";
	return NULL;
}

static const char *
why_not_server(char *server)
{
	char *end;
	const char *why;

	if (strstr(server, "://") != NULL)
		return "has a protocol in front: kafka.properties has "
		       "\"security.protocol=...\" for that";
	if (is_ipv6(server))
		return "has an IPv6 address without brackets: write \"[ADDRESS]:PORT\"";
	if (*server == '[') {
		end = strchr(server, ']');
		if (end == NULL)
			return "has a \"[\" without \"]\"";
		*end = '\0';
		if (!is_ipv6(server + 1))
			return "has something in brackets that is not an IPv6 address";
		return why_not_port(end + 1);
	}
	end = server + strcspn(server, ":");
	why = why_not_port(end);
	*end = '\0';
	return why != NULL ? why : why_not_host_name(server);
}

const char *
settings_check_servers(const char *text)
{
	const char *why = NULL;
	char server[512];

	do {
		size_t length = strcspn(text, ",");
		size_t blank = strspn(text, " ");

		if (blank > length)
			blank = length;
		if (length - blank >= sizeof(server))
			return "has a name that is longer than a host name can be";
		memcpy(server, text + blank, length - blank);
		server[length - blank] = '\0';
		if (*server == '\0')
			return "must be \"HOST:PORT\", or several with commas between";
		why = why_not_server(server);
		text += length;
	} while (why == NULL && *text++ == ',');
	return why;
}

/* text is "ADDRESS:PORT" or "[ADDRESS]:PORT"; the port must be there. */
const char *
settings_check_listen(const char *text)
{
	char server[512];

	if (strlen(text) >= sizeof(server))
		return "is longer than a host name can be";
	if (text[strspn(text, DIGITS)] == '\0')
		return "is a port alone: an address belongs in front of it, as in "
		       "\"127.0.0.1:9464\"";
	if (*text == ':' && text[1] != ':')
		return "names no address: \"127.0.0.1\" is for this machine alone, "
		       "\"0.0.0.0\" for everybody";
	if (*text == '*')
		return "has a \"*\": for everybody write \"0.0.0.0\", or \"[::]\" with "
		       "IPv6";
	if (strstr(text, "://") != NULL)
		return "is a URL: give \"ADDRESS:PORT\" alone";
	if (*text == '[' ? strstr(text, "]:") == NULL
			 : !is_ipv6(text) && strchr(text, ':') == NULL)
		return "needs a port, as in \"127.0.0.1:9464\"";
	(void)snprintf(server, sizeof(server), "%s", text);
	return why_not_server(server);
}

const char *
settings_check_path(const char *text)
{
	return *text == '/' ? NULL : "must be a path that begins with \"/\"";
}

bool
settings_secret_is_reference(const char *value)
{
	return strncmp(value, "file:", 5) == 0 ||
	       strncmp(value, "credential:", 11) == 0;
}

const char *
settings_check_secret(const char *text)
{
	if (strncmp(text, "file:", 5) == 0 && text[5] != '/')
		return "must be \"file:\" and a path that begins with \"/\"";
	if (strncmp(text, "credential:", 11) == 0 &&
	    (text[11] == '\0' || text[11] == '.' || strchr(text, '/') != NULL))
		return "must be \"credential:\" and the name of a credential";
	return NULL;
}

const char *
settings_check_static_topic(const char *text)
{
	static const char *const internal[] = {
	    "__consumer_offsets", "__transaction_state", "__share_group_state", NULL};

	if (*text == '\0')
		return "must not be empty";
	if (strstr(text, "${") != NULL)
		return "has a \"${...}\": this topic is the same for all records";
	if (text[strspn(text, WORDS)] != '\0')
		return "is not a Kafka topic: only letters, digits, \".\", \"_\" and "
		       "\"-\"";
	if (strlen(text) > LONGEST_TOPIC)
		return "is longer than 249 characters, the most that Kafka allows";
	if (strcmp(text, ".") == 0 || strcmp(text, "..") == 0)
		return "is not a Kafka topic";
	for (size_t i = 0; internal[i] != NULL; i++) {
		if (strcmp(text, internal[i]) == 0)
			return "is one of Kafka's own topics, which takes no records";
	}
	return NULL;
}

const char *
settings_check_template(const char *text)
{
	struct template *t = NULL;
	const char *why = NULL;
	int err = template_open(&t, text, &why);

	template_close(t);
	return err == ERR_INVALID ? why : NULL;
}

/* What a template puts out at the least: the text between its values. */
static size_t
constant_length(const char *text)
{
	size_t length = 0;

	while (*text != '\0') {
		if (strncmp(text, "${", 2) == 0) {
			text += strcspn(text, "}");
			text += *text == '}';
			continue;
		}
		text += strncmp(text, "$$", 2) == 0 ? 2 : 1;
		length++;
	}
	return length;
}

/* What is wrong with the one topic that a template always makes, or NULL. */
static const char *
why_not_constant_topic(struct template *t)
{
	static const struct template_values none;
	char topic[LONGEST_TOPIC + 2];
	struct bytes text;

	if (template_render(t, &none, &text) != 0)
		return NULL; /* no memory: it is tried again with the first record */
	if (memchr(text.data, '$', text.size) != NULL)
		return "has a \"$$\", a dollar sign, which is in no Kafka topic; a "
		       "value "
		       "is written \"${topic}\"";
	(void)snprintf(topic, sizeof(topic), "%.*s",
	    (int)(text.size < sizeof(topic) ? text.size : sizeof(topic)),
	    (const char *)text.data);
	return settings_check_static_topic(topic);
}

/*
 * A topic that is the same for every record has to be a topic. In any other, values and
 * what stands between them are made to fit Kafka when they are put in.
 */
const char *
settings_check_topic(const char *text)
{
	struct template *t = NULL;
	const char *why = NULL;

	if (template_open(&t, text, &why) != 0)
		return why;
	if (template_is_constant(t))
		why = why_not_constant_topic(t);
	else if (constant_length(text) > LONGEST_TOPIC)
		why = "is longer than 249 characters, the most that Kafka allows, "
		      "even where its values are empty";
	template_close(t);
	return why;
}

const char *
settings_check_mqtt_topic(const char *text)
{
	if (strpbrk(text, "+#") != NULL)
		return "has a wildcard: it must be one topic";
	if (*text == '$')
		return "begins with \"$\": such topics are the broker's own";
	return settings_check_mqtt_string(text);
}

const char *
settings_check_header_name(const char *text)
{
	if (*text == '\0')
		return "must not be empty";
	if (strcasecmp(text, "tidegate") == 0 ||
	    strncasecmp(text, "tidegate-", 9) == 0 ||
	    strncasecmp(text, "mqtt-", 5) == 0)
		return "is Tidegate's own: \"tidegate\" and what begins with "
		       "\"tidegate-\" or \"mqtt-\" tells where a record comes from";
	return NULL;
}

const char *
settings_check_metadata_name(const char *text)
{
	if (*text == '\0')
		return "must not be empty";
	if (strcmp(text, "integrationName") == 0)
		return "is there already: it is the name of the route";
	return NULL;
}

const char *
settings_check_attribute(const char *text)
{
	static const char *const taken[] = {"specversion", "id", "source", "type",
	    "subject", "time", "datacontenttype", "dataschema", "data", "mqttqos",
	    "mqttretain", "route", "clientid", "partitionkey", NULL};

	if (text[strspn(text, "abcdefghijklmnopqrstuvwxyz" DIGITS)] != '\0')
		return "may have only a-z and 0-9 in a CloudEvent";
	if (strlen(text) > 20)
		return "is longer than 20 characters, the most for a CloudEvent";
	for (size_t i = 0; taken[i] != NULL; i++) {
		if (strcmp(text, taken[i]) == 0)
			return "is an attribute of CloudEvents already";
	}
	return NULL;
}

bool
settings_property_is_secret(const char *name)
{
	static const char *const parts[] = {"password", "passphrase", "secret",
	    "key.pem", "oauthbearer.config", "jaas.config", "keystore.key"};

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if (strcasestr(name, parts[i]) != NULL)
			return true;
	}
	return false;
}
