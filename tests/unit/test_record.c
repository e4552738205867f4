/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/records.h"
#include "err.h"
#include "record.h"

static int
decoder_setup(void **state)
{
	struct record_decoder *d;
	int err = record_decoder_open(&d);

	*state = d;
	return err;
}

static int
decoder_teardown(void **state)
{
	record_decoder_close(*state);
	return 0;
}

static void
assert_survives(struct record_decoder *d, const struct record *r)
{
	struct buffer stored = {0};
	struct record back;
	size_t offset = 0;

	assert_int_equal(record_encode(r, &stored), 0);
	assert_int_equal(record_decode(d, stored.data, stored.size, &offset, &back), 0);
	assert_int_equal(offset, stored.size);
	records_assert_equal(r, &back);
	buffer_fini(&stored);
}

static void
full_record_survives(void **state)
{
	struct record r;

	records_full(&r);
	assert_survives(*state, &r);
}

static void
empty_is_not_absent(void **state)
{
	struct record r;

	records_plain(&r, "", "");
	assert_survives(*state, &r);
	r.content_type = (struct bytes){"", 0};
	r.response_topic = (struct bytes){"", 0};
	r.correlation_data = (struct bytes){"", 0};
	assert_survives(*state, &r);
}

static void
random_records_survive_one_after_another(void **state)
{
	enum { COUNT = 200 };
	uint64_t seed = records_seed();

	for (int round = 0; round < 20; round++) {
		uint64_t again = seed;
		struct record back[COUNT];
		struct buffer stored = {0};
		struct record r;
		size_t offset = 0;

		record_decoder_reset(*state);
		for (int i = 0; i < COUNT; i++) {
			records_random(&seed, &r);
			assert_int_equal(record_encode(&r, &stored), 0);
		}
		for (int i = 0; i < COUNT; i++)
			assert_int_equal(record_decode(*state, stored.data, stored.size,
					     &offset, &back[i]),
			    0);
		assert_int_equal(offset, stored.size);
		/* All of them are still valid, also those decoded first. */
		for (int i = 0; i < COUNT; i++) {
			records_random(&again, &r);
			records_assert_equal(&r, &back[i]);
		}
		buffer_fini(&stored);
	}
}

static void
many_user_properties_keep_their_order(void **state)
{
	enum { COUNT = 70000 }; /* more than 16 bits count, twice */
	struct user_property *properties = calloc(COUNT, sizeof(*properties));
	struct record r;

	assert_non_null(properties);
	for (size_t i = 0; i < COUNT; i++) {
		properties[i].name = (struct bytes){"n", i % 2};
		properties[i].value = (struct bytes){"0123456789", i % 11};
	}
	records_plain(&r, "t", "p");
	r.user_properties = properties;
	r.user_property_count = COUNT;
	assert_survives(*state, &r);
	record_decoder_reset(*state);
	assert_survives(*state, &r);
	free(properties);
}

static void
stored_form_is_as_documented(void **state)
{
	static const uint8_t expected[] = {0x84, 0x00, 0x01, 0x01, 0xc4, 0x03, 'a', '/',
	    'b', 0x02, 0xc4, 0x02, 'h', 'i', 0x03, 0x01};
	struct buffer stored = {0};
	struct record r;

	(void)state;
	records_plain(&r, "a/b", "hi");
	r.received_ms = 1;
	assert_int_equal(record_encode(&r, &stored), 0);
	assert_int_equal(stored.size, sizeof(expected));
	assert_memory_equal(stored.data, expected, sizeof(expected));
	buffer_fini(&stored);
}

static void
stored_form_of_a_requeued_one_is_as_documented(void **state)
{
	static const uint8_t expected[] = {0x86, 0x00, 0x01, 0x01, 0xc4, 0x03, 'a', '/',
	    'b', 0x02, 0xc4, 0x02, 'h', 'i', 0x03, 0x01, /* as above */
	    0x0c, 0xc4, 0x01, 'r', 0x0d, 0xcd, 0x12, 0x67};
	struct buffer stored = {0};
	struct record r;

	records_plain(&r, "a/b", "hi");
	r.received_ms = 1;
	r.route = BYTES("r");
	r.requeued_from = 4711;
	assert_int_equal(record_encode(&r, &stored), 0);
	assert_int_equal(stored.size, sizeof(expected));
	assert_memory_equal(stored.data, expected, sizeof(expected));
	buffer_fini(&stored);
	assert_survives(*state, &r);
	r.route = BYTES(""); /* a name that nobody has is not the same as none */
	r.requeued_from = UINT64_MAX;
	assert_survives(*state, &r);
}

