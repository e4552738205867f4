#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Two gateways with one client id, as after the copy of an image: the broker gives the
# session to whoever came last. Both say so, in the log and in the status, and come back
# more and more seldom; what the one did not acknowledge goes to the other. Together they
# have everything. When one of them is gone the other is well again.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need mosquitto jq kcat "$TESTLIB/ledger_publish" "$TOP_BUILDDIR/tidegated"

declare -A PID

# as NAME: the helpers mean this gateway from now on
as() {
	GATEWAY_ID=$1
	CONF=$WORK/$1.conf
	JOURNAL_DIR=$WORK/journal-$1
	GATEWAY_PID=${PID[$1]:-}
}

launch() {
	as "$1"
	write_conf "status = { kafka_topic = \"status\"; interval_s = 1; };"
	"$TOP_BUILDDIR/tidegated" -c "$CONF" >>"$WORK/$1.log" 2>&1 &
	PID[$1]=$!
	track $!
	as "$1"
	wait_for 20 gateway_has_workers
}

# tells NAME TEXT: the status that it gave last
tells() {
	timeout 20 kcat -C -b "$KAFKA_BOOTSTRAP" -t status -p 0 -o beginning -e -q -f '%k %s\n' 2>>"$WORK/kcat.log" |
		sed -n "s/^$1 //p" | tail -n 1 | jq -r .state | grep -qE "$2"
}

says_rival() {
	grep -qE "$RIVAL" "$WORK/$1.log"
}

# times NAME: of its connections
connections() {
	grep -c 'connected to .*, MQTT' "$WORK/$1.log"
}

# Of the one that has ended, too: what no route wants is passed later.
all_delivered() {
	local name
	for name in first second; do
		as "$name"
		[ "$(dump --stat --json | jq '.next_seq - .acknowledged.default')" = 1 ] || return 1
	done
}

# By MQTT 5 a broker may tell; mosquitto 2.0.11 does not.
RIVAL='another client has connected as shared|does another client use the client id shared'
MQTT_SETTINGS='client_id = "shared";'
start_mosquitto || bail "no mosquitto"
start_mock records:1 status:1 || bail "no embedded Kafka"
consume_start taken records -w -T 120
check "the first gateway starts" launch first
check "its subscription is taken" wait_for 20 is_subscribed 't/#' shared
publish_start taken -d 5 -r 300
check "messages come in" wait_for 20 has_next_seq 100
check "a second one starts with its client id" launch second
check "the first one says so" wait_for 40 says_rival first
check "so does the second" wait_for 40 says_rival second
check "the status of the first tells it" wait_for 40 tells first "$RIVAL"
check "so does that of the second" wait_for 40 tells second "$RIVAL"
both() {
	[ "$(connections first)" -ge 3 ] && [ "$(connections second)" -ge 3 ]
}
check "the session goes to and fro" wait_for 60 both
check "the second one goes" stop_gateway
check "the publisher got every PUBACK" publish_stop
as first
diag "connections: $(connections first) and $(connections second) in $SECONDS s"
check "they came back ever more seldom" test "$(connections first)" -le 12
check "what is left comes to the first" wait_for 60 all_delivered
as first
# Each forwards on its own: there is no order between the two.
no_loss() {
	consume_finish taken 60
	[[ $LEDGER_LINE == *" lost 0,"* ]]
}
check "nothing is lost" no_loss
check "the first stops" stop_gateway
tap_done
