#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What a real Kafka refuses, straight from a journal, without MQTT: one record too large
# for its topic in a stream of 2,000, in large batches, in the middle of five requests in
# flight, with innocents in its request, and first of all on a partition; record times
# that lie ahead; a topic that is made later, while another route goes on.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

FORWARD=$TOP_BUILDDIR/tidegate-forward
FEED=$TESTLIB/feed_journal
need jq kcat ss "$FORWARD" "$FEED" "$TOP_BUILDDIR/tidegate-dump"
BROKER_PORT=1883 # nobody connects to it

# new_case NAME: a journal of its own
new_case() {
	CASE=$1
	JOURNAL_DIR=$WORK/$1
	PARTITIONS=1
	mkdir -p "$JOURNAL_DIR"
}

# feed [NUMBER]: records by the lines of stdin, from that number on; see feed_journal.c
feed() {
	"$FEED" "$JOURNAL_DIR" "$GATEWAY_ID" "${1:-1}"
}

# stream COUNT TOPIC [LARGE_AT...]: 200 bytes each, at some places $LARGE
LARGE=100000
stream() {
	local count=$1 topic=$2
	shift 2
	awk -v count="$count" -v topic="$topic" -v large=" $* " -v size="$LARGE" 'BEGIN {
		for (i = 1; i <= count; i++)
			print topic, index(large, " " i " ") ? size : 200, 0
	}'
}

forward_once() {
	timeout 120 "$FORWARD" -c "$CONF" --once >>"$WORK/$CASE.log" 2>&1
}

# values TOPIC: the numbers of the records that are in it, a line each, one partition
# after the other
values() {
	local p
	for ((p = 0; p < PARTITIONS; p++)); do
		timeout 60 kcat -C -b "$KAFKA_BOOTSTRAP" -t "$1" -p "$p" -e -q -f '%s\n' \
			-X check.crcs=true 2>>"$WORK/kcat.log"
	done | awk '{ print $1 }'
}

# has_all TOPIC COUNT [BUT...]: 1 to COUNT, but for some, each for the first time in order
has_all() {
	local topic=$1 count=$2
	shift 2
	values "$topic" >"$WORK/values"
	awk -v count="$count" -v but=" $* " '
		!seen[$1]++ { if ($1 < last) { print "# " $1 " comes after " last; bad = 1 }; last = $1; n++ }
		END {
			for (i = 1; i <= count; i++)
				if (!seen[i] && !index(but, " " i " ")) { print "# " i " is missing"; bad = 1 }
				else if (seen[i] && index(but, " " i " ")) { print "# " i " is there"; bad = 1 }
			print "# " NR - n " duplicates"
			exit bad
		}' "$WORK/values"
}

count_is() {
	[ "$(values "$1" | wc -l)" -ge "$2" ]
}

dead_is() {
	[ "$(dump --stat --json | jq -r .dead)" = "$1" ]
}

# start_forward: beside the test, until end_forward
start_forward() {
	"$FORWARD" -c "$CONF" >>"$WORK/$CASE.log" 2>&1 &
	FORWARD_PID=$!
	track "$FORWARD_PID"
}

end_forward() {
	end_pid "$FORWARD_PID" 20
}

# wire_holds BYTES: so much is on its way to the frozen broker, or back
wire_holds() {
	local port=${KAFKA_BOOTSTRAP##*:}
	[ "$(ss -Htn "( sport = :$port or dport = :$port )" |
		awk '{ n += $2 + $3 } END { print n + 0 }')" -ge "$1" ]
}

# refusing_topic NAME PARTITIONS MAX_BYTES SETTINGS: a case on a topic that takes no more
# than that. The broker judges what is left after compression, so there is none.
refusing_topic() {
	new_case "$1"
	PARTITIONS=$2
	kafka create-topic "$1" "$2" max.message.bytes="$3" || bail "no topic"
	KAFKA_SETTINGS="compression = \"none\"; ${4-}"
	ROUTES="{ name = \"r\"; topic_filters = [ \"#\" ]; topic = \"$1\"; envelope = \"none\"; }"
	write_conf
}

# frozen NAME PARTITIONS FIRST SECOND LARGE_AT RECORDS_PER_REQUEST: 500 records of the MQTT
# topic FIRST arrive; then, while Kafka is frozen, as many requests as may be are put on
# the wire for 1,500 of SECOND, of which the one at LARGE_AT will be refused.
frozen() {
	refusing_topic "$1" "$2" 20000 "properties = [ \"batch.num.messages=$6\" ];"
	stream 500 "$3" | feed || bail "no journal"
	start_forward
	check "$1: what was there before arrives" wait_for 60 count_is "$1" 500
	kafka pause
	stream 1500 "$4" "$5" | feed 501 || bail "no journal"
	check "$1: requests are on the wire" wait_for 30 wire_holds 100000
	kafka resume
	check "$1: the journal becomes empty" wait_for 90 journal_is_empty
	check "$1: forward ends" end_forward
	check "$1: all others are there in order" has_all "$1" 2000 $((500 + $5))
	check "$1: the one is dead" dead_is 1
}

start_kafka || bail "no Kafka"

# One batch has it and hundreds of innocents.
refusing_topic large-batches 1 600000
LARGE=700000
stream 2000 dev/1 1000 | feed || bail "no journal"
LARGE=100000
check "large-batches: the journal is drained" forward_once
check "large-batches: all others are there in order" has_all large-batches 2000 1000
check "large-batches: the one is dead" dead_is 1
check "large-batches: the journal is empty" journal_is_empty

# librdkafka has at most five records of a partition in flight, unless they are in one
# request: so five requests of one, or three of which two have innocents in them.
frozen five-requests 1 dev/1 dev/1 3 1
frozen innocents 1 dev/1 dev/1 3 2
# The two keys are on different partitions: nothing was taken on the second before.
frozen first-on-partition 2 dev/1 dev/3 1 2

new_case ahead
kafka create-topic ahead 1 || bail "no topic"
KAFKA_SETTINGS=
ROUTES='{ name = "r"; topic_filters = [ "#" ]; topic = "ahead"; envelope = "none";
	  timestamp = "received"; }'
write_conf
awk 'BEGIN { for (i = 1; i <= 1000; i++) print "dev/1", 200, 7200000 }' | feed || bail "no journal"
check "ahead: the journal is drained" forward_once
check "ahead: all are there in order" has_all ahead 1000
check "ahead: none is dead" dead_is 0

new_case later
kafka create-topic here 1 || bail "no topic"
KAFKA_SETTINGS='properties = [ "topic.metadata.propagation.max.ms=1000" ];'
ROUTES='{ name = "here"; topic_filters = [ "a/#" ]; topic = "here"; envelope = "none"; },
	{ name = "later"; topic_filters = [ "b/#" ]; topic = "later"; envelope = "none"; }'
write_conf
awk 'BEGIN { for (i = 1; i <= 2000; i++) print (i % 2 ? "a/1" : "b/1"), 200, 0 }' | feed ||
	bail "no journal"
start_forward
check "later: the route whose topic is there is served" wait_for 60 count_is here 1000
check "later: the other route says that it holds" wait_for 60 grep -q "route later holds" "$WORK/later.log"
check "later: nothing is dead" dead_is 0
kafka create-topic later 1 || bail "no topic"
check "later: the route goes on when its topic is made" wait_for 120 count_is later 1000
check "later: the journal becomes empty" wait_for 30 journal_is_empty
check "later: forward ends" end_forward
check "later: each in its topic once, in order" has_all later 2000 "$(seq -s ' ' 1 2 2000)"

kafka stop
tap_done
