#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Several gateways on one machine, each with its own file, journal and client id, and in
# one of them several routes to one cluster. One gateway's Kafka is away, and one route of
# another is refused: everybody else delivers everything, and what waited comes after.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need mosquitto jq "$TESTLIB/ledger_publish" "$TOP_BUILDDIR/tidegated"

declare -A PID

# as NAME: the helpers mean this gateway from now on
as() {
	GATEWAY_ID=$1
	CONF=$WORK/$1.conf
	JOURNAL_DIR=$WORK/journal-$1
	GATEWAY_PID=${PID[$1]:-}
	ROUTES="{ name = \"default\"; topic_filters = [ \"t/#\" ]; topic = \"$1\"; envelope = \"none\"; }"
}

# launch NAME: with the configuration that is written
launch() {
	start_gateway || return 1
	PID[$1]=$GATEWAY_PID
	wait_for 20 is_subscribed 't/#'
}

# consumed NAME TOPIC: the whole ledger is in the topic
consumed() {
	cp "$WORK/all.ledger" "$WORK/$1.ledger"
	consume_start "$1" "$2" -w && consume_finish "$1"
}

publish_all() {
	publish_start all -d 10 -n "$1"
	publish_wait 60
}

stop() {
	as "$1"
	stop_gateway
}

start_mosquitto || bail "no mosquitto"
start_mock east:2 west:2 west-slow:2 north:2 || bail "no embedded Kafka"

as east
write_conf
check "the first gateway starts" launch east

as west
ROUTES="$ROUTES, { name = \"slow\"; topic_filters = [ \"t/#\" ]; topic = \"west-slow\"; envelope = \"none\"; }"
write_conf
check "the second starts, with two routes" launch west

as north
there=$KAFKA_BOOTSTRAP
KAFKA_BOOTSTRAP=127.0.0.1:$(free_port)
write_conf
KAFKA_BOOTSTRAP=$there
check "the third starts, with a Kafka that is not there" launch north

check "one route of the second is refused" \
	mock_tell topic-error west-slow TOPIC_AUTHORIZATION_FAILED
check "3,000 messages are published" publish_all 3000

as east
check "the first delivers all of them" wait_for 60 journal_is_empty
check "none of them lost or out of order" consumed east east
as west
check "so does the route of the second that is not refused" consumed west west
check "its other route holds" test "$(journal_count)" -gt 0
as north
check "the third takes them" wait_for 30 has_next_seq 3000
check "and keeps them" test "$(journal_count)" = 3000

check "the refusal is taken back" mock_tell topic-error west-slow 0
as west
check "the second delivers the rest" wait_for 90 journal_is_empty
check "none of that lost or out of order" consumed west-slow west-slow

as north
write_conf
check "the third is told where Kafka is" kill -HUP "$GATEWAY_PID"
check "it delivers all of them" wait_for 60 journal_is_empty
check "none of those lost or out of order" consumed north north

check "each has a session of its own" test "$(grep -oE 'as tidegate-(east|west|north) ' \
	"$WORK/mosquitto.log" | sort -u | wc -l)" -eq 3
check "the first gateway stops" stop east
check "the second stops" stop west
check "the third stops" stop north
tap_done
