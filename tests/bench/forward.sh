#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# forward.sh [-s]: tidegate-forward --once empties a journal into Kafka, against a tight
# loop of the same records through an idempotent producer (produce send): payload alone,
# key = MQTT topic, 4 partitions, no compression; with the provenance header on both, and
# without any. Time is that of the whole process. A real Apache Kafka, with its log in
# memory, so that its disk is not what is measured. -s: a short run.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

COUNT=1000000
RUNS=5
if [ "${1:-}" = -s ]; then
	COUNT=20000
	RUNS=1
fi
BENCH=$TOP_BUILDDIR/tests/bench
KAFKA=$TOP_SRCDIR/tests/kafka/kafka.sh
KAFKA_ADMIN=$TESTLIB/kafka_admin
export KAFKA_ADMIN
GATEWAY_ID=bench
DISK=$(mktemp -d "$TOP_BUILDDIR/bench-XXXXXX") || exit 1
JOURNAL_DIR=$DISK/journal
MEMORY=$(mktemp -d /dev/shm/tidegate-bench-XXXXXX 2>/dev/null) || MEMORY=$DISK

test_cleanup() {
	"$KAFKA" stop "$MEMORY/kafka" >/dev/null 2>&1
	rm -rf "$DISK" "$MEMORY"
}

fail() {
	echo "forward.sh: $*" >&2
	for log in "$WORK"/*.log "$MEMORY/kafka/broker.log"; do
		diag_file "${log##*/}" "$log" >&2
	done
	exit 1
}

# seconds COMMAND...: how long it took
seconds() {
	local began=$EPOCHREALTIME
	timeout 600 "$@" >>"$WORK/run.log" 2>&1 || return 1
	echo "$EPOCHREALTIME $began" | awk '{ printf "%.4f\n", $1 - $2 }'
}

# with_topic COMMAND...: on an empty topic, which goes afterwards
with_topic() {
	local rc
	"$KAFKA" create-topic "$MEMORY/kafka" records 4 >>"$WORK/run.log" 2>&1 || return 1
	"$@"
	rc=$?
	"$KAFKA" delete-topic "$MEMORY/kafka" records >>"$WORK/run.log" 2>&1 || return 1
	return $rc
}

forward() {
	rm -rf "$JOURNAL_DIR"
	cp -r "$DISK/full" "$JOURNAL_DIR" || return 1
	sync -f "$JOURNAL_DIR"
	with_topic seconds "$TOP_BUILDDIR/tidegate-forward" --once -c "$CONF"
}

tight() {
	with_topic seconds "$BENCH/produce" send "$KAFKA_BOOTSTRAP" records "$COUNT" "$@"
}

# measure HEADER [OPTION]: with or without, for both; the first run warms up
measure() {
	local i loop ours
	ROUTES="{ name = \"bench\"; topic_filters = \"#\"; topic = \"records\"; envelope = \"none\";
		provenance = $1; user_properties = false; }"
	write_conf
	shift
	for ((i = 0; i <= RUNS; i++)); do
		if ((i % 2)); then
			ours=$(forward) && loop=$(tight "$@")
		else
			loop=$(tight "$@") && ours=$(forward)
		fi || fail "a run"
		((i == 0)) || echo "$loop $ours"
	done >"$WORK/times"
}

table() {
	"$TOP_SRCDIR/tests/bench/ratios.awk" -v count="$COUNT" -v base=loop -v ours=forward \
		-v row="$1" -v quiet="$2" "$WORK/times" || fail "no times"
}

"$KAFKA" start "$MEMORY/kafka" >"$WORK/kafka.log" 2>&1 || fail "no Kafka"
KAFKA_BOOTSTRAP=$("$KAFKA" address "$MEMORY/kafka")
BROKER_PORT=1883 # not used
JOURNAL_SETTINGS='max_bytes = "8 GiB"; compression = "none";'
KAFKA_SETTINGS='compression = "none";'
mkdir "$DISK/full"
"$BENCH/produce" fill "$DISK/full" "$COUNT" || fail "filling a journal"

echo "Forward of $COUNT records of 200 bytes from the journal to Kafka, against a tight loop"
echo "of the same records; records a second, $RUNS runs in turn"
echo
measure true -h
table "provenance header" 0
measure false
table "no header" 1
