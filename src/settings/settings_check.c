/* SPDX-License-Identifier: Apache-2.0 */
/* What the values of single options have to look like. */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "settings_parts.h"

#define DIGITS  "0123456789"
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define WORDS   LETTERS DIGITS "._-"

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
	if (strcmp(text, "localhost") == 0)
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

const char *
settings_check_directory(const char *text)
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
settings_check_topic(const char *text)
{
	if (strstr(text, "${") != NULL)
		return "has a \"${...}\", which is not available in this version";
	if (*text == '\0')
		return "must not be empty";
	if (text[strspn(text, WORDS)] != '\0')
		return "is not a Kafka topic: only letters, digits, \".\", \"_\" and "
		       "\"-\"";
	if (strlen(text) > 249)
		return "is longer than 249 characters, the most that Kafka allows";
	if (strcmp(text, ".") == 0 || strcmp(text, "..") == 0)
		return "is not a Kafka topic";
	return NULL;
}

const char *
settings_check_key(const char *text)
{
	static const char topic[] = "${topic}";
	const char *p = strchr(text, '$');

	for (; p != NULL; p = strchr(p, '$')) {
		if (p[1] == '$')
			p += 2;
		else if (strncmp(p, topic, sizeof(topic) - 1) == 0)
			p += sizeof(topic) - 1;
		else if (p[1] != '{')
			return "has a single \"$\": a dollar sign is written \"$$\"";
		else if (strchr(p, '}') == NULL)
			return "has a \"${\" without \"}\"";
		else
			return "has a \"${...}\" that is not available in this "
			       "version: "
			       "only \"${topic}\" is";
	}
	return NULL;
}

bool
settings_property_is_secret(const char *name)
{
	static const char *const parts[] = {
	    "password", "secret", "key.pem", "oauthbearer.config"};

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if (strstr(name, parts[i]) != NULL)
			return true;
	}
	return false;
}
