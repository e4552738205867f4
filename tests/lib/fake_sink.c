/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_sink.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

struct fake_record {
	struct fake_landed as_landed;
	const void *borrowed; /* the value, where it was not to be copied */
	bool is_answered;     /* taken out of the queue by sweep() */
	bool has_landed;      /* ... and kept */
};

static void *
grow(void *list, size_t count, size_t *capacity, size_t size)
{
	if (count < *capacity)
		return list;
	*capacity = *capacity == 0 ? 64 : *capacity * 2;
	list = realloc(list, *capacity * size);
	assert(list != NULL);
	return list;
}

static char *
copy(struct bytes in)
{
	char *out = malloc(in.size + 1);

	assert(out != NULL);
	if (in.size > 0)
		memcpy(out, in.data, in.size);
	out[in.size] = '\0';
	return out;
}

static void
free_landed(struct fake_landed *r)
{
	free(r->topic);
	free(r->key);
	free(r->value);
}

static size_t
partition_of(const struct fake_sink *s, struct bytes key)
{
	const uint8_t *p = key.data;
	uint32_t hash = 2166136261;

	for (size_t i = 0; i < key.size; i++)
		hash = (hash ^ p[i]) * 16777619;
	return hash % s->partitions;
}

static uint64_t
bytes_of(const struct fake_landed *r)
{
	return r->value_size + (r->key == NULL ? 0 : strlen(r->key));
}

static bool
is_transactional(const struct fake_sink *s)
{
	return s->sink.ops->commit != NULL;
}

static int
fake_send(struct sink *sink, const struct sink_record *r, uint64_t tag)
{
	struct fake_sink *s = (struct fake_sink *)sink;
	struct fake_record *f;

	assert(r->topic != NULL);
	assert(r->key.data != NULL || r->key.size == 0);
	if (s->is_fatal)
		return ERR_FATAL;
	assert(s->call == FAKE_NO_CALL || s->call == FAKE_RECOVER);
	if (is_transactional(s) && !s->is_recovered)
		return ERR_AWAY;
	assert(!s->is_rejected); /* it has to be aborted */
	if (s->out_count >= s->queue_max)
		return ERR_FULL;
	if (s->send_max > 0 && r->value.size > s->send_max)
		return ERR_TOOLARGE;
	if (s->is_refused_at_once && s->refused_topic != NULL &&
	    strcmp(r->topic, s->refused_topic) == 0)
		return ERR_REFUSED;
	s->queue =
	    grow(s->queue, s->queue_count, &s->queue_capacity, sizeof(*s->queue));
	f = &s->queue[s->queue_count++];
	s->out_count++;
	f->is_answered = false;
	f->as_landed = (struct fake_landed){
	    .tag = tag,
	    .topic = copy((struct bytes){r->topic, strlen(r->topic)}),
	    .partition = partition_of(s, r->key),
	    .key = r->key.data == NULL ? NULL : copy(r->key),
	    .value = copy(r->value),
	    .value_size = r->value.size,
	    .timestamp_ms = r->timestamp_ms,
	};
	f->borrowed = r->copy_value ? NULL : r->value.data;
	s->sent_count++;
	s->out_bytes += bytes_of(&f->as_landed);
	if (s->out_bytes > s->out_bytes_max)
		s->out_bytes_max = s->out_bytes;
	if (s->out_count > s->out_count_max)
		s->out_count_max = s->out_count;
	return 0;
}

/* Put record number index of the queue into "Kafka" or away, and tell. */
static void
answer(struct fake_sink *s, size_t index, bool lands, enum sink_result result)
{
	struct fake_record f = s->queue[index];
	const char *text = result == SINK_DELIVERED ? "" : "as the test wants it";

	/* A value that was not to be copied must be there to the end. */
	if (f.borrowed != NULL)
		assert(
		    memcmp(f.borrowed, f.as_landed.value, f.as_landed.value_size) == 0);
	s->out_count--;
	s->out_bytes -= bytes_of(&f.as_landed);
	s->queue[index].is_answered = true;
	if (lands) {
		s->landed = grow(s->landed, s->landed_count, &s->landed_capacity,
		    sizeof(*s->landed));
		s->landed[s->landed_count++] = f.as_landed;
	}
	s->queue[index].has_landed = lands;
	if (is_transactional(s) && result != SINK_DELIVERED)
		s->is_rejected = true;
	s->sink.delivered(s->sink.context, f.as_landed.tag, result, text);
}

