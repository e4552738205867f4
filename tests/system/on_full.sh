#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Kafka is away and more comes than the journal holds, under each policy (on_full), with
# workers killed in between. Afterwards every sequence number was delivered or is in a gap
# marker, and none is both; the counts agree, and the order is kept.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need mosquitto mosquitto_sub jq kcat "$TESTLIB/ledger_publish" "$TESTLIB/mockkafka" \
	"$TOP_BUILDDIR/tidegated"

COUNT=7000 # of 1,000 bytes; about 3,500 of them fit
FIRST=1000 # delivered before Kafka goes away

# What Kafka has, in the order of its partitions; a record: sequence, device, number; a gap
# that is announced: first sequence, count
kafka_records() {
	kcat -C -b "$KAFKA_BOOTSTRAP" -t "records-$1" -e -q -f '%h %s\n' \
		>"$WORK/$1.kafka" 2>"$WORK/kcat.log"
	sed -n 's|^.*tidegate=[^/]*/[^/]*/\([0-9]*\)/[0-9]* \(dev-[0-9]*\) \([0-9]*\) .*|\1 \2 \3|p' \
		"$WORK/$1.kafka" >"$WORK/$1.records"
	sed -n 's|^tidegate=[^/]*/[^/]*/\([0-9]*\)/[0-9]*,tidegate-gap=\([0-9]*\) {"gap":.*|\1 \2|p' \
		"$WORK/$1.kafka" >"$WORK/$1.told"
}

