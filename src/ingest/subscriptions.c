/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The set of MQTT subscriptions, from the routes to the journal and back.
 *
 * Invariant: before the broker is asked for anything, the journal holds every filter
 * that the broker may then have, and no identifier of one that is not granted.
 *
 * Failure modes: what cannot be stored before asking is not asked for. An answer that
 * cannot be stored is forgotten with this process: the next one takes a fresh
 * identifier, which at worst journals copies twice.
 */
#include "subscriptions.h"

#include "err.h"
#include "now.h"
#include "topic_filter.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* MQTT 5, 3.8.2.1.2. Past it filters go without an identifier. */
#define MAX_ID 268435455U

/* By rising id, those without one last; the order of the configuration otherwise. */
static void
sort(struct subscriptions *s)
{
	for (size_t i = 1; i < s->count; i++) {
		struct subscription one = s->list[i];
		size_t k = i;

		/* 0 - 1 is the largest number there is. */
		for (; k > 0 && s->list[k - 1].id - 1 > one.id - 1; k--)
			s->list[k] = s->list[k - 1];
		s->list[k] = one;
	}
}

static int
save(struct subscriptions *s)
{
	struct journal_subscriptions stored = {.next_id = s->next_id};
	int err;

	if (!s->is_changed)
		return 0;
	stored.list = calloc(s->count + 1, sizeof(*stored.list));
	if (stored.list == NULL)
		return ERR_NOMEM;
	/* Two passes, because those that are stored with 0 come first. */
	for (size_t i = 0; i < s->count; i++) {
		if (!s->list[i].is_granted || s->list[i].id == 0)
			stored.list[stored.count++].filter = s->list[i].filter;
	}
	for (size_t i = 0; i < s->count; i++) {
		if (s->list[i].is_granted && s->list[i].id != 0)
			stored.list[stored.count++] = (struct journal_subscription){
			    s->list[i].id, s->list[i].filter};
	}
	err = journal_subscriptions_save(s->journal, &stored);
	free(stored.list); /* the filters in it are ours */
	if (err == 0)
		s->is_changed = false;
	return err;
}

static void
save_when_answered(struct subscriptions *s)
{
	for (size_t i = 0; i < s->count; i++) {
		if (s->list[i].mid != 0)
			return;
	}
	(void)save(s); /* the journal has logged it; see above */
}

static struct subscription *
find(struct subscriptions *s, const char *filter)
{
	for (size_t i = 0; i < s->count; i++) {
		if (strcmp(s->list[i].filter, filter) == 0)
			return &s->list[i];
	}
	return NULL;
}

static int
add(struct subscriptions *s, const char *filter, struct subscription **out)
{
	struct subscription *list;
	uint32_t *ids;
	char *copy = strdup(filter);

	list = realloc(s->list, (s->count + 1) * sizeof(*list));
	if (list != NULL)
		s->list = list;
	ids = realloc(s->ids, (s->count + 1) * sizeof(*ids));
	if (ids != NULL)
		s->ids = ids;
	if (copy == NULL || list == NULL || ids == NULL) {
		free(copy);
		return ERR_NOMEM;
	}
	*out = &s->list[s->count++];
	**out = (struct subscription){.filter = copy};
	return 0;
}

/* ---- what others rely on ---- */

