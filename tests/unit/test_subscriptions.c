/* SPDX-License-Identifier: Apache-2.0 */
/* subscriptions_init() and _fini() stand for the start and the end of a process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/tmpdir.h"
#include "err.h"
#include "subscriptions.h"

struct fixture {
	struct journal *journal;
	struct subscriptions set;
	char *filters[4];
	struct settings_route route;
	struct settings settings;
};

/* One route with these filters, NULL-terminated. */
static void
configure(struct fixture *f, const char *const filters[])
{
	f->route = (struct settings_route){.topic_filters = f->filters};
	f->settings = (struct settings){.routes = &f->route, .route_count = 1};
	for (size_t i = 0; filters[i] != NULL; i++) {
		memcpy(&f->filters[i], &filters[i], sizeof(char *));
		f->route.topic_filter_count++;
	}
}

static void
start(struct fixture *f, const char *const filters[])
{
	configure(f, filters);
	assert_int_equal(subscriptions_init(&f->set, &f->settings, f->journal), 0);
}

static void
begin(struct fixture *f, const char *directory, const char *const filters[])
{
	struct journal_options options = {.directory = directory,
	    .gateway_id = "test",
	    .max_bytes = 1 << 20,
	    .dead_max_bytes = 1 << 16};

	memset(f, 0, sizeof(*f));
	assert_int_equal(journal_open(&f->journal, JOURNAL_INGEST, &options), 0);
	start(f, filters);
}

static void
restart(struct fixture *f, const char *const filters[])
{
	subscriptions_fini(&f->set);
	start(f, filters);
}

static void
end(struct fixture *f)
{
	subscriptions_fini(&f->set);
	journal_close(f->journal);
}

static struct subscription *
find(struct fixture *f, const char *filter)
{
	size_t i = 0;

	while (i + 1 < f->set.count && strcmp(f->set.list[i].filter, filter) != 0)
		i++;
	assert_string_equal(f->set.list[i].filter, filter);
	return &f->set.list[i];
}

static uint32_t
id_of(struct fixture *f, const char *filter)
{
	return find(f, filter)->id;
}

/* The broker grants all that is wanted. */
static void
grant_all(struct fixture *f)
{
	for (size_t i = 0; i < f->set.count; i++)
		f->set.list[i].mid = (int)i + 1;
	for (size_t i = 0; i < f->set.count; i++)
		subscriptions_granted(
		    &f->set, subscriptions_by_mid(&f->set, (int)i + 1));
}

static void
connect_and_grant(struct fixture *f, bool session_present)
{
	assert_int_equal(subscriptions_begin(&f->set, session_present, true), 0);
	grant_all(f);
}

static bool
is_surplus(struct fixture *f, uint32_t id, const char *topic)
{
	return subscriptions_is_surplus(
	    &f->set, &id, 1, (struct bytes){topic, strlen(topic)});
}

static const char *const two[] = {"a/+", "+/b", NULL};
static const char *const first_only[] = {"a/+", NULL};
static const char *const second_only[] = {"+/b", NULL};

static void
covered_filters_are_not_wanted(void **state)
{
	static const char *const filters[] = {"a/b", "a/#", "a/+", NULL};
	static const char *const same[] = {"+/#", "#", "#", NULL};
	struct fixture f;

	begin(&f, *state, filters);
	assert_int_equal(f.set.count, 1);
	assert_string_equal(f.set.list[0].filter, "a/#");
	restart(&f, same);
	assert_int_equal(f.set.count, 1); /* the one that covers is kept, the first */
	assert_string_equal(f.set.list[0].filter, "+/#");
	end(&f);
}

static void
a_granted_identifier_stays(void **state)
{
	struct fixture f;

	begin(&f, *state, two);
	connect_and_grant(&f, false);
	assert_int_equal(id_of(&f, "a/+"), 1);
	assert_int_equal(id_of(&f, "+/b"), 2);
	connect_and_grant(&f, true);
	assert_int_equal(id_of(&f, "a/+"), 1);
	restart(&f, two);
	assert_int_equal(subscriptions_begin(&f.set, true, true), 0);
	assert_int_equal(id_of(&f, "a/+"), 1);
	assert_int_equal(id_of(&f, "+/b"), 2);
	assert_true(is_surplus(&f, 2, "a/b"));
	end(&f);
}

