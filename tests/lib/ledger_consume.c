/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Read a Kafka topic from its beginning and hold it against a ledger.
 *
 * It reads until everything that the ledger has as acknowledged was seen and nothing
 * more comes for a moment, or until the time is up. With -w it reads beside the test,
 * and the ledger counts as complete only from SIGUSR1 on.
 *
 * Exit status: 0 nothing lost, reordered or wrong, and no more repeats than allowed;
 * 1 otherwise; 2 usage.
 *
 * Failure modes: Kafka away: librdkafka goes on trying. Offsets that were skipped (the
 * topic did not keep its records) are wrong: what is missing would prove nothing. But
 * transactions (-x) leave offsets out: of what marks their end, and of what was aborted,
 * which a consumer with read_committed, as this one, does not see.
 */
#include <inttypes.h>
#include <jansson.h>
#include <librdkafka/rdkafka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ledger.h"
#include "ledger_judge.h"

#define PARTITIONS_MAX 64

struct options {
	const char *bootstrap;
	const char *topic;
	const char *ledger;
	double limit_s;
	double quiet_s;
	bool wait;
	bool is_tbmq;
	bool properties;
	bool ignore_foreign;
	bool any_key;
	bool has_transactions;
	uint64_t lost_wanted; /* so many are missing, no more and no fewer */
	uint64_t duplicated_max;
	uint64_t redelivered_max;
};

struct consumer {
	struct options o;
	struct ledger ledger;
	struct judge *judge;
	rd_kafka_t *rk;
	int64_t next_offset[PARTITIONS_MAX];
	uint64_t foreign;
};

static volatile sig_atomic_t complete;

static void
on_signal(int number)
{
	(void)number;
	complete = 1;
}

static double
seconds_now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int
sextet(char c)
{
	static const char alphabet[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c == '\0' ? NULL : strchr(alphabet, c);

	return at == NULL ? -1 : (int)(at - alphabet);
}

/* In place; the decoded size. Stops at what is not base64. */
static size_t
base64_decode(char *text)
{
	unsigned bits = 0;
	int have = 0;
	size_t size = 0;
	const char *c;

	for (c = text; sextet(*c) >= 0; c++) {
		bits = bits << 6 | (unsigned)sextet(*c);
		have += 6;
		if (have >= 8) {
			have -= 8;
			text[size] = (char)(bits >> have & 0xff);
			size++;
		}
	}
	return size;
}

/* The payload inside a tbmq envelope, to be freed; NULL if it is none for this key. */
static char *
unwrap(const rd_kafka_message_t *m, size_t *size)
{
	json_t *root = json_loadb(m->payload, m->len, 0, NULL);
	const char *payload = json_string_value(json_object_get(root, "payload"));
	const char *topic = json_string_value(json_object_get(root, "topicName"));
	char *out = NULL;

	if (payload != NULL && topic != NULL && strlen(topic) == m->key_len &&
	    memcmp(topic, m->key, m->key_len) == 0) {
		out = strdup(payload);
		if (out != NULL)
			*size = base64_decode(out);
	}
	json_decref(root);
	return out;
}

static bool
parse(const struct consumer *c, const rd_kafka_message_t *m, size_t *device,
    uint64_t *number)
{
	size_t size = 0;
	char *payload;
	bool is_ours;

	if (!c->o.is_tbmq)
		return ledger_payload_parse(m->payload, m->len, device, number);
	payload = unwrap(m, &size);
	is_ours =
	    payload != NULL && ledger_payload_parse(payload, size, device, number);
	free(payload);
	return is_ours;
}

static bool
key_is_right(const struct consumer *c, const rd_kafka_message_t *m, size_t device)
{
	char topic[LEDGER_TOPIC_MAX];

	ledger_topic(&c->ledger, device, topic);
	return c->o.any_key ||
	       (m->key_len == strlen(topic) && memcmp(m->key, topic, m->key_len) == 0);
}

/* The user properties as ledger_publish -u gave them, repeats and order kept? */
static bool
properties_are_right(const rd_kafka_headers_t *headers, size_t device, uint64_t number)
{
	const char *expected_name[] = {
	    "ledger-device", "ledger-number", "ledger-number"};
	char expected[3][32];
	size_t found = 0;
	size_t i;
	const char *name;
	const void *value;
	size_t size;

	(void)snprintf(expected[0], sizeof expected[0], "%zu", device);
	(void)snprintf(expected[1], sizeof expected[1], "%" PRIu64, number);
	(void)snprintf(expected[2], sizeof expected[2], "again");
	for (i = 0; rd_kafka_header_get_all(headers, i, &name, &value, &size) == 0;
	     i++) {
		if (strncmp(name, "ledger-", 7) != 0)
			continue;
		if (found == 3 || strcmp(name, expected_name[found]) != 0 ||
		    size != strlen(expected[found]) ||
		    memcmp(value, expected[found], size) != 0)
			return false;
		found++;
	}
	return found == 3;
}

static void
offset_follow(struct consumer *c, const rd_kafka_message_t *m)
{
	if (m->partition >= PARTITIONS_MAX)
		return;
	if (c->o.has_transactions ? m->offset < c->next_offset[m->partition]
				  : m->offset != c->next_offset[m->partition])
		judge_wrong(c->judge,
		    "partition %" PRId32 ": offset %" PRId64 " where %" PRId64
		    " was expected",
		    m->partition, m->offset, c->next_offset[m->partition]);
	c->next_offset[m->partition] = m->offset + 1;
}

static void
take(struct consumer *c, const rd_kafka_message_t *m)
{
	rd_kafka_headers_t *headers = NULL;
	const void *header = "";
	size_t header_size = 0;
	const void *requeued;
	size_t size;
	size_t device;
	uint64_t number;

	offset_follow(c, m);
	if (!parse(c, m, &device, &number)) {
		c->foreign++;
		if (!c->o.ignore_foreign)
			judge_wrong(c->judge,
			    "offset %" PRId64 ": not a ledger message: %.*s", m->offset,
			    m->len > 80 ? 80 : (int)m->len, (const char *)m->payload);
		return;
	}
	if (!key_is_right(c, m, device))
		judge_wrong(c->judge, "dev-%03zu %" PRIu64 ": key %.*s", device, number,
		    (int)m->key_len, (const char *)m->key);
	if (rd_kafka_message_headers(m, &headers) == 0)
		(void)rd_kafka_header_get_last(
		    headers, "tidegate", &header, &header_size);
	if (c->o.properties &&
	    (headers == NULL || !properties_are_right(headers, device, number)))
		judge_wrong(
		    c->judge, "dev-%03zu %" PRIu64 ": user properties", device, number);
	if (headers != NULL && rd_kafka_header_get_last(headers,
				   "tidegate-requeued-from", &requeued, &size) == 0)
		judge_requeued(c->judge, device, number, header, header_size);
	else
		judge_message(c->judge, device, number, header, header_size);
}

static rd_kafka_t *
consumer_new(const char *bootstrap)
{
	const char *settings[][2] = {{"bootstrap.servers", bootstrap},
	    {"group.id", "ledger"}, {"enable.auto.commit", "false"},
	    {"isolation.level", "read_committed"}, {"auto.offset.reset", "earliest"},
	    {"fetch.wait.max.ms", "50"}, {"fetch.error.backoff.ms", "50"},
	    {"reconnect.backoff.ms", "50"}, {"reconnect.backoff.max.ms", "500"},
	    {"fetch.message.max.bytes", "8388608"}, {"log_level", "0"}};
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char error[256];
	size_t i;
	rd_kafka_t *rk;

	for (i = 0; i < sizeof settings / sizeof settings[0]; i++) {
		if (rd_kafka_conf_set(conf, settings[i][0], settings[i][1], error,
			sizeof error) != RD_KAFKA_CONF_OK) {
			(void)fprintf(stderr, "%s: %s\n", settings[i][0], error);
			exit(1);
		}
	}
	rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, error, sizeof error);
	if (rk == NULL) {
		(void)fprintf(stderr, "%s\n", error);
		exit(1);
	}
	(void)rd_kafka_poll_set_consumer(rk);
	return rk;
}

