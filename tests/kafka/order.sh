#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Order on a real Kafka. One record that the topic refuses (too large) in the middle of a
# stream of 2,000, five requests in flight: all others arrive, in order, and the one is
# dead. And three overlapping filters and two routes: each message once per route.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need mosquitto mosquitto_pub jq "$TESTLIB/ledger_publish" "$TOP_BUILDDIR/tidegated"

ROUTES='{ name = "three"; topic_filters = [ "+/dev-000", "t/#", "+/dev-001" ];
	  topic = "three"; envelope = "none"; },
	{ name = "all"; topic_filters = [ "t/dev-000", "t/dev-001", "t/large" ];
	  topic = "all"; envelope = "none"; }'
# Small requests, many of them in flight around the one that is refused; and innocent
# neighbours in that one, which have to come before all that was behind it.
KAFKA_SETTINGS='compression = "none"; properties = [ "batch.num.messages=40" ];'

publish_stream() {
	publish_start order -d 2 -n 1000
	publish_wait 30
}

publish_large() {
	head -c 30000 /dev/urandom >"$WORK/large.payload"
	mosquitto_pub -h 127.0.0.1 -p "$BROKER_PORT" -q 1 -t t/large -f "$WORK/large.payload"
}

start_kafka || bail "no Kafka"
# One route's topic refuses it, the other's takes it.
kafka create-topic three 1 max.message.bytes=20000 || bail "no topic"
kafka create-topic all 1 || bail "no topic"
start_mosquitto || bail "no mosquitto"
write_conf
check "the gateway starts" start_gateway
check "its widest filter is taken" wait_for 20 is_subscribed 't/#'
check "a filter that it does not cover is taken" wait_for 20 is_subscribed '+/dev-001'
check "Kafka is frozen" kafka pause
check "1,000 messages are published" publish_stream
check "one that the topic will refuse is published" publish_large
check "1,000 more are published" publish_stream
check "each is journalled once" wait_for 30 has_next_seq 2001
check "and no more" test "$(dump --stat --json | jq -r .next_seq)" = 2002
check "Kafka thaws" kafka resume
check "the journal becomes empty" wait_for 90 journal_is_empty
consume_start order three -w
check "all others are in the refusing topic, in order" consume_finish order
consume_start order all -w -f -D 0 -R 0
check "all are in the other topic once, in order" consume_finish order
check "the refused one is dead" test "$(dump --stat --json | jq -r .dead)" = 1
check "the gateway stops" stop_gateway
check "the journal is in order" journal_check
tap_done
