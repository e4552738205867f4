#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Messages of 1 MiB with the configuration as it is by default, against a real Kafka: what
# it takes arrives, byte for byte and in the envelope; what it does not take is dead, by
# its own judgement, and the others go on in order.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need mosquitto mosquitto_pub jq kcat "$TOP_BUILDDIR/tidegated"

# A topic with room, for the payload alone and in an envelope; one as Kafka makes it.
ROUTES='{ name = "bare"; topic_filters = "roomy/#"; topic = "bare"; envelope = "none"; },
	{ name = "wrapped"; topic_filters = "roomy/#"; topic = "wrapped"; envelope = "tbmq"; },
	{ name = "usual"; topic_filters = "usual/#"; topic = "usual"; envelope = "none"; }'

publish() {
	mosquitto_pub -h 127.0.0.1 -p "$BROKER_PORT" -q 1 "$@"
}

# values TOPIC: all that is in it, to $WORK/values
values() {
	timeout 60 kcat -C -b "$KAFKA_BOOTSTRAP" -t "$1" -e -q "${@:2}" \
		-X message.max.bytes=4000000 -X fetch.message.max.bytes=4000000 \
		>"$WORK/values" 2>>"$WORK/kcat.log"
}

bare_is_same() {
	values bare -D '' && cmp "$WORK/values" "$WORK/random"
}

wrapped_is_same() {
	values wrapped && jq -r .payload "$WORK/values" | base64 -d | cmp - "$WORK/random"
}

# Sizes tell which is which.
usual_is_in_order() {
	values usual -f '%S\n' && diag "$(tr '\n' ' ' <"$WORK/values")" &&
		[ "$(tr '\n' ' ' <"$WORK/values")" = "6 1048576 5 " ]
}

is_dead() {
	[ "$(dump --stat --json | jq -r .dead)" = 1 ]
}

head -c 1048576 /dev/urandom >"$WORK/random"
head -c 1048576 /dev/zero | tr '\0' x >"$WORK/regular"

start_kafka || bail "no Kafka"
start_mosquitto || bail "no mosquitto"
for topic in bare wrapped; do
	kafka create-topic "$topic" 1 max.message.bytes=4000000 || bail "no topic"
done
kafka create-topic usual 1 || bail "no topic"
write_conf
check "the gateway starts" start_gateway
check "its subscriptions are taken" wait_for 20 is_subscribed 'usual/#'

check "1 MiB for a topic with room" publish -t roomy/one -f "$WORK/random"
check "a small one for the other" publish -t usual/one -m before
check "1 MiB that cannot be compressed" publish -t usual/one -f "$WORK/random"
check "1 MiB that can" publish -t usual/one -f "$WORK/regular"
check "another small one" publish -t usual/one -m after
check "all are journalled" wait_for 30 has_next_seq 5
check "the journal becomes empty" wait_for 60 journal_is_empty
check "the payload alone has arrived" bare_is_same
check "so has the envelope" wrapped_is_same
check "one is dead" is_dead
check "with Kafka's words" grep -q 'went to the dead letters (.*Broker: Message size too large' \
	"$WORK/gateway.log"
check "the others are there in order" usual_is_in_order
check "the gateway stops" stop_gateway
kafka stop
tap_done
