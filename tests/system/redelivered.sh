#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What comes again, under a sequence number of its own, when ingest was killed: committed,
# and the broker had not read the PUBACK. From a broker that keeps to the receive maximum,
# so many at most; from any, no more than it had sent and read no PUBACK for. mosquitto
# up to 2.0.12 sends more than the receive maximum as soon as something is queued.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/peer.sh
. "$TOP_SRCDIR/tests/lib/peer.sh"

need mosquitto jq python3 "$TESTLIB/ledger_publish" "$TOP_BUILDDIR/tidegate-ingest" \
	"$TOP_BUILDDIR/tidegate-dump"

KILLS=3
MAXIMUM=30 # libmosquitto's own would be 20
COUNT=500
KAFKA_BOOTSTRAP=127.0.0.1:9
MQTT_SETTINGS="receive_maximum = $MAXIMUM;"

start_ingest() {
	"$TOP_BUILDDIR/tidegate-ingest" -c "$CONF" >>"$WORK/ingest.log" 2>&1 6>&- &
	INGEST_PID=$!
	track "$INGEST_PID"
}

kill_ingest() {
	kill -KILL "$INGEST_PID"
	wait "$INGEST_PID" 2>/dev/null
	is_gone "$INGEST_PID"
}

end_ingest() {
	end_pid "$INGEST_PID"
}

# ---- a broker that keeps to it, and reads no PUBACK until it has lost us ----

# Each time the journal has all that the broker may send, and the broker waits.
kills_behind_commit() {
	local i
	for ((i = 1; i <= KILLS; i++)); do
		start_ingest
		wait_for 20 has_next_seq $((i * MAXIMUM)) && kill_ingest || return 1
	done
}

has_asked() {
	[ "$(grep -cx "CONNECT 5 $MAXIMUM" "$WORK/peer.out")" = $((KILLS + 1)) ]
}

# The unread ones once more for each kill, and everything else once, all in order.
came_as_it_must() {
	local i
	for ((i = 0; i < KILLS; i++)); do
		seq "$MAXIMUM"
	done >"$WORK/expected"
	seq "$COUNT" >>"$WORK/expected"
	dump --payload >"$WORK/came" && diff "$WORK/expected" "$WORK/came"
}

check "a broker that is late with reading" start_peer late_broker.py $KILLS $COUNT
BROKER_PORT=$PEER_PORT write_conf
check "ingest is killed $KILLS times, with no PUBACK read" kills_behind_commit
check "it starts again" start_ingest
check "everything comes" wait_for 20 has_next_seq $((KILLS * MAXIMUM + COUNT))
check "each CONNECT has asked for $MAXIMUM at most" has_asked
check "after each kill $MAXIMUM came again, and nothing else did" came_as_it_must
check "ingest ends" end_ingest
check "the broker ends" end_peer

# ---- mosquitto: by what its log says ----

# Nothing new in the journal from one look to the next
journal_rests() {
	local last=$NEXT_SEQ
	NEXT_SEQ=$(dump --stat --json | jq -r .next_seq)
	[ "$NEXT_SEQ" = "$last" ]
}

# mosquitto stands still meanwhile, and what was acknowledged waits in its socket.
kills_under_load() {
	local i rc
	NEXT_SEQ=0
	for ((i = 0; i < KILLS; i++)); do
		wait_for 20 has_next_seq $((NEXT_SEQ + 200)) || return 1
		kill -STOP "$BROKER_PID"
		wait_for 20 journal_rests && kill_ingest
		rc=$?
		kill -CONT "$BROKER_PID"
		[ "$rc" -eq 0 ] || return 1
		start_ingest
	done
}

messages() {
	dump --json | jq -r '.topic + " " + .payload'
}

# Nothing lost; and whatever was sent again was so before the last one.
has_all() {
	[ "$(messages | sort -u | wc -l)" = "$1" ]
}

# At the end of each connection: sent, and its PUBACK not read.
unread_by_broker() {
	awk -v id="$1" '
		index($0, "Sending PUBLISH to " id " ") && / q1,/ {
			match($0, /, m[0-9]+,/)
			flying[substr($0, RSTART + 3, RLENGTH - 4)]
			n = length(flying)
			if (n > most) most = n
		}
		index($0, "Received PUBACK from " id " ") {
			match($0, /Mid: [0-9]+/)
			delete flying[substr($0, RSTART + 5, RLENGTH - 5)]
		}
		index($0, " as " id " (") { unread += length(flying); delete flying }
		END { print unread + length(flying), most }' "$WORK/mosquitto.log"
}

no_more_came_again() {
	local unread most again
	read -r unread most < <(unread_by_broker "tidegate-$GATEWAY_ID")
	again=$(($(messages | wc -l) - $1))
	diag "$(mosquitto -h | head -n 1): $most on their way at most, asked for $MAXIMUM;" \
		"at the kills $unread unread; $again came again"
	[ "$most" -gt 0 ] && [ "$again" -le "$unread" ]
}

JOURNAL_DIR=$WORK/journal-mosquitto
BROKER_PORT=
start_mosquitto "log_type debug" || bail "no mosquitto"
write_conf
start_ingest
check "the subscription is taken" wait_for 20 is_subscribed 't/#'
publish_start load -d 5 -n 4000 -r 3000
check "ingest is killed $KILLS times under load" kills_under_load
check "the publisher got every PUBACK" publish_wait
check "everything comes" wait_for 30 has_next_seq 4000
check "nothing is lost" wait_for 30 has_all 4000
check "ingest ends" end_ingest
check "only what mosquitto had read no PUBACK for came again" no_more_came_again 4000
tap_done
