#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# One message, five routes: every envelope arrives in Kafka with its headers, templates are
# filled in, and what the device forges is told from what the gateway wrote. A record whose
# topic cannot be made goes to the dead letters, and holds up nobody.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need mosquitto mosquitto_pub kcat jq "$TOP_BUILDDIR/tidegated"

FILTERS='topic_filters = [ "site/#" ];'
ROUTES="{ name = \"plain\"; $FILTERS topic = \"plain\"; envelope = \"none\"; mqtt_headers = true;
		headers = ( { name = \"line\"; value = \"\${topic:2}\"; } ); },
	{ name = \"wrapped\"; $FILTERS topic = \"\${topic:1}.wrapped\"; envelope = \"tbmq\";
		key = \"\${payload:/id}\"; payload_format = \"json\"; client_id = \"\${topic:3}\";
		metadata = ( { name = \"line\"; value = \"\${topic:2}\"; } ); },
	{ name = \"event\"; $FILTERS topic = \"event\"; envelope = \"cloudevents\"; payload_format = \"json\";
		metadata = ( { name = \"line\"; value = \"\${topic:2}\"; } ); },
	{ name = \"binary\"; $FILTERS topic = \"binary\"; envelope = \"cloudevents_binary\"; },
	{ name = \"chosen\"; $FILTERS topic = \"\${user:where}\"; envelope = \"none\"; }"

# publish PAYLOAD PROPERTY...: as mosquitto_pub takes them, behind "-D publish"
publish() {
	local payload=$1 properties=()
	shift
	while [ $# -gt 0 ]; do
		case $1 in
		user-property)
			properties+=(-D publish "$1" "$2" "$3")
			shift 3
			;;
		*)
			properties+=(-D publish "$1" "$2")
			shift 2
			;;
		esac
	done
	mosquitto_pub -h 127.0.0.1 -p "$BROKER_PORT" -V 5 -q 1 -t site/l2/dev-1 -m "$payload" \
		"${properties[@]}"
}

# record TOPIC: the first one, as JSON, its headers as a list of pairs
record() {
	timeout 20 kcat -C -b "$KAFKA_BOOTSTRAP" -t "$1" -p 0 -o beginning -c 1 -e -q -J |
		jq -c '.headers |= [while(length > 0; .[2:]) | .[:2]]'
}

# holds TOPIC JQ-EXPRESSION: is it true of the record?
holds() {
	local got
	got=$(record "$1") || return 1
	jq -e "$2" <<<"$got" >/dev/null && return 0
	diag "$got"
	return 1
}

start_mosquitto || bail "no mosquitto"
start_mock plain:1 site.wrapped:1 event:1 binary:1 a.b_c:1 || bail "no embedded Kafka"
write_conf
check "the gateway starts" start_gateway
check "its subscription is taken" wait_for 20 is_subscribed 'site/#'
check "a message is published" publish '{"id": 5}' content-type application/json \
	response-topic site/answer user-property tidegate forged user-property ce_id forged \
	user-property line forged user-property k 1 user-property k 2 user-property where 'a/b c'
check "and one whose topic cannot be made" publish 'x'
check "the journal becomes empty" wait_for 30 journal_is_empty

UUID=$(dump --stat --json | jq -r .uuid)
GATEWAY=$GATEWAY_ID
export UUID GATEWAY # for jq
check "plain: the payload and the headers in their order" holds plain '
	.payload == "{\"id\": 5}" and .key == "site/l2/dev-1" and
	(.headers[0][1] | startswith("\(env.GATEWAY)/\(env.UUID)/1/")) and
	.headers[1:] == [["mqtt-topic", "site/l2/dev-1"], ["mqtt-qos", "1"],
		["mqtt-retain", "false"], ["content-type", "application/json"],
		["mqtt-response-topic", "site/answer"], ["line", "l2"],
		["user-tidegate", "forged"], ["ce_id", "forged"], ["user-line", "forged"],
		["k", "1"], ["k", "2"], ["where", "a/b c"]]'
check "tbmq: JSON in JSON, key, client id and metadata from templates" holds site.wrapped '
	.key == "5" and (.payload | fromjson | .payload == {id: 5} and .clientId == "dev-1" and
	.metadata == {line: "l2", integrationName: "wrapped"} and .props.k == "2" and
	.payloadFormat == "json" and .journal == env.UUID and .seq == 1)'
check "cloudevents: an event, and the header that says so" holds event '
	([.headers[] | select(.[0] == "content-type")] ==
		[["content-type", "application/cloudevents+json; charset=UTF-8"]]) and
	(.payload | fromjson | .specversion == "1.0" and .id == "\(env.UUID)/1" and
	.source == "/tidegate/\(env.GATEWAY)" and .subject == "site/l2/dev-1" and
	.mqttqos == 1 and .mqttretain == false and .partitionkey == "site/l2/dev-1" and
	.line == "l2" and .datacontenttype == "application/json" and .data == {id: 5} and
	(.time | test("^20[0-9-]{8}T[0-9:]{8}[.][0-9]{3}Z")) and (.time | length) == 24)'
check "cloudevents_binary: the payload, and an event by its headers" holds binary '
	.payload == "{\"id\": 5}" and
	([.headers[] | select(.[0] | startswith("ce_"))] | .[0:2] ==
		[["ce_specversion", "1.0"], ["ce_id", "\(env.UUID)/1"]] and length == 10) and
	([.headers[] | select(.[1] == "forged") | .[0]] ==
		["user-tidegate", "user-ce_id", "line"]) and
	([.headers[] | select(.[0] == "content-type") | .[1]] == ["application/json"])'
check "a topic out of a template is made one that Kafka takes" holds a.b_c '
	.payload == "{\"id\": 5}"'

only_dead_letter() {
	local dead
	dead=$(dump --dead --json)
	jq -es 'length == 1 and .[0].seq == 2 and .[0].route == "chosen" and
		.[0].reason == "bad topic"' <<<"$dead" >/dev/null && return 0
	diag "$dead"
	return 1
}
check "the other one is a dead letter of that route" only_dead_letter
check "the gateway stops" stop_gateway
check "with status 0" test "$GATEWAY_STATUS" -eq 0
tap_done