static enum sink_result
judge(const struct fake_sink *s, const struct fake_landed *r)
{
	if (s->refused_topic != NULL && strcmp(r->topic, s->refused_topic) == 0)
		return SINK_ROUTE_REFUSED;
	if (s->value_max > 0 && r->value_size > s->value_max)
		return s->is_invalid ? SINK_RECORD_REFUSED : SINK_RECORD_TOO_LARGE;
	if (s->time_max_ms > 0 && r->timestamp_ms > s->time_max_ms)
		return SINK_TIMESTAMP_REFUSED;
	return SINK_DELIVERED;
}

static void
sweep(struct fake_sink *s)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->queue_count; i++) {
		if (!s->queue[i].is_answered)
			s->queue[kept++] = s->queue[i];
		else if (!s->queue[i].has_landed)
			free_landed(&s->queue[i].as_landed);
	}
	s->queue_count = kept;
}

static bool
is_of_batch(const struct fake_record *r, const struct fake_landed *first)
{
	return !r->is_answered && r->as_landed.partition == first->partition &&
	       strcmp(r->as_landed.topic, first->topic) == 0;
}

/* One batch out of a partition. False: it has none. */
static bool
answer_batch(struct fake_sink *s, size_t partition)
{
	enum sink_result result = SINK_DELIVERED;
	struct fake_landed first;
	size_t begin = 0;
	size_t count = 0;

	while (begin < s->queue_count &&
	       (s->queue[begin].is_answered ||
		   s->queue[begin].as_landed.partition != partition))
		begin++;
	if (begin == s->queue_count)
		return false;
	first = s->queue[begin].as_landed;
	for (size_t i = begin; i < s->queue_count && count < s->batch_max; i++) {
		if (!is_of_batch(&s->queue[i], &first))
			continue;
		count++;
		if (result == SINK_DELIVERED)
			result = judge(s, &s->queue[i].as_landed);
	}
	if (s->given_back > 0) {
		s->given_back--;
		result = SINK_NOT_DELIVERED;
	}
	/* Kafka's refusal of a topic leaves the producer alone (facts). */
	if (s->is_gapless &&
	    (result == SINK_RECORD_REFUSED || result == SINK_RECORD_TOO_LARGE ||
		result == SINK_TIMESTAMP_REFUSED))
		s->is_fatal = true;
	/* What is queued behind a refusal of the topic shares its fate. */
	if (result == SINK_ROUTE_REFUSED)
		count = s->queue_count;
	for (size_t i = begin; i < s->queue_count && count > 0; i++) {
		if (is_of_batch(&s->queue[i], &first)) {
			answer(s, i, result == SINK_DELIVERED, result);
			count--;
		}
	}
	return true;
}

static void
fake_poll(struct sink *sink)
{
	struct fake_sink *s = (struct fake_sink *)sink;
	size_t idle = 0;
	/* A transaction that has to be aborted: nothing more is sent. */
	size_t left = s->is_rejected ? 0 : s->batches_per_poll;

	while (left > 0 && !s->is_rejected && idle < s->partitions && !s->is_fatal &&
	       !s->is_down) {
		size_t partition = s->next_partition;

		s->next_partition = (s->next_partition + 1) % s->partitions;
		if (!s->is_stuck[partition] && answer_batch(s, partition)) {
			idle = 0;
			left--;
		} else {
			idle++;
		}
	}
	sweep(s);
}

static int
fake_fd(const struct sink *sink)
{
	(void)sink;
	return -1;
}

static bool
fake_is_fatal(struct sink *sink, const char **text)
{
	struct fake_sink *s = (struct fake_sink *)sink;

	if (s->is_fatal)
		*text = "fatal, as the test wants it";
	return s->is_fatal;
}

static int
fake_reopen(struct sink *sink)
{
	struct fake_sink *s = (struct fake_sink *)sink;

	for (size_t i = 0; i < s->queue_count; i++) {
		bool lands = s->landed_on_reopen > 0;

		s->landed_on_reopen -= lands;
		answer(s, i, lands, SINK_NOT_DELIVERED);
	}
	sweep(s);
	s->reopen_count++;
	if (s->reopen_failures > 0) {
		s->reopen_failures--;
		return ERR_FATAL;
	}
	s->is_fatal = false;
	s->is_recovered = false;
	s->call = FAKE_NO_CALL;
	return 0;
}

/* ---- transactions ---- */

/* Does this call have to be made again? */
static bool
wants_again(struct fake_sink *s, enum fake_call call)
{
	assert(s->call == FAKE_NO_CALL || s->call == call);
	if (s->call == FAKE_NO_CALL)
		s->call_count = 0;
	s->call = call;
	if (s->is_down || s->call_count++ < s->again_count)
		return true;
	s->call = FAKE_NO_CALL;
	return false;
}

