/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates that are about to end.
 *
 * Invariant: once a day at most the log says the same of a file again; a change for the
 * worse or the better it says at once.
 *
 * Failure modes: a file cannot be read, or has no certificate in it: its end is not
 * known, which the board tells. What TLS says to it the connection tells.
 */
#include "certificate_watch.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "err.h"
#include "log.h"

#define LOOK_MS ((int64_t)3600 * 1000)
#define TELL_MS ((int64_t)86400 * 1000)
#define DAY_S   86400

/* ---- what is watched ---- */

static void
watch(struct certificate_watch *w, const char *setting, const char *file,
    enum certificate_use use)
{
	if (file == NULL || w->count == BOARD_CERTIFICATES_MAX)
		return;
	w->list[w->count++] =
	    (struct watched_certificate){.setting = setting, .file = file, .use = use};
}

void
certificate_watch_ingest(struct certificate_watch *w, const struct settings *s)
{
	*w = (struct certificate_watch){0};
	if (!s->mqtt.tls.is_on)
		return;
	watch(w, "mqtt.tls.cert_file", s->mqtt.tls.cert_file, CERTIFICATE_OWN);
	watch(w, "mqtt.tls.ca_file", s->mqtt.tls.ca_file, CERTIFICATE_AUTHORITIES);
}

static bool
is_directory(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

void
certificate_watch_forward(struct certificate_watch *w, const struct settings *s)
{
	static const struct {
		const char *property, *setting;
		enum certificate_use use;
	} known[] = {
	    {"ssl.certificate.location", "kafka.properties: ssl.certificate.location",
		CERTIFICATE_OWN},
	    {"ssl.ca.location", "kafka.properties: ssl.ca.location",
		CERTIFICATE_AUTHORITIES},
	};

	*w = (struct certificate_watch){0};
	for (size_t i = 0; i < s->kafka.property_count; i++) {
		const struct settings_property *p = &s->kafka.properties[i];

		for (size_t k = 0; k < sizeof(known) / sizeof(known[0]); k++) {
			if (strcmp(p->name, known[k].property) != 0)
				continue;
			/* "probe" is librdkafka's word for "where the system has them". */
			if (strcmp(p->value, "probe") != 0 &&
			    !settings_secret_is_reference(p->value) &&
			    !is_directory(p->value))
				watch(w, known[k].setting, p->value, known[k].use);
		}
	}
}

/* ---- what is said ---- */

static void
day_of(int64_t at_s, char text[32])
{
	time_t seconds = (time_t)at_s;
	struct tm tm;

	if ((int64_t)seconds != at_s || gmtime_r(&seconds, &tm) == NULL ||
	    strftime(text, 32, "%Y-%m-%d", &tm) == 0)
		(void)snprintf(text, 32, "a day that is not known");
}

static void
tell_end(const struct watched_certificate *c, int64_t left_s)
{
	const char *what = c->use == CERTIFICATE_OWN ? "the certificate"
						     : "the last of the authorities";
	char day[32];

	day_of(c->expires_at_s, day);
	if (left_s <= 0)
		log_error(LOG_CONNECTION, "%s: %s in %s has expired, on %s", c->setting,
		    what, c->file, day);
	else
		log_warning(LOG_CONNECTION,
		    "%s: %s in %s expires in %" PRId64 " days, on %s", c->setting, what,
		    c->file, left_s / DAY_S, day);
}

static void
tell(struct watched_certificate *c, int64_t now_ms, int64_t real_ms)
{
	int64_t left_s = c->expires_at_s - real_ms / 1000;
	enum certificate_state now = CERTIFICATE_GOOD;

	if (c->expires_at_s == 0)
		return;
	if (left_s < CERTIFICATE_SOON_S)
		now = left_s <= 0 ? CERTIFICATE_EXPIRED : CERTIFICATE_ENDS_SOON;
	if (now == CERTIFICATE_GOOD && c->told != CERTIFICATE_GOOD)
		log_info(LOG_CONNECTION, "%s: %s was renewed", c->setting, c->file);
	if (now != CERTIFICATE_GOOD && (now != c->told || now_ms >= c->tell_again_ms)) {
		tell_end(c, left_s);
		c->tell_again_ms = now_ms + TELL_MS;
	}
	c->told = now;
}

/* ---- looking ---- */

/* The same file in two places is one: what ends first. */
static void
put(struct board_certificate out[], const struct watched_certificate *c)
{
	size_t i = 0;

	while (out[i].file[0] != '\0') {
		if (strncmp(out[i].file, c->file, sizeof(out[i].file) - 1) == 0)
			break;
		i++;
	}
	if (out[i].file[0] != '\0' && out[i].expires_at_s < c->expires_at_s)
		return;
	(void)snprintf(out[i].file, sizeof(out[i].file), "%s", c->file);
	out[i].expires_at_s = c->expires_at_s;
}

void
certificate_watch_look(struct certificate_watch *w, int64_t now_ms, int64_t real_ms,
    struct board_certificate out[])
{
	if (w->count == 0 || (w->look_at_ms != 0 && now_ms < w->look_at_ms))
		return;
	w->look_at_ms = now_ms + LOOK_MS;
	memset(out, 0, BOARD_CERTIFICATES_MAX * sizeof(out[0]));
	for (size_t i = 0; i < w->count; i++) {
		struct watched_certificate *c = &w->list[i];
		int err = certificate_expiry(c->file, c->use, &c->expires_at_s);

		if (err != 0) {
			c->expires_at_s = 0;
			log_debug(LOG_CONNECTION, "%s: %s: when it expires: %s",
			    c->setting, c->file, err_str(err));
		}
		tell(c, now_ms, real_ms);
		put(out, c);
	}
}
