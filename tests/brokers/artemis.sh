#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A broker that is not mosquitto and speaks MQTT 5: Apache ActiveMQ Artemis.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"
# shellcheck source=../lib/jars.sh
. "$TOP_SRCDIR/tests/lib/jars.sh"
# shellcheck source=walk.sh
. "$(dirname "$0")/walk.sh"

need java jq kcat "$TESTLIB/ledger_publish" "$TOP_BUILDDIR/tidegated"

HERE=$TOP_SRCDIR/tests/brokers
JARS=${XDG_CACHE_HOME:-$HOME/.cache}/tidegate/artemis-2.37.0

start_broker() {
	BROKER_PORT=$(free_port)
	java -Xmx384m -XX:+UseSerialGC -cp "$JARS/*" "$HERE/Artemis.java" "$BROKER_PORT" \
		"$WORK/artemis" >"$WORK/artemis.log" 2>&1 &
	BROKER_PID=$!
	track "$BROKER_PID"
	broker_settled() { is_gone "$BROKER_PID" || grep -q ^ready "$WORK/artemis.log"; }
	wait_for 90 broker_settled && ! is_gone "$BROKER_PID"
}

fetch_jars "$HERE/pom.xml" "$JARS" 2>"$WORK/fetch.log"
case $? in
0) ;;
77) skip_all "$(tail -n 1 "$WORK/fetch.log")" ;;
*) bail "Artemis cannot be fetched: $(tail -n 1 "$WORK/fetch.log")" ;;
esac
start_broker || bail "Artemis does not start"
walk
check "it was MQTT 5 all the time" test "$(session_said "MQTT 3.1.1")" -eq 0
tap_done
