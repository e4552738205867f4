#!/bin/bash
# Variables of the files that are sourced:
# shellcheck disable=SC2034,SC2153
# SPDX-License-Identifier: Apache-2.0
#
# Hours in which everything breaks: a gateway between mosquitto and Kafka, devices that
# publish steadily, and faults one after the other and over one another, all from one seed.
# In the end everything is let heal, and the ledger is held against what arrived: nothing
# lost, nothing out of order; memory and the journal's file have stayed where they were.
#
#   SOAK_SECONDS    how long (1200)
#   SOAK_SEED       decides all of it; printed, so that a run can be repeated
#   SOAK_RATE       messages a second (1000)
#   SOAK_KAFKA      mock (librdkafka's mock cluster), or real: Apache Kafka, which is fetched
#   SOAK_DELIVERY   at_least_once, or exactly_once (real Kafka alone): then no duplicates
#
# Exit status 0, or 1 and the seed again, and where everything was kept.

# A small disk to fill, which is there for this process and its children alone.
if [ -z "${SOAK_DISK+set}" ]; then
	for how in -m -rm; do
		unshare $how --propagation private true 2>/dev/null || continue
		export SOAK_DISK=yes
		# shellcheck disable=SC2093 # that ends the loop
		exec unshare $how --propagation private "$0" "$@"
	done
	export SOAK_DISK=
fi

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/proxy.sh
. "$TOP_SRCDIR/tests/lib/proxy.sh"
# shellcheck source=faults.sh
. "$TOP_SRCDIR/tests/soak/faults.sh"
# shellcheck source=beside.sh
. "$TOP_SRCDIR/tests/soak/beside.sh"

# It counts as one result.
skip_all() {
	echo "skipped: $*" >&2
	exit 77
}

SOAK_SECONDS=${SOAK_SECONDS:-1200}
SOAK_SEED=${SOAK_SEED:-$RANDOM}
SOAK_RATE=${SOAK_RATE:-1000}
SOAK_KAFKA=${SOAK_KAFKA:-mock}
SOAK_DELIVERY=${SOAK_DELIVERY:-at_least_once}
ONCE= # what the ledger is told
[ "$SOAK_DELIVERY" != exactly_once ] || ONCE='-x -D 0'

need python3 mosquitto jq "$TESTLIB/ledger_publish" "$TOP_BUILDDIR/tidegated"

# ---- the bookkeeping of faults ----

declare -A COUNT=() # words for the table: how often
declare -A DUE=()   # name of a fault that lasts: when it ends
VIOLATIONS=0

count() {
	COUNT[$1]=$((${COUNT[$1]:-0} + 1))
	echo "$(($(now_ms) - BEGAN)) $1" >>"$WORK/faults"
}

# violation WHAT: something that should not happen whatever is broken
violation() {
	VIOLATIONS=$((VIOLATIONS + 1))
	diag "after $(($(now_ms) - BEGAN)) ms: $*"
}

