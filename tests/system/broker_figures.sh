#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What the broker says it has dropped: read from $SYS where it tells, asked for last, and
# never journalled unless a route wants it. A broker that does not like to be asked is left
# alone.

# shellcheck disable=SC2016
# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/peer.sh
. "$TOP_SRCDIR/tests/lib/peer.sh"

need mosquitto mosquitto_pub mosquitto_sub python3 jq "$TOP_BUILDDIR/tidegate-ingest" \
	"$TOP_BUILDDIR/tidegate-dump"

KAFKA_BOOTSTRAP=127.0.0.1:9
FIGURE='$SYS/broker/publish/messages/dropped'
STATUS='status = { mqtt_topic = "status"; interval_s = 1; };'

# start_ingest [FILTER]: a route with that filter beside t/#
start_ingest() {
	ROUTES="{ name = \"default\"; topic_filters = [ \"t/#\"${1:+, \"$1\"} ]; topic = \"records\";
		envelope = \"none\"; }"
	write_conf "$STATUS"
	"$TOP_BUILDDIR/tidegate-ingest" -v -c "$CONF" >"$WORK/ingest.log" 2>&1 6>&- &
	INGEST_PID=$!
	track "$INGEST_PID"
}

end_ingest() {
	end_pid "$INGEST_PID" && wait "$INGEST_PID"
}

logs() {
	wait_for 20 grep -qF -- "$1" "$WORK/ingest.log"
}

# Not a word above debug about it.
is_quiet() {
	! grep -F -- "$FIGURE" "$WORK/ingest.log" | grep -v ' debug '
}

# ---- mosquitto ----

status() {
	mosquitto_sub -p "$BROKER_PORT" -t status -C 1 -W 5
}

# tells FILTER: does jq's filter come to hold for the report?
tells() {
	report_tells() { status | tee "$WORK/status.json" | jq -e "$1"; }
	wait_for 20 report_tells "$1" && return
	cat "$WORK/status.json"
	return 1
}

# pass_by COUNT: so many reports more
pass_by() {
	local i last
	for ((i = 0; i < $1; i++)); do
		last=$(status | jq .time)
		tells ".time > $last" || return 1
	done
}

# drop COUNT: messages for somebody who sleeps; the broker keeps five
drop() {
	seq "$1" | mosquitto_pub -p "$BROKER_PORT" -q 1 -t s/x -l
}

publish() {
	seq "$1" | mosquitto_pub -p "$BROKER_PORT" -q 1 -t t/x -l
}

journal_has() {
	[ "$(dump --stat --json | jq .next_seq)" = $(($1 + 1)) ]
}

start_mosquitto 'max_queued_messages 5' 'sys_interval 1' || bail "no mosquitto"
mosquitto_sub -p "$BROKER_PORT" -i sleeper -c -q 1 -t 's/#' -E || bail "nobody sleeps"

start_ingest
check "the figure comes before anything is dropped" tells '.mqtt.broker_dropped_messages == 0'
drop 45
check "messages are dropped, and it is told how many" tells '.mqtt.broker_dropped_messages == 40'
publish 3
check "messages count as received, figures do not" tells \
	'.mqtt.received_messages == 3 and .mqtt.refused_subscriptions == 0'
check "nor are they in the journal" journal_has 3
check "it is no subscription of the routes'" test "$(grep -c ' debug .*subscribed to ' "$WORK/ingest.log")" = 2
check "ingest ends" end_ingest

start_ingest
check "after a restart it is there, although nothing more is dropped" tells \
	'.mqtt.broker_dropped_messages == 40'
gives_up_nothing() {
	! grep -F "which no route needs any more" "$WORK/ingest.log"
}
check "the stored set does not have it" gives_up_nothing
check "ingest ends" end_ingest

# The session might have the subscription, of a connection that was cut.
MQTT_SETTINGS='broker_figures = false;'
start_ingest
check "switched off, the broker is to forget it" logs "unsubscribed from $FIGURE"
check "there is no figure" tells '.mqtt.state == "connected" and (.mqtt | has("broker_dropped_messages") | not)'
check "nothing was journalled" journal_has 3
check "ingest ends" end_ingest

MQTT_SETTINGS=
start_ingest
check "switched on again, it is back" tells '.mqtt.broker_dropped_messages == 40'
check "ingest ends" end_ingest

# are_once FILTER: a route has a filter for it, wider or the same
copies() { [ "$(dump --from 1 --json --topic "$FIGURE" | jq -r .payload_text | grep -cx "$1")" = "$2" ]; }
start_ingest '$SYS/broker/publish/#'
check "a route wants it: what the session had is forgotten" logs "unsubscribed from $FIGURE"
drop 2
check "the figure is read in passing" tells '.mqtt.broker_dropped_messages == 42'
check "and journalled, once" wait_for 10 copies 42 1
check "ingest ends" end_ingest

