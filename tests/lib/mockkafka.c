/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mockkafka [--control FIFO] [--brokers N] [--topic NAME:PARTITIONS]...
 *
 * librdkafka's mock cluster as a program. The first line on stdout is "bootstrap
 * HOST:PORT[,HOST:PORT...]". Then it takes one command a line, from the FIFO (which it
 * makes, and which any number of writers may open and close) or else from stdin, and
 * answers each with one line on stdout: "ok COMMAND" once it has taken effect, or
 * "failed COMMAND: why".
 *
 *   down | up               refuse all connections; take them again
 *   topic NAME PARTITIONS   make a topic (others are made with 4 when first asked for)
 *   topic-error NAME CODE   what metadata says about a topic; 0: all is well again
 *   error API CODE COUNT    fail the next COUNT requests (0: none any more); API:
 *                           produce, metadata, init-producer-id
 *   rtt MS                  answer everything this much later
 *   quit
 *
 * CODE is Kafka's number or librdkafka's name for it (MSG_SIZE_TOO_LARGE); _TRANSPORT
 * drops the connection. To freeze the cluster send SIGSTOP to the process.
 *
 * It ends at quit, SIGTERM, SIGINT and with its parent. It does not end when stdin
 * does: a shell gives /dev/null to what it starts in the background.
 *
 * It is no Kafka: it checks no sequence numbers (what an idempotent producer repeats
 * after a lost answer is there twice), refuses nothing by size or time, and keeps of a
 * partition only the last 5 MiB and 100,000 batches.
 */
#include <librdkafka/rdkafka.h>

#include <librdkafka/rdkafka_mock.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define ERROR_COUNT_MAX 1000
#define LINE_BYTES      512

struct input {
	int fd;
	size_t size;
	char line[LINE_BYTES];
};

static volatile sig_atomic_t stop;

static void
on_signal(int signal)
{
	(void)signal;
	stop = 1;
}

/* Kafka's number, or a name; RD_KAFKA_RESP_ERR_UNKNOWN when it is neither. */
static rd_kafka_resp_err_t
parse_code(const char *text)
{
	const struct rd_kafka_err_desc *descs;
	size_t count;
	char *end;
	long number = strtol(text, &end, 10);

	if (*text != '\0' && *end == '\0')
		return (rd_kafka_resp_err_t)number;
	rd_kafka_get_err_descs(&descs, &count);
	for (size_t i = 0; i < count; i++)
		if (descs[i].name != NULL && strcmp(descs[i].name, text) == 0)
			return descs[i].code;
	return RD_KAFKA_RESP_ERR_UNKNOWN;
}

static const char *
push_errors(rd_kafka_mock_cluster_t *mock, const char *api, const char *code, int count)
{
	rd_kafka_resp_err_t errors[ERROR_COUNT_MAX];
	rd_kafka_resp_err_t err = parse_code(code);
	int16_t key;

	if (strcmp(api, "produce") == 0)
		key = 0;
	else if (strcmp(api, "metadata") == 0)
		key = 3;
	else if (strcmp(api, "init-producer-id") == 0)
		key = 22;
	else
		return "unknown API";
	if (err == RD_KAFKA_RESP_ERR_UNKNOWN)
		return "unknown code";
	if (count < 0 || count > ERROR_COUNT_MAX)
		return "count is out of range";
	for (int i = 0; i < count; i++)
		errors[i] = err;
	if (count == 0)
		rd_kafka_mock_clear_request_errors(mock, key);
	else
		rd_kafka_mock_push_request_errors_array(
		    mock, key, (size_t)count, errors);
	return NULL;
}

static const char *
code_text(rd_kafka_resp_err_t err)
{
	return err == RD_KAFKA_RESP_ERR_NO_ERROR ? NULL : rd_kafka_err2str(err);
}

/* NULL when it is done, else why not. */
static const char *
obey(rd_kafka_mock_cluster_t *mock, char *line)
{
	char *word[4] = {0};
	int count = 0;

	for (char *rest = line, *w; count < 4; word[count++] = w) {
		w = strtok_r(rest, " ", &rest);
		if (w == NULL)
			break;
	}
	if (count == 1 && strcmp(word[0], "down") == 0)
		return code_text(rd_kafka_mock_broker_set_down(mock, -1));
	if (count == 1 && strcmp(word[0], "up") == 0)
		return code_text(rd_kafka_mock_broker_set_up(mock, -1));
	if (count == 2 && strcmp(word[0], "rtt") == 0)
		return code_text(rd_kafka_mock_broker_set_rtt(mock, -1, atoi(word[1])));
	if (count == 3 && strcmp(word[0], "topic") == 0)
		return code_text(
		    rd_kafka_mock_topic_create(mock, word[1], atoi(word[2]), 1));
	if (count == 3 && strcmp(word[0], "topic-error") == 0) {
		if (parse_code(word[2]) == RD_KAFKA_RESP_ERR_UNKNOWN)
			return "unknown code";
		rd_kafka_mock_topic_set_error(mock, word[1], parse_code(word[2]));
		return NULL;
	}
	if (count == 4 && strcmp(word[0], "error") == 0)
		return push_errors(mock, word[1], word[2], atoi(word[3]));
	if (count == 1 && strcmp(word[0], "quit") == 0) {
		stop = 1;
		return NULL;
	}
	return "unknown command";
}

