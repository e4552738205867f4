#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Topics and payloads that are out of the ordinary arrive byte for byte, and do no harm to
# a terminal. A broker that sends what MQTT forbids (a topic with U+0000, or one that is
# no UTF-8) crashes nothing.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need mosquitto mosquitto_pub kcat jq python3 "$TOP_BUILDDIR/tidegated"

ROUTES='{ name = "default"; topic_filters = [ "#" ]; topic = "records"; envelope = "none"; }'

topics=('t/ space' 't/{"json":\}' "t/\$\${topic}%s%n" 't/ünï/☃/😀' 't//' '/' 't/..%2f')

publish_all() {
	local topic
	for topic in "${topics[@]}"; do
		printf '\033[2J\007\000\377%s' "$topic" >"$WORK/payload"
		mosquitto_pub -h 127.0.0.1 -p "$BROKER_PORT" -q 1 -t "$topic" -f "$WORK/payload" || return 1
	done
}

all_arrived() {
	local topic
	for topic in "${topics[@]}"; do
		printf '%s=\033[2J\007\000\377%s\n' "$topic" "$topic"
	done >"$WORK/expected"
	timeout 20 kcat -C -b "$KAFKA_BOOTSTRAP" -t records -p 0 -o beginning -e -q -f '%k=%s\n' \
		>"$WORK/arrived"
	cmp "$WORK/expected" "$WORK/arrived"
}

# Nothing but printable text and line ends, whatever the locale.
dump_is_safe() {
	local text
	text=$(dump "$@") || return 1
	[ "$(printf '%s\n' "$text" | wc -l)" -eq ${#topics[@]} ] || return 1
	! printf '%s\n' "$text" | LC_ALL=C grep -q $'[\001-\010\013-\037\177]'
}

json_is_whole() {
	local topic
	for topic in "${topics[@]}"; do
		printf '%s\n' "$topic"
	done >"$WORK/expected"
	dump --json | jq -r .topic | cmp "$WORK/expected" -
}

# A broker of a few lines, for what mosquitto would refuse. It sends the two topics on
# every connection, and says how many there were.
bad_broker() {
	exec python3 - "$1" "$WORK/bad-broker.out" <<-'END'
		import socket, sys
		listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
		out = open(sys.argv[2], "w", buffering=1)
		print("ready", file=out)
		topics = [b"t/\xff\xfe", b"t/a\x00b"]
		turn = 0
		while True:
		    peer, _ = listener.accept()
		    peer.settimeout(5)
		    try:
		        peer.recv(4096)
		        peer.sendall(b"\x20\x03\x00\x00\x00")
		        packet = peer.recv(4096)
		        while packet and packet[0] >> 4 != 8:
		            packet = peer.recv(4096)
		        peer.sendall(b"\x90\x04" + packet[2:4] + b"\x00\x01")
		        topic = topics[turn % 2]
		        turn += 1
		        body = len(topic).to_bytes(2, "big") + topic + b"\x00\x01\x00bad"
		        peer.sendall(b"\x32" + bytes([len(body)]) + body)
		        print("sent", file=out)
		        while peer.recv(4096):
		            pass
		    except OSError:
		        pass
		    peer.close()
	END
}

start_mosquitto || bail "no mosquitto"
start_mock records:1 || bail "no embedded Kafka"
write_conf
check "the gateway starts" start_gateway
check "its subscription is taken" wait_for 20 is_subscribed '#'
check "Kafka goes away" mock_down
check "odd topics and payloads are published" publish_all
check "they are journalled" wait_for 20 has_next_seq ${#topics[@]}
check "the list of them is safe for a terminal" dump_is_safe
check "the JSON lines are too" dump_is_safe --json
check "the JSON lines have the topics" json_is_whole
check "Kafka comes back" mock_up
check "the journal becomes empty" wait_for 30 journal_is_empty
check "they arrived byte for byte" all_arrived

check "the broker is stopped" stop_mosquitto
bad_broker "$BROKER_PORT" 2>"$WORK/bad-broker.log" &
bad=$!
track $bad
ingest=$(worker_pid ingest)
bad_sent() { [ "$(grep -c sent "$WORK/bad-broker.out")" -ge "$1" ]; }
check "another broker sends what MQTT forbids" wait_for 60 bad_sent 2
end_pid $bad
check "ingest lives on" test "$(worker_pid ingest)" = "$ingest"
check "the broker is back" start_mosquitto
check "odd topics and payloads are published again" publish_all
check "they are journalled again" wait_for 60 has_next_seq $((2 * ${#topics[@]}))
check "the journal is in order" journal_check
check "the gateway stops" stop_gateway
tap_done
