/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tidegate-dump writes. The text form allocates nothing for each record: a million
 * of them are listed in seconds.
 *
 * Failure modes: standard output that cannot be written ends with ERR_IO at the next
 * thing printed, at the latest in dump_print_flush().
 */
#include "dump_print.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dump_json.h"
#include "dump_time.h"
#include "err.h"
#include "text.h"

#define STDOUT_BYTES        ((size_t)1 << 18)
#define PAYLOAD_START_BYTES 64

struct dump_printer {
	enum dump_form form;
	bool is_terminal;
	bool is_prompt; /* somebody is looking: each batch at once */
	bool is_told;   /* that standard output has failed */
	struct buffer line;
	int write_errno; /* why standard output could not be written; 0: not known */
};

int
dump_printer_open(struct dump_printer **out, enum dump_form form, bool is_prompt)
{
	static char room[STDOUT_BYTES];
	struct dump_printer *p = calloc(1, sizeof(*p));

	*out = p;
	if (p == NULL)
		return ERR_NOMEM;
	p->form = form;
	p->is_terminal = isatty(STDOUT_FILENO) != 0;
	p->is_prompt = is_prompt || p->is_terminal;
	/* Refused, it is merely slower. */
	(void)setvbuf(stdout, room, _IOFBF, sizeof(room));
	return 0;
}

void
dump_printer_close(struct dump_printer *p)
{
	if (p == NULL)
		return;
	buffer_fini(&p->line);
	free(p);
}

bool
dump_print_failed(const struct dump_printer *p)
{
	(void)p;
	return ferror(stdout) != 0;
}

int
dump_print_flush(struct dump_printer *p)
{
	if (fflush(stdout) != 0 && p->write_errno == 0)
		p->write_errno = errno;
	if (!ferror(stdout))
		return 0;
	/* A reader that has seen enough is no news, nor is who ends it by a signal. */
	if (p->write_errno != EPIPE && p->write_errno != EINTR && !p->is_told)
		(void)fprintf(stderr, "tidegate-dump: standard output: %s\n",
		    p->write_errno != 0 ? strerror(p->write_errno) : "not written");
	p->is_told = true;
	return ERR_IO;
}

int
dump_print_batch_end(struct dump_printer *p)
{
	return p->is_prompt ? dump_print_flush(p) : 0;
}

static int
write_out(struct dump_printer *p, const void *data, size_t size)
{
	if (fwrite(data, 1, size, stdout) == size)
		return 0;
	p->write_errno = errno;
	return ERR_IO;
}

static int
write_line(struct dump_printer *p)
{
	return write_out(p, p->line.data, p->line.size);
}

/* ---- pieces of text; errors stick, so that they are looked at once ---- */

struct line {
	struct buffer *out;
	int err;
};

static void
put_str(struct line *l, const char *text)
{
	if (l->err == 0)
		l->err = buffer_append_str(l->out, text);
}

static void
put_safe(struct line *l, const void *data, size_t size)
{
	if (l->err == 0)
		l->err = text_append_safe(l->out, data, size);
}

static void
put_number(struct line *l, uint64_t value)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value > 0);
	if (l->err == 0)
		l->err = buffer_append(l->out, digits + at, sizeof(digits) - at);
}

static void
put_time(struct line *l, uint64_t ms)
{
	if (l->err == 0)
		l->err = dump_time_append(l->out, ms);
}

/* As much of the payload as ends with a whole character. */
static size_t
start_bytes(struct bytes payload)
{
	const uint8_t *data = payload.data;
	size_t size = 0;

	if (payload.size <= PAYLOAD_START_BYTES)
		return payload.size;
	for (;;) {
		uint32_t code;
		size_t length = text_utf8_next(data + size, payload.size - size, &code);

		length = length > 0 ? length : 1;
		if (size + length > PAYLOAD_START_BYTES)
			return size;
		size += length;
	}
}

/* Time, QoS, retain, topic, size, start of the payload. */
static void
put_record(struct line *l, const struct record *r)
{
	size_t shown = start_bytes(r->payload);

	put_time(l, r->received_ms);
	put_str(l, "\t");
	put_number(l, r->qos);
	put_str(l, r->retain ? "\tr\t" : "\t-\t");
	put_safe(l, r->topic.data, r->topic.size);
	put_str(l, "\t");
	put_number(l, r->payload.size);
	put_str(l, "\t");
	put_safe(l, r->payload.data, shown);
	if (shown < r->payload.size)
		put_str(l, "...");
}

/* ---- things ---- */

static int
finish_json(struct dump_printer *p, int err)
{
	if (err == 0)
		err = buffer_append(&p->line, "\n", 1);
	return err != 0 ? err : write_line(p);
}

static int
print_payload(struct dump_printer *p, struct bytes payload)
{
	struct line l = {&p->line, 0};

	if (!p->is_terminal)
		return write_out(p, payload.data, payload.size);
	put_safe(&l, payload.data, payload.size);
	put_str(&l, "\n");
	return l.err != 0 ? l.err : write_line(p);
}

int
dump_print_record(struct dump_printer *p, uint64_t seq, const struct record *r)
{
	struct line l = {&p->line, 0};

	buffer_clear(&p->line);
	switch (p->form) {
	case DUMP_PAYLOAD:
		return print_payload(p, r->payload);
	case DUMP_JSON:
		return finish_json(p, dump_json_record(&p->line, seq, r));
	case DUMP_TEXT:
		break;
	}
	put_number(&l, seq);
	put_str(&l, "\t");
	put_record(&l, r);
	put_str(&l, "\n");
	return l.err != 0 ? l.err : write_line(p);
}