/* Where id is in ids, or would be. */
static size_t
place_of_id(const struct subscriptions *s, uint32_t id)
{
	size_t low = 0, high = s->id_count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (s->ids[middle] < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool
is_known(const struct subscriptions *s, uint32_t id)
{
	size_t i = place_of_id(s, id);

	return i < s->id_count && s->ids[i] == id;
}

/* Mostly higher than all before. There is room. */
static void
set_id(struct subscriptions *s, struct subscription *one, uint32_t id)
{
	size_t i = place_of_id(s, id);

	one->id = id;
	if (id == 0)
		return;
	memmove(&s->ids[i + 1], &s->ids[i], (s->id_count - i) * sizeof(*s->ids));
	s->ids[i] = id;
	s->id_count++;
}

static void
clear_id(struct subscriptions *s, struct subscription *one)
{
	size_t i = place_of_id(s, one->id);

	if (one->id != 0) {
		s->id_count--;
		memmove(
		    &s->ids[i], &s->ids[i + 1], (s->id_count - i) * sizeof(*s->ids));
	}
	one->id = 0;
}

static void
drop_at(struct subscriptions *s, size_t i)
{
	clear_id(s, &s->list[i]);
	free(s->list[i].filter);
	s->count--;
	memmove(&s->list[i], &s->list[i + 1], (s->count - i) * sizeof(*s->list));
	s->is_changed = true;
}

/* $share: what it gets depends on the other members of its group. */
static void
note_reliance(struct subscriptions *s, const struct subscription *one)
{
	bool is_relied_on = one->is_granted && !topic_filter_is_shared(one->filter);

	if (one->is_wanted)
		s->relied_on[one->owner] = is_relied_on ? one->id : 0;
}

static int
want(struct subscriptions *s, struct subscription *one)
{
	uint32_t *relied_on =
	    realloc(s->relied_on, (s->owner_count + 1) * sizeof(*relied_on));

	if (relied_on == NULL)
		return ERR_NOMEM;
	s->relied_on = relied_on;
	one->owner = (uint32_t)s->owner_count++;
	one->is_wanted = true;
	note_reliance(s, one);
	return topic_matcher_add(s->matcher, one->filter, one->owner);
}

/* ---- putting it together ---- */

/* Of two that cover each other the first one stays. */
static bool
is_covered(const struct settings *settings, size_t route, size_t index)
{
	const char *filter = settings->routes[route].topic_filters[index];

	for (size_t r = 0; r < settings->route_count; r++) {
		for (size_t f = 0; f < settings->routes[r].topic_filter_count; f++) {
			const char *other = settings->routes[r].topic_filters[f];
			bool is_before = r < route || (r == route && f < index);

			if (strcmp(other, filter) == 0)
				continue;
			if (topic_filter_covers(other, filter) &&
			    (is_before || !topic_filter_covers(filter, other)))
				return true;
		}
	}
	return false;
}

/*
 * shared:    only those, or only the others. The others come first, so that they are
 *            older and the copy by a shared one can be told to be surplus.
 */
static int
add_wanted(struct subscriptions *s, const struct settings *settings, bool shared)
{
	for (size_t r = 0; r < settings->route_count; r++) {
		const struct settings_route *route = &settings->routes[r];

		for (size_t f = 0; f < route->topic_filter_count; f++) {
			const char *filter = route->topic_filters[f];
			struct subscription *one = find(s, filter);
			int err = 0;

			if (topic_filter_is_shared(filter) != shared ||
			    is_covered(settings, r, f))
				continue;
			if (one == NULL) {
				err = add(s, filter, &one);
				s->is_changed = true;
			}
			if (err == 0 && !one->is_wanted)
				err = want(s, one);
			if (err != 0)
				return err;
		}
	}
	return 0;
}

int
subscriptions_init(
    struct subscriptions *s, const struct settings *settings, struct journal *j)
{
	struct journal_subscriptions stored = {0};
	int err;

	*s = (struct subscriptions){.journal = j};
	err = journal_subscriptions_load(j, &stored);
	if (err != 0)
		return err;
	s->next_id = stored.next_id;
	err = topic_matcher_open(&s->matcher);
	for (size_t i = 0; i < stored.count && err == 0; i++) {
		struct subscription *one;

		err = add(s, stored.list[i].filter, &one);
		if (err == 0) {
			set_id(s, one, stored.list[i].id);
			one->is_granted = one->id != 0;
		}
	}
	journal_subscriptions_fini(&stored);
	if (err == 0)
		err = add_wanted(s, settings, false);
	if (err == 0)
		err = add_wanted(s, settings, true);
	if (err != 0)
		subscriptions_fini(s);
	return err;
}

void
subscriptions_fini(struct subscriptions *s)
{
	for (size_t i = 0; i < s->count; i++)
		free(s->list[i].filter);
	free(s->list);
	free(s->relied_on);
	free(s->ids);
	topic_matcher_close(s->matcher);
	*s = (struct subscriptions){0};
}

static void
forget_id(struct subscriptions *s, struct subscription *one)
{
	if (one->id != 0 || one->is_granted)
		s->is_changed = true;
	clear_id(s, one);
	one->is_granted = false;
	note_reliance(s, one);
}

/*
 * The broker has a session of ours, of which this journal knows nothing: another journal
 * was here before. Messages with its identifiers may wait, so ours begin far away.
 */
static void
begin_far_away(struct subscriptions *s)
{
	uint32_t random = 0;

	/* Cannot fail for 4 bytes, but for a kernel that has not got it. */
	if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
		random = (uint32_t)now_real_ms();
	s->next_id = 65536 + random % (MAX_ID / 2);
	s->is_changed = true;
}

int
subscriptions_begin(struct subscriptions *s, bool session_present, bool with_ids)
{
	for (size_t i = 0; i < s->count; i++) {
		s->list[i].mid = 0;
		/* Not even while it is still subscribed to does it make other copies
		 * surplus: the answer to UNSUBSCRIBE may be lost. */
		if (!session_present || !s->list[i].is_wanted)
			forget_id(s, &s->list[i]);
	}
	for (size_t i = s->count; i > 0 && !session_present; i--) {
		if (!s->list[i - 1].is_wanted)
			drop_at(s, i - 1);
	}
	if (session_present && s->next_id == 1)
		begin_far_away(s);
	return subscriptions_renew(s, with_ids);
}

int
subscriptions_renew(struct subscriptions *s, bool with_ids)
{
	for (size_t i = 0; i < s->count; i++) {
		struct subscription *one = &s->list[i];

		if (!one->is_wanted || one->mid != 0)
			continue;
		if (one->is_granted && (one->id != 0 || !with_ids))
			continue;
		forget_id(s, one);
		if (with_ids && s->next_id <= MAX_ID) {
			set_id(s, one, s->next_id++);
			s->is_changed = true;
		}
	}
	sort(s);
	return save(s);
}

struct subscription *
subscriptions_by_mid(struct subscriptions *s, int mid)
{
	for (size_t i = 0; i < s->count; i++) {
		if (mid != 0 && s->list[i].mid == mid)
			return &s->list[i];
	}
	return NULL;
}

void
subscriptions_granted(struct subscriptions *s, struct subscription *one)
{
	one->mid = 0;
	if (!one->is_granted)
		s->is_changed = true;
	one->is_granted = true;
	note_reliance(s, one);
	save_when_answered(s);
}

void
subscriptions_refused(struct subscriptions *s, struct subscription *one)
{
	one->mid = 0;
	forget_id(s, one);
	save_when_answered(s);
}

/* It delivers, by its identifier, but others must not rely on it. */
void
subscriptions_lowered(struct subscriptions *s, struct subscription *one)
{
	one->mid = 0;
	if (one->is_granted)
		s->is_changed = true;
	one->is_granted = false;
	note_reliance(s, one);
	save_when_answered(s);
}

void
subscriptions_removed(struct subscriptions *s, struct subscription *one)
{
	drop_at(s, (size_t)(one - s->list));
	save_when_answered(s);
}

bool
subscriptions_are_granted(const struct subscriptions *s)
{
	for (size_t i = 0; i < s->count; i++) {
		const struct subscription *one = &s->list[i];

		if (one->mid != 0 || (one->is_wanted && !one->is_granted))
			return false;
	}
	return true;
}

bool
subscriptions_match(const struct subscriptions *s, struct bytes topic)
{
	const uint32_t *owners;
	size_t owner_count;

	topic_matcher_match(s->matcher, topic, &owners, &owner_count);
	return owner_count > 0;
}

bool
subscriptions_want(const struct subscriptions *s, const char *filter)
{
	for (size_t i = 0; i < s->count; i++) {
		if (s->list[i].is_wanted && strcmp(s->list[i].filter, filter) == 0)
			return true;
	}
	return false;
}

bool
subscriptions_is_surplus(const struct subscriptions *s, const uint32_t ids[],
    size_t count, struct bytes topic)
{
	uint32_t oldest = MAX_ID;
	const uint32_t *owners;
	size_t owner_count;

	if (count == 0)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (!is_known(s, ids[i]))
			return false;
		oldest = ids[i] < oldest ? ids[i] : oldest;
	}
	topic_matcher_match(s->matcher, topic, &owners, &owner_count);
	for (size_t i = 0; i < owner_count; i++) {
		uint32_t id = s->relied_on[owners[i]];

		if (id != 0 && id < oldest)
			return true;
	}
	return false;
}
