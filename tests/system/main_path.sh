#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The main job: messages come in by MQTT and arrive in Kafka; while Kafka is away they are
# kept, and tidegate-dump shows them; when it is back they arrive, and the journal is empty.
# Two routes with both envelopes, user properties among it.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need mosquitto jq "$TESTLIB/ledger_publish" "$TOP_BUILDDIR/tidegated"

ROUTES='{ name = "plain"; topic_filters = "t/#"; topic = "plain"; envelope = "none"; },
	{ name = "wrapped"; topic_filters = [ "t/#" ]; topic = "wrapped"; envelope = "tbmq"; }'

# MQTT 3.1.1 has no user properties.
user=(-u)
[ "$MQTT_PROTOCOL" = 5 ] || user=()

publish_more() {
	publish_start main -d 3 -n 300 -r 1000 -s 60-900 "${user[@]}"
	publish_wait 60
}

dump_shows() {
	[ "$(dump | wc -l)" -eq 300 ] &&
		[ "$(dump --json | jq -r .topic | sort | uniq -c | awk '{ print $1 $2 }' | tr '\n' ' ')" = \
			"100t/dev-000 100t/dev-001 100t/dev-002 " ]
}

dump_has_payload() {
	[ "$(dump --payload --count 1 | cut -c -12)" = "dev-000 101 " ]
}

start_mosquitto || bail "no mosquitto"
start_mock plain:4 wrapped:2 || bail "no embedded Kafka"
write_conf
check "the gateway starts" start_gateway
check "its subscription is taken" wait_for 20 is_subscribed 't/#'
consume_start main plain -w "${user[@]}"
plain=$CONSUME_PID
consume_start main-wrapped wrapped -w "${user[@]}" -e tbmq -l "$WORK/main.ledger"
wrapped=$CONSUME_PID

check "300 messages are published" publish_more
check "they are journalled" wait_for 30 has_next_seq 300
check "the journal becomes empty" wait_for 30 journal_is_empty
check "Kafka goes away" mock_down
check "300 more are published" publish_more
check "300 more are journalled" wait_for 30 has_next_seq 600
check "and kept" test "$(journal_count)" = 300
check "tidegate-dump lists them" dump_shows
check "tidegate-dump gives their payloads" dump_has_payload
check "the journal is in order" journal_check
check "Kafka comes back" mock_up
check "the journal becomes empty again" wait_for 60 journal_is_empty
CONSUME_PID=$plain
check "all arrived, in order, with their properties" consume_finish main
CONSUME_PID=$wrapped
check "all arrived inside the envelope as well" consume_finish main-wrapped
check "the gateway stops" stop_gateway
check "with status 0" test "$GATEWAY_STATUS" -eq 0
check "nothing is left in the journal" journal_is_empty
tap_done
