#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The journal is full: ingest acknowledges what it has, leaves in order and stays away, and
# says so; the broker keeps the rest. A start beside a full journal does not even connect.
# With room again it comes back, and nothing is lost, doubled or out of order.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need mosquitto jq "$TESTLIB/ledger_publish" "$TESTLIB/mockkafka" \
	"$TOP_BUILDDIR/tidegate-ingest" "$TOP_BUILDDIR/tidegate-forward"

JOURNAL_SETTINGS='max_bytes = "4 MiB"; compression = "none";'
COUNT=10000 # of 1,000 bytes

start_worker() {
	"$TOP_BUILDDIR/tidegate-$1" -c "$CONF" >>"$WORK/$1.log" 2>&1 8>&- 9>&- &
	WORKER_PID=$!
	track "$WORKER_PID"
}

end_worker() {
	end_pid "$1" && wait "$1"
}

# says TEXT [TIMES]: in ingest's log
says() {
	[ "$(grep -cF -- "$1" "$WORK/ingest.log")" -ge "${2:-1}" ]
}

connections() {
	grep -c "New client connected from .* as tidegate-$GATEWAY_ID " "$WORK/mosquitto.log"
}

start_mosquitto || bail "no mosquitto"
start_mock records:2 || bail "no embedded Kafka"
write_conf
start_worker ingest
ingest=$WORKER_PID
check "its subscription is taken" wait_for 20 is_subscribed 't/#'
publish_start full -d 10 -n "$COUNT" -s 1000
check "the publisher gets every PUBACK" publish_wait 60
check "ingest pauses" wait_for 30 says "paused: journal full"
check "it has left, not lost the broker" \
	grep -q "Client tidegate-$GATEWAY_ID disconnected\.$" "$WORK/mosquitto.log"
kept=$(journal_count)
diag "$kept records kept, data.mdb $(stat -c %s "$JOURNAL_DIR/data.mdb") bytes"
check "a good part is journalled, not all" test "$kept" -gt 3000 -a "$kept" -lt "$COUNT"
# The map's reserve of 1 MiB is truncation's, not ingest's.
check "the file is within bounds" \
	test "$(stat -c %s "$JOURNAL_DIR/data.mdb")" -le $((5 * 1024 * 1024))
check "ingest ends while it is paused" end_worker "$ingest"

before=$(connections)
start_worker ingest
ingest=$WORKER_PID
check "started again, it pauses at once" wait_for 20 says "paused: journal full" 2
check "and does not connect" test "$(connections)" -eq "$before"

consume_start full records -w -D 0 -R 0
start_worker forward
forward=$WORKER_PID
check "with forward it goes on" wait_for 30 says "resumed: room for"
check "all of it is journalled" wait_for 60 has_next_seq "$COUNT"
check "each message once" test "$(dump --stat --json | jq -r .next_seq)" -eq $((COUNT + 1))
check "the journal becomes empty" wait_for 60 journal_is_empty
check "nothing is lost, doubled or out of order" consume_finish full
check "ingest ends" end_worker "$ingest"
check "forward ends" end_worker "$forward"
check "the journal is in order" journal_check
tap_done
