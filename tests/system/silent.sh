#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A worker that hangs: tidegated kills it and starts it again, and what was in its hands
# arrives. With a tidegated that waits for seconds in place of minutes.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need mosquitto "$TESTLIB/mockkafka" "$TESTLIB/ledger_publish" "$TESTLIB/tidegated-impatient"

# It looks for its workers beside itself.
mkdir "$WORK/bin"
cp "$TESTLIB/tidegated-impatient" "$WORK/bin/tidegated"
for worker in ingest forward monitor; do
	ln -s "$TOP_BUILDDIR/tidegate-$worker" "$WORK/bin/"
done

start_impatient() {
	"$WORK/bin/tidegated" -c "$CONF" >>"$WORK/gateway.log" 2>&1 &
	GATEWAY_PID=$!
	track "$GATEWAY_PID"
	wait_for 20 gateway_has_workers && wait_for 20 is_subscribed 't/#'
}

is_another() { # WORKER PID
	local pid
	pid=$(worker_pid "$1") && [ "$pid" != "$2" ]
}

logged() {
	grep -qE "$1" "$WORK/gateway.log"
}

# hang WORKER: it hangs, and is another one some time later
hang() {
	local pid
	pid=$(worker_pid "$1") || return 1
	echo "# tidegate-$1 is $pid"
	kill -STOP "$pid" && wait_for 60 is_gone "$pid" && wait_for 20 is_another "$1" "$pid"
}

start_mosquitto || bail "mosquitto"
start_mock records:2 || bail "no embedded Kafka"
write_conf
check "it starts" start_impatient
consume_start main records -w
publish_start main -d 3 -n 2000 -r 400
check "tidegate-forward hangs: it is killed and started again" hang forward
check "the log says why" logged 'tidegate-forward .* gives no sign of life any more: it is killed'
check "tidegate-ingest hangs: it is killed and started again" hang ingest
check "the log says why" logged 'tidegate-ingest .* gives no sign of life any more: it is killed'
check "and how it ended" logged 'tidegate-ingest .* died: signal 9'
check "the rest is published" publish_wait 60
check "all of it leaves the journal" wait_for 60 journal_is_empty
check "nothing is lost" consume_finish main
check "it stops" stop_gateway
tap_done
