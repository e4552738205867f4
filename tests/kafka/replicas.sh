#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A Kafka of two brokers, and records that flow. One broker is killed: the topic that is
# content with one replica goes on under another leader, the one that wants two waits, and
# that is never counted as a rejection. The broker comes back, takes its leaders back, is
# frozen, and thaws. Nothing is missing, nothing is dead, the order is kept.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/forward.sh
. "$TOP_SRCDIR/tests/lib/forward.sh"

need jq kcat "$FORWARD" "$FEED" "$TOP_BUILDDIR/tidegate-dump"
BROKER_PORT=1883 # nobody connects to it
FIRST=$WORK/kafka
SECOND=$WORK/kafka2

# second COMMAND [ARGUMENT...]: kafka.sh on the second broker
second() {
	KAFKA_DIR=$SECOND KAFKA_JOIN=$FIRST kafka "$@"
}

# leads NODES TOPIC: each partition is led by one of these
leads() {
	leaders "$2" | grep -qx "\([$1] \)*"
}

second_leads() {
	leaders strict | grep -q 2 && leaders strict-other | grep -q 2
}

leaders() {
	"$TESTLIB/kafka_admin" "$PLAIN_ADDRESS" leader "$1" 2>>"$WORK/kafka.log"
}

create_topic() {
	kafka create-topic "$1" 4 replication.factor=2 min.insync.replicas="$2"
}

kept_is_more() {
	[ "$(journal_count)" -gt "$1" ]
}

start_kafka auto.leader.rebalance.enable=true leader.imbalance.check.interval.seconds=2 \
	leader.imbalance.per.broker.percentage=0 || bail "no Kafka"
PLAIN_ADDRESS=$KAFKA_BOOTSTRAP
check "a second broker joins" second start || bail "no second broker"
KAFKA_BOOTSTRAP=$PLAIN_ADDRESS,$(cat "$SECOND/address")
CASE=strict
JOURNAL_DIR=$WORK/journal
check "a topic that wants two replicas" create_topic strict 2
check "one that is content with one" create_topic strict-other 1
KAFKA_SETTINGS='retries = 1; properties = [ "reconnect.backoff.max.ms=500" ];'
ROUTES='{ name = "main"; topic_filters = [ "a/#" ]; topic = "strict"; envelope = "none";
	  on_reject = "bury"; },
	{ name = "other"; topic_filters = [ "b/#" ]; topic = "strict-other"; envelope = "none"; }'
write_conf
: >"$WORK/strict.ledger"
start_forward
flow_start
check "records flow" delivers_more main
check "to both" delivers_more other

check "the second broker is killed" second kill
check "the topic that is content goes on" delivers_more other
check "the first broker leads it" wait_for 20 leads 1 strict-other
check "the other's records are kept" wait_for 20 kept_is_more 2000
check "none is dead" dead_is 0
check "forward is killed and started" kill_forward
check "the topic that is content goes on" delivers_more other
check "none is dead, as before" dead_is 0
check "the second broker comes back" second restart
check "the topic that wants two goes on by itself" delivers_more main

check "it takes its leaders back" wait_for 40 second_leads
check "records flow to the one" delivers_more main
check "and to the other" delivers_more other
check "the second broker is frozen" second pause
check "the first broker leads all again" wait_for 40 leads 1 strict-other
check "it thaws" second resume
check "the topic that is content goes on" delivers_more other
check "the topic that wants two goes on by itself" delivers_more main
check "records end" flow_end
check "all of them are delivered" goes_on
check "all are there in order" judge strict a
end_case
second stop
kafka stop
tap_done
