/* SPDX-License-Identifier: Apache-2.0 */
/* A topic as this gateway uses it, held against what the cluster says of it. */
#include "kafka_topic_judge.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "route.h"
#include "template.h"

/* ---- which topics ---- */

/* A record with as little in it as there can be: what renders empty for it may do so. */
static const struct record poor_record = {
    .topic = {"a", 1},
    .payload = {"", 0},
};

static int64_t
max_age_ms(const struct settings_route *route)
{
	switch (route->timestamp) {
	case SETTINGS_TIMESTAMP_RECEIVED:
		return INT64_MAX;
	case SETTINGS_TIMESTAMP_FORWARDED:
		return 0;
	case SETTINGS_TIMESTAMP_AUTO:
		break;
	}
	return route->timestamp_max_age_s * 1000;
}

static void
add_use(struct topic_use list[], size_t *count, const struct topic_use *use)
{
	size_t i = 0;

	while (i < *count && strcmp(list[i].name, use->name) != 0)
		i++;
	if (i == *count) {
		list[(*count)++] = *use;
		return;
	}
	list[i].is_route |= use->is_route;
	list[i].is_position |= use->is_position;
	list[i].has_no_key |= use->has_no_key;
	list[i].may_lack_key |= use->may_lack_key;
	if (list[i].max_age_ms < use->max_age_ms)
		list[i].max_age_ms = use->max_age_ms;
}

/*
 * is_constant: out. Errors: ERR_NOMEM.
 */
static int
look_at_template(const char *text, bool *is_constant)
{
	struct template *t;
	int err = template_open(&t, text, NULL);

	if (err != 0)
		return err;
	*is_constant = template_is_constant(t);
	template_close(t);
	return 0;
}

/* By the route itself: it knows what becomes of characters that Kafka does not take. */
static int
look_at_route(const struct settings *s, size_t index, struct topic_use *use)
{
	static const struct journal_identity identity;
	struct route *route = NULL;
	struct sink_record out;
	const char *why;
	bool is_constant = false;
	int err = look_at_template(s->routes[index].key, &is_constant);

	if (err == 0)
		err = route_open(&route, s, index, &identity);
	if (err == 0)
		err = route_render(route, &poor_record, 1, 0, true, &out, &why);
	if (err == 0) {
		(void)snprintf(use->name, sizeof(use->name), "%s", out.topic);
		use->is_route = true;
		use->may_lack_key = out.key.size == 0;
		use->has_no_key = is_constant && use->may_lack_key;
		use->max_age_ms = max_age_ms(&s->routes[index]);
	}
	route_close(route);
	return err;
}

static int
add_route(struct check *c, const struct settings *s, size_t index,
    struct topic_use list[], size_t *count)
{
	const struct settings_route *route = &s->routes[index];
	struct topic_use use = {.name = ""};
	bool is_constant = false;
	int err = look_at_template(route->topic, &is_constant);

	if (err == 0 && !is_constant) {
		check_say(c, CHECK_OK, "kafka.topic", route->topic,
		    "route %s: the topic comes from each message; none is looked at",
		    route->name);
		return 0;
	}
	if (err == 0)
		err = look_at_route(s, index, &use);
	if (err == 0)
		add_use(list, count, &use);
	if (err == ERR_INVALID) {
		check_say(c, CHECK_FAIL, "kafka.topic", route->topic,
		    "route %s: Kafka cannot have a topic of this name", route->name);
		return 0;
	}
	return err;
}

int
topic_uses_list(struct check *c, const struct settings *settings,
    struct topic_use **out, size_t *count)
{
	struct topic_use *list = calloc(settings->route_count + 2, sizeof(*list));
	int err = list == NULL ? ERR_NOMEM : 0;

