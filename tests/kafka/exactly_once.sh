#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Exactly once, by ledger: messages flow through mosquitto and the journal while forward is
# killed at random moments, Kafka is killed and started, and frozen for longer than a
# transaction may last. A consumer with read_committed sees each message once, in order.
# Then the same kills with delivery = "at_least_once": there the same ledger counts
# duplicates, so it does see them.
#
# EO_KILLS (of forward), EO_KAFKA_KILLS, EO_FREEZE_S (0: not at all), EO_RATE and EO_SEED
# make it longer, shorter, or repeat it; the long one is
# EO_KILLS=100 EO_KAFKA_KILLS=6 EO_FREEZE_S=65.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

INGEST=$TOP_BUILDDIR/tidegate-ingest
FORWARD=$TOP_BUILDDIR/tidegate-forward
need mosquitto jq "$TESTLIB/ledger_publish" "$TESTLIB/ledger_consume" "$INGEST" "$FORWARD"

KILLS=${EO_KILLS:-60}
KAFKA_KILLS=${EO_KAFKA_KILLS:-4}
FREEZE_S=${EO_FREEZE_S:-0}
RATE=${EO_RATE:-1500}
SEED=${EO_SEED:-$RANDOM}
JOURNAL_SETTINGS='max_bytes = "1 GiB";'

# What a worker needs from tidegated it does by itself: it is started again at once, so that
# the kills come close together.
start_ingest() {
	"$INGEST" -c "$CONF" >>"$WORK/$CASE-ingest.log" 2>&1 &
	INGEST_PID=$!
	track "$INGEST_PID"
	wait_for 20 is_subscribed 't/#'
}

start_forward() {
	"$FORWARD" -c "$CONF" >>"$WORK/$CASE-forward.log" 2>&1 &
	FORWARD_PID=$!
	track "$FORWARD_PID"
}

# kill_forward: SIGKILL, and another one
kill_forward() {
	kill -KILL "$FORWARD_PID" || return 1
	wait "$FORWARD_PID" 2>/dev/null
	start_forward
}

# acknowledged: up to which sequence has the journal recorded it? Nothing while it is away.
acknowledged() {
	dump --stat --json 2>/dev/null | jq -r '.acknowledged.default // 0'
}

is_past() {
	[ "$(acknowledged)" -gt "$1" ]
}

# moves_on: something is delivered after what was by now
moves_on() {
	local now
	now=$(acknowledged)
	wait_for "${1:-60}" is_past "${now:-0}"
}

pause_ms() {
	sleep "$(($1 / 1000)).$(printf %03d $(($1 % 1000)))"
}

# kill_run KILLS KAFKA_KILLS: forward dies within a second of its start, mostly in the
# middle of a transaction; Kafka dies with one open
kill_run() {
	local kills=$1 every=0 i failed=0
	RANDOM=$SEED
	[ "$2" -eq 0 ] || every=$((kills / $2))
	for ((i = 1; i <= kills; i++)); do
		pause_ms $((RANDOM % 900))
		kill_forward || failed=$((failed + 1))
		# Some live until they have delivered something.
		[ $((i % 4)) -ne 0 ] || moves_on 60 || failed=$((failed + 1))
		[ "$every" -eq 0 ] || [ $((i % every)) -ne 0 ] || {
			pause_ms $((RANDOM % 700))
			kafka kill && kafka restart || failed=$((failed + 1))
			moves_on 90 || failed=$((failed + 1))
		}
	done
	[ "$failed" -eq 0 ]
}

freeze_kafka() {
	kafka pause && sleep "$FREEZE_S" && kafka resume && moves_on 120
}

# new_case NAME DELIVERY [CONSUMER OPTION...]
new_case() {
	local delivery=$2
	CASE=$1
	JOURNAL_DIR=$WORK/$1
	GATEWAY_ID=$1
	KAFKA_SETTINGS="delivery = \"$delivery\"; properties = [ \"reconnect.backoff.max.ms=1000\" ];"
	ROUTES="{ name = \"default\"; topic_filters = [ \"t/#\" ]; topic = \"$1\"; envelope = \"none\"; }"
	shift 2
	kafka create-topic "$CASE" 4 || bail "no topic"
	write_conf
	check "$CASE: ingest starts" start_ingest
	consume_start "$CASE" "$CASE" -w -T 120 -R 0 "$@"
	publish_start "$CASE" -d 50 -r "$RATE" -s 60-400 -u
	start_forward
	check "$CASE: messages flow" moves_on 60
}

end_case() {
	check "$CASE: the publisher got every PUBACK" publish_stop
	check "$CASE: the journal becomes empty" wait_for 120 journal_is_empty
}

stop_workers() {
	end_pid "$FORWARD_PID" 20 && end_pid "$INGEST_PID" 20
}

# field WORD: the number behind it in the ledger's line
field() {
	sed -n "s/.*$1 \([0-9]*\).*/\1/p" <<<"$LEDGER_LINE"
}

start_kafka || bail "no Kafka"
start_mosquitto || bail "no mosquitto"
diag "EO_SEED=$SEED"

new_case exactly-once exactly_once -x -D 0
check "exactly once: forward is killed $KILLS times, Kafka $KAFKA_KILLS times" \
	kill_run "$KILLS" "$KAFKA_KILLS"
[ "$FREEZE_S" -eq 0 ] ||
	check "exactly once: Kafka is frozen for $FREEZE_S s" freeze_kafka
end_case
check "exactly once: nothing is lost, twice or out of order" consume_finish exactly-once 150
diag "records that Kafka had and the journal did not know of, at $(
	grep -c 'Kafka has what is for it' "$WORK/exactly-once-forward.log") of the starts"
check "exactly once: the workers end" stop_workers
check "exactly once: the journal is in order" journal_check

# As many as it takes to be sure of one that hits.
new_case at-least-once at_least_once
check "at least once: forward is killed $((KILLS / 4 + 5)) times" kill_run $((KILLS / 4 + 5)) 0
end_case
check "at least once: nothing is lost or out of order" consume_finish at-least-once 150
check "at least once: there are duplicates, and they are seen" test "$(field duplicated)" -gt 0
check "at least once: the workers end" stop_workers
kafka stop
tap_done
