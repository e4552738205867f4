#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Messages at the edges: no payload, 1 MiB of it, each byte there is, a topic of 65,535
# bytes, QoS 0, retained ones. They reach Kafka byte for byte, and retained ones once.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need mosquitto mosquitto_pub kcat jq python3 "$TOP_BUILDDIR/tidegated"

# route NAME: what is published below NAME/ goes to the Kafka topic NAME
route() {
	echo "{ name = \"$1\"; topic_filters = \"$1/#\"; topic = \"$1\"; envelope = \"none\";
		mqtt_headers = true; }"
}

NAMES=(empty large bytes long qos0 kept)
ROUTES=$(for name in "${NAMES[@]}"; do
	[ "$name" = "${NAMES[0]}" ] || echo ,
	route "$name"
done)

publish() {
	mosquitto_pub -h 127.0.0.1 -p "$BROKER_PORT" -q 1 "$@"
}

# take TOPIC FORMAT: all that is in the Kafka topic, as kcat prints it; to $WORK/taken
take() {
	kcat -C -b "$KAFKA_BOOTSTRAP" -t "$1" -o beginning -e -q -u -f "$2" \
		-X message.max.bytes=2000000 -X fetch.message.max.bytes=2000000 \
		-X fetch.wait.max.ms=20 \
		>"$WORK/taken" 2>"$WORK/kcat.log"
}

# holds TOPIC FORMAT TEXT
holds() {
	take "$1" "$2" && diag "$(head -c 200 "$WORK/taken")" && [ "$(cat "$WORK/taken")" = "$3" ]
}

arrived() {
	wait_for 30 has_next_seq "$1" && wait_for 30 journal_is_empty
}

large_is_same() {
	take large '%s' && cmp "$WORK/taken" "$WORK/large"
}

bytes_are_same() {
	take bytes '%s' && cmp "$WORK/taken" "$WORK/bytes"
}

# retained_count: how often the retained message is in Kafka
retained_count() {
	take kept '%h\n' && grep -c 'mqtt-retain=true' "$WORK/taken"
}

restart_broker() {
	stop_mosquitto && start_mosquitto
}

is_connected_again() {
	[ "$(grep -c 'connected to' "$WORK/gateway.log")" -ge "$1" ]
}

long=long/$(head -c 65530 /dev/zero | tr '\0' x)
head -c 1048576 /dev/urandom >"$WORK/large"
python3 -c 'import sys; sys.stdout.buffer.write(bytes(range(256)))' >"$WORK/bytes"

start_mosquitto || bail "no mosquitto"
start_mock empty:1 large:1 bytes:1 long:1 qos0:1 kept:1 || bail "no embedded Kafka"
write_conf
check "a retained message is there before" publish -r -t kept/one -m retained
check "the gateway starts" start_gateway
check "it arrives" arrived 1
check "marked as retained" test "$(retained_count)" = 1

check "an empty payload is published" publish -t empty/one -n
check "1 MiB" publish -t large/one -f "$WORK/large"
check "each byte there is" publish -t bytes/one -f "$WORK/bytes"
check "a topic of 65,535 bytes" publish -t "$long" -m short
check "a message at QoS 0" publish -q 0 -t qos0/one -m once
check "they arrive" arrived 6

check "the empty one is empty, and not none" holds empty '%S %k' '0 empty/one'
check "1 MiB is the same" large_is_same
check "each byte is the same" bytes_are_same
check "the long topic is the key" holds long '%K %s' '65535 short'
check "QoS 0 is marked" holds qos0 '%s' once
check "in the header" grep -q 'mqtt-qos=0' <(take qos0 '%h' && cat "$WORK/taken")

# What comes by a reconnection, and by a start, besides what is new.
check "the broker is stopped and started" restart_broker
check "the gateway is back" wait_for 30 is_connected_again 2
check "a mark is published" publish -t kept/mark -m mark
check "it arrives" arrived 7
check "the retained one did not come again" test "$(retained_count)" = 1
check "the gateway stops" stop_gateway
check "and starts" start_gateway
check "it is back" wait_for 30 is_connected_again 3
check "another mark" publish -t kept/mark -m mark
# MQTT 3.1.1 cannot ask for its subscriptions at a start without getting it again.
again=0
[ "$MQTT_PROTOCOL" = 5 ] || again=1
check "it arrives" arrived $((8 + again))
check "the retained one came $again times more" \
	test "$(retained_count)" = $((1 + again))
check "nothing else came" test "$(dump --stat --json | jq -r .next_seq)" = $((9 + again))
check "the gateway stops" stop_gateway
tap_done
