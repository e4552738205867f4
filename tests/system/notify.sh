#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What tidegated tells a service manager, by a socket that stands for one: ready, the
# status in plain words, reloads, that its loop turns, the end.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need mosquitto mosquitto_pub python3 "$TESTLIB/mockkafka" "$TOP_BUILDDIR/tidegated"

SOCKET=$WORK/notify
HEARD=$WORK/heard

# heard PATTERN [FROM]: did tidegated say so, from line FROM on?
heard() {
	tail -n +"${2:-1}" "$HEARD" | grep -qE "^$GATEWAY_PID $1"
}

# says PATTERN: is that its latest status?
says() {
	sed -n "s/^$GATEWAY_PID STATUS=//p" "$HEARD" | tail -n 1 | grep -qE "$1"
}

lines() {
	wc -l <"$HEARD"
}

listens() {
	[ -S "$SOCKET" ]
}

start_manager() { # [deaf]
	: >"$HEARD"
	rm -f "$SOCKET"
	python3 "$TOP_SRCDIR/tests/lib/service_manager.py" "$SOCKET" "$@" >"$HEARD" \
		2>"$WORK/manager.log" &
	track $!
	wait_for 10 listens
}

# The processes that a service manager starts have these.
start_managed() {
	export NOTIFY_SOCKET=$SOCKET WATCHDOG_USEC=1000000
	start_gateway
	unset NOTIFY_SOCKET WATCHDOG_USEC
}

nobody_else_speaks() {
	! grep -v "^$GATEWAY_PID " "$HEARD"
}

# not_in_environment WORKER
not_in_environment() {
	local pid
	pid=$(worker_pid "$1") || return 1
	tr '\0' '\n' <"/proc/$pid/environ" >"$WORK/environ"
	grep -q '^PATH=' "$WORK/environ" && ! grep -E '^(NOTIFY|WATCHDOG)_' "$WORK/environ"
}

# A status each second at most: so many lines need so many seconds.
is_seldom() {
	local from=$1 began=$2
	local said
	said=$(tail -n +"$from" "$HEARD" | grep -c STATUS=)
	echo "# $said times in $(($(now_ms) - began)) ms"
	[ $((said - 2)) -le $((($(now_ms) - began) / 1000)) ]
}

publish_many() {
	seq "$1" | mosquitto_pub -p "$BROKER_PORT" -q 1 -t t/a -l
}

waits_in_order() {
	awk -F'|' '/READY=1/ { ready = NR } /RELOADING=1/ { reloading = NR }
		END { exit !(reloading && ready > reloading) }' <(tail -n +"$1" "$HEARD")
}

if ! grep -q '^#define HAVE_SYSTEMD 1' "$TOP_BUILDDIR/config.h"; then
	BROKER_PORT=$(free_port)
	KAFKA_BOOTSTRAP=127.0.0.1:$(free_port)
	start_manager || bail "a service manager"
	write_conf
	check "a build without libsystemd starts" start_managed
	check "and stops" stop_gateway
	check "and tells nobody" test ! -s "$HEARD"
	tap_done
fi

BROKER_PORT=$(free_port)
KAFKA_BOOTSTRAP=127.0.0.1:$(free_port)
write_conf
start_manager || bail "a service manager"

# ---- neither end is there ----
check "it starts with neither end there" start_managed
check "and is ready" wait_for 20 heard 'READY=1'
check "its status says that the broker is away" wait_for 20 says 'waiting for the MQTT broker'
check "and Kafka" wait_for 30 says 'waiting for Kafka'
check "it says that its loop turns" wait_for 20 heard 'WATCHDOG=1'
SINCE=$(($(lines) + 1))
check "and again" wait_for 20 heard 'WATCHDOG=1' $SINCE
check "only tidegated speaks" nobody_else_speaks
check "tidegate-ingest could not" not_in_environment ingest
check "tidegate-forward could not" not_in_environment forward
check "it stops" stop_gateway
check "and says so" wait_for 10 heard 'STOPPING=1'
check "exit status 0" test "$GATEWAY_STATUS" -eq 0

# ---- data ----
BROKER_PORT=
start_mosquitto || bail "mosquitto"
start_mock records:2 || bail "no embedded Kafka"
write_conf
start_managed || bail "the gateway"
check "with both ends there it is well" wait_for 30 says '^well: nothing waits$'
mock_down || bail "the embedded Kafka goes away"
publish_many 1234 || bail "messages are published"
check "Kafka away: how many records wait" wait_for 30 says 'waiting for Kafka.*; 1,234 records wait$'
FROM=$(lines) BEGAN=$(now_ms)
mock_up || bail "the embedded Kafka comes back"
check "Kafka back: none" wait_for 60 says '^well: nothing waits$'
check "the status comes no oftener than once a second" is_seldom "$FROM" "$BEGAN"

# ---- a new configuration ----
SINCE=$(($(lines) + 1))
write_conf 'log = { level = "debug"; };'
kill -HUP "$GATEWAY_PID"
check "a reload is announced" wait_for 20 heard 'RELOADING=1[|]MONOTONIC_USEC=[0-9]+$' $SINCE
check "and its end, after it" wait_for 20 waits_in_order $SINCE
SINCE=$(($(lines) + 1))
write_conf 'log = { level = "loud"; };'
kill -HUP "$GATEWAY_PID"
check "one that is refused ends, too" wait_for 20 waits_in_order $SINCE
check "and the status says so" wait_for 20 says '^the new configuration was not taken over'
write_conf
kill -HUP "$GATEWAY_PID"
check "until one is taken over" wait_for 30 says '^well'

# ---- a worker is missing ----
kill_worker ingest
check "a worker that died is started again" wait_for 20 gateway_has_workers
check "and it is well again" wait_for 60 says '^well'
check "it stops" stop_gateway

# ---- a manager that takes nothing any more ----
# A few messages fill what the kernel keeps for it: far fewer than there are signs of life.
start_manager deaf || bail "a service manager"
start_deaf() {
	export NOTIFY_SOCKET=$SOCKET WATCHDOG_USEC=4000
	start_gateway
	unset NOTIFY_SOCKET WATCHDOG_USEC
}
check "it starts under one that is deaf" start_deaf
is_full() {
	! timeout 1 python3 -c 'import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.sendto(b"x", sys.argv[1])' "$SOCKET"
}
check "until there is no room for a word more" wait_for 60 is_full
kill_worker ingest
check "a worker that died is started again" wait_for 20 gateway_has_workers
publish_many 10 || bail "messages are published"
check "and messages go their way" wait_for 60 journal_is_empty
check "it stops" stop_gateway
tap_done