	*count = 0;
	for (size_t i = 0; i < settings->route_count && err == 0; i++) {
		if (settings->routes[i].enabled)
			err = add_route(c, settings, i, list, count);
	}
	if (err == 0 && settings->status.kafka_topic != NULL) {
		struct topic_use use = {.name = ""};

		(void)snprintf(
		    use.name, sizeof(use.name), "%s", settings->status.kafka_topic);
		add_use(list, count, &use);
	}
	if (err == 0 && settings->kafka.delivery == SETTINGS_EXACTLY_ONCE) {
		struct topic_use use = {.is_position = true};

		(void)snprintf(
		    use.name, sizeof(use.name), "%s", settings->kafka.position_topic);
		add_use(list, count, &use);
	}
	if (err == 0)
		*out = list;
	else
		free(list);
	return err;
}

/* ---- what they mean ---- */

const char *const topic_facts_settings[] = {"cleanup.policy", "retention.ms",
    "max.message.bytes", "min.insync.replicas", "message.timestamp.type",
    "message.timestamp.before.max.ms", "message.timestamp.difference.max.ms", NULL};

void
topic_facts_set(struct topic_facts *f, const char *name, const char *value)
{
	long long number = strtoll(value, NULL, 10);

	if (strcmp(name, "cleanup.policy") == 0) {
		f->is_compacted = strstr(value, "compact") != NULL;
		f->is_deleted = strstr(value, "delete") != NULL;
	} else if (strcmp(name, "retention.ms") == 0) {
		f->retention_ms = number;
	} else if (strcmp(name, "max.message.bytes") == 0) {
		f->max_message_bytes = number;
	} else if (strcmp(name, "min.insync.replicas") == 0) {
		f->min_insync_replicas = number;
	} else if (strcmp(name, "message.timestamp.type") == 0) {
		f->is_log_append_time = strcmp(value, "LogAppendTime") == 0;
	} else if (strcmp(name, "message.timestamp.before.max.ms") == 0 ||
		   strcmp(name, "message.timestamp.difference.max.ms") == 0) {
		/* The same limit; where both are told, the tighter one holds. */
		if (f->oldest_time_ms < 0 || number < f->oldest_time_ms)
			f->oldest_time_ms = number;
	}
}

struct verdict {
	struct buffer *text;
	enum check_result result;
	int err;
};

__attribute__((format(printf, 3, 4))) static void
add(struct verdict *v, enum check_result result, const char *format, ...)
{
	char words[400];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(words, sizeof(words), format, args);
	va_end(args);
	v->result = check_worse(v->result, result);
	if (v->err == 0 && v->text->size > 0)
		v->err = buffer_append_str(v->text, "; ");
	if (v->err == 0)
		v->err = buffer_append_str(v->text, words);
}

static void
judge_partitions(
    struct verdict *v, const struct topic_needs *needs, const struct topic_facts *f)
{
	add(v, CHECK_OK, "%d partition%s, %d replica%s", f->partition_count,
	    f->partition_count == 1 ? "" : "s", f->replica_count,
	    f->replica_count == 1 ? "" : "s");
	if (f->leaderless_count > 0)
		add(v, CHECK_FAIL, "%d of the partitions have no leader",
		    f->leaderless_count);
	if (needs->is_acks_all && f->min_insync_replicas > f->replica_count)
		add(v, CHECK_WARN,
		    "min.insync.replicas is %" PRId64
		    ", more than it has replicas: with acks = \"all\" Kafka may take "
		    "nothing",
		    f->min_insync_replicas);
}

static void
judge_key(struct verdict *v, const struct topic_use *use, const struct topic_facts *f)
{
	if (!f->is_compacted)
		return;
	if (use->has_no_key)
		add(v, CHECK_FAIL,
		    "it is compacted, and takes no record without a key: the route's "
		    "key is empty");
	else if (use->may_lack_key)
		add(v, CHECK_WARN,
		    "it is compacted, and takes no record without a key: the route's "
		    "key may be empty");
	else
		add(v, CHECK_OK, "compacted: the latest record of each key stays");
}

