/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How far each lane may have sent, noted in the journal ahead of sending: after a crash
 * nobody knows what was on its way, and dropping the oldest must not announce as lost what
 * Kafka may have. Only where the oldest may be dropped; it costs a commit now and then.
 *
 * Failure modes: it cannot be noted: what is delivered matters more, so it is sent all the
 * same, and tried again.
 */
#include "err.h"
#include "forwarder_parts.h"

#define MARK_RETRY_MS 1000
#define AHEAD_MIN     16
#define AHEAD_MAX     65536

/* As many records as a part of the room for records on their way may hold. */
static uint64_t
ahead_of(const struct forwarder *f, const struct lane *lane)
{
	uint64_t bytes = (f->room.each + f->room.common) / 4;
	const struct run *run = lane->run;
	uint64_t each = 1024, count;

	if (run != NULL && run->end_seq > run->base_seq)
		each = run->body.size / (run->end_seq - run->base_seq) + 1;
	count = bytes / each;
	if (count < AHEAD_MIN)
		return AHEAD_MIN;
	return count > AHEAD_MAX ? AHEAD_MAX : count;
}

/* It would be out of date when the oldest may be dropped again. */
static void
forget_mark(struct forwarder *f, size_t index)
{
	int err = journal_sent_put(f->journal, index, 0);

	if (err != 0)
		log_repeated(&f->mark_log, f->now_ms, LOG_LEVEL_WARNING, LOG_JOURNAL,
		    "cannot forget in the journal how far was sent: %s", err_str(err));
}

int
forwarder_open_marks(struct forwarder *f)
{
	for (size_t i = 0; i < f->lane_count; i++) {
		struct lane *lane = &f->lanes[i];
		uint64_t seq = 0;
		int err = journal_sent_get(f->journal, i, &seq);

		if (err != 0)
			return err;
		if (f->marks_sent)
			lane->marked_seq = lane->doubt_seq = seq;
		else if (seq != 0)
			forget_mark(f, i);
	}
	return 0;
}

void
forwarder_mark_sent(struct forwarder *f, struct lane *lane)
{
	uint64_t seq;
	int err;

	if (!f->marks_sent || lane->next_seq <= lane->marked_seq ||
	    f->now_ms < f->mark_again_ms)
		return;
	seq = lane->next_seq + ahead_of(f, lane);
	err = journal_sent_put(f->journal, (size_t)(lane - f->lanes), seq);
	if (err == 0) {
		lane->marked_seq = seq;
		return;
	}
	f->mark_again_ms = f->now_ms + MARK_RETRY_MS;
	log_repeated(&f->mark_log, f->now_ms, LOG_LEVEL_WARNING, LOG_JOURNAL,
	    "cannot note in the journal how far was sent: %s", err_str(err));
}
