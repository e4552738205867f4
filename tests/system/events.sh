#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The log through an outage of each end: every line is JSON with its fields, each kind of
# event is there, what repeats itself is written once and counted, and no count is lost.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need mosquitto mosquitto_pub jq "$TESTLIB/mockkafka" "$TOP_BUILDDIR/tidegated"

LOG=$WORK/gateway.log
BURIED=20
KAFKA_SETTINGS='properties = [ "message.max.bytes=5000" ];'
JOURNAL_SETTINGS='max_bytes = "4 MiB"; compression = "none";'
MONITOR_SETTINGS='listen = ""; statistics_s = 1;'
JSON='log = { format = "json"; };'

publish() { # TOPIC COUNT SIZE
	yes "$(head -c "$3" /dev/zero | tr '\0' x)" | head -n "$2" |
		mosquitto_pub -p "$BROKER_PORT" -q 1 -t "$1" -l
}

# has FILTER: is there an event for which it holds? Lines that are no JSON are for a check
# of their own.
has() {
	jq -Rne "[inputs | fromjson? | select($1)] | length > 0" "$LOG"
}

# sum FIELD FILTER: of a field over all events for which the filter holds
sum() {
	jq -Rn "[inputs | fromjson? | select($2) | .$1 // 0] | add // 0" "$LOG"
}

count() {
	jq -Rn "[inputs | fromjson? | select($1)] | length" "$LOG"
}

has_connected() { # TIMES
	[ "$(count '.kind == "connection" and (.text | startswith("connected to "))')" -ge "$1" ]
}

event() { # WHAT FILTER
	check "$1" wait_for 20 has "$2"
}

start_mosquitto || bail "no mosquitto"
start_mock records:2 || bail "no embedded Kafka"
write_conf "$JSON"
start_gateway || bail "no gateway"
event "lifecycle: a worker was started" \
	'.kind == "lifecycle" and .worker == "tidegated" and (.text | startswith("tidegate-forward started")) and .pid > 0'
event "connection: to the broker" \
	'.kind == "connection" and .worker == "tidegate-ingest" and (.text | startswith("connected to "))'

publish t/x 100 10
event "statistics: what was received" \
	'.kind == "statistics" and .worker == "tidegate-ingest" and .received == 100 and .bytes > 1000 and .commits > 0'
all_is_delivered() { [ "$(sum delivered '.kind == "statistics" and .route == "default"')" = 100 ]; }
check "statistics: what each route has delivered" wait_for 10 all_is_delivered
event "statistics: the journal" \
	'.kind == "statistics" and .worker == "tidegate-forward" and .max_bytes == 4194304 and has("records") and has("dead")'

publish t/x "$BURIED" 6000
event "delivery: a record was buried, with its route" \
	'.kind == "delivery" and .route == "default" and .seq == 101 and .level == "warning"'
all_are_told() {
	[ $(($(count '.kind == "delivery" and has("dead") and has("suppressed") == false') + \
		$(sum suppressed '.kind == "delivery" and .route == "default"'))) = "$BURIED" ]
}
check "each one that follows is counted" wait_for 10 all_are_told
check "and not written" test "$(count '.kind == "delivery" and has("dead")')" -eq 1

mock_tell error produce TOPIC_AUTHORIZATION_FAILED 2
publish t/x 10 10
event "delivery: the route holds" \
	'.kind == "delivery" and .route == "default" and .level == "error" and .seq == 121 and .retry_ms >= 1000'
event "statistics say that it holds" '.kind == "statistics" and .route == "default" and .held == 1'
event "its further tries are counted" \
	'.kind == "delivery" and .suppressed > 0 and (.text | contains("trying again"))'
event "delivery: the route goes on" \
	'.kind == "delivery" and (.text | startswith("route default goes on")) and .held_s >= 1'

mock_down
event "connection: Kafka is away" \
	'.kind == "connection" and .worker == "tidegate-forward" and (.text | startswith("Kafka is not reachable"))'
publish t/x 5000 1000
event "journal: it is full" \
	'.kind == "journal" and .worker == "tidegate-ingest" and .room_bytes < 4194304 and .resume_bytes > 0'
mock_up
event "connection: Kafka is back" '.kind == "connection" and (.text | startswith("Kafka is reachable again"))'
event "journal: it has room again" '.kind == "journal" and (.text | startswith("resumed")) and has("paused_s")'

check "connection: to the broker again" wait_for 20 has_connected 2
# Before that it may pause again.
stays_connected() {
	has_next_seq 5130 && journal_is_empty && jq -Rne \
		'[inputs | fromjson? | select(.kind == "statistics" and has("connected"))]
		| .[-2:] | all(.connected == 1)' "$LOG"
}
check "it stays when all is journalled and delivered" wait_for 30 stays_connected
stop_mosquitto
event "connection: the broker is lost" '.kind == "connection" and (.text | contains(" lost: "))'
event "further tries to connect are counted" \
	'.kind == "connection" and .worker == "tidegate-ingest" and .suppressed > 0'
start_mosquitto || bail "mosquitto does not come back"
check "connection: the broker is back" wait_for 20 has_connected 3

kill_worker forward
event "lifecycle: a worker died, and is started again" \
	'.kind == "lifecycle" and .level == "error" and .restarts == 1 and .delay_ms > 0 and .pid > 0'
check "the gateway ends" stop_gateway
event "lifecycle: ingest has ended" '.kind == "lifecycle" and .worker == "tidegate-ingest" and .received == 5130'

check "every line is JSON with time, level, kind, worker and text" jq -es \
	'all(.[]; (.time | test("^20[0-9-]+T[0-9:]+\\.[0-9]{3}Z$")) and
		(.level | IN("error", "warning", "info")) and
		(.kind | IN("lifecycle", "connection", "delivery", "journal", "statistics")) and
		(.worker | startswith("tidegate")) and (.text | length > 0))' "$LOG"

mv "$LOG" "$WORK/json"
write_conf 'log = { format = "text"; };'
start_gateway || bail "no gateway again"
publish t/x 7 10
check "text: the same in words" wait_for 10 grep -qE \
	'^20[0-9T:.-]+Z info tidegate-forward: statistics: route default: [1-9][0-9]* delivered' "$LOG"
check "the gateway ends again" stop_gateway
tap_done
