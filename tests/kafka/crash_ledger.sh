#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The crash ledger: 100 devices, 2,000 messages a second in all, against a real Kafka, while
# ingest, forward and tidegated are killed at random, 100 times in at least 60 s. Nothing is
# lost, first deliveries are in order for each device, and each repeat is either forward's
# (the same header) or the broker's (an unacknowledged commit).
#
# CRASH_KILLS, CRASH_SECONDS and CRASH_SEED shorten or repeat it.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need mosquitto jq "$TESTLIB/ledger_publish" "$TOP_BUILDDIR/tidegated"

JOURNAL_SETTINGS='max_bytes = "1 GiB";'

start_kafka || bail "no Kafka"
kafka create-topic records 4 || bail "no topic"
start_mosquitto || bail "no mosquitto"
write_conf
check "the gateway starts" start_gateway
check "its subscription is taken" wait_for 20 is_subscribed 't/#'
memory_watch_start
consume_start crash records -w -T 120
publish_start crash -d 100 -r 2000 -s 60-400 -u
crash_run "${CRASH_KILLS:-100}" "${CRASH_SECONDS:-62}" "${CRASH_SEED:-$RANDOM}"
check "the publisher got every PUBACK" publish_stop
check "the journal becomes empty" wait_for 120 journal_is_empty
check "nothing is lost or out of order" consume_finish crash 150
diag "most memory: ingest $(memory_max ingest) KiB, forward $(memory_max forward) KiB"
check "the gateway stops" stop_gateway
check "the journal is in order" journal_check
tap_done