static void
an_answer_that_never_came_costs_the_identifier(void **state)
{
	struct fixture f;

	begin(&f, *state, two);
	assert_int_equal(subscriptions_begin(&f.set, false, true), 0);
	/* Both asked for, then the connection is lost: what became of it? */
	assert_int_equal(subscriptions_begin(&f.set, true, true), 0);
	assert_int_equal(id_of(&f, "a/+"), 3);
	restart(&f, two);
	assert_int_equal(subscriptions_begin(&f.set, true, true), 0);
	assert_int_equal(id_of(&f, "a/+"), 5);
	assert_int_equal(id_of(&f, "+/b"), 6);
	assert_false(is_surplus(&f, 2, "a/b"));
	end(&f);
}

static void
a_lost_session_costs_all_identifiers(void **state)
{
	struct fixture f;

	begin(&f, *state, two);
	connect_and_grant(&f, false);
	assert_int_equal(subscriptions_begin(&f.set, false, true), 0);
	assert_int_equal(id_of(&f, "a/+"), 3);
	assert_int_equal(id_of(&f, "+/b"), 4);
	assert_false(is_surplus(&f, 4, "a/b")); /* not granted yet */
	end(&f);
}

static void
only_the_oldest_copy_is_kept(void **state)
{
	static const uint32_t both[] = {2, 1}, unknown[] = {2, 9};
	struct bytes topic = {"a/b", 3};
	struct fixture f;

	begin(&f, *state, two);
	connect_and_grant(&f, false);
	assert_false(is_surplus(&f, 1, "a/b"));
	assert_true(is_surplus(&f, 2, "a/b"));
	assert_false(is_surplus(&f, 2, "c/b")); /* the other does not match */
	assert_false(is_surplus(&f, 9, "a/b")); /* not one of ours, so not judged */
	assert_false(subscriptions_is_surplus(&f.set, NULL, 0, topic));
	/* One copy for both: a broker may do that too. */
	assert_false(subscriptions_is_surplus(&f.set, both, 2, topic));
	assert_false(subscriptions_is_surplus(&f.set, unknown, 2, topic));
	end(&f);
}

/* What the broker queued for the old filter before the new one came is not surplus. */
static void
a_newer_filter_takes_nothing_from_an_older(void **state)
{
	struct fixture f;

	begin(&f, *state, second_only);
	connect_and_grant(&f, false);
	restart(&f, two);
	connect_and_grant(&f, true);
	assert_int_equal(id_of(&f, "+/b"), 1);
	assert_int_equal(id_of(&f, "a/+"), 2);
	assert_string_equal(f.set.list[0].filter, "+/b"); /* asked for first */
	assert_false(is_surplus(&f, 1, "a/b"));
	assert_true(is_surplus(&f, 2, "a/b"));
	end(&f);
}

static void
a_refused_filter_makes_nothing_surplus(void **state)
{
	struct fixture f;

	begin(&f, *state, two);
	assert_int_equal(subscriptions_begin(&f.set, false, true), 0);
	find(&f, "a/+")->mid = 1;
	find(&f, "+/b")->mid = 2;
	subscriptions_refused(&f.set, subscriptions_by_mid(&f.set, 1));
	subscriptions_granted(&f.set, subscriptions_by_mid(&f.set, 2));
	assert_null(subscriptions_by_mid(&f.set, 1));
	assert_false(is_surplus(&f, 2, "a/b"));
	/* Granted later, it is the younger one: copies of "+/b" that wait at the broker
	 * have no other copy. */
	assert_int_equal(subscriptions_renew(&f.set, true), 0);
	assert_int_equal(id_of(&f, "a/+"), 3);
	assert_int_equal(id_of(&f, "+/b"), 2);
	grant_all(&f);
	assert_false(is_surplus(&f, 2, "a/b"));
	assert_true(is_surplus(&f, 3, "a/b"));
	end(&f);
}

static void
a_lowered_filter_makes_nothing_surplus(void **state)
{
	struct fixture f;

	begin(&f, *state, two);
	connect_and_grant(&f, false);
	subscriptions_lowered(&f.set, find(&f, "a/+"));
	assert_false(is_surplus(&f, 2, "a/b"));
	restart(&f, two);
	assert_int_equal(subscriptions_begin(&f.set, true, true), 0);
	assert_int_equal(id_of(&f, "a/+"), 3);
	end(&f);
}

