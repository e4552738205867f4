#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Status in band: reports reach Kafka and the MQTT broker past a backlog that does not move,
# and each end tells what ails the other. Never well while data waits.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need mosquitto mosquitto_pub mosquitto_sub jq kcat "$TESTLIB/mockkafka" \
	"$TOP_BUILDDIR/tidegated"

# The second route holds for good: whatever comes for it is a backlog.
ROUTES='{ name = "default"; topic_filters = [ "t/#" ]; topic = "records"; envelope = "none"; },
	{ name = "stuck"; topic_filters = [ "s/#" ]; topic = "records"; envelope = "none";
	  enabled = false; }'
JOURNAL_SETTINGS='max_bytes = "4 MiB"; compression = "none";'
STATUS='status = { kafka_topic = "tidegate.status"; mqtt_topic = "tidegate/status"; interval_s = 1; };'

publish() { # TOPIC COUNT SIZE
	yes "$(head -c "$3" /dev/zero | tr '\0' x)" | head -n "$2" |
		mosquitto_pub -p "$BROKER_PORT" -q 1 -t "$1" -l
}

# The latest report: retained by the broker; the last record of Kafka's topic.
mqtt_status() {
	mosquitto_sub -p "$BROKER_PORT" -t tidegate/status -C 1 -W 5 | tee "$WORK/mqtt.json"
}

kafka_reports() {
	kcat -C -q -e -X fetch.wait.max.ms=20 -b "$KAFKA_BOOTSTRAP" -t tidegate.status \
		-o beginning "$@"
}

kafka_status() {
	kafka_reports 2>/dev/null | tail -n 1 | tee "$WORK/kafka.json"
}

# mqtt_says, kafka_says FILTER: does jq's filter hold for the latest report?
mqtt_says() {
	mqtt_status | jq -e "$1"
}

kafka_says() {
	kafka_status | jq -e "$1"
}

shows() { # WHAT
	diag "$(cut -c1-2000 "$WORK/$1.json" 2>/dev/null)"
	return 1
}

# eventually WHICH FILTER
eventually() {
	wait_for 20 "$1_says" "$2" || shows "$1"
}

start_mosquitto || bail "no mosquitto"
start_mock records:2 tidegate.status:1 || bail "no embedded Kafka"
write_conf "$STATUS"
start_gateway || bail "no gateway"
check "MQTT tells that it is well" eventually mqtt '.state == "well" and .well'
check "Kafka tells that it is well" eventually kafka '.state == "well" and .well'
is_keyed() {
	[ "$(kafka_reports -f '%k\n' | sort -u)" = "$GATEWAY_ID" ]
}
check "the key is the gateway" wait_for 10 is_keyed
check "it tells both connections" eventually mqtt \
	'.mqtt.state == "connected" and .mqtt.protocol >= 4 and .routes[0].name == "default"'

publish t/x 500 10
check "what Kafka has confirmed is counted" eventually kafka \
	'.routes[0].delivered_records == 500 and .acknowledged_seq == 500 and .well'
are_counted_by_topic() {
	[ "$(kafka_reports | jq -s 'map(.acknowledged_by_topic.records // 0) | add')" = 500 ]
}
check "and for its topic, in all reports together" wait_for 10 are_counted_by_topic
# Each range begins where the one before has ended.
ranges_join() {
	kafka_reports | jq -se '[.[] | .routes[0] | select(.acknowledged_from_seq <= .acknowledged_seq)]
		| length > 0 and .[0].acknowledged_from_seq == 1 and .[-1].acknowledged_seq == 500
		and (. as $r | [range(1; length)]
		| all($r[.].acknowledged_from_seq == $r[. - 1].acknowledged_seq + 1))'
}
check "the ranges of the reports join" ranges_join

publish s/x 1000 10
check "past the backlog: Kafka tells that a route holds" eventually kafka \
	'.records_waiting == 1000 and (.well | not) and (.state | startswith("route stuck holds"))'
check "and so does MQTT" eventually mqtt \
	'.records_waiting == 1000 and .routes[1].held and (.routes[1].held_since | length > 0)'

check "Kafka goes" mock_down
check "MQTT tells of it" eventually mqtt '.state | contains("waiting for Kafka: ")'
check "Kafka comes back" mock_up
check "MQTT tells of it, though no record comes" eventually mqtt \
	'.kafka.state == "reachable" and (.state | contains("waiting for Kafka") | not)'

stop_mosquitto
check "the broker is away: Kafka tells of it" eventually kafka \
	'.state | contains("waiting for the MQTT broker")'
start_mosquitto || bail "mosquitto does not come back"
check "and of its coming back" eventually kafka '.mqtt.state == "connected"'
check "the broker has a report again, not a will" eventually mqtt '.mqtt.state == "connected"'

check "ingest is killed" kill_worker ingest
check "the report tells of the restart, and goes on counting" eventually mqtt \
	'.restarts."tidegate-ingest" == 1 and .mqtt.received_messages == 1500'
check "forward is killed" kill_worker forward
check "likewise" eventually kafka \
	'.restarts."tidegate-forward" == 1 and .routes[0].delivered_records == 500'

publish s/x 5000 1000
check "the journal is full: MQTT tells of it, and not that it has gone" eventually mqtt \
	'.state | contains("paused: journal full")'
check "and so does Kafka" eventually kafka '.state | contains("paused: journal full")'
check "with the room that is left" kafka_says '.free_bytes < .max_bytes / 20'

check "the gateway ends" stop_gateway
ROUTES=${ROUTES/enabled = false;/}
JOURNAL_SETTINGS='max_bytes = "64 MiB"; compression = "none";'
write_conf "$STATUS"
start_gateway || bail "no gateway again"
check "without what held it all is well in the end" wait_for 40 mqtt_says '.well'
check "in Kafka too" eventually kafka '.well and .records_waiting == 0'
check "the gateway ends again" stop_gateway
check "MQTT tells that it has gone" eventually mqtt '.state == "gone" and (.well | not)'
check "every report is JSON with a state" \
	test "$(kafka_reports | jq -r '.state | length > 0' | sort -u)" = true
tap_done
