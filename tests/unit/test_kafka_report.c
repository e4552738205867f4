/* SPDX-License-Identifier: Apache-2.0 */
/* What the reports' producer says; what becomes of the reports is for status.sh. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kafka/kafka_report.h"
#include "log.h"
#include "now.h"

#define WAIT_MS 10000

static bool
has_said(int fd, const char *text)
{
	char all_of_it[65536];
	ssize_t n = pread(fd, all_of_it, sizeof(all_of_it) - 1, 0);

	all_of_it[n < 0 ? 0 : n] = '\0';
	return strstr(all_of_it, text) != NULL;
}

/* librdkafka repeats what it cannot read of sasl.oauthbearer.config. */
static void
no_part_of_a_secret_is_logged(void **state)
{
	static char bootstrap[] = "127.0.0.1:1", gateway[] = "gw", prefix[] = "t";
	static char acks[] = "all", codec[] = "none", topic[] = "status";
	static char text[][48] = {"security.protocol", "SASL_PLAINTEXT",
	    "sasl.mechanisms", "OAUTHBEARER", "enable.sasl.oauthbearer.unsecure.jwt",
	    "true", "sasl.oauthbearer.config", "principal=p hush-hush"};
	struct settings_property list[4];
	struct settings s = {
	    .gateway_id = gateway,
	    .kafka = {.bootstrap_servers = bootstrap,
		.client_id_prefix = prefix,
		.acks = acks,
		.compression = codec,
		.batch_size_bytes = -1,
		.linger_ms = -1,
		.buffer_max_bytes = 1 << 20,
		.properties = list,
		.property_count = 4},
	    .journal = {.max_bytes = 1 << 26},
	    .status = {.kafka_topic = topic},
	};
	int64_t deadline_ms = now_monotonic_ms() + WAIT_MS;
	int said = memfd_create("stderr", MFD_CLOEXEC), kept = dup(STDERR_FILENO);
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	struct kafka_report *r;
	bool is_told, is_secret_told;

	(void)state;
	for (int i = 0; i < 4; i++)
		list[i] = (struct settings_property){text[2 * i], text[2 * i + 1], 1};
	assert_true(said >= 0 && fd >= 0 && dup2(said, STDERR_FILENO) >= 0);
	log_open("test", LOG_LEVEL_DEBUG, LOG_FORMAT_TEXT);
	assert_int_equal(kafka_report_open(&r, &s, fd), 0);
	do {
		struct pollfd one = {.fd = fd, .events = POLLIN};

		(void)poll(&one, 1, 20);
		(void)kafka_report_poll(r);
		is_told = has_said(said, "Unrecognized sasl.oauthbearer.config");
	} while (!is_told && now_monotonic_ms() < deadline_ms);
	kafka_report_close(r);
	is_secret_told = has_said(said, "hush-hush");
	log_open("test", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	assert_true(dup2(kept, STDERR_FILENO) >= 0);
	close(kept);
	close(said);
	close(fd);
	assert_true(is_told);
	assert_false(is_secret_told);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(no_part_of_a_secret_is_logged),
	};

	return cmocka_run_group_tests_name("kafka_report", tests, NULL, NULL);
}