int
dump_print_dead(struct dump_printer *p, const struct journal_dead *dead,
    const struct dead_letter *letter, const struct record *r)
{
	struct line l = {&p->line, 0};

	buffer_clear(&p->line);
	switch (p->form) {
	case DUMP_PAYLOAD:
		return print_payload(p, r->payload);
	case DUMP_JSON:
		return finish_json(p, dump_json_dead(&p->line, dead, letter, r));
	case DUMP_TEXT:
		break;
	}
	put_number(&l, dead->seq);
	put_str(&l, "\t");
	put_safe(&l, dead->route.data, dead->route.size);
	put_str(&l, "\t");
	put_safe(&l, letter->reason, strlen(letter->reason));
	put_str(&l, "\t");
	put_safe(&l, letter->detail.data, letter->detail.size);
	put_str(&l, "\t");
	put_time(&l, letter->buried_ms);
	put_str(&l, "\t");
	put_record(&l, r);
	put_str(&l, "\n");
	return l.err != 0 ? l.err : write_line(p);
}

int
dump_print_gap(struct dump_printer *p, const struct journal_gap *gap)
{
	const char *reason = journal_gap_reason_str(gap->reason);
	uint64_t last_seq = gap->first_seq + gap->count - 1;
	struct line l = {&p->line, 0};

	buffer_clear(&p->line);
	if (p->form == DUMP_JSON)
		return finish_json(p, dump_json_gap(&p->line, gap));
	put_number(&l, gap->first_seq);
	put_str(&l, "\t");
	put_number(&l, last_seq);
	put_str(&l, "\t");
	put_number(&l, gap->count);
	put_str(&l, "\t");
	put_time(&l, gap->at_ms);
	put_str(&l, "\t");
	put_str(&l, reason);
	put_str(&l, "\n");
	return l.err != 0 ? l.err : write_line(p);
}

static void
put_uuid(struct line *l, const uint8_t uuid[16])
{
	char text[37];

	journal_uuid_text(uuid, text);
	put_str(l, text);
	put_str(l, "\n");
}

static void
put_named_number(struct line *l, const char *name, uint64_t value, const char *unit)
{
	put_str(l, name);
	put_number(l, value);
	put_str(l, unit);
	put_str(l, "\n");
}

static void
put_identity(struct line *l, const struct journal_identity *identity)
{
	static const uint8_t none[16];

	put_str(l, "uuid            ");
	put_uuid(l, identity->uuid);
	if (memcmp(identity->parent, none, sizeof(none)) != 0) {
		put_str(l, "copy of         ");
		put_uuid(l, identity->parent);
	}
	put_str(l, "gateway         ");
	put_safe(l, identity->gateway_id, strlen(identity->gateway_id));
	put_str(l, "\n");
	put_named_number(l, "format          ", JOURNAL_FORMAT, "");
}

static void
put_figures(struct line *l, const struct journal_stat *stat, int64_t now_ms)
{
	put_named_number(l, "first           ", stat->first_seq, "");
	put_named_number(l, "next            ", stat->next_seq, "");
	for (size_t i = 0; i < stat->route_count; i++) {
		put_str(l, "acknowledged    ");
		put_number(l, stat->routes[i].acked_seq);
		put_str(l, " by route ");
		put_safe(l, stat->routes[i].name, strlen(stat->routes[i].name));
		put_str(l, "\n");
	}
	put_named_number(l, "records         ", stat->records, "");
	put_named_number(l, "used            ", stat->used_bytes, " bytes");
	if (stat->max_bytes > 0) {
		put_named_number(
		    l, "free            ", dump_free_bytes(stat), " bytes");
		put_named_number(l, "max             ", stat->max_bytes, " bytes");
	}
	put_named_number(l, "file            ", stat->file_bytes, " bytes");
	if (stat->oldest_ms > 0) {
		put_str(l, "oldest          ");
		put_time(l, stat->oldest_ms);
		put_str(l, ", ");
		put_number(l, dump_oldest_age_ms(stat, now_ms) / 1000);
		put_str(l, " s ago\n");
	}
	put_named_number(l, "dead letters    ", stat->dead_count, "");
	put_named_number(l, "gaps            ", stat->gap_count, "");
	if (stat->damaged_count > 0)
		put_named_number(
		    l, "damaged batches ", stat->damaged_count, ", set aside");
	for (int i = 1; i < JOURNAL_GAP_REASONS; i++) {
		if (stat->removed[i] == 0)
			continue;
		put_str(l, "removed         ");
		put_number(l, stat->removed[i]);
		put_str(l, " (");
		put_str(l, journal_gap_reason_str((enum journal_gap_reason)i));
		put_str(l, ")\n");
	}
}

uint64_t
dump_free_bytes(const struct journal_stat *stat)
{
	return stat->max_bytes > stat->used_bytes ? stat->max_bytes - stat->used_bytes
						  : 0;
}

uint64_t
dump_oldest_age_ms(const struct journal_stat *stat, int64_t now_ms)
{
	uint64_t now = (uint64_t)now_ms;

	return stat->oldest_ms > 0 && now > stat->oldest_ms ? now - stat->oldest_ms : 0;
}

int
dump_print_stat(struct dump_printer *p, const struct journal_identity *identity,
    const struct journal_stat *stat, int64_t now_ms)
{
	struct line l = {&p->line, 0};

	buffer_clear(&p->line);
	if (p->form == DUMP_JSON)
		return finish_json(p, dump_json_stat(&p->line, identity, stat, now_ms));
	put_identity(&l, identity);
	put_figures(&l, stat, now_ms);
	return l.err != 0 ? l.err : write_line(p);
}