static void
a_filter_that_left_is_remembered_until_the_broker_forgets_it(void **state)
{
	struct fixture f;

	begin(&f, *state, two);
	connect_and_grant(&f, false);
	restart(&f, second_only);
	assert_int_equal(subscriptions_begin(&f.set, true, true), 0);
	assert_false(find(&f, "a/+")->is_wanted);
	assert_false(is_surplus(&f, 2, "a/b")); /* it may be gone at any moment */
	/* It comes back without an answer: it may have been gone in between. */
	restart(&f, two);
	assert_int_equal(subscriptions_begin(&f.set, true, true), 0);
	assert_int_equal(id_of(&f, "a/+"), 3);
	grant_all(&f);
	restart(&f, second_only);
	assert_int_equal(subscriptions_begin(&f.set, true, true), 0);
	subscriptions_removed(&f.set, find(&f, "a/+"));
	restart(&f, second_only);
	assert_int_equal(f.set.count, 1);
	end(&f);
}

static void
a_lost_session_has_nothing_to_forget(void **state)
{
	struct fixture f;

	begin(&f, *state, two);
	connect_and_grant(&f, false);
	restart(&f, first_only);
	assert_int_equal(subscriptions_begin(&f.set, false, true), 0);
	assert_int_equal(f.set.count, 1);
	assert_string_equal(f.set.list[0].filter, "a/+");
	end(&f);
}

static void
all_is_granted_when_nothing_is_missing_or_refused(void **state)
{
	struct fixture f;

	begin(&f, *state, two);
	assert_false(subscriptions_are_granted(&f.set));
	assert_int_equal(subscriptions_begin(&f.set, false, true), 0);
	f.set.list[0].mid = 1;
	f.set.list[1].mid = 2;
	subscriptions_granted(&f.set, &f.set.list[0]);
	assert_false(subscriptions_are_granted(&f.set));
	subscriptions_refused(&f.set, &f.set.list[1]);
	assert_false(subscriptions_are_granted(&f.set));
	subscriptions_granted(&f.set, &f.set.list[1]);
	assert_true(subscriptions_are_granted(&f.set));
	/* One that left counts as long as its answer is missing. */
	restart(&f, second_only);
	connect_and_grant(&f, true);
	find(&f, "a/+")->mid = 7;
	assert_false(subscriptions_are_granted(&f.set));
	subscriptions_removed(&f.set, find(&f, "a/+"));
	assert_true(subscriptions_are_granted(&f.set));
	end(&f);
}

static void
filter_that_left_matches_nothing_more(void **state)
{
	struct fixture f;
	const struct bytes topic = {"a/x", 3};

	begin(&f, *state, two);
	connect_and_grant(&f, false);
	assert_true(subscriptions_match(&f.set, topic));
	assert_true(subscriptions_want(&f.set, "a/+"));
	assert_false(subscriptions_want(&f.set, "a/x"));
	restart(&f, second_only);
	assert_false(subscriptions_match(&f.set, topic));
	assert_false(subscriptions_want(&f.set, "a/+"));
	end(&f);
}

static void
shared_subscriptions_make_nothing_surplus(void **state)
{
	static const char *const filters[] = {"$share/g/a/#", "a/b", NULL};
	struct fixture f;

	begin(&f, *state, filters);
	connect_and_grant(&f, false);
	assert_int_equal(f.set.count, 2);
	/* Of the shared one another member may have got the copy. */
	assert_false(is_surplus(&f, find(&f, "a/b")->id, "a/b"));
	end(&f);
}

static void
a_shared_copy_is_surplus_beside_an_unshared_one(void **state)
{
	static const char *const filters[] = {"$share/g/a/#", "a/b", NULL};
	struct fixture f;
	uint32_t id;

	begin(&f, *state, filters);
	connect_and_grant(&f, false);
	id = find(&f, "$share/g/a/#")->id;
	assert_true(is_surplus(&f, id, "a/b"));
	assert_false(is_surplus(&f, id, "a/c"));
	end(&f);
}

