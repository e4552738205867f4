#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Figures that are totals: how long commits and deliveries took, and what was sent to
# Kafka. They go on over the death of the workers that count them.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need mosquitto mosquitto_pub curl "$TESTLIB/mockkafka" "$TOP_BUILDDIR/tidegated"

PORT=$(free_port)
MONITOR_SETTINGS="listen = \"127.0.0.1:$PORT\";"
ROUTES='{ name = "one"; topic_filters = [ "t/#" ]; topic = "records"; envelope = "none"; },
	{ name = "two"; topic_filters = [ "t/x" ]; topic = "records"; envelope = "none"; }'

# figure NAME: its value, without a fraction
figure() {
	curl -s --max-time 5 "http://127.0.0.1:$PORT/metrics" |
		sed -nE "s/^tidegate_$1 ([0-9]+).*/\\1/p"
}

# is NAME COUNT, is_above NAME COUNT
is() {
	value_is() { [ "$(figure "$1")" = "$2" ]; }
	wait_for 20 value_is "$1" "$2" && return
	figure "$1"
	return 1
}

is_above() {
	value_is_above() { [ "$(figure "$1")" -gt "$2" ]; }
	wait_for 20 value_is_above "$1" "$2" && return
	figure "$1"
	return 1
}

publish() {
	seq 50 | mosquitto_pub -p "$BROKER_PORT" -q 1 -t t/x -l
}

start_mosquitto || bail "no mosquitto"
start_mock records:2 || bail "no embedded Kafka"
write_conf
start_gateway || bail "no gateway"
wait_for 20 is_subscribed 't/#'
publish
check "each delivery of each route has a latency" is delivery_latency_seconds_count 100
check "commits have a duration" is_above commit_duration_seconds_count 0
check "bytes went to Kafka" is_above kafka_sent_bytes_total 100
commits=$(figure commit_duration_seconds_count)
bytes=$(figure kafka_sent_bytes_total)

ingest=$(worker_pid ingest) forward=$(worker_pid forward)
kill -KILL "$ingest" "$forward"
are_new() {
	local new_ingest new_forward
	new_ingest=$(worker_pid ingest) && new_forward=$(worker_pid forward) &&
		[ "$new_ingest" != "$ingest" ] && [ "$new_forward" != "$forward" ]
}
check "both workers die, and come back" wait_for 20 are_new
publish
check "latencies are counted on" is_above delivery_latency_seconds_count 199
check "so are commits" is_above commit_duration_seconds_count "$commits"
check "and bytes" is_above kafka_sent_bytes_total "$bytes"
check "the gateway stops" stop_gateway
tap_done
