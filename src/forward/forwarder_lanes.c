/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a forwarder is made of when it opens: the matcher, the reading ahead, and a lane
 * for each route with what the journal knows of it.
 *
 * Invariant: a lane whose filters were changed goes back, or what they did not match
 * before would be past all lanes, and nobody would have it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "forwarder_parts.h"

#define RUN_BYTES_USUAL ((uint64_t)64 * 1024)
#define PINNED_RUNS_MIN 2

/* All filters of all routes, so that a record is matched once. */
int
forwarder_open_matcher(struct forwarder *f, const struct forwarder_options *o)
{
	int err = topic_matcher_open(&f->matcher);

	for (size_t i = 0; i < o->route_count && err == 0; i++) {
		const struct settings_route *s = route_settings(o->routes[i]);

		for (size_t k = 0; k < s->topic_filter_count && err == 0; k++)
			err = topic_matcher_add(
			    f->matcher, s->topic_filters[k], (uint32_t)i);
	}
	return err;
}

int
forwarder_open_readahead(struct forwarder *f, const struct forwarder_options *o)
{
	uint64_t runs = o->buffer_max_bytes / RUN_BYTES_USUAL;
	const struct readahead_options options = {
	    .journal = f->journal,
	    .matcher = f->matcher,
	    .names = f->route_names,
	    .route_count = o->route_count,
	    .reader_max = f->lane_count,
	    .pin_max = runs < PINNED_RUNS_MIN ? PINNED_RUNS_MIN : (size_t)runs,
	};

	return readahead_open(&f->readahead, &options);
}

/* What the settings of its route ask of a lane. */
static void
apply_settings(struct lane *lane, const struct forwarder_options *o)
{
	const struct settings_route *s = route_settings(lane->route);

	lane->is_off = !s->enabled;
	if (lane->is_off)
		log_event(LOG_LEVEL_INFO, LOG_DELIVERY,
		    &(struct log_details){.route = lane->name},
		    "route %s is switched off in the configuration: the journal keeps "
		    "what is for it, from %llu on",
		    lane->name, (unsigned long long)lane->acked_seq + 1);
	if (s->on_reject != SETTINGS_REJECT_BURY)
		return;
	lane->refusals_max = o->retries > 0 ? (unsigned)o->retries : 0;
	if (o->retries < 0)
		log_event(LOG_LEVEL_WARNING, LOG_DELIVERY,
		    &(struct log_details){.route = lane->name},
		    "route %s: on_reject = \"bury\" without kafka.retries never "
		    "buries: "
		    "the route holds as with \"hold\"",
		    lane->name);
}

/* Filters hold no control characters: a line each. */
static int
join_filters(char **out, const struct settings_route *s)
{
	struct buffer text = {0};
	int err = 0;

	for (size_t k = 0; k < s->topic_filter_count && err == 0; k++)
		err = buffer_printf(&text, "%s\n", s->topic_filters[k]);
	if (err == 0)
		err = buffer_append(&text, "", 1);
	if (err != 0)
		buffer_fini(&text);
	*out = (char *)text.data;
	return err;
}

/* The filters of which a position in Kafka may speak: those of now, and before. */
static int
note_filters(struct lane *lane, const struct journal_passed *passed)
{
	char *text = NULL;
	int err;

	snprintf(lane->place.name, sizeof(lane->place.name), "%s", lane->name);
	err = join_filters(&text, route_settings(lane->route));

	if (err == 0)
		lane->asked = position_hash((struct bytes){text, strlen(text)});
	if (passed->asked != NULL && passed->asked[0] != '\0')
		lane->passed_asked =
		    position_hash((struct bytes){passed->asked, strlen(passed->asked)});
	free(text);
	return err;
}

