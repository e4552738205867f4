#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A second daemon, or a second worker, on the same journal is refused with a clear line,
# and the first one does not notice.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need mosquitto jq "$TESTLIB/ledger_publish" "$TOP_BUILDDIR/tidegated"

# refused PROGRAM: ends with 1, and says why
refused() {
	local rc
	timeout 30 "$TOP_BUILDDIR/$1" -c "$CONF" >"$WORK/second-$1.out" 2>&1
	rc=$?
	diag "$(tail -n 1 "$WORK/second-$1.out")"
	[ "$rc" -eq 1 ] && grep -qF "$JOURNAL_DIR" "$WORK/second-$1.out" &&
		grep -q another "$WORK/second-$1.out"
}

publish_some() {
	publish_start second -d 2 -n 200
	publish_wait 30
}

start_mosquitto || bail "no mosquitto"
start_mock records:1 || bail "no embedded Kafka"
write_conf
check "the gateway starts" start_gateway
check "its subscription is taken" wait_for 20 is_subscribed 't/#'
ingest=$(worker_pid ingest)
forward=$(worker_pid forward)
check "a second tidegated is refused" refused tidegated
# These wait a little, for one that is about to end.
refused tidegate-ingest >"$WORK/refused" &
waiting=$!
check "a second tidegate-forward is refused" refused tidegate-forward
check "a second tidegate-ingest is refused" wait $waiting
cat "$WORK/refused"
check "the first ingest lives on" test "$(worker_pid ingest)" = "$ingest"
check "the first forward lives on" test "$(worker_pid forward)" = "$forward"
check "messages are published" publish_some
check "the journal becomes empty" wait_for 30 journal_is_empty
consume_start second records -w -D 0 -R 0
check "they arrive once" consume_finish second
check "the gateway stops" stop_gateway
tap_done
