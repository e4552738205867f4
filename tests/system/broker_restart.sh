#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The broker is stopped and started, with the gateway running and without it. Its session
# is taken up; what it had acknowledged to the publishers arrives.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need mosquitto jq "$TESTLIB/ledger_publish" "$TOP_BUILDDIR/tidegated"

publish_into_session() {
	publish_start broker -d 10 -n 1000
	publish_wait 60
}

restart_broker() {
	stop_mosquitto && start_mosquitto
}

start_mosquitto || bail "no mosquitto"
start_mock records:4 || bail "no embedded Kafka"
write_conf
check "the gateway starts" start_gateway
check "its subscription is taken" wait_for 20 is_subscribed 't/#'
consume_start broker records -w

publish_start broker -d 10 -n 4000 -r 2000
check "some are journalled" wait_for 20 has_next_seq 500
check "the broker is stopped and started while messages flow" restart_broker
check "the publisher got every PUBACK" publish_wait 60
check "the journal becomes empty" wait_for 60 journal_is_empty

check "the gateway stops" stop_gateway
check "1000 messages go into its session" publish_into_session
check "nobody has said that there is no subscriber" \
	test ! -s "$WORK/broker-publish.log"
check "the broker is stopped and started without it" restart_broker
check "the gateway starts again" start_gateway
check "all of the session is journalled" wait_for 30 has_next_seq 5000
check "the journal becomes empty again" wait_for 60 journal_is_empty
check "nothing is lost or out of order" consume_finish broker
check "the gateway stops again" stop_gateway
tap_done