/* Cuts the text up. */
static int
open_passed(
    const struct forwarder *f, struct lane *lane, const struct journal_passed *passed)
{
	/* A position may tell that there was more than the journal knows. */
	bool may_rise = f->sink->ops->commit != NULL && passed->asked != NULL;
	char *rest, *filter;
	int err;

	if (passed->until_seq <= lane->acked_seq && !may_rise)
		return 0;
	err = topic_matcher_open(&lane->passed_filters);
	filter = strtok_r(passed->asked, "\n", &rest);
	for (; filter != NULL && err == 0; filter = strtok_r(NULL, "\n", &rest))
		err = topic_matcher_add(lane->passed_filters, filter, 0);
	if (err != 0 || passed->until_seq <= lane->acked_seq)
		return err;
	lane->passed_seq = passed->until_seq;
	log_event(LOG_LEVEL_INFO, LOG_DELIVERY,
	    &(struct log_details){
		.route = lane->name, .counts = {{"acked_seq", lane->acked_seq}}},
	    "route %s: its filters were changed: of what lies between %llu and %llu it "
	    "delivers what they did not match before",
	    lane->name, (unsigned long long)lane->acked_seq,
	    (unsigned long long)passed->until_seq + 1);
	return 0;
}

/*
 * A lane whose filters were changed may have passed what they match now. It goes back,
 * or that would be past all lanes, and nobody would have it.
 */
static int
ask_for_filters(struct forwarder *f, const struct forwarder_options *o,
    struct journal_passed *passed)
{
	char **asked = calloc(f->lane_count, sizeof(*asked));
	int err = asked == NULL ? ERR_NOMEM : 0;

	for (size_t i = 0; i < o->route_count && err == 0; i++)
		err = join_filters(&asked[i], route_settings(o->routes[i]));
	if (err == 0)
		err = journal_routes_ask(
		    f->journal, (const char *const *)asked, f->acked_seq, passed);
	for (size_t i = 0; asked != NULL && i < o->route_count; i++)
		free(asked[i]);
	free(asked);
	return err;
}

/*
 * What was put away before its route's position was recorded must not be delivered as
 * well, now that Kafka may take it.
 */
static int
find_buried(struct forwarder *f)
{
	struct journal_dead d = {.seq = UINT64_MAX};
	int err;

	for (size_t i = 0; i < f->lane_count; i++) {
		if (f->lanes[i].acked_seq < d.seq)
			d.seq = f->lanes[i].acked_seq;
	}
	err = journal_dead_next(f->journal, &d);
	while (err == 0) {
		for (size_t i = 0; i < f->lane_count; i++) {
			struct lane *lane = &f->lanes[i];

			if (d.seq > lane->acked_seq &&
			    strcmp(lane->name, (const char *)d.route.data) == 0)
				lane->buried_seq = d.seq;
		}
		err = journal_dead_next(f->journal, &d);
	}
	journal_dead_fini(&d);
	/* A damaged one is no reason to deliver nothing at all. */
	return err == ERR_NOTFOUND || err == ERR_CORRUPT ? 0 : err;
}

int
forwarder_open_lanes(struct forwarder *f, const struct forwarder_options *o)
{
	struct journal_passed *passed = calloc(f->lane_count, sizeof(*passed));
	const char **names = calloc(f->lane_count, sizeof(*names));
	int err = ERR_NOMEM;

	if (names == NULL || passed == NULL)
		goto end;
	for (size_t i = 0; i < o->route_count; i++)
		names[i] = route_name(o->routes[i]);
	names[o->route_count] = FORWARDER_UNROUTED;
	err = journal_routes_set(f->journal, names, f->lane_count, f->acked_seq);
	if (err == 0)
		err = ask_for_filters(f, o, passed);
	for (size_t i = 0; i < f->lane_count && err == 0; i++)
		err = lane_init(&f->lanes[i], names[i],
		    i < o->route_count ? o->routes[i] : NULL, &f->room,
		    f->acked_seq[i]);
	for (size_t i = 0; i < f->lane_count; i++) {
		f->lanes[i].topics = o->topics;
		f->lanes[i].latency = o->latency;
	}
	for (size_t i = 0; i < o->route_count && err == 0; i++)
		err = note_filters(&f->lanes[i], &passed[i]);
	for (size_t i = 0; i < o->route_count && err == 0; i++)
		err = open_passed(f, &f->lanes[i], &passed[i]);
	for (size_t i = 0; i < o->route_count && err == 0; i++)
		apply_settings(&f->lanes[i], o);
	if (err == 0)
		err = find_buried(f);
end:
	for (size_t i = 0; passed != NULL && i < f->lane_count; i++)
		free(passed[i].asked);
	free(passed);
	free(names);
	return err;
}
