#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Kafka goes away in every way, while publishing goes on: frozen for 60 s, killed and
# started again, down when the gateway starts, and unreachable for 60 s without a refusal
# (its packets are dropped in a network namespace). In the middle of two of them the whole
# gateway is killed and started. Nothing is lost, the order is kept, the journal becomes
# empty, the memory is bounded.
#
# OUTAGE_SECONDS shortens it. Without root or network namespaces the last one is skipped.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need mosquitto jq "$TESTLIB/ledger_publish" "$TOP_BUILDDIR/tidegated"

SECONDS_AWAY=${OUTAGE_SECONDS:-60}
RATE=${OUTAGE_RATE:-500}
JOURNAL_SETTINGS='max_bytes = "1 GiB";'
NETNS=

test_cleanup() {
	[ -n "$NETNS" ] || return 0
	ip link del "$NETNS-a" 2>/dev/null
	ip netns del "$NETNS" 2>/dev/null
}

# A place for Kafka that packets can be kept from. 1: not here.
network_make() {
	NETNS=tg$$
	local net=$((RANDOM % 250 + 1))
	{
		ip netns add "$NETNS" &&
			ip link add "$NETNS-a" type veth peer name "$NETNS-b" &&
			ip link set "$NETNS-b" netns "$NETNS" &&
			ip addr add "10.213.$net.1/30" dev "$NETNS-a" &&
			ip link set "$NETNS-a" up &&
			ip netns exec "$NETNS" ip addr add "10.213.$net.2/30" dev "$NETNS-b" &&
			ip netns exec "$NETNS" ip link set "$NETNS-b" up &&
			ip netns exec "$NETNS" ip link set lo up &&
			ip netns exec "$NETNS" nft add table inet away
	} >"$WORK/network.log" 2>&1 || {
		test_cleanup
		NETNS=
		return 1
	}
	export KAFKA_HOST=10.213.$net.2
}

# Both directions: nobody hears a refusal.
packets_drop() {
	ip netns exec "$NETNS" nft -f - <<-EOT
		table inet away {
			chain in { type filter hook input priority 0; iifname "$NETNS-b" drop; }
			chain out { type filter hook output priority 0; oifname "$NETNS-b" drop; }
		}
	EOT
}

packets_pass() {
	ip netns exec "$NETNS" nft flush table inet away
}

# In its namespace, where there is one; the topic commands reach it from outside.
kafka_in_place() {
	if [ -n "$NETNS" ]; then
		ip netns exec "$NETNS" "$TOP_SRCDIR/tests/kafka/kafka.sh" "$1" "$KAFKA_DIR" \
			>>"$WORK/kafka.out" 2>>"$WORK/kafka.log" </dev/null || return 1
		track "$(cat "$KAFKA_DIR/pid")"
	else
		kafka "$1"
	fi
}

seen() {
	dump --stat --json | jq -r .next_seq
}

# published_more FROM: messages go on being journalled
published_more() {
	has_next_seq $(($1 + RATE / 2))
}

# through SECONDS: let the outage last, and see that it is one, and that the journal goes
# on taking messages
through() {
	local from
	from=$(seen)
	sleep "$1"
	wait_for 20 published_more "$from" && ! backlog_is_small
}

kill_all_and_start() {
	kill_gateway && start_gateway
}

drained() {
	wait_for "${1:-120}" backlog_is_small
}

# Publishing goes on: the journal is never empty for long.
backlog_is_small() {
	[ "$(journal_count)" -lt $((RATE * 2)) ]
}

network_make || diag "no network namespace: $(tail -n 1 "$WORK/network.log")"
if ! kafka_in_place start; then
	grep -q 'is missing' "$WORK/kafka.log" && skip_all "$(tail -n 1 "$WORK/kafka.log")"
	bail "no Kafka"
fi
KAFKA_BOOTSTRAP=$(cat "$KAFKA_DIR/address")
kafka create-topic records 4 || bail "no topic"
start_mosquitto || bail "no mosquitto"
write_conf
check "the gateway starts" start_gateway
check "its subscription is taken" wait_for 20 is_subscribed 't/#'
memory_watch_start
consume_start outages records -w -T 120
publish_start outages -d 50 -r "$RATE" -s 60-400
check "messages come in" wait_for 20 has_next_seq "$RATE"

diag "Kafka is frozen for $SECONDS_AWAY s"
check "Kafka is frozen" kafka pause
check "messages are journalled" through $((SECONDS_AWAY / 2))
check "the whole gateway is killed and started" kill_all_and_start
check "messages are journalled again" through $((SECONDS_AWAY / 2))
check "Kafka thaws" kafka resume
check "the backlog is delivered" drained

diag "Kafka is killed"
check "Kafka is killed" kafka kill
check "messages are journalled" through 5
check "Kafka starts again" kafka_in_place restart
check "the backlog is delivered" drained

diag "Kafka is down when the gateway starts"
check "the gateway stops" stop_gateway
check "Kafka stops" kafka stop
check "the gateway starts without it" start_gateway
check "messages are journalled" through 5
check "Kafka starts" kafka_in_place restart
check "the backlog is delivered" drained

if [ -n "$NETNS" ]; then
	diag "the packets to Kafka are dropped for $SECONDS_AWAY s"
	check "packets are dropped" packets_drop
	check "messages are journalled" through $((SECONDS_AWAY / 2))
	check "the whole gateway is killed and started" kill_all_and_start
	check "messages are journalled again" through $((SECONDS_AWAY / 2))
	check "packets pass again" packets_pass
	check "the backlog is delivered" drained
else
	skip "unreachable without a refusal" "no network namespaces here"
fi

check "the publisher got every PUBACK" publish_stop
check "the journal becomes empty" wait_for 120 journal_is_empty
check "nothing is lost or out of order" consume_finish outages 150
diag "most memory: ingest $(memory_max ingest) KiB, forward $(memory_max forward) KiB"
check "ingest's memory is bounded" test "$(memory_max ingest)" -lt 65536
check "forward's memory is bounded" test "$(memory_max forward)" -lt 131072
check "the gateway stops" stop_gateway
check "the journal is in order" journal_check
tap_done
