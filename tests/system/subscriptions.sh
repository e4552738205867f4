#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The set of subscriptions over the life of a gateway: overlapping filters bring each
# message once, also what waited at the broker while nobody was here; a filter that left
# the configuration is given up; retained messages come only with a new filter.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need mosquitto mosquitto_pub jq "$TOP_BUILDDIR/tidegate-ingest" "$TOP_BUILDDIR/tidegate-dump"

KAFKA_BOOTSTRAP=127.0.0.1:9

# MQTT 3.1.1 cannot ask without getting the retained messages again: one by a/+ at each
# start, one more that two filters match.
again=0
[ "$MQTT_PROTOCOL" = 5 ] || again=1

# ingest_with FILTER...: start ingest with them, in one route
ingest_with() {
	local filter list=
	for filter in "$@"; do
		list+="${list:+, }\"$filter\""
	done
	ROUTES="{ name = \"default\"; topic_filters = [ $list ]; topic = \"records\"; envelope = \"none\"; }"
	write_conf
	: >"$WORK/ingest.log"
	"$TOP_BUILDDIR/tidegate-ingest" -v -c "$CONF" >"$WORK/ingest.log" 2>&1 &
	INGEST_PID=$!
	track "$INGEST_PID"
	for filter in "$@"; do
		wait_for 20 grep -qF "subscribed to $filter," "$WORK/ingest.log" || return 1
	done
}

end_ingest() {
	end_pid "$INGEST_PID" && wait "$INGEST_PID"
}

publish() {
	mosquitto_pub -p "$BROKER_PORT" -q 1 "$@"
}

# publish_many FIRST LAST TOPIC...
publish_many() {
	local first=$1 last=$2 topic
	shift 2
	for topic in "$@"; do
		seq "$first" "$last" | publish -t "$topic" -l || return 1
	done
}

# journalled_to N: the next sequence number is N + 1, and stays so
journalled_to() {
	has_next() { [ "$(dump --stat --json | jq .next_seq)" -gt "$1" ]; }
	wait_for 20 has_next "$1" || return 1
	[ "$(dump --stat --json | jq .next_seq)" -eq $(($1 + 1)) ]
}

# A message that is published last and journalled last: what went before is there.
all_is_here() {
	publish -t a/last -m "$1" || return 1
	mark_is_here() { dump --from 1 --json | jq -r .topic | grep -cx a/last | grep -qx "$1"; }
	wait_for 20 mark_is_here "$1"
}

start_mosquitto || bail "no mosquitto"
check "a retained message is there" publish -r -t a/x -m retained
check "another one" publish -r -t z/x -m retained

check "two overlapping filters" ingest_with 'a/+' '+/b'
check "messages are published" publish_many 1 100 a/b a/x x/b
check "the first mark arrives" all_is_here 1
check "each was journalled once, and one retained" journalled_to 302
check "ingest ends" end_ingest

check "messages wait at the broker" publish_many 101 200 a/b a/x x/b
check "a third filter beside them" ingest_with 'a/+' '+/b' '+/x'
check "messages are published" publish_many 201 300 a/b a/x x/b
check "the second mark arrives" all_is_here 2
check "each was journalled once, and the other one retained" journalled_to $((904 + 2 * again))
check "ingest ends" end_ingest

check "messages wait at the broker" publish_many 301 400 x/b
check "the first filter only" ingest_with 'a/+'
check "the second is given up" \
	wait_for 20 grep -qF "unsubscribed from +/b" "$WORK/ingest.log"
check "the third is given up" \
	wait_for 20 grep -qF "unsubscribed from +/x" "$WORK/ingest.log"
check "a message that nobody wants is published" publish -t x/b -m unwanted
check "the third mark arrives" all_is_here 3
check "what waited arrived, and nothing else" journalled_to $((1005 + 3 * again))
check "ingest ends" end_ingest
check "the journal is whole" journal_check
tap_done
