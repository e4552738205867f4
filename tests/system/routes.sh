#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Several routes on one journal, without MQTT: each message once for each route that
# matches; a route that is switched off keeps what is for it; one that may not write to
# its topic buries what is for it, where it says so. No route is disturbed by another.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need kcat jq "$TESTLIB/feed_journal" "$TOP_BUILDDIR/tidegate-forward"

BROKER_PORT=1883 # not used

# write_routes ENABLED: what "off" is set to
write_routes() {
	ROUTES="{ name = \"all\"; topic_filters = [ \"plant/#\", \"plant/a/+\" ]; topic = \"all\"; envelope = \"none\"; },
		{ name = \"off\"; enabled = $1; topic_filters = \"\$share/g/plant/a/#\"; topic = \"off\";
			envelope = \"none\"; },
		{ name = \"level\"; topic_filters = \"plant/#\"; topic = \"\${topic:4}\"; envelope = \"none\"; }"
	write_conf
}

feed() {
	"$TESTLIB/feed_journal" "$JOURNAL_DIR" "$GATEWAY_ID"
}

forward_once() {
	timeout 60 "$TOP_BUILDDIR/tidegate-forward" --once -c "$CONF" >>"$WORK/forward.log" 2>&1
}

# values TOPIC: the numbers of the messages in it
values() {
	timeout 20 kcat -q -C -b "$KAFKA_BOOTSTRAP" -t "$1" -o beginning -e 2>>"$WORK/kcat.log" |
		cut -d ' ' -f 1
}

# has TOPIC NUMBERS...: exactly these, in this order
has() {
	local topic=$1
	shift
	[ "$(values "$topic" | tr '\n' ' ')" = "$*${1:+ }" ]
}

# dead REASON ROUTE: how many
dead() {
	dump --dead --json | jq -s --arg reason "$1" --arg route "$2" \
		'map(select(.reason == $reason and .route == $route)) | length'
}

dead_is() {
	[ "$(dead "$2" "$3")" = "$1" ]
}

start_mock all:1 off:1 x:1 bad:1 || bail "no embedded Kafka"
write_routes false
# 1 to 3: all. 4, 5 and 7: also off. 8: also level. 9: for no route.
feed <<-EOT || bail "no journal"
	plant/b/1 100 0
	plant/b/1 100 0
	plant/b/1 100 0
	plant/a/1 100 0
	plant/a/2 100 0
	plant/c/2 100 0
	plant/a/2 100 0
	plant/c/1/x 100 0
	else/1 100 0
EOT
check "forward ends, though a route is off that owes" forward_once
check "a route has each message once" has all 1 2 3 4 5 6 7 8
check "the route that is off has sent nothing" has off
check "that is said" grep -q "route off is switched off" "$WORK/forward.log"
check "a topic that renders empty was buried, for its route alone" dead_is 7 "bad topic" level
check "the others of that route went their way" has x 8
check "what no route matches waits for the route that is off" dead_is 0 "no route" "(unrouted)"
check "the journal keeps what is behind its first one" test "$(journal_count)" = 6

write_routes true
check "forward ends with the route on" forward_once
check "it has everything, in order" has off 4 5 7
check "nothing came twice" has all 1 2 3 4 5 6 7 8
check "what no route matches is buried now" dead_is 1 "no route" "(unrouted)"
check "the journal is empty" journal_is_empty
check "and sound" journal_check

# Four requests are refused: the first two are tries of the first message, then one each.
JOURNAL_DIR=$WORK/refused
KAFKA_SETTINGS='retries = 2; linger_ms = 100;'
ROUTES='{ name = "bury"; topic_filters = "#"; topic = "bad"; envelope = "none"; on_reject = "bury"; }'
write_conf
for ((i = 0; i < 20; i++)); do
	echo "plant/a/1 100 0"
done | feed || bail "no journal"
mock_tell error produce TOPIC_AUTHORIZATION_FAILED 4 || bail "no error"
check "forward ends though its topic is refused" forward_once
check "what was refused so often was buried" dead_is 3 refused bury
check "with what Kafka said" eval \
	'dump --dead --json | jq -es "all(.detail | test(\"(?i)author\"))"'
check "the others were delivered, in order" has bad "$(seq -s ' ' 4 20)"
check "the journal is empty again" journal_is_empty
tap_done
