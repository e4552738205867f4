#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Late acknowledgement, seen from outside: no PUBACK is written before the commit that
# holds its message has returned (I1). And the same look at a build with late
# acknowledgement switched off must find it wanting, or it proves nothing.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need mosquitto strace python3 "$TESTLIB/ledger_publish" "$TOP_BUILDDIR/tidegate-ingest" \
	"$TESTLIB/tidegate-ingest-early"
strace -o /dev/null true 2>/dev/null || skip_all "strace may not trace here"

COUNT=${ACK_ORDER_COUNT:-6000}

# trace NAME PROGRAM: run ingest under strace while COUNT messages are published
trace() {
	local name=$1 program=$2 pid
	JOURNAL_DIR=$WORK/journal-$name
	GATEWAY_ID=$name
	write_conf
	# LeakSanitizer cannot work in a process that is traced.
	ASAN_OPTIONS=detect_leaks=0 strace -f -yy -xx -s 65536 -o "$WORK/$name.trace" \
		-e trace=read,recvfrom,write,writev,sendto,sendmsg,openat,fdatasync,fsync,pwrite64,pwritev \
		"$program" -c "$CONF" >"$WORK/$name.log" 2>&1 &
	pid=$!
	track "$pid"
	wait_for 20 is_subscribed 't/#' || return 1
	# At this rate ingest makes many commits out of them.
	publish_start "$name" -d 20 -n "$COUNT" -r 4000
	publish_wait 120 || return 1
	has_journalled() { dump --stat --json | jq -e ".next_seq > $COUNT"; }
	wait_for 60 has_journalled || return 1
	# strace passes no signal on: the program itself is its only child.
	kill -TERM "$(cat "/proc/$pid/task/$pid/children")"
	wait_for 20 is_gone "$pid"
}

verdict() {
	"$TOP_SRCDIR/tests/lib/ack_order.py" "$WORK/$1.trace" "$BROKER_PORT" 5000 >"$WORK/$1.verdict"
	local rc=$?
	diag "$1: $(tail -n 1 "$WORK/$1.verdict")"
	return "$rc"
}

early_is_found() {
	verdict early
	[ $? -eq 1 ]
}

KAFKA_BOOTSTRAP=127.0.0.1:9
start_mosquitto || bail "no mosquitto"
check "ingest takes the messages under strace" trace late "$TOP_BUILDDIR/tidegate-ingest"
check "no PUBACK leaves before its commit has returned" verdict late
check "a build that acknowledges early takes them too" \
	trace early "$TESTLIB/tidegate-ingest-early"
check "and is found out" early_is_found
tap_done
