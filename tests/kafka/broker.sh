#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The MQTT broker holds 50,000 messages for a gateway that was killed; the gateway is
# killed again and again while it takes them. Then the broker is stopped and started while
# messages flow. Against a real Kafka.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need mosquitto jq "$TESTLIB/ledger_publish" "$TOP_BUILDDIR/tidegated"

HELD=${BROKER_HELD:-50000}

publish_held() {
	publish_start broker -d 50 -n "$HELD"
	publish_wait 120
}

# Killed while the broker still holds some: small commits make the backlog last.
kill_in_the_middle() {
	wait_for 30 has_next_seq $((HELD * $1 / 10)) && kill_gateway && ! has_next_seq "$HELD" &&
		start_gateway
}

restart_broker() {
	stop_mosquitto && start_mosquitto
}

JOURNAL_SETTINGS='max_bytes = "1 GiB"; commit_max_messages = 100;'
start_kafka || bail "no Kafka"
kafka create-topic records 4 || bail "no topic"
start_mosquitto || bail "no mosquitto"
write_conf
check "the gateway starts" start_gateway
check "its subscription is taken" wait_for 20 is_subscribed 't/#'
consume_start broker records -w -T 120

check "the gateway is killed" kill_gateway
check "$HELD messages are published without it" publish_held
check "the broker holds them for it" test ! -s "$WORK/broker-publish.log"
check "the gateway starts again" start_gateway
check "it is killed after a tenth of them" kill_in_the_middle 1
check "it is killed after three tenths" kill_in_the_middle 3
check "it is killed after half of them" kill_in_the_middle 5
check "all are journalled" wait_for 60 has_next_seq "$HELD"
check "the journal becomes empty" wait_for 60 journal_is_empty

publish_start broker -d 50 -n 20000 -r 4000
check "more come in" wait_for 30 has_next_seq $((HELD + 2000))
check "the broker is stopped and started while they do" restart_broker
check "the publisher got every PUBACK" publish_wait 120
check "the journal becomes empty again" wait_for 60 journal_is_empty
check "nothing is lost or out of order" consume_finish broker 150
check "the gateway stops" stop_gateway
check "the journal is in order" journal_check
tap_done
