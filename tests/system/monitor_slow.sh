#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# tidegate-monitor and requests that take their time: one that sends a byte now and then is
# ended, and so is one that sends nothing, as they would hold a place for good.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need python3 "$TOP_BUILDDIR/tidegate-monitor"

PORT=$(free_port)
BROKER_PORT=1 KAFKA_BOOTSTRAP=127.0.0.1:1
MONITOR_SETTINGS="listen = \"127.0.0.1:$PORT\";"
write_conf
"$TOP_BUILDDIR/tidegate-monitor" -c "$CONF" >"$WORK/monitor.log" 2>&1 &
MONITOR_PID=$!
track "$MONITOR_PID"
wait_for 20 port_open "$PORT" || bail "it does not listen"

sockets() {
	find "/proc/$MONITOR_PID/fd" -lname 'socket:*' | wc -l
}
has_sockets() { # COUNT
	[ "$(sockets)" -eq "$1" ]
}

wait_for 20 has_sockets 1
exec {silent}<>"/dev/tcp/127.0.0.1/$PORT"
check "one that says nothing is there" wait_for 10 has_sockets 2
check "and is ended" wait_for 60 has_sockets 1
exec {silent}>&-
is_ended_in_time() {
	local seconds
	seconds=$("$TOP_SRCDIR/tests/lib/slow_http.py" trickle "$PORT") || return 1
	echo "# after $seconds s"
	# Later than for silence, so it was not that.
	[ "$seconds" -ge 25 ]
}
check "one that sends a byte each second is ended" is_ended_in_time
tap_done
