#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# SIGTERM in the middle of a stream, several times: the gateway leaves in order, so that
# neither the broker nor forward sends anything twice.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need mosquitto jq "$TESTLIB/ledger_publish" "$TOP_BUILDDIR/tidegated"

start_mosquitto || bail "no mosquitto"
start_mock records:4 || bail "no embedded Kafka"
write_conf
check "the gateway starts" start_gateway
check "its subscription is taken" wait_for 20 is_subscribed 't/#'
consume_start stop records -w -D 0 -R 0
publish_start stop -d 10 -r 2000
seen=0
for round in 1 2 3 4; do
	check "messages come in (round $round)" wait_for 30 has_next_seq $((seen + 1000))
	check "it stops" stop_gateway
	check "with status 0" test "$GATEWAY_STATUS" -eq 0
	seen=$(dump --stat --json | jq -r .next_seq)
	check "it starts again" start_gateway
done
check "the publisher got every PUBACK" publish_stop
check "the journal becomes empty" wait_for 60 journal_is_empty
check "nothing is lost, and nothing arrived twice" consume_finish stop
check "the gateway stops" stop_gateway
tap_done
