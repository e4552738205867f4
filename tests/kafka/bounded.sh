#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Bounded everywhere: with a slow Kafka and a slow disk, with payloads of 20 bytes and of a
# megabyte, with a backlog, all processes of a gateway together stay below 64 MiB of
# anonymous memory at every look, some hundred times a second; and nothing is lost.
#
# BOUNDED_KAFKA="delivery = \"exactly_once\";" for other settings of kafka.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/proxy.sh
. "$TOP_SRCDIR/tests/lib/proxy.sh"

need mosquitto jq python3 "$TESTLIB/ledger_publish" "$TESTLIB/memory_peak" \
	"$TESTLIB/fault_disk.so" "$TOP_BUILDDIR/tidegated"
# Sanitizers keep what was freed: there is no telling.
! grep -q __asan_init "$TOP_BUILDDIR/tidegate-forward" ||
	skip_all "a build with sanitizers tells nothing about memory"

LIMIT_KIB=65536
FAULTS=$WORK/faults
FEW_BYTES=20
MANY_BYTES=1000000
[ "${BOUNDED_KAFKA:-}" = "" ] || diag "kafka: $BOUNDED_KAFKA"

# Replaced as a whole: the workers read it at any time.
disk_takes() { # MS
	echo "* sync $1" >"$FAULTS.new" && mv "$FAULTS.new" "$FAULTS"
}

disk_is_well() {
	: >"$FAULTS.new" && mv "$FAULTS.new" "$FAULTS"
}

# Nothing flows at first, so that all that may be on its way is; then a little now and then.
kafka_is_slow() {
	tell_proxy kafka stall || return 1
	while sleep "${pause:-3}" && tell_proxy kafka pass && sleep 0.1 && tell_proxy kafka stall; do
		local pause=0.5
	done 2>/dev/null &
	SLOW_PID=$!
	track "$SLOW_PID"
}

kafka_is_well() {
	end_pid "$SLOW_PID"
	tell_proxy kafka pass
}

watch_memory() {
	"$TESTLIB/memory_peak" -i 3 "$GATEWAY_PID" >"$WORK/peak" &
	PEAK_PID=$!
	track "$PEAK_PID"
}

# In KiB; what it was is told.
peak_is_at_most() {
	end_pid "$PEAK_PID"
	diag "$(cat "$WORK/peak")"
	[ "$(awk '{ print $4 }' "$WORK/peak")" -gt 10 ] &&
		[ "$(awk '{ print $2 }' "$WORK/peak")" -le "$1" ]
}

# run NAME COUNT BYTES WHAT: what is slow is so before; afterwards it is well again
run() {
	local name=$1 what=$4
	# What ends a transaction takes an offset.
	consume_start "$name" "$name" -w -T 120 ${BOUNDED_KAFKA:+-x}
	watch_memory
	publish_start "$name" -t "t/$name" -d 50 -n "$2" -s "$3" -w 5000
	check "$what: $2 messages of $3 bytes are taken" publish_wait 60
	disk_is_well
	[ -z "$SLOW_PID" ] || kafka_is_well
	SLOW_PID=
	check "$what: they are delivered" wait_for 60 journal_is_empty
	check "$what: within $((LIMIT_KIB / 1024)) MiB" peak_is_at_most $LIMIT_KIB
	check "$what: none is lost" consume_finish "$name"
}

start_kafka || bail "no Kafka"
start_mosquitto || bail "no mosquitto"
for topic in few_slow_kafka few_slow_disk many_slow_kafka many_slow_disk mixed; do
	kafka create-topic $topic 4 max.message.bytes=4000000 || bail "no topic"
done
start_proxy kafka "${KAFKA_BOOTSTRAP#*:}" --kafka || bail "no proxy"
DIRECT=$KAFKA_BOOTSTRAP
KAFKA_BOOTSTRAP=127.0.0.1:$PROXY_PORT
JOURNAL_SETTINGS='max_bytes = "1 GiB"; compression = "none";'
KAFKA_SETTINGS=${BOUNDED_KAFKA:-}
MONITOR_SETTINGS="listen = \"127.0.0.1:$(free_port)\";"
ROUTES="{ name = \"default\"; topic_filters = \"t/#\"; topic = \"\${topic:2}\"; envelope = \"none\"; }"
write_conf
KAFKA_BOOTSTRAP=$DIRECT
disk_is_well
start_gateway_on_faults() {
	LD_PRELOAD=$TESTLIB/fault_disk.so TIDEGATE_FAULTS=$FAULTS start_gateway
}
check "the gateway starts" start_gateway_on_faults
check "its subscription is taken" wait_for 20 is_subscribed 't/#'

SLOW_PID=
kafka_is_slow
run few_slow_kafka 100000 $FEW_BYTES "a slow Kafka, small payloads"
kafka_is_slow
run many_slow_kafka 80 $MANY_BYTES "a slow Kafka, large payloads"
disk_takes 100
run few_slow_disk 30000 $FEW_BYTES "a slow disk, small payloads"
disk_takes 100
run many_slow_disk 100 $MANY_BYTES "a slow disk, large payloads"
kafka_is_slow
disk_takes 50
run mixed 150 $FEW_BYTES-$MANY_BYTES "both slow, payloads of all sizes"
check "the gateway stops" stop_gateway
check "the journal is in order" journal_check
kafka stop
tap_done