static void
take_back(struct fake_sink *s)
{
	for (size_t i = s->committed_count; i < s->landed_count; i++)
		free_landed(&s->landed[i]);
	s->abort_landed_count += s->landed_count - s->committed_count;
	s->landed_count = s->committed_count;
	s->is_rejected = false;
}

static int
fake_recover(struct sink *sink, struct buffer *position)
{
	struct fake_sink *s = (struct fake_sink *)sink;

	if (s->is_fatal)
		return ERR_FATAL;
	assert(!s->is_recovered && s->out_count == 0);
	if (wants_again(s, FAKE_RECOVER))
		return ERR_AWAY;
	if (s->refused_recoveries > 0) {
		s->refused_recoveries--;
		return ERR_REFUSED;
	}
	take_back(s);
	s->is_recovered = true;
	buffer_clear(position);
	return buffer_append(position, s->position.data, s->position.size);
}

static int
fake_commit(struct sink *sink, struct bytes position)
{
	struct fake_sink *s = (struct fake_sink *)sink;
	bool happens = s->fatal_commits == 0;

	if (s->is_fatal)
		return ERR_FATAL;
	assert(s->is_recovered && s->out_count == 0 && !s->is_rejected);
	assert(s->landed_count > s->committed_count);
	if (wants_again(s, FAKE_COMMIT))
		return ERR_AWAY;
	if (s->refused_commits > 0) {
		s->refused_commits--;
		s->is_rejected = true;
		return ERR_REFUSED;
	}
	if (happens) {
		s->committed_count = s->landed_count;
		s->commit_count++;
		buffer_clear(&s->position);
		assert(buffer_append(&s->position, position.data, position.size) == 0);
		assert(buffer_reserve(&s->position, 1) == 0);
		s->position.data[s->position.size] = '\0';
	}
	if (happens && s->fatal_commits_after == 0)
		return 0;
	s->fatal_commits -= !happens;
	s->fatal_commits_after -= happens;
	s->is_fatal = true;
	return ERR_FATAL;
}

static int
fake_abort(struct sink *sink)
{
	struct fake_sink *s = (struct fake_sink *)sink;

	if (s->is_fatal)
		return ERR_FATAL;
	assert(s->is_recovered);
	for (size_t i = 0; i < s->queue_count; i++) {
		if (!s->queue[i].is_answered)
			answer(s, i, false, SINK_NOT_DELIVERED);
	}
	sweep(s);
	if (wants_again(s, FAKE_ABORT))
		return ERR_AWAY;
	take_back(s);
	s->abort_count++;
	return 0;
}

static void
fake_close(struct sink *sink)
{
	(void)sink;
}

void
fake_sink_init(struct fake_sink *s)
{
	static const struct sink_ops ops = {
	    .send = fake_send,
	    .poll = fake_poll,
	    .fd = fake_fd,
	    .is_fatal = fake_is_fatal,
	    .reopen = fake_reopen,
	    .close = fake_close,
	};

	*s = (struct fake_sink){
	    .sink.ops = &ops,
	    .partitions = 1,
	    .batch_max = 100,
	    .batches_per_poll = 10,
	    .queue_max = 100000,
	    .is_gapless = true,
	};
}

void
fake_sink_init_transactional(struct fake_sink *s)
{
	static const struct sink_ops ops = {
	    .send = fake_send,
	    .poll = fake_poll,
	    .fd = fake_fd,
	    .is_fatal = fake_is_fatal,
	    .reopen = fake_reopen,
	    .close = fake_close,
	    .recover = fake_recover,
	    .commit = fake_commit,
	    .abort = fake_abort,
	};

	fake_sink_init(s);
	s->sink.ops = &ops;
	s->is_gapless = false;
	s->again_count = 1;
}

void
fake_sink_fini(struct fake_sink *s)
{
	fake_sink_forget(s);
	buffer_fini(&s->position);
	for (size_t i = 0; i < s->landed_count; i++)
		free_landed(&s->landed[i]);
	free(s->queue);
	free(s->landed);
}

size_t
fake_sink_partition(const struct fake_sink *s, const char *key)
{
	return partition_of(s, (struct bytes){key, strlen(key)});
}

void
fake_sink_fail(struct fake_sink *s)
{
	s->is_fatal = true;
}

void
fake_sink_forget(struct fake_sink *s)
{
	for (size_t i = 0; i < s->queue_count; i++)
		free_landed(&s->queue[i].as_landed);
	s->queue_count = 0;
	s->out_count = 0;
	s->out_bytes = 0;
	s->is_fatal = false;
	s->is_recovered = false;
	s->call = FAKE_NO_CALL;
}
