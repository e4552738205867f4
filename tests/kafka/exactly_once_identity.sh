#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Exactly once with a journal that is not what the position in Kafka speaks of: an older
# image was put back, and has grown again or not; a copy of it is forwarded elsewhere under
# the same name; the way of delivery is changed with a backlog. Nothing is skipped.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

FORWARD=$TOP_BUILDDIR/tidegate-forward
FEED=$TESTLIB/feed_journal
need jq kcat "$FORWARD" "$FEED" "$TOP_BUILDDIR/tidegate-dump"
BROKER_PORT=1883 # nobody connects to it

# new_case NAME [DELIVERY]: a journal and a topic of its own
new_case() {
	CASE=$1
	JOURNAL_DIR=$WORK/$1
	GATEWAY_ID=$1
	CONF=$WORK/$1.conf
	use_delivery "${2:-exactly_once}"
	kafka create-topic "$1" 1 || bail "no topic"
}

use_delivery() {
	KAFKA_SETTINGS="delivery = \"$1\";"
	ROUTES="{ name = \"r\"; topic_filters = [ \"a/#\" ]; topic = \"$CASE\"; envelope = \"none\"; }"
	write_conf
}

# feed FIRST LAST: records of 200 bytes
feed() {
	awk -v first="$1" -v last="$2" 'BEGIN {
		for (i = first; i <= last; i++)
			print "a/1", 200, 0
	}' | "$FEED" "$JOURNAL_DIR" "$GATEWAY_ID" "$1"
}

forward_once() {
	timeout 120 "$FORWARD" -c "$CONF" --once >>"$WORK/$CASE.log" 2>&1
}

forward_fails() {
	forward_once
	[ $? -eq 1 ]
}

# says TEXT: in the log of this case
says() {
	grep -q -- "$1" "$WORK/$CASE.log"
}

uuid() {
	dump --stat --json | jq -r .uuid
}

# values TOPIC: the numbers of the records that were committed, a line each
values() {
	timeout 60 kcat -C -b "$KAFKA_BOOTSTRAP" -t "$1" -p 0 -e -q -f '%s\n' \
		-X isolation.level=read_committed 2>>"$WORK/kcat.log" | awk '{ print $1 }'
}

# has TOPIC NUMBERS...: those, in that order, and no other
has() {
	local topic=$1
	shift
	printf '%s\n' "$@" >"$WORK/wanted"
	values "$topic" >"$WORK/values"
	diff "$WORK/wanted" "$WORK/values" | head -n 20
	cmp -s "$WORK/wanted" "$WORK/values"
}

count_is() {
	[ "$(values "$1" | wc -l)" -ge "$2" ]
}

image() {
	rm -rf "$WORK/kept" && cp -r "$JOURNAL_DIR" "$WORK/kept"
}

restore() {
	rm -rf "$JOURNAL_DIR" && cp -r "$WORK/kept" "$JOURNAL_DIR"
}

start_kafka || bail "no Kafka"

# ---- an older image ----

# check_image NAME LAST: the image has 300, Kafka 500, and the image grows to LAST
check_image() {
	local before
	new_case "$1"
	feed 1 300 || bail "no journal"
	image
	feed 301 500 || bail "no journal"
	before=$(uuid)
	check "$1: all arrive" forward_once
	check "$1: an older image is put back" restore
	[ "$2" -eq 300 ] || feed 1301 $((1000 + $2)) || bail "no journal"
	check "$1: forward ends with a failure" forward_fails
	check "$1: it says why" says "the journal is not the one that Kafka knows"
	check "$1: nothing was sent" has "$1" $(seq 500)
	check "$1: the journal has another UUID" test "$(uuid)" != "$before"
	check "$1: the next one sends it all" forward_once
}

check_image image 300
check "image: and nothing was skipped" has image $(seq 500) $(seq 300)
check_image grown 700
check "grown: and nothing was skipped" has grown $(seq 500) $(seq 300) $(seq 1301 1700)
feed 1701 1800 || bail "no journal"
check "grown: it goes on" forward_once
check "grown: exactly once" has grown $(seq 500) $(seq 300) $(seq 1301 1800)

# ---- a copy that runs ----

start_one() {
	"$FORWARD" -c "$1" >>"$WORK/$CASE$2.log" 2>&1 &
	ONE_PID=$!
	track "$ONE_PID"
}

new_case clone
feed 1 300 || bail "no journal"
start_one "$CONF" ""
ORIGINAL_PID=$ONE_PID
check "clone: the first arrive" wait_for 60 journal_is_empty
image
sed "s|$JOURNAL_DIR|$WORK/kept|" "$CONF" >"$WORK/copy.conf"
start_one "$WORK/copy.conf" -copy
COPY_PID=$ONE_PID
JOURNAL_DIR=$WORK/kept
feed 2301 2400 || bail "no journal"
check "clone: the copy delivers" wait_for 60 count_is clone 400
JOURNAL_DIR=$WORK/clone
feed 301 500 || bail "no journal"
check "clone: the original says what it has seen" \
	wait_for 60 says "another process forwards a copy of this journal"
check "clone: and sends nothing" has clone $(seq 300) $(seq 2301 2400)
check "clone: the copy ends" end_pid "$COPY_PID" 20
check "clone: the original goes on, as the journal of its own that it is" \
	wait_for 150 says "the journal is not the one that Kafka knows"
check "clone: it has ended" wait_for 20 is_gone "$ORIGINAL_PID"
check "clone: and all of its own is sent" forward_once
check "clone: nothing is missing" test "$(values clone | sort -un | wc -l)" -eq 600

# ---- from one way to the other ----

new_case switch at_least_once
feed 1 1000 || bail "no journal"
check "switch: at least once" forward_once
use_delivery exactly_once
feed 1001 2000 || bail "no journal"
check "switch: to exactly once" forward_once
use_delivery at_least_once
feed 2001 3000 || bail "no journal"
check "switch: and back" forward_once
use_delivery exactly_once
feed 3001 4000 || bail "no journal"
check "switch: and once more" forward_once
check "switch: each is there once" has switch $(seq 4000)
kafka stop
tap_done
