#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The walk of TBMQ's document, with the configuration that is shipped: publish to
# tbmq/kafka-integration, and Kafka's own Java consumer finds it in tbmq.messages, in the
# envelope, field for field; then with the payload only.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need java mosquitto mosquitto_pub jq "$TOP_BUILDDIR/tidegated"

LIBS=${TIDEGATE_KAFKA_LIBS:-${XDG_CACHE_HOME:-$HOME/.cache}/tidegate/kafka-4.1.1}

# shipped_conf [EXPRESSION]: etc/tidegate.conf with this test's addresses
shipped_conf() {
	mkdir -p "$JOURNAL_DIR"
	sed -E -e 's|^#(gateway_id) = .*|\1 = "site-17";|' \
		-e "s|^(\tport = )1883;|\1$BROKER_PORT;|" -e 's|^(\thost = )"localhost"|\1"127.0.0.1"|' \
		-e "s|^(\tbootstrap_servers = )[^;]*|\1\"$KAFKA_BOOTSTRAP\"|" \
		-e "s|^\t#(directory = )[^;]*|\t\1\"$JOURNAL_DIR\"|" ${1:+-e "$1"} \
		"$TOP_SRCDIR/etc/tidegate.conf" >"$CONF"
}

# java_consume COUNT: what Kafka's own consumer reads
java_consume() {
	timeout 120 java -cp "$LIBS/*" "$TOP_SRCDIR/tests/kafka/Consume.java" \
		"$KAFKA_BOOTSTRAP" tbmq.messages "$1" 60 >"$WORK/consumed" 2>"$WORK/java.log"
}

# field N LINE: of what java_consume has printed
field() {
	sed -n "$2p" "$WORK/consumed" | cut -f "$1"
}

# The fields in their order, each with the value that the facts ask for.
is_envelope() {
	local value journal
	value=$(field 4 1)
	journal=$(dump --stat --json | jq -r .uuid)
	[ "$(jq -r 'keys_unsorted | join(" ")' <<<"$value")" = \
		"payload topicName clientId eventType qos retain tbmqIeNode tbmqNode ts props metadata journal seq" ] &&
		jq -e --arg journal "$journal" --arg payload "$(printf '{"t":21}' | base64)" \
			--argjson now "$(now_ms)" '
			.payload == $payload and .topicName == "tbmq/kafka-integration" and
			.clientId == "c1" and .eventType == "PUBLISH_MSG" and .qos == 1 and
			.retain == false and .tbmqIeNode == "site-17" and .tbmqNode == "127.0.0.1" and
			.ts > $now - 600000 and .ts <= $now and
			.props == {"client-id": "c1", "k": "v"} and
			(.metadata | has("integrationName")) and .journal == $journal and .seq == 1' \
			<<<"$value"
}

has_headers() {
	grep -qxE "tidegate=site-17/$(dump --stat --json | jq -r .uuid)/1/[0-9]{13},client-id=c1,k=v" \
		<<<"$(field 3 1)"
}

publish() {
	mosquitto_pub -V mqttv5 -h 127.0.0.1 -p "$BROKER_PORT" -q 1 -t tbmq/kafka-integration \
		-m '{"t":21}' -D publish user-property client-id c1 -D publish user-property k v
}

start_kafka || bail "no Kafka"
kafka create-topic tbmq.messages 3 || bail "no topic"
start_mosquitto || bail "no mosquitto"
GATEWAY_ID=site-17
shipped_conf
check "the gateway starts with the shipped configuration" start_gateway
check "it subscribes to tbmq/#" wait_for 20 is_subscribed 'tbmq/#'
check "publish to tbmq/kafka-integration" publish
check "Kafka's own consumer reads it from tbmq.messages" java_consume 1
check "its value is the envelope" is_envelope
check "its key is the topic" test "$(field 2 1)" = tbmq/kafka-integration
check "its headers say where it comes from, and what its user properties are" has_headers

shipped_conf 's|^(\t+)envelope = .*|\1send_only_payload = true;|'
check "the gateway is told to send only the payload" kill -HUP "$GATEWAY_PID"
check "it is taken over" wait_for 20 grep -q "the configuration was read again" "$WORK/gateway.log"
check "publish again" publish
check "Kafka's own consumer reads both" java_consume 2
check "the second is the payload, byte for byte" test "$(field 4 2)" = '{"t":21}'
check "the gateway stops" stop_gateway
tap_done
