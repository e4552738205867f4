#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# forward.sh [-s]: tidegate-forward --once empties a journal into Kafka, against a tight
# loop of the same records through an idempotent producer (produce send): key = MQTT topic,
# 4 partitions, no compression. Payload alone; with the provenance header on both sides; the
# envelope of TBMQ against payload alone, and against a loop of values as long; exactly
# once, with 20,000 and 100,000 records in a transaction. Time is that of the whole process;
# so is the processor's. A real Apache Kafka, with its log in memory, so that its disk is
# not what is measured.
# -s: a short run.

# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

COUNT=1000000
RUNS=5
if [ "${1:-}" = -s ]; then
	COUNT=20000
	RUNS=1
fi

# Has the topic all of them? Behind them may be the markers of transactions.
has_all() {
	timeout 20 kcat -b "$KAFKA_BOOTSTRAP" -Q -t records:0:-1 -t records:1:-1 \
		-t records:2:-1 -t records:3:-1 2>>"$WORK/run.log" |
		awk -v count="$COUNT" '{ sum += $NF } END { exit sum < count }'
}

# measure CASE COMMAND...: on an empty topic, which goes afterwards; adds seconds to
# CASE.time, and the processor's, its own and the system's, to CASE.cpu
measure() {
	local name=$1 real user system rc TIMEFORMAT='%3R %3U %3S'
	shift
	"$KAFKA" create-topic "$MEMORY/kafka" records 4 >>"$WORK/run.log" 2>&1 || return 1
	{ time timeout 600 "$@" >>"$WORK/run.log" 2>&1; } 2>"$WORK/measured"
	rc=$?
	has_all || rc=1
	"$KAFKA" delete-topic "$MEMORY/kafka" records >>"$WORK/run.log" 2>&1 || return 1
	[ $rc -eq 0 ] || return 1
	read -r real user system <"$WORK/measured" || return 1
	echo "$real" >>"$WORK/$name.time"
	echo "$user $system" | awk '{ print $1 + $2 }' >>"$WORK/$name.cpu"
}

# forward CASE ENVELOPE PROVENANCE [KAFKA SETTINGS]
forward() {
	ROUTES="{ name = \"bench\"; topic_filters = \"#\"; topic = \"records\"; envelope = \"$2\";
		provenance = $3; user_properties = false; }"
	KAFKA_SETTINGS="compression = \"none\"; ${4:-}"
	write_conf
	rm -rf "$JOURNAL_DIR"
	cp -r "$DISK/full" "$JOURNAL_DIR" || return 1
	sync -f "$JOURNAL_DIR"
	measure "$1" "$TOP_BUILDDIR/tidegate-forward" --once -c "$CONF"
}

# exactly_once CASE MESSAGES: Kafka knows no position of this one
exactly_once() {
	forward "$1" none false "delivery = \"exactly_once\"; transactional_id = \"$1-$i\";
		transaction_max_messages = $2; transaction_max_ms = 2000;"
}

# tight CASE [OPTION]
tight() {
	local name=$1
	shift
	measure "$name" "$BENCH/produce" send "$KAFKA_BOOTSTRAP" records "$COUNT" "$@"
}

# Each of them once, those that are compared as neighbours, forth and back in turn
run_all() {
	if (($1 % 2)); then
		tight loop_tbmq -t && forward tbmq tbmq false && forward payload none false &&
			tight loop && tight loop_header -h && forward header none true
	else
		forward header none true && tight loop_header -h && tight loop &&
			forward payload none false && forward tbmq tbmq false && tight loop_tbmq -t
	fi && exactly_once eos20 20000 && exactly_once eos100 100000
}

# table QUIET BASE OURS ROW NAME TARGET: rates
table() {
	paste -d ' ' "$WORK/$2.time" "$WORK/$3.time" |
		"$TOP_SRCDIR/tests/bench/ratios.awk" -v count="$COUNT" -v base=base -v ours=forward \
			-v quiet="$1" -v row="$4" -v name="$5" -v target="$6" || fail "no times"
}

# cost BASE OURS ROW NAME: the processor's microseconds for each record; less is better
cost() {
	paste -d ' ' "$WORK/$1.cpu" "$WORK/$2.cpu" |
		"$TOP_SRCDIR/tests/bench/ratios.awk" -v costs=1 -v count="$COUNT" -v quiet=1 \
			-v row="$3" -v name="$4" || fail "no times"
}

start_bench_kafka
BROKER_PORT=1883 # not used
JOURNAL_SETTINGS='max_bytes = "8 GiB"; compression = "none";'
mkdir "$DISK/full"
"$BENCH/produce" fill "$DISK/full" "$COUNT" || fail "filling a journal"
for ((i = 0; i <= RUNS; i++)); do
	run_all "$i" || fail "a run"
	((i > 0)) || rm -f "$WORK"/*.time "$WORK"/*.cpu # the first warms up
done

echo "Forward of $COUNT records of 200 bytes from the journal to Kafka, against a tight loop"
echo "of the same records; records a second, $RUNS runs in turn"
echo
table 0 loop payload "payload only" "forward, payload only" ">=0.85"
table 1 loop_header header "provenance header" "forward, provenance header" -
table 1 payload tbmq "tbmq / payload only" "forward, tbmq envelope against payload only" ">=0.55"
table 1 loop_tbmq tbmq "tbmq / loop as long" "forward, tbmq envelope against a loop of values as long" -
table 1 loop loop_tbmq "loop as long / loop" "loop of values as long as tbmq's against the loop" -
table 1 loop eos20 "exactly once, 20,000" "forward, exactly once, 20,000 a transaction" ">=0.35"
table 1 loop eos100 "exactly once, 100,000" "forward, exactly once, 100,000 a transaction" ">=0.50"
echo
echo "Processor time, its own and the system's, microseconds a record"
echo
cost loop payload "payload only" "cpu forward"
cost loop_header header "provenance header" "cpu forward, provenance header"
cost payload tbmq "tbmq / payload only" "cpu forward, tbmq envelope against payload only"
cost loop_tbmq tbmq "tbmq / loop as long" "cpu forward, tbmq envelope against a loop of values as long"
cost loop eos100 "exactly once, 100,000" "cpu forward, exactly once"