/* How many partitions has the topic? 0: it is not there (yet). */
static int
partitions_count(struct consumer *c)
{
	rd_kafka_topic_t *topic = rd_kafka_topic_new(c->rk, c->o.topic, NULL);
	const struct rd_kafka_metadata *metadata = NULL;
	int count = 0;

	if (rd_kafka_metadata(c->rk, 0, topic, &metadata, 1000) == 0) {
		if (metadata->topic_cnt == 1 && metadata->topics[0].err == 0)
			count = metadata->topics[0].partition_cnt;
		rd_kafka_metadata_destroy(metadata);
	}
	rd_kafka_topic_destroy(topic);
	return count;
}

static bool
assign_all(struct consumer *c)
{
	int count = partitions_count(c);
	rd_kafka_topic_partition_list_t *list;
	int32_t i;

	if (count == 0)
		return false;
	list = rd_kafka_topic_partition_list_new(count);
	for (i = 0; i < count; i++)
		rd_kafka_topic_partition_list_add(list, c->o.topic, i)->offset =
		    RD_KAFKA_OFFSET_BEGINNING;
	(void)rd_kafka_assign(c->rk, list);
	rd_kafka_topic_partition_list_destroy(list);
	return true;
}

static bool
has_all_wanted(const struct consumer *c)
{
	return c->o.lost_wanted > 0
		   ? judge_result(c->judge, &c->ledger).lost == c->o.lost_wanted
		   : judge_has_all(c->judge, &c->ledger);
}

/* The ledger as it is now; it must be there once it is complete. */
static bool
ledger_is_here(struct consumer *c)
{
	return ledger_load(&c->ledger, c->o.ledger) == 0;
}

