#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A journal of 4 MiB, Kafka frozen, 20 MB published: the journal fills, ingest stays away,
# the broker keeps the rest. Then Kafka thaws, while an mdb_copy that is stopped in the
# middle pins the pages: the journal cannot take more before that reader is gone, but
# it is delivered and truncated all the same. In the end nothing is lost, and the file is
# within its bounds.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need mosquitto mdb_copy jq "$TESTLIB/ledger_publish" "$TOP_BUILDDIR/tidegated"

COUNT=${FULL_COUNT:-20000} # of 1,000 bytes

# What the file may take: 4 MiB, the reserve of 1 MiB, and one more, by which a truncation
# may have to grow it. (No dead letters here, so their room must stay untouched.)
FILE_MAX=$((6 * 1024 * 1024))

# The payloads are of a kind that zstd would make next to nothing of.
JOURNAL_SETTINGS='max_bytes = "4 MiB"; dead_max_bytes = "4 MiB"; compression = "none";'

is_full() {
	grep -q 'journal full' "$WORK/gateway.log" && [ "$(journal_count)" -gt 1000 ]
}

# Its output goes nowhere: it stops in the middle, and its read transaction stays open.
reader_start() {
	mkfifo "$WORK/copy"
	mdb_copy "$JOURNAL_DIR" >"$WORK/copy" 2>"$WORK/mdb_copy.log" &
	READER_PID=$!
	track "$READER_PID"
	exec 9<"$WORK/copy"
	# Past the meta pages, which it copies under the writers' lock.
	head -c 65536 <&9 >"$WORK/copied" && kill -STOP "$READER_PID"
}

reader_end() {
	kill -CONT "$READER_PID"
	cat <&9 >>"$WORK/copied"
	exec 9<&-
	wait "$READER_PID"
}

file_size() {
	stat -c %s "$JOURNAL_DIR/data.mdb"
}

reader_is_stopped() {
	grep -q '^State:.T' "/proc/$READER_PID/status"
}

start_kafka || bail "no Kafka"
kafka create-topic records 2 || bail "no topic"
start_mosquitto || bail "no mosquitto"
write_conf
check "the gateway starts" start_gateway
check "its subscription is taken" wait_for 20 is_subscribed 't/#'
memory_watch_start
consume_start full records -w -T 180
check "Kafka is frozen" kafka pause
publish_start full -d 20 -n "$COUNT" -s 1000
check "the publisher gets every PUBACK" publish_wait 120
check "the journal becomes full" wait_for 60 is_full
kept=$(journal_count)
diag "full with $kept records, data.mdb $(file_size) bytes"
check "the journal is in order" journal_check
check "a reader stops in the middle" reader_start
check "Kafka thaws" kafka resume
check "what was kept is delivered and truncated beside the reader" \
	wait_for 90 journal_is_empty
check "the reader is still there" reader_is_stopped
check "nothing new came in beside it" \
	test "$(dump --stat --json | jq -r .next_seq)" -le $((kept + 1))
diag "beside the reader data.mdb $(file_size) bytes"
check "the file is within its bounds" test "$(file_size)" -le "$FILE_MAX"
check "the reader ends" reader_end
check "all of it is journalled" wait_for 120 has_next_seq "$COUNT"
check "the journal becomes empty" wait_for 120 journal_is_empty
check "nothing is lost or out of order" consume_finish full 200
diag "in the end data.mdb $(file_size) bytes"
check "the file is within its bounds in the end" test "$(file_size)" -le "$FILE_MAX"
diag "most memory: ingest $(memory_max ingest) KiB, forward $(memory_max forward) KiB"
check "the gateway stops" stop_gateway
check "the journal is in order in the end" journal_check
tap_done