start_ingest "$FIGURE"
check "a route wants exactly it" logs "subscribed to $FIGURE, identifier"
check "some reports later" pass_by 3
drop 2
check "the figure is read in passing" tells '.mqtt.broker_dropped_messages == 44'
check "and journalled, once" wait_for 10 copies 44 1
check "its subscription stays" test "$(grep -c "unsubscribed from" "$WORK/ingest.log")" = 1
check "ingest ends" end_ingest
check "the journal is whole" journal_check

# Behind messages of QoS 0 that wait in a session mosquitto 2.0.11 lets others overtake one
# another: none of them may be ours.
MQTT_SETTINGS='receive_maximum = 10;'
stop_mosquitto
rm -rf "$JOURNAL_DIR" "$WORK/mosquitto"
BROKER_PORT= # another one
start_mosquitto 'sys_interval 1' 'queue_qos0_messages true' 'max_queued_messages 0' \
	'max_queued_bytes 20000' || bail "no mosquitto"
mosquitto_sub -p "$BROKER_PORT" -i sleeper -c -q 1 -t 's/#' -E || bail "nobody sleeps"
start_ingest
check "a broker that keeps QoS 0 as well" tells '.mqtt.broker_dropped_messages == 0'
check "ingest ends" end_ingest

figure() { mosquitto_sub -p "$BROKER_PORT" -t "$FIGURE" -C 1 -W 5; }
is_further() { [ "$(figure)" -gt "$1" ]; }
# round N: twenty messages for the gateway, and the figure changes
round() {
	local before
	before=$(figure) || return 1
	seq $(($1 * 20 + 1)) $(($1 * 20 + 20)) | mosquitto_pub -p "$BROKER_PORT" -q 1 -t t/x -l
	seq -f %01000g 30 | mosquitto_pub -p "$BROKER_PORT" -q 1 -t s/x -l
	wait_for 20 is_further "$before"
}
for round in 0 1 2 3; do
	check "while it is away the figure changes" round "$round"
done
start_ingest
check "all that waited comes at once" wait_for 20 journal_has 80
in_order() { dump --from 1 --json --topic t/x | jq -r .payload_text | cmp - <(seq 80); }
check "in order" in_order
check "and the figure" tells '.mqtt.broker_dropped_messages > 0'
check "ingest ends" end_ingest
MQTT_SETTINGS=

# ---- others ----

# scene WORD...: a fresh journal, such a broker, and ingest
scene() {
	rm -rf "$JOURNAL_DIR"
	start_peer odd_broker.py "$@" || return 1
	BROKER_PORT=$PEER_PORT start_ingest
}

end_scene() {
	local rc=0
	end_ingest || rc=1
	end_peer || rc=1
	return "$rc"
}

# Some seconds have passed, by ingest's own reckoning.
reports() { [ "$(grep -c '^PUBLISH status .*"connected"' "$WORK/peer.out")" -ge "$1" ]; }
asked() { [ "$(grep -cF "SUBSCRIBE $FIGURE 0 " "$WORK/peer.out")" = "$1" ]; }

check "a broker that refuses it" scene "deny=$FIGURE"
check "is told of at debug only" logs "the broker refuses the subscription to $FIGURE"
check "ingest goes on" wait_for 20 reports 3
check "without a word" is_quiet
check "nothing is amiss" grep -q '"refused_subscriptions":0' "$WORK/peer.out"
check "it was asked for once" asked 1
check "ingest ends" end_scene

check "a broker that ends the connection for it" scene "close=$FIGURE"
check "is told of" logs "it is not asked again (mqtt.broker_figures)"
check "ingest comes back" wait_for 30 reports 3
check "and does not ask again" asked 1
check "ingest ends" end_scene

check "a broker that does not answer for a route" scene mute=t/#
check "ingest goes on" wait_for 20 reports 3
check "is not asked for anything more" asked 0
check "ingest ends" end_scene

MQTT_SETTINGS='broker_figures = false;'
check "a broker that sends it unasked, at QoS 1" scene figures
check "it is acknowledged" wait_for 20 grep -qx "PUBACK 1" "$WORK/peer.out"
check "ingest goes on" wait_for 20 reports 3
check "it is not journalled" journal_has 0
check "nor counted" grep -q '"received_messages":0' "$WORK/peer.out"
check "it is not asked for" asked 0
check "ingest ends" end_scene
tap_done