# one_of RANDOM WORD...
one_of() {
	local at=$1
	shift
	at=$((at % $# + 1))
	echo "${!at}"
}

# lasts SECONDS: of the fault that begins
lasts() {
	DUE[$CURRENT]=$(($(now_ms) + $1 * 1000))
}

heal() {
	unset "DUE[$1]"
	"heal_$1"
}

# heal_due [all]
heal_due() {
	local name now
	now=$(now_ms)
	for name in "${!DUE[@]}"; do
		[ "${1:-}" = all ] || [ "$now" -ge "${DUE[$name]}" ] || continue
		heal "$name"
	done
}

# The same four numbers for each fault, whatever comes of it: so a seed says the same again.
next_fault() {
	local kind=$RANDOM a=$RANDOM b=$RANDOM pause=$RANDOM weight name
	NEXT_AT=$(($(now_ms) + 300 + pause % (2 * FAULT_EACH_MS)))
	kind=$((kind % WEIGHTS))
	while read -r weight name; do
		[ -n "$name" ] || continue
		kind=$((kind - weight))
		[ $kind -ge 0 ] || break
	done <<<"$FAULTS"
	[ -z "${DUE[$name]-}" ] || return 0
	CURRENT=$name
	"fault_$name" "$a" "$b"
}

FAULT_EACH_MS=1300

# has_command COMMAND: has this tidegate-admin got it?
has_command() {
	"$TOP_BUILDDIR/tidegate-admin" --help 2>/dev/null | grep -qw -- "$1"
}

possible_faults() {
	local weight name
	while read -r weight name; do
		case $name in
		skip | compact) has_command "$name" || continue ;;
		esac
		echo "$weight $name"
	done <<<"$FAULTS"
}

# ---- the site ----

LOG_LEVEL=info
LINGER=5
COMMIT_MS=10

configure() {
	MQTT_SETTINGS='keepalive_s = 5;'
	JOURNAL_SETTINGS="max_bytes = \"8 MiB\"; dead_max_bytes = \"1 MiB\";
		compression = \"none\"; commit_interval_ms = $COMMIT_MS;"
	KAFKA_SETTINGS="linger_ms = $LINGER; shutdown_ms = 2000; delivery = \"$SOAK_DELIVERY\";"
	BROKER_PORT=$MQTT_PROXY KAFKA_BOOTSTRAP=127.0.0.1:$KAFKA_PROXY \
		write_conf "log = { level = \"$LOG_LEVEL\"; };"
}

# Its start is not the fault of the test's other faults.
run_gateway() {
	forget_ended
	start_gateway && return 0
	violation "tidegated does not start"
	heal_due all
	start_gateway
}

# Numbers of processes come again; what has ended is nobody's to be ended.
forget_ended() {
	local pid left=()
	for pid in "${STARTED[@]}"; do
		is_gone "$pid" || left+=("$pid")
	done
	STARTED=("${left[@]}")
}

mount_disk() {
	DISK=
	[ "$SOAK_DISK" = yes ] || return 0
	mkdir -p "$WORK/disk"
	mount -t tmpfs -o size=24m tidegate-soak "$WORK/disk" 2>/dev/null || return 0
	DISK=$WORK/disk
	JOURNAL_DIR=$DISK/journal
}

test_cleanup() {
	[ -n "${DISK:-}" ] || return 0
	[ "${KEEP_WORK:-0}" != 1 ] || cp -r "$JOURNAL_DIR" "$WORK/journal-of-the-end"
	umount -l "$DISK"
}

set_up() {
	mount_disk
	start_mosquitto || bail "no mosquitto"
	if [ "$SOAK_KAFKA" = real ]; then
		start_kafka || bail "no Kafka"
		kafka create-topic records 4 || bail "no topic"
		kafka create-topic extra 1 || bail "no topic"
	else
		start_mock records:4 extra:1 || bail "no embedded Kafka"
	fi
	start_proxy MQTT-link "$BROKER_PORT" || bail "no proxy"
	MQTT_PROXY=$PROXY_PORT
	start_proxy Kafka-link "${KAFKA_BOOTSTRAP##*:}" --kafka || bail "no proxy"
	KAFKA_PROXY=$PROXY_PORT
	configure
	start_gateway || bail "the gateway does not start"
	wait_for 20 is_subscribed 't/#' || bail "no subscription"
	# shellcheck disable=SC2086 # options
	consume_start soak records -w -T 90 $ONCE
	publish_start soak -d 20 -r "$SOAK_RATE" -s 60-400
}

# At first the disk is full when the file has to grow, and then the journal; beside it a
# reader that does not get on. So memory and file have been as large as they get.
warm_up() {
	local half=$((SOAK_SECONDS < 600 ? SOAK_SECONDS / 12 : 50))
	tell_proxy Kafka-link refuse
	if [ -n "$DISK" ]; then
		fill_disk
		count "disk full"
		sleep $half
		heal_disk
	fi
	hold_reader $half
	tell_proxy Kafka-link pass
	count "connection to Kafka: refuse"
}

# ---- the run ----

set_up
diag "SOAK_SEED=$SOAK_SEED SOAK_SECONDS=$SOAK_SECONDS SOAK_KAFKA=$SOAK_KAFKA SOAK_DELIVERY=$SOAK_DELIVERY"
BEGAN=$(now_ms)
END=$((BEGAN + SOAK_SECONDS * 1000))
samples_start
warm_up
FAULTS=$(possible_faults)
WEIGHTS=$(awk '{ sum += $1 } END { print sum }' <<<"$FAULTS")
look_on "$SOAK_SEED" &
LOOKER=$!
track $LOOKER
RANDOM=$SOAK_SEED
NEXT_AT=0
while [ "$(now_ms)" -lt $END ]; do
	heal_due
	is_gone "$GATEWAY_PID" && violation "tidegated has ended by itself" && run_gateway
	[ "$(now_ms)" -lt $NEXT_AT ] || next_fault
	sleep 0.1
done
heal_due all
end_pid $LOOKER 20
samples_stop

check "the publisher got every PUBACK" publish_stop
check "the journal becomes empty, without a dead letter" wait_for 180 is_settled
check "nothing is lost${ONCE:+, repeated} or out of order" consume_finish soak 300
check "the journal is in order" journal_check
check "the gateway stops" stop_gateway
check "in order" test "$GATEWAY_STATUS" -eq 0
check "no worker has died of itself" workers_died_of_faults
check "whoever looked on could read, and hurt nobody" look_is_well
check "nothing else happened that should not" test $VIOLATIONS -eq 0
judge_samples

diag "fault                                          times"
for what in "${!COUNT[@]}"; do
	printf '# %-45s %6d\n' "$what" "${COUNT[$what]}"
done | LC_ALL=C sort
look_counts
if [ $TAP_FAILED -gt 0 ]; then
	KEEP_WORK=1
	diag "SOAK_SEED=$SOAK_SEED; kept in $WORK"
fi
tap_done
