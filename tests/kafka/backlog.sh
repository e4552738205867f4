#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A start with ten million records waiting, on a real Kafka: the first of them is there
# less than a second later than with a thousand waiting, and the memory of
# tidegate-forward stays within bounds while it drains. BACKLOG=N for another number.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need kcat jq "$TOP_BUILDDIR/tests/bench/produce" "$TOP_BUILDDIR/tidegate-forward"

BACKLOG=${BACKLOG:-10000000}
MEMORY_LIMIT_KIB=65536

# fill_journal COUNT: a new one, under the configuration
fill_journal() {
	JOURNAL_DIR=$WORK/journal-$1
	TOPIC=records-$1
	ROUTES="{ name = \"default\"; topic_filters = \"#\"; topic = \"$TOPIC\"; envelope = \"none\"; }"
	write_conf
	kafka create-topic "$TOPIC" 4 &&
		"$TOP_BUILDDIR/tests/bench/produce" fill "$JOURNAL_DIR" "$1"
}

# The first producer id that a new broker gives out takes it a second: not what is measured.
warm_up() {
	echo warm | kcat -P -b "$KAFKA_BOOTSTRAP" -t warm -X enable.idempotence=true
}

# first_delivery: from starting tidegate-forward until a consumer that was there before it
# has the first record; FIRST_MS
first_delivery() {
	local from
	kcat -C -b "$KAFKA_BOOTSTRAP" -t "$TOPIC" -o beginning -c 1 -X fetch.wait.max.ms=10 \
		-f '%o\n' >"$WORK/$TOPIC.first" 2>>"$WORK/kcat.log" &
	track $!
	from=$(now_ms)
	"$TOP_BUILDDIR/tidegate-forward" -c "$CONF" >>"$WORK/gateway.log" 2>&1 &
	FORWARD_PID=$!
	track "$FORWARD_PID"
	wait_for 20 test -s "$WORK/$TOPIC.first" || return 1
	FIRST_MS=$(($(now_ms) - from))
}

has_acknowledged() {
	[ "$(dump --stat --json | jq .acknowledged.default)" -ge "$1" ]
}

GATEWAY_ID=bench
BROKER_PORT=1883 # not used
JOURNAL_SETTINGS='max_bytes = "8 GiB"; compression = "none";'
start_kafka log.retention.bytes=268435456 log.segment.bytes=67108864 \
	log.retention.check.interval.ms=2000 || bail "no Kafka"
kafka create-topic warm 1 || bail "no topic"
wait_for 30 warm_up || bail "no warm broker"

check "1000 records are waiting" fill_journal 1000
check "forward begins to deliver" first_delivery
FEW_MS=${FIRST_MS:-0}
check "it delivers them" wait_for 30 journal_is_empty
check "it stops" end_pid "$FORWARD_PID" 30

check "$BACKLOG records are waiting" fill_journal "$BACKLOG"
FIRST_MS=
check "forward begins to deliver" first_delivery
diag "first delivery after ${FIRST_MS:-?} ms; $FEW_MS ms with 1000"
check "less than a second later" test "${FIRST_MS:-99999}" -le $((FEW_MS + 1000))
check "it goes on" wait_for 60 has_acknowledged $((BACKLOG / 10))
RSS=$(rss_kib "$FORWARD_PID")
diag "RssAnon of tidegate-forward $RSS KiB"
check "in bounded memory" test "${RSS:-999999}" -le $MEMORY_LIMIT_KIB
check "it stops" end_pid "$FORWARD_PID" 30
tap_done