static void
run(struct consumer *c)
{
	struct timespec pause = {.tv_nsec = 100000000};
	bool is_assigned = false;
	double latest_s = seconds_now();
	double complete_s = 0;

	for (;;) {
		rd_kafka_message_t *m = NULL;

		if (!is_assigned)
			is_assigned = assign_all(c);
		if (is_assigned && c->ledger.count == 0)
			(void)ledger_is_here(c);
		/* A key can be judged only by the prefix that the ledger tells. */
		if (is_assigned && c->ledger.count > 0)
			m = rd_kafka_consumer_poll(c->rk, 100);
		else
			(void)nanosleep(&pause, NULL);
		if (m != NULL && m->err == 0) {
			take(c, m);
			latest_s = seconds_now();
		}
		if (m != NULL)
			rd_kafka_message_destroy(m);
		if (complete != 0 && complete_s <= 0) {
			complete_s = seconds_now();
			latest_s = complete_s;
			if (!ledger_is_here(c))
				(void)fprintf(
				    stderr, "%s cannot be read\n", c->o.ledger);
		}
		if (complete_s > 0 && seconds_now() - complete_s > c->o.limit_s)
			break;
		if (complete_s > 0 && c->ledger.count > 0 && m == NULL &&
		    seconds_now() - latest_s > c->o.quiet_s && has_all_wanted(c))
			break;
	}
}

static int
report(struct consumer *c)
{
	struct judge_counts n = judge_result(c->judge, &c->ledger);

	if (c->foreign > 0)
		(void)fprintf(stderr, "%" PRIu64 " others\n", c->foreign);
	if (n.requeued > 0)
		(void)fprintf(stderr, "%" PRIu64 " requeued\n", n.requeued);
	if (n.wrong > 0)
		(void)fprintf(stderr, "%" PRIu64 " wrong\n", n.wrong);
	(void)printf("published %" PRIu64 ", delivered %" PRIu64 ", lost %" PRIu64
		     ", duplicated %" PRIu64 " (same header), redelivered %" PRIu64
		     ", reordered %" PRIu64 "\n",
	    ledger_published(&c->ledger), n.delivered, n.lost, n.duplicated,
	    n.redelivered, n.reordered);
	return c->ledger.count > 0 && n.lost == c->o.lost_wanted && n.reordered == 0 &&
		       n.wrong == 0 && n.duplicated <= c->o.duplicated_max &&
		       n.redelivered <= c->o.redelivered_max
		   ? 0
		   : 1;
}

static void
usage(void)
{
	(void)fprintf(stderr,
	    "usage: ledger_consume -b BOOTSTRAP -t TOPIC -l LEDGER [-w] [-T SECONDS]\n"
	    "    [-q QUIET_SECONDS] [-e tbmq] [-u] [-f] [-k] [-x] [-D DUPLICATED] "
	    "[-R REDELIVERED]\n"
	    "-u: user properties are there; -f: other records are no fault; -k: any "
	    "key\n"
	    "-x: transactions: offsets may be left out\n"
	    "-D, -R: how many repeats are allowed, by default any number\n"
	    "-M COUNT: so many must be missing, no more and no fewer\n");
	exit(2);
}

static void
options_read(struct options *o, int argc, char *argv[])
{
	int c;

	for (c = getopt(argc, argv, "b:t:l:T:q:e:D:R:M:wufkx"); c != -1;
	     c = getopt(argc, argv, "b:t:l:T:q:e:D:R:M:wufkx")) {
		switch (c) {
		case 'b':
			o->bootstrap = optarg;
			break;
		case 't':
			o->topic = optarg;
			break;
		case 'l':
			o->ledger = optarg;
			break;
		case 'T':
			o->limit_s = strtod(optarg, NULL);
			break;
		case 'q':
			o->quiet_s = strtod(optarg, NULL);
			break;
		case 'e':
			o->is_tbmq = strcmp(optarg, "tbmq") == 0;
			break;
		case 'D':
			o->duplicated_max = strtoull(optarg, NULL, 10);
			break;
		case 'R':
			o->redelivered_max = strtoull(optarg, NULL, 10);
			break;
		case 'M':
			o->lost_wanted = strtoull(optarg, NULL, 10);
			break;
		case 'w':
			o->wait = true;
			break;
		case 'u':
			o->properties = true;
			break;
		case 'f':
			o->ignore_foreign = true;
			break;
		case 'k':
			o->any_key = true;
			break;
		case 'x':
			o->has_transactions = true;
			break;
		default:
			usage();
		}
	}
	if (optind != argc || o->bootstrap == NULL || o->topic == NULL ||
	    o->ledger == NULL)
		usage();
}

int
main(int argc, char *argv[])
{
	static struct consumer c;
	struct sigaction action = {.sa_handler = on_signal};
	int status;

	c.o = (struct options){.limit_s = 60,
	    .quiet_s = 0.7,
	    .duplicated_max = UINT64_MAX,
	    .redelivered_max = UINT64_MAX};
	options_read(&c.o, argc, argv);
	(void)sigaction(SIGUSR1, &action, NULL);
	complete = !c.o.wait;
	(void)fprintf(stderr, "reading %s\n", c.o.topic); /* a signal may come now */
	c.judge = judge_open();
	c.rk = consumer_new(c.o.bootstrap);
	run(&c);
	status = report(&c);
	(void)rd_kafka_consumer_close(c.rk);
	rd_kafka_destroy(c.rk);
	judge_close(c.judge);
	ledger_fini(&c.ledger);
	return status;
}
