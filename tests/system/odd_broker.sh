#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Brokers that say no: to MQTT 5, to the connection, to a subscription, to its QoS. The
# operator is told, and what can go on does.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/peer.sh
. "$TOP_SRCDIR/tests/lib/peer.sh"

need python3 jq "$TOP_BUILDDIR/tidegate-ingest" "$TOP_BUILDDIR/tidegate-dump"

KAFKA_BOOTSTRAP=127.0.0.1:9
ROUTES='{ name = "default"; topic_filters = [ "t/#", "+/b", "u" ]; topic = "records";
	  envelope = "none"; }'

STATUS=

# scene WORD...: a fresh journal, such a broker, and ingest
scene() {
	rm -rf "$JOURNAL_DIR"
	start_peer odd_broker.py "$@" || return 1
	BROKER_PORT=$PEER_PORT write_conf "$STATUS"
	"$TOP_BUILDDIR/tidegate-ingest" -v -c "$CONF" >"$WORK/ingest.log" 2>&1 6>&- &
	INGEST_PID=$!
	track "$INGEST_PID"
}

end_scene() {
	local rc=0
	end_pid "$INGEST_PID" || rc=1
	wait "$INGEST_PID" || rc=1
	end_peer || rc=1
	return "$rc"
}

says() {
	wait_for 20 grep -qF -- "$1" "$WORK/ingest.log"
}

got() {
	wait_for 20 grep -qx -- "$1" "$WORK/peer.out"
}

check "a broker of MQTT 3.1.1 alone" scene old send
check "the fall back is told" says "does not speak MQTT 5: MQTT 3.1.1 from now on"
check "the next try is with 3.1.1" got "CONNECT 4"
check "its options byte is 3.1.1's" got "SUBSCRIBE t/# 0 1"
check "it is connected" says "MQTT 3.1.1, a new session"
check "messages are acknowledged" got "PUBACK 3"
journal_has() { [ "$(dump --stat --json | jq .next_seq)" = "$1" ]; }
check "and journalled" wait_for 10 journal_has 4
check "ingest ends" end_scene

check "a broker that only hangs up on MQTT 5" scene dumb
check "is told with the way out" says "without an answer: does it want TLS at this port \
(mqtt.tls)? (if it knows no MQTT 5: mqtt.protocol = 4)"
is_tried() { [ "$(grep -cx "CONNECT 5" "$WORK/peer.out")" -ge "$1" ]; }
check "it is tried again" wait_for 20 is_tried 2
check "in one line" test "$(grep -c "mqtt.protocol = 4" "$WORK/ingest.log")" -eq 1
check "ingest ends" end_scene
MQTT_PROTOCOL=4
check "with MQTT 3.1.1" scene dumb send
check "messages are acknowledged" got "PUBACK 3"
check "ingest ends" end_scene
MQTT_PROTOCOL=5

check "a broker that ends inside a packet" scene cut
check "is told as what it is" says "lost: The connection was lost."
check "ingest ends" end_scene

check "a broker that refuses the connection" scene reject
check "its words are told" says "Not authorized (come back on Monday)"
check "it is tried again" wait_for 20 is_tried 2
check "ingest ends" end_scene

check "a broker that refuses one subscription and lowers another" \
	scene deny=t/# lower=u send
check "the refusal is told" says "refuses the subscription to t/#"
check "the lowering is told" says "lowers the subscription to u to QoS 0"
# Retain as published, retained messages only when new, QoS 1.
check "identifiers and options are sent" got "SUBSCRIBE +/b 2 25"
check "ingest goes on" got "PUBACK 3"
check "ingest ends" end_scene

STATUS='status = { mqtt_topic = "status"; interval_s = 1; };'
check "a broker that does not answer SUBSCRIBE" scene mute=u
tells() {
	grep -q "^PUBLISH status .*the MQTT broker does not grant 1 of the subscriptions" "$WORK/peer.out"
}
check "the status tells of it" wait_for 20 tells
check "ingest ends" end_scene
STATUS=

check "a broker without subscription identifiers" scene noids send
check "none is sent" got "SUBSCRIBE t/# 0 25"
check "ingest goes on" got "PUBACK 3"
check "ingest ends" end_scene

# Waiting for more must not outlast the keep-alive: the broker would end the connection,
# and send the same messages again for ever.
MQTT_SETTINGS='keepalive_s = 5;'
JOURNAL_SETTINGS='max_bytes = "64 MiB"; commit_interval_ms = 60000;'
check "a commit interval longer than the keep-alive" scene send
check "messages are acknowledged all the same" got "PUBACK 3"
check "ingest ends" end_scene
tap_done
