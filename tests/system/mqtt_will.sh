#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The will on status.mqtt_topic: a gateway that stops or is killed is "gone" to whoever
# watches, and to whoever asks later; one that only pauses because its journal is full is
# not, and leaves without a PUBACK lost (journal_full.sh).

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need mosquitto mosquitto_pub mosquitto_sub jq "$TESTLIB/ledger_publish" \
	"$TOP_BUILDDIR/tidegate-ingest"

KAFKA_BOOTSTRAP=127.0.0.1:9
JOURNAL_SETTINGS='max_bytes = "4 MiB"; compression = "none";'
TOPIC=fleet/$GATEWAY_ID

start_ingest() {
	: >"$WORK/ingest.log"
	"$TOP_BUILDDIR/tidegate-ingest" -v -c "$CONF" >"$WORK/ingest.log" 2>&1 &
	INGEST_PID=$!
	track "$INGEST_PID"
	wait_for 20 grep -qF "subscribed to t/#" "$WORK/ingest.log"
}

# is_gone_times N: so often has "gone" been published
is_gone_times() {
	[ "$(grep -c '"state":"gone"' "$WORK/watched")" -eq "$1" ]
}

# What is published behind it has arrived.
mark() {
	mosquitto_pub -h 127.0.0.1 -p "$BROKER_PORT" -q 1 -t "$TOPIC" -m "mark-$1" &&
		wait_for 10 grep -q "mark-$1" "$WORK/watched"
}

asked_later() {
	mosquitto_sub -h 127.0.0.1 -p "$BROKER_PORT" -t "$TOPIC" -C 1 -W 10 >"$WORK/kept" &&
		jq -e ".gateway == \"$GATEWAY_ID\" and .state == \"gone\"" "$WORK/kept"
}

start_mosquitto || bail "no mosquitto"
mosquitto_sub -h 127.0.0.1 -p "$BROKER_PORT" -q 1 -t "$TOPIC" >"$WORK/watched" 2>&1 &
track $!
write_conf "status = { mqtt_topic = \"$TOPIC\"; };"
check "somebody watches" wait_for 10 grep -qF " 1 $TOPIC" "$WORK/mosquitto.log"

check "ingest connects" start_ingest
check "a mark passes" mark 1
check "it is not gone" is_gone_times 0
end_pid "$INGEST_PID"
check "when it stops it is gone" wait_for 10 is_gone_times 1
check "also to whoever asks later" asked_later
check "it connects again" start_ingest
kill -KILL "$INGEST_PID"
check "killed it is gone as well" wait_for 10 is_gone_times 2

check "it connects again" start_ingest
publish_start full -d 10 -n 10000 -s 1000
check "messages are published" publish_wait 60
check "it pauses" wait_for 30 grep -qF "paused: journal full" "$WORK/ingest.log"
check "with a word to the broker" \
	grep -q "Client tidegate-$GATEWAY_ID disconnected\.$" "$WORK/mosquitto.log"
check "a mark passes" mark 2
check "it is not gone" is_gone_times 2
check "it ends" end_pid "$INGEST_PID"

# One that may not publish there: mosquitto 2.0.11 with max_queued_messages 0 ends the
# connection, by MQTT 3.1.1 without a reason. What arrives must not suffer for a report.
check "the broker ends" stop_mosquitto
echo "topic readwrite t/#" >"$WORK/acl" && chmod 644 "$WORK/acl"
echo "acl_file $WORK/acl" >>"$WORK/mosquitto.conf"
check "and starts with rules that forbid the reports" start_mosquitto
JOURNAL_SETTINGS='max_bytes = "64 MiB";'
rm -rf "$JOURNAL_DIR" && write_conf "status = { mqtt_topic = \"$TOPIC\"; interval_s = 1; };"
check "it connects" start_ingest
refusal="refuses the report on $TOPIC: Not authorized"
[ "$MQTT_PROTOCOL" = 5 ] || refusal="may tidegate-$GATEWAY_ID publish on $TOPIC?"
check "the refusal is told" wait_for 20 grep -qF "$refusal" "$WORK/ingest.log"
check "a message is published" mosquitto_pub -h 127.0.0.1 -p "$BROKER_PORT" -q 1 -t t/after -m x
has_after() { dump --json | grep -qF '"t/after"'; }
check "and arrives" wait_for 20 has_after
connections() { grep -cF "connected to 127.0.0.1" "$WORK/ingest.log"; }
count=$(connections)
check "the connections were few" test "$count" -le 5
publish_start refused -n 1500 -r 500
check "messages are published for three seconds" publish_wait 30
check "on the same connection" test "$(connections)" -eq "$count"
check "it ends" end_pid "$INGEST_PID"
tap_done
