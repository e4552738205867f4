# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What every broker has to stand, whoever made it; sourced by the test of a broker, which
# has started it on $BROKER_PORT.

# session_said TEXT: how often ingest has said it
session_said() {
	grep -cF -- "$1" "$WORK/gateway.log"
}

is_connected_again() {
	[ "$(session_said "connected to")" -gt "$1" ]
}

# publish_part COUNT [OPTION...]
publish_part() {
	local count=$1
	shift
	publish_start walk -d 10 -n "$count" "$@" && publish_wait 120
}

# In Kafka the records of a topic stand in the order of their sequence in the journal, which
# is the order in which the broker sent them; what was seen before is a repeat.
is_in_sent_order() {
	timeout 60 kcat -C -q -e -b "$KAFKA_BOOTSTRAP" -t records -o beginning -f '%k %h\n' |
		awk '{
			split($2, part, "[=/]")
			seq = part[4] + 0
			if (seq < last[$1] && !(seq in seen)) { print $1, seq, "behind", last[$1]; bad = 1 }
			if (seq > last[$1]) last[$1] = seq
			seen[seq] = 1
			count += seq > 0
		} END { exit bad || count < 20000 }'
}

is_complete() {
	grep -q "^published 20000, delivered 20000, lost 0," <<<"$LEDGER_LINE"
}

# walk [OPTION...]: 20,000 messages through one session: with the gateway there, without
# it, and with the gateway killed in the middle. The options are ledger_publish's.
walk() {
	local before
	start_mock records:4 || bail "no embedded Kafka"
	write_conf
	check "the gateway starts" start_gateway -v || bail "there is no sense in going on"
	check "it connects" wait_for 30 is_connected_again 0
	check "its subscription is granted" wait_for 30 grep -q "subscribed to t/#" "$WORK/gateway.log"
	consume_start walk records -w

	check "5,000 messages are published" publish_part 5000 "$@"
	check "they are journalled" wait_for 60 has_next_seq 5000

	check "the gateway stops" stop_gateway
	check "5,000 more go into its session" publish_part 5000 "$@"
	before=$(session_said "connected to")
	check "the gateway starts again" start_gateway -v
	check "it connects again" wait_for 30 is_connected_again "$before"
	check "the broker has kept the session" grep -q "the earlier session" "$WORK/gateway.log"
	check "all of the session is journalled" wait_for 60 has_next_seq 10000

	publish_start walk -d 10 -n 10000 "$@"
	check "some of the last 10,000 are journalled" wait_for 60 has_next_seq 11000
	check "the gateway is killed" kill_gateway
	check "and started" start_gateway -v
	check "the publisher got every PUBACK" publish_wait 120
	check "all 20,000 are journalled" wait_for 120 has_next_seq 20000
	check "the journal becomes empty" wait_for 60 journal_is_empty
	# It may say that they are out of order: some brokers send unacknowledged messages
	# again behind later ones, see BROKERS in tidegated(8).
	consume_finish walk
	check "nothing is lost" is_complete
	check "they are in the order in which the broker sent them" is_in_sent_order
	check "the gateway stops again" stop_gateway
}