/* Kafka deletes by the record's own time, unless it sets that itself. */
static void
judge_retention(struct verdict *v, const struct topic_use *use,
    const struct topic_needs *needs, const struct topic_facts *f)
{
	struct check_text keeps = check_duration(f->retention_ms);
	int64_t oldest_ms = needs->oldest_age_ms;
	bool is_kept_time = !f->is_log_append_time && use->max_age_ms > 0;

	if (!f->is_deleted || f->retention_ms < 0)
		return;
	if (is_kept_time && oldest_ms >= f->retention_ms &&
	    use->max_age_ms > f->retention_ms)
		add(v, CHECK_WARN,
		    "it keeps records for %s by their time, and the oldest that waits "
		    "has waited for %s: such records are deleted soon after they "
		    "arrive",
		    keeps.text, check_duration(oldest_ms).text);
	else if (is_kept_time && use->max_age_ms != INT64_MAX &&
		 use->max_age_ms > f->retention_ms)
		add(v, CHECK_WARN,
		    "it keeps records for %s by their time, and that may be %s old "
		    "when "
		    "they are sent (timestamp_max_age_s): they are deleted too soon",
		    keeps.text, check_duration(use->max_age_ms).text);
	else if (use->is_route && oldest_ms >= f->retention_ms)
		add(v, CHECK_WARN,
		    "it keeps records for %s, less than the oldest that waits has "
		    "waited "
		    "(%s); from their sending on, consumers have %s",
		    keeps.text, check_duration(oldest_ms).text, keeps.text);
	else
		add(v, CHECK_OK, "keeps records for %s", keeps.text);
}

static void
judge_time(struct verdict *v, const struct topic_use *use, const struct topic_facts *f)
{
	if (f->is_log_append_time || f->oldest_time_ms < 0 ||
	    f->oldest_time_ms >= use->max_age_ms)
		return;
	/* Kafka's way to say that there is no limit. */
	if (f->oldest_time_ms == INT64_MAX)
		return;
	add(v, CHECK_WARN,
	    "it refuses record times older than %s: what waits longer is sent a second "
	    "time, with the time of sending",
	    check_duration(f->oldest_time_ms).text);
}

static void
judge_size(
    struct verdict *v, const struct topic_needs *needs, const struct topic_facts *f)
{
	struct check_text limit = check_size((uint64_t)f->max_message_bytes);
	uint64_t bytes = (uint64_t)f->max_message_bytes;

	if (f->max_message_bytes < 0)
		return;
	if (bytes < needs->producer_max_bytes && needs->is_producer_max_given)
		add(v, CHECK_WARN,
		    "it takes records up to %s (max.message.bytes), and the gateway "
		    "sends up to %s and journals up to %s: larger ones become dead "
		    "letters",
		    limit.text, check_size(needs->producer_max_bytes).text,
		    check_size(needs->journal_max_bytes).text);
	else if (bytes < needs->producer_max_bytes && bytes < needs->journal_max_bytes)
		add(v, CHECK_OK,
		    "records up to %s when compressed (max.message.bytes): larger ones "
		    "become dead letters",
		    limit.text);
	else if (needs->producer_max_bytes < needs->journal_max_bytes)
		add(v, CHECK_OK,
		    "records up to %s (the gateway's message.max.bytes; it would take "
		    "%s): larger ones become dead letters",
		    check_size(needs->producer_max_bytes).text, limit.text);
}

/* Nothing in it may ever be deleted but what is followed by a later one of its key. */
static void
judge_position(struct verdict *v, const struct topic_facts *f)
{
	if (f->is_compacted && !f->is_deleted)
		add(v, CHECK_OK, "compacted, for positions");
	else
		add(v, CHECK_WARN,
		    "its cleanup.policy has to be \"compact\" alone: positions are "
		    "deleted, and after that the last batch may come twice");
}

int
topic_judge(const struct topic_use *use, const struct topic_needs *needs,
    const struct topic_facts *facts, struct buffer *text, enum check_result *result)
{
	struct verdict v = {.text = text, .result = CHECK_OK};

	judge_partitions(&v, needs, facts);
	if (facts->is_configured && use->is_position)
		judge_position(&v, facts);
	if (facts->is_configured && (use->is_route || !use->is_position)) {
		judge_key(&v, use, facts);
		judge_retention(&v, use, needs, facts);
		judge_time(&v, use, facts);
		judge_size(&v, needs, facts);
	}
	if (v.err == 0)
		*result = v.result;
	return v.err;
}