static void
answer(rd_kafka_mock_cluster_t *mock, char *line)
{
	char copy[LINE_BYTES];
	const char *why;

	snprintf(copy, sizeof(copy), "%s", line);
	why = obey(mock, line);
	if (why == NULL)
		printf("ok %s\n", copy);
	else
		printf("failed %s: %s\n", copy, why);
	fflush(stdout);
}

/* Take what is there and obey each line that is complete. False at the end. */
static bool
take_input(struct input *in, rd_kafka_mock_cluster_t *mock)
{
	ssize_t n = read(in->fd, in->line + in->size, sizeof(in->line) - 1 - in->size);
	char *newline;

	if (n <= 0)
		return n < 0 && (errno == EAGAIN || errno == EINTR);
	in->size += (size_t)n;
	for (;;) {
		size_t taken;

		newline = memchr(in->line, '\n', in->size);
		if (newline == NULL)
			break;
		*newline = '\0';
		taken = (size_t)(newline + 1 - in->line);
		answer(mock, in->line);
		in->size -= taken;
		memmove(in->line, in->line + taken, in->size);
	}
	if (in->size == sizeof(in->line) - 1)
		in->size = 0; /* no command is that long */
	return true;
}

static void
serve(int fd, rd_kafka_mock_cluster_t *mock)
{
	struct input in = {.fd = fd};

	while (!stop) {
		struct pollfd p = {.fd = in.fd, .events = POLLIN};

		/* The time limit closes the gap between looking at stop and poll(). */
		if (poll(&p, 1, 500) <= 0 || p.revents == 0)
			continue;
		if (!take_input(&in, mock))
			in.fd = -1;
	}
}

/* Read and write: there is then always a writer, and never an end of file. */
static int
open_control(const char *path)
{
	if (mkfifo(path, 0600) != 0 && errno != EEXIST)
		return -1;
	return open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
}

static void
tie_to_parent(pid_t parent)
{
	struct sigaction action = {.sa_handler = on_signal};

	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		stop = 1;
}

static int
usage(void)
{
	fprintf(stderr, "usage: mockkafka [--control FIFO] [--brokers N]"
			" [--topic NAME:PARTITIONS]...\n");
	return 2;
}

static int
run(const char *control, int brokers, char *topics[], int topic_count)
{
	char why[256] = "no cluster";
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_mock_cluster_t *mock = NULL;
	int fd = STDIN_FILENO;
	int status = 1;
	rd_kafka_t *rk;

	/* It would warn that it has no bootstrap.servers. */
	(void)rd_kafka_conf_set(conf, "log_level", "3", why, sizeof(why));
	rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
	if (rk != NULL)
		mock = rd_kafka_mock_cluster_new(rk, brokers);
	if (mock == NULL) {
		fprintf(stderr, "mockkafka: %s\n", why);
		goto done;
	}
	for (int i = 0; i < topic_count; i++) {
		char *colon = strrchr(topics[i], ':');

		*colon = '\0';
		rd_kafka_mock_topic_create(mock, topics[i], atoi(colon + 1), 1);
	}
	if (control != NULL) {
		fd = open_control(control);
		if (fd < 0) {
			perror(control);
			goto done;
		}
	}
	printf("bootstrap %s\n", rd_kafka_mock_cluster_bootstraps(mock));
	fflush(stdout);
	serve(fd, mock);
	status = 0;
done:
	if (control != NULL && fd > STDIN_FILENO) {
		close(fd);
		unlink(control);
	}
	if (mock != NULL)
		rd_kafka_mock_cluster_destroy(mock);
	if (rk != NULL)
		rd_kafka_destroy(rk);
	return status;
}

int
main(int argc, char *argv[])
{
	pid_t parent = getppid();
	const char *control = NULL;
	char *topics[64];
	int topic_count = 0;
	int brokers = 1;

	for (int i = 1; i < argc; i += 2) {
		if (i + 1 == argc)
			return usage();
		if (strcmp(argv[i], "--control") == 0)
			control = argv[i + 1];
		else if (strcmp(argv[i], "--brokers") == 0)
			brokers = atoi(argv[i + 1]);
		else if (strcmp(argv[i], "--topic") == 0 && topic_count < 64 &&
			 strchr(argv[i + 1], ':') != NULL)
			topics[topic_count++] = argv[i + 1];
		else
			return usage();
	}
	if (brokers < 1)
		return usage();
	tie_to_parent(parent);
	return run(control, brokers, topics, topic_count);
}
