#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A disk that fails and recovers, that becomes read-only, that stalls; a journal whose files
# are taken away: nothing is acknowledged that is not committed, nothing is truncated that
# is not recorded, the status says why, and it goes on by itself when the disk does. The
# ledger tells at the end what was lost. With DISK_LONG=1 it fails in more ways, and stalls
# for 30 s.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need mosquitto jq kcat "$TESTLIB/ledger_publish" "$TESTLIB/mockkafka" \
	"$TESTLIB/fault_disk.so" "$TOP_BUILDDIR/tidegated"

LONG=${DISK_LONG:-0}
STALL_MS=2000
[ "$LONG" = 0 ] || STALL_MS=30000
FAULTS=$WORK/faults
STATUS='status = { kafka_topic = "tidegate.status"; interval_s = 1; };'

# Replaced as a whole: the workers read it at any time.
fault() {
	printf '%s\n' "$@" >"$FAULTS.new" && mv "$FAULTS.new" "$FAULTS"
}

no_fault() {
	: >"$FAULTS.new" && mv "$FAULTS.new" "$FAULTS"
}

# The leak sanitizer and its like do not mind what is loaded before them.
start_gateway_on_faults() {
	no_fault
	LD_PRELOAD=$TESTLIB/fault_disk.so TIDEGATE_FAULTS=$FAULTS \
		ASAN_OPTIONS=${ASAN_OPTIONS:-}:verify_asan_link_order=0 start_gateway "$@"
}

# lines TEXT: how often it is in the gateway's log
lines() {
	grep -cF -- "$1" "$WORK/gateway.log"
}

# more_lines TEXT N: is it there more often?
more_lines() {
	[ "$(lines "$1")" -gt "$2" ]
}

# next_seq, or acknowledged.default
stat_of() {
	dump --stat --json 2>/dev/null | jq -r ".$1"
}

grows() { # WHAT FROM
	[ "$(stat_of "$1")" -gt "$2" ]
}

state_says() { # TEXT
	kcat -C -q -e -X fetch.wait.max.ms=20 -b "$KAFKA_BOOTSTRAP" -t tidegate.status \
		-o -1 2>/dev/null | jq -r .state | grep -F -- "$1"
}

workers() {
	echo "$(worker_pid ingest) $(worker_pid forward)"
}

# ingest_fault WHAT...: it pauses, says so, takes nothing, and comes back by itself
ingest_fault() {
	local paused='paused: the journal cannot be written' resumed='can be written again'
	local before_paused before_resumed next
	before_paused=$(lines "$paused")
	before_resumed=$(lines "$resumed")
	fault "${@/#/tidegate-ingest }"
	check "$*: ingest pauses" wait_for 20 more_lines "$paused" "$before_paused"
	next=$(stat_of next_seq)
	check "$*: the status says why" wait_for 20 state_says "$paused"
	check "$*: nothing is taken meanwhile" test "$(stat_of next_seq)" = "$next"
	no_fault
	check "$*: it goes on by itself" wait_for 20 more_lines "$resumed" "$before_resumed"
	check "$*: and takes messages again" wait_for 20 grows next_seq "$next"
}

# forward_fault WHAT...: it delivers, but cannot record that
forward_fault() {
	local text='what was delivered cannot be recorded in the journal' acked
	fault "${@/#/tidegate-forward }"
	check "$*: the status says what forward cannot do" wait_for 20 state_says "$text"
	acked=$(stat_of acknowledged.default)
	check "$*: no position moves, nothing is truncated" \
		test "$(stat_of acknowledged.default)" = "$acked"
	no_fault
	check "$*: forward goes on by itself" wait_for 20 grows acknowledged.default "$acked"
}

start_mosquitto || bail "no mosquitto"
start_mock records:2 tidegate.status:1 || bail "no embedded Kafka"
write_conf "$STATUS"
check "the gateway starts" start_gateway_on_faults
check "its subscription is taken" wait_for 20 is_subscribed 't/#'
before=$(workers)
consume_start disk records -w
publish_start disk -d 5 -r 300
check "messages flow" wait_for 20 grows next_seq 50

ingest_fault "sync EIO"
ingest_fault "sync EROFS" "write EROFS" "open EROFS" "grow EROFS"
forward_fault "sync EIO"
if [ "$LONG" != 0 ]; then
	ingest_fault "write EIO"
	forward_fault "write EROFS" "sync EROFS" "open EROFS"
	forward_fault "write EIO"
fi
check "both workers are those of the beginning" test "$(workers)" = "$before"

diag "both stall for $STALL_MS ms at each flush"
next=$(stat_of next_seq)
fault "* sync $STALL_MS"
check "commits come, slowly" wait_for $((STALL_MS * 4 / 1000 + 20)) grows next_seq "$next"
no_fault
check "no worker was ended for that" test "$(workers)" = "$before"
next=$(stat_of next_seq)
check "messages flow again" wait_for $((STALL_MS * 4 / 1000 + 70)) grows next_seq $((next + 300))

mkdir "$WORK/aside"
mv "$JOURNAL_DIR/data.mdb" "$JOURNAL_DIR/lock.mdb" "$WORK/aside/"
check "files that are taken away are missed" wait_for 20 \
	grep -q 'tidegate-ingest: .*was removed or replaced while in use' "$WORK/gateway.log"
next=$(JOURNAL_DIR=$WORK/aside stat_of next_seq)
check "the status says so" wait_for 20 state_says "cannot be"
check "nothing is written to them meanwhile" \
	test "$(JOURNAL_DIR=$WORK/aside stat_of next_seq)" = "$next"
check "no new journal is made in their place" test ! -e "$JOURNAL_DIR/data.mdb"
mv "$WORK/aside/"* "$JOURNAL_DIR/"
next=$(stat_of next_seq)
check "back in their place, it goes on" wait_for 20 grows next_seq $((next + 300))

check "the publisher got every PUBACK" publish_stop
check "the journal becomes empty" wait_for 60 journal_is_empty
check "nothing is lost or out of order" consume_finish disk
check "the gateway stops" stop_gateway
check "the journal is in order" journal_check
tap_done
