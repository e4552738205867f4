#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Keys land where Java's producer puts them: the table of the unit tests is worked out
# again with kafka-clients, then its keys go through Tidegate to a real Kafka, as MQTT
# topics and as user properties. Records without a key spread.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

FORWARD=$TOP_BUILDDIR/tidegate-forward
FEED=$TESTLIB/feed_journal
need java jq kcat mosquitto mosquitto_pub "$FORWARD" "$FEED" "$TOP_BUILDDIR/tidegated"

LIBS=${TIDEGATE_KAFKA_LIBS:-${XDG_CACHE_HOME:-$HOME/.cache}/tidegate/kafka-4.1.1}
TABLE=$TOP_SRCDIR/tests/data/key-partitions.txt

# java_places COUNT...: adds Java's partitions to the keys of stdin, in hexadecimal
java_places() {
	timeout 60 java -cp "$LIBS/*" "$TOP_SRCDIR/tests/kafka/Partitions.java" "$@" 2>>"$WORK/java.log"
}

table_is_right() {
	java_places 2 3 6 12 50 100 <"$TABLE" >"$WORK/table"
	diff "$WORK/table" "$TABLE"
}

# Those that can be an MQTT topic, and a word of feed_journal's; "#" matches no "$SYS".
topics() {
	local hex
	# Into what printf makes bytes of; without those that it would end at.
	grep -v -e '^#' -e '^00' "$TABLE" | cut -d ' ' -f 1 | sed 's/../\\x&/g' | while IFS= read -r hex; do
		[ "${#hex}" -le 1020 ] && printf '%b\n' "$hex"
	done 2>/dev/null | LC_ALL=C.UTF-8 grep -axE '[^[:cntrl:][:space:]+#$][^[:cntrl:][:space:]+#]*'
}

to_hex() {
	od -An -v -tx1 | tr -d ' \n'
}

# placed TOPIC COUNT: "KEY_IN_HEX PARTITION" of each record in Kafka, sorted
placed() {
	local partition key
	timeout 60 kcat -C -b "$KAFKA_BOOTSTRAP" -t "$1" -e -q -f '%p %k\n' 2>>"$WORK/kcat.log" |
		while IFS=' ' read -r partition key; do
			echo "$(printf %s "$key" | to_hex) $partition"
		done | LC_ALL=C sort
}

# as_java TOPIC COUNT: are the keys that are there where Java would put them?
as_java() {
	placed "$1" >"$WORK/placed.$1"
	cut -d ' ' -f 1 "$WORK/placed.$1" | java_places "$2" | diff - "$WORK/placed.$1"
}

route() {
	echo "{ name = \"$1\"; topic_filters = [ \"$2\" ]; topic = \"$1\"; envelope = \"none\"; $3 }"
}

spread() {
	local i
	for ((i = 0; i < 40; i++)); do
		echo 'none/1 20 0' | "$FEED" "$JOURNAL_DIR" "$GATEWAY_ID" || return 1
		# On purpose in time: records without a key stay together for 20 ms.
		sleep 0.03
	done
}

# uses TOPIC COUNT: every one of its partitions
uses() {
	[ "$(placed "$1" | cut -d ' ' -f 2 | sort -u | wc -l)" -eq "$2" ]
}

publish_keys() {
	local key
	for key in "${KEYS[@]}"; do
		mosquitto_pub -V mqttv5 -h 127.0.0.1 -p "$BROKER_PORT" -q 1 -t user/1 -m x \
			-D publish user-property k "$key" || return 1
	done
}

start_kafka || bail "no Kafka"
check "the table is what kafka-clients say" table_is_right
for topic in of-6:6 of-50:50 none:3 user:12; do
	kafka create-topic "${topic%:*}" "${topic#*:}" || bail "no topic"
done

BROKER_PORT=1883
JOURNAL_DIR=$WORK/journal-keys
KAFKA_SETTINGS='linger_ms = 0;'
ROUTES="$(route of-6 '#' ''), $(route of-50 '#' '')"
write_conf
topics >"$WORK/topics"
COUNT=$(wc -l <"$WORK/topics")
check "the table has enough keys that can be a topic ($COUNT)" test "$COUNT" -ge 100
sed 's/$/ 20 0/' "$WORK/topics" | "$FEED" "$JOURNAL_DIR" "$GATEWAY_ID" || bail "no journal"
check "they are delivered" timeout 60 "$FORWARD" -c "$CONF" --once
check "to where Java would put them, of 6 partitions" as_java of-6 6
check "and of 50" as_java of-50 50
check "these are all of them" test "$(wc -l <"$WORK/placed.of-6")" -eq "$COUNT"

JOURNAL_DIR=$WORK/journal-none
ROUTES=$(route none '#' 'key = "";')
write_conf
mkdir -p "$JOURNAL_DIR"
"$FORWARD" -c "$CONF" >>"$WORK/none.log" 2>&1 &
FORWARD_PID=$!
track "$FORWARD_PID"
check "records without a key are journalled" spread
check "they are delivered" wait_for 30 journal_is_empty
check "and use every partition" uses none 3
end_pid "$FORWARD_PID" 20

# shellcheck disable=SC2016 # for Tidegate to expand
KEYS=(a 'a b' größe 東京 '$SYS' '+/#' 123 "it's" 'x=y' "$(printf '%0300d' 7)")
BROKER_PORT=
JOURNAL_DIR=$WORK/journal-user
# shellcheck disable=SC2016
ROUTES=$(route user 'user/#' 'key = "${user:k}"; user_properties = false;')
start_mosquitto || bail "no mosquitto"
write_conf
check "a gateway starts whose key is a user property" start_gateway
check "its subscription is taken" wait_for 20 is_subscribed 'user/#'
check "keys are published" publish_keys
user_is_full() { [ "$(placed user | wc -l)" -eq ${#KEYS[@]} ]; }
check "they arrive" wait_for 30 user_is_full
check "where Java would put them" as_java user 12
check "the gateway stops" stop_gateway
kafka stop
tap_done