/* The same as stored_form_is_as_documented, with fields that nobody knows yet. */
static void
fields_of_a_later_version_are_skipped(void **state)
{
	static const uint8_t later[] = {0x87, 0x00, 0x01, 0x01, 0xc4, 0x03, 'a', '/',
	    'b', 0x02, 0xc4, 0x02, 'h', 'i', 0x03, 0x01, /* as above */
	    0x63, 0x92, 0x81, 0xa1, 'x', 0xc0, 0xca, 0, 0, 0,
	    0,                                  /* 99: [{"x": nil}, 0.0] */
	    0xcd, 0x10, 0x00, 0xd4, 0x05, 0x07, /* 4096: an extension */
	    0xa1, 'k', 0xff};                   /* "k": -1 */
	struct record expected;
	struct record r;
	size_t offset = 0;

	records_plain(&expected, "a/b", "hi");
	expected.received_ms = 1;
	assert_int_equal(record_decode(*state, later, sizeof(later), &offset, &r), 0);
	assert_int_equal(offset, sizeof(later));
	records_assert_equal(&expected, &r);
}

static void
assert_refused(struct record_decoder *d, const void *data, size_t size)
{
	struct record r;
	struct record untouched;
	size_t offset = 0;
	/* A copy of just that size lets ASan see any read beyond it. */
	void *copy = malloc(size > 0 ? size : 1);

	assert_non_null(copy);
	memcpy(copy, data, size);
	memset(&r, 0x55, sizeof(r));
	memset(&untouched, 0x55, sizeof(untouched));
	assert_int_equal(record_decode(d, copy, size, &offset, &r), ERR_CORRUPT);
	assert_int_equal(offset, 0);
	assert_memory_equal(&r, &untouched, sizeof(r));
	free(copy);
}

#define REFUSED(bytes) assert_refused(*state, bytes, sizeof(bytes) - 1)

static void
record_cut_anywhere_is_refused(void **state)
{
	struct buffer stored = {0};
	struct record r;

	records_full(&r);
	assert_int_equal(record_encode(&r, &stored), 0);
	for (size_t size = 0; size < stored.size; size++)
		assert_refused(*state, stored.data, size);
	buffer_fini(&stored);
}

static void
what_is_not_a_record_is_refused(void **state)
{
	REFUSED("\xc0");                                 /* nil */
	REFUSED("\xc1");                                 /* never used */
	REFUSED("\x80");                                 /* nothing in it */
	REFUSED("\x82\x00\x01\x01\xc4\x00");             /* no payload */
	REFUSED("\x83\x00\x01\x01\xa1t\x02\xc4\x00");    /* topic is a str */
	REFUSED("\x83\x00\xff\x01\xc4\x00\x02\xc4\x00"); /* arrival is negative */
	REFUSED("\x84\x00\x01\x01\xc4\x00\x02\xc4\x00\x03\x03");         /* QoS 3 */
	REFUSED("\x84\x00\x01\x01\xc4\x00\x02\xc4\x00\x04\x01");         /* retain 1 */
	REFUSED("\x84\x00\x01\x01\xc4\x00\x02\xc4\x00\x0a\x91\xc4\x00"); /* odd */
	REFUSED("\x84\x00\x01\x01\xc4\x00\x02\xc4\x00\x0a\x92\x01\x02"); /* not bin */
	REFUSED("\x84\x00\x01\x01\xc4\x00\x02\xc4\x00\x06\xcf"
		"\x00\x00\x00\x01\x00\x00\x00\x00"); /* expiry beyond 32 bits */
	REFUSED("\x84\x00\x01\x01\xc4\x00\x02\xc4\x00\x0c\xa1r"); /* route is a str */
	REFUSED("\x84\x00\x01\x01\xc4\x00\x02\xc4\x00\x0d\xff");  /* before: -1 */
}

