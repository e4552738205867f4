#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The crash ledger in short: while messages flow, ingest, forward and tidegated are killed
# at random. Nothing is lost, nothing overtakes. tests/kafka/crash_ledger.sh is the long
# one. CRASH_SEED repeats a run, CRASH_KILLS and CRASH_SECONDS say how much.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need mosquitto jq "$TESTLIB/ledger_publish" "$TOP_BUILDDIR/tidegated"

start_mosquitto || bail "no mosquitto"
start_mock records:4 || bail "no embedded Kafka"
write_conf
check "the gateway starts" start_gateway
check "its subscription is taken" wait_for 20 is_subscribed 't/#'
# What is on its way when forward is killed is not yet Kafka's.
check "Kafka answers slowly" mock_tell rtt 100
consume_start crash records -w
publish_start crash -d 20 -r 1000
crash_run "${CRASH_KILLS:-12}" "${CRASH_SECONDS:-10}" "${CRASH_SEED:-$RANDOM}"
check "the publisher got every PUBACK" publish_stop
check "the journal becomes empty" wait_for 60 journal_is_empty
check "nothing is lost or out of order" consume_finish crash
check "the gateway stops" stop_gateway
tap_done