# account POLICY: one line of figures in ACCOUNT; 1 when a sequence has no place or two
account() {
	kafka_records "$1"
	dump --gaps --json | jq -r '"\(.first_seq) \(.last_seq)"' >"$WORK/$1.gaps"
	ACCOUNT=$(awk -v next_seq="$(dump --stat --json | jq -r .next_seq)" '
		FILENAME ~ /records$/ {
			again += seen[$1]++ > 0
			# Order counts for what comes the first time.
			if (seen[$1] == 1 && $1 < newest[$2])
				disorder++
			if (seen[$1] == 1)
				newest[$2] = $1
			next
		}
		FILENAME ~ /told$/ {
			for (seq = $1; seq < $1 + $2; seq++)
				told[seq] = 1
			next
		}
		{
			for (seq = $1; seq <= $2; seq++)
				gap[seq] = 1
		}
		END {
			for (seq = 1; seq < next_seq; seq++) {
				delivered += seq in seen
				dropped += seq in gap
				both += seq in seen && seq in gap
				neither += !(seq in seen) && !(seq in gap)
				untold += (seq in gap) != (seq in told)
			}
			printf "delivered=%d dropped=%d again=%d both=%d neither=%d disorder=%d untold=%d\n",
				delivered, dropped, again, both, neither, disorder, untold
		}' "$WORK/$1.records" "$WORK/$1.told" "$WORK/$1.gaps")
	echo "# $ACCOUNT"
	grep -q 'both=0 neither=0 disorder=0 untold=0$' <<<"$ACCOUNT"
}

figure() {
	local rest=${ACCOUNT##*"$1="}
	echo "${rest%% *}"
}

removed() {
	dump --stat --json | jq -r ".removed.\"$1\" // 0"
}

# reported FILTER: of the latest status report
reported() {
	mosquitto_sub -h 127.0.0.1 -p "$BROKER_PORT" -t "status/$GATEWAY_ID" -C 1 -W 5 |
		jq -e "$1"
}

# begin POLICY: a gateway of its own, with the first records delivered
begin() {
	GATEWAY_ID=site-$1
	CONF=$WORK/$1.conf
	JOURNAL_DIR=$WORK/journal-$1
	JOURNAL_SETTINGS="max_bytes = \"4 MiB\"; compression = \"none\"; on_full = \"$1\";"
	KAFKA_SETTINGS='buffer_max_bytes = "64 KiB"; properties = [ "reconnect.backoff.max.ms=200" ];'
	[ ! -e "$WORK/gateway.log" ] || mv "$WORK/gateway.log" "$WORK/before-$1.log"
	ROUTES="{ name = \"r\"; topic_filters = [ \"$1/#\" ]; topic = \"records-$1\"; envelope = \"none\"; gap_records = \"topic\"; }"
	write_conf "status = { mqtt_topic = \"status/$GATEWAY_ID\"; interval_s = 10; };"
	mock_up
	check "$1: the gateway starts" start_gateway
	check "$1: its subscription is taken" wait_for 20 is_subscribed "$1/#"
	publish_start "$1-first" -t "$1" -d 10 -n $FIRST -s 1000
	publish_wait 60
	check "$1: the first are journalled" wait_for 60 has_next_seq $FIRST
	check "$1: and delivered" wait_for 60 journal_is_empty
	mock_down
}

# end POLICY: Kafka is back; everything has its place
end() {
	mock_up
	check "$1: the journal becomes empty" wait_for 60 journal_is_empty
	check "$1: each sequence was delivered or is in a gap" account "$1"
	check "$1: the journal is in order" journal_check
	check "$1: the gateway stops" stop_gateway
}

is_settled() {
	! is_gone "$GATEWAY_PID" && gateway_has_workers
}

kill_both() {
	kill_worker forward
	wait_for 20 is_settled
	kill_worker ingest
	wait_for 20 is_settled
}

# acked: how far Kafka has confirmed
acked() {
	dump --stat --json | jq -r .acknowledged.r
}

has_moved() {
	[ "$(acked)" -gt "$1" ]
}

# Nobody knows then what has arrived, and there is something to be dropped.
flap() {
	local i before
	for i in 1 2; do
		before=$(acked)
		mock_up
		wait_for 20 has_moved "$before" || return 1
		kill_worker forward
		mock_down
		before=$(removed "dropped: oldest")
		wait_for 20 is_settled || return 1
		[ "$i" -eq 2 ] || wait_for 20 has_dropped oldest "$before"
	done
}

start_mosquitto || bail "no mosquitto"
start_mock records-block:2 records-drop_oldest:2 records-drop_newest:2 || bail "no embedded Kafka"

begin drop_oldest
publish_start oldest -t drop_oldest -d 10 -n $COUNT -s 1000
has_dropped() {
	[ "$(removed "dropped: $1")" -gt "$2" ]
}
check "drop_oldest: the oldest are dropped" wait_for 60 has_dropped oldest 100
check "drop_oldest: it survives a kill of each worker" kill_both
publish_wait 60
check "drop_oldest: all of it was taken" wait_for 90 has_next_seq $((FIRST + COUNT))
publish_start oldest-more -t drop_oldest -d 10 -n $COUNT -s 1000 -r 5000
check "drop_oldest: forward dies whenever Kafka is back" flap
publish_wait 60
check "drop_oldest: all of that was taken" wait_for 90 has_next_seq $((FIRST + 2 * COUNT))
check "drop_oldest: the log says so" grep -q 'journal full: dropped the oldest' "$WORK/gateway.log"
end drop_oldest
check "drop_oldest: as many are gone as the markers say" \
	test "$(figure dropped)" -eq "$(removed "dropped: oldest")" -a "$(figure dropped)" -gt 2000
check "drop_oldest: and what came last is there" \
	grep -q "^$((FIRST + 2 * COUNT)) " "$WORK/drop_oldest.records"

begin drop_newest
publish_start newest -t drop_newest -d 10 -n $COUNT -s 1000
check "drop_newest: what comes is dropped" wait_for 60 has_dropped newest 100
check "drop_newest: it survives a kill of each worker" kill_both
publish_wait 60
check "drop_newest: all of it was taken" wait_for 90 has_next_seq $((FIRST + COUNT))
check "drop_newest: the log says so" grep -q 'journal full: dropping what comes' "$WORK/gateway.log"
check "drop_newest: so does the status" \
	wait_for 20 reported 'any(.problems[]; contains("new messages are dropped"))'
mock_up
check "drop_newest: there is room again" wait_for 60 journal_is_empty
check "drop_newest: the log says so, too" \
	wait_for 20 grep -q 'keeping what comes again' "$WORK/gateway.log"
before=$(dump --stat --json | jq -r .next_seq)
publish_start newest-more -t drop_newest -d 10 -n 100 -s 1000
publish_wait 60
check "drop_newest: what comes is kept again" wait_for 30 has_next_seq $((before + 99))
end drop_newest
check "drop_newest: as many are gone as the markers say" \
	test "$(figure dropped)" -eq "$(removed "dropped: newest")" -a "$(figure dropped)" -gt 2000
check "drop_newest: and the newest are there" \
	grep -q "^$((before + 99)) " "$WORK/drop_newest.records"

begin block
publish_start block -t block -d 10 -n $COUNT -s 1000
check "block: ingest pauses" wait_for 60 grep -q 'paused: journal full' "$WORK/gateway.log"
check "block: it survives a kill of each worker" kill_both
check "block: the status says so" \
	wait_for 20 reported 'any(.problems[]; contains("paused: journal full"))'
publish_wait 60
mock_up
check "block: all of it was taken" wait_for 90 has_next_seq $((FIRST + COUNT))
end block
check "block: nothing is gone" test "$(figure dropped)" -eq 0
tap_done