static void
huge_claims_are_refused_without_memory_for_them(void **state)
{
	REFUSED("\xdf\xff\xff\xff\xff");
	REFUSED("\xdd\xff\xff\xff\xff\x00");
	REFUSED("\x81\x0a\xdd\x7f\xff\xff\xff");
	REFUSED("\x81\x01\xc6\xff\xff\xff\xff");
	REFUSED("\x81\x01\xdb\xff\xff\xff\xff");
	REFUSED("\x81\x01\xc9\xff\xff\xff\xff\x01");
}

static void
deep_nesting_is_damage_not_lack_of_memory(void **state)
{
	uint8_t deep[5000];

	/* [[[...0...]]], which is whole. */
	memset(deep, 0x91, sizeof(deep));
	deep[sizeof(deep) - 1] = 0;
	assert_refused(*state, deep, sizeof(deep));
	deep[0] = 0x81;
	deep[1] = 0x63;
	assert_refused(*state, deep, sizeof(deep));
}

static void
dead_letter_survives(void **state)
{
	struct dead_letter letter = {
	    .buried_ms = 1795514400999,
	    .reason = DEAD_TOO_LARGE,
	    .detail = {"Broker: Message size too large \xff", 32},
	};
	struct buffer record = {0};
	struct buffer stored = {0};
	struct dead_letter back;
	struct record r;

	records_full(&r);
	assert_int_equal(record_encode(&r, &record), 0);
	letter.record = (struct bytes){record.data, record.size};
	assert_int_equal(dead_letter_encode(&letter, &stored), 0);
	assert_int_equal(
	    dead_letter_decode(*state, stored.data, stored.size, &back), 0);
	assert_int_equal(back.buried_ms, letter.buried_ms);
	assert_string_equal(back.reason, DEAD_TOO_LARGE);
	assert_int_equal(back.detail.size, letter.detail.size);
	assert_memory_equal(back.detail.data, letter.detail.data, letter.detail.size);
	assert_int_equal(back.record.size, record.size);
	assert_memory_equal(back.record.data, record.data, record.size);
	for (size_t size = 0; size < stored.size; size++)
		assert_int_equal(
		    dead_letter_decode(*state, stored.data, size, &back), ERR_CORRUPT);
	assert_int_equal(buffer_append(&stored, "", 1), 0);
	assert_int_equal(
	    dead_letter_decode(*state, stored.data, stored.size, &back), ERR_CORRUPT);
	buffer_fini(&stored);
	buffer_fini(&record);
}

/* Damage of every byte: refused or another record, never worse. */
static void
damaged_bytes_never_crash(void **state)
{
	uint64_t seed = records_seed();
	struct buffer stored = {0};
	struct record r;

	records_full(&r);
	assert_int_equal(record_encode(&r, &stored), 0);
	for (int i = 0; i < 20000; i++) {
		size_t at = records_random_number(&seed) % stored.size;
		uint8_t kept = stored.data[at];
		size_t offset = 0;

		stored.data[at] = (uint8_t)records_random_number(&seed);
		if (record_decode(*state, stored.data, stored.size, &offset, &r) == 0)
			assert_true(offset <= stored.size);
		stored.data[at] = kept;
		record_decoder_reset(*state);
	}
	buffer_fini(&stored);
}

#define WITH_DECODER(f) \
	cmocka_unit_test_setup_teardown(f, decoder_setup, decoder_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_DECODER(full_record_survives),
	    WITH_DECODER(empty_is_not_absent),
	    WITH_DECODER(random_records_survive_one_after_another),
	    WITH_DECODER(many_user_properties_keep_their_order),
	    WITH_DECODER(stored_form_is_as_documented),
	    WITH_DECODER(stored_form_of_a_requeued_one_is_as_documented),
	    WITH_DECODER(fields_of_a_later_version_are_skipped),
	    WITH_DECODER(record_cut_anywhere_is_refused),
	    WITH_DECODER(what_is_not_a_record_is_refused),
	    WITH_DECODER(huge_claims_are_refused_without_memory_for_them),
	    WITH_DECODER(deep_nesting_is_damage_not_lack_of_memory),
	    WITH_DECODER(dead_letter_survives),
	    WITH_DECODER(damaged_bytes_never_crash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
