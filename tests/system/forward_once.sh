#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# tidegate-forward --once: delivers what the journal holds and ends, with 0 only when it is
# empty; also exactly once; not beside a daemon; and it tells what it cannot deliver.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need mosquitto jq kcat "$TESTLIB/mockkafka" "$TESTLIB/feed_journal" "$TOP_BUILDDIR/tidegated"

feed() { # TOPIC COUNT
	local i
	for ((i = 0; i < $2; i++)); do
		echo "$1 100 0"
	done | "$TESTLIB/feed_journal" "$JOURNAL_DIR" "$GATEWAY_ID"
}

# once_ends STATUS
once_ends() {
	timeout 60 "$TOP_BUILDDIR/tidegate-forward" --once -c "$CONF" >"$WORK/once.log" 2>&1
	local rc=$?
	cat "$WORK/once.log"
	[ "$rc" -eq "$1" ]
}

landed() { # TOPIC COUNT
	[ "$(kcat -q -C -e -b "$KAFKA_BOOTSTRAP" -t "$1" -o beginning | wc -l)" -eq "$2" ]
}

start_mosquitto || bail "no mosquitto"
start_mock records:2 once:2 tidegate.positions:1 || bail "no embedded Kafka"
write_conf
check "records are there" feed t/a 300
check "it delivers them and ends with 0" once_ends 0
check "the journal is empty" journal_is_empty
check "all are in Kafka" landed records 300
check "with nothing to do it ends with 0" once_ends 0

ROUTES='{ name = "default"; topic_filters = "t/#"; topic = "records"; envelope = "none"; },
	{ name = "off"; topic_filters = "o/#"; topic = "records"; envelope = "none"; enabled = false; }'
write_conf
feed o/a 3
check "what a route is owed that is switched off does not keep it" once_ends 0
check "but is told" grep -q '3 records stay, for routes that are switched off' "$WORK/once.log"
sed -i 's/ enabled = false;//' "$CONF"
check "switched on, it has them" once_ends 0
check "all of them" landed records 303

feed t/a 5
mock_down || bail "the embedded Kafka does not go"
"$TOP_BUILDDIR/tidegate-forward" --once -c "$CONF" >"$WORK/waiting.log" 2>&1 &
ONCE_PID=$!
track $ONCE_PID
check "without Kafka it waits, and says so" wait_for 20 grep -q 'Kafka is not reachable' "$WORK/waiting.log"
kill -TERM $ONCE_PID
wait $ONCE_PID
check "stopped, it ends with 1" test $? -eq 1
check "and says why" grep -q 'stopped before the journal was empty' "$WORK/waiting.log"
mock_up || bail "the embedded Kafka does not come back"

start_gateway || bail "the gateway does not start"
check "beside a daemon it is refused" once_ends 1
check "which is said" grep -q 'forward.lock is held' "$WORK/once.log"
check "the daemon stops" stop_gateway

ROUTES='{ name = "default"; topic_filters = "t/#"; topic = "once"; envelope = "none"; }'
KAFKA_SETTINGS='delivery = "exactly_once";'
write_conf
feed t/a 200
check "exactly once it delivers and ends, too" once_ends 0
check "the journal is empty" journal_is_empty
all_once() {
	[ "$(kcat -q -C -e -X isolation.level=read_committed -b "$KAFKA_BOOTSTRAP" -t once \
		-o beginning | cut -d ' ' -f 1 | sort -u | wc -l)" -eq 200 ]
}
check "each is there" all_once
tap_done
