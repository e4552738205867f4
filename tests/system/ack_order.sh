#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Late acknowledgement, seen from outside: no PUBACK is written before the commit that
# holds its message has returned (I1). And the same look at a build with late
# acknowledgement switched off must find it wanting, or it proves nothing.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/certs.sh
. "$TOP_SRCDIR/tests/lib/certs.sh"

need mosquitto openssl strace python3 "$TESTLIB/ledger_publish" "$TOP_BUILDDIR/tidegate-ingest" \
	"$TESTLIB/tidegate-ingest-early"
strace -o /dev/null true 2>/dev/null || skip_all "strace may not trace here"

COUNT=${ACK_ORDER_COUNT:-6000}
PAYLOAD_SIZE=1000 # larger than anything else that the broker sends over TLS

# trace NAME PROGRAM PORT: run ingest under strace while COUNT messages are published
trace() {
	local name=$1 program=$2 pid child
	JOURNAL_DIR=$WORK/journal-$name
	GATEWAY_ID=$name
	BROKER_PORT=$3 write_conf
	# LeakSanitizer cannot work in a process that is traced.
	ASAN_OPTIONS=detect_leaks=0 strace -f -yy -xx -s 65536 -o "$WORK/$name.trace" \
		-e trace=read,recvfrom,write,writev,sendto,sendmsg,openat,fdatasync,fsync,pwrite64,pwritev \
		"$program" -c "$CONF" >"$WORK/$name.log" 2>&1 &
	pid=$!
	track "$pid"
	wait_for 20 is_subscribed 't/#'
	local rc=$?
	# strace passes no signal on: the program itself is its only child by now.
	child=$(cat "/proc/$pid/task/$pid/children")
	child=${child% }
	track "$child"
	[ "$rc" -eq 0 ] || return 1
	# At this rate ingest makes many commits out of them.
	publish_start "$name" -d 20 -n "$COUNT" -r 4000 -s "$PAYLOAD_SIZE"
	publish_wait 120 || return 1
	has_journalled() { dump --stat --json | jq -e ".next_seq > $COUNT"; }
	wait_for 60 has_journalled || return 1
	kill -TERM "$child"
	wait_for 20 is_gone "$pid"
}

# verdict NAME PORT [SIZE]
verdict() {
	"$TOP_SRCDIR/tests/lib/ack_order.py" "$WORK/$1.trace" "$2" 5000 ${3:+"$3"} \
		>"$WORK/$1.verdict"
	local rc=$?
	diag "$1: $(tail -n 1 "$WORK/$1.verdict")"
	return "$rc"
}

early_is_found() {
	verdict "$@"
	[ $? -eq 1 ]
}

KAFKA_BOOTSTRAP=127.0.0.1:9
TLS_PORT=$(free_port)
make_authority ca || bail "no authority"
make_certificate broker ca DNS:localhost,IP:127.0.0.1 || bail "no certificate"
start_mosquitto "listener $TLS_PORT 127.0.0.1" "cafile $CERTS/ca.pem" \
	"certfile $CERTS/broker.pem" "keyfile $CERTS/broker.key" || bail "no mosquitto"
LATE=$TOP_BUILDDIR/tidegate-ingest
EARLY=$TESTLIB/tidegate-ingest-early
check "ingest takes the messages under strace" trace late "$LATE" "$BROKER_PORT"
check "no PUBACK leaves before its commit has returned" verdict late "$BROKER_PORT"
check "a build that acknowledges early takes them too" trace early "$EARLY" "$BROKER_PORT"
check "and is found out" early_is_found early "$BROKER_PORT"

MQTT_SETTINGS="tls = { ca_file = \"$CERTS/ca.pem\"; };"
check "the same over TLS" trace tls "$LATE" "$TLS_PORT"
check "no PUBACK leaves before its commit has returned" \
	verdict tls "$TLS_PORT" $PAYLOAD_SIZE
check "the early build over TLS" trace tls-early "$EARLY" "$TLS_PORT"
check "is found out as well" early_is_found tls-early "$TLS_PORT" $PAYLOAD_SIZE
tap_done