/* A thousand of one shape, each covered for half of its topics by a younger one. */
static void
a_thousand_filters(void **state)
{
	enum { COUNT = 1000 };
	static char texts[COUNT][32];
	static char *filters[COUNT + 1];
	static const char *const one[] = {"before/#", NULL};
	struct fixture f;

	begin(&f, *state, one);
	subscriptions_fini(&f.set);
	for (size_t i = 0; i < COUNT; i++) {
		snprintf(texts[i], sizeof(texts[i]), "plant/dev-%zu/+", i);
		filters[i] = texts[i];
	}
	memcpy(texts[COUNT / 2], "plant/+/t", sizeof("plant/+/t"));
	f.route.topic_filters = filters;
	f.route.topic_filter_count = COUNT;
	assert_int_equal(subscriptions_init(&f.set, &f.settings, f.journal), 0);
	connect_and_grant(&f, false);
	assert_int_equal(f.set.count, COUNT); /* and the one of before is forgotten */
	for (uint32_t id = 1; id <= COUNT; id++) {
		bool is_wide = id == COUNT / 2 + 1;

		assert_string_equal(f.set.list[id - 1].filter, texts[id - 1]);
		assert_int_equal(f.set.list[id - 1].id, id);
		snprintf(texts[0], sizeof(texts[0]), "plant/dev-%u/t", id - 1);
		/* The younger have another copy, of the wide one. */
		assert_int_equal(is_surplus(&f, id, texts[0]), id > COUNT / 2 + 1);
		if (!is_wide && id > 1)
			assert_true(is_surplus(&f, COUNT / 2 + 1, texts[0]) ==
				    (id <= COUNT / 2));
		snprintf(texts[0], sizeof(texts[0]), "plant/dev-%u/u", id - 1);
		assert_false(is_surplus(&f, id, texts[0]));
		memcpy(texts[0], "plant/dev-0/+", sizeof("plant/dev-0/+"));
	}
	assert_false(is_surplus(&f, COUNT + 1, "plant/dev-1/t"));
	/* One is lost, all others stay as they are. */
	subscriptions_refused(&f.set, find(&f, "plant/+/t"));
	assert_false(is_surplus(&f, COUNT / 2 + 1, "plant/dev-1/t"));
	assert_false(is_surplus(&f, COUNT, "plant/dev-999/t"));
	assert_int_equal(subscriptions_renew(&f.set, true), 0);
	assert_int_equal(id_of(&f, "plant/+/t"), COUNT + 1);
	grant_all(&f);
	assert_true(is_surplus(&f, COUNT + 1, "plant/dev-1/t"));
	assert_true(is_surplus(&f, COUNT + 1, "plant/dev-999/t"));
	assert_false(is_surplus(&f, COUNT, "plant/dev-999/t"));
	end(&f);
}

static void
without_identifiers_nothing_is_surplus(void **state)
{
	struct fixture f;

	begin(&f, *state, two);
	assert_int_equal(subscriptions_begin(&f.set, false, false), 0);
	grant_all(&f);
	assert_int_equal(id_of(&f, "a/+"), 0);
	assert_false(is_surplus(&f, 0, "a/b"));
	/* The broker learns MQTT 5. */
	assert_int_equal(subscriptions_begin(&f.set, true, true), 0);
	assert_int_not_equal(id_of(&f, "a/+"), 0);
	end(&f);
}

static void
a_new_journal_keeps_off_the_identifiers_of_an_old_session(void **state)
{
	struct fixture f;

	begin(&f, *state, two);
	connect_and_grant(&f, true);
	assert_true(id_of(&f, "a/+") >= 65536);
	assert_int_equal(id_of(&f, "+/b"), id_of(&f, "a/+") + 1);
	end(&f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tmpdir_setup, tmpdir_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(covered_filters_are_not_wanted),
	    TEST(a_granted_identifier_stays),
	    TEST(an_answer_that_never_came_costs_the_identifier),
	    TEST(a_lost_session_costs_all_identifiers),
	    TEST(only_the_oldest_copy_is_kept),
	    TEST(a_newer_filter_takes_nothing_from_an_older),
	    TEST(a_refused_filter_makes_nothing_surplus),
	    TEST(a_lowered_filter_makes_nothing_surplus),
	    TEST(a_filter_that_left_is_remembered_until_the_broker_forgets_it),
	    TEST(a_lost_session_has_nothing_to_forget),
	    TEST(a_thousand_filters),
	    TEST(all_is_granted_when_nothing_is_missing_or_refused),
	    TEST(filter_that_left_matches_nothing_more),
	    TEST(shared_subscriptions_make_nothing_surplus),
	    TEST(a_shared_copy_is_surplus_beside_an_unshared_one),
	    TEST(without_identifiers_nothing_is_surplus),
	    TEST(a_new_journal_keeps_off_the_identifiers_of_an_old_session),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
